"""Import statements of TensorFlow's modules, as those of `torchscope.tf1`."""

from collections.abc import Sequence

import libcst as cst
from libcst.helpers import get_full_name_for_node_or_raise as full_name

from ._names import HOME, Import, path_of
from ._there import advice, module_of


def ported(statement: Import) -> list[Import]:
    """The statements that import the same names from torchscope; names it lacks stay as they are.

    >>> for line in (
    ...     "import tensorflow.compat.v1 as tf",
    ...     "from tensorflow.python.ops import array_ops, math_ops as m",
    ...     "from tensorflow import float32, Session",
    ... ):
    ...     statement = cst.parse_statement(line).body[0]
    ...     [cst.Module([]).code_for_node(one) for one in ported(statement)]
    ['import torchscope.tf1 as tf']
    ['import torchscope.tf1 as array_ops', 'import torchscope.tf1 as m']
    ['from torchscope.tf1 import float32', 'from tensorflow import Session']
    """
    if isinstance(statement.names, cst.ImportStar):
        return [statement]
    module = _module(statement)
    if module is None or module.split(".")[0] == HOME.split(".")[0]:
        return [statement]
    moved = [(alias, _moved(module, alias)) for alias in statement.names]
    if all(new is None for _, new in moved):
        return [statement]
    sources = {new and new[0] for _, new in moved}
    if isinstance(statement, cst.ImportFrom) and len(sources) == 1 and sources != {None}:
        source = sources.pop()
        if source is not None and all(new and new[1] == full_name(a.name) for a, new in moved):
            return [statement.with_changes(module=_dotted(source))]
    kept = [alias for alias, new in moved if new is None]
    new = [_statement(*new) for _, new in moved if new is not None]
    return [*new, *([_with_names(statement, kept)] if kept else [])]


def _module(statement: Import) -> str | None:
    """The module that a statement imports names from; empty for ``import a, b``."""
    if isinstance(statement, cst.Import):
        return ""
    if statement.relative or statement.module is None:
        return None
    return full_name(statement.module)


def _moved(module: str, alias: cst.ImportAlias) -> tuple[str | None, str, str] | None:
    """Module (None to import the name itself), name and its ``as`` name; None if not in tf1."""
    name = full_name(alias.name)
    bound = alias.evaluated_alias
    if not module and bound is None:
        bound = name = name.split(".")[0]  # import a.b binds a
    path = path_of(f"{module}.{name}" if module else name)
    if path is None or advice(path) is not None:
        return None
    bound = bound or name
    parent, _, last = path.rpartition(".")
    source = module_of(parent)
    if not path or source is None:
        return None if path else (None, HOME, bound)
    return source, last, bound


def _statement(source: str | None, name: str, bound: str) -> Import:
    asname = cst.AsName(cst.Name(bound)) if bound != name else None
    alias = cst.ImportAlias(_dotted(name), asname)
    return cst.Import([alias]) if source is None else cst.ImportFrom(_dotted(source), [alias])


def _with_names(statement: Import, aliases: Sequence[cst.ImportAlias]) -> Import:
    last = aliases[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return statement.with_changes(names=[*aliases[:-1], last])


def _dotted(name: str) -> cst.Name | cst.Attribute:
    expression = cst.parse_expression(name)
    assert isinstance(expression, cst.Name | cst.Attribute)
    return expression
