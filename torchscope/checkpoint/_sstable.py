"""LevelDB's sorted table, keys with values in blocks; knows nothing about tensors.

A file is blocks, an index block and a footer of 48 bytes. The footer says where the index block
is; that has one entry for each block: a key not below the block's last, and where it is. A block's
bytes are followed by one for its compression and four for the checksum of both.
"""

import bisect
from collections.abc import Iterator
from typing import NamedTuple

from . import _crc32c, _snappy
from ._file import File
from ._proto import MalformedError, varint

_FOOTER = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_TRAILER = 5

# A key repeats the beginning of the one before it, so a few kilobytes could claim gigabytes of
# keys. Writers write every 16th key in full: a block's keys take at most 17 times its size.
_MOST_KEY_BYTES = 32


def ends_as_table(file: File) -> bool:
    """Whether a file ends as a table does."""
    size = len(_MAGIC)
    return file.size >= _FOOTER and bytes(file.read(file.size - size, size)) == _MAGIC


class _Handle(NamedTuple):
    last_key: bytes
    offset: int
    size: int


class Table:
    """The table in a file: the index is read and checked at once, a block when it is asked for."""

    def __init__(self, file: File) -> None:
        self.file = file
        if file.size < _FOOTER:
            raise file.error(0, f"not a TensorFlow checkpoint: {file.size} bytes are too few.")
        self._end = file.size - _FOOTER
        self._handles = self._read_index(*self._read_footer())
        self._kept: tuple[int, dict[bytes, memoryview]] = (-1, {})

    def __iter__(self) -> Iterator[tuple[bytes, memoryview, int]]:
        """Every entry in the order of keys: key, value and where its block begins."""
        for position, handle in enumerate(self._handles):
            for key, value in self._entries(position, verify=True):
                yield key, value, handle.offset

    def get(self, key: bytes, *, verify: bool) -> tuple[memoryview, int] | None:
        """The value of ``key`` and where its block begins."""
        position = bisect.bisect_left(self._handles, key, key=lambda handle: handle.last_key)
        if position == len(self._handles):
            return None
        handle = self._handles[position]
        kept, entries = self._kept
        if kept != position:
            entries = dict(self._entries(position, verify=verify))
            # Neighbours are read one after the other. A large block is nearly all one value.
            self._kept = (position, entries) if handle.size < 64 << 20 else (-1, {})
        return (entries[key], handle.offset) if key in entries else None

    def _read_footer(self) -> tuple[int, int]:
        footer = memoryview(self.file.read(self._end, _FOOTER))
        if footer[40:] != _MAGIC:
            raise self.file.error(
                self._end + 40, "not a TensorFlow checkpoint: the magic number is missing."
            )
        try:
            _, _, at = _read_handle(footer, 0)  # of the metaindex block, which is always empty
            offset, size, _ = _read_handle(footer, at)
        except MalformedError as error:
            raise self.file.error(self._end, f"the footer is damaged: {error}.") from error
        return offset, size

    def _read_index(self, offset: int, size: int) -> list[_Handle]:
        handles: list[_Handle] = []
        end = 0
        for key, value in self._parse(offset, self._read(offset, size, verify=True)):
            try:
                start, length, _ = _read_handle(value, 0)
            except MalformedError as error:
                raise self.file.error(offset, f"the index block is damaged: {error}.") from error
            # Blocks follow one another; so none is read twice, and no reader loops for ever.
            if start < end:
                raise self.file.error(offset, f"the block at byte {start} begins before {end}.")
            handles.append(_Handle(key, start, length))
            end = start + length + _TRAILER
        return handles

    def _entries(self, position: int, *, verify: bool) -> Iterator[tuple[bytes, memoryview]]:
        """The entries of one block, which lie where the index says."""
        last_key, offset, size = self._handles[position]
        before = self._handles[position - 1].last_key if position else None
        for key, value in self._parse(offset, self._read(offset, size, verify=verify)):
            if key > last_key or (before is not None and key <= before):
                raise self.file.error(offset, f"the key {key!r} is in the wrong block.")
            yield key, value

    def _read(self, offset: int, size: int, *, verify: bool) -> memoryview:
        """The content of a block."""
        if offset + size + _TRAILER > self._end:
            raise self.file.error(offset, f"a block of {size} bytes does not fit into the file.")
        block = memoryview(self.file.read(offset, size + _TRAILER))
        if verify:
            expected = int.from_bytes(block[size + 1 :], "little")
            if _crc32c.mask(_crc32c.extend(0, block[: size + 1])) != expected:
                raise self.file.error(offset, f"the block of {size} bytes fails its checksum.")
        content, compression = block[:size], block[size]
        if compression == 0:
            return content
        if compression != 1:
            raise self.file.error(offset + size, f"unknown compression {compression}.")
        try:
            return memoryview(_snappy.decompress(content))
        except MalformedError as error:
            raise self.file.error(offset, f"the block is damaged: {error}.") from error

    def _parse(self, offset: int, content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        """The entries of the block at ``offset``: lengths, the new end of the key, the value."""
        at = 0
        try:
            # At the end are the places where keys are written in full, then their number.
            restarts = int.from_bytes(content[-4:], "little")
            end = len(content) - 4 * (restarts + 1)
            if end < 0:
                raise MalformedError("its list of restarts is longer than the block")
            budget = _MOST_KEY_BYTES * len(content)
            previous = None
            while at < end:
                shared, unshared, length = content[at : at + 3]
                if shared | unshared | length < 128:
                    key_at = at + 3
                else:
                    shared, key_at = varint(content, at)
                    unshared, key_at = varint(content, key_at)
                    length, key_at = varint(content, key_at)
                value_at = key_at + unshared
                if value_at + length > end:
                    raise MalformedError("an entry runs past the end")
                if previous is None:
                    if shared:
                        raise MalformedError("the first key repeats another")
                    key = bytes(content[key_at:value_at])
                else:
                    if shared > len(previous):
                        raise MalformedError("a key repeats more than there is")
                    key = previous[:shared] + content[key_at:value_at]
                    if key <= previous:
                        raise MalformedError("keys do not rise")
                budget -= len(key)
                if budget < 0:
                    raise MalformedError("keys repeat more than writers let them")
                at = value_at + length
                yield key, content[value_at:at]
                previous = key
        except MalformedError as error:
            problem = f"the block is damaged {at} bytes after here: {error}."
            raise self.file.error(offset, problem) from error


def _read_handle(data: memoryview, at: int) -> tuple[int, int, int]:
    """Where a block is and how long, and where that number ends."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return offset, size, at
