"""A whole file: read, rewritten, and read again for what is left to do by hand."""

import ast
import re
import sys
import warnings
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import MetadataWrapper

from ._errors import PortError
from ._finder import Leftover
from ._kinds import Reader
from ._leftovers import leftovers
from ._names import Names
from ._rewrite import Rewriter

# What Python 2 can read and Python 3 cannot.
_PYTHON_2 = re.compile(
    r"\blambda\s*\(|\bdef\s+\w+\s*\(([^()]*,)?\s*\("
    r"|^\s*print\s+[^\s=(.,\[]|^\s*print\s*$|^\s*exec\s+[\"'\w]|^\s*raise\s+\w+\s*,"
    r"|^\s*except\s+[\w.()]+\s*,\s*\w+\s*:|<>|\b0[0-7]+\b(?!\.)|\b\d+[lL]\b|\bur[\"']|`\w+`",
    re.MULTILINE,
)

_NOTEBOOKS = re.compile(r"^[%!]\s*\w+", re.MULTILINE)  # %matplotlib inline

_ROUNDS = 20  # far more than any program takes

# First parts of names that only TensorFlow 2 has, and of those that only TensorFlow 1 has.
_TENSORFLOW_2 = {"GradientTape", "function"}
_TENSORFLOW_1 = {
    *("Session", "app", "contrib", "get_collection", "get_variable", "layers", "placeholder"),
    *("train", "trainable_variables", "variable_scope"),
}


@dataclass(frozen=True)
class Ported:
    """The result for a file.

    Attributes:
        source: the new text; the old one where nothing had to be changed.
        left: what is left to do by hand, by line of the new text.
    """

    source: bytes
    left: list[Leftover]


def port(source: bytes, name: str = "the program") -> Ported:
    r"""Rewrite a TensorFlow 1 program for `torchscope.tf1`.

    >>> port(b"import tensorflow as tf\n\nn = x.get_shape()[0].value  # how many\n").source
    b'import torchscope.tf1 as tf\n\nn = x.shape[0]  # how many\n'

    Args:
        source: the text of a file.
        name: its name in errors.

    Raises:
        PortError: it is not Python 3, or not TensorFlow 1; or the rewriting does not end.
    """
    before = source
    try:
        for _ in range(_ROUNDS):  # what was rewritten may tell more of what is what
            wrapper = _read(source, name)
            names = Names(wrapper)
            _check_that_it_is_tensorflow_1(names, name)
            reader = Reader(names)
            new = wrapper.module.visit(Rewriter(names, reader)).bytes
            if new == source:
                return Ported(source, leftovers(wrapper, names, reader))
            before, source = source, new
        raise PortError(f"{name}: {_without_end(before, source)}")
    except (RecursionError, MemoryError):
        raise PortError(f"{name} is nested too deeply to be read.") from None


def _without_end(old: bytes, new: bytes) -> str:
    """What to say of a file that no round of rewriting leaves as it is."""
    pairs = enumerate(zip(old.splitlines(), new.splitlines(), strict=False), start=1)
    line = next((number for number, (one, other) in pairs if one != other), 1)
    return (
        f"the rewriting of line {line} does not end, a fault of torchscope port:"
        " write the line for torchscope.tf1 by hand, and report it."
    )


def _check_depth(tree: ast.AST) -> None:
    """As Python's parser does from 3.11 on; libcst's takes minutes for 20,000 levels."""
    level: list[ast.AST] = [tree]
    for _ in range(sys.getrecursionlimit()):
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
    if level:
        raise RecursionError


def _check_that_it_is_tensorflow_1(names: Names, name: str) -> None:
    if not names.has_tensorflow():
        raise PortError(f"{name} is not TensorFlow 1 code: it does not import tensorflow.")
    used = {path.partition(".")[0] for path in names.paths()}
    if used & _TENSORFLOW_2 and not used & _TENSORFLOW_1:
        raise PortError(f"{name} is not TensorFlow 1 code: it is TensorFlow 2's.")


def _read(source: bytes, name: str) -> MetadataWrapper:
    """The tree of a file; Python parses it first, since deep nesting crashes libcst's parser."""
    if name.endswith(".ipynb"):
        raise PortError(f"{name} is a notebook: first run jupyter nbconvert --to script {name}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\\d" and the like
            _check_depth(ast.parse(source))
        return MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    except (SyntaxError, ValueError, cst.ParserSyntaxError) as error:
        text = source.decode(errors="replace")
        if command := _NOTEBOOKS.search(text):
            raise PortError(
                f"{name} does not parse: comment out what is a notebook's, such as {command[0]}."
            ) from error
        if _PYTHON_2.search(text):
            raise PortError(
                f"{name} is Python 2: first run 2to3 -w {name} (it comes with Python up to 3.12)."
            ) from error
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        raise PortError(
            f"{name} does not parse: {line}{str(error).partition(' (<')[0]}."
        ) from error
