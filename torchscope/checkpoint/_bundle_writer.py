"""TensorFlow's V2 format, written: one shard of data as it comes, then the index; knows no file."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from . import _crc32c, _dtypes
from ._file import memory_of
from ._proto_writer import fixed32, message, number, varint
from ._table_writer import TableWriter

Write = Callable[[bytes | memoryview], object]


class Strings(NamedTuple):
    """A tensor of strings, in C order."""

    items: list[bytes]
    shape: tuple[int, ...]


class BundleWriter:
    """Writes data at once, and keeps of each variable what the index will say.

    Args:
        write: where the data goes.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._at = 0
        self._entries: dict[bytes, bytes] = {}

    def add(self, name: str, value: Tensor | Strings) -> int:
        """Write a variable: a plain tensor on the CPU, contiguous, or strings.

        Returns the number of bytes written.
        """
        if isinstance(value, Strings):
            dtype, data, crc = _dtypes.STRING, *string_data(value.items)
            self._write(data)
            size = len(data)
        else:
            dtype, size = _dtypes.NUMBERS[value.dtype], value.nbytes
            crc = self._write_tensor(value)
        key = name.encode(errors="surrogateescape")
        self._entries[key] = entry(dtype, value.shape, offset=self._at, size=size, crc=crc)
        self._at += size
        return size

    def write_index(self, write: Write, *, shards: int = 1) -> None:
        """Write the index.

        Args:
            write: where it goes.
            shards: how many the name of the data file says that there are; the first has it all.
        """
        table = TableWriter(write)
        table.add(b"", header(shards))
        for key in sorted(self._entries):
            table.add(key, self._entries[key])
        table.finish()

    def _write_tensor(self, tensor: Tensor) -> int:
        """Write the numbers; returns their checksum."""
        tensor = _dtypes.native(tensor, "little")
        memory = memory_of(tensor)
        crc = 0
        for start in range(0, len(memory), _crc32c.CHUNK):
            chunk = memory[start : start + _crc32c.CHUNK]
            crc = _crc32c.extend(crc, chunk)
            self._write(chunk)
        return crc


def string_data(strings: Sequence[bytes]) -> tuple[bytes, int]:
    """The data of a tensor of strings, and its checksum.

    That is lengths, their checksum and the strings. Checksums are over the lengths as TensorFlow
    has them in memory, not as they are in the file.
    """
    crc = 0
    for length in map(len, strings):
        crc = _crc32c.extend(crc, length.to_bytes(4 if length < 1 << 32 else 8, "little"))
    tail = b"".join([_crc32c.mask(crc).to_bytes(4, "little"), *strings])
    return b"".join(varint(len(one)) for one in strings) + tail, _crc32c.extend(crc, tail)


def header(shards: int = 1) -> bytes:
    """A BundleHeaderProto: little-endian, version 1."""
    return number(1, shards) + message(3, number(1, 1))


def entry(dtype: int, shape: Sequence[int], *, offset: int, size: int, crc: int) -> bytes:
    """A BundleEntryProto of the first shard.

    Args:
        dtype: TensorFlow's number.
        shape: the sizes.
        offset: where the data begins.
        size: how many bytes it has.
        crc: its checksum, as `_crc32c.extend` gives it.
    """
    sizes = b"".join(message(2, number(1, size)) for size in shape)
    place = number(4, offset) + number(5, size)
    return number(1, dtype) + message(2, sizes) + place + fixed32(6, _crc32c.mask(crc))
