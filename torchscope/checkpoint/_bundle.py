"""TensorFlow's V2 format: an index, which is a table, and shards of raw data; knows no store."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from . import _crc32c, _dtypes
from ._file import File, memory_of
from ._proto import Buffer, MalformedError, Message, varint
from ._slices import Shape, parse_shape, parse_slice, regions, slice_key
from ._sstable import Table

# 100,000 variables take 5 MB. The names alone of a larger index would fill gigabytes.
_MOST_INDEX_BYTES = 256 << 20


# An entry as TensorFlow writes it: dtype and shape, then shard, offset, size and checksum.
_START = re.compile(rb"\x08[\x00-\x7f]\x12[\x00-\x7f]")
_NUMBER = rb"[\x80-\xff]{0,8}[\x00-\x7f]"
_REST = re.compile(rb"(?:\x18%b)?(?:\x20%b)?(?:\x28%b)?(?:\x35.{4})?" % ((_NUMBER,) * 3), re.DOTALL)


class _Entry(NamedTuple):
    """A BundleEntryProto."""

    dtype: int
    shape: Shape
    shard: int
    offset: int
    size: int
    crc: int
    slices: Sequence[Buffer]


class Bundle:
    """The reader of ``PREFIX.index`` with ``PREFIX.data-00000-of-00001`` and so on."""

    has_keys = False

    def __init__(self, index: Path, *, verify: bool, mmap: bool) -> None:
        self._prefix = str(index).removesuffix(".index")
        self._verify = verify
        self._mmap = mmap
        self._open(index)
        while not self._index.is_current():  # saved anew meanwhile: the data may be the new one's
            self.close()
            self._open(index)
        self._index.close()

    def describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]:
        """The dtype, and the shape."""
        value, block = self.names[name]
        try:
            # Nearly all entries begin with dtype and shape, and have no other fields for them:
            # matching that is five times as fast as parsing the message.
            plain = _START.match(value)
            if plain is not None:
                end = 4 + value[3]
                if end <= len(value) and _REST.fullmatch(value, end):
                    return _dtypes.describe(value[1]), parse_shape(value[4:end])
            entry = Message(value)
            return _dtypes.describe(entry.number(1)), parse_shape(bytes(entry.data(2)))
        except MalformedError as error:
            raise self._index.error(block, f"{name!r} is damaged: {error}.", name) from error

    def read(self, name: str, out: Tensor | None = None) -> Tensor | Any:
        """The variable's value, verified if that is wanted; a partitioned one is joined.

        If ``out`` is given, bytes that need no conversion are copied into it.
        """
        value, block = self.names[name]
        entry = self._entry(name, value, block)
        try:
            if entry.dtype == _dtypes.STRING:
                return self._strings(name, entry)
            dtype = _dtypes.torch_dtype(entry.dtype)
            if entry.slices:
                return self._joined(name, entry, dtype)
            return self._tensor(name, entry, dtype, out)
        except MalformedError as error:
            problem = f"variable {name!r} cannot be read: {error}."
            raise self._index.error(block, problem, name) from error

    def verify(self, name: str) -> None:
        """Raise what reading the variable would raise, without allocating memory for it."""
        value, block = self.names[name]
        entry = self._entry(name, value, block)
        dtype = _dtypes.describe(entry.dtype)
        shard = self._shard(entry, name)
        size = math.prod(entry.shape) * getattr(dtype, "itemsize", 0)
        if entry.slices or isinstance(dtype, str) or dtype == torch.bool or size != entry.size:
            self.read(name)
        elif self._verify:
            self._check(name, entry, shard, shard.checksum(entry.offset, entry.size))

    def content(self, name: str) -> tuple[object, ...] | None:
        """What two variables of equal values have in common, if it is known without reading."""
        value, block = self.names[name]
        entry = self._entry(name, value, block)
        if entry.slices:
            return None
        return entry.dtype, entry.shape, entry.size, entry.crc

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()

    # ---- the index -------------------------------------------------------------------------

    def _open(self, index: Path) -> None:
        self._shards: dict[int, File] = {}
        self._shard_count = 0
        self._byteorder: Literal["little", "big"] = "little"
        # The raw entries, and where their blocks begin: parsing is most of the work, so it
        # waits until the variable is asked for.
        self.names: dict[str, tuple[bytes, int]] = {}
        self._slices: dict[bytes, tuple[bytes, int]] = {}
        self._index = File(index)
        self._read_index()
        with suppress(CheckpointError):  # raised again when a variable is asked for
            self._open_shard(0)  # what `checkpoint.save` writes has no other

    def _read_index(self) -> None:
        if self._index.size > _MOST_INDEX_BYTES:
            raise self._index.error(0, f"an index of {self._index.size} bytes is too large.")
        for key, value, block in Table(self._index):
            if not key:
                self._read_header(value, block)
            elif not self._shard_count:
                raise self._index.error(block, f"{key!r} comes before the header.")
            elif key[0] == 0:  # no name begins so: it is one slice of a variable
                self._slices[key] = bytes(value), block
            else:
                self.names[key.decode(errors="surrogateescape")] = bytes(value), block
        if not self._shard_count:
            raise self._index.error(0, "not a V2 checkpoint: the table is empty.")

    def _read_header(self, value: memoryview, block: int) -> None:
        try:
            header = Message(value)
            oldest = Message(header.data(3)).number(2)
            if not header.number(1) or header.number(2) > 1 or oldest > 1:
                raise MalformedError(
                    f"{header.number(1)} shards, byte order {header.number(2)}, for readers of "
                    f"version {oldest} or later"
                )
        except MalformedError as error:
            raise self._index.error(block, f"the header cannot be read: {error}.") from error
        self._shard_count = header.number(1)
        self._byteorder = "big" if header.number(2) else "little"

    def _entry(self, name: str, value: bytes, block: int) -> _Entry:
        """The entry of variable ``name``, or of a slice of it."""
        try:
            entry = Message(value)
            shard = entry.number(3)
            if shard >= self._shard_count:
                raise MalformedError(f"shard {shard} of {self._shard_count}")
            return _Entry(
                dtype=entry.number(1),
                shape=parse_shape(bytes(entry.data(2))),
                shard=shard,
                offset=entry.number(4),
                size=entry.number(5),
                crc=entry.number(6),
                slices=entry.all(7),
            )
        except MalformedError as error:
            raise self._index.error(block, f"{name!r} is damaged: {error}.", name) from error

    # ---- the data --------------------------------------------------------------------------

    def _shard(self, entry: _Entry, name: str) -> File:
        """The shard that has the entry's data; checks that the shard is long enough."""
        shard = self._shards.get(entry.shard) or self._open_shard(entry.shard)
        shard.check(entry.offset, entry.size, f"variable {name!r}", name)
        return shard

    def _open_shard(self, number: int) -> File:
        # Only numbers come from the index, so no name in it leads to another directory.
        suffix = f".data-{number:05d}-of-{self._shard_count:05d}"
        shard = self._shards[number] = File(Path(self._prefix + suffix))
        return shard

    def _tensor(
        self, name: str, entry: _Entry, dtype: torch.dtype, out: Tensor | None = None
    ) -> Tensor:
        size = math.prod(entry.shape) * dtype.itemsize
        if size != entry.size:
            shape = list(entry.shape)
            raise MalformedError(f"shape {shape} takes {size} bytes, its data {entry.size}")
        shard = self._shard(entry, name)
        # Tensors follow one another without gaps: a float behind a bool may begin anywhere.
        if self._mmap and size and entry.offset % dtype.itemsize == 0:
            data = shard.map()[entry.offset : entry.offset + size]
            crc = _crc32c.extend(0, data) if self._verify else 0
            tensor = torch.frombuffer(data, dtype=dtype).view(entry.shape)
        else:
            tensor = _dtypes.empty(entry.shape, dtype) if out is None else out
            crc = shard.fill(memory_of(tensor), entry.offset, checksum=self._verify)
        self._check(name, entry, shard, crc)
        _dtypes.check_bools(tensor)
        return _dtypes.native(tensor, self._byteorder)

    def _strings(self, name: str, entry: _Entry) -> bytes | list[Any]:
        """Lengths as varints, their checksum, then the strings."""
        shard = self._shard(entry, name)
        data = memoryview(shard.read(entry.offset, entry.size))
        count = math.prod(entry.shape)
        if count > len(data):
            raise MalformedError(f"{count} strings in {len(data)} bytes")
        lengths: list[int] = []
        at = 0
        for _ in range(count):
            length, at = varint(data, at)
            lengths.append(length)
        start = at + 4
        if start + sum(lengths) != len(data):
            raise MalformedError(f"strings of {start + sum(lengths)} bytes in {len(data)}")
        if self._verify:
            # Checksums are over the lengths as the writer had them in memory, not as varints.
            order = self._byteorder
            crc = 0
            for length in lengths:
                crc = _crc32c.extend(crc, length.to_bytes(4 if length < 1 << 32 else 8, order))
            if _crc32c.mask(crc) != int.from_bytes(data[at:start], order):
                raise shard.error(entry.offset, f"the lengths in {name!r} fail their checksum.")
            crc = _crc32c.extend(crc, data[at:])
            self._check(name, entry, shard, crc)
        strings: list[bytes] = []
        for length in lengths:
            strings.append(bytes(data[start : start + length]))
            start += length
        return _dtypes.nest(strings, entry.shape)

    def _joined(self, name: str, entry: _Entry, dtype: torch.dtype) -> Tensor:
        key = name.encode(errors="surrogateescape")
        pieces = [parse_slice(piece) for piece in entry.slices]
        entries: list[_Entry] = []
        for piece in pieces:
            row = self._slices.get(slice_key(key, piece))
            if row is None:
                raise MalformedError(f"its slice {list(piece)} is missing")
            found = self._entry(name, *row)
            if found.dtype != entry.dtype:
                raise MalformedError(f"its slice {list(piece)} has another dtype")
            entries.append(found)
        # Nothing is allocated for a shape that the files cannot fill.
        shards = {found.shard: self._shard(found, name).size for found in entries}
        if math.prod(entry.shape) * dtype.itemsize > sum(shards.values()):
            raise MalformedError(f"the shards are too short for its shape {list(entry.shape)}")
        places = regions(entry.shape, pieces)
        whole = _dtypes.empty(entry.shape, dtype)
        for place, found in zip(places, entries, strict=True):
            part = self._tensor(name, found, dtype)
            if part.shape != whole[place].shape:
                raise MalformedError(f"a slice of shape {list(part.shape)} is in the wrong place")
            whole[place] = part
        return whole

    def _check(self, name: str, entry: _Entry, shard: File, crc: int) -> None:
        if self._verify and _crc32c.mask(crc) != entry.crc:
            raise shard.error(
                entry.offset,
                f"the {entry.size} bytes of {name!r} fail their checksum: the file is damaged, or "
                "another checkpoint's. verify=False reads them as they are.",
                name,
            )
