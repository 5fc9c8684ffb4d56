"""Snappy's block format, which TensorFlow's tables may use; knows nothing about tables."""

from ._proto import MalformedError, varint

MOST_EXPANSION = 32  # times its size is more than a block can grow: 3 bytes say "copy 64"


def decompress(data: memoryview) -> bytes:
    """The block whose compressed form is ``data``."""
    size, at = varint(data, 0)
    if size > MOST_EXPANSION * len(data):
        raise MalformedError(f"snappy: {len(data)} bytes cannot stand for {size}")
    result = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind = tag & 3
        length = (tag >> 2) + 1
        if kind == 0:
            if length > 60:
                length, at = _number(data, at, length - 60)
                length += 1
            result += data[at : at + length]
            at += length
        else:
            if kind == 1:
                length = (tag >> 2 & 7) + 4
                low, at = _number(data, at, 1)
                back = (tag >> 5 << 8) + low
            else:
                back, at = _number(data, at, 2 if kind == 2 else 4)
            if not 0 < back <= len(result):
                raise MalformedError("snappy: a copy from before the beginning")
            # A copy may reach into what it writes, which then repeats.
            start = len(result) - back
            source = result[start : start + length]
            result += (source * (length // len(source) + 1))[:length]
        if at > len(data) or len(result) > size:
            raise MalformedError("snappy: more than was announced")
    if len(result) != size:
        raise MalformedError("snappy: less than was announced")
    return bytes(result)


def _number(data: memoryview, at: int, size: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + size], "little"), at + size
