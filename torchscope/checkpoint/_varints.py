"""Many of protobuf's variable-length integers at once, decoded by torch; knows no message."""

import torch
from torch import Tensor

from ._dtypes import native
from ._proto import MalformedError

_CHUNK = 1 << 19  # bytes that are decoded at once: what is computed of them stays in the cache
_LONGEST = 10  # bytes of one integer

# By the size of a number, the bits of its bytes that count; of the tenth it is the last one.
_FIRST_EIGHT = [0x7F7F7F7F7F7F7F7F >> 8 * max(0, 8 - size) for size in range(_LONGEST + 1)]
_LAST_TWO = [0] * 9 + [0x7F, 0x17F]


def decode(data: bytes | bytearray | memoryview) -> Tensor:
    """The integers that follow one another in ``data``, as int64.

    >>> decode(bytes([3, 0x96, 1, *[255] * 9, 1])).tolist()
    [3, 150, -1]
    """
    if not len(data):
        return torch.empty(0, dtype=torch.int64, device="cpu")
    # The zeros behind it let every number be read as if it were the longest.
    end = len(data)
    padded = bytearray(end + 16)
    padded[:end] = data
    given = torch.frombuffer(padded, dtype=torch.uint8)
    if int(given[end - 1]) > 127:
        raise MalformedError("a number runs past the end")
    found: list[Tensor] = []
    at = 0
    while at < end:
        ends = (given[at : min(at + _CHUNK, end)] < 128).nonzero().view(-1)
        if not len(ends):
            raise MalformedError(f"a number takes more than {_LONGEST} bytes")
        size = int(ends[-1]) + 1
        found.append(_decode(given[at : at + size + 16], ends))
        at += size
    return torch.cat(found)


def _decode(data: Tensor, ends: Tensor) -> Tensor:
    """The integers in a chunk, given the position of the last byte of each."""
    if len(ends) == len(data) - 16:
        return data[:-16].long()
    starts = torch.zeros_like(ends)
    torch.add(ends[:-1], 1, out=starts[1:])
    sizes = ends.sub_(starts).add_(1)
    longest = int(sizes.max())
    if longest > _LONGEST:
        raise MalformedError(f"a number takes more than {_LONGEST} bytes")
    numbers = _words(data, starts)
    numbers &= torch.tensor(_FIRST_EIGHT, device="cpu").index_select(0, sizes)
    # Seven bits of each byte: join two, then four, then all eight bytes.
    for bits, low in ((7, 0x007F007F007F007F), (14, 0x00003FFF00003FFF), (28, 0x0FFFFFFF)):
        high = numbers & (low << bits + bits // 7)
        numbers &= low
        numbers |= high.bitwise_right_shift_(bits // 7)
    if longest > 8:
        rest = _words(data, starts.add_(8))
        rest &= torch.tensor(_LAST_TWO, device="cpu").index_select(0, sizes)
        numbers |= rest << 56
        numbers |= rest.bitwise_right_shift_(8).bitwise_left_shift_(63)
    return numbers


def _words(data: Tensor, starts: Tensor) -> Tensor:
    """The eight bytes from each start as one number, the first byte being the lowest."""
    words = data.unfold(0, 8, 1).index_select(0, starts).view(torch.int64).view(-1)
    return native(words, "little")
