"""slim's regularizers: torchscope's own, sums of them, and a penalty on a list of weights."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import torchscope as ts

__all__ = [
    "apply_regularization",
    "l1_l2_regularizer",
    "l1_regularizer",
    "l2_regularizer",
    "sum_regularizer",
]

l1_regularizer, l2_regularizer = ts.l1_regularizer, ts.l2_regularizer
l1_l2_regularizer = ts.l1_l2_regularizer

Regularizer = Callable[[Tensor], Any]


def sum_regularizer(
    regularizer_list: Sequence[Regularizer | None], scope: Any = None
) -> Regularizer | None:
    """Make a regularizer that returns the sum of others' losses; None in the list is left out.

    Torch: none.
    """
    regularizers = [regularizer for regularizer in regularizer_list if regularizer is not None]
    return _Sum(regularizers) if regularizers else None


class _Sum:
    def __init__(self, regularizers: list[Regularizer]) -> None:
        self._regularizers = regularizers

    def __call__(self, weights: Tensor) -> Tensor | None:
        losses = [regularizer(weights) for regularizer in self._regularizers]
        losses = [loss for loss in losses if loss is not None]
        return functools.reduce(torch.add, losses) if losses else None


def apply_regularization(regularizer: Regularizer, weights_list: Any = None) -> Tensor:
    """Sum a regularizer's losses for some weights, and add the sum to REGULARIZATION_LOSSES.

    Torch: for example ``sum(p.square().sum() for p in parameters)``.

    Args:
        regularizer: ``f(weights)`` returns a scalar.
        weights_list: tensors; the collection WEIGHTS by default.

    Raises:
        ValueError: there are no weights, or the regularizer does not return a scalar.
    """
    weights: list[Any] = list(weights_list or ts.get_collection(ts.GraphKeys.WEIGHTS))
    if not weights:
        raise ValueError("apply_regularization(): there are no weights; give weights_list.")
    penalties: list[Any] = [regularizer(weight) for weight in weights]
    penalties = [torch.zeros(()) if penalty is None else penalty for penalty in penalties]
    for penalty in penalties:
        if penalty.ndim:
            raise ValueError(
                f"apply_regularization(): {regularizer} returned shape {list(penalty.shape)}, not a"
                " scalar."
            )
    total = functools.reduce(torch.add, penalties)
    ts.add_to_collection(ts.GraphKeys.REGULARIZATION_LOSSES, total)
    return total
