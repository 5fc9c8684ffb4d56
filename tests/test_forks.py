"""Forks while another thread makes a variable, and initializers that wait for another thread."""

import functools
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import torchscope as ts

X = torch.ones(1, 3)
ZEROS = ts.zeros_initializer()


def drawn(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype)


MAKINGS: dict[str, Callable[[], Any]] = {
    "ours": lambda: ts.get_variable("w", [3], initializer=ZEROS),
    "the default": lambda: ts.get_variable("w", [3, 3]),
    "one of torch": lambda: ts.get_variable("w", [3, 3], initializer=nn.init.xavier_uniform_),
    "one of torch that draws nothing": lambda: ts.get_variable("w", [3], initializer=nn.init.ones_),
    "one's own": lambda: ts.get_variable("w", [3], initializer=drawn),
    "a value": lambda: ts.get_variable("w", initializer=[1.0, 2.0]),
    "a buffer": lambda: ts.get_buffer("w", [3], initializer=drawn),
    "a module": lambda: ts.get_module("w", functools.partial(nn.Linear, 3, 3)),
}


def values(store: ts.VariableStore) -> dict[str, list[float]]:
    return {key: value.tolist() for key, value in store.state_dict().items()}


def in_child(work: Callable[[], bool]) -> bool | None:
    """The result of ``work`` in a fork of this process; None if it does not end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of threads, from Python 3.12 on.
        child = os.fork()
    if child == 0:
        status = 3
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    for _ in range(6000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


@pytest.fixture
def halfway() -> Iterator[ts.VariableStore]:
    """A store in which another thread is making a variable, and has drawn random numbers."""
    store, begun, go_on = ts.VariableStore(0), threading.Event(), threading.Event()

    def slow(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        first = torch.rand(shape, dtype=dtype)
        if threading.current_thread() is thread:
            begun.set()
            go_on.wait(20)
        return first + torch.rand(shape, dtype=dtype)

    def model() -> None:
        with ts.variable_scope("", reuse=ts.AUTO_REUSE):
            ts.get_variable("before", [2], initializer=ZEROS)
            ts.get_variable("halfway", [2], initializer=slow)

    store.model = model  # type: ignore[assignment]
    thread = threading.Thread(target=store, args=(model,), daemon=True)
    thread.start()
    assert begun.wait(20)
    yield store
    go_on.set()
    thread.join(20)


@pytest.fixture
def alone(make: Any) -> dict[str, list[float]]:
    """The values that a store of its own has; to be asked for before ``halfway``."""
    store = ts.VariableStore(0)
    store(make)
    return values(store)


@pytest.mark.parametrize("make", MAKINGS.values(), ids=MAKINGS)
def test_a_child_makes_variables_though_a_thread_made_one_at_the_fork(
    alone: Any, halfway: Any, make: Any
):
    def work() -> bool:
        store = ts.VariableStore(0)
        store(make)
        halfway(make)
        return values(store) == alone and halfway.state_dict().keys() == {"before", *alone}

    assert in_child(work)


def test_a_child_makes_the_variable_that_a_thread_was_making_at_the_fork(halfway: Any):
    def work() -> bool:
        halfway(halfway.model)
        twin = ts.VariableStore(0)
        twin(halfway.model)
        return values(halfway) == values(twin) and len(halfway) == 2

    assert in_child(work)


LISTINGS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "state_dict": lambda store: list(store.state_dict()),
    "named_variables": lambda store: [name for name, _ in store.named_variables()],
    "named_parameters": lambda store: [name for name, _ in store.named_parameters()],
    "name_of": lambda store: [store.name_of(store["before"])],
    "trainable_variables": lambda store: [*map(store.name_of, store.trainable_variables())],
}


@pytest.mark.parametrize("read", LISTINGS.values(), ids=LISTINGS)
def test_a_child_lists_a_store_in_which_a_thread_made_a_variable(halfway: Any, read: Any):
    assert in_child(lambda: read(halfway) == ["before"])


def test_a_child_has_a_default_store_though_a_thread_made_a_variable(halfway: Any):
    def work() -> bool:
        ts.get_variable("w", [2])
        listed = list(ts.default_store()) == ["w"]
        ts.reset_default_store()
        return listed and list(ts.default_store()) == []

    assert in_child(work)


def test_a_child_has_a_default_store_though_a_thread_was_making_it_at_the_fork(monkeypatch: Any):
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        if threading.current_thread() is thread:
            begun.set()
            go_on.wait(20)
        return 0

    monkeypatch.setattr("torchscope._store._drawn_seed", slow)
    ts.reset_default_store()
    thread = threading.Thread(target=ts.default_store, daemon=True)
    thread.start()
    assert begun.wait(20)
    assert in_child(lambda: ts.get_variable("w", [2]) is ts.default_store()["w"])
    go_on.set()
    thread.join(20)


def test_a_child_has_the_stream_that_its_parent_had_before_the_making(halfway: Any):
    expected = torch.rand(3, generator=torch.Generator().manual_seed(0))  # As in each test.
    assert in_child(lambda: torch.equal(torch.rand(3), expected))


def test_an_initializer_may_fork(store: ts.VariableStore):
    def forking(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        ended.append(in_child(lambda: bool(MAKINGS["one's own"]().numel())))
        return torch.zeros(shape, dtype=dtype)

    ended: list[bool | None] = []
    ts.get_variable("forking", [2], initializer=forking)
    assert ended == [True]
    assert list(store) == ["forking"]


# ---- waiting -------------------------------------------------------------------------------------


def waits_for(work: Callable[[], Any], ended: list[bool]) -> Callable[..., torch.Tensor]:
    """An initializer that has another thread work meanwhile."""

    def initializer(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        first = torch.rand(shape, dtype=dtype)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(20)  # Not for ever, or no other test could make a variable.
        ended.append(not thread.is_alive())
        return first + torch.rand(shape, dtype=dtype)

    return initializer


BORROWING = ["one's own", "a buffer", "a module"]  # those draw from torch's own stream


@pytest.mark.parametrize("make", [name for name in MAKINGS if name not in BORROWING])
def test_an_initializer_may_wait_for_a_thread_that_makes_in_another_store(make: str):
    def waiting(work: Callable[[], Any]) -> ts.VariableStore:
        store = ts.VariableStore(0)
        store(lambda: ts.get_variable("waiting", [3], initializer=waits_for(work, ended)))
        return store

    other, alone, ended = ts.VariableStore(0), ts.VariableStore(0), list[bool]()
    alone(MAKINGS[make])
    stream = torch.get_rng_state()
    store = waiting(lambda: other(MAKINGS[make]))
    assert ended == [True]
    assert values(other) == values(alone)
    assert values(store) == values(waiting(lambda: None))
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("make", BORROWING)
@pytest.mark.parametrize("waiting", ["an initializer", "a factory"])
def test_a_thread_that_is_waited_for_gets_an_error_about_the_lent_stream(
    monkeypatch: pytest.MonkeyPatch, make: str, waiting: str
):
    def work() -> None:
        with pytest.raises(ts.ScopeError, match=r"'w' cannot be made: .* another thread"):
            other(MAKINGS[make])
        other(MAKINGS["ours"])
        told.append(True)

    def factory() -> nn.Module:
        initializer([1], torch.float32)
        return nn.Linear(2, 2)

    monkeypatch.setattr("torchscope._stream.PATIENCE", 0.1)
    ended, told = list[bool](), list[bool]()
    store, other, initializer = ts.VariableStore(0), ts.VariableStore(0), waits_for(work, ended)
    if waiting == "an initializer":
        store(lambda: ts.get_variable("waiting", [3], initializer=initializer))
    else:
        store(lambda: ts.get_module("waiting", factory))
    assert ended == told == [True]
    assert list(other) == ["w"]


@pytest.mark.parametrize("read", LISTINGS.values(), ids=LISTINGS)
def test_an_initializer_may_wait_for_a_thread_that_lists_the_store(read: Any):
    def model() -> None:
        ts.get_variable("before", [2], initializer=ZEROS)
        work = waits_for(lambda: found.append(read(store)), ended)
        ts.get_variable("waiting", [2], initializer=work)

    found, ended, store = list[Any](), list[bool](), ts.VariableStore(0)
    store(model)
    assert ended == [True]
    assert found == [["before"]]


def test_an_initializer_may_wait_for_a_thread_that_fetches_from_the_store():
    def model() -> None:
        with ts.variable_scope("", reuse=ts.AUTO_REUSE):
            before = ts.get_variable("before", [2], initializer=ZEROS)
            work = waits_for(lambda: found.append(store(fetch) is before), ended)
            ts.get_variable("waiting", [2], initializer=work)

    def fetch() -> torch.Tensor:
        return ts.get_variable("before", [2])

    found, ended, store = list[bool](), list[bool](), ts.VariableStore(0)
    store(model)
    assert ended == found == [True]


@pytest.mark.parametrize("initializer", [drawn, None, nn.init.normal_])
def test_threads_that_make_in_stores_of_their_own_get_the_values_they_get_alone(initializer: Any):
    def make() -> None:
        for number in range(20):
            ts.get_variable(f"w{number}", [3, 3], initializer=initializer)
            ts.get_module(f"m{number}", functools.partial(nn.Linear, 2, 2))

    alone = ts.VariableStore(0)
    alone(make)
    stores = [ts.VariableStore(0) for _ in range(4)]
    stream = torch.get_rng_state()
    threads = [threading.Thread(target=store, args=(make,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(values(store) == values(alone) for store in stores)
    assert torch.equal(torch.get_rng_state(), stream)
