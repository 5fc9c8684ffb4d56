"""Values made again: functions of loops, of numpy and of other variables; layers that are lazy."""

import copy
import functools
import itertools
import pickle
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
)
from torch.nn.modules.lazy import LazyModuleMixin

import torchscope as ts

X = torch.ones(2, 3)


def values(store: ts.VariableStore) -> dict[str, Any]:
    return {name: variable.tolist() for name, variable in store.named_variables()}


def train(store: ts.VariableStore) -> None:
    with torch.no_grad():
        for _, variable in store.named_variables():
            variable += 1


# ---- functions of loops --------------------------------------------------------------------------


def closures() -> None:
    for i in range(3):
        ts.get_variable(f"w{i}", [2], initializer=lambda s, dtype: torch.full(s, i, dtype=dtype))  # noqa: B023


def closures_in_closures() -> None:
    for i in range(3):

        def inner() -> float:
            return float(i)  # noqa: B023

        def initializer(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
            return torch.full(shape, inner(), dtype=dtype)

        ts.get_variable(f"w{i}", [2], initializer=initializer)


def closures_in_partials() -> None:
    for i in range(3):
        fill = lambda extra, s, dtype: torch.full(s, i + extra, dtype=dtype)  # noqa: B023, E731
        ts.get_variable(f"w{i}", [2], initializer=functools.partial(fill, 0))


def arguments_of_partials() -> None:
    for i in range(3):
        fill = functools.partial(lambda value, s, dtype: torch.full(s, value(), dtype=dtype))
        ts.get_variable(f"w{i}", [2], initializer=functools.partial(fill, lambda: float(i)))  # noqa: B023


def defaults() -> None:
    for i in range(3):
        fill = lambda s, dtype, value=lambda: i: torch.full(s, value(), dtype=dtype)  # noqa: E731
        ts.get_variable(f"w{i}", [2], initializer=fill)


def closures_in_tables() -> None:
    for i in range(3):
        table, listed = {"value": lambda: float(i)}, [lambda: 0.0, lambda: float(i)]  # noqa: B023

        def initializer(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
            return torch.full(shape, (table["value"]() + listed[1]()) / 2, dtype=dtype)  # noqa: B023

        ts.get_variable(f"w{i}", [2], initializer=initializer)


def without_a_shape() -> None:
    for i in range(3):
        ts.get_variable(f"w{i}", initializer=lambda: torch.tensor([float(i), i]))  # noqa: B023


def of_a_scope() -> None:
    for i in range(3):
        with ts.variable_scope("", initializer=lambda s, dtype: torch.full(s, float(i))):  # noqa: B023
            ts.get_variable(f"w{i}", [2])


def buffers() -> None:
    for i in range(3):
        ts.get_buffer(f"w{i}", [2], initializer=lambda s, dtype: torch.full(s, float(i)))  # noqa: B023


AT_THE_TOP = """
for i in range(3):
    ts.get_variable(f"w{i}", [2], initializer=lambda s, dtype: torch.full(s, float(i)))
"""


def at_the_top_of_a_script() -> None:
    exec(AT_THE_TOP, {"ts": ts, "torch": torch})


AT_THE_TOP_THROUGH = """
def fill(s):
    return torch.full(s, float(i))
for i in range(3):
    ts.get_variable(f"w{i}", [2], initializer=lambda s, dtype: fill(s))
"""

LOOPS = (
    *(closures, closures_in_closures, closures_in_partials, closures_in_tables),
    *(arguments_of_partials, defaults, without_a_shape, of_a_scope, buffers),
)


@pytest.mark.parametrize("model", [*LOOPS, at_the_top_of_a_script])
@pytest.mark.parametrize("copied", [lambda store: store, copy.deepcopy])
def test_an_initializer_of_a_loop_gives_the_value_of_its_turn(model: Any, copied: Any):
    store = ts.VariableStore(0)
    store(model)
    assert values(store) == {f"w{i}": [i, i] for i in range(3)}
    store = copied(store)
    train(store)
    store.reset_parameters()
    assert values(store) == {f"w{i}": [i, i] for i in range(3)}


def test_an_initializer_of_a_loop_that_reaches_its_turn_through_a_function_is_reported():
    store = ts.VariableStore(0)
    store(exec, AT_THE_TOP_THROUGH, {"ts": ts, "torch": torch})
    before = values(store)
    with pytest.raises(ts.ScopeError, match=r"'w0'.* another value"):
        store.reset_parameters()
    assert values(store) == before


def test_regularizers_of_a_loop_give_the_losses_of_their_turns():
    def model() -> None:
        for i in range(3):
            ts.get_variable("w" * i + "w", [2], initializer=ts.ones_initializer(),
                            regularizer=lambda w: i * w.sum())  # fmt: skip  # noqa: B023

    store = ts.VariableStore(0)
    store(model)
    assert [loss.item() for loss in store.regularization_losses()] == [0, 2, 4]
    assert [loss.item() for loss in copy.deepcopy(store).regularization_losses()] == [0, 2, 4]


def test_regularizers_of_a_loop_reach_their_turns_through_what_they_hold():
    def model() -> None:
        for i in range(3):
            table = {"loss": lambda w: i * w.sum()}  # noqa: B023
            held = (
                lambda w: table["loss"](w),  # noqa: B023
                lambda w, loss=lambda w: i * w.sum(): loss(w),
                functools.partial(lambda loss, w: loss(w), lambda w: i * w.sum()),  # noqa: B023
            )
            for number, regularizer in enumerate(held):
                ts.get_variable(f"{i}_{number}", [1], initializer=ONES, regularizer=regularizer)

    store = ts.VariableStore(0)
    store(model)
    losses = [0.0] * 3 + [1.0] * 3 + [2.0] * 3
    assert [loss.item() for loss in store.regularization_losses()] == losses


def test_objects_of_a_loop_s_classes_act_as_at_their_turns():
    def model() -> None:
        for i in range(3):

            class Scaled:
                def scaled(self, w: torch.Tensor) -> torch.Tensor:
                    return i * w  # noqa: B023

                def loss(self, w: torch.Tensor) -> torch.Tensor:
                    return i * w.sum()  # noqa: B023

            class Loss:
                scale = 2

                def __call__(self, w: torch.Tensor) -> torch.Tensor:
                    return i * w.sum()  # noqa: B023

            ones = ts.ones_initializer()
            held = Loss()
            ts.get_variable(f"a{i}", [1], initializer=ones, regularizer=Scaled().loss)
            ts.get_variable(f"b{i}", [1], initializer=ones, regularizer=functools.partial(Loss()))
            ts.get_variable(f"c{i}", [1], initializer=ones, regularizer=Loss())
            ts.get_variable(
                f"d{i}", [1], initializer=ones, regularizer=lambda w: i * w.sum() * held.scale / 2  # noqa: B023
            )  # fmt: skip
            ts.get_variable(f"e{i}", [1], initializer=ones, constraint=Scaled().scaled)

    store = ts.VariableStore(0)
    store(model)
    losses = [0.0] * 4 + [1.0] * 4 + [2.0] * 4
    assert [loss.item() for loss in store.regularization_losses()] == losses
    store.apply_constraints()
    assert [store[f"e{i}"].item() for i in range(3)] == [0, 1, 2]


def test_constraints_of_a_loop_put_variables_to_the_values_of_their_turns():
    def model() -> None:
        for i in range(3):
            ts.get_variable(f"w{i}", [2], constraint=lambda w: torch.full_like(w, i))  # noqa: B023

    store = ts.VariableStore(0)
    store(model)
    store.apply_constraints()
    assert values(store) == {f"w{i}": [i, i] for i in range(3)}


def test_factories_of_a_loop_make_the_modules_of_their_turns():
    def model() -> None:
        for i in range(1, 4):
            ts.get_module(f"h{i}", lambda: nn.Linear(i, i))  # noqa: B023

    store = ts.VariableStore(0)
    store(model)
    before = values(store)
    train(store)
    store.reset_parameters()
    assert values(store) == before


def test_what_a_function_closes_over_is_shared_as_ever():
    """A table that is filled later, a module, a tensor: only the names are kept, not copies."""

    def model() -> None:
        ts.get_variable("w", [2], regularizer=lambda w: scale["now"] * w.sum(), initializer=ONES)

    scale = {"now": 1.0}
    store = ts.VariableStore(0)
    store(model)
    scale["now"] = 3.0
    assert [loss.item() for loss in store.regularization_losses()] == [6]


ONES = ts.ones_initializer()


def test_a_function_that_calls_itself_can_be_kept():
    def halved(shape: list[int], dtype: torch.dtype, times: int = 3) -> torch.Tensor:
        return halved(shape, dtype, times - 1) / 2 if times else torch.ones(shape, dtype=dtype)

    store = ts.VariableStore(0)
    store(ts.get_variable, "w", [2], initializer=halved)
    train(store)
    store.reset_parameters()
    assert values(store) == {"w": [0.125, 0.125]}


def test_a_function_that_closes_over_a_name_not_yet_assigned_can_be_kept():
    def model(assign: bool = False) -> None:
        def regularizer(w: torch.Tensor) -> Any:
            return None if w.sum() else late

        ts.get_variable("w", [2], initializer=ONES, regularizer=regularizer)
        if assign:
            late = 1

    store = ts.VariableStore(0)
    store(model)
    assert store.regularization_losses() == []


# ---- initializers that depend on more than shape, dtype and name ---------------------------------


def same_or_told(store: ts.VariableStore, match: str) -> None:
    """Check that a reset says it cannot give the first values again, and changes nothing."""
    train(store)
    before = values(store)
    with pytest.raises(ts.ScopeError, match=match):
        store.reset_parameters()
    assert values(store) == before
    assert list(ts.default_store()) == []


def from_numpy(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.as_tensor(np.random.rand(*shape), dtype=dtype)


GENERATOR = np.random.default_rng(0)
OWN = torch.Generator()
COUNT = itertools.count()
SOURCES: dict[str, Callable[..., Any]] = {
    "numpy": from_numpy,
    "numpy as an array": lambda shape, dtype: np.random.rand(*shape).astype("float32"),
    "a generator of numpy": lambda shape, dtype: torch.tensor(GENERATOR.random(shape), dtype=dtype),
    "random": lambda shape, dtype: torch.full(shape, random.random(), dtype=dtype),
    "a count": lambda shape, dtype: torch.full(shape, float(next(COUNT)), dtype=dtype),
    "a generator of torch": lambda shape, dtype: torch.rand(shape, generator=OWN, dtype=dtype),
}


@pytest.mark.parametrize("initializer", SOURCES.values(), ids=SOURCES)
def test_an_initializer_that_draws_elsewhere_is_reported_at_a_reset(initializer: Any):
    store = ts.VariableStore(0)
    store(lambda: [ts.get_variable(f"w{n}", [3], initializer=initializer) for n in range(2)])
    same_or_told(store, "'w0'.* another value")


def test_a_factory_that_draws_elsewhere_is_reported_at_a_reset():
    def factory() -> nn.Module:
        linear = nn.Linear(2, 2)
        nn.init.constant_(linear.weight, float(next(COUNT)))
        return linear

    store = ts.VariableStore(0)
    store(lambda: ts.get_module("h", factory))
    same_or_told(store, "'h'.* another value")


@pytest.mark.parametrize(
    "value",
    [np.ones(2, np.float32), torch.ones(2), torch.ones(2, requires_grad=True), [1.0, 1.0]],
    ids=["an array", "a tensor", "a parameter", "a list"],
)
def test_a_value_is_what_it_was_when_the_variable_was_made(value: Any):
    store = ts.VariableStore(0)
    store(ts.get_variable, "w", initializer=value)
    with torch.no_grad():
        value[0] += 5
    train(store)
    store.reset_parameters()
    assert values(store) == {"w": [1, 1]}


def test_a_variable_made_from_another_is_reset_to_what_that_was_then():
    def model() -> None:
        ts.get_variable("copy", initializer=ts.get_variable("w", [2], initializer=ONES))

    store = ts.VariableStore(0)
    store(model)
    train(store)
    store.reset_parameters()
    assert values(store) == {"w": [1, 1], "copy": [1, 1]}


def test_a_constant_that_has_changed_is_reported_at_a_reset():
    value = np.ones(2, np.float32)
    store = ts.VariableStore(0)
    store(ts.get_variable, "w", [2], initializer=ts.constant_initializer(value))
    store.reset_parameters()
    value += 5
    with pytest.raises(ts.ScopeError, match=r"'w'.* another value"):
        store.reset_parameters()
    assert values(store) == {"w": [1, 1]}


def test_an_object_that_changes_between_its_turns_is_reported_at_a_reset():
    class Fill:
        value = 0.0

        def __call__(self, shape: list[int], dtype: torch.dtype) -> torch.Tensor:
            return torch.full(shape, self.value, dtype=dtype)

    def model() -> None:
        for i in range(3):
            fill.value = float(i)
            ts.get_variable(f"w{i}", [2], initializer=fill)

    fill, store = Fill(), ts.VariableStore(0)
    store(model)
    same_or_told(store, "'w0'.* another value")


def asks_for_a_variable(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return 2 * ts.get_variable("base", shape).detach()


def asks_for_a_buffer(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return 2 * ts.get_buffer("base", shape)


def asks_for_a_module(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return ts.get_module("base", lambda: nn.Linear(3, 3)).bias.detach().clone()


@pytest.mark.parametrize("ask", [asks_for_a_variable, asks_for_a_buffer, asks_for_a_module])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside another store"])
def test_an_initializer_that_asks_for_a_variable_is_reported_at_a_reset(ask: Any, inside: bool):
    store, other = ts.VariableStore(0), ts.VariableStore(0)
    store(lambda: ts.get_variable("w", [3], initializer=ask))
    if inside:
        with other:
            same_or_told(store, "'w'.* asks for ")
    else:
        same_or_told(store, "'w'.* asks for ")
    assert list(other) == []


def test_a_factory_that_asks_for_a_variable_is_reported_at_a_reset():
    def factory() -> nn.Module:
        linear = nn.Linear(3, 3)
        linear.weight.data += ts.get_variable("base", [3, 3])
        return linear

    store = ts.VariableStore(0)
    store(lambda: ts.get_module("h", factory))
    same_or_told(store, "'h'.* asks for ")


SURE: dict[str, Callable[..., Any]] = {
    "torch": lambda shape, dtype: torch.randn(shape, dtype=dtype),
    "drops": lambda shape, dtype: nn.functional.dropout(torch.ones(shape, dtype=dtype)),
    "an array": lambda shape, dtype: np.ones(shape, "float32"),
    "nan": lambda shape, dtype: torch.full(shape, float("nan"), dtype=dtype),
    "torch.nn.init": nn.init.xavier_normal_,
    "a partial": functools.partial(nn.init.normal_, std=0.1),
}


@pytest.mark.parametrize("initializer", SURE.values(), ids=SURE)
def test_an_initializer_that_draws_from_torch_alone_is_reset(initializer: Any):
    store = ts.VariableStore(0)
    store(lambda: ts.get_variable("w", [3, 3], initializer=initializer))
    before = store["w"].detach().clone()
    train(store)
    store.reset_parameters()
    torch.testing.assert_close(store["w"].detach(), before, rtol=0, atol=0, equal_nan=True)


def test_a_reset_after_a_move_compares_what_the_initializer_gave():
    store = ts.VariableStore(0)
    store(lambda: ts.get_variable("w", [3, 3], initializer=SURE["torch"]))
    expected = store["w"].detach().half()
    store.half().reset_parameters()
    assert torch.equal(store["w"], expected)


def test_values_of_a_copy_made_by_pickle_are_not_compared():
    """On another machine the same function may round otherwise."""
    store = ts.VariableStore(0)
    store(lambda: ts.get_variable("w", [3], initializer=from_numpy))
    twin = pickle.loads(pickle.dumps(store))
    twin.reset_parameters()
    assert values(twin).keys() == {"w"}


# ---- lazy layers ---------------------------------------------------------------------------------


def sequence() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(2))


def convolution() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 3)), nn.LazyConv1d(2, 2))


LAZY: dict[str, Callable[[], nn.Module]] = {
    "linear": functools.partial(nn.LazyLinear, 2),
    "without a bias": functools.partial(nn.LazyLinear, 2, bias=False),
    "a sequence": sequence,
    "a convolution": convolution,
    "a norm": nn.LazyBatchNorm1d,
}


def lazy_net(factory: Any, name: str = "h", seed: int = 0) -> ts.ScopedModule[..., Any]:
    return ts.ScopedModule(lambda x: ts.get_module(name, factory)(x), seed=seed)


@pytest.mark.parametrize("factory", LAZY.values(), ids=LAZY)
@pytest.mark.parametrize("call", [lambda net: net.build(X), lambda net: net(X)])
def test_a_lazy_layer_takes_its_values_from_the_seed_and_its_name(factory: Any, call: Any):
    first, second = lazy_net(factory), lazy_net(factory)
    stream = torch.get_rng_state()
    call(first)
    assert torch.equal(torch.get_rng_state(), stream)
    torch.manual_seed(7)
    call(second)
    assert values(first) == values(second)
    if factory is not nn.LazyBatchNorm1d:
        other, seeded = lazy_net(factory, "other"), lazy_net(factory, seed=1)
        call(other)
        call(seeded)
        named = {key.replace("other", "h"): value for key, value in values(other).items()}
        assert values(first) not in (named, values(seeded))


def test_no_two_lazy_layers_of_a_sequence_begin_alike():
    net = lazy_net(lambda: nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(3))).build(X)
    assert not torch.equal(net.get_parameter("h.0.weight"), net.get_parameter("h.1.weight"))


@pytest.mark.parametrize("factory", LAZY.values(), ids=LAZY)
@pytest.mark.parametrize("copied", [lambda net: net, copy.deepcopy])
def test_a_lazy_layer_is_reset(factory: Any, copied: Any):
    net = lazy_net(factory).build(X)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net = copied(net)
    train(net)
    net.reset_parameters()
    after = net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


class Scale(LazyModuleMixin, nn.Module):
    """A lazy layer of a user's, which cannot make its values again."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.UninitializedParameter()

    def initialize_parameters(self, x: torch.Tensor) -> None:
        self.scale.materialize((x.shape[-1],))
        nn.init.normal_(self.scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def test_a_lazy_layer_that_cannot_be_reset_is_reported_and_nothing_is_reset(refused: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("scale", Scale)(x) * ts.get_variable("w", [3])

    net = ts.ScopedModule(model).build(torch.ones(2, 3))
    train(net)
    with refused(net, ts.ScopeError, match="The Scale in 'scale' cannot be reset"):
        net.reset_parameters()


def test_a_lazy_layer_that_was_not_called_yet_waits_for_its_call():
    store = ts.VariableStore(0)
    layer = store(ts.get_module, "h", LAZY["linear"])
    twin = copy.deepcopy(store)
    store.reset_parameters()
    layer(X)
    with twin:
        ts.get_module("h", LAZY["linear"])(X)
    assert values(store) == values(twin) == values(lazy_net(LAZY["linear"]).build(X))


def test_a_lazy_layer_takes_what_was_loaded():
    trained = lazy_net(LAZY["a sequence"], seed=3).build(X)
    net = lazy_net(LAZY["a sequence"])
    net.load_state_dict(trained.state_dict())
    net.build(X)
    assert values(net) == values(trained)


def test_a_lazy_layer_loses_all_trace_of_how_it_was_made():
    net = lazy_net(LAZY["linear"]).build(X)
    plain = nn.LazyLinear(2)
    plain(X)
    layer = net.get_submodule("h")
    assert type(layer) is nn.Linear
    assert layer.__dict__.keys() == plain.__dict__.keys()
    assert isinstance(layer.forward, types.MethodType)


# ---- what else a module holds --------------------------------------------------------------------


class Rotary(nn.Module):
    """Has a buffer that is not saved, and a state that is not a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3))
        self.register_buffer("angles", torch.rand(3), persistent=False)

    def get_extra_state(self) -> Any:
        return {"turns": 3}

    def set_extra_state(self, state: Any) -> None: ...

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale * self.angles


def rotated(x: torch.Tensor) -> torch.Tensor:
    return ts.get_module("rotary", Rotary)(x)


def test_a_buffer_that_is_not_saved_is_reset():
    net = ts.ScopedModule(rotated, seed=0).build(X)
    before = net(X)
    train(net)
    net.get_submodule("rotary").get_buffer("angles").add_(1)
    net.reset_parameters()
    assert torch.equal(net(X), before)


def test_a_module_made_on_meta_gets_all_its_values_by_a_reset():
    net = ts.ScopedModule(rotated, seed=0).to("meta").build(X.to("meta"))
    net.to_empty(device="cpu").reset_parameters()
    assert torch.equal(net(X), ts.ScopedModule(rotated, seed=0).build(X)(X))


def test_a_module_in_a_checkpoint_wrapper_is_reset():
    net = ts.ScopedModule(lambda x: ts.get_module("h", lambda: nn.Sequential(Rotary()))(x)).build(X)
    before = net(X)
    net.get_submodule("h.0").get_buffer("angles").add_(1)
    apply_activation_checkpointing(net, check_fn=lambda module: isinstance(module, Rotary))
    train(net)
    net.reset_parameters()
    assert torch.equal(net(X), before)


class Cache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = x
        return x


def test_a_module_with_a_buffer_of_another_shape_is_reported_and_nothing_is_reset(refused: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("cache", Cache)(x * ts.get_variable("w", [3]))

    net = ts.ScopedModule(model).build(X)
    net(X)
    train(net)
    with refused(net, ts.ScopeError, match=r"another shape: \['last'\]"):
        net.reset_parameters()
