"""Modules both ways: nn.Modules in scoped functions, ScopedModules in nn.Modules."""

import copy
import functools
import gc
import io
import pickle
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import X, dense, linear
from torch import nn

import torchscope as ts


def keeping(x: torch.Tensor) -> torch.Tensor:
    """A kept module, used twice under reuse, and a variable beside it."""
    with ts.variable_scope("shared", reuse=ts.AUTO_REUSE):
        x = ts.get_module("dense", linear)(x)
    with ts.variable_scope("shared", reuse=True):
        x = ts.get_module("dense", linear)(x)
    return dense(x)


def pickled(module: Any) -> Any:
    return pickle.loads(pickle.dumps(module))


def saved(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": pickled,
    "torch.save": saved,
}
each_copy = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def check_independent(twin: Any, original: Any) -> None:
    """``twin`` computes the same from tensors of its own."""
    assert torch.equal(twin(X), original(X))
    assert list(twin.state_dict()) == list(original.state_dict())
    mine = {tensor.data_ptr() for tensor in original.state_dict().values()}
    assert not mine & {tensor.data_ptr() for tensor in twin.state_dict().values()}
    before = original(X)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(original(X), before)
    assert before.any()
    assert not twin(X).any()


# ---- nn.Modules in a scoped function -------------------------------------------------------------


def test_a_kept_module_is_shared_under_reuse_and_trains_as_one():
    net = ts.ScopedModule(keeping, seed=0).build(X)
    assert list(net.state_dict()) == ["w", "b", "shared/dense.weight", "shared/dense.bias"]
    assert [name for name, _ in net.named_variables("shared")] == [
        "shared/dense/weight",
        "shared/dense/bias",
    ]
    dense: Any = net.get_submodule("shared/dense")
    x = X.clone().requires_grad_()
    net(x).sum().backward()
    expected = torch.tanh(dense(dense(X)) @ net["w"] + net["b"]).sum()
    gradients = torch.autograd.grad(expected, list(dense.parameters()))
    assert torch.allclose(dense.weight.grad, gradients[0])
    assert torch.allclose(dense.bias.grad, gradients[1])


@pytest.mark.parametrize("reuse", [None, False], ids=str)
def test_a_kept_module_asked_for_twice_without_reuse_is_refused(
    store: ts.VariableStore, refused: Any, reuse: Any
):
    with ts.variable_scope("a", reuse=reuse):
        ts.get_module("dense", linear)
        with refused(store, ts.VariableExistsError, match="Module 'a/dense' already exists"):
            ts.get_module("dense", linear)


def test_a_kept_module_that_is_not_there_is_missed_under_reuse(
    store: ts.VariableStore, refused: Any
):
    with (
        ts.variable_scope("a", reuse=True),
        refused(store, ts.VariableMissingError, match="'a/dense' does not exist"),
    ):
        ts.get_module("dense", linear)


def test_a_kept_module_comes_back_at_every_step_with_its_factory_called_once():
    calls: list[int] = []

    def factory() -> nn.Module:
        calls.append(1)
        return nn.Linear(3, 3)

    net = ts.ScopedModule(lambda x: ts.get_module("dense", factory)(x))
    for _ in range(3):
        net(X)
    assert calls == [1]


def test_a_deep_copy_can_be_reset_though_pickle_could_not_keep_the_factory():
    net = ts.ScopedModule(lambda x: ts.get_module("dense", lambda: nn.Linear(3, 3))(x), seed=0)
    twin = copy.deepcopy(net.build(X))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.reset_parameters()
    assert torch.equal(twin(X), net(X))


@each_copy
def test_a_net_with_a_kept_module_is_copied_with_it(copied: Any):
    net = ts.ScopedModule(keeping, seed=0).build(X)
    check_independent(copied(net), net)


def test_the_modes_of_a_net_reach_kept_modules():
    def fn(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("dropout", nn.Dropout)(dense(x))

    net = ts.ScopedModule(fn).eval()
    net.build(X)
    assert torch.equal(net(X), net(X))
    net.train()
    assert not torch.equal(net(X + 1), net(X + 1))


def test_one_module_kept_under_two_names_is_one_module():
    dense = nn.Linear(3, 3)
    store = ts.VariableStore()
    with store:
        assert ts.get_module("a", lambda: dense) is ts.get_module("b", lambda: dense)
    assert len(list(store.parameters())) == 2
    assert [name for name, _ in store.named_variables()] == ["a/weight", "a/bias"]
    other = copy.deepcopy(store)
    assert other.get_submodule("a") is other.get_submodule("b")


# ---- modules that the function brings with it ----------------------------------------------------


def warned(work: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ts.ScopeWarning)
        work()
    return [str(warning.message) for warning in caught]


class Plain:
    """A callable that is not an nn.Module, and holds one."""

    def __init__(self) -> None:
        self.dense = nn.Linear(3, 3)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(x)


def closing_over(module: Any) -> Callable[..., Any]:
    return lambda x: module(x)


def by_default_argument(module: Any) -> Callable[..., Any]:
    return lambda x, module=module: module(x)


def by_keyword_default(module: Any) -> Callable[..., Any]:
    def fn(x: torch.Tensor, *, module: Any = module) -> torch.Tensor:
        return module(x)

    return fn


HIDDEN: dict[str, Callable[[], Callable[..., Any]]] = {
    "closure": lambda: closing_over(nn.Linear(3, 3)),
    "closure of a module not initialized yet": lambda: closing_over(nn.LazyLinear(3)),
    "closure of a built ScopedModule": lambda: closing_over(ts.ScopedModule(dense).build(X)),
    "closure of an unbuilt ScopedModule": lambda: closing_over(ts.ScopedModule(dense)),
    "default argument": lambda: by_default_argument(nn.Linear(3, 3)),
    "default of a keyword": lambda: by_keyword_default(nn.Linear(3, 3)),
    "partial": lambda: functools.partial(lambda module, x: module(x), nn.Linear(3, 3)),
    "object that holds a module": Plain,
    "method of an object that holds a module": lambda: Plain().__call__,
}


@pytest.mark.parametrize("fn", HIDDEN.values(), ids=HIDDEN)
def test_a_module_that_the_net_would_not_hold_is_held_or_warned_of(fn: Callable[[], Any]):
    nets: list[Any] = []
    found = warned(lambda: nets.append(ts.ScopedModule(fn()).build(X)))
    held = len(list(nets[0].parameters())) == 2
    assert held or any("does not hold" in text or "not registered" in text for text in found)


def test_a_module_kept_by_the_function_is_not_warned_of():
    assert warned(lambda: ts.ScopedModule(keeping).build(X)) == []


@pytest.mark.parametrize(
    "value", [nn.Tanh(), torch.ones(3), [1, 2], "a string"], ids=["Tanh", "tensor", "list", "str"]
)
def test_what_holds_no_parameters_may_be_closed_over(value: Any):
    def fn(x: torch.Tensor) -> torch.Tensor:
        return dense(x) if value is not None else x

    assert warned(lambda: ts.ScopedModule(fn).build(X)) == []


# ---- an nn.Module, or a method of one, as the function -------------------------------------------


class Mixed(nn.Module):
    """An ordinary module whose forward also asks for variables."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        with torch.no_grad():
            self.calls += 1
        return dense(self.dense(x)) * scale


def test_a_module_as_the_function_is_held_called_and_built():
    net = ts.ScopedModule(Mixed(), seed=0).build(X)
    assert list(net.state_dict()) == ["w", "b", "fn.calls", "fn.dense.weight", "fn.dense.bias"]
    assert net.fn.calls == 0  # A build leaves buffers as they were.
    assert torch.equal(net(X, scale=2.0), 2 * net(X))
    assert net.fn.calls == 2
    net.eval()
    assert not net.fn.training


def test_a_modules_own_hooks_fire_when_it_is_the_function():
    module = Mixed()
    module.register_forward_hook(lambda module, args, output: output * 0)
    assert not ts.ScopedModule(module)(X).any()


@each_copy
def test_a_module_as_the_function_is_copied_with_the_net(copied: Any):
    net = ts.ScopedModule(Mixed(), seed=0).build(X)
    twin = copied(net)
    assert twin.fn is not net.fn
    check_independent(twin, net)


def test_a_scoped_module_as_the_function_of_another_keeps_its_names():
    inner = ts.ScopedModule(dense, seed=0)
    net = ts.ScopedModule(inner).build(X)
    assert list(net) == []
    assert [name for name, _ in net.named_variables()] == ["fn/w", "fn/b"]
    assert torch.equal(net(X), inner(X))


class Owner(nn.Module):
    """A module that runs one of its own methods as a scoped function."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 3)
        self.net = ts.ScopedModule(self.body, seed=0)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return dense(self.dense(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def test_a_method_of_the_module_around_may_be_the_function():
    assert warned(lambda: Owner()(X)) == []
    owner = Owner()
    owner.net.build(X)
    assert list(owner.state_dict()) == ["dense.weight", "dense.bias", "net.w", "net.b"]
    optimizer = torch.optim.SGD(owner.named_parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in owner.parameters()]
    owner(X + 1).sum().backward()
    optimizer.step()
    after = list(owner.parameters())
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@each_copy
def test_a_module_that_runs_a_method_is_copied_with_it(copied: Any):
    owner = Owner()
    owner(X)
    check_independent(copied(owner), owner)


class Derived(ts.ScopedModule[..., torch.Tensor]):
    """A ScopedModule that brings its own function, and a module."""

    def __init__(self) -> None:
        super().__init__(self.body, seed=0)
        self.dense = nn.Linear(3, 3)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return dense(self.dense(x))


@each_copy
def test_a_class_of_ones_own_may_bring_the_function(copied: Any):
    net = Derived().build(X)
    assert list(net.state_dict()) == ["w", "b", "dense.weight", "dense.bias"]
    assert [name for name, _ in net.named_variables()] == ["w", "b", "dense/weight", "dense/bias"]
    check_independent(copied(net), net)


class Scaled(ts.ScopedModule[..., torch.Tensor]):
    """A ScopedModule with a parameter and a buffer made in the usual way beside its variables."""

    def __init__(self) -> None:
        super().__init__(self.body, seed=0)
        self.scale = nn.Parameter(torch.full([3], 2.0))
        self.register_buffer("shift", torch.ones(3))

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return dense(x) * self.scale + self.shift


def test_a_parameter_made_in_the_usual_way_is_listed_and_trained_with_the_variables():
    net = Scaled().build(X)
    assert sorted(net.state_dict()) == ["b", "scale", "shift", "w"]
    assert sorted(name for name, _ in net.named_variables()) == ["b", "scale", "shift", "w"]
    assert any(variable is net.scale for variable in net.trainable_variables())
    assert net.name_of(net.scale) == "scale"


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("assign", [True, False])
def test_a_parameter_made_in_the_usual_way_is_loaded_with_the_variables(built: bool, assign: bool):
    net, other = Scaled().build(X), Scaled()
    with torch.no_grad():
        net.scale.add_(1)
        net.shift.add_(1)
        net["w"].add_(1)
    if built:
        other.build(X)
    other.load_state_dict(net.state_dict(), assign=assign)
    assert torch.equal(other(X), net(X))


class Entering(ts.VariableStore):
    """A store whose forward enters itself, as a class of one's own may."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        with self:
            return dense(x)


@each_copy
def test_a_store_of_ones_own_may_enter_itself(copied: Any):
    net: Any = Entering(0)
    assert torch.equal(net(X), net(X))
    check_independent(copied(net), net)


# ---- a ScopedModule in nn.Modules ----------------------------------------------------------------


class Attributes(nn.Module):
    """ScopedModules as attributes, one of them under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ts.ScopedModule(dense, seed=0)
        self.second = ts.ScopedModule(dense, seed=1)
        self.again = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.second(self.first(x)))


def scoped(seed: int) -> ts.ScopedModule[..., Any]:
    return ts.ScopedModule(dense, seed=seed)


class Listed(nn.Module):
    """ScopedModules in a ModuleList and a ModuleDict."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(scoped(seed) for seed in range(2))
        self.heads = nn.ModuleDict({"a": scoped(2), "b": scoped(3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for each in self.layers:
            x = each(x)
        return self.heads["a"](x) + self.heads["b"](x)


NESTS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "attributes": (Attributes, ["first", "second", "again"]),
    "Sequential": (lambda: nn.Sequential(scoped(0), nn.Tanh(), scoped(1)), ["0", "2"]),
    "named Sequential": (
        lambda: nn.Sequential(OrderedDict(one=scoped(0), two=scoped(1))),
        ["one", "two"],
    ),
    "lists": (Listed, ["layers.0", "layers.1", "heads.a", "heads.b"]),
}
each_nest = pytest.mark.parametrize(("make", "paths"), NESTS.values(), ids=NESTS)


@each_nest
def test_a_scoped_module_is_a_part_as_any_module_is(make: Any, paths: list[str]):
    outer = make()
    outer(X)
    keys = [f"{path}.{name}" for path in paths for name in "wb"]
    assert list(outer.state_dict()) == keys
    assert outer.get_parameter(f"{paths[1]}.w") is outer.get_submodule(paths[1])["w"]
    assert sum(1 for _ in outer.named_parameters()) == 2 * len({*outer.modules()} - plain(outer))
    optimizer = torch.optim.Adam(outer.named_parameters())
    outer(X).sum().backward()
    optimizer.step()
    assert all(parameter.grad is not None for parameter in outer.parameters())


def plain(outer: nn.Module) -> set[nn.Module]:
    return {module for module in outer.modules() if not isinstance(module, ts.ScopedModule)}


@each_nest
@each_copy
def test_what_holds_scoped_modules_can_be_copied(make: Any, paths: list[str], copied: Any):
    outer = make()
    outer(X)
    check_independent(copied(outer), outer)


@each_nest
def test_what_holds_unbuilt_scoped_modules_takes_a_state_dict(make: Any, paths: list[str]):
    outer, other = make(), make()
    outer(X)
    with torch.no_grad():
        for parameter in outer.parameters():
            parameter.add_(1)
    other.load_state_dict(outer.state_dict())
    assert torch.equal(other(X), outer(X))


@each_nest
def test_modes_devices_and_dtypes_reach_the_parts(make: Any, paths: list[str]):
    outer = make()
    outer(X)
    outer.double().eval()
    assert all(parameter.dtype == torch.float64 for parameter in outer.parameters())
    assert not any(module.training for module in outer.modules())
    assert outer(X.double()).dtype == torch.float64


def test_a_scoped_module_twice_in_a_sequence_shares_its_weights_in_copies_too():
    block = scoped(0)
    outer = nn.Sequential(block, block)
    outer(X)
    twin = copy.deepcopy(outer)
    assert twin[0] is twin[1]
    assert len(list(twin.parameters())) == 2
    assert torch.equal(twin(X), block(block(X)))


def test_a_scoped_module_can_be_replaced_and_removed():
    outer = nn.Sequential(scoped(0), scoped(1))
    outer(X)
    outer[1] = nn.Linear(3, 2)
    del outer[0]
    assert list(outer.state_dict()) == ["0.weight", "0.bias"]


def test_apply_reaches_scoped_modules():
    outer = nn.Sequential(scoped(0), nn.Linear(3, 3))
    outer(X)

    def zero(module: nn.Module) -> None:
        for parameter in module.parameters(recurse=False):
            nn.init.zeros_(parameter)

    outer.apply(zero)
    assert not any(parameter.any() for parameter in outer.parameters())


def test_nothing_of_a_net_that_is_dropped_stays():
    net: Any = Owner()
    net(X).sum().backward()
    seen = [weakref.ref(net), weakref.ref(net.net), weakref.ref(net.net["w"])]
    del net
    gc.collect()
    assert [each() for each in seen] == [None] * 3
