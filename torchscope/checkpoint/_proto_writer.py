"""Protobuf's wire format, written; knows fields by number, not by name, as its reader does."""

_MOST = (1 << 64) - 1


def varint(value: int) -> bytes:
    """A number, seven bits a byte; a negative one as the unsigned number of 64 bits."""
    value &= _MOST
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field with a number; a zero is left out, as proto3 has it."""
    return varint(field << 3) + varint(value) if value else b""


def fixed32(field: int, value: int) -> bytes:
    """A field with a number that takes four bytes; a zero is left out."""
    return varint(field << 3 | 5) + value.to_bytes(4, "little") if value else b""


def message(field: int, data: bytes) -> bytes:
    """A field with bytes, a string or a message; there also if it is empty."""
    return varint(field << 3 | 2) + varint(len(data)) + data
