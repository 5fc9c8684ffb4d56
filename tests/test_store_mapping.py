"""A store as a mapping from full names to variables."""

import re
from collections import OrderedDict
from typing import Any

import pytest
import torch
from models import SHAPE, clipped, get, linear, store_of
from torch import nn

import torchscope as ts
from torchscope import VariableExistsError


def test_a_store_is_a_mapping_from_full_names_in_the_order_of_making():
    store = store_of("b", "a/b", "a")
    with store:
        ts.get_buffer("c", SHAPE)
    expected = ["b", "a/b", "a", "c"]
    assert list(store) == list(store.keys()) == expected
    assert list(reversed(store)) == expected[::-1]
    assert len(store) == 4
    assert [name for name, _ in store.items()] == expected
    assert list(store.values()) == [store[name] for name in expected]
    assert "a/b" in store
    assert "b/a" not in store
    assert 5 not in store
    assert store.get("a") is store["a"]
    assert store.get("x") is None
    assert store.get("x", 5) == 5


def test_a_missing_name_is_a_key_error_that_offers_the_nearest():
    store = store_of("model/weights")
    with pytest.raises(KeyError, match="Did you mean 'model/weights'"):
        store["model/weight"]
    with pytest.raises(KeyError, match="Did you mean 'model/weights'"):
        del store["model/weight"]
    with pytest.raises(KeyError, match="model/weight"):
        store.pop("model/weight")
    assert list(store) == ["model/weights"]


def kept_modules() -> None:
    with ts.variable_scope("head"):
        ts.get_module("dense", linear)
    for name in ("v.1", "keys"):
        ts.get_module(name, linear)
    ts.get_module("block", lambda: ts.ScopedModule(get))()


@pytest.mark.parametrize("name", ["head/dense", "head/dense/weight", "v.1", "keys", "block/w"])
def test_a_kept_module_asked_for_as_a_variable_says_get_submodule(name: str):
    store = ts.ScopedModule(kept_modules).build()
    for ask in (lambda: store[name], lambda: store.pop(name), lambda: store.__delitem__(name)):
        with pytest.raises(KeyError, match=r"is a module.*get_submodule\(") as caught:
            ask()
        (typed,) = re.findall(r"store\.(get_submodule\('[^']+'\))", str(caught.value))
        assert isinstance(eval(f"store.{typed}", {"store": store}), nn.Module)
    assert name not in store
    assert store.get(name) is None


@pytest.mark.parametrize("name", ["head/dense", "head/dense/weight", "block/w"])
def test_a_variable_cannot_be_set_where_a_kept_module_is(name: str):
    store = ts.ScopedModule(kept_modules).build()
    names = list(store)
    with pytest.raises(VariableExistsError, match=r"module '(head/dense|block)'"):
        store[name] = nn.Parameter(torch.ones(2))
    assert list(store) == names


@pytest.mark.parametrize("name", [5, None, ("w",), [1], {}, slice(2)], ids=repr)
@pytest.mark.parametrize("pending", [False, True])
def test_a_key_that_is_not_a_string_is_only_missing(name: Any, pending: bool):
    store = store_of("w")
    if pending:
        store = ts.VariableStore()
        store.load_state_dict({"w": torch.zeros(2)})
    assert name not in store
    assert store.get(name) is None
    with pytest.raises(KeyError, match=re.escape(str(name))):
        store[name]
    with pytest.raises(KeyError, match=re.escape(str(name))):
        del store[name]


def test_del_forgets_a_variable_and_its_name_is_free_again():
    store = store_of("a", "b")
    old = store["a"]
    del store["a"]
    assert list(store) == list(store.state_dict()) == ["b"]
    with store:
        assert get("a") is not old
    assert list(store) == list(store.state_dict()) == ["b", "a"]


def test_pop_and_popitem_give_what_they_forget():
    store = store_of("a", "b", "c")
    a, c = store["a"], store["c"]
    assert store.pop("a") is a
    assert store.popitem() == ("c", c)
    assert list(store) == list(store.state_dict()) == ["b"]


def test_popitem_of_an_empty_store_is_a_key_error():
    with pytest.raises(KeyError):
        ts.VariableStore().popitem()


def test_clear_forgets_all():
    store = store_of("a", "keys", "v.1")
    store.clear()
    assert list(store) == list(store.state_dict()) == list(store.parameters()) == []
    with store:
        get("keys")


def test_setting_a_name_declares_it_anew():
    store = store_of("table", "w")
    bigger = nn.Parameter(torch.zeros(5, 3))
    store["table"] = bigger
    assert store["table"] is bigger
    with store:
        assert ts.get_variable("table", [5, 3]) is bigger
    with store, pytest.raises(ts.VariableMismatchError, match=r"'table' has shape \(5, 3\)"):
        ts.get_variable("table", SHAPE)
    assert list(store) == ["table", "w"]


def test_setting_a_name_keeps_the_order_of_the_parameters():
    store = store_of("a", "b", "c")
    store["a"] = nn.Parameter(torch.zeros(5))
    assert list(store) == ["a", "b", "c"]
    assert [name for name, _ in store.named_parameters()] == list(store)


def test_setting_a_name_keeps_what_else_it_was_declared_as():
    store = store_of("w", regularizer=ts.l2_regularizer(2.0), constraint=clipped)
    store["w"] = nn.Parameter(torch.full((5,), 3.0))
    assert [loss.item() for loss in store.regularization_losses()] == [45.0]
    store.apply_constraints()
    assert store["w"].tolist() == [1] * 5


def test_a_new_name_can_be_set_and_a_tensor_becomes_a_parameter():
    store = ts.VariableStore()
    store["a/w"] = torch.ones(2)
    store["keys"] = nn.Parameter(torch.ones(2), requires_grad=False)
    store["steps"] = torch.tensor([1, 2])
    assert isinstance(store["a/w"], nn.Parameter)
    assert store["a/w"].requires_grad
    with store:
        assert ts.get_variable("keys", [2]) is store["keys"]
    assert store.trainable_variables() == [store["a/w"]]
    assert store.origin("a/w").startswith(__file__)


def test_a_buffer_set_to_a_tensor_stays_a_buffer():
    store = ts.VariableStore()
    with store:
        ts.get_buffer("mean", [2])
    store["mean"] = torch.zeros(3)
    assert list(store.parameters()) == []
    assert list(store.state_dict()) == ["mean"]
    with store:
        assert ts.get_buffer("mean", [3]) is store["mean"]


@pytest.mark.parametrize("value", [None, [1.0], 5, "w"], ids=repr)
@pytest.mark.parametrize("name", ["w", "new"])
def test_a_refused_value_leaves_the_store_as_it_was(name: str, value: Any):
    store = store_of("w", "v")
    w, v = store.values()
    with pytest.raises(TypeError, match="takes a parameter or a tensor"):
        store[name] = value
    assert list(store.items()) == [("w", w), ("v", v)]
    assert list(store.named_parameters()) == [("w", w), ("v", v)]
    with store:
        assert get() is w


def test_a_parameter_set_to_whole_numbers_is_not_trained_any_more():
    store = store_of("w")
    store["w"] = torch.tensor([1, 2])
    assert store["w"].dtype is torch.int64
    assert store.trainable_variables() == []
    with store:
        assert ts.get_variable("w", [2], torch.int64) is store["w"]


def test_update_and_the_operators_set_many():
    store = store_of("a")
    store.update({"a": nn.Parameter(torch.zeros(5)), "b": nn.Parameter(torch.ones(1))})
    assert {name: tuple(variable.shape) for name, variable in store.items()} == {
        "a": (5,),
        "b": (1,),
    }
    store |= {"c": nn.Parameter(torch.ones(1))}
    assert list(store) == ["a", "b", "c"]
    assert list(store | {"d": nn.Parameter(torch.ones(1))}) == ["a", "b", "c", "d"]
    assert list(store) == ["a", "b", "c"]
    other = store_of("x")
    other.update(store)
    assert list(other) == ["x", "a", "b", "c"]


def test_setdefault_makes_only_what_is_missing():
    store = store_of("a")
    a, new = store["a"], nn.Parameter(torch.ones(1))
    assert store.setdefault("a", new) is a
    assert store.setdefault("b", new) is new
    assert list(store) == ["a", "b"]


def test_copy_is_another_store_of_the_same_variables():
    store = store_of("a", "keys")
    with store:
        ts.get_buffer("mean", [2])
        ts.get_buffer("count", [], torch.int64)
        ts.get_local_variable("local", [2])
    other = store.copy()
    assert list(other.items()) == list(store.items())
    assert list(other.state_dict()) == list(store.state_dict())
    assert list(other.parameters()) == list(store.parameters())
    del other["a"]
    assert "a" in store


def test_copy_keeps_what_the_variables_were_declared_as():
    store = store_of("w", regularizer=ts.l2_regularizer(0.5), constraint=clipped)
    assert len(store.copy().regularization_losses()) == 1


@pytest.mark.parametrize("method", ["keys", "items", "values", "copy", "clear", "popitem"])
def test_a_method_works_though_a_variable_has_its_name(method: str):
    store = store_of(method)
    assert list(store) == [method]
    getattr(store, method)()


NEW = nn.Parameter(torch.ones(1))
REFUSED: dict[str, Any] = {
    "pairs": [("a", NEW), ("b", 5)],
    "a dict": {"a": NEW, "b": 5},
    "an ordered dict": OrderedDict(a=NEW, b=None),
    "another ParameterDict": nn.ParameterDict({"a": NEW, "b": None}),
    "a name that is none": [("a", NEW), ("_b", NEW)],
    "a name that is a list": [("a", NEW), ([1], NEW)],
    "a name that an attribute has": [("a", NEW), ("hook", NEW)],
    "a name in a module": [("a", NEW), ("fc/weight", NEW)],
    "a value without a shape": [("a", NEW), ("b", nn.UninitializedParameter())],
    "a computed variable": [("a", NEW), ("norm", NEW)],
    "three in a pair": [("a", NEW), ("b", NEW, NEW)],
    "a number": 5,
}


@pytest.mark.parametrize("update", ["update", "__ior__"])
@pytest.mark.parametrize("case", REFUSED)
def test_an_update_of_which_one_is_refused_sets_none(case: str, update: str):
    store: Any = store_of("a", "norm")
    with store:
        ts.get_module("fc", linear)
    store.hook = 5
    nn.utils.parametrizations.weight_norm(store, "norm")
    before, state = store["a"], dict(store.state_dict())
    names, given = list(store), REFUSED[case]
    with pytest.raises((TypeError, ValueError)):
        getattr(store, update)(given)
    assert list(store) == names
    assert store["a"] is before
    assert list(store.state_dict()) == list(state)
    with store:
        assert get("a") is before


def test_an_update_sets_in_the_order_that_torch_does():
    pairs = [("c", NEW), ("b", NEW)]
    for given in ({"c": NEW, "b": NEW}, pairs, OrderedDict(pairs), dict(pairs).items()):
        store, torchs = ts.VariableStore(), nn.ParameterDict()
        store.update(given)
        torchs.update(given)
        assert list(store) == list(torchs)


def test_what_is_removed_as_an_attribute_says_how_to_forget_it():
    def remove(net: Any) -> None:
        del net.w

    def empty(net: Any) -> None:
        net.w = None

    for change in (remove, empty):
        net = ts.ScopedModule(get).build()
        change(net)
        assert "removed" in repr(net)
        assert net.trainable_variables() == []
        assert ts.constraint_of(torch.ones(2)) is None
        for ask in (
            net,
            lambda net=net: net["w"],
            net.reset_parameters,
            lambda net=net: [*net.items()],
        ):
            with pytest.raises(
                ts.VariableMissingError, match=r"removed.*: del net\['w'\]"
            ) as caught:
                ask()
        assert caught.value.name == "w"
        exec("del net['w']", {"net": net})
        with pytest.warns(ts.ScopeWarning, match="made after the net was built"):
            net()
        assert list(net) == list(net.state_dict()) == ["w"]
