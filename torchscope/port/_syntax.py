"""Pieces of syntax put together, with brackets where they are needed; knows no names."""

import libcst as cst

_TIGHT = (
    cst.Name,
    cst.Attribute,
    cst.Call,
    cst.Subscript,
    cst.BaseNumber,
    cst.BaseString,
    cst.List,
    cst.Dict,
)
_PRODUCTS = (cst.Multiply, cst.Divide, cst.FloorDivide, cst.Modulo, cst.MatrixMultiply, cst.Power)


def call(function: str | cst.BaseExpression, *args: cst.BaseExpression) -> cst.Call:
    """``function(*args)``."""
    if isinstance(function, str):
        function = cst.Name(function)
    return cst.Call(function, [cst.Arg(arg) for arg in args])


def shape_of(shape: cst.BaseExpression) -> cst.BaseExpression | None:
    """The ``x`` of ``x.shape``."""
    if isinstance(shape, cst.Attribute) and shape.attr.value == "shape":
        return shape.value
    return None


def right_side(node: cst.BaseExpression, operator: cst.BaseBinaryOp) -> cst.BaseExpression:
    """The right side of an operator, in brackets if it needs them."""
    if node.lpar or isinstance(node, _TIGHT):
        return node
    is_product = isinstance(node, cst.BinaryOperation) and isinstance(node.operator, _PRODUCTS)
    if is_product and isinstance(operator, cst.Add):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def instead(old: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
    """The new expression in the old one's brackets, with the comments of dots that are gone."""
    if new is old:
        return old
    for space in _spaces(old):
        if space not in _spaces(new) and _has_comment(space):
            rpar = cst.RightParen(whitespace_before=space)
            new = new.with_changes(lpar=[cst.LeftParen(), *new.lpar], rpar=[*new.rpar, rpar])
    return new.with_changes(lpar=[*old.lpar, *new.lpar], rpar=[*new.rpar, *old.rpar])


def as_list(shape: cst.BaseExpression) -> cst.BaseExpression:
    """``list(shape)``."""
    return instead(shape, call("list", shape.with_changes(lpar=[], rpar=[])))


def is_list(node: cst.BaseExpression) -> bool:
    """Whether an expression makes a list, as ``[1, 2]``, ``[1] + x`` and ``list(x)`` do."""
    match node:
        case cst.List() | cst.ListComp() | cst.Call(func=cst.Name("list")):
            return True
        case cst.BinaryOperation(left=left, right=right):
            return is_list(left) or is_list(right)
        case _:
            return False


def _spaces(node: cst.BaseExpression) -> list[cst.BaseParenthesizableWhitespace]:
    """The whitespace and comments at the dots of an expression such as ``a.b().c[0]``."""
    found: list[cst.BaseParenthesizableWhitespace] = []
    while True:
        match node:
            case cst.Attribute(dot=dot, value=inner):
                found += [dot.whitespace_before, dot.whitespace_after]
                node = inner
            case cst.Call(func=cst.Name(), args=[arg, *_]):
                node = arg.value
            case cst.Call(func=inner) | cst.Subscript(value=inner):
                node = inner
            case _:
                return found


def _has_comment(space: cst.BaseParenthesizableWhitespace) -> bool:
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return False
    return any(line.comment for line in (space.first_line, *space.empty_lines))
