"""``port``: TensorFlow 1 programs rewritten, as a diff or in place, and what is left to do."""

import argparse
import difflib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._terminal import complain, counted, safe

_DONE, _LEFT = 0, 1

_EPILOG = """\
exit code: 0 nothing is left to do by hand, 1 something is, 2 an error.

With --write the old file is saved as model.py.orig, unless git has it. A second run changes
nothing.

examples:
  torchscope port model.py
  torchscope port model.py layers.py --write
"""


def add_command(commands: Any) -> None:
    """Add it to a parser's commands."""
    one = commands.add_parser(
        "port",
        allow_abbrev=False,
        help="rewrite TensorFlow 1 programs for torchscope.tf1",
        description="Prints what has to change for torchscope.tf1, then what to do by hand.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("paths", metavar="FILE", type=Path, nargs="+", help="of Python 3")
    one.add_argument("--write", action="store_true", help="change the files")
    one.set_defaults(run=_run)


def _run(options: Any) -> int:
    try:
        from torchscope import port
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        return complain("port needs libcst, which is not installed: pip install libcst")
    code = _DONE
    for path in options.paths:
        try:
            old = path.read_bytes()
            ported = port.port(old, str(path))
            diff = list(_diff(old, ported.source, str(path)))
            kept = _replace(path, ported.source) if options.write and diff else None
        except FileNotFoundError:
            code = complain(f"There is no file {path}.")
            continue
        except (port.PortError, OSError) as error:
            code = complain(error)
            continue
        if not options.write:
            print("".join(diff), end="")
        print(f"{safe(path)}: {_outcome(diff, kept, len(ported.left))}")
        for one in ported.left:
            print(f"{safe(path)}:{one.line}: {safe(one.what)}: {safe(one.advice)}")
        code = max(code, _LEFT if ported.left else _DONE)
    return code


def _outcome(diff: list[str], kept: Path | None, left: int) -> str:
    lines = sum(line.startswith("+") for line in diff[2:])
    changed = f"{counted(lines, 'line')} changed" if lines else "nothing to change"
    where = f" (the old file is {safe(kept.name)})" if kept else ""
    return f"{changed}{where}, {counted(left, 'thing') if left else 'nothing'} left to do by hand"


def _diff(old: bytes, new: bytes, name: str) -> Iterator[str]:
    a, b = old.splitlines(keepends=True), new.splitlines(keepends=True)
    label = os.fsencode(name)
    for line in difflib.diff_bytes(difflib.unified_diff, a, b, label, label):
        text = line.decode(errors="surrogateescape")
        yield text if text.endswith("\n") else f"{text}\n\\ No newline at end of file\n"


def _replace(path: Path, new: bytes) -> Path | None:
    """Write a new text into a file, whole or not at all; returns where the old one is saved."""
    path = path.resolve()
    kept = None if _is_in_git(path) else path.with_name(f"{path.name}.orig")
    if kept is not None:
        if kept.exists():
            raise FileExistsError(f"{path} is not changed: {kept.name} exists already: move it.")
        shutil.copy2(path, kept)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(new)
        shutil.copymode(path, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return kept


def _is_in_git(path: Path) -> bool:
    """Whether git has the file exactly as it is."""
    git = ["git", "-C", str(path.parent)]
    try:
        return all(
            subprocess.run([*git, *words, "--", path.name], capture_output=True).returncode == 0
            for words in (["ls-files", "--error-unmatch"], ["diff", "--quiet"])
        )
    except OSError:
        return False
