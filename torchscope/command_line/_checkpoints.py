"""``list``, ``diff`` and ``convert``: the commands for checkpoints, and what they print."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchscope.checkpoint._compare import differences
from torchscope.checkpoint._convert import (
    KINDS,
    Plan,
    Rename,
    check_target,
    kind_of,
    plan,
    write,
)
from torchscope.checkpoint._optimizers import VALUE
from torchscope.checkpoint._rows import rows_of, total
from torchscope.checkpoint._sources import opened

from ._given import one_checkpoint, two_checkpoints
from ._listing import table, tree
from ._terminal import Progress, counted, print_json, safe, some

_SAME, _DIFFERENT = 0, 1

SOURCES = """\
PATH, A and the A of convert are what torchscope.checkpoint.load takes:
  logs/model.ckpt-7     TensorFlow's V2 format (model.ckpt-7.index beside its data), or V1
  logs                  a directory whose file "checkpoint" names the latest one, or a SavedModel
  model.safetensors     or model.safetensors.index.json, for all of its shards
  model.pt              of torch.save; a dict in it is a scope: model/fc.weight
The files of one checkpoint given together, as by model.ckpt*, are that checkpoint.
"""

_EXAMPLES = {
    "list": """\
examples:
  torchscope list logs/model.ckpt-7
  torchscope list logs --tree
  torchscope list logs --select '^dense/' --json
""",
    "diff": """\
exit code: 0 the same, 1 different, 2 an error.

NaN equals NaN, and -0.0 equals 0.0. Differences of integers are exact.

examples:
  torchscope diff logs/model.ckpt-7 logs/model.ckpt-8
  torchscope diff logs model.safetensors --select 'kernel$'
""",
    "convert": """\
Values are copied bit for bit. An optimizer's slots (w/Adam, beta1_power) and the global step are
left out and listed; so are strings, which only TensorFlow's files have.

examples:
  torchscope convert logs/model.ckpt-7 model.safetensors
  torchscope convert model.safetensors model.ckpt --map '^fc[.]=dense/' --map '[.]weight$=/kernel'
  torchscope convert logs model.pt --map '^old/=new/' --map '/kernel$=/w'
  torchscope convert logs averaged.pt --keep-slots --select '/ExponentialMovingAverage$' \\
      --map '/ExponentialMovingAverage$='
""",
}


# ---- the arguments -----------------------------------------------------------------------------


def add_commands(commands: Any) -> None:
    """Add the three to a parser's commands."""
    one = _command(commands, "list", _list, "name, shape, dtype and bytes of each variable")
    one.add_argument("paths", metavar="PATH", type=Path, nargs="+")
    one.add_argument("--tree", action="store_true", help="by scope")

    one = _command(commands, "diff", _diff, "names, shapes, dtypes and values that differ")
    one.add_argument("a", metavar="A", type=Path, nargs="+")
    one.add_argument("b", metavar="B", type=Path)
    _add_no_verify(one)

    one = _command(
        commands, "convert", _convert, "write a TensorFlow, a .safetensors or a .pt file"
    )
    one.add_argument("a", metavar="A", type=Path, nargs="+")
    one.add_argument("b", metavar="B", type=Path, help="what to write; .ckpt is TensorFlow's")
    one.add_argument("--to", choices=KINDS, help="what B is, where its ending does not say it")
    one.add_argument(
        "--map",
        metavar="REGEX=REPLACEMENT",
        type=_rename,
        action="append",
        default=[],
        help="rename as Python's re.sub does; may be given repeatedly; the last = is the separator",
    )
    one.add_argument("--keep-slots", action="store_true", help="write optimizers' slots, too")
    one.add_argument("--force", action="store_true", help="replace B if it exists")
    _add_no_verify(one)


def _command(commands: Any, name: str, run: Any, help: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(
        name,
        allow_abbrev=False,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"{_EXAMPLES[name]}\n{SOURCES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.set_defaults(run=run)
    one.add_argument(
        "--select",
        metavar="REGEX",
        type=_pattern,
        help="only variables whose names contain a match; '^(?!.*bias)' leaves out those with bias",
    )
    one.add_argument(
        "--names",
        choices=("file", "variables"),
        default="file",
        help="'variables': of TensorFlow 2's object checkpoints, dense/kernel and not "
        "layer-0/kernel/.ATTRIBUTES/VARIABLE_VALUE",
    )
    one.add_argument("--json", action="store_true", help="for a program to read")
    return one


def _add_no_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="do not verify TensorFlow's data by its checksums",
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a regular expression: {error}"
        ) from error


def _rename(text: str) -> Rename:
    pattern, equals, replacement = text.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no =; for example '^old/=new/'")
    return _pattern(pattern), replacement


# ---- the output --------------------------------------------------------------------------------


def _list(options: Any) -> int:
    with opened(one_checkpoint(options.paths), names=options.names) as source:
        rows = rows_of(source, options.select)
        path = str(source.path)
        slots = [row.name for row in rows if row.name in source.not_the_models]
    if options.json:
        print_json(
            {
                "path": path,
                "variables": [row.as_json() for row in rows],
                "slots": slots,
                "total": {"variables": len(rows), "bytes": total(rows)},
            }
        )
        return _SAME
    for line in (tree if options.tree else table)(rows):
        print(line.rstrip())
    print(f"{counted(len(rows), 'variable')}, {counted(total(rows), 'byte')}, in {safe(path)}")
    if slots:
        print(f"  of these, optimizer state and step counters: {len(slots):,} ({some(slots)})")
    if options.names == "file" and any(row.name.endswith(VALUE) for row in rows):
        print("  names lead through objects: --names variables shows those of the variables")
    return _SAME


def _diff(options: Any) -> int:
    how: dict[str, Any] = {"verify": options.verify, "names": options.names}
    path_a, path_b = two_checkpoints([*options.a, options.b])
    with opened(path_a, **how) as a, opened(path_b, **how) as b:
        rows_a, rows_b = rows_of(a, options.select), rows_of(b, options.select)
        with Progress("comparing", total(rows_a)) as progress:
            found = differences(a, b, rows_a, rows_b, progress.add)
        paths = str(a.path), str(b.path)
    same = len(rows_a) - sum(1 for one in found if one.a is not None)
    if options.json:
        print_json(
            {
                "a": paths[0],
                "b": paths[1],
                "same": same,
                "different": [one.as_json() for one in found],
            }
        )
    else:
        for label, path in zip("AB", paths, strict=True):
            print(f"{label} is {safe(path)}")
        for one in found:
            print(f"{safe(one.name)}: {one}")
        print(f"{counted(same, 'variable')} the same, {len(found):,} different")
    return _DIFFERENT if found else _SAME


def _convert(options: Any) -> int:
    kind = kind_of(options.b, options.to)
    check_target(options.b, kind, force=options.force)
    path = one_checkpoint(options.a)
    with opened(path, verify=options.verify, names=options.names) as source:
        rows = rows_of(source, options.select)
        planned = plan(source, rows, kind, options.map, options.keep_slots)
        size = total(planned.written.values())
        with Progress("writing", size) as progress:
            write(source, planned.written, options.b, kind, progress.add)
        path = str(source.path)
    others = [row.name for row in planned.others]
    if options.json:
        print_json(
            {
                "a": path,
                "b": str(options.b),
                "written": {new: row.as_json() for new, row in planned.written.items()},
                "left_out": {"slots": planned.slots, "no_numbers": others},
                "total": {"variables": len(planned.written), "bytes": size},
            }
        )
        return _SAME
    what = f"{counted(len(planned.written), 'variable')}, {counted(size, 'byte')}"
    print(f"{what}, from {safe(path)} to {safe(options.b)}")
    for line in _left_out(planned):
        print(line)
    return _SAME


def _left_out(planned: Plan) -> Iterator[str]:
    if planned.slots:
        what = f"left out, optimizer state and step counters: {len(planned.slots):,}"
        yield f"  {what} ({some(planned.slots)}); --keep-slots writes them"
    if planned.others:
        names = ", ".join(f"{safe(row.name)} ({row.dtype})" for row in planned.others)
        hint = planned.hint_at_strings
        yield f"  left out, not numbers: {names}{'; ' if hint else ''}{hint}"
