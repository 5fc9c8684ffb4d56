"""Clones that no one announces: a copied ``__dict__``, ``copy.copy``, cloudpickle; and memory."""

import copy
import functools
import gc
import pickle
import subprocess
import sys
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from models import X
from torch import nn

import torchscope as ts


def layer(x: torch.Tensor) -> torch.Tensor:
    b = ts.get_buffer("b", [3], initializer=ts.zeros_initializer())
    return torch.tanh(x @ ts.get_variable("w", [3, 3]) + b)


def model(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("a"):
        x = layer(x)
    x = ts.get_module("linear", functools.partial(nn.Linear, 3, 3))(x)
    return ts.get_module("block", functools.partial(ts.ScopedModule, layer))(x)


def build(fn: Callable[..., Any] = model) -> ts.ScopedModule[..., Any]:
    return ts.ScopedModule(fn, seed=0).build(X)


def by_dict(module: Any) -> Any:
    """As learn2learn's ``clone_module`` does, and torch's replicas."""
    clone = module.__new__(type(module))
    clone.__dict__ = module.__dict__.copy()
    for table in ("_parameters", "_buffers", "_modules"):
        clone.__dict__[table] = module.__dict__[table].copy()
    for key in module._parameters:
        clone._parameters[key] = module._parameters[key].clone()
    for key, child in module._modules.items():
        clone._modules[key] = by_dict(child)
    return clone


def by_attributes(module: Any) -> Any:
    """As higher's ``make_functional`` does: a class made on the spot, and all attributes set."""
    original = type(module)

    class Patched(original):
        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return original.forward(self, *args, **kwargs)

    clone = Patched()
    clone._parameters = {key: module._parameters[key].clone() for key in module._parameters}
    clone._buffers = dict(module._buffers)
    clone._modules = {key: by_attributes(child) for key, child in module._modules.items()}
    for name, value in module.__dict__.items():
        if name not in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(clone, name, value)
    return clone


def by_cloudpickle(module: Any) -> Any:
    return pickle.loads(cloudpickle.dumps(module))


def by_pickle(module: Any) -> Any:
    return pickle.loads(pickle.dumps(module))


APART = [
    by_dict,
    by_attributes,
    by_cloudpickle,
    by_pickle,
    copy.deepcopy,
]  # with tensors of its own
SHALLOW = [by_dict, by_attributes, copy.copy]


def put(module: nn.Module, value: float) -> None:
    """Exchange all its parameters: no tensor is written to."""
    for part in module.modules():
        for key, parameter in part._parameters.items():
            part._parameters[key] = torch.full_like(parameter, value)


# ---- what a clone computes with ------------------------------------------------------------------


@pytest.mark.parametrize("inside", [lambda net: net, nn.Sequential], ids=["alone", "in a module"])
@pytest.mark.parametrize("clone", APART)
def test_a_clone_computes_with_its_own_parameters(clone: Any, inside: Any):
    net = inside(build())
    before = net(X)
    other = clone(net)
    assert torch.equal(other(X), before)
    put(other, 0.0)
    assert not other(X).any()
    assert torch.equal(net(X), before)
    put(net, 1.0)
    assert not other(X).any()


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, by_cloudpickle, by_pickle])
def test_a_copy_of_a_net_compiled_in_place_computes_with_its_own_parameters(clone: Any):
    net = build(layer)  # Without modules, which a shallow copy shares.
    net.compile(backend="eager")
    before = net(X)
    other = clone(net)
    put(other, 0.0)
    assert not other(X).any()
    assert torch.equal(net(X), before)


@pytest.mark.parametrize("clone", APART)
def test_a_clone_of_a_store_computes_with_its_own_parameters(clone: Any):
    store = ts.VariableStore(0)
    before = store(model, X)
    other = clone(store)
    put(other, 0.0)
    assert not other(model, X).any()
    assert torch.equal(store(model, X), before)


def test_a_shallow_copy_has_the_tensors_and_tables_of_its_own():
    net = build()
    before = net(X)
    other = copy.copy(net)
    assert all(other[name] is net[name] for name in net)
    assert torch.equal(other(X), before)
    other["a/w"] = nn.Parameter(torch.zeros(3, 3))
    assert other["a/w"] is not net["a/w"]
    assert torch.equal(net(X), before)
    assert not torch.equal(other(X), before)


@pytest.mark.parametrize("clone", [by_dict, by_attributes])
def test_gradients_flow_through_a_clones_step_to_the_original(clone: Any):
    net = build()
    fast = clone(net)
    loss = fast(X).square().sum()
    parameters = [p for part in fast.modules() for p in part._parameters.values()]
    steps = iter(torch.autograd.grad(loss, parameters, create_graph=True))
    for part in fast.modules():
        for key, parameter in part._parameters.items():
            part._parameters[key] = parameter - 0.1 * next(steps)
    after = fast(X).square().sum()
    assert after < loss
    after.backward()
    assert all(parameter.grad.any() for parameter in net.parameters())


@pytest.mark.parametrize("clone", SHALLOW)
def test_a_clone_in_evaluation_leaves_the_original_in_training(clone: Any):
    def dropped(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("drop", lambda: nn.Dropout(1.0))(layer(x))

    net = build(dropped)
    other = clone(net)
    if clone is copy.copy:  # It has the same children, as any module's has.
        other._modules["drop"] = nn.Dropout(1.0)
    other.eval()
    assert not net(X).any()
    assert other(X).any()


# ---- what is made through a clone ----------------------------------------------------------------


def more(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("more"):
        ts.get_module("norm", functools.partial(nn.LayerNorm, 3))
        return layer(x)


@pytest.mark.filterwarnings("ignore:.*made after the net was built:torchscope.ScopeWarning")
@pytest.mark.parametrize("clone", SHALLOW)
@pytest.mark.parametrize("first", ["clone", "original"])
def test_what_one_makes_the_other_does_not_have(clone: Any, first: str):
    net = build()
    other = clone(net)
    names, keys = list(net), list(net.state_dict())
    maker, untouched = (other, net) if first == "clone" else (net, other)
    with maker:
        more(X)
    assert list(maker) == [*names, "more/b", "more/w"]
    assert list(untouched) == names
    assert list(untouched.state_dict()) == keys
    assert [name for name, _ in untouched.items()] == names
    assert untouched(X).shape == (2, 3)
    with untouched:
        more(X)
    assert list(untouched) == list(maker)
    assert untouched["more/w"] is not maker["more/w"]


@pytest.mark.parametrize("clone", SHALLOW)
@pytest.mark.parametrize("first", ["clone", "original"])
def test_a_clone_of_an_unbuilt_net_makes_variables_of_its_own(clone: Any, first: str):
    net = ts.ScopedModule(model, seed=0)
    other = clone(net)
    for one in (other, net) if first == "clone" else (net, other):
        one(X)
    assert torch.equal(net(X), other(X))
    assert list(net) == list(other) == ["a/b", "a/w"]
    assert list(net.state_dict()) == list(other.state_dict())
    assert net["a/w"] is not other["a/w"]
    put(other, 0.0)
    assert not other(X).any()
    assert net(X).any()


@pytest.mark.parametrize("clone", SHALLOW)
def test_what_is_loaded_into_a_clone_of_an_unbuilt_net_is_not_the_originals(clone: Any):
    source = ts.ScopedModule(model, seed=1).build(X)
    net = ts.ScopedModule(model, seed=0)
    other = clone(net)
    other.load_state_dict(source.state_dict())
    assert list(net) == []
    assert torch.equal(net(X), build()(X))
    assert torch.equal(other(X), source(X))


@pytest.mark.parametrize("clone", SHALLOW)
def test_what_a_clone_forgets_the_original_still_has(clone: Any):
    net = build()
    before = net(X)
    other = clone(net)
    del other["a/w"]
    assert "a/w" in net
    assert "a/w" not in other
    assert torch.equal(net(X), before)


# ---- cloudpickle: Ray, Dask, Spark, MLflow -------------------------------------------------------


def closing(scale: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: layer(x) * scale


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "function": model,
    "lambda": lambda x: layer(x) * 2,
    "closure": closing(2.0),
    "partial": functools.partial(lambda scale, x: layer(x) * scale, 2.0),
    "module": nn.Sequential(nn.Linear(3, 3)),
    "made with lambdas": lambda x: ts.get_module("block", lambda: ts.ScopedModule(layer))(
        x @ ts.get_variable("v", [3, 3], initializer=lambda shape, dtype: torch.ones(shape))
    ),
}


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
@pytest.mark.parametrize("fn", FUNCTIONS.values(), ids=FUNCTIONS)
def test_cloudpickle_keeps_a_net(fn: Any, built: bool):
    net = ts.ScopedModule(fn, seed=0)
    if built:
        net.build(X)
    other = by_cloudpickle(net)
    assert list(other) == list(net)
    assert torch.equal(other(X), net(X))
    assert list(other.state_dict()) == list(net.state_dict())


def test_a_net_that_cloudpickle_kept_runs_in_another_process(tmp_path: Path):
    namespace: dict[str, Any] = {"ts": ts, "__name__": "__main__"}
    exec("def fn(x):\n    return x @ ts.get_variable('w', [3, 2])", namespace)
    fn: types.FunctionType = namespace["fn"]
    net = ts.ScopedModule(fn, seed=0).build(X)
    (tmp_path / "net.pkl").write_bytes(cloudpickle.dumps((net, X, net(X))))
    program = (
        "import pickle, torch\n"
        f"net, x, expected = pickle.load(open({str(tmp_path / 'net.pkl')!r}, 'rb'))\n"
        "print(torch.equal(net(x), expected), list(net))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "True ['w']\n", ran.stderr


# ---- memory --------------------------------------------------------------------------------------


KEPT: dict[str, Callable[[], nn.Module]] = {
    "unbuilt": lambda: ts.ScopedModule(model),
    "built": build,
    "run": lambda: (net := build(), net(X).sum().backward())[0],
    "a store": lambda: (store := ts.VariableStore(), store(model, X))[0],
    "a deep copy": lambda: copy.deepcopy(build()),
    "a shallow copy": lambda: copy.copy(build()),
    "unpickled": lambda: by_pickle(build()),
    "loaded": lambda: (net := build(), net.load_state_dict(build().state_dict()))[0],
    "asked for names": lambda: (net := build(), net.name_of(net["a/w"]))[0],
    "of a module": lambda: build(nn.Linear(3, 3)),
}


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
def test_a_net_that_nobody_holds_is_gone_at_once(make: Any):
    net = make()
    gc.collect()
    gc.disable()
    try:
        alive = [weakref.ref(net), *map(weakref.ref, net.parameters())]
        del net
        assert [one() for one in alive] == [None] * len(alive)
    finally:
        gc.enable()
