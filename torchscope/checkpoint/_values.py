"""What may be written under which name, as TensorFlow has both; knows no file and no store."""

import re
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from torchscope._errors import CheckpointError, VariableNameError
from torchscope._names import check_variable

from . import _dtypes
from ._bundle_writer import Strings

STRING = "string"  # in the place of a dtype

# What TensorFlow 2's object checkpoints have besides variables' names: paths through objects.
_OBJECTS = re.compile(r"_CHECKPOINTABLE_OBJECT_GRAPH|[A-Za-z0-9_.\\/>-]+/\.ATTRIBUTES/.+")


def check_name(name: Any) -> None:
    """Raise unless TensorFlow could have a variable of that name."""
    if not isinstance(name, str):
        raise CheckpointError(None, f"{name!r} is not a name: names of variables are strings.")
    try:
        if not _OBJECTS.fullmatch(name):
            check_variable(name)
    except VariableNameError as error:
        problem = f"TensorFlow would refuse the name. {error}"
        if name.rpartition(":")[2].isdigit():
            problem = f"{name!r} names a tensor of a graph: leave out {name[name.rindex(':') :]!r}."
        elif name.startswith("/") or "%2E" in name:
            problem = f"{name!r} is a key of a state dict, not a name: save the store itself."
        raise CheckpointError(name, problem) from error


def writable(name: str, value: Any) -> Tensor | Strings:
    """The value as a tensor, as it is, or as strings.

    Raises:
        CheckpointError: TensorFlow has nothing of the kind.
    """
    strings = _as_strings(name, value)
    if strings is not None:
        return strings
    tensor = _as_tensor(name, value)
    problem, cure = _problem(tensor)
    if problem:
        raise CheckpointError(name, f"{name!r} {problem}. {cure}")
    return tensor


def plain(name: str, value: Tensor | Strings) -> Tensor | Strings:
    """A tensor's numbers on the CPU, one after the other in memory; strings as they are."""
    if isinstance(value, Strings):
        return value
    try:
        return value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    except (MemoryError, RuntimeError) as error:
        raise CheckpointError(name, f"{name!r} cannot be copied: {error}") from error


def _problem(tensor: Tensor) -> tuple[str, str]:
    """What is wrong with a tensor, and what helps; empty if it can be written."""
    if is_lazy(tensor):
        return "has no values yet, its module is lazy", "Call the module once before."
    if tensor.is_quantized:
        return f"is quantized ({_name(tensor.dtype)})", "Write its numbers: tensor.dequantize()."
    if tensor.layout != torch.strided:
        return f"has the layout {tensor.layout}", "Write all numbers: tensor.to_dense()."
    if tensor.is_meta:
        cure = "Give it some: store.to_empty(device='cpu'), then load or reset_parameters()."
        return "is on the meta device, which holds no values", cure
    if tensor.dtype not in _dtypes.NUMBERS:
        cure = "Convert it before: tensor.to(torch.float32), for example."
        return f"is {_name(tensor.dtype)}, a dtype that TensorFlow does not have", cure
    return "", ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _as_tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(value).__name__
        if not hasattr(value, "shape"):
            problem = f"{name!r} is neither a tensor nor a string, but a {kind}. Leave it out."
        else:
            problem = f"{name!r} cannot be a tensor. {str(error).rstrip('.')}."
        raise CheckpointError(name, problem) from error


# ---- strings -------------------------------------------------------------------------------------


def _as_strings(name: str, value: Any) -> Strings | None:
    """A string, lists of them, or numpy's arrays of them; None if it is none of these."""
    if isinstance(value, Strings):
        return value
    shape: tuple[int, ...] | None = None
    if getattr(getattr(value, "dtype", None), "kind", "") in ("S", "U", "O", "T"):  # numpy's
        shape, value = tuple(value.shape), value.tolist()
    first: Any = value
    while isinstance(first, list | tuple) and first:
        first = cast("Sequence[Any]", first)[0]
    if not isinstance(first, str | bytes) and not (shape and 0 in shape):
        return None
    items: list[bytes] = []
    found = _flattened(name, value, items)
    return Strings(items, found if shape is None else shape)


def _flattened(name: str, value: Any, items: list[bytes]) -> tuple[int, ...]:
    """Append all strings in C order; returns the shape."""
    if isinstance(value, str):
        items.append(value.encode(errors="surrogateescape"))
        return ()
    if isinstance(value, bytes):
        items.append(value)
        return ()
    if not isinstance(value, list | tuple):
        kind = type(value).__name__
        raise CheckpointError(name, f"{name!r} has something else among its strings: {kind}.")
    shapes = [_flattened(name, one, items) for one in cast("Sequence[Any]", value)]
    if len(set(shapes)) > 1:
        raise CheckpointError(
            name, f"{name!r} has lists of different lengths, which no tensor of strings has."
        )
    return (len(shapes), *(shapes[0] if shapes else ()))


def flat_strings(nested: Any, shape: tuple[int, ...]) -> Strings:
    """Strings of a shape that is known, as they are read."""
    items: list[bytes] = []
    _flattened("", nested, items)
    return Strings(items, shape)
