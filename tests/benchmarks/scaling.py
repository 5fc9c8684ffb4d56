"""What a pass, a build, a state dict and a check of ranks cost when there are many variables.

    python tests/benchmarks/scaling.py [--variables 1000 10000 100000 1000000] [--ranks 2 4]

prints the tables of docs/scaling.md: torchscope measured, and an nn.Module of as many parameters,
and from that an estimate for more ranks. Each is measured in a process of its own,
on one thread, in processor time; communication between ranks is in wall time. The variables hold
one number each, so the figures show the cost of names, not of arithmetic.
"""

import argparse
import gc
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import torchscope as ts

PER_SCOPE = 10  # variables
MOST_RANKS = 1000  # that are estimated for


# ---- one process -------------------------------------------------------------------------------


def variables(number: int, size: int = 1) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that asks for so many variables, ten in a scope."""
    zeros = ts.zeros_initializer()

    def model(x: torch.Tensor) -> torch.Tensor:
        for scope in range(number // PER_SCOPE):
            with ts.variable_scope(f"layer{scope}"):
                for name in "abcdefghij":
                    ts.get_variable(name, [size], initializer=zeros)
        return x

    return model


class Layer(nn.Module):
    """Ten parameters, as nn.Module has them."""

    def __init__(self) -> None:
        super().__init__()
        for name in "abcdefghij":
            self.register_parameter(name, nn.Parameter(torch.zeros(1)))


class Layers(nn.Module):
    """The same number of parameters, found by attribute."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(number // PER_SCOPE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Look each of them up."""
        for layer in self.layers:
            for name in "abcdefghij":
                getattr(layer, name)
        return x


def seconds(
    action: Callable[[], Any], times: int = 3, clock: Callable[[], float] = time.process_time
) -> float:
    """The shortest of some runs; in processor time, which leaves out what else the machine does."""
    found = []
    for _ in range(times):
        gc.collect()
        gc.disable()
        began = clock()
        result = action()
        found.append(clock() - began)
        gc.enable()
        del result
    return min(found)


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


def measure_scoped(number: int) -> dict[str, float]:
    """Seconds, and bytes of memory, of a ScopedModule."""
    x = torch.ones(1)
    gc.collect()
    before = resident()
    net = ts.ScopedModule(variables(number), seed=0)
    build = seconds(lambda: net.build(x), times=1)
    gc.collect()
    memory = resident() - before
    return {
        "build": build,
        **measure_both(net, x),
        "reset_parameters": seconds(net.reset_parameters, times=1),
        "check_same_variables": checking(net),
        "memory": memory,
    }


def measure_plain(number: int) -> dict[str, float]:
    """The same of an nn.Module."""
    gc.collect()
    before = resident()
    began = time.process_time()
    plain = Layers(number)
    build = time.process_time() - began
    gc.collect()
    memory = resident() - before
    return {"build": build, **measure_both(plain, torch.ones(1)), "memory": memory}


CONTENDERS = {"torchscope": measure_scoped, "nn.Module": measure_plain}


def measure(contender: str, number: int) -> dict[str, float]:
    """In a process of its own, whose memory holds nothing else."""
    command = [sys.executable, __file__, f"--one={contender}", "--variables", str(number)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure_both(net: nn.Module, x: torch.Tensor) -> dict[str, float]:
    """What both of them can."""
    state = net.state_dict()
    found = {
        "pass": seconds(lambda: net(x)),
        "state_dict": seconds(net.state_dict),
        "named_parameters": seconds(lambda: list(net.named_parameters())),
    }
    # torch looks through all keys again for each child: with very many children, for hours.
    if not list(net.children()) or len(state) <= 10_000:
        found["load_state_dict"] = seconds(lambda: net.load_state_dict(state), times=1)
    return found


def checking(net: nn.Module) -> float:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        return seconds(lambda: ts.distributed.check_same_variables(net))
    finally:
        dist.destroy_process_group()


def numbers_a_second(count: int = 10_000_000) -> float:
    """How fast first values are computed, of a variable that has many."""
    with ts.VariableStore(seed=0) as store:
        ts.get_variable("w", [count // 1000, 1000])
    return count / seconds(store.reset_parameters)


# ---- some processes ----------------------------------------------------------------------------

SAVED = 1000  # variables in a distributed checkpoint


def across(ranks: int) -> tuple[float, float]:
    """Seconds of a check of one scope, and of saving a checkpoint, between so many processes."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_on_a_rank, args=(rank, ranks, Path(folder), queue))
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        found = [queue.get(timeout=300) for _ in processes]
        for process in processes:
            process.join()
    return max(check for check, _ in found), max(save for _, save in found)


def _on_a_rank(rank: int, ranks: int, folder: Path, queue: Any) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    net = ts.ScopedModule(variables(PER_SCOPE), seed=0).build(torch.ones(1))
    check = seconds(lambda: ts.distributed.check_same_variables(net), 20, time.perf_counter)
    net = ts.ScopedModule(variables(SAVED, ranks), seed=0).build(torch.ones(1))
    state = fully_shard(net, mesh=init_device_mesh("cpu", (ranks,))).state_dict()
    dist.barrier()
    save = seconds(
        lambda: dcp.save(state, checkpoint_id=folder / "checkpoint"), 1, time.perf_counter
    )
    dist.barrier()
    queue.put((check, save))
    queue.close()
    queue.join_thread()
    os._exit(0)  # Ending as usual, a process of gloo's may wait for ever.


# ---- tables ------------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(value: float, unit: str = "s") -> str:
    """With a unit that suits it."""
    if unit == "B":
        return f"{value / 1e6:,.1f} MB" if value < 1e9 else f"{value / 1e9:,.2f} GB"
    if value < 1e-3:
        return f"{value * 1e6:,.0f} µs"
    return f"{value * 1e3:,.1f} ms" if value < 1 else f"{value:,.1f} s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = [1_000, 10_000, 100_000, 1_000_000]
    parser.add_argument("--variables", type=int, nargs="+", default=numbers)
    parser.add_argument("--ranks", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        torch.set_num_threads(1)
        print(json.dumps(CONTENDERS[args.one](*args.variables)))
        return

    found = {number: {one: measure(one, number) for one in CONTENDERS} for number in args.variables}
    most = found[args.variables[-1]]
    print(
        f"torch {torch.__version__}, one thread, processor time; "
        "in brackets nn.Module, where it has the same\n"
    )
    rows = []
    for key in most["torchscope"]:
        row = [key]
        for each in found.values():
            unit = "B" if key == "memory" else "s"
            ours, theirs = each["torchscope"][key], each["nn.Module"].get(key)
            also = "" if theirs is None else f" ({shown(theirs, unit)})"
            row.append(shown(ours, unit) + also)
        last = most["torchscope"][key] / args.variables[-1]
        row.append(f"{last:,.0f} B" if key == "memory" else f"{last * 1e6:,.2f} µs")
        rows.append(row)
    print(table(["variables", *(f"{number:,}" for number in found), "each"], rows))
    if not args.ranks:
        return

    print(
        f"\nFirst values, glorot uniform: {numbers_a_second() / 1e6:,.0f} million numbers a second"
    )
    print("\nBetween processes on this machine (gloo)\n")
    taken = {ranks: across(ranks) for ranks in args.ranks}
    checks = {ranks: check for ranks, (check, _) in taken.items()}
    saves = {ranks: save for ranks, (_, save) in taken.items()}
    rows = [
        ["a check of ten variables", *map(shown, checks.values())],
        [f"`dcp.save` of {SAVED:,} sharded variables", *map(shown, saves.values())],
    ]
    print(table(["ranks", *map(str, taken)], rows))

    ours, many = most["torchscope"], args.variables[-1]
    saved = extended(saves) * many / SAVED
    rows = [
        ["on each rank, once: a build", shown(ours["build"])],
        ["on each rank, once: `reset_parameters`", shown(ours["reset_parameters"])],
        ["on each rank, once: its part of the check", shown(ours["check_same_variables"])],
        ["between the ranks, once: the check", shown(extended(checks))],
        ["on each rank, each step: the pass", shown(ours["pass"])],
        ["between the ranks, each checkpoint: `dcp.save`", shown(saved)],
    ]
    print(f"\nESTIMATE, not measured: {many:,} variables on {MOST_RANKS:,} ranks\n")
    print(table(["", "time"], rows))


def extended(taken: dict[int, float]) -> float:
    """The time for the most ranks, if each further rank costs what it costs here."""
    fewest, most = min(taken), max(taken)
    each = (taken[most] - taken[fewest]) / (most - fewest) if most > fewest else 0.0
    return taken[most] + max(each, 0.0) * (MOST_RANKS - most)


if __name__ == "__main__":
    main()
