"""Devices, dtypes, and tensors that other tools put in a variable's place."""

from typing import Any

import pytest
import torch
from models import SHAPE, get, linear, store_of
from torch import nn
from torch.nn.utils import parametrizations, prune

import torchscope as ts


def test_what_was_moved_before_holds_for_variables_made_after():
    store = store_of("before").to("meta")
    with store:
        get("after")
        ts.get_buffer("mean", SHAPE)
        module = ts.get_module("dense", linear)
        block = ts.get_module("block", lambda: ts.ScopedModule(get))
        inner = block()
        assert get("here", device="cpu").device.type == "cpu"
    assert {store[name].device.type for name in ("before", "after", "mean")} == {"meta"}
    assert module.weight.device.type == inner.device.type == "meta"


def test_moving_a_bigger_module_moves_the_store_in_it():
    outer = nn.Sequential(ts.VariableStore())
    outer.to("meta")
    assert outer[0](get).device.type == "meta"
    outer.to_empty(device="cpu")
    assert outer[0](lambda: get("other")).device.type == "cpu"


def test_a_store_moved_to_the_cpu_stays_there():
    store = ts.VariableStore().to("cpu")
    with torch.device("meta"):
        assert store(get).device.type == "cpu"


def test_the_default_device_is_the_default():
    with torch.device("meta"):
        store = store_of("w")
        with store:
            module = ts.get_module("dense", linear)
    assert store["w"].device.type == module.weight.device.type == "meta"


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (lambda store: store.half(), torch.float16),
        (lambda store: store.double(), torch.float64),
        (lambda store: store.bfloat16(), torch.bfloat16),
        (lambda store: store.to(torch.float64), torch.float64),
        (lambda store: store.half().float(), torch.float32),
        (lambda store: store.half().to("cpu"), torch.float16),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_change_of_dtype_holds_for_all_floats_and_gets_ask_for_what_was_declared(
    change: Any, dtype: torch.dtype, when: str
):
    def model() -> tuple[torch.Tensor, ...]:
        number = ts.get_variable("number", [], torch.int64)
        dense = ts.get_module("dense", linear)
        return get(), get("wide", dtype=torch.float64), number, dense.weight

    store = ts.VariableStore(0)
    if when == "after":
        store(model)
    change(store)
    for _ in range(2):
        w, wide, number, weight = store(model)
        assert w.dtype is wide.dtype is weight.dtype is dtype
        assert number.dtype is torch.int64


def test_a_get_is_checked_against_the_declaration_and_not_the_tensor():
    store = store_of("w").half()
    with store:
        assert get(dtype=torch.float32).dtype is torch.float16
    with store, pytest.raises(ts.VariableMismatchError, match=r"has dtype torch\.float32"):
        get(dtype=torch.float16)
    store.load_state_dict({"w": torch.zeros(2, 3, dtype=torch.float64)}, assign=True)
    with store:
        assert get().dtype is torch.float64


@pytest.mark.parametrize(
    "swap",
    [
        lambda store: store.to("meta"),
        lambda store: store.load_state_dict({"a/w": torch.zeros(2, 3)}, assign=True),
        lambda store: store.__setitem__("a/w", nn.Parameter(torch.zeros(2, 3))),
    ],
    ids=["meta", "assign", "set"],
)
def test_a_get_gives_the_tensor_that_the_module_holds_now(swap: Any):
    store = store_of("a/w")
    swap(store)
    with store:
        assert get("a/w") is store.get_parameter("a/w")
    assert len(list(store.parameters())) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda net: parametrizations.weight_norm(net, "a/w"),
        lambda net: parametrizations.spectral_norm(net, "a/w"),
        lambda net: prune.l1_unstructured(net, "a/w", amount=0.5),
    ],
    ids=["weight_norm", "spectral_norm", "prune"],
)
def test_a_variable_that_has_left_the_parameters_is_not_made_again(change: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        return x @ get("a/w")

    net = ts.ScopedModule(model).build(torch.ones(1, 2))
    change(net)
    keys = list(net.state_dict())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.0)
    x = torch.ones(1, 2)
    result = net(x)
    assert list(net.state_dict()) == keys
    assert result.isnan().all() or not result.any()
    assert list(net) == ["a/w"]


def test_a_replica_of_data_parallel_uses_its_own_tensors():
    net = ts.ScopedModule(lambda x: x @ get(), seed=0).build(torch.ones(1, 2))
    replica = net._replicate_for_data_parallel()
    for key, parameter in net._parameters.items():
        setattr(replica, key, parameter * 2)  # As torch.nn.parallel.replicate does.
    x = torch.ones(1, 2)
    assert torch.allclose(replica(x), 2 * net(x))
    assert len(list(net.parameters())) == 1


def test_freezing_shows_in_the_lists():
    store = store_of("a", "b")
    store["a"].requires_grad_(False)
    assert store.trainable_variables() == [store["b"]]
    with store:
        assert ts.trainable_variables() == [store["b"]]
    store.requires_grad_(False)
    assert store.trainable_variables() == []
    assert len(store.global_variables()) == 2


def test_gradients_reach_through_functional_call_grad_and_vmap():
    net = ts.ScopedModule(lambda x: (x @ get()).sum()).build(torch.ones(2))
    state = dict(net.named_parameters())

    def loss(state: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, state, (x,))

    x = torch.rand(4, 2)
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(state, x)
    assert torch.allclose(gradients["w"], x[:, :, None].expand(4, 2, 3))
