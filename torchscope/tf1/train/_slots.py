"""Slots read from a TensorFlow checkpoint, checked before any is used; knows no optimizer."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor

import torchscope as ts


def read(
    source: str | PathLike[str] | Mapping[str, Any],
    shapes: Mapping[str, torch.Size],
    optional: Sequence[Sequence[str]],
) -> dict[str, Tensor]:
    """The tensors of these names.

    Args:
        source: the path of a checkpoint, or a mapping from names to tensors or arrays.
        shapes: what is wanted, name by name.
        optional: groups of names, each of which may be missing as a whole.

    Raises:
        CheckpointError: names are missing, or have another shape.
    """
    with _opened(source) as tensors:
        absent = {n for group in optional if not any(n in tensors for n in group) for n in group}
        wanted = [name for name in shapes if name not in absent]
        problems = [
            f"{name!r} is missing{_nearest(name, tensors)}"
            for name in wanted
            if name not in tensors
        ]
        values = {name: torch.as_tensor(tensors[name]) for name in wanted if name in tensors}
        problems += [
            f"{name!r} is {list(value.shape)}, not {list(shapes[name])}"
            for name, value in values.items()
            if value.shape != shapes[name]
        ]
    if problems:
        raise ts.CheckpointError(
            None,
            f"load_slots(): {'; '.join(problems)}. Nothing was changed. Make the optimizer with the"
            " name, and in the scope, that it had in TensorFlow; strict=False leaves out variables"
            " without slots.",
        )
    return values


def _opened(source: Any) -> AbstractContextManager[Mapping[str, Any]]:
    if isinstance(source, Mapping):
        return nullcontext(cast("Mapping[str, Any]", source))
    from torchscope import checkpoint

    return checkpoint.open(source)


def _nearest(name: str, tensors: Mapping[str, Any]) -> str:
    near = get_close_matches(name, list(tensors), n=1)
    return f" (there is {near[0]!r})" if near else ""
