"""One file read by position, whose errors contain its name; knows no format."""

import ctypes
import mmap
import os
import threading
from pathlib import Path
from typing import Any

from torch import Tensor

from torchscope._errors import CheckpointError

from . import _crc32c


class File:
    """An open file: its size is known, and nothing is read or allocated beyond it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._map: memoryview | None = None
        if not is_file(path):  # asked first: opening a pipe would wait for its other end
            raise CheckpointError(None, f"{path} is missing, or is not a regular file.")
        try:
            self._raw = path.open("rb", buffering=0)
            self._state = self._stat()
            self.size = self._state[0]
        except OSError as error:
            raise CheckpointError(None, f"{path} cannot be opened: {error}") from error

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close it; tensors that map it keep the map."""
        self._map = None
        if hasattr(self, "_raw"):
            self._raw.close()

    def _stat(self) -> tuple[int, int]:
        stat = os.fstat(self._raw.fileno())
        return stat.st_size, stat.st_mtime_ns

    def is_current(self) -> bool:
        """Whether no other file has been put in its place since it was opened."""
        try:
            return os.path.samestat(os.fstat(self._raw.fileno()), self.path.stat())
        except OSError:  # it was removed
            return True

    def check_unchanged(self, name: str | None = None) -> None:
        """Raise if it was written to since it was opened: for formats without checksums."""
        try:
            unchanged = self._stat() == self._state
        except (OSError, ValueError):  # ValueError: it is closed
            unchanged = False
        if not unchanged:
            problem = f"{self.path} has been changed while it was read: read it again."
            raise CheckpointError(name, problem)

    def error(self, offset: int, problem: str, name: str | None = None) -> CheckpointError:
        """The error about the bytes at ``offset``; ``name`` is the variable's, if known."""
        return CheckpointError(name, f"{self.path}, byte {offset}: {problem}")

    def check(self, offset: int, size: int, what: str, name: str | None = None) -> None:
        """Raise unless there are ``size`` bytes at ``offset``."""
        if offset < 0 or size < 0 or offset + size > self.size:
            problem = f"{what} should have {size} bytes here, but the file has {self.size} in all."
            raise self.error(offset, problem, name)

    def read(self, offset: int, size: int) -> bytearray:
        """``size`` bytes from ``offset``, for which `check` has passed."""
        data = bytearray(size)
        self.fill(memoryview(data), offset, checksum=False)
        return data

    def fill(self, memory: memoryview, offset: int, *, checksum: bool) -> int:
        """Read into ``memory`` from ``offset``; returns the checksum, or 0 if it is not wanted."""
        crc = 0
        position = 0
        while position < len(memory):
            chunk = memory[position : position + _crc32c.CHUNK]
            try:
                count = self._read_at(offset + position, chunk)
            except (OSError, ValueError) as error:  # ValueError: it is closed
                raise self.error(offset + position, f"cannot be read: {error}") from error
            if not count:
                raise self.error(offset + position, "the file has become shorter.")
            if checksum:
                crc = _crc32c.extend(crc, chunk[:count])
            position += count
        return crc

    def _read_at(self, offset: int, memory: memoryview) -> int:
        """Read once, without moving the position, which forked processes share; how many bytes."""
        if hasattr(os, "preadv"):
            return os.preadv(self._raw.fileno(), [memory], offset)
        with self._lock:  # Windows, which has threads but no forks
            self._raw.seek(offset)
            return self._raw.readinto(memory)

    def checksum(self, offset: int, size: int) -> int:
        """The checksum of ``size`` bytes from ``offset``, for which `check` has passed."""
        crc = 0
        memory = memoryview(bytearray(min(size, _crc32c.CHUNK)))
        for position in range(offset, offset + size, _crc32c.CHUNK):
            chunk = memory[: offset + size - position]
            self.fill(chunk, position, checksum=False)
            crc = _crc32c.extend(crc, chunk)
        return crc

    def head(self, size: int = 1024) -> bytes:
        """The first bytes: what tells one kind of file from another."""
        return bytes(self.read(0, min(size, self.size)))

    def map(self) -> memoryview:
        """The whole file as private memory: writing to it changes no file."""
        if self._map is None:
            try:
                mapped = mmap.mmap(self._raw.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise CheckpointError(None, f"{self.path} cannot be mapped: {error}") from error
            # Through a memoryview the map cannot be closed while a tensor still looks at it.
            self._map = memoryview(mapped)
        return self._map


def is_file(path: Path) -> bool:
    """Whether there is a regular file; also of paths that the system refuses."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def memory_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, to read a file into. It must outlive the view.

    A bytearray below the tensor would need no ctypes, but is filled with zeros first: a quarter
    of the time that reading takes.
    """
    array: Any = ctypes.c_char * (tensor.numel() * tensor.element_size())
    return memoryview(array.from_address(tensor.data_ptr()))
