"""Passes over a store: the reuse table, and what begins and ends with a pass."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from models import SHAPE, get, linear, store_of
from torch import nn

import torchscope as ts
from torchscope import AUTO_REUSE, VariableExistsError, VariableMissingError

T = TypeVar("T")


# ---- the reuse table of docs/how-it-works.md -----------------------------------------------------

UNKNOWN, KNOWN, MET = "unknown", "in the store, not met in this pass", "met in this pass"
MADE, RETURNED = "made", "returned"

REUSE_TABLE: list[tuple[Any, str, Any]] = [
    (False, UNKNOWN, MADE),
    (False, KNOWN, RETURNED),
    (False, MET, VariableExistsError),
    (None, UNKNOWN, MADE),
    (None, KNOWN, RETURNED),
    (None, MET, VariableExistsError),
    (True, UNKNOWN, VariableMissingError),
    (True, KNOWN, RETURNED),
    (True, MET, RETURNED),
    (AUTO_REUSE, UNKNOWN, MADE),
    (AUTO_REUSE, KNOWN, RETURNED),
    (AUTO_REUSE, MET, RETURNED),
]


ASK: dict[str, Callable[[], Any]] = {
    "get_variable": get,
    "scope.get_variable": lambda: ts.get_variable_scope().get_variable("w", SHAPE),
    "with a value": lambda: ts.get_variable("w", initializer=[1.0]),
    "get_buffer": lambda: ts.get_buffer("w", SHAPE),
    "get_local_variable": lambda: ts.get_local_variable("w", SHAPE),
    "get_module": lambda: ts.get_module("w", linear),
}


def enter(store: ts.VariableStore, body: Callable[[], T]) -> T:
    with store:
        return body()


def call(store: ts.VariableStore, body: Callable[[], T]) -> T:
    return store(body)


@pytest.mark.parametrize("run", [enter, call])
@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
@pytest.mark.parametrize(("reuse", "state", "outcome"), REUSE_TABLE)
def test_the_reuse_table(run: Any, ask: Callable[[], Any], reuse: Any, state: str, outcome: Any):
    store = ts.VariableStore()

    def make() -> Any:
        with ts.variable_scope("s"):
            return ask()

    def body() -> None:
        if state == MET:
            assert make() is known
        before = list(store.state_dict())
        with ts.variable_scope("s", reuse=reuse):
            if outcome in (MADE, RETURNED):
                assert (ask() is known) == (outcome == RETURNED)
            else:
                with pytest.raises(outcome, match="'s/w'"):
                    ask()
                assert list(store.state_dict()) == before

    known = None if state == UNKNOWN else run(store, make)
    run(store, body)


@pytest.mark.parametrize(
    ("reuse", "state", "outcome"), [row for row in REUSE_TABLE if row[1] != KNOWN]
)
def test_the_reuse_table_on_the_default_store_whose_pass_never_ends(
    reuse: Any, state: str, outcome: Any
):
    known = None
    if state == MET:
        with ts.variable_scope("s"):
            known = get()
    with ts.variable_scope("s", reuse=reuse):
        if outcome in (MADE, RETURNED):
            assert (get() is known) == (outcome == RETURNED)
        else:
            with pytest.raises(outcome, match="'s/w'"):
                get()
    made = [] if state == UNKNOWN and outcome is not MADE else ["s/w"]
    assert list(ts.default_store()) == made


def test_a_name_used_twice_by_mistake_is_an_error_at_every_step():
    store = store_of("w")
    for _ in range(3):
        with store:
            get()
            with pytest.raises(VariableExistsError, match="'w' already exists"):
                get()


@pytest.mark.parametrize("given", [0, 1, "True", "AUTO_REUSE", object(), [], 1.0], ids=repr)
def test_another_value_for_reuse_is_refused(store: ts.VariableStore, given: Any):
    with pytest.raises(ts.ScopeError, match="reuse is True, False, None or AUTO_REUSE"):
        ts.variable_scope("a", reuse=given)
    with pytest.raises(ts.ScopeError, match="reuse is True, False, None or AUTO_REUSE"):
        ts.get_variable_scope().get_variable("w", SHAPE, reuse=given)
    assert list(store) == []


# ---- passes --------------------------------------------------------------------------------------


def test_entering_gives_the_store_and_leaving_forgets_it():
    store = ts.VariableStore()
    with store as entered:
        assert entered is store
        inside = get()
    assert store["w"] is inside
    get()
    assert list(ts.default_store()) == ["w"]
    assert ts.default_store()["w"] is not inside


def test_calling_passes_arguments_on_and_gives_the_result():
    def body(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs, get()

    store = ts.VariableStore()
    args, kwargs, w = store(body, 1, 2, fn=3, args=5)
    assert args == (1, 2)
    assert kwargs == {"fn": 3, "args": 5}
    assert w is store["w"]


def test_several_functions_use_one_store():
    def encode(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("encoder"):
            return x @ get()

    def decode(z: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("encoder", reuse=AUTO_REUSE):
            w = get()
        with ts.variable_scope("decoder"):
            return z @ w.T + ts.get_variable("b", [2])

    store = ts.VariableStore()
    for _ in range(2):
        store(decode, store(encode, torch.ones(1, 2)))
    assert list(store) == ["encoder/w", "decoder/b"]


def test_entering_a_store_again_changes_nothing(store: ts.VariableStore):
    with ts.variable_scope("a"):
        get()
        with store:
            assert ts.get_variable_scope().name == "a"
            with pytest.raises(VariableExistsError, match="'a/w'"):
                get()
        assert ts.get_variable_scope().name == "a"
    assert list(store) == ["a/w"]


def test_entering_an_outer_store_again_goes_back_to_where_it_was():
    outer, inner = ts.VariableStore(), ts.VariableStore()
    with outer, ts.variable_scope("a"):
        get()
        with inner:
            assert ts.get_variable_scope().name == ""
            with ts.variable_scope("b"), outer:
                assert ts.get_variable_scope().name == "a"
                get("v")
                with pytest.raises(VariableExistsError, match="'a/w'"):
                    get()
            get()
    assert list(outer) == ["a/w", "a/v"]
    assert list(inner) == ["w"]


def test_calling_a_store_inside_its_own_pass_is_a_pass_of_its_own_from_the_root(
    store: ts.VariableStore,
):
    def body() -> torch.Tensor:
        assert ts.get_variable_scope().name == ""
        assert ts.get_variable_scope().reuse is False
        return get()

    with ts.variable_scope("a", reuse=AUTO_REUSE):
        first = store(body)
        assert store(body) is first
        assert ts.get_variable_scope().name == "a"
    assert get() is first  # What the inner passes met, this one has not.
    with pytest.raises(VariableExistsError, match="'w'"):
        get()


def test_scopes_and_default_names_start_again_in_every_pass():
    def body() -> list[str]:
        names = []
        for _ in range(2):
            with ts.variable_scope(None, "layer") as scope:
                names.append(scope.name)
                get()
        return names

    store = ts.VariableStore()
    passes = [store(body) for _ in range(3)]
    assert passes == [["layer", "layer_1"]] * 3
    assert list(store) == ["layer/w", "layer_1/w"]


def test_a_store_is_built_once_a_pass_has_ended_without_an_exception():
    def fail() -> None:
        get()
        raise ZeroDivisionError("mine")

    store = ts.VariableStore()
    for run in (enter, call):
        with pytest.raises(ZeroDivisionError, match="mine"):
            run(store, fail)
        assert not store.built
    assert list(store) == ["w"]
    with store:
        get()
        assert not store.built
    assert store.built


@pytest.mark.parametrize("run", [enter, call])
def test_after_an_exception_nothing_is_entered_any_more(run: Any):
    def fail() -> None:
        with ts.variable_scope("a"), ts.variable_scope("b"):
            raise ZeroDivisionError("mine")

    store = ts.VariableStore()
    with pytest.raises(ZeroDivisionError, match="mine"):
        run(store, fail)
    assert ts.get_variable_scope().name == ""
    with store:
        assert ts.get_variable_scope().name == ""


def test_leaving_a_store_that_was_not_entered_is_an_error():
    with pytest.raises(ts.ScopeOrderError, match="without having been entered"):
        ts.VariableStore().__exit__(None, None, None)


def test_hooks_fire_when_a_store_is_called():
    store = store_of("w")
    calls: list[Any] = []
    store.register_forward_pre_hook(lambda module, args: calls.append(args))
    store.register_forward_hook(lambda module, args, result: calls.append(result))
    store(get)
    assert calls == [(get,), store["w"]]


def test_a_store_is_true_even_when_empty():
    assert ts.VariableStore()
    assert not len(ts.VariableStore())


def test_a_variable_is_a_parameter_of_the_store():
    store = store_of("a/w")
    w = store["a/w"]
    assert type(w) is nn.Parameter
    assert list(store.parameters()) == [w]
    assert store.get_parameter("a/w") is w


def test_a_store_inside_a_module_is_part_of_it():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.store = ts.VariableStore()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with self.store:
                return x @ get()

    net = Net()
    net(torch.ones(1, 2))
    assert list(net.state_dict()) == ["store.w"]
