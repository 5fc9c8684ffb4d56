"""Where a finder of leftovers is in a module, and how it reports one; knows none itself."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

from ._kinds import TENSORS, Kind, Reader
from ._names import Bound, Names

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


class Finder(cst.CSTVisitor):
    """Visits a module, and knows which function it is in.

    Attributes:
        found: what a class derived from this reported.
    """

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

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._functions.append(node)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._functions.pop()

    # ---- what is what ----------------------------------------------------------------------------

    def _made(self, node: cst.BaseExpression) -> list[cst.Call]:
        """The call that an expression is, or those that it is bound to."""
        values = (node, *(bound.value for bound in self._bound(node)))
        return [one for one in values if isinstance(one, cst.Call)]

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
