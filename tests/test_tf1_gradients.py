"""tf.gradients, custom_gradient, py_func, random numbers and checks, where records do not look."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torchscope as ts
import torchscope.tf1 as tf


@pytest.fixture
def x() -> Tensor:
    return torch.tensor([0.5, -2.0, 1.5], requires_grad=True)


# ---- gradients ----------------------------------------------------------------------------------


def test_a_gradient_can_be_differentiated_again(x: Tensor):
    (gradient,) = tf.gradients(tf.reduce_sum(x**3), x)
    tf.reduce_sum(tf.square(gradient)).backward()
    torch.testing.assert_close(x.grad, 36 * x.detach() ** 3)


def test_a_gradient_of_zeros_can_be_read(x: Tensor):
    (slope,) = tf.gradients(tf.abs(x), x)
    (bend,) = tf.gradients(slope, x)
    assert not bend.numpy().any()


def test_what_is_stopped_is_a_constant_and_has_a_gradient_of_its_own(x: Tensor):
    square = x * x
    of_x, of_square = tf.gradients(square * x, [x, square], stop_gradients=[square])
    torch.testing.assert_close(of_x, square)
    torch.testing.assert_close(of_square, x)
    torch.testing.assert_close(tf.gradients(square * x, x), [3 * square])  # No hook is left.


def test_what_does_not_depend_gives_none_or_zeros(x: Tensor):
    other = torch.ones(2, requires_grad=True)
    assert tf.gradients(x, other) == tf.gradients(2.0, x) == tf.gradients([], x) == [None]
    assert tf.gradients(x, [tf.constant(1), 3.0]) == [None, None]
    zeros = tf.gradients(x, other, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    torch.testing.assert_close(zeros, [torch.zeros(2)])


def test_while_nothing_is_recorded_gradients_are_nan_and_a_build_goes_through(x: Tensor):
    def penalty(x: Tensor) -> Tensor:
        w = tf.get_variable("w", [3])
        (gradient,) = tf.gradients(tf.reduce_sum(w * x * x), x)
        return tf.reduce_sum(tf.square(gradient))

    net = ts.ScopedModule(penalty).build(x)
    assert list(net) == ["w"]
    assert net(x).isfinite()
    with torch.no_grad():
        assert net(x).isnan()
        assert tf.gradients(x, [2.0, tf.constant(1)]) == [None, None]


def test_hessians_are_those_of_torch(x: Tensor):
    (hessian,) = tf.hessians(tf.reduce_sum(x**3 * x[0]), x)
    wanted = torch.autograd.functional.hessian(lambda x: (x**3 * x[0]).sum(), x)
    torch.testing.assert_close(hessian, wanted)


def test_gradients_compile_into_one_graph_where_torch_is_told_to_trace_them(
    x: Tensor, monkeypatch: pytest.MonkeyPatch
):
    def penalty(x: Tensor) -> Tensor:
        (gradient,) = tf.gradients(tf.reduce_sum(tf.tanh(x)), [x])
        return tf.reduce_sum(tf.square(gradient))

    monkeypatch.setattr(torch._dynamo.config, "trace_autograd_ops", True)
    compiled = torch.compile(penalty, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), penalty(x))
    wanted = torch.autograd.grad(penalty(x), x)
    torch.testing.assert_close(torch.autograd.grad(compiled(x), x), wanted)


# ---- custom_gradient, py_func -------------------------------------------------------------------


@tf.custom_gradient
def clipped(x: Tensor, y: Tensor) -> Any:
    product = x * y
    return {"product": product, "sum": [x + y]}, lambda dp, ds: (tf.sign(dp) * product, ds * 2)


def test_a_custom_gradient_is_called_with_those_of_all_results(x: Tensor):
    result = clipped(x, [1.0, 1.0, 2.0])
    torch.testing.assert_close(result["sum"][0], x + torch.tensor([1.0, 1.0, 2.0]))
    tf.reduce_sum(result["product"]).backward()
    torch.testing.assert_close(x.grad, result["product"])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's
def test_a_custom_gradient_can_be_differentiated_and_compiled(x: Tensor):
    @tf.custom_gradient
    def cube(x: Tensor) -> Any:
        square = x * x
        return square * x, lambda dy: dy * square * 3

    def second(x: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(cube(x).sum(), x, create_graph=True)
        return torch.autograd.grad(first.sum(), x)[0]

    torch.testing.assert_close(second(x), 6 * x.detach())
    compiled = torch.compile(cube, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x).sum(), x), (3 * x.detach() ** 2,))


def test_a_custom_gradient_frees_what_it_holds(x: Tensor):
    import gc
    import weakref

    @tf.custom_gradient
    def same(x: Tensor) -> Any:
        kept = x * 2
        held.append(weakref.ref(kept))
        return kept, lambda dy: dy * kept

    held: list[Any] = []
    gc.disable()
    try:
        y = same(x)
        del y
        assert held[0]() is None
    finally:
        gc.enable()


def test_a_python_function_gets_arrays_and_its_results_take_the_dtypes_asked_for(x: Tensor):
    def order(values: Any) -> Any:
        assert isinstance(values, np.ndarray)
        return np.argsort(values), values.sum()

    index, total = tf.py_func(order, [x], [tf.int32, tf.float64])
    assert (index.tolist(), index.dtype) == ([1, 0, 2], torch.int32)
    assert (total.item(), total.dtype) == (0.0, torch.float64)
    assert tf.py_func(lambda: [1, 2], [], tf.float32).tolist() == [1.0, 2.0]


# ---- random numbers -----------------------------------------------------------------------------

DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "random_normal": lambda x: tf.random_normal(tf.shape(x), mean=x, stddev=[1.0, 2.0, 3.0]),
    "truncated_normal": lambda x: tf.truncated_normal([200, 3], 1.0, 0.5),
    "random_uniform": lambda x: tf.random_uniform([3], x - 1, x),
    "random_uniform of ints": lambda x: tf.random_uniform([50], 3, 6, tf.int64),
    "random_shuffle": lambda x: tf.random_shuffle(tf.range(40)),
    "random_crop": lambda x: tf.random_crop(tf.reshape(tf.range(1200), [30, 40]), [2, 3]),
    "multinomial": lambda x: tf.multinomial([[0.0, 1.0]], 50, output_dtype=tf.int32),
    "random_gamma": lambda x: tf.random_gamma([2], [1.0, 2.0, 3.0], beta=2.0),
    "random_poisson": lambda x: tf.random_poisson([1.0, 50.0], [4], dtype=tf.int32),
    "random.categorical": lambda x: tf.random.categorical([[0.0, 1.0]], 50),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_differ_from_call_to_call_and_repeat_after_a_seed(name: str, x: Tensor):
    draw = DRAWS[name]
    tf.set_random_seed(3)
    one, two = draw(x), draw(x)
    assert not torch.equal(one, two)
    tf.set_random_seed(3)
    assert torch.equal(draw(x), one)


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_are_drawn_in_one_graph(name: str, x: Tensor):
    torch._dynamo.reset()
    compiled = torch.compile(DRAWS[name], fullgraph=True, backend="eager")
    torch.manual_seed(0)
    found = compiled(x)
    torch.manual_seed(0)
    torch.testing.assert_close(found, DRAWS[name](x))


def test_numbers_stay_within_their_bounds(x: Tensor):
    cut = DRAWS["truncated_normal"](x)
    assert (cut - 1).abs().max() <= 1.0
    assert DRAWS["random_uniform of ints"](x).unique().tolist() == [3, 4, 5]
    assert DRAWS["random_gamma"](x).shape == (2, 3)
    assert DRAWS["random_poisson"](x).shape == (4, 2)
    crop = DRAWS["random_crop"](x)
    assert (crop - crop[0, 0]).tolist() == [[0, 1, 2], [40, 41, 42]]
    for dtype in (torch.bfloat16, torch.float64):
        assert tf.truncated_normal([9], dtype=dtype).dtype is dtype


def test_a_seed_of_one_operation_gives_no_step_the_noise_of_another():
    assert not torch.equal(tf.random_normal([3], seed=1), tf.random_normal([3], seed=1))


# ---- checks -------------------------------------------------------------------------------------

HOLDS: dict[str, Callable[[Tensor], Any]] = {
    "Assert": lambda x: tf.Assert(tf.reduce_all(x < 9), [x, "x"]),
    "assert_equal": lambda x: tf.assert_equal(x, x),
    "assert_none_equal": lambda x: tf.assert_none_equal(x, 9.0),
    "assert_less": lambda x: tf.assert_less(x, 9.0),
    "assert_less_equal": lambda x: tf.assert_less_equal(x, x),
    "assert_greater": lambda x: tf.assert_greater(x, -9.0, data=[x]),
    "assert_greater_equal": lambda x: tf.assert_greater_equal(x, x, message="m"),
    "assert_negative": lambda x: tf.assert_negative(x - 9),
    "assert_positive": lambda x: tf.assert_positive(x + 9),
    "assert_non_negative": lambda x: tf.assert_non_negative(tf.square(x)),
    "assert_non_positive": lambda x: tf.assert_non_positive(-tf.square(x)),
    "assert_near": lambda x: tf.assert_near(x, x + 1e-7),
    "assert_rank": lambda x: tf.assert_rank(x, 1),
    "assert_rank_in": lambda x: tf.assert_rank_in(x, [0, 1]),
    "assert_rank_at_least": lambda x: tf.assert_rank_at_least(x, 1),
    "assert_scalar": lambda x: tf.assert_scalar(x[0]),
    "assert_type": lambda x: tf.assert_type(x, tf.float32),
    "assert_integer": lambda x: tf.assert_integer(tf.to_int32(x)),
    "check_numerics": lambda x: tf.check_numerics(x, "m"),
    "is_non_decreasing": lambda x: tf.is_non_decreasing(x),
    "is_strictly_increasing": lambda x: tf.is_strictly_increasing(x),
    "verify_tensor_all_finite": lambda x: tf.verify_tensor_all_finite(x, "m"),
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_check_that_holds_says_nothing_compiled_or_on_meta(name: str, x: Tensor):
    torch._dynamo.reset()

    def checked(x: Tensor) -> Tensor:
        HOLDS[name](x)
        return x * 1

    compiled = torch.compile(checked, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), checked(x))
    assert checked(x.to("meta")).is_meta


# What does not hold: the call, the error's class, what it says.
FAILS: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (lambda x: tf.Assert(False, [x]), ValueError, r"does not hold: data = \[\[0.5, -2.0, 1.5\]\]"),
    (lambda x: tf.assert_equal(x, 0.5, message="m"), ValueError, "m: x == y does not hold: x = "),
    (lambda x: tf.assert_less(tf.range(20), 3), ValueError, "8, 9] and 10 more; y = 3"),
    (lambda x: tf.assert_equal(x, tf.to_int32(x)), TypeError, "x is float32 and y int32"),
    (lambda x: tf.assert_positive(x), ValueError, "assert_positive: x > 0 does not hold"),
    (lambda x: tf.assert_near(x, x + 1e-3), ValueError, "assert_near: x and y differ"),
    (lambda x: tf.assert_rank(x, 2), ValueError, r"shape \[3\] and has to have rank 2"),
    (lambda x: tf.assert_rank_in(x, (2, 3)), ValueError, "has to have rank 2 or 3"),
    (lambda x: tf.assert_rank_at_least(x, 2), ValueError, "rank 2 or more"),
    (lambda x: tf.assert_scalar(x), ValueError, "assert_scalar: x has shape"),
    (lambda x: tf.assert_type(x, tf.int32), TypeError, "is float32 and has to be int32"),
    (lambda x: tf.assert_integer(x), TypeError, "is float32 and has to be an integer"),
    (lambda x: tf.check_numerics(x / 0, "loss"), ValueError, "loss: the tensor has an infinity"),
    (lambda x: tf.gradients(x, x, [1.0, 2.0]), ValueError, "there are 1 ys and 2 grad_ys"),
    (lambda x: tf.gradients(x, x, [x[:2]]), ValueError, r"shape \[2\] for a y of \[3\]"),
    (lambda x: tf.gradients(x, x, x.double()), TypeError, "grad_ys is float64 and has to be"),
    (lambda x: tf.gradients(x, x.detach()), ValueError, r"Before that: x.requires_grad_\(\)"),
    (lambda x: tf.gradients(x, x, unconnected_gradients=0), ValueError, "unconnected_gradients=0"),
    (lambda x: tf.hessians(x, tf.to_int32(x)), TypeError, "has to be floats, not int32"),
    (lambda x: tf.py_func(lambda a: (a, a), [x], [tf.int32]), ValueError, "2 results; Tout has 1"),
    (lambda x: tf.random_normal([2, -1]), ValueError, r"shape=\[2, -1\] has a negative size"),
    (lambda x: tf.random_normal([2], dtype=tf.int32), TypeError, "int32 and has to be a float"),
    (lambda x: tf.random_uniform([2], dtype=tf.int32), ValueError, "give maxval where dtype is in"),
    (lambda x: tf.random_uniform([2], 0, 2, tf.bool), ValueError, "dtype=bool; give a float, int"),
    (lambda x: tf.random_uniform([2], 2, 2, tf.int32), ValueError, "minval=2 has to be less than"),
    (lambda x: tf.random_crop(x, [4]), ValueError, r"\[4\] does not fit into shape \[3\]"),
    (lambda x: tf.multinomial(x, 2), ValueError, "logits has rank 1 and has to have 2"),
    (lambda x: tf.multinomial([x.tolist()], -2), ValueError, "num_samples=-2 is negative"),
]


@pytest.mark.parametrize(("call", "error", "says"), FAILS, ids=[says for *_, says in FAILS])
def test_what_does_not_hold_says_what_it_was(
    call: Callable[..., Any], error: Any, says: str, x: Tensor
):
    with pytest.raises(error, match=says):
        call(x)


def test_a_check_that_fails_in_compiled_code_is_an_error():
    compiled = torch.compile(tf.assert_positive, fullgraph=True, backend="eager")
    with pytest.raises(RuntimeError, match="x > 0 does not hold"):
        compiled(torch.tensor([-1.0]))
