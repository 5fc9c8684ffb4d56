"""Writes TensorFlow's checkpoint formats for the tests, also files that TensorFlow would not."""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from torchscope.checkpoint import _crc32c
from torchscope.checkpoint._slices import Slice, slice_key

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")

NUMBERS = {
    torch.float32: 1,
    torch.float64: 2,
    torch.int32: 3,
    torch.uint8: 4,
    torch.int16: 5,
    torch.int8: 6,
    torch.complex64: 8,
    torch.int64: 9,
    torch.bool: 10,
    torch.bfloat16: 14,
    torch.uint16: 17,
    torch.complex128: 18,
    torch.float16: 19,
    torch.uint32: 22,
    torch.uint64: 23,
    torch.float8_e5m2: 24,
    torch.float8_e4m3fn: 25,
}


# ---- bytes and protobufs -----------------------------------------------------------------------


def checksum(data: bytes) -> bytes:
    return struct.pack("<I", _crc32c.mask(_crc32c.extend(0, data)))


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def number(field_number: int, value: int) -> bytes:
    """A varint field; proto3 leaves zeros out."""
    return varint(field_number << 3) + varint(value) if value else b""


def message(field_number: int, data: bytes) -> bytes:
    return varint(field_number << 3 | 2) + varint(len(data)) + data


def fixed32(field_number: int, data: bytes) -> bytes:
    return varint(field_number << 3 | 5) + data


def shape_proto(shape: Sequence[int]) -> bytes:
    return b"".join(message(2, number(1, size)) for size in shape)


def slice_proto(piece: Slice) -> bytes:
    return b"".join(
        message(1, number(1, start) + (varint(16) + varint(length) if length != -1 else b""))
        for start, length in piece
    )


# ---- tables ------------------------------------------------------------------------------------


def block(entries: Iterable[tuple[bytes, bytes]], restart_interval: int = 16) -> bytes:
    out = bytearray()
    restarts: list[int] = []
    previous = b""
    for position, (key, value) in enumerate(entries):
        shared = 0
        if position % restart_interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        previous = key
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(
    entries: Iterable[tuple[bytes, bytes]],
    *,
    block_bytes: int = 1 << 18,
    compress: Callable[[bytes], bytes] | None = None,
) -> bytes:
    out = bytearray()

    def append(content: bytes) -> bytes:
        """Append a block; returns its handle."""
        kind = b"\0"
        if compress is not None:
            content, kind = compress(content), b"\1"
        handle = varint(len(out)) + varint(len(content))
        out.extend(content + kind + checksum(content + kind))
        return handle

    index: list[tuple[bytes, bytes]] = []
    pending: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in entries:
        if pending and size >= block_bytes:
            index.append((pending[-1][0], append(block(pending))))
            pending, size = [], 0
        pending.append((key, value))
        size += len(key) + len(value) + 3
    if pending:
        index.append((pending[-1][0], append(block(pending))))
    footer = append(block([]))
    footer += append(block(index, 1))
    return bytes(out) + footer.ljust(40, b"\0") + MAGIC


def snappy(data: bytes) -> bytes:
    """Snappy's format with copies of all kinds, those that overlap themselves included."""
    out = bytearray(varint(len(data)))
    seen: dict[bytes, int] = {}
    literal = bytearray()

    def flush() -> None:
        if literal:
            length = len(literal) - 1
            if length < 60:
                out.append(length << 2)
            else:
                size = (length.bit_length() + 7) // 8
                out.append(59 + size << 2)
                out.extend(length.to_bytes(size, "little"))
            out.extend(literal)
            literal.clear()

    at = 0
    while at < len(data):
        start = seen.get(data[at : at + 4])
        seen[data[at : at + 4]] = at
        length = 0
        while start is not None and length < 64 and at + length < len(data):
            if data[start + length] != data[at + length]:
                break
            length += 1
        if start is None or length < 4:
            literal.append(data[at])
            at += 1
            continue
        flush()
        back = at - start
        if length < 12 and back < 2048:
            out.extend([back >> 8 << 5 | length - 4 << 2 | 1, back & 255])
        elif back < 1 << 16:
            out.append(length - 1 << 2 | 2)
            out.extend(back.to_bytes(2, "little"))
        else:
            out.append(length - 1 << 2 | 3)
            out.extend(back.to_bytes(4, "little"))
        at += length
    flush()
    return bytes(out)


# ---- V2 ----------------------------------------------------------------------------------------


def tensor_bytes(tensor: torch.Tensor, order: str = "little") -> bytes:
    flat = tensor.contiguous().reshape(-1)
    if not flat.numel():
        return b""
    data = flat.view(torch.uint8)
    if order == "big":
        size = tensor.element_size() // (2 if tensor.is_complex() else 1)
        data = data.view(-1, size).flip(1).reshape(-1)
    return data.numpy().tobytes()


def string_bytes(strings: Sequence[bytes], order: str = "little") -> tuple[bytes, bytes]:
    """The data of a string tensor, and its checksum."""
    sign = "<" if order == "little" else ">"
    lengths = b"".join(struct.pack(sign + "I", len(string)) for string in strings)
    lengths_crc = _crc32c.mask(_crc32c.extend(0, lengths))
    tail = struct.pack(sign + "I", lengths_crc) + b"".join(strings)
    return b"".join(varint(len(one)) for one in strings) + tail, checksum(lengths + tail)


def header(shards: int = 1, order: str = "little", min_consumer: int = 0) -> bytes:
    version = number(1, 1) + number(2, min_consumer)
    return number(1, shards) + number(2, int(order == "big")) + message(3, version)


def entry(
    dtype: int,
    shape: Sequence[int],
    *,
    shard: int = 0,
    offset: int = 0,
    size: int = 0,
    crc: bytes | None = None,
    slices: Sequence[Slice] = (),
) -> bytes:
    return (
        number(1, dtype)
        + message(2, shape_proto(shape))
        + number(3, shard)
        + number(4, offset)
        + number(5, size)
        + (fixed32(6, crc) if crc is not None else b"")
        + b"".join(message(7, slice_proto(piece)) for piece in slices)
    )


@dataclass
class BundleWriter:
    """Collects variables, then writes the index and the shards."""

    shards: int = 1
    order: str = "little"
    entries: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = [bytearray() for _ in range(self.shards)]

    def add(self, name: str | bytes, tensor: torch.Tensor, shard: int = 0) -> None:
        data = tensor_bytes(tensor, self.order)
        self.add_raw(name, NUMBERS[tensor.dtype], tensor.shape, data, shard=shard)

    def add_raw(
        self,
        name: str | bytes,
        dtype: int,
        shape: Sequence[int],
        data: bytes,
        crc: bytes | None = None,
        shard: int = 0,
    ) -> None:
        key = name.encode() if isinstance(name, str) else name
        self.entries[key] = entry(
            dtype,
            shape,
            shard=shard,
            offset=len(self.data[shard]),
            size=len(data),
            crc=checksum(data) if crc is None else crc,
        )
        self.data[shard] += data

    def add_strings(self, name: str, shape: Sequence[int], strings: Sequence[bytes]) -> None:
        data, crc = string_bytes(strings, self.order)
        self.add_raw(name, 7, shape, data, crc)

    def add_sliced(self, name: str, tensor: torch.Tensor, pieces: Sequence[Slice]) -> None:
        """One variable in slices, dealt out to the shards."""
        dtype = NUMBERS[tensor.dtype]
        self.entries[name.encode()] = entry(dtype, tensor.shape, slices=pieces)
        for position, piece in enumerate(pieces):
            part = tensor
            for axis, (start, length) in enumerate(piece):
                if length != -1:
                    part = part.narrow(axis, start, length)
            self.add(slice_key(name.encode(), piece), part, position % self.shards)

    def write(self, prefix: Path, **options: object) -> Path:
        rows = [(b"", header(self.shards, self.order)), *sorted(self.entries.items())]
        index = prefix.with_name(prefix.name + ".index")
        index.write_bytes(table(rows, **options))  # type: ignore[arg-type]
        for shard, data in enumerate(self.data):
            suffix = f".data-{shard:05d}-of-{self.shards:05d}"
            prefix.with_name(prefix.name + suffix).write_bytes(data)
        return prefix


def write_raw(prefix: Path, rows: Iterable[tuple[bytes, bytes]], data: bytes = b"") -> Path:
    """A V2 checkpoint from the entries of its index as they are, and one shard."""
    prefix.with_name(prefix.name + ".index").write_bytes(table(rows))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix


# ---- V1 ----------------------------------------------------------------------------------------

_V1_STRUCT = {torch.float32: (5, "f"), torch.float64: (6, "d")}
_V1_COMPLEX = {torch.complex64: (9, torch.float32), torch.complex128: (12, torch.float64)}
_V1_VARINT = {torch.int64: 10, torch.bool: 11, torch.float16: 13, torch.bfloat16: 13}


def values_proto(tensor: torch.Tensor) -> bytes:
    """A TensorProto with nothing but the values, as V1 has them."""
    flat = tensor.reshape(-1)
    if tensor.dtype in _V1_COMPLEX:
        return message(_V1_COMPLEX[tensor.dtype][0], tensor_bytes(tensor))
    if tensor.dtype in _V1_STRUCT:
        return message(_V1_STRUCT[tensor.dtype][0], tensor_bytes(tensor))
    if tensor.dtype in (torch.float16, torch.bfloat16):
        flat = flat.view(torch.uint16)
    numbers = b"".join(varint(int(value)) for value in flat.tolist())
    return message(_V1_VARINT.get(tensor.dtype, 7), numbers)


def v1_rows(
    name: str, dtype: int, shape: Sequence[int], parts: Sequence[tuple[Slice, bytes]]
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """A variable's part of the description, and the entries of its slices."""
    pieces = b"".join(message(4, slice_proto(piece)) for piece, _ in parts)
    described = message(1, name.encode()) + message(2, shape_proto(shape)) + number(3, dtype)
    rows = [
        (
            slice_key(name.encode(), piece),
            message(
                2, message(1, name.encode()) + message(2, slice_proto(piece)) + message(3, values)
            ),
        )
        for piece, values in parts
    ]
    return message(1, described + pieces), rows


def write_v1(
    path: Path,
    variables: Iterable[tuple[bytes, list[tuple[bytes, bytes]]]],
    **options: object,
) -> Path:
    """A V1 file of what `v1_rows` gives."""
    described = b""
    rows: list[tuple[bytes, bytes]] = []
    for one, its_rows in variables:
        described += one
        rows += its_rows
    rows = [(b"", message(1, described)), *sorted(rows)]
    path.write_bytes(table(rows, **options))  # type: ignore[arg-type]
    return path
