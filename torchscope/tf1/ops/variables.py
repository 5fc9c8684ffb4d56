"""tf.Variable, assign and scatter_update: variables made from values, and changed; no scopes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import torchscope as ts
from torchscope.tf1 import _name_scopes
from torchscope.tf1._arguments import one_int, refusal
from torchscope.tf1._convert import Operand, integers, tensor

from .creation import convert_to_tensor

__all__ = [
    "Variable",
    "assert_variables_initialized",
    "assign",
    "assign_add",
    "assign_sub",
    "count_up_to",
    "fixed_size_partitioner",
    "min_max_variable_partitioner",
    "scatter_add",
    "scatter_div",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "scatter_nd_add",
    "scatter_nd_sub",
    "scatter_nd_update",
    "scatter_sub",
    "scatter_update",
    "variable_axis_size_partitioner",
]

with ts.VariableStore(seed=0):
    _ROOT = ts.get_variable_scope()  # a value: it acts on whatever store is entered


class _Variables(type):
    """Makes ``isinstance(x, tf.Variable)`` true for every variable, however it was made."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return _is_variable(instance)


class Variable(metaclass=_Variables):
    """Make a variable of a given value; every later pass returns the same one.

    Torch: an ``nn.Parameter`` of the store.  The initial value is computed in each pass, but only
    the first is used; ``tf.get_variable`` with an initializer avoids that.

    It is named after the name scopes around it, and made unique by a number, as in TensorFlow;
    reuse and the defaults of variable scopes do not apply to it.

    >>> import torchscope as ts, torchscope.tf1 as tf
    >>> with ts.VariableStore() as store, tf.name_scope("layer"):
    ...     w, b = tf.Variable([[1.0]], name="w"), tf.Variable(tf.zeros([2]))
    >>> list(store), isinstance(w, tf.Variable)
    (['layer/w', 'layer/Variable'], True)

    Args:
        initial_value: a tensor, number, list or array, or a function without arguments that gives
            one.
        trainable: False for a variable that optimizers do not see.
        collections: names of collections instead of ``GraphKeys.GLOBAL_VARIABLES``.
        validate_shape: accepted, as all arguments that mean something only in a graph.
        caching_device: likewise.
        name: ``"Variable"`` by default.
        variable_def: refused.
        dtype: that of the value by default: int32 and float32 for Python's numbers.
        expected_shape: accepted.
        import_scope: accepted.
        constraint: what an optimizer applies after its step.
        use_resource: accepted.
        synchronization: accepted.
        aggregation: accepted.
        shape: accepted.

    Raises:
        ValueError: no initial value, or another shape than in the first pass.
    """

    def __new__(
        cls,
        initial_value: Operand | Callable[[], Operand] = None,
        trainable: bool | None = None,
        collections: list[str] | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: Any = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
        use_resource: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> Any:
        """The parameter."""
        if initial_value is None or variable_def is not None:
            raise ValueError("Variable(): give the initial_value, a tensor or a number.")
        value = initial_value() if callable(initial_value) else initial_value
        value = convert_to_tensor(value, dtype)
        while True:
            full_name = _name_scopes.unique(name or "Variable")
            try:
                return _ROOT.get_variable(
                    full_name,
                    initializer=value.detach(),
                    trainable=trainable,
                    collections=collections,
                    constraint=constraint,
                )
            except ts.VariableExistsError:  # get_variable has it; TensorFlow counts on.
                continue


def assign(
    ref: Tensor,
    value: Operand,
    validate_shape: bool | None = None,
    use_locking: bool | None = None,
    name: str | None = None,
) -> Tensor:
    """Set a variable to a value.

    Torch: ``ts.assign``; it happens immediately, whether or not the result is used.

    >>> import torchscope as ts, torchscope.tf1 as tf
    >>> with ts.VariableStore():
    ...     tf.assign(tf.Variable([1.0, 2.0]), [3.0, 4.0]).tolist()
    [3.0, 4.0]

    Args:
        ref: the variable.
        value: of its shape and dtype.
        validate_shape: accepted; a variable keeps its shape.
        use_locking: accepted.
        name: accepted.

    Returns:
        The variable.

    Raises:
        ValueError: another shape.
        TypeError: a tensor of another dtype.
        AttributeError: ``ref`` is a tensor that is not a variable.
    """
    return ts.assign(ref, _value(ref, value, "assign"))


def assign_add(
    ref: Tensor, value: Operand, use_locking: bool | None = None, name: str | None = None
) -> Tensor:
    """Add to a variable, immediately; see ``assign``.

    Torch: ``ts.assign_add``.
    """
    return ts.assign_add(ref, _value(ref, value, "assign_add"))


def assign_sub(
    ref: Tensor, value: Operand, use_locking: bool | None = None, name: str | None = None
) -> Tensor:
    """Subtract from a variable, immediately; see ``assign``.

    Torch: ``ts.assign_sub``.
    """
    return ts.assign_sub(ref, _value(ref, value, "assign_sub"))


def count_up_to(ref: Tensor, limit: int, name: str | None = None) -> Tensor:
    """Add 1 to an integer variable and return what it was; ValueError once it is ``limit``.

    Torch: ``ts.assign_add(count, 1)``.
    """
    before = _variable(ref, "count_up_to").clone()
    if int(before) >= one_int(limit, "count_up_to", "limit"):
        raise ValueError(f"count_up_to(): the variable has reached its limit of {limit}.")
    ts.assign_add(ref, torch.ones_like(ref))
    return before


def scatter_update(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = True, name: Any = None
) -> Tensor:
    """Set rows of a variable, immediately.

    Torch: ``ref[indices] = updates`` under ``no_grad``.

    Args:
        ref: the variable, [rows, ...].
        indices: which rows; any shape.
        updates: the shape of ``indices`` and of a row, or a single number.
        use_locking: accepted.
        name: accepted.

    Returns:
        The variable.

    Raises:
        ValueError: other shapes.
        IndexError: an index that is out of range.
    """
    where, updates = _rows(ref, indices, updates, "scatter_update")
    return _put(ref, where, updates, "scatter_update")


def scatter_add(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Add to rows of a variable, immediately; a row that occurs twice is added to twice.

    Torch: ``ref.index_put_((indices,), updates, accumulate=True)``.
    """
    where, updates = _rows(ref, indices, updates, "scatter_add")
    return _put(ref, where, updates, "scatter_add", accumulate=True)


def scatter_sub(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Subtract from rows of a variable, immediately; see ``scatter_add``.

    Torch: ``ref.index_put_((indices,), -updates, accumulate=True)``.
    """
    where, updates = _rows(ref, indices, updates, "scatter_sub")
    return _put(ref, where, -updates, "scatter_sub", accumulate=True)


def scatter_mul(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Multiply rows of a variable, immediately; a row that occurs twice is multiplied twice.

    Torch: ``ref.index_reduce_(0, indices, updates, "prod")``; ``scatter_update`` has the arguments.
    """
    return _reduce(ref, ref, indices, updates, "scatter_mul", "prod")


def scatter_div(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Divide rows of a variable, immediately; see ``scatter_mul``.

    Torch: ``ref.index_reduce_(0, indices, 1 / updates, "prod")``.
    """
    ref = _variable(ref, "scatter_div")
    divisor = _reduce(torch.ones_like(ref), ref, indices, updates, "scatter_div", "prod")
    with torch.no_grad():
        how = None if ref.is_floating_point() else "trunc"
        return ref.copy_(torch.div(ref, divisor, rounding_mode=how))


def scatter_min(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Set rows of a variable to the smaller of what is there and the updates, immediately.

    Torch: ``ref.index_reduce_(0, indices, updates, "amin")``.
    """
    return _reduce(ref, ref, indices, updates, "scatter_min", "amin")


def scatter_max(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Set rows of a variable to the larger of what is there and the updates, immediately.

    Torch: ``ref.index_reduce_(0, indices, updates, "amax")``.
    """
    return _reduce(ref, ref, indices, updates, "scatter_max", "amax")


def scatter_nd_update(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = True, name: Any = None
) -> Tensor:
    """Set elements or slices of a variable, immediately.

    Torch: ``ref[indices.unbind(-1)] = updates`` under ``no_grad``.

    Args:
        ref: the variable.
        indices: [..., n], the first n indices of each slice.
        updates: [...] and the shape of a slice.
        use_locking: accepted.
        name: accepted.
    """
    where, updates = _slices(ref, indices, updates, "scatter_nd_update")
    return _put(ref, where, updates, "scatter_nd_update")


def scatter_nd_add(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Add to elements or slices of a variable, immediately; see ``scatter_nd_update``.

    Torch: ``ref.index_put_(indices.unbind(-1), updates, accumulate=True)``.
    """
    where, updates = _slices(ref, indices, updates, "scatter_nd_add")
    return _put(ref, where, updates, "scatter_nd_add", accumulate=True)


def scatter_nd_sub(
    ref: Tensor, indices: Operand, updates: Operand, use_locking: bool = False, name: Any = None
) -> Tensor:
    """Subtract from elements or slices of a variable, immediately; see ``scatter_nd_update``.

    Torch: ``ref.index_put_(indices.unbind(-1), -updates, accumulate=True)``.
    """
    where, updates = _slices(ref, indices, updates, "scatter_nd_sub")
    return _put(ref, where, -updates, "scatter_nd_sub", accumulate=True)


def assert_variables_initialized(var_list: Any = None) -> None:
    """Do nothing: a variable has its first value as soon as it is made."""


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> None:
    """A partitioner that leaves variables whole: None.

    Torch: nothing; partitioned variables of a checkpoint are joined when it is read.
    """


def variable_axis_size_partitioner(
    max_shard_bytes: int, axis: int = 0, bytes_per_string_element: int = 16, max_shards: Any = None
) -> None:
    """A partitioner that leaves variables whole: None.

    Torch: nothing; partitioned variables of a checkpoint are joined when it is read.
    """


def min_max_variable_partitioner(
    max_partitions: int = 1,
    axis: int = 0,
    min_slice_size: int = 256 << 10,
    bytes_per_string_element: int = 16,
) -> None:
    """A partitioner that leaves variables whole: None.

    Torch: nothing; partitioned variables of a checkpoint are joined when it is read.
    """


def _is_variable(value: Any) -> bool:
    if isinstance(value, nn.Parameter):
        return True
    if not isinstance(value, Tensor):
        return False
    try:  # A buffer, or what torch.func has put in a variable's place.
        ts.name_of(value)
    except ts.VariableMissingError:
        return False
    return True


def _variable(ref: Any, function: str) -> Tensor:
    if not _is_variable(ref):  # Dynamo takes no isinstance(ref, Variable).
        raise AttributeError(
            f"{function}(): ref is not a variable, but {type(ref).__name__}; give what"
            " tf.get_variable or tf.Variable returns."
        )
    return ref


def _value(ref: Any, value: Operand, function: str) -> Tensor:
    """The value in the variable's dtype; ``ts.assign`` looks at the shape."""
    ref = _variable(ref, function)
    value = tensor(value, ref.dtype, device=ref.device, function=function)
    if not torch.compiler.is_compiling() and value._base is not None:
        return value.clone()  # It may be a part of the variable itself.
    return value


def _rows(ref: Any, indices: Any, updates: Any, function: str) -> tuple[Any, Tensor]:
    indices = integers(indices, function, "indices")
    updates = _value(ref, updates, function)
    _check_updates(updates, indices.shape + ref.shape[1:], function)
    return (_from_start(indices, ref),), updates


def _slices(ref: Any, indices: Any, updates: Any, function: str) -> tuple[Any, Tensor]:
    indices = integers(indices, function, "indices")
    updates = _value(ref, updates, function)
    depth = indices.shape[-1]
    _check_updates(updates, indices.shape[:-1] + ref.shape[depth:], function)
    return _from_start(indices, ref).unbind(-1), updates


def _from_start(indices: Tensor, ref: Tensor) -> Tensor:
    """The indices; a negative one is out of range instead of counting from the end."""
    return indices.long().masked_fill(indices < 0, max(ref.shape, default=0))


def _put(ref: Tensor, where: Any, updates: Tensor, function: str, accumulate: bool = False) -> Any:
    try:
        with torch.no_grad():
            return ref.index_put_(where, updates, accumulate=accumulate)
    except IndexError:
        shape = list(ref.shape)
        raise IndexError(f"{function}(): an index is out of range for {shape}.") from None


def _reduce(
    into: Tensor, ref: Any, indices: Operand, updates: Operand, function: str, how: str
) -> Tensor:
    """Reduce the updates into rows: of ``ref``, or of another tensor of its shape."""
    (where,), updates = _rows(ref, indices, updates, function)
    rows = updates.expand(where.shape + ref.shape[1:]).reshape(-1, *ref.shape[1:])
    at = where.reshape(-1, *[1] * (ref.ndim - 1)).expand(rows.shape)
    try:
        with torch.no_grad():  # A copy, since a row out of range must not change the others.
            return into.copy_(into.scatter_reduce(0, at, rows, how))
    except (IndexError, RuntimeError) as error:
        shape = list(ref.shape)
        plainer = IndexError(f"{function}(): an index is out of range for {shape}.")
        raise refusal(error, plainer) from None


def _check_updates(updates: Tensor, shape: torch.Size, function: str) -> None:
    if updates.shape not in (shape, ()):
        raise ValueError(
            f"{function}(): updates has shape {list(updates.shape)} and has to have {list(shape)},"
            " the shape of the indices and then that of each slice."
        )
