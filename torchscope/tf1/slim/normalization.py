"""slim's normalizations: of batches, layers, instances and groups of channels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nn
from torchscope.tf1._arguments import axes as axes_of
from torchscope.tf1._arguments import one_axis
from torchscope.tf1._convert import Operand
from torchscope.tf1._weights import buffer
from torchscope.tf1.layers import normalization as layers
from torchscope.tf1.layers._parts import layer_input
from torchscope.tf1.updates import apply_or_collect

from ._arg_scopes import add_arg_scope
from .core import Activation, finished, is_last
from .variables import layer_variable, model_collections

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm"]

_UPDATE_OPS = ts.GraphKeys.UPDATE_OPS
_FIRST = {
    "beta": ts.zeros_initializer(),
    "gamma": ts.ones_initializer(),
    "moving_mean": ts.zeros_initializer(),
    "moving_variance": ts.ones_initializer(),
}
_WIDE = (torch.float32, torch.float64)


@add_arg_scope
def batch_norm(
    inputs: Operand,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Activation = None,
    param_initializers: Any = None,
    param_regularizers: Any = None,
    updates_collections: Any = _UPDATE_OPS,
    is_training: Any = True,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    batch_weights: Operand = None,
    fused: bool | None = None,
    data_format: str = "NHWC",
    zero_debias_moving_mean: bool = False,
    scope: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_decay: float = 0.99,
    adjustment: Any = None,
) -> Tensor:
    """Normalize each channel by its mean and variance; by those of the batch while training.

    Torch: ``nn.BatchNorm2d(momentum=0.001)``; channels last, **training by default**, no ``gamma``
    unless ``scale``, and the averaged variance is biased for ranks 3 and 5.

    The moving averages are buffers. They are updated at once, as torch's are; with
    ``tf.collect_updates`` updates wait in UPDATE_OPS, as in TensorFlow.

    Args:
        inputs: floats of rank 2 or more; with float16 or bfloat16 the variables are float32.
        decay: weight of the old averages at each step, 1 - torch's momentum.
        center: whether ``beta`` is added.
        scale: whether it is multiplied by ``gamma``.
        epsilon: added to the variance.
        activation_fn: applied at the end; none by default.
        param_initializers: initializers by ``beta``, ``gamma``, ``moving_mean``,
            ``moving_variance``.
        param_regularizers: regularizers by ``beta``, ``gamma``. As in TensorFlow they are ignored
            with ``batch_weights``, and where neither UPDATE_OPS nor a fused kernel is used.
        updates_collections: where updates wait if they are collected; None to apply them at once.
        is_training: a bool, or a tensor of one. (``ts.is_training()`` follows ``net.train()`` and
            ``net.eval()``.)
        reuse: as for ``variable_scope``; needs a ``scope``.
        variables_collections: a list of collections, or a dict of lists by variable.
        outputs_collections: collections of the result.
        trainable: whether the variables are.
        batch_weights: [N], how often each example counts.
        fused: False for the biased variance everywhere.
        data_format: ``"NHWC"`` or ``"NCHW"``, whatever the rank.
        zero_debias_moving_mean: whether to correct the average mean for its first value.
        scope: a name or scope; ``BatchNorm``, ``BatchNorm_1``, ... by default.
        renorm: batch renormalization, not supported: True is refused, as is ``adjustment``.
        renorm_clipping: as ``renorm``.
        renorm_decay: as ``renorm``.
        adjustment: as ``renorm``.

    Raises:
        ValueError: an unknown ``data_format``, a rank below 2, an argument that is not supported.
        TypeError: the inputs are integers.
    """
    if renorm or adjustment is not None:
        raise ValueError("batch_norm(): renorm and adjustment are not supported; leave them out.")
    last = is_last(data_format, "batch_norm")
    with ts.variable_scope(scope, "BatchNorm", reuse=reuse) as opened:
        x = layer_input(inputs, "batch_norm", 2, at_least=True)
        axes = (x.ndim - 1 if last else 1,)
        shape, dtype = [x.shape[axes[0]]], x.dtype if x.dtype in _WIDE else torch.float32
        # TensorFlow has three ways: its layer, and where that has not what is asked for, a fused
        # one and a plain one of slim's own. They differ in small things.
        fuses = fused is not False and batch_weights is None and x.ndim in (2, 4)
        own = (
            batch_weights is not None
            or updates_collections != _UPDATE_OPS
            or zero_debias_moving_mean
            or (fuses and x.ndim == 2)
        )
        first: dict[str, Any] = {**_FIRST, **(param_initializers or {})}
        regularizers: dict[str, Any] = param_regularizers or {}
        if own and not fuses:
            regularizers = {}  # TensorFlow's plain way has none.
        found: dict[str, Tensor] = {}
        for name in ("beta", "gamma") if own else ("gamma", "beta"):
            if center if name == "beta" else scale:
                settings = first[name], regularizers.get(name), trainable, variables_collections
                found[name] = layer_variable(name, shape, dtype, *settings, name, alone=own)
        mean, variance = (
            buffer(name, shape, dtype, first[name], model_collections(variables_collections, name))
            for name in ("moving_mean", "moving_variance")
        )
        y, moments = layers.normalized(
            *(x, found.get("gamma"), found.get("beta"), mean, variance),
            axes=axes,
            epsilon=epsilon,
            training=is_training,
            fused=fuses and (own or x.ndim == 4),
            weights=batch_weights,
        )
        if moments is not None and (trainable or own):
            if zero_debias_moving_mean:
                # Only on the plain way all variables are model variables.
                kinds = None if fuses else model_collections(None, "moving_mean")
                _move_debiased(mean, moments[0], 1 - decay, updates_collections, is_training, kinds)
            else:
                layers.move(mean, moments[0], 1 - decay, updates_collections)
            layers.move(variance, moments[1], 1 - decay, updates_collections)
        return finished(y, activation_fn, outputs_collections, opened.name)


def _move_debiased(
    mean: Tensor, value: Tensor, share: float, updates: Any, training: Any, collections: Any
) -> None:
    """Move an average towards a value, corrected as if it had begun with the first value."""
    value = value.detach().reshape(mean.shape)
    with ts.variable_scope(ts.name_of(mean)):  # Inside the current scope, as in TensorFlow.
        zeros = ts.zeros_initializer()
        biased = buffer("biased", mean.shape, mean.dtype, zeros, collections)
        steps = buffer("local_step", [], mean.dtype, zeros, collections)

    def update() -> None:
        if not training:  # a tensor
            return
        with torch.no_grad():
            biased.lerp_(value, share)
            steps.add_(1)
            mean.copy_(biased / (1 - (1 - share) ** steps))

    apply_or_collect(update, updates)


@add_arg_scope
def layer_norm(
    inputs: Operand,
    center: bool = True,
    scale: bool = True,
    activation_fn: Activation = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    scope: Any = None,
) -> Tensor:
    """Normalize each example over all axes but the first, with parameters for the last.

    Torch: ``F.layer_norm(x, x.shape[1:])``; epsilon is 1e-12, and ``beta`` and ``gamma`` have the
    shape of the last axis.

    Args:
        inputs: floats; the variables have their dtype.
        center: whether ``beta`` is added.
        scale: whether it is multiplied by ``gamma``.
        activation_fn: applied at the end; none by default.
        reuse: as for ``variable_scope``; needs a ``scope``.
        variables_collections: a list of collections, or a dict of lists by variable.
        outputs_collections: collections of the result.
        trainable: whether the variables are.
        begin_norm_axis: the first axis of those that the moments are over.
        begin_params_axis: the first axis of those that the parameters have.
        scope: a name or scope; ``LayerNorm``, ``LayerNorm_1``, ... by default.

    Raises:
        ValueError: an axis out of range.
        TypeError: the inputs are integers.
    """
    with ts.variable_scope(scope, "LayerNorm", reuse=reuse) as opened:
        x = layer_input(inputs, "layer_norm", 1, at_least=True)
        begin = one_axis(begin_norm_axis, x.ndim, "layer_norm", "begin_norm_axis")
        params = one_axis(begin_params_axis, x.ndim, "layer_norm", "begin_params_axis")
        settings = trainable, variables_collections
        beta, gamma = _affine(x.shape[params:], x.dtype, center, scale, None, *settings)
        mean, variance = nn.moments(x, range(begin, x.ndim), keepdims=True)
        epsilon = 1e-3 if x.dtype is torch.float16 else 1e-12
        y = nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
        return finished(y, activation_fn, outputs_collections, opened.name)


@add_arg_scope
def instance_norm(
    inputs: Operand,
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: Activation = None,
    param_initializers: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: Any = None,
) -> Tensor:
    """Normalize each channel of each example over its spatial axes.

    Torch: ``nn.InstanceNorm2d(affine=True, eps=1e-6)``; channels last.

    Inputs are [N, ..., C], or [N, C, ...] with ``data_format="NCHW"``. ``epsilon`` is added to the
    variance; ``param_initializers`` has initializers by name. The other arguments are
    as for ``layer_norm``.

    Raises:
        ValueError: an unknown ``data_format``; a rank below 2.
        TypeError: the inputs are integers.
    """
    last = is_last(data_format, "instance_norm")
    with ts.variable_scope(scope, "InstanceNorm", reuse=reuse) as opened:
        x = layer_input(inputs, "instance_norm", 2, at_least=True)
        channels = x.ndim - 1 if last else 1
        settings = param_initializers, trainable, variables_collections
        beta, gamma = (
            part if part is None or last else part.reshape(-1, *(1,) * (x.ndim - 2))
            for part in _affine([x.shape[channels]], x.dtype, center, scale, *settings)
        )
        others = [axis for axis in range(1, x.ndim) if axis != channels]
        mean, variance = nn.moments(x, others, keepdims=True)
        y = nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
        return finished(y, activation_fn, outputs_collections, opened.name)


@add_arg_scope
def group_norm(
    inputs: Operand,
    groups: int = 32,
    channels_axis: int = -1,
    reduction_axes: Sequence[int] = (-3, -2),
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: Activation = None,
    param_initializers: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
    mean_close_to_zero: bool = False,
) -> Tensor:
    """Normalize each group of neighbouring channels of each example over its spatial axes.

    Torch: ``nn.GroupNorm(32, C, eps=1e-6)``; channels last.

    ``channels_axis`` is the axis of the channels, whose number ``groups`` divides;
    ``reduction_axes`` are the spatial ones. ``epsilon`` is added to the variance, which with
    ``mean_close_to_zero`` is the mean square minus the squared mean; ``param_initializers`` has
    initializers by ``beta``, ``gamma``. The other arguments are as for ``layer_norm``.

    Raises:
        ValueError: the groups do not divide the channels; an axis out of range, or given as both.
        TypeError: the inputs are integers.
    """
    function = "group_norm"
    x = layer_input(inputs, function, 2, at_least=True)
    at = one_axis(channels_axis, x.ndim, function, "channels_axis")
    space = axes_of(reduction_axes, x.ndim, function, "reduction_axes")
    channels = x.shape[at]
    if at in space:
        raise ValueError(f"{function}(): channels_axis={channels_axis} is in {reduction_axes}.")
    if groups > channels or channels % groups:
        raise ValueError(f"{function}(): {channels} channels are not {groups} equal groups.")
    grouped: Tensor = x.reshape(*x.shape[:at], groups, channels // groups, *x.shape[at + 1 :])
    spread = [size if axis in (at, at + 1) else 1 for axis, size in enumerate(grouped.shape)]
    over = [at + 1, *(axis + 1 if axis > at else axis for axis in space)]
    with ts.variable_scope(scope, "GroupNorm", reuse=reuse) as opened:
        settings = param_initializers, trainable, variables_collections
        beta, gamma = (
            part if part is None else part.reshape(spread)
            for part in _affine([channels], x.dtype, center, scale, *settings)
        )
        if mean_close_to_zero:
            mean = grouped.mean(over, keepdim=True)
            variance = grouped.square().mean(over, keepdim=True) - mean.square()
        else:
            mean, variance = nn.moments(grouped, over, keepdims=True)
        y = nn.batch_normalization(grouped, mean, variance, beta, gamma, epsilon)
        return finished(y.flatten(at, at + 1), activation_fn, outputs_collections, opened.name)


def _affine(
    shape: Sequence[int],
    dtype: torch.dtype,
    center: bool,
    scale: bool,
    initializers: Any,
    trainable: bool,
    collections: Any,
) -> tuple[Tensor | None, Tensor | None]:
    """Beta and gamma, in TensorFlow's order of creation."""
    first: dict[str, Any] = {**_FIRST, **(initializers or {})}
    beta, gamma = (
        layer_variable(
            name, list(shape), dtype, first[name], None, trainable, collections, name, alone=True
        )
        if wanted
        else None
        for name, wanted in (("beta", center), ("gamma", scale))
    )
    return beta, gamma
