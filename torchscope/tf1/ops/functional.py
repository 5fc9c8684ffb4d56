"""map_fn, scan, foldl and foldr: a function called with one row after the other; no arithmetic.

Rows may be nested: for a tuple of tensors, ``fn`` gets tuples of their rows.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1 import nest
from torchscope.tf1._convert import tensor

__all__ = ["foldl", "foldr", "map_fn", "scan"]


def map_fn(
    fn: Callable[[Any], Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """The results of ``fn`` for each row, stacked.

    Torch: ``torch.stack([fn(row) for row in elems])``, or ``torch.vmap`` without the loop.

    >>> import torchscope.tf1 as tf
    >>> tf.map_fn(lambda row: row * row, tf.constant([1.0, 2.0, 3.0]))
    tensor([1., 4., 9.])

    Args:
        fn: called with a row of each tensor, nested as ``elems`` is.
        elems: tensors, or nested lists of them, with the same number of rows; a list is a
            structure, never a tensor.
        dtype: of the results of ``fn``, nested like them; as ``elems`` by default.
        parallel_iterations: accepted.
        back_prop: False for a result without gradients.
        swap_memory: accepted.
        infer_shape: accepted.
        name: accepted.

    Raises:
        ValueError: a number in ``elems``, different numbers of rows, or ``fn`` returns another
            structure.
        TypeError: ``fn`` cannot be called, or returns another dtype.
    """
    rows = _rows(fn, elems, "map_fn")
    like = elems if dtype is None else dtype
    dtypes = (
        [tensor(e).dtype for e in nest.flatten(elems)] if dtype is None else nest.flatten(dtype)
    )
    with torch.set_grad_enabled(back_prop and torch.is_grad_enabled()):
        found = [_result(fn(row), like, dtypes, "map_fn") for row in rows or [_zeros(elems)]]
        return nest.pack_sequence_as(like, _stacked(found, len(rows), "map_fn"))


def scan(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """The results of ``fn(last result, row)``, called with one row after the other, stacked.

    Torch: a loop, and ``torch.stack``.

    >>> import torchscope.tf1 as tf
    >>> tf.scan(lambda a, x: a + x, tf.constant([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])

    Args:
        fn: called with its last result and a row; all its results have the same structure.
        elems: tensors, or nested lists of them, with the same number of rows.
        initializer: the first "last result"; by default the first row is the first result.
        parallel_iterations: accepted.
        back_prop: False for a result without gradients.
        swap_memory: accepted.
        infer_shape: accepted.
        reverse: whether to begin with the last row.
        name: accepted.

    Raises:
        ValueError: a number in ``elems``, different numbers of rows, or a result of another
            structure or shape.
        TypeError: ``fn`` cannot be called, or returns another dtype.
    """
    rows = _rows(fn, elems, "scan")
    rows = rows[::-1] if reverse else rows
    with torch.set_grad_enabled(back_prop and torch.is_grad_enabled()):
        found = _running(fn, rows, initializer, "scan")
        first = found[0]
        results = [nest.flatten(result) for result in found[initializer is not None :]]
        results = results[::-1] if reverse else results
        stacked = _stacked(results or [nest.flatten(first)], len(rows), "scan")
        return nest.pack_sequence_as(first, stacked)


def foldl(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """The last result of ``fn(last result, row)`` from the first row to the last; see ``scan``.

    Torch: ``functools.reduce(fn, elems)``.
    """
    rows = _rows(fn, elems, "foldl")
    with torch.set_grad_enabled(back_prop and torch.is_grad_enabled()):
        return _running(fn, rows, initializer, "foldl")[-1]


def foldr(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """The last result of ``fn(last result, row)`` from the last row to the first; see ``scan``.

    Torch: ``functools.reduce(fn, reversed(elems))``.
    """
    rows = _rows(fn, elems, "foldr")[::-1]
    with torch.set_grad_enabled(back_prop and torch.is_grad_enabled()):
        return _running(fn, rows, initializer, "foldr")[-1]


def _rows(fn: Any, elems: Any, function: str) -> list[Any]:
    """The rows, nested as ``elems`` is."""
    if not callable(fn):
        raise TypeError(f"{function}(): fn has to be callable, not {fn!r}.")
    flat = [tensor(e, function=function, argument="elems") for e in nest.flatten(elems)]
    if not flat or any(e.ndim == 0 for e in flat):
        raise ValueError(
            f"{function}(): elems must be tensors with rows. A list is a structure: its parts are"
            " the tensors; tf.constant(...) makes one of numbers."
        )
    if len({len(e) for e in flat}) > 1:
        raise ValueError(f"{function}(): elems have {[len(e) for e in flat]} rows.")
    parts = zip(*(e.unbind(0) for e in flat), strict=True)
    return [nest.pack_sequence_as(elems, row) for row in parts]


def _running(fn: Any, rows: list[Any], initializer: Any, function: str) -> list[Any]:
    """The initial value, or else the first row, and the results that follow from it."""
    if initializer is None:
        if not rows:
            raise ValueError(f"{function}(): elems have no rows, and there is no initializer.")
        initializer, *rows = rows
    found = [nest.map_structure(tensor, initializer)]
    for row in rows:
        last = nest.flatten(found[-1])
        result = fn(found[-1], row)
        dtypes = [leaf.dtype for leaf in last]
        leaves = _result(result, found[-1], dtypes, function)
        for before, after in zip(last, leaves, strict=True):
            if before.shape != after.shape:
                raise ValueError(
                    f"{function}(): fn returned the shape {list(after.shape)} after"
                    f" {list(before.shape)}; its results must keep their shape."
                )
        found.append(nest.pack_sequence_as(found[-1], leaves))
    return found


def _result(result: Any, like: Any, dtypes: list[Any], function: str) -> list[Tensor]:
    """The leaves of the result of ``fn``, which must have the structure of ``like`` and dtypes."""
    nest.assert_same_structure(like, result)
    leaves = nest.flatten(result)
    return [
        tensor(leaf, dtype, function=function, argument="what fn gives")
        for leaf, dtype in zip(leaves, dtypes, strict=True)
    ]


def _zeros(elems: Any) -> Any:
    """One row of zeros, to find the shapes of results when there are no rows."""
    return nest.map_structure(_row_of_zeros, elems)


def _row_of_zeros(elem: Any) -> Tensor:
    elem = tensor(elem)
    return elem.new_zeros(elem.shape[1:])


def _stacked(found: list[list[Tensor]], rows: int, function: str) -> list[Tensor]:
    for leaves in zip(*found, strict=True):
        if any(leaf.shape != leaves[0].shape for leaf in leaves):
            shapes = [list(leaf.shape) for leaf in leaves]
            raise ValueError(f"{function}(): fn returned results of different shapes: {shapes}.")
    return [torch.stack(leaves)[:rows] for leaves in zip(*found, strict=True)]
