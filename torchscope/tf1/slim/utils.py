"""slim.utils: collections of outputs, and sizes; knows no layer."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

import torchscope as ts
from torchscope.tf1._arguments import ints
from torchscope.tf1.ops.control_flow import cond

__all__ = [
    "channel_dimension",
    "collect_named_outputs",
    "constant_value",
    "convert_collection_to_dict",
    "first_dimension",
    "get_variable_collections",
    "last_dimension",
    "n_positive_integers",
    "smart_cond",
    "static_cond",
    "two_element_tuple",
]

R = TypeVar("R")


def collect_named_outputs(collections: Any, alias: str, outputs: Tensor) -> Tensor:
    """Add a layer's output to collections, under a name; returns it.

    Torch: hooks on modules; ``convert_collection_to_dict`` gives name -> output.
    """
    for key in [collections] if isinstance(collections, str) else collections or ():
        ts.add_to_collection(key, outputs)
        ts.add_to_collection(_aliases(key), (alias.rstrip("/"), outputs))
    return outputs


def convert_collection_to_dict(
    collection: str, clear_collection: bool = False
) -> "OrderedDict[str, Tensor]":
    """Return what was collected under names: name -> output, in the order of collecting.

    Torch: none. Collections end with the pass, so ``clear_collection`` is not needed.
    """
    return OrderedDict(ts.get_collection(_aliases(collection)))


def _aliases(collection: str) -> str:
    """The collection that has the names of another collection's outputs."""
    return f"{collection}: aliases"


def get_variable_collections(variables_collections: Any, name: str) -> Any:
    """Return the collections for one kind of variable: its list in a dict, or the list.

    Torch: none.
    """
    collections: Any = variables_collections
    return collections.get(name) if isinstance(variables_collections, dict) else collections


def last_dimension(shape: Any, min_rank: int = 1) -> int:
    """Return the last size of a shape.

    Torch: ``x.shape[-1]``.

    Raises:
        ValueError: the rank is below ``min_rank``.
    """
    return _dimension(shape, -1, min_rank, "last_dimension")


def first_dimension(shape: Any, min_rank: int = 1) -> int:
    """Return the first size of a shape.

    Torch: ``x.shape[0]``.

    Raises:
        ValueError: the rank is below ``min_rank``.
    """
    return _dimension(shape, 0, min_rank, "first_dimension")


def channel_dimension(shape: Any, data_format: str, min_rank: int = 1) -> int:
    """Return the number of channels: the second size for NC..., else the last.

    Torch: ``x.shape[1]``.

    Raises:
        ValueError: the rank is below ``min_rank``.
    """
    first = data_format == "channels_first" or data_format.startswith("NC")
    return _dimension(shape, 1 if first else -1, min_rank, "channel_dimension")


def _dimension(shape: Any, axis: int, min_rank: int, function: str) -> int:
    if len(shape) < min_rank:
        raise ValueError(f"{function}(): the rank of {list(shape)} is below {min_rank}.")
    return int(shape[axis])


def n_positive_integers(n: int, value: Any) -> tuple[int, ...]:
    """Return n positive ints from one int or a list.

    Torch: ``torch.nn.modules.utils._ntuple``.

    Raises:
        ValueError: another number of them, or one that is not positive.
    """
    sizes = (value,) * n if type(value) is int else ints(value, "n_positive_integers", "value")
    if len(sizes) != n or min(sizes) < 1:
        raise ValueError(f"n_positive_integers(): value={value}; give {n} positive ints.")
    return sizes


def two_element_tuple(int_or_tuple: Any) -> tuple[int, ...]:
    """Return two positive ints from one or two.

    Torch: ``torch.nn.modules.utils._pair``.

    Raises:
        ValueError: it is something else.
    """
    return n_positive_integers(2, int_or_tuple)


def constant_value(value_or_tensor_or_var: Any, dtype: Any = None) -> Any:
    """Return a Python value as it is, and None for a tensor, whose value is not a constant.

    Torch: none.

    Raises:
        ValueError: it is None.
    """
    if value_or_tensor_or_var is None:
        raise ValueError("constant_value(): the value is None.")
    return None if isinstance(value_or_tensor_or_var, Tensor) else value_or_tensor_or_var


def static_cond(pred: Any, fn1: Callable[[], R], fn2: Callable[[], R]) -> R:
    """Call one of two functions, by a bool.

    Torch: ``fn1() if pred else fn2()``.
    """
    return fn1() if pred else fn2()


def smart_cond(pred: Any, fn1: Callable[[], Any], fn2: Callable[[], Any], name: Any = None) -> Any:
    """Call one of two functions, by a bool or a tensor of one.

    Torch: ``fn1() if pred else fn2()``; one branch runs. See ``tf.cond``.
    """
    return cond(pred, fn1, fn2) if isinstance(pred, Tensor) else static_cond(pred, fn1, fn2)
