"""Two ranks that save what they have sharded: one writes, both return or both fail."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from two_ranks import Rank, on_two_ranks

import torchscope as ts
import torchscope.tf1 as tf
from torchscope import checkpoint

WIDTH = 7  # of which the ranks have four rows and three


def block(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x @ ts.get_variable("w", [WIDTH, WIDTH]))


def model(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("model"):
        x = ts.get_module("b0", lambda: ts.ScopedModule(block, seed=1))(x)
        ts.get_buffer("average", [3])
        return x @ ts.get_variable("w", [WIDTH, 2]) + ts.get_variable("scalar", [1])


def made(rank: Rank, seed: int = 0) -> ts.ScopedModule[..., torch.Tensor]:
    x = torch.ones(2, WIDTH, device=rank.device)
    return ts.ScopedModule(model, seed=seed).to(rank.device).build(x)


def fully_sharded(rank: Rank, seed: int = 0) -> Any:
    net = made(rank, seed)
    for inner in net.children():
        fully_shard(inner, mesh=rank.mesh)
    return fully_shard(net, mesh=rank.mesh)


def distributed(rank: Rank) -> Any:
    """Half of the variables sharded, by hand."""
    net = made(rank)
    net["model/w"] = nn.Parameter(distribute_tensor(net["model/w"].detach(), rank.mesh, [Shard(0)]))
    return net


def on_two_dimensions(rank: Rank) -> Any:
    mesh = init_device_mesh(rank.mesh.device_type, (1, 2), mesh_dim_names=("replicate", "shard"))
    net = made(rank)
    return fully_shard(net, mesh=mesh)


WAYS = {"fully_shard": fully_sharded, "by hand": distributed, "two dimensions": on_two_dimensions}


def folder_of(rank: Rank, name: str) -> Path:
    folder = rank.folder / name
    if rank.number == 0:
        folder.mkdir(exist_ok=True)
    dist.barrier()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@on_two_ranks(*WAYS)
def test_what_is_sharded_is_saved_whole(rank: Rank, case: str):
    folder = folder_of(rank, f"whole {case}")
    path = checkpoint.save(WAYS[case](rank), folder / "m", step=1)
    # Both return once it is there, and it is what one process writes.
    with checkpoint.open(path) as saved:
        assert saved["global_step"] == 1
        for name, variable in made(rank).named_variables():
            assert saved[name].equal(variable.detach().cpu())
    expected = folder_of(rank, f"alone {case}")
    if rank.number == 0:
        checkpoint.save(made(rank), expected / "m", step=1)
        assert contents(expected) == contents(folder)


@on_two_ranks()
def test_a_fully_sharded_run_goes_on_with_its_slots(rank: Rank):
    folder = folder_of(rank, "slots")
    x = torch.ones(2, WIDTH, device=rank.device)
    net, other = fully_sharded(rank), fully_sharded(rank, seed=5)
    optimizers = [tf.train.AdamOptimizer(one.named_parameters(), 0.1) for one in (net, other)]

    def train(which: int) -> None:
        one = (net, other)[which]
        one(x).sum().backward()
        optimizers[which].step()
        one.zero_grad()

    train(0)
    slots = optimizers[0].slot_variables()
    assert any(isinstance(slot, DTensor) for slot in slots.values())
    # The root's variables are whole after a forward without a backward.
    with torch.no_grad():
        net(x)
    path = checkpoint.save(net, folder / "m", slots=slots)
    assert "model/b0/w/Adam_1" in dict(checkpoint.list_variables(path))
    checkpoint.load(other, path)
    for (name, one), (_, same) in zip(net.named_variables(), other.named_variables(), strict=True):
        one, same = (v.full_tensor() if isinstance(v, DTensor) else v for v in (one, same))
        assert one.equal(same), name


@on_two_ranks(0, 1)
def test_a_rank_that_fails_makes_all_fail(rank: Rank, case: int):
    folder = folder_of(rank, f"failing {case}")
    net = fully_sharded(rank)
    checkpoint.save(net, folder / "m", step=1)
    before = contents(folder)

    # Before anything is written: a value that cannot be.
    bad = torch.ones(1, device="meta" if rank.number == case else "cpu")
    match = "on the meta device" if rank.number == case else f"failed on rank {case}: 'x' is on the"
    with pytest.raises(ts.CheckpointError, match=match):
        checkpoint.save(net, folder / "m", step=2, slots={"x": bad})
    dist.barrier()
    assert contents(folder) == before

    # While it is written: a value that cannot be had any more.
    class Failing(dict[str, torch.Tensor]):
        asked = 0

        def __getitem__(self, name: str) -> torch.Tensor:
            self.asked += 1
            if self.asked > 2 and rank.number == case:
                raise ValueError("the disk is gone")
            return super().__getitem__(name)

    with pytest.raises((ts.CheckpointError, ValueError), match="the disk is gone"):
        checkpoint.save(net, folder / "m", step=2, slots=Failing(a=torch.ones(1)))
    dist.barrier()
    assert contents(folder) == before


@on_two_ranks()
def test_a_refusal_of_the_rank_that_writes_is_everybodys(rank: Rank):
    folder = folder_of(rank, "refused")
    net = fully_sharded(rank)
    checkpoint.save(net, folder / "m", step=1)
    with pytest.raises(ts.CheckpointError, match="m-1 already exists"):
        checkpoint.save(net, folder / "m", step=1)
    with pytest.raises(ts.CheckpointError, match="There is no directory"):
        checkpoint.save(net, folder / "none" / "m", step=1)
    checkpoint.save(net, folder / "m", step=1, overwrite=True)


@on_two_ranks()
def test_ranks_with_other_variables_are_refused(rank: Rank):
    folder = folder_of(rank, "others")
    slots = {f"x{rank.number}": torch.ones(1)}
    with pytest.raises(ts.CheckpointError, match=r"not hold the same variables.*check_same"):
        checkpoint.save(fully_sharded(rank), folder / "m", slots=slots)
    assert not contents(folder)


@on_two_ranks()
def test_where_each_rank_has_all_one_saves_alone(rank: Rank):
    folder = folder_of(rank, "one")
    if rank.number == 0:
        checkpoint.save(made(rank), folder / "m")
    dist.barrier()
    assert checkpoint.list_variables(folder)
    with pytest.raises(ts.CheckpointError, match=r"Of several ranks .* let one save"):
        checkpoint.save(made(rank), folder / "m")
