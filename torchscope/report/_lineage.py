"""What each variable is used with, followed through a pass; knows no scope and no line.

In: every operation of torch while the mode is on. Out: for each variable that was announced, what
its partners in operations were (`Use`): numbers that are equal for equal computations, and the
variables that took part in these. From the two follows whether two variables work one after
the other, on the same input, or side by side on different ones.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary


class Use(NamedTuple):
    """What a variable was used with."""

    partners: frozenset[int]  # the numbers of the other tensors in operations on it
    after: int  # the variables that these were computed from, a bit each


_UNUSED = Use(frozenset(), 0)


class _Line(NamedTuple):
    """Where a tensor comes from."""

    number: int  # equal where the same was computed from the same
    variables: int  # that took part, a bit each: thousands of them are joined at each operation
    only: int | None = None  # the one variable that it was computed from, and from nothing else


class Lineage(TorchDispatchMode):
    """While it is on, follows what is computed from what.

    Args:
        on_parameter: called with each parameter that an operation reads, if nobody announced it.
    """

    def __init__(self, on_parameter: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.uses: dict[int, Use] = {}  # by the id of a variable
        self.bits: dict[int, int] = {}  # what stands for it in `Use.after`
        self._on_parameter = on_parameter
        self._lines: Any = WeakTensorKeyDictionary()  # tensor -> _Line
        self._announced: dict[int, torch.Tensor] = {}  # they are kept alive, or ids would be reused
        self._leaves = 0

    def announce(self, variable: torch.Tensor, role: Hashable) -> None:
        """This tensor is a variable; two of the same role count as the same in a computation."""
        if id(variable) not in self._announced:
            self._announced[id(variable)] = variable
            bit = self.bits[id(variable)] = 1 << len(self.bits)
            self._lines[variable] = _Line(hash(role), bit, id(variable))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # Else torch imports Dynamo, for a second, to keep it away from here.

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._follow(func, tree_leaves((args, kwargs)), tree_leaves(result))
        return result

    def _follow(self, func: Any, leaves: list[Any], results: list[Any]) -> None:
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        lines: list[_Line] = [self._line(tensor) for tensor in tensors]
        self._note_uses(lines)
        variables = _all_of(lines)
        alone = {line.only for line in lines}
        only = alone.pop() if len(alone) == 1 else None
        others = tuple(repr(leaf) for leaf in leaves if not isinstance(leaf, torch.Tensor))
        if not tensors:  # Two random tensors are not the same, and who knows what is random.
            self._leaves += 1
            others = (*others, str(self._leaves))
        number = hash((func, tuple(line.number for line in lines), others))
        for at, result in enumerate(results):
            if isinstance(result, torch.Tensor) and id(result) not in self._announced:
                self._lines[result] = _Line(hash((number, at)), variables, only)

    def _line(self, tensor: torch.Tensor) -> _Line:
        line: _Line | None = self._lines.get(tensor)
        if line is None:
            self._leaves += 1
            line = self._lines[tensor] = _Line(hash(("leaf", self._leaves)), 0)
        if isinstance(tensor, nn.Parameter) and id(tensor) not in self._announced:
            self._on_parameter(tensor)
        return line

    def _note_uses(self, lines: list[_Line]) -> None:
        partners = [line for line in lines if line.only is None]
        if not partners:
            return
        for line in lines:
            if line.only is not None:
                before = self.uses.get(line.only, _UNUSED)
                numbers = before.partners.union(partner.number for partner in partners)
                self.uses[line.only] = Use(numbers, before.after | _all_of(partners))


def _all_of(lines: list[_Line]) -> int:
    """The variables that took part in any of these."""
    variables = 0
    for line in lines:
        variables |= line.variables
    return variables
