"""What is left to do by hand in a rewritten module: the line, the code there, and what to do.

It examines the rewritten text, so that the lines are those of the file to edit, and a
second run says the same. Most are names that `torchscope.tf1` does not have, which it is asked for,
and what only a graph has, such as sessions; the others are `Differences`.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import cast

import libcst as cst
from libcst import matchers as m
from libcst.helpers import get_full_name_for_node
from libcst.metadata import MetadataWrapper

from ._differences import Differences
from ._fallbacks import is_tried_first
from ._finder import Finder, Leftover
from ._kinds import TENSORS, Kind, Reader
from ._names import HOME, Import, Names, imported, path_of
from ._there import advice, is_dtype

_TRAINING = (
    "Training stays outside of the model: return the loss, and step an optimizer made from"
    " net.named_parameters()."
)
_SESSION = "PyTorch runs at once: call the function with the values, and read what it returns."
_PYTHON_2 = "It is Python 2: run 2to3 -w on the file first (it comes with Python up to 3.12)."
_GRAPH = "There is no graph here: keep what is needed in a dict, where it is computed."
_ATTRIBUTES = {
    "consumers": _GRAPH,
    "eval": _SESSION,
    "graph": _GRAPH,
    "initial_value": "A variable has its first value as soon as it is made.",
    "initializer": "A variable has its first value as soon as it is made.",
    "load": "Write tf.assign(variable, value).",
    "op": f"{_GRAPH} tf.op_name(x) is the name of a variable.",
}
_OF_DTYPES = {  # what torch's dtypes lack
    "is_bool": "Write dtype == tf.bool.",
    "is_compatible_with": "Write dtype == other.",
    "is_integer": "Write not (dtype.is_floating_point or dtype.is_complex or dtype == tf.bool).",
    "is_unsigned": "Write not dtype.is_signed.",
    "limits": "torch.finfo(dtype) has min and max, torch.iinfo(dtype) those of integers.",
    "max": "Write torch.finfo(dtype).max, or torch.iinfo(dtype).max for integers.",
    "min": "Write torch.finfo(dtype).min, or torch.iinfo(dtype).min for integers.",
    "name": 'Write str(dtype).split(".")[-1].',
    "real_dtype": "Write dtype.to_real().",
    "size": "Write dtype.itemsize.",
}
_ON_TENSORFLOW = re.compile(r"(tensorflow_\w+|sonnet|tensorlayer|tensorpack|tflearn)(?=\.|$)")
_OF_A_GRAPH = re.compile(
    r"\.(graph\.(get_(operations|(operation|tensor)_by_name)|as_graph_def|finalize)"
    r"|op\.(inputs|outputs|type|get_attr|node_def))$"
)
_UNBOUND = {
    **dict.fromkeys(
        ("basestring", "raw_input", "reduce", "unichr", "unicode", "xrange"), _PYTHON_2
    ),
    "get_ipython": "It is a notebook's: leave the line out.",
}
_PYTHON_2_MODULES = re.compile(
    r"__builtin__|cPickle|c?StringIO|ConfigParser|HTMLParser|Queue|httplib|urllib2|urlparse"
    r"|itertools\.i(filter|map|zip)|itertools\.izip_longest"
)
_PYTHON_2_METHODS = ("has_key", "iteritems", "iterkeys", "itervalues")


def leftovers(wrapper: MetadataWrapper, names: Names, reader: Reader) -> list[Leftover]:
    """All that is left in a module, by line."""
    found: set[Leftover] = set()
    for kind in (Missing, Differences):
        finder = kind(wrapper, names, reader)
        wrapper.module.visit(finder)
        found |= finder.found
    return sorted(found)


class Missing(Finder):
    """Finds what is not here: names, what tensors lack, sessions, and steps of training."""

    # ---- names -----------------------------------------------------------------------------------

    def visit_Import(self, node: cst.Import) -> bool:
        return self._import(node)

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return self._import(node)

    def _import(self, node: Import) -> bool:
        module, names = imported(node)
        for name in names:
            path = path_of(name)
            if path is not None and not name.startswith(HOME):
                self._tell(node, name, advice(path) or f"Import it from {HOME}.")
            elif _ON_TENSORFLOW.match(name):
                self._tell(node, name, "It uses TensorFlow: write it with torch, or port it, too.")
            elif _PYTHON_2_MODULES.match(name) and not self._is_one_of_two(node):
                self._tell(node, name, _PYTHON_2)
        if isinstance(node.names, cst.ImportStar) and (path := path_of(module)) is not None:
            place = f"tf.{path}." if path else "tf."
            self._tell(
                node,
                f"from {module} import *",
                f"Write import {HOME} as tf, and {place} before the names.",
            )
        return False

    def _is_one_of_two(self, node: cst.CSTNode) -> bool:
        """Whether a line is for one version of Python, beside one for the other."""
        while not isinstance(node, cst.Module):
            node = self._parents[node]
            if isinstance(node, cst.Try | cst.If):
                return True
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        path = self._names.path(node)
        if path is not None:
            self._missing(node, path)
        elif self._names.dotted(node) is None:
            self._attribute(node)
        return self._names.dotted(node) is None

    def visit_Name(self, node: cst.Name) -> None:
        if node.value in _UNBOUND and self._names.is_unbound(node):
            self._tell(node, node.value, _UNBOUND[node.value])

    def visit_BinaryOperation(self, node: cst.BinaryOperation) -> None:
        if isinstance(node.operator, cst.RightShift) and self._names.is_builtin(node.left, "print"):
            self._tell(node, node, _PYTHON_2)

    def _missing(self, node: cst.Attribute, path: str) -> None:
        root: cst.BaseExpression = node
        while isinstance(root, cst.Attribute):
            root = root.value
        what_is_named = self._names.path(root)
        if what_is_named is not None and advice(what_is_named) is None:  # else it is reported there
            instead = advice(path)
            if instead is not None and is_dtype(path.rpartition(".")[0]):
                instead = _OF_DTYPES.get(node.attr.value, instead)
            if instead is not None and not is_tried_first(node, self._parents):
                self._tell(node, node, instead)

    def _attribute(self, node: cst.Attribute) -> None:
        name = node.attr.value
        if name in _PYTHON_2_METHODS:
            self._tell(node, node, _PYTHON_2)
        elif name in _ATTRIBUTES and self._reader.may_be(node.value, *TENSORS):
            self._tell(node, node, _ATTRIBUTES[name])
        elif name in _OF_DTYPES and self._is_dtype(node.value):
            self._tell(node, node, _OF_DTYPES[name])
        elif _OF_A_GRAPH.search(get_full_name_for_node(node) or ""):
            self._tell(node, node, _GRAPH)

    def _is_dtype(self, node: cst.BaseExpression) -> bool:
        """Whether it is a tensor's ``x.dtype``, or bound to one."""
        for one in (node, *(bound.value for bound in self._bound(node))):
            match one:
                case cst.Attribute(value=value, attr=cst.Name("dtype")):
                    return self._may_be_tensor(value)
                case _:
                    pass
        return False

    # ---- training and sessions -------------------------------------------------------------------

    def visit_Call(self, node: cst.Call) -> None:
        path = self._names.path(node.func)
        if (path or "").endswith("Optimizer"):
            if not _has_variables(node):
                self._tell(node, node.func, _TRAINING)
        elif any(arg.keyword and arg.keyword.value == "feed_dict" for arg in node.args):
            self._tell(node, node.func, _SESSION)
        elif isinstance(node.func, cst.Attribute) and self._names.dotted(node.func) is None:
            self._method(node, node.func)

    def _method(self, node: cst.Call, method: cst.Attribute) -> None:
        name, receiver = method.attr.value, method.value
        if name in ("minimize", "apply_gradients", "compute_gradients"):
            made = self._made(receiver)
            # Else the optimizer is reported, or a class of the program takes the step.
            if not self._is_rewritten and not any(
                (one is receiver and self._names.path(one.func)) or self._has_own(one, name)
                for one in made
            ):
                self._tell(node, method, _TRAINING)
        elif self._runs_a_session(method):
            self._tell(node, method, _SESSION)

    def _has_own(self, made: cst.Call, method: str) -> bool:
        """Whether a class of the file is made that has such a method of its own."""
        found = self._names.class_of(made.func)
        return found is not None and any(
            isinstance(one, cst.FunctionDef) and one.name.value == method for one in found.body.body
        )

    @cached_property
    def _is_rewritten(self) -> bool:
        """Whether the module makes an optimizer for here: then steps of one are meant."""
        calls = cast("Sequence[cst.Call]", m.findall(self._module, m.Call()))
        return any(map(self._makes_an_optimizer_of_here, calls))

    def _makes_an_optimizer_of_here(self, node: cst.Call) -> bool:
        made = (self._names.path(node.func) or "").endswith("Optimizer")
        return made and _has_variables(node)

    def _runs_a_session(self, method: cst.Attribute) -> bool:
        if method.attr.value != "run":
            return False
        session = method.value
        name = session.attr if isinstance(session, cst.Attribute) else session
        return self._reader.may_be(session, Kind.SESSION) or (
            isinstance(name, cst.Name) and name.value.strip("_") in ("sess", "session")
        )


def _has_variables(optimizer: cst.Call) -> bool:
    """Whether an optimizer is given what TensorFlow's were not: the variables, before the rate."""
    if not optimizer.args or optimizer.args[0].keyword is not None:
        return False
    match optimizer.args[0].value:
        case cst.Call(func=cst.Attribute(attr=cst.Name("named_parameters" | "named_variables"))):
            return True
        case _:
            pass
    return any(arg.keyword and arg.keyword.value == "learning_rate" for arg in optimizer.args)
