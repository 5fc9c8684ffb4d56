"""What layers have in common: a scope, inputs, an activation; knows no layer.

A layer is a function that opens a scope of its own and asks for its variables there::

    with layer_scope(name, "dense", reuse):
        kernel = weight("kernel", [n, units], dtype, kernel_initializer, kernel_regularizer, ...)

So names are counted as variable scopes are, and shared by scopes.  A layer object runs the
same function in a scope that it has opened itself: with ``name=IN_PLACE``, or to make the variables
alone, with ``name=VARIABLES``: then the function returns its inputs.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nn
from torchscope.tf1._arguments import ints, one_int
from torchscope.tf1._convert import Operand, name_of, tensor
from torchscope.tf1._scoped import number_of

Activation = Callable[[Tensor], Tensor] | str | None

IN_PLACE: Any = object()
VARIABLES: Any = object()
F = TypeVar("F", bound=FunctionType)


def layer_scope(name: Any, base: str, reuse: Any) -> AbstractContextManager[Any]:
    """The scope of a layer: ``name``, or ``base`` with the first number that is free.

    As in TensorFlow, ``reuse`` without a name means ``base`` itself.
    """
    if name is IN_PLACE or name is VARIABLES:
        return nullcontext()
    if not name:
        number_of(base)
        if not reuse:
            return ts.variable_scope(None, base)
    return ts.variable_scope(name or base, reuse=reuse)


def layer_input(inputs: Operand, function: str, rank: int, *, at_least: bool = False) -> Tensor:
    """The inputs as a tensor of floats.

    Raises:
        TypeError: they are integers.
        ValueError: they have another rank.
    """
    x = inputs
    if type(x) is Tensor and x.dtype is torch.float32 and x.ndim == rank:
        return x  # As nearly always: written out, it takes less time.
    if type(x) is not Tensor:
        x = tensor(x, function=function, argument="inputs")
    if not x.dtype.is_floating_point:
        raise TypeError(
            f"{function}(): inputs are {name_of(x.dtype)} and have to be floats;"
            " cast them: tf.cast(inputs, tf.float32)."
        )
    if x.ndim < rank or (x.ndim > rank and not at_least):
        raise ValueError(
            f"{function}(): inputs have to be of rank {rank}{' or more' if at_least else ''}, not"
            f" {x.ndim}: their shape is {list(x.shape)}."
        )
    return x


def function_of(activation: Activation, function: str) -> Callable[[Tensor], Tensor] | None:
    """The activation as a function, None for none.

    Raises:
        ValueError: the name of a function that ``tf.nn`` does not have.
        TypeError: neither a function nor a name.
    """
    if activation is None or activation == "linear":  # Keras's name for none
        return None
    if isinstance(activation, str):
        try:
            return getattr(nn, activation)
        except AttributeError as error:
            raise ValueError(f"{function}(): activation={activation!r}: {error}") from None
    if not callable(activation):
        raise TypeError(f"{function}(): activation={activation!r} is not a function.")
    return activation


def activated(
    y: Tensor, activation: Callable[[Tensor], Tensor] | None, activity_regularizer: Any
) -> Tensor:
    """The result of a layer; adds its activity loss, divided by the batch, to the collection."""
    if activation is not None:
        y = activation(y)
    if activity_regularizer is not None and (loss := activity_regularizer(y)) is not None:
        ts.add_to_collection(ts.GraphKeys.REGULARIZATION_LOSSES, loss / y.shape[0])
    return y


def check_training(training: Any) -> None:
    """TypeError unless ``training`` is a bool or a tensor of one; None is false."""
    if not isinstance(training, Tensor) and training not in (True, False, None):
        raise TypeError(f"training is a bool or a tensor of one, not {training!r}.")


def is_last(data_format: str | None, function: str) -> bool:
    """Whether a data format is ``channels_last``, as None is; ValueError for an unknown one."""
    lower = "channels_last" if data_format is None else data_format.lower()
    if lower not in ("channels_last", "channels_first"):
        raise ValueError(
            f"{function}(): data_format={data_format!r}; give 'channels_last' or 'channels_first'."
        )
    return lower == "channels_last"


def padding_name(function: str, padding: str) -> str:
    """``VALID`` or ``SAME``, from either case; ValueError for another padding."""
    upper = padding.upper()
    if upper not in ("VALID", "SAME"):
        raise ValueError(f"{function}(): padding={padding!r}; give 'valid' or 'same'.")
    return upper


def count_of(value: Any, function: str, argument: str = "filters") -> int:
    """A number of channels: positive; of a float, such as ``64 / 2``, the whole part.

    Raises:
        ValueError: below 1.
        TypeError: not a number.
    """
    number = int(value) if isinstance(value, float) else value or 0
    if (count := one_int(number, function, argument)) < 1:
        raise ValueError(f"{function}(): {argument}={value}; give a positive int.")
    return count


def per_axis(value: Any, rank: int, function: str, argument: str) -> tuple[int, ...]:
    """One positive int for each spatial axis, from one for all or a list of them.

    Raises:
        ValueError: neither an int nor as many as there are axes, or one below 1.
        TypeError: a list of something other than ints.
    """
    if type(value) is int and value > 0:
        return (value,) * rank
    sizes: Any = value
    fits = hasattr(sizes, "__len__") and len(sizes) == rank
    if not fits or min(sizes := ints(sizes, function, argument)) < 1:
        raise ValueError(
            f"{function}(): {argument}={value!r}; give a positive int, or {rank} of them."
        )
    return sizes


def window_of(
    function: str, rank: int, kernel_size: Any, strides: Any, dilation_rate: Any
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """A convolution's window, strides and dilations; ValueError if both of these are above 1."""
    steps = per_axis(strides, rank, function, "strides")
    rates = per_axis(dilation_rate, rank, function, "dilation_rate")
    if max(steps) > 1 and max(rates) > 1:
        raise ValueError(
            f"{function}(): strides={strides} and dilation_rate={dilation_rate} cannot be combined:"
            " one of them has to be 1."
        )
    return per_axis(kernel_size, rank, function, "kernel_size"), steps, rates


def documented(name: str, text: str) -> Callable[[F], F]:
    """A decorator for a function made by another: its public name and its docstring."""

    def decorate(function: F) -> F:
        function.__name__ = function.__qualname__ = name
        function.__doc__ = text
        return function

    return decorate
