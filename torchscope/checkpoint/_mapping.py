"""A checkpoint as its user sees it: a mapping from names to tensors, whatever its format."""

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from ._optimizers import NotTheModels


class Reader(Protocol):
    """A format: the names in it, sorted, what they are and how they are read.

    ``has_keys`` says whether names are a state dict's keys, rather than full names. ``content`` is
    the same for two variables of equal values, and None where that is not known without reading.
    """

    @property
    def has_keys(self) -> bool: ...

    @property
    def names(self) -> Collection[str]: ...

    def describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]: ...

    def read(self, name: str, out: Tensor | None = None) -> Tensor | Any: ...

    def verify(self, name: str) -> None: ...

    def content(self, name: str) -> tuple[object, ...] | None: ...

    def close(self) -> None: ...


class _UnknownNameError(CheckpointError, KeyError):
    """The checkpoint has no variable of that name; a ``KeyError`` too, as ``Mapping`` promises."""


class Checkpoint(Mapping[str, "Tensor | Any"]):
    """The variables of one checkpoint by name, sorted, each read when it is asked for.

    Values are CPU tensors; a variable of strings is ``bytes``, or lists of ``bytes`` nested by its
    shape (hence the ``Any``). Names are the file's own: in a checkpoint of TensorFlow 2's objects
    they are paths like ``layer/kernel/.ATTRIBUTES/VARIABLE_VALUE``, as TensorFlow lists them.

    It is a context manager; one that is not closed is closed by the garbage collector.

    Attributes:
        path: the prefix of the files, or the only file.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self._reader = reader
        self._names = reader.names
        self._not_the_models: NotTheModels | None = None
        self._closed = False
        self._last: tuple[str | None, tuple[torch.dtype | str, torch.Size]]
        self._last = None, ("", torch.Size())

    def __getitem__(self, name: str) -> Tensor | Any:
        return self._read(self._reader.read, name)

    def _read(self, how: Callable[[str], Any], name: str) -> Any:
        self._check(name)
        if self._closed:
            raise CheckpointError(name, f"{self.path} is closed: {name!r} cannot be read any more.")
        try:
            return how(name)
        except (MemoryError, RuntimeError) as error:  # torch has no better one for lack of memory
            problem = f"{self.path}: {name!r} cannot be read: {str(error) or 'no memory'}"
            raise CheckpointError(name, problem) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __repr__(self) -> str:
        return f"<Checkpoint {str(self.path)!r}: {len(self)} variables>"

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def has_keys(self) -> bool:
        """Whether names are keys of a state dict, where a dot may stand for a slash."""
        return self._reader.has_keys

    @property
    def not_the_models(self) -> NotTheModels:
        """Which names are an optimizer's, a metric's, or count steps."""
        if self._not_the_models is None:
            known = getattr(self._reader, "not_the_models", ())
            self._not_the_models = NotTheModels(self._names, known)
        return self._not_the_models

    def read_into(self, tensor: Tensor, name: str) -> None:
        """Copy a variable into ``tensor``, without other memory if its bytes need no conversion.

        Args:
            tensor: of the variable's shape; anywhere, of any dtype.
            name: the variable's.
        """
        plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu"
        if plain and tensor.is_contiguous() and tensor.dtype == self.dtype(name):
            value = self._read(partial(self._reader.read, out=tensor), name)
            if value is tensor:
                torch.autograd.graph.increment_version(tensor)
                return
        else:
            value = self[name]
        with torch.no_grad():
            tensor.copy_(value)

    def verify(self, name: str) -> None:
        """Raise what reading the variable would raise, without keeping its value in memory."""
        self._read(self._reader.verify, name)

    def close(self) -> None:
        """Close the files. Names stay, as do tensors that were read."""
        self._closed = True
        self._reader.close()

    def shape(self, name: str) -> torch.Size:
        """The shape of a variable, from the index; a partitioned one's is that of the whole."""
        return self._describe(name)[1]

    def dtype(self, name: str) -> torch.dtype | str:
        """The dtype of a variable, from the index.

        For dtypes that torch does not have, the file's name: ``"string"``, ``"qint8"``,
        ``"resource"``. Such variables are listed; except for strings, reading them raises.
        """
        return self._describe(name)[0]

    def _describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]:
        last, description = self._last  # one is asked for its shape, then for its dtype
        if last is not name:
            self._check(name)
            description = self._reader.describe(name)
            self._last = name, description
        return description

    def _check(self, name: str) -> None:
        if name not in self._names:
            # Comparing takes long: 10,000 names half a second or so.
            close = difflib.get_close_matches(str(name), list(self)[:10_000], n=3)
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            message = f"{self.path} has no variable {name!r} among its {len(self)}.{hint}"
            raise _UnknownNameError(name, message)
