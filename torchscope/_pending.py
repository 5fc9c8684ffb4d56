"""Values that were loaded for variables nobody has asked for yet; knows of no module.

In: a state dict, or `torchscope.checkpoint.load`, before the first pass of a store. Out: each
value, once, to the variable or the module that is made under its name; and, when the first pass
has ended, what is to be said of values that nobody took and of variables that got none.
"""

import copy
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from . import _names


class Terms:
    """On which terms values were loaded: those of ``load_state_dict``.

    `torchscope.checkpoint.load` has terms of its own, a subclass.
    """

    exact = False  # whether a dtype that would lose something is refused
    optional: frozenset[str] = frozenset()  # keys that nobody need ask for

    def cover(self, name: str) -> bool:
        """Whether a variable ``name`` for which there is no value lacks one."""
        return True

    def idle(self, names: Collection[str]) -> list[str]:
        """What the values were meant for, scopes and names, that ``names`` are not in."""
        return []

    def below(self, full_name: str) -> "Terms":
        """The same for what is kept under ``full_name``."""
        return self

    def after(self, earlier: "Terms") -> "Terms":
        """These terms, for values that come on top of values loaded on ``earlier`` ones."""
        return self


class Pending:
    """The values, by state-dict key, and how they were loaded."""

    __slots__ = ("assign", "lacking", "strict", "terms", "values")

    def __init__(self) -> None:
        self.values: dict[str, torch.Tensor] = {}
        self.strict = self.assign = False
        self.terms = Terms()
        # Variables made since then for which there was no value; None if nothing was loaded.
        self.lacking: list[str] | None = None

    @property
    def nothing(self) -> bool:
        """Whether nothing was loaded, so nothing can be missed."""
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
        """Keep ``values`` beside those that are there."""
        terms = terms or Terms()
        self.terms = terms.after(self.terms) if self.values and values else terms
        self.values.update(values)
        self.strict, self.assign, self.lacking = strict, assign, []

    def copy(self) -> "Pending":
        """The same, to go on from separately."""
        other = copy.copy(self)
        other.values = dict(self.values)
        other.lacking = None if self.lacking is None else list(self.lacking)
        return other

    def apply(self, fn: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Move what is to be kept as it is; the rest is moved when it is taken."""
        if self.assign:
            self.values = {
                key: fn(value) if isinstance(value, torch.Tensor) else value
                for key, value in self.values.items()
            }

    def key(self, full_name: object) -> str | None:
        """The key of the value for ``full_name``, whichever way it is spelled; None without one."""
        if self.values and isinstance(full_name, str):
            for key in (_names.escape(full_name), full_name):
                if key in self.values:
                    return key
        return None

    def lack(self, full_name: str) -> None:
        """Note that a variable was made for which nothing was loaded."""
        if self.lacking is not None and self.terms.cover(full_name):
            self.lacking.append(full_name)

    def drop(self, full_name: str) -> None:
        """Forget the value for ``full_name``, if there is one: it was taken, or is not wanted."""
        self.values.pop(self.key(full_name) or "", None)

    def below(self, full_name: str) -> dict[str, tuple[str, torch.Tensor]]:
        """What was loaded for names below ``full_name``: key -> the name there, and the value.

        A state dict spells what is below a module with a dot, a checkpoint with a slash: such a
        name begins with ``/`` here.
        """
        dotted = f"{_names.escape(full_name)}.", f"{full_name}."
        slashed = f"{full_name}/".replace(".", "%2E")
        below: dict[str, tuple[str, torch.Tensor]] = {}
        for key, value in self.values.items():
            if key.startswith(slashed):
                below[key] = key[len(slashed) - 1 :], value
            for spelled in dotted:
                if key.startswith(spelled):
                    below[key] = key.removeprefix(spelled), value
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
        """Forget all: the first pass has ended."""
        self.values.clear()
        self.lacking = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def strictness() -> bool:
    """What ``load_state_dict`` was told, perhaps that of a module around: torch passes on True."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not nn.Module.load_state_dict.__code__:
        frame = frame.f_back
    return frame is None or bool(frame.f_locals["strict"])
