"""Names asked for while they are being made, values after a build, regularizers that fail."""

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchscope as ts

X = torch.ones(2, 3)
ZEROS = ts.zeros_initializer()


def values(store: ts.VariableStore) -> dict[str, list[float]]:
    return {name: variable.tolist() for name, variable in store.named_variables()}


# ---- names that are being made -------------------------------------------------------------------


def asking(ask: Callable[[], Any]) -> Callable[..., torch.Tensor]:
    """An initializer that asks for something."""

    def initializer(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        ask()
        return torch.zeros(shape, dtype=dtype)

    return initializer


def building(ask: Callable[[], Any]) -> Callable[[], nn.Module]:
    """A factory that asks for something."""

    def factory() -> nn.Module:
        ask()
        return nn.Linear(3, 3)

    return factory


def get(name: str, **settings: Any) -> Any:
    return ts.get_variable(name, [3], **{"initializer": ZEROS, **settings})


def in_a_pass(ask: Callable[[], Any]) -> Callable[[], Any]:
    """The same in a pass of its own over the store that is entered."""
    return lambda: ts.default_store()(ask)


def in_a_circle() -> Any:
    return get("w", initializer=asking(lambda: get("v", initializer=asking(lambda: get("w")))))


def by_reuse() -> Any:
    with ts.variable_scope("", reuse=ts.AUTO_REUSE):
        return get("w", initializer=asking(lambda: get("w")))


def from_inside_a_scope() -> Any:
    with ts.variable_scope("a"):
        return get("w", initializer=asking(lambda: get("w")))


OWN_NAMES: dict[str, Callable[[], Any]] = {
    "a variable its own": lambda: get("w", initializer=asking(lambda: get("w"))),
    "with AUTO_REUSE": by_reuse,
    "in a scope": from_inside_a_scope,
    "through another": in_a_circle,
    "in a pass of its own": lambda: get("w", initializer=asking(in_a_pass(lambda: get("w")))),
    "of the same shape as a buffer": lambda: get("w", initializer=asking(lambda: buffer("w"))),
    "a buffer its own": lambda: buffer("w", asking(lambda: buffer("w"))),
    "a module of that name": lambda: get("w", initializer=asking(lambda: module("w"))),
    "a module its own": lambda: module("w", building(lambda: module("w"))),
    "a factory its own parameter": lambda: module("w", building(lambda: get("w/weight"))),
    "a factory something below": lambda: module("w", building(lambda: get("w/inner/scale"))),
    "a factory its own variable": lambda: module("w", building(lambda: get("w"))),
    "a factory a module below": lambda: module("w", building(lambda: module("w/inner"))),
    "set as an item": lambda: get("w", initializer=asking(lambda: put("w"))),
    "set as an item in a factory": lambda: module("w", building(lambda: put("w/weight"))),
}


def put(name: str) -> None:
    ts.default_store()[name] = torch.zeros(3)


def buffer(name: str, initializer: Any = ZEROS) -> Any:
    return ts.get_buffer(name, [3], initializer=initializer)


def module(name: str, factory: Callable[[], nn.Module] = nn.Identity) -> Any:
    return ts.get_module(name, factory)


@pytest.mark.parametrize("ask", OWN_NAMES.values(), ids=OWN_NAMES)
def test_a_name_that_is_being_made_is_refused_and_can_be_made_afterwards(ask: Any):
    store = ts.default_store()
    with pytest.raises(ts.ScopeError, match=r"'(a/)?w.* is being made"):
        store(ask)
    assert list(store) == list(store.state_dict()) == list(store.parameters()) == []
    store(lambda: get("w"))
    assert list(store) == ["w"]


def test_an_initializer_may_ask_for_another_variable_and_a_factory_for_one_beside():
    def model() -> None:
        get("w", initializer=asking(lambda: get("v")))
        module("h", building(lambda: get("h_scale")))

    store = ts.VariableStore(0)
    store(model)
    assert [*store] == ["v", "w", "h_scale"]
    assert [*store.state_dict()] == ["v", "w", "h_scale", "h.weight", "h.bias"]


def failing_once(made: list[int]) -> Callable[[], Any]:
    def fail() -> None:
        made.append(1)
        if len(made) == 1:
            raise ZeroDivisionError

    return fail


@pytest.mark.parametrize("make", [lambda ask: get("w", initializer=asking(ask)),
                                  lambda ask: module("w", building(ask))])  # fmt: skip
def test_a_name_whose_making_failed_is_not_being_made_any_more(make: Any):
    store, ask = ts.VariableStore(0), failing_once([])
    with pytest.raises(ZeroDivisionError):
        store(make, ask)
    store(make, ask)
    assert {name.partition("/")[0] for name, _ in store.named_variables()} == {"w"}


ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "a submodule": lambda store: setattr(store, "extra", nn.Linear(1, 1)),
    "a submodule added": lambda store: store.add_module("extra", nn.Linear(1, 1)),
    "a parameter": lambda store: setattr(store, "extra", nn.Parameter(X)),
    "a buffer": lambda store: store.register_buffer("extra", X),
    "a plain attribute": lambda store: setattr(store, "extra", 3),
}


@pytest.mark.parametrize("put", ATTRIBUTES.values(), ids=ATTRIBUTES)
@pytest.mark.parametrize("ask", [lambda: module("extra"), lambda: get("extra")])
def test_an_attribute_of_a_store_is_not_replaced(put: Any, ask: Any):
    store: Any = ts.VariableStore(0)
    put(store)
    before, keys = store.extra, list(store.state_dict())
    with pytest.raises(ts.VariableNameError, match="'extra' cannot be made"):
        store(ask)
    assert store.extra is before
    assert list(store.state_dict()) == keys


@pytest.mark.parametrize("put", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_an_attribute_that_a_factory_sets_is_not_replaced(put: Any):
    store: Any = ts.VariableStore(0)

    def factory() -> nn.Module:
        put(store)
        return nn.Linear(2, 2)

    with pytest.raises(ts.VariableNameError, match="'extra' cannot be made"):
        store(ts.get_module, "extra", factory)
    assert not isinstance(store.extra, nn.Linear) or store.extra.in_features == 1


def test_a_name_that_a_class_has_as_an_attribute_cannot_be_a_module_s():
    class Net(ts.VariableStore):
        extra = "mine"

    store = Net(0)
    with pytest.raises(ts.VariableNameError, match="'extra' cannot be made"):
        store(lambda: module("extra"))
    assert store.extra == "mine"


# ---- values that a build leaves ------------------------------------------------------------------


def variable() -> torch.Tensor:
    return ts.get_variable("w", [3], initializer=ts.random_normal_initializer())


def step_in_place(x: torch.Tensor) -> None:
    with torch.no_grad():
        variable().sub_(x[0])


def step_by_assign(x: torch.Tensor) -> None:
    ts.assign_sub(variable(), x[0])


def step_data(x: torch.Tensor) -> None:
    variable().data.mul_(2)


def step_a_view(x: torch.Tensor) -> None:
    variable().detach()[1:].fill_(7)


def step_an_optimizer(x: torch.Tensor) -> None:
    w = variable()
    optimizer = torch.optim.Adam([w], lr=0.1)
    (w * x).sum().backward()
    optimizer.step()


def step_a_module(x: torch.Tensor) -> None:
    linear = ts.get_module("h", functools.partial(nn.Linear, 3, 3))
    with torch.no_grad():
        linear.weight.zero_()


def step_a_block(x: torch.Tensor) -> None:
    block = ts.get_module("h", functools.partial(ts.ScopedModule, step_in_place))
    block(x)
    ts.assign(block["w"], X[0])


def step_a_norm(x: torch.Tensor) -> None:
    norm = ts.get_module("h", functools.partial(nn.BatchNorm1d, 3))
    norm(x)
    with torch.no_grad():
        norm.weight.fill_(5)


def step_a_lazy_layer(x: torch.Tensor) -> None:
    linear = ts.get_module("h", functools.partial(nn.LazyLinear, 3))
    linear(x)
    norm = ts.get_module("n", nn.LazyBatchNorm1d)
    norm(x)


class Averaging(nn.Module):
    """It replaces its buffer, as averages written by hand do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> None:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)


def step_an_average(x: torch.Tensor) -> None:
    ts.get_module("h", lambda: nn.Sequential(Averaging()))(x)


def step_frozen(x: torch.Tensor) -> None:
    ts.assign_add(ts.get_variable("w", [3], initializer=ZEROS, trainable=False), x[0])


def step_a_buffer(x: torch.Tensor) -> None:
    ts.assign_add(ts.get_buffer("w", [3], initializer=ZEROS), x[0])


def step_and_fail(x: torch.Tensor) -> None:
    step_in_place(x)
    raise ZeroDivisionError


STEPS = (
    *(step_in_place, step_by_assign, step_data, step_a_view, step_an_optimizer, step_a_module),
    *(step_a_block, step_a_norm, step_a_lazy_layer, step_an_average),
    *(step_frozen, step_a_buffer),
)


@pytest.mark.parametrize("step", STEPS)
def test_a_build_changes_no_value(step: Any):
    net = ts.ScopedModule(step, seed=0)
    net.build(X)
    first = values(net)
    fresh = ts.ScopedModule(step, seed=0).build(X)
    fresh.reset_parameters()
    assert first == values(fresh)
    net.build(X)
    net.build(X + 1)
    assert values(net) == first


@pytest.mark.parametrize("step", STEPS)
def test_a_build_of_a_trained_net_changes_no_value(step: Any):
    net = ts.ScopedModule(step, seed=0).build(X)
    with torch.no_grad():
        for name, value in net.named_variables():
            value.fill_(len(name))
    before = values(net)
    net.build(X)
    assert values(net) == before


def test_a_build_changes_no_value_that_was_loaded():
    net = ts.ScopedModule(step_in_place, seed=0)
    net.load_state_dict({"w": torch.tensor([1.0, 2.0, 3.0])})
    assert values(net.build(X)) == {"w": [1, 2, 3]}


def test_a_build_that_failed_leaves_the_values_of_a_first_build():
    net = ts.ScopedModule(step_and_fail, seed=0)
    with pytest.raises(ZeroDivisionError):
        net.build(X)
    assert values(net) == values(ts.ScopedModule(lambda x: variable(), seed=0).build(X))


def test_a_call_does_change_values():
    net = ts.ScopedModule(step_in_place, seed=0).build(X)
    before = net["w"].detach().clone()
    net(X)
    assert torch.equal(net["w"], before - X[0])


# ---- regularizers --------------------------------------------------------------------------------


class Failing:
    """A regularizer that raises the first ``times`` times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, variable: torch.Tensor) -> torch.Tensor:
        self.times -= 1
        if self.times >= 0:
            raise ZeroDivisionError
        return variable.sum()


@pytest.mark.parametrize("in_scope", [False, True])
def test_a_regularizer_that_raises_at_its_first_call_is_kept(in_scope: bool):
    def model() -> torch.Tensor:
        own = {} if in_scope else {"regularizer": failing}
        with ts.variable_scope("a", regularizer=failing if in_scope else None):
            return ts.get_variable("w", initializer=[1.0, 2.0], **own)

    failing, store = Failing(1), ts.VariableStore(0)
    with pytest.raises(ZeroDivisionError):
        store(model)
    assert list(store) == ["a/w"]  # As in TensorFlow.
    assert [loss.item() for loss in store.regularization_losses()] == [3]
    store(model)
    twin = pickle.loads(pickle.dumps(store))
    for each in (store, copy.deepcopy(store), twin):
        assert [loss.item() for loss in each.regularization_losses()] == [3]


def test_a_regularizer_that_raises_gives_no_loss_in_that_pass_as_in_tensorflow():
    with ts.VariableStore(0) as store:
        with pytest.raises(ZeroDivisionError):
            get("w", regularizer=Failing(9))
        assert store.regularization_losses() == []


def test_a_regularizer_that_always_raises_does_so_whenever_losses_are_asked_for():
    store = ts.VariableStore(0)
    with pytest.raises(ZeroDivisionError):
        store(lambda: get("w", regularizer=Failing(9)))
    with pytest.raises(ZeroDivisionError):
        store.regularization_losses()


NO_FUNCTIONS = [0.1, 0, "l2", True, torch.ones(2), ["l2"]]


@pytest.mark.parametrize("given", NO_FUNCTIONS, ids=repr)
@pytest.mark.parametrize("in_scope", [False, True])
def test_a_regularizer_that_is_not_a_function_is_refused_after_the_variable_is_made(
    store: ts.VariableStore, given: Any, in_scope: bool
):
    own = {} if in_scope else {"regularizer": given}
    with (
        ts.variable_scope("a", regularizer=given if in_scope else None),
        pytest.raises(TypeError, match="'a/w': its regularizer is a function"),
    ):
        ts.get_variable("w", [2], **own)
    assert list(store) == ["a/w"]
    assert store.regularization_losses() == []


@pytest.mark.parametrize("given", NO_FUNCTIONS, ids=repr)
def test_a_constraint_that_is_not_a_function_is_refused(
    store: ts.VariableStore, refused: Any, given: Any
):
    with refused(store, TypeError, match="'a/w': constraint is a function"):
        ts.get_variable("a/w", [2], constraint=given)
    with (
        ts.variable_scope("a", constraint=given),
        refused(store, TypeError, match="'a/w': constraint is a function"),
    ):
        ts.get_variable("w", [2])


def test_false_is_not_a_regularizer_and_keeps_the_scope_s_away_as_in_tensorflow():
    store = ts.VariableStore(0)
    with store, ts.variable_scope("", regularizer=ts.l2_regularizer(0.1)):
        ts.get_variable("w", [2], regularizer=False)
    assert store.regularization_losses() == []


@pytest.mark.parametrize("given", [ts.l2_regularizer, lambda variable: "much", lambda variable: []])
def test_a_regularizer_that_gives_no_scalar_is_reported(store: ts.VariableStore, given: Any):
    with pytest.raises(TypeError, match=r"'w': its regularizer returned a \w+, not a scalar"):
        ts.get_variable("w", [2], regularizer=given)


VECTORS: dict[str, Any] = {
    "a vector": lambda variable: variable * variable,
    "of one number": lambda variable: variable.sum().reshape(1),
    "in a tuple": lambda variable: (variable.sum(), variable),
}


@pytest.mark.parametrize("given", VECTORS.values(), ids=VECTORS)
def test_a_regularizer_that_gives_no_single_number_is_reported(store: ts.VariableStore, given: Any):
    with pytest.raises(TypeError, match=r"'w': its regularizer returned a tensor of shape \(\d,\)"):
        ts.get_variable("w", [2], regularizer=given)
    assert ts.get_regularization_loss().item() == 0


def test_a_regularizer_may_give_numbers_and_the_loss_is_a_tensor(store: ts.VariableStore):
    ts.get_variable("w", initializer=[1.0, 2.0], regularizer=lambda variable: 0.5)
    assert isinstance(ts.get_regularization_loss(), torch.Tensor)
    ts.get_variable("v", initializer=[3.0], regularizer=lambda variable: (2, variable.sum(), None))
    assert [loss.item() for loss in store.regularization_losses()] == [0.5, 2, 3.0]
    assert ts.get_regularization_loss().item() == 5.5


def test_a_regularizer_that_gives_no_scalar_any_more_is_reported(store: ts.VariableStore):
    given: list[Any] = [1.0]
    ts.get_variable("w", [2], regularizer=lambda variable: given[0])
    given[0] = "much"
    with pytest.raises(TypeError, match="'w': its regularizer returned a str, not a scalar"):
        store.regularization_losses()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_a_nested_tensor_is_not_a_value(store: ts.VariableStore):
    nested: Any = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    with pytest.raises(TypeError, match=r"(?s)'w'.*is not an initializer"):
        ts.get_variable("w", initializer=nested)
    with pytest.raises(ts.VariableMismatchError, match="'w' returned a tensor without a shape"):
        ts.get_variable("w", [2], initializer=lambda shape, dtype: nested)
    with pytest.raises(TypeError, match=r"store\['w'\] takes"):
        store["w"] = nested
    assert list(store) == []
