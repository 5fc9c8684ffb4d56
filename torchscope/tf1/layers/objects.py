"""Layers as objects: each class runs one of the functions, in its own scope for each pass."""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, ClassVar

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1._scoped import Opened

from . import convolution, core, normalization, pooling
from ._parts import IN_PLACE, VARIABLES, is_last, per_axis
from .layer import Layer

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "BatchNormalization",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "SeparableConv1D",
    "SeparableConv2D",
]


_ANY = 2**12  # stands for a size that is not known, and does not matter


class _FunctionLayer(Layer):
    """A layer that computes what a function does, with the arguments that the layer was made with.

    They are the function's, except the inputs, ``training`` and ``reuse``, and become attributes.
    """

    _function: ClassVar[Callable[..., Tensor]]
    _weights: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]]  # of the arguments, in their order

    def __init_subclass__(
        cls, function: Callable[..., Tensor] | None = None, weights: tuple[str, ...] = ()
    ) -> None:
        if function is not None:
            cls._function = staticmethod(function)
            cls._defaults = {
                name: parameter.default
                for name, parameter in signature(function).parameters.items()
                if name not in ("inputs", "training", "name", "reuse")
            }
        cls._weights = weights
        for name in weights:
            setattr(cls, name, _Weight(name))

    def __init__(self, *args: Any, name: Any = None, dtype: Any = None, **kwargs: Any) -> None:
        own = {key: kwargs.pop(key) for key in ("_scope", "_reuse") if key in kwargs}
        settings = dict(self._defaults)
        given = dict(zip(settings, args, strict=False))
        wrong = [key for key in kwargs if key in given or key not in settings]
        settings.update(given, **kwargs)
        wrong += [key for key, value in settings.items() if value is Parameter.empty]
        if wrong or len(args) > len(settings):
            raise TypeError(
                f"{type(self).__name__}(): {wrong or args} is missing, unknown or given twice; the"
                f" arguments are {list(settings)}."
            )
        super().__init__(settings.get("trainable", True), name, dtype, **own)
        for key, value in settings.items():
            if key in _SIZES:  # TensorFlow keeps one for each axis
                value = per_axis(value, self._rank(), type(self).__name__, key)
            setattr(self, key, value)
        self._activity_regularizer = settings.get("activity_regularizer")

    def _rank(self) -> int:
        """How many spatial axes it has: the digit in its function's name."""
        return next(int(c) for c in self._function.__name__ if c.isdigit())

    def build(self, input_shape: Any) -> None:
        """Make the variables for inputs of this shape, where None is any size; a call does so, too.

        Raises:
            ValueError: the size of the channels is None, or what the call raises.
        """
        opened = ts.in_this_pass(self, Opened)
        if self._weights:
            sizes = list(input_shape)
            for axis in self._channels():
                if sizes[axis] is None:
                    raise ValueError(
                        f"{self.name}.build({input_shape!r}): axis {axis} has the channels; give"
                        " their number."
                    )
            sizes = [_ANY if size is None else size for size in sizes]
            x = torch.empty(sizes, dtype=self.dtype or torch.float32, device="meta")
            with self._entered():
                self._own_weights()
                self._function(x, **self._settings(), name=VARIABLES)
            opened.made, opened.dtype = True, x.dtype
        opened.built = True

    def _build(self, inputs: Any) -> None:
        if type(self).build is _FunctionLayer.build:
            self._see(inputs)  # `call` makes the variables.
        else:
            super()._build(inputs)
        self._own_weights()

    def _own_weights(self) -> None:
        for name in self._weights:
            self._own(name, getattr(self, f"{name.removesuffix('_kernel')}_regularizer", None))

    def _channels(self) -> list[int]:
        """The axes that the variables' sizes follow."""
        if "axis" in self._defaults:
            axis: Any = getattr(self, "axis", -1)
            return [axis] if isinstance(axis, int) else list(axis)
        data_format = getattr(self, "data_format", None)
        return [-1 if is_last(data_format, self.name) else 1]

    def _settings(self) -> dict[str, Any]:
        settings = {key: getattr(self, key) for key in self._defaults}
        if "activity_regularizer" in settings:  # the layer adds its loss
            settings["activity_regularizer"] = None
        return settings

    @property
    def updates(self) -> list[Any]:
        """The updates that wait; see ``tf.collect_updates``."""
        scope = ts.in_this_pass(self, Opened).scope
        return [] if scope is None else scope.get_collection(ts.GraphKeys.UPDATE_OPS)

    def call(self, inputs: Any, training: Any = None) -> Tensor:
        settings = self._settings()
        if training is not None:
            settings["training"] = training
        if self._dtype is torch.float64 and self._weights:  # Others follow a net that was moved.
            inputs = torch.as_tensor(inputs).to(self._dtype)
        if not ts.in_this_pass(self, Opened).made:
            return self._function(inputs, **settings, name=IN_PLACE)
        with self._entered():  # once more: now it reuses
            return self._function(inputs, **settings, name=IN_PLACE)


class _Weight:
    """The variable of a name in the layer's scope; None if there is none."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, layer: Any, owner: Any = None) -> Any:
        if layer is None:
            return self
        if not layer.built:
            raise AttributeError(
                f"{layer.name}.{self._name}: its variables are made at its first call in a pass."
            )
        full_name = f"{layer.scope_name}/{self._name}"
        return next((v for v in layer.variables if ts.name_of(v) == full_name), None)


_SIZES = ("kernel_size", "pool_size", "strides", "dilation_rate")
_LINEAR = ("kernel", "bias")
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
_NORMAL = ("gamma", "beta", "moving_mean", "moving_variance")


class Dense(_FunctionLayer, function=core.dense, weights=_LINEAR):
    """``dense`` as an object: called twice, it shares its kernel and bias.

    >>> import torch, torchscope as ts
    >>> def model(x):
    ...     layer = Dense(3, name="fc")
    ...     return layer(layer(x))
    >>> list(ts.ScopedModule(model).build(torch.ones(2, 3)))
    ['fc/kernel', 'fc/bias']

    Torch: ``nn.Linear``; wherever the object is made, its variables are in the store.
    """


class Flatten(_FunctionLayer, function=core.flatten):
    """``flatten`` as an object. Torch: ``nn.Flatten``."""


class Dropout(_FunctionLayer, function=core.dropout):
    """``dropout`` as an object; ``training`` is an argument of the call. Torch: ``nn.Dropout``."""


class BatchNormalization(
    _FunctionLayer, function=normalization.batch_normalization, weights=_NORMAL
):
    """``batch_normalization`` as an object; ``training`` is an argument of the call.

    Torch: ``nn.BatchNorm2d``; channels last.
    """


class Conv1D(_FunctionLayer, function=convolution.conv1d, weights=_LINEAR):
    """``conv1d`` as an object. Torch: ``nn.Conv1d``; channels last."""


class Conv2D(_FunctionLayer, function=convolution.conv2d, weights=_LINEAR):
    """``conv2d`` as an object. Torch: ``nn.Conv2d``; NHWC."""


class Conv3D(_FunctionLayer, function=convolution.conv3d, weights=_LINEAR):
    """``conv3d`` as an object. Torch: ``nn.Conv3d``; channels last."""


class Conv2DTranspose(_FunctionLayer, function=convolution.conv2d_transpose, weights=_LINEAR):
    """``conv2d_transpose`` as an object. Torch: ``nn.ConvTranspose2d``; NHWC."""


class Conv3DTranspose(_FunctionLayer, function=convolution.conv3d_transpose, weights=_LINEAR):
    """``conv3d_transpose`` as an object. Torch: ``nn.ConvTranspose3d``; channels last."""


class SeparableConv1D(_FunctionLayer, function=convolution.separable_conv1d, weights=_SEPARABLE):
    """``separable_conv1d`` as an object. Torch: two ``nn.Conv1d``."""


class SeparableConv2D(_FunctionLayer, function=convolution.separable_conv2d, weights=_SEPARABLE):
    """``separable_conv2d`` as an object. Torch: two ``nn.Conv2d``."""


class MaxPooling1D(_FunctionLayer, function=pooling.max_pooling1d):
    """``max_pooling1d`` as an object. Torch: ``nn.MaxPool1d``; channels last."""


class MaxPooling2D(_FunctionLayer, function=pooling.max_pooling2d):
    """``max_pooling2d`` as an object. Torch: ``nn.MaxPool2d``; NHWC."""


class MaxPooling3D(_FunctionLayer, function=pooling.max_pooling3d):
    """``max_pooling3d`` as an object. Torch: ``nn.MaxPool3d``; channels last."""


class AveragePooling1D(_FunctionLayer, function=pooling.average_pooling1d):
    """``average_pooling1d`` as an object. Torch: ``nn.AvgPool1d``; channels last."""


class AveragePooling2D(_FunctionLayer, function=pooling.average_pooling2d):
    """``average_pooling2d`` as an object. Torch: ``nn.AvgPool2d``; NHWC."""


class AveragePooling3D(_FunctionLayer, function=pooling.average_pooling3d):
    """``average_pooling3d`` as an object. Torch: ``nn.AvgPool3d``; channels last."""
