"""Values that were loaded for variables not asked for yet; knows no module.

In: a state dict, or `torchscope.checkpoint.load`, before the first pass of a store. Out: each
value, once, to the variable or the module that is made under its name; and, when the first pass
has ended, a report of values that were not used and of variables that got none.
"""

import copy
import sys
from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from torch import nn

from . import _names


class Terms:
    """How strictly loaded values must fit: the rules of ``load_state_dict``.

    `torchscope.checkpoint.load` has rules of its own, a subclass.
    """

    exact = False  # whether a dtype that would lose precision is refused
    optional: frozenset[str] = frozenset()  # keys that may stay unused

    def cover(self, name: str) -> bool:
        """Whether it is an error if there is no value for a variable ``name``."""
        return True

    def idle(self, names: Collection[str]) -> list[str]:
        """The scopes and names that values were meant for, but that none of ``names`` is in."""
        return []

    def below(self, full_name: str) -> "Terms":
        """The same for the module under ``full_name``."""
        return self

    def after(self, earlier: "Terms") -> "Terms":
        """These rules, for values that are added to values loaded under ``earlier`` ones."""
        return self


class Pending:
    """The values, by state-dict key, and how they were loaded."""

    __slots__ = ("assign", "lacking", "strict", "terms", "values")

    def __init__(self) -> None:
        self.values: dict[str, torch.Tensor] = {}
        self.strict = self.assign = False
        self.terms = Terms()
        # Variables made since the load for which there was no value; None if nothing was loaded.
        self.lacking: list[str] | None = None

    @property
    def nothing(self) -> bool:
        """Whether nothing was loaded, so nothing can be missing."""
        return self.lacking is None and not self.values

    @property
    def owed(self) -> bool:
        """Whether a value waits that somebody has to ask for."""
        return any(key not in self.terms.optional for key in self.values)

    def hold(
        self,
        values: Mapping[str, torch.Tensor],
        strict: bool,
        assign: bool = False,
        terms: Terms | None = None,
    ) -> None:
        """Add ``values`` to those that wait already."""
        terms = terms or Terms()
        self.terms = terms.after(self.terms) if self.values and values else terms
        self.values.update(values)
        self.strict, self.assign, self.lacking = strict, assign, []

    def copy(self) -> "Pending":
        """An independent copy."""
        other = copy.copy(self)
        other.values = dict(self.values)
        other.lacking = None if self.lacking is None else list(self.lacking)
        return other

    def apply(self, fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Apply ``fn`` to values that will be assigned; others are moved when they are used."""
        if self.assign:
            self.values = {
                key: fn(value) if isinstance(value, torch.Tensor) else value
                for key, value in self.values.items()
            }

    def key(self, full_name: object) -> str | None:
        """The key of the value for ``full_name``, in either spelling; None if there is none."""
        if self.values and isinstance(full_name, str):
            for key in (_names.escape(full_name), full_name):
                if key in self.values:
                    return key
        return None

    def lack(self, full_name: str) -> None:
        """Note that a variable was made for which nothing was loaded."""
        if self.lacking is not None and self.terms.cover(full_name):
            self.lacking.append(full_name)

    def below(self, full_name: str) -> dict[str, tuple[str, torch.Tensor]]:
        """What was loaded for names below ``full_name``: key -> the name there, and the value.

        A state dict writes a dot after a module's name, a checkpoint a slash: names from a
        checkpoint begin with ``/`` here.
        """
        own, plain = f"{_names.escape(full_name)}.", f"{full_name}."
        # What is spelled as it is here; else the other spelling, which may be another module's.
        dotted = own if any(key.startswith(own) for key in self.values) else plain
        slashed = f"{full_name}/".replace(".", "%2E")
        below: dict[str, tuple[str, torch.Tensor]] = {}
        for key, value in self.values.items():
            if key.startswith(slashed):
                below[key] = key[len(slashed) - 1 :], value
            if key.startswith(dotted):
                below[key] = key.removeprefix(dotted), value
        return below

    def finish(self, made: Iterable[str]) -> str:
        """What did not fit the names ``made``, in a sentence or more; "" if all did.

        Names of modules end in a slash.
        """
        left = [_names.unescape(key) for key in self.values if key not in self.terms.optional]
        lacking = self.lacking if self.strict and self.lacking else []
        told = (
            ("was for names that the first pass did not make", self.terms.idle(list(made))),
            ("holds names that the first pass did not ask for", left),
            ("lacks names that the first pass made", lacking),
        )
        return "".join(
            f" It {problem}: {', '.join(map(repr, names))}." for problem, names in told if names
        )

    def clear(self) -> None:
        """Forget everything: the first pass has ended."""
        self.values.clear()
        self.lacking = None


def strictness() -> bool:
    """The ``strict`` of the ``load_state_dict`` that runs: torch passes True to inner modules."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not nn.Module.load_state_dict.__code__:
        frame = frame.f_back
    return frame is None or bool(frame.f_locals["strict"])
