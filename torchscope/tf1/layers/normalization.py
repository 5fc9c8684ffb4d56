"""Batch normalization and its moving averages; knows no collection of updates."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nn
from torchscope.tf1._arguments import axes as axes_of
from torchscope.tf1._convert import Operand, tensor
from torchscope.tf1._weights import buffer, weight
from torchscope.tf1.nn.normalization import normalize, normalize_batch
from torchscope.tf1.updates import apply_or_collect

from ._parts import VARIABLES, check_training, layer_input, layer_scope

__all__ = ["batch_normalization"]

_ZEROS, _ONES = ts.zeros_initializer(), ts.ones_initializer()
_WIDE = (torch.float32, torch.float64)


def batch_normalization(
    inputs: Operand,
    axis: Any = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Any = _ZEROS,
    gamma_initializer: Any = _ONES,
    moving_mean_initializer: Any = _ZEROS,
    moving_variance_initializer: Any = _ONES,
    beta_regularizer: Any = None,
    gamma_regularizer: Any = None,
    beta_constraint: Any = None,
    gamma_constraint: Any = None,
    training: Any = False,
    trainable: bool = True,
    name: Any = None,
    reuse: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_momentum: float = 0.99,
    fused: bool | None = None,
    virtual_batch_size: int | None = None,
    adjustment: Any = None,
) -> Tensor:
    """Normalize each channel by its mean and variance; by those of the batch while training.

    Torch: ``nn.BatchNorm2d(momentum=0.01)``; channels last, not training by default, and the
    averaged variance is unbiased only for images that are not float64 (where TensorFlow's fused
    kernel runs).

    The moving averages are buffers. They are updated at once, as torch's are; with
    ``tf.collect_updates`` updates wait in UPDATE_OPS, as in TensorFlow.

    Args:
        inputs: floats of rank 2 or more; with float16 or bfloat16 the variables are float32.
        axis: of the channels; a list for several.
        momentum: weight of the old averages at each step, 1 - torch's momentum.
        epsilon: added to the variance.
        center: whether ``beta`` is added.
        scale: whether it is multiplied by ``gamma``.
        beta_initializer: zeros by default, as is ``moving_mean_initializer``.
        gamma_initializer: ones by default, as is ``moving_variance_initializer``.
        moving_mean_initializer: of the average mean.
        moving_variance_initializer: of the average variance.
        beta_regularizer: ``f(beta)`` is a loss.
        gamma_regularizer: ``f(gamma)`` is a loss.
        beta_constraint: ``f(beta)`` is what it is set to after an optimizer's step.
        gamma_constraint: likewise for ``gamma``.
        training: whether to normalize by the batch and to update the averages: a bool, or a tensor
            of one. (``ts.is_training()`` follows ``net.train()`` and ``net.eval()``.)
        trainable: False for variables that are not trained, and averages that are never updated.
        name: of the scope; ``batch_normalization``, ``batch_normalization_1``, ... by default.
        reuse: as for ``variable_scope``.
        renorm: batch renormalization, not supported: True is refused, as are its arguments.
        renorm_clipping: as ``renorm``.
        renorm_momentum: as ``renorm``.
        fused: False for the biased variance of images, too.
        virtual_batch_size: as ``renorm``.
        adjustment: as ``renorm``.

    Raises:
        ValueError: an axis out of range, a rank below 2, an argument that is not supported.
        TypeError: the inputs are integers.
    """
    function = "batch_normalization"
    if renorm or virtual_batch_size is not None or adjustment is not None:
        raise ValueError(
            f"{function}(): renorm, virtual_batch_size and adjustment are not supported; leave them"
            " out."
        )
    with layer_scope(name, function, reuse):
        x = layer_input(inputs, function, 2, at_least=True)
        if axis is None:
            raise TypeError(f"{function}(): axis is an int or a list of them, not None.")
        axes = axes_of(axis, x.ndim, function)
        if not axes:
            raise ValueError(f"{function}(): axis={axis}; give one axis at least.")
        shape = [x.shape[a] for a in axes]
        if len(axes) > 1:  # As in TensorFlow: a shape that broadcasts.
            shape = [size if a in axes else 1 for a, size in enumerate(x.shape)]
        dtype = x.dtype if x.dtype in _WIDE else torch.float32
        gamma = beta = None
        if scale:
            settings = gamma_initializer, gamma_regularizer, gamma_constraint
            gamma = weight("gamma", shape, dtype, *settings, trainable)
        if center:
            settings = beta_initializer, beta_regularizer, beta_constraint
            beta = weight("beta", shape, dtype, *settings, trainable)
        mean = buffer("moving_mean", shape, dtype, moving_mean_initializer)
        variance = buffer("moving_variance", shape, dtype, moving_variance_initializer)
        if name is VARIABLES:
            return x
        y, moments = normalized(
            *(x, gamma, beta, mean, variance),
            axes=axes,
            epsilon=epsilon,
            training=training,
            fused=fused is not False and x.ndim == 4 and axes in ((1,), (3,)),
        )
        if trainable and moments is not None:
            move(mean, moments[0], 1 - momentum)
            move(variance, moments[1], 1 - momentum)
        return y


def normalized(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    *,
    axes: tuple[int, ...],
    epsilon: float,
    training: Any,
    fused: bool,
    weights: Any = None,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """The batch normalized, and the mean and variance to be averaged if it is training.

    Args:
        x: of rank 2 or more.
        gamma: [C], or of a shape that broadcasts for several axes.
        beta: likewise.
        mean: the average.
        variance: the average.
        axes: of the channels.
        epsilon: added to the variance.
        training: a bool, or a tensor of one: then both are computed, and one is used.
        fused: as in TensorFlow's fused kernel, whether the variance to be averaged is unbiased.
        weights: [N], how often each example counts; not fused then.
    """
    check_training(training)
    if not isinstance(training, Tensor):
        if training:
            return _by_batch(x, gamma, beta, axes, epsilon, fused, weights)
        # TensorFlow takes None for Keras's learning phase, which is false: updates change nothing.
        moments = (mean, variance) if training is None else None
        return _by_average(x, gamma, beta, mean, variance, axes, epsilon), moments
    y, (batch_mean, batch_variance) = _by_batch(x, gamma, beta, axes, epsilon, fused, weights)
    training = training.to(x.device, torch.bool)
    y = torch.where(training, y, _by_average(x, gamma, beta, mean, variance, axes, epsilon))
    batch_mean = torch.where(training, batch_mean.reshape(mean.shape), mean)
    return y, (batch_mean, torch.where(training, batch_variance.reshape(mean.shape), variance))


def _by_batch(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    axes: tuple[int, ...],
    epsilon: float,
    fused: bool,
    weights: Any,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    if fused and x.dtype is not torch.float64:  # TensorFlow's fused kernel has no float64.
        y, mean, variance = normalize_batch(x, gamma, beta, epsilon, first=axes == (1,))
        count = x.numel() // max(mean.numel(), 1)
        return y, (mean, variance * (count / max(count - 1, 1)))
    others = [axis for axis in range(x.ndim) if axis not in axes]
    wide = x if x.dtype in _WIDE else x.float()
    if weights is None:
        mean, variance = nn.moments(wide, others, keepdims=True)
    else:
        weights = tensor(weights).reshape(-1, *(1,) * (x.ndim - 1))
        if len(weights) != len(x):
            raise ValueError(f"{len(weights)} weights for a batch of {len(x)}.")
        mean, variance = nn.weighted_moments(wide, others, weights, keepdims=True)
    settings = _spread(beta, x, axes), _spread(gamma, x, axes), epsilon
    return nn.batch_normalization(x, mean, variance, *settings), (mean, variance)


def _by_average(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    axes: tuple[int, ...],
    epsilon: float,
) -> Tensor:
    if axes in ((1,), (x.ndim - 1,)):
        return normalize(x, mean, variance, gamma, beta, epsilon, first=axes == (1,))
    # Copied: they may change before gradients are computed.
    mean, variance, beta, gamma = (
        _spread(part, x, axes) for part in (mean.clone(), variance.clone(), beta, gamma)
    )
    return nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)


def _spread(part: Any, x: Tensor, axes: tuple[int, ...]) -> Any:
    """A value for each channel, or None, in a shape that broadcasts to ``x``."""
    if part is None:
        return None
    return part.reshape([size if axis in axes else 1 for axis, size in enumerate(x.shape)])


def move(
    average: Tensor, value: Tensor, share: float, collections: Any = ts.GraphKeys.UPDATE_OPS
) -> None:
    """Move an average towards a value, now or when the collected update is applied."""
    if ts.get_variable_scope().custom_getter is not None:
        try:
            ts.name_of(average)
        except ts.VariableMissingError:
            raise AttributeError(
                "A custom getter returned something other than the variable, and only a variable"
                " can be the average of a batch normalization."
            ) from None
    update = partial(_move, average, value.detach(), share) if value is not average else _nothing
    apply_or_collect(update, collections)


def _move(average: Tensor, value: Tensor, share: float) -> None:
    with torch.no_grad():
        average.lerp_(value.reshape(average.shape).to(average.dtype), share)


def _nothing() -> None:
    """An update that changes nothing."""
