"""The first value of a variable; knows no store.

In: a `Request` and the store's seed. Out: a tensor on the CPU that nobody else holds, of the shape
and dtype asked for; or an error that names the variable. Nothing is stored here.
"""

import ctypes
import functools
import zlib
from collections.abc import Callable
from numbers import Number
from types import FunctionType
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from ._arguments import as_value, fits, has_shape, parameters_of
from ._declaration import Request
from ._errors import ScopeError, VariableMismatchError, naming
from ._stream import function_modes, in_lent_stream, in_own_stream, plainly
from .initializers import Initializer, glorot_uniform, ones, stream, zeros

_CPU = torch.device("cpu")

# A copy in the order of its sizes, whatever the original's: safetensors takes no other.
_DENSE: dict[str, Any] = {"memory_format": torch.contiguous_format}


def first_value(request: Request, seed: int) -> torch.Tensor:
    """The value that ``request``'s initializer gives it, in memory of its own, on the CPU.

    Computed on the CPU whatever the device, so that a seed gives the same values everywhere, and
    from a random stream of the variable's own, see `_stream`. On the meta device there are no
    values, and an initializer that is not needed is not called.

    Raises:
        ScopeError: neither a shape nor an initializer that decides it.
        VariableMismatchError: the initializer returned another shape, dtype or device, or None.
    """
    initializer = request.initializer
    kind = initializer.__class__
    if (
        (kind is zeros or kind is ones)
        and request.complete
        and request.device == _CPU
        and function_modes() == 0
    ):  # It is known to return what is asked for and to draw nothing: no checks, no stream.
        return initializer._make(request.shape, request.dtype)
    if request.by_value:
        with naming(request.name):
            return as_value(initializer, request.dtype).detach().to_dense().clone(**_DENSE)
    if initializer is None:
        initializer = _default_initializer(request)
    elif isinstance(initializer, type):
        initializer = initializer()
    if not request.complete and not _needs_no_arguments(initializer):
        last = request.name.rpartition("/")[2]
        raise ScopeError(
            request.name,
            f"Variable {request.name!r} needs a full shape to be made, not {request.shape}: "
            f"get_variable({last!r}, [3, 4], ...).",
        )
    if request.complete and request.device is not None and request.device.type == "meta":
        return torch.empty(request.shape, dtype=request.dtype, device="meta")

    def work() -> torch.Tensor:
        return _checked(request, _call(initializer, request))

    if not _is_ours(initializer) and not _fills_in_place(initializer):
        return in_lent_stream(seed, request.name, work)
    if getattr(initializer, "random", True):
        return in_own_stream(seed, request.name, work)
    return plainly(work)


def checksum(*values: torch.Tensor) -> int:
    """A checksum of the bytes of the values on the CPU."""
    total = 0
    for value in values:
        if is_lazy(value):
            continue
        dense = value.detach().contiguous()
        size = dense.numel() * dense.element_size()
        if size and dense.device.type == "cpu" and type(dense) is torch.Tensor:  # No subclass.
            total = zlib.crc32((ctypes.c_char * size).from_address(dense.data_ptr()), total)
    return total


def follows_from_name(initializer: Any) -> bool:
    """Whether the first value is known to be repeatable: the user has nothing that changes it."""
    if _is_ours(initializer):
        return isinstance(getattr(initializer, "value", 0), Number)  # A constant may be an array.
    return not callable(initializer) or _takes_generator(initializer)


def check_same(what: str, name: str, first: int, now: int) -> None:
    """Raise if a value made again differs from the first."""
    if now != first:
        raise ScopeError(
            name,
            f"The {what} of {name!r} returns another value than at first: it depends on more "
            "than its arguments and torch's random numbers (on numpy's, on a count, on something "
            "that has changed since). Nothing was reset.",
        )


def _default_initializer(request: Request) -> Initializer:
    """TensorFlow's: Glorot uniform for floats, zeros for integers and booleans."""
    if request.dtype.is_complex:
        raise ScopeError(
            request.name,
            f"Variable {request.name!r} of dtype {request.dtype} needs an initializer: for example "
            "initializer=ts.zeros_initializer().",
        )
    return glorot_uniform() if request.dtype.is_floating_point else zeros()


def _call(initializer: Any, request: Request) -> Any:
    if not request.complete:
        return initializer()
    shape = request.shape
    if _fills_in_place(initializer):
        given = {"generator": stream.own} if _takes_generator(initializer) else {}
        return initializer(torch.empty(shape, dtype=request.dtype), **given)
    arguments: dict[str, Any] = {"dtype": request.dtype}
    if not _is_ours(initializer) and _takes_partition_info(initializer):
        arguments["partition_info"] = None
    try:
        return initializer(list(shape), **arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # It comes from inside the initializer.
        raise TypeError(
            f"The initializer of {request.name!r} cannot be called as f(shape, dtype=dtype): "
            f"{error}. Write it as `def f(shape, dtype=None)`; one without arguments decides the "
            "shape itself, so leave `shape` out."
        ) from error


def _checked(request: Request, value: Any) -> torch.Tensor:
    """What an initializer returned, as a tensor that nobody else holds; raises if it misfits."""
    asked = request.dtype if request.complete else None
    if asked is not None and _is_ours(request.initializer):
        dense = value.is_contiguous() and not value.requires_grad
        return value if dense else value.detach().contiguous()
    returned = value
    if not isinstance(value, torch.Tensor):
        try:
            value = torch.as_tensor(value, dtype=asked)  # TensorFlow casts arrays, but not tensors.
        except (TypeError, ValueError, RuntimeError):
            value = None
    if value is None:
        problem = f"returned {returned!r}, not a tensor. Did it forget to return one?"
    elif not has_shape(value):
        problem = "returned a tensor without a shape. Make it use `shape`."
    elif not fits(request.shape, tuple(value.shape)):
        problem = f"returned shape {tuple(value.shape)}, not {request.shape}. Make it use `shape`."
    elif asked is not None and value.dtype != asked:
        problem = f"returned dtype {value.dtype}, not {asked}. Make it use `dtype`."
    elif value.device.type not in ("cpu", (request.device or value.device).type):
        problem = f"returned a tensor on {value.device}. Make it on the CPU; the store moves it."
    else:
        return value.detach().to_dense().clone(**_DENSE)
    raise VariableMismatchError(request.name, f"The initializer of {request.name!r} {problem}")


def _is_ours(initializer: Any) -> bool:
    """Whether every call is known to return a new tensor, which then need not be copied."""
    kind = initializer if isinstance(initializer, type) else type(initializer)
    return initializer is None or kind.__module__ == zeros.__module__


def _fills_in_place(initializer: Any) -> bool:
    """Whether it is from ``torch.nn.init``, such as ``xavier_uniform_``, and fills a tensor."""
    while isinstance(initializer, functools.partial):
        initializer = initializer.func
    return getattr(initializer, "__module__", None) == "torch.nn.init"


def _takes_generator(initializer: Any) -> bool:
    """Whether it is from ``torch.nn.init``, draws numbers, and has no generator yet."""
    while isinstance(initializer, functools.partial):
        if "generator" in initializer.keywords:
            return False
        initializer = initializer.func
    return _fills_in_place(initializer) and "generator" in _names_of_parameters(initializer)


@functools.cache
def _names_of_parameters(function: Callable[..., Any]) -> set[str]:
    return {*parameters_of(function)}


def _takes_partition_info(initializer: Any) -> bool:
    plain = type(initializer) is FunctionType and not initializer.__dict__  # It wraps no other.
    if plain and "partition_info" not in initializer.__code__.co_varnames:
        return False  # Ten times as fast as reading the signature.
    return "partition_info" in parameters_of(initializer)


def _needs_no_arguments(initializer: Any) -> bool:
    takes = parameters_of(initializer).values()
    return not _fills_in_place(initializer) and all(
        parameter.default is not parameter.empty
        or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in takes
    )
