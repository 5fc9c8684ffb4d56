"""Which scope names a pass has opened, to choose default names; knows names only.

In: the full name of each scope that is opened or left. Out: the first of ``layer``, ``layer_1``,
... that no scope has used. TensorFlow keeps a table of counts, name -> how often opened, and only
ever asks whether a count is zero (tensorflow/python/ops/variable_scope.py, `_VariableScopeStore`).
Leaving a scope that was opened by its name zeroes the counts below it; leaving one that was entered
as an object restores the whole table as it was at entering.

Copying and searching the table, as TensorFlow does, would take time in proportion to all names at
each scope. But a name opened inside a scope nearly always lies below it, and a dict keeps its
order: so the entries after the length at entering are those that the scope has added, and are
popped. Only when a name was opened that is not directly below the current scope
(`variable_scope("a/b")`, or a scope object of another place) must the table be searched or copied:
then it is `scattered`.
"""

from typing import TypeAlias

# What leaving a scope needs: the length of the table at entering; or, for one entered as an
# object, whether the table was scattered then, and its length, or its copy if it is scattered now.
Mark: TypeAlias = "int | tuple[bool, int | dict[str, int | None]]"


class Opened:
    """The names opened, each with the last number that was added to it, if any.

    A scope that continues the current one is counted by `names[full_name] = None`; its mark is the
    length after that (`_opening`, where a call would take too long).
    """

    __slots__ = ("names", "scattered")

    def __init__(self) -> None:
        self.names: dict[str, int | None] = {}
        self.scattered = False

    def enter_object(self, full_name: str, around: list[str]) -> Mark:
        """Count an existing scope that is entered inside those named ``around``."""
        names, before = self.names, self.scattered
        if full_name not in names:  # Its own count stays when it is left.
            names[full_name] = None
            before = before or full_name.rpartition("/")[0] != around[-1]
        # Inside itself, what it opens may lie before the mark.
        self.scattered = before or full_name in around
        return before, dict(names) if self.scattered else len(names)

    def leave(self, full_name: str, mark: Mark) -> None:
        """Undo what the scope has opened; doing it twice is harmless."""
        if isinstance(mark, tuple):
            self.scattered, kept = mark
            if isinstance(kept, dict):
                self.names = dict(kept)
            else:
                self._shorten(kept)
        elif not full_name:
            pass  # TensorFlow zeroes names that begin with this one and a slash: below "", none.
        elif self.scattered:
            self.forget_below(full_name)
        else:
            self._shorten(mark)

    def _shorten(self, length: int) -> None:
        while len(self.names) > length:
            self.names.popitem()

    def forget_below(self, full_name: str) -> None:
        """Zero the counts below ``full_name``."""
        below = full_name + "/"
        self.names = {name: last for name, last in self.names.items() if not name.startswith(below)}

    def unused(self, full_name: str) -> str:
        """``full_name``, or the first of ``full_name_1``, ``full_name_2``, ... not opened yet."""
        names = self.names
        if full_name not in names:
            return full_name
        number = (names[full_name] or 0) + 1
        while (numbered := f"{full_name}_{number}") in names:
            number += 1
        names[full_name] = number
        return numbered

    def copy(self) -> "Opened":
        """The same names, counted separately from now on."""
        other = Opened()
        other.names, other.scattered = dict(self.names), self.scattered
        return other
