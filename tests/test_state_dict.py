"""State dicts: loaded before the first pass and after, and the files of earlier versions.

``python tests/test_state_dict.py`` writes the files of this version to ``tests/data/state_dicts``;
those of a version that was released are never written again.
"""

import copy
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import X, layer
from torch import nn
from torch.nn.utils import parametrizations

import torchscope as ts


class Shift(nn.Module):
    """An ordinary module with a parameter, a buffer and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) * self.weight + self.count


def nested(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("model"):
        x = x * ts.get_variable("scale", [3])
        for number in range(2):
            x = ts.get_module(f"h{number}", lambda: ts.ScopedModule(layer))(x)
        x = ts.get_module("dense", lambda: nn.Linear(3, 3))(x)
        return ts.get_module("shift", Shift)(x)


def deep(x: torch.Tensor) -> torch.Tensor:
    return ts.get_module("outer", lambda: ts.ScopedModule(nested))(x) + ts.get_variable("b", [3])


def odd(x: torch.Tensor) -> torch.Tensor:
    for name in ("keys", "training", "v.1", "s.1/v", "a>b", "a\\b", "a/", "keys/keys", "0"):
        x = x + ts.get_variable(name, [3])
    return x


def halved(variable: torch.Tensor) -> torch.Tensor:
    return variable / 2


def declared(x: torch.Tensor) -> torch.Tensor:
    """One variable of each kind."""
    x = x * ts.get_variable("frozen", [3], trainable=False)
    x = x * ts.get_buffer("buffer", [3])
    x = x * ts.get_variable("penalized", [3], regularizer=ts.l2_regularizer(2.0))
    x = x * ts.get_variable("constrained", [3], constraint=halved)
    x = x * ts.get_variable("value", initializer=[1.0, 2.0, 3.0])
    x = x * ts.get_variable("unshaped", initializer=lambda: torch.ones(3))
    x = x * ts.get_variable("collected", [3], collections=["mine"])
    return x * ts.get_variable("whole", [3], torch.int64)


MODELS = [layer, nested, deep, odd, declared]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def trained(model: Callable[..., Any]) -> ts.ScopedModule:
    """A built module whose values are no initial ones."""
    net = ts.ScopedModule(model, seed=1).build(X)
    with torch.no_grad():
        for number, (_, value) in enumerate(sorted(net.state_dict().items())):
            value.copy_(torch.arange(value.numel()).reshape(value.shape) % 5 + number + 1)
    return net


def unbuilt(model: Callable[..., Any]) -> ts.ScopedModule:
    return ts.ScopedModule(model, seed=2)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """The same names in the same order, with the same values, bit for bit."""
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype is value.dtype, key
        assert torch.equal(found[key], value), key


# ---- loading before the first pass ---------------------------------------------------------------


@every_model
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
@pytest.mark.parametrize("strict", [False, True], ids=["any", "strict"])
@pytest.mark.parametrize("first", ["call", "build"])
def test_an_unbuilt_module_takes_what_was_loaded_when_it_first_asks(
    model: Any, strict: bool, assign: bool, first: str
):
    source = trained(model)
    state = copy.deepcopy(source.state_dict())
    net = unbuilt(model)
    report = net.load_state_dict(state, strict=strict, assign=assign)
    assert (report.missing_keys, report.unexpected_keys) == ([], [])
    if first == "build":
        net.build(X)
    assert torch.equal(net(X), source(X))
    assert_same(net.state_dict(), source.state_dict())
    assert list(net) == list(source)
    assert [name for name, _ in net.named_variables()] == [
        name for name, _ in source.named_variables()
    ]


@every_model
def test_an_unbuilt_module_inside_another_takes_what_was_loaded(model: Any):
    def around(net: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3), nn.Sequential(net))

    source, other = around(trained(model)), around(unbuilt(model))
    other.load_state_dict(source.state_dict())
    assert torch.equal(other(X), source(X))
    assert_same(other.state_dict(), source.state_dict())


@every_model
def test_while_pending_the_state_dict_is_what_was_loaded(model: Any):
    state = trained(model).state_dict()
    net = unbuilt(model)
    net.load_state_dict(state)
    again = net.state_dict()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], value) for key, value in state.items())
    assert list(net.parameters()) == []


@pytest.mark.parametrize("model", [layer, odd, declared])
def test_while_pending_the_mapping_shows_the_names(model: Any):
    source = trained(model)
    net = unbuilt(model)
    net.load_state_dict(source.state_dict())
    assert list(net) == list(net.keys())
    assert sorted(net) == sorted(source)
    assert len(net) == len(source)
    for name, value in net.items():
        assert name in net
        assert torch.equal(net[name], source[name])
        assert torch.equal(value, source[name])


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_has_what_is_pending_too(copied: Any):
    source, net = trained(layer), unbuilt(layer)
    net.load_state_dict(source.state_dict())
    assert torch.equal(copied(net)(X), source(X))


def test_source_tensors_that_change_after_loading_do_not_matter():
    source, net = trained(layer), unbuilt(layer)
    expected = source(X)
    net.load_state_dict(source.state_dict())
    with torch.no_grad():
        for value in source.values():
            value.zero_()
    assert torch.equal(net(X), expected)
    with torch.no_grad():
        for value in source.values():
            value.fill_(7)
    assert torch.equal(net(X), expected)


def test_under_assign_the_tensors_themselves_are_taken():
    state = {key: value.clone() for key, value in trained(layer).state_dict().items()}
    net = unbuilt(layer)
    net.load_state_dict(state, assign=True)
    net(X)
    assert all(net[key].data_ptr() == value.data_ptr() for key, value in state.items())
    assert all(isinstance(value, nn.Parameter) for value in net.values())


@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
def test_what_was_loaded_comes_out_as_declared(assign: bool):
    net = unbuilt(declared)
    net.load_state_dict(trained(declared).state_dict(), assign=assign)
    net.build(X)
    kinds = {name: (type(value), value.requires_grad) for name, value in net.items()}
    assert kinds == {
        "frozen": (nn.Parameter, False),
        "buffer": (torch.Tensor, False),
        "penalized": (nn.Parameter, True),
        "constrained": (nn.Parameter, True),
        "value": (nn.Parameter, True),
        "unshaped": (nn.Parameter, True),
        "collected": (nn.Parameter, True),
        "whole": (nn.Parameter, False),
    }
    assert [name for name, _ in net.named_buffers()] == ["buffer"]
    assert net.get_collection("mine") == [net["collected"]]
    penalized, constrained = net["penalized"].detach().clone(), net["constrained"].detach().clone()
    assert torch.equal(net.regularization_losses()[0], penalized.square().sum())
    net.apply_constraints()
    assert torch.equal(net["constrained"], constrained / 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_what_was_loaded_is_converted_to_the_declared_dtype(dtype: torch.dtype):
    net = unbuilt(layer)
    net.load_state_dict(
        {key: value.to(dtype) for key, value in trained(layer).state_dict().items()}
    )
    net(X)
    assert_same(net.state_dict(), trained(layer).state_dict())


def test_what_was_loaded_by_assign_keeps_its_dtype_and_gets_ask_for_the_declared_one():
    net = unbuilt(layer)
    state = {key: value.double() for key, value in trained(layer).state_dict().items()}
    net.load_state_dict(state, assign=True)
    for _ in range(2):
        assert net(X.double()).dtype is torch.float64


def test_what_was_loaded_follows_the_module_where_it_was_moved():
    net = unbuilt(layer)
    net.load_state_dict(trained(layer).state_dict())
    net.double()
    assert net(X.double()).dtype is torch.float64
    assert_same(net.float().state_dict(), trained(layer).state_dict())


def test_the_initializer_of_what_was_loaded_is_not_called():
    def initializer(shape: Any, dtype: Any) -> torch.Tensor:
        raise ZeroDivisionError("mine")

    net = ts.ScopedModule(lambda: ts.get_variable("w", [3], initializer=initializer))
    net.load_state_dict({"w": torch.ones(3)})
    assert net().tolist() == [1, 1, 1]


@pytest.mark.parametrize("reuse", [None, True, ts.AUTO_REUSE], ids=str)
def test_a_name_that_is_pending_is_known_under_every_reuse(reuse: Any):
    def model() -> torch.Tensor:
        with ts.variable_scope("layer", reuse=reuse):
            return ts.get_variable("w", [3])

    net = ts.ScopedModule(model)
    net.load_state_dict({"layer/w": torch.ones(3)})
    assert net().tolist() == [1, 1, 1]


ASK_FOR_W: dict[str, Callable[[], Any]] = {
    "get_variable": lambda: ts.get_variable("w", [4, 3]),
    "get_buffer": lambda: ts.get_buffer("w", [4, 3]),
    "a value": lambda: ts.get_variable("w", initializer=torch.zeros(4, 3)),
    "a function without arguments": lambda: ts.get_variable(
        "w", initializer=lambda: torch.zeros(4, 3)
    ),
}


@pytest.mark.parametrize("ask", ASK_FOR_W.values(), ids=ASK_FOR_W)
def test_a_shape_that_does_not_fit_is_refused_at_the_first_request(ask: Any):
    def model() -> Any:
        with ts.variable_scope("layer"):
            return ask()

    net = ts.ScopedModule(model)
    net.load_state_dict({"layer/w": torch.ones(2, 3)})
    with pytest.raises(ts.VariableMismatchError, match=r"'layer/w'.*4, 3.*2, 3") as caught:
        net()
    assert caught.value.name == "layer/w"
    assert not net.built
    assert list(net) == list(net.state_dict()) == ["layer/w"]
    del net["layer/w"]
    assert net().shape == (4, 3)


def test_a_module_that_what_was_loaded_does_not_fit_is_named():
    net = ts.ScopedModule(lambda x: ts.get_module("head/h0", lambda: nn.Linear(3, 3))(x))
    net.load_state_dict({"head/h0.weight": torch.ones(4, 3), "head/h0.bias": torch.ones(4)})
    with pytest.raises(RuntimeError, match=r"head/h0[^$]*4, 3"):
        net(X)
    assert not net.built
    assert list(net.children()) == []
    assert list(net.state_dict()) == ["head/h0.weight", "head/h0.bias"]


@pytest.mark.parametrize("shape", [None, [None, 3], [2, None], [2, 3]], ids=str)
def test_sizes_left_open_are_decided_by_what_was_loaded(shape: Any):
    net = ts.ScopedModule(lambda: ts.get_variable("w", shape))
    net.load_state_dict({"w": torch.ones(2, 3)})
    assert net().shape == (2, 3)
    assert net().shape == (2, 3)


def test_names_nobody_asked_for_raise_when_strict():
    net, source = unbuilt(layer), trained(layer)
    net.load_state_dict({**source.state_dict(), "layer/extra": torch.ones(2), "b": torch.ones(1)})
    for _ in range(2):
        with pytest.raises(ts.StateDictError, match=r"'layer/extra'.*'b'"):
            net(X)
        assert not net.built
    del net["layer/extra"], net["b"]
    assert torch.equal(net(X), source(X))
    assert net.built


def test_names_nobody_asked_for_warn_when_not_strict():
    net, source = unbuilt(layer), trained(layer)
    state = {**source.state_dict(), "layer/extra": torch.ones(2), "b": torch.ones(1)}
    net.load_state_dict(state, strict=False)
    with pytest.warns(ts.ScopeWarning, match=r"'layer/extra'.*'b'"):
        result = net(X)
    assert torch.equal(result, source(X))
    assert net.built
    assert list(net) == list(net.state_dict()) == ["layer/w", "layer/b"]
    net(X)


@pytest.mark.parametrize("strict", [False, True], ids=["any", "strict"])
def test_names_nobody_asked_for_are_shown_as_they_would_be_asked_for(strict: bool):
    net = unbuilt(layer)
    net.load_state_dict({"/keys": torch.ones(1), "v%2E1": torch.ones(1)}, strict=strict)
    match = r"'keys'.*'v\.1'"
    with (
        pytest.raises(ts.StateDictError, match=match)
        if strict
        else pytest.warns(ts.ScopeWarning, match=match)
    ):
        net(X)


@pytest.mark.parametrize("extra", ["model/h0.extra", "model/h5.layer/w", "model/dense.extra"])
def test_names_nobody_asked_for_in_a_block_raise_when_strict(extra: str):
    net = unbuilt(nested)
    net.load_state_dict({**trained(nested).state_dict(), extra: torch.ones(1)})
    with pytest.raises(RuntimeError, match=re.escape(extra.partition(".")[2])):
        net(X)
    assert not net.built


@pytest.mark.parametrize("extra", ["model/h0.extra", "model/h5.layer/w", "model/dense.extra"])
@pytest.mark.filterwarnings("ignore::torchscope.ScopeWarning")
def test_names_nobody_asked_for_in_a_block_do_no_harm_when_not_strict(extra: str):
    net, source = unbuilt(nested), trained(nested)
    net.load_state_dict({**source.state_dict(), extra: torch.ones(1)}, strict=False)
    assert torch.equal(net(X), source(X))
    assert_same(net.state_dict(), source.state_dict())


@pytest.mark.parametrize("strict", [False, True], ids=["any", "strict"])
def test_the_strictness_of_a_load_is_that_of_the_module_around(strict: bool):
    outer = nn.Sequential(unbuilt(layer))
    state = {f"0.{key}": value for key, value in trained(layer).state_dict().items()}
    outer.load_state_dict({**state, "0.extra": torch.ones(1)}, strict=strict)
    if strict:
        with pytest.raises(ts.StateDictError, match="'extra'"):
            outer(X)
    else:
        with pytest.warns(ts.ScopeWarning, match="'extra'"):
            outer(X)


def test_a_later_load_replaces_what_is_pending():
    source, net = trained(layer), unbuilt(layer)
    net.load_state_dict(
        {key: torch.zeros_like(value) for key, value in source.state_dict().items()}
    )
    net.load_state_dict(source.state_dict())
    assert torch.equal(net(X), source(X))


def test_a_name_that_was_not_loaded_is_initialized():
    net = unbuilt(layer)
    net.load_state_dict({"layer/b": torch.ones(3)}, strict=False)
    net(X)
    assert net["layer/b"].tolist() == [1, 1, 1]
    assert torch.equal(net["layer/w"], ts.ScopedModule(layer, seed=2).build(X)["layer/w"])


def test_a_strict_load_that_lacks_a_name_is_refused_after_the_first_pass():
    net = unbuilt(layer)
    net.load_state_dict({"layer/b": torch.ones(3)})
    with pytest.raises(ts.StateDictError, match=r"lacks names.*'layer/w'.*strict=False"):
        net(X)
    assert not net.built
    net.load_state_dict({"layer/b": torch.ones(3)}, strict=False)
    net(X)
    assert net.built
    assert net["layer/b"].tolist() == [1, 1, 1]


def test_a_failed_first_pass_leaves_the_rest_pending():
    fails = True

    def model(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable("w", [3])
        if fails:
            raise ZeroDivisionError("mine")
        return x * w + ts.get_variable("b", [3])

    net = ts.ScopedModule(model)
    net.load_state_dict({"w": torch.ones(3), "b": torch.full([3], 2.0)})
    with pytest.raises(ZeroDivisionError, match="mine"):
        net(X)
    assert list(net) == ["w", "b"]
    fails = False
    assert torch.equal(net(X), X + 2)


def test_loading_between_a_failed_first_pass_and_the_next_reaches_made_and_pending_names():
    fails = True

    def model(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable("w", [3])
        if fails:
            raise ZeroDivisionError("mine")
        return x * w + ts.get_variable("b", [3])

    net = ts.ScopedModule(model)
    with pytest.raises(ZeroDivisionError, match="mine"):
        net(X)
    net.load_state_dict({"w": torch.ones(3), "b": torch.full([3], 2.0)})
    fails = False
    assert torch.equal(net(X), X + 2)


def test_a_value_of_ones_own_replaces_what_is_pending():
    net = ts.ScopedModule(lambda: ts.get_variable("w", [3]))
    net.load_state_dict({"w": torch.ones(3)})
    net["w"] = nn.Parameter(torch.zeros(3))
    assert net().tolist() == [0, 0, 0]
    assert len(net) == 1


def test_a_store_keeps_what_nobody_asked_for_until_somebody_does():
    store = ts.VariableStore()
    store.load_state_dict({"a": torch.ones(3), "b": torch.ones(2)})
    with store:
        ts.get_variable("a", [3])
    assert list(store) == ["a", "b"]
    with store:
        assert ts.get_variable("b", [2]).tolist() == [1, 1]


def test_an_optimizer_of_a_module_that_only_has_loaded_is_still_an_error():
    net = unbuilt(layer)
    net.load_state_dict(trained(layer).state_dict())
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        torch.optim.SGD(net.parameters(), lr=0.1)


def test_build_keeps_loaded_buffers_as_they_were_loaded():
    def model(x: torch.Tensor) -> torch.Tensor:
        return x + ts.assign_add(ts.get_buffer("mean", [3]), x.mean(0))

    net = ts.ScopedModule(model)
    net.load_state_dict({"mean": torch.full([3], 5.0)})
    net.build(X)
    assert net["mean"].tolist() == [5, 5, 5]


# ---- loading into a built module -----------------------------------------------------------------


@every_model
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
def test_a_built_module_takes_a_state_dict_in_any_order_and_keeps_its_own(model: Any, assign: bool):
    source, net = trained(model), unbuilt(model).build(X)
    before = list(net.state_dict())
    state = copy.deepcopy(source.state_dict())
    net.load_state_dict(dict(reversed(state.items())), assign=assign)
    assert list(net.state_dict()) == before
    assert_same(net.state_dict(), source.state_dict())
    assert torch.equal(net(X), source(X))
    assert list(net) == list(source)
    assert [name for name, _ in net.named_parameters()] == [
        name for name, _ in source.named_parameters()
    ]


def test_loading_by_copy_keeps_the_parameters_themselves():
    net = unbuilt(layer).build(X)
    parameters = list(net.parameters())
    net.load_state_dict(trained(layer).state_dict())
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))


MISFITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing": (lambda state: state.pop("layer/b"), "'layer/b'"),
    "unexpected": (lambda state: state.update(extra=torch.ones(1)), "'extra'"),
    "shape": (
        lambda state: state.update({"layer/b": torch.ones(4)}),
        r"'layer/b'.*\(3,\).*\(4,\)",
    ),
}


@pytest.mark.parametrize(("spoil", "match"), MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
def test_a_state_dict_that_does_not_fit_is_refused_and_nothing_is_loaded(
    spoil: Any, match: str, assign: bool
):
    net = unbuilt(layer).build(X)
    before = {key: (id(value), value.clone()) for key, value in net.items()}
    state = dict(trained(layer).state_dict())
    spoil(state)
    with pytest.raises(RuntimeError, match=match) as caught:
        net.load_state_dict(state, assign=assign)
    assert isinstance(caught.value, ts.StateDictError)
    for key, (identity, value) in before.items():
        assert id(net[key]) == identity
        assert torch.equal(net[key], value)


def test_what_fits_is_loaded_when_not_strict():
    net = unbuilt(layer).build(X)
    kept = net["layer/b"].detach().clone()
    report = net.load_state_dict(
        {"layer/w": torch.ones(3, 3), "extra": torch.ones(1)}, strict=False
    )
    assert report.missing_keys == ["layer/b"]
    assert report.unexpected_keys == ["extra"]
    assert (net["layer/w"] == 1).all()
    assert torch.equal(net["layer/b"], kept)
    assert list(net) == ["layer/w", "layer/b"]


def test_a_shape_that_does_not_fit_is_refused_even_when_not_strict():
    net = unbuilt(layer).build(X)
    with pytest.raises(RuntimeError, match=r"layer/b"):
        net.load_state_dict({"layer/b": torch.ones(4)}, strict=False)


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
@pytest.mark.parametrize("value", [None, 5, "w", [1.0, 2.0, 3.0]], ids=repr)
def test_a_value_that_is_not_a_tensor_is_refused_by_name(built: bool, value: Any):
    net = unbuilt(layer)
    if built:
        net.build(X)
    names = list(net)
    with pytest.raises((RuntimeError, TypeError), match="layer/b"):
        net.load_state_dict({"layer/w": torch.ones(3, 3), "layer/b": value})
    assert list(net) == names


def test_what_was_loaded_under_inference_mode_can_be_trained():
    net = unbuilt(layer)
    with torch.inference_mode():
        net.load_state_dict(trained(layer).state_dict())
        net(X)
    net(X).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_module_built_on_the_meta_device_takes_its_values_by_assign():
    source = trained(layer)
    net = unbuilt(layer).to("meta").build(X.to("meta"))
    net.load_state_dict(copy.deepcopy(source.state_dict()), assign=True)
    assert torch.equal(net(X), source(X))
    assert net.name_of(net["layer/w"]) == "layer/w"


def test_a_local_variable_is_neither_saved_nor_missed():
    def model() -> torch.Tensor:
        return ts.get_local_variable("count", []) + ts.get_variable("w", [])

    net = ts.ScopedModule(model).build()
    assert list(net.state_dict()) == ["w"]
    net.load_state_dict(net.state_dict())
    other = ts.ScopedModule(model)
    other.load_state_dict(net.state_dict())
    other()
    assert list(other) == ["count", "w"]


def round_trip(net: nn.Module) -> None:
    """A module takes its own state dict back, as every nn.Module does."""
    state = copy.deepcopy(net.state_dict())
    for value in net.state_dict().values():
        if isinstance(value, torch.Tensor):
            value.zero_()
    net.load_state_dict(state)
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key]) if isinstance(value, torch.Tensor) else True


def test_a_block_kept_under_two_names_is_saved_and_loaded():
    def model(x: torch.Tensor) -> torch.Tensor:
        block = ts.get_module("a", lambda: ts.ScopedModule(layer))
        return ts.get_module("b", lambda: block)(block(x))

    net = ts.ScopedModule(model).build(X)
    assert len(net.state_dict()) == 4
    round_trip(net)


def test_a_variable_kept_under_two_names_is_saved_and_loaded():
    net = unbuilt(layer).build(X)
    net["tied"] = net["layer/w"]
    assert list(net.state_dict()) == ["layer/w", "layer/b", "tied"]
    round_trip(net)


def test_a_parametrized_variable_is_saved_and_loaded():
    net = unbuilt(layer).build(X)
    parametrizations.weight_norm(net, "layer/w")
    round_trip(net)


class Extra(nn.Module):
    """Has an entry in the state dict that is not a named tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 1

    def get_extra_state(self) -> Any:
        return torch.tensor(self.number)

    def set_extra_state(self, state: Any) -> None:
        self.number = int(state)


class Renamed(nn.Module):
    """Reads the names of an earlier version, as torch says to do it."""

    def __init__(self) -> None:
        super().__init__()
        self.new = nn.Parameter(torch.zeros(1))
        self.register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        if prefix + "old" in state:
            state[prefix + "new"] = state.pop(prefix + "old")


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_extra_state_of_a_module_is_saved_and_loaded(built: bool):
    def model() -> nn.Module:
        return ts.get_module("extra", Extra)

    net = ts.ScopedModule(model).build()
    net().number = 5
    other = ts.ScopedModule(model)
    if built:
        other.build()
    other.load_state_dict(net.state_dict())
    assert other().number == 5


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_a_module_may_rename_what_is_loaded(built: bool):
    net = ts.ScopedModule(lambda: ts.get_module("renamed", Renamed).new)
    if built:
        net.build()
    net.load_state_dict({"renamed.old": torch.ones(1)})
    assert net().item() == 1


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_module_is_saved_and_loaded():
    net = ts.ScopedModule(lambda x: ts.get_module("lazy", lambda: nn.LazyLinear(4))(x))
    net.build(X)
    other = ts.ScopedModule(lambda x: ts.get_module("lazy", lambda: nn.LazyLinear(4))(x))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(X), net(X))


def test_a_missing_count_of_an_old_batch_norm_is_not_an_error():
    net = ts.ScopedModule(lambda x: ts.get_module("norm", lambda: nn.BatchNorm1d(3))(x)).build(X)
    state = net.state_dict()
    state._metadata["norm"]["version"] = 1
    del state["norm.num_batches_tracked"]
    net.load_state_dict(state)


def test_a_state_dict_hook_of_the_store_is_heeded():
    net = unbuilt(layer).build(X)
    net.register_load_state_dict_pre_hook(
        lambda module, state, prefix, *_: state.update({prefix + "layer/b": torch.ones(3)})
    )
    net.load_state_dict({"layer/w": torch.ones(3, 3)})
    assert net["layer/b"].tolist() == [1, 1, 1]


# ---- training goes on where it was ---------------------------------------------------------------


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(X).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("model", [layer, odd, nested, deep])
def test_training_resumes_bit_for_bit_in_a_fresh_module_loaded_before_its_first_call(model: Any):
    net = ts.ScopedModule(model).build(X)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    step(net, optimizer)
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    step(net, optimizer)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = ts.ScopedModule(model)
    other.load_state_dict(saved["net"])
    other.build(X)
    resumed = torch.optim.Adam(other.parameters(), lr=0.1)
    resumed.load_state_dict(saved["optimizer"])
    step(other, resumed)
    assert_same(other.state_dict(), net.state_dict())


# ---- files of earlier versions -------------------------------------------------------------------

FILES = Path(__file__).parent / "data" / "state_dicts"

# What is saved in each version: a model, and the keys of its state dict, which are a promise.
SAVED: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "plain": (layer, ["layer/w", "layer/b"]),
    "odd_names": (
        odd,
        ["/keys", "/training", "v%2E1", "s%2E1/v", "a>b", "a\\b", "a/", "keys/keys", "0"],
    ),
    "nested": (
        nested,
        [
            "model/scale",
            *(f"model/h{number}.layer/{name}" for number in range(2) for name in "wb"),
            *(f"model/dense.{name}" for name in ("weight", "bias")),
            *(f"model/shift.{name}" for name in ("weight", "mean", "count")),
        ],
    ),
    "declared": (
        declared,
        ["frozen", "buffer", "penalized", "constrained", "value", "unshaped", "collected", "whole"],
    ),
}


def saved_values(model: Callable[..., Any]) -> dict[str, Any]:
    """What a file holds: values that follow from the names' order, and Adam's after one step.

    The n-th parameter's gradient is n everywhere, so that its state tells whose it is.
    """
    net = trained(model)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0)
    for number, parameter in enumerate(net.trainable_variables(), start=1):
        parameter.grad = torch.full_like(parameter, number)
    optimizer.step()
    return {"net": net.state_dict(), "optimizer": optimizer.state_dict()}


def saved_files() -> list[Path]:
    return sorted(FILES.glob("*/*.pt"))


def file_id(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("path", saved_files(), ids=file_id)
@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_a_file_of_an_earlier_version_is_loaded(path: Path, built: bool):
    model, keys = SAVED[path.stem]
    saved = torch.load(path, weights_only=True)
    assert sorted(saved["net"]) == sorted(keys)
    expected = trained(model)
    net = unbuilt(model)
    if built:
        net.build(X)
    net.load_state_dict(saved["net"])
    assert torch.equal(net(X), expected(X))
    assert_same(net.state_dict(), expected.state_dict())


@pytest.mark.parametrize("path", saved_files(), ids=file_id)
def test_the_optimizer_of_an_earlier_version_goes_on_with_the_same_variables(path: Path):
    model, _ = SAVED[path.stem]
    saved = torch.load(path, weights_only=True)
    net = unbuilt(model)
    net.load_state_dict(saved["net"])
    net.build(X)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    optimizer.load_state_dict(saved["optimizer"])
    for number, parameter in enumerate(net.trainable_variables(), start=1):
        moment = optimizer.state[parameter]["exp_avg"]
        assert moment.shape == parameter.shape
        assert torch.allclose(moment, torch.full_like(moment, 0.1 * number))
    step(net, optimizer)


@pytest.mark.parametrize("name", SAVED)
def test_this_version_saves_what_its_file_holds(name: str):
    path = FILES / ts.__version__ / f"{name}.pt"
    assert path.exists(), "python tests/test_state_dict.py writes the files of this version"
    saved, now = torch.load(path, weights_only=True), saved_values(SAVED[name][0])
    assert_same(now["net"], saved["net"])
    assert now["net"]._metadata == saved["net"]._metadata
    assert list(now["net"]) == SAVED[name][1]


def write_files() -> None:
    """Write the files of this version; existing ones stay."""
    folder = FILES / ts.__version__
    folder.mkdir(parents=True, exist_ok=True)
    for name, (model, _) in SAVED.items():
        path = folder / f"{name}.pt"
        if not path.exists():
            torch.save(saved_values(model), path)
            print(path)


if __name__ == "__main__":
    write_files()
