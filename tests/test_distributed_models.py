"""Other models than that of test_distributed.py, on two ranks: tied embeddings, convolutions with
moving averages, blocks within blocks.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from two_ranks import Rank, on_two_ranks

import torchscope as ts

RANDOM = torch.Generator().manual_seed(3)
IDS = torch.randint(13, (4, 5), generator=RANDOM)
IMAGES = torch.randn(4, 2, 6, 6, dtype=torch.float64, generator=RANDOM)
POINTS = torch.randn(4, 6, dtype=torch.float64, generator=RANDOM)


def scoped(fn: Callable[..., Any]) -> Callable[[], nn.Module]:
    return functools.partial(ts.ScopedModule, fn)


def dense(x: torch.Tensor, units: int) -> torch.Tensor:
    w = ts.get_variable("w", [x.shape[-1], units])
    return torch.tanh(x @ w + ts.get_variable("b", [units], initializer=ts.zeros_initializer()))


# ---- embeddings, tied, and known to the blocks as well -------------------------------------------


def mixed(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("mix"):
        x = x + dense(x, x.shape[-1])
    return x + torch.softmax(x @ table.T, -1) @ table


def tied(ids: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("words") as words:
        x = ts.get_variable("table", [13, 7])[ids]
    with ts.variable_scope(words, reuse=True):
        table = ts.get_variable("table", [13, 7])
    for number in range(2):
        x = ts.get_module(f"mixed{number}", scoped(mixed))(x, table)
    return ts.get_variable("scale", [1], initializer=ts.ones_initializer()) * (x @ table.T)


# ---- convolutions, normalized with averages over the steps ---------------------------------------


def normed(x: torch.Tensor, training: bool) -> torch.Tensor:
    channels = x.shape[1]
    mean = ts.get_buffer("moving_mean", [channels], initializer=ts.zeros_initializer())
    square = ts.get_buffer("moving_square", [channels], initializer=ts.ones_initializer())
    if training:
        with torch.no_grad():
            mean.lerp_(x.mean((0, 2, 3)), 0.1)
            ts.assign(square, 0.9 * square + 0.1 * x.square().mean((0, 2, 3)))
    gain = ts.get_variable("gain", [channels], initializer=ts.ones_initializer())
    return gain[:, None, None] * x  # The averages are kept, but not used: each rank has its own.


def conv(x: torch.Tensor, channels: int) -> torch.Tensor:
    with ts.variable_scope(None, "conv"):
        kernel = ts.get_variable("kernel", [channels, x.shape[1], 3, 3])
        return torch.tanh(normed(F.conv2d(x, kernel, padding=1), torch.is_grad_enabled()))


def convolutions(images: torch.Tensor) -> torch.Tensor:
    x = conv(conv(images, 3), 5)
    x = ts.get_module("last", scoped(conv))(x, 4)
    x = ts.get_module("torchs", lambda: nn.Conv2d(4, 4, 1))(x)
    return x.mean((2, 3))


# ---- blocks in blocks ----------------------------------------------------------------------------


def inner(x: torch.Tensor, units: int) -> torch.Tensor:
    return x + dense(x, units)


def outer(x: torch.Tensor, units: int) -> torch.Tensor:
    for number in range(2):
        x = ts.get_module(f"inner{number}", scoped(inner))(x, units)
    with ts.variable_scope("after"):
        return x + checkpoint(ts.bind(dense), x, units, use_reentrant=False)


def nested(points: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("deep"):
        for number in range(2):
            points = ts.get_module(f"outer{number}", scoped(outer))(points, 6)
    return points @ ts.get_variable("head", [6, 3])


class Model(NamedTuple):
    """A function, and a batch for it."""

    fn: Callable[[torch.Tensor], torch.Tensor]
    batch: torch.Tensor


MODELS = {
    "tied": Model(tied, IDS),
    "convolutions": Model(convolutions, IMAGES),
    "nested": Model(nested, POINTS),
}


def build(model: Model, device: str, seed: int = 0) -> ts.ScopedModule[..., torch.Tensor]:
    net = ts.ScopedModule(model.fn, seed=seed).to(device, torch.float64)
    return net.build(model.batch.to(device))


def sharded(net: nn.Module, rank: Rank) -> Any:
    """``fully_shard`` on each ScopedModule, the innermost first."""
    for module in reversed(list(net.modules())):
        if isinstance(module, ts.ScopedModule):
            fully_shard(module, mesh=rank.mesh)
    return net


def train(net: nn.Module, batch: torch.Tensor, steps: int = 3) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        (net(batch) - 1).square().mean().backward()
        optimizer.step()
    return optimizer


def trained(net: nn.Module) -> dict[str, torch.Tensor]:
    """What is trained, whole; buffers are each rank's own."""
    parameters = {
        name: value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in net.named_parameters()
    }
    return {name: value.detach().cpu().clone() for name, value in parameters.items()}


def assert_same(net: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(trained(net), trained(other), rtol=1e-9, atol=1e-12)


def trained_alone(model: Model, device: str, steps: int = 3) -> nn.Module:
    net = build(model, device)
    train(net, model.batch.to(device), steps)
    return net


@on_two_ranks(*MODELS)
def test_tied_embeddings_nested_blocks_and_convolutions_train_in_ddp(rank: Rank, case: str):
    net = build(MODELS[case], rank.device)
    ts.distributed.check_same_variables(net)
    train(DistributedDataParallel(net), rank.part(MODELS[case].batch))
    assert_same(net, trained_alone(MODELS[case], rank.device))


@on_two_ranks(*MODELS)
def test_tied_embeddings_nested_blocks_and_convolutions_train_fully_sharded(rank: Rank, case: str):
    net = build(MODELS[case], rank.device)
    ts.distributed.check_same_variables(net)
    names = [name for name, _ in net.named_variables()]
    train(sharded(net, rank), rank.part(MODELS[case].batch))
    assert_same(net, trained_alone(MODELS[case], rank.device))
    assert [name for name, _ in net.named_variables()] == names


@on_two_ranks(*MODELS)
def test_other_models_built_on_meta_get_the_values_of_a_plain_build(rank: Rank, case: str):
    model = MODELS[case]
    net = ts.ScopedModule(model.fn, seed=0).to("meta", torch.float64)
    net.build(model.batch.to("meta"))
    sharded(net, rank).to_empty(device=rank.device)
    net.reset_parameters()
    assert_same(net, build(model, rank.device))
    buffers = dict(build(model, rank.device).named_buffers())
    torch.testing.assert_close(dict(net.named_buffers()), buffers)
    train(net, rank.part(model.batch))
    assert_same(net, trained_alone(model, rank.device))


@on_two_ranks(*MODELS)
def test_other_models_go_on_from_a_distributed_checkpoint(rank: Rank, case: str):
    model, folder = MODELS[case], rank.folder / case
    net = build(model, rank.device)
    wrapped = DistributedDataParallel(net)
    optimizer = train(wrapped, rank.part(model.batch), steps=2)
    values, state = get_state_dict(wrapped, optimizer)
    assert list(values) == list(net.state_dict())
    dcp.save({"net": values, "optimizer": state}, checkpoint_id=folder)

    other = sharded(build(model, rank.device, seed=1), rank)
    resumed = train(other, rank.part(model.batch), steps=0)
    values, state = get_state_dict(other, resumed)
    loaded = {"net": values, "optimizer": state}
    dcp.load(loaded, checkpoint_id=folder)
    set_state_dict(
        other, resumed, model_state_dict=loaded["net"], optim_state_dict=loaded["optimizer"]
    )
    resumed.zero_grad()
    (other(rank.part(model.batch)) - 1).square().mean().backward()
    resumed.step()
    assert_same(other, trained_alone(model, rank.device))


@on_two_ranks(*MODELS)
def test_other_models_are_compiled_block_by_block_and_fully_sharded(rank: Rank, case: str):
    net = build(MODELS[case], rank.device)
    for module in net.modules():
        has_none_inside = not any(isinstance(m, ts.ScopedModule) for m in module.children())
        if isinstance(module, ts.ScopedModule) and has_none_inside:
            module.compile(backend="aot_eager")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute")  # Dynamo asks for it.
        train(sharded(net, rank), rank.part(MODELS[case].batch))
    assert_same(net, trained_alone(MODELS[case], rank.device))
