"""TensorFlow's V1 format, before 0.12: one table with a description and the values as protobufs."""

import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _dtypes
from ._file import File
from ._proto import Buffer, MalformedError, Message, signed, varint
from ._slices import Shape, parse_shape, parse_slice, regions, slice_key
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


class _Saved(NamedTuple):
    """A SavedSliceMeta."""

    dtype: int
    shape: torch.Size
    slices: Sequence[Buffer]


class SingleFile:
    """The reader of a V1 file. Its values cannot be mapped: all are copied."""

    def __init__(self, path: Path, *, verify: bool) -> None:
        self._verify = verify
        self._file = File(path)
        self._table = Table(self._file)
        self.names: dict[str, _Saved] = {}
        self._read_description()

    def describe(self, name: str) -> tuple[int, torch.Size]:
        """TensorFlow's number for the dtype, and the shape."""
        saved = self.names[name]
        return saved.dtype, saved.shape

    def read(self, name: str, out: Tensor | None = None) -> Tensor | Any:
        """The variable's value; a partitioned one is joined."""
        saved = self.names[name]
        block = 0
        try:
            if math.prod(saved.shape) > self._file.size * MOST_EXPANSION:
                raise MalformedError(f"the file is too short for its shape {list(saved.shape)}")
            pieces = [parse_slice(piece) for piece in saved.slices]
            places = regions(saved.shape, pieces)
            whole = None
            for piece, place in zip(pieces, places, strict=True):
                key = slice_key(name.encode(errors="surrogateescape"), piece)
                found = self._table.get(key, verify=self._verify)
                if found is None:
                    raise MalformedError(f"its slice {list(piece)} is missing")
                value, block = found
                values = Message(Message(value).data(2)).data(3)
                shape = tuple(part.stop - part.start for part in place)
                if saved.dtype == _dtypes.STRING:
                    if len(pieces) > 1:
                        raise MalformedError("it is of strings, and partitioned")
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
            raise self._file.error(block, problem, name) from error

    def verify(self, name: str) -> None:
        """Raise what reading the variable would raise."""
        self.read(name)

    def close(self) -> None:
        self._file.close()

    def _read_description(self) -> None:
        value, block = self._table.get(b"", verify=True) or (b"", 0)
        try:
            description = bytes(Message(value).data(1))
            if not description:
                raise MalformedError(
                    "there is none (the name of a V2 checkpoint's index should end in .index)"
                )
            for data in Message(description).all(1):
                tensor = Message(data)
                name = bytes(tensor.data(1)).decode(errors="surrogateescape")
                if name in self.names:
                    raise MalformedError(f"two variables {name!r}")
                shape = parse_shape(bytes(tensor.data(2)))
                self.names[name] = _Saved(tensor.number(3), shape, tensor.all(4))
        except MalformedError as error:
            problem = f"the description of a V1 checkpoint cannot be read: {error}."
            raise self._file.error(block, problem) from error
        self.names = dict(sorted(self.names.items()))


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
    numbers = array("q")
    for part in parts:
        at = 0
        while at < len(part):
            number, at = varint(part, at)
            numbers.append(signed(number))
    if len(numbers) != count:
        raise MalformedError(f"{len(numbers)} numbers instead of {count}")
    integers = torch.frombuffer(numbers, dtype=torch.int64)
    if dtype in (torch.float16, torch.bfloat16):  # kept as their bits
        return integers.to(torch.int16).view(dtype)
    return integers.to(dtype)
