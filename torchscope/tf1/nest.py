"""tf.nest: structures of lists, tuples and dicts; knows no tensors.

Anything else is a leaf: a tensor, a string, None, and a shape, although that is a tuple.  A dict's
values come in the order of its sorted keys.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from . import _missing

__all__ = [
    "assert_same_structure",
    "flatten",
    "is_nested",
    "is_sequence",
    "map_structure",
    "pack_sequence_as",
]

__getattr__ = _missing.of("tf.nest")


def is_nested(seq: Any) -> bool:
    """Whether it is a list, a tuple (named or not) or a dict.

    Torch: ``not torch.utils._pytree.tree_is_leaf(x)``, which is private.
    """
    return isinstance(seq, (list, Mapping)) or type(seq) is tuple or hasattr(seq, "_fields")


is_sequence = is_nested  # its name in tf.contrib.framework.nest


def flatten(structure: Any) -> list[Any]:
    """The leaves in order; a single leaf gives a list of it.

    Torch: ``torch.utils._pytree.tree_leaves``, which takes a dict in its own order.

    >>> flatten({"b": (1, 2), "a": [3]})
    [3, 1, 2]
    """
    if not is_nested(structure):
        return [structure]
    return [leaf for part in _parts(structure) for leaf in flatten(part)]


def pack_sequence_as(structure: Any, flat_sequence: Any) -> Any:
    """The leaves in a structure like the given one: the inverse of ``flatten``.

    Torch: ``torch.utils._pytree.tree_unflatten``.

    >>> pack_sequence_as((0, [0, 0]), [1, 2, 3])
    (1, [2, 3])

    Raises:
        ValueError: too few or too many leaves.
        TypeError: ``flat_sequence`` is not a list or tuple.
    """
    if not isinstance(flat_sequence, (list, tuple)):
        raise TypeError(f"pack_sequence_as(): flat_sequence is a list, not {flat_sequence!r}.")
    leaves = list(cast("list[Any]", flat_sequence))
    if len(leaves) == 1 and not is_nested(structure):
        return leaves[0]
    if len(leaves) != len(wanted := flatten(structure)):
        raise ValueError(
            f"pack_sequence_as(): the structure has {len(wanted)} leaves, flat_sequence"
            f" {len(leaves)}."
        )
    return _packed(structure, iter(leaves))


def map_structure(func: Callable[..., Any], *structure: Any, check_types: bool = True) -> Any:
    """A structure of the results of ``func``, called with the leaves at the same place in each.

    Torch: ``torch.utils._pytree.tree_map``.

    >>> map_structure(lambda a, b: a + b, [1, (2,)], [10, (20,)])
    [11, (22,)]

    Raises:
        ValueError: the structures differ, or there is none.
        TypeError: ``func`` is not callable; a list in one is a tuple in another.
    """
    if not callable(func):
        raise TypeError(f"map_structure(): func has to be callable, not {func!r}.")
    if not structure:
        raise ValueError("map_structure(): give at least one structure.")
    for other in structure[1:]:
        assert_same_structure(structure[0], other, check_types)
    leaves = [func(*leaves) for leaves in zip(*map(flatten, structure), strict=True)]
    return pack_sequence_as(structure[0], leaves)


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True) -> None:
    """Raise unless two structures differ only in their leaves.

    Torch: compare the results of ``torch.utils._pytree.tree_structure``.

    Args:
        nest1: any structure.
        nest2: another.
        check_types: whether a list and a tuple count as different.

    Raises:
        ValueError: other numbers of parts, other keys, or a leaf in place of a structure.
        TypeError: a list in one is a tuple in the other.
    """
    if is_nested(nest1) != is_nested(nest2):
        raise ValueError(f"The structures {nest1!r} and {nest2!r} are nested differently.")
    if not is_nested(nest1):
        return
    if check_types and type(nest1) is not type(nest2):
        names = f"{type(nest1).__name__} and the other a {type(nest2).__name__}"
        raise TypeError(f"One structure is a {names}: {nest1!r} and {nest2!r}.")
    if _places(nest1) != _places(nest2):
        raise ValueError(f"The structures {nest1!r} and {nest2!r} have different parts.")
    for one, other in zip(_parts(nest1), _parts(nest2), strict=True):
        assert_same_structure(one, other, check_types)


def _parts(structure: Any) -> list[Any]:
    return [structure[place] for place in _places(structure)]


def _places(structure: Any) -> list[Any]:
    if isinstance(structure, Mapping):
        return sorted(cast("Mapping[Any, Any]", structure))
    return list(range(len(structure)))


def _packed(structure: Any, leaves: Iterator[Any]) -> Any:
    if not is_nested(structure):
        return next(leaves)
    parts = [_packed(part, leaves) for part in _parts(structure)]
    if isinstance(structure, Mapping):
        by_key = dict(zip(_places(structure), parts, strict=True))
        return type(structure)((key, by_key[key]) for key in structure)  # type: ignore[call-arg]
    if hasattr(structure, "_fields"):
        return type(structure)(*parts)
    return type(structure)(parts)
