"""Time and memory of torchscope compared with plain nn.Module and nn.ParameterDict.

    python tests/benchmarks/run.py [--json FILE] [--svg FILE] [--only KEY ...] [--quick | --large]

All of it on one core and one thread, in processor time, which excludes other programs.
Each round times every contender once, in turn, and ratios are taken within a round, so that a slow
moment of the machine affects all of them alike. The table shows the median of the rounds, and in
brackets the quartiles; a bar is the greatest median ratio that we accept (for the compiled training
step: the upper quartile).

The extra `bench` installs libraries to compare with; those that are missing are left out.
`--large` makes a million variables, which takes minutes and 4 GB. To add a row, add a contender to
a measure; to add a measure, write a function that returns measures and put it into ``MEASURES``.
"""

import argparse
import datetime
import json
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import compiled
import eager
import many
import peers
import tf1
import tf1_layers
import tf1_training
import torch
from timing import FULL, QUICK, Measure, Settings, Spread

import torchscope as ts

MEASURES: dict[str, Callable[[Settings], Measure | Iterable[Measure]]] = {
    "get": eager.get_under_reuse,
    "scope": eager.scope,
    "naming": eager.naming,
    "forward": eager.forward,
    "shares": eager.shares,
    "training": eager.training,
    "transformer": eager.transformers,
    "gets": eager.gets,
    "parts": eager.parts,
    "threads": eager.threads,
    "making": many.making,
    "memory": many.memory,
    "life": many.life,
    "lists": many.lists,
    "import": many.importing,
    "compiled": compiled.compiled,
    "compiled training": compiled.compiled_training,
    "tf1 import": tf1.importing,
    "tf1 plain": tf1.plain_operations,
    "tf1 layers": tf1_layers.layers,
    "tf1 sequences": tf1_training.sequences,
    "tf1 optimizers": tf1_training.optimizers,
    "peers": peers.peers,
}


class Row(NamedTuple):
    """A line of the table: the numbers of one contender."""

    measure: str
    title: str
    contender: str
    unit: str
    value: Spread
    reference: str
    ratio: Spread | None
    bar: float | None
    upper: bool = False

    @property
    def verdict(self) -> str:
        if self.bar is None or self.ratio is None:
            return ""
        return f"<= {self.bar:.2f} {'held' if self.judged <= self.bar else 'MISSED'}"

    @property
    def judged(self) -> float:
        """The ratio that a bar is for: the median, or the upper end of the spread."""
        assert self.ratio
        return self.ratio.high if self.upper else self.ratio.median


def rows_of(measure: Measure) -> list[Row]:
    _, title, unit, samples, reference, bars, upper = measure
    rows: list[Row] = []
    for contender, rounds in samples.items():
        ratio = None
        if contender != reference and all(samples.get(reference, [0])):
            ratio = Spread.of([a / b for a, b in zip(rounds, samples[reference], strict=True)])
        value, bar = Spread.of(rounds), bars.get(contender)
        rows.append(Row(measure.key, title, contender, unit, value, reference, ratio, bar, upper))
    return rows


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
        "peers": ", ".join(peers.installed()) or "none installed: pip install torchscope[bench]",
    }


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def print_rows(rows: list[Row]) -> None:
    """The lines of one measure; the ratio of each to its reference, which has none."""
    print(f"\n{rows[0].title}")
    for row in rows:
        value = f"{row.value.median:,.0f}" if row.value.median >= 10 else f"{row.value.median:,.2f}"
        ratio = shown(row.ratio) if row.ratio else ""
        line = f"  {row.contender:<34}{value:>13} {row.unit:<3}{ratio:>22}   {row.verdict}"
        print(line.rstrip(), flush=True)


def shown(ratio: Spread) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}..{ratio.high:.2f})"


def write_json(path: Path, rows: list[Row]) -> None:
    def plain(row: Row) -> dict[str, Any]:
        ratio = row.ratio and row.ratio._asdict()
        return row._asdict() | {"value": row.value._asdict(), "ratio": ratio}

    written = {"environment": environment(), "rows": [plain(row) for row in rows]}
    path.write_text(json.dumps(written, indent=2))


# ---- the picture -------------------------------------------------------------------------------

WIDTH, LINE, LEFT, UNIT = 860, 22, 430, 150  # pixels; UNIT is the width of a ratio of 1


def write_svg(path: Path, rows: list[Row]) -> None:
    """A bar for each ratio that has a limit, and the limit as a mark."""
    drawn = [row for row in rows if row.ratio and row.bar]
    height = LINE * (len(drawn) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="15">time or memory, times that of the reference (line: 1)</text>',
        f'<line x1="{LEFT + UNIT}" x2="{LEFT + UNIT}" y1="{LINE}" y2="{height}" stroke="#999"/>',
    ]
    for i, row in enumerate(drawn):
        assert row.ratio
        assert row.bar
        top = LINE * (i + 1)
        length = min(round(row.ratio.median * UNIT), WIDTH - LEFT - 50)
        color = "#4a90d9" if row.judged <= row.bar else "#d9804a"
        mark = LEFT + round(row.bar * UNIT)
        name = f"{row.measure}: {row.contender}".replace("torchscope, ", "")
        thick, end = LINE - 8, top + LINE - 2
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{name}</text>',
            f'<rect x="{LEFT}" y="{top + 4}" width="{length}" height="{thick}" fill="{color}"/>',
            f'<line x1="{mark}" x2="{mark}" y1="{top + 2}" y2="{end}" stroke="black"/>',
            f'<text x="{LEFT + length + 6}" y="{top + 15}">{row.ratio.median:.2f}</text>',
        ]
    path.write_text("\n".join([*parts, "</svg>", ""]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the ratios that have a bar")
    parser.add_argument("--only", nargs="+", choices=MEASURES, metavar="KEY", help="some measures")
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument("--large", action="store_true", help="the life of a million variables")
    parser.add_argument("--memory-of", choices=many.MAKERS, help=argparse.SUPPRESS)
    parser.add_argument("--first-call-of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.first_call_of:
        name, count = args.first_call_of
        compiled.print_first_call_of(name, int(count))
        return
    if args.memory_of:
        many.print_memory_of(args.memory_of)
        return
    for what, value in environment().items():
        print(f"{what:<12}{value}")
    settings = QUICK if args.quick else FULL
    only = args.only or MEASURES
    if args.large:
        settings, only = settings._replace(variables=1_000_000), args.only or ["life"]
    print("\nmedians; ratios within a round: median (lower..upper quartile)")
    rows: list[Row] = []
    for key in only:
        found = MEASURES[key](settings)
        for measure in [found] if isinstance(found, Measure) else found:
            if measure.samples:
                rows += (new := rows_of(measure))
                print_rows(new)
    print(f"\n{peers.DATED}")
    if args.json:
        write_json(args.json, rows)
    if args.svg:
        write_svg(args.svg, rows)


if __name__ == "__main__":
    main()
