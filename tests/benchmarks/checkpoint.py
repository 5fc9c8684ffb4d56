"""How long checkpoints take to be read and written, compared with torch's own functions.

    python tests/benchmarks/checkpoint.py [--json FILE] [--quick]

Files are written first, so that they are in the page cache, and no disk is measured. Then, as
in ``run.py``: one core, processor time, every contender once a round, ratios within a round.
``--quick`` only checks that it runs. The speed of checksums is that of the installed package.
"""

import argparse
import functools
import gc
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from run import environment, shown
from timing import CLOCK, Spread, one_core
from torch import Tensor

import torchscope as ts
from torchscope import checkpoint

TORCH = "torch.load(weights_only=True)"
TORCH_SAVE = "torch.save"


class Settings(NamedTuple):
    """How much to measure."""

    rounds: int
    listed: int  # variables of the index that is listed
    tensors: int  # of the checkpoint that is read
    elements: int  # of each of those


FULL = Settings(rounds=11, listed=100_000, tensors=97, elements=1_300_000)
QUICK = Settings(rounds=2, listed=500, tensors=3, elements=1_000)


class Row(NamedTuple):
    """A line of the table: milliseconds, and the ratio to torch's own where there is one."""

    contender: str
    milliseconds: Spread
    ratio: Spread | None


# ---- what is read ------------------------------------------------------------------------------


def write_index(prefix: Path, settings: Settings) -> None:
    """Many small variables, whose names have common prefixes, as real ones do."""
    numbers = (divmod(number, 10) for number in range(settings.listed))
    names = (f"model/layer_{layer:05}/attention/w{which}" for layer, which in numbers)
    checkpoint.save(dict.fromkeys(names, torch.zeros(1)), prefix)


def write_tensors(prefix: Path, settings: Settings) -> dict[str, Tensor]:
    """The same variables as a checkpoint of TensorFlow's, and as a file of ``torch.save``."""
    torch.manual_seed(0)
    names = [f"model/layer_{number:02}/w" for number in range(settings.tensors)]
    tensors = {name: torch.randn(settings.elements) for name in names}
    torch.save(tensors, prefix.with_suffix(".pt"))
    checkpoint.save(tensors, prefix)
    return tensors


# ---- contenders --------------------------------------------------------------------------------


def open_and_list(prefix: Path) -> list[Any]:
    """What is known of each variable without its data."""
    with checkpoint.open(prefix) as saved:
        return [(name, saved.shape(name), saved.dtype(name)) for name in saved]


def read_all(prefix: Path, *, mmap: bool) -> dict[str, Tensor]:
    """Every value, verified."""
    with checkpoint.open(prefix, mmap=mmap) as saved:
        return {name: saved[name] for name in saved}


def torch_load(prefix: Path) -> Mapping[str, Tensor]:
    """The reference: every value, copied; nothing of the data is verified."""
    return torch.load(prefix.with_suffix(".pt"), weights_only=True)


def net_of(prefix: Path) -> ts.ScopedModule:
    """A net that has the variables of a checkpoint."""
    shapes = dict(checkpoint.list_variables(prefix))

    def model() -> None:
        for name, shape in shapes.items():
            ts.get_variable(name, shape, initializer=ts.zeros_initializer())

    return ts.ScopedModule(model).build()


# ---- measuring ---------------------------------------------------------------------------------


def race(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each contender in each round; the first round only warms up."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    with one_core():
        for number in range(rounds + 1):
            for name, run in contenders.items():
                gc.collect()
                start = CLOCK()
                result = run()
                took = (CLOCK() - start) * 1e3
                del result  # what it takes to free memory is not counted
                if number:
                    samples[name].append(took)
    return samples


def rows_of(samples: dict[str, list[float]], torchs: str = TORCH) -> list[Row]:
    reference = samples.get(torchs)
    return [
        Row(
            name,
            Spread.of(rounds),
            Spread.of([a / b for a, b in zip(rounds, reference, strict=True)])
            if reference and name != torchs
            else None,
        )
        for name, rounds in samples.items()
    ]


def measure(settings: Settings, directory: Path) -> list[Row]:
    many, large = directory / "many", directory / "large"
    write_index(many, settings)
    tensors = write_tensors(large, settings)
    listing = {
        f"{settings.listed:,} variables opened and listed": functools.partial(open_and_list, many)
    }
    net = net_of(large)
    reading: dict[str, Callable[[], object]] = {
        TORCH: functools.partial(torch_load, large),
        "mapped and verified": functools.partial(read_all, large, mmap=True),
        "copied and verified": functools.partial(read_all, large, mmap=False),
        "checkpoint.load into a built net": functools.partial(checkpoint.load, net, large),
    }
    written = directory / "written"
    writing: dict[str, Callable[[], object]] = {
        TORCH_SAVE: functools.partial(torch.save, tensors, written.with_suffix(".pt")),
        "checkpoint.save, with checksums": functools.partial(
            checkpoint.save, tensors, written, overwrite=True
        ),
    }
    return [
        *rows_of(race(listing, settings.rounds)),
        *rows_of(race(reading, settings.rounds)),
        *rows_of(race(writing, settings.rounds), TORCH_SAVE),
    ]


def checksums() -> str:
    """What computes them here."""
    for package in ("crc32c", "google_crc32c"):
        if package in sys.modules:
            return package
    return "torchscope's own, which is slow"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = QUICK if args.quick else FULL
    about = environment() | {
        "checksums": checksums(),
        "data": f"{settings.tensors} float32 tensors, "
        f"{settings.tensors * settings.elements * 4 / 1e6:,.0f} MB",
    }
    for what, value in about.items():
        print(f"{what:<12}{value}")
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(settings, Path(directory))
    print(f"\n{settings.rounds} rounds: median (lower..upper quartile)\n")
    print(f"  {'':<38}{'ms':>26}{'x torch':>24}")
    for contender, spent, ratio in rows:
        took = f"{spent.median:,.0f} ({spent.low:,.0f}..{spent.high:,.0f})"
        print(f"  {contender:<38}{took:>26}{shown(ratio) if ratio else '':>24}")
    if args.json:
        written = [
            {
                "contender": row.contender,
                "milliseconds": row.milliseconds._asdict(),
                "ratio": row.ratio and row.ratio._asdict(),
            }
            for row in rows
        ]
        args.json.write_text(json.dumps({"environment": about, "rows": written}, indent=2))


if __name__ == "__main__":
    main()
