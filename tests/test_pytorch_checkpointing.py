"""Activation checkpointing beyond tests/test_bind.py: torch's other settings, and compiled code."""

import functools
import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom
from models import dense
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    set_checkpoint_early_stop,
)

import torchscope as ts

X = torch.arange(12.0).reshape(4, 3) / 10


def block(x: torch.Tensor) -> torch.Tensor:
    """Two layers and a dropout, which draws from the ambient random stream."""
    for name in ("in", "out"):
        with ts.variable_scope(name):
            x = F.dropout(dense(x), 0.2)
    return x


def unchecked(fn: Callable[..., Any], x: torch.Tensor) -> Any:
    return fn(x)


def bound(fn: Callable[..., Any], x: torch.Tensor, **settings: Any) -> Any:
    return checkpoint(ts.bind(fn), x, **{"use_reentrant": False, **settings})


def with_context(fn: Callable[..., Any], x: torch.Tensor, **settings: Any) -> Any:
    return checkpoint(fn, x, use_reentrant=False, context_fn=ts.bind, **settings)


RUNS: dict[str, Callable[..., Any]] = {
    "bind, not reentrant": bound,
    "bind, reentrant": functools.partial(bound, use_reentrant=True),
    "context_fn": with_context,
}
# torch says so where no gradient is kept: in a build, and in what lies in a reentrant checkpoint.
no_gradients_are_fine = pytest.mark.filterwarnings(
    "ignore:None of the inputs have requires_grad:UserWarning"
)
each_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
each_non_reentrant_run = pytest.mark.parametrize(
    "run", [bound, with_context], ids=["bind", "context_fn"]
)


def blocks(run: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
    """Three blocks, each run by ``run``, in scopes of their own."""
    for number in range(3):
        with ts.variable_scope(f"block{number}"):
            x = run(block, x)
    return x


def gradients(run: Callable[..., Any]) -> dict[str, torch.Tensor]:
    """The gradients of a first pass, in which everything is made; dropout from seed 7."""
    store, x = ts.VariableStore(0), X.clone().requires_grad_()
    torch.manual_seed(7)
    store(blocks, run, x).square().sum().backward()
    return {name: variable.grad for name, variable in store.items()} | {"x": x.grad}


def check_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    different = [name for name in expected if not torch.equal(found[name], expected[name])]
    assert different == []
    assert all(gradient.any() for gradient in expected.values())


# ---- torch's other settings ----------------------------------------------------------------------


@each_run
def test_a_checkpointed_first_pass_is_computed_twice_with_the_gradients_of_one(run: Any):
    calls: list[str] = []

    def counted(fn: Callable[..., Any], x: torch.Tensor) -> Any:
        def body(x: torch.Tensor) -> torch.Tensor:
            calls.append(ts.get_variable_scope().name)
            return fn(x)

        return run(body, x)

    check_equal(gradients(counted), gradients(unchecked))
    names = [f"block{number}" for number in range(3)]
    assert calls == [*names, *reversed(names)]


def saving_matmuls() -> Any:
    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        matmul = op == torch.ops.aten.mm.default
        return CheckpointPolicy.MUST_SAVE if matmul else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


def test_a_bound_function_leaves_context_fn_free_for_selective_checkpointing():
    check_equal(
        gradients(functools.partial(bound, context_fn=saving_matmuls)), gradients(unchecked)
    )


@each_non_reentrant_run
@pytest.mark.parametrize("early", [False, True])
def test_recomputing_may_stop_early_or_not(run: Any, early: bool):
    with set_checkpoint_early_stop(early):
        check_equal(gradients(run), gradients(unchecked))
    assert ts.get_variable_scope().name == ""


@each_run
def test_saved_tensors_may_lie_on_the_cpu(run: Any):
    with torch.autograd.graph.save_on_cpu():
        check_equal(gradients(run), gradients(unchecked))


@each_run
def test_a_graph_that_is_retained_is_recomputed_again(run: Any):
    store, x = ts.VariableStore(0), X.clone().requires_grad_()
    loss = store(run, block, x).sum()
    loss.backward(retain_graph=True)
    once = {name: variable.grad.clone() for name, variable in store.items()}
    loss.backward()
    assert all(torch.equal(store[name].grad, 2 * gradient) for name, gradient in once.items())


@each_non_reentrant_run
def test_gradients_of_gradients_are_those_of_the_unchecked_run(run: Any):
    def penalty(run: Callable[..., Any]) -> dict[str, torch.Tensor]:
        store, x = ts.VariableStore(0), X.clone().requires_grad_()
        torch.manual_seed(7)

        def steepness() -> torch.Tensor:  # As in WGAN-GP: a gradient within the pass.
            (gradient,) = torch.autograd.grad(run(block, x).sum(), x, create_graph=True)
            return gradient.square().sum()

        store(steepness).backward()
        return {name: store[name].grad for name in ("in/w", "in/b", "out/w")}

    check_equal(penalty(run), penalty(unchecked))


@no_gradients_are_fine
@each_run
@pytest.mark.parametrize("inner", RUNS.values(), ids=RUNS)
def test_checkpoints_of_either_kind_lie_in_one_another(run: Any, inner: Any):
    def nested(fn: Callable[..., Any], x: torch.Tensor) -> Any:
        def outer(x: torch.Tensor) -> torch.Tensor:
            with ts.variable_scope("inner"):
                x = inner(fn, x)
            with ts.variable_scope("other"):
                return inner(fn, x)

        return run(outer, x)

    def plain(fn: Callable[..., Any], x: torch.Tensor) -> Any:
        with ts.variable_scope("inner"):
            x = fn(x)
        with ts.variable_scope("other"):
            return fn(x)

    check_equal(gradients(nested), gradients(plain))


def test_a_sequence_of_scoped_modules_needs_no_bind():
    def trained(run: Callable[..., Any]) -> dict[str, torch.Tensor]:
        nets = nn.Sequential(*(ts.ScopedModule(block, seed=seed) for seed in range(4)))
        torch.manual_seed(7)
        run(nets, X.clone().requires_grad_()).sum().backward()
        return {name: parameter.grad for name, parameter in nets.named_parameters()}

    sequential = functools.partial(checkpoint_sequential, segments=2, use_reentrant=False)
    checked = trained(lambda nets, x: sequential(nets, input=x))
    assert next(iter(checked)) == "0.in/w"
    check_equal(checked, trained(unchecked))


@each_run
def test_under_autocast_it_recomputes_what_it_computed(run: Any):
    def trained(run: Callable[..., Any]) -> dict[str, torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return gradients(run)

    found = trained(run)
    check_equal(found, trained(unchecked))
    assert found["block0/in/w"].dtype == torch.float32


@no_gradients_are_fine
@each_run
def test_ten_steps_of_training_end_at_the_same_bits(run: Any):
    def trained(run: Callable[..., Any]) -> dict[str, torch.Tensor]:
        net = ts.ScopedModule(functools.partial(blocks, run), seed=0)
        net.build(X.clone().requires_grad_())
        optimizer = torch.optim.Adam(net.named_parameters())
        torch.manual_seed(7)
        for _ in range(10):
            optimizer.zero_grad()
            net(X.clone().requires_grad_()).square().sum().backward()
            optimizer.step()
        return dict(net.items())

    check_equal(trained(run), trained(unchecked))


def test_a_variable_fetched_before_needs_no_bind(store: ts.VariableStore):
    w = ts.get_variable("w", [3, 3])
    y = checkpoint(lambda x: torch.tanh(x @ w), X.clone().requires_grad_(), use_reentrant=False)
    y.sum().backward()
    assert w.grad.any()


def test_two_bound_functions_that_make_one_name_are_reported(store: ts.VariableStore):
    first, second = ts.bind(dense), ts.bind(dense)  # Both before either has run.
    y = first(X)
    with pytest.raises(ts.VariableExistsError, match="'w' already exists"):
        second(y)


def test_two_bound_functions_count_default_names_on(store: ts.VariableStore):
    def default(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope(None, "layer"):
            return dense(x)

    first, second = ts.bind(default), ts.bind(default)
    second(first(X))
    assert list(store) == ["layer/w", "layer/b", "layer_1/w", "layer_1/b"]


@no_gradients_are_fine
@each_run
@pytest.mark.parametrize("backward", [True, False])
def test_nothing_of_a_step_is_alive_after_it(run: Any, backward: bool):
    """What is collected ends with the pass; a cycle through the graph would never be collected."""
    alive: list[weakref.ref[torch.Tensor]] = []

    def collecting(x: torch.Tensor) -> torch.Tensor:
        y = run(dense, x)
        loss = y.square().sum()
        ts.add_to_collection("losses", loss)
        alive.extend([weakref.ref(y), weakref.ref(loss)])
        return y.sum() + sum(ts.get_collection("losses"))

    net = ts.ScopedModule(collecting, seed=0)
    for _ in range(3):
        total = net(X.clone().requires_grad_())
        if backward:
            total.backward()
        del total
    gc.collect()
    assert [reference() for reference in alive] == [None] * 6


# ---- compiled code -------------------------------------------------------------------------------


@pytest.fixture
def documented_flag() -> Iterator[None]:
    """Without it Dynamo compiles no checkpoint whose function opens scopes."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(skip_fwd_side_effects_in_bwd_under_checkpoint=True):
        yield
    torch._dynamo.reset()


def unbound(fn: Callable[..., Any], x: torch.Tensor) -> Any:
    return checkpoint(fn, x, use_reentrant=False)


def without_dropout(x: torch.Tensor) -> torch.Tensor:
    for name in ("in", "out"):
        with ts.variable_scope(name):
            x = dense(x)
    return x


def two_blocks(run: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
    for number in range(2):
        with ts.variable_scope(f"block{number}"):
            x = run(without_dropout, x)
    return x


def compiled_gradients(
    run: Callable[..., Any], compile_: Callable[..., Any]
) -> dict[str, torch.Tensor]:
    """The gradients of a net that was built with a function that opens the same scopes."""
    net = ts.ScopedModule(functools.partial(two_blocks, run), seed=0)
    net.build(X.clone().requires_grad_())
    compiled = compile_(net)
    for _ in range(3):
        net.zero_grad()
        compiled(X).square().sum().backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=lambda text, name=name: name + text)


COMPILED = {"bind": bound, "bind, reentrant": RUNS["bind, reentrant"], "unbound": unbound}


@pytest.mark.usefixtures("documented_flag")
@no_gradients_are_fine
@pytest.mark.parametrize("run", COMPILED.values(), ids=COMPILED)
def test_compiled_with_the_flag_it_is_one_graph_with_the_same_gradients(run: Any):
    counter = CompileCounterWithBackend("aot_eager")
    compile_ = functools.partial(torch.compile, backend=counter, fullgraph=True)
    found = compiled_gradients(run, compile_)
    close(found, compiled_gradients(unchecked, lambda net: net))
    assert counter.frame_count == 1
    assert "checkpoint" in str(counter.graphs[0].code)


@pytest.mark.parametrize("run", [bound, with_context], ids=["bind", "context_fn"])
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_compiled_without_the_flag_in_the_default_mode_the_gradients_are_the_same(run: Any):
    torch._dynamo.reset()
    compile_ = functools.partial(torch.compile, backend="aot_eager")
    try:
        found = compiled_gradients(run, compile_)
    finally:
        torch._dynamo.reset()
    close(found, compiled_gradients(unchecked, lambda net: net))


def test_compiled_without_the_flag_fullgraph_refuses():
    torch._dynamo.reset()
    net = ts.ScopedModule(functools.partial(two_blocks, unbound)).build(X.clone().requires_grad_())
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="skip_fwd_side_effects_in_bwd_under"):
        compiled(X)
    torch._dynamo.reset()


@pytest.mark.usefixtures("documented_flag")
def test_blocks_of_their_own_are_checkpointed_in_compiled_code():
    def model(run: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
        for number in range(2):
            inner = ts.get_module(f"block{number}", lambda: ts.ScopedModule(without_dropout))
            x = run(inner, x)
        return x

    def trained(run: Callable[..., Any], compile_: Callable[..., Any]) -> dict[str, Any]:
        net = ts.ScopedModule(functools.partial(model, run), seed=0)
        net.build(X.clone().requires_grad_())
        compile_(net)(X).sum().backward()
        return {name: parameter.grad for name, parameter in net.named_parameters()}

    compile_ = functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    close(trained(unbound, compile_), trained(unchecked, lambda net: net))


# ---- what is not checkpointed stays as it was ----------------------------------------------------

MANAGERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "plainly": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


@each_run
@no_gradients_are_fine
@pytest.mark.parametrize("manager", MANAGERS.values(), ids=MANAGERS)
def test_where_no_gradient_is_kept_nothing_is_recomputed(run: Any, manager: Any):
    calls = itertools.count()

    def body(x: torch.Tensor) -> torch.Tensor:
        next(calls)
        return dense(x)

    with manager():
        ts.VariableStore(0)(run, body, X)
    assert next(calls) == 1
