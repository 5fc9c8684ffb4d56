"""Files of torch.save, each tensor read when it is asked for; torch itself reads their pickles.

torch loads such a file onto the meta device without reading a number, and notes where the numbers
of each storage are. That is taken for true where a zip entry of just that size begins there, as it
is and not compressed; any other file torch reads as a whole.
"""

import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from . import _dtypes
from ._file import File, memory_of
from ._kinds import explained_zip

_ZIP = b"PK\x03\x04"
_OLD = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # the first thing that torch.save pickled then

_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip entry: how long its name and extra field are


def is_torch_file(head: bytes) -> bool:
    """Whether a file that begins so is one of torch.save, or at least a zip archive."""
    return head.startswith(_ZIP) or _OLD in head[:32]


class TorchFile:
    """The reader of a file of torch.save. A dict in it is a scope: ``model/fc.weight``."""

    has_keys = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = File(path)
        tree, self._lazy = _load(self._file)
        if not isinstance(tree, Mapping):
            kind = type(tree).__name__
            raise CheckpointError(None, f"{path} does not hold a state dict, but a {kind}.")
        self.names: dict[str, Any] = {}
        self.dicts: Counter[str] = Counter()  # names of inner dicts -> how many tensors are in each
        for name, value, inner in _flat(cast("Mapping[Any, Any]", tree)):
            if name in self.names:
                raise CheckpointError(name, f"{path} has two entries {name!r}.")
            self.names[name] = value
            self.dicts.update([inner] if inner and isinstance(value, Tensor) else ())

    def describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]:
        """The dtype and shape; of what is not a tensor, number or string, the name of its type."""
        value = self.names[name]
        if isinstance(value, bool | int | float | complex):
            value = self._number(name, value)
        if isinstance(value, Tensor):
            return value.dtype, value.shape
        if isinstance(value, str | bytes):
            return "string", torch.Size()  # as in TensorFlow's files
        return type(value).__name__, torch.Size()

    def read(self, name: str, out: Tensor | None = None) -> Tensor | bytes:
        """The value; it goes to ``out``, if that is given and the order in the file is the same."""
        value = self.names[name]
        if isinstance(value, str | bytes):
            return value.encode(errors="surrogateescape") if isinstance(value, str) else value
        if not isinstance(value, Tensor):
            return self._number(name, value)
        if not self._lazy:
            return value
        if not value.is_contiguous():
            out = None
        extent = _extent(value)
        # Without `out`, the numbers as they lie in the file; the value is a view of them.
        target = self._empty(name, (extent,), value.dtype) if out is None else out
        at = _offset_of(value.untyped_storage()) or 0
        at += int(value.storage_offset()) * value.itemsize
        self._file.check(at, extent * value.itemsize, f"{name!r}", name)
        if extent:
            self._file.fill(memory_of(target), at, checksum=False)
            self._file.check_unchanged(name)
        return target if out is not None else target.as_strided(value.shape, value.stride())

    def verify(self, name: str) -> None:
        """Raise if copying it would. The format has no checksums."""
        value = self.names[name]
        if isinstance(value, Tensor) and not self._lazy:
            check_copies(value, name)
        self._file.check_unchanged(name)

    def content(self, name: str) -> None:
        """Nothing: the format keeps no checksum of a variable."""

    def close(self) -> None:
        self.names = dict.fromkeys(self.names)
        self._file.close()

    def _number(self, name: str, value: Any) -> Tensor:
        try:
            return torch.as_tensor(value, device="cpu")
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            kind = type(value).__name__
            problem = f"{self.path}: {name!r} is not a tensor but of type {kind}. Leave it out."
            raise CheckpointError(name, problem) from error

    def _empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        try:
            return _dtypes.empty(shape, dtype)
        except _dtypes.MalformedError as error:
            raise CheckpointError(name, f"{self.path}: {name!r}: {error}") from error


def check_copies(value: Tensor, name: str) -> None:
    """Raise unless a tensor has numbers that can be copied from it."""
    if value.is_meta:
        raise CheckpointError(name, f"{name!r} is on the meta device, which holds no values.")
    if value.layout != torch.strided:
        cure = f"saved[{name!r}].to_dense()"
        raise CheckpointError(name, f"{name!r} has the layout {value.layout}. Pass {cure}.")


def _extent(value: Tensor) -> int:
    """How many numbers of its storage a tensor spans, from the first to the last of its own."""
    if not value.numel():
        return 0
    sizes = zip(value.shape, value.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in sizes)


def _flat(tree: Mapping[Any, Any]) -> Iterator[tuple[str, Any, str]]:
    """What is in dicts, and in the dicts in those: name, value, and the name of an inner dict."""
    seen = {id(tree)}
    waiting: list[tuple[str, Any, str]]
    waiting = [(str(key), one, "") for key, one in reversed(list(tree.items()))]
    while waiting:
        name, value, inner = waiting.pop()
        # A dict that is there again, perhaps within itself, stands as it is: all files end.
        if isinstance(value, Mapping) and id(cast("Any", value)) not in seen:
            seen.add(id(cast("Any", value)))
            items = cast("Mapping[object, Any]", value).items()
            waiting += [(f"{name}/{key}", one, name) for key, one in reversed(list(items))]
        else:
            yield name, value, inner


# ---- the pickle ----------------------------------------------------------------------------------


def _load(file: File) -> tuple[Any, bool]:
    """What is in the file, and whether its tensors are still to be read."""
    with file.path.open("rb") as stream:
        entries = _entries(file, stream) if file.head(4) == _ZIP else {}
        if entries:
            try:
                found = torch.load(stream, map_location="meta", weights_only=True)
            except Exception:  # what torch cannot make there, it may read as a whole
                found = None
            if found is not None and all(_lies_in(one, entries) for one in _tensors(found)):
                return found, True
            stream.seek(0)
        try:
            found = torch.load(stream, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle raises what it likes
            raise CheckpointError(None, f"{file.path} {_why(file.path, str(error))}") from error
    file.check_unchanged()
    return found, False


def _entries(file: File, stream: Any) -> dict[int, int]:
    """Where the data of each zip entry begins -> its size, of those that are not compressed.

    There are none where the file is in another order of bytes than this machine's.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            found = archive.infolist()
            order = next((one for one in found if one.filename.endswith("/byteorder")), None)
            native = order is None or archive.read(order) == _dtypes.BYTE_ORDER
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        problem = f"a zip archive, as torch.save writes, that is cut or damaged: {error}."
        raise file.error(0, problem) from error
    finally:
        stream.seek(0)
    names = [one.filename for one in found]
    if "data.pkl" not in {name.rpartition("/")[2] for name in names} or _is_script(names):
        raise CheckpointError(
            None, f"{file.path} is not a checkpoint: it is {explained_zip(names)}"
        )
    entries: dict[int, int] = {}
    for one in found if native else ():
        if one.compress_type == zipfile.ZIP_STORED and not one.flag_bits & 1:
            file.check(one.header_offset, 30, "a zip entry")
            header = file.read(one.header_offset, 30)
            entries[one.header_offset + 30 + sum(_LOCAL_HEADER.unpack(header))] = one.file_size
    return entries


def _is_script(names: list[str]) -> bool:
    return any(re.search(r"(^|/)constants\.pkl$", name) for name in names)


def _tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in dicts of dicts: those that can be read."""
    waiting, seen = [tree], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping) and id(cast("Any", value)) not in seen:
            seen.add(id(cast("Any", value)))
            waiting += list(cast("Mapping[Any, Any]", value).values())
        elif isinstance(value, Tensor):
            yield value


def _lies_in(value: Tensor, entries: dict[int, int]) -> bool:
    """Whether a tensor on the meta device is numbers in one of the zip's entries, as they are."""
    if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided:
        return False
    if value.is_quantized or value.is_conj() or value.is_neg():
        return False
    storage = value.untyped_storage()
    at = _offset_of(storage)
    return at is not None and (not value.numel() or entries.get(at) == storage.nbytes())


def _offset_of(storage: torch.UntypedStorage) -> int | None:
    """Where in the file the numbers of a storage are, as torch has noted it."""
    return getattr(storage, "_checkpoint_offset", None)


_CLASS = re.compile(r"(?:GLOBAL|class|type) '?([\w.]+\.[\w.]+)")


def _why(path: Path, reason: str) -> str:
    """Why torch.load refuses a file, in a sentence, and how to get a state dict out of it."""
    found = _CLASS.search(reason)
    if found is None:
        first = reason.partition("\n")[0].rstrip(".")
        return f"cannot be read by torch.load(weights_only=True): {first}."
    return (
        f"holds more than tensors: a {found[1]}, which torch.load(weights_only=True) refuses. "
        "If you trust the file, write its state dict to another, where that class can be imported: "
        f"torch.save(torch.load({str(path)!r}, weights_only=False)['state_dict'], 'weights.pt')"
    )
