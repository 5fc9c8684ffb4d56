"""TensorFlow's optimizers and cells on two ranks: DistributedDataParallel and fully_shard."""

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from two_ranks import Rank, on_two_ranks

import torchscope as ts
import torchscope.tf1 as tf

train = tf.train
RULES = {
    "sgd": lambda p: train.GradientDescentOptimizer(p, 0.1),
    "momentum": lambda p: train.MomentumOptimizer(p, 0.1, 0.9, use_nesterov=True),
    "adam": lambda p: train.AdamOptimizer(p, lambda: 0.01, epsilon=1e-3),
    "rmsprop": lambda p: train.RMSPropOptimizer(p, 0.01, momentum=0.9, centered=True, epsilon=0.1),
    "adagrad": lambda p: train.AdagradOptimizer(p, 0.1),
    "adadelta": lambda p: train.AdadeltaOptimizer(p, 1.0),
    "ftrl": lambda p: train.FtrlOptimizer(p, 0.5, l1_regularization_strength=0.01),
    "proximal_sgd": lambda p: train.ProximalGradientDescentOptimizer(p, 0.1, 0.01, 0.01),
    "proximal_adagrad": lambda p: train.ProximalAdagradOptimizer(p, 0.1, 0.1, 0.01, 0.01),
}
IDS = torch.randint(7, (4, 5), generator=torch.Generator().manual_seed(3))


def model(ids: torch.Tensor) -> torch.Tensor:
    table = ts.get_variable("table", [7, 4], constraint=lambda t: t.clamp(-0.5, 0.5))
    cell = tf.nn.rnn_cell.MultiRNNCell([tf.nn.rnn_cell.BasicLSTMCell(4), tf.nn.rnn_cell.GRUCell(3)])
    y, _ = tf.nn.dynamic_rnn(cell, table[ids], dtype=tf.float64)
    return y * 1  # fully_shard warns of a view


def looking_up(ids: torch.Tensor) -> torch.Tensor:
    return tf.nn.embedding_lookup(ts.get_variable("table", [7, 4], tf.float64), ids)


def built(fn, rank: Rank) -> nn.Module:
    return ts.ScopedModule(fn, seed=0).to(rank.device, torch.float64).build(IDS.to(rank.device))


def train_on(net: nn.Module, ids: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        optimizer.zero_grad()
        net(ids).square().mean().backward()
        optimizer.step()


@on_two_ranks(*RULES)
def test_fully_sharded_variables_are_trained_as_whole_ones_are(rank: Rank, case: str):
    alone, net = (built(model, rank) for _ in range(2))
    fully_shard(net, mesh=rank.mesh)
    optimizers = [RULES[case](each.named_parameters()) for each in (alone, net)]
    train_on(alone, IDS.to(rank.device), optimizers[0])
    train_on(net, rank.part(IDS), optimizers[1])
    for one, other in zip(alone.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(other.full_tensor(), one)
    expected, slots = (optimizer.slot_variables() for optimizer in optimizers)
    assert list(slots) == list(expected)
    for name, slot in slots.items():
        whole = slot if "power" in name else slot.full_tensor()
        torch.testing.assert_close(whole, expected[name])


@on_two_ranks("momentum", "adam", "ftrl")
def test_looked_up_rows_are_averaged_over_the_ranks(rank: Rank, case: str):
    alone, net = (built(looking_up, rank) for _ in range(2))
    optimizers = [RULES[case](each.named_parameters()) for each in (alone, net)]
    del alone["table"]._tf1_rows  # Inside DistributedDataParallel gradients are dense.
    train_on(alone, IDS.to(rank.device), optimizers[0])
    train_on(DistributedDataParallel(net), rank.part(IDS), optimizers[1])
    torch.testing.assert_close(net["table"], alone["table"])
