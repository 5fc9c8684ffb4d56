"""Exceptions that arrive inside torchscope: Ctrl-C, alarms, what one thread raises in another.

They are raised unchanged, and leave scopes, stores and torch's random stream as they were; a
variable is made completely or not at all.
"""

import contextlib
import ctypes
import gc
import itertools
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupts import PACKAGE, Interrupt, at_every_instant, on_new_ones
from torch import nn

import torchscope as ts

TORCH = str(Path(nn.modules.module.__file__))
ZEROS = ts.zeros_initializer()


def names_inside() -> list[str]:
    """The names of scopes opened here in each way; the same again whenever the counts are."""
    with ts.variable_scope("outer") as outer:
        with (
            ts.variable_scope(None, "default") as first,
            ts.variable_scope("a"),
            ts.variable_scope("b/c") as by_path,
        ):
            pass
        with ts.variable_scope(outer), ts.variable_scope(None, "default") as again:
            pass
        with ts.variable_scope(None, "default") as second:
            ts.get_variable_scope()
    return [scope.name for scope in (outer, first, by_path, again, second)]


NAMES = ["outer", "outer/default", "outer/default/a/b/c", "outer/default_1", "outer/default_1"]


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


def is_outside() -> None:
    """Check that no store and no scope is entered."""
    ts.reset_default_store()
    assert ts.get_variable("outside", [2]) is ts.default_store()["outside"]
    ts.reset_default_store()


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Only ``gc.collect()`` collects garbage, and none of other tests, which have left a lot.

    An exception that arrives while Python frees an object may be dropped by Python.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


AROUND: dict[str, Callable[[], Any]] = {
    "the default store": nothing,
    "a store": ts.VariableStore,
}


# ---- leaving scopes ------------------------------------------------------------------------------


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_an_interrupt_stays_itself_and_leaves_the_scopes_as_they_were(around: Any):
    with around():
        expected = names_inside()
        for came in at_every_instant(names_inside):
            assert came is Interrupt
            assert ts.get_variable_scope().name == ""
            assert names_inside() == expected


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_an_interrupt_that_is_caught_inside_a_scope_unwinds_to_that_scope(around: Any):
    with around(), ts.variable_scope("around"):
        expected = names_inside()
        for came in at_every_instant(names_inside):
            assert came is Interrupt
            assert ts.get_variable_scope().name == "around"
            assert names_inside() == expected
        assert ts.get_variable("w", [2]) is not None
        assert ts.get_variable_scope().name == "around"


def test_an_interrupt_in_a_name_scope_leaves_it():
    def work() -> None:
        with ts.name_scope("a"), ts.name_scope("b"):
            pass

    for came in at_every_instant(work):
        assert came is Interrupt
        with ts.name_scope("after") as name:
            assert name == "after/"


def test_names_made_after_an_interrupt_are_those_of_their_scopes():
    for _ in at_every_instant(names_inside):
        with ts.variable_scope("after", reuse=ts.AUTO_REUSE):
            assert ts.name_of(ts.get_variable("w", [2])) == "after/w"


def test_an_opening_that_is_kept_can_be_entered_again_after_an_interrupt():
    opening = ts.variable_scope(None, "kept")

    def work() -> str:
        with ts.variable_scope("outer"), opening as scope:
            return scope.name

    with ts.VariableStore():
        expected = work()
        for came in at_every_instant(work):
            assert came is Interrupt
            assert ts.get_variable_scope().name == ""
            assert work() == expected


def test_an_interrupt_that_passes_through_scopes_of_a_template_leaves_them():
    def layer() -> str:
        with ts.variable_scope("inner") as scope:
            return scope.name

    template = ts.make_template("template", layer)
    with ts.VariableStore():
        expected = template()
        for came in at_every_instant(template):
            assert came is Interrupt
            assert ts.get_variable_scope().name == ""
            assert template() == expected


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_an_interrupt_in_a_bound_function_leaves_the_counts_of_its_scopes_behind(around: Any):
    with around():
        expected = names_inside()
        for came in at_every_instant(lambda: ts.bind(names_inside)()):
            assert came is Interrupt
            assert names_inside() == expected


def test_an_interrupt_in_an_exit_stack_leaves_its_scopes():
    def work() -> None:
        with contextlib.ExitStack() as stack:
            for name in "abc":
                stack.enter_context(ts.variable_scope(name))

    for came in at_every_instant(work):
        assert came is Interrupt
        gc.collect(1)  # An exit stack keeps the exception, and with it its frames, in a cycle.
        assert ts.get_variable_scope().name == ""


@contextlib.contextmanager
def closing(paused: Iterator[Any]) -> Iterator[None]:
    """Close a generator at the end, whatever that raises: else the garbage collector does."""
    try:
        yield
    finally:
        with contextlib.suppress(ts.ScopeOrderError):
            paused.close()  # type: ignore[attr-defined]


def test_an_error_inside_a_scope_that_a_generator_left_open_stays_itself(store: ts.VariableStore):
    def pausing() -> Iterator[None]:
        with ts.variable_scope("inner"):
            yield

    def outer() -> None:
        with ts.variable_scope("outer"):
            next(paused)
            raise KeyboardInterrupt

    with closing(paused := pausing()):
        with pytest.raises(KeyboardInterrupt):
            outer()
        assert ts.get_variable_scope().name == ""
        with ts.variable_scope("later"):
            paused.close()
            assert ts.get_variable_scope().name == "later"
        assert ts.get_variable_scope().name == ""


def test_an_error_in_a_pass_that_a_generator_left_open_stays_itself():
    other = ts.VariableStore()

    def pausing() -> Iterator[None]:
        with other:
            yield

    def work() -> None:
        next(paused)
        raise KeyboardInterrupt

    with closing(paused := pausing()):
        with pytest.raises(KeyboardInterrupt):
            ts.VariableStore()(work)
        is_outside()


# ---- leaving stores ------------------------------------------------------------------------------


def model(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("dense"):
        return x @ ts.get_variable("w", [3, 3])


X = torch.ones(1, 3)


def called() -> tuple[ts.VariableStore, Callable[[], Any]]:
    store = ts.VariableStore(0)
    return store, lambda: store(model, X)


def net() -> tuple[ts.VariableStore, Callable[[], Any]]:
    module = ts.ScopedModule(model, seed=0)
    return module, lambda: module(X)


def built() -> tuple[ts.VariableStore, Callable[[], Any]]:
    module = ts.ScopedModule(model, seed=0)
    return module, lambda: module.build(X)


def built_before() -> tuple[ts.VariableStore, Callable[[], Any]]:
    module = ts.ScopedModule(model, seed=0).build(X)
    return module, lambda: module(X)


def nested() -> tuple[ts.VariableStore, Callable[[], Any]]:
    inner = ts.ScopedModule(model, seed=0)
    store = ts.VariableStore(0)
    return inner, lambda: store(lambda: inner(X))


def bound() -> tuple[ts.VariableStore, Callable[[], Any]]:
    store = ts.VariableStore(0)
    with store:
        again = ts.bind(model)
    return store, lambda: again(X)


WAYS = (called, net, built, built_before, nested, bound)


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_in_a_pass_leaves_the_store_and_the_next_pass_is_whole(way: Any):
    stream = torch.get_rng_state()
    for came, (store, work) in on_new_ones(way, lambda made: made[1]()):
        assert came is Interrupt
        assert torch.equal(torch.get_rng_state(), stream)
        is_outside()
        work()
        assert list(store) == list(store.state_dict()) == ["dense/w"]
        torch.set_rng_state(stream)


@pytest.mark.usefixtures("no_garbage")
def test_after_an_interrupted_build_nothing_keeps_the_variables_of_other_nets():
    for came, _ in on_new_ones(built, lambda made: made[1]()):
        assert came is Interrupt
        other = ts.VariableStore()
        other(model, X)
        variable = weakref.ref(other["dense/w"])
        del other
        gc.collect()
        assert variable() is None


def test_an_interrupted_build_changes_no_value():
    def counted() -> None:
        for name in ("calls", "more"):
            ts.assign_add(ts.get_buffer(name, [], initializer=ZEROS), 1.0)

    makings = (lambda: ts.ScopedModule(counted), lambda: ts.ScopedModule(counted).build())
    for make in makings:
        for came, net in on_new_ones(make, lambda net: net.build()):
            assert came is Interrupt
            assert all(count.item() == 0 for count in net.buffers())
            net.build()
            assert [count.item() for count in net.buffers()] == [0, 0]


def test_an_interrupted_build_leaves_no_gradient():
    def penalty() -> None:
        with torch.enable_grad():
            layer = ts.get_module("h", nn.Linear, 2, 2)
            (layer(torch.ones(1, 2)).sum() * ts.get_variable("w", [])).backward()

    for came, net in on_new_ones(lambda: ts.ScopedModule(penalty), lambda net: net.build()):
        assert came is Interrupt
        assert [p.grad for p in net.build().parameters()] == [None] * 3


def test_a_lazy_layer_whose_first_call_was_interrupted_gets_the_values_of_its_name():
    def layer() -> torch.Tensor:
        return ts.get_module("h", nn.LazyLinear, 2)(X)

    def uncalled() -> ts.ScopedModule[..., Any]:
        net = ts.ScopedModule(lambda: ts.get_module("h", nn.LazyLinear, 2), seed=0).build()
        net.fn = layer
        return net

    whole = uncalled()
    whole()
    for came, net in on_new_ones(uncalled, lambda net: net()):
        assert came is Interrupt
        net()
        assert held(net) == held(whole)


STORES: dict[str, Callable[[], Any]] = {
    "a store": lambda: ts.VariableStore(0),
    "a net": lambda: ts.ScopedModule(model, seed=0),
    "the default store": ts.default_store,
}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_an_interrupt_as_a_store_is_entered_or_left_leaves_it(make: Any):
    def work() -> None:
        with make() as store, ts.variable_scope("a"):
            seen.append(store)

    seen: list[ts.VariableStore] = []
    for came in at_every_instant(work):
        assert came is Interrupt
        is_outside()
        with ts.VariableStore() as around:
            for came_inside in itertools.islice(at_every_instant(work), 5):
                assert came_inside is Interrupt
            assert ts.get_variable("inside", [2]) is around["inside"]
        is_outside()


# ---- making --------------------------------------------------------------------------------------


def own(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype)


def parameter() -> Any:
    return ts.get_variable("a/w", [3], initializer=own, regularizer=ts.l2_regularizer(0.1))


def a_float() -> Any:
    return ts.get_variable("a/w", [3])


def buffer() -> Any:
    return ts.get_buffer("a/w", [3], initializer=own)


def local() -> Any:
    return ts.get_local_variable("a/w", [3], initializer=own)


def module() -> Any:
    return ts.get_module("a/h", lambda: nn.Linear(2, 3))


def block() -> Any:
    return ts.get_module("a/h", lambda: ts.ScopedModule(model))(X)


MAKINGS = (parameter, a_float, buffer, local, module, block)


def held(store: ts.VariableStore) -> dict[str, list[float]]:
    held = {**dict(store.items()), **store.state_dict()}
    return {name: variable.tolist() for name, variable in held.items()}


@pytest.mark.filterwarnings("ignore:The parameters were read")  # A block's, by `held`.
@pytest.mark.parametrize("make", MAKINGS)
@pytest.mark.parametrize("inside", [(PACKAGE,), (PACKAGE, TORCH)], ids=["", "and in torch"])
def test_an_interrupt_leaves_a_variable_that_is_made_or_one_that_can_be(make: Any, inside: Any):
    whole = ts.VariableStore(0)
    whole(make)
    expected = held(whole)
    losses = len(whole.regularization_losses())
    stream = torch.get_rng_state()
    for came, store in on_new_ones(lambda: ts.VariableStore(0), lambda store: store(make), inside):
        assert came is Interrupt
        assert torch.equal(torch.get_rng_state(), stream)
        assert held(store) in (expected, {})
        store(make)
        store(make)
        assert held(store) == expected
        assert list(store.state_dict()) == list(whole.state_dict())
        assert len(store.regularization_losses()) == losses
        assert store.reset_parameters() in (None, store)
        assert held(store) == expected


@pytest.mark.parametrize("make", MAKINGS)
@pytest.mark.parametrize("assign", [False, True])
def test_an_interrupt_loses_nothing_that_was_loaded_before(make: Any, assign: bool):
    def fresh() -> ts.VariableStore:
        store = ts.VariableStore(0)
        store.load_state_dict(other.state_dict(), assign=assign)
        return store

    other, whole = ts.VariableStore(1), ts.VariableStore(0)
    other(make)
    whole.load_state_dict(other.state_dict(), assign=assign)
    whole(make)
    expected = held(whole)
    for came, store in on_new_ones(fresh, lambda store: store(make)):
        assert came is Interrupt
        store(make)
        assert held(store) == expected
        assert list(store) == list(other)
        assert list(store.state_dict()) == list(other.state_dict())


CHANGES: dict[str, Callable[[ts.VariableStore], Any]] = {
    "set": lambda store: store.__setitem__("a/w", torch.ones(2)),
    "set to a parameter": lambda store: store.__setitem__("a/w", nn.Parameter(torch.ones(2))),
    "delete": lambda store: store.__delitem__("a/w"),
    "pop": lambda store: store.pop("a/w"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("make", [parameter, buffer])
def test_an_interrupt_leaves_a_variable_that_is_changed_or_as_it_was(change: Any, make: Any):
    def fresh() -> ts.VariableStore:
        store = ts.VariableStore(0)
        store(make)
        return store

    before, changed = fresh(), fresh()
    change(changed)
    for came, store in on_new_ones(fresh, change):
        assert came is Interrupt
        assert held(store) in (held(before), held(changed))
        assert list(store.state_dict()) == list(store) == [*held(store)]
        if list(store):
            change(store)
        assert held(store) == held(changed)


# ---- the real thing ------------------------------------------------------------------------------


class AlarmError(Exception):
    """What a handler of signals may raise, such as a timeout."""


def busy() -> None:
    while True:
        with ts.variable_scope("a", reuse=ts.AUTO_REUSE), ts.variable_scope("b"):
            with ts.variable_scope("c"), ts.variable_scope("d"):
                pass
            ts.get_variable("w", [2])


def alarmed(work: Callable[[], Any], seconds: float) -> type[BaseException] | None:
    """What comes out of ``work`` if an alarm rings meanwhile."""

    def ring(*_: object) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        work()
    except BaseException as error:
        return type(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return None


@pytest.mark.usefixtures("no_garbage")
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_an_alarm_ends_a_loop_of_scopes_at_the_scope_where_it_began(around: Any):
    times = random.Random(0)
    with around(), ts.variable_scope("around"):
        came = [
            (alarmed(busy, times.uniform(2e-5, 2e-4)), ts.get_variable_scope().name)
            for _ in range(400)
        ]
    assert came == [(AlarmError, "around")] * 400
    assert ts.get_variable_scope().name == ""


@pytest.mark.usefixtures("no_garbage")
def test_what_another_thread_raises_here_stays_itself():
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    came: list[tuple[type[BaseException], str]] = []
    ready = threading.Event()

    def work() -> None:
        for _ in range(100):
            try:
                ready.set()
                busy()
            except BaseException as error:
                kind = type(error)
            came.append((kind, ts.get_variable_scope().name))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        if ready.wait(0.1):
            ready.clear()
            time.sleep(1e-4)
            raise_in(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(AlarmError))
    assert came == [(AlarmError, "")] * 100
