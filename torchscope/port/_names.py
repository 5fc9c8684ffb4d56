"""Which names in a file stand for TensorFlow, and what each name is bound to; changes nothing.

In: a module's tree and libcst's scopes. Out: dotted names. `Names.dotted` gives a name as
Python would import it (``numpy.sqrt``, ``tensorflow.contrib.slim.conv2d``), through imports, ``as``
and ``slim = tf.contrib.slim``. `Names.path` gives where `torchscope.tf1` has it (``slim.conv2d``
is below ``contrib``), and None for what is not TensorFlow's.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import libcst as cst
from libcst.helpers import get_full_name_for_node, get_full_name_for_node_or_raise
from libcst.metadata import (
    Assignment,
    ExpressionContext,
    ExpressionContextProvider,
    ImportAssignment,
    MetadataWrapper,
    ScopeProvider,
)

HOME = "torchscope.tf1"
_USUAL = "tf"  # how programs call TensorFlow

Import = cst.Import | cst.ImportFrom

# The public places of TensorFlow's private modules and older names. The first rule that matches is
# applied, repeatedly, as long as one matches.
_MOVED = [
    (re.compile(rf"{pattern}(?=\.|$)"), to)
    for pattern, to in [
        (r"compat\.v1", ""),
        (r"(contrib\.)?linalg\.LinearOperatorTriL", "linalg.LinearOperatorLowerTriangular"),
        (r"models\.rnn\.rnn_cell", "nn.rnn_cell"),
        (r"models\.rnn(\.rnn)?", "nn"),
        (r"nn\.seq2seq", "contrib.legacy_seq2seq"),
        (r"contrib\.framework\.python\.ops(?=\.(add_)?arg_scope$)", "contrib.framework"),
        (r"contrib\.layers\.python\.layers\.utils", "contrib.layers.utils"),
        (
            r"contrib\.(\w+)\.python\.\w+\.(\1|arg_scope|core_rnn_cell\w*|hparam|initializers"
            r"|normalization|ops|optimizers|regularizers|rnn|rnn_cell|seq2seq|variables)",
            r"contrib.\1",
        ),
        (r"contrib\.(\w+)\.python\.\w+", r"contrib.\1"),
        (r"contrib\.slim\.layers\.utils", "contrib.layers.utils"),  # tf_slim's modules
        (
            r"contrib\.slim\.layers(\.(initializers|layers|normalization|optimizers|regularizers"
            r"|summaries)(?=\.|$))?",
            "contrib.layers",
        ),
        (
            r"contrib\.slim\.ops(\.(arg_scope|framework_ops|variables)(?=\.|$))?",
            "contrib.framework",
        ),
        (r"contrib\.slim\.losses\.loss_ops", "contrib.slim.losses"),
        (r"contrib\.slim\.(\w+_ops)", r"python.ops.\1"),  # slim.init_ops, which its layers import
        (r"(scalar|histogram)_summary", r"summary.\1"),  # before TensorFlow 1.0
        (r"merge(_all)?_summar(?:y|ies)", r"summary.merge\1"),
        (r"python\.ops\.(image_ops|losses)\w*(\.\w+_impl)?", r"\1"),
        (r"image_ops", "image"),
        (r"(array|control_flow|init|math|nn)_ops", r"python.ops.\1_ops"),  # as tf had them, too
        (r"python\.ops\.rnn_cell\w*", "nn.rnn_cell"),
        (r"python\.ops\.(nn|nn_ops|nn_impl|gen_nn_ops|embedding_ops|rnn|ctc_ops)", "nn"),
        (r"python\.(ops|framework)\.\w+", ""),
        (r"python\.(layers|summary)\.\w+", r"\1"),
        (r"python\.training\.\w+", "train"),
        (r"python\.platform\.tf_logging", "logging"),
        (r"python\.(platform|util)", ""),
        (r"python", ""),
    ]
]


def moved(path: str) -> str:
    """Where the public interface has a name below ``tensorflow``.

    >>> moved("python.ops.array_ops.concat"), moved("compat.v1.nn.relu"), moved("nn.relu")
    ('concat', 'nn.relu', 'nn.relu')
    """
    for pattern, to in _MOVED:
        if found := pattern.match(path):
            rest = path[found.end() :].lstrip(".")
            return moved(".".join(filter(None, [found.expand(to), rest])))
    return path


def path_of(dotted: str) -> str | None:
    """Where `torchscope.tf1` has what a file imports by a dotted name; ``""`` is all of it.

    >>> path_of("tensorflow.compat.v1"), path_of("tf_slim.conv2d"), path_of("numpy.sqrt")
    ('', 'contrib.slim.conv2d', None)
    """
    for root, place in (("tensorflow", ""), (HOME, ""), ("tf_slim", "contrib.slim")):
        if dotted == root or dotted.startswith(f"{root}."):
            rest = dotted[len(root) :].lstrip(".")
            return moved(".".join(filter(None, [place, rest])))
    return None


@dataclass(frozen=True)
class Bound:
    """What a name is bound to: an expression, and what is done with it on the way.

    ``for v in variables:`` binds ``v`` to an ``element`` of ``variables``, ``with f() as s:`` binds
    ``s`` to what is ``entered``, ``x += 1`` binds ``x`` to itself with 1 ``added``. A parameter, a
    function or a class is bound to no expression.
    """

    value: cst.BaseExpression | None
    steps: tuple[str, ...] = ()


class Names:
    """The names of a module.

    Attributes:
        module: the tree whose nodes may be asked about.
    """

    def __init__(self, wrapper: MetadataWrapper) -> None:
        self.module = wrapper.module
        self._scopes = wrapper.resolve(ScopeProvider)
        self._contexts = wrapper.resolve(ExpressionContextProvider)
        bindings = _Bindings()
        wrapper.module.visit(bindings)
        self._bound = bindings.names
        self._attributes = bindings.attributes
        self._modules = bindings.modules
        self._dotted: dict[cst.Name, str | None] = {}
        self._has_star = bindings.has_star

    def bound(self, node: cst.CSTNode) -> list[Bound]:
        """All that a name may be bound to where it is read; ``self.x``, anywhere in the file."""
        if isinstance(node, cst.Attribute):
            return self._attributes.get(get_full_name_for_node(node) or "", [])
        if not isinstance(node, cst.Name):
            return []
        found: list[Bound] = []
        for assignment in self._own(node):
            found += self._bound.get(assignment.node) or [Bound(None)]
        return found

    def dotted(self, node: cst.CSTNode) -> str | None:
        """The full name of an expression that stands for something imported."""
        if isinstance(node, cst.Attribute):
            inner = self.dotted(node.value)
            return inner and f"{inner}.{node.attr.value}"
        if not isinstance(node, cst.Name):
            return None
        if node not in self._dotted:
            self._dotted[node] = None  # what a name that is bound to itself is
            self._dotted[node] = self._resolved(node)
        return self._dotted[node]

    def _resolved(self, name: cst.Name) -> str | None:
        assignments = self._assignments(name)
        if self._has_star and name.value == _USUAL and not assignments:
            return "tensorflow"
        imports = [_imported(one) for one in assignments if isinstance(one, ImportAssignment)]
        if imports:
            return min(filter(None, imports), default=None)  # of a try and its except, either
        bound = self.bound(name)
        if len(bound) != 1 or bound[0].value is None or bound[0].steps:
            return None
        return self.dotted(bound[0].value)

    def path(self, node: cst.CSTNode) -> str | None:
        """Where `torchscope.tf1` has what an expression refers to."""
        dotted = self.dotted(node)
        return None if dotted is None else path_of(dotted)

    def calls(self, node: cst.CSTNode, path: str) -> bool:
        """Whether an expression is a call of the function that `torchscope.tf1` has there."""
        return isinstance(node, cst.Call) and self.path(node.func) == path

    def root(self) -> str | None:
        """The file's name for TensorFlow itself, bound at its top."""
        scope = self._scopes[self.module]
        assert scope is not None
        for one in scope.assignments:
            if isinstance(one, ImportAssignment) and path_of(_imported(one) or "") == "":
                return one.name
        return _USUAL if self._is_from_star else None

    @cached_property
    def _is_from_star(self) -> bool:
        """Whether ``tf`` comes from a module of the program's own, by ``from layers import *``."""
        read = (one.value for one in self._scopes if isinstance(one, cst.Attribute))
        return any(isinstance(one, cst.Name) and self.dotted(one) == "tensorflow" for one in read)

    def has_tensorflow(self) -> bool:
        """Whether anything of TensorFlow is imported, anywhere in the file."""
        imports = any(path_of(module) is not None for module in self._modules)
        return imports or self._is_from_star

    def paths(self) -> set[str]:
        """The paths in `torchscope.tf1` of all attributes of TensorFlow that the file uses."""
        found = (self.path(node) for node in self._scopes if isinstance(node, cst.Attribute))
        return {path for path in found if path is not None}

    def is_read(self, node: cst.CSTNode) -> bool:
        """Whether an expression is read, not assigned to or deleted."""
        return self._contexts.get(node) is ExpressionContext.LOAD

    def is_builtin(self, node: cst.CSTNode, *names: str) -> bool:
        """Whether an expression is one of Python's own functions of that name."""
        return isinstance(node, cst.Name) and node.value in names and not self._own(node)

    def is_unbound(self, name: cst.Name) -> bool:
        """Whether a name is read that is neither bound nor a builtin."""
        return name in self._scopes and not self._assignments(name)

    def is_global(self, name: cst.Name) -> bool:
        """Whether a name is a global value of the file."""
        return any(
            one.scope is one.scope.globals and one.node in self._bound for one in self._own(name)
        )

    def class_of(self, node: cst.CSTNode) -> cst.ClassDef | None:
        """The class of the file that an expression names."""
        own = self._own(node) if isinstance(node, cst.Name) else []
        return next((one.node for one in own if isinstance(one.node, cst.ClassDef)), None)

    def is_number_by_default(self, name: cst.CSTNode) -> bool:
        """Whether an expression is a parameter whose default is a number."""
        return isinstance(name, cst.Name) and any(
            isinstance(one.node, cst.Param) and isinstance(one.node.default, cst.BaseNumber)
            for one in self._own(name)
        )

    def reads(self, target: cst.Name) -> list[cst.CSTNode]:
        """Where a name is read that is bound here."""
        return [access.node for one in self._own(target) for access in one.references]

    def _own(self, name: cst.Name) -> list[Assignment]:
        return [one for one in self._assignments(name) if isinstance(one, Assignment)]

    def _assignments(self, name: cst.Name) -> Sequence[object]:
        scope = self._scopes.get(name)
        return () if scope is None else list(scope[name.value])


def imported(statement: Import) -> tuple[str, list[str]]:
    """The module that names are imported from, empty for ``import a, b``; and the names."""
    module = ""
    if isinstance(statement, cst.ImportFrom):
        module = "." * len(statement.relative)
        if statement.module is not None:
            module += get_full_name_for_node_or_raise(statement.module)
    if isinstance(statement.names, cst.ImportStar):
        return module, []
    names = [get_full_name_for_node_or_raise(alias.name) for alias in statement.names]
    return module, [f"{module}.{name}" if module else name for name in names]


def _imported(assignment: ImportAssignment) -> str | None:
    """The full name of what an import binds."""
    statement = assignment.node
    assert isinstance(statement, cst.Import | cst.ImportFrom)
    module, names = imported(statement)
    if isinstance(statement.names, cst.ImportStar):
        return None
    for alias, name in zip(statement.names, names, strict=True):
        if (alias.evaluated_alias or get_full_name_for_node(alias.name)) == assignment.name:
            return name
        if not module and name.startswith(f"{assignment.name}."):
            return assignment.name  # import a.b binds a
    return None


class _Bindings(cst.CSTVisitor):
    """Collects what is bound to which name, by the node of the name, and what is imported."""

    def __init__(self) -> None:
        self.names: dict[cst.CSTNode, list[Bound]] = defaultdict(list)
        self.attributes: dict[str, list[Bound]] = defaultdict(list)
        self.modules: list[str] = []
        self.has_star = False

    def visit_Import(self, node: cst.Import) -> None:
        self.modules += imported(node)[1]

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        module, names = imported(node)
        self.modules += [module, *names]
        self.has_star |= isinstance(node.names, cst.ImportStar)

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._bind(target.target, node.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, node.value)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._bind(node.target, node.value, "added")

    def visit_For(self, node: cst.For) -> None:
        self._bind_elements(node.target, node.iter)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self._bind_elements(node.target, node.iter)

    def visit_Call(self, node: cst.Call) -> None:
        """``map(lambda d: d.value, shape)``."""
        match node:
            case cst.Call(
                func=cst.Name("map" | "filter"),
                args=[cst.Arg(value=cst.Lambda(params=parameters)), *values],
            ):
                for parameter, its in zip(parameters.params, values, strict=False):
                    self.names[parameter].append(Bound(its.value, ("element",)))
            case _:
                pass

    def visit_WithItem(self, node: cst.WithItem) -> None:
        if node.asname is not None:
            self._bind(node.asname.name, node.item, "entered")

    def _bind(self, target: cst.CSTNode, value: cst.BaseExpression, *steps: str) -> None:
        if isinstance(target, cst.Name):
            self.names[target].append(Bound(value, steps))
        elif isinstance(target, cst.Attribute):
            if name := get_full_name_for_node(target):
                self.attributes[name].append(Bound(value, steps))
        elif isinstance(target, cst.Tuple | cst.List):
            targets = [one.value for one in target.elements]
            if isinstance(value, cst.Tuple | cst.List) and not steps:
                values = [one.value for one in value.elements]
                if len(values) == len(targets):
                    for one, its in zip(targets, values, strict=True):
                        self._bind(one, its)
                    return
            for element in target.elements:
                step = "rest" if isinstance(element, cst.StarredElement) else "element"
                self._bind(element.value, value, *steps, step)

    def _bind_elements(self, target: cst.BaseExpression, values: cst.BaseExpression) -> None:
        if (
            isinstance(target, cst.Tuple)
            and isinstance(values, cst.Call)
            and isinstance(values.func, cst.Name)
        ):
            targets = [one.value for one in target.elements]
            given = [one.value for one in values.args]
            if values.func.value == "zip" and len(targets) == len(given):
                for one, its in zip(targets, given, strict=True):
                    self._bind(one, its, "element")
                return
            if values.func.value == "enumerate" and len(targets) == 2:
                self._bind(targets[0], cst.Integer("0"))
                self._bind(targets[1], given[0], "element")
                return
        self._bind(target, values, "element")
