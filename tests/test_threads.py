"""Threads that share scopes, and threads that read a store while another one makes variables."""

import copy
import itertools
import pickle
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import torch
from torch import nn

import torchscope as ts

R = TypeVar("R")

ZEROS = ts.zeros_initializer()


class Thread:
    """A thread that does one thing after the other, each when it is told to."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)

    def __call__(self, fn: Callable[..., R], *args: Any) -> R:
        return self.pool.submit(fn, *args).result(timeout=20)

    def leave(self, manager: Any) -> None:
        self(manager.__exit__, None, None, None)

    def scope(self) -> str:
        return self(ts.get_variable_scope).name


@pytest.fixture
def threads() -> Iterator[tuple[Thread, Thread]]:
    both = Thread(), Thread()
    yield both
    for thread in both:
        thread.pool.shutdown()


# ---- one opening, several threads ----------------------------------------------------------------

OPENINGS: dict[str, Callable[[], Any]] = {
    "shared": lambda: ts.variable_scope("shared"),
    "shared/inner": lambda: ts.variable_scope("shared/inner"),
    "by default": lambda: ts.variable_scope(None, "by default".replace(" ", "_")),
    "reusing": lambda: ts.variable_scope("reusing", initializer=ZEROS, reuse=ts.AUTO_REUSE),
}


def one_store() -> Callable[[], Any]:
    store = ts.VariableStore()
    return lambda: store


def stores() -> Callable[[], Any]:
    return ts.VariableStore


def default() -> Callable[[], Any]:
    return ts.default_store


STORES = (one_store, stores, default)


@pytest.mark.parametrize("last", OPENINGS)
@pytest.mark.parametrize("where", STORES)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_opening_in_two_threads_is_a_scope_in_each(
    threads: tuple[Thread, Thread], last: str, where: Any, order: tuple[int, int]
):
    def get(number: int, name: str) -> str:
        return threads[number](lambda: ts.name_of(ts.get_variable(name, [2])))

    shared, store = OPENINGS[last](), where()
    entered = [store() for _ in threads]
    outer = [ts.variable_scope(f"t{number}") for number in range(2)]
    inside = [f"t{number}/{last.replace(' ', '_')}" for number in range(2)]
    for number, thread in enumerate(threads):
        thread(entered[number].__enter__)
        thread(outer[number].__enter__)
        assert thread(shared.__enter__).name == inside[number]
    for number in range(2):
        assert get(number, "w") == f"{inside[number]}/w"
    first, second = order
    threads[first].leave(shared)
    assert get(first, "outside") == f"t{first}/outside"
    assert get(second, "still") == f"{inside[second]}/still"
    threads[second].leave(shared)
    assert get(second, "outside") == f"t{second}/outside"
    for number, thread in enumerate(threads):
        thread.leave(outer[number])
        assert thread.scope() == ""
        thread.leave(entered[number])


@pytest.mark.parametrize("where", STORES)
@pytest.mark.parametrize("times", [1, 3])
def test_one_opening_with_a_default_name_keeps_its_name_in_each_thread(
    threads: tuple[Thread, Thread], where: Any, times: int
):
    shared, store = ts.variable_scope(None, "layer"), where()
    entered = [store() for _ in threads]
    outer = [ts.variable_scope(name) for name in "ab"]
    for thread, manager, scope in zip(threads, entered, outer, strict=True):
        thread(manager.__enter__)
        thread(scope.__enter__)
    names: list[list[str]] = [[], []]
    for _ in range(3):
        for thread, found in zip(threads, names, strict=True):
            for _ in range(times):
                found.append(thread(shared.__enter__).name)
        for thread in threads:
            for _ in range(times):
                thread.leave(shared)
    for thread, manager, scope in zip(threads, entered, outer, strict=True):
        thread.leave(scope)
        thread.leave(manager)
    assert names == [open_often(name, times) for name in "ab"]


def open_often(around: str, times: int) -> list[str]:
    """The names that a thread of its own gets from an opening entered as often."""
    opening = ts.variable_scope(None, "layer")
    names: list[str] = []
    with ts.VariableStore(), ts.variable_scope(around):
        for _ in range(3):
            names += [opening.__enter__().name for _ in range(times)]
            for _ in range(times):
                opening.__exit__(None, None, None)
    return names


@pytest.mark.parametrize("where", STORES)
def test_one_scope_that_two_threads_enter_is_the_current_one_in_each(
    threads: tuple[Thread, Thread], where: Any
):
    with ts.VariableStore(), ts.variable_scope("captured") as captured:
        pass
    store = where()
    managers = [
        [
            store(),
            ts.variable_scope(f"t{number}"),
            ts.variable_scope(captured),
            ts.variable_scope(f"in{number}"),
            ts.variable_scope(captured, reuse=ts.AUTO_REUSE),
        ]
        for number in range(2)
    ]
    for depth in range(5):
        for number, thread in enumerate(threads):
            thread(managers[number][depth].__enter__)
    scopes: list[list[str]] = [[], []]
    for depth in reversed(range(5)):
        for number, thread in enumerate(threads):
            scopes[number].append(thread.scope())
            thread.leave(managers[number][depth])
    assert scopes == [
        ["captured", f"captured/in{number}", "captured", f"t{number}", ""] for number in range(2)
    ]


def test_what_one_thread_sets_on_a_scope_that_two_share_is_set(threads: tuple[Thread, Thread]):
    store = ts.VariableStore()
    with store, ts.variable_scope("captured") as captured:
        ts.get_variable("w", [2])
    inside = [ts.variable_scope(captured) for _ in threads]
    for thread, opening in zip(threads, inside, strict=True):
        thread(store.__enter__)
        scope = thread(opening.__enter__)
        scope.reuse_variables()
        assert thread(lambda: ts.get_variable_scope().reuse) is True
    assert captured.reuse is False
    for thread, opening in zip(threads, inside, strict=True):
        thread.leave(opening)
        thread.leave(store)


@pytest.mark.parametrize("bound", [False, True])
def test_a_template_that_two_threads_are_in_is_a_scope_in_each(bound: bool):
    store, meet = ts.VariableStore(), threading.Barrier(2, timeout=10)

    def layer() -> str:
        meet.wait()
        with ts.variable_scope("inner"):
            meet.wait()
            name = store.name_of(ts.get_variable("w", [2], initializer=ZEROS))
            meet.wait()
        return name

    template = ts.make_template("layer", layer)
    with store:
        call = ts.bind(template) if bound else template

    def work() -> list[str]:
        with store:
            return [call(), ts.get_variable_scope().name]

    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(work) for _ in range(2)]]
    assert results == [["layer/inner/w", ""]] * 2


def test_threads_in_a_hurry_open_the_same_openings(hasty: None):
    names, store = "abc", ts.VariableStore()
    shared = {name: ts.variable_scope(name) for name in names}

    def work(number: int) -> set[bool]:
        order, right = random.Random(number), set[bool]()
        with store:
            for _ in range(300):
                first, second = order.choices(names, k=2)
                with shared[first], shared[second] as scope:
                    right.add(scope.name == ts.get_variable_scope().name == f"{first}/{second}")
                right.add(ts.get_variable_scope().name == "")
        return right

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(work, range(4))] == [{True}] * 4


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads take turns a thousand times as often as they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 1000)
    yield
    sys.setswitchinterval(interval)


# ---- reading while another thread makes ----------------------------------------------------------


def three(x: torch.Tensor) -> None:
    for name in ("in", "out"):
        with ts.variable_scope(name, regularizer=ts.l2_regularizer(0.1)):
            ts.get_variable("w", [2], constraint=torch.abs)
            ts.get_buffer("mean", [2], initializer=ZEROS)
            ts.get_module("dense", lambda: nn.Linear(1, 1))


X = torch.ones(1, 2)


class Making:
    """Makes one more variable, buffer and module of a store in another thread at each request."""

    def __init__(self, store: ts.VariableStore) -> None:
        self.store, self.count = store, 0
        self.wanted, self.made = threading.Semaphore(0), threading.Semaphore(0)
        self.thread = threading.Thread(target=self.make, daemon=True)
        self.thread.start()

    def make(self) -> None:
        with self.store:
            for number in itertools.count():
                self.wanted.acquire()
                if self.count < 0:
                    return
                ts.get_variable(f"late{number}/w", [1], initializer=ZEROS)
                ts.get_buffer(f"late{number}/mean", [1], initializer=ZEROS)
                ts.get_module(f"late{number}/dense", nn.Identity)
                self.made.release()

    def one_more(self) -> None:
        self.count += 1
        self.wanted.release()
        self.made.acquire(timeout=0.05)  # Not for ever: the reader may hold what it needs.

    def end(self) -> None:
        self.count = -1
        self.wanted.release()
        self.thread.join(10)


MODULES = (nn.modules.module, copy, pickle)
INSIDE = (str(ts.__path__[0]), *(str(module.__file__) for module in MODULES))


def while_made(store: ts.VariableStore, read: Callable[[], Any], times: int) -> Any:
    """What ``read()`` gives while another thread makes variables, ``times`` times in between."""
    steps = every = 0
    making = Making(store)

    def at_each_line(frame: Any, event: str, argument: Any) -> Any:
        nonlocal steps
        if not frame.f_code.co_filename.startswith(INSIDE):
            return None
        steps += 1
        if every and steps % every == 0 and making.count < times:
            making.one_more()
        return at_each_line

    def traced() -> Any:
        before = sys.gettrace()
        try:
            sys.settrace(at_each_line)
            return read()
        finally:
            sys.settrace(before)

    try:
        traced()  # Only to count the steps.
        every, steps = max(1, steps // times), 0
        return traced()
    finally:
        making.end()


class Bigger(nn.Module):
    """A model that holds a store among others."""

    def __init__(self, store: ts.VariableStore) -> None:
        super().__init__()
        self.first, self.store, self.last = nn.Linear(1, 1), store, nn.Linear(1, 1)


def zeros_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: torch.zeros_like(value) for key, value in module.state_dict().items()}


READINGS: dict[str, Callable[[Any], Any]] = {
    "state_dict": lambda net: net.state_dict(),
    "parameters": lambda net: list(net.parameters()),
    "named_parameters": lambda net: list(net.named_parameters()),
    "buffers": lambda net: list(net.buffers()),
    "modules": lambda net: list(net.named_modules()),
    "children": lambda net: list(net.named_children()),
    "zero_grad": lambda net: net.zero_grad(),
    "requires_grad_": lambda net: net.requires_grad_(True),
    "train": lambda net: net.train(),
    "to": lambda net: net.double().float(),
    "apply": lambda net: net.apply(lambda module: None),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": pickle.dumps,
    "repr": repr,
    "an optimizer": lambda net: torch.optim.SGD(net.parameters(), lr=0.1),
    "load_state_dict": lambda net: net.load_state_dict(zeros_of(net), strict=False),
}
OF_A_STORE: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "reversed": lambda store: list(reversed(store)),
    "keys": lambda store: list(store.keys()),
    "values": lambda store: list(store.values()),
    "items": lambda store: list(store.items()),
    "named_variables": lambda store: list(store.named_variables()),
    "global_variables": lambda store: store.global_variables(),
    "regularization_losses": lambda store: store.regularization_losses(),
    "origin": lambda store: store.origin("out/w"),
    "name_of": lambda store: store.name_of(store["out/w"]),
    "reset_parameters": lambda store: store.reset_parameters(),
    "apply_constraints": lambda store: store.apply_constraints(),
    "copy of the variables": lambda store: store.copy(),
}


def a_store() -> ts.VariableStore:
    store = ts.VariableStore(0)
    store(three, X)
    return store


def a_built_net() -> ts.VariableStore:
    return ts.ScopedModule(three, seed=0).build(X)


@pytest.fixture(params=[a_store, a_built_net])
def shared(request: pytest.FixtureRequest) -> Iterator[ts.VariableStore]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ts.ScopeWarning)  # What is made late is said to be.
        yield request.param()


@pytest.mark.parametrize(
    "read", [*READINGS.values(), *OF_A_STORE.values()], ids=[*READINGS, *OF_A_STORE]
)
def test_a_store_is_read_while_another_thread_makes_variables(shared: Any, read: Any):
    while_made(shared, lambda: read(shared), 20)
    assert {*shared.state_dict()} > {"in/w", "in/mean", "out/w", "out/mean"}
    assert dict(shared.named_parameters())["in/w"] is shared["in/w"]


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_a_bigger_model_is_read_while_a_thread_makes_variables_in_it(shared: Any, read: Any):
    bigger = Bigger(shared)
    while_made(shared, lambda: read(bigger), 20)
    assert {*bigger.state_dict()} > {"first.weight", "store.in/w", "store.out/w", "last.bias"}
