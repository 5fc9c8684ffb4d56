"""What every test starts from: a clean thread, an empty default store, the same random numbers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import torchscope as ts
from torchscope._here import here


@pytest.fixture(autouse=True)
def clean_thread() -> Iterator[None]:
    """Whatever a test did before, or does now, no other test sees it."""
    torch.manual_seed(0)
    ts.reset_default_store()
    yield
    left_open = [run.store for run in here.passes]
    here.passes.clear()
    here.endless = None
    ts.reset_default_store()
    assert not left_open, "the test entered a store and did not leave it"


@pytest.fixture
def store() -> Iterator[ts.VariableStore]:
    """A fresh store, entered."""
    with ts.VariableStore() as store:
        yield store


@pytest.fixture
def unchanged() -> Callable[[ts.VariableStore], contextlib.AbstractContextManager[None]]:
    """``with unchanged(store):`` holds if neither store nor scope is another after it."""

    def state(store: ts.VariableStore) -> list[Any]:
        scope = ts.get_variable_scope()
        return [
            (scope, scope.name, scope.reuse, scope.dtype, scope.initializer, scope.custom_getter),
            [
                (name, id(variable), variable.tolist(), variable.requires_grad)
                for name, variable in store.items()
            ],
            [name for name, _ in store.named_modules()],
            store.state_dict().keys(),
        ]

    @contextlib.contextmanager
    def unchanged(store: ts.VariableStore) -> Iterator[None]:
        before = state(store)
        yield
        assert state(store) == before

    return unchanged
