"""What is left to do by hand in a rewritten module: the line, the code there, and what to do.

It examines the rewritten text, so that the lines are those of the file to edit, and a
second run says the same. Most are names that `torchscope.tf1` does not have, which it is asked for;
the rest is code that would run but do something else than in TensorFlow.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, cast

import libcst as cst
from libcst import matchers as m
from libcst.helpers import get_full_name_for_node
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

from ._deferred import is_left_to_a_session
from ._fallbacks import is_tried_first
from ._kinds import TENSORS, Kind, Reader
from ._names import HOME, Bound, Import, Names, imported, path_of
from ._there import advice, is_dtype

_TRAINING = (
    "Training stays outside of the model: return the loss, and step an optimizer made from"
    " net.named_parameters()."
)
_SESSION = "PyTorch runs at once: call the function with the values, and read what it returns."
_DEFERRED = (
    "It runs at every call, not only when a session asks for it: put it into a function"
    " of its own, and call that."
)
_AVERAGE_OF_TENSORS = (
    "It averages variables only: make the average of a tensor with tf.get_variable(name, shape,"
    " trainable=False), and move it by tf.train.assign_moving_average(average, tensor, decay,"
    " zero_debias=False)."
)
_AVERAGE_OF_A_PASS = (
    "Its averages would begin anew at every call: make the ExponentialMovingAverage once, outside"
    " of the function."
)
_COUNTER = (
    "It continues from call to call, so a layer named by it is a new one each time: make the"
    " layers once, or begin at the same number in each call."
)
_SO_FAR = (
    "It lists what is made so far in the first pass alone, and all variables in later ones: name"
    " the scope, tf.trainable_variables(scope)."
)
_PYTHON_2 = "It is Python 2: run 2to3 -w on the file first (it comes with Python up to 3.12)."
_ATTRIBUTES = {
    "consumers": "There is no graph here.",
    "eval": _SESSION,
    "graph": "There is no graph here.",
    "initializer": "A variable has its first value as soon as it is made.",
    "load": "Write tf.assign(variable, value).",
    "op": "There is no graph here; tf.op_name(x) is the name of a variable.",
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
_SHAPE_METHODS = re.compile(
    r"assert_\w+|is_compatible_with|is_fully_defined|merge_with|with_rank\w*"
)
_ON_TENSORFLOW = re.compile(r"(tensorflow_\w+|sonnet|tensorlayer|tensorpack|tflearn)(?=\.|$)")
_OF_A_GRAPH = re.compile(r"\.graph\.get_(operations|(operation|tensor)_by_name)$")
_LISTS = re.compile(r"\b(trainable|global|local|all|model)_variables$")
_UPDATES = re.compile(r"assign(_\w+)?|scatter_(add|sub|update)|group")
_OPERATORS: Mapping[type[cst.BaseBinaryOp], str] = {
    cst.Add: "add",
    cst.Subtract: "subtract",
    cst.Multiply: "multiply",
    cst.Divide: "divide",
    cst.FloorDivide: "floordiv",
    cst.MatrixMultiply: "matmul",
    cst.Power: "pow",
}
_PYTHON_2_NAMES = ("basestring", "raw_input", "reduce", "unichr", "unicode", "xrange")
_PYTHON_2_METHODS = ("has_key", "iteritems", "iterkeys", "itervalues")

_WIDEST = 60  # characters of code that are shown


class Leftover(NamedTuple):
    """Something that must be changed by hand.

    Attributes:
        line: in the new text, from 1.
        what: the code, or a name for it.
        advice: what to do.
    """

    line: int
    what: str
    advice: str


def leftovers(wrapper: MetadataWrapper, names: Names, reader: Reader) -> list[Leftover]:
    """All that is left in a module, by line."""
    finder = _Finder(wrapper, names, reader)
    wrapper.module.visit(finder)
    return sorted(finder.found)


class _Finder(cst.CSTVisitor):
    def __init__(self, wrapper: MetadataWrapper, names: Names, reader: Reader) -> None:
        super().__init__()
        self.found: set[Leftover] = set()
        self._module = wrapper.module
        self._names = names
        self._reader = reader
        self._parents = wrapper.resolve(ParentNodeProvider)
        self._positions = wrapper.resolve(PositionProvider)
        self._functions: list[cst.FunctionDef] = []
        self._in_tensorflow: dict[cst.CSTNode, bool] = {}

    def _tell(self, node: cst.CSTNode, what: str | cst.CSTNode, advice: str) -> None:
        if not isinstance(what, str):
            what = " ".join(self._module.code_for_node(what).split())
        if len(what) > _WIDEST:
            what = f"{what[: _WIDEST - 3]}..."
        self.found.add(Leftover(self._positions[node].start.line, what, advice))

    # ---- names that are not here -----------------------------------------------------------------

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
        if isinstance(node.names, cst.ImportStar) and path_of(module) is not None:
            self._tell(
                node,
                f"from {module} import *",
                f"Write import {HOME} as tf, and tf. before the names.",
            )
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        path = self._names.path(node)
        if path is not None:
            self._missing(node, path)
        elif self._names.dotted(node) is None:
            self._attribute(node)
        return self._names.dotted(node) is None

    def visit_Name(self, node: cst.Name) -> None:
        if node.value in _PYTHON_2_NAMES and self._names.is_unbound(node):
            self._tell(node, node.value, _PYTHON_2)

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
            self._tell(node, node, _ATTRIBUTES["graph"])
        elif (
            _SHAPE_METHODS.fullmatch(name)
            and self._reader.may_be(node.value, Kind.SHAPE)
            and not self._names.calls(node.value, "TensorShape")
        ):
            self._tell(node, node, "A shape is a torch.Size here, with ints: compare them.")

    def _is_dtype(self, node: cst.BaseExpression) -> bool:
        """Whether it is a tensor's ``x.dtype``, or bound to one."""
        for one in (node, *(bound.value for bound in self._bound(node))):
            match one:
                case cst.Attribute(value=value, attr=cst.Name("dtype")):
                    return self._may_be_tensor(value)
                case _:
                    pass
        return False

    # ---- training, sessions, what runs at once ---------------------------------------------------

    def visit_Call(self, node: cst.Call) -> None:
        path = self._names.path(node.func)
        last = (path or "").rpartition(".")[2]
        if last.endswith("Optimizer"):
            if not _has_variables(node):
                self._tell(node, node.func, _TRAINING)
        elif _UPDATES.fullmatch(last) and self._is_left_to_a_session(node):
            self._tell(node, node.func, _DEFERRED)
        elif any(arg.keyword and arg.keyword.value == "feed_dict" for arg in node.args):
            self._tell(node, node.func, _SESSION)
        elif isinstance(node.func, cst.Attribute) and self._names.dotted(node.func) is None:
            self._method(node, node.func)
        elif self._names.is_builtin(node.func, "next") and node.args:
            self._counter(node, node.args[0].value)

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
        elif name == "apply" and self._is_average(receiver):
            if node.args and self._reader.elements(node.args[0].value) == {Kind.TENSOR}:
                self._tell(node, method, _AVERAGE_OF_TENSORS)
            elif self._is_left_to_a_session(node):
                self._tell(node, method, _DEFERRED)
            elif self._averages_begin_anew(node, receiver):
                self._tell(node, method, _AVERAGE_OF_A_PASS)

    def _made(self, node: cst.BaseExpression) -> list[cst.Call]:
        """The call that an expression is, or those that it is bound to."""
        values = (node, *(bound.value for bound in self._bound(node)))
        return [one for one in values if isinstance(one, cst.Call)]

    def _has_own(self, made: cst.Call, method: str) -> bool:
        """Whether a class of the file is made that has such a method of its own."""
        found = self._names.class_of(made.func)
        return found is not None and any(
            isinstance(one, cst.FunctionDef) and one.name.value == method for one in found.body.body
        )

    def _averages_begin_anew(self, apply: cst.Call, averages: cst.BaseExpression) -> bool:
        """Whether averages of variables are applied in the function that makes them."""
        given = [arg.value for arg in apply.args]
        if not self._functions or not all(self._reader.may_be(a, Kind.VARIABLES) for a in given):
            return False
        around = self._functions[-1]
        return any(one in m.findall(around, m.Call()) for one in self._made(averages))

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

    def _is_average(self, node: cst.BaseExpression) -> bool:
        """Whether an expression is bound to an ExponentialMovingAverage."""
        made = self._made(node)
        return any((self._names.path(one.func) or "").endswith("MovingAverage") for one in made)

    def _is_left_to_a_session(self, node: cst.Call) -> bool:
        if any(function.name.value == "apply_gradients" for function in self._functions):
            return False  # an optimizer of the program's own, which takes its step when called
        return is_left_to_a_session(node, self._names, self._parents)

    # ---- counters --------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._functions.append(node)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._functions.pop()

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._counter(node, node.target)

    def visit_Assign(self, node: cst.Assign) -> None:
        """``n = n + 1`` counts as ``n += 1`` does."""
        target, value = node.targets[0].target, node.value
        if isinstance(value, cst.BinaryOperation) and target.deep_equals(value.left):
            self._counter(node, target)

    def _counter(
        self, node: cst.CSTNode, counter: cst.BaseExpression | cst.BaseAssignTargetExpression
    ) -> None:
        if self._functions and self._outlives_a_call(counter):
            self._tell(node, self._parents[node] if isinstance(node, cst.Call) else node, _COUNTER)

    def _outlives_a_call(self, node: cst.CSTNode) -> bool:
        match node:
            case cst.Subscript(value=value):
                return isinstance(value, cst.Name) and self._names.is_global(value)
            case cst.Attribute(value=cst.Attribute(attr=cst.Name(value="__class__"))):
                return True
            case cst.Attribute(value=cst.Name() as name):
                return name.value == "cls" or self._names.class_of(name) is not None
            case cst.Name():
                return self._names.is_global(node)
            case _:
                return False

    # ---- operators -------------------------------------------------------------------------------

    def visit_BinaryOperation(self, node: cst.BinaryOperation) -> None:
        function = _OPERATORS.get(type(node.operator))
        arrays = [self._reader.is_only(one, Kind.ARRAY) for one in (node.left, node.right)]
        if function is None or arrays.count(True) != 1:
            return
        if self._may_be_tensor(node.right if arrays[0] else node.left):
            self._tell(
                node,
                node,
                f"A numpy array keeps its dtype here, mostly float64: write tf.{function}(a, b),"
                " the tensor first, or put tf.constant(..., dtype) around the array.",
            )

    def visit_Comparison(self, node: cst.Comparison) -> None:
        sides = [node.left, *(one.comparator for one in node.comparisons)]
        signs = [one.operator for one in node.comparisons]
        for left, sign, right in zip(sides, signs, sides[1:], strict=False):
            if isinstance(sign, cst.In | cst.NotIn) and self._reader.is_only(right, Kind.VARIABLES):
                self._tell(
                    node, node, "in compares values here: write any(v is one for one in ...)."
                )
            if isinstance(sign, cst.Equal | cst.NotEqual):
                self._equal(node, left, right)

    def _equal(
        self, node: cst.Comparison, left: cst.BaseExpression, right: cst.BaseExpression
    ) -> None:
        shapes = [self._reader.is_only(one, Kind.SHAPE) for one in (left, right)]
        if shapes.count(True) == 1 and self._is_in_tensorflow():
            other = right if shapes[0] else left
            is_tuple = isinstance(other, cst.Tuple) or (
                isinstance(other, cst.Call) and self._names.is_builtin(other.func, "tuple")
            )
            if not is_tuple:
                self._tell(
                    node,
                    node,
                    "A shape is a tuple here, never equal to a list: write list(x.shape) == [...].",
                )
        elif all(self._reader.is_only(one, Kind.VARIABLE) for one in (left, right)):
            self._tell(node, node, "== compares values here: write a is b.")

    def visit_Subscript(self, node: cst.Subscript) -> None:
        if any(isinstance(one.slice, cst.Slice) for one in node.slice) and self._lists_variables(
            node.value
        ):
            self._tell(node, node, _SO_FAR)
        steps = [one.slice.step for one in node.slice if isinstance(one.slice, cst.Slice)]
        if not any(isinstance(step, cst.UnaryOperation) for step in steps):
            return
        if self._reader.may_be(node.value, *TENSORS) or (
            len(node.slice) > 1 and self._may_be_tensor(node.value)
        ):
            self._tell(node, node, "torch has no negative steps: write tf.reverse(x, [axis]).")

    def _lists_variables(self, node: cst.BaseExpression) -> bool:
        """Whether an expression is ``tf.trainable_variables()`` of no scope, or bound to it."""
        made = [node] if isinstance(node, cst.Call) else [one.value for one in self._bound(node)]
        calls = [one for one in made if isinstance(one, cst.Call) and not one.args]
        return any(_LISTS.search(self._names.path(one.func) or "") for one in calls)

    def _bound(self, node: cst.BaseExpression) -> list[Bound]:
        return [one for one in self._names.bound(node) if not list(one.steps)]

    def _may_be_tensor(self, node: cst.BaseExpression) -> bool:
        """Whether it may be a tensor, or is unknown in a function that may have tensors."""
        if self._reader.may_be(node, *TENSORS):
            return True
        is_unknown = self._reader.may_be(node, Kind.UNKNOWN)
        return (
            is_unknown and self._is_in_tensorflow() and not self._names.is_number_by_default(node)
        )

    def _is_in_tensorflow(self) -> bool:
        """Whether the enclosing function calls TensorFlow, or nothing of numpy to prepare data."""
        around = self._functions[0] if self._functions else self._module
        if around not in self._in_tensorflow:
            found = cast("Sequence[cst.Attribute]", m.findall(around, m.Attribute()))
            numpys = [one for one in found if (self._names.dotted(one) or "").startswith("numpy.")]
            tensorflows = any(self._names.path(one) is not None for one in found)
            self._in_tensorflow[around] = tensorflows or not numpys
        return self._in_tensorflow[around]


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
