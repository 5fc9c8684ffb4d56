"""The texts of torchscope's errors and warnings, read from its source; and a directive for them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import torchscope

PACKAGE = Path(torchscope.__file__).parent
LEFT_OUT = {"port", "command_line"}  # They print; nobody catches it.
GROUPS = {f"torchscope.{part}": part for part in ("checkpoint", "report", "tf1")}


class Message(NamedTuple):
    """A text with ``…`` for what is put into it, and the class that is raised if it is known."""

    raised: str
    text: str


def messages(part: str = "") -> list[Message]:
    """The whole sentences of a part of the package: the core, ``checkpoint`` or ``tf1``."""
    found = {message for message in literals(part) if _is_sentence(message)}
    return sorted(found, key=lambda message: message.text.lstrip("… '").lower())


def _is_sentence(message: Message) -> bool:
    text = message.text
    if message.raised:
        return bool(re.search(r"\w{3}.* ", text))
    return text.endswith((".", "?")) and text.count(" ") > 3 and "``" not in text


def literals(part: str = "") -> Iterator[Message]:
    """Every text in the source, with the class of the error that it is raised with."""
    files = (PACKAGE / part).rglob("*.py") if part else PACKAGE.glob("*.py")
    for path in sorted(files):
        tree = ast.parse(path.read_text())
        raised = {
            id(inner): _class(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Raise)
            for inner in ast.walk(node)
        }
        pieces = {id(piece) for node in ast.walk(tree) for piece in _pieces(node)}
        for node in ast.walk(tree):
            text = " ".join(_text(node).split())
            if text and id(node) not in pieces:
                yield Message(raised.get(id(node), ""), text)


def _pieces(node: ast.AST) -> Iterator[ast.AST]:
    """What is not a text of its own: a docstring, and the pieces of an f-string."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    if isinstance(node, ast.JoinedStr):
        yield from (part for part in ast.walk(node) if part is not node)


def _class(node: ast.Raise) -> str:
    name = ast.unparse(node.exc.func) if isinstance(node.exc, ast.Call) else ""
    return name if re.fullmatch(r"\w+(Error|Warning|Exit)", name) else ""


def _text(node: ast.AST) -> str:
    """What a literal says; nothing if it is not one."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    return ""


class Messages(SphinxDirective):
    """``.. messages::`` lists all of them, those of each part under a heading."""

    def run(self) -> list[nodes.Node]:
        return [
            _section(title, messages(part)) for title, part in {"torchscope": "", **GROUPS}.items()
        ]


def _section(title: str, found: list[Message]) -> nodes.section:
    items = nodes.bullet_list()
    for raised, text in found:
        line = nodes.paragraph()
        line += [nodes.strong(raised, raised), nodes.Text(": ")] if raised else []
        line += nodes.Text(text)
        items += nodes.list_item("", line)
    return nodes.section("", nodes.title(title, title), items, ids=[nodes.make_id(title)])


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls it."""
    app.add_directive("messages", Messages)
    return {"parallel_read_safe": True}
