"""Compiled code: graphs, guards, the time of a dispatch and of the first compile."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from models import IMAGE, Chain, HandWrittenModel, calculate, scoped_chain, scoped_model
from timing import MODULE, SCOPED_MODULE, Measure, Settings, Statement, race
from torch import nn

import torchscope as ts

X = torch.ones(8)


class Backend:
    """Counts graphs and runs none, so that what is timed is the way to it."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        return lambda *given: (X,)


def compiled(settings: Settings) -> Iterator[Measure]:
    for count in settings.compiled:
        yield from compiled_at(count, settings)


def compiled_at(count: int, settings: Settings) -> list[Measure]:
    nets = {name: net_of(name, count) for name in (SCOPED_MODULE, MODULE)}
    statements: dict[str, Statement] = {}
    graphs: dict[str, list[float]] = {}
    guards: dict[str, list[float]] = {}
    for name, net in nets.items():
        backend = Backend()
        fast: Any = torch.compile(net, backend=backend, fullgraph=True)
        for _ in range(4):
            fast(X)
        graphs[name] = [float(backend.graphs)]
        guards[name] = [float(guards_of(net))]
        statements[name] = Statement("net(x)", {"net": fast, "x": X})
    of = f"compiled, {count:,} variables"
    bar = 1.1 if count <= 10 else 1.05
    one = {SCOPED_MODULE: 1.0}
    compile_bars = {SCOPED_MODULE: 2.5} if count == 1_000 else {}
    fresh = first_calls(count, 1 if settings.rounds < 10 else 3)
    return [
        Measure(f"graphs {count}", f"{of}: graphs after 4 calls", "", graphs, bars=one),
        Measure(f"guards {count}", f"{of}: guards", "", guards, bars={SCOPED_MODULE: 1.1}),
        Measure(
            f"compile {count}", f"{of}: first call in a fresh process, backend apart", "s",
            fresh, bars=compile_bars,
        ),
        Measure(
            f"dispatch {count}", f"{of}: a call, all but the graph", "ns",
            race(statements, settings), bars={SCOPED_MODULE: bar},
        ),
    ]  # fmt: skip


def net_of(name: str, count: int) -> nn.Module:
    if name == SCOPED_MODULE:
        return ts.ScopedModule(scoped_chain(count)).build(X)
    return Chain(count)


def first_calls(count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time, each in a process of its own.

    Within one process what was compiled before makes the same code two to six times as slow.
    """
    seconds: dict[str, list[float]] = {SCOPED_MODULE: [], MODULE: []}
    for _ in range(rounds):
        for name, found in seconds.items():
            command = [sys.executable, str(Path(__file__).with_name("run.py"))]
            command += ["--first-call-of", name, str(count)]
            shown = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(float(shown.stdout))
    return seconds


def print_first_call_of(name: str, count: int) -> None:
    net = net_of(name, count)
    torch.compile(nn.Identity(), backend=Backend(), fullgraph=True)(X)  # Imports Dynamo.
    begun = time.process_time()
    torch.compile(net, backend=Backend(), fullgraph=True)(X)
    print(time.process_time() - begun)


def guards_of(net: nn.Module) -> int:
    """How many guards Dynamo checks on a call: the lines of its tree that are no branches."""
    from torch._dynamo.eval_frame import _debug_get_cache_entry_list

    forward = net.forward
    entries = _debug_get_cache_entry_list(getattr(forward, "__func__", forward).__code__)
    lines = [line for entry in entries for line in str(entry.guard_manager).splitlines()]
    return sum("+- " in line and "GuardManager" not in line for line in lines)


def compiled_training(settings: Settings) -> list[Measure]:
    """Compiled to machine code by Inductor; takes a minute."""
    if not settings.inductor:
        return []
    torch._dynamo.reset()
    nets = {
        SCOPED_MODULE: ts.ScopedModule(scoped_model(calculate)).build(IMAGE, IMAGE),
        MODULE: HandWrittenModel(calculate),
    }
    try:
        statements = {name: step(torch.compile(net)) for name, net in nets.items()}
        samples = race(statements, settings._replace(seconds=4 * settings.seconds))
    except Exception as error:  # Without a C++ compiler there is no machine code.
        print(f"compiled training step left out: {type(error).__name__}")
        return []
    title = "a compiled training step of the tutorial's model, SGD"
    return [
        Measure("compiled training", title, "ns", samples, bars={SCOPED_MODULE: 1.02}, upper=True)
    ]


def step(net: Any) -> Statement:
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        y1, y2 = net(IMAGE, IMAGE)
        (y1.square().sum() + y2.square().sum()).backward()
        optimizer.step()

    return Statement("run()", {"run": run})
