"""``sharing`` and ``summary``: what a module of a Python file shares, and what it holds."""

import argparse
import functools
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from torchscope._errors import ScopeError

from ._terminal import complain, print_json

_EPILOG = """\
TARGET is what to look at, FILE.py:NAME or MODULE:NAME. NAME is one of
  a net, a store or another nn.Module
  a tuple of one and an example of what it is called with: (net, x, y)
  a function without arguments that returns either{more}

examples:
  torchscope {command} model.py:net --input 8x3x32x32
  torchscope {command} package.model:build --json
"""
_INPUT = re.compile(r"(\d+(?:x\d+)*|scalar)(?::(\w+))?")


def add_commands(commands: Any) -> None:
    """Add the two to a parser's commands."""
    one = _command(
        commands,
        "sharing",
        "which variables of a net are shared, by which lines",
        "\n  a report of ts.sharing",
    )
    one.add_argument(
        "--save", metavar="FILE", type=Path, help="draw it into a .html, .svg, .dot or .mmd file"
    )
    one.set_defaults(run=functools.partial(_run, _sharing))
    one = _command(commands, "summary", "what a net holds, as a tree of scopes with totals", "")
    one.add_argument("--depth", type=int, help="how many scopes deep to show")
    one.set_defaults(run=functools.partial(_run, _summary))


def _command(commands: Any, name: str, help: str, more: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(
        name,
        allow_abbrev=False,
        help=help,
        description=f"Shows {help}. One pass is run, and undone.",
        epilog=_EPILOG.format(command=name, more=more),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("target", metavar="TARGET")
    one.add_argument(
        "--input",
        metavar="SIZES[:DTYPE]",
        type=_zeros,
        action="append",
        default=[],
        help="call the net with zeros of these sizes, as 8x3 or 8x3:int64; once for each argument",
    )
    one.add_argument("--json", action="store_true", help="for a program to read")
    return one


def _zeros(text: str) -> torch.Tensor:
    """The tensor that ``--input`` stands for."""
    match = _INPUT.fullmatch(text)
    dtype = getattr(torch, match[2] or "float32", None) if match else None
    if match is None or not isinstance(dtype, torch.dtype):
        raise argparse.ArgumentTypeError(f"{text!r} is not sizes, as 8x3x32x32 or 8x3:int64")
    sizes = [] if match[1] == "scalar" else [int(size) for size in match[1].split("x")]
    return torch.zeros(sizes, dtype=dtype)


def _sharing(options: Any, target: Any) -> Any:
    from torchscope.report import SharingReport, sharing

    report = target
    if not isinstance(target, SharingReport):
        report = sharing(*_with_example(options, target))
    if options.save is not None:
        try:
            report.save(options.save)
        except (ValueError, OSError) as error:
            raise _UsageError(str(error)) from None
    return report


def _summary(options: Any, target: Any) -> Any:
    from torchscope.report import summary

    return summary(*_with_example(options, target), depth=options.depth)


def _as_tuple(target: Any) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", target) if isinstance(target, tuple) else (target,)


def _with_example(options: Any, target: Any) -> tuple[Any, ...]:
    module, *example = _as_tuple(target)
    if not isinstance(module, nn.Module):
        raise _UsageError(f"{options.target} is {type(module).__name__}, not a net or a module.")
    return module, *(options.input or example)


def _run(look: Callable[[Any, Any], Any], options: Any) -> int:
    """Find the target, look at it, and print what is seen."""
    try:
        target = _found(options.target)
        if callable(target) and not isinstance(target, nn.Module):
            target = target()
        seen = look(options, target)
    except _UsageError as error:
        return complain(error)
    except ScopeError as error:
        hint = "" if options.input else " On the command line: --input 8x3, for each argument."
        return complain(f"{error}{'' if error.name else hint}")
    except Exception as error:  # The file's own, of which its author wants to see where.
        traceback.print_exc()
        return complain(f"{options.target}: {type(error).__name__}: {error}")
    if options.json:
        print_json(seen.to_dict())
    else:
        print(seen)
    return 0


class _UsageError(Exception):
    """There is no such file, module or name, or it is not what is asked for."""


def _found(target: str) -> Any:
    where, colon, name = target.rpartition(":")
    if not colon:
        raise _UsageError(f"{target!r} lacks a name: {target}:net.")
    module = _imported(where)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _UsageError(f"{where} has no {name!r}.") from None
    return found


def _imported(where: str) -> ModuleType:
    path = Path(where)
    if path.suffix != ".py":
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{where}.".startswith(f"{error.name}."):
                raise
            raise _UsageError(f"There is no module {where!r}; a file ends in .py.") from None
    if not path.is_file():
        raise _UsageError(f"There is no file {where}.")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
