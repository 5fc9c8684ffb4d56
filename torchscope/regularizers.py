# ruff: noqa: N801  - TensorFlow's names
"""Losses that keep weights small: ``Tensor -> scalar``; knows no variables, names or scopes.

The names, arguments and numbers are those of TensorFlow 1's ``tf.contrib.layers``. Where there is
nothing to add to the loss, a regularizer returns None; a tuple means several losses.
"""

from collections.abc import Callable
from numbers import Integral, Real
from typing import TypeAlias

import torch

Regularizer: TypeAlias = Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...] | None]


def no_regularizer(_: torch.Tensor) -> None:
    """Add nothing: for one variable in a scope that has a regularizer.

    >>> no_regularizer(torch.ones(3)) is None
    True
    """


class _Scaled:
    """A penalty times a scale; an exact 0.0 switches it off."""

    def __init__(self, scale: float | torch.Tensor, scope: str | None = None) -> None:
        self.scale = _checked(scale)

    def __call__(self, weights: torch.Tensor) -> torch.Tensor | None:
        # Only a number is compared: comparing a tensor would wait for its device.
        if isinstance(self.scale, float) and self.scale == 0.0:
            return None
        if not isinstance(weights, torch.Tensor):
            raise TypeError(f"{type(self).__name__} takes a tensor, not {weights!r}.")
        return self._penalty(weights) * self.scale

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scale!r})"

    def _penalty(self, weights: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def _checked(scale: float | torch.Tensor) -> float | torch.Tensor:
    if isinstance(scale, torch.Tensor):
        return scale
    if isinstance(scale, Integral):
        raise ValueError(f"scale cannot be an integer: {scale!r}. Write {float(scale)}.")
    if not isinstance(scale, Real):
        raise TypeError(f"scale must be a float, not {scale!r}.")
    if scale < 0:
        raise ValueError(f"scale cannot be negative: {scale!r}.")
    return float(scale)  # numpy's numbers too: torch.compile would take them for inputs.


class l1_regularizer(_Scaled):
    """``scale`` times the sum of the absolute values.

    >>> l1_regularizer(0.5)(torch.tensor([3.0, -4.0]))
    tensor(3.5000)

    Args:
        scale: a float, or a scalar tensor; 0.0 switches the regularizer off.
        scope: accepted and ignored: TensorFlow names an operation with it.

    Raises:
        ValueError: the scale is negative or an integer.
        TypeError: the scale is not a number.
    """

    def _penalty(self, weights: torch.Tensor) -> torch.Tensor:
        return weights.abs().sum()


class l2_regularizer(_Scaled):
    """``scale`` times half the sum of the squares.

    >>> l2_regularizer(0.5)(torch.tensor([3.0, -4.0]))
    tensor(6.2500)

    Args:
        scale: a float, or a scalar tensor; 0.0 switches the regularizer off.
        scope: accepted and ignored: TensorFlow names an operation with it.

    Raises:
        ValueError: the scale is negative or an integer.
        TypeError: the scale is not a number.
    """

    def _penalty(self, weights: torch.Tensor) -> torch.Tensor:
        return weights.square().sum() / 2


class l1_l2_regularizer:
    """The sum of :class:`l1_regularizer` and :class:`l2_regularizer`.

    >>> l1_l2_regularizer(0.5, 0.5)(torch.tensor([3.0, -4.0]))
    tensor(9.7500)

    Args:
        scale_l1: a float, or a scalar tensor; 0.0 leaves the absolute values out.
        scale_l2: a float, or a scalar tensor; 0.0 leaves the squares out.
        scope: accepted and ignored: TensorFlow names an operation with it.

    Raises:
        ValueError: a scale is negative or an integer.
        TypeError: a scale is not a number.
    """

    def __init__(
        self,
        scale_l1: float | torch.Tensor = 1.0,
        scale_l2: float | torch.Tensor = 1.0,
        scope: str | None = None,
    ) -> None:
        self.l1 = l1_regularizer(scale_l1)
        self.l2 = l2_regularizer(scale_l2)

    def __call__(self, weights: torch.Tensor) -> torch.Tensor | None:
        l1, l2 = self.l1(weights), self.l2(weights)
        if l1 is None or l2 is None:
            return l2 if l1 is None else l1
        return l1 + l2

    def __repr__(self) -> str:
        return f"l1_l2_regularizer({self.l1.scale!r}, {self.l2.scale!r})"
