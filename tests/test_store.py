"""A store's own methods: collections, constraints, finalize, names, origins, its repr."""

import copy
import pickle
import sys
from typing import Any

import pytest
import torch
from models import SHAPE, clipped, get, linear, store_of
from torch import nn

import torchscope as ts
from torchscope import VariableMissingError

# ---- collections, constraints, finalize ----------------------------------------------------------


def test_collections_belong_to_the_store_and_values_to_the_pass():
    def model() -> tuple[int, int]:
        w = get(collections=["mine", ts.GraphKeys.GLOBAL_VARIABLES])
        if not store.built:
            ts.add_to_collection("later", w)
        ts.add_to_collection("losses", w.sum())
        return len(ts.get_collection("losses")), len(ts.get_collection("later"))

    store = ts.VariableStore()
    assert [store(model) for _ in range(3)] == [(1, 1)] * 3
    twins = [store, copy.deepcopy(store), pickle.loads(pickle.dumps(store))]
    for twin in twins:
        assert twin.get_collection("mine") == twin.get_collection("later") == [twin["w"]]
        assert twin.get_collection("losses") == []


def test_a_constraint_is_applied_when_asked_for():
    def model() -> None:
        get("a", constraint=clipped, initializer=ts.constant_initializer(5.0))
        get("b", initializer=ts.constant_initializer(5.0))
        with ts.variable_scope("s", constraint=clipped):
            get("c", initializer=ts.constant_initializer(-5.0))

    store = ts.VariableStore()
    store(model)
    a = store["a"]
    store.apply_constraints()
    assert store["a"] is a
    assert [variable.flatten()[0].item() for variable in store.values()] == [1, 5, -1]
    assert a.requires_grad
    assert a.is_leaf


@pytest.mark.parametrize("returned", [None, "text", object(), torch.ones(1), [1.0] * 7])
def test_a_constraint_that_returns_no_value_for_the_variable_is_an_error_by_name(returned: Any):
    def model() -> None:
        get("a", constraint=clipped, initializer=ts.constant_initializer(5.0))
        get("b", constraint=lambda w: returned)

    store = ts.VariableStore()
    store(model)
    before = store["b"].tolist()
    with pytest.raises((TypeError, ts.VariableMismatchError), match="'b': constraint"):
        store.apply_constraints()
    assert (store["a"] == 5).all()
    assert store["b"].tolist() == before


def test_constraints_can_be_hooked_to_an_optimizers_step():
    net = ts.ScopedModule(lambda: get(constraint=clipped).sum()).build()
    optimizer = torch.optim.SGD(net.parameters(), lr=100.0)
    optimizer.register_step_post_hook(lambda *_: net.apply_constraints())
    net().backward()
    optimizer.step()
    assert (net["w"] == -1).all()


def test_after_finalize_a_new_variable_is_an_error():
    store = store_of("w")
    store.finalize()
    with store:
        get()
        with pytest.raises(ts.NotBuiltError, match=r"'ww' is new, but .* finalized"):
            get("ww")
        with pytest.raises(ts.NotBuiltError, match="'dense' is new"):
            ts.get_module("dense", linear)
        with pytest.raises(ts.NotBuiltError, match="'buffer' is new"):
            ts.get_buffer("buffer", SHAPE)
    assert list(store) == list(store.state_dict()) == ["w"]
    store.half()
    store.reset_parameters()


# ---- names and origins ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (None, ["gen", "gen/w", "gen/a/w", "gen_2/w", "disc/gen/w"]),
        ("", ["gen", "gen/w", "gen/a/w", "gen_2/w", "disc/gen/w"]),
        ("gen", ["gen", "gen/w", "gen/a/w"]),
        ("gen/a", ["gen/a/w"]),
        ("gen/w", ["gen/w"]),
        ("g.n", []),
        ("nothing", []),
    ],
)
def test_named_variables_takes_a_scope_by_its_name(scope: str | None, found: list[str]):
    store = store_of("gen", "gen/w", "gen/a/w", "gen_2/w", "disc/gen/w")
    assert [name for name, _ in store.named_variables(scope)] == found
    assert all(store[name] is variable for name, variable in store.named_variables(scope))


def test_named_variables_takes_a_scope_object():
    store = ts.VariableStore()
    with store, ts.variable_scope("gen") as scope:
        w = get()
        get("gen_2/w")
    assert list(store.named_variables(scope)) == [
        ("gen/w", w),
        ("gen/gen_2/w", store["gen/gen_2/w"]),
    ]
    assert [
        name for name, _ in store.named_variables(ts.VariableStore()(ts.get_variable_scope))
    ] == [
        "gen/w",
        "gen/gen_2/w",
    ]


def test_name_of_follows_the_tensors():
    store = store_of("a/w", "b/w")
    assert store.name_of(store["b/w"]) == "b/w"
    store.to("meta")
    assert store.name_of(store["b/w"]) == "b/w"
    store.to_empty(device="cpu")
    state = {name: torch.zeros(2, 3) for name in store}
    store.load_state_dict(state, assign=True)
    assert store.name_of(store["a/w"]) == "a/w"
    old = store.pop("a/w")
    with pytest.raises(VariableMissingError, match="not a variable of this store"):
        store.name_of(old)


@pytest.mark.parametrize(
    "other", [lambda w: w * 1, lambda w: w.detach(), lambda w: nn.Parameter(w), lambda w: w.T]
)
def test_what_is_computed_from_a_variable_has_no_name(other: Any):
    store = store_of("w")
    with pytest.raises(VariableMissingError, match="not a variable of this store"):
        store.name_of(other(store["w"]))
    with store, pytest.raises(VariableMissingError, match="not a variable of this store"):
        ts.name_of(other(store["w"]))


def test_a_name_asked_for_outside_every_store_says_that_none_is_entered():
    store = store_of("w")
    ts.reset_default_store()
    with pytest.raises(ts.ScopeError, match=r"[Nn]o store is entered.*store\.name_of\(") as caught:
        ts.name_of(store["w"])
    assert isinstance(caught.value, VariableMissingError)
    with store:
        assert ts.name_of(store["w"]) == "w"


def test_a_name_asked_for_in_the_default_store_is_found_there():
    w = get()
    assert ts.name_of(w) == "w"
    other = store_of("w")
    with pytest.raises(VariableMissingError, match=r"[Nn]o store is entered.*store\.name_of\("):
        ts.name_of(other["w"])


def test_the_origin_is_where_the_users_code_asked_first():
    store = ts.VariableStore()
    with store:
        w = ts.get_variable("w", SHAPE)
        line = sys._getframe().f_lineno - 1
    with store:
        ts.get_variable("w", SHAPE)
    assert w is store["w"]
    assert store.origin("w") == f"{__file__}:{line}"


def test_the_origin_of_an_unknown_name_offers_the_nearest():
    store = store_of("model/weights")
    with pytest.raises(VariableMissingError, match="Did you mean 'model/weights'"):
        store.origin("model/weight")


def test_a_repr_shows_each_variable_on_a_line():
    store = store_of("a/w", "keys")
    with store:
        ts.get_buffer("mean", [], torch.int64)
        ts.get_module("dense", linear)
    assert repr(store).splitlines() == [
        "VariableStore(",
        "  (a/w): Parameter (2, 3) float32 cpu",
        "  (keys): Parameter (2, 3) float32 cpu",
        "  (mean): Tensor () int64 cpu",
        "  (dense): Linear(in_features=3, out_features=3, bias=True)",
        ")",
    ]


def test_a_repr_of_very_many_variables_stays_short():
    store = ts.VariableStore()
    with store:
        for number in range(10_000):
            ts.get_variable(f"w{number}", [1], initializer=ts.zeros_initializer())
    lines = repr(store).splitlines()
    assert len(lines) < 30
    assert "(w0)" in lines[1]
    assert "(w9999)" in lines[-2]
    assert any("9,980 more" in line for line in lines)


def test_the_repr_of_an_empty_store_is_its_name():
    assert repr(ts.VariableStore()) == "VariableStore()"


# ---- torch's registration ------------------------------------------------------------------------


def test_a_hook_on_registration_sees_each_variable_and_may_replace_it(store: ts.VariableStore):
    def doubled(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter:
        return nn.Parameter(parameter.detach() * 2)

    handle = torch.nn.modules.module.register_module_parameter_registration_hook(doubled)
    try:
        variable = ts.get_variable("a/w", [2], initializer=ts.ones_initializer())
    finally:
        handle.remove()
    assert variable.tolist() == [2, 2]
    assert store["a/w"] is variable


def test_a_register_parameter_that_was_exchanged_is_called(
    store: ts.VariableStore, monkeypatch: pytest.MonkeyPatch
):
    """As accelerate's init_empty_weights exchanges it."""
    registered: list[str] = []
    original = nn.Module.register_parameter

    def noting(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        registered.append(name)
        original(self, name, param)

    monkeypatch.setattr(nn.Module, "register_parameter", noting)
    variable = ts.get_variable("a/w", [2])
    assert registered == ["a/w"]
    assert store["a/w"] is variable
