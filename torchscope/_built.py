"""The guard of compiled code on a store that was built: one string; knows no tensor.

Dynamo checks, at each call of compiled code, every value that it read while tracing, which would be
the spec of every variable. So for a store that was built it reads one string, the digest of all
names and specs, and treats what follows from that as a constant: `as_built`. Equal blocks
have the same digest, so code compiled for one serves all.
"""

import hashlib
from typing import Any
from weakref import WeakValueDictionary

from ._declaration import Spec
from ._dynamo import constant


class Built:
    """What a store held when it was built; one object for all stores that were built alike."""

    def __init__(self, digest: str, specs: dict[str, Spec]) -> None:
        self.digest, self.specs = digest, specs

    def __deepcopy__(self, memo: dict[int, Any]) -> "Built":
        return self

    def __reduce__(self) -> Any:
        return built_as, (self.specs,)


_alike: WeakValueDictionary[str, Built] = WeakValueDictionary()


def built_as(specs: dict[str, Spec]) -> Built:
    """The one object for all stores that hold ``specs``, which must not change from now on."""
    lines = "".join(f"{name} {spec}\n" for name, spec in specs.items())
    key = hashlib.blake2b(lines.encode()).hexdigest()
    return _alike.setdefault(key, Built(key, specs))


@constant
def as_built(digest: str, full_name: str) -> Spec | None:
    """The spec of a variable in the stores that were built alike."""
    built = _alike.get(digest)
    return None if built is None else built.specs.get(full_name)


class AsBuilt:
    """Where a traced pass looks specs up, by full name."""

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def get(self, full_name: str) -> Spec | None:
        """The spec; None for a variable made after the build."""
        return as_built(self.digest, full_name)
