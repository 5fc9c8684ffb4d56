"""What an expression may hold (a tensor, a variable, a shape), guessed from the file alone.

A name may hold whatever it is bound to anywhere in its scope, ``self.x`` whatever any method binds
it to. What comes from elsewhere, such as parameters, is `UNKNOWN`. TensorFlow's functions return
tensors unless they are listed here.
"""

import re
from enum import Enum, auto

import libcst as cst

from ._names import Bound, Names


class Kind(Enum):
    """One thing that an expression may hold."""

    TENSOR = auto()  # or several, in a list
    VARIABLE = auto()
    VARIABLES = auto()  # several, in a list
    SHAPE = auto()  # tf.TensorShape; here torch.Size
    SIZE = auto()  # tf.Dimension; here an int
    NUMBER = auto()
    ARRAY = auto()  # numpy's
    SESSION = auto()
    OTHER = auto()  # a string, a list, a function, ...
    UNKNOWN = auto()


Kinds = frozenset[Kind]

NOTHING: Kinds = frozenset()
UNKNOWN: Kinds = frozenset({Kind.UNKNOWN})
_OTHER: Kinds = frozenset({Kind.OTHER})
TENSORS: Kinds = frozenset({Kind.TENSOR, Kind.VARIABLE})

# What TensorFlow's functions return, by the last part of their names.
_RETURNS = [
    (re.compile(f"(?:{pattern})$"), kind)
    for pattern, kind in [
        (r"get_variable|get_local_variable|Variable|model_variable|local_variable", Kind.VARIABLE),
        (r"\w+_variables|get_variables\w*|get_collection\w*", Kind.VARIABLES),
        (r"(Interactive)?Session|get_default_session", Kind.SESSION),
        (r"TensorShape", Kind.SHAPE),
        (r"size|rank", Kind.NUMBER),
        (r"(Sparse)?Tensor|Print", Kind.TENSOR),
        (r"shape|(get_)?variable_scope|name_scope|make_template|as_dtype|arg_scope|\w+_initializer|\w+_regularizer"
         r"|device|control_dependencies|get_default_graph|name_of|op_name"
         r"|original_name_scope|[A-Z]\w*", Kind.OTHER),
        (r"\w+", Kind.TENSOR),
    ]
]  # fmt: skip

# numpy's functions that make arrays of any argument, and those that make one number.
_ARRAYS = re.compile(
    r"(as)?array|arange|linspace|(zeros|ones|full|empty)(_like)?|eye|identity|tile|repeat|tri[lu]?"
    r"|concatenate|[vhd]?stack|diag|meshgrid|load\w*|random\.\w+|reshape|transpose|expand_dims"
)
_GRIDS = ("numpy.mgrid", "numpy.ogrid", "numpy.r_", "numpy.c_")  # np.ogrid[:3, :3]
_ONE_NUMBER = re.compile(r"prod|sum|mean|a?max|a?min|std|var|size|ndim|(bool|float|u?int)\d*_?")

# Methods of shapes that give another shape.
_SHAPE_METHODS = re.compile(r"with_rank(_at_\w+)?|merge_with|concatenate")

_SAME_ELEMENTS = ("list", "tuple", "sorted", "reversed", "set")
_NUMBERS = ("int", "float", "len", "bool", "round", "hash", "id", "ord")
_OTHERS = ("str", "dict", "range", "open", "repr", "type", "print", "format", "isinstance", "map")


class Reader:
    """Finds what the expressions of a module may hold."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[cst.CSTNode, Kinds] = {}
        self._known_elements: dict[cst.CSTNode, Kinds] = {}

    def kinds(self, node: cst.BaseExpression) -> Kinds:
        """All that an expression may hold; empty for a name that is bound to itself."""
        if node not in self._known:
            self._known[node] = NOTHING
            self._known[node] = self._read(node)
        return self._known[node]

    def may_be(self, node: cst.BaseExpression, *kinds: Kind) -> bool:
        """Whether an expression may hold one of these."""
        return not self.kinds(node).isdisjoint(kinds)

    def is_only(self, node: cst.BaseExpression, *kinds: Kind) -> bool:
        """Whether an expression can only hold one of these."""
        found = self.kinds(node)
        return bool(found) and found <= set(kinds)

    def elements(self, node: cst.BaseExpression) -> Kinds:
        """All that an index or a loop may take out of an expression."""
        if node not in self._known_elements:
            self._known_elements[node] = NOTHING
            self._known_elements[node] = self._read_elements(node)
        return self._known_elements[node]

    def _read_elements(self, node: cst.BaseExpression) -> Kinds:
        if isinstance(node, cst.List | cst.Tuple | cst.Set) and not node.elements:
            return UNKNOWN  # it will be filled
        if isinstance(node, cst.List | cst.Tuple | cst.Set):
            return self._all(*(element.value for element in node.elements))
        if isinstance(node, cst.ListComp | cst.GeneratorExp | cst.SetComp):
            return self.kinds(node.elt)
        if isinstance(node, cst.Call) and self._names.is_builtin(node.func, *_SAME_ELEMENTS):
            return self.elements(node.args[0].value) if node.args else NOTHING
        if isinstance(node, cst.Call) and self._names.is_builtin(node.func, "range"):
            return frozenset({Kind.NUMBER})
        if held := self._names.bound(node):
            return NOTHING.union(map(_element, self._given(node)), *map(self._held, held))
        return frozenset(map(_element, self.kinds(node)))

    def _held(self, bound: Bound) -> Kinds:
        """All that may be taken out of what a name is bound to."""
        if bound.value is None or bound.steps:
            return frozenset(map(_element, self._bound(bound)))
        return self.elements(bound.value)

    def _read(self, node: cst.BaseExpression) -> Kinds:
        match node:
            case cst.Integer() | cst.Float() | cst.Imaginary():
                return frozenset({Kind.NUMBER})
            case cst.Name(value="True" | "False"):
                return frozenset({Kind.NUMBER})
            case cst.Name() if self._names.path(node) is not None:
                return _OTHER
            case cst.Name():
                return self._any(self._names.bound(node)) | self._given(node)
            case cst.Attribute():
                return self._attribute(node)
            case cst.Call():
                return self._call(node)
            case cst.Subscript():
                return self._subscript(node)
            case cst.BinaryOperation(left=left, right=right):
                return self._operation(self._all(left, right))
            case cst.UnaryOperation(operator=cst.Not()):
                return frozenset({Kind.NUMBER})
            case cst.UnaryOperation(expression=inner):
                return self._operation(self.kinds(inner))
            case cst.Comparison(left=left):
                others = [one.comparator for one in node.comparisons]
                return self._operation(self._all(left, *others))
            case cst.BooleanOperation(left=left, right=right):
                return self._all(left, right)
            case cst.IfExp(body=body, orelse=orelse):
                return self._all(body, orelse)
            case cst.List() | cst.Tuple() | cst.ListComp() | cst.GeneratorExp():
                inside = self.elements(node)
                return frozenset({Kind.VARIABLES}) if inside == {Kind.VARIABLE} else _OTHER
            case cst.Await() | cst.Yield() | cst.NamedExpr():
                return UNKNOWN
            case _:
                return _OTHER

    def _any(self, bound: list[Bound]) -> Kinds:
        if not bound:
            return UNKNOWN
        return NOTHING.union(*map(self._bound, bound))

    def _bound(self, bound: Bound) -> Kinds:
        if bound.value is None:
            return UNKNOWN
        steps = list(bound.steps)
        found = self.kinds(bound.value)
        if steps and steps[0] == "element":
            steps.pop(0)
            found = self.elements(bound.value)
        for step in steps:
            if step == "element":
                found = frozenset(map(_element, found))
            elif step == "rest":
                found = _OTHER
        return found

    def _given(self, node: cst.BaseExpression) -> Kinds:
        """What the name of a parameter says, as in ``build(self, input_shape)``."""
        is_shape = isinstance(node, cst.Name) and node.value.endswith("shape")
        is_given = is_shape and any(one.value is None for one in self._names.bound(node))
        return frozenset({Kind.SHAPE}) if is_given else NOTHING

    def _all(self, *nodes: cst.BaseExpression) -> Kinds:
        return NOTHING.union(*map(self.kinds, nodes))

    def _operation(self, operands: Kinds) -> Kinds:
        """The kinds of an operator's result, from those of its operands."""
        if operands & TENSORS:
            return frozenset({Kind.TENSOR})
        if Kind.ARRAY in operands:
            return frozenset({Kind.ARRAY})
        if operands <= {Kind.NUMBER, Kind.SIZE}:
            return frozenset({Kind.NUMBER})
        return operands

    def _attribute(self, node: cst.Attribute) -> Kinds:
        dotted = self._names.dotted(node)
        if dotted is not None:
            if self._names.path(node) is not None:
                return _OTHER  # a function, a class or a constant of TensorFlow
            return frozenset({Kind.NUMBER}) if dotted.startswith(("numpy.", "math.")) else UNKNOWN
        match node.attr.value:
            case "shape":
                return frozenset({Kind.SHAPE})
            case "dims" | "_dims" if self.may_be(node.value, Kind.SHAPE):
                return frozenset({Kind.SHAPE})
            case "value" if self.may_be(node.value, Kind.SIZE):
                return frozenset({Kind.SIZE})
            case "T" if self.is_only(node.value, Kind.ARRAY):
                return frozenset({Kind.ARRAY})
            case "ndim" | "ndims":
                return frozenset({Kind.NUMBER})
            case "dtype" | "name":
                return _OTHER
            case _:
                pass
        return self._any(self._names.bound(node))

    def _call(self, node: cst.Call) -> Kinds:
        path, dotted = self._names.path(node.func), self._names.dotted(node.func)
        if path is not None:
            last = path.rpartition(".")[2]
            return frozenset(next([kind] for name, kind in _RETURNS if name.match(last)))
        if dotted is not None:
            package, _, function = dotted.partition(".")
            return self._numpy(function, node) if package == "numpy" else UNKNOWN
        if isinstance(node.func, cst.Attribute):
            return self._method(node.func)
        if self._names.is_builtin(node.func, *_NUMBERS):
            return frozenset({Kind.NUMBER})
        if self._names.is_builtin(node.func, "abs"):
            return self._all(*(arg.value for arg in node.args))
        if self._names.is_builtin(node.func, *_SAME_ELEMENTS):
            inside = self.elements(node)
            return frozenset({Kind.VARIABLES}) if inside == {Kind.VARIABLE} else _OTHER
        return _OTHER if self._names.is_builtin(node.func, *_OTHERS) else UNKNOWN

    def _numpy(self, function: str, node: cst.Call) -> Kinds:
        if _ARRAYS.fullmatch(function):
            return frozenset({Kind.ARRAY})
        given = self._all(*(arg.value for arg in node.args))
        is_number = _ONE_NUMBER.fullmatch(function) or given.isdisjoint({Kind.ARRAY, Kind.OTHER})
        return frozenset({Kind.NUMBER if is_number else Kind.ARRAY})

    def _method(self, method: cst.Attribute) -> Kinds:
        name = method.attr.value
        if name == "get_shape":
            return frozenset({Kind.SHAPE})
        if _SHAPE_METHODS.fullmatch(name) and self.may_be(method.value, Kind.SHAPE):
            return frozenset({Kind.SHAPE})
        if self.is_only(method.value, Kind.ARRAY):
            return frozenset({Kind.ARRAY})
        return _OTHER if name in ("as_list", "format", "join", "split") else UNKNOWN

    def _subscript(self, node: cst.Subscript) -> Kinds:
        if self._names.dotted(node.value) in _GRIDS:
            return frozenset({Kind.ARRAY})
        if any(isinstance(one.slice, cst.Slice) for one in node.slice):
            return self.kinds(node.value)
        return self.elements(node.value)


def _element(kind: Kind) -> Kind:
    return {
        Kind.TENSOR: Kind.TENSOR,
        Kind.VARIABLE: Kind.TENSOR,
        Kind.VARIABLES: Kind.VARIABLE,
        Kind.SHAPE: Kind.SIZE,
        Kind.ARRAY: Kind.ARRAY,
    }.get(kind, Kind.UNKNOWN)
