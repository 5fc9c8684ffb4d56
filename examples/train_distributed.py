"""Train a small transformer on one process or on many: the same script, the same result.

    python examples/train_distributed.py                                   # one CPU, or one GPU
    torchrun --nproc-per-node=2 examples/train_distributed.py --fsdp       # two of them

and, on each of four machines that share a folder,

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --nnodes=4 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=HOST:29500
        --max-restarts=3 examples/train_distributed.py --fsdp --checkpoints=FOLDER

With ``--checkpoints`` it resumes from the last one in that folder, made with ``--ddp`` or
``--fsdp``, on any number of processes. So when one process dies, torchrun (with ``--max-restarts``)
starts all of them again, and they lose only the steps since. ``--kill-at=30`` shows it: the last
process kills itself at that step, once. (Without that environment variable torchrun 2.13 keeps the
addresses of processes that are gone, and those that it starts again may try to reach them.)

The model is a function, with one function for all of its blocks; each block is a ScopedModule, so
that ``fully_shard`` shards it by itself. The text is the manual that ``help()`` shows, which comes
with Python.
"""

import argparse
import functools
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import torchscope as ts

CHARACTERS = 128  # ASCII
WIDTH, HEADS, BLOCKS = 64, 4, 2
LENGTH = 64  # characters in a piece of text
BATCH = 32  # pieces in a step, of all processes together

# ---- the model, as a function ------------------------------------------------------------------


def dense(x: Tensor, units: int, name: str) -> Tensor:
    """A linear layer."""
    with ts.variable_scope(name):
        w = ts.get_variable("w", [x.shape[-1], units])
        b = ts.get_variable("b", [units], initializer=ts.zeros_initializer())
    return x @ w + b


def block(x: Tensor) -> Tensor:
    """A block of the transformer, ``[n, length, WIDTH]`` to the same."""
    normed = F.layer_norm(x, [WIDTH])
    heads = dense(normed, 3 * WIDTH, "attention").unflatten(-1, (3, HEADS, -1))
    query, key, value = heads.movedim(-3, 0).transpose(-3, -2)
    seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    x = x + dense(seen.transpose(-3, -2).flatten(-2), WIDTH, "projection")
    return x + dense(F.gelu(dense(F.layer_norm(x, [WIDTH]), 4 * WIDTH, "up")), WIDTH, "down")


def language_model(text: Tensor) -> Tensor:
    """The logits of each next character."""
    small = ts.random_normal_initializer(stddev=0.05)
    table = ts.get_variable("characters", [CHARACTERS, WIDTH], initializer=small)
    places = ts.get_variable("places", [LENGTH, WIDTH], initializer=small)
    x = F.embedding(text, table) + places
    for number in range(BLOCKS):
        x = ts.get_module(f"block{number}", functools.partial(ts.ScopedModule, block))(x)
    return F.layer_norm(x, [WIDTH]) @ table.T


def loss_of(net: nn.Module, pieces: Tensor) -> Tensor:
    """The mean cross entropy of each next character, in nats."""
    return F.cross_entropy(net(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())


# ---- processes ---------------------------------------------------------------------------------


def join_the_others() -> torch.device:
    """Join the processes that torchrun started, or be the only one; returns the device."""
    cuda = torch.cuda.is_available()
    backend = "nccl" if cuda else "gloo"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if "RANK" in os.environ:
        dist.init_process_group(backend, timeout=timedelta(minutes=5))
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")


def say(line: str) -> None:
    """Print on one process only."""
    if dist.get_rank() == 0:
        print(line, flush=True)


def mean_of_all(value: Tensor) -> float:
    """The mean over the processes."""
    value = value.detach().clone()
    dist.all_reduce(value)
    return value.item() / dist.get_world_size()


def make_net(fsdp: bool, seed: int, device: torch.device) -> nn.Module:
    """Make the net; its values do not depend on the number of processes."""
    net: Any = ts.ScopedModule(language_model, seed=seed).to("meta")
    net.build(torch.zeros(1, LENGTH, dtype=torch.int64, device="meta"))  # Computes nothing.
    ts.distributed.check_same_variables(net)
    if fsdp:
        for inner in net.children():
            fully_shard(inner)
        fully_shard(net)
    net.to_empty(device=device)
    net.reset_parameters()
    whole = sum(parameter.nbytes for parameter in net.parameters())
    kept = sum(local(parameter).nbytes for parameter in net.parameters())
    say(f"parameters: {whole:,} bytes, of which rank 0 of {dist.get_world_size()} keeps {kept:,}")
    return net if fsdp else DistributedDataParallel(net)


def local(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


# ---- text --------------------------------------------------------------------------------------


def load_text() -> tuple[Tensor, Tensor]:
    """Characters to train with, and others to test with."""
    text = "\n".join(topics[name] for name in sorted(topics))
    characters = torch.tensor(list(text.encode("ascii", "replace")))
    return characters[:-20_000], characters[-20_000:]


def draw_pieces(text: Tensor, number: int, seed: int, device: torch.device) -> Tensor:
    """This process's part of ``number`` pieces of text: ``[number / processes, LENGTH + 1]``.

    All processes draw the same pieces, so that together they see what a single one would see.
    """
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(text) - LENGTH, (number, 1), generator=generator)
    part = starts.chunk(dist.get_world_size())[dist.get_rank()]
    return text[part + torch.arange(LENGTH + 1)].to(device)


# ---- checkpoints -------------------------------------------------------------------------------


def save(folder: Path, step: int, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Save a checkpoint; every process writes its part."""
    model, state = get_state_dict(net, optimizer)
    dcp.save({"net": model, "optimizer": state}, checkpoint_id=folder / f"step{step}")


def resume(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load the last completed checkpoint, if any; returns its number of steps."""
    found = [max(_completed(folder), default=0)]
    dist.broadcast_object_list(found)  # So that all load the same one, whatever each would find.
    if found[0]:
        model, state = get_state_dict(net, optimizer)
        loaded = {"net": model, "optimizer": state}
        dcp.load(loaded, checkpoint_id=folder / f"step{found[0]}")
        set_state_dict(
            net, optimizer, model_state_dict=loaded["net"], optim_state_dict=loaded["optimizer"]
        )
        say(f"goes on from step {found[0]}")
    return found[0]


def _completed(folder: Path) -> Iterator[int]:
    for metadata in folder.glob("step*/.metadata"):  # Written last, when all parts are there.
        yield int(metadata.parent.name.removeprefix("step"))


# ---- training ----------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Train, from the last checkpoint on."""
    device = join_the_others()
    if BATCH % dist.get_world_size():
        raise SystemExit(f"The {BATCH} pieces of a step cannot be shared out evenly.")
    net = make_net(args.fsdp, args.seed, device)
    optimizer = torch.optim.AdamW(net.named_parameters(), lr=3e-3)
    first = resume(args.checkpoints, net, optimizer) if args.checkpoints else 0
    training, held_out = load_text()
    for step in range(first + 1, args.steps + 1):
        loss = loss_of(net, draw_pieces(training, BATCH, args.seed + step, device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, args.steps // 10) == 0 or step == args.steps:
            say(f"step {step:>5} of {args.steps}   loss {mean_of_all(loss):.3f}")
        if args.checkpoints and step % args.save_every == 0:
            save(args.checkpoints, step, net, optimizer)
        last = dist.get_rank() == dist.get_world_size() - 1
        if step == args.kill_at and last and not first:
            os.kill(os.getpid(), signal.SIGKILL)
    with torch.no_grad():
        loss = loss_of(net, draw_pieces(held_out, 4 * BATCH, args.seed, device))
    say(f"loss on text that it was not trained with: {mean_of_all(loss):.3f}")
    dist.destroy_process_group()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--ddp", action="store_true", help="each process keeps all (the default)")
    way.add_argument("--fsdp", action="store_true", help="each process keeps a part")
    parser.add_argument("--steps", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--save-every", type=int, default=20, metavar="STEPS", help="default: %(default)s"
    )
    parser.add_argument("--checkpoints", type=Path, help="a folder that all processes see")
    parser.add_argument("--kill-at", type=int, metavar="STEP", help="a process kills itself")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run(args)


if __name__ == "__main__":
    main()
