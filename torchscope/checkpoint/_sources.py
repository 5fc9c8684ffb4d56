"""One interface to everything that holds tensors by name; knows no store and no map of names."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from ._mapping import Checkpoint
from ._open import Names, open
from ._optimizers import NotTheModels
from ._paths import PathLike
from ._torch_file import check_copies


@runtime_checkable
class Source(Protocol):
    """Tensors by name: shapes and dtypes are known without reading them."""

    @property
    def path(self) -> Path | None: ...

    @property
    def has_keys(self) -> bool: ...

    @property
    def not_the_models(self) -> NotTheModels: ...

    def __iter__(self) -> Iterator[str]: ...

    def __getitem__(self, name: str) -> Any: ...

    def shape(self, name: str) -> torch.Size: ...

    def dtype(self, name: str) -> torch.dtype | str: ...

    def verify(self, name: str) -> None: ...

    def close(self) -> None: ...


class Tensors:
    """A mapping that is in memory, such as a state dict."""

    path = None
    has_keys = True

    def __init__(self, tensors: Mapping[Any, Any]) -> None:
        self._tensors: Mapping[str, Any] = tensors
        odd = [name for name in tensors if not isinstance(name, str)]
        if odd:
            problem = f"The mapping is not a state dict: its key {odd[0]!r} is not a string."
            raise CheckpointError(None, problem)
        self.not_the_models = NotTheModels(tensors)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._tensors if not name.endswith("_extra_state")])

    def __getitem__(self, name: str) -> Tensor:
        value = self._tensors[name]
        if isinstance(value, Tensor):
            return value
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            if isinstance(value, Mapping):
                problem = f"{name!r} is a dict itself. If it is the one to load, pass that: "
                problem += f"source[{name!r}]"
            else:
                kind = type(value).__name__
                problem = f"{name!r} is not a tensor but of type {kind}. Leave it out"
                if hasattr(value, "shape"):
                    problem = f"{name!r} cannot be a tensor. {str(error).rstrip('.')}"
            raise CheckpointError(name, f"{problem}.") from error

    def shape(self, name: str) -> torch.Size:
        return self[name].shape

    def dtype(self, name: str) -> torch.dtype | str:
        return self[name].dtype

    def verify(self, name: str) -> None:
        """Raise if copying it would."""
        check_copies(self[name], name)

    def keep(self, names: Collection[str]) -> None:
        """Copy these, because their memory is about to be written to."""
        self._tensors = {**self._tensors, **{name: self[name].clone() for name in names}}

    def close(self) -> None:
        self._tensors = {}


class opened:  # noqa: N801  - reads as a function: with opened(source) as tensors:
    """Any source that a user may give; closed in the end if it was opened here.

    Args:
        source: a path as for `open`, an open `Checkpoint`, or a mapping.
        verify: whether the data of a path is compared with its checksums.
        names: of a path, as for `open`.
    """

    def __init__(
        self, source: PathLike | Mapping[str, Any], *, verify: bool = True, names: Names = "file"
    ) -> None:
        self._ours = True
        if names != "file" and not isinstance(source, str | os.PathLike):
            raise TypeError("names is for a path. Of an open one: checkpoint.open(path, names=...)")
        if isinstance(source, Checkpoint):
            self._ours = False
            self.tensors: Source = source
        elif isinstance(source, Mapping):
            self.tensors = Tensors(source)
        elif isinstance(source, str | os.PathLike):
            self.tensors = open(source, verify=verify, names=names)
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
