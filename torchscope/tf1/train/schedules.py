"""Learning rates as functions of the step; they know no optimizer.

A rate is computed once: give an optimizer ``learning_rate=lambda: ...`` to have it computed at
each step. A step that is a number gives a number, a tensor a float32 tensor.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._convert import name_of, tensor

__all__ = [
    "cosine_decay",
    "cosine_decay_restarts",
    "exponential_decay",
    "inverse_time_decay",
    "linear_cosine_decay",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
]

Number = Any  # an int, a float or a tensor of one


def exponential_decay(
    learning_rate: Number,
    global_step: Number,
    decay_steps: Number,
    decay_rate: Number,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """``learning_rate * decay_rate ** (global_step / decay_steps)``.

    >>> from torchscope.tf1 import train
    >>> train.exponential_decay(0.1, 5, decay_steps=10, decay_rate=0.25)
    0.05

    Torch: ``lr_scheduler.ExponentialLR(gamma=decay_rate)``, for ``decay_steps=1``.

    Args:
        learning_rate: the rate at step 0.
        global_step: an int, or an integer tensor.
        decay_steps: how many steps one decay takes.
        decay_rate: the factor of one decay.
        staircase: whether to decay only after every ``decay_steps``.
        name: accepted, as TensorFlow's.

    Raises:
        ValueError: ``global_step`` is None.
    """
    return learning_rate * decay_rate ** _periods(global_step, decay_steps, staircase)


def natural_exp_decay(
    learning_rate: Number,
    global_step: Number,
    decay_steps: Number,
    decay_rate: Number,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """``learning_rate * exp(-decay_rate * global_step / decay_steps)``.

    Arguments as for ``exponential_decay``.

    Torch: none by itself.
    """
    return learning_rate * _exp(-decay_rate * _periods(global_step, decay_steps, staircase))


def inverse_time_decay(
    learning_rate: Number,
    global_step: Number,
    decay_steps: Number,
    decay_rate: Number,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """``learning_rate / (1 + decay_rate * global_step / decay_steps)``.

    Arguments as for ``exponential_decay``.

    Torch: none by itself.
    """
    return learning_rate / (1 + decay_rate * _periods(global_step, decay_steps, staircase))


def piecewise_constant(
    x: Number, boundaries: Sequence[Number], values: Sequence[Number], name: str | None = None
) -> Any:
    """One of ``values``: the first up to and including the first boundary, and so on.

    >>> from torchscope.tf1 import train
    >>> [train.piecewise_constant(step, [5, 10], [0.3, 0.2, 0.1]) for step in (0, 5, 6, 11)]
    [0.3, 0.3, 0.2, 0.1]

    Torch: ``lr_scheduler.MultiStepLR``, where a boundary belongs to the piece after it.

    Args:
        x: the step.
        boundaries: in ascending order.
        values: one more than boundaries.
        name: accepted, as TensorFlow's.

    Raises:
        ValueError: the lengths do not fit; boundaries of another dtype than ``x``, or values of
            several dtypes; ``x`` is not one number.
    """
    if len(boundaries) != len(values) - 1:
        raise ValueError(
            f"piecewise_constant(): {len(boundaries)} boundaries need {len(boundaries) + 1} values,"
            f" not {len(values)}."
        )
    step = tensor(x, function="piecewise_constant", argument="x")
    edges = [tensor(boundary, device=step.device) for boundary in boundaries]
    rates = [tensor(value, device=step.device) for value in values]
    if step.ndim:
        raise ValueError(f"piecewise_constant(): x has to be one number, not {list(step.shape)}.")
    fitting = (torch.int32, torch.int64) if step.dtype is torch.int64 else (step.dtype,)
    if any(edge.dtype not in fitting for edge in edges):
        raise ValueError(
            f"piecewise_constant(): x is {name_of(step.dtype)}, and so have to be the boundaries,"
            f" not {list(boundaries)}."
        )
    if len({rate.dtype for rate in rates}) > 1:
        raise ValueError(f"piecewise_constant(): values have to be of one dtype: {list(values)}.")
    passed = [edge < step for edge in edges]
    if not isinstance(x, Tensor):
        return values[sum(map(bool, passed))]
    return torch.stack(rates)[torch.stack(passed).sum()] if passed else rates[0]


piecewise_constant_decay = piecewise_constant


def polynomial_decay(
    learning_rate: Number,
    global_step: Number,
    decay_steps: Number,
    end_learning_rate: Number = 0.0001,
    power: Number = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Any:
    """From ``learning_rate`` to ``end_learning_rate`` in ``decay_steps``, by a polynomial.

    Torch: ``lr_scheduler.PolynomialLR``, which ends at 0.

    Args:
        learning_rate: the rate at step 0.
        global_step: an int, or an integer tensor.
        decay_steps: how many steps it takes.
        end_learning_rate: the final rate.
        power: of the polynomial.
        cycle: whether to begin again, each time over more steps, instead of staying there.
        name: accepted, as TensorFlow's.

    Raises:
        ValueError: ``global_step`` is None.
    """
    periods = _periods(global_step, decay_steps)
    # At step 0 one cycle is counted, as in TensorFlow.
    share = periods / _at_least(1, _ceil(periods)) if cycle else _at_most(1.0, periods)
    return (learning_rate - end_learning_rate) * (1 - share) ** power + end_learning_rate


def cosine_decay(
    learning_rate: Number,
    global_step: Number,
    decay_steps: Number,
    alpha: Number = 0.0,
    name: str | None = None,
) -> Any:
    """From ``learning_rate`` to ``alpha`` of it in ``decay_steps``, by half a cosine.

    Torch: ``lr_scheduler.CosineAnnealingLR``, which goes up again.

    Args:
        learning_rate: the rate at step 0.
        global_step: an int, or an integer tensor.
        decay_steps: how many steps it takes.
        alpha: the final rate, as a fraction of the first.
        name: accepted, as TensorFlow's.

    Raises:
        ValueError: ``global_step`` is None.
    """
    share = _at_most(1.0, _periods(global_step, decay_steps))
    return learning_rate * ((1 - alpha) * _half_cosine(share) + alpha)


def cosine_decay_restarts(
    learning_rate: Number,
    global_step: Number,
    first_decay_steps: Number,
    t_mul: Number = 2.0,
    m_mul: Number = 1.0,
    alpha: Number = 0.0,
    name: str | None = None,
) -> Any:
    """``cosine_decay`` repeatedly, each time over ``t_mul`` times as many steps.

    Torch: ``lr_scheduler.CosineAnnealingWarmRestarts``.

    Args:
        learning_rate: the rate at step 0.
        global_step: an int, or an integer tensor.
        first_decay_steps: how many steps the first decay takes.
        t_mul: what the number of steps is multiplied by at each restart.
        m_mul: what the rate is multiplied by at each restart.
        alpha: the rate where a decay ends, as a fraction of its first.
        name: accepted, as TensorFlow's.

    Raises:
        ValueError: ``global_step`` is None.
    """
    periods = _periods(global_step, first_decay_steps)
    if t_mul == 1:
        restarts = _floor(periods)
        share = periods - restarts
    else:  # Restarts lie at 1, 1 + t_mul, 1 + t_mul + t_mul**2, ...
        restarts = _floor(_log(1 - periods * (1 - t_mul)) / math.log(t_mul))
        begun = (1 - t_mul**restarts) / (1 - t_mul)
        share = (periods - begun) / t_mul**restarts
    return learning_rate * ((1 - alpha) * m_mul**restarts * _half_cosine(share) + alpha)


def linear_cosine_decay(
    learning_rate: Number,
    global_step: Number,
    decay_steps: Number,
    num_periods: Number = 0.5,
    alpha: Number = 0.0,
    beta: Number = 0.001,
    name: str | None = None,
) -> Any:
    """A line to zero times a cosine (Bello et al.).

    Torch: none by itself.

    Args:
        learning_rate: the rate at step 0.
        global_step: an int, or an integer tensor.
        decay_steps: how many steps it takes.
        num_periods: of the cosine.
        alpha: added to the line.
        beta: added to the product.
        name: accepted, as TensorFlow's.

    Raises:
        ValueError: ``global_step`` is None.
    """
    share = _at_most(1.0, _periods(global_step, decay_steps))
    cosine = _half_cosine(2 * num_periods * share)
    return learning_rate * ((alpha + 1 - share) * cosine + beta)


def noisy_linear_cosine_decay(
    learning_rate: Number,
    global_step: Number,
    decay_steps: Number,
    initial_variance: Number = 1.0,
    variance_decay: Number = 0.55,
    num_periods: Number = 0.5,
    alpha: Number = 0.0,
    beta: Number = 0.001,
    name: str | None = None,
) -> Any:
    """``linear_cosine_decay`` with noise that decreases.

    Torch: none by itself.
    """
    share = _at_most(1.0, _periods(global_step, decay_steps))
    steps = share * decay_steps
    noise = float(torch.randn(())) * (initial_variance / (1 + steps) ** variance_decay) ** 0.5
    cosine = _half_cosine(2 * num_periods * share)
    return learning_rate * ((alpha + 1 - share + noise) * cosine + beta)


def _periods(global_step: Number, steps: Number, whole: bool = False) -> Number:
    """How many periods have passed."""
    if global_step is None:
        raise ValueError("A learning rate that decays needs a global_step.")
    if isinstance(global_step, Tensor):
        global_step = global_step.to(torch.float32)
    periods = global_step / steps
    return _floor(periods) if whole else periods


def _half_cosine(share: Number) -> Number:
    """From 1 at 0 to 0 at 1."""
    angle = math.pi * share
    return 0.5 * (1 + (angle.cos() if isinstance(angle, Tensor) else math.cos(angle)))


def _floor(x: Number) -> Number:
    return x.floor() if isinstance(x, Tensor) else math.floor(x)


def _ceil(x: Number) -> Number:
    return x.ceil() if isinstance(x, Tensor) else math.ceil(x)


def _exp(x: Number) -> Number:
    return x.exp() if isinstance(x, Tensor) else math.exp(x)


def _log(x: Number) -> Number:
    return x.log() if isinstance(x, Tensor) else math.log(x)


def _at_most(most: float, x: Number) -> Number:
    return x.clamp(max=most) if isinstance(x, Tensor) else min(x, most)


def _at_least(least: float, x: Number) -> Number:
    return x.clamp(min=least) if isinstance(x, Tensor) else max(x, least)
