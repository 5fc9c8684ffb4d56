import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from torchscope import regularizers

WEIGHTS = [[3.0, -4.0], [0.0, 1.0]]  # absolute values add up to 8, squares to 26
SINGLE = ["l1_regularizer", "l2_regularizer"]


def make(name: str, *args, **kwargs):
    return getattr(regularizers, name)(*args, **kwargs)


@pytest.fixture
def weights() -> torch.Tensor:
    return torch.tensor(WEIGHTS, requires_grad=True)


@pytest.mark.parametrize(
    ("made", "expected", "gradient"),
    [
        (("l1_regularizer", 0.5), 4.0, [[0.5, -0.5], [0.0, 0.5]]),
        (("l2_regularizer", 0.5), 6.5, [[1.5, -2.0], [0.0, 0.5]]),
        (("l1_l2_regularizer", 0.5, 0.25), 7.25, [[1.25, -1.5], [0.0, 0.75]]),
        (("l1_l2_regularizer",), 21.0, [[4.0, -5.0], [0.0, 2.0]]),
    ],
)
def test_a_penalty_has_tensorflow_s_value_and_a_gradient(
    weights: torch.Tensor, made: tuple, expected: float, gradient: list[list[float]]
) -> None:
    penalty = make(*made)(weights)
    penalty.backward()

    assert penalty.shape == ()
    assert penalty.item() == expected
    assert weights.grad.tolist() == gradient


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*SINGLE, "l1_l2_regularizer"])
@pytest.mark.parametrize("scale", [0.5, np.float64(0.5), np.float32(0.5), torch.tensor(0.5)])
def test_a_penalty_has_the_dtype_of_the_weights(name: str, scale, dtype: torch.dtype) -> None:
    if isinstance(scale, torch.Tensor):
        scale = scale.to(dtype)
    scales = [scale] * (2 if name == "l1_l2_regularizer" else 1)
    penalty = make(name, *scales)(torch.tensor(WEIGHTS, dtype=dtype))

    assert penalty.dtype == dtype
    assert penalty.item() == {"l1_regularizer": 4, "l2_regularizer": 6.5}.get(name, 10.5)


@pytest.mark.parametrize("name", SINGLE)
def test_a_scale_of_zero_switches_the_penalty_off(name: str, weights: torch.Tensor) -> None:
    assert make(name, 0.0)(weights) is None
    assert make(name, np.float32(0))(weights) is None


@pytest.mark.parametrize(
    ("scales", "expected"), [((0.0, 0.5), 6.5), ((0.5, 0.0), 4.0), ((0.0, 0.0), None)]
)
def test_the_sum_leaves_out_what_is_switched_off(scales: tuple, expected, weights) -> None:
    penalty = make("l1_l2_regularizer", *scales)(weights)

    assert (penalty if penalty is None else penalty.item()) == expected


def test_a_scale_may_be_a_tensor_that_changes(weights: torch.Tensor) -> None:
    scale = torch.tensor(0.0)
    regularizer = make("l1_regularizer", scale)
    off = regularizer(weights).item()
    scale.fill_(0.5)

    assert (off, regularizer(weights).item()) == (0.0, 4.0)


@pytest.mark.parametrize("scale", [0, 1, True, np.int64(1)])
@pytest.mark.parametrize("name", [*SINGLE, "l1_l2_regularizer"])
def test_an_integer_scale_is_refused(name: str, scale) -> None:
    with pytest.raises(ValueError, match="scale cannot be an integer"):
        make(name, scale)


@pytest.mark.parametrize("scale", [-0.1, np.float32(-1)])
@pytest.mark.parametrize("name", [*SINGLE, "l1_l2_regularizer"])
def test_a_negative_scale_is_refused(name: str, scale) -> None:
    with pytest.raises(ValueError, match="scale cannot be negative"):
        make(name, scale)


def test_the_second_scale_of_the_sum_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"scale cannot be negative: -0\.5"):
        make("l1_l2_regularizer", 1.0, -0.5)


@pytest.mark.parametrize("scale", [None, "0.1", [0.1], 1j])
@pytest.mark.parametrize("name", SINGLE)
def test_a_scale_that_is_not_a_number_is_refused(name: str, scale) -> None:
    with pytest.raises(TypeError, match="scale must be a float"):
        make(name, scale)


@pytest.mark.parametrize("scale", [0.5, np.float32(0.5), Fraction(1, 2)])
@pytest.mark.parametrize("name", SINGLE)
def test_any_real_scale_is_shown_as_a_float(name: str, scale) -> None:
    assert repr(make(name, scale)) == f"{name}(0.5)"


def test_the_sum_shows_both_scales() -> None:
    assert repr(make("l1_l2_regularizer", 0.5)) == "l1_l2_regularizer(0.5, 1.0)"


@pytest.mark.parametrize("name", [*SINGLE, "l1_l2_regularizer"])
def test_a_scope_is_accepted_and_ignored(name: str, weights: torch.Tensor) -> None:
    with_scope = make(name, 0.5, scope="penalty")

    assert torch.equal(with_scope(weights), make(name, 0.5)(weights))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", [*SINGLE, "l1_l2_regularizer"])
def test_a_copy_gives_the_same_penalty(name: str, copied, weights: torch.Tensor) -> None:
    regularizer = make(name, 0.25)
    again = copied(regularizer)

    assert again is not regularizer
    assert repr(again) == repr(regularizer)
    assert torch.equal(again(weights), regularizer(weights))


def test_no_regularizer_gives_nothing(weights: torch.Tensor) -> None:
    assert regularizers.no_regularizer(weights) is None


def test_empty_weights_cost_nothing() -> None:
    assert make("l1_l2_regularizer")(torch.empty(0, 3)).item() == 0.0
