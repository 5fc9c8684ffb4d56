"""Time and memory of torchscope beside plain nn.Module and nn.ParameterDict.

    python tests/benchmarks/run.py [--json FILE] [--quick]

All of it on one core and one thread, in processor time: what else runs on the machine is left out.
Each round times every contender once, in turn, and ratios are taken within a round, so that what
slows the machine falls on all of them alike. The table shows the median of the rounds, and in
brackets the least and the greatest.

To add a row, add a contender to a measure; to add a measure, write a function that returns a
``Measure`` and put it into ``MEASURES``.
"""

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor, nn

import torchscope as ts

TORCHSCOPE, MODULE, DICT = "torchscope", "nn.Module", "nn.ParameterDict"
WITH_STORE, SCOPED_MODULE = "torchscope, with store:", "torchscope, ScopedModule"
REFERENCES = [MODULE, DICT]  # What the ratios are to.


class Settings(NamedTuple):
    """How much to measure."""

    rounds: int
    seconds: float  # that a contender runs for in each round
    variables: int
    making_rounds: int
    memory_rounds: int


FULL = Settings(rounds=21, seconds=0.02, variables=10_000, making_rounds=7, memory_rounds=3)
QUICK = Settings(rounds=3, seconds=0.001, variables=1_000, making_rounds=1, memory_rounds=1)


class Measure(NamedTuple):
    """What was measured: of each contender one number a round."""

    key: str
    title: str
    unit: str
    samples: dict[str, list[float]]


class Statement(NamedTuple):
    """Code to be timed as it stands, so that no call of a function is timed with it."""

    code: str
    names: dict[str, Any]


# ---- timing ------------------------------------------------------------------------------------


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one of its cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


FINE = time.get_clock_info("process_time").resolution < 1e-6  # It is not on Windows.
CLOCK = time.process_time if FINE else time.perf_counter


def race(statements: dict[str, Statement], settings: Settings) -> dict[str, list[float]]:
    """Nanoseconds of each statement in each round."""
    timers = {
        name: timeit.Timer(code, timer=CLOCK, globals=names)
        for name, (code, names) in statements.items()
    }
    samples: dict[str, list[float]] = {name: [] for name in timers}
    with one_core():
        repeats = {name: repeats_for(timer, settings.seconds) for name, timer in timers.items()}
        for _ in range(settings.rounds):
            gc.collect()  # timeit switches collection off while it runs.
            for name, timer in timers.items():
                samples[name].append(timer.timeit(repeats[name]) / repeats[name] * 1e9)
    return samples


def repeats_for(timer: timeit.Timer, seconds: float) -> int:
    timer.timeit(1)  # Warm up.
    repeats = 1
    while (took := timer.timeit(repeats)) < seconds / 4:
        repeats *= 2
    return max(1, round(repeats * seconds / took))


# ---- a variable, and a scope -------------------------------------------------------------------


def get_under_reuse(settings: Settings) -> Measure:
    net = HandWritten()
    params = variables_by_name(net)
    with ExitStack() as entered:
        entered.enter_context(ts.VariableStore())
        for reuse in (False, True):
            with ts.variable_scope("model", reuse=reuse), ts.variable_scope("conv1"):
                ts.get_variable("weights", [2, 1, 3, 3])
        entered.enter_context(ts.variable_scope("model", reuse=True))
        entered.enter_context(ts.variable_scope("conv1"))
        names = {"get_variable": ts.get_variable}
        samples = race(
            {
                TORCHSCOPE: Statement("get_variable('weights', [2, 1, 3, 3])", names),
                MODULE: Statement("net.conv1.weights", {"net": net}),
                DICT: Statement("params['conv1/weights']", {"params": params}),
            },
            settings,
        )
    return Measure("get", "get a variable under reuse, depth 2, shape given", "ns", samples)


def scope(settings: Settings) -> Measure:
    with ts.VariableStore(), ts.variable_scope("model"):
        samples = race(
            {
                TORCHSCOPE: Statement(
                    "with variable_scope('conv1'): pass", {"variable_scope": ts.variable_scope}
                ),
                MODULE: Statement("empty(None)", {"empty": Empty()}),
            },
            settings,
        )
    return Measure("scope", "enter and leave a scope; call an empty module", "ns", samples)


class Empty(nn.Module):
    def forward(self, x: Any) -> Any:
        return x


# ---- a pass of the tutorial's model ------------------------------------------------------------

IMAGE = torch.ones(1, 1, 4, 4)


def calculate(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    return F.relu(F.conv2d(x, weights, biases, padding="same"))


def leave_out(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    return x


Layer = Callable[[Tensor, Tensor, Tensor], Tensor]


def scoped_model(layer: Layer) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The tutorial's model, as it is written there."""

    def conv_relu(x: Tensor, kernel_shape: list[int], bias_shape: list[int]) -> Tensor:
        weights = ts.get_variable(
            "weights", kernel_shape, initializer=ts.random_normal_initializer(stddev=0.1)
        )
        biases = ts.get_variable("biases", bias_shape, initializer=ts.constant_initializer(0.0))
        return layer(x, weights, biases)

    def my_image_filter(images: Tensor) -> Tensor:
        with ts.variable_scope("conv1"):
            x = conv_relu(images, [2, 1, 3, 3], [2])
        with ts.variable_scope("conv2"):
            return conv_relu(x, [2, 2, 3, 3], [2])

    def model(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        with ts.variable_scope("model") as scope:
            y1 = my_image_filter(image1)
            scope.reuse_variables()
            y2 = my_image_filter(image2)
        return y1, y2

    return model


class ConvRelu(nn.Module):
    def __init__(self, layer: Layer, kernel_shape: list[int], bias_shape: list[int]) -> None:
        super().__init__()
        self.layer = layer
        self.weights = nn.Parameter(torch.randn(kernel_shape) * 0.1)
        self.biases = nn.Parameter(torch.zeros(bias_shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.weights, self.biases)


class HandWritten(nn.Module):
    """The same filter by hand."""

    def __init__(self, layer: Layer = calculate) -> None:
        super().__init__()
        self.conv1 = ConvRelu(layer, [2, 1, 3, 3], [2])
        self.conv2 = ConvRelu(layer, [2, 2, 3, 3], [2])

    def forward(self, images: Tensor) -> Tensor:
        return self.conv2(self.conv1(images))


class HandWrittenModel(nn.Module):
    """The same model by hand: both images pass through one filter."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.model = HandWritten(layer)

    def forward(self, image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(image1), self.model(image2)


def variables_by_name(module: nn.Module) -> nn.ParameterDict:
    return nn.ParameterDict(
        {name.replace(".", "/"): variable for name, variable in module.named_parameters()}
    )


def dict_model(
    layer: Layer, params: nn.ParameterDict
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The same model as a function over an nn.ParameterDict."""

    def conv_relu(x: Tensor, scope: str) -> Tensor:
        return layer(x, params[scope + "/weights"], params[scope + "/biases"])

    def my_image_filter(images: Tensor, scope: str) -> Tensor:
        return conv_relu(conv_relu(images, scope + "/conv1"), scope + "/conv2")

    def model(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        return my_image_filter(image1, "model"), my_image_filter(image2, "model")

    return model


def race_of_passes(layer: Layer, settings: Settings) -> dict[str, list[float]]:
    model = scoped_model(layer)
    by_hand = HandWrittenModel(layer)
    images = {"a": IMAGE, "b": IMAGE}
    store = {"store": ts.VariableStore(), "model": model}
    net = ts.ScopedModule(model).build(IMAGE, IMAGE)
    by_name = dict_model(layer, variables_by_name(by_hand))
    return race(
        {
            WITH_STORE: Statement("with store:\n    model(a, b)", images | store),
            SCOPED_MODULE: Statement("net(a, b)", images | {"net": net}),
            MODULE: Statement("net(a, b)", images | {"net": by_hand}),
            DICT: Statement("model(a, b)", images | {"model": by_name}),
        },
        settings,
    )


def forward(settings: Settings) -> Measure:
    samples = race_of_passes(calculate, settings)
    return Measure("forward", "a pass of the tutorial's model, tiny images, eager", "ns", samples)


def naming(settings: Settings) -> Measure:
    samples = race_of_passes(leave_out, settings)
    return Measure("naming", "the same pass with the arithmetic left out", "ns", samples)


# ---- making many variables ---------------------------------------------------------------------


def make_by_scopes(count: int) -> ts.VariableStore:
    with ts.VariableStore() as store:
        for i in range(100):
            with ts.variable_scope(f"scope{i}"):
                for j in range(count // 100):
                    ts.get_variable(f"v{j}", [8], initializer=ts.zeros_initializer())
    return store


def make_modules(count: int) -> nn.Module:
    net = nn.Module()
    for i in range(100):
        scope = nn.Module()
        net.add_module(f"scope{i}", scope)
        for j in range(count // 100):
            setattr(scope, f"v{j}", nn.Parameter(torch.zeros(8)))
    return net


def make_dict(count: int) -> nn.ParameterDict:
    params = nn.ParameterDict()
    for i in range(100):
        for j in range(count // 100):
            params[f"scope{i}/v{j}"] = nn.Parameter(torch.zeros(8))
    return params


MAKERS: dict[str, Callable[[int], nn.Module]] = {
    TORCHSCOPE: make_by_scopes,
    MODULE: make_modules,
    DICT: make_dict,
}


def making(settings: Settings) -> Measure:
    count = settings.variables
    statements = {
        name: Statement("make(count)", {"make": make, "count": count})
        for name, make in MAKERS.items()
    }
    title = f"make {count:,} variables of shape [8] in 100 scopes, each"
    samples = {
        name: [nanoseconds / count for nanoseconds in rounds]
        for name, rounds in race(
            statements, settings._replace(rounds=settings.making_rounds)
        ).items()
    }
    return Measure("making", title, "ns", samples)


# ---- memory ------------------------------------------------------------------------------------


def memory(settings: Settings) -> Measure:
    """Measured by the memory that the process holds: most of a tensor is not Python's.

    Each contender has a process of its own, since freed memory is used again.
    """
    count = FULL.variables  # Fewer would fit into memory that was freed before.
    title = f"memory held by each of {count:,} variables beside its 32 bytes"
    if not STATM.exists():
        return Measure("memory", f"{title} (Linux only)", "B", {})
    names = [name for _ in range(settings.memory_rounds) for name in MAKERS]
    with ThreadPoolExecutor(2) as two:
        held = list(two.map(lambda name: memory_of(name, count), names))
    samples = {name: held[i :: len(MAKERS)] for i, name in enumerate(MAKERS)}
    return Measure("memory", title, "B", samples)


def memory_of(name: str, count: int) -> float:
    """Bytes for each variable, as a new process finds them."""
    command = [sys.executable, __file__, "--memory-of", name, "--variables", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory_of(name: str, count: int) -> None:
    """In the new process: what making variables adds, once everything was warmed up."""
    make = MAKERS[name]
    make(100)
    gc.collect()
    before = resident_bytes()
    made = make(count)
    gc.collect()
    print((resident_bytes() - before) / count - 32)
    del made


STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- the report --------------------------------------------------------------------------------

MEASURES: list[Callable[[Settings], Measure]] = [
    get_under_reuse,
    scope,
    forward,
    naming,
    making,
    memory,
]


class Spread(NamedTuple):
    """The median of some rounds, the least and the greatest."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


class Row(NamedTuple):
    """A line of the table: the numbers of one contender."""

    measure: str
    title: str
    contender: str
    unit: str
    value: Spread
    ratios: dict[str, Spread]


def rows_of(measure: Measure) -> list[Row]:
    samples = measure.samples
    return [
        Row(
            *(measure.key, measure.title, contender, measure.unit, Spread.of(rounds)),
            {
                reference: Spread.of(
                    [a / b for a, b in zip(rounds, samples[reference], strict=True)]
                )
                for reference in REFERENCES
                if reference in samples and reference != contender
            },
        )
        for contender, rounds in samples.items()
    ]


def environment() -> dict[str, str]:
    cores = os.cpu_count()
    load = " ".join(f"{load:.1f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "?"
    pinned = hasattr(os, "sched_setaffinity")
    return {
        "torchscope": ts.__version__,
        "torch": torch.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": f"{cpu_name()}, {cores} cores, {'one used' if pinned else 'not pinned to one'}",
        "load": load,
        "date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
    }


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def print_rows(rows: list[Row]) -> None:
    print(f"  {'':<26}{'':>10}", *(f"{'x ' + reference:>24}" for reference in REFERENCES))
    title = ""
    for row in rows:
        if row.title != title:
            title = row.title
            print(f"\n{title}")
        ratios = [f"{shown_ratio(row.ratios.get(reference)):>24}" for reference in REFERENCES]
        print(f"  {row.contender:<26}{row.value.median:>7,.0f} {row.unit}", *ratios)


def shown_ratio(ratio: Spread | None) -> str:
    return f"{ratio.median:.2f} ({ratio.min:.2f}..{ratio.max:.2f})" if ratio else ""


def write_json(path: Path, rows: list[Row]) -> None:
    path.write_text(
        json.dumps(
            {
                "environment": environment(),
                "rows": [
                    row._asdict()
                    | {
                        "value": row.value._asdict(),
                        "ratios": {name: ratio._asdict() for name, ratio in row.ratios.items()},
                    }
                    for row in rows
                ],
            },
            indent=2,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument("--memory-of", choices=MAKERS, help=argparse.SUPPRESS)
    parser.add_argument("--variables", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.memory_of:
        print_memory_of(args.memory_of, args.variables)
        return
    for what, value in environment().items():
        print(f"{what:<12}{value}")
    settings = QUICK if args.quick else FULL
    print("\nmedians; ratios within a round: median (least..greatest)\n")
    rows = [row for measure in MEASURES for row in rows_of(measure(settings))]
    print_rows(rows)
    if args.json:
        write_json(args.json, rows)


if __name__ == "__main__":
    main()
