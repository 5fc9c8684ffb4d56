"""TensorFlow's V1 format, before 0.12: tables with a description and the values as protobufs."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _dtypes, _varints
from ._file import File
from ._proto import Buffer, MalformedError, Message
from ._slices import Shape, Slice, parse_shape, parse_slice, regions, slice_key
from ._snappy import MOST_EXPANSION
from ._sstable import Table

# The field of a TensorProto that has values of a dtype: as in memory, or as varints.
_STRINGS = 8
_RAW = {torch.float32: 5, torch.float64: 6, torch.complex64: 9, torch.complex128: 12}
_VARINTS = {
    torch.int32: 7,
    torch.uint8: 7,
    torch.int16: 7,
    torch.int8: 7,
    torch.uint16: 7,
    torch.int64: 10,
    torch.bool: 11,
    torch.float16: 13,
    torch.bfloat16: 13,
}


class _Shard(NamedTuple):
    """One of the files."""

    file: File
    table: Table


class _Saved(NamedTuple):
    """A variable: what a SavedSliceMeta says of it, in each shard that has slices of it."""

    dtype: int
    shape: torch.Size
    slices: list[tuple[_Shard, Buffer]]


class SliceFiles:
    """The reader of a V1 checkpoint: of one file, or of all shards that were saved together.

    Values have no place in it that could be mapped: all are copied.
    """

    has_keys = False

    def __init__(self, paths: Sequence[Path], *, verify: bool) -> None:
        self._verify = verify
        self._shards: list[_Shard] = []
        self.names: dict[str, _Saved] = {}
        for path in paths:
            file = File(path)
            self._shards.append(_Shard(file, Table(file)))
            self._read_description(self._shards[-1])
        self.names = dict(sorted(self.names.items()))

    def describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]:
        """The dtype, and the shape."""
        saved = self.names[name]
        return _dtypes.describe(saved.dtype), saved.shape

    def read(self, name: str, out: Tensor | None = None) -> Tensor | Any:
        """The variable's value; a partitioned one is joined."""
        saved = self.names[name]
        file, block = (saved.slices[0][0] if saved.slices else self._shards[0]).file, 0
        try:
            most = sum(shard.file.size for shard in self._shards) * MOST_EXPANSION
            if math.prod(saved.shape) > most:
                raise MalformedError(f"the file is too short for its shape {list(saved.shape)}")
            pieces = [parse_slice(piece) for _, piece in saved.slices]
            places = regions(saved.shape, pieces)
            if saved.dtype == _dtypes.STRING and len(pieces) > 1:
                raise MalformedError("it is of strings, and partitioned")
            whole = None
            for (shard, _), piece, place in zip(saved.slices, pieces, places, strict=True):
                file, block = shard.file, 0
                values, block = self._values(name, shard, piece)
                shape = tuple(part.stop - part.start for part in place)
                if saved.dtype == _dtypes.STRING:
                    return _strings(Message(bytes(values)), shape)
                part = _numbers(Message(values), _dtypes.torch_dtype(saved.dtype), math.prod(shape))
                if len(pieces) == 1:
                    return part.view(shape)
                if whole is None:
                    whole = _dtypes.empty(saved.shape, part.dtype)
                whole[place] = part.view(shape)
            return whole
        except MalformedError as error:
            problem = f"variable {name!r} cannot be read: {error}."
            raise file.error(block, problem, name) from error

    def verify(self, name: str) -> None:
        """Raise what reading the variable would raise."""
        self.read(name)

    def content(self, name: str) -> None:
        """Nothing: the format keeps no checksum of a variable."""

    def close(self) -> None:
        for shard in self._shards:
            shard.file.close()

    def _values(self, name: str, shard: _Shard, piece: Slice) -> tuple[Buffer, int]:
        """The TensorProto of a slice, and where its block begins."""
        key = slice_key(name.encode(errors="surrogateescape"), piece)
        found = shard.table.get(key, verify=self._verify)
        if found is None:
            raise MalformedError(f"its slice {list(piece)} is missing")
        value, block = found
        return Message(Message(value).data(2)).data(3), block

    def _read_description(self, shard: _Shard) -> None:
        value, block = shard.table.get(b"", verify=True) or (b"", 0)
        try:
            description = bytes(Message(value).data(1))
            if not description:
                raise MalformedError(
                    "there is none (the name of a V2 checkpoint's index should end in .index)"
                )
            self._add(list(_described(description, shard)))
        except MalformedError as error:
            problem = f"the description of a V1 checkpoint cannot be read: {error}."
            raise shard.file.error(block, problem) from error

    def _add(self, found: list[tuple[str, _Saved]]) -> None:
        """Add what one shard has of variables to what others have of them."""
        once: set[str] = set()
        for name, saved in found:
            if name in once:
                raise MalformedError(f"two variables {name!r}")
            once.add(name)
            known = self.names.setdefault(name, saved)
            if known[:2] != saved[:2]:
                raise MalformedError(f"{name!r} is another variable in another shard")
            if known is not saved:
                known.slices.extend(saved.slices)


def _described(description: bytes, shard: _Shard) -> Iterator[tuple[str, _Saved]]:
    """The variables of which a shard has slices."""
    for data in Message(description).all(1):
        tensor = Message(data)
        name = bytes(tensor.data(1)).decode(errors="surrogateescape")
        slices = [(shard, piece) for piece in tensor.all(4)]
        yield name, _Saved(tensor.number(3), parse_shape(bytes(tensor.data(2))), slices)


def _strings(values: Message, shape: Shape) -> bytes | list[Any]:
    strings = [bytes(value) for value in values.all(_STRINGS)]
    if len(strings) != math.prod(shape):
        raise MalformedError(f"{len(strings)} strings for the shape {list(shape)}")
    return _dtypes.nest(strings, shape)


def _numbers(values: Message, dtype: torch.dtype, count: int) -> Tensor:
    """``count`` numbers of a TensorProto, in memory of their own."""
    field = _RAW.get(dtype)
    parts = values.all(_VARINTS.get(dtype, 0) if field is None else field)
    size = sum(map(len, parts))
    if size < count or (field is not None and size != count * dtype.itemsize):
        raise MalformedError(f"{count} numbers of {dtype} in {size} bytes")
    if not count:
        return _dtypes.empty((0,), dtype)
    if field is not None:
        raw = bytearray()
        for part in parts:
            raw += part
        return _dtypes.native(torch.frombuffer(raw, dtype=dtype), "little")
    integers = torch.cat([_varints.decode(part) for part in parts])
    if len(integers) != count:
        raise MalformedError(f"{len(integers)} numbers instead of {count}")
    if dtype in (torch.float16, torch.bfloat16):  # kept as their bits
        return integers.to(torch.int16).view(dtype)
    return integers.to(dtype)
