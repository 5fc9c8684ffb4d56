"""Which scope names a pass has opened, to choose default names; knows names only.

In: the full name of each scope that is opened or left. Out: the first of ``layer``, ``layer_1``,
... that no scope has used. TensorFlow keeps a table of counts, name -> how often opened, and only
ever asks whether a count is zero (tensorflow/python/ops/variable_scope.py, `_VariableScopeStore`).
Leaving a scope that was opened by its name zeroes the counts below it; leaving one that was entered
as an object restores the whole table as it was at entering.

Copying and searching the table, as TensorFlow does, would take time in proportion to all names at
each scope. But a name opened inside a scope nearly always lies below it, and a dict keeps its
order: so the entries after the length at entering are those that the scope has added, and are
popped. The table must be searched at leaving ``a`` only if ``a/b`` was opened outside it, by
`variable_scope("a/b")`: then ``a`` is in `scattered`. After that search, or after a scope object of
another place was entered, no length holds any more: then `EVERY` is in it.
"""

from typing import TypeAlias

# What leaving a scope needs: the length of the table at entering; or, for one entered as an
# object, whether the table was scattered then, and its length, or its copy if it is scattered now.
Mark: TypeAlias = "int | tuple[set[str], int | dict[str, int | None]]"
EVERY = ""  # in `scattered`: all names


class Opened:
    """The names opened, each with the last number that was added to it, if any.

    A scope that continues the current one is counted by `names[full_name] = None`; its mark is the
    length after that (`_opening`, where a call would take too long).
    """

    __slots__ = ("names", "scattered")

    def __init__(self) -> None:
        self.names: dict[str, int | None] = {}
        self.scattered: set[str] = set()

    def enter_object(self, full_name: str, around: list[str]) -> Mark:
        """Count an existing scope that is entered inside those named ``around``."""
        names = self.names
        if full_name not in names:  # Its own count stays when it is left.
            names[full_name] = None
            if full_name.rpartition("/")[0] != around[-1]:
                self.scattered.add(EVERY)
        before = set(self.scattered)
        if full_name in around:  # Inside itself, what it opens may lie before the mark.
            self.scattered.add(EVERY)
        return before, dict(names) if self.scattered else len(names)

    def enter_path(self, around: str, path: str) -> None:
        """Note that ``path``, which has a slash, is opened inside the scope ``around``."""
        name = around
        for part in path.split("/")[:-1]:
            name = f"{name}/{part}" if name else part
            self.scattered.add(name)

    def leave(self, full_name: str, mark: Mark) -> None:
        """Undo what the scope has opened; doing it twice is harmless."""
        if isinstance(mark, tuple):
            before, kept = mark
            self.scattered = set(before)
            if isinstance(kept, dict):
                self.names = dict(kept)
            else:
                self._shorten(kept)
        elif not full_name:
            pass  # TensorFlow zeroes names that begin with this one and a slash: below "", none.
        elif EVERY in self.scattered or full_name in self.scattered:
            self.scattered.add(EVERY)
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
        other.names, other.scattered = dict(self.names), set(self.scattered)
        return other
