"""assign, assign_add, assign_sub: in place, without a gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torchscope as ts

CALLS: dict[str, tuple[Callable[..., torch.Tensor], list[float]]] = {
    "assign": (ts.assign, [3.0, 4.0]),
    "assign_add": (ts.assign_add, [4.0, 6.0]),
    "assign_sub": (ts.assign_sub, [-2.0, -2.0]),
}
each_call = pytest.mark.parametrize(("call", "expected"), CALLS.values(), ids=CALLS)


@pytest.fixture
def variable(store: ts.VariableStore) -> torch.Tensor:
    return ts.get_variable("w", initializer=[1.0, 2.0])


@each_call
@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([3.0, 4.0]),
        torch.tensor([3, 4]),
        torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True),
        np.array([3.0, 4.0]),
        [3.0, 4.0],
        (3, 4),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_the_value_may_be_a(variable: torch.Tensor, call: Any, expected: list[float], value: Any):
    memory = variable.data_ptr()
    assert call(variable, value) is variable
    assert variable.tolist() == expected
    assert variable.dtype is torch.float32
    assert variable.data_ptr() == memory


@each_call
def test_no_gradient_is_kept(variable: torch.Tensor, call: Any, expected: list[float]):
    value = torch.tensor([3.0, 4.0], requires_grad=True)
    call(variable, value * 1)
    assert variable.is_leaf
    assert variable.requires_grad
    assert variable.grad_fn is None
    (variable * 2).sum().backward()
    assert variable.grad.tolist() == [2, 2]
    assert value.grad is None


@each_call
def test_a_number_fits_a_scalar(store: ts.VariableStore, call: Any, expected: list[float]):
    step = ts.get_variable("step", initializer=1, trainable=False)
    assert call(step, 3).item() == expected[0]
    assert step.dtype is torch.int64


@each_call
@pytest.mark.parametrize(
    "value", [5.0, [3.0], [[3.0, 4.0]], [3.0, 4.0, 5.0], torch.zeros(2, 1), torch.zeros(0)], ids=str
)
def test_another_shape_is_refused_and_nothing_is_broadcast(
    variable: torch.Tensor, call: Any, expected: list[float], value: Any
):
    name = call.__name__
    with pytest.raises(ts.VariableMismatchError, match=rf"^{name}: .*shape \(2,\), the value \("):
        call(variable, value)
    assert variable.tolist() == [1, 2]


@pytest.mark.parametrize(
    "made",
    [
        lambda: ts.get_variable("w", initializer=[1.0, 2.0], trainable=False),
        lambda: ts.get_buffer("w", [2], initializer=ts.constant_initializer([1.0, 2.0])),
        lambda: ts.get_local_variable("w", [2], initializer=ts.constant_initializer([1.0, 2.0])),
    ],
    ids=["frozen", "buffer", "local"],
)
@each_call
def test_every_kind_of_variable_can_be_assigned(
    store: ts.VariableStore, made: Any, call: Any, expected: list[float]
):
    assert call(made(), [3.0, 4.0]).tolist() == expected
    assert store["w"].tolist() == expected


def test_what_was_assigned_is_there_in_the_next_pass():
    def count() -> float:
        number = ts.get_variable("count", [], torch.int64, trainable=False)
        return ts.assign_add(number, 1).item()

    store = ts.VariableStore()
    assert [store(count) for _ in range(3)] == [1, 2, 3]


def test_assigning_under_inference_mode_is_fine(variable: torch.Tensor):
    with torch.inference_mode():
        ts.assign(variable, [3.0, 4.0])
    assert variable.tolist() == [3, 4]


def test_a_value_that_changes_later_does_not_matter(variable: torch.Tensor):
    value = torch.tensor([3.0, 4.0])
    ts.assign(variable, value)
    value.zero_()
    assert variable.tolist() == [3, 4]


def test_a_variable_can_be_assigned_itself(variable: torch.Tensor):
    assert ts.assign(variable, variable).tolist() == [1, 2]
    assert ts.assign_add(variable, variable).tolist() == [2, 4]
