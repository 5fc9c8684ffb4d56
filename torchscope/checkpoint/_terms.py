"""How strictly values that `load` leaves waiting must fit; reads no file."""

from collections.abc import Collection

from torchscope._pending import Terms


class LoadTerms(Terms):
    """Stricter than ``load_state_dict``'s about dtypes, and about parts of a store only."""

    exact = True

    def __init__(self, optional: Collection[str] = (), covers: tuple[str, ...] = ("",)) -> None:
        self.optional = frozenset(optional)
        self.covers = covers  # scopes and names in which each name should have a value

    def cover(self, name: str) -> bool:
        return any(_covers(one, name) for one in self.covers)

    def idle(self, names: Collection[str]) -> list[str]:
        there = {"", *names}
        return [
            one
            for one in self.covers
            if one not in there and not any(_covers(one, n) or _covers(n, one) for n in names)
        ]

    def below(self, full_name: str) -> Terms:
        prefix = f"{full_name}/"
        covers = [one.removeprefix(prefix) for one in self.covers if one.startswith(prefix)]
        covers += [""] if self.cover(prefix) else []
        prefix = prefix.replace(".", "%2E")  # as keys have it
        optional = {key.removeprefix(prefix) for key in self.optional if key.startswith(prefix)}
        return LoadTerms(optional, tuple(covers))

    def after(self, earlier: Terms) -> Terms:
        covers = earlier.covers if isinstance(earlier, LoadTerms) else ("",)
        return LoadTerms(self.optional | earlier.optional, (*covers, *self.covers))


def _covers(scope_or_name: str, name: str) -> bool:
    """Whether ``name`` is that name, or in that scope, which ends in a slash; "" is the root."""
    return name == scope_or_name or (
        name.startswith(scope_or_name) and scope_or_name[-1:] in ("", "/")
    )
