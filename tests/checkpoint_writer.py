"""Writes what the product does not: V1 files, partitions, several shards, big-endian, damaged ones.

Tables and protobufs are the product's; for a plain checkpoint, `torchscope.checkpoint.save`.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from torchscope.checkpoint import _crc32c
from torchscope.checkpoint._dtypes import NUMBERS as NUMBERS
from torchscope.checkpoint._proto_writer import message, number, varint
from torchscope.checkpoint._slices import Slice, slice_key
from torchscope.checkpoint._table_writer import MAGIC as MAGIC
from torchscope.checkpoint._table_writer import Block, TableWriter


def checksum(data: bytes) -> bytes:
    return struct.pack("<I", _crc32c.mask(_crc32c.extend(0, data)))


def shape_proto(shape: Sequence[int]) -> bytes:
    return b"".join(message(2, number(1, size)) for size in shape)


def slice_proto(piece: Slice) -> bytes:
    return b"".join(
        message(1, number(1, start) + (varint(16) + varint(length) if length != -1 else b""))
        for start, length in piece
    )


# ---- tables ------------------------------------------------------------------------------------


def block(entries: Iterable[tuple[bytes, bytes]], restarts: int = 16) -> bytes:
    made = Block(restarts=restarts)
    for key, value in entries:
        made.add(key, value)
    return made.content()


def table(entries: Iterable[tuple[bytes, bytes]], **options: Any) -> bytes:
    """A table with the options of `TableWriter`; here the keys may be in any order."""
    out = bytearray()
    writer = TableWriter(out.extend, **options)
    for key, value in entries:
        writer.add(key, value)
    writer.finish()
    return bytes(out)


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
        + (b"\x35" + crc if crc is not None else b"")
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

    def write(self, prefix: Path, **options: Any) -> Path:
        rows = [(b"", header(self.shards, self.order)), *sorted(self.entries.items())]
        index = prefix.with_name(prefix.name + ".index")
        index.write_bytes(table(rows, **options))
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
    **options: Any,
) -> Path:
    """A V1 file of what `v1_rows` gives."""
    described = b""
    rows: list[tuple[bytes, bytes]] = []
    for one, its_rows in variables:
        described += one
        rows += its_rows
    rows = [(b"", message(1, described)), *sorted(rows)]
    path.write_bytes(table(rows, **options))
    return path
