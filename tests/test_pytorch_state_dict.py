"""State dicts with the tools around them, and tensors that other tools put in a variable's place.

What a state dict holds, and loading before the first pass, is in test_state_dict.py.
"""

import copy
import functools
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from models import X, layer
from torch import nn
from torch.nn.utils import parametrizations

import torchscope as ts


def full(x: torch.Tensor) -> torch.Tensor:
    """All that a store can hold, under names that need spelling, too."""
    x = layer(x) + ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
    for name in ("keys", "v.1"):
        x = x * ts.get_variable(name, [3])
    x = x * ts.get_variable("frozen", [3], trainable=False)
    for number in range(2):
        x = ts.get_module(f"h{number}", functools.partial(ts.ScopedModule, layer))(x)
    return ts.get_module("dense", lambda: nn.Linear(3, 3))(x)


def build(model: Callable[..., Any] = full, seed: int = 0) -> ts.ScopedModule:
    return ts.ScopedModule(model, seed=seed).build(X)


def assert_same(net: nn.Module, other: nn.Module) -> None:
    found, expected = net.state_dict(), other.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert torch.equal(net(X), other(X))


both = pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])


def target(built: bool) -> ts.ScopedModule:
    net = ts.ScopedModule(full, seed=2)
    return net.build(X) if built else net


# ---- what does not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
def test_all_that_does_not_fit_is_reported_at_once_by_full_name_and_nothing_is_loaded(assign: bool):
    net = build()
    before = {
        key: (id(value), value.clone()) for key, value in net.state_dict(keep_vars=True).items()
    }
    state = dict(build(seed=1).state_dict())
    state["layer/w"] = torch.ones(2)
    state["h0.layer/b"] = torch.ones(4)
    state["dense.weights"] = state.pop("dense.weight")
    state["h1.layer/bias"] = state.pop("h1.layer/b")
    del state["v%2E1"]
    state["extra"] = torch.ones(1)
    with pytest.raises(ts.StateDictError, match="nothing was loaded") as caught:
        net.load_state_dict(state, assign=assign)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    for expected in (
        r"'layer/w' has shape \(3, 3\).*\(2,\)",
        r"'h0[./]layer/b' has shape \(3,\).*\(4,\)",
        r"'dense\.weight' is missing.*'dense\.weights'",
        r"'dense\.weights' is unexpected.*'dense\.weight'",
        r"'h1[./]layer/b' is missing.*'h1[./]layer/bias'",
        r"'h1[./]layer/bias' is unexpected.*'h1[./]layer/b'",
        r"'v\.1' is missing",
        r"'extra' is unexpected",
    ):
        assert any(re.match(expected, line) for line in lines), expected
    for key, value in net.state_dict(keep_vars=True).items():
        assert id(value) == before[key][0]
        assert torch.equal(value, before[key][1])


def test_the_name_that_is_offered_is_not_one_that_is_there_already():
    net = build(layer)
    state = {"layer/W": torch.ones(3, 3), "layer/b": torch.ones(3)}
    with pytest.raises(ts.StateDictError, match=r"'layer/w' is missing; there is 'layer/W'"):
        net.load_state_dict(state)


def test_whoever_loads_what_fits_by_name_is_not_told_to_do_so():
    net = build(layer)
    with pytest.raises(RuntimeError, match="'layer/b' has shape") as caught:
        net.load_state_dict({"layer/b": torch.ones(4)}, strict=False)
    assert "strict=False" not in str(caught.value)


OTHERS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "of a compiled module": (
        lambda: torch.compile(build(layer), backend="eager").state_dict(),
        "'_orig_mod.layer/w'",
    ),
    "of a module around": (lambda: nn.Sequential(build(layer)).state_dict(), "'0.layer/w'"),
    "of a weight-normed net": (
        lambda: parametrizations.weight_norm(build(layer), "layer/w").state_dict(),
        r"'parametrizations\.layer/w\.original0'",
    ),
}


@both
@pytest.mark.parametrize(("state", "match"), OTHERS.values(), ids=OTHERS)
def test_a_state_dict_with_other_names_is_refused_by_those_names(
    state: Any, match: str, built: bool
):
    net = ts.ScopedModule(layer)
    if built:
        net.build(X)

    def load() -> None:
        net.load_state_dict(state())
        net(X)  # What is unbuilt can tell only now.

    with pytest.raises(ts.StateDictError, match=match) as caught:
        load()
    assert "'layer/w'" in str(caught.value)


# ---- modules that rename keys, for their children too --------------------------------------------


def renamed(state: Any, prefix: str, old: str, new: str) -> None:
    for key in [key for key in state if key.startswith(prefix + old)]:
        state[prefix + new + key.removeprefix(prefix + old)] = state.pop(key)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.now = nn.Sequential(nn.Linear(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.now(x)


class ByOverride(Linear):
    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        renamed(state, prefix, "once.", "now.0.")
        super()._load_from_state_dict(state, prefix, *rest)


class ByHook(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(
            lambda module, state, prefix, *rest: renamed(state, prefix, "once.", "now.0.")
        )


class ByPrivateHook(Linear):
    def __init__(self) -> None:
        super().__init__()
        self._register_load_state_dict_pre_hook(self.rename)

    def rename(self, state: Any, prefix: str, *rest: Any) -> None:
        renamed(state, prefix, "once.", "now.0.")


class Above(nn.Module):
    """Renames for a module that lies two below it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Linear())
        self.register_load_state_dict_pre_hook(
            lambda module, state, prefix, *rest: renamed(state, prefix, "once.", "body.0.now.0.")
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


RENAMING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "override": (ByOverride, "now.0."),
    "hook": (ByHook, "now.0."),
    "private hook": (ByPrivateHook, "now.0."),
    "hook above": (Above, "body.0.now.0."),
    "inside a module": (lambda: nn.Sequential(ByHook()), "now.0."),
}


@both
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
@pytest.mark.parametrize(("kind", "now"), RENAMING.values(), ids=RENAMING)
def test_a_kept_module_may_rename_keys_for_its_children(
    kind: Any, now: str, assign: bool, built: bool
):
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("renaming", kind)(layer(x))

    source = build(model, seed=1)
    state = {key.replace(now, "once."): value for key, value in source.state_dict().items()}
    assert list(state) != list(source.state_dict())
    net = build(model) if built else ts.ScopedModule(model)
    net.load_state_dict(state, assign=assign)
    assert torch.equal(net(X), source(X))
    net.load_state_dict(source.state_dict())  # And by the names of today.
    del state["layer/b"]
    with pytest.raises(RuntimeError, match="layer/b"):
        net.load_state_dict(state)


class Renaming(ts.ScopedModule[..., Any]):
    """A net whose variables had a prefix once."""

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        renamed(state, prefix, "once.", "")
        super()._load_from_state_dict(state, prefix, *rest)


def by_override(model: Any) -> ts.ScopedModule:
    return Renaming(model)


def by_hook(model: Any) -> ts.ScopedModule:
    net = ts.ScopedModule(model)
    net.register_load_state_dict_pre_hook(
        lambda module, state, prefix, *rest: renamed(state, prefix, "once.", "")
    )
    return net


def by_private_hook(model: Any) -> ts.ScopedModule:
    net = ts.ScopedModule(model)
    net._register_load_state_dict_pre_hook(
        lambda state, prefix, *rest: renamed(state, prefix, "once.", "")
    )
    return net


@both
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a bigger module"])
@pytest.mark.parametrize("make", [by_override, by_hook, by_private_hook])
def test_a_net_may_rename_keys_before_it_takes_them(make: Any, inside: bool, built: bool):
    source, net = build(seed=1), make(full)
    if built:
        net.build(X)
    prefix = "0." if inside else ""
    state = {f"{prefix}once.{key}": value for key, value in source.state_dict().items()}
    (nn.Sequential(net) if inside else net).load_state_dict(state)
    assert_same(net.build(X), source)
    assert list(net) == list(source)


@both
def test_a_hook_sees_the_keys_once_and_before_they_are_taken(built: bool):
    source, net = build(seed=1), target(built)
    seen: list[list[str]] = []
    net.register_load_state_dict_pre_hook(lambda module, state, *rest: seen.append(list(state)))
    net.load_state_dict(source.state_dict())
    assert seen == [list(source.state_dict())]
    assert_same(net.build(X), source)


def test_a_hook_of_a_block_in_an_unbuilt_net_is_called_before_its_keys_are_taken():
    def block() -> ts.ScopedModule:
        return by_hook(layer)

    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("block", block)(x)

    source, net = build(model, seed=1), ts.ScopedModule(model)
    net.load_state_dict({"block.once.layer/w": source.state_dict()["block.layer/w"]}, strict=False)
    assert torch.equal(
        net.build(X).get_submodule("block")["layer/w"], source.state_dict()["block.layer/w"]
    )


@both
def test_a_hook_after_loading_may_allow_what_is_missing_or_too_much(built: bool):
    def allow(module: nn.Module, incompatible: Any) -> None:
        for keys in incompatible:
            keys.clear()

    class Lenient(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.register_load_state_dict_post_hook(allow)

    def model(x: torch.Tensor) -> torch.Tensor:
        return layer(ts.get_module("lenient", Lenient)(x))

    source = build(model, seed=1)
    state = {key: value for key, value in source.state_dict().items() if "layer/" in key}
    state["lenient.now.1.weight"] = torch.ones(1)
    net = build(model) if built else ts.ScopedModule(model, seed=0)
    net.load_state_dict(state)
    net.build(X)
    assert torch.equal(net["layer/w"], source["layer/w"])
    assert torch.equal(
        net.state_dict()["lenient.now.0.bias"], build(model).state_dict()["lenient.now.0.bias"]
    )
    of_its_own = build(model)
    of_its_own.register_load_state_dict_post_hook(allow)
    of_its_own.load_state_dict({"layer/w": source["layer/w"]})
    assert torch.equal(of_its_own["layer/w"], source["layer/w"])


@pytest.mark.parametrize("checked", ["h0", "h1", "dense"])
@pytest.mark.parametrize("wrapper", ["checkpoint_wrapper", "offload_wrapper"])
def test_blocks_in_an_activation_wrapper_have_the_keys_that_they_have_without(
    wrapper: str, checked: str
):
    wrappers = pytest.importorskip(
        "torch.distributed.algorithms._checkpoint.checkpoint_wrapper", reason="not in this torch"
    )
    plain, wrapped = build(seed=1), build()
    wrappers.apply_activation_checkpointing(
        wrapped,
        checkpoint_wrapper_fn=getattr(wrappers, wrapper),
        check_fn=lambda module: module is wrapped.get_submodule(checked),
    )
    assert list(wrapped.state_dict()) == list(plain.state_dict())
    wrapped.load_state_dict(plain.state_dict())
    assert_same(wrapped, plain)
    wrapped.load_state_dict(wrapped.state_dict())
    plain.load_state_dict(build().state_dict())
    plain.load_state_dict(wrapped.state_dict())
    assert_same(plain, wrapped)
    wrong = dict(plain.state_dict())
    wrong[next(key for key in wrong if key.startswith(checked))] = torch.ones(7)
    with pytest.raises(RuntimeError, match="7"):
        wrapped.load_state_dict(wrong)


@both
def test_a_block_that_is_made_in_a_checkpoint_wrapper_is_loaded(built: bool):
    wrappers = pytest.importorskip("torch.distributed.algorithms._checkpoint.checkpoint_wrapper")

    def wrapped(x: torch.Tensor) -> torch.Tensor:
        for kind in (functools.partial(ts.ScopedModule, layer), functools.partial(nn.Linear, 3, 3)):
            name = kind.func.__name__
            x = ts.get_module(name, lambda kind=kind: wrappers.checkpoint_wrapper(kind()))(x)
        return x

    def plain(x: torch.Tensor) -> torch.Tensor:
        x = ts.get_module("ScopedModule", functools.partial(ts.ScopedModule, layer))(x)
        return ts.get_module("Linear", functools.partial(nn.Linear, 3, 3))(x)

    source = build(plain, seed=1)
    net = build(wrapped) if built else ts.ScopedModule(wrapped)
    net.load_state_dict(source.state_dict())
    assert_same(net.build(X), source)


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("path", ["", "h0", "dense"])
def test_keys_of_the_old_weight_norm_go_into_the_new(path: str):
    key = {"": "layer/w", "h0": "layer/w", "dense": "weight"}[path]
    old, new = build(seed=1), build()
    nn.utils.weight_norm(old.get_submodule(path), key)
    parametrizations.weight_norm(new.get_submodule(path), key)
    assert list(new.state_dict()) != list(old.state_dict())
    new.load_state_dict(old.state_dict())
    assert torch.allclose(new(X), old(X), atol=1e-6)
    twin = build(seed=2)
    parametrizations.weight_norm(twin.get_submodule(path), key)
    twin.load_state_dict(new.state_dict())
    assert_same(twin, new)


@both
@pytest.mark.parametrize("extra", [3, "text", None, {"step": 1}, torch.ones(2)], ids=repr)
def test_the_extra_state_of_a_kept_module_may_be_anything(extra: Any, built: bool):
    class Extra(nn.Linear):
        found: Any = "nothing"

        def get_extra_state(self) -> Any:
            return extra

        def set_extra_state(self, state: Any) -> None:
            self.found = state

    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("extra", functools.partial(Extra, 3, 3))(x)

    source = build(model, seed=1)
    net = build(model) if built else ts.ScopedModule(model)
    net.load_state_dict(source.state_dict())
    assert torch.equal(net(X), source(X))
    found: Any = net.get_submodule("extra").found
    assert torch.equal(found, extra) if isinstance(extra, torch.Tensor) else found == extra


# ---- other ways to save and load -----------------------------------------------------------------


@both
def test_a_module_around_gives_its_prefix_and_takes_it_off_again(built: bool):
    class Model(nn.Module):
        def __init__(self, net: ts.ScopedModule) -> None:
            super().__init__()
            self.head = nn.Linear(3, 3)
            self.body = nn.ModuleDict({"net": net})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body["net"](x))

    source, other = Model(build()), Model(target(built))
    assert "body.net.h0.layer/w" in source.state_dict()
    other.load_state_dict(source.state_dict())
    assert_same(other, source)


@pytest.mark.parametrize("pending", [False, True], ids=["built", "loaded"])
def test_a_state_dict_goes_into_what_is_given_under_a_prefix(pending: bool):
    net = build()
    if pending:
        net = ts.ScopedModule(full)
        net.load_state_dict(build().state_dict())
    destination: dict[str, torch.Tensor] = {"mine": torch.ones(1)}
    net.state_dict(destination=destination, prefix="net.")
    assert list(destination) == ["mine", *(f"net.{key}" for key in build().state_dict())]


def test_keep_vars_gives_the_variables_themselves():
    net = build()
    state = net.state_dict(keep_vars=True)
    assert state["layer/w"] is net["layer/w"]
    assert state["mean"] is net["mean"]
    assert state["/keys"] is net["keys"]


@both
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_a_file_that_is_mapped_into_memory_is_loaded_by_assign(
    tmp_path: Path, built: bool, where: str
):
    net, other = build(), target(built)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    mapped = torch.load(tmp_path / "net.pt", mmap=True, map_location=where, weights_only=True)
    other.load_state_dict(mapped, assign=True)
    other.build(X.to(where))
    if where == "cpu":
        assert_same(other, net)
        assert other["layer/w"].data_ptr() == mapped["layer/w"].data_ptr()
    assert {str(value.device) for value in other.state_dict().values()} == {where}


def test_hooks_on_saving_and_loading_are_called():
    net = build()
    net.register_state_dict_post_hook(
        lambda module, state, prefix, metadata: state.update({f"{prefix}extra": torch.ones(1)})
    )
    state = net.state_dict()
    assert list(state)[-1] == "extra"
    seen: list[Any] = []
    other = build(seed=1)
    other.register_load_state_dict_post_hook(lambda module, keys: seen.append(keys))
    other.load_state_dict(state, strict=False)
    assert [keys.unexpected_keys for keys in seen] == [["extra"]]
    assert torch.equal(other(X), net(X))


def test_loading_inside_a_pass_shows_in_what_is_fetched_next():
    net, other = build(layer), build(layer, seed=1)
    with net:
        net.load_state_dict(other.state_dict())
        assert torch.equal(layer(X), other(X))


def test_a_net_takes_its_own_state_dict_back_by_assign():
    net = build()
    expected, trained = net(X), [value.requires_grad for value in net.parameters()]
    net.load_state_dict(net.state_dict(), assign=True)
    assert torch.equal(net(X), expected)
    assert [value.requires_grad for value in net.parameters()] == trained
    assert net.name_of(net["frozen"]) == "frozen"


@pytest.mark.parametrize("shape", [[], [1]])
def test_a_scalar_is_loaded_as_torch_loads_scalars(shape: list[int]):
    net = ts.ScopedModule(lambda: ts.get_variable("s", [])).build()
    net.load_state_dict({"s": torch.full(shape, 3.0)})
    assert net["s"].item() == 3


# ---- torch.distributed.checkpoint, in one process ------------------------------------------------


@pytest.fixture
def checkpoint() -> Any:
    return pytest.importorskip("torch.distributed.checkpoint")


@pytest.mark.filterwarnings("ignore::FutureWarning:torch", "ignore::DeprecationWarning:torch")
def test_distributed_checkpoints_keep_the_names(checkpoint: Any):
    from torch.distributed.checkpoint import state_dict as dcp

    net, other = build(), build(seed=1)
    assert list(dcp.get_model_state_dict(net)) == list(net.state_dict())
    dcp.set_model_state_dict(other, dcp.get_model_state_dict(net))
    assert_same(other, net)
    optimizers = [torch.optim.Adam(module.named_parameters()) for module in (net, other)]
    net(X).sum().backward()
    optimizers[0].step()
    state = dcp.get_optimizer_state_dict(net, optimizers[0])
    trained = [name for name, value in net.named_parameters() if value.requires_grad]
    assert list(state["state"]) == trained
    dcp.set_optimizer_state_dict(other, optimizers[1], state)
    for name in trained:
        moments = [
            optimizer.state[module.get_parameter(name)]["exp_avg"]
            for module, optimizer in zip((net, other), optimizers, strict=True)
        ]
        assert torch.equal(*moments), name


@pytest.mark.filterwarnings("ignore::FutureWarning:torch", "ignore::DeprecationWarning:torch")
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_checkpoint_is_saved_and_loaded_in_one_process(
    checkpoint: Any, tmp_path: Path
):
    net, other = build(), build(seed=1)
    checkpoint.save(net.state_dict(), checkpoint_id=tmp_path / "net", no_dist=True)
    state = other.state_dict()
    checkpoint.load(state, checkpoint_id=tmp_path / "net", no_dist=True)
    other.load_state_dict(state)
    assert_same(other, net)


# ---- tensors that come in a variable's place -----------------------------------------------------


@contextmanager
def conversion(setting: str) -> Iterator[None]:
    """One of torch's ways to put new tensors into a module."""
    change = getattr(torch.__future__, f"set_{setting}_module_params_on_conversion")
    change(True)
    try:
        yield
    finally:
        change(False)


VALUE = torch.full([3, 3], 2.0)


def by_entry(net: ts.ScopedModule) -> None:
    net._parameters["layer/w"] = nn.Parameter(VALUE.clone())


def by_attribute(net: ts.ScopedModule) -> None:
    setattr(net, "layer/w", nn.Parameter(VALUE.clone()))


def by_registration(net: ts.ScopedModule) -> None:
    delattr(net, "layer/w")
    net.register_parameter("layer/w", nn.Parameter(VALUE.clone()))


def by_plain_tensor(net: ts.ScopedModule) -> None:
    """As FSDP's first version unshards a parameter."""
    del net._parameters["layer/w"]
    setattr(net, "layer/w", VALUE.clone().requires_grad_())


def by_dict(net: ts.ScopedModule) -> None:
    """As DataParallel's replicas hold it."""
    del net._parameters["layer/w"]
    net.__dict__["layer/w"] = VALUE.clone().requires_grad_()


def by_data(net: ts.ScopedModule) -> None:
    net["layer/w"].data = VALUE.clone()


def by_swap_tensors(net: ts.ScopedModule) -> None:
    torch.utils.swap_tensors(net["layer/w"], nn.Parameter(VALUE.clone()))


def by_assign(net: ts.ScopedModule) -> None:
    net.load_state_dict({**net.state_dict(), "layer/w": VALUE.clone()}, assign=True)


def by_swapping_load(net: ts.ScopedModule) -> None:
    with conversion("swap"):
        net.load_state_dict({**net.state_dict(), "layer/w": VALUE.clone()})


def by_overwriting_move(net: ts.ScopedModule) -> None:
    with torch.no_grad():
        net["layer/w"].copy_(VALUE)
    with conversion("overwrite"):
        net.double().float()


SWAPS = [
    by_entry,
    by_attribute,
    by_registration,
    by_plain_tensor,
    by_dict,
    by_data,
    by_swap_tensors,
    by_assign,
    by_swapping_load,
    by_overwriting_move,
]
every_swap = pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)


@every_swap
def test_a_tensor_put_in_a_variables_place_is_the_variable(swap: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("layer", regularizer=ts.l2_regularizer(2.0)):
            return x @ ts.get_variable("w", [3, 3])

    net = build(model)
    net.name_of(net["layer/w"])
    swap(net)
    assert torch.equal(net(X), X @ VALUE)
    assert torch.equal(net["layer/w"], VALUE)
    assert net.name_of(net["layer/w"]) == "layer/w"
    assert net.trainable_variables() == [net["layer/w"]]
    assert net.regularization_losses()[0].item() == 36.0
    assert dict(net.named_variables())["layer/w"] is net["layer/w"]
    net(X).sum().backward()
    assert net["layer/w"].grad is not None
    assert list(net) == ["layer/w"]


@every_swap
def test_a_tensor_put_in_the_place_of_a_shared_variable_is_seen_by_every_use(swap: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("layer", reuse=ts.AUTO_REUSE):
            return x @ ts.get_variable("w", [3, 3]) @ ts.get_variable("w", [3, 3])

    net = build(model)
    swap(net)
    assert torch.equal(net(X), X @ VALUE @ VALUE)


@every_swap
def test_a_copy_of_a_net_with_a_tensor_in_a_variables_place_is_its_own(swap: Any):
    net = build(layer)
    swap(net)
    twin = copy.deepcopy(net)
    assert torch.equal(twin(X), net(X))
    with torch.no_grad():
        twin["layer/w"].zero_()
    assert torch.equal(net["layer/w"], VALUE)
    assert not twin["layer/w"].any()


def test_a_whole_net_is_saved_with_what_is_in_a_variables_place():
    net = build(layer)
    by_entry(net)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(X), net(X))
