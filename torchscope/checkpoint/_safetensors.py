"""safetensors files, each tensor read when it is asked for; needs no package and maps no file.

The format is a length, a header in JSON, and the data without gaps.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from . import _dtypes
from ._file import File, memory_of
from ._mapping import Reader
from ._proto import MalformedError

MOST_HEADER_BYTES = 100_000_000  # safetensors reads no longer one

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


class _Entry(NamedTuple):
    """What the header says of a tensor; where it is counts from the end of the header."""

    dtype: torch.dtype | str
    shape: torch.Size
    start: int
    size: int


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so is a safetensors file."""
    return len(head) > 8 and head[8:9] == b"{" and _header_size(head) <= MOST_HEADER_BYTES


class Safetensors:
    """The reader of one file."""

    has_keys = True

    def __init__(self, path: Path) -> None:
        self._file = File(path)
        size = _header_size(self._file.head(8))
        self._file.check(8, size, "the header")
        self._data = 8 + size
        try:
            header: Any = json.loads(self._file.read(8, size), object_pairs_hook=_without_repeats)
            header.pop("__metadata__", None)
            self.names = {name: _entry(header[name]) for name in sorted(header)}
            self._check_places()
        except (MalformedError, ValueError, TypeError, LookupError, RecursionError) as error:
            problem = f"the header of a safetensors file cannot be read: {error}."
            raise self._file.error(8, problem) from error

    def _check_places(self) -> None:
        """Raise unless the tensors are the file's data, each number of it once."""
        at = 0
        for entry in sorted(self.names.values(), key=lambda entry: (entry.start, entry.size)):
            if entry.start != at:
                raise MalformedError(f"at byte {at} of the data tensors overlap or leave a gap")
            at += entry.size
        if self._data + at != self._file.size:
            there = self._file.size - self._data
            raise MalformedError(f"it describes {at} bytes of data, but there are {there}")

    def describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]:
        """The dtype, or the format's name of one that torch lacks, and the shape."""
        return self.names[name][:2]

    def read(self, name: str, out: Tensor | None = None) -> Tensor:
        """The value; it goes to ``out``, if that is given."""
        entry, at = self.names[name], self._data + self.names[name].start
        try:
            if isinstance(entry.dtype, str):
                raise MalformedError(f"torch has no dtype for {entry.dtype}")
            tensor = _dtypes.empty(entry.shape, entry.dtype) if out is None else out
            if entry.size:
                self._file.fill(memory_of(tensor), at, checksum=False)
            self._file.check_unchanged(name)
            _dtypes.check_bools(tensor)
        except MalformedError as error:
            raise self._file.error(at, f"{name!r} cannot be read: {error}.", name) from error
        return _dtypes.native(tensor, "little")

    def verify(self, name: str) -> None:
        """Raise if the file is another by now. The format has no checksums."""
        self._file.check_unchanged(name)

    def content(self, name: str) -> None:
        """Nothing: the format keeps no checksum of a tensor."""

    def close(self) -> None:
        self._file.close()


def _header_size(head: bytes) -> int:
    return int.from_bytes(head[:8], "little")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise MalformedError("a name is there twice")
    return found


def _entry(described: dict[str, Any]) -> _Entry:
    """An entry from the header, checked."""
    numbers = [*described["shape"], *described["data_offsets"]]
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
        raise MalformedError(f"an impossible shape or place: {described}")
    name, (start, end) = described["dtype"], described["data_offsets"]
    if not isinstance(name, str) or end < start:
        raise MalformedError(f"an impossible dtype or place: {described}")
    dtype: torch.dtype | str = DTYPES.get(name) or name
    shape = torch.Size(described["shape"])
    if isinstance(dtype, torch.dtype) and math.prod(shape) * dtype.itemsize != end - start:
        raise MalformedError(f"shape {list(shape)} of {name} does not take {end - start} bytes")
    return _Entry(dtype, shape, start, end - start)


# ---- several files -------------------------------------------------------------------------------


def weight_map(path: Path, head: bytes) -> dict[str, str] | None:
    """Of an index as Hugging Face writes beside shards: name -> file name; None of other files."""
    if path.suffix != ".json" or not head.lstrip().startswith(b"{"):
        return None
    file = File(path)
    if file.size > MOST_HEADER_BYTES:
        raise file.error(0, f"an index of {file.size} bytes is too large.")
    try:
        found: Any = json.loads(file.read(0, file.size))
    except (ValueError, RecursionError) as error:
        raise file.error(0, f"not JSON: {error}.") from error
    files = found.get("weight_map")
    if not isinstance(files, dict):
        return None
    for name, shard in cast("dict[str, Any]", files).items():
        # The index may be a stranger's: it leads to files beside it, and to no others.
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise file.error(0, f"{name!r} is in {shard!r}, which is not the name of a file.")
    return cast("dict[str, str]", files)


class Shards:
    """The reader of several files, of which an index says which has what."""

    has_keys = True

    def __init__(self, index: Path, files: dict[str, str], open_one: Callable[[Path], Reader]):
        shards = {one: open_one(index.with_name(one)) for one in sorted(set(files.values()))}
        self.names = {name: shards[files[name]] for name in sorted(files)}
        self._shards = list(shards.values())
        for name, shard in self.names.items():
            if name not in shard.names:
                problem = f"{index}: {files[name]} should have {name!r}, but does not."
                raise CheckpointError(name, problem)

    def describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]:
        return self.names[name].describe(name)

    def read(self, name: str, out: Tensor | None = None) -> Tensor | Any:
        return self.names[name].read(name, out)

    def verify(self, name: str) -> None:
        self.names[name].verify(name)

    def content(self, name: str) -> tuple[object, ...] | None:
        return self.names[name].content(name)

    def close(self) -> None:
        for shard in self._shards:
            shard.close()
