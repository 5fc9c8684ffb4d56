"""The rule for operands and dtypes: what a number, list or array becomes; knows no operation.

- A tensor stays as it is: nothing is promoted, and two dtypes in one operation are a TypeError.
  (A sparse gradient of looked-up rows becomes dense, as in TensorFlow; clipping keeps it sparse.)
- A Python int becomes int32 (int64 if it is too large), a float float32, a bool bool; lists too.
- A numpy array or scalar keeps its dtype (``np.float64`` stays float64), but not scalars in a list.
- A list that holds tensors is stacked, with gradients, and its numbers take the tensors' dtype.
- An operand after a tensor takes the tensor's dtype: ``add(x, 3)``.  An operand before it is
  converted by itself, as TensorFlow does: ``add(3, x)`` with a float ``x`` is a TypeError.

How an operation uses it::

    x = tensor(x)                          # whatever it is, as a tensor
    x = floating(x, "exp")                 # likewise; TypeError unless float or complex
    x, y = operands(x, y, "add")           # one of the two may stay a Python number: use x + y
    x, y = tensor_operands(x, y, "atan2")  # two tensors, for torch functions that need them
    x, y = pair(x, y, "matmul")            # two tensors of one dtype, whatever their shapes
    values = same_dtype(values, "concat")  # a list of tensors, all of the first tensor's dtype

For an argument that is a tensor already they only check its type, so call them without checking.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, cast

import torch
from torch import Tensor

from .dtypes import as_dtype

Operand = Any  # a tensor, a number, nested lists of them, a numpy array

_TENSORS = (Tensor, torch.nn.Parameter)  # told by type() at once; others by isinstance
_NUMBERS = (int, float)
_PLAIN = (bool, int, float, complex)
HALVES = (torch.float16, torch.bfloat16)
_COMPLEX = (torch.complex64, torch.complex128)
_INDICES = (torch.int32, torch.int64)
_RESTRICTED = frozenset((torch.bool, *_COMPLEX))  # the dtypes that not every operation takes

# The functions that need an order, or round; TensorFlow has them for real numbers only.
_REAL_NAMES = """
    argmax argmin argsort assert_greater assert_greater_equal assert_less assert_less_equal
    assert_negative assert_non_negative assert_non_positive assert_positive atan2 ceil
    clip_by_average_norm clip_by_norm clip_by_value complex crelu digamma elu erf erfc floor
    floordiv greater greater_equal igamma igammac is_finite is_inf is_nan l2_normalize
    leaky_relu less less_equal lgamma log_sigmoid log_softmax maximum minimum mod moments
    polygamma reduce_logsumexp reduce_max reduce_min relu relu6 rint round searchsorted
    segment_max segment_min selu softmax softplus softsign sort sparse_segment_mean
    sparse_segment_sqrt_n swish top_k truncatediv truncatemod unsorted_segment_max
    unsorted_segment_min zeta
"""
_FOR_REAL = frozenset(_REAL_NAMES.split())


def tensor(
    value: Operand,
    dtype: Any = None,
    *,
    device: Any = None,
    function: str = "convert_to_tensor",
    argument: str = "value",
) -> Tensor:
    """The value as a tensor.

    Args:
        value: a tensor (returned as it is), number, list or numpy array.
        dtype: wanted; a number or array is converted, a tensor of another dtype is refused.
        device: where a value that is not a tensor goes; torch's default otherwise.
        function: named in errors.
        argument: named in errors.

    Raises:
        TypeError: the dtype does not fit: a tensor of another dtype, 1.5 as an int, a string.
        ValueError: None, or a ragged list.
    """
    if type(value) not in _TENSORS and not isinstance(value, Tensor):
        return _made(value, dtype, device, f"{function}(): {argument}")
    if dtype is not None and value.dtype is not (wanted := as_dtype(dtype)):
        raise TypeError(
            f"{function}(): {argument} is {name_of(value.dtype)} and has to be {name_of(wanted)};"
            f" cast it: tf.cast({argument}, tf.{name_of(wanted)})."
        )
    return value.to_dense() if value.is_sparse else value  # sparse: a gradient of looked-up rows


def floating(value: Operand, function: str, argument: str = "x") -> Tensor:
    """The value as a float or complex tensor; TypeError if it is an int or bool.

    A function that is for real numbers refuses complex ones as well.
    """
    value = tensor(value, function=function, argument=argument)
    if not (value.dtype.is_floating_point or value.dtype.is_complex):
        raise TypeError(
            f"{function}(): {argument} is {name_of(value.dtype)} and has to be a float;"
            f" cast it: tf.cast({argument}, tf.float32)."
        )
    if value.dtype in _COMPLEX:
        check_dtype(value, function, argument)
    return value


def numeric(value: Operand, function: str, argument: str = "x") -> Tensor:
    """The value as a tensor; TypeError if it is boolean."""
    value = tensor(value, function=function, argument=argument)
    if value.dtype in _RESTRICTED:
        check_dtype(value, function, argument)
    return value


def check_dtype(value: Tensor, function: str, argument: str, *, bools: bool = False) -> None:
    """TypeError if it is boolean, or complex where the function is for real numbers."""
    if value.dtype is torch.bool and not bools:
        raise TypeError(
            f"{function}(): {argument} is bool and has to be a number;"
            f" cast it: tf.cast({argument}, tf.float32)."
        )
    if value.dtype in _COMPLEX and function in _FOR_REAL:
        raise TypeError(
            f"{function}(): {argument} is {name_of(value.dtype)} and has to be real;"
            f" tf.real({argument}) and tf.abs({argument}) are."
        )


def boolean(value: Operand, function: str, argument: str = "x", device: Any = None) -> Tensor:
    """The value as a boolean tensor, by default on the given device; TypeError if not boolean."""
    if type(value) in _TENSORS and value.dtype is torch.bool:
        return value
    return tensor(value, torch.bool, device=device, function=function, argument=argument)


def integers(value: Operand, function: str, argument: str, device: Any = None) -> Tensor:
    """The value as an int32 or int64 tensor, for indices and lengths; TypeError if not integers.

    With a device (that of the indexed tensor) it is moved there.
    """
    value = tensor(value, device=device, function=function, argument=argument)
    if device is not None and value.device != device:
        value = value.to(device)
    if value.dtype not in _INDICES:
        if value.numel() == 0 and value.dtype is torch.float32:  # [] says no dtype
            return value.int()
        raise TypeError(
            f"{function}(): {argument} is {name_of(value.dtype)} and has to be int32 or int64."
        )
    return value


def operands(
    x: Operand,
    y: Operand,
    function: str,
    names: tuple[str, str] = ("x", "y"),
    *,
    bools: bool = False,
) -> tuple[Tensor, Tensor]:
    """Two operands of one dtype whose shapes broadcast, for Python's operators.

    A Python number next to a tensor may stay a number (the type says Tensor, since operators take
    either): torch's own ``x + 2.0`` is faster than a tensor of it, and as exact.

    Args:
        x: left; converted by itself.
        y: right; takes the dtype of ``x``.
        function: named in errors.
        names: of the two arguments, for errors.
        bools: whether booleans are allowed.

    Raises:
        TypeError: two dtypes, a number that does not fit, or booleans.
        ValueError: shapes that do not broadcast.
    """
    if type(x) in _TENSORS and type(y) in _TENSORS and x.dtype is y.dtype:
        one = x
    else:
        x, y = _fitted(x, y, function, names)
        one = x if isinstance(x, Tensor) else y
    if one.dtype in _RESTRICTED:
        check_dtype(one, function, names[0], bools=bools)
    if isinstance(x, Tensor) and isinstance(y, Tensor) and (first := x.shape) != (last := y.shape):
        check_broadcast(first, last, function)
    return x, y


def tensor_operands(
    x: Operand,
    y: Operand,
    function: str,
    names: tuple[str, str] = ("x", "y"),
    *,
    bools: bool = False,
) -> tuple[Tensor, Tensor]:
    """Like ``operands``, as two tensors."""
    return _both(*operands(x, y, function, names, bools=bools))


def like(x: Operand, y: Operand, function: str) -> Operand:
    """The left operand, a number or list in the dtype of a tensor on the right."""
    if isinstance(y, Tensor) and not is_array(x):
        return tensor(x, y.dtype, device=y.device, function=function, argument="x")
    return x


def pair(
    x: Operand, y: Operand, function: str, names: tuple[str, str] = ("x", "y")
) -> tuple[Tensor, Tensor]:
    """Two tensors of one dtype, by the same rule; their shapes are the caller's to check."""
    if type(x) in _TENSORS and type(y) in _TENSORS and x.dtype is y.dtype:
        return x, y
    return _both(*_fitted(x, y, function, names))


def same_dtype(values: Iterable[Operand], function: str, argument: str = "values") -> list[Tensor]:
    """The values as tensors of one dtype: that of the first tensor among them, else the first's."""
    values = list(values)
    for value in values:
        if type(value) not in _TENSORS or value.dtype is not values[0].dtype:
            break
    else:
        return values
    like = next((value for value in values if isinstance(value, Tensor)), None)
    if like is None:
        made = [tensor(value, function=function, argument=argument) for value in values]
    else:
        made = [
            value
            if type(value) in _TENSORS
            else tensor(value, like.dtype, device=like.device, function=function, argument=argument)
            for value in values
        ]
    for value in made:
        if value.dtype is not made[0].dtype and not _mixing(made[0], value):
            raise TypeError(
                f"{function}(): {argument} has {name_of(made[0].dtype)} and {name_of(value.dtype)};"
                f" TensorFlow does not promote: tf.cast one of them.{_from_numpy(made[0], value)}"
            )
    return made


def _from_numpy(*values: Tensor) -> str:
    """What to say of float64, which mostly comes from an operator between tensor and array."""
    if not any(value.dtype is torch.float64 for value in values):
        return ""
    return (
        " If float64 comes from a numpy array, as in x - mean, write tf.subtract(x, mean), which"
        " gives the array the dtype of x."
    )


def check_broadcast(one: Sequence[int], two: Sequence[int], function: str) -> None:
    """ValueError unless the two shapes broadcast."""
    for a, b in zip(reversed(one), reversed(two), strict=False):
        if a != b and a != 1 and b != 1:
            raise ValueError(f"{function}(): shapes {list(one)} and {list(two)} do not broadcast.")


def check_fills(part: Sequence[int], whole: Sequence[int], function: str, argument: str) -> None:
    """ValueError unless the shape of an argument broadcasts to another shape."""
    ends = zip(reversed(part), reversed(whole), strict=False)
    if len(part) > len(whole) or any(n not in (1, size) for n, size in ends):
        raise ValueError(f"{function}(): {argument} {list(part)} does not fit {list(whole)}.")


def remember(made: Tensor, numbers: list[Any]) -> None:
    """Remember the ints of a tensor that cannot be read.

    A shape is often built as a tensor: ``tf.reshape(x, tf.stack([tf.shape(x)[0], 8]))``.
    """
    made._tf1_ints = numbers  # pyright: ignore[reportAttributeAccessIssue]


def remembered(value: Any) -> list[Any] | None:
    """The ints that a tensor was made of, if they are known without reading it."""
    return getattr(value, "_tf1_ints", None)


def listed(values: Any) -> Any:
    """The numbers of a tensor or array in lists, remembered or read."""
    known = remembered(values)
    return values.tolist() if known is None else known


def unreadable(x: Tensor) -> bool:
    """Whether its numbers cannot be read: while torch.compile traces, and on meta."""
    return torch.compiler.is_compiling() or x.is_meta


def is_array(value: Any) -> bool:
    """Whether it is a tensor, a numpy array or a numpy scalar."""
    return type(value) not in _PLAIN and hasattr(value, "__array__")


def name_of(dtype: torch.dtype) -> str:
    """TensorFlow's name of a dtype: ``"float32"``."""
    return str(dtype).removeprefix("torch.")


def _fitted(x: Operand, y: Operand, function: str, names: tuple[str, str]) -> tuple[Any, Any]:
    """The operands in one dtype; Python numbers that fit a tensor's dtype stay numbers."""
    left, right = names
    if isinstance(x, Tensor):
        if not isinstance(y, Tensor):
            if type(y) in _NUMBERS and _fits(y, x.dtype):
                return x, y
            return x, tensor(y, x.dtype, device=x.device, function=function, argument=right)
    elif isinstance(y, Tensor):
        # TensorFlow refuses a float before a half too, but `net.to(torch.bfloat16)` must run.
        if type(x) in _NUMBERS and (
            y.dtype is (torch.float32 if type(x) is float else torch.int32)
            or (type(x) is float and y.dtype in HALVES)
        ):
            return x, y
        x = tensor(x, device=y.device, function=function, argument=left)
    else:
        x = tensor(x, function=function, argument=left)
        return x, tensor(y, x.dtype, function=function, argument=right)
    if x.dtype is not y.dtype and not _mixing(x, y):
        raise TypeError(
            f"{function}(): {left} is {name_of(x.dtype)} and {right} {name_of(y.dtype)};"
            " TensorFlow does not promote: tf.cast one of them (a number takes the tensor's dtype"
            " only if it comes second)."
        )
    return x, y


def _both(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """The two as tensors, where one may be a number that fits the other's dtype."""
    if not isinstance(y, Tensor):
        return x, torch.full((), y, dtype=x.dtype, device=x.device)
    if not isinstance(x, Tensor):
        return torch.full((), x, dtype=y.dtype, device=y.device), y
    return x, y


def _mixing(x: Tensor, y: Tensor) -> bool:
    """Whether the float dtypes may differ: under torch.autocast, which converts them itself."""
    return (
        x.dtype.is_floating_point
        and y.dtype.is_floating_point
        and torch.is_autocast_enabled(x.device.type)
    )


def _fits(number: Any, dtype: torch.dtype) -> bool:
    return (
        dtype.is_floating_point
        or dtype.is_complex
        or (type(number) is int and dtype is not torch.bool)
    )


def _made(value: Any, dtype: Any, device: Any, where: str) -> Tensor:
    """A tensor from a number, a list or an array."""
    if dtype is not None:
        dtype = as_dtype(dtype)
    if value is None:
        raise ValueError(f"{where} is None.")
    if isinstance(value, (list, tuple)):
        values = cast("list[Any]", value)
        dtype = dtype or getattr(values, "_tf1_dtype", None)  # tf.shape's, of int64
        return _from_list(values, dtype, device, where)
    if isinstance(value, range):
        return _from_list(list(value), dtype, device, where)
    if is_array(value):
        # copy() first: torch.asarray refuses negative strides.
        return torch.asarray(value.copy(), dtype=dtype, device=device)
    _check_number(value, dtype, where)
    made = _read(value, dtype or _dtype_of([value]), device, where)
    if type(value) is int and unreadable(made):
        remember(made, [value])
    return made


def _from_list(values: Sequence[Any], dtype: Any, device: Any, where: str) -> Tensor:
    leaves = _leaves(values)
    if any(is_array(leaf) for leaf in leaves):  # tensors and numpy's
        like = next((leaf for leaf in leaves if isinstance(leaf, Tensor)), None)
        if like is not None:
            dtype, device = dtype or like.dtype, like.device
        return _stacked(values, dtype or _dtype_of(leaves), device, where)
    for leaf in leaves:
        _check_number(leaf, dtype, where)
    made = _read(list(values), dtype or _dtype_of(leaves), device, where)
    if unreadable(made) and all(type(leaf) in (int, torch.SymInt) for leaf in leaves):
        remember(made, list(values))
    return made


def _read(values: Any, dtype: torch.dtype, device: Any, where: str) -> Tensor:
    """A tensor of Python's numbers."""
    try:
        return torch.tensor(values, dtype=dtype, device=device)
    except (TypeError, ValueError):
        raise ValueError(f"{where} is ragged: {values}.") from None
    except RuntimeError:
        raise ValueError(f"{where}: {values} does not fit into {name_of(dtype)}.") from None


def _stacked(values: Sequence[Any], dtype: torch.dtype, device: Any, where: str) -> Tensor:
    """A list with tensors or arrays in it, at any depth."""
    parts: list[Tensor] = []
    for value in values:
        part = value if isinstance(value, Tensor) else _made(value, dtype, device, where)
        if part.dtype is not dtype:
            names = f"{name_of(dtype)} and {name_of(part.dtype)}"
            raise TypeError(f"{where} has {names} tensors in one list; tf.cast one of them.")
        parts.append(part)
    try:
        return torch.stack(parts)
    except RuntimeError:
        shapes = [list(part.shape) for part in parts]
        raise ValueError(f"{where} is ragged: it has shapes {shapes}.") from None


def _leaves(values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)):
        return [values]
    return [leaf for value in cast("list[Any]", values) for leaf in _leaves(value)]


def _check_number(leaf: Any, dtype: torch.dtype | None, where: str) -> None:
    """Raise unless a Python number may become the dtype."""
    if not isinstance(leaf, (int, float, complex, torch.SymInt, torch.SymFloat, torch.SymBool)):
        raise TypeError(f"{where} is {leaf!r}, of {type(leaf)}; give numbers, arrays or tensors.")
    if dtype is None or dtype.is_complex:
        return
    if dtype is torch.bool:
        fits = isinstance(leaf, (bool, torch.SymBool))
    elif dtype.is_floating_point:
        fits = not isinstance(leaf, complex)
    else:
        fits = isinstance(leaf, (int, torch.SymInt))
    if not fits:
        raise TypeError(f"{where} is {leaf!r} and has to be {name_of(dtype)}.")


def _dtype_of(leaves: Sequence[Any]) -> torch.dtype:
    """The dtype of a list's elements; numpy's 64 bit numbers become 32 bits like Python's."""
    kinds = {_kind(leaf) for leaf in leaves}
    return reduce(torch.promote_types, kinds) if kinds else torch.float32


def _kind(leaf: Any) -> torch.dtype:
    if is_array(leaf):
        leaf = torch.asarray(leaf.copy())
        if leaf.ndim or leaf.dtype not in (torch.float64, torch.int64):
            return leaf.dtype
        leaf = leaf.item()
    if isinstance(leaf, (bool, torch.SymBool)):
        return torch.bool
    if isinstance(leaf, (int, torch.SymInt)):
        return torch.int32 if -(2**31) <= leaf < 2**31 else torch.int64
    return torch.complex128 if isinstance(leaf, complex) else torch.float32
