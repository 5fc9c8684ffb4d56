"""Where a thread is: asyncio tasks and generators that cross scopes raise, where it is detected."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import torch

import torchscope as ts

SHAPE = [2]


def get(name: str = "w") -> torch.Tensor:
    return ts.get_variable(name, SHAPE)


def run(*tasks: Callable[[], Awaitable[Any]], together: bool = True) -> list[Any]:
    """What the tasks give or raise, all started at once in one event loop."""

    async def main() -> list[Any]:
        return await asyncio.gather(*(task() for task in tasks), return_exceptions=together)

    return asyncio.run(main())


# ---- asyncio -------------------------------------------------------------------------------------


def test_a_pass_in_a_coroutine_without_await_inside_is_fine():
    store = ts.VariableStore()

    async def work() -> torch.Tensor:
        await asyncio.sleep(0)
        with store, ts.variable_scope("a"):
            w = get()
        await asyncio.sleep(0)
        return w

    first, second, third = run(work, work, work)
    assert first is second is third is store["a/w"]


def test_a_called_store_in_many_tasks_is_fine():
    net = ts.ScopedModule(get)

    async def work() -> torch.Tensor:
        await asyncio.sleep(0)
        return net()

    assert all(result is net["w"] for result in run(*[work] * 5))


def test_a_lone_task_may_await_inside_a_scope():
    store = ts.VariableStore()

    async def work() -> str:
        with store, ts.variable_scope("a"):
            await asyncio.sleep(0)
            get()
            with ts.variable_scope("b"):
                await asyncio.sleep(0)
                get()
            return ts.get_variable_scope().name

    assert run(work) == ["a"]
    assert list(store) == ["a/w", "a/b/w"]
    assert ts.get_variable_scope().name == ""


def test_a_task_that_enters_a_store_another_task_is_in_gets_an_error():
    store = ts.VariableStore()

    async def work() -> None:
        with store, ts.variable_scope("a"):
            await asyncio.sleep(0)
            get()

    results = run(work, work)
    assert results[0] is None
    assert isinstance(results[1], ts.ScopeOrderError)
    assert "another asyncio task" in str(results[1])
    assert list(store) == ["a/w"]


def test_a_variable_asked_for_in_another_tasks_scope_is_an_error():
    store = ts.VariableStore()

    async def inside() -> None:
        with store, ts.variable_scope("a"):
            await asyncio.sleep(0.01)

    async def outside() -> None:
        await asyncio.sleep(0)
        get()

    results = run(inside, outside)
    assert results[0] is None
    assert isinstance(results[1], ts.ScopeOrderError)
    assert "'a/w' was asked for in a scope that another asyncio task" in str(results[1])
    assert list(store) == list(ts.default_store()) == []


@pytest.mark.parametrize("known", [False, True])
def test_a_variable_is_neither_made_nor_fetched_in_another_tasks_scope(known: bool):
    store = ts.VariableStore()
    if known:
        with store, ts.variable_scope("a"):
            get()

    async def inside() -> None:
        with store, ts.variable_scope("a", reuse=ts.AUTO_REUSE):
            await asyncio.sleep(0.01)

    async def outside() -> None:
        await asyncio.sleep(0)
        get()

    results = run(inside, outside)
    assert isinstance(results[1], ts.ScopeOrderError)
    assert list(store) == (["a/w"] if known else [])


@pytest.mark.parametrize("entered", [False, True], ids=["default store", "a store"])
def test_a_scope_opened_in_another_tasks_scope_is_an_error(entered: bool):
    store = ts.VariableStore() if entered else ts.default_store()

    async def inside() -> None:
        with store, ts.variable_scope("a"):
            await asyncio.sleep(0.01)

    async def outside() -> None:
        await asyncio.sleep(0)
        with ts.variable_scope("b"):
            get()

    results = run(inside, outside)
    assert isinstance(results[1], ts.ScopeOrderError)
    assert list(store) == list(ts.default_store()) == []


def test_two_tasks_in_stores_of_their_own_are_reported():
    stores = [ts.VariableStore() for _ in range(2)]

    async def work(store: ts.VariableStore) -> None:
        with store, ts.variable_scope("a"):
            await asyncio.sleep(0)
            get()

    results = run(*[lambda store=store: work(store) for store in stores])
    assert any(isinstance(result, ts.ScopeOrderError) for result in results)
    wrong = [name for store in stores for name in store if name != "a/w"]
    assert wrong == []
    assert ts.get_variable_scope().name == ""


def test_two_tasks_in_scopes_of_the_default_store_are_reported():
    async def work(name: str) -> None:
        with ts.variable_scope(name):
            await asyncio.sleep(0)
            get()

    results = run(lambda: work("a"), lambda: work("b"))
    assert any(isinstance(result, ts.ScopeOrderError) for result in results)
    assert {*ts.default_store()} <= {"a/w", "b/w"}


def test_a_task_made_inside_a_scope_is_not_in_it():
    store = ts.VariableStore()

    async def inner() -> None:
        get()

    async def outer() -> None:
        with store, ts.variable_scope("a"):
            await asyncio.create_task(inner())

    results = run(outer)
    assert isinstance(results[0], ts.ScopeOrderError)
    assert list(store) == []


def test_scopes_entered_before_the_loop_hold_in_it(store: ts.VariableStore):
    async def work() -> None:
        get()
        with ts.variable_scope("b"):
            await asyncio.sleep(0)
            get()

    with ts.variable_scope("a"):
        run(work, together=False)
    assert list(store) == ["a/w", "a/b/w"]


def test_a_task_in_another_thread_is_fine():
    store = ts.VariableStore()

    async def work() -> torch.Tensor:
        with store, ts.variable_scope("a"):
            return await asyncio.to_thread(ts.VariableStore(), get)

    (result,) = run(work)
    assert result.shape == (2,)
    assert list(store) == []


def test_an_async_generator_in_a_scope_is_reported():
    async def layers() -> AsyncIterator[torch.Tensor]:
        with ts.VariableStore(), ts.variable_scope("a"):
            yield get()
            yield get("v")

    async def other() -> None:
        await asyncio.sleep(0)
        get()

    async def work() -> list[torch.Tensor]:
        found = []
        async for value in layers():
            found.append(value)
            await asyncio.sleep(0)
        return found

    results = run(work, other)
    assert len(results[0]) == 2
    assert isinstance(results[1], ts.ScopeOrderError)


# ---- generators ----------------------------------------------------------------------------------


def paused_in(manager: Callable[[], Any]) -> Iterator[None]:
    with manager():
        yield


def close(paused: Iterator[None]) -> None:
    """End a generator that was left inside a scope, whatever that raises."""
    with contextlib.suppress(ts.ScopeOrderError):
        paused.close()  # type: ignore[attr-defined]


def test_a_generator_that_leaves_its_scope_before_it_pauses_is_fine(store: ts.VariableStore):
    def layers() -> Iterator[torch.Tensor]:
        for number in range(3):
            with ts.variable_scope(f"layer{number}"):
                w = get()
            yield w

    assert len(list(layers())) == 3
    assert ts.get_variable_scope().name == ""
    assert list(store) == ["layer0/w", "layer1/w", "layer2/w"]


def test_a_scope_left_open_by_a_generator_inside_another_is_reported(store: ts.VariableStore):
    paused = paused_in(lambda: ts.variable_scope("inner"))
    outer = ts.variable_scope("outer")
    outer.__enter__()
    next(paused)
    with pytest.raises(ts.ScopeOrderError, match="'outer/inner' is still open") as caught:
        outer.__exit__(None, None, None)
    assert caught.value.name == "outer/inner"
    close(paused)
    outer.__exit__(None, None, None)
    assert ts.get_variable_scope().name == ""


def test_a_scope_left_open_by_a_generator_at_the_end_of_a_pass_is_reported():
    store = ts.VariableStore()
    paused = paused_in(lambda: ts.variable_scope("inner"))
    with pytest.raises(ts.ScopeOrderError, match="The pass ended inside the scope 'inner'"):
        store(lambda: next(paused))
    assert not store.built
    close(paused)
    with store:
        assert ts.get_variable_scope().name == ""


def test_a_store_left_open_by_a_generator_is_reported():
    inner, outer = ts.VariableStore(), ts.VariableStore()
    paused = paused_in(lambda: inner)

    def work() -> None:
        with outer:
            next(paused)

    with pytest.raises(ts.ScopeOrderError, match="reverse order of entering"):
        work()
    close(paused)
    assert list(ts.default_store()) == []
    get()
    assert list(ts.default_store()) == ["w"]
    assert list(inner) == list(outer) == []


def test_a_generator_that_ends_inside_a_later_scope_is_reported():
    paused = paused_in(lambda: ts.variable_scope("inner"))

    def work() -> None:
        next(paused)
        with ts.variable_scope("later"):
            assert ts.get_variable_scope().name == "inner/later"
            with pytest.raises(ts.ScopeOrderError, match="'inner/later' is still open"):
                next(paused)

    with pytest.raises(ts.ScopeOrderError, match="The pass ended inside the scope 'inner'"):
        ts.VariableStore()(work)
    assert ts.get_variable_scope().name == ""


def test_scopes_left_in_the_wrong_order_by_hand_are_reported_and_can_be_left_in_the_right_one(
    store: ts.VariableStore,
):
    first, second = ts.variable_scope("a"), ts.variable_scope("b")
    first.__enter__()
    second.__enter__()
    with pytest.raises(ts.ScopeOrderError, match="'a/b' is still open"):
        first.__exit__(None, None, None)
    assert ts.get_variable_scope().name == "a/b"
    second.__exit__(None, None, None)
    first.__exit__(None, None, None)
    assert ts.get_variable_scope().name == ""


def test_after_an_exception_a_scope_left_open_does_not_hide_it(store: ts.VariableStore):
    paused = paused_in(lambda: ts.variable_scope("inner"))

    def work() -> None:
        next(paused)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        ts.VariableStore()(work)
    close(paused)


def test_the_exit_stack_leaves_scopes_in_the_right_order(store: ts.VariableStore):
    with contextlib.ExitStack() as stack:
        for name in "abc":
            stack.enter_context(ts.variable_scope(name))
        get()
    assert list(store) == ["a/b/c/w"]
    assert ts.get_variable_scope().name == ""


def test_a_manager_may_be_entered_again_but_is_left_as_often(store: ts.VariableStore):
    scope = ts.variable_scope("a")
    for _ in range(2):
        with scope:
            assert ts.get_variable_scope().name == "a"
    with scope, scope:
        assert ts.get_variable_scope().name == "a/a"
    assert ts.get_variable_scope().name == ""
