"""Running a test's program for several passes, and the names of the variables that it got."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch

import torchscope as ts


def in_every_pass(program: Callable[..., None]) -> Callable[..., None]:
    """Run ``program`` for three passes over the store it is given: TensorFlow ran it once."""

    @functools.wraps(program)
    def test(store: ts.VariableStore, **fixtures: Any) -> None:
        for _ in range(3):
            store(program, store, **fixtures)

    return test


def names(variables: Iterable[torch.Tensor]) -> list[str]:
    return [ts.name_of(variable) for variable in variables]
