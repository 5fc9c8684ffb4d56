"""LevelDB's sorted table, written as TensorFlow writes it, byte for byte; knows nothing of tensors.

What `_sstable` reads. Three rules are not in the format, and yet decide on the bytes: a block ends
once it has reached its size, the key after it is shortened to the least that tells the two blocks
apart, and every 16th key of a block is written in full.
"""

from collections.abc import Callable

from . import _crc32c
from ._proto_writer import varint

BLOCK_BYTES = 1 << 18  # TensorFlow's
MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")

_RESTARTS = 16  # so many keys from one that is written in full to the next


class TableWriter:
    """Takes entries in the order of their keys, and writes a block whenever one is full.

    Args:
        write: where the bytes go.
        compress: what is done to the content of a block; TensorFlow does nothing, but reads snappy.
        block_bytes: the size from which a block is full.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        compress: Callable[[bytes], bytes] | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._write = write
        self._compress = compress
        self._block_bytes = block_bytes
        self._at = 0
        self._block = Block()
        self._index = Block(restarts=1)
        self._before: bytes | None = None  # the place of the last block, until its key is known

    def add(self, key: bytes, value: bytes) -> None:
        """Add an entry; its key is greater than the one before."""
        if len(key) + len(value) >= 2 * self._block_bytes:  # so large a one has its own block
            self._end_block()
        if self._before is not None:
            self._index.add(separator(self._block.last_key, key), self._before)
            self._before = None
        self._block.add(key, value)
        if self._block.size >= self._block_bytes:
            self._end_block()

    def finish(self) -> None:
        """Write what is left: the last block, an empty one of metadata, the index, the footer."""
        self._end_block()
        metadata = self._append(Block().content())
        if self._before is not None:
            self._index.add(successor(self._block.last_key), self._before)
        places = metadata + self._append(self._index.content())
        self._write(places.ljust(40, b"\0") + MAGIC)

    def _end_block(self) -> None:
        if self._block.size > Block().size:
            self._before = self._append(self._block.content())
            self._block = Block(last_key=self._block.last_key)

    def _append(self, content: bytes) -> bytes:
        """Write a block; returns its place, as an index has it."""
        kind = b"\0"
        if self._compress is not None:
            content, kind = self._compress(content), b"\1"
        place = varint(self._at) + varint(len(content))
        crc = _crc32c.mask(_crc32c.extend(0, content + kind))
        self._write(content + kind + crc.to_bytes(4, "little"))
        self._at += len(content) + 5
        return place


class Block:
    """Entries one after the other; a key leaves out what it shares with the one before.

    Args:
        restarts: so many keys from one that is written in full to the next.
        last_key: that of the block before.
    """

    def __init__(self, *, restarts: int = _RESTARTS, last_key: bytes = b"") -> None:
        self.last_key = last_key
        self._restarts = restarts
        self._places = [0]
        self._since = 0  # keys since the last one that is written in full
        self._data = bytearray()

    @property
    def size(self) -> int:
        """The bytes that `content` would have."""
        return len(self._data) + 4 * len(self._places) + 4

    def add(self, key: bytes, value: bytes) -> None:
        """Add an entry."""
        shared = 0
        if not self._data:
            pass
        elif self._since < self._restarts:
            shared = _shared(self.last_key, key)
        else:
            self._places.append(len(self._data))
            self._since = 0
        self._data += varint(shared) + varint(len(key) - shared) + varint(len(value))
        self._data += key[shared:] + value
        self._since += 1
        self.last_key = key

    def content(self) -> bytes:
        """The entries, where keys are written in full, and how many of those places there are."""
        numbers = [*self._places, len(self._places)]
        return bytes(self._data) + b"".join(number.to_bytes(4, "little") for number in numbers)


def separator(key: bytes, following: bytes) -> bytes:
    """The shortest key, by LevelDB's rule, that is not below ``key`` and below ``following``."""
    at = _shared(key, following)
    if at < min(len(key), len(following)) and key[at] + 1 < following[at]:
        return key[:at] + bytes([key[at] + 1])
    return key


def successor(key: bytes) -> bytes:
    """A short key that is not below ``key``."""
    rest = key.lstrip(b"\xff")
    at = len(key) - len(rest)
    return key[:at] + bytes([rest[0] + 1]) if rest else key


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes two keys share at their beginning; comparing numbers is fast in Python."""
    length = min(len(one), len(other))
    differing = int.from_bytes(one[:length], "big") ^ int.from_bytes(other[:length], "big")
    return length - (differing.bit_length() + 7) // 8
