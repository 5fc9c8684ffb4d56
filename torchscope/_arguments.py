"""What users may pass as a shape, a dtype, a value or collections, converted; no variable.

In: whatever ported code passes (lists, ints, numpy's dtypes, arrays). Out: tuples, torch's dtypes,
tensors; or a TypeError or ScopeError that says what to type, before anything has been changed.
"""

import inspect
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

import torch

from ._errors import ScopeError

Shape: TypeAlias = tuple[int, ...]
ShapeLike: TypeAlias = Any  # int | Iterable[int | None] | None, of anything with __index__
DTypeLike: TypeAlias = Any  # torch.dtype | numpy's dtypes | their names | None
Constraint: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class GraphKeys:
    """TensorFlow's names of collections."""

    GLOBAL_VARIABLES = "variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    LOCAL_VARIABLES = "local_variables"
    MODEL_VARIABLES = "model_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    METRIC_VARIABLES = "metric_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    SUMMARIES = "summaries"
    GLOBAL_STEP = "global_step"


# ---- shapes --------------------------------------------------------------------------------------


def as_shape(shape: ShapeLike) -> tuple[int | None, ...] | None:
    """``shape`` as a tuple; a single int is one dimension, None means that no shape was given."""
    if shape is None:
        return None
    if not isinstance(shape, (list, tuple)):
        try:
            return (_as_size(operator.index(shape)),)
        except TypeError:
            if isinstance(shape, (str, bytes)) or not isinstance(shape, Iterable):
                raise TypeError(
                    f"A shape is a list of sizes such as [3, 4], not {shape!r}."
                ) from None
    sizes = tuple(cast("Iterable[Any]", shape))
    for size in sizes:
        if type(size) is not int or size < 0:
            return tuple(None if size is None else _as_size(size) for size in sizes)
    return sizes


def _as_size(size: Any) -> int:
    try:
        index = operator.index(size)
    except TypeError:
        advice = "; divide sizes with //" if isinstance(size, float) else ""
        raise TypeError(f"A size in a shape is an integer or None, not {size!r}{advice}.") from None
    if index < 0:
        raise ScopeError(None, f"A size in a shape cannot be negative: {index}.")
    return index


def fits(shape: tuple[int | None, ...] | None, found: tuple[int | None, ...]) -> bool:
    """Whether the shape asked for, which may leave sizes open, is the one found."""
    return shape is None or (
        len(shape) == len(found)
        and all(size is None or size == other for size, other in zip(shape, found, strict=True))
    )


# ---- dtypes and values ---------------------------------------------------------------------------


def as_dtype(dtype: DTypeLike) -> torch.dtype | None:
    """``dtype`` as torch's; numpy's and names such as ``"float32"`` are accepted.

    Python's ``float`` and ``int`` are not: they have 32 bits in TensorFlow, 64 in numpy.
    """
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if isinstance(dtype, type):
        plain = dtype is bool or dtype.__module__ == "numpy"
        name = str(dtype.__name__) if plain else None
        name = "bool" if name == "bool_" else name  # numpy 1's
    else:
        name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    found = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype):
        raise TypeError(f"{dtype!r} is not a dtype; for example torch.float32.")
    return found


def as_value(value: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """An initializer that is a value, as a tensor of its own dtype.

    ``dtype`` decides only what Python leaves open: the width of an ``int``, as in
    ``initializer=4, dtype=torch.int32``.
    """
    if isinstance(value, torch.Tensor) and has_shape(value):
        return value
    try:
        tensor = torch.as_tensor(value, device="cpu")
        tuple(tensor.shape)  # Raises if it has none, as a nested tensor.
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{value!r} is not an initializer, which is a function of (shape, dtype) or a value "
            "(a tensor, an array, a number, a list of numbers)."
        ) from error
    python_ints = not hasattr(value, "dtype") and tensor.dtype == torch.int64
    if python_ints and dtype is not None and _is_integer(dtype):
        tensor = tensor.to(dtype)
    return tensor


def has_shape(value: torch.Tensor) -> bool:
    """Whether ``value`` has a shape: not if it is a nested tensor, or a lazy layer's."""
    try:
        return value.shape is not None
    except RuntimeError:
        return False


def untrainable(value: torch.Tensor) -> str:
    """Why ``value`` itself cannot be trained; "" if it can."""
    if not (value.is_floating_point() or value.is_complex()):
        return f"is of {value.dtype}, which cannot be trained"
    if value.is_inference():
        return "was made under torch.inference_mode, so it cannot be trained"
    return ""


def _is_integer(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def keeps_all(dtype: torch.dtype | str, wanted: torch.dtype) -> bool:
    """Whether ``wanted`` is of the same kind and holds every value of ``dtype`` exactly."""
    if dtype == wanted or isinstance(dtype, str):
        return dtype == wanted
    kinds = {(d.is_floating_point, d.is_complex, d == torch.bool) for d in (dtype, wanted)}
    try:
        return len(kinds) == 1 and torch.promote_types(dtype, wanted) == wanted
    except RuntimeError:  # torch has no common dtype for a few.
        return False


def as_device(device: Any) -> torch.device | None:
    """``device`` as torch's."""
    if device is None or isinstance(device, torch.device):
        return device
    if not isinstance(device, str | int):
        raise TypeError(f"A device is a name such as 'cuda:0' or a torch.device, not {device!r}.")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ScopeError(None, f"There is no device {device!r}: {error}") from error


# ---- functions and collections -------------------------------------------------------------------


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that ``function`` takes."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # Some builtins have no signature; they ask for a shape.
        return {"shape": inspect.Parameter("shape", inspect.Parameter.POSITIONAL_ONLY)}


def begins_with(scope: Any) -> Callable[[str], Any]:
    """A function that matches the regular expression ``scope`` at a name's start; None: all."""
    if scope is not None and not isinstance(getattr(scope, "pattern", scope), str):
        raise TypeError(f"scope is a regular expression, a string, not {scope!r}.")
    try:
        return re.compile(scope or "").match
    except re.error as error:
        raise ScopeError(
            None,
            f"scope={scope!r} is not a regular expression ({error}). To match it literally: "
            "re.escape(scope).",
        ) from error


def members_of(name: str, collections: Any) -> tuple[Any, ...]:
    """The collections that ``collections=`` puts a variable into."""
    if collections is None:
        return (GraphKeys.GLOBAL_VARIABLES,)
    if not isinstance(collections, (list, tuple, set, frozenset)):
        raise ScopeError(
            name,
            f"Variable {name!r}: collections is a list such as [ts.GraphKeys.LOCAL_VARIABLES], not "
            f"{collections!r}.",
        )
    return tuple(dict.fromkeys(cast("list[Any]", collections)))
