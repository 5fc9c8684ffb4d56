"""Which names of a source are loaded, and under which names; knows names, but no tensors."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from torchscope._errors import CheckpointError
from torchscope._names import unescape

# TensorFlow's forms, as a mapping or as pairs, and regular expressions.
AssignmentMap: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
Pair: TypeAlias = tuple[str, str]


def split(assignment_map: AssignmentMap | None) -> tuple[list[Pair] | None, list[Any]]:
    """TensorFlow's pairs, None if there are none, and the pairs that begin with a pattern."""
    if assignment_map is None:
        return None, []
    given: Any = assignment_map
    if isinstance(assignment_map, Mapping):
        given = cast("Mapping[Any, Any]", assignment_map).items()
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"assignment_map is a mapping or pairs of names, not {given!r}.")
    pairs: list[Pair] = []
    patterns: list[tuple[re.Pattern[str], str | None]] = []
    for pair in cast("Iterable[Any]", given):
        if not isinstance(pair, tuple | list) or len(cast("Any", pair)) != 2:
            raise TypeError(f"assignment_map takes pairs (name there, name here), not {pair}.")
        there, here = cast("tuple[Any, Any]", pair)
        if isinstance(there, re.Pattern) and (here is None or isinstance(here, str)):
            patterns.append((cast("re.Pattern[str]", there), here))
        elif isinstance(there, str) and isinstance(here, str):
            if there.endswith("/") != here.endswith("/"):
                problem = f"assignment_map maps a scope and a variable: {there!r}: {here!r}."
                raise CheckpointError(None, f"{problem} {_scope_to_scope(there, here)}")
            pairs.append((there, here))
        else:
            raise TypeError(
                "assignment_map maps names to names, 'there/': 'here/' or 'there/w': 'here/w', and "
                f"re.compile(pattern) to a replacement or None, not {there!r} to {_said(here)}."
            )
    pairs.sort(key=lambda pair: pair[0])  # as TensorFlow does: where two meet, the later one holds
    return (pairs or None) if patterns else pairs, patterns


def _scope_to_scope(there: str, here: str) -> str:
    return f"A scope is mapped to a scope: {there.rstrip('/') + '/'!r}: {here.rstrip('/') + '/'!r}."


def _said(value: Any) -> str:
    """``value`` for a message, which should not print all numbers of a variable."""
    if hasattr(value, "shape"):
        return f"a {type(value).__name__}: give its name, store.name_of(variable)"
    return repr(value)


def renamed(names: Iterable[str], patterns: list[Any]) -> dict[str, str | None]:
    """What each name becomes by ``re.sub`` with each pattern in turn; None if it is left out.

    If a renamed one and an existing one collide, the renamed one wins.
    """
    result: dict[str, str | None] = {}
    taken: dict[str, str] = {}
    for name in names:
        new: str | None = name
        for pattern, replacement in patterns:
            if new is not None and pattern.search(new):
                new = None if replacement is None else _substituted(pattern, replacement, new)
        result[name] = new
        if new is not None and new != name:
            if new in taken:
                problem = f"Both {taken[new]!r} and {name!r} would be loaded as {new!r}"
                raise CheckpointError(None, f"{problem}: change the patterns.")
            taken[new] = name
    return {name: None if new == name and name in taken else new for name, new in result.items()}


def _substituted(pattern: re.Pattern[str], replacement: str, name: str) -> str:
    try:
        return pattern.sub(replacement, name)
    except (re.error, IndexError) as error:
        problem = f"{replacement!r} cannot replace {pattern.pattern!r}: {error}."
        raise CheckpointError(None, problem) from error


def by_pairs(pairs: list[Pair], here: Iterable[str], *, lenient: bool) -> dict[str, str]:
    """Which name here (in the store) takes which name there (in the source).

    As ``tf.train.init_from_checkpoint`` has it: ``"a/": "b/"`` gives every variable below ``b``
    what has the same name below ``a``, ``"/"`` is the root, ``"a/w": "b/w"`` is one variable.

    Args:
        pairs: names there and here.
        here: the names here.
        lenient: whether a name may be unknown here yet.

    Raises:
        CheckpointError: a name is not here.
    """
    result: dict[str, str] = {}
    names = dict.fromkeys(here)
    for there, target in pairs:
        if not there.endswith("/"):
            if target in names:
                result[target] = there
            if target in names or lenient:
                continue
            problem = f"assignment_map: there is no variable {target!r} here to take {there!r}."
            if any(name.startswith(target + "/") for name in names):
                problem += f" {_scope_to_scope(there, target)}"
            raise CheckpointError(target, problem)
        scope = "" if target == "/" else target
        below = [name for name in names if name.startswith(scope)]
        if not below and not lenient:
            raise CheckpointError(target, f"assignment_map: there is no scope {target!r} here.")
        prefix = "" if there == "/" else there
        result.update({name: prefix + name[len(scope) :] for name in below})
    return result


def by_pairs_reversed(pairs: list[Pair], there: Iterable[str]) -> dict[str, str]:
    """As `by_pairs`, for the names that are there, where those here are not known yet."""
    result: dict[str, str] = {}
    names = list(there)
    for key, target in pairs:
        if not key.endswith("/"):
            result[target] = key
            continue
        prefix, scope = ("" if end == "/" else end for end in (key, target))
        found = {scope + name[len(prefix) :]: name for name in names if name.startswith(prefix)}
        if not found:
            raise CheckpointError(key, f"assignment_map: there is nothing below {key!r} there.")
        result.update(found)
    return result


def spelt_as_keys(names: Iterable[str]) -> dict[str, str]:
    """What a store calls each name -> the name, where a state dict may spell it otherwise.

    A state dict has ``h0.attn/w`` for ``h0/attn/w`` where ``h0`` is a block, ``/keys`` for
    ``keys`` and ``v%2E1`` for ``v.1``. In a file that was converted from TensorFlow's, a dot may
    be the name's own.
    """
    listed = list(names)
    spelt = {"/".join(map(unescape, name.split("."))): name for name in listed}
    return {**spelt, **{name: name for name in listed}}
