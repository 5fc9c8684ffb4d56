"""Shapes, and the slices of a partitioned variable; reads no data."""

import functools
import math

import torch

from ._dtypes import MOST_DIMENSIONS, empty
from ._proto import Buffer, MalformedError, Message, signed

Shape = tuple[int, ...]
Slice = tuple[tuple[int, int], ...]  # start and length in each dimension; length -1 is the whole

_MOST_RANK = 254  # TensorFlow's limit


@functools.lru_cache(4096)
def parse_shape(data: bytes) -> torch.Size:
    """A TensorShapeProto; cached because a checkpoint has many variables and few shapes."""
    message = Message(data)
    shape = [Message(dimension).number(1) for dimension in message.all(2)]
    if message.number(3):
        raise MalformedError("its shape is unknown")
    if len(shape) > _MOST_RANK or any(size >> 63 for size in shape):
        raise MalformedError(f"it has the impossible shape {[signed(size) for size in shape]}")
    return torch.Size(shape)


def parse_slice(data: Buffer) -> Slice:
    """A TensorSliceProto; an extent without a length is the whole dimension."""
    extents = [Message(extent) for extent in Message(data).all(1)]
    if len(extents) > _MOST_RANK:
        raise MalformedError(f"a slice has {len(extents)} dimensions")
    return tuple((extent.signed(1, 0), extent.signed(2, -1)) for extent in extents)


def slice_key(name: bytes, piece: Slice) -> bytes:
    """The key of a slice in a table (``EncodeTensorNameSlice``, in LevelDB's ordered code)."""
    escaped = name.replace(b"\xff", b"\xff\x00").replace(b"\0", b"\0\xff")
    rank = len(piece).to_bytes(1, "big").lstrip(b"\0")
    numbers = b"".join(_ordered(number) for extent in piece for number in extent)
    return b"\0" + escaped + b"\0\1" + bytes([len(rank)]) + rank + numbers


def _ordered(number: int) -> bytes:
    """A signed number as bytes that sort as numbers do; it begins with a one bit per byte."""
    size = 1
    while not -(1 << 7 * size - 1) <= number < 1 << 7 * size - 1:
        size += 1
    ones = (1 << size) - 1 << 7 * size
    return ((number ^ ones) & (1 << 8 * size) - 1).to_bytes(size, "big")


def regions(shape: Shape, pieces: list[Slice]) -> list[tuple[slice, ...]]:
    """Where each slice lies. Raises unless they cover every element once.

    Takes a byte of memory for each element: the caller has checked that there is enough data.
    """
    if len(pieces) > 1 and len(shape) > MOST_DIMENSIONS:
        raise MalformedError(f"it has slices in {len(shape)} dimensions")
    places = [_region(shape, piece) for piece in pieces]
    elements = sum(math.prod(part.stop - part.start for part in place) for place in places)
    if elements != math.prod(shape):
        raise MalformedError(f"it has slices of {elements} elements for the shape {list(shape)}")
    if len(places) == 1:
        return places
    covered = empty(shape, torch.bool).zero_()
    for place in places:
        if covered[place].any():
            raise MalformedError("its slices overlap")
        covered[place] = True
    return places


def _region(shape: Shape, piece: Slice) -> tuple[slice, ...]:
    if len(piece) != len(shape):
        raise MalformedError(f"it has {len(shape)} dimensions, but a slice {len(piece)}")
    parts: list[slice] = []
    for size, (start, length) in zip(shape, piece, strict=True):
        stop = size if length == -1 else start + length
        if not 0 <= start <= stop <= size:
            raise MalformedError(f"the slice {list(piece)} does not fit the shape {list(shape)}")
        parts.append(slice(start, stop))
    return tuple(parts)
