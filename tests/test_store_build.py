"""build, and reset_parameters, which gives the values of a first build."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import SHAPE, get, linear, store_of
from torch import nn

import torchscope as ts

# ---- reset_parameters ----------------------------------------------------------------------------


def init_from_stream(shape: Any, dtype: Any = None) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype)


RESET: dict[str, Callable[[], Any]] = {
    "default": get,
    "ours": lambda: get(initializer=ts.random_normal_initializer(stddev=0.1)),
    "class": lambda: get(initializer=ts.glorot_normal_initializer),
    "constant": lambda: get(initializer=ts.constant_initializer(3.0)),
    "seeded": lambda: get(initializer=ts.truncated_normal_initializer(seed=5)),
    "function": lambda: get(initializer=init_from_stream),
    "nn.init": lambda: get(initializer=nn.init.orthogonal_),
    "no arguments": lambda: ts.get_variable("w", initializer=lambda: torch.randn(3)),
    "tensor": lambda: ts.get_variable("w", initializer=torch.tensor([1.0, 2.0])),
    "number": lambda: ts.get_variable("w", initializer=2.5),
    "integers": lambda: ts.get_variable("w", initializer=[1, 2]),
    "frozen": lambda: get(trainable=False),
    "buffer": lambda: ts.get_buffer("w", SHAPE),
    "local": lambda: ts.get_local_variable("w", SHAPE),
}


@pytest.mark.parametrize("ask", RESET.values(), ids=RESET)
def test_reset_parameters_gives_the_values_of_a_first_build_in_place(ask: Callable[[], Any]):
    store = ts.VariableStore(3)
    variable = store(ask)
    first, memory = variable.detach().clone(), variable.data_ptr()
    ts.assign(variable, torch.full_like(variable, 7))
    stream = torch.get_rng_state()
    store.reset_parameters()
    assert store["w"] is variable
    assert variable.data_ptr() == memory
    assert torch.equal(variable, first)
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("ask", [get, RESET["function"], RESET["nn.init"]])
def test_reset_parameters_puts_meta_variables_to_their_values(ask: Callable[[], Any]):
    store = ts.VariableStore(3).to("meta")
    assert store(ask).device.type == "meta"
    store.to_empty(device="cpu")
    store.reset_parameters()
    assert torch.equal(store["w"], ts.VariableStore(3)(ask))


def test_reset_parameters_resets_what_was_loaded():
    store = ts.VariableStore(3)
    store.load_state_dict({"w": torch.full((2, 3), 9.0)})
    assert store(get).tolist() == [[9] * 3] * 2
    store.reset_parameters()
    assert torch.equal(store["w"], ts.VariableStore(3)(get))


def test_reset_parameters_after_setting_gives_what_was_set():
    store = ts.VariableStore(3)
    store["w"] = torch.ones(2)
    ts.assign_add(store["w"], [1.0, 1.0])
    store.reset_parameters()
    assert store["w"].tolist() == [1, 1]


@pytest.mark.parametrize("initializer", [None, ts.random_normal_initializer(), nn.init.normal_])
def test_reset_parameters_initializes_a_resized_variable(initializer: Any):
    store = store_of("table", initializer=initializer)
    store["table"] = nn.Parameter(torch.zeros(50, 3))
    store.reset_parameters()
    assert store["table"].abs().max() > 0


def test_reset_parameters_keeps_the_dtype_that_the_module_has_now():
    store = store_of("w")
    first = store["w"].detach().clone()
    store.half()
    ts.assign(store["w"], torch.zeros(2, 3))
    store.reset_parameters()
    assert torch.equal(store["w"], first.half())


def test_a_failing_initializer_makes_reset_parameters_change_nothing():
    fails = False

    def initializer(shape: Any, dtype: Any = None) -> torch.Tensor:
        if fails:
            raise ZeroDivisionError("mine")
        return torch.zeros(shape, dtype=dtype)

    store = store_of("a", "b", initializer=initializer)
    for variable in store.values():
        ts.assign(variable, torch.ones(2, 3))
    fails = True
    with pytest.raises(ZeroDivisionError, match="mine"):
        store.reset_parameters()
    assert all((variable == 1).all() for variable in store.values())


def test_reset_parameters_makes_modules_as_they_were_first():
    def model() -> None:
        ts.get_module("dense", linear)
        ts.get_module("norm", lambda: nn.BatchNorm1d(3))

    net = ts.ScopedModule(model, seed=3).build()
    before = copy.deepcopy(net.state_dict())
    parameters = list(net.parameters())
    for value in net.state_dict().values():
        value.fill_(9)
    net.reset_parameters()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))


@pytest.mark.parametrize("make", [ts.VariableStore, lambda: ts.ScopedModule(get)])
def test_reset_parameters_returns_the_store(make: Any):
    store = make()
    with store:
        get()
    assert store.reset_parameters() is store


# ---- build ---------------------------------------------------------------------------------------


def encode(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    with ts.variable_scope("encoder"):
        steps = ts.get_buffer("steps", [], initializer=ts.zeros_initializer())
        ts.assign_add(steps, 1)
        frozen = ts.get_variable("frozen", [], trainable=False, initializer=ts.ones_initializer())
        ts.assign(frozen, 5)
        return nn.functional.dropout(x) @ ts.get_variable("w", [x.shape[-1], 2]) * scale


def decode(z: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("decoder"):
        return z @ ts.get_variable("w", [z.shape[-1], 3])


def test_a_store_is_built_for_several_functions():
    store = ts.VariableStore(0)
    stream = torch.get_rng_state()
    assert store.build(encode, torch.ones(1, 3), scale=2.0) is store
    assert store.build(decode, torch.ones(1, 2)) is store
    assert torch.equal(torch.get_rng_state(), stream)
    assert list(store) == ["encoder/steps", "encoder/frozen", "encoder/w", "decoder/w"]
    assert store.built
    assert store["encoder/steps"].item() == 0
    assert store["encoder/frozen"].item() == 1
    assert all(parameter.grad is None for parameter in store.parameters())
    other = ts.VariableStore(0)
    other(encode, torch.ones(1, 3))
    assert torch.equal(store["encoder/w"], other["encoder/w"])


def test_a_store_is_built_on_the_meta_device_computing_nothing():
    store = ts.VariableStore(0).build(encode, torch.ones(1, 3, device="meta"))
    assert store["encoder/w"].device.type == "cpu"
    assert torch.equal(
        store["encoder/w"], ts.VariableStore(0).build(encode, torch.ones(1, 3))["encoder/w"]
    )


def test_a_build_of_a_store_with_gradients_of_its_own_keeps_none():
    def penalized(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable("w", [3])
        (gradient,) = torch.autograd.grad((w * x).sum(), w, create_graph=True)
        return gradient.square().sum()

    store = ts.VariableStore().build(penalized, torch.ones(3))
    assert store["w"].grad is None


def test_a_build_of_a_function_that_trains_its_variables_keeps_no_gradients():
    def trained(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable("w", [3], initializer=ts.ones_initializer())
        with torch.enable_grad():
            (w * x).sum().backward()
        torch.optim.SGD([w], lr=1.0).step()
        return w

    x = torch.ones(3, requires_grad=True)
    store = ts.VariableStore().build(trained, x)
    assert store["w"].grad is x.grad is None
    store["w"].grad = torch.full((3,), 7.0)
    store.build(trained, x)
    assert store["w"].tolist() == [1, 1, 1]
    assert store["w"].grad.tolist() == [7, 7, 7]


def test_a_build_inside_a_pass_is_a_pass_of_its_own():
    store = ts.VariableStore()
    with store, ts.variable_scope("outer"):
        store.build(decode, torch.ones(1, 2))
        ts.get_variable("w", [1])
    assert list(store) == ["decoder/w", "outer/w"]


def test_a_build_that_fails_leaves_what_it_made_and_is_not_a_build():
    def failing(x: torch.Tensor) -> None:
        encode(x)
        raise ZeroDivisionError("mine")

    store = ts.VariableStore()
    with pytest.raises(ZeroDivisionError, match="mine"):
        store.build(failing, torch.ones(1, 3))
    assert store["encoder/steps"].item() == 0
    assert not store.built
