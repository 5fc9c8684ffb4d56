"""bind: what is computed again in the backward pass finds its variables, and nothing else."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom
from models import X, dense
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchscope as ts

PLAIN = functools.partial(checkpoint, use_reentrant=False)
REENTRANT = functools.partial(checkpoint, use_reentrant=True)


def bound(run: Callable[..., Any], fn: Callable[..., Any], *args: Any) -> Any:
    return run(ts.bind(fn), *args)


def with_context(fn: Callable[..., Any], *args: Any) -> Any:
    return PLAIN(fn, *args, context_fn=ts.bind)


def unchecked(fn: Callable[..., Any], *args: Any) -> Any:
    return fn(*args)


RUNS: dict[str, Callable[..., Any]] = {
    "bind, not reentrant": functools.partial(bound, PLAIN),
    "bind, reentrant": functools.partial(bound, REENTRANT),
    "context_fn": with_context,
}
each_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
UNBOUND = {"not reentrant": PLAIN, "reentrant": REENTRANT}
each_unbound = pytest.mark.parametrize("run", UNBOUND.values(), ids=UNBOUND)


def dropped(x: torch.Tensor) -> torch.Tensor:
    return F.dropout(dense(x), 0.5)


def default_names(x: torch.Tensor) -> torch.Tensor:
    for _ in range(2):
        with ts.variable_scope(None, "default"):
            x = dense(x)
    return x


def templates(x: torch.Tensor) -> torch.Tensor:
    template = ts.make_template("template", dense)
    return template(template(x))


def with_a_module(x: torch.Tensor) -> torch.Tensor:
    x = ts.get_module("dense", functools.partial(nn.Linear, 3, 3))(x)
    return ts.get_module("block", functools.partial(ts.ScopedModule, dense))(x)


def reusing(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("shared") as scope:
        x = dense(x)
        scope.reuse_variables()
        x = dense(x)
    with ts.variable_scope(scope, reuse=True):
        return dense(x)


BODIES = [dense, dropped, default_names, templates, with_a_module, reusing]
each_body = pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)


def trained(run: Callable[..., Any], body: Callable[..., Any]) -> tuple[Any, dict[str, Any]]:
    """Output and gradients of two layers, each run by ``run``, from the same start."""
    torch.manual_seed(7)
    store = ts.VariableStore(0)
    x = X.clone().requires_grad_()
    with store, ts.variable_scope("model"):
        y = x
        for name in ("first", "second"):
            with ts.variable_scope(name):
                y = run(body, y)
        with ts.variable_scope("last"):
            y = dense(y)
    y.sum().backward()
    gradients = {name: variable.grad for name, variable in store.named_variables()}
    return y, {**gradients, "x": x.grad}


@each_run
@each_body
def test_gradients_equal_those_of_the_unchecked_run(run: Any, body: Any):
    expected, expected_gradients = trained(unchecked, body)
    result, gradients = trained(run, body)
    assert torch.equal(result, expected)
    assert list(gradients) == list(expected_gradients)
    for name, gradient in expected_gradients.items():
        assert gradient is not None, name
        assert torch.equal(gradients[name], gradient), name


@each_run
def test_it_works_in_a_scoped_module_at_every_step(run: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("block"):
            x = run(dropped, x)
        return dense(x)

    net = ts.ScopedModule(model, seed=0)
    x = X.clone().requires_grad_()
    net.build(x)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(x).sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
        optimizer.step()
    assert list(net) == ["block/w", "block/b", "w", "b"]


@each_run
def test_what_the_bound_function_met_is_met_in_the_pass(store: ts.VariableStore, run: Any):
    x = X.clone().requires_grad_()
    run(dense, x)
    with pytest.raises(ts.VariableExistsError, match="'w'"):
        dense(x)
    assert list(store) == ["w", "b"]


@each_run
def test_default_names_go_on_after_the_bound_function(store: ts.VariableStore, run: Any):
    run(default_names, X.clone().requires_grad_())
    with ts.variable_scope(None, "default") as scope:
        assert scope.name == "default_2"
    assert list(store) == ["default/w", "default/b", "default_1/w", "default_1/b"]


def in_a_thread(work: Callable[[], Any]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def plainly(work: Callable[[], Any]) -> None:
    work()


PLACES: dict[str, Callable[[Callable[[], Any]], None]] = {
    "this thread": plainly,
    "another thread": in_a_thread,
}


@each_run
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("reuse", [None, True, ts.AUTO_REUSE], ids=str)
def test_backward_inside_another_store_and_scope_touches_nothing_there(
    run: Any, place: Any, reuse: Any
):
    store, other = ts.VariableStore(0), ts.VariableStore(1)
    x = X.clone().requires_grad_()
    with store, ts.variable_scope("a"):
        y = run(dense, x)

    def backward() -> None:
        with other, ts.variable_scope("b", reuse=reuse):
            y.sum().backward()

    place(backward)
    assert list(other) == []
    assert list(store) == ["a/w", "a/b"]
    assert all(variable.grad is not None for variable in store.values())


@each_run
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_backward_inside_another_scope_of_the_same_store_finds_the_right_variable(
    run: Any, place: Any
):
    store = ts.VariableStore(0)
    x = X.clone().requires_grad_()
    with store:
        with ts.variable_scope("b"):
            dense(X)
        with ts.variable_scope("a"):
            y = run(dense, x)

    def backward() -> None:
        with store, ts.variable_scope("b", reuse=ts.AUTO_REUSE):
            y.sum().backward()

    place(backward)
    assert list(store) == ["b/w", "b/b", "a/w", "a/b"]
    assert store["b/w"].grad is None
    assert store["a/w"].grad is not None


@each_run
def test_backward_within_the_pass_is_fine(store: ts.VariableStore, run: Any):
    with ts.variable_scope("a") as scope:
        run(dense, X.clone().requires_grad_()).sum().backward()
        assert ts.get_variable_scope() is scope
    assert store["a/w"].grad is not None
    with ts.variable_scope("a"), pytest.raises(ts.VariableExistsError, match="'a/w'"):
        ts.get_variable("w", [3, 3])


@each_run
def test_it_works_on_the_default_store(run: Any):
    with ts.variable_scope("a"):
        y = run(dense, X.clone().requires_grad_())
    y.sum().backward()
    assert list(ts.default_store()) == ["a/w", "a/b"]
    assert ts.default_store()["a/w"].grad is not None
    with ts.variable_scope("a"), pytest.raises(ts.VariableExistsError, match="'a/w'"):
        ts.get_variable("w", [3, 3])


@each_run
def test_bound_functions_may_lie_in_one_another(store: ts.VariableStore, run: Any):
    def outer(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("inner"):
            x = run(dense, x)
        return dense(x)

    with ts.variable_scope("outer"):
        y = run(outer, X.clone().requires_grad_())
    y.sum().backward()
    assert list(store) == ["outer/inner/w", "outer/inner/b", "outer/w", "outer/b"]
    assert all(variable.grad is not None for variable in store.values())


def test_a_bound_function_called_twice_starts_from_the_same_place(store: ts.VariableStore):
    with ts.variable_scope("a"):
        again = ts.bind(default_names)
        y = again(again(X))
    assert list(store) == [f"a/default{n}/{name}" for n in ("", "_1") for name in "wb"]
    y.sum().backward()


def test_a_bound_function_called_after_its_pass_finds_the_same_variables():
    store = ts.VariableStore()
    with store, ts.variable_scope("a"):
        again = ts.bind(dense)
        expected = again(X)
    assert torch.equal(again(X), expected)
    with ts.VariableStore() as other, ts.variable_scope("b"):
        assert torch.equal(again(X), expected)
        assert ts.get_variable_scope().name == "b"
    assert list(other) == []
    assert list(store) == ["a/w", "a/b"]


def test_a_bound_function_keeps_name_arguments_and_result():
    def body(x: int, *, y: int) -> tuple[int, int]:
        """What it does."""
        return x, y

    with ts.VariableStore():
        again = ts.bind(body)
    assert again(1, y=2) == (1, 2)
    assert again.__name__ == "body"
    assert again.__doc__ == "What it does."


def test_scopes_changed_after_binding_do_not_matter(store: ts.VariableStore):
    with ts.variable_scope("a") as scope:
        again = ts.bind(dense)
        again(X)
        scope.reuse_variables()
        scope.set_dtype(torch.float64)
        again(X)


def test_changes_of_the_scope_inside_do_not_leak(store: ts.VariableStore):
    def body() -> None:
        ts.get_variable_scope().reuse_variables()

    with ts.variable_scope("a") as scope:
        ts.bind(body)()
        assert scope.reuse is False


def test_an_error_inside_leaves_the_scopes_as_they_were(store: ts.VariableStore):
    def body() -> None:
        with ts.variable_scope("inner"):
            raise ZeroDivisionError("mine")

    with ts.variable_scope("a"):
        with pytest.raises(ZeroDivisionError, match="mine"):
            ts.bind(body)()
        assert ts.get_variable_scope().name == "a"


@each_run
def test_values_collected_inside_are_kept_once(store: ts.VariableStore, run: Any):
    def body(x: torch.Tensor) -> torch.Tensor:
        y = dense(x)
        ts.add_to_collection("losses", y.sum())
        return y

    run(body, X.clone().requires_grad_()).sum().backward()
    assert len(ts.get_collection("losses")) == 1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_bound_function_in_a_compiled_module_gives_the_same_gradients():
    def model(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("block"):
            x = PLAIN(ts.bind(dense), x)
        return dense(x)

    net = ts.ScopedModule(model, seed=0).build(X)
    x = X.clone().requires_grad_()
    gradients = []
    for run in (net, torch.compile(net, backend="eager")):
        net.zero_grad()
        run(x).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in net.parameters()])
    torch._dynamo.reset()
    for first, second in zip(*gradients, strict=True):
        assert torch.allclose(first, second)


class Layer:
    def __call__(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return dense(x) * scale

    def method(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return dense(x) * scale


def scaled(scale: float, x: torch.Tensor, shift: float = 0.0) -> torch.Tensor:
    return dense(x) * scale + shift


CALLABLES: dict[str, Callable[[], Callable[..., Any]]] = {
    "partial": lambda: functools.partial(scaled, 2.0),
    "partial by keyword": lambda: functools.partial(Layer().method, scale=2.0),
    "partial of a partial": lambda: functools.partial(functools.partial(scaled, 2.0), shift=1.0),
    "partial of a method": lambda: functools.partial(Layer().method),
    "partial of an object": lambda: functools.partial(Layer(), scale=2.0),
    "partial of a lambda": lambda: functools.partial(lambda scale, x: dense(x) * scale, 2.0),
    "method": lambda: Layer().method,
    "object": Layer,
}


@pytest.mark.parametrize("made", ["while compiling", "before"])
@pytest.mark.parametrize("kind", CALLABLES.values(), ids=CALLABLES)
def test_any_callable_can_be_bound_in_compiled_code(kind: Any, made: str):
    fn = kind()

    def model(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("block"):
            x = ts.bind(fn if made == "before" else kind())(x)
        return dense(x)

    torch._dynamo.reset()
    net = ts.ScopedModule(model, seed=0).build(X)
    assert list(net) == ["block/w", "block/b", "w", "b"]
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(compiled(X), net(X))
    compiled(X).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_bound_partial_runs_with_its_arguments():
    with ts.VariableStore() as store, ts.variable_scope("block"):
        again = ts.bind(functools.partial(scaled, 2.0, shift=1.0))
    assert torch.equal(again(X), scaled_in(store, 2.0) + 1.0)


def scaled_in(store: ts.VariableStore, scale: float) -> torch.Tensor:
    with store, ts.variable_scope("block", reuse=True):
        return scaled(scale, X)


# ---- without bind --------------------------------------------------------------------------------


@each_unbound
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("ask", ["get_variable", "get_module"])
def test_unbound_recomputing_is_an_error_that_names_bind(run: Any, place: Any, ask: str):
    body = dense if ask == "get_variable" else with_a_module
    store = ts.VariableStore()
    x = X.clone().requires_grad_()
    with store, ts.variable_scope("a"):
        y = run(body, x)
    before = list(store.state_dict())
    with pytest.raises(ts.NotBuiltError, match=r"ts\.bind\("):
        place(y.sum().backward)
    assert list(store.state_dict()) == before
    assert list(ts.default_store()) == list(ts.default_store().state_dict()) == []


@each_unbound
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("same_store", [False, True])
@pytest.mark.parametrize("reuse", [None, True, ts.AUTO_REUSE], ids=str)
def test_unbound_recomputing_inside_another_scope_makes_nothing_and_fetches_nothing(
    run: Any, place: Any, same_store: bool, reuse: Any
):
    store = ts.VariableStore()
    other = store if same_store else ts.VariableStore()
    with other, ts.variable_scope("b"):
        dense(X)
    x = X.clone().requires_grad_()
    with store, ts.variable_scope("a"):
        y = run(dense, x)
    names = list(store)

    def backward() -> None:
        with other, ts.variable_scope("b", reuse=reuse):
            y.sum().backward()

    with pytest.raises(ts.NotBuiltError, match=r"ts\.bind\("):
        place(backward)
    assert list(store) == names
    assert list(other)[:2] == ["b/w", "b/b"]
    assert all(variable.grad is None for variable in other.values())


@each_unbound
def test_a_scoped_module_under_checkpoint_needs_no_bind(run: Any):
    def model(inner: ts.ScopedModule, x: torch.Tensor, run: Any) -> torch.Tensor:
        return run(inner, x).sum()

    nets = [ts.ScopedModule(default_names, seed=0) for _ in range(2)]
    for net, way in zip(nets, [unchecked, run], strict=True):
        model(net, X.clone().requires_grad_(), way).backward()
    for first, second in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(first.grad, second.grad)


def test_a_hook_in_the_backward_pass_cannot_ask_for_a_variable(store: ts.VariableStore):
    y = dense(X)
    y.register_hook(lambda gradient: gradient * ts.get_variable("scale", [3]))
    with pytest.raises(ts.NotBuiltError, match=r"'scale' was asked for while gradients"):
        y.sum().backward()
    assert list(store) == ["w", "b"]


def test_a_pass_that_begins_in_a_backward_pass_is_fine():
    store = ts.VariableStore()
    y = layer_on(store)
    y.register_hook(lambda gradient: gradient + 0 * layer_on(store).detach())
    y.sum().backward()
    assert list(store) == ["w", "b"]


def layer_on(store: ts.VariableStore) -> torch.Tensor:
    return store(dense, X)
