"""One interface to everything that holds tensors by name; knows no store and no map of names."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from ._bundle import index_of
from ._file import is_file
from ._mapping import Checkpoint
from ._open import PathLike, home_hint, open

TORCH_ENDINGS = (".pt", ".pth", ".bin")


@runtime_checkable
class Source(Protocol):
    """Tensors by name: shapes and dtypes are known without reading them."""

    @property
    def path(self) -> Path | None: ...

    def __iter__(self) -> Iterator[str]: ...

    def __getitem__(self, name: str) -> Any: ...

    def shape(self, name: str) -> torch.Size: ...

    def dtype(self, name: str) -> torch.dtype | str: ...

    def verify(self, name: str) -> None: ...

    def close(self) -> None: ...


class Tensors:
    """A mapping that is in memory, such as a state dict; or a file that torch has read."""

    def __init__(self, tensors: Mapping[Any, Any], path: Path | None = None) -> None:
        self.path = path
        self._tensors: Mapping[str, Any] = tensors
        odd = [name for name in tensors if not isinstance(name, str)]
        if odd:
            what = path or "The mapping"
            raise CheckpointError(
                None, f"{what} is not a state dict: its key {odd[0]!r} is not a string."
            )

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._tensors if not name.endswith("_extra_state")])

    def __getitem__(self, name: str) -> Tensor:
        value = self._tensors[name]
        if isinstance(value, Tensor):
            return value
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            where = f"{self.path}: " if self.path else ""
            if isinstance(value, Mapping):
                cure = f"torch.load(path, weights_only=True)[{name!r}]" if self.path else repr(name)
                problem = f"{name!r} is a dict itself. If it is the one to load, pass that: {cure}"
            else:
                kind = type(value).__name__
                problem = f"{name!r} is not a tensor but of type {kind}. Leave it out"
                if hasattr(value, "shape"):
                    problem = f"{name!r} cannot be a tensor. {str(error).rstrip('.')}"
            raise CheckpointError(name, f"{where}{problem}.") from error

    def shape(self, name: str) -> torch.Size:
        return self[name].shape

    def dtype(self, name: str) -> torch.dtype | str:
        return self[name].dtype

    def verify(self, name: str) -> None:
        """Raise if copying it would raise."""
        value = self[name]
        if value.is_meta:
            raise CheckpointError(name, f"{name!r} is on the meta device, which holds no values.")
        if value.layout != torch.strided:
            cure = f"saved[{name!r}].to_dense()"
            raise CheckpointError(name, f"{name!r} has the layout {value.layout}. Pass {cure}.")

    def keep(self, names: Collection[str]) -> None:
        """Copy these, because their memory is about to be written to."""
        self._tensors = {**self._tensors, **{name: self[name].clone() for name in names}}

    def close(self) -> None:
        self._tensors = {}


class Safetensors:
    """A safetensors file, each tensor read when it is asked for."""

    def __init__(self, path: Path) -> None:
        try:
            import safetensors
        except ImportError as error:
            raise CheckpointError(
                None,
                f"{path} is a safetensors file, which needs a package: pip install safetensors",
            ) from error
        self.path = path
        try:
            self._file: Any = cast("Any", safetensors).safe_open(path, framework="pt")
            self._names = sorted(self._file.keys())
        except Exception as error:  # SafetensorError, OSError: each version raises its own
            raise CheckpointError(None, f"{path} cannot be read: {error}") from error
        self._descriptions: dict[str, tuple[torch.Size, torch.dtype | str]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._file.get_tensor(name)
        except Exception as error:
            raise CheckpointError(name, f"{self.path}: {name!r} cannot be read: {error}") from error

    def shape(self, name: str) -> torch.Size:
        return torch.Size(self._file.get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype | str:
        written: str = self._file.get_slice(name).get_dtype()
        return SAFETENSORS_DTYPES.get(written, written)

    def verify(self, name: str) -> None:
        """Nothing to verify: the format has no checksums, and its header was checked."""

    def close(self) -> None:
        self._file = None


SAFETENSORS_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
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


class opened:  # noqa: N801  - reads as a function: with opened(source) as tensors:
    """Any source that a user may give; closed in the end if it was opened here.

    Args:
        source: a path of a TensorFlow checkpoint (as for `open`), of a ``.safetensors`` or a
            ``.pt`` file, an open `Checkpoint`, or a mapping.
        verify: whether the data of a path is compared with its checksums.
        mmap: whether a path is mapped rather than copied from.
    """

    def __init__(
        self, source: PathLike | Mapping[str, Any], *, verify: bool = True, mmap: bool = False
    ) -> None:
        self._ours = True
        if isinstance(source, Checkpoint):
            self._ours = False
            self.tensors: Source = source
        elif isinstance(source, Mapping):
            self.tensors = Tensors(source)
        elif isinstance(source, str | os.PathLike):
            self.tensors = _from_path(source, verify=verify, mmap=mmap)
        else:
            raise TypeError(
                "A source is a path, an open Checkpoint or a mapping from names to tensors, not "
                f"{type(source).__name__}. A module's is module.state_dict()."
            )

    def __enter__(self) -> Source:
        return self.tensors

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ours:
            self.tensors.close()


def _from_path(given: PathLike, *, verify: bool, mmap: bool) -> Source:
    path = Path(os.fsdecode(given))
    ending = path.suffix if not is_file(index_of(path)) else ""
    if ending not in (".safetensors", *TORCH_ENDINGS) and not _is_zip(path):
        return open(path, verify=verify, mmap=mmap)
    if not is_file(path):
        raise CheckpointError(
            None, f"{path} is missing, or is not a regular file.{home_hint(path)}"
        )
    return Safetensors(path) if ending == ".safetensors" else Tensors(_torch_load(path), path)


def _is_zip(path: Path) -> bool:
    """Whether it is a file of ``torch.save`` with another suffix, such as ``.ckpt``."""
    if not is_file(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _torch_load(path: Path) -> Mapping[str, Any]:
    """The state dict in a file of ``torch.save``, mapped where its format allows that."""
    try:
        mapped = _is_zip(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # pickle raises what it likes
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            None,
            f"{path} cannot be read by torch.load(weights_only=True): {reason} If it is your own, "
            "and holds more than tensors, load it yourself and pass the state dict.",
        ) from error
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise CheckpointError(None, f"{path} does not hold a state dict, but a {kind}.")
    return cast("Mapping[str, Any]", found)
