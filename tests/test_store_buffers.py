"""Buffers and local variables: state that is not trained."""

import inspect
from typing import Any

import pytest
import torch
from models import SHAPE, store_of
from torch import nn

import torchscope as ts


def test_a_buffer_is_state_and_no_parameter(store: ts.VariableStore):
    mean = ts.get_buffer("mean", [2], initializer=ts.zeros_initializer())
    assert list(store.parameters()) == []
    assert list(store.buffers()) == [mean]
    assert not mean.requires_grad
    assert not isinstance(mean, nn.Parameter)
    assert store.global_variables() == [mean]
    assert store.trainable_variables() == store.local_variables() == []
    mean += 1
    assert store.state_dict()["mean"].tolist() == [1, 1]


def test_a_buffer_keeps_its_value_between_passes():
    def count() -> float:
        number = ts.get_buffer("count", [], initializer=ts.zeros_initializer())
        return ts.assign_add(number, 1).item()

    store = ts.VariableStore()
    assert [store(count) for _ in range(3)] == [1, 2, 3]


def test_a_buffer_may_be_left_out_of_the_state_dict(store: ts.VariableStore):
    ts.get_buffer("cache", [2], persistent=False)
    assert list(store) == ["cache"]
    assert store.state_dict() == {}
    assert len(store.global_variables()) == 1


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float64])
def test_a_buffer_has_the_dtype_asked_for(store: ts.VariableStore, dtype: torch.dtype):
    assert ts.get_buffer("b", [2], dtype).dtype is dtype


def test_a_buffer_is_also_found_by_get_variable():
    store = ts.VariableStore()
    with store:
        mean = ts.get_buffer("mean", [2])
    with store:
        assert ts.get_variable("mean", [2]) is mean


def test_a_parameter_is_not_a_buffer():
    store = store_of("w")
    with store, pytest.raises(ts.VariableMismatchError, match="'w' is a parameter, not a buffer"):
        ts.get_buffer("w", SHAPE)
    assert list(store.parameters()) == [store["w"]]


def test_a_buffer_takes_a_regularizer_and_a_custom_getter_of_its_own(store):
    def twice(getter, name, *args, **kwargs):
        asked.append((name, kwargs["trainable"]))
        return getter(name, *args, **kwargs) * 2

    asked = []
    ones = ts.ones_initializer()
    with ts.variable_scope("s", regularizer=ts.l1_regularizer(9.0), custom_getter=twice):
        ts.get_buffer("plain", [2], initializer=ones)
        doubled = ts.get_buffer(
            "mean", [2], initializer=ones, regularizer=ts.l1_regularizer(0.5), custom_getter=twice
        )
    assert asked == [("s/mean", False)]
    assert doubled.tolist() == [2.0, 2.0]
    assert not isinstance(store["s/mean"], torch.nn.Parameter)
    assert [loss.item() for loss in store.regularization_losses()] == [1.0]


def test_a_buffer_takes_the_defaults_of_its_scope(store: ts.VariableStore):
    with ts.variable_scope(
        "a",
        initializer=ts.ones_initializer(),
        dtype=torch.float64,
        regularizer=ts.l2_regularizer(1.0),
    ):
        mean = ts.get_buffer("mean", [2])
    assert mean.tolist() == [1, 1]
    assert mean.dtype is torch.float64


def test_a_local_variable_is_a_buffer_that_no_state_dict_keeps(store: ts.VariableStore):
    local = ts.get_local_variable("count", [2])
    asked = ts.get_variable("other", [2], collections=[ts.GraphKeys.LOCAL_VARIABLES])
    assert list(store) == ["count", "other"]
    assert store.state_dict() == {}
    assert list(store.buffers()) == store.local_variables() == [local, asked]
    assert store.global_variables() == store.trainable_variables() == []
    assert ts.local_variables() == [local, asked]


def test_a_local_variable_keeps_its_collections(store: ts.VariableStore):
    local = ts.get_local_variable("count", [2], collections=["metrics"])
    assert ts.get_collection("metrics") == ts.local_variables() == [local]


def test_the_signature_of_get_local_variable_is_get_variables():
    signature = inspect.signature(ts.get_local_variable)
    assert signature == inspect.signature(ts.get_variable)


@pytest.mark.parametrize("name", ["caching_device", "custom_getter", "constraint", "device"])
def test_a_local_variable_takes_what_a_variable_takes(store: ts.VariableStore, name: str):
    given: dict[str, Any] = {
        "caching_device": "/cpu:0",
        "custom_getter": lambda getter, *args, **kwargs: getter(*args, **kwargs),
        "constraint": torch.abs,
        "device": "cpu",
    }
    ts.get_local_variable("count", [2], **{name: given[name]})
    with pytest.raises(TypeError, match="unexpected keyword argument 'unknown'"):
        ts.get_local_variable("other", [2], unknown=1)
    assert store.local_variables() == [store["count"]]


def test_a_local_variable_takes_its_arguments_by_position(store: ts.VariableStore):
    given = ("count", [2], torch.int32, ts.zeros_initializer(), None, True, ["metrics"])
    local = ts.get_local_variable(*given)
    assert (local.dtype, local.requires_grad) == (torch.int32, False)
    assert ts.get_collection("metrics") == ts.local_variables() == [local]
