"""Whether TensorFlow ran an op only when a session was asked to; changes nothing."""

from collections.abc import Mapping

import libcst as cst

from ._names import Names


def is_left_to_a_session(
    node: cst.CSTNode, names: Names, parents: Mapping[cst.CSTNode, cst.CSTNode]
) -> bool:
    """Whether nothing in the function uses the value of an expression.

    An op that is returned, stored in an attribute or passed to an unknown function waited for a
    session. One that is an input of another op, or of ``tf.control_dependencies``, ran with it, as
    it does here. A statement of its own never ran in a graph: it was written for here.
    """
    seen: set[cst.CSTNode] = set()

    def is_left(node: cst.CSTNode) -> bool:
        if node in seen:
            return True
        seen.add(node)
        parent = parents[node]
        match parent:
            case cst.Return():
                return True
            case cst.Assign(targets=[cst.AssignTarget(target=cst.Name() as target)]):
                return all(map(is_left, names.reads(target)))
            case cst.Assign():
                return True
            case cst.Attribute():
                return _grown(parents[parent]) is node  # updates, in updates.append(op)
            case cst.Call() if (grown := _grown(parent)) is not None:
                return not any(map(is_input, names.reads(grown)))
            case cst.Call(func=func):
                path = names.path(func)
                last = (path or "").rpartition(".")[2]
                if last == "group":  # Whether that is left is asked of the group itself.
                    return parent in seen
                return path is None or last in ("add_to_collection", "tuple")
            case cst.Arg() | cst.Element() | cst.StarredElement() | cst.DictElement():
                return is_left(parent)
            case cst.List() | cst.Tuple() | cst.Dict() | cst.ListComp() | cst.IfExp():
                return is_left(parent)
            case _:
                return False

    def is_input(node: cst.CSTNode) -> bool:
        """Whether a list is given to an op, a group included."""
        parent = parents[node]
        if isinstance(parent, cst.Call):
            last = (names.path(parent.func) or "").rpartition(".")[2]
            return last not in ("", "add_to_collection", "tuple")
        passes = isinstance(parent, cst.Arg | cst.BaseElement | cst.List | cst.Tuple)
        return passes and is_input(parent)

    return is_left(node)


def _grown(node: cst.CSTNode) -> cst.Name | None:
    """The list that a call of ``append`` or ``extend`` makes longer."""
    match node:
        case cst.Call(func=cst.Attribute(value=cst.Name() as grown, attr=cst.Name(name))):
            return grown if name in ("append", "extend") else None
        case _:
            return None
