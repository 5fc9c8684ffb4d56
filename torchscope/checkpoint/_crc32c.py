"""CRC-32C, the checksum in TensorFlow's files; knows bytes, but not what they mean."""

import ctypes
import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchscope._errors import ScopeWarning

Buffer = bytes | bytearray | memoryview

CHUNK = 1 << 20  # bytes at a time: what was just read or copied is still in the processor's cache

# Without a package, this much (0.2 s or so) is verified before a warning names faster ways.
WARN_AFTER = 64 << 20

_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF

_slowly_verified = 0


def mask(crc: int) -> int:
    """The form in which TensorFlow stores a checksum (LevelDB's ``crc32c::Mask``)."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ONES


def extend(crc: int, data: Buffer) -> int:
    """The checksum of some bytes followed by ``data``; ``crc`` is that of the bytes, or 0."""
    if _fast is not None:
        return _fast(crc, data)
    _count(len(data))
    state = crc ^ _ONES
    whole = len(data) // 8 * 8 if len(data) >= 4096 else 0  # for few the plain loop is faster
    if whole:
        state = _advance(state, data[:whole])
    return _step(state, bytes(data[whole:])) ^ _ONES


def _count(size: int) -> None:
    global _slowly_verified
    before, _slowly_verified = _slowly_verified, _slowly_verified + size
    if before <= WARN_AFTER < _slowly_verified:
        warnings.warn(
            "Checksums of checkpoints are computed by torchscope's own crc32c, which is slow: half "
            "a gigabyte a second. Faster: pip install crc32c (or google-crc32c). When reading, "
            "verify=False skips them.",
            ScopeWarning,
            stacklevel=2,
        )


# ---- with a package ----------------------------------------------------------------------------


def _installed() -> Callable[[int, Buffer], int] | None:
    """The fastest package that is installed.

    The extra `crc32c` installs crc32c: 15 to 20 GB/s, so a mapped file is verified in half the
    time in which `torch.load` reads it. It is LGPL, which a program that imports it unchanged
    may use. The alternative is google-crc32c: Apache-2.0, 6 to 11 GB/s.
    """
    try:
        crc32c: Any = importlib.import_module("crc32c").crc32c
    except ImportError:
        pass
    else:
        return lambda crc, data: crc32c(data, crc)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where its C part is missing
            google: Any = importlib.import_module("google_crc32c")
    except ImportError:
        return None
    if google.implementation == "python":
        return None  # one byte at a time: a hundred times slower than what is below

    def extend_by_google(crc: int, data: Buffer) -> int:
        # It accepts bytes, or a ctypes array, but no buffer that has to be released.
        view = memoryview(data)
        if view.readonly:
            return google.extend(crc, bytes(view))
        array: Any = ctypes.c_char * len(view)
        return google.extend(crc, array.from_buffer(view))

    return extend_by_google


_fast = _installed()


# ---- without -----------------------------------------------------------------------------------
# The state after a message is linear, over XOR, in each of its bytes: a table gives a byte's
# contribution with so many bytes after it. So torch can look up many at once: it folds rows of
# words onto each other, and at the end the two halves of the last row. `_step` is the definition.

_ROW = 1 << 14  # words of eight bytes; with over 32,768 torch would wait for other threads


@functools.cache
def _tables() -> list[list[int]]:
    """``tables[n][byte]``: the state, from 0, after that byte and ``n`` zero bytes."""
    first: list[int] = []
    for state in range(256):
        for _ in range(8):
            state = state >> 1 ^ (_POLYNOMIAL if state & 1 else 0)
        first.append(state)
    tables = [first]
    while len(tables) < 8:
        tables.append([state >> 8 ^ first[state & 255] for state in tables[-1]])
    return tables


def _step(state: int, data: bytes) -> int:
    table = _tables()[0]
    for byte in data:
        state = state >> 8 ^ table[(state ^ byte) & 255]
    return state


def _advance(state: int, data: Buffer) -> int:
    """As `_step`, for a number of whole words."""
    words = min(_ROW, 1 << (len(data) // 8).bit_length() - 1)
    row = words * 8
    padding = -len(data) % row  # zeros in front leave the state 0 at 0
    block = bytearray(padding) + data[: row - padding]
    first = int.from_bytes(block[padding : padding + 4], "little") ^ state
    block[padding : padding + 4] = first.to_bytes(4, "little")
    states = _states(block)
    for start in range(row - padding, len(data), row):
        states = _skip(states, words) ^ _states(bytearray(data[start : start + row]))
    while len(states) > 1:
        words //= 2
        states = _skip(states[:words], words) ^ states[words:]
    return int(states[0]) & _ONES


def _states(block: bytearray) -> Tensor:
    """The state after each word of a block, from 0."""
    return _look_up(_skipping(0), torch.frombuffer(block, dtype=torch.uint8).view(-1, 8).unbind(1))


def _skip(states: Tensor, words: int) -> Tensor:
    """``states`` after so many words of zeros, a power of two."""
    return _look_up(_skipping(words), [states >> shift & 255 for shift in (0, 8, 16, 24)])


@functools.cache
def _skipping(words: int) -> Tensor:
    """Tables for the bytes of a state with so many words of zeros to come; 0: of a word itself."""
    if words > 1:
        half = _skipping(words // 2)
        return _skip(half.flatten(), words // 2).view(4, 256)
    tables = _tables()[:3:-1] if words else _tables()[::-1]
    signed = [[state - (state >> 31 << 32) for state in table] for table in tables]
    return torch.tensor(signed, dtype=torch.int32, device="cpu")


def _look_up(tables: Tensor, columns: Sequence[Tensor]) -> Tensor:
    """The XOR over the columns of each column's table, looked up by its bytes."""
    found = tables[0].index_select(0, columns[0].int())
    for table, column in zip(tables[1:], columns[1:], strict=True):
        found ^= table.index_select(0, column.int())
    return found
