"""Parameters that share memory though nobody asked for it by name; knows no scope and no pass.

In: the names of a module's variables. Out: those that are one object under several names, and
different ones whose numbers lie in the same memory: tied once, and two Parameters since. An
optimizer steps such two one after the other, and a checkpoint loaded with ``assign=True`` parts
them.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from torchscope._overview import Named

_PLAIN: Any = cast("Any", torch.Tensor).__torch_dispatch__
_MOST = 100_000_000  # numbers up to which a question of interleaved memory is decided exactly


class Tie(NamedTuple):
    """Names that stand for the same numbers."""

    names: tuple[str, ...]
    how: str  # "one object", or "one memory" of several Parameters


def ties_of(found: Iterable[Named]) -> list[Tie]:
    """The ties among these names."""
    objects: dict[int, tuple[torch.Tensor, list[str]]] = {}
    for one in found:
        objects.setdefault(id(one.tensor), (one.tensor, []))[1].append(one.name)
    ties = [Tie(tuple(names), "one object") for _, names in objects.values() if len(names) > 1]
    spans = [(span, names[0]) for t, names in objects.values() if (span := _span(t)) is not None]
    spans.sort(key=lambda one: one[0][:3])
    groups: list[list[tuple[_Span, str]]] = []
    end: tuple[Any, int] = ("", 0)
    for span, name in spans:
        if groups and end[0] == span.where and span.begin < end[1]:
            groups[-1].append((span, name))
            end = span.where, max(end[1], span.end)
        else:
            groups.append([(span, name)])
            end = span.where, span.end
    order = {names[0]: at for at, (_, names) in enumerate(objects.values())}
    for group in groups:
        for names in _overlapping(group):
            ties.append(Tie(tuple(sorted(names, key=order.__getitem__)), "one memory"))
    return ties


class _Span(NamedTuple):
    """The bytes of a tensor, from the first to behind the last."""

    where: tuple[str, int]  # the device; on meta, where nothing has an address, the storage
    begin: Any  # numbers of Python, or torch's symbols while it traces
    end: Any
    tensor: torch.Tensor


def _span(tensor: torch.Tensor) -> _Span | None:
    kind: Any = type(tensor)
    if nn.parameter.is_lazy(tensor) or kind.__torch_dispatch__ is not _PLAIN:
        return None  # A DTensor and the like has no memory of its own.
    try:
        if tensor.layout is not torch.strided or tensor.numel() == 0:
            return None
        storage: Any = tensor.untyped_storage()
        size = tensor.dtype.itemsize
        strides = zip(tensor.shape, tensor.stride(), strict=True)
        last = sum((length - 1) * stride for length, stride in strides)
        if tensor.is_meta:
            where, begin = ("meta", storage._cdata), tensor.storage_offset() * size
        else:
            where, begin = (str(tensor.device), 0), tensor.data_ptr()
            if begin == 0:  # A fake tensor, or one whose memory was freed.
                return None
        return _Span(where, begin, begin + (last + 1) * size, tensor)
    except (RuntimeError, NotImplementedError):  # Some backends give no address.
        return None


def _overlapping(group: list[tuple[_Span, str]]) -> list[list[str]]:
    """The names in ``group``, whose spans touch, that have numbers in common."""
    clusters: list[list[tuple[_Span, str]]] = []
    for one in group:
        meeting = [c for c in clusters if any(_meet(one[0], other[0]) for other in c)]
        merged = [one, *(member for cluster in meeting for member in cluster)]
        clusters = [c for c in clusters if c not in meeting] + [merged]
    return [[name for _, name in cluster] for cluster in clusters if len(cluster) > 1]


def _meet(one: _Span, other: _Span) -> bool:
    if one.end <= other.begin or other.end <= one.begin:
        return False
    a, b = one.tensor, other.tensor
    dense = all(_is_dense(t) for t in (a, b))
    begin = min(one.begin, other.begin)
    length = max(one.end, other.end) - begin
    if dense or a.dtype.itemsize != b.dtype.itemsize or length > _MOST:
        return True
    size = a.dtype.itemsize
    if (one.begin - other.begin) % size:
        return True
    cells = torch.zeros(length // size, dtype=torch.int8)
    for span in (one, other):  # Columns of one matrix may lie between each other.
        tensor = span.tensor
        cells.as_strided(tensor.shape, tensor.stride(), (span.begin - begin) // size).add_(1)
    return bool((cells > 1).any())


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether its numbers fill its span."""
    strides = sorted(zip(tensor.stride(), tensor.shape, strict=True))
    expected = 1
    for stride, length in strides:
        if length > 1:
            if stride != expected:
                return False
            expected *= length
    return True
