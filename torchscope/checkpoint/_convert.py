"""A source written as another kind of file, whole or not at all; prints nothing."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from re import Pattern
from typing import Any

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from . import _assignment, _dtypes, _to_tensorflow
from ._file import memory_of
from ._mapping import Checkpoint
from ._paths import TORCH_ENDINGS
from ._replacing import replacing
from ._rows import Row, dtype_name
from ._safetensors import DTYPES, MOST_HEADER_BYTES
from ._sources import Source
from ._torch_file import TorchFile
from ._values import STRING

_SAFETENSORS_NAMES = {dtype: name for name, dtype in DTYPES.items()}

_NO_NUMBERS = ("string", "resource", "variant")
_CHUNK = 1 << 24  # bytes that are written at once

TENSORFLOW, SAFETENSORS, TORCH = KINDS = ("tensorflow", "safetensors", "torch")

Rename = tuple[Pattern[str], str]


def kind_of(target: Path, to: str | None) -> str:
    """What is to be written: what was asked for, else what the target's ending says."""
    ending = target.suffix
    if to is not None:
        return to
    if ending == ".safetensors":
        return SAFETENSORS
    if ending in TORCH_ENDINGS:
        return TORCH
    if ending == ".ckpt" or ending.startswith(".ckpt-"):
        return TENSORFLOW
    raise CheckpointError(
        None,
        f"{target}: its ending does not say what to write. Let it end in .ckpt, .safetensors or "
        f".pt, or say it: --to {', '.join(KINDS[:-1])} or {KINDS[-1]}.",
    )


@dataclass
class Plan:
    """What is written under which name, and what is not written.

    Attributes:
        kind: what is to be written, one of `KINDS`.
        written: new name -> the row of the source.
        slots: optimizers' slots, the global step and the like.
        others: what is not numbers, such as strings.
    """

    kind: str
    written: dict[str, Row] = field(default_factory=dict[str, Row])
    slots: list[str] = field(default_factory=list[str])
    others: list[Row] = field(default_factory=list[Row])

    @property
    def hint_at_strings(self) -> str:
        """What writes the strings that are left out; empty if there are none."""
        strings = self.kind != TENSORFLOW and any(row.dtype == STRING for row in self.others)
        return "only --to tensorflow writes strings" if strings else ""


def plan(
    source: Source, rows: list[Row], kind: str, renames: Sequence[Rename], keep_slots: bool
) -> Plan:
    """Decide what goes where, and raise if something could not be written unchanged."""
    result = Plan(kind)
    for row in rows:
        is_string = kind == TENSORFLOW and row.dtype == STRING
        if not is_string and (row.dtype in _NO_NUMBERS or _is_python_object(source, row)):
            result.others.append(row)
            continue
        if not keep_slots and row.name in source.not_the_models:
            result.slots.append(row.name)
            continue
        new = _assignment.renamed([row.name], list(renames))[row.name]
        assert new is not None
        if new in result.written:
            raise CheckpointError(
                new,
                f"Both {result.written[new].name!r} and {row.name!r} would be written as {new!r}: "
                "change the --map so that they differ, or --select one of them.",
            )
        result.written[new] = row
    if not result.written:
        raise CheckpointError(None, f"Nothing to write: {_why_nothing(result)}")
    for new, row in result.written.items():
        if kind == TENSORFLOW:
            _to_tensorflow.check_row(new, row)
        if isinstance(row.dtype, str) and row.dtype != STRING:
            raise CheckpointError(
                row.name,
                f"{row.name!r} is {row.dtype}, which torch lacks: leave it out with --select.",
            )
        if kind == SAFETENSORS:
            _check_for_safetensors(new, row)
    return result


def _is_python_object(source: Source, row: Row) -> bool:
    """Whether it is a list or the like, which files of torch.save may have."""
    is_torch_file = isinstance(source, Checkpoint) and isinstance(source._reader, TorchFile)
    return is_torch_file and isinstance(row.dtype, str)


def _why_nothing(result: Plan) -> str:
    if result.slots:
        return (
            f"all {len(result.slots)} are optimizers' slots or count steps: --keep-slots writes "
            "those, too."
        )
    if result.others:
        kinds = ", ".join(sorted({dtype_name(row.dtype) for row in result.others}))
        hint = result.hint_at_strings
        return f"these are not numbers ({kinds}){': ' if hint else ''}{hint}."
    return "no tensor has such a name."


def _check_for_safetensors(name: str, row: Row) -> None:
    if row.dtype not in _SAFETENSORS_NAMES:
        raise CheckpointError(
            row.name,
            f"{row.name!r} is {dtype_name(row.dtype)}, which safetensors cannot store: write a "
            ".pt file, or leave it out with --select.",
        )
    if name == "__metadata__" or not _is_unicode(name):
        raise CheckpointError(
            row.name,
            f"safetensors cannot store the name {name!r}: --map it to another, or write .pt.",
        )


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def check_target(target: Path, kind: str, *, force: bool) -> None:
    """Raise unless what is to be written may be there."""
    if not target.parent.is_dir():
        raise CheckpointError(None, f"There is no directory {target.parent}.")
    if target.is_dir():
        raise CheckpointError(None, f"{target} is a directory.")
    if kind == TENSORFLOW:
        _to_tensorflow.check_place(target, force=force)
    elif target.exists() and not force:
        raise CheckpointError(None, f"{target} exists already; --force replaces it.")


def write(
    source: Source, rows: dict[str, Row], target: Path, kind: str, done: Callable[[int], None]
) -> None:
    """Write the file under a temporary name, then rename it.

    Args:
        source: where the values are; they are verified before they are written.
        rows: new name -> the row of the source.
        target: the file, or the prefix of TensorFlow's files.
        kind: one of `KINDS`.
        done: called with the number of bytes written since the last call.
    """
    if kind == TENSORFLOW:
        _to_tensorflow.write(source, rows, target, done)
        return
    with replacing(target) as file:
        counted: Any = _Counted(file, done)
        if kind == SAFETENSORS:
            _write_safetensors(source, rows, counted)
        else:
            tensors = {new: _plain(source, row.name) for new, row in rows.items()}
            try:
                torch.save(tensors, counted)
            except RuntimeError:  # torch's own complaint that the end of the file cannot be written
                if counted.error is not None:
                    raise counted.error from None
                raise


class _Counted(RawIOBase):
    """A file that reports how much was written, and never writes only a part."""

    def __init__(self, file: Any, done: Callable[[int], None]) -> None:
        self._file = file
        self._done = done
        self.error: BaseException | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        rest = memoryview(data)  # of bytes
        size = len(rest)
        try:
            while rest:
                count = self._file.write(rest[:_CHUNK])
                self._done(count)
                rest = rest[count:]
        except BaseException as error:
            self.error = error
            raise
        return size


def _write_safetensors(source: Source, rows: dict[str, Row], file: _Counted) -> None:
    """The format is a length, a header in JSON, and the data without gaps.

    Not written by the package, which needs all tensors in memory at once. In the package's order:
    those with wide elements first, so that all are aligned.
    """
    order = sorted(rows, key=lambda new: (-_itemsize(rows[new]), new))
    header: dict[str, Any] = {}
    at = 0
    for new in order:
        row = rows[new]
        size = row.size or 0
        dtype = _SAFETENSORS_NAMES[row.dtype]  # type: ignore[index]
        header[new] = {"dtype": dtype, "shape": row.shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER_BYTES:
        raise CheckpointError(
            None, f"A header of {len(text)} bytes is too long for safetensors: write a .pt file."
        )
    file.write(len(text).to_bytes(8, "little") + text)
    for new in order:
        tensor = _dtypes.native(_plain(source, rows[new].name), "little")
        file.write(memory_of(tensor))


def _itemsize(row: Row) -> int:
    return row.dtype.itemsize if isinstance(row.dtype, torch.dtype) else 0


def _plain(source: Source, name: str) -> Tensor:
    """A variable's value as it is written: on the CPU, contiguous, the whole of its storage."""
    tensor: Tensor = source[name].detach()
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise CheckpointError(
            name,
            f"{name!r} is not a plain tensor ({tensor.layout}, {tensor.device}): leave it out with "
            "--select.",
        )
    try:
        tensor = tensor.resolve_conj().resolve_neg().contiguous()
        if tensor.untyped_storage().nbytes() != tensor.nbytes:
            tensor = tensor.clone()
    except (MemoryError, RuntimeError) as error:
        raise CheckpointError(name, f"{name!r} cannot be copied: {error}") from error
    return tensor
