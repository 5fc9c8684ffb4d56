"""Stores in stores: joined names, lists that descend, blocks that share."""

import copy
import re
from typing import Any

import pytest
import torch
from models import SHAPE, clipped
from torch import nn

import torchscope as ts
from torchscope import VariableMissingError


def get(name: str = "w", **arguments: Any) -> torch.Tensor:
    """As in models.py, made in this file: some tests ask where."""
    return ts.get_variable(name, SHAPE, **arguments)


def attention() -> None:
    with ts.variable_scope("attn"):
        get(regularizer=ts.l2_regularizer(0.5), constraint=clipped)
        ts.get_buffer("mean", SHAPE)
        ts.get_local_variable("count", [], initializer=ts.zeros_initializer())
        get("frozen", trainable=False)


def block() -> None:
    get("scale")
    ts.get_module("inner", lambda: ts.ScopedModule(attention))()


def nested_model() -> None:
    with ts.variable_scope("model"):
        get("first", regularizer=ts.l2_regularizer(0.5))
        ts.get_module("h0", lambda: ts.ScopedModule(block))()
        ts.get_module("list", lambda: nn.ModuleList([ts.VariableStore(1)]))[0](get)
        ts.get_module("norm", lambda: nn.BatchNorm1d(3))
    get("model/last")


@pytest.fixture
def nested() -> ts.ScopedModule:
    return ts.ScopedModule(nested_model, seed=0).build()


IN_NESTED = {
    "model/first": "model/first",
    "model/last": "model/last",
    "model/h0/scale": "model/h0.scale",
    "model/h0/inner/attn/w": "model/h0.inner.attn/w",
    "model/h0/inner/attn/mean": "model/h0.inner.attn/mean",
    "model/h0/inner/attn/count": None,
    "model/h0/inner/attn/frozen": "model/h0.inner.attn/frozen",
    "model/list/0/w": "model/list.0.w",
    "model/norm/weight": "model/norm.weight",
    "model/norm/bias": "model/norm.bias",
    "model/norm/running_mean": "model/norm.running_mean",
    "model/norm/running_var": "model/norm.running_var",
    "model/norm/num_batches_tracked": "model/norm.num_batches_tracked",
}
OWN = [name for name, key in IN_NESTED.items() if "/norm/" not in name and "/list/" not in name]


def names(nested: ts.ScopedModule, tensors: list[torch.Tensor]) -> list[str]:
    return [nested.name_of(tensor) for tensor in tensors]


def test_names_of_a_store_in_a_store_are_joined_by_slashes(nested: ts.ScopedModule):
    assert [name for name, _ in nested.named_variables()] == list(IN_NESTED)


def test_keys_of_a_store_in_a_store_stay_torchs(nested: ts.ScopedModule):
    assert set(nested.state_dict()) == {key for key in IN_NESTED.values() if key}


def test_every_variable_of_a_store_in_a_store_has_its_name(nested: ts.ScopedModule):
    for name, variable in nested.named_variables():
        assert nested.name_of(variable) == name
    with nested:
        for name, variable in nested.named_variables():
            assert ts.name_of(variable) == name


def test_the_lists_descend_into_stores(nested: ts.ScopedModule):
    trainable = [name for name, variable in nested.named_variables() if variable.requires_grad]
    local = ["model/h0/inner/attn/count"]
    everything = [name for name in IN_NESTED if name not in local]
    assert names(nested, nested.trainable_variables()) == trainable
    assert names(nested, nested.local_variables()) == local
    assert names(nested, nested.global_variables()) == everything
    with nested:
        assert names(nested, ts.trainable_variables()) == trainable
        assert names(nested, ts.local_variables()) == local
        assert names(nested, ts.global_variables()) == everything
        assert names(nested, ts.get_collection(ts.GraphKeys.GLOBAL_VARIABLES)) == everything


def test_the_scope_of_a_list_may_reach_into_a_store(nested: ts.ScopedModule):
    inside = ["model/h0/inner/attn/w", "model/h0/inner/attn/mean", "model/h0/inner/attn/frozen"]
    assert names(nested, nested.global_variables("model/h0/inner")) == inside
    assert names(nested, nested.global_variables("model/h./in.*attn")) == inside
    assert [name for name, _ in nested.named_variables("model/h0/inner/attn")] == [
        name for name in IN_NESTED if name.startswith("model/h0/inner/attn/")
    ]
    with nested, ts.variable_scope("model/h0") as scope:
        assert names(nested, scope.local_variables()) == ["model/h0/inner/attn/count"]


def test_regularization_losses_come_from_stores_too(nested: ts.ScopedModule):
    values = [nested["model/first"], dict(nested.named_variables())["model/h0/inner/attn/w"]]
    expected = [0.25 * value.detach().square().sum() for value in values]
    assert torch.allclose(torch.stack(nested.regularization_losses()), torch.stack(expected))
    with nested:
        assert torch.allclose(ts.get_regularization_loss(), sum(expected))
    assert len(nested.regularization_losses("model/h0")) == 1
    nested.regularization_losses()[1].backward()
    assert torch.allclose(values[1].grad, 0.5 * values[1])


def test_constraints_reach_into_stores(nested: ts.ScopedModule):
    constrained = dict(nested.named_variables())["model/h0/inner/attn/w"]
    for variable in nested.trainable_variables():
        ts.assign(variable, torch.full_like(variable, 5))
    nested.apply_constraints()
    assert (constrained == 1).all()
    assert (nested["model/first"] == 5).all()


@pytest.mark.parametrize("name", OWN)
def test_the_origin_of_a_variable_in_a_store_in_a_store_is_known(
    nested: ts.ScopedModule, name: str
):
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", nested.origin(name))


@pytest.mark.parametrize("name", ["model/list/0/w", "model/norm/weight"])
def test_the_origin_of_what_lies_in_a_module_is_known(nested: ts.ScopedModule, name: str):
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", nested.origin(name))


def test_finalize_reaches_into_stores(nested: ts.ScopedModule):
    nested.finalize()
    inner = nested.get_submodule("model/h0.inner")
    assert isinstance(inner, ts.VariableStore)
    before = list(nested.state_dict())
    with inner, pytest.raises(ts.NotBuiltError, match="'new'"):
        get("new")
    assert list(nested.state_dict()) == before
    nested()


def test_reset_parameters_reaches_into_stores(nested: ts.ScopedModule):
    before = {key: value.clone() for key, value in nested.state_dict().items()}
    with torch.no_grad():
        for value in nested.state_dict().values():
            value.fill_(9)
    nested.reset_parameters()
    after = nested.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_store_called_below_another_starts_from_its_own_root(nested: ts.ScopedModule):
    assert list(nested.get_submodule("model/h0.inner")) == [
        "attn/w",
        "attn/mean",
        "attn/count",
        "attn/frozen",
    ]


def test_a_block_called_twice_in_a_pass_shares_its_variables():
    def model(x: torch.Tensor) -> torch.Tensor:
        layer = ts.get_module(
            "layer", lambda: ts.ScopedModule(lambda x: x @ ts.get_variable("w", [2, 2]))
        )
        return layer(layer(x))

    net = ts.ScopedModule(model).build(torch.ones(1, 2))
    assert [name for name, _ in net.named_variables()] == ["layer/w"]


def test_a_block_kept_under_two_names_is_listed_once():
    shared = ts.VariableStore()

    def model() -> None:
        for name in ("a", "b"):
            ts.get_module(name, lambda: shared)(get)

    net = ts.ScopedModule(model).build()
    assert [name for name, _ in net.named_variables()] == ["a/w"]
    assert len(net.trainable_variables()) == len(list(net.parameters())) == 1


def test_a_nested_store_survives_copying(nested: ts.ScopedModule):
    twin = copy.deepcopy(nested)
    assert [name for name, _ in twin.named_variables()] == list(IN_NESTED)
    for name, variable in twin.named_variables():
        assert twin.name_of(variable) == name
        assert torch.equal(variable, dict(nested.named_variables())[name])
    with pytest.raises(VariableMissingError, match="not a variable of this store"):
        twin.name_of(nested["model/first"])
