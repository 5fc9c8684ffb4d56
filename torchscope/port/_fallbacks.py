"""Whether code only tries a name of some version of TensorFlow first; knows no names itself.

In ``try: merge = tf.merge_summary`` / ``except: merge = tf.summary.merge``, the second line takes
over where the first name is missing.
"""

from collections.abc import Mapping

import libcst as cst


def is_tried_first(node: cst.CSTNode, parents: Mapping[cst.CSTNode, cst.CSTNode]) -> bool:
    """Whether an ``except`` does the same as the code around a missing name, in other words."""
    while not isinstance(node, cst.FunctionDef | cst.ClassDef | cst.Lambda | cst.Module):
        parent = parents[node]
        if isinstance(parent, cst.Try) and parent.body is node:
            return any(_catches(one) and _does_as(one, parent) for one in parent.handlers)
        node = parent
    return False


def _catches(handler: cst.ExceptHandler) -> bool:
    """Whether it catches the AttributeError of a missing name."""
    match handler.type:
        case None | cst.Name("AttributeError" | "Exception"):
            return True
        case cst.Tuple(elements=elements):
            return any(
                isinstance(one.value, cst.Name) and one.value.value == "AttributeError"
                for one in elements
            )
        case _:
            return False


def _does_as(handler: cst.ExceptHandler, tried: cst.Try) -> bool:
    """Whether both assign to the same names, or both return."""
    results = _results(handler.body)
    return bool(results) and results == _results(tried.body)


def _results(block: cst.BaseSuite) -> list[str]:
    """The targets of a block's assignments, and ``return``; empty if it does anything else."""
    found: list[str] = []
    for line in block.body:
        match line:
            case cst.SimpleStatementLine(body=[cst.Assign(targets=targets)]):
                found += [cst.Module([]).code_for_node(one.target) for one in targets]
            case cst.SimpleStatementLine(body=[cst.Return()]):
                found.append("return")
            case _:
                return []
    return found
