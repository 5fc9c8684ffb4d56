"""Threads: one parameter a name, a pass of each thread, the default store for all."""

import sys
import threading
import types
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from models import X, get, layer, linear, store_of
from torch import nn

import torchscope as ts
from torchscope import AUTO_REUSE, VariableExistsError

T = TypeVar("T")


def in_threads(count: int, work: Callable[[int], T]) -> list[T | BaseException]:
    """What ``work(0)``, ``work(1)``, ... give or raise, each in its own thread, all at once."""
    results: dict[int, T | BaseException] = {}
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(count)]


def test_threads_that_make_the_same_names_get_one_parameter_a_name():
    store = ts.VariableStore()

    def work(number: int) -> list[torch.Tensor]:
        with store, ts.variable_scope("a"):
            return [get(f"w{index}") for index in range(20)]

    first, *others = in_threads(8, work)
    assert len(list(store.parameters())) == len(store) == 20
    for other in others:
        assert all(a is b for a, b in zip(first, other, strict=True))


def test_threads_that_make_different_names_get_the_values_of_one_thread():
    def work(number: int) -> None:
        with store:
            for index in range(10):
                with ts.variable_scope(f"thread_{number}"):
                    get(f"w{index}")

    store = ts.VariableStore(3)
    stream = torch.get_rng_state()
    assert in_threads(8, work) == [None] * 8
    assert torch.equal(torch.get_rng_state(), stream)
    assert len(store) == 80
    alone = ts.VariableStore(3)
    with alone:
        for name in store:
            get(name)
    assert all(torch.equal(store[name], alone[name]) for name in store)


def test_threads_that_make_the_same_module_get_one():
    store = ts.VariableStore()

    def work(number: int) -> nn.Module:
        with store:
            return ts.get_module("dense", linear)

    modules = in_threads(8, work)
    assert all(module is modules[0] for module in modules)


def test_each_thread_has_a_pass_of_its_own():
    store = store_of("a/w")
    entered = threading.Barrier(4)

    def work(number: int) -> str:
        with store:
            assert ts.get_variable_scope().name == ""
            with ts.variable_scope("a"):
                entered.wait()
                get()
                with pytest.raises(VariableExistsError, match="'a/w'"):
                    get()
                entered.wait()
                return ts.get_variable_scope().name

    with store, ts.variable_scope("b"):
        get()
        assert in_threads(4, work) == ["a"] * 4
        assert ts.get_variable_scope().name == "b"


def test_a_store_called_from_many_threads_gives_what_one_gives():
    net = ts.ScopedModule(lambda x: x @ get(), seed=0)
    expected = ts.ScopedModule(lambda x: x @ get(), seed=0)(torch.ones(1, 2))
    results = in_threads(8, lambda number: net(torch.ones(1, 2)))
    assert all(torch.equal(result, expected) for result in results)
    assert len(list(net.parameters())) == 1


def test_threads_share_the_default_stores_pass_but_not_its_scopes():
    def work(number: int) -> Any:
        assert ts.get_variable_scope().name == ""
        with ts.variable_scope("a"):
            return get()

    with ts.variable_scope("outer"):
        results = in_threads(8, work)
    made = [result for result in results if isinstance(result, torch.Tensor)]
    refused = [result for result in results if isinstance(result, VariableExistsError)]
    assert len(made) == 1
    assert len(refused) == 7
    assert list(ts.default_store()) == ["a/w"]


def test_of_threads_that_make_one_variable_of_the_default_store_all_but_one_are_refused():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(100):
            results = in_threads(4, lambda _, name=f"w{number}": ts.get_variable(name, [1]))
            assert sum(isinstance(result, torch.Tensor) for result in results) == 1
    finally:
        sys.setswitchinterval(interval)


def test_threads_share_a_variable_of_the_default_store_under_reuse():
    def work(number: int) -> torch.Tensor:
        with ts.variable_scope("a", reuse=AUTO_REUSE):
            return get()

    results = in_threads(8, work)
    assert all(result is ts.default_store()["a/w"] for result in results)


IMPORTED_LATE = (
    *("torch._dynamo", "torch.distributed.tensor", "torch.distributed.fsdp"),
    *("torch.fx.experimental.proxy_tensor", "IPython"),
)


@pytest.mark.parametrize("name", IMPORTED_LATE)
def test_variables_are_made_while_another_thread_imports_a_module(name: str, monkeypatch: Any):
    class Holder:
        def __init__(self, net: nn.Module) -> None:
            self.parameters = list(net.parameters())

    net = ts.ScopedModule(layer, seed=0)
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))  # As it is until it has run.
    Holder(net)
    with torch.device("cpu"), pytest.warns(ts.ScopeWarning, match="The parameters were read"):
        net(X)
    with net:
        assert ts.assign(net["layer/b"], [1, 2, 3]).tolist() == [1, 2, 3]
    net.reset_parameters()
    assert "models.py:" in net.origin("layer/b")
    assert len(store_of("w", regularizer=ts.l2_regularizer(0.1)).regularization_losses()) == 1


def test_a_new_thread_counts_default_names_afresh():
    def work(number: int) -> str:
        with ts.variable_scope(None, "layer", reuse=None) as scope:
            return scope.name

    with ts.variable_scope(None, "layer"):
        pass
    assert in_threads(1, work) == ["layer"]


def test_a_reset_of_the_default_store_reaches_every_thread():
    get()
    thread_has_used_it, was_reset = threading.Event(), threading.Event()
    found: list[Any] = []

    def work() -> None:
        with ts.variable_scope("", reuse=True):
            found.append(get())
        thread_has_used_it.set()
        was_reset.wait()
        found.append(get())

    thread = threading.Thread(target=work)
    thread.start()
    thread_has_used_it.wait()
    ts.reset_default_store()
    was_reset.set()
    thread.join()
    assert found[0] is not found[1]
    assert ts.default_store()["w"] is found[1]
