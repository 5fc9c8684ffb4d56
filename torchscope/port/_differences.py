"""What would run here but do something else than in TensorFlow; knows no missing names."""

import re
from collections.abc import Mapping

import libcst as cst
from libcst import matchers as m

from ._deferred import is_left_to_a_session
from ._finder import Finder
from ._kinds import TENSORS, Kind

_DEFERRED = (
    "It runs at every call, not only when a session asks for it: put it into a function"
    " of its own, and call that."
)
_AVERAGE_OF_TENSORS = (
    "It averages variables only: make the average of a tensor with tf.get_variable, by its name in"
    " the checkpoint and with trainable=False, and move it by"
    " tf.train.assign_moving_average(average, tensor, decay, zero_debias=False)."
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
_NO_NAMES = (
    "What this collection holds has no names here: take what is of one scope with"
    " tf.get_collection(key, scope)."
)
_NAMELESS = re.compile(r"(regularization_)?losses|update_ops", re.IGNORECASE)
_LISTS = re.compile(r"\b(trainable|global|local|all|model)_variables$")
_UPDATES = re.compile(r"assign(_\w+)?|scatter_(add|sub|update)|group")
_OPERATORS: Mapping[type[cst.CSTNode], str] = {
    cst.Add: "add",
    cst.AddAssign: "add",
    cst.Subtract: "subtract",
    cst.SubtractAssign: "subtract",
    cst.Multiply: "multiply",
    cst.MultiplyAssign: "multiply",
    cst.Divide: "divide",
    cst.DivideAssign: "divide",
    cst.FloorDivide: "floordiv",
    cst.MatrixMultiply: "matmul",
    cst.Power: "pow",
}


class Differences(Finder):
    """Finds updates that run at once, counters that go on, and operators of other meaning."""

    # ---- what runs at once -----------------------------------------------------------------------

    def visit_Call(self, node: cst.Call) -> None:
        last = (self._names.path(node.func) or "").rpartition(".")[2]
        if _UPDATES.fullmatch(last) and self._is_left_to_a_session(node):
            self._tell(node, node.func, _DEFERRED)
        elif last in ("name_of", "op_name") and node.args and self._is_nameless(node.args[0].value):
            self._tell(node, node, _NO_NAMES)
        elif self._names.is_builtin(node.func, "next") and node.args:
            self._counter(node, node.args[0].value)
        elif isinstance(node.func, cst.Attribute) and self._names.dotted(node.func) is None:
            self._average(node, node.func)

    def _is_nameless(self, node: cst.BaseExpression) -> bool:
        """Whether an expression takes turns at a collection of losses or updates."""
        turns = [one.value for one in self._names.bound(node) if [*one.steps] == ["element"]]
        lists = [one for turn in turns if turn is not None for one in self._made(turn)]
        return any(_NAMELESS.fullmatch(self._collection(one)) for one in lists)

    def _collection(self, node: cst.Call) -> str:
        """``losses`` of ``get_losses()``, ``get_collection(GraphKeys.LOSSES)`` and ``"losses"``."""
        function = (self._names.path(node.func) or "").rpartition(".")[2]
        if function != "get_collection" or not node.args:
            return function.removeprefix("get_")
        key = node.args[0].value
        if isinstance(key, cst.SimpleString):
            return str(key.evaluated_value)
        return (self._names.path(key) or "").rpartition(".")[2]

    def _average(self, node: cst.Call, method: cst.Attribute) -> None:
        if method.attr.value != "apply" or not self._is_average(method.value):
            return
        if node.args and self._reader.elements(node.args[0].value) == {Kind.TENSOR}:
            self._tell(node, method, _AVERAGE_OF_TENSORS)
        elif self._is_left_to_a_session(node):
            self._tell(node, method, _DEFERRED)
        elif self._averages_begin_anew(node, method.value):
            self._tell(node, method, _AVERAGE_OF_A_PASS)

    def _averages_begin_anew(self, apply: cst.Call, averages: cst.BaseExpression) -> bool:
        """Whether averages of variables are applied in the function that makes them."""
        given = [arg.value for arg in apply.args]
        if not self._functions or not all(self._reader.may_be(a, Kind.VARIABLES) for a in given):
            return False
        around = self._functions[-1]
        return any(one in m.findall(around, m.Call()) for one in self._made(averages))

    def _is_average(self, node: cst.BaseExpression) -> bool:
        """Whether an expression is bound to an ExponentialMovingAverage."""
        made = self._made(node)
        return any((self._names.path(one.func) or "").endswith("MovingAverage") for one in made)

    def _is_left_to_a_session(self, node: cst.Call) -> bool:
        if any(function.name.value == "apply_gradients" for function in self._functions):
            return False  # an optimizer of the program's own, which takes its step when called
        return is_left_to_a_session(node, self._names, self._parents)

    # ---- counters --------------------------------------------------------------------------------

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._counter(node, node.target)
        if isinstance(node.target, cst.BaseExpression):
            self._operands(node, node.operator, node.target, node.value)

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
        self._operands(node, node.operator, node.left, node.right)

    def _operands(
        self,
        node: cst.CSTNode,
        sign: cst.CSTNode,
        left: cst.BaseExpression,
        right: cst.BaseExpression,
    ) -> None:
        function = _OPERATORS.get(type(sign))
        for one, other in ((left, right), (right, left)) if function else ():
            if self._reader.is_only(one, Kind.ARRAY) and self._may_be_tensor(other):
                self._tell(
                    node,
                    node,
                    "A numpy array keeps its dtype here, mostly float64: write"
                    f" tf.{function}(a, b), the tensor first, or put tf.constant(..., dtype) around"
                    " the array.",
                )
            elif self._is_list(one) and self._takes_list(function, other, one):
                self._tell(
                    node, node, f"torch's operators take no lists: write tf.{function}(a, b)."
                )

    def _takes_list(
        self, function: str | None, other: cst.BaseExpression, numbers: cst.BaseExpression
    ) -> bool:
        """Whether an operator of a list and another operand would make a tensor of the list."""
        if function == "add" and self._reader.elements(numbers) != {Kind.NUMBER}:
            return False  # what TensorFlow returns may be a list, too, which this makes longer
        if function in ("add", "multiply"):
            return self._reader.may_be(other, *TENSORS)
        return self._may_be_tensor(other)

    def _is_list(self, node: cst.BaseExpression) -> bool:
        """Whether an expression is a list that is written out, or bound to such lists alone."""
        bound = [None if one.steps else one.value for one in self._names.bound(node)]
        return all(map(_is_written_out, bound or [node]))

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


def _is_written_out(node: cst.BaseExpression | None) -> bool:
    match node:
        case cst.List(elements=[_, *_]) | cst.Tuple(elements=[_, *_]) | cst.ListComp():
            return True
        case _:
            return False
