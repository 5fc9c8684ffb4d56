"""ScopedModule: a function as a module, from its building to its compiling."""

import copy
import functools
import io
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom
from models import X, layer
from torch import nn
from torch._dynamo.testing import CompileCounter

import torchscope as ts


def moving(x: torch.Tensor, fail: bool = False) -> torch.Tensor:
    """Changes everything that a build has to put back."""
    mean = ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
    ts.assign_add(mean, x.mean(0))
    steps = ts.get_local_variable("steps", [], initializer=ts.zeros_initializer())
    ts.assign_add(steps, 1)
    frozen = ts.get_variable("frozen", [3], trainable=False)
    ts.assign(frozen, torch.full([3], 9.0))
    x = ts.get_module("norm", lambda: nn.BatchNorm1d(3))(x)
    x = F.dropout(x + torch.rand(3))
    if fail:
        raise ZeroDivisionError("mine")
    return layer(x)


def warned(work: Callable[[], Any]) -> list[str]:
    """The texts of the warnings that ``work()`` gives; all have to be ScopeWarnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    assert all(warning.category is ts.ScopeWarning for warning in caught)
    return [str(warning.message) for warning in caught]


# ---- building ------------------------------------------------------------------------------------


def test_variables_appear_on_the_first_call():
    net = ts.ScopedModule(layer)
    assert list(net) == []
    net(X)
    assert list(net) == ["layer/w", "layer/b"]
    assert [name for name, _ in net.named_parameters()] == ["layer/w", "layer/b"]


def test_build_makes_the_variables_and_gives_the_module():
    net = ts.ScopedModule(layer)
    assert net.build(X) is net
    assert net.built
    assert list(net) == ["layer/w", "layer/b"]


def test_a_build_and_a_first_call_make_the_same():
    first, second = ts.ScopedModule(layer, seed=1).build(X), ts.ScopedModule(layer, seed=1)
    assert torch.equal(second(X), first(X))


def test_a_call_passes_arguments_on_and_gives_the_result():
    net = ts.ScopedModule(lambda *args, **kwargs: (args, kwargs))
    for _ in range(2):
        assert net(1, 2, a=3, fn=4) == ((1, 2), {"a": 3, "fn": 4})


def test_every_call_is_a_pass():
    def twice(x: torch.Tensor) -> None:
        layer(x)
        layer(x)

    net = ts.ScopedModule(twice)
    for _ in range(2):
        with pytest.raises(ts.VariableExistsError, match="'layer/w'"):
            net(X)


def test_build_keeps_no_gradient():
    seen: list[bool] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.is_grad_enabled())
        return layer(x)

    net = ts.ScopedModule(model).build(X)
    assert seen == [False]
    assert torch.is_grad_enabled()
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(parameter.grad is None for parameter in net.parameters())
    net(X).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("fail", [False, True])
def test_build_puts_the_random_stream_back(fail: bool):
    net = ts.ScopedModule(moving)
    stream = torch.get_rng_state()
    if fail:
        with pytest.raises(ZeroDivisionError, match="mine"):
            net.build(X, fail=True)
    else:
        net.build(X)
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("fail", [False, True])
def test_build_leaves_buffers_and_frozen_variables_as_they_were_made(fail: bool):
    net = ts.ScopedModule(moving, seed=1)
    if fail:
        with pytest.raises(ZeroDivisionError, match="mine"):
            net.build(X, fail=True)
    else:
        net.build(X)
    norm = net.get_submodule("norm")
    assert net["mean"].tolist() == [0, 0, 0]
    assert net["steps"].item() == 0
    assert norm.num_batches_tracked.item() == 0
    assert norm.running_mean.tolist() == [0, 0, 0]
    assert not (net["frozen"] == 9).any()
    other = ts.VariableStore(1)
    with other:
        assert torch.equal(net["frozen"], ts.get_variable("frozen", [3]))


def test_a_module_made_in_a_net_that_evaluates_evaluates():
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("norm", lambda: nn.BatchNorm1d(3))(x)

    net = ts.ScopedModule(model).eval()
    net(X)
    assert not any(module.training for module in net.modules())
    assert net.get_submodule("norm").num_batches_tracked.item() == 0


def test_a_second_build_leaves_them_as_they_were_before():
    net = ts.ScopedModule(moving).build(X)
    net(X)
    before = {name: value.clone() for name, value in net.named_variables()}
    net.build(X)
    assert before["steps"].item() == 1
    assert all(torch.equal(value, before[name]) for name, value in net.named_variables())


def test_a_build_puts_back_what_blocks_hold():
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("block", lambda: ts.ScopedModule(moving))(x)

    net = ts.ScopedModule(model).build(X)
    assert dict(net.named_variables())["block/mean"].tolist() == [0, 0, 0]
    assert dict(net.named_variables())["block/steps"].item() == 0


@pytest.mark.filterwarnings("ignore:The function closes over:torchscope.ScopeWarning")
def test_a_build_inside_a_build_and_inside_a_pass_are_fine():
    inner = ts.ScopedModule(moving)

    def model(x: torch.Tensor) -> torch.Tensor:
        inner.build(x)
        return layer(x)

    outer = ts.ScopedModule(model)
    with ts.VariableStore() as store, ts.variable_scope("elsewhere"):
        outer.build(X)
    assert list(store) == []
    assert inner["steps"].item() == 0
    assert list(outer) == ["layer/w", "layer/b"]


META = torch.zeros(2, 3, device="meta")


def with_structure(inputs: dict[str, Any], *, flag: bool) -> torch.Tensor:
    assert flag
    return moving(inputs["x"][0] + torch.ones(3))


@pytest.mark.parametrize(
    ("model", "arguments", "keywords"),
    [
        (layer, [META], {}),
        (layer, [], {"x": META}),
        (moving, [META], {}),
        (with_structure, [{"x": [META]}], {"flag": True}),
    ],
    ids=["argument", "keyword", "buffers", "structure"],
)
def test_meta_inputs_build_variables_with_their_values(
    model: Any, arguments: list[Any], keywords: dict[str, Any]
):
    def real(value: Any) -> Any:
        return torch.utils._pytree.tree_map_only(torch.Tensor, lambda _: X.clone(), value)

    net = ts.ScopedModule(model, seed=1).build(*arguments, **keywords)
    expected = ts.ScopedModule(model, seed=1).build(*real(arguments), **real(keywords))
    assert net.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.named_variables():
        assert torch.equal(dict(net.named_variables())[name], value)
        assert dict(net.named_variables())[name].requires_grad == value.requires_grad


def test_a_module_on_the_meta_device_is_built_there():
    net = ts.ScopedModule(layer, seed=1).to("meta").build(META)
    assert {value.device.type for value in net.values()} == {"meta"}
    net.to_empty(device="cpu")
    net.reset_parameters()
    assert torch.equal(net(X), ts.ScopedModule(layer, seed=1)(X))


def test_a_module_built_under_inference_mode_can_be_trained():
    net = ts.ScopedModule(moving)
    with torch.inference_mode():
        net.build(X)
        net(X)
    net(X).sum().backward()
    assert all(value.grad is not None for value in net.trainable_variables())


# ---- passes that fail ----------------------------------------------------------------------------


def test_a_module_is_built_only_after_a_pass_without_an_exception():
    fails = True

    def model(x: torch.Tensor) -> torch.Tensor:
        result = layer(x)
        if fails:
            raise ZeroDivisionError("mine")
        return result + ts.get_variable("last", [3])

    net = ts.ScopedModule(model)
    with pytest.raises(ZeroDivisionError, match="mine"):
        net(X)
    with pytest.raises(ZeroDivisionError, match="mine"):
        net.build(X)
    assert not net.built
    assert list(net) == ["layer/w", "layer/b"]
    kept = net["layer/w"]
    with pytest.raises(ts.NotBuiltError, match=r"net\.build"):
        torch.optim.SGD(net.parameters(), lr=0.1)
    fails = False
    net(X)
    assert net.built
    assert list(net) == ["layer/w", "layer/b", "last"]
    assert net["layer/w"] is kept


# ---- blocks --------------------------------------------------------------------------------------


def deep(x: torch.Tensor) -> torch.Tensor:
    for number in range(2):
        x = ts.get_module(f"h{number}", functools.partial(ts.ScopedModule, layer))(x)
    return x


def test_blocks_are_built_with_the_module_that_holds_them():
    net = ts.ScopedModule(deep).build(X)
    assert list(net.state_dict()) == ["h0.layer/w", "h0.layer/b", "h1.layer/w", "h1.layer/b"]
    assert len(list(net.parameters())) == 4
    assert all(block.built for block in net.children())
    torch.optim.SGD(net.parameters(), lr=0.1)
    torch.optim.SGD(net.get_submodule("h0").parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:The function closes over:torchscope.ScopeWarning")
def test_a_module_called_twice_in_one_pass_of_another_shares_its_weights():
    inner = ts.ScopedModule(layer)
    outer = ts.ScopedModule(lambda x: ts.get_module("inner", lambda: inner)(inner(x)))
    first = outer(X)
    assert torch.equal(first, inner(inner(X)))
    assert torch.equal(outer(X), first)
    assert [name for name, _ in outer.named_variables()] == ["inner/layer/w", "inner/layer/b"]


def test_a_module_called_in_a_scope_of_another_store_starts_at_its_root(store: ts.VariableStore):
    net = ts.ScopedModule(layer)
    with ts.variable_scope("outer", reuse=True):
        net(X)
        net(X)
    assert list(net) == ["layer/w", "layer/b"]
    assert list(store) == []


# ---- variables made late -------------------------------------------------------------------------


def sometimes(x: torch.Tensor, late: bool = False) -> torch.Tensor:
    x = layer(x)
    return x * ts.get_variable("late/scale", [3]) if late else x


def test_a_late_variable_warns_by_name_at_the_users_line():
    net = ts.ScopedModule(sometimes).build(X)
    with pytest.warns(ts.ScopeWarning, match=r"'late/scale'.*after.*built") as caught:
        net(X, late=True)
    assert [warning.filename for warning in caught] == [__file__]
    assert warned(lambda: net(X, late=True)) == []
    assert list(net.state_dict()) == ["layer/w", "layer/b", "late/scale"]


def test_a_late_variable_that_is_made_an_error_is_not_made():
    net = ts.ScopedModule(sometimes).build(X)
    with pytest.raises(ts.ScopeWarning, match="'late/scale'"):
        net(X, late=True)
    assert list(net) == list(net.state_dict()) == ["layer/w", "layer/b"]


def test_a_late_variable_is_an_error_after_finalize():
    net = ts.ScopedModule(sometimes).build(X)
    net.finalize()
    net(X)
    with pytest.raises(ts.NotBuiltError, match=r"'late/scale' is new, but .* finalized"):
        net(X, late=True)
    assert list(net) == ["layer/w", "layer/b"]


def test_a_late_module_warns_by_name():
    def model(late: bool) -> None:
        ts.get_variable("w", [3])
        if late:
            ts.get_module("dense", lambda: nn.Linear(3, 3))

    net = ts.ScopedModule(model).build(False)
    with pytest.warns(ts.ScopeWarning, match="'dense'"):
        net(True)


def test_a_late_variable_of_a_block_warns_too():
    def model(x: torch.Tensor, late: bool = False) -> torch.Tensor:
        return ts.get_module("block", lambda: ts.ScopedModule(sometimes))(x, late)

    net = ts.ScopedModule(model).build(X)
    with pytest.warns(ts.ScopeWarning, match="'late/scale'"):
        net(X, late=True)


# ---- optimizers and other readers of an unbuilt module -------------------------------------------


def bigger(net: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), nn.Sequential(net))


OPTIMIZERS: dict[str, Callable[[nn.Module], Any]] = {
    "parameters": lambda net: torch.optim.SGD(net.parameters(), lr=0.1),
    "named_parameters": lambda net: torch.optim.Adam(net.named_parameters()),
    "groups": lambda net: torch.optim.AdamW([{"params": net.parameters(), "lr": 0.1}]),
    "LBFGS": lambda net: torch.optim.LBFGS(net.parameters()),
}


@pytest.mark.parametrize("inside", [lambda net: net, bigger], ids=["alone", "in a bigger module"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_of_an_unbuilt_module_is_an_error(optimizer: Any, inside: Any):
    net = ts.ScopedModule(layer)
    with pytest.raises(ts.NotBuiltError, match=r"not built.*net\.build\("):
        optimizer(inside(net))
    assert not net.built
    assert list(net) == []
    assert warned(lambda: net.build(X)) == []
    made = optimizer(inside(net))
    held = {id(parameter) for group in made.param_groups for parameter in group["params"]}
    assert held >= {id(parameter) for parameter in net.values()}


def test_an_optimizer_of_an_unbuilt_module_of_a_module_is_an_error():
    net = ts.ScopedModule(nn.Linear(3, 3))
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        torch.optim.SGD(net.parameters(), lr=0.1)


@pytest.fixture
def process_group(tmp_path: Path) -> Any:
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    file = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=file, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("inside", [lambda net: net, bigger], ids=["alone", "in a bigger module"])
def test_ddp_of_an_unbuilt_module_is_an_error(inside: Any):
    net = ts.ScopedModule(layer)
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        nn.parallel.DistributedDataParallel(inside(net))
    net.build(X)
    parallel = nn.parallel.DistributedDataParallel(inside(net))
    assert torch.equal(parallel(X), inside(net)(X)) or inside is bigger


@pytest.mark.filterwarnings("ignore:FSDP is switching to use `NO_SHARD`:UserWarning")
@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("inside", [lambda net: net, bigger], ids=["alone", "in a bigger module"])
@pytest.mark.parametrize("use_orig_params", [False, True])
def test_the_fsdp_class_of_an_unbuilt_module_is_an_error(inside: Any, use_orig_params: bool):
    from torch.distributed.fsdp import FullyShardedDataParallel

    class Own(FullyShardedDataParallel):
        pass

    for sharded in (FullyShardedDataParallel, Own):
        with pytest.raises(ts.NotBuiltError, match=rf"{sharded.__name__} is given.*net\.build\("):
            sharded(
                inside(ts.ScopedModule(layer)),
                device_id=torch.device("cpu"),
                use_orig_params=use_orig_params,
            )


class Lazy(nn.Module):
    """A bigger model whose store is empty until its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.store = ts.VariableStore(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.store(layer, self.linear(x))


HOLDERS: dict[str, Callable[[nn.Module], Any]] = {
    **OPTIMIZERS,
    "filter": lambda net: torch.optim.SGD(
        filter(lambda parameter: parameter.requires_grad, net.parameters()), lr=0.1
    ),
    "from a bigger model": lambda net: torch.optim.SGD(bigger(net).parameters(), lr=0.1),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_an_optimizer_of_a_model_with_an_empty_store_is_an_error(hold: Any):
    model = Lazy()
    with pytest.raises(ts.NotBuiltError, match=r"VariableStore .*holds nothing"):
        hold(model)
    model(X)
    hold(model)
    assert warned(lambda: model(X)) == []


@pytest.mark.usefixtures("process_group")
def test_ddp_of_a_model_with_an_empty_store_is_an_error():
    model = Lazy()
    with pytest.raises(ts.NotBuiltError, match=r"VariableStore .*holds nothing"):
        nn.parallel.DistributedDataParallel(model)
    model(X)
    assert torch.equal(nn.parallel.DistributedDataParallel(model)(X), model(X))


def test_a_list_of_a_bigger_models_parameters_is_reported_when_its_store_makes_the_first():
    model = Lazy()
    assert warned(lambda: list(model.parameters())) == []
    (text,) = warned(lambda: model(X))
    assert re.search(rf"read at {re.escape(__file__)}:\d+", text)
    assert warned(lambda: model(X)) == []


PASSED_BY: dict[str, Callable[[Lazy], Any]] = {
    "share_memory": lambda model: model.share_memory(),
    "share_memory of the store": lambda model: model.store.share_memory(),
    "apply": lambda model: model.apply(init),
    "apply of the store": lambda model: model.store.apply(init),
    "a loop over the state dict": lambda model: {
        key: value.clone() for key, value in model.state_dict().items()
    },
    "the state dict saved": lambda model: torch.save(model.state_dict(), io.BytesIO()),
}


@pytest.mark.parametrize("read", PASSED_BY.values(), ids=PASSED_BY)
def test_what_passes_a_bigger_models_empty_store_by_is_reported_when_it_makes_the_first(read: Any):
    model = Lazy()
    assert warned(lambda: read(model)) == []
    (text,) = warned(lambda: model(X))
    assert re.search(rf"read at {re.escape(__file__)}:\d+", text)
    assert "store.build(" in text
    assert warned(lambda: read(model)) == warned(lambda: model(X)) == []


def test_the_state_dict_of_an_empty_store_alone_may_be_read():
    store = ts.VariableStore()
    assert dict(store.state_dict()) == {}
    assert warned(lambda: store(layer, X)) == []


HELD: dict[str, Callable[[ts.VariableStore], Any]] = {
    "a variable": lambda store: store(layer, X),
    "a buffer": lambda store: store(lambda: ts.get_buffer("mean", [3])),
    "a module": lambda store: store(lambda: ts.get_module("relu", nn.ReLU)),
    "nothing, after a pass": lambda store: store(lambda: None),
}


@pytest.mark.parametrize("fill", HELD.values(), ids=HELD)
def test_an_optimizer_takes_a_model_whose_store_has_been_used(fill: Any):
    model = Lazy()
    fill(model.store)
    torch.optim.SGD(model.parameters(), lr=0.1)


READERS: dict[str, Callable[[nn.Module], Any]] = {
    "list": lambda net: list(net.parameters()),
    "sum": lambda net: sum(parameter.numel() for parameter in net.parameters()),
    "dict": lambda net: dict(net.named_parameters()),
    "in a bigger module": lambda net: list(bigger(net).parameters()),
    "requires_grad_": lambda net: net.requires_grad_(False),
    "named_variables": lambda net: list(net.named_variables()),
    "trainable_variables": lambda net: net.trainable_variables(),
    "regularization_losses": lambda net: net.regularization_losses(),
    "values": lambda net: list(net.values()),
    "items": lambda net: dict(net.items()),
    "a loop over items": lambda net: [value for name, value in net.items()],
    "share_memory": lambda net: net.share_memory(),
    "share_memory of a bigger module": lambda net: bigger(net).share_memory(),
    "apply": lambda net: net.apply(init),
    "apply of a bigger module": lambda net: bigger(net).apply(init),
    "a loop over the state dict": lambda net: {
        key: value.clone() for key, value in net.state_dict().items()
    },
    "values of the state dict": lambda net: list(net.state_dict().values()),
    "a dict of the state dict": lambda net: dict(net.state_dict()),
    "a copy of the state dict": lambda net: net.state_dict().copy(),
    "the state dict and more": lambda net: net.state_dict() | {"epoch": torch.ones(())},
    "more and the state dict": lambda net: {"epoch": torch.ones(())} | net.state_dict(),
    "a deep copy of the state dict": lambda net: copy.deepcopy(net.state_dict()),
    "the state dict with its variables": lambda net: dict(net.state_dict(keep_vars=True)),
    "the state dict of a bigger module": lambda net: dict(bigger(net).state_dict()),
    "an ensemble": lambda net: torch.func.stack_module_state([net, net]),
    "a vector": lambda net: nn.utils.parameters_to_vector(bigger(net).parameters()),
}


def init(module: nn.Module) -> None:
    """As most are written: it looks for layers, of which a net has none before its build."""
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_another_reader_of_an_unbuilt_modules_parameters_is_warned_later(read: Any):
    net = ts.ScopedModule(layer)
    assert warned(lambda: read(net)) == []
    texts = warned(lambda: net(X))
    assert len(texts) == 1
    assert re.search(rf"read at {re.escape(__file__)}:\d+", texts[0])
    assert "net.build(" in texts[0]
    assert warned(lambda: net(X)) == []


def test_a_reader_is_warned_though_the_module_only_makes_modules():
    net = ts.ScopedModule(lambda x: ts.get_module("dense", lambda: nn.Linear(3, 3))(x))
    list(net.parameters())
    with pytest.warns(ts.ScopeWarning, match="read at"):
        net(X)


HARMLESS: dict[str, Callable[[nn.Module], Any]] = {
    "train": lambda net: net.train().eval(),
    "to": lambda net: net.to("cpu").float(),
    "state_dict": lambda net: net.state_dict(),
    "load_state_dict": lambda net: net.load_state_dict({}, strict=False),
    "repr": repr,
    "zero_grad": lambda net: net.zero_grad(),
    "modules": lambda net: list(net.modules()),
    "buffers": lambda net: list(net.buffers()),
    "list": list,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "save": lambda net: torch.save(net, io.BytesIO()),
    "save its state dict": lambda net: torch.save(net.state_dict(), io.BytesIO()),
    "list of the state dict": lambda net: list(net.state_dict()),
    "compile": lambda net: torch.compile(net, backend="eager"),
}


@pytest.mark.parametrize("use", HARMLESS.values(), ids=HARMLESS)
def test_what_needs_no_parameters_of_an_unbuilt_module_is_not_warned_of(use: Any):
    net = ts.ScopedModule(layer)
    use(net)
    net(X)
    assert list(net) == ["layer/w", "layer/b"]


@pytest.mark.parametrize("read", ["values", "items"])
def test_what_is_read_inside_the_first_pass_or_was_loaded_is_not_warned_of(read: str):
    def model(x: torch.Tensor) -> torch.Tensor:
        list(getattr(net, read)())
        return layer(x)

    net = ts.ScopedModule(model)
    assert warned(lambda: net(X)) == []
    loaded = ts.ScopedModule(layer)
    loaded.load_state_dict(net.state_dict())
    assert len(list(getattr(loaded, read)())) == 2
    assert warned(lambda: loaded(X)) == []


def test_an_optimizer_of_the_values_of_an_unbuilt_module_is_an_error():
    net = ts.ScopedModule(layer)
    for read in (net.values, lambda: (value for _, value in net.items())):
        with pytest.raises(ts.NotBuiltError, match=r"SGD is given.*net\.build\("):
            torch.optim.SGD(read(), lr=0.1)


def test_the_state_dict_of_an_unbuilt_module_is_an_ordinary_one(tmp_path: Path):
    net = ts.ScopedModule(layer)
    state = net.state_dict()
    assert isinstance(state, dict)
    assert state == {}
    file = tmp_path / "state.pt"
    torch.save(state, file)
    assert type(torch.load(file, weights_only=True)) is type(nn.Linear(3, 3).state_dict())
    net.load_state_dict(state, strict=False)


def test_a_store_that_knows_no_function_warns_of_nothing():
    store = ts.VariableStore()
    assert list(store.parameters()) == []
    store(layer, X)


# ---- kinds of functions --------------------------------------------------------------------------


class Model:
    def __init__(self, name: str = "layer") -> None:
        self.name = name

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return layer(x)

    def method(self, x: torch.Tensor) -> torch.Tensor:
        return layer(x)

    @staticmethod
    def static(x: torch.Tensor) -> torch.Tensor:
        return layer(x)


KINDS: dict[str, Any] = {
    "function": layer,
    "lambda": lambda x: layer(x),
    "partial": functools.partial(lambda bias, x: layer(x) + bias, 0.0),
    "callable object": Model(),
    "bound method": Model().method,
    "static method": Model.static,
    "store": ts.VariableStore(0),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "store"])
def test_the_function_may_be_a(kind: str):
    net = ts.ScopedModule(KINDS[kind], seed=0).build(X)
    assert list(net) == ["layer/w", "layer/b"]
    assert torch.equal(net(X), ts.VariableStore(0)(layer, X))
    twin = copy.deepcopy(net)
    assert torch.equal(twin(X), net(X))
    assert twin["layer/w"] is not net["layer/w"]


@pytest.mark.parametrize("fn", [None, 5, "layer", [layer]], ids=repr)
def test_what_cannot_be_called_is_refused(fn: Any):
    with pytest.raises(TypeError, match="takes a function"):
        ts.ScopedModule(fn)


class ScopedLinear(nn.Module):
    """An ordinary module that also asks for variables."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return layer(self.linear(x))


def test_a_module_as_the_function_is_part_of_the_module():
    net = ts.ScopedModule(ScopedLinear()).build(X)
    keys = ["layer/w", "layer/b", "fn.linear.weight", "fn.linear.bias"]
    assert list(net.state_dict()) == keys
    assert len(list(net.parameters())) == 4
    other = ts.ScopedModule(ScopedLinear())
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(X), net(X))
    assert torch.equal(copy.deepcopy(net)(X), net(X))


class Outer(nn.Module):
    """A module that runs one of its own methods as a scoped function."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.net = ts.ScopedModule(self.body, seed=0)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return layer(x) * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda outer: pickle.loads(pickle.dumps(outer))],
    ids=["deepcopy", "pickle"],
)
def test_a_method_of_the_module_around_goes_with_its_copy(copied: Any):
    outer = Outer()
    outer(X)
    assert list(outer.state_dict()) == ["scale", "net.layer/w", "net.layer/b"]
    twin = copied(outer)
    with torch.no_grad():
        twin.scale.fill_(0)
    assert not twin(X).any()
    assert outer(X).any()


class Subclass(ts.ScopedModule[..., torch.Tensor]):
    """A ScopedModule that runs its own method."""

    def __init__(self) -> None:
        super().__init__(self.model)

    def model(self, x: torch.Tensor) -> torch.Tensor:
        return layer(x)


def test_a_subclass_may_run_its_own_method():
    net = Subclass().build(X)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert not twin(X).any()
    assert net(X).any()


def test_a_module_closed_over_is_warned_of():
    dense = nn.Linear(3, 3)
    with pytest.warns(ts.ScopeWarning, match="closes over the module 'dense'") as caught:
        ts.ScopedModule(lambda x: dense(x))
    assert "get_module('dense'" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_a_module_given_to_a_partial_is_warned_of():
    with pytest.warns(ts.ScopeWarning, match="the module"):
        ts.ScopedModule(functools.partial(lambda dense, x: dense(x), nn.Linear(3, 3)))


def test_a_module_without_parameters_may_be_closed_over():
    activation = nn.ReLU()
    ts.ScopedModule(lambda x: activation(layer(x))).build(X)


def test_a_variable_assigned_later_may_be_closed_over():
    net = ts.ScopedModule(lambda x: later(x))
    later = layer
    net.build(X)


# ---- copies --------------------------------------------------------------------------------------

COPIES: dict[str, Any] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "torch.save": lambda net: saved_whole(net),
}


def saved_whole(net: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_built_module_can_be_copied(copied: Any):
    net = ts.ScopedModule(layer).build(X)
    twin = copied(net)
    assert torch.equal(twin(X), net(X))
    assert twin.built
    assert twin.seed == net.seed
    assert twin.origin("layer/w") == net.origin("layer/w")
    assert not {id(value) for value in twin.values()} & {id(value) for value in net.values()}
    torch.optim.SGD(twin.parameters(), lr=0.1)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_an_unbuilt_module_can_be_copied(copied: Any):
    net = ts.ScopedModule(layer)
    twin = copied(net)
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        torch.optim.SGD(twin.parameters(), lr=0.1)
    assert torch.equal(twin(X), net(X))


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_module_that_holds_modules_can_be_copied(copied: Any):
    net = ts.ScopedModule(deep).build(X)
    twin = copied(net)
    assert torch.equal(twin(X), net(X))


def with_a_local_factory(x: torch.Tensor) -> torch.Tensor:
    return ts.get_module("dense", lambda: nn.Linear(3, 3))(x)


def with_a_local_initializer(x: torch.Tensor) -> torch.Tensor:
    return x @ ts.get_variable("w", [3, 3], initializer=lambda shape, dtype: torch.ones(shape))


@pytest.mark.parametrize("model", [with_a_local_factory, with_a_local_initializer])
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_module_of_a_module_level_function_can_be_copied_whatever_it_calls(
    copied: Any, model: Any
):
    net = ts.ScopedModule(model).build(X)
    assert torch.equal(copied(net)(X), net(X))


# ---- typing --------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not (Path(sys.executable).parent / "pyright").exists(), reason="pyright is not installed"
)
def test_a_type_checker_knows_the_arguments_and_the_result_of_a_call(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        "import torch\n"
        "import torchscope as ts\n"
        "def model(x: torch.Tensor, *, flag: bool = False) -> tuple[torch.Tensor, int]:\n"
        "    return x, 1\n"
        "net = ts.ScopedModule(model)\n"
        "store = ts.VariableStore()\n"
        "reveal_type(net(torch.ones(1), flag=True))  # tuple[Tensor, int]\n"
        "reveal_type(net.build(torch.ones(1)))  # ScopedModule[\n"
        "reveal_type(net.reset_parameters())  # ScopedModule[\n"
        "reveal_type(store(model, torch.ones(1)))  # tuple[Tensor, int]\n"
        "reveal_type(store.build(model, torch.ones(1), flag=True))  # VariableStore\n"
        "reveal_type(ts.get_module('fc', torch.nn.Linear, 784, 128, bias=False))  # Linear\n"
        "reveal_type(ts.get_module('fc', lambda: torch.nn.Linear(3, 4)))  # Linear\n"
        "reveal_type(ts.get_module('net', ts.ScopedModule, model))  # ScopedModule[\n"
        "reveal_type(ts.is_training())  # bool\n"
        "net(1)  # error\n"
        "net.build(torch.ones(1), flags=True)  # error\n"
        "store(model)  # error\n"
        "store.build(model, 1)  # error\n"
        "store.build(model, torch.ones(1), flags=True)  # error\n"
        "ts.get_module('fc', torch.nn.Linear, 784)  # error\n"
        "ts.get_module('fc', torch.nn.Linear, 784, 'a')  # error\n"
        "ts.get_module('fc', torch.nn.Linear, 784, 128, biases=True)  # error\n"
    )
    pyright = Path(sys.executable).parent / "pyright"
    ran = subprocess.run(
        [pyright, "--outputjson", "--pythonpath", sys.executable, program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(ts.__file__).parent.parent)},
    )
    found = [
        (entry["range"]["start"]["line"], entry["severity"], entry["message"])
        for entry in json.loads(ran.stdout)["generalDiagnostics"]
    ]
    said = {line: text for line, severity, text in found if severity == "information"}
    errors = [line for line, severity, _ in found if severity == "error"]
    expected = [line.partition("  # ")[2] for line in program.read_text().splitlines()]
    assert errors == [line for line, text in enumerate(expected) if text == "error"]
    revealed = {line: text for line, text in enumerate(expected) if text not in ("", "error")}
    assert said.keys() == revealed.keys()
    assert {line: revealed[line] in text for line, text in said.items()} == dict.fromkeys(
        said, True
    )


# ---- compiling and exporting ---------------------------------------------------------------------


def rich(x: torch.Tensor) -> torch.Tensor:
    """Most of what a model does with scopes."""
    with ts.variable_scope("model") as scope:
        x = layer(x)
        scope.reuse_variables()
        x = layer(x)
    with ts.variable_scope(scope, reuse=True):
        x = layer(x)
    for _ in range(2):
        with ts.variable_scope(None, "default"):
            x = x + ts.get_variable("b", [3])
    with ts.variable_scope("own", reuse=ts.AUTO_REUSE, initializer=ts.zeros_initializer()):
        mean = ts.get_buffer("mean", [3])
    x = ts.get_module("dense", lambda: nn.Linear(3, 3))(x)
    x = ts.get_module("block", functools.partial(ts.ScopedModule, layer))(x)
    return torch.tanh(x + mean)


@pytest.fixture
def counter() -> Any:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it compiles
        # Strict export's remark on entering and leaving the pass while it traces.
        warnings.filterwarnings("ignore", "While compiling, we found certain side effects")
        yield CompileCounter()
    torch._dynamo.reset()


@pytest.mark.parametrize("model", [layer, rich])
def test_a_built_module_compiles_to_one_graph_without_recompiling(counter: Any, model: Any):
    net = ts.ScopedModule(model).build(X)
    expected = net(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for _ in range(5):
        assert torch.allclose(compiled(X), expected)
    assert counter.frame_count == 1


@pytest.mark.parametrize("model", [layer, rich])
def test_an_unbuilt_module_runs_its_first_call_eagerly_and_compiles_the_second(
    counter: Any, model: Any
):
    net = ts.ScopedModule(model)
    compiled = torch.compile(net, backend=counter)
    graphs = []
    for _ in range(4):
        compiled(X)
        graphs.append(counter.frame_count)
    assert graphs == [0, 1, 1, 1]
    assert torch.allclose(compiled(X), net(X))


def test_a_function_on_a_store_compiles_to_one_graph(counter: Any):
    store = ts.VariableStore()
    store(rich, X)
    compiled = torch.compile(lambda x: store(rich, x), backend=counter, fullgraph=True)
    for _ in range(5):
        assert torch.allclose(compiled(X), store(rich, X))
    assert counter.frame_count == 1


def test_an_unbuilt_module_under_fullgraph_is_an_error_that_says_build(counter: Any):
    net = ts.ScopedModule(layer)
    with pytest.raises(Exception, match=r"net\.build\("):
        torch.compile(net, backend=counter, fullgraph=True)(X)
    assert list(net) == list(net.state_dict()) == []
    assert not net.built
    torch._dynamo.reset()
    net.build(X)
    assert torch.compile(net, backend=counter, fullgraph=True)(X).shape == (2, 3)


def test_a_compiled_module_trains_as_an_eager_one(counter: Any):
    nets = [ts.ScopedModule(rich, seed=0).build(X) for _ in range(2)]
    runs = [nets[0], torch.compile(nets[1], backend="aot_eager", fullgraph=True)]
    for net, run in zip(nets, runs, strict=True):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            run(X).square().sum().backward()
            optimizer.step()
    for key, value in nets[0].state_dict().items():
        assert torch.allclose(nets[1].state_dict()[key], value)


def test_a_replaced_parameter_is_seen_without_recompiling(counter: Any):
    net = ts.ScopedModule(layer).build(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    compiled(X)
    zeros = {key: torch.zeros_like(value) for key, value in net.state_dict().items()}
    net.load_state_dict(zeros)
    assert not compiled(X).any()
    assert counter.frame_count == 1


def test_compiled_code_changes_buffers_as_eager_code_does(counter: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        mean = ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
        return layer(x) * ts.assign_add(mean, x.mean(0))

    nets = [ts.ScopedModule(model, seed=0).build(X) for _ in range(2)]
    compiled = torch.compile(nets[1], backend="aot_eager", fullgraph=True)
    for _ in range(3):
        assert torch.allclose(compiled(X), nets[0](X))
    assert torch.equal(nets[1]["mean"], nets[0]["mean"])


def test_mistakes_are_still_found_in_compiled_code(counter: Any):
    twice = False

    def model(x: torch.Tensor) -> torch.Tensor:
        return layer(layer(x)) if twice else layer(x)

    net = ts.ScopedModule(model).build(X)
    twice = True
    with pytest.raises(Exception, match="'layer/w' already exists"):
        torch.compile(net, backend=counter, fullgraph=True)(X)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("model", [layer, rich])
def test_a_built_module_is_exported_with_its_names(counter: Any, strict: bool, model: Any):
    net = ts.ScopedModule(model).build(X)
    program = torch.export.export(net, (X,), strict=strict)
    assert set(program.state_dict) == set(net.state_dict())
    assert torch.allclose(program.module()(X), net(X))


@pytest.mark.parametrize("strict", [False, True])
def test_exporting_an_unbuilt_module_is_an_error_that_says_build(counter: Any, strict: bool):
    net = ts.ScopedModule(layer)
    with pytest.raises(Exception, match=r"net\.build\("):
        torch.export.export(net, (X,), strict=strict)
    assert list(net) == list(net.state_dict()) == []
    assert not net.built
    net.build(X)
    assert all(type(value) is nn.Parameter for value in net.values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_tracing_an_unbuilt_module_is_an_error_that_says_build():
    net = ts.ScopedModule(layer)
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        torch.jit.trace(net, (X,))
    assert list(net) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(
    "transform",
    [
        lambda net: torch.func.grad(lambda x: net(x).sum())(X),
        lambda net: torch.func.vmap(net)(X[None]),
        lambda net: torch.func.jvp(net, (X,), (X,)),
    ],
    ids=["grad", "vmap", "jvp"],
)
def test_a_function_transform_of_an_unbuilt_module_is_an_error_that_says_build(transform: Any):
    net = ts.ScopedModule(layer)
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        transform(net)
    assert list(net) == []
    net.build(X)
    transform(net)
