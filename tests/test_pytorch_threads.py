"""Threads in one store, DataParallel, event loops; simpler cases are in test_store_threads.py."""

import asyncio
import functools
import inspect
import itertools
import random
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from models import X, dense
from torch import nn

import torchscope as ts


def two_layers(x: torch.Tensor) -> torch.Tensor:
    for name in ("in", "out"):
        with ts.variable_scope(name):
            x = dense(x)
    return x


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What ``work(number)`` gives in each of ``count`` threads that start at one moment."""
    start = threading.Barrier(count)

    def run(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run, n) for n in range(count)]]


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads take turns a thousand times as often as they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 1000)
    yield
    sys.setswitchinterval(interval)


# ---- eight threads -------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
def test_threads_that_make_and_fetch_in_any_order_agree_on_every_name_and_scope():
    names = [f"{scope}/w{number}" for scope in ("a", "a/b", "c") for number in range(10)]

    def work(number: int) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        own = [*names, *(f"own{number}/w{n}" for n in range(10))]
        random.Random(number).shuffle(own)
        with store:
            for name in own:
                scope, _, last = name.rpartition("/")
                with ts.variable_scope(scope, reuse=ts.AUTO_REUSE) as inside:
                    assert inside.name == ts.get_variable_scope().name == scope
                    found[name] = ts.get_variable(last, [3])
                assert ts.get_variable_scope().name == ""
        return found

    store = ts.VariableStore(5)
    results = in_threads(8, work)
    assert len(store) == len(list(store.parameters())) == 30 + 8 * 10
    assert all(variable is store[name] for found in results for name, variable in found.items())
    alone = ts.VariableStore(5)
    with alone, ts.variable_scope("", reuse=ts.AUTO_REUSE):
        assert all(torch.equal(store[name], ts.get_variable(name, [3])) for name in store)


LISTS: dict[str, Callable[[ts.VariableStore, torch.Tensor], Any]] = {
    "name_of": lambda store, w: store.name_of(w),
    "trainable_variables": lambda store, w: ts.trainable_variables(),
    "named_variables": lambda store, w: list(store.named_variables()),
    "get_collection": lambda store, w: ts.get_collection("variables"),
    "regularization_losses": lambda store, w: store.regularization_losses(),
    "len and list": lambda store, w: len(list(store)) + len(store),
    "origin": lambda store, w: store.origin("shared"),
    "repr": lambda store, w: repr(store),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("ask", LISTS.values(), ids=LISTS)
def test_a_list_asked_for_while_another_thread_makes_variables_is_a_list(ask: Any):
    store = ts.VariableStore(0)
    with store:
        shared = ts.get_variable("shared", [], initializer=ts.zeros_initializer())
    done = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            with store:
                for index in range(1000):
                    ts.get_variable(f"w{index}", [], initializer=ts.zeros_initializer())
            done.set()
        while not done.is_set():
            with store:
                ask(store, shared)

    in_threads(3, work)
    assert len(store) == 1001


@pytest.mark.usefixtures("hasty")
def test_every_thread_knows_the_names_of_what_it_has_just_made():
    store = ts.VariableStore(0)

    def work(number: int) -> list[str]:
        with store, ts.variable_scope(f"thread{number}"):
            return [
                ts.name_of(ts.get_variable(f"w{n}", [], initializer=ts.zeros_initializer()))
                for n in range(40)
            ]

    expected = [[f"thread{number}/w{n}" for n in range(40)] for number in range(8)]
    assert in_threads(8, work) == expected


INITIALIZERS: dict[str, Any] = {
    "the default": None,
    "random_normal": ts.random_normal_initializer(),
    "truncated_normal": ts.truncated_normal_initializer(),
    "orthogonal": ts.orthogonal_initializer(),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
def test_values_are_the_same_while_another_thread_draws_random_numbers(initializer: Any):
    def make(store: ts.VariableStore) -> None:
        with store, ts.variable_scope("", initializer=initializer):
            for number in range(400):
                ts.get_variable(f"w{number}", [10, 10])

    alone, beside = ts.VariableStore(0), ts.VariableStore(0)
    make(alone)
    done = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            make(beside)
            done.set()
        while not done.is_set():
            torch.rand(100)  # As dropout, or the shuffling of a data loader.

    in_threads(2, work)
    different = [name for name in alone if not torch.equal(alone[name], beside[name])]
    assert different == []


@pytest.mark.usefixtures("hasty")
def test_another_threads_random_numbers_are_the_same_while_variables_are_made():
    store, done = ts.VariableStore(0), threading.Event()
    drawn: list[list[float]] = []

    def work(number: int) -> None:
        if number == 0:
            drawn.append([torch.rand(()).item() for _ in range(5000)])
            done.set()
            return
        with store:
            for index in itertools.count():
                ts.get_variable(f"w{index}", [10, 10])
                if done.is_set():
                    return

    torch.manual_seed(3)
    expected = [torch.rand(()).item() for _ in range(5000)]
    torch.manual_seed(3)
    in_threads(2, work)
    assert drawn == [expected]


# ---- two threads in one net ----------------------------------------------------------------------


def test_two_threads_halfway_through_a_net_do_not_see_each_others_scopes():
    meet = threading.Barrier(2, timeout=30)

    def model(x: torch.Tensor, name: str) -> list[str]:
        with ts.variable_scope(name), ts.variable_scope(None, "layer") as first:
            meet.wait()
            x = dense(x)
            meet.wait()
            with ts.variable_scope(None, "layer") as second:
                dense(x)
            meet.wait()
        return [first.name, second.name]

    net = ts.ScopedModule(model, seed=0)
    results = in_threads(2, lambda number: net(X, "ab"[number]))
    assert results == [[f"{name}/layer", f"{name}/layer/layer"] for name in "ab"]
    scopes = [f"{name}/layer{inner}" for name in "ab" for inner in ("", "/layer")]
    assert sorted(net) == sorted(f"{scope}/{last}" for scope in scopes for last in "bw")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("built", [False, True])
def test_two_threads_that_train_one_net_add_up_their_gradients(built: bool):
    inputs = [X + number for number in range(8)]
    alone, shared = (ts.ScopedModule(two_layers, seed=0) for _ in range(2))
    if built:
        shared.build(X)
    for x in inputs:
        alone(x).sum().backward()
    losses = in_threads(8, lambda number: shared(inputs[number]).sum())
    for loss in losses:
        loss.backward()
    assert sorted(shared) == sorted(alone)
    for name, variable in alone.items():
        torch.testing.assert_close(shared[name].grad, variable.grad)


@pytest.mark.usefixtures("hasty")
def test_each_thread_may_have_an_endless_supply_of_passes():
    net = ts.ScopedModule(two_layers, seed=0).build(X)
    expected = net(X)
    results = in_threads(8, lambda number: [net(X) for _ in range(50)])
    assert all(torch.equal(result, expected) for found in results for result in found)


def test_a_variable_that_another_thread_makes_while_the_first_pass_ends_is_kept():
    """At every single step that Python takes while one pass ends, another makes a variable."""
    may_make, has_made, ended = threading.Semaphore(0), threading.Event(), threading.Event()

    def make_at_every_step(frame: Any, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode" and "torchscope" in frame.f_code.co_filename:
            has_made.clear()
            may_make.release()
            has_made.wait(0.05)  # Not for ever: this thread may hold what the other needs.
        return make_at_every_step

    def ends(number: int) -> None:
        ts.get_variable("w", [], initializer=ts.zeros_initializer())
        sys.settrace(make_at_every_step)  # For what is called from here on: the end of the pass.

    def goes_on(number: int) -> None:
        for number in itertools.count():
            may_make.acquire()
            if ended.is_set():
                return
            ts.get_variable(f"w{number}", [], initializer=ts.zeros_initializer())
            has_made.set()

    net = ts.ScopedModule(lambda which: (ends, goes_on)[which](which), seed=0)

    def work(number: int) -> None:
        try:
            net(number)
        finally:
            sys.settrace(None)
            ended.set()
            may_make.release()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ts.ScopeWarning)  # Some are made late, and said to be.
        in_threads(2, work)
    assert len(net) > 10
    assert list(dict(net.named_parameters())) == list(net)


# ---- DataParallel --------------------------------------------------------------------------------


def replicate(module: nn.Module) -> Any:
    """One replica, as ``nn.parallel.replicate`` makes them, but on the CPU."""
    modules = list(module.modules())
    replicas: list[Any] = [each._replicate_for_data_parallel() for each in modules]
    places = {id(each): replica for each, replica in zip(modules, replicas, strict=True)}
    for each, replica in zip(modules, replicas, strict=True):
        for key, child in each._modules.items():
            setattr(replica, key, places[id(child)])
        for key, parameter in each._parameters.items():
            setattr(replica, key, torch.clone(parameter))  # No leaf: gradients go on from it.
        for key, buffer in each._buffers.items():
            replica._buffers[key] = buffer.clone()
    return replicas[0]


def data_parallel(module: nn.Module, inputs: list[torch.Tensor]) -> torch.Tensor:
    """Each input through a replica, in a thread of its own."""
    replicas = [replicate(module) for _ in inputs]
    return torch.cat(in_threads(len(inputs), lambda n: replicas[n](inputs[n])))


def with_everything(x: torch.Tensor) -> torch.Tensor:
    """A net with a buffer, a kept module, a block and a shared variable."""
    scale = ts.get_buffer("scale", [3], initializer=ts.ones_initializer())
    x = ts.get_module("dense", functools.partial(nn.Linear, 3, 3))(x * scale)
    x = ts.get_module("block", functools.partial(ts.ScopedModule, two_layers))(x)
    with ts.variable_scope("shared", reuse=ts.AUTO_REUSE):
        return dense(dense(x))


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a bigger model"])
def test_replicas_give_what_the_net_gives_and_their_gradients_reach_it(inside: bool):
    net: Any = ts.ScopedModule(with_everything, seed=0).build(X)
    net = nn.Sequential(net, nn.Tanh()) if inside else net
    inputs = [X, X + 1, X + 2]
    names = list(net.state_dict())
    expected = net(torch.cat(inputs))
    expected.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    net.zero_grad()
    found = data_parallel(net, inputs)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert list(net.state_dict()) == names
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name])


def test_a_replica_uses_its_own_copies():
    net = ts.ScopedModule(two_layers, seed=0).build(X)
    replica = replicate(net)
    with torch.no_grad():
        net["out/w"].zero_()
    assert not net(X).any()
    assert replica(X).any()
    assert replica["out/w"] is not net["out/w"]


def test_a_replica_finds_its_variables_when_called_with_a_function_of_a_store():
    store = ts.VariableStore(0)
    expected = store(two_layers, X)
    assert torch.equal(replicate(store)(two_layers, X), expected)
    assert len(store) == len(list(store.parameters())) == 4


def test_a_replica_of_an_unbuilt_net_is_refused_and_the_net_stays_usable():
    net = ts.ScopedModule(two_layers, seed=0)
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        replicate(net)(X)
    assert list(net) == []
    net.build(X)
    assert len(list(net.parameters())) == 4


def test_a_variable_that_a_replica_would_make_is_refused_and_the_net_stays_usable():
    def model(x: torch.Tensor, late: bool = False) -> torch.Tensor:
        x = two_layers(x)
        if late:
            with ts.variable_scope("late"):
                x = dense(x)
        return x

    net = ts.ScopedModule(model, seed=0).build(X)
    names = list(net)
    with pytest.raises(ts.NotBuiltError, match="'late/w'"):
        replicate(net)(X, late=True)
    assert list(net) == names
    assert torch.equal(net(X), replicate(net)(X))


def test_without_a_gpu_data_parallel_calls_the_net_itself():
    net = ts.ScopedModule(two_layers, seed=0).build(X)
    if torch.cuda.is_available():
        pytest.skip("here it would replicate")
    parallel = nn.DataParallel(net)
    assert torch.equal(parallel(X), net(X))
    assert next(iter(parallel.state_dict())) == "module.in/w"


# ---- event loops ---------------------------------------------------------------------------------


def test_a_server_may_answer_many_requests_with_one_net():
    net = ts.ScopedModule(two_layers, seed=0).build(X)
    expected = net(X)

    async def answer(number: int) -> torch.Tensor:
        await asyncio.sleep(0.001 * (number % 3))
        if number % 2:
            return await asyncio.to_thread(net, X)
        return net(X)

    async def serve() -> list[torch.Tensor]:
        return await asyncio.gather(*(answer(number) for number in range(20)))

    assert all(torch.equal(result, expected) for result in asyncio.run(serve()))


def test_tasks_that_open_scopes_one_in_the_other_make_no_variable_of_a_mixed_name():
    store = ts.VariableStore()

    async def first() -> None:
        with ts.variable_scope("first"):
            await asyncio.sleep(0.01)

    async def second() -> None:
        await asyncio.sleep(0)
        with ts.variable_scope("second"):
            dense(X)

    async def both() -> list[Any]:
        return await asyncio.gather(first(), second(), return_exceptions=True)

    with store:
        results = asyncio.run(both())
    assert list(store) == []
    assert isinstance(results[1], ts.ScopeOrderError)


def test_a_worker_thread_starts_outside_the_store_of_the_thread_that_made_it():
    store = ts.VariableStore(0)
    with store, ts.variable_scope("a"), ThreadPoolExecutor(1) as pool:
        pool.submit(two_layers, X).result()  # Documented: enter or call the store in the thread.
        pool.submit(store, two_layers, X).result()
    assert list(store) == list(ts.default_store()) == ["in/w", "in/b", "out/w", "out/b"]


async def awaited(x: torch.Tensor) -> torch.Tensor:
    return dense(x)


def yielding(x: torch.Tensor) -> Iterator[torch.Tensor]:
    yield dense(x)


async def yielding_later(x: torch.Tensor) -> AsyncIterator[torch.Tensor]:
    yield dense(x)


def lazily(x: torch.Tensor) -> Iterator[torch.Tensor]:
    return (dense(x) for _ in range(1))


def run_late(late: Any) -> None:
    """Run what was returned, after the pass from which it was returned has ended."""

    async def wait() -> None:
        await late

    if inspect.isawaitable(late):
        asyncio.run(wait())
    elif inspect.isasyncgen(late):
        asyncio.run(anext(late))  # type: ignore[arg-type]
    else:
        list(late)


@pytest.mark.parametrize("fn", [awaited, yielding, yielding_later, lazily])
@pytest.mark.parametrize("way", ["net", "store"])
def test_a_function_that_would_run_after_its_pass_is_reported(fn: Any, way: str):
    def run() -> None:
        if way == "net":
            run_late(ts.ScopedModule(fn)(X))
        else:
            run_late(ts.VariableStore()(fn, X))

    with pytest.raises((ts.ScopeError, ts.ScopeWarning, TypeError), match=r"await|yield|generator"):
        run()
    assert list(ts.default_store()) == []  # Where, found in no store, its variables would land.
