"""The tools of a training loop: averages, mixed precision, hooks, freezing, torchinfo."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom
from models import X
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.checkpoint import checkpoint

import torchscope as ts

NAMES = ["encoder/w", "encoder/b", "head/w", "head/b"]


def layer(x: torch.Tensor) -> torch.Tensor:
    w = ts.get_variable("w", [x.shape[-1], 3], regularizer=ts.l2_regularizer(0.1))
    return torch.tanh(x @ w + ts.get_variable("b", [3], initializer=ts.zeros_initializer()))


def model(x: torch.Tensor) -> torch.Tensor:
    for name in ("encoder", "head"):
        with ts.variable_scope(name):
            x = layer(x)
    return x


def with_a_buffer(x: torch.Tensor) -> torch.Tensor:
    mean = ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
    ts.assign(mean, x.mean(0))
    return layer(x - mean)


def made(fn: Callable[..., Any] = model) -> ts.ScopedModule[..., Any]:
    return ts.ScopedModule(fn, seed=0).build(X)


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(X).square().sum().backward()
    optimizer.step()


def values(net: Any) -> dict[str, torch.Tensor]:
    return {name: variable.detach().clone() for name, variable in net.items()}


# ---- averages of weights -------------------------------------------------------------------------


def test_an_exponential_average_follows_by_name():
    net = made()
    average: Any = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    average.update_parameters(net)  # The first is a copy.
    expected = values(net)
    for _ in range(3):
        step(net, optimizer)
        average.update_parameters(net)
        expected = {name: (expected[name] + variable) / 2 for name, variable in net.items()}
    assert list(average.module) == NAMES
    for name, variable in average.module.items():
        torch.testing.assert_close(variable, expected[name])
    assert not torch.equal(average(X), net(X))
    ordinary = made()
    ordinary.load_state_dict(average.module.state_dict())
    assert torch.equal(ordinary(X), average(X))


def test_an_average_may_take_the_buffers_too():
    net = made(with_a_buffer)
    average: Any = AveragedModel(net, use_buffers=True)
    for number in range(4):
        net(X + number)
        average.update_parameters(net)
    mean = torch.stack([(X + number).mean(0) for number in range(4)]).mean(0)
    torch.testing.assert_close(average.module["mean"], mean)


def test_an_average_does_not_touch_the_net_and_holds_nothing_of_it():
    net = made()
    before = values(net)
    average: Any = AveragedModel(net)
    average.update_parameters(net)
    with torch.no_grad():
        average.module["head/w"].zero_()
    assert all(torch.equal(net[name], value) for name, value in before.items())
    assert average.module.fn is net.fn
    assert average.module["head/w"] is not net["head/w"]


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("multi_avg_fn", [None, get_ema_multi_avg_fn(0.9)], ids=["mean", "ema"])
def test_an_average_of_a_net_that_is_not_built_is_reported(use_buffers: bool, multi_avg_fn: Any):
    def average(updates: int) -> None:
        net = ts.ScopedModule(model, seed=0)
        averaged = AveragedModel(net, use_buffers=use_buffers, multi_avg_fn=multi_avg_fn)
        net.build(X)
        for _ in range(updates):
            averaged.update_parameters(net)
        averaged(X)

    with pytest.warns(ts.ScopeWarning, match=r"before any was made.*net\.build\("):
        average(updates=1)
    # torch itself refuses to average lists that are not alike.
    with pytest.raises((ts.NotBuiltError, RuntimeError), match=r"build|empty"):
        average(updates=2)


def test_the_batch_statistics_of_kept_modules_are_updated():
    def normed(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("norm", lambda: nn.BatchNorm1d(3))(layer(x))

    net = made(normed)
    update_bn([X, X + 1], net)
    norm: Any = net.get_submodule("norm")
    expected = torch.cat([layer_of(net, X).mean(0, True), layer_of(net, X + 1).mean(0, True)])
    torch.testing.assert_close(norm.running_mean, expected.mean(0))
    assert norm.num_batches_tracked == 2


def layer_of(net: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x @ net["w"] + net["b"]).detach()


def test_weights_go_to_a_vector_and_back():
    net, other = made(), ts.ScopedModule(model, seed=1).build(X)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (24,)
    nn.utils.vector_to_parameters(vector, other.parameters())
    assert torch.equal(other(X), net(X))


# ---- mixed precision -----------------------------------------------------------------------------


def matmul_initializer(shape: Any, dtype: Any = None) -> torch.Tensor:
    """A user's own, with an operation that autocast would compute in half the precision."""
    return torch.randn(shape, dtype=dtype) @ torch.randn(shape[-1], shape[-1], dtype=dtype)


INITIALIZERS: dict[str, Any] = {
    "the default": None,
    "orthogonal": ts.orthogonal_initializer(),
    "he_normal": ts.he_normal_initializer(),
    "torch's": nn.init.xavier_uniform_,
    "torch's orthogonal_": nn.init.orthogonal_,
    "a user's own": matmul_initializer,
}


@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_variables_made_under_autocast_have_the_values_of_those_made_without(
    initializer: Any, dtype: torch.dtype
):
    def first(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable("w", [3, 3], initializer=initializer)
        return x @ w

    expected = ts.ScopedModule(first, seed=0)
    expected(X)
    net = ts.ScopedModule(first, seed=0)
    with torch.autocast("cpu", dtype):
        y = net(X)
    assert y.dtype == dtype
    assert net["w"].dtype == torch.float32
    assert torch.equal(net["w"], expected["w"])


def test_a_module_kept_under_autocast_has_the_values_of_one_made_without():
    def orthogonal() -> nn.Module:
        return nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))

    def first(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("dense", orthogonal)(x)

    expected, net = (ts.ScopedModule(first, seed=0) for _ in range(2))
    expected(X)
    with torch.autocast("cpu", torch.bfloat16):
        net(X)
    for one, other in zip(expected.parameters(), net.parameters(), strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert torch.equal(one, other)


def test_autocast_computes_what_it_does_for_a_plain_module():
    net, plain = made(), nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh())
    with torch.no_grad():
        plain[0].weight.copy_(net["encoder/w"].T)
        plain[0].bias.copy_(net["encoder/b"])
        plain[2].weight.copy_(net["head/w"].T)
        plain[2].bias.copy_(net["head/b"])
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = net(X), plain(X)
    torch.testing.assert_close(found.float(), expected.float(), atol=0.01, rtol=0.01)
    found.float().sum().backward()
    expected.float().sum().backward()
    assert net["head/w"].grad.dtype == torch.float32
    torch.testing.assert_close(net["head/w"].grad.T, plain[2].weight.grad, atol=0.02, rtol=0.02)


def test_gradients_are_scaled_and_a_step_with_an_overflow_is_left_out():
    net, unscaled = made(), made()
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def scaled_step(x: torch.Tensor) -> None:
        optimizer.zero_grad()
        scaler.scale(net(x).square().sum()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 1e9)
        scaler.step(optimizer)
        scaler.update()

    scaled_step(X)
    step(unscaled, torch.optim.SGD(unscaled.named_parameters(), lr=0.1))
    before = values(net)
    for name, value in before.items():
        torch.testing.assert_close(value, unscaled[name].detach())
    scaled_step(X * torch.inf)
    assert all(torch.equal(net[name], value) for name, value in before.items())
    assert scaler.get_scale() == 512.0


# ---- hooks ---------------------------------------------------------------------------------------


def test_hooks_of_a_module_fire_around_the_pass():
    net = made()
    seen: list[str] = []
    net.register_forward_pre_hook(lambda module, args: seen.append(f"pre {len(args)}"))
    net.register_forward_hook(lambda module, args, output: seen.append("after") or output * 2)
    net.register_full_backward_hook(lambda module, ins, outs: seen.append("backward"))
    plain = made()
    x = X.clone().requires_grad_()
    found = net(x)
    assert torch.equal(found, 2 * plain(X))
    found.sum().backward()
    assert seen == ["pre 1", "after", "backward"]


def test_hooks_see_keyword_arguments():
    net = made()
    seen: list[Any] = []
    net.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(list(kwargs)), with_kwargs=True
    )
    net(x=X)
    assert seen == [["x"]]


def test_hooks_of_blocks_fire_at_each_call():
    def blocks(x: torch.Tensor) -> torch.Tensor:
        block = ts.get_module("block", lambda: ts.ScopedModule(layer))
        return block(block(x))

    net = made(blocks)
    seen: list[torch.Size] = []
    net.get_submodule("block").register_forward_hook(
        lambda module, args, output: seen.append(output.shape)
    )
    net(X)
    assert seen == [X.shape] * 2


def test_hooks_of_a_variable_see_its_gradient():
    net = made()
    seen: list[str] = []
    net["head/w"].register_hook(lambda gradient: seen.append("hook") or gradient * 0)
    net["head/w"].register_post_accumulate_grad_hook(lambda variable: seen.append("accumulated"))
    net(X).sum().backward()
    assert seen == ["hook", "accumulated"]
    assert not net["head/w"].grad.any()
    assert net["head/b"].grad.any()


def test_an_optimizer_may_step_in_the_backward_pass():
    """As torch's tutorial "optimizer step fused into the backward pass" does."""
    net, expected = made(), made()
    optimizers = {
        variable: torch.optim.SGD([(name, variable)], lr=0.1)
        for name, variable in net.named_variables()
    }

    def step_now(variable: torch.Tensor) -> None:
        optimizers[variable].step()
        optimizers[variable].zero_grad()

    for variable in net.parameters():
        variable.register_post_accumulate_grad_hook(step_now)
    net(X).square().sum().backward()
    step(expected, torch.optim.SGD(expected.named_parameters(), lr=0.1))
    for name, variable in net.items():
        torch.testing.assert_close(variable, expected[name])


def test_hooks_go_with_a_copy():
    net = made()
    net.register_forward_hook(double)
    assert torch.equal(copy.deepcopy(net)(X), net(X))
    assert torch.equal(net(X), 2 * made()(X))


def double(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output * 2


# ---- freezing by scope ---------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["encoder", "encoder/"])
def test_a_scope_is_frozen_and_thawed_by_its_name(scope: str):
    net = made()
    for _, variable in net.named_variables(scope):
        variable.requires_grad_(False)
    assert [net.name_of(variable) for variable in net.trainable_variables()] == NAMES[2:]
    with net:
        assert len(ts.trainable_variables("encoder")) == 0
    before = values(net)
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    step(net, optimizer)
    changed = [name for name, value in before.items() if not torch.equal(net[name], value)]
    assert changed == NAMES[2:]
    for _, variable in net.named_variables(scope):
        variable.requires_grad_(True)
    step(net, optimizer)
    assert not torch.equal(net["encoder/w"], before["encoder/w"])


def test_a_frozen_variable_stays_frozen_in_later_passes_copies_and_state_dicts():
    net = made()
    net["head/w"].requires_grad_(False)
    net(X)
    assert not net["head/w"].requires_grad
    assert not copy.deepcopy(net)["head/w"].requires_grad
    net.load_state_dict(made().state_dict())
    assert not net["head/w"].requires_grad


def test_requires_grad_of_the_whole_net_reaches_every_variable():
    net = made()
    net.requires_grad_(False)
    assert net.trainable_variables() == []
    assert not net(X).requires_grad
    net.requires_grad_(True)
    assert len(net.trainable_variables()) == 4


def test_one_block_is_frozen_as_a_module():
    def blocks(x: torch.Tensor) -> torch.Tensor:
        for name in ("encoder", "head"):
            x = ts.get_module(name, lambda: ts.ScopedModule(layer))(x)
        return x

    net = made(blocks)
    net.get_submodule("encoder").requires_grad_(False)
    assert [net.name_of(variable) for variable in net.trainable_variables()] == NAMES[2:]


def test_groups_by_scope_train_at_rates_of_their_own():
    net = made()
    before = values(net)
    optimizer = torch.optim.SGD(
        [
            {"params": list(net.named_variables("encoder")), "lr": 0.0},
            {"params": list(net.named_variables("head")), "lr": 0.1},
        ]
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    step(net, optimizer)
    scheduler.step()
    changed = [name for name, value in before.items() if not torch.equal(net[name], value)]
    assert changed == NAMES[2:]
    assert [group["param_names"] for group in optimizer.param_groups] == [NAMES[:2], NAMES[2:]]
    assert scheduler.get_last_lr() == [0.0, 0.05]


def test_the_norm_of_the_gradients_of_a_scope_is_clipped():
    net = made()
    net(X + 5).square().sum().backward()
    kept = net["head/w"].grad.clone()
    nn.utils.clip_grad_norm_([variable for _, variable in net.named_variables("encoder")], 1e-3)
    norm = nn.utils.get_total_norm([v.grad for _, v in net.named_variables("encoder")])
    assert norm <= 1.001e-3
    assert torch.equal(net["head/w"].grad, kept)


# ---- training and evaluation ---------------------------------------------------------------------


def dropping(x: torch.Tensor) -> torch.Tensor:
    return layer(F.dropout(x + 1, 1.0, training=ts.is_training()))


def blocks(x: torch.Tensor) -> torch.Tensor:
    flags = [ts.is_training()]
    for name in ("first", "second"):
        flags.append(ts.get_module(name, ts.ScopedModule, ts.is_training)())
    flags.append(ts.is_training())
    return x * torch.tensor(flags)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_dropout_obeys_train_and_eval(compiled: bool):
    torch._dynamo.reset()
    net = made(dropping)
    run = torch.compile(net, backend="eager", fullgraph=True) if compiled else net
    without = torch.tanh(net["b"].expand(2, 3))
    for _ in range(2):
        net.train()
        assert torch.equal(run(X), without)
        net.eval()
        assert torch.equal(run(X), layer_of(net, X + 1))


def test_the_flag_compiles_once_for_each_mode():
    torch._dynamo.reset()
    counter, net = CompileCounter(), made(dropping)
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for mode in (True, False, True, False):
        net.train(mode)
        compiled(X)
    assert counter.frame_count == 2


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_the_innermost_block_says_whether_it_trains(compiled: bool):
    torch._dynamo.reset()
    x = torch.ones(4)
    net = ts.ScopedModule(blocks).build(x)
    run = torch.compile(net, backend="eager") if compiled else net
    assert run(x).tolist() == [1, 1, 1, 1]
    net.get_submodule("second").eval()
    assert run(x).tolist() == [1, 1, 0, 1]
    net.eval()
    net.get_submodule("first").train()
    assert run(x).tolist() == [0, 1, 0, 0]


def test_a_store_that_is_entered_or_called_says_whether_it_trains():
    store = ts.VariableStore()
    outer = nn.ModuleList([store])
    for mode in (True, False):
        outer.train(mode)
        with store:
            assert ts.is_training() is mode
            with ts.VariableStore():
                assert ts.is_training() is True
            with ts.variable_scope("scope"):
                assert ts.is_training() is mode
        assert store(ts.is_training) is mode
        assert ts.ScopedModule(ts.is_training)() is True


def test_outside_every_store_the_default_store_says_whether_it_trains():
    assert ts.is_training() is True
    ts.default_store().eval()
    assert ts.is_training() is False


def test_what_is_recomputed_trains_as_it_did():
    def model(x: torch.Tensor) -> torch.Tensor:
        return checkpoint(ts.bind(dropping), x, use_reentrant=False)

    x = X.clone().requires_grad_()
    for mode in (True, False):
        net = made(model).train(mode)
        expected, *gradients = torch.autograd.grad(
            net(x).sum(), [x, *net.parameters()], allow_unused=True
        )
        assert expected.any() == (not mode)
        assert all(gradient is not None for gradient in gradients)


# ---- torchinfo -----------------------------------------------------------------------------------


def summary(net: nn.Module, **settings: Any) -> Any:
    torchinfo = pytest.importorskip("torchinfo")
    return torchinfo.summary(net, input_data=X, verbose=0, **settings)


def test_torchinfo_counts_every_variable_once():
    assert summary(made()).total_params == 24
    assert summary(nn.Sequential(made(), nn.Linear(3, 2))).total_params == 24 + 8
    net = made()
    net["head/w"].requires_grad_(False)
    assert summary(net).trainable_params == 15


def test_torchinfo_has_a_line_for_each_block_and_module():
    def blocks(x: torch.Tensor) -> torch.Tensor:
        for number in range(2):
            x = ts.get_module(f"block{number}", lambda: ts.ScopedModule(layer))(x)
        return ts.get_module("head", functools.partial(nn.Linear, 3, 2))(x)

    found = summary(made(blocks), row_settings=["var_names"])
    assert found.total_params == 2 * 12 + 8
    lines = str(found)
    for name in ("block0", "block1", "head"):
        assert f"({name})" in lines


def test_torchinfo_of_a_net_that_is_not_built_is_warned_of():
    pytest.importorskip("torchinfo")
    with pytest.warns(ts.ScopeWarning, match=r"before any was made.*net\.build\("):
        summary(ts.ScopedModule(model))
