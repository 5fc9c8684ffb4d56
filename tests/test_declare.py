"""What a variable is declared as: shapes, dtypes, initializers, and the seeds behind them."""

import contextlib
import copy
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchscope as ts


class Index:
    """Something that only has ``__index__``."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class TensorFlowDType:
    """What ``tf.float64`` looks like from here."""

    name = "float64"


def refused(store: ts.VariableStore, error: type[Exception], match: str, **arguments: Any) -> None:
    """Ask for ``w`` and be refused; afterwards the store is as before, and ``w`` can be made."""
    stream = torch.get_rng_state()
    with pytest.raises(error, match=match):
        ts.get_variable("w", **arguments)
    assert list(store) == list(store.state_dict()) == list(store.parameters()) == []
    assert torch.equal(torch.get_rng_state(), stream)
    assert ts.get_variable("w", [2]).shape == (2,)


# ---- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ([3, 4], (3, 4)),
        ((3, 4), (3, 4)),
        (torch.Size([3, 4]), (3, 4)),
        (5, (5,)),
        (0, (0,)),
        ([], ()),
        ((), ()),
        (torch.Size([]), ()),
        ([0, 3], (0, 3)),
        (np.int64(5), (5,)),
        ([np.int64(3), np.int32(4)], (3, 4)),
        (np.array([3, 4]), (3, 4)),
        (Index(5), (5,)),
        ([Index(3), 4], (3, 4)),
        (torch.tensor(5), (5,)),
        (range(3, 5), (3, 4)),
        ((size for size in (3, 4)), (3, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_shape_may_be_given_as(store: ts.VariableStore, shape: Any, sizes: tuple[int, ...]):
    variable = ts.get_variable("w", shape)
    assert variable.shape == sizes
    assert store["w"] is variable


@pytest.mark.parametrize(
    "shape",
    [
        None,
        [3, 4],
        (3, 4),
        torch.Size([3, 4]),
        [None, 4],
        (3, None),
        [None, None],
        np.array([3, 4]),
        [Index(3), np.int64(4)],
    ],
    ids=repr,
)
def test_a_shape_that_fits_is_accepted_on_reuse(store: ts.VariableStore, shape: Any):
    made = ts.get_variable("w", [3, 4])
    ts.get_variable_scope().reuse_variables()
    assert ts.get_variable("w", shape) is made


@pytest.mark.parametrize(
    "shape",
    [[], 3, 12, [3], [4, 3], [3, 5], [None], [3, None, None], [None, 5], [3, 4, 1]],
    ids=repr,
)
def test_a_shape_that_does_not_fit_is_refused_on_reuse(store: ts.VariableStore, shape: Any):
    made = ts.get_variable("w", [3, 4])
    ts.get_variable_scope().reuse_variables()
    with pytest.raises(ts.VariableMismatchError, match=r"'w' has shape \(3, 4\), not"):
        ts.get_variable("w", shape)
    assert list(store) == ["w"]
    assert ts.get_variable("w", [3, 4]) is made


@pytest.mark.parametrize("shape", [-1, [-1], [3, -4], [None, -1], np.int64(-2)], ids=repr)
def test_a_negative_size_is_refused(store: ts.VariableStore, shape: Any):
    refused(store, ts.ScopeError, "negative", shape=shape)


@pytest.mark.parametrize(
    "shape",
    [1.5, 2.0, [1.5], [3, 4.0], "3", b"3", ["3"], [[3]], [(3, 4)], object(), [object()], 1j],
    ids=lambda shape: re.sub(" at 0x.*", "", repr(shape)),
)
def test_a_size_that_is_not_an_integer_is_refused(store: ts.VariableStore, shape: Any):
    refused(store, TypeError, "shape", shape=shape)


@pytest.mark.parametrize("shape", [None, [None], [3, None]], ids=repr)
@pytest.mark.parametrize("initializer", [None, ts.zeros_initializer(), nn.init.zeros_])
def test_a_shape_left_open_is_refused_where_a_variable_is_made(
    store: ts.VariableStore, shape: Any, initializer: Any
):
    refused(store, ts.ScopeError, "needs a full shape", shape=shape, initializer=initializer)


# ---- dtypes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "meant"),
    [
        (None, torch.float32),
        (torch.float64, torch.float64),
        (np.float64, torch.float64),
        (np.dtype("float64"), torch.float64),
        ("float64", torch.float64),
        (TensorFlowDType(), torch.float64),
        (torch.bfloat16, torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        (np.float16, torch.float16),
        (np.int32, torch.int32),
        (np.dtype(np.int64), torch.int64),
        ("uint8", torch.uint8),
        (np.bool_, torch.bool),
        (np.dtype(bool), torch.bool),
        (bool, torch.bool),
        ("bool", torch.bool),
    ],
    ids=repr,
)
def test_a_dtype_may_be_given_as(store: ts.VariableStore, dtype: Any, meant: torch.dtype):
    assert ts.get_variable("w", [2], dtype).dtype is meant
    ts.get_variable_scope().reuse_variables()
    assert ts.get_variable("w", [2], dtype) is store["w"]


@pytest.mark.parametrize(
    "dtype",
    [float, int, complex, str, object, np.str_, np.dtype("S3"), "float33", "ones", "", 1, ..., []],
    ids=repr,
)
def test_an_unknown_dtype_is_refused(store: ts.VariableStore, dtype: Any):
    refused(store, TypeError, "is not a dtype", shape=[2], dtype=dtype)


@pytest.mark.parametrize("dtype", [float, "float33"], ids=repr)
def test_an_unknown_dtype_is_refused_on_reuse_and_by_scopes(store: ts.VariableStore, dtype: Any):
    made = ts.get_variable("w", [2])
    ts.get_variable_scope().reuse_variables()
    with pytest.raises(TypeError, match="is not a dtype"):
        ts.get_variable("w", [2], dtype)
    with pytest.raises(TypeError, match="is not a dtype"):
        ts.variable_scope("a", dtype=dtype)
    with pytest.raises(TypeError, match="is not a dtype"):
        ts.get_variable_scope().set_dtype(dtype)
    assert ts.get_variable_scope().dtype is None
    assert ts.get_variable("w") is made


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def test_torchs_default_dtype_is_the_default(store: ts.VariableStore):
    with default_dtype(torch.float64):
        assert ts.get_variable("w", [2]).dtype is torch.float64


WITHOUT_A_DTYPE: dict[str, Callable[..., torch.Tensor]] = {
    "a shape": lambda: ts.get_variable("v", [2]),
    "a number": lambda: ts.get_variable("v", initializer=1.0),
    "a buffer": lambda: ts.get_buffer("v", [2], initializer=ts.zeros_initializer()),
    "a custom getter": lambda: ts.get_variable(
        "v", [2], custom_getter=lambda getter, *args, **kwargs: getter(*args, **kwargs)
    ),
}
every_get = pytest.mark.parametrize("get", WITHOUT_A_DTYPE.values(), ids=WITHOUT_A_DTYPE)


@every_get
def test_asked_without_a_dtype_a_variable_fits_whatever_torchs_default_was_then(
    store: ts.VariableStore, get: Callable[..., torch.Tensor]
):
    """Frameworks change it while they make a model: from_pretrained, Lightning."""
    with default_dtype(torch.bfloat16):
        made = get()
    with ts.variable_scope("", reuse=True):  # In the same pass,
        assert get() is made
    assert store(get) is made  # and in one of its own.
    assert made.dtype is torch.bfloat16


@every_get
def test_a_dtype_that_is_said_is_compared_though_torchs_default_has_changed(
    store: ts.VariableStore, get: Callable[..., torch.Tensor]
):
    with default_dtype(torch.bfloat16):
        get()
    with pytest.raises(ts.VariableMismatchError, match=r"'v' has dtype torch\.bfloat16, not"):
        store(ts.get_variable, "v", dtype=torch.float32)
    with (
        pytest.raises(ts.VariableMismatchError, match=r"'v' has dtype torch\.bfloat16, not"),
        ts.variable_scope("", reuse=True, dtype=torch.float32),
    ):
        ts.get_variable("v")


def test_a_variable_made_with_a_dtype_said_has_to_be_asked_for_with_it(store: ts.VariableStore):
    with default_dtype(torch.bfloat16):
        made = ts.get_variable("v", [2], torch.bfloat16)
    with pytest.raises(ts.VariableMismatchError, match=r"'v' has dtype torch\.bfloat16, not"):
        store(ts.get_variable, "v", [2])
    assert store(ts.get_variable, "v", [2], torch.bfloat16) is made


def test_code_that_is_compiled_finds_what_was_made_under_another_default_dtype():
    def model(x: torch.Tensor) -> torch.Tensor:
        return x * ts.get_variable("w", [2]) * ts.get_variable("s", initializer=2.0)

    with default_dtype(torch.bfloat16):
        net = ts.ScopedModule(model).build(torch.ones(2))
    x = torch.ones(2, dtype=torch.bfloat16)
    assert torch.equal(torch.compile(net, backend="eager", fullgraph=True)(x), net(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_start_as_glorots_uniform_values(store: ts.VariableStore, dtype: torch.dtype):
    values = ts.get_variable("w", [200, 400], dtype).detach().double()
    assert 0.0999 < values.abs().max() <= 0.1001  # sqrt(6 / (200 + 400))
    assert values.mean().abs() < 0.001
    assert values.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.bool])
def test_integers_and_booleans_start_as_zeros_and_are_not_trained(
    store: ts.VariableStore, dtype: torch.dtype
):
    variable = ts.get_variable("w", [3], dtype)
    assert variable.dtype is dtype
    assert not variable.any()
    assert isinstance(variable, nn.Parameter)
    assert not variable.requires_grad


def test_complex_numbers_need_an_initializer(store: ts.VariableStore):
    refused(store, ts.ScopeError, "needs an initializer", shape=[2], dtype=torch.complex64)


def test_complex_numbers_are_trained(store: ts.VariableStore):
    w = ts.get_variable("w", [2], torch.complex64, ts.zeros_initializer())
    assert w.dtype is torch.complex64
    assert w.requires_grad


# ---- initializers --------------------------------------------------------------------------------


def filled(shape: Iterable[int], dtype: torch.dtype | None = None) -> torch.Tensor:
    return torch.full(list(shape), 7, dtype=dtype)


def filled_with_partition_info(
    shape: Iterable[int], dtype: torch.dtype | None, partition_info: Any
) -> torch.Tensor:
    assert partition_info is None
    return filled(shape, dtype)


class Filled:
    def __call__(self, shape: Iterable[int], dtype: torch.dtype | None = None) -> torch.Tensor:
        return filled(shape, dtype)

    def method(self, shape: Iterable[int], dtype: torch.dtype | None = None) -> torch.Tensor:
        return filled(shape, dtype)


CALLABLES: dict[str, Any] = {
    "function": filled,
    "lambda": lambda shape, dtype: filled(shape, dtype),
    "keywords": lambda shape, **kwargs: filled(shape, **kwargs),
    "everything": lambda *args, **kwargs: filled(*args, **kwargs),
    "partition_info": filled_with_partition_info,
    "class": Filled,
    "instance": Filled(),
    "bound method": Filled().method,
    "partial": functools.partial(lambda number, shape, dtype: filled(shape, dtype) * number, 1),
    "ours": ts.constant_initializer(7),
    "nn.init": functools.partial(nn.init.constant_, val=7),
    "nn.init, twice partial": functools.partial(functools.partial(nn.init.constant_), val=7),
    "numpy": lambda shape, dtype: np.full(shape, 7.0),
    "list": lambda shape, dtype: [[7, 7, 7], [7, 7, 7]],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32])
@pytest.mark.parametrize("initializer", CALLABLES.values(), ids=CALLABLES)
def test_an_initializer_may_be_a(store: ts.VariableStore, initializer: Any, dtype: torch.dtype):
    variable = ts.get_variable("w", [2, 3], dtype, initializer)
    assert variable.dtype is dtype
    assert variable.tolist() == [[7, 7, 7], [7, 7, 7]]


@pytest.mark.parametrize("initializer", [torch.zeros, torch.ones, torch.rand], ids=repr)
def test_a_function_of_torch_is_an_initializer(
    store: ts.VariableStore, initializer: Callable[..., torch.Tensor]
):
    assert ts.get_variable("w", [2, 3], initializer=initializer).shape == (2, 3)


def test_an_initializer_is_called_as_tensorflow_calls_it(store: ts.VariableStore):
    calls: list[Any] = []

    def initializer(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append((args, kwargs))
        return torch.zeros(2, 3)

    ts.get_variable("w", torch.Size([2, 3]), initializer=initializer)
    assert calls == [(([2, 3],), {"dtype": torch.float32})]
    assert type(calls[0][0][0]) is list


def test_a_function_without_arguments_brings_its_own_shape(store: ts.VariableStore):
    assert ts.get_variable("a", initializer=lambda: torch.ones(3, 1)).shape == (3, 1)
    assert ts.get_variable("b", initializer=lambda: [[1, 2]]).tolist() == [[1, 2]]
    assert ts.get_variable("c", initializer=lambda: np.float64(1.5)).shape == ()


IN_PLACE = [
    nn.init.uniform_,
    nn.init.normal_,
    nn.init.trunc_normal_,
    nn.init.ones_,
    nn.init.zeros_,
    nn.init.eye_,
    nn.init.xavier_uniform_,
    nn.init.xavier_normal_,
    nn.init.kaiming_uniform_,
    nn.init.kaiming_normal_,
    nn.init.orthogonal_,
    functools.partial(nn.init.sparse_, sparsity=0.5),
    functools.partial(nn.init.normal_, std=0.5),
    functools.partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
]


@pytest.mark.parametrize(
    "function", IN_PLACE, ids=lambda function: getattr(function, "__name__", str(function)[:40])
)
def test_every_function_of_nn_init_is_an_initializer(store: ts.VariableStore, function: Any):
    variable = ts.get_variable("w", [30, 40], torch.float64, function)
    assert variable.shape == (30, 40)
    assert variable.dtype is torch.float64
    assert variable.requires_grad
    assert variable.is_leaf
    expected = function(torch.full((30, 40), 99.0, dtype=torch.float64))
    assert variable.abs().max() < 50
    assert variable.std().item() == pytest.approx(expected.std().item(), rel=0.25)


def test_dirac_is_an_initializer_of_convolutions(store: ts.VariableStore):
    kernel = ts.get_variable("w", [2, 2, 3, 3], initializer=nn.init.dirac_)
    x = torch.rand(1, 2, 5, 5)
    assert torch.allclose(torch.conv2d(x, kernel, padding=1), x)


def test_a_function_of_nn_init_counts_fans_in_pytorchs_way(store: ts.VariableStore):
    kernel = ts.get_variable("w", [64, 16, 3, 3], initializer=nn.init.xavier_uniform_)
    bound = (6 / (16 * 9 + 64 * 9)) ** 0.5
    assert kernel.abs().max().item() == pytest.approx(bound, rel=0.01)


VALUES: list[tuple[Any, Any, torch.dtype]] = [
    (torch.tensor([1.0, 2.0]), [1.0, 2.0], torch.float32),
    (torch.tensor([1.0, 2.0], dtype=torch.float64), [1.0, 2.0], torch.float64),
    (nn.Parameter(torch.tensor([1.0])), [1.0], torch.float32),
    (np.array([1.0, 2.0], dtype=np.float32), [1.0, 2.0], torch.float32),
    (np.array([1, 2], dtype=np.int32), [1, 2], torch.int32),
    (np.float64(1.5), 1.5, torch.float64),
    (1.5, 1.5, torch.float32),
    (0.0, 0.0, torch.float32),
    (0, 0, torch.int64),
    (False, False, torch.bool),
    ([1.0, 2.0], [1.0, 2.0], torch.float32),
    ([[1, 2], [3, 4]], [[1, 2], [3, 4]], torch.int64),
    ((1.0, 2.0), [1.0, 2.0], torch.float32),
    ([], [], torch.float32),
]


@pytest.mark.parametrize(("value", "expected", "dtype"), VALUES, ids=lambda value: repr(value)[:40])
def test_a_value_is_an_initializer(
    store: ts.VariableStore, value: Any, expected: Any, dtype: torch.dtype
):
    variable = ts.get_variable("w", initializer=value)
    assert variable.tolist() == expected
    assert variable.dtype is dtype
    assert variable.is_leaf


def test_the_dtype_settles_only_the_width_of_a_python_integer(store: ts.VariableStore):
    assert ts.get_variable("a", dtype=torch.int32, initializer=4).dtype is torch.int32
    with pytest.raises(ts.ScopeError, match=r"'b' is asked for with dtype torch\.float64"):
        ts.get_variable("b", dtype=torch.float64, initializer=np.float32(4))
    assert list(store) == ["a"]


@pytest.mark.parametrize("shape", [[2], [3], [], 2], ids=repr)
def test_a_value_and_a_shape_contradict_each_other(store: ts.VariableStore, shape: Any):
    refused(store, ts.ScopeError, "has its own shape", shape=shape, initializer=[1.0, 2.0])


@pytest.mark.parametrize(
    "value", [torch.zeros(2), np.zeros(2, np.float32), nn.Parameter(torch.zeros(2))]
)
def test_a_value_is_copied(store: ts.VariableStore, value: Any):
    first = ts.get_variable("first", initializer=value)
    second = ts.get_variable("second", initializer=value)
    with torch.no_grad():
        first += 1
    assert second.tolist() == [0, 0]
    assert value.tolist() == [0, 0]
    torch.as_tensor(value).detach()[0] = 9
    assert first.tolist() == [1, 1]
    assert second.tolist() == [0, 0]


TABLE = torch.zeros(2)


@pytest.mark.parametrize(
    "initializer",
    [
        lambda shape, dtype: TABLE,
        lambda shape, dtype: TABLE.view(2),
        lambda shape, dtype: TABLE.numpy(),
        lambda shape, dtype: TABLE.expand(2),
        ts.constant_initializer(TABLE),
        functools.partial(ts.constant_initializer(TABLE)),
    ],
    ids=["tensor", "view", "array", "expanded", "constant", "partial"],
)
def test_no_two_variables_share_memory_whatever_the_initializer_returns(
    store: ts.VariableStore, initializer: Any
):
    first = ts.get_variable("first", [2], initializer=initializer)
    second = ts.get_variable("second", [2], initializer=initializer)
    pointers = {tensor.untyped_storage().data_ptr() for tensor in (first, second, TABLE)}
    assert len(pointers) == 3


def test_a_variable_made_from_a_broadcast_value_can_be_changed_in_place(store: ts.VariableStore):
    w = ts.get_variable("w", [3], initializer=lambda shape, dtype: torch.zeros(1).expand(3))
    ts.assign(w, [1.0, 2.0, 3.0])
    assert w.tolist() == [1.0, 2.0, 3.0]


def test_an_initializer_that_computes_leaves_no_graph(store: ts.VariableStore):
    weight = nn.Parameter(torch.ones(2))
    w = ts.get_variable("w", [2], initializer=lambda shape, dtype: weight * 2)
    v = ts.get_variable("v", initializer=weight * 2)
    assert w.is_leaf
    assert v.is_leaf
    assert w.tolist() == v.tolist() == [2.0, 2.0]


def test_a_variable_made_under_no_grad_or_inference_mode_can_be_trained(store: ts.VariableStore):
    with torch.no_grad():
        a = ts.get_variable("a", [2])
    with torch.inference_mode():
        b = ts.get_variable("b", [2], initializer=lambda shape, dtype: torch.ones(shape))
        c = ts.get_variable("c", initializer=torch.ones(2))
    (a * b * c).sum().backward()
    assert all(variable.grad is not None for variable in (a, b, c))


AUTOCAST: dict[str, Any] = {
    "default": None,
    "orthogonal": ts.orthogonal_initializer(),
    "normal": ts.truncated_normal_initializer(),
    "nn.init": nn.init.orthogonal_,
    "a product": lambda shape, dtype: torch.rand(shape, dtype=dtype) @ torch.eye(3, dtype=dtype),
}


@pytest.mark.parametrize("initializer", AUTOCAST.values(), ids=AUTOCAST)
def test_autocast_does_not_reach_initial_values(initializer: Any):
    def model() -> torch.Tensor:
        return ts.get_variable("w", [3, 3], initializer=initializer)

    expected = ts.VariableStore(0)(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = ts.VariableStore(0)(model)
    assert found.dtype is torch.float32
    assert torch.equal(found, expected)


def test_an_error_of_the_initializer_comes_through_unchanged(store: ts.VariableStore):
    def initializer(shape: Any, dtype: Any) -> torch.Tensor:
        raise ZeroDivisionError("mine")

    refused(store, ZeroDivisionError, "^mine$", shape=[2], initializer=initializer)


def test_a_type_error_inside_the_initializer_is_its_own(store: ts.VariableStore):
    def initializer(shape: Any, dtype: Any) -> torch.Tensor:
        return len(5)  # type: ignore[arg-type]

    refused(
        store,
        TypeError,
        r"^object of type 'int' has no len\(\)$",
        shape=[2],
        initializer=initializer,
    )


def test_an_error_of_nn_init_comes_through_unchanged(store: ts.VariableStore):
    refused(
        store, ValueError, "fewer than 2 dimensions", shape=[2], initializer=nn.init.xavier_uniform_
    )


BAD_RESULTS: dict[str, tuple[Any, str]] = {
    "None": (lambda shape, dtype: None, "returned None"),
    "a string": (lambda shape, dtype: "zeros", "returned 'zeros', not a tensor"),
    "an object": (lambda shape, dtype: object(), "returned <object.*, not a tensor"),
    "another shape": (lambda shape, dtype: torch.zeros(3), r"returned shape \(3,\), not \(2,\)"),
    "a scalar": (lambda shape, dtype: torch.zeros(()), r"returned shape \(\), not \(2,\)"),
    "a list of another shape": (lambda shape, dtype: [1.0], r"returned shape \(1,\), not \(2,\)"),
    "another dtype": (
        lambda shape, dtype: torch.zeros(2, dtype=torch.float64),
        r"returned dtype torch\.float64, not torch\.float32",
    ),
    "another device": (
        lambda shape, dtype: torch.zeros(2, device="meta"),
        "returned a tensor on meta",
    ),
}


@pytest.mark.parametrize(("initializer", "match"), BAD_RESULTS.values(), ids=BAD_RESULTS)
def test_an_initializer_is_refused_that_returns(
    store: ts.VariableStore, initializer: Any, match: str
):
    refused(store, ts.VariableMismatchError, f"'w' {match}", shape=[2], initializer=initializer)


def test_an_initializer_that_is_or_returns_a_sparse_tensor_gives_its_values():
    sparse = torch.tensor([0.0, 2.0]).to_sparse()
    store = ts.VariableStore()
    with store:
        ts.get_variable("a", initializer=sparse)
        ts.get_variable("b", [2], initializer=lambda shape, dtype: sparse)
    assert store["a"].tolist() == store["b"].tolist() == [0, 2]


@pytest.mark.parametrize(
    "initializer",
    [lambda: torch.zeros(2), lambda shape: torch.zeros(2), lambda a, b, c: torch.zeros(2)],
    ids=["no arguments", "no dtype", "three arguments"],
)
def test_an_initializer_that_cannot_be_called_with_shape_and_dtype_is_refused(
    store: ts.VariableStore, initializer: Any
):
    refused(store, TypeError, "cannot be called as f", shape=[2], initializer=initializer)


@pytest.mark.parametrize(
    "initializer", ["zeros", b"zeros", object(), {"a": 1}, ["a"], [[1], [1, 2]]], ids=type
)
def test_an_initializer_that_is_neither_function_nor_value_is_refused(
    store: ts.VariableStore, initializer: Any
):
    refused(store, TypeError, "is not an initializer", initializer=initializer)


def test_a_failed_initializer_leaves_its_scope_and_pass_unharmed(store: ts.VariableStore):
    with ts.variable_scope("a"), ts.variable_scope("b"):
        with pytest.raises(ts.VariableMismatchError, match="'a/b/w'"):
            ts.get_variable("w", [2], initializer=lambda shape, dtype: None)
        assert ts.get_variable_scope().name == "a/b"
        ts.get_variable("w", [2])
    assert list(store) == ["a/b/w"]


def test_an_initializer_may_ask_for_another_variable(store: ts.VariableStore):
    def twice_the_other(shape: Any, dtype: Any) -> torch.Tensor:
        return ts.get_variable("other", shape, dtype) * 2

    w = ts.get_variable("w", [2], initializer=twice_the_other)
    assert list(store) == ["other", "w"]
    assert torch.equal(w, store["other"] * 2)


# ---- seeds ---------------------------------------------------------------------------------------

NAMES = ["a", "b", "a/a", "a/b", "b/a", "model/w", "model/w_1", "keys", "v.1"]


def made(names: Iterable[str] = NAMES, seed: int | None = None) -> dict[str, torch.Tensor]:
    store = ts.VariableStore(seed)
    with store:
        for name in names:
            ts.get_variable(name, [3, 2])
    return dict(store.items())


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_same_manual_seed_gives_the_same_values():
    torch.manual_seed(5)
    first, other = made(), made()
    torch.manual_seed(5)
    assert same(first, made())
    assert same(other, made())


def test_values_do_not_depend_on_the_order_of_creation():
    assert same(made(seed=3), made(reversed(NAMES), seed=3))


def test_values_do_not_depend_on_what_else_is_there():
    assert torch.equal(made(["model/w"], seed=3)["model/w"], made(seed=3)["model/w"])


def test_two_stores_made_one_after_the_other_differ():
    first, second = made(), made()
    assert not any(torch.equal(first[name], second[name]) for name in NAMES)


def test_no_two_variables_start_equal():
    values = made([*NAMES, *(f"layer_{number}/w" for number in range(40))])
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(values.values(), 2))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63, 10**30])
def test_a_seed_given_settles_the_values(seed: int):
    torch.manual_seed(1)
    first = made(seed=seed)
    torch.manual_seed(2)
    assert same(first, made(seed=seed))
    assert not same(first, made(seed=seed + 1))
    assert ts.VariableStore(seed).seed == ts.ScopedModule(made, seed=seed).seed == seed


def test_a_store_and_a_module_of_the_same_seed_start_equal():
    net = ts.ScopedModule(lambda: [ts.get_variable(name, [3, 2]) for name in NAMES], seed=3).build()
    assert same(dict(net.items()), made(seed=3))


def test_a_seed_given_leaves_the_random_stream_alone():
    stream = torch.get_rng_state()
    made(seed=3)
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize(
    "initializer",
    [
        None,
        ts.truncated_normal_initializer(),
        ts.orthogonal_initializer(),
        nn.init.normal_,
        lambda shape, dtype: torch.randn(shape, dtype=dtype),
    ],
    ids=["default", "truncated", "orthogonal", "nn.init", "torch.randn"],
)
def test_making_a_variable_leaves_the_random_stream_alone(
    store: ts.VariableStore, initializer: Any
):
    stream, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    ts.get_variable("w", [30, 2], initializer=initializer)
    assert torch.equal(torch.get_rng_state(), stream)
    assert (np.random.get_state()[1] == numpys).all()


@pytest.mark.parametrize(
    "initializer",
    [nn.init.normal_, lambda shape, dtype: torch.randn(shape, dtype=dtype)],
    ids=["nn.init", "torch.randn"],
)
def test_an_initializer_that_draws_by_itself_draws_from_the_variables_own_stream(initializer: Any):
    def model() -> list[torch.Tensor]:
        return [ts.get_variable(name, [3], initializer=initializer) for name in ("a", "b")]

    first, second = ts.VariableStore(3)(model)
    assert not torch.equal(first, second)
    assert torch.equal(torch.stack(ts.VariableStore(3)(model)), torch.stack([first, second]))


def test_a_module_draws_from_the_stream_of_its_name():
    def model() -> None:
        stream = torch.get_rng_state()
        for name in ("a", "b"):
            ts.get_module(name, lambda: nn.Linear(2, 3))
        assert torch.equal(torch.get_rng_state(), stream)

    first, again, other = (ts.ScopedModule(model, seed=seed).build() for seed in (3, 3, 4))
    weights = dict(first.named_variables())
    assert not torch.equal(weights["a/weight"], weights["b/weight"])
    assert same(weights, dict(again.named_variables()))
    assert not same(weights, dict(other.named_variables()))


def test_blocks_differ_from_one_another_and_repeat_with_the_seed():
    def block() -> torch.Tensor:
        return ts.get_variable("w", [3])

    def model() -> torch.Tensor:
        return torch.stack(
            [ts.get_module(f"h{number}", lambda: ts.ScopedModule(block))() for number in range(3)]
        )

    values = ts.ScopedModule(model, seed=3).build()()
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(values, 2))
    assert torch.equal(values, ts.ScopedModule(model, seed=3)())


def test_a_copy_starts_from_the_same_seed():
    net = ts.ScopedModule(lambda: ts.get_variable("w", [3]))
    twin = copy.deepcopy(net)
    assert torch.equal(net(), twin())


def test_values_are_the_same_whatever_the_default_device_and_thread_count(
    store: ts.VariableStore,
):
    with torch.device("meta"):
        elsewhere = ts.VariableStore(store.seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with elsewhere:
            other = ts.get_variable("w", [300, 300])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(ts.get_variable("w", [300, 300]), other)
