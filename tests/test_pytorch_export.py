"""Export: torch.export, ONNX and torch.jit.trace, with the names of variables and of arguments."""

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from models import X, layer
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations

import torchscope as ts

BATCH = {0: torch.export.Dim("batch")}
SIDE_EFFECT = (
    r"While compiling, we found certain side effects happened in the model\.forward.*"
    r"_(module|store)'\]\.here\.passes"
)


def deep(x: torch.Tensor) -> torch.Tensor:
    """Variables, one used twice, beside blocks, modules, buffers and odd names."""
    with ts.variable_scope("first", reuse=ts.AUTO_REUSE):
        x = layer(layer(x))
    x = x * ts.get_variable("keys", [3]) + ts.get_variable("v.1", [3]) + ts.get_buffer("mean", [3])
    for number in range(2):
        x = ts.get_module(f"h{number}", functools.partial(ts.ScopedModule, layer))(x)
    return ts.get_module("dense", lambda: nn.Linear(3, 3))(x)


def scaled(image: torch.Tensor, scale: torch.Tensor, *, flip: bool = False) -> torch.Tensor:
    return layer(image) * (-scale if flip else scale)


def build(model: Callable[..., Any], *args: Any) -> ts.ScopedModule:
    return ts.ScopedModule(model, seed=0).build(*(args or (X,))).eval()


@pytest.fixture(autouse=True)
def only_torchs_own_warnings() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        for category, text in (
            (UserWarning, SIDE_EFFECT),  # Of strict export alone; see docs/limits.md.
            (DeprecationWarning, "`torch.jit"),
            (FutureWarning, "`isinstance.treespec, LeafSpec.` is deprecated"),
        ):
            warnings.filterwarnings("ignore", text, category)
        yield


every_export = pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])


# ---- torch.export --------------------------------------------------------------------------------


@every_export
def test_an_exported_net_has_the_names_and_gives_the_values_of_the_net(strict: bool):
    net = build(deep)
    program = torch.export.export(net, (X,), strict=strict)
    assert set(program.state_dict) == set(net.state_dict())
    assert torch.allclose(program.module()(X), net(X))


@every_export
def test_an_exported_net_is_saved_and_loaded(strict: bool):
    net = build(deep)
    file = io.BytesIO()
    torch.export.save(torch.export.export(net, (X,), strict=strict), file)
    file.seek(0)
    program = torch.export.load(file)
    assert torch.allclose(program.module()(X), net(X))
    assert all(
        torch.equal(value, net.state_dict()[key]) for key, value in program.state_dict.items()
    )


@every_export
def test_arguments_and_sizes_go_by_the_names_that_the_function_gives_them(strict: bool):
    net = build(scaled, X, X)
    program = torch.export.export(
        net,
        (X,),
        {"scale": X, "flip": True},
        dynamic_shapes={"image": BATCH, "scale": BATCH, "flip": None},
        strict=strict,
    )
    assert program.graph_signature.user_inputs[:2] == ("image", "scale")
    x = torch.ones(5, 3)
    expected = net(x, x, flip=True)
    assert torch.allclose(program.module()(x, scale=x, flip=True), expected)
    assert torch.allclose(program.module()(x, flip=True, scale=x), expected)


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return layer(self.linear(image))

    def method(self, image: torch.Tensor) -> torch.Tensor:
        return layer(image)


def with_odd_names(args: torch.Tensor, fn: torch.Tensor, kwargs: torch.Tensor) -> torch.Tensor:
    return layer(args) + fn + kwargs


NAMED: dict[str, tuple[Any, list[str]]] = {
    "a function": (scaled, ["image", "scale"]),
    "a lambda": (lambda image: layer(image), ["image"]),
    "a partial": (functools.partial(scaled, scale=X, flip=True), ["image"]),
    "a module": (Module(), ["image"]),
    "a method": (Module().method, ["image"]),
    "names of ours": (with_odd_names, ["args", "fn", "kwargs"]),
}


@every_export
@pytest.mark.parametrize(("fn", "names"), NAMED.values(), ids=NAMED)
def test_every_kind_of_function_has_its_own_argument_names(fn: Any, names: list[str], strict: bool):
    inputs = [X] * len(names)
    net = build(fn, *inputs)
    program = torch.export.export(net, tuple(inputs), strict=strict)
    assert program.graph_signature.user_inputs == tuple(names)
    assert torch.allclose(program.module()(*inputs), net(*inputs))


def test_a_wrong_name_in_dynamic_shapes_raises_with_the_right_ones():
    net = build(scaled, X, X)
    with pytest.raises(Exception, match=r"\['image', 'scale'\]"):
        torch.export.export(net, (X, X), dynamic_shapes={"x": BATCH, "scale": None})


@every_export
@pytest.mark.parametrize("target", [dict, tuple], ids=["by name", "by position"])
def test_a_batch_of_any_size_is_exported(strict: bool, target: Any):
    net = build(deep)
    shapes = {"x": BATCH} if target is dict else (BATCH,)
    program = torch.export.export(net, (X,), dynamic_shapes=shapes, strict=strict)
    for size in (1, 2, 7):
        x = torch.rand(size, 3)
        assert torch.allclose(program.module()(x), net(x), atol=1e-6)


class Around(nn.Module):
    """A module that runs functions on a store of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.store = ts.VariableStore()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.store(layer, x)


@every_export
@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_a_store_called_by_the_module_around_it_is_exported_if_it_is_built(
    strict: bool, built: bool
):
    module = Around()
    if built:
        module(X)
        program = torch.export.export(module, (X,), strict=strict)
        assert set(program.state_dict) == {"store.layer/w", "store.layer/b"}
        assert torch.allclose(program.module()(X), module(X))
    else:
        with pytest.raises(Exception, match=r"net\.build\("):
            torch.export.export(module, (X,), strict=strict)
        assert list(module.store) == list(module.state_dict()) == []


@every_export
def test_a_parametrized_net_is_exported(strict: bool):
    net = build(deep)
    parametrizations.weight_norm(net, "first/layer/w")
    program = torch.export.export(net, (X,), strict=strict)
    assert "parametrizations.first/layer/w.original0" in program.state_dict
    assert torch.allclose(program.module()(X), net(X))


def test_an_exported_net_is_unflattened_into_modules():
    net = build(deep)
    modules = torch.export.unflatten(torch.export.export(net, (X,)))
    assert torch.allclose(modules(X), net(X))
    assert "h0" in dict(modules.named_modules())


def test_exporting_warns_of_nothing_and_strictly_only_of_the_stack_of_passes():
    net = build(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.export.export(net, (X,))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.export.export(net, (X,), strict=True)
    assert [str(w.message) for w in caught if "side effects" not in str(w.message)] == []


# ---- what is not built ---------------------------------------------------------------------------


def late(x: torch.Tensor, more: bool = False) -> torch.Tensor:
    return layer(x) * (ts.get_variable("late", [3]) if more else 1.0)


def loaded(model: Callable[..., Any]) -> ts.ScopedModule:
    net = ts.ScopedModule(model)
    net.load_state_dict(build(model).state_dict())
    return net


def onnx(net: nn.Module, *args: Any) -> Any:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    return torch.onnx.export(net.eval(), args, dynamo=True, verbose=False)


EXPORTS: dict[str, Callable[..., Any]] = {
    "export": lambda net, *args: torch.export.export(net, args),
    "strict export": lambda net, *args: torch.export.export(net, args, strict=True),
    "onnx": onnx,
    "jit.trace": lambda net, *args: torch.jit.trace(net, args),
}
every_tracer = pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)


def untouched(store: ts.VariableStore) -> list[Any]:
    return [
        *(list(store), list(store.state_dict()), list(store.buffers()), list(store.children())),
        store.built,
    ]


@every_tracer
@pytest.mark.parametrize("model", [layer, deep], ids=["layer", "deep"])
def test_exporting_what_is_unbuilt_is_an_error_that_says_build_and_the_net_is_untouched(
    export: Any, model: Any
):
    net = ts.ScopedModule(model, seed=0)
    before = untouched(net)
    with pytest.raises(Exception, match=r"net\.build\("):
        export(net, X)
    assert untouched(net) == before
    net.build(X)
    assert torch.equal(net(X), build(model)(X))


@every_tracer
def test_exporting_an_unbuilt_net_inside_a_module_is_an_error_too(export: Any):
    net = ts.ScopedModule(layer)
    with pytest.raises(Exception, match=r"net\.build\("):
        export(nn.Sequential(nn.Linear(3, 3), net), X)
    assert untouched(net) == untouched(ts.ScopedModule(layer))


@every_tracer
@pytest.mark.parametrize("model", [layer, deep], ids=["layer", "deep"])
def test_what_was_loaded_is_still_there_after_an_export_was_refused(export: Any, model: Any):
    net = loaded(model)
    before = untouched(net)
    with pytest.raises(Exception, match=r"net\.build\("):
        export(net, X)
    assert untouched(net) == before
    assert torch.equal(net(X), build(model)(X))


@pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])
def test_exporting_a_path_that_the_build_did_not_reach_names_what_is_missing(strict: bool):
    net = build(late)
    with pytest.raises(Exception, match=r"(?s)'late'.*net\.build\("):
        torch.export.export(net, (X, True), strict=strict)
    assert list(net) == list(net.state_dict()) == ["layer/w", "layer/b"]
    torch.export.export(net, (X,), strict=strict)


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
@pytest.mark.parametrize("pre_dispatch", [False, True])
def test_a_graph_traced_with_fake_tensors_leaves_none_in_an_unbuilt_net(
    mode: str, pre_dispatch: bool
):
    """What torch.compile and torch.export are made of, called directly."""
    net = ts.ScopedModule(layer)
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        make_fx(net, tracing_mode=mode, pre_dispatch=pre_dispatch)(X)
    assert untouched(net) == untouched(ts.ScopedModule(layer))


# ---- ONNX ----------------------------------------------------------------------------------------


def run_onnx(program: Any, **inputs: torch.Tensor) -> torch.Tensor:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    (output,) = session.run(None, {name: x.numpy() for name, x in inputs.items()})
    return torch.from_numpy(output)


def test_onnxruntime_gives_what_the_net_gives():
    net = build(deep)
    program = onnx(net, X)
    assert torch.allclose(run_onnx(program, x=X), net(X), atol=1e-5)
    kept = {tensor.name for tensor in program.model_proto.graph.initializer}
    assert kept <= set(net.state_dict())
    assert {"first/layer/w", "h0.layer/w", "h1.layer/w", "/keys"} <= kept


def test_an_onnx_model_takes_its_inputs_by_the_names_of_the_function():
    pytest.importorskip("onnxscript")
    scale = torch.ones(3)
    net = build(scaled, X, scale)
    program = torch.onnx.export(
        net,
        (X, scale),
        dynamo=True,
        verbose=False,
        dynamic_shapes={"image": BATCH, "scale": None},
    )
    x = torch.rand(5, 3)
    assert torch.allclose(run_onnx(program, image=x, scale=scale), net(x, scale), atol=1e-5)


# ---- torch.jit.trace -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean")
def test_a_traced_net_is_saved_and_loaded_with_its_names():
    net = build(deep)
    traced = torch.jit.trace(net, (X,))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    again = torch.jit.load(file)
    assert set(again.state_dict()) == set(net.state_dict())
    for x in (X, torch.rand(5, 3)):
        assert torch.allclose(again(x), net(x))


@pytest.mark.parametrize(
    ("trace", "match"),
    [
        (torch.jit.script, "variable number of arguments"),
        (torch.fx.symbolic_trace, r"\*args or \*\*kwargs"),
    ],
    ids=["jit.script", "fx.symbolic_trace"],
)
def test_what_reads_source_code_or_counts_arguments_refuses_a_net(trace: Any, match: str):
    """A limit that the docs name. Should this fail, it can be taken from there."""
    with pytest.raises(Exception, match=match):
        trace(build(layer))
