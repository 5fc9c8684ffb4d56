"""What a pass, a build, a state dict and a check of ranks cost when there are many variables.

    python tests/benchmarks/scaling.py [--variables 1000 10000 100000 1000000] [--ranks 2 4]

prints the tables of docs/scaling.md: what was measured, of torchscope beside an nn.Module of as
many parameters, and from that an estimate for more ranks. Each number of variables is measured in a
process of its own, with one thread, in wall time. The variables hold one number each: what is
measured is what names cost, not arithmetic.
"""

import argparse
import gc
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

import torchscope as ts

PER_SCOPE = 10  # variables
MOST_RANKS = 1000  # that are estimated for


# ---- one process -------------------------------------------------------------------------------


def variables(number: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that asks for so many variables, ten in a scope."""
    zeros = ts.zeros_initializer()

    def model(x: torch.Tensor) -> torch.Tensor:
        for scope in range(number // PER_SCOPE):
            with ts.variable_scope(f"layer{scope}"):
                for name in "abcdefghij":
                    ts.get_variable(name, [1], initializer=zeros)
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


def seconds(action: Callable[[], Any], times: int = 3) -> float:
    """The shortest of some runs."""
    found = []
    for _ in range(times):
        gc.collect()
        gc.disable()
        began = time.perf_counter()
        result = action()
        found.append(time.perf_counter() - began)
        gc.enable()
        del result
    return min(found)


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


def measure(number: int) -> dict[str, dict[str, float]]:
    """Seconds, and bytes of memory, of either."""
    torch.set_num_threads(1)
    return {"torchscope": measure_scoped(number), "nn.Module": measure_plain(number)}


def measure_scoped(number: int) -> dict[str, float]:
    """Of a ScopedModule."""
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
    """Of an nn.Module."""
    gc.collect()
    before = resident()
    began = time.perf_counter()
    plain = Layers(number)
    build = time.perf_counter() - began
    gc.collect()
    memory = resident() - before
    return {"build": build, **measure_both(plain, torch.ones(1)), "memory": memory}


def measure_both(net: nn.Module, x: torch.Tensor) -> dict[str, float]:
    """What both of them can."""
    state = net.state_dict()
    return {
        "pass": seconds(lambda: net(x)),
        "state_dict": seconds(net.state_dict),
        "load_state_dict": seconds(lambda: net.load_state_dict(state), times=1),
        "named_parameters": seconds(lambda: list(net.named_parameters())),
    }


def checking(net: nn.Module) -> float:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        return seconds(lambda: ts.distributed.check_same_variables(net))
    finally:
        dist.destroy_process_group()


# ---- some processes ----------------------------------------------------------------------------


def across(ranks: int) -> float:
    """Seconds of a check of one variable, between so many processes: what the ranks cost."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_check, args=(rank, ranks, Path(folder) / "store", queue))
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        found = [queue.get(timeout=300) for _ in processes]
        for process in processes:
            process.join(5)
            process.kill()  # Ending, a process of gloo's may wait for ever.
    return max(found)


def _check(rank: int, ranks: int, file: Path, queue: Any) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(file), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    net = ts.ScopedModule(variables(PER_SCOPE), seed=0).build(torch.ones(1))
    taken = seconds(lambda: ts.distributed.check_same_variables(net), times=20)
    dist.barrier()
    dist.destroy_process_group()
    queue.put(taken)


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
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return

    found = {}
    for number in args.variables:
        command = [sys.executable, __file__, f"--one={number}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[number] = json.loads(done.stdout)
    most = found[args.variables[-1]]
    print(f"torch {torch.__version__}, one thread; in brackets nn.Module, where it has the same\n")
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

    print("\nA check of ten variables, in processes on this machine (gloo)\n")
    taken = {ranks: across(ranks) for ranks in args.ranks}
    print(table(["ranks", *map(str, taken)], [["seconds", *map(shown, taken.values())]]))
    print_estimate(most["torchscope"], args.variables[-1], taken)


def print_estimate(ours: dict[str, float], number: int, taken: dict[int, float]) -> None:
    """What so many ranks would cost if each rank more cost what it costs here."""
    fewest, most = min(taken), max(taken)
    each = (taken[most] - taken[fewest]) / (most - fewest) if most > fewest else taken[most] / most
    ranks = taken[most] + max(each, 0) * (MOST_RANKS - most)
    rows = [
        ["on each rank, once: a build", shown(ours["build"])],
        ["on each rank, once: describing its variables", shown(ours["check_same_variables"])],
        [f"between {MOST_RANKS:,} ranks, once: the check", shown(ranks)],
        ["on each rank, each step: naming", shown(ours["pass"])],
    ]
    print(f"\nESTIMATE, not measured: {number:,} variables on {MOST_RANKS:,} ranks\n")
    print(table(["", "seconds"], rows))


if __name__ == "__main__":
    main()
