"""State dicts: odd values, moves while values wait, names that look alike; and seeds."""

import copy
import functools
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import torchscope as ts

X = torch.ones(2, 3)


def values(module: nn.Module) -> dict[str, Any]:
    return {key: value.tolist() for key, value in module.state_dict().items()}


def layer(x: torch.Tensor) -> torch.Tensor:
    return x @ ts.get_variable("w", [3, 3]) + ts.get_variable("b", [3])


def model(x: torch.Tensor) -> torch.Tensor:
    """A net with variables, a buffer, a module and a block."""
    with ts.variable_scope("first"):
        x = layer(x) * ts.get_buffer("scale", [3], initializer=ts.ones_initializer())
    x = ts.get_module("dense", functools.partial(nn.Linear, 3, 3))(x)
    return ts.get_module("block", functools.partial(ts.ScopedModule, layer))(x)


def built(seed: int = 0) -> ts.ScopedModule[..., torch.Tensor]:
    return ts.ScopedModule(model, seed=seed).build(X)


KEYS = ["first/w", "first/b", "first/scale", "dense.weight", "dense.bias", "block.w", "block.b"]


# ---- moves while values wait ---------------------------------------------------------------------

MOVES: dict[str, tuple[Callable[[Any], Any], torch.dtype]] = {
    "double": (lambda net: net.double(), torch.float64),
    "half": (lambda net: net.half(), torch.float16),
    "to": (lambda net: net.to(torch.bfloat16), torch.bfloat16),
    "twice": (lambda net: net.double().half(), torch.float16),
    "inside a bigger model": (lambda net: nn.Sequential(net).double(), torch.float64),
}


@pytest.mark.parametrize(("move", "dtype"), MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("assign", [False, True])
def test_a_move_after_loading_and_before_the_build_is_not_forgotten(
    move: Any, dtype: torch.dtype, assign: bool
):
    trained, net = built(1), ts.ScopedModule(model, seed=0)
    state = copy.deepcopy(trained.state_dict())
    assert list(state) == KEYS
    net.load_state_dict(state, assign=assign)
    move(net)
    net.build(X.to(dtype))
    moved = net.state_dict()
    assert {value.dtype for value in moved.values()} == {dtype}
    for key, value in trained.state_dict().items():
        assert torch.equal(moved[key], value.to(dtype)), key
    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("assign", [False, True])
def test_a_move_before_loading_is_what_it_is_for_a_module_of_torch(assign: bool):
    net, plain = ts.ScopedModule(layer, seed=0), nn.Linear(3, 3)
    state = {"w": torch.ones(3, 3), "b": torch.ones(3)}
    net.double().load_state_dict(state, assign=assign)
    plain.double().load_state_dict({"weight": state["w"], "bias": state["b"]}, assign=assign)
    net.build(X.to(plain.weight.dtype))
    assert net["w"].dtype == net["b"].dtype == plain.weight.dtype


def test_a_move_to_the_meta_device_is_not_forgotten():
    net = ts.ScopedModule(model, seed=0)
    net.load_state_dict(built(1).state_dict(), assign=True)
    net.to("meta").build(X.to("meta"))
    assert all(value.is_meta for value in net.state_dict().values())


def test_values_that_are_not_fractions_stay_what_they_are():
    net = ts.ScopedModule(lambda: ts.get_variable("n", initializer=torch.tensor([1])), seed=0)
    net.load_state_dict({"n": torch.tensor([5])}, assign=True)
    assert values(net.double().build()) == {"n": [5]}
    assert net["n"].dtype == torch.int64


# ---- values that cannot be copied ----------------------------------------------------------------


def quietly(make: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
    def made(value: torch.Tensor) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls half of them experimental.
            return make(value.detach())

    return made


ODD: dict[str, Callable[[torch.Tensor], Any]] = {
    "sparse": quietly(lambda value: value.to_sparse()),
    "quantized": quietly(lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)),
    "meta": quietly(lambda value: value.to("meta")),
    "nested": quietly(lambda value: torch.nested.nested_tensor([*value])),
    "jagged": quietly(lambda value: torch.nested.nested_tensor([value], layout=torch.jagged)),
    "mkldnn": quietly(lambda value: value.to_mkldnn()),
    "bits": quietly(lambda value: value.to(torch.uint8).view(torch.bits8)),
    "fake": quietly(lambda value: FakeTensorMode().from_tensor(value)),
    "of no shape yet": lambda value: nn.UninitializedParameter(),
}


@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("strict", [True, False])
def test_a_value_that_cannot_be_copied_is_reported_before_anything_is_loaded(
    spoil: Any, key: str, strict: bool
):
    net = built()
    before, state = values(net), built(1).state_dict()
    state[key] = spoil(state[key])
    with pytest.raises(ts.StateDictError, match=re.escape(f"'{key}'") + "[^'\n]*cannot be copied"):
        net.load_state_dict(state, strict=strict)
    assert values(net) == before


@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
@pytest.mark.parametrize("key", ["first/w", "dense.bias", "block.b"])
def test_a_value_that_cannot_be_copied_is_reported_before_it_waits_for_the_build(
    spoil: Any, key: str
):
    net, state = ts.ScopedModule(model, seed=0), built(1).state_dict()
    state[key] = spoil(state[key])
    with pytest.raises(ts.StateDictError, match=re.escape(f"'{key}'") + "[^'\n]*cannot be copied"):
        net.load_state_dict(state)
    assert list(net) == []
    assert values(net.build(X)) == values(built())


def in_inference_mode(value: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return value.clone()


UNTRAINABLE: dict[str, Callable[[torch.Tensor], Any]] = {
    "integers": lambda value: value.to(torch.int64),
    "booleans": lambda value: value > 0,
    "quantized": ODD["quantized"],
    "made in inference mode": in_inference_mode,
}


@pytest.mark.parametrize("spoil", UNTRAINABLE.values(), ids=UNTRAINABLE)
@pytest.mark.parametrize("key", ["first/b", "dense.bias", "block.b"])
def test_under_assign_a_value_that_could_not_be_trained_is_reported_before_anything_is_loaded(
    spoil: Any, key: str
):
    net = built()
    before, state = values(net), built(1).state_dict()
    state[key] = spoil(state[key])
    with pytest.raises(ts.StateDictError, match=re.escape(f"'{key}'")):
        net.load_state_dict(state, assign=True)
    assert values(net) == before


@pytest.mark.parametrize("spoil", UNTRAINABLE.values(), ids=UNTRAINABLE)
def test_under_assign_no_variable_becomes_one_that_cannot_be_trained(spoil: Any):
    net, state = ts.ScopedModule(model, seed=0), built(1).state_dict()
    state["first/b"] = spoil(state["first/b"])

    def load_and_build() -> None:
        net.load_state_dict(state, assign=True)
        net.build(X)

    with pytest.raises(ts.ScopeError, match="'first/b'"):
        load_and_build()


PLAIN: dict[str, Callable[[torch.Tensor], Any]] = {
    "another dtype": lambda value: value.double(),
    "integers": lambda value: value.to(torch.int64),
    "a parameter": nn.Parameter,
    "transposed": lambda value: value.t().contiguous().t(),
    "a view": lambda value: torch.stack([value, value])[0],
    "eight bits": lambda value: value.to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("change", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("unbuilt", [False, True])
def test_any_other_value_is_loaded(change: Any, unbuilt: bool):
    net = ts.ScopedModule(model, seed=0) if unbuilt else built()
    state = {key: change(value) for key, value in built(1).state_dict().items()}
    net.load_state_dict(state)
    net.build(X)
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key].float()), key


def test_meta_values_may_be_assigned():
    net, state = built(), built(1).to("meta").state_dict()
    net.load_state_dict(state, assign=True)
    assert all(value.is_meta for value in net.state_dict().values())


# ---- names that look alike -----------------------------------------------------------------------


def dotted(x: torch.Tensor) -> torch.Tensor:
    """A variable ``h.w`` beside a module ``h`` with a parameter ``w``."""
    own = ts.get_variable("h.w", [3, 3])
    block = ts.get_module(
        "h", functools.partial(ts.ScopedModule, lambda: ts.get_variable("w", [3, 3]))
    )
    return x @ own @ block()


def dotted_below(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("a"):
        linear = ts.get_module("h", functools.partial(nn.Linear, 3, 3, bias=False))
        return linear(x) @ ts.get_variable("h.weight", [3, 3])


def dotted_twice(x: torch.Tensor) -> torch.Tensor:
    own = ts.get_variable("h.0.weight", [3, 3])
    linear = ts.get_module("h", lambda: nn.Sequential(nn.Linear(3, 3, bias=False)))
    return linear(x) @ own


def dotted_modules(x: torch.Tensor) -> torch.Tensor:
    """A module ``a.b`` beside a module ``a`` that holds a ``b``."""
    first = ts.get_module("a.b", lambda: nn.Linear(3, 3, bias=False))
    second = ts.get_module("a", lambda: nn.ModuleDict({"b": nn.Linear(3, 3, bias=False)}))
    return second["b"](first(x))


def like_torchs_extra_state(x: torch.Tensor) -> torch.Tensor:
    return (
        x @ ts.get_variable("get_extra_state", [3, 3]) @ ts.get_variable("a/w_extra_state", [3, 3])
    )


ALIKE = (dotted, dotted_below, dotted_twice, dotted_modules, like_torchs_extra_state)


@pytest.mark.parametrize("fn", ALIKE)
@pytest.mark.parametrize("unbuilt", [False, True])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("order", [list, reversed])
def test_a_net_takes_its_own_state_dict_though_names_look_alike(
    fn: Any, unbuilt: bool, strict: bool, order: Any
):
    trained, net = (ts.ScopedModule(fn, seed=seed) for seed in (1, 0))
    trained.build(X)
    if not unbuilt:
        net.build(X)
    state = trained.state_dict()
    net.load_state_dict({key: state[key] for key in order(list(state))}, strict=strict)
    net.build(X)
    assert values(net) == values(trained)
    assert torch.equal(net(X), trained(X))


@pytest.mark.parametrize("fn", ALIKE)
def test_what_is_missing_beside_a_name_that_looks_alike_is_reported(fn: Any):
    net = ts.ScopedModule(fn, seed=0).build(X)
    for key in net.state_dict():
        state = net.state_dict()
        before, _ = values(net), state.pop(key)
        with pytest.raises(ts.StateDictError, match="is missing"):
            net.load_state_dict(state)
        assert net.load_state_dict(state, strict=False).missing_keys == [key]
        assert values(net) == before


def numbered(x: torch.Tensor) -> torch.Tensor:
    """Modules named as a converted torch model's are."""
    for number in range(2):
        x = ts.get_module(f"layers.{number}", functools.partial(nn.Linear, 3, 3))(x)
    with ts.variable_scope("head"):
        return ts.get_module("fc.out", functools.partial(ts.ScopedModule, layer))(x)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "with dots": lambda key: key.replace("%2E", "."),
    "as the net spells them": lambda key: key,
    "one of each": lambda key: key.replace("%2E", ".") if "0" in key else key,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("unbuilt", [False, True])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a bigger model"])
def test_modules_whose_names_have_dots_are_loaded_in_either_spelling(
    spell: Any, unbuilt: bool, inside: bool
):
    trained, net = (ts.ScopedModule(numbered, seed=seed) for seed in (1, 0))
    trained.build(X)
    if not unbuilt:
        net.build(X)
    state = {spell(key): value for key, value in trained.state_dict().items()}
    if inside:
        nn.Sequential(net).load_state_dict({f"0.{key}": value for key, value in state.items()})
    else:
        net.load_state_dict(state)
    net.build(X)
    assert values(net) == values(trained)


def test_a_key_is_never_said_to_be_missing_beside_one_that_reads_the_same():
    net = ts.ScopedModule(numbered, seed=0).build(X)
    state = {key.replace("layers%2E", "layer."): v for key, v in net.state_dict().items()}
    with pytest.raises(ts.StateDictError) as caught:
        net.load_state_dict(state)
    lines = [line for line in str(caught.value).splitlines() if " is missing; there is " in line]
    assert lines
    for line in lines:
        missing, found = re.findall(r"'([^']*)'", line)
        assert missing != found
        assert found in state


# ---- seeds ---------------------------------------------------------------------------------------


class Integral:
    def __index__(self) -> int:
        return 3


@pytest.fixture(params=["a store", "a net"])
def seeded(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    def make(seed: Any) -> Any:
        if request.param == "a store":
            store = ts.VariableStore(seed=seed)
            store(layer, X)
            return store
        return ts.ScopedModule(layer, seed=seed).build(X)

    return make


@pytest.mark.parametrize(
    "seed", [3, np.int64(3), np.uint8(3), torch.tensor(3), Integral()], ids=type
)
def test_whatever_is_an_integer_is_a_seed(seeded: Any, seed: Any):
    assert values(seeded(seed)) == values(seeded(3))
    assert seeded(seed).seed == 3


@pytest.mark.parametrize(
    "seed",
    ["3", 3.0, 3.5, [3], (3,), object(), torch.Generator(), torch.tensor([1, 2]), np.arange(2), X],
    ids=lambda seed: type(seed).__name__,
)
def test_what_is_not_an_integer_is_not_a_seed(seeded: Any, seed: Any):
    with pytest.raises(TypeError, match="seed is an integer"):
        seeded(seed)


@pytest.mark.parametrize("seed", [0, -1, 2**70, None])
def test_any_integer_is_a_seed(seeded: Any, seed: Any):
    assert len(values(seeded(seed))) == 2


@pytest.mark.parametrize("kind", ["nested", "of no shape yet"])
@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize("assign", [False, True])
def test_a_value_without_a_shape_is_reported_before_anything_is_loaded(
    kind: str, is_built: bool, assign: bool
):
    net = built() if is_built else ts.ScopedModule(model)
    state = built(1).state_dict()
    before, state["first/w"] = list(net.items()), ODD[kind](state["first/w"])
    with pytest.raises(ts.StateDictError, match="'first/w' has no shape, as a nested or lazy"):
        net.load_state_dict(state, assign=assign)
    assert list(net.items()) == before
