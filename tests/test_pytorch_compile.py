"""torch.compile: one graph for all calls, also for blocks, and what happens to late variables."""

import copy
import functools
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from models import X, layer
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.utils import parametrizations, prune

import torchscope as ts


def with_late(x: torch.Tensor, late: bool = False) -> torch.Tensor:
    x = layer(x)
    return x * ts.get_variable("late", [3]) if late else x


def deep(x: torch.Tensor) -> torch.Tensor:
    """Twelve equal blocks in scopes of their own, with a variable beside each."""
    for number in range(12):
        with ts.variable_scope(f"part{number}"):
            x = ts.get_module("block", functools.partial(ts.ScopedModule, layer))(x)
            x = x + ts.get_variable("shift", [3])
    return x


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it compiles
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
        yield
    torch._dynamo.reset()


@pytest.fixture
def counter() -> CompileCounter:
    return CompileCounter()


def graphs(counter: CompileCounter, calls: int, call: Callable[[], Any]) -> list[int]:
    """How many graphs were compiled after each call, from the first on."""
    found = []
    for _ in range(calls):
        call()
        found.append(counter.frame_count)
    return found


class Runs:
    """A backend that counts how many graphs are run: more than one a call are pieces."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            self.count += 1
            return graph.forward(*args)

        return run

    def of(self, call: Callable[[], Any]) -> int:
        """How many graphs one call runs, once it has been called before."""
        for _ in range(2):
            call()
        self.count = 0
        call()
        return self.count


def train(module: Callable[..., torch.Tensor], net: nn.Module, steps: int = 3) -> list[float]:
    optimizer = torch.optim.Adam(net.named_parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (module(X) - 1).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# ---- one graph -----------------------------------------------------------------------------------


def dense(x: torch.Tensor) -> torch.Tensor:
    return x @ ts.get_variable("w", [3, 3])


def templates(x: torch.Tensor) -> torch.Tensor:
    template = ts.make_template("template", dense)
    return template(template(x)) + fixed(x)


fixed = ts.make_template("fixed", dense)


def getters(x: torch.Tensor) -> torch.Tensor:
    def doubled(getter: Any, name: str, *args: Any, **kwargs: Any) -> torch.Tensor:
        return getter(name, *args, **kwargs) * 2

    with ts.variable_scope("scope", custom_getter=doubled, initializer=ts.ones_initializer()):
        return layer(x)


def collections(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("scope", regularizer=ts.l2_regularizer(0.1)):
        x = layer(x)
    ts.add_to_collection("losses", x.sum())
    weights = sum(variable.sum() for variable in ts.trainable_variables("scope"))
    return x + ts.get_regularization_loss() + sum(ts.get_collection("losses")) + weights


def numpy_dtypes(x: torch.Tensor) -> torch.Tensor:
    return x @ ts.get_variable("w", [3, 3], dtype=np.float32)


def averages(x: torch.Tensor) -> torch.Tensor:
    mean = ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
    ts.assign_add(mean, x.mean(0))
    return layer(x) - mean


def managers(x: torch.Tensor) -> torch.Tensor:
    """Openings entered more than once: beside, inside and after one that reuses."""
    opening = ts.variable_scope("beside")
    with opening:
        x = dense(x)
    with opening:
        x = layer(x)
    opening = ts.variable_scope("inside")
    with opening:
        x = dense(x)
        with opening:
            x = dense(x)
    with ts.variable_scope("outer"), ts.variable_scope("sticks"):
        x = dense(x)
    opening = ts.variable_scope("sticks")
    with ts.variable_scope("outer", reuse=True), opening:
        x = dense(x)
    with opening as scope:
        return x * 2 if scope.reuse else x


def scopes(x: torch.Tensor) -> torch.Tensor:
    """Scopes entered again, by default names, by paths and with settings."""
    with ts.variable_scope("a") as scope:
        x = dense(x)
    with ts.variable_scope(scope, reuse=True):
        x = dense(x)
    for _ in range(2):
        with ts.variable_scope(None, "default"):
            x = dense(x)
    with ts.variable_scope("by/path", initializer=ts.ones_initializer()):
        return dense(x)


@pytest.mark.parametrize(
    "model",
    [templates, getters, collections, numpy_dtypes, averages, deep, managers, scopes],
    ids=lambda model: model.__name__,
)
def test_a_model_compiles_to_one_graph_that_gives_what_it_gives_eagerly(
    counter: CompileCounter, model: Any
):
    net = ts.ScopedModule(model).build(X)
    eager = copy.deepcopy(net)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for _ in range(4):
        assert torch.allclose(compiled(X), eager(X), atol=1e-5)
    assert counter.frame_count == 1


def test_a_scope_kept_by_compiled_code_is_the_one_that_eager_code_keeps(counter: CompileCounter):
    kept: list[ts.VariableScope] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("outer", reuse=ts.AUTO_REUSE), ts.variable_scope("inner") as scope:
            kept.append(scope)
            return dense(x)

    net = ts.ScopedModule(model).build(X)
    torch.compile(net, backend=counter, fullgraph=True)(X)
    eager, compiled = (copy.copy(scope) for scope in kept)
    assert (compiled.name, compiled.reuse) == (eager.name, eager.reuse)
    assert (eager.name, eager.reuse) == ("outer/inner", ts.AUTO_REUSE)
    with net, ts.variable_scope(kept[1]):
        assert ts.get_variable("w", [3, 3]) is net["outer/inner/w"]
    for scope in kept:
        with net, pytest.raises(TypeError, match="context manager"), scope:  # type: ignore[attr-defined]
            pass


def test_scopes_left_out_of_order_are_an_error_when_compiled_too():
    def model(x: torch.Tensor, wrong: bool = False) -> torch.Tensor:
        outer, inner = ts.variable_scope("outer"), ts.variable_scope("inner")
        outer.__enter__()
        inner.__enter__()
        for opening in (outer, inner) if wrong else (inner, outer):
            opening.__exit__(None, None, None)
        return dense(x)

    net = ts.ScopedModule(model).build(X)
    compiled = torch.compile(net, backend="eager")
    assert torch.equal(compiled(X), net(X))
    with pytest.raises(ts.ScopeOrderError, match="'outer/inner' is still open"):
        compiled(X, wrong=True)
    assert torch.equal(compiled(X), net(X))


def test_what_does_not_change_the_model_does_not_recompile_it(counter: CompileCounter):
    net = ts.ScopedModule(layer).build(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    compiled(X)
    between: list[Callable[[], Any]] = [
        lambda: net.eval(),
        lambda: net.train(),
        lambda: net.build(X),
        lambda: net.load_state_dict(ts.ScopedModule(layer).build(X).state_dict()),
        lambda: net.load_state_dict(
            ts.ScopedModule(layer).build(X).state_dict(), strict=False, assign=True
        ),
        lambda: net.reset_parameters(),
        lambda: net.name_of(net["layer/w"]),
        lambda: net.__setitem__("layer/b", nn.Parameter(torch.ones(3))),
        lambda: net.finalize(),
        lambda: ts.ScopedModule(layer).build(X),
    ]
    for work in between:
        work()
        assert torch.allclose(compiled(X), net(X))
    assert counter.frame_count == 1


def test_batches_of_any_size_take_one_more_graph(counter: CompileCounter):
    net = ts.ScopedModule(layer).build(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for size in (2, 3, 4, 5):
        assert compiled(torch.ones(size, 3)).shape == (size, 3)
    assert counter.frame_count == 2
    dynamic = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(net, backend=dynamic, fullgraph=True, dynamic=True)
    for size in (2, 3, 4, 5):
        compiled(torch.ones(size, 3))
    assert dynamic.frame_count == 1


def test_a_copy_shares_the_graph(counter: CompileCounter):
    net = ts.ScopedModule(layer).build(X)
    for module in (net, copy.deepcopy(net), ts.ScopedModule(layer).build(X)):
        torch.compile(module, backend=counter, fullgraph=True)(X)
    assert counter.frame_count == 1


@pytest.mark.parametrize("default_store_used", [False, True], ids=["", "default store used"])
def test_what_one_thread_has_compiled_serves_all(counter: CompileCounter, default_store_used: bool):
    if default_store_used:
        ts.get_variable("w", [1])
    net = ts.ScopedModule(layer).build(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    expected = compiled(X)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: compiled(X), range(20)))
    assert all(torch.equal(result, expected) for result in results)
    assert counter.frame_count == 1


def test_a_function_of_an_entered_store_is_compiled_once(counter: CompileCounter):
    store = ts.VariableStore()
    store(layer, X)
    compiled = torch.compile(layer, backend=counter, fullgraph=True)

    def call() -> None:
        with store:
            assert torch.allclose(compiled(X), expected)

    expected = store(layer, X)
    assert graphs(counter, 3, call) == [1, 1, 1]


# ---- blocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True], ids=["forward", "training"])
def test_one_compilation_serves_twelve_equal_blocks(counter: CompileCounter, training: bool):
    net = ts.ScopedModule(deep).build(X)
    eager = copy.deepcopy(net)
    blocks = list(net.children())
    assert len(blocks) == 12
    for block in blocks:
        block.compile(backend=counter, fullgraph=True)
    x = X.clone().requires_grad_()  # As every block after the first gets it.
    for _ in range(3):
        for model in (net, eager):
            model.zero_grad()
            result = model(x)
            if training:
                result.sum().backward()
    assert torch.allclose(net(x), eager(x))
    assert counter.frame_count == 1
    for name, value in eager.named_parameters():
        grad = net.get_parameter(name).grad
        assert value.grad is None if not training else torch.allclose(grad, value.grad, atol=1e-6)


def test_blocks_compiled_before_they_are_built_run_once_and_then_share_a_compilation(
    counter: CompileCounter,
):
    def block() -> ts.ScopedModule:
        made = ts.ScopedModule(layer)
        made.compile(backend=counter)
        return made

    def model(x: torch.Tensor) -> torch.Tensor:
        for number in range(12):
            x = ts.get_module(f"h{number}", block)(x)
        return x

    net = ts.ScopedModule(model)
    x = X.clone().requires_grad_()
    assert graphs(counter, 3, lambda: net(x)) == [0, 1, 1]


def different(number: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model with code of its own, as every class of modules has."""
    place: dict[str, Any] = {"layer": layer}
    exec(f"def model{number}(x): return layer(x) + {number}", place)
    return place[f"model{number}"]


@pytest.mark.parametrize("method", [False, True], ids=["torch.compile", "compile()"])
@pytest.mark.parametrize("wrap", [lambda fn: fn, functools.partial], ids=["function", "partial"])
def test_a_process_may_compile_any_number_of_models(
    counter: CompileCounter, method: bool, wrap: Callable[..., Any]
):
    """torch compiles no code object for more than 8 cases, then silently runs it as it is."""
    found = []
    for number in range(12):
        net = ts.ScopedModule(wrap(different(number))).build(X)
        compiled = torch.compile(net, backend=counter)
        if method:
            net.compile(backend=counter)
            compiled = net
        assert torch.allclose(compiled(X), net.forward(X))
        found.append(counter.frame_count)
    assert found == list(range(1, 13))


# ---- before the build ----------------------------------------------------------------------------


class Outer(nn.Module):
    """Unbuilt nets among ordinary layers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.first, self.second = (ts.ScopedModule(layer) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(self.linear(x))))


def loaded() -> ts.ScopedModule:
    net = ts.ScopedModule(layer)
    net.load_state_dict(ts.ScopedModule(layer, seed=1).build(X).state_dict())
    return net


UNBUILT: dict[str, Callable[[], nn.Module]] = {
    "net": lambda: ts.ScopedModule(layer),
    "blocks": lambda: ts.ScopedModule(deep),
    "inside a module": Outer,
    "loaded": loaded,
}


@pytest.mark.parametrize("method", [False, True], ids=["torch.compile", "compile()"])
@pytest.mark.parametrize("make", UNBUILT.values(), ids=UNBUILT)
def test_what_is_unbuilt_runs_once_eagerly_and_then_compiles_to_one_graph(
    counter: CompileCounter, make: Any, method: bool
):
    net = make()
    reference = copy.deepcopy(net)
    compiled = torch.compile(net, backend=counter)
    if method:
        net.compile(backend=counter)
        compiled = net
    first, second, *rest = graphs(counter, 4, lambda: compiled(X))
    assert first == (2 if make is Outer else 0)  # Of the layers between the nets.
    assert second == first + 1
    assert rest == [second, second]
    assert torch.allclose(compiled(X), reference(X))


def test_a_first_pass_that_fails_is_run_eagerly_again(counter: CompileCounter):
    fails = True

    def model(x: torch.Tensor) -> torch.Tensor:
        x = layer(x)
        if fails:
            raise ZeroDivisionError("mine")
        return x * ts.get_variable("last", [3])

    net = ts.ScopedModule(model)
    compiled = torch.compile(net, backend=counter)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="mine"):
            compiled(X)
    fails = False
    assert graphs(counter, 3, lambda: compiled(X)) == [0, 1, 1]
    assert torch.allclose(compiled(X), net(X))


def test_what_was_loaded_is_still_there_after_fullgraph_was_refused(counter: CompileCounter):
    net = loaded()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    with pytest.raises(Exception, match=r"net\.build\("):
        compiled(X)
    assert list(net) == ["layer/w", "layer/b"]
    assert not net.built
    net.build(X)
    assert torch.allclose(compiled(X), ts.ScopedModule(layer, seed=1).build(X)(X))
    assert counter.frame_count == 1


def test_a_state_dict_goes_through_the_compiled_module(counter: CompileCounter):
    source = torch.compile(ts.ScopedModule(layer, seed=1).build(X), backend=counter)
    net = ts.ScopedModule(layer)
    compiled = torch.compile(net, backend=counter)
    compiled.load_state_dict(source.state_dict())
    assert torch.equal(compiled(X), source(X))
    assert list(net) == ["layer/w", "layer/b"]


# ---- late variables ------------------------------------------------------------------------------


def test_a_variable_added_later_does_not_recompile_the_rest(counter: CompileCounter):
    net = ts.ScopedModule(with_late).build(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    compiled(X)
    with pytest.warns(ts.ScopeWarning, match="'late'"):
        net(X, late=True)
    compiled(X)
    assert counter.frame_count == 1
    assert graphs(counter, 3, lambda: compiled(X, late=True)) == [2, 2, 2]
    assert torch.equal(compiled(X, late=True), net(X, late=True))


@pytest.mark.filterwarnings("ignore::torchscope.ScopeWarning")
def test_a_variable_first_asked_for_by_compiled_code_does_not_leave_it_in_pieces():
    """It is made eagerly, and from then on the code is whole again."""
    runs = Runs()
    net = ts.ScopedModule(with_late).build(X)
    compiled = torch.compile(net, backend=runs)
    assert runs.of(lambda: compiled(X)) == 1
    compiled(X, late=True)
    assert torch.allclose(compiled(X, late=True), net(X, late=True))
    assert runs.of(lambda: compiled(X, late=True)) == 1
    assert runs.of(lambda: compiled(X)) == 1


@pytest.mark.filterwarnings("ignore::torchscope.ScopeWarning")
def test_a_late_variable_of_one_net_does_not_leave_another_in_pieces():
    runs = Runs()
    net = ts.ScopedModule(with_late).build(X)
    compiled = torch.compile(net, backend="eager")
    compiled(X)
    compiled(X, late=True)
    other = ts.ScopedModule(different(0))
    compiled_other = torch.compile(other, backend=runs)
    assert runs.of(lambda: compiled_other(X)) == 1
    assert torch.allclose(compiled_other(X), other(X))


def decode(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("decode", reuse=ts.AUTO_REUSE):
        return torch.relu(layer(x))


def of_a_store_that_is_built(backend: Any) -> Callable[[], torch.Tensor]:
    """By another function: what this one asks for is not there yet."""
    store = ts.VariableStore(seed=0)
    store(layer, X)
    compiled = torch.compile(lambda x: store(decode, x), backend=backend)
    return lambda: compiled(X)


def of_a_store_that_is_entered(backend: Any) -> Callable[[], torch.Tensor]:
    store = ts.VariableStore(seed=0)
    compiled = torch.compile(decode, backend=backend)

    def call() -> torch.Tensor:
        with store:
            return compiled(X)

    return call


def of_the_default_store(backend: Any) -> Callable[[], torch.Tensor]:
    compiled = torch.compile(decode, backend=backend)
    return lambda: compiled(X)


@pytest.mark.parametrize(
    "make", [of_a_store_that_is_built, of_a_store_that_is_entered, of_the_default_store]
)
def test_a_function_compiled_before_its_variables_are_made_warns_that_it_stays_eager(make: Any):
    call = make(Runs())
    with pytest.warns(ts.ScopeWarning, match=r"'decode/layer/[wb]'.*torch.compile will never"):
        result = call()
    assert torch.allclose(call(), result)


LATE: dict[str, Callable[[], Any]] = {
    "variable": lambda: ts.get_variable("late", [3]),
    "buffer": lambda: ts.get_buffer("late", [3]),
    "module": lambda: ts.get_module("late", lambda: nn.Linear(3, 3)).weight[0],
}


@pytest.mark.parametrize("ask", LATE.values(), ids=LATE)
def test_under_fullgraph_a_variable_that_is_not_there_is_an_error_that_names_it_and_build(
    counter: CompileCounter, ask: Any
):
    def model(x: torch.Tensor, late: bool = False) -> torch.Tensor:
        return layer(x) * (ask() if late else 1.0)

    net = ts.ScopedModule(model).build(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    compiled(X)
    with pytest.raises(Exception, match=r"(?s)'late'.*net\.build\("):
        compiled(X, late=True)
    assert list(net) == list(net.state_dict()) == ["layer/w", "layer/b"]
    assert torch.allclose(compiled(X), net(X))


# ---- together with other tools -------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda net: parametrizations.weight_norm(net, "layer/w"),
        lambda net: parametrizations.spectral_norm(net.eval(), "layer/w"),
        lambda net: prune.l1_unstructured(net, "layer/w", amount=0.5),
    ],
    ids=["weight_norm", "spectral_norm", "prune"],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_changed_variable_compiles_too(counter: CompileCounter, change: Any, when: str):
    net = ts.ScopedModule(layer).build(X)
    compiled = torch.compile(net, backend=counter)
    if when == "after":
        compiled(X)
    change(net)
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(2.0)
    graphs(counter, 1, lambda: compiled(X))
    once = counter.frame_count
    assert once == (2 if when == "after" else 1)
    assert graphs(counter, 2, lambda: compiled(X)) == [once, once]
    assert torch.allclose(compiled(X), net(X))


def test_a_parameter_that_becomes_a_plain_tensor_is_seen(counter: CompileCounter):
    """As FSDP does it, and functional_call."""
    net = ts.ScopedModule(layer).build(X)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    compiled(X)
    weight = net._parameters.pop("layer/w")
    setattr(net, "layer/w", weight.detach() * 2)
    assert torch.allclose(compiled(X), net(X))
    delattr(net, "layer/w")
    net.register_parameter("layer/w", nn.Parameter(weight.detach() * 3))
    assert torch.allclose(compiled(X), net(X))
    assert torch.allclose(net(X), torch.tanh(X @ weight * 3 + net["layer/b"]))


def test_functional_call_and_per_example_gradients_compile(counter: CompileCounter):
    net = ts.ScopedModule(layer).build(X)
    parameters = dict(net.named_parameters())

    def loss(given: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, given, (x[None],)).sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))
    compiled = torch.compile(each, backend=counter, fullgraph=True)
    for _ in range(3):
        found, expected = compiled(parameters, X), each(parameters, X)
    assert all(torch.allclose(found[name], expected[name]) for name in expected)
    assert counter.frame_count == 1


# ---- training ------------------------------------------------------------------------------------


def twin_nets(model: Callable[..., Any]) -> tuple[ts.ScopedModule, ts.ScopedModule]:
    net = ts.ScopedModule(model, seed=0).build(X)
    return net, copy.deepcopy(net)


def test_a_deep_net_trains_compiled_as_it_does_eagerly():
    net, eager = twin_nets(deep)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    assert train(compiled, net) == pytest.approx(train(eager, eager), rel=1e-4)


@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="inductor needs a C++ compiler"
)
def test_inductor_trains_as_eager_does():
    net, eager = twin_nets(collections)
    compiled = torch.compile(net, fullgraph=True)
    assert train(compiled, net) == pytest.approx(train(eager, eager), rel=1e-4)


@pytest.mark.parametrize("change", ["declared anew", "made later"])
def test_a_store_that_changed_since_its_build_speaks_for_no_store_built_alike(change: str):
    def model(x: torch.Tensor, name: str, size: int) -> torch.Tensor:
        return x * ts.get_variable(name, [size], initializer=ts.ones_initializer()).sum()

    one, other = (ts.ScopedModule(model).build(X, "w", 3) for _ in range(2))
    name = "w"
    if change == "declared anew":
        other["w"] = torch.nn.Parameter(torch.ones(4))
    else:
        name = "late"
        with pytest.warns(ts.ScopeWarning, match="made after the net was built"):
            one(X, name, 3)
        with pytest.warns(ts.ScopeWarning, match="made after the net was built"):
            other(X, name, 4)
    with pytest.raises(ts.VariableMismatchError, match=r"has shape \(3,\)"):
        one(X, name, 4)
    compiled = torch.compile(one, backend="eager")
    with pytest.raises(Exception, match=r"has shape \(3,\)"):
        compiled(X, name, 4)
