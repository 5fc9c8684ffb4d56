"""Many variables: making, memory, saving, listing; and the time an import takes."""

import copy
import functools
import gc
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from models import make_by_scopes, make_dict, make_modules
from timing import CLOCK, DICT, MODULE, TORCHSCOPE, Measure, Settings, Statement, one_core, race
from torch import nn

import torchscope as ts

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
    return Measure("making", title, "ns", samples, DICT, {TORCHSCOPE: 1.4})


# ---- memory ------------------------------------------------------------------------------------

STATM = Path("/proc/self/statm")
RUN = Path(__file__).with_name("run.py")
MEMORY_COUNT = 10_000  # Fewer would fit into memory that was freed before.


def memory(settings: Settings) -> Measure:
    """Measured by the memory that the process holds: most of a tensor is not Python's.

    Each contender has a process of its own, since freed memory is used again.
    """
    title = f"memory held by each of {MEMORY_COUNT:,} variables besides its 32 bytes"
    if not STATM.exists():
        return Measure("memory", f"{title} (Linux only)", "B", {}, DICT)
    names = [name for _ in range(settings.memory_rounds) for name in MAKERS]
    with ThreadPoolExecutor(2) as two:
        held = list(two.map(memory_of, names))
    samples = {name: held[i :: len(MAKERS)] for i, name in enumerate(MAKERS)}
    return Measure("memory", title, "B", samples, DICT, {TORCHSCOPE: 1.3})


def memory_of(name: str) -> float:
    """Bytes for each variable, as a new process finds them."""
    command = [sys.executable, str(RUN), "--memory-of", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory_of(name: str) -> None:
    """In the new process: what making variables adds, once everything was warmed up."""
    make = MAKERS[name]
    make(100)
    gc.collect()
    before = resident_bytes()
    made = make(MEMORY_COUNT)
    gc.collect()
    print((resident_bytes() - before) / MEMORY_COUNT - 32)
    del made


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- the life of many --------------------------------------------------------------------------


def life(settings: Settings) -> list[Measure]:
    """Each stage once a round, since a million take long: ratios to nn.ParameterDict."""
    count = settings.variables
    rounds = 1 if count > 100_000 else settings.making_rounds
    stages: dict[str, dict[str, list[float]]] = {}
    with one_core():
        names = [TORCHSCOPE, DICT]
        for _ in range(rounds):
            names.reverse()
            for name in names:
                for stage, seconds in live(name, count).items():
                    times = stages.setdefault(stage, {TORCHSCOPE: [], DICT: []})
                    times[name].append(seconds / count * 1e9)
    title = f"of {count:,} variables, each"
    bars = {TORCHSCOPE: 1.3}
    return [
        Measure(stage, f"{stage} {title}", "ns", samples, DICT, bars)
        for stage, samples in stages.items()
    ]


def live(name: str, count: int) -> dict[str, float]:
    """Seconds of each stage."""
    seconds: dict[str, float] = {}

    def timed(stage: str, action: Callable[[], Any]) -> Any:
        gc.collect()
        begun = CLOCK()
        result = action()
        seconds[stage] = CLOCK() - begun
        return result

    made: Any = timed("making once", lambda: MAKERS[name](count))
    timed("fetching", lambda: FETCHERS[name](made, count))
    state = timed("state_dict", made.state_dict)
    timed("load_state_dict", functools.partial(made.load_state_dict, state))
    timed("deepcopy", lambda: copy.deepcopy(made))
    return seconds


def fetch_by_scopes(store: ts.VariableStore, count: int) -> None:
    with store:
        for i in range(100):
            with ts.variable_scope(f"scope{i}"):
                for j in range(count // 100):
                    ts.get_variable(f"v{j}", [8])


def fetch_from_dict(params: nn.ParameterDict, count: int) -> None:
    for i in range(100):
        for j in range(count // 100):
            params[f"scope{i}/v{j}"]


FETCHERS: dict[str, Callable[[Any, int], None]] = {
    TORCHSCOPE: fetch_by_scopes,
    DICT: fetch_from_dict,
}


# ---- lists -------------------------------------------------------------------------------------

COMPREHENSION = "list comprehension, compiled regex"


def lists(settings: Settings) -> list[Measure]:
    count = settings.variables
    store, params = make_by_scopes(count), make_dict(count)
    last = params[f"scope99/v{count // 100 - 1}"]
    mine = store[f"scope99/v{count // 100 - 1}"]
    names = {"store": store, "params": params, "begins": re.compile("scope7/").match}
    by_hand = Statement("[v for k, v in params.named_parameters() if begins(k)]", names)
    contenders = {
        "named_variables": "list(store.named_variables('scope7'))",
        "get_collection": "store.get_collection('variables', 'scope7/')",
    }
    measures = [
        Measure(
            key,
            f"{key} of one scope of 100, {count:,} variables",
            "ns",
            race({TORCHSCOPE: Statement(code, names), COMPREHENSION: by_hand}, settings),
            COMPREHENSION,
            {TORCHSCOPE: 2.0},
        )
        for key, code in contenders.items()
    ]
    few = make_by_scopes(100)
    samples = race(
        {
            f"{TORCHSCOPE}, {count:,} variables": Statement(
                "name_of(v)", {"name_of": store.name_of, "v": mine}
            ),
            f"{TORCHSCOPE}, 100 variables": Statement(
                "name_of(v)", {"name_of": few.name_of, "v": few["scope99/v0"]}
            ),
            "search of a ParameterDict": Statement(
                "next(k for k, v in params.items() if v is last)", {"params": params, "last": last}
            ),
        },
        settings,
    )
    reference = f"{TORCHSCOPE}, 100 variables"
    title = "name_of, which is not to grow with the number of variables"
    bars = {f"{TORCHSCOPE}, {count:,} variables": 1.3}
    return [*measures, Measure("name_of", title, "ns", samples, reference, bars)]


# ---- import ------------------------------------------------------------------------------------

IMPORT_PROGRAM = """
import sys, time, torch, typing_extensions
{first}
before = set(sys.modules)
begun = time.process_time()
{code}
took = (time.process_time() - begun) * 1e3
new = {{name.partition(".")[0] for name in set(sys.modules) - before}} - {{"torchscope"}}
print(took, *sorted(new))
"""


def imported(code: str, settings: Settings, first: str = "") -> tuple[list[float], str]:
    """Milliseconds that an import takes after torch's, and the other modules that it brings.

    In processes of their own, with the bytecode there, as it is in a package installed.
    """
    command = [sys.executable, "-c", IMPORT_PROGRAM.format(code=code, first=first)]
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        printed = [
            subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
            for _ in range(settings.making_rounds + 1)
        ]
    lines = [line.split() for line in printed[1:]]  # The first writes the bytecode.
    return [float(words[0]) for words in lines], ", ".join(lines[0][1:]) or "none"


def importing(settings: Settings) -> Measure:
    took, others = imported("import torchscope", settings)
    title = f"import torchscope after import torch, bar 30 ms; also imports: {others}"
    return Measure("import", title, "ms", {TORCHSCOPE: took}, TORCHSCOPE)
