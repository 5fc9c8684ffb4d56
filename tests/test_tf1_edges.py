"""Plain operations at their edges: values, gradients and errors recorded from TensorFlow 2.21's v1.

What they compute in the usual cases is held by test_tf1_conformance.py.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torchscope.tf1 as tf

INTS = torch.tensor([[7, -7, 3], [-2, 0, 5]], dtype=torch.int32)
BYTES = torch.tensor([[1, 200, 3], [4, 5, 255]], dtype=torch.uint8)
ROWS = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
COMPLEX = torch.tensor([[1 + 2j]])
INF = math.inf

VALUES: dict[str, tuple[Callable[[], Any], Any, torch.dtype]] = {
    "a mean of bytes does not overflow": (lambda: tf.reduce_mean(BYTES), 78, tf.uint8),
    "batch_dims counts from the end": (
        lambda: tf.gather(ROWS, [[0, 2], [1, 0]], batch_dims=-1),
        [[0, 2], [4, 3]],
        tf.float32,
    ),
    "a range beyond int32 is int64": (
        lambda: tf.range(2**31 + 5, 2**31 + 7),
        [2**31 + 5, 2**31 + 6],
        tf.int64,
    ),
    "saturate_cast of ints to floats": (
        lambda: tf.saturate_cast(INTS, tf.float32),
        [[7, -7, 3], [-2, 0, 5]],
        tf.float32,
    ),
    "saturate_cast of bytes": (
        lambda: tf.saturate_cast(BYTES, tf.int8),
        [[1, 127, 3], [4, 5, 127]],
        tf.int8,
    ),
    "saturate_cast of infinities": (
        lambda: tf.saturate_cast([INF, -INF], tf.int32),
        [2147483520, -(2**31)],
        tf.int32,
    ),
    "divide takes a number before a tensor": (
        lambda: tf.divide(2, ROWS[1, 1:]),
        [0.5, 0.4],
        tf.float32,
    ),
    "so does div_no_nan": (lambda: tf.div_no_nan(2, ROWS[0]), [0, 2, 1], tf.float32),
    "stack keeps an array's dtype": (lambda: tf.stack(np.array([1.0, 2.0])), [1, 2], tf.float64),
    "a constant without elements": (lambda: tf.constant([], shape=[0]), [], tf.float32),
    "Python's range": (lambda: tf.convert_to_tensor(range(3)), [0, 1, 2], tf.int32),
    "a mean of ints is truncated": (
        lambda: tf.segment_mean(INTS, [0, 0]),
        [[2, -3, 4]],
        tf.int32,
    ),
    "classes may be floats": (
        lambda: tf.confusion_matrix([0.0, 1.0], [0.0, 1.0]),
        [[1, 0], [0, 1]],
        tf.int32,
    ),
    "a single value joins along any axis": (lambda: tf.concat([ROWS[0]], 3), [0, 1, 2], tf.float32),
    "complex squares are distances": (
        lambda: tf.squared_difference(COMPLEX, 1j),
        [[2]],
        tf.complex64,
    ),
    "a complex variance is real": (
        lambda: tf.math.reduce_variance(tf.stack([COMPLEX, COMPLEX + 2j]), 0),
        [[1]],
        tf.float32,
    ),
    "a complex norm is a length": (
        lambda: tf.math.reduce_euclidean_norm(COMPLEX * (2 - 1j)),
        5,
        tf.complex64,
    ),
    "a mean of complex rows": (lambda: tf.segment_mean(COMPLEX, [0]), [[1 + 2j]], tf.complex64),
    "complex padding": (
        lambda: tf.pad(COMPLEX, [[0, 1], [1, 0]], constant_values=2),
        [[2, 1 + 2j], [2, 2]],
        tf.complex64,
    ),
    "lengths may be floats": (
        lambda: tf.sequence_mask([1.5, 0.5]),
        [[True, True], [True, False]],
        tf.bool,
    ),
    "up to an int they are truncated": (
        lambda: tf.sequence_mask([1.5, 0.5], 2),
        [[True, False], [False, False]],
        tf.bool,
    ),
    "clipping to a global norm of 0": (
        lambda: tf.clip_by_global_norm([ROWS], 0.0)[0][0],
        [[0, 0, 0], [0, 0, 0]],
        tf.float32,
    ),
    "two updates of one place": (
        lambda: tf.tensor_scatter_add(ROWS, [[0, 0], [1, 1], [0, 0]], [1.0, 2.0, 3.0]),
        [[4, 1, 2], [3, 6, 5]],
        tf.float32,
    ),
    "a position alone": (lambda: tf.unravel_index(7, [3, 4]), [1, 3], tf.int32),
    "igamma beyond its domain": (
        lambda: tf.igamma([0.5, 2.0, 0.0, -1.0], [1.0, 2.0, 1.0, 2.0]),
        [0.84270084, 0.5939942, math.nan, math.nan],
        tf.float32,
    ),
    "polygamma of each order": (
        lambda: tf.polygamma([0.0, 1.0, 2.0, -1.0, 1.5], [1.0, 2.0, 3.0, 1.0, 2.0]),
        [-0.5772159, 0.64493406, -0.1541138, math.nan, math.nan],
        tf.float32,
    ),
    "the mean of an empty segment": (
        lambda: tf.sparse_segment_mean(ROWS, [1, 0, 1], [0, 0, 2], num_segments=4),
        [[1.5, 2.5, 3.5], [0, 0, 0], [3, 4, 5], [0, 0, 0]],
        tf.float32,
    ),
    "sqrt_n": (
        lambda: tf.sparse_segment_sqrt_n([[1.0], [7.0], [4.0]], [0, 1, 2], [0, 0, 1]),
        [[5.656854], [4.0]],
        tf.float32,
    ),
    "segments of chosen ints": (
        lambda: tf.sparse_segment_sum([1, 2, 3], [0, 2], [0, 0]),
        [4],
        tf.int32,
    ),
    "a sum of int32 by letters": (lambda: tf.einsum("ij->", INTS), 6, tf.int32),
    "no lengths": (lambda: tf.reduce_sum(tf.sequence_mask([], dtype=tf.int32)), 0, tf.int32),
    "one hot of small ints": (
        lambda: tf.one_hot(tf.cast([1, 0], tf.int8), 2),
        [[0, 1], [1, 0]],
        tf.float32,
    ),
    "padded with a tensor": (
        lambda: tf.pad([1.0, 2.0], [[1, 1]], constant_values=ROWS[1, 0]),
        [3, 1, 2, 3],
        tf.float32,
    ),
    "the share of False": (lambda: tf.nn.zero_fraction([True, False]), 0.5, tf.float32),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_value_is_tensorflows(name: str):
    call, expected, dtype = VALUES[name]
    torch.testing.assert_close(call(), torch.tensor(expected, dtype=dtype), equal_nan=True)


def test_a_poisson_number_alone_has_no_axes():
    assert tf.random_poisson(1.0, []).shape == ()
    assert tf.random_poisson(1, [2]).dtype is tf.float32


def test_a_grid_of_nothing_is_empty():
    assert tf.meshgrid() == []


X = [-1.5, 0.0, 2.5]
GRADIENTS: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "gather of one element": (lambda x: tf.gather(x, 1), [0.0, 1.0, 0.0]),
    "linspace from a tensor": (lambda x: tf.linspace(x[0], 4.0, 3), [1.5, 0, 0]),
    "linspace to a tensor": (lambda x: tf.linspace(0.0, x[2], 3), [0, 0, 1.5]),
    "reduce_std over no axes": (lambda x: tf.math.reduce_std(x, []), [math.nan] * 3),
    "the value of a pixel with two equal channels": (
        lambda x: tf.image.rgb_to_hsv(torch.stack([x[0], x[2], x[2].detach()]))[2],
        [0.0, 0.0, 1.0],
    ),
    "the slope of a slope of a power": (
        lambda x: torch.autograd.grad(tf.pow(x, [2.0, 3.0, 3.0]).sum(), x, create_graph=True)[0],
        [2.0, 0.0, 15.0],
    ),
    "abs of NaN": (lambda x: tf.abs(x * torch.tensor([1, 0, math.nan])), [-1.0, 0, math.nan]),
    "div_no_nan of a number": (lambda x: tf.div_no_nan(2, x), [-8 / 9, 0, -0.32]),
    "cholesky_solve, which reads one triangle": (
        lambda x: tf.cholesky_solve([[2.0, x[0]], [1.0, 3.0]], [[1.0], [x[2]]]),
        [0, 0, 1 / 18],
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_gradient_is_tensorflows(name: str):
    x = torch.tensor(X, requires_grad=True)
    call, expected = GRADIENTS[name]
    (gradient,) = torch.autograd.grad(call(x).sum(), x)
    torch.testing.assert_close(gradient, torch.tensor(expected), equal_nan=True)


REFUSED: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (
        lambda x: tf.reduce_sum(x, [[0, 1]]),
        ValueError,
        r"reduce_sum\(\): axis\[0\] has to be",
    ),
    (lambda x: tf.reduce_sum(x, [None]), TypeError, r"reduce_sum\(\): axis=\[None\]"),
    (lambda x: tf.reshape(x, [None, 3]), TypeError, r"reshape\(\): shape=\[None, 3\] has a None"),
    (lambda x: tf.cumsum(x, None), ValueError, r"cumsum\(\): axis has to be an int, not None"),
    (lambda x: tf.one_hot([0], [3]), ValueError, r"one_hot\(\): depth has to be an int"),
    (lambda x: tf.eye(x), ValueError, r"eye\(\): num_rows has to be an int"),
    (lambda x: tf.constant(300, tf.uint8), ValueError, "300 does not fit into uint8"),
    (lambda x: tf.constant([1], shape=[2], verify_shape=True), TypeError, "has shape"),
    (lambda x: tf.add_n(x), TypeError, r"add_n\(\): inputs has to be a list"),
    (lambda x: tf.add_n([x > 0]), TypeError, r"add_n\(\): inputs is bool"),
    (lambda x: tf.realdiv(INTS, 2), TypeError, r"realdiv\(\): x is int32"),
    (lambda x: tf.pow(INTS, -2), ValueError, r"pow\(\): x is int32 and y negative"),
    (lambda x: tf.scalar_mul(x, x), ValueError, r"scalar_mul\(\): scalar has shape"),
    (lambda x: tf.argmax(2.0), ValueError, r"argmax\(\): axis=0 for a scalar"),
    (lambda x: tf.einsum("ij,jk->ik", x, x[:1]), ValueError, "j of 'ij,jk->ik' has sizes 3 and 1"),
    (lambda x: tf.einsum("...i,i->...", x, x[0, :1]), ValueError, "i of .* has sizes 3 and 1"),
    (lambda x: tf.gather_nd(x, [[0]], batch_dims=1), ValueError, r"gather_nd\(\): .* batch_dims=1"),
    (lambda x: tf.gather(x[:0], [0]), IndexError, r"gather\(\): ids from 0 to 0 for a table of 0"),
    (lambda x: tf.nn.embedding_lookup(x[0, 0], [0]), ValueError, "params is a scalar"),
    (lambda x: tf.nn.embedding_lookup([1, 2], [0]), ValueError, "params is a list of numbers"),
    (lambda x: tf.strided_slice(x, [0, 0], [1, 1], ellipsis_mask=3), ValueError, "ellipsis_mask=3"),
    (lambda x: tf.pad(x, 1), ValueError, r"pad\(\): paddings has to be 2 pairs"),
    (lambda x: tf.pad(INTS, [[1, 0], [0, 0]], constant_values=0.5), TypeError, "constant_values"),
    (lambda x: tf.tile(x, [1, 2.0]), TypeError, r"tile\(\): multiples\[1\] has to be an int"),
    (lambda x: tf.norm(x, [0, 1]), ValueError, r"norm\(\): ord=\[0, 1\] has to be a number"),
    (lambda x: tf.where(True), ValueError, r"where\(\): condition is a scalar"),
    (lambda x: tf.clip_by_value(x[0, 0], x, 2.0), ValueError, "clip_value_min"),
    (lambda x: tf.clip_by_norm(x, None), ValueError, r"clip_by_norm\(\): clip_norm is None"),
    (lambda x: tf.clip_by_norm(x, [1.0, 2.0]), ValueError, r"clip_by_norm\(\): clip_norm \[2\]"),
    (lambda x: tf.split(x, [1, 1], 0, 3), ValueError, r"split\(\): num=3 for 2 sizes"),
    (lambda x: tf.roll(x, [1, 2], 0), ValueError, r"roll\(\): 2 shifts for 1 axes"),
    (lambda x: tf.pad(x, None), ValueError, r"pad\(\): paddings has to be 2 pairs"),
    (lambda x: tf.sequence_mask([1], -1), ValueError, "maxlen=-1 is negative"),
    (lambda x: tf.argmin(x, [0]), ValueError, r"argmin\(\): axis has to be an int"),
    (lambda x: tf.svd(x[0]), ValueError, r"svd\(\): shape \[3\] is not one of matrices"),
    (lambda x: tf.qr(INTS), TypeError, r"qr\(\): x is int32"),
    (lambda x: tf.space_to_depth(x, 0), ValueError, r"block_size=0 has to be 2 or more"),
    (lambda x: tf.space_to_batch_nd(x, [0], [[0, 0]]), ValueError, r"block_shape=\[0\]"),
    (lambda x: tf.reverse_sequence(x, [-1, 1], 1), ValueError, "a length is not from 0 to 3"),
    (lambda x: tf.dynamic_partition(x, [0, 5], 2), ValueError, "not all from 0 to 1"),
    (lambda x: tf.dynamic_stitch([], []), ValueError, r"dynamic_stitch\(\)"),
    (lambda x: tf.unsorted_segment_sum(x, [0, 1], -1), ValueError, "num_segments=-1 is negative"),
    (lambda x: tf.setdiff1d(INTS, [1]), ValueError, r"setdiff1d\(\)"),
    (lambda x: tf.bincount([-1, 0]), ValueError, "negative number -1"),
    (lambda x: tf.bincount([0, 1], weights=[1.0]), ValueError, "1 weights for 2 numbers"),
    (lambda x: tf.bitcast(x, tf.int64), ValueError, "last axis has to have size 2"),
    (lambda x: tf.bitcast(x > 0, tf.uint8), TypeError, r"bitcast\(\): input is bool"),
    (lambda x: tf.shape_n(x), TypeError, r"shape_n\(\): input has to be a list"),
    (lambda x: tf.broadcast_to(1.0, [-1, 3]), ValueError, r"\[\] cannot become \[-1, 3\]"),
    (lambda x: tf.nn.moments(COMPLEX, 0), TypeError, r"moments\(\): x is complex64"),
    (lambda x: tf.confusion_matrix([0, 1], [0]), ValueError, "2 labels and 1 predictions"),
    (lambda x: tf.random_normal([2], mean=x), ValueError, r"random_normal\(\)"),
    (lambda x: tf.batch_gather(x, [[5], [0]]), IndexError, r"gather\(\): indices from 0 to 5"),
    (lambda x: tf.assert_less(x > 0, x > 0), TypeError, r"assert_less\(\): x is bool"),
    (lambda x: tf.assert_scalar(x, message="one"), ValueError, "one: x has shape"),
    (lambda x: tf.sparse_segment_mean(INTS, [0], [0]), TypeError, "data is int32"),
    (lambda x: tf.sparse_segment_sum(x, [0, 3], [0, 0]), IndexError, "ids from 0 to 3"),
    (lambda x: tf.sparse_segment_sum(x, [0, 1], [1, 0]), ValueError, "have to be a sorted"),
    (
        lambda x: tf.sparse_segment_sum(x, [0, 1], [0, 3], num_segments=2),
        IndexError,
        "3, too large",
    ),
    (lambda x: tf.sparse_segment_sum(x, [0, 1], [1, 0], num_segments=2), ValueError, "sorted"),
    (lambda x: tf.unravel_index([12], [3, 4]), IndexError, r"unravel_index\(\): indices from 12"),
    (lambda x: tf.tensor_scatter_add(x, [[3]], [[1.0, 1, 1]]), IndexError, "indices from 3 to 3"),
    (lambda x: tf.tensor_scatter_sub(x, [[0]], [1.0]), ValueError, r"\[1, 1\] and updates \[1\]"),
    (lambda x: tf.igamma(1, 2), TypeError, r"igamma\(\): a is int32"),
    (lambda x: tf.scatter_add(tf.Variable([1.0]), [-1], [1.0]), IndexError, r"scatter_add\(\)"),
    (lambda x: tf.scatter_update(tf.Variable([1.0]), [5], [1.0]), IndexError, "out of range"),
]


@pytest.mark.parametrize(("call", "error", "says"), REFUSED, ids=[says for _, _, says in REFUSED])
def test_an_operation_refuses_with_tensorflows_class_of_error(
    call: Callable[[Tensor], Any], error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        call(ROWS)


# A view of one number; a copy would be larger than what a process can address.
NOWHERE = torch.zeros(1).expand(10**8, 10**8)
TOO_LARGE: dict[str, Callable[[], Any]] = {
    "concat": lambda: tf.concat([NOWHERE, NOWHERE], 0),
    "einsum": lambda: tf.einsum("ij,kj->ik", NOWHERE, NOWHERE),
    "fill": lambda: tf.fill([10**8, 10**8], 1.0),
    "gather": lambda: tf.gather(NOWHERE, torch.zeros(10**6, dtype=torch.int32), axis=1),
    "matmul": lambda: tf.matmul(NOWHERE, NOWHERE),
    "stack": lambda: tf.stack([NOWHERE, NOWHERE]),
    "tile": lambda: tf.tile(NOWHERE, [2, 2]),
    "zeros": lambda: tf.zeros([10**8, 10**8]),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_want_of_memory_is_not_taken_for_a_wrong_shape(name: str):
    with pytest.raises(RuntimeError, match="memory"):
        TOO_LARGE[name]()


def test_what_is_a_tensor():
    kinds = [ROWS, tf.SparseTensor([[0]], [1.0], [2]), tf.shape(ROWS), 1.0, ROWS.numpy(), [ROWS]]
    assert [tf.is_tensor(x) for x in kinds] == [True] * 3 + [False] * 3
    assert tf.contrib.framework.is_tensor is tf.is_tensor


def test_names_of_tf_nn_are_in_tf_math_and_tf_linalg_as_well():
    names = "softmax log_softmax top_k in_top_k l2_normalize zero_fraction softplus softsign"
    assert all(getattr(tf.math, name) is getattr(tf.nn, name) for name in names.split())
    assert tf.linalg.l2_normalize is tf.nn.l2_normalize
    assert tf.linalg.matrix_transpose is tf.matrix_transpose


BINARY = (tf.maximum, tf.less, tf.greater_equal, tf.atan2, tf.mod, tf.floordiv, tf.complex)
FOR_REAL = (
    *(tf.floor, tf.ceil, tf.rint, tf.round, tf.erf, tf.lgamma, tf.log_sigmoid, tf.is_nan),
    *(tf.reduce_max, tf.reduce_min, tf.argmax, tf.sort, tf.nn.top_k, tf.reduce_logsumexp),
    *(tf.nn.relu, tf.nn.elu, tf.nn.softmax, tf.nn.softplus, tf.nn.leaky_relu),
    lambda x: tf.clip_by_value(x, 0, 1),
    lambda x: tf.unsorted_segment_max(x, [0], 1),
)


@pytest.mark.parametrize("call", [*FOR_REAL, *BINARY])
def test_what_is_for_real_numbers_refuses_complex_ones(call: Callable[..., Any]):
    with pytest.raises(TypeError, match=r"\w+\(\): \w+ is complex64 and has to be real"):
        call(*[COMPLEX] * (1 + (call in BINARY)))


@pytest.mark.parametrize("name", ["div", "floordiv", "mod", "truncatediv", "truncatemod"])
def test_a_division_of_integers_by_zero_says_whose(name: str):
    for y in (0, INTS):  # which has a 0
        with pytest.raises(ZeroDivisionError, match=rf"{name}\(\): y has a 0"):
            getattr(tf, name)(INTS, y)
    assert getattr(tf, name)(ROWS, 0).shape == ROWS.shape
