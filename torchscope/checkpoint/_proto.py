"""Protobuf's wire format, as much as checkpoints need; knows fields by number, not by name."""

from collections.abc import Sequence

Buffer = bytes | memoryview

_MOST = (1 << 64) - 1

# What a hostile message of a few megabytes could fill memory with: fields that mean nothing here,
# and views of empty ones, which take 200 bytes each.
_LAST_FIELD = 31
_MOST_VIEWS = 1 << 16


class MalformedError(Exception):
    """Bytes that cannot be read; code that knows the file makes a CheckpointError of it."""


class Message:
    """The fields of a message. One that is absent, or has another wire type, is 0 or empty.

    Fields of bytes are slices of what the message is read from: copies of bytes, which is faster
    for small ones, or views of a memoryview.
    """

    __slots__ = ("_data", "_numbers")

    def __init__(self, data: Buffer) -> None:
        numbers: dict[int, int] = {}
        parts: dict[int, list[Buffer]] = {}
        self._numbers, self._data = numbers, parts
        most = _MOST_VIEWS if isinstance(data, memoryview) else len(data)
        end = len(data)
        at = 0
        while at < end:
            # Most numbers take one byte, and an index of 100,000 variables has a million of them:
            # hence no call for those here.
            tag = data[at]
            at += 1
            if tag > 127:
                tag, at = varint(data, at - 1)
            field, kind = tag >> 3, tag & 7
            if kind == 0 or kind == 2:
                if at < end and data[at] < 128:
                    value = data[at]
                    at += 1
                else:
                    value, at = varint(data, at)
                if kind == 0:
                    if field <= _LAST_FIELD:
                        numbers[field] = value
                    continue
            elif kind == 1 or kind == 5:
                value = 8 if kind == 1 else 4
            else:
                raise MalformedError(f"a field has the wire type {kind}")
            start, at = at, at + value
            if at > end:
                raise MalformedError("a field runs past the end of its message")
            if field > _LAST_FIELD:
                continue
            if kind != 2:
                numbers[field] = int.from_bytes(data[start:at], "little")
            elif field not in parts:
                parts[field] = [data[start:at]]
            else:
                found = parts[field]
                found.append(data[start:at])
                if len(found) > most:
                    raise MalformedError(f"field {field} comes more than {most} times")

    def number(self, field: int) -> int:
        """An unsigned number; the last, as protobuf says, if there are several."""
        return self._numbers.get(field, 0)

    def signed(self, field: int, default: int) -> int:
        """An int64."""
        value = self._numbers.get(field)
        return default if value is None else signed(value)

    def data(self, field: int) -> Buffer:
        """Bytes, a string or a message; the last."""
        found = self._data.get(field)
        return found[-1] if found else b""

    def all(self, field: int) -> Sequence[Buffer]:
        """All bytes, strings or messages of a repeated field; or the parts of packed numbers."""
        return self._data.get(field, ())


def varint(data: Buffer, at: int) -> tuple[int, int]:
    """The unsigned number that begins at ``at``, and where it ends."""
    try:
        value = data[at]
        if value < 128:
            return value, at + 1
        for shift in range(7, 70, 7):
            at += 1
            byte = data[at]
            value += byte - 1 << shift  # without the continuation bit
            if byte < 128:
                return value & _MOST, at + 1
    except IndexError:
        raise MalformedError("a number runs past the end") from None
    raise MalformedError("a number takes more than 10 bytes")


def signed(value: int) -> int:
    """The int64 or int32 that is stored as an unsigned number."""
    return value - (value >> 63 << 64)
