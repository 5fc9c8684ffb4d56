"""States of cells: zeros of their sizes, and states that stay beyond a sequence's end.

A state, and the size of one, is an int or a tensor, or a tuple, list or dict of them. The size of a
state of rank 3 or more is a ``torch.Size``, its shape without the batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from torchscope.tf1 import nest
from torchscope.tf1._arguments import one_int


def zeros(size: Any, batch: int, dtype: torch.dtype, device: Any = None) -> Any:
    """Zeros of shape ``[batch, size]`` in the structure of ``size``."""

    def zero(size: Any) -> Tensor:
        sizes = [size]
        if isinstance(size, tuple):  # a torch.Size or a TensorShape, a leaf of structures
            sizes = list(cast("tuple[int, ...]", size))
        sizes = [one_int(one, "zero_state", "state_size") for one in sizes]
        if min(sizes, default=0) < 0:
            raise ValueError(f"zero_state(): state_size={size} has to be zero or more.")
        return torch.zeros(batch, *sizes, dtype=dtype, device=device)

    return nest.map_structure(zero, size)


def rebuilt(like: Any, parts: list[Any]) -> Any:
    """A tuple, named tuple or list of the parts, whichever ``like`` is."""
    kind = cast("Any", type(like))
    return kind(*parts) if hasattr(like, "_fields") else kind(parts)


def each(function: Callable[[Tensor], Any], values: Any) -> Any:
    """``function`` of each tensor in a structure."""
    return function(values) if isinstance(values, Tensor) else nest.map_structure(function, values)


def stacked(steps: Sequence[Any]) -> Any:
    """The tensors of the steps stacked, in the structure of a step."""
    return nest.map_structure(lambda *parts: torch.stack(parts), *steps)


def unstacked(values: Any) -> list[Any]:
    """The steps, as a list: the inverse of ``stacked``."""
    if isinstance(values, Tensor):
        return list(values.unbind())
    flat = [x.unbind() for x in nest.flatten(values)]
    return [nest.pack_sequence_as(values, parts) for parts in zip(*flat, strict=True)]


def where(live: Tensor, new: Any, old: Any) -> Any:
    """``new`` in the rows where ``live`` is true, ``old`` in the others; scalars are always new."""

    def chosen(one: Any, other: Any) -> Any:
        if not isinstance(one, Tensor) or one.ndim == 0:
            return one
        rows = live.reshape(live.shape + (1,) * (one.ndim - live.ndim))
        return torch.where(rows, one, other)

    return nest.map_structure(chosen, new, old)


def zero_beyond(outputs: Any, live: Tensor) -> Any:
    """The outputs with zeros where ``live`` is false."""
    return each(lambda x: where(live, x, x.new_zeros(())), outputs)


def live_steps(lengths: Tensor, steps: int) -> Tensor:
    """Which steps lie within their sequences: booleans of shape ``[steps, batch]``."""
    return torch.arange(steps, device=lengths.device)[:, None] < lengths
