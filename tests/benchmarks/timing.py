"""How times are taken: contenders in turn, on one core; knows no contender."""

import gc
import os
import statistics
import time
import timeit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

TORCHSCOPE, MODULE, DICT = "torchscope", "nn.Module", "nn.ParameterDict"
WITH_STORE, SCOPED_MODULE = "torchscope, with store:", "torchscope, ScopedModule"


class Settings(NamedTuple):
    """How much to measure."""

    rounds: int
    seconds: float  # that a contender runs for in each round
    variables: int  # made, fetched, saved, ...
    making_rounds: int
    memory_rounds: int
    compiled: tuple[int, ...]  # numbers of variables in models to be compiled
    inductor: bool  # whether to compile to machine code, too


FULL = Settings(33, 0.006, 10_000, 5, 2, (10, 100, 1_000), inductor=True)
QUICK = Settings(3, 0.001, 1_000, 1, 1, (10,), inductor=False)


class Measure(NamedTuple):
    """What was measured: of each contender one number a round."""

    key: str
    title: str
    unit: str
    samples: dict[str, list[float]]
    reference: str = MODULE  # whose numbers the ratios are to
    bars: Mapping[str, float] = MappingProxyType(
        {}
    )  # what the median ratio of a contender is to be at most
    upper: bool = False  # whether the greatest ratio is to be, not the median


class Statement(NamedTuple):
    """Code to be timed as it stands, so that no call of a function is timed with it."""

    code: str
    names: dict[str, Any]


class Spread(NamedTuple):
    """The median of some rounds, and its quartiles: half of them lie from low to high.

    Not the least and the greatest: a machine that others use, too, changes its speed in a round.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) == 1:
            return cls(*values * 3)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


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
        order = list(timers)
        for _ in range(settings.rounds):
            gc.collect()  # timeit switches collection off while it runs.
            for name in order:
                timers[name].timeit(1)  # The caches are the previous one's, or the collector's.
                took = timers[name].timeit(repeats[name])
                samples[name].append(took / repeats[name] * 1e9)
            order.append(order.pop(0))
    return samples


def repeats_for(timer: timeit.Timer, seconds: float) -> int:
    timer.timeit(1)  # Warm up.
    repeats = 1
    while (took := timer.timeit(repeats)) < seconds / 4:
        repeats *= 2
    return max(1, round(repeats * seconds / took))
