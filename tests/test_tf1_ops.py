"""Every plain operation, compiled, on meta, in bfloat16 and under vmap; what they refuse; dtypes.

What they compute is held to TensorFlow's record by test_tf1_conformance.py.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils._pytree as pytree
from torch import Tensor

import torchscope.tf1 as tf

MODULES = (
    "arithmetic",
    "arrays",
    "casts",
    "comparisons",
    "creation",
    "elementwise",
    "indexing",
    "linear_algebra",
    "old_names",
    "reductions",
    "segments",
    "shapes",
    "slicing",
    "sparse",
    "sparse_segments",
    "special",
)
NAMES = [
    name
    for module in MODULES
    for name in importlib.import_module(f"torchscope.tf1.ops.{module}").__all__
]


def spd(x: Tensor) -> Tensor:
    """A symmetric positive definite matrix made of x, [3, 4]."""
    return tf.add(tf.matmul(x, x, transpose_b=True), tf.eye(3, dtype=x.dtype))


def sparse(x: Tensor) -> tf.SparseTensor:
    return tf.SparseTensor([[0, 1], [2, 0]], x[0, :2], [3, 4])


# A call of each operation on x: [3, 4], between 0.2 and 0.9.
CALLS: dict[str, Callable[[Tensor], Any]] = {
    "accumulate_n": lambda x: tf.accumulate_n([x, x]),
    "add": lambda x: tf.add(x, 2),
    "add_n": lambda x: tf.add_n([x, x, x]),
    "atan2": lambda x: tf.atan2(x, x[0]),
    "clip_by_value": lambda x: tf.clip_by_value(x, 0.3, 0.6),
    "complex": lambda x: tf.real(tf.complex(tf.to_float(x), tf.to_float(x))),
    "cross": lambda x: tf.cross(x[:, :3], x[:, 1:]),
    "div": lambda x: tf.div(1.0, x),
    "div_no_nan": lambda x: tf.div_no_nan(x, x - x[0]),
    "divide": lambda x: tf.divide(2, x),
    "floordiv": lambda x: tf.floordiv(x, x[0]),
    "maximum": lambda x: tf.maximum(x, x[0]),
    "minimum": lambda x: tf.minimum(x, x[0]),
    "mod": lambda x: tf.mod(x, x[0]),
    "multiply": lambda x: tf.multiply(2.0, x),
    "pow": lambda x: tf.pow(x, x[0]),
    "realdiv": lambda x: tf.realdiv(x, x[0]),
    "scalar_mul": lambda x: tf.scalar_mul(3, x),
    "squared_difference": lambda x: tf.squared_difference(x, x[0]),
    "subtract": lambda x: tf.subtract(1.0, x),
    "truediv": lambda x: tf.truediv(x, x[0]),
    "truncatediv": lambda x: tf.truncatediv(tf.to_int32(x * 9), 2),
    "truncatemod": lambda x: tf.truncatemod(x, x[0]),
    "concat": lambda x: tf.concat([x, x[:1]], 0),
    "expand_dims": lambda x: tf.expand_dims(x, 1),
    "matrix_transpose": lambda x: tf.matrix_transpose(x),
    "repeat": lambda x: tf.repeat(x, 2, axis=1),
    "reshape": lambda x: tf.reshape(x, tf.stack([tf.shape(x)[1], -1])),
    "squeeze": lambda x: tf.squeeze(x[:, :1], [1]),
    "stack": lambda x: tf.stack([x, x], axis=1),
    "tile": lambda x: tf.tile(x, [2, 1]),
    "transpose": lambda x: tf.transpose(x),
    "bitcast": lambda x: tf.bitcast(tf.to_float(x), tf.int32),
    "cast": lambda x: tf.cast(x, tf.int32),
    "identity": lambda x: tf.identity(x),
    "identity_n": lambda x: tf.identity_n([x, x]),
    "saturate_cast": lambda x: tf.saturate_cast(x * 500, tf.uint8),
    "approximate_equal": lambda x: tf.approximate_equal(x, x[0], 0.1),
    "equal": lambda x: tf.equal(x, x[0]),
    "greater": lambda x: tf.greater(x, 0.5),
    "greater_equal": lambda x: tf.greater_equal(0.5, x),
    "less": lambda x: tf.less(x, x[0]),
    "less_equal": lambda x: tf.less_equal(x, x[0]),
    "logical_and": lambda x: tf.logical_and(x > 0.5, x > 0.4),
    "logical_not": lambda x: tf.logical_not(x > 0.5),
    "logical_or": lambda x: tf.logical_or(x > 0.5, [True, False, True, False]),
    "logical_xor": lambda x: tf.logical_xor(x > 0.5, x > 0.4),
    "not_equal": lambda x: tf.not_equal(x, x[0]),
    "constant": lambda x: tf.constant([1, 2], shape=[2, 2]) + tf.to_int32(x[:2, :2]),
    "convert_to_tensor": lambda x: tf.convert_to_tensor([x, x]),
    "eye": lambda x: tf.eye(tf.shape(x)[0], batch_shape=[2]),
    "fill": lambda x: tf.fill(tf.shape(x), x[0, 0]),
    "linspace": lambda x: tf.linspace(0.0, 1.0, tf.shape(x)[0]),
    "meshgrid": lambda x: tf.meshgrid(x[0], x[1]),
    "one_hot": lambda x: tf.one_hot(tf.to_int32(x * 5), 4),
    "ones": lambda x: tf.ones(tf.shape(x)),
    "ones_like": lambda x: tf.ones_like(x),
    "range": lambda x: tf.range(tf.shape(x)[1]),
    "sequence_mask": lambda x: tf.sequence_mask(tf.to_int32(x[0] * 5), 4),
    "zeros": lambda x: tf.zeros([tf.shape(x)[0], 2]),
    "zeros_like": lambda x: tf.zeros_like(x),
    "acosh": lambda x: tf.acosh(x + 1),
    "angle": lambda x: tf.angle(x),
    "conj": lambda x: tf.conj(x),
    "imag": lambda x: tf.imag(x),
    "real": lambda x: tf.real(x),
    "batch_gather": lambda x: tf.batch_gather(x, tf.to_int32(x * 3)),
    "gather": lambda x: tf.gather(x, [[0, 2]], axis=1),
    "igamma": lambda x: tf.igamma(0.5 + tf.zeros_like(x), x),
    "igammac": lambda x: tf.igammac(0.5 + tf.zeros_like(x), x),
    "is_tensor": lambda x: tf.where([tf.is_tensor(x)], [x], [x]),
    "polygamma": lambda x: tf.polygamma(tf.ones_like(x), x),
    "tensor_scatter_add": lambda x: tf.tensor_scatter_add(x, [[0], [0]], x[:2]),
    "tensor_scatter_nd_add": lambda x: tf.tensor_scatter_nd_add(x, [[0, 1]], x[0, :1]),
    "tensor_scatter_nd_sub": lambda x: tf.tensor_scatter_nd_sub(x, [[0, 1]], x[0, :1]),
    "tensor_scatter_nd_update": lambda x: tf.tensor_scatter_nd_update(x, [[0, 1]], x[0, :1]),
    "tensor_scatter_sub": lambda x: tf.tensor_scatter_sub(x, [[0], [0]], x[:2]),
    "tensor_scatter_update": lambda x: tf.tensor_scatter_update(x, [[2], [0]], x[:2]),
    "zeta": lambda x: tf.zeta(1.5 + tf.zeros_like(x), x),
    "gather_nd": lambda x: tf.gather_nd(x, [[0, 1], [2, 3]]),
    "scatter_nd": lambda x: tf.scatter_nd([[0], [4], [0]], x, [5, 4]),
    "where": lambda x: tf.where(x > 0.5, x, tf.zeros_like(x)),
    "where_v2": lambda x: tf.where_v2(x > 0.5, x, 0.0),
    "adjoint": lambda x: tf.adjoint(x),
    "cholesky": lambda x: tf.cholesky(spd(x)),
    "cholesky_solve": lambda x: tf.cholesky_solve(tf.cholesky(spd(x)), x),
    "diag": lambda x: tf.diag(x),
    "diag_part": lambda x: tf.diag_part(x[:, :3]),
    "einsum": lambda x: tf.einsum("ij,kj->ik", x, x),
    "log_matrix_determinant": lambda x: tf.log_matrix_determinant(spd(x)),
    "logdet": lambda x: tf.logdet(spd(x)),
    "matmul": lambda x: tf.matmul(x, x, transpose_b=True),
    "matrix_band_part": lambda x: tf.matrix_band_part(x, -1, 0),
    "matrix_determinant": lambda x: tf.matrix_determinant(spd(x)),
    "matrix_diag": lambda x: tf.matrix_diag(x),
    "matrix_diag_part": lambda x: tf.matrix_diag_part(x),
    "matrix_exponential": lambda x: tf.matrix_exponential(spd(x)),
    "matrix_inverse": lambda x: tf.matrix_inverse(spd(x)),
    "matrix_set_diag": lambda x: tf.matrix_set_diag(x, x[0, :3]),
    "matrix_solve": lambda x: tf.matrix_solve(spd(x), x),
    "matrix_triangular_solve": lambda x: tf.matrix_triangular_solve(tf.cholesky(spd(x)), x),
    "norm": lambda x: tf.norm(x, axis=1),
    "qr": lambda x: tf.qr(x),
    "self_adjoint_eig": lambda x: tf.self_adjoint_eig(spd(x))[0],
    "self_adjoint_eigvals": lambda x: tf.self_adjoint_eigvals(spd(x)),
    "svd": lambda x: tf.svd(x, compute_uv=False),
    "tensordot": lambda x: tf.tensordot(x, x, [[1], [1]]),
    "trace": lambda x: tf.trace(x),
    "arg_max": lambda x: tf.arg_max(x, 1),
    "arg_min": lambda x: tf.arg_min(x, 0),
    "batch_matmul": lambda x: tf.batch_matmul(x, x, adj_y=True),
    "count_nonzero": lambda x: tf.count_nonzero(tf.to_int32(x * 2), 1),
    "reduce_all": lambda x: tf.reduce_all(x > 0.3, 0),
    "reduce_any": lambda x: tf.reduce_any(x > 0.8, [0, 1]),
    "argsort": lambda x: tf.argsort(x),
    "confusion_matrix": lambda x: tf.confusion_matrix([0, 1], [1, 1], 2) + tf.to_int32(x[:2, :2]),
    "histogram_fixed_width": lambda x: tf.histogram_fixed_width(x, [0.0, 1.0], 3),
    "invert_permutation": lambda x: tf.invert_permutation(tf.argsort(x[0])),
    "searchsorted": lambda x: tf.searchsorted(tf.sort(x[0]), x[1] * 1),
    "sort": lambda x: tf.sort(x, direction="DESCENDING"),
    **{
        f"unsorted_segment_{how}": (
            lambda x, how=how: getattr(tf, f"unsorted_segment_{how}")(x, [1, 0, 1], 3)
        )
        for how in ("sum", "mean", "max", "min", "prod", "sqrt_n")
    },
    "broadcast_dynamic_shape": lambda x: tf.broadcast_dynamic_shape(tf.shape(x), [4]),
    "broadcast_static_shape": lambda x: tf.broadcast_static_shape(tf.shape(x), [4]),
    "broadcast_to": lambda x: tf.broadcast_to(x, [2, 3, 4]),
    "ensure_shape": lambda x: tf.ensure_shape(x, [None, 4]),
    "rank": lambda x: tf.rank(x),
    "shape": lambda x: tf.shape(x)[1:] * 2,
    "shape_n": lambda x: tf.shape_n([x, x]),
    "size": lambda x: tf.size(x),
    "batch_to_space": lambda x: tf.batch_to_space(tf.reshape(x, [4, 1, 3, 1]), [[0, 0], [0, 1]], 2),
    "batch_to_space_nd": lambda x: tf.batch_to_space_nd(x[:2], [2], [[1, 0]]),
    "depth_to_space": lambda x: tf.depth_to_space(tf.reshape(x, [1, 1, 3, 4]), 2),
    "pad": lambda x: tf.pad(x, [[1, 0], [2, 2]], "SYMMETRIC"),
    "reverse": lambda x: tf.reverse(x, [1]),
    "reverse_sequence": lambda x: tf.reverse_sequence(x, [1, 2, 4], 1),
    "roll": lambda x: tf.roll(x, 1, 0),
    "slice": lambda x: tf.slice(x, [0, 1], [-1, 2]),
    "space_to_batch": lambda x: tf.space_to_batch(tf.reshape(x, [1, 2, 6, 1]), [[0, 0], [1, 1]], 2),
    "space_to_batch_nd": lambda x: tf.space_to_batch_nd(x, [2], [[0, 0]]),
    "space_to_depth": lambda x: tf.space_to_depth(tf.reshape(x, [1, 2, 6, 1]), 2),
    "split": lambda x: tf.split(x, 2, 1),
    "strided_slice": lambda x: tf.strided_slice(x, [2, 0], [0, 4], [-1, 2]),
    "unstack": lambda x: tf.unstack(x, axis=1),
    "sparse_add": lambda x: tf.sparse_add(sparse(x), x),
    "sparse_concat": lambda x: tf.sparse_concat(0, [sparse(x), sparse(x)]).values,
    "sparse_reduce_sum": lambda x: tf.sparse_reduce_sum(sparse(x), 1),
    "sparse_reorder": lambda x: tf.sparse_reorder(sparse(x)).values,
    "sparse_reshape": lambda x: tf.sparse_reshape(sparse(x), [4, -1]).indices,
    "sparse_softmax": lambda x: tf.sparse_softmax(sparse(x)).values,
    "sparse_tensor_dense_matmul": lambda x: tf.sparse_tensor_dense_matmul(
        sparse(x), x, False, True
    ),
    "sparse_tensor_to_dense": lambda x: tf.sparse_tensor_to_dense(sparse(x), 7),
    "sparse_to_dense": lambda x: tf.sparse_to_dense([0, 2], [3], x[0, :2]),
    "sparse_transpose": lambda x: tf.sparse_transpose(sparse(x)).values,
}
OF_SHAPES = (
    "broadcast_dynamic_shape",
    "broadcast_static_shape",
    "rank",
    "shape",
    "shape_n",
    "size",
)
WITHOUT_NAME = (
    *("broadcast_dynamic_shape", "broadcast_static_shape"),
    *("is_tensor", "sparse_add", "sparse_reduce_sum", "sparse_retain"),
)
ROUNDING = ("ceil", "floor", "floordiv", "rint", "round")  # whose gradient is None, not a slope
# Those that read values, as for the result's size; torch.compile, meta and vmap cannot have them.
BY_VALUE: dict[str, Callable[[Tensor], Any]] = {
    "boolean_mask": lambda x: tf.boolean_mask(x, x > 0.5),
    "bincount": lambda x: tf.bincount(tf.to_int32(x * 5)),
    "dynamic_partition": lambda x: tf.dynamic_partition(x, [1, 0, 1], 2),
    "dynamic_stitch": lambda x: tf.dynamic_stitch([[0, 1, 2]], [x]),
    "setdiff1d": lambda x: tf.setdiff1d(x[0], x[0, :1]),
    "sparse_retain": lambda x: tf.sparse_retain(sparse(x), [True, False]).values,
    "sparse_segment_mean": lambda x: tf.sparse_segment_mean(x, [0, 2, 1], [0, 0, 2]),
    "sparse_segment_sqrt_n": lambda x: tf.sparse_segment_sqrt_n(x, [0, 2, 1], [0, 0, 1]),
    "sparse_segment_sum": lambda x: tf.sparse_segment_sum(x, [0, 2, 1], [0, 0, 1], num_segments=4),
    "unravel_index": lambda x: tf.unravel_index([7, 3], tf.shape(x)),
    "unique": lambda x: tf.unique(x[0]),
    "unique_with_counts": lambda x: tf.unique_with_counts(x[0]),
    **{
        f"segment_{how}": lambda x, how=how: getattr(tf, f"segment_{how}")(x, [0, 0, 1])
        for how in ("sum", "mean", "max", "min", "prod")
    },
}
# Without second names, such as `mul`.
NAMES = sorted(name for name in NAMES if getattr(getattr(tf, name), "__name__", "") == name)
NAMES = [name for name in NAMES if inspect.isfunction(getattr(tf, name))]
CALLS |= {
    name: lambda x, name=name: getattr(tf, name)(x)  # those of one operand
    for name in NAMES
    if name not in CALLS and name not in BY_VALUE
}
TENSORS = sorted(set(CALLS) - set(OF_SHAPES))
# In bfloat16 torch has no decompositions, and these give a dtype of their own.
NOT_IN_BFLOAT16 = {
    *importlib.import_module("torchscope.tf1.ops.linear_algebra").__all__,
    *("complex", "eye", "linspace", "one_hot", "ones", "zeros"),
    *("polygamma", "to_bfloat16", "to_double", "to_float", "zeta"),
} - {"diag", "einsum", "matmul", "matrix_band_part", "norm", "tensordot", "trace"}
NOT_IN_FLOAT64 = {"complex", "to_bfloat16", "to_float"}
# float64 does not come after a Python float, which is float32: TensorFlow's rule.
NOT_IN_FLOAT64 |= {"div", "greater_equal", "multiply", "subtract"}


@pytest.fixture
def x() -> Tensor:
    order = [7, 2, 5, 9, 11, 0, 3, 8, 1, 6, 10, 4]
    return torch.linspace(0.2, 0.9, 12)[order].reshape(3, 4)


def tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_takes_a_name_and_no_unknown_keyword(name: str):
    parameters = inspect.signature(getattr(tf, name)).parameters
    assert "name" in parameters or name in WITHOUT_NAME
    assert all(p.kind is not p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_says_in_one_sentence_what_it_does(name: str):
    docstring = inspect.getdoc(getattr(tf, name)) or ""
    first, _, rest = docstring.partition("\n")
    assert first.endswith(".")
    assert "Torch" not in rest or "\n\nTorch: " in docstring


@pytest.mark.parametrize("name", [*CALLS, *BY_VALUE])
def test_an_operation_runs(name: str, x: Tensor):
    assert pytree.tree_leaves({**CALLS, **BY_VALUE}[name](x))


@pytest.mark.parametrize("name", CALLS)
def test_an_operation_compiles_into_one_graph(name: str, x: Tensor):
    torch._dynamo.reset()
    compiled = torch.compile(CALLS[name], fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), CALLS[name](x), rtol=0, atol=0)


@pytest.mark.parametrize("name", TENSORS)
def test_on_meta_an_operation_gives_the_same_shapes_and_dtypes(name: str, x: Tensor):
    with torch.device("meta"):
        found = tensors(CALLS[name](x.to("meta")))
    wanted = tensors(CALLS[name](x))
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in wanted]
    assert all(one.is_meta for one in found)


@pytest.mark.parametrize("name", TENSORS)
def test_under_vmap_an_operation_is_that_of_each(name: str, x: Tensor):
    both = torch.stack([x, x.flip(0)])
    found = tensors(torch.vmap(CALLS[name])(both))
    wanted = zip(*(tensors(CALLS[name](one)) for one in both), strict=True)
    torch.testing.assert_close(found, [torch.stack(pair) for pair in wanted])


@pytest.mark.parametrize("name", sorted(set(TENSORS) - NOT_IN_BFLOAT16))
def test_in_bfloat16_an_operation_stays_there(name: str, x: Tensor):
    for found, wanted in zip(
        tensors(CALLS[name](x.bfloat16())), tensors(CALLS[name](x)), strict=True
    ):
        if wanted.is_floating_point():
            assert found.dtype is torch.bfloat16
            torch.testing.assert_close(found.float(), wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", sorted(set(TENSORS) - NOT_IN_FLOAT64))
def test_the_gradient_is_the_slope(name: str, x: Tensor):
    def differentiable(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(y for y in tensors(CALLS[name](x)) if y.requires_grad and y.dtype is x.dtype)

    x = x.double().requires_grad_()
    if differentiable(x) and name not in ROUNDING:
        assert torch.autograd.gradcheck(differentiable, x)


# What is refused: the call, the error's class, what it says.
REFUSED: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (lambda x: tf.add(x, torch.ones(3)), ValueError, r"add\(\): shapes \[3, 4\] and \[3\] do not"),
    (lambda x: tf.add(x, torch.ones(4).int()), TypeError, r"add\(\): x is float32 and y int32"),
    (lambda x: tf.add(3, x), TypeError, r"add\(\): x is int32 and y float32"),
    (lambda x: tf.add(x, "a"), TypeError, r"add\(\): y is 'a', of <class 'str'>"),
    (lambda x: tf.add(x, None), ValueError, r"add\(\): y is None"),
    (lambda x: tf.add(x, [1, [2]]), ValueError, r"add\(\): y is ragged"),
    (lambda x: tf.add(x > 0, x > 0), TypeError, r"add\(\): x is bool and has to be a number"),
    (lambda x: tf.exp(3), TypeError, r"exp\(\): x is int32 and has to be a float"),
    (
        lambda x: tf.clip_by_value([1], 0.5, 2),
        TypeError,
        r"clip_value_min is 0.5 and has to be int",
    ),
    (
        lambda x: tf.clip_by_value([1.0, 2.0], torch.zeros(1, 2), 1.0),
        ValueError,
        r"clip_value_min \[1, 2\] does not fit \[2\]",
    ),
    (lambda x: tf.reshape(x, [5, -1]), ValueError, r"reshape\(\): \[3, 4\] does not go into \[5, "),
    (lambda x: tf.reshape(x, -1), ValueError, r"shape=-1 has to be a list: \[-1\]"),
    (
        lambda x: tf.reshape(x, [2.0, 6.0]),
        TypeError,
        r"reshape\(\): shape\[0\] has to be an int, not 2.0",
    ),
    (lambda x: tf.concat([x, x[:, :2]], 0), ValueError, r"concat\(\): shapes \[3, 4\], \[3, 2\]"),
    (
        lambda x: tf.concat([x, torch.zeros(0)], 0),
        ValueError,
        r"concat\(\): shapes \[3, 4\], \[0\]",
    ),
    (lambda x: tf.concat([x, x], 2), ValueError, r"concat\(\): axis=2 has to be from -2 to 1"),
    (lambda x: tf.stack([x, x[0]]), ValueError, r"stack\(\): shapes \[3, 4\], \[4\]"),
    (
        lambda x: tf.split(x, 3, 1),
        ValueError,
        r"split\(\): axis 1 of \[3, 4\] has no 3 equal parts",
    ),
    (lambda x: tf.squeeze(x, 0), ValueError, r"squeeze\(\): axis 0 of shape \[3, 4\] is not 1"),
    (
        lambda x: tf.squeeze(x, 0, squeeze_dims=0),
        ValueError,
        r"give axis or squeeze_dims, not both",
    ),
    (lambda x: tf.transpose(x, [0, 0]), ValueError, r"transpose\(\): perm \[0, 0\] does not fit"),
    (lambda x: tf.pad(x, [[1, 1]]), ValueError, r"pad\(\): paddings has to be 2 pairs"),
    (
        lambda x: tf.slice(x, [0, 0], [4, 1]),
        ValueError,
        r"slice\(\): begin \[0, 0\], size \[4, 1\]",
    ),
    (lambda x: tf.gather(x, [0.5]), TypeError, r"gather\(\): indices is float32 and has to be int"),
    (lambda x: tf.gather(x, [-1]), IndexError, r"gather\(\): ids from -1 to -1"),
    (lambda x: tf.gather_nd(x, [[-1, 0]]), IndexError, r"gather_nd\(\): indices from -1 to 0"),
    (lambda x: tf.where(x > 0, x, x[0]), ValueError, r"where\(\): condition \[3, 4\], x \[3, 4\]"),
    (lambda x: tf.where(x, x, x), TypeError, r"where\(\): condition is float32 and has to be bool"),
    (lambda x: tf.matmul(x, x), ValueError, r"matmul\(\): shapes \[3, 4\] and \[3, 4\]"),
    (lambda x: tf.matmul(x, x[0]), ValueError, r"matmul\(\): .* need two axes"),
    (lambda x: tf.matmul(x, x.double()), TypeError, r"matmul\(\): a is float32 and b float64"),
    (lambda x: tf.einsum("ij,jk->ik", x, x), ValueError, "j of 'ij,jk->ik' has sizes 4 and 3"),
    (lambda x: tf.reduce_sum(x, 2), ValueError, r"reduce_sum\(\): axis=2 has to be from -2 to 1"),
    (lambda x: tf.reduce_sum(3.0, 0), ValueError, r"reduce_sum\(\): axis=0 for a scalar"),
    (lambda x: tf.reduce_sum(x > 0), TypeError, r"reduce_sum\(\): input_tensor is bool"),
    (lambda x: tf.reduce_any(x), TypeError, r"reduce_any\(\): input_tensor is float32"),
    (lambda x: tf.argmax(x, [0]), TypeError, r"argmax\(\): axis has to be an int, not \[0\]"),
    (lambda x: tf.one_hot([0], -1), ValueError, r"one_hot\(\): depth=-1 is negative"),
    (lambda x: tf.range(5, 0), ValueError, r"range\(\): steps of 1 do not lead from 5 to 0"),
    (lambda x: tf.zeros([-1]), ValueError, r"zeros\(\): shape=\[-1\] has a negative size"),
    (lambda x: tf.cast(x, "floaty"), TypeError, r"'floaty' is not a dtype"),
    (lambda x: tf.norm(x, "fro"), ValueError, r"norm\(\): ord='fro' needs axis to be a pair"),
    (lambda x: tf.cholesky(x), ValueError, r"cholesky\(\): shape \[3, 4\] is not one of square"),
    (
        lambda x: tf.unsorted_segment_sum(x, [0, 1, 5], 3),
        IndexError,
        r"segment_ids has 5, too large for num_segments=3",
    ),
    (lambda x: tf.segment_sum(x, [1, 0, 0]), ValueError, r"segment_ids have to be a sorted vector"),
    (lambda x: tf.reverse(x, 0), ValueError, r"reverse\(\): axis=0 has to be a list: \[0\]"),
    (lambda x: tf.reverse_sequence(x, [9, 1, 1], 1), ValueError, r"a length is not from 0 to 4"),
    (lambda x: tf.SparseTensor([[0]], [1.0, 2.0], [2]), ValueError, r"SparseTensor\(\): indices"),
    (lambda x: tf.sparse_reorder(x), TypeError, r"is not a tf.SparseTensor"),
    (lambda x: tf.ensure_shape(x, [3, 3]), ValueError, r"ensure_shape\(\): shape \[3, 4\] is not"),
]


@pytest.mark.parametrize(("call", "error", "says"), REFUSED, ids=[says for _, _, says in REFUSED])
def test_what_an_operation_refuses_it_names(
    call: Callable[[Tensor], Any], error: type[Exception], says: str, x: Tensor
):
    with pytest.raises(error, match=says):
        call(x)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (3, torch.int32),
        (2**40, torch.int64),
        (2.5, torch.float32),
        (True, torch.bool),
        (1j, torch.complex128),
        ([], torch.float32),
        ([1, 2.5], torch.float32),
        ([[1], [2]], torch.int32),
        ((True, False), torch.bool),
        (np.float64(1), torch.float64),
        (np.ones(2), torch.float64),
        (np.arange(3)[::-1], torch.int64),
        ([np.ones(2), np.ones(2)], torch.float64),
        ([np.float64(1), 2], torch.float32),
        ([np.int64(2**40)], torch.int64),
        ([np.ones(2, np.uint8)], torch.uint8),
        ([[torch.ones(2)], [[1, 2]]], torch.float32),
        ([torch.ones(2, dtype=torch.float64), [1, 2]], torch.float64),
        (torch.Size([2, 3]), torch.int32),
    ],
    ids=str,
)
def test_a_value_becomes_a_tensor_of_tensorflows_dtype(value: Any, dtype: torch.dtype):
    assert tf.convert_to_tensor(value).dtype is dtype


def test_tensors_inside_a_list_keep_their_gradients(x: Tensor):
    x.requires_grad_()
    tf.convert_to_tensor([[x[0, 0], 2.0], [3.0, x[1, 1]]]).sum().backward()
    assert x.grad is not None
    assert x.grad.sum() == 2


def test_a_number_before_half_precision_takes_its_dtype(x: Tensor):
    assert tf.subtract(1.0, x.bfloat16()).dtype is torch.bfloat16


def test_under_autocast_two_float_dtypes_mix(x: Tensor):
    with torch.autocast("cpu", torch.bfloat16):
        product = tf.matmul(x, x, transpose_b=True)
        assert tf.add(product, torch.zeros(3)).dtype is torch.float32


@pytest.mark.parametrize("operation", [tf.sqrt, tf.rsqrt, tf.reciprocal])
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # Dynamo's
@pytest.mark.parametrize("compiled", [False, True])
def test_where_no_gradient_comes_in_none_goes_out(operation: Any, compiled: bool):
    x = torch.tensor([0.0, 4.0], requires_grad=True)

    def masked(x: Tensor) -> Tensor:
        return tf.where(x > 0, operation(x), x)

    function = torch.compile(masked, fullgraph=True, backend="aot_eager") if compiled else masked
    (gradient,) = torch.autograd.grad(function(x).sum(), x)
    slope = 0.25 if operation is tf.sqrt else -0.0625
    torch.testing.assert_close(gradient, torch.tensor([1.0, slope]))


def test_what_rounds_gives_none_back_and_has_a_gradient_of_its_own(x: Tensor):
    x.requires_grad_()
    rounded = tf.floor(x * 4)
    gradients = torch.autograd.grad(rounded.square().sum(), [x, rounded], allow_unused=True)
    assert gradients[0] is None
    torch.testing.assert_close(gradients[1], 2 * rounded)


def test_sizes_add_and_multiply_as_a_vector(x: Tensor):
    sizes = tf.shape(x)
    assert (sizes[1:] * 2, sizes + sizes, 2 * sizes, sizes // 2) == ((8,), (6, 8), (6, 8), (1, 2))
    assert (10 - sizes, sizes - 1, sizes % 2) == ((7, 6), (2, 3), (1, 0))
    assert (-sizes, sizes / 2) == ((-3, -4), (1.5, 2.0))
    torch.testing.assert_close(sizes * torch.tensor([2, 3]), torch.tensor([6, 12]))


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_shape_put_together_as_a_tensor_is_known_to_compiled_code(dynamic: bool, x: Tensor):
    def model(x: Tensor) -> Tensor:
        rows = tf.reshape(x, tf.stack([tf.shape(x)[1], -1]))
        tiled = tf.tile(rows, tf.concat([[1], [tf.shape(x)[0]]], 0))
        return tf.add(tiled, tf.ones([tf.shape(tiled)[1]]))

    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=dynamic)
    torch.testing.assert_close(compiled(x), model(x))


def test_axes_put_together_as_a_tensor_are_known_compiled_and_on_meta(x: Tensor):
    def time_first(x: Tensor) -> Tensor:
        return tf.transpose(x, tf.concat([[1, 0], tf.range(2, tf.rank(x))], axis=0))

    def model(x: Tensor) -> list[Tensor]:
        rows = tf.pad(x, [[0, 1], [0, 0]], constant_values=-1e9)
        both = tf.concat([time_first(rows), time_first(x)], tf.constant(1))
        last = tf.reverse(x, tf.constant([1]))
        return [both, last, time_first(x[None]), tf.reduce_sum(x[None], tf.range(1, 3))]

    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
    with torch.device("meta"):
        found = model(x.to("meta"))
    assert [one.shape for one in found] == [one.shape for one in model(x)]


# ---- sparse tensors by dense ones --------------------------------------------------------------

SPARSE = tf.SparseTensor([[0, 1], [1, 0], [1, 2]], [1.0, 2.0, 4.0], [2, 3])


@pytest.mark.parametrize(
    ("y", "product"),
    [
        (2.0, [2, 4, 8]),
        (2, [2, 4, 8]),
        (torch.tensor(2.0), [2, 4, 8]),
        (np.array([1, 2, 3], "float32"), [2, 2, 12]),
        (np.array([[5], [7]], "float32"), [5, 14, 28]),
    ],
)
def test_a_sparse_tensor_is_multiplied_and_divided_by_a_dense_one(y: Any, product: list[float]):
    found = SPARSE * y
    assert found.values.tolist() == product
    assert (found.indices.tolist(), found.shape) == (SPARSE.indices.tolist(), SPARSE.shape)
    torch.testing.assert_close((found / y).values, SPARSE.values)


def test_ints_of_a_sparse_tensor_divide_as_floats_and_gradients_flow():
    assert (tf.SparseTensor([[0, 1]], [3], [2, 3]) / 2).values.tolist() == [1.5]
    y = torch.ones(2, 3, requires_grad=True)
    (SPARSE * y).values.sum().backward()
    assert y.grad.tolist() == [[0, 1, 0], [2, 0, 4]]


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (torch.ones(4), ValueError, r"of \[4\] does not broadcast to \[2, 3\]"),
        (torch.ones(4, 2, 3), ValueError, r"\[4, 2, 3\] does not broadcast"),
        (SPARSE, TypeError, "one has to be dense; tf.sparse_tensor_to_dense"),
    ],
)
def test_what_does_not_fit_a_sparse_tensor_is_named(y: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        SPARSE * y


def test_a_shape_that_has_another_rank_is_refused():
    shape = tf.TensorShape([None, 3])
    shape.assert_has_rank(2)
    with pytest.raises(ValueError, match="must have rank 3"):
        shape.assert_has_rank(3)
    assert shape.with_rank_at_most(2) is shape
    with pytest.raises(ValueError, match="must have rank at most 1"):
        shape.with_rank_at_most(1)
    shape.assert_same_rank([4, None])
    shape.assert_same_rank(tf.TensorShape(None))
    with pytest.raises(ValueError, match="must have the same rank"):
        shape.assert_same_rank([3])


def test_a_shape_with_an_unknown_size_is_not_fully_defined():
    tf.TensorShape([2, 3]).assert_is_fully_defined()
    for shape in ([None, 3], None):
        with pytest.raises(ValueError, match="is not fully defined"):
            tf.TensorShape(shape).assert_is_fully_defined()


def test_the_sizes_of_tf_shape_compute_and_compare_as_tensorflows():
    x = torch.ones(2, 3)
    sizes = tf.shape(x)
    assert [7 // sizes, 7 % sizes, 3 / sizes, sizes**2] == [(3, 2), (1, 1), (1.5, 1.0), (4, 9)]
    assert [abs(-sizes), (1,) - sizes, sizes[:1] * [2, 3]] == [(2, 3), (-1, -2), (4, 6)]
    assert (sizes > 2).tolist() == (sizes >= [3, 3]).tolist() == [False, True]
    assert (sizes < sizes).tolist() == [False, False]
    assert sizes[tf.newaxis].tolist() == [[2, 3]]
    assert tf.reduce_all(sizes > 0)
    with pytest.raises(ValueError, match=r"\[2\] and \[3\] do not broadcast"):
        sizes * [1, 2, 3]
    wide = tf.shape(x, out_type=tf.int64)
    assert tf.reshape(x, wide * [3, 1] // [1, 3]).shape == (6, 1)
    assert tf.multiply(wide[:1], tf.constant([2], tf.int64)).dtype is torch.int64
    with pytest.raises(TypeError, match="x is int32 and y int64"):
        tf.multiply(sizes, tf.constant([2, 2], tf.int64))
