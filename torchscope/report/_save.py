"""A sharing report into a file, whole or not at all; the name's ending says what it becomes."""

import os
import secrets
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ._graph_text import dot, mermaid
from ._page import page
from ._svg import svg

# By the ending of a name: what is written, and what for.
FORMATS: dict[str, tuple[Callable[[Mapping[str, Any]], str], str]] = {
    ".html": (page, "a page to open in a browser"),
    ".svg": (svg, "a picture for documents"),
    ".dot": (dot, "text for Graphviz"),
    ".mmd": (mermaid, "text for Mermaid"),
}


def save(data: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw a sharing report, as ``to_dict()`` gives it, into a file.

    Args:
        data: the report.
        path: the file, which is replaced if it is there. Its ending says what is drawn: ``.html``,
            ``.svg``, ``.dot`` or ``.mmd``.

    Raises:
        ValueError: for any other ending.
        FileNotFoundError: if the file's directory is not there.
        IsADirectoryError: if the path is a directory.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        known = "\n".join(f"    {ending:<7}{what}" for ending, (_, what) in FORMATS.items())
        raise ValueError(
            f"{str(target)!r} does not say what to draw: its name has to end in one of\n{known}"
        )
    target = Path(os.path.realpath(target))  # what a link points to is replaced, not the link
    if target.is_dir():
        raise IsADirectoryError(f"{str(target)!r} is a directory: give the name of a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{str(target.parent)!r} is not a directory: make it first, "
            f"mkdir -p {shlex.quote(str(target.parent))}"
        )
    write, _ = FORMATS[target.suffix.lower()]
    _replace(target, write(data))


def _replace(path: Path, text: str) -> None:
    """Put a text into a file; whoever reads it at any time finds the old one or the new one."""
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
