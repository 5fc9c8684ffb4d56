"""Old spellings, axes and shapes as arguments, and torch's errors about them; knows no operation.

How an operation uses it::

    axis = renamed("argmax", axis=axis, dimension=dimension)    # ValueError if two are given
    dims = axes(axis, x.ndim, "reduce_sum")                     # a tuple of ints, not negative
    dim = one_axis(axis, x.ndim, "concat")                      # one int, not negative
    sizes = shape(shape, "reshape")                             # a tuple of ints
    except RuntimeError as error:
        raise refusal(error, ValueError("...")) from None
"""

from typing import Any

import torch

from ._convert import is_array, listed

_LISTS = (list, tuple)
_OF_THE_MACHINE = ("memory", "CUDA", "HIP", "cuDNN")  # in torch's errors


def renamed(function: str, **spellings: Any) -> Any:
    """The one of several spellings of an argument that was given; None if none was.

    Args:
        function: named in errors.
        **spellings: the current one first.

    Raises:
        ValueError: two of them are given.
    """
    given = None
    for name, value in spellings.items():
        if value is not None:
            if given is not None:
                raise ValueError(f"{function}(): give {given} or {name}, not both.")
            given = name
    return spellings[given] if given else None


def refusal(error: Exception, plainer: Exception) -> Exception:
    """What to raise for an error of torch's: the plainer one, unless it is not about arguments.

    Want of memory is a RuntimeError, too, and so is whatever a GPU finds out late.
    """
    return error if any(word in str(error) for word in _OF_THE_MACHINE) else plainer


def axes(axis: Any, rank: int, function: str, argument: str = "axis") -> tuple[int, ...]:
    """The axes meant by None (all), an int, a list or a tensor, each from 0 to rank - 1.

    Raises:
        ValueError: out of range, or the same axis twice.
        TypeError: not integers.
    """
    if axis is None:
        return tuple(range(rank))
    if type(axis) is int:
        return (one_axis(axis, rank, function, argument),)
    found = ints(axis, function, argument)
    for a in found:
        if not 0 <= a < rank:
            found = tuple([one_axis(a, rank, function, argument) for a in found])
            break
    if len(found) > 1 and len(set(found)) != len(found):
        raise ValueError(f"{function}(): {argument}={axis} has an axis twice.")
    return found


def one_axis(axis: Any, rank: int, function: str, argument: str = "axis") -> int:
    """An axis from 0 to rank - 1; ValueError if out of range, TypeError if it is not an int."""
    if type(axis) is not int:
        axis = one_int(axis, function, argument)
    if not -rank <= axis < rank:
        allowed = (
            f"has to be from {-rank} to {rank - 1}" if rank else "for a scalar, which has no axes"
        )
        raise ValueError(f"{function}(): {argument}={axis} {allowed}.")
    return axis % rank


def shape(value: Any, function: str, argument: str = "shape") -> tuple[int, ...]:
    """Sizes as a tuple of ints.

    Args:
        value: a list of ints or 0-d tensors; ``x.shape``; an integer tensor or array, rank 1.
        function: named in errors.
        argument: named in errors.

    Raises:
        ValueError: a single number.
        TypeError: not integers.
    """
    if type(value) is torch.Size:
        return value
    if type(value) is not list and (
        getattr(value, "ndim", 1) == 0 or not hasattr(value, "__iter__")
    ):
        raise ValueError(f"{function}(): {argument}={value!r} has to be a list: [{value}].")
    return ints(value, function, argument)


def ints(value: Any, function: str, argument: str) -> tuple[int, ...]:
    """A tuple of ints from an int, a list, a tensor or an array."""
    if type(value) not in _LISTS:  # in which they are nearly always
        if is_array(value):
            value = listed(value)
        if not hasattr(value, "__iter__"):
            return (one_int(value, function, argument),)
    sizes: tuple[Any, ...] = tuple(value)
    for size in sizes:
        if type(size) is not int:
            if any(n is None for n in sizes):
                raise TypeError(f"{function}(): {argument}={value!r} has a None in it.")
            return tuple(one_int(n, function, f"{argument}[{i}]") for i, n in enumerate(sizes))
    return sizes


def one_int(value: Any, function: str, argument: str) -> int:
    """One int from an int, or an integer tensor or array of one element.

    Raises:
        ValueError: None, or a list of ints.
        TypeError: anything else.
    """
    if type(value) is int or isinstance(value, torch.SymInt):
        return value  # pyright: ignore[reportReturnType]  # a SymInt is an int to all that follows
    if is_array(value):
        value = listed(value)
        while hasattr(value, "__len__") and len(value) == 1:
            value = value[0]
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        error = ValueError if value is None or isinstance(value, (list, tuple)) else TypeError
        raise error(f"{function}(): {argument} has to be an int, not {value!r}.")
    return value.__index__()
