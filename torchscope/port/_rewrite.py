"""Rewrites what a new import alone does not port: methods of tensors, and names that have moved.

In: a module with its names and what its expressions may hold. Out: a module that calls
`torchscope.tf1`. Comments and formatting stay, and a second run finds nothing to do. Each rule
looks at the original tree and builds on the rewritten parts, inside out: the rule for
``s.as_list()`` finds ``x.shape`` where ``x.get_shape()`` was.
"""

import re
from collections.abc import Sequence
from typing import Any

import libcst as cst

from . import _imports
from ._calls import called_as_here
from ._kinds import TENSORS, Kind, Reader
from ._names import HOME, Bound, Names, imported
from ._syntax import as_list, call, instead, is_list, right_side, shape_of

# Calls that set how TensorFlow itself behaves; such lines are removed.
_SWITCHES = re.compile(r"(dis|en)able_(v2_\w+|eager_execution|resource_variables|control_flow_v2)")
_NOTHING = cst.Pass()  # in place of such a line, until its comments have another place
_Line = cst.SimpleStatementLine | cst.SimpleStatementSuite

# Names that numpy had for Python's types before 1.24.
_PYTHONS = re.compile(r"numpy\.(bool|complex|float|int|object|str)")

# Usual names of variables and tensors, where nothing else tells what `v.name` is the name of.
_VARIABLES = re.compile(
    r"[glptvwxyz]|grad(ient)?|param(eter)?|(\w+_)?(tensor|var)|tvar|variable|weights?|bias"
    r"|inp|inputs?_?|net|outputs?|logits|loss|activation"
)

# Checks of a shape -> whether the argument is a rank, and whether they return the shape.
_CHECKS = {
    "assert_has_rank": (True, False),
    "assert_is_compatible_with": (False, False),
    "merge_with": (False, True),
    "with_rank": (True, True),
}
_OF_TENSOR_SHAPES = (  # what else a torch.Size cannot do
    *("assert_is_fully_defined", "assert_same_rank", "concatenate", "is_compatible_with"),
    "with_rank_at_most",
)

_OPERATORS: dict[type, type[cst.BaseBinaryOp]] = {
    cst.AddAssign: cst.Add,
    cst.BitAndAssign: cst.BitAnd,
    cst.BitOrAssign: cst.BitOr,
    cst.BitXorAssign: cst.BitXor,
    cst.DivideAssign: cst.Divide,
    cst.FloorDivideAssign: cst.FloorDivide,
    cst.MatrixMultiplyAssign: cst.MatrixMultiply,
    cst.ModuloAssign: cst.Modulo,
    cst.MultiplyAssign: cst.Multiply,
    cst.PowerAssign: cst.Power,
    cst.SubtractAssign: cst.Subtract,
}


class Rewriter(cst.CSTTransformer):
    """Rewrites the module of the names.

    Attributes:
        lacks_import: whether a call was written that needs an import which the file does not have.
    """

    def __init__(self, names: Names, reader: Reader) -> None:
        super().__init__()
        self._names = names
        self._reader = reader
        self._root = names.root()
        self.lacks_import = False

    def _tf(self, path: str) -> cst.BaseExpression:
        """The expression for a name of `torchscope.tf1`."""
        self.lacks_import |= self._root is None
        return cst.parse_expression(f"{self._root or 'tf'}.{path}" if path else self._root or "tf")

    # ---- imports and names -----------------------------------------------------------------------

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        body = self._statements(original_node, updated_node)
        if len(updated_node.body) > 1:
            return updated_node.with_changes(body=body)
        first, *others = body
        lines = [cst.SimpleStatementLine([one]) for one in others]
        return cst.FlattenSentinel([updated_node.with_changes(body=[first]), *lines])

    def leave_SimpleStatementSuite(
        self, original_node: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> cst.SimpleStatementSuite:
        return updated_node.with_changes(body=self._statements(original_node, updated_node))

    def _statements(self, old: _Line, updated: _Line) -> list[cst.BaseSmallStatement]:
        """The statements of a line, with other imports, and without switches."""
        found: list[cst.BaseSmallStatement] = []
        for was, one in zip(old.body, updated.body, strict=True):
            is_import = isinstance(one, cst.Import | cst.ImportFrom)
            if not self._is_switch(was):
                found += _imports.ported(one) if is_import else [one]
        if not found:
            return [_NOTHING]
        last = found.pop().with_changes(semicolon=updated.body[-1].semicolon)
        return [*found, last]

    def _is_switch(self, statement: cst.BaseSmallStatement) -> bool:
        if not (isinstance(statement, cst.Expr) and isinstance(statement.value, cst.Call)):
            return False
        return bool(_SWITCHES.fullmatch(self._names.path(statement.value.func) or ""))

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        lines, comments = _without_nothing(updated_node.body)
        return updated_node.with_changes(body=lines, footer=[*comments, *updated_node.footer])

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        lines, comments = _without_nothing(updated_node.body)
        if self.lacks_import:
            lines.insert(_first_import(lines), cst.parse_statement(f"import {HOME} as tf"))
        return updated_node.with_changes(body=lines, footer=[*comments, *updated_node.footer])

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        if not self._names.is_read(original_node):
            return updated_node
        name = original_node.attr.value
        if pythons := _PYTHONS.fullmatch(self._names.dotted(original_node) or ""):
            return instead(updated_node, cst.Name(pythons[1]))
        if name == "as_numpy_dtype" and self._names.path(original_node) != name:
            return instead(updated_node, call(self._tf(name), updated_node.value))
        if self._names.dotted(original_node) is not None:
            return instead(updated_node, self._moved(original_node) or updated_node)
        return instead(updated_node, self._attribute(original_node, updated_node))

    def _attribute(self, old: cst.Attribute, updated: cst.Attribute) -> cst.BaseExpression:
        inner, name, new = old.value, old.attr.value, updated.value
        match name:
            case "ndims" | "rank" if self._is_shape(inner):
                of = shape_of(new)
                return cst.Attribute(of, cst.Name("ndim")) if of else call("len", new)
            case "dims" | "_dims" if self._is_shape(inner):
                return call("list", new)
            case "value" if self._reader.may_be(inner, Kind.SIZE):
                return new
            case "base_dtype":
                return new
            case "is_floating":
                return updated.with_changes(attr=cst.Name("is_floating_point"))
            case "name" if isinstance(new, cst.Attribute) and new.attr.value == "op":
                return call(self._tf("op_name"), new.value)
            case "original_name_scope":
                return call(self._tf(name), new)
            case "name" if self._is_variable(inner):
                return call(self._tf("name_of"), new)
            case _:
                return updated

    def _moved(self, node: cst.Attribute) -> cst.BaseExpression | None:
        """The expression for a name that has another place here; None if its place is the same."""
        path, within = self._names.path(node), self._names.path(node.value)
        if path is None or within is None:
            return None
        if path == (f"{within}.{node.attr.value}" if within else node.attr.value):
            return None
        return self._tf(path)

    # ---- methods ---------------------------------------------------------------------------------

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if self._names.dotted(original_node.func) is not None:
            return called_as_here(self._names.path(original_node.func) or "", updated_node)
        if isinstance(original_node.func, cst.Attribute):
            new = self._method(original_node.func, updated_node)
            return instead(updated_node, new)
        if self._names.is_builtin(original_node.func, "len") and len(updated_node.args) == 1:
            arg = updated_node.args[0]
            if self._was_listed(original_node.args[0].value, arg.value):
                return updated_node.with_changes(args=[arg.with_changes(value=_listed(arg.value))])
        return updated_node

    def _method(self, method: cst.Attribute, updated: cst.Call) -> cst.BaseExpression:
        assert isinstance(updated.func, cst.Attribute)
        inner, name = method.value, method.attr.value
        new, args = updated.func.value, updated.args
        match name, len(args):
            case "get_shape", 0:
                return updated.func.with_changes(attr=cst.Name("shape"))
            case "as_list", 0:
                return call("list", new)
            case "with_rank_at_least", 1 if self._is_shape(inner):
                return new
            case _, 1 if name in _CHECKS and self._is_size(inner) and (of := shape_of(new)):
                return self._checked(of, name, args[0].value)
            case _, _ if name in (*_CHECKS, *_OF_TENSOR_SHAPES) and self._is_size(inner):
                of = call(self._tf("TensorShape"), new)
                return updated.with_changes(func=updated.func.with_changes(value=of))
            case "is_fully_defined", 0 if self._is_shape(inner):
                return cst.Name("True")
            case "num_elements", 0 if self._is_shape(inner):
                return updated.with_changes(func=updated.func.with_changes(attr=cst.Name("numel")))
            case "set_shape", 1:
                return self._called("ensure_shape", updated, new)
            case "assign" | "assign_add" | "assign_sub", _ if _gives_value(args):
                return self._called(name, updated, new)
            case "initialized_value" | "read_value", 0:
                return new
            case "value", 0 if self._reader.may_be(inner, Kind.VARIABLE):
                return new
            case _:
                return updated

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        if not self._was_listed(original_node.value, updated_node.value):
            return updated_node
        of = updated_node.with_changes(value=_listed(updated_node.value))
        is_slice = isinstance(original_node.slice[0].slice, cst.Slice)
        return instead(updated_node, call("list", of) if is_slice else of)

    def _called(self, function: str, call: cst.Call, first: cst.BaseExpression) -> cst.Call:
        """``first.method(...)`` as ``tf.function(first, ...)``."""
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        args = [cst.Arg(first, comma=comma), *call.args]
        return call.with_changes(func=self._tf(function), args=args)

    def _checked(
        self, tensor: cst.BaseExpression, check: str, arg: cst.BaseExpression
    ) -> cst.BaseExpression:
        """A check of a tensor's shape, as one of the tensor."""
        is_rank, gives_shape = _CHECKS[check]
        if is_rank:
            nones, times = cst.List([cst.Element(cst.Name("None"))]), cst.Multiply()
            arg = cst.BinaryOperation(nones, times, right_side(arg, times))
        new = call(self._tf("ensure_shape"), tensor, arg)
        return cst.Attribute(new, cst.Name("shape")) if gives_shape else new

    # ---- shape == [1, 2] -------------------------------------------------------------------------

    def leave_Comparison(
        self, original_node: cst.Comparison, updated_node: cst.Comparison
    ) -> cst.Comparison:
        """A torch.Size, which is a tuple, never equals a list."""
        match updated_node.comparisons:
            case [
                cst.ComparisonTarget(
                    operator=cst.Equal() | cst.NotEqual(), comparator=right
                ) as target
            ]:
                pass
            case _:
                return updated_node
        left, was = updated_node.left, original_node
        if self._is_only_size(was.left) and is_list(right):
            return updated_node.with_changes(left=as_list(left))
        if is_list(left) and self._is_only_size(was.comparisons[0].comparator):
            new = target.with_changes(comparator=as_list(right))
            return updated_node.with_changes(comparisons=[new])
        return updated_node

    # ---- x += y ----------------------------------------------------------------------------------

    def leave_AugAssign(
        self, original_node: cst.AugAssign, updated_node: cst.AugAssign
    ) -> cst.BaseSmallStatement:
        """On a tensor, torch's ``+=`` changes it in place; TensorFlow's made a new one."""
        operator = _OPERATORS.get(type(updated_node.operator))
        if operator is None or not self._may_change(original_node):
            return updated_node
        sign: Any = updated_node.operator
        target: Any = updated_node.target
        right = right_side(updated_node.value, operator())
        return cst.Assign(
            [cst.AssignTarget(target, sign.whitespace_before, sign.whitespace_after)],
            cst.BinaryOperation(target, operator(), right),
        )

    def _may_change(self, node: cst.AugAssign) -> bool:
        """Whether the statement may change a tensor."""
        target, value = node.target, node.value
        if self._reader.is_only(value, Kind.OTHER):  # a list or a string grows
            return False
        if isinstance(target, cst.Subscript):
            return self._reader.may_be(value, *TENSORS)
        begun = [one for one in self._names.bound(target) if "added" not in one.steps]
        if begun and all(map(self._begins_a_list, begun)):  # it takes tuples, too
            return False
        return self._reader.may_be(target, *TENSORS, Kind.UNKNOWN)

    def _begins_a_list(self, bound: Bound) -> bool:
        """Whether a name is bound to a list, or to a string."""
        if bound.value is None or bound.steps:
            return False
        return self._reader.is_only(bound.value, Kind.OTHER, Kind.VARIABLES)

    # ---- what is what ----------------------------------------------------------------------------

    def _was_listed(self, node: cst.BaseExpression, new: cst.BaseExpression) -> bool:
        """Whether ``list(s)`` was written for a shape's ``s.as_list()`` or ``s.dims``."""
        method = node.func if isinstance(node, cst.Call) else node
        return (
            isinstance(method, cst.Attribute)
            and method.attr.value in ("as_list", "dims", "_dims")
            and isinstance(new, cst.Call)
            and isinstance(new.func, cst.Name)  # list
        )

    def _is_shape(self, node: cst.BaseExpression) -> bool:
        return self._reader.may_be(node, Kind.SHAPE)

    def _is_size(self, node: cst.BaseExpression) -> bool:
        """Whether an expression that was a TensorShape is a torch.Size now."""
        return self._is_shape(node) and not self._names.calls(node, "TensorShape")

    def _is_only_size(self, node: cst.BaseExpression) -> bool:
        return self._reader.is_only(node, Kind.SHAPE) and self._is_size(node)

    def _is_variable(self, node: cst.BaseExpression) -> bool:
        """Whether the object that has the name is a variable or another tensor."""
        if self._reader.may_be(node, *TENSORS):
            return True
        unknown = self._reader.may_be(node, Kind.UNKNOWN)
        return unknown and isinstance(node, cst.Name) and bool(_VARIABLES.fullmatch(node.value))


def _listed(node: cst.BaseExpression) -> cst.BaseExpression:
    """The ``s`` of the ``list(s)`` that was written for ``s.as_list()``."""
    return cst.ensure_type(node, cst.Call).args[0].value


def _gives_value(args: Sequence[cst.Arg]) -> bool:
    """Whether a call of ``assign`` is a variable's: pandas' takes only keyword arguments."""
    if not args or args[0].star:
        return False
    first = args[0]
    return first.keyword is None or first.keyword.value in ("value", "delta")


def _without_nothing(
    lines: Sequence[cst.BaseStatement],
) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    """The statements without `_NOTHING`; comments above it go to the next one, or are returned."""
    kept: list[cst.BaseStatement] = []
    comments: list[cst.EmptyLine] = []
    for line in lines:
        if isinstance(line, cst.SimpleStatementLine) and line.body[0] is _NOTHING:
            comments += [above for above in line.leading_lines if above.comment]
        elif comments and isinstance(line, cst.SimpleStatementLine | cst.BaseCompoundStatement):
            kept.append(line.with_changes(leading_lines=[*comments, *line.leading_lines]))
            comments = []
        else:
            kept.append(line)
    return kept, comments


def _first_import(lines: Sequence[cst.BaseStatement]) -> int:
    """Where an import from `HOME` may stand: at the first one, or below docstring and future."""
    for number, line in enumerate(lines):
        if _imports_from(line, HOME):
            return number
    heading = [_imports_from(line, "__future__") or _is_text(line) for line in lines]
    return [*heading, False].index(False)


def _is_text(line: cst.CSTNode) -> bool:
    match line:
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.BaseString())]):
            return True
        case _:
            return False


def _imports_from(line: cst.CSTNode, package: str) -> bool:
    """Whether a line imports from a package, or the package itself."""
    if not isinstance(line, cst.SimpleStatementLine):
        return False
    statements = [one for one in line.body if isinstance(one, cst.Import | cst.ImportFrom)]
    names = [name for one in statements for name in (imported(one)[0], *imported(one)[1])]
    return any(name.startswith(package) for name in names)
