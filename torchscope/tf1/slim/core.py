"""slim's layers without convolutions: fully connected, dropout, shapes, repetitions."""

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope.tf1 import layers, nn
from torchscope.tf1._arguments import one_axis
from torchscope.tf1._convert import Operand, tensor
from torchscope.tf1.layers._parts import IN_PLACE, layer_input
from torchscope.tf1.layers.core import affine
from torchscope.tf1.ops.creation import one_hot

from ._arg_scopes import add_arg_scope
from .initializers import xavier_initializer
from .utils import collect_named_outputs
from .variables import layer_biases, layer_variable

__all__ = [
    "bias_add",
    "dropout",
    "elu",
    "flatten",
    "fully_connected",
    "linear",
    "maxout",
    "one_hot_encoding",
    "relu",
    "relu6",
    "repeat",
    "softmax",
    "stack",
    "unit_norm",
]

Activation = Callable[[Tensor], Tensor] | None
_XAVIER, _ZEROS = xavier_initializer(), ts.zeros_initializer()


@add_arg_scope
def fully_connected(
    inputs: Operand,
    num_outputs: int,
    activation_fn: Activation = nn.relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Tensor:
    """Multiply by weights [in, num_outputs], add biases, and by default apply relu.

    Torch: ``nn.Linear``; weights are [in, out], and **relu is the default**.

    >>> import torch, torchscope as ts
    >>> with ts.VariableStore() as store:
    ...     y = fully_connected(torch.ones(2, 3), 4, scope="fc1")
    >>> list(store), bool((y >= 0).all())
    (['fc1/weights', 'fc1/biases'], True)

    Args:
        inputs: [..., in], floats; the variables have their dtype.
        num_outputs: size of the last axis of the result.
        activation_fn: None for none.
        normalizer_fn: applied instead of biases, such as ``slim.batch_norm``.
        normalizer_params: its further arguments.
        weights_initializer: Xavier uniform by default, whatever the scope's is.
        weights_regularizer: ``f(weights)`` is a loss, added to that of the scope's regularizer.
        biases_initializer: zeros by default; None for no biases.
        biases_regularizer: likewise for the biases.
        reuse: as for ``variable_scope``; needs a ``scope``.
        variables_collections: further collections, or a dict with a list for each of
            ``weights``, ``biases``.
        outputs_collections: collections of the result.
        trainable: whether the variables are.
        scope: a name or scope; ``fully_connected``, ``fully_connected_1``, ... by default.

    Raises:
        ValueError: ``num_outputs`` is not an int; the rank is below 2; what ``get_variable``
            raises.
        TypeError: the inputs are integers.
    """
    if isinstance(num_outputs, bool) or not hasattr(num_outputs, "__index__"):
        raise ValueError(f"fully_connected(): num_outputs is an int, not {num_outputs!r}.")
    with ts.variable_scope(scope, "fully_connected", reuse=reuse) as opened:
        x = layer_input(inputs, "fully_connected", 2, at_least=True)
        dtype = x.dtype
        weights = layer_variable(
            *("weights", [x.shape[-1], num_outputs], dtype),
            *(weights_initializer, weights_regularizer, trainable),
            *(variables_collections, "weights"),
        )
        biases = layer_biases(
            *(num_outputs, dtype, normalizer_fn, biases_initializer, biases_regularizer),
            *(trainable, variables_collections),
        )
        y = normalized(affine(x, weights, biases), normalizer_fn, normalizer_params)
        return finished(y, activation_fn, outputs_collections, opened.name)


linear = functools.partial(fully_connected, activation_fn=None)
relu = functools.partial(fully_connected, activation_fn=nn.relu)
relu6 = functools.partial(fully_connected, activation_fn=nn.relu6)
elu = functools.partial(fully_connected, activation_fn=nn.elu)


@add_arg_scope
def bias_add(
    inputs: Operand,
    activation_fn: Activation = None,
    initializer: Any = _ZEROS,
    regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: Any = None,
) -> Tensor:
    """Add biases [channels], a variable.

    Torch: ``x + bias``; the channels are last, or second with ``data_format="NCHW"``.

    Raises:
        ValueError: an unknown ``data_format``; what ``get_variable`` raises.
        TypeError: the inputs are integers.
    """
    last = is_last(data_format, "bias_add")
    with ts.variable_scope(scope, "BiasAdd", reuse=reuse) as opened:
        x = layer_input(inputs, "bias_add", 2, at_least=True)
        biases = layer_variable(
            *("biases", [x.shape[-1 if last else 1]], x.dtype, initializer, regularizer),
            *(trainable, variables_collections, "biases"),
            alone=True,
        )
        y = nn.bias_add(x, biases, data_format)
        return finished(y, activation_fn, outputs_collections, opened.name)


@add_arg_scope
def dropout(
    inputs: Operand,
    keep_prob: Any = 0.5,
    noise_shape: Any = None,
    is_training: Any = True,
    outputs_collections: Any = None,
    scope: Any = None,
    seed: Any = None,
) -> Tensor:
    """Keep each element with probability ``keep_prob``, scaled up; the others become 0.

    Torch: ``F.dropout(x, 1 - keep_prob)``; **training is the default**.

    Args:
        inputs: floats.
        keep_prob: the probability to keep an element.
        noise_shape: as for ``tf.nn.dropout``.
        is_training: a bool, or a tensor of one; False changes nothing.
        outputs_collections: collections of the result.
        scope: a name or scope; ``Dropout``, ``Dropout_1``, ... by default.
        seed: accepted.
    """
    with ts.variable_scope(scope, "Dropout") as opened:
        y = layers.dropout(inputs, 1 - keep_prob, noise_shape, seed, is_training, name=IN_PLACE)
        return collect_named_outputs(outputs_collections, opened.name, y)


@add_arg_scope
def flatten(inputs: Operand, outputs_collections: Any = None, scope: Any = None) -> Tensor:
    """Flatten all axes but the first.

    Torch: ``x.flatten(1)``.
    """
    y = layers.flatten(inputs)
    return collect_named_outputs(outputs_collections, alias_of(scope, "Flatten"), y)


@add_arg_scope
def one_hot_encoding(
    labels: Operand,
    num_classes: int,
    on_value: Any = 1.0,
    off_value: Any = 0.0,
    outputs_collections: Any = None,
    scope: Any = None,
) -> Tensor:
    """Turn integers into rows with a one at their index.

    Torch: ``F.one_hot``; the rows are floats, and labels out of range give zeros.
    """
    y = one_hot(labels, num_classes, on_value=on_value, off_value=off_value)
    return collect_named_outputs(outputs_collections, alias_of(scope, "OneHotEncoding"), y)


@add_arg_scope
def softmax(logits: Operand, scope: Any = None) -> Tensor:
    """Compute softmax over the last axis.

    Torch: ``x.softmax(-1)``.
    """
    with ts.variable_scope(scope, "softmax"):
        x = tensor(logits)
        if x.ndim < 2:
            raise ValueError(f"softmax(): logits have to be of rank 2 or more, not {x.ndim}.")
        return nn.softmax(x)


@add_arg_scope
def maxout(inputs: Operand, num_units: int, axis: int = -1, scope: Any = None) -> Tensor:
    """Take the largest of each ``channels / num_units`` neighbouring channels.

    Torch: ``x.unflatten(-1, (num_units, -1)).amax(-1)``.

    Raises:
        ValueError: the number of channels is not a multiple of ``num_units``.
    """
    with ts.variable_scope(scope, "MaxOut"):
        x = tensor(inputs)
        axis = one_axis(axis, x.ndim, "maxout")
        if x.shape[axis] % num_units:
            raise ValueError(
                f"maxout(): {x.shape[axis]} channels are not a multiple of num_units={num_units}."
            )
        sizes = [*x.shape, x.shape[axis] // num_units]
        sizes[axis] = num_units
        return x.reshape(sizes).amax(-1)


@add_arg_scope
def unit_norm(inputs: Operand, dim: int, epsilon: float = 1e-7, scope: Any = None) -> Tensor:
    """Divide by the Euclidean norm along one axis.

    Torch: ``F.normalize(x, dim=dim)``; epsilon is added to the sum of squares.

    Raises:
        ValueError: ``dim`` is out of range; it cannot be negative.
    """
    with ts.variable_scope(scope, "UnitNorm"):
        x = layer_input(inputs, "unit_norm", 1, at_least=True)
        if not 0 <= dim < x.ndim:
            raise ValueError(f"unit_norm(): dim={dim}; give an axis from 0 to {x.ndim - 1}.")
        return x / (x.square().sum(dim, keepdim=True) + epsilon).sqrt()


@add_arg_scope
def repeat(inputs: Operand, repetitions: int, layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply a layer several times, in scopes ``scope/scope_1``, ``scope/scope_2``, ...

    Torch: ``nn.Sequential``; each repetition has variables of its own.

    Args:
        inputs: of the first layer.
        repetitions: how often.
        layer: a function of slim, called with ``args``, ``kwargs`` and ``scope=``.
        args: its further arguments.
        kwargs: likewise; ``scope`` is the scope around all, ``Repeat`` by default.
    """
    return _in_a_row("repeat", layer, inputs, [args] * repetitions, kwargs)


@add_arg_scope
def stack(inputs: Operand, layer: Any, stack_args: Any, **kwargs: Any) -> Any:
    """Apply a layer once for each of ``stack_args``, in scopes ``scope/scope_1``, ...

    Torch: ``nn.Sequential``.

    Args:
        inputs: of the first layer.
        layer: a function of slim.
        stack_args: for each one, the argument after the inputs, or a list of them.
        kwargs: arguments of all; ``scope`` is the scope around all, ``Stack`` by default.

    Raises:
        ValueError: ``stack_args`` is not a list.
    """
    each: Any = stack_args
    if not isinstance(stack_args, (list, tuple)):
        raise ValueError(f"stack(): stack_args is a list, not {each!r}.")
    lists: list[Any] = [one if isinstance(one, (list, tuple)) else [one] for one in each]
    return _in_a_row("stack", layer, inputs, lists, kwargs)


def _in_a_row(
    function: str, layer: Any, inputs: Operand, arguments: list[Any], kwargs: dict[str, Any]
) -> Any:
    scope = kwargs.pop("scope", None)
    with ts.variable_scope(scope, function.capitalize()):
        if scope is None:  # The layer's own name: "convolution2d", whatever alias it is called by.
            scope = getattr(layer, "__name__", None) or getattr(
                getattr(layer, "func", None), "__name__", function
            )
        y: Any = tensor(inputs)
        for number, args in enumerate(arguments, 1):
            y = layer(y, *args, **kwargs, scope=f"{scope}_{number}")
        return y


def normalized(y: Tensor, normalizer: Any, params: Any) -> Tensor:
    """The result of a layer before its activation."""
    return y if normalizer is None else normalizer(y, **(params or {}))


def finished(y: Tensor, activation: Activation, collections: Any, alias: str) -> Tensor:
    """The result of a layer, added to collections under the name of its scope."""
    if activation is not None:
        y = activation(y)
    return collect_named_outputs(collections, alias, y)


def alias_of(scope: Any, default: str) -> str:
    """The name of the result of a layer without variables in collections."""
    outer = ts.get_variable_scope().name
    return f"{outer}/{scope or default}" if outer else scope or default


def is_last(data_format: str, function: str, rank: int = 2) -> bool:
    """Whether a data format is ``NHWC``; ValueError unless it is that or ``NCHW``."""
    last, first = ("NHWC", "NCHW") if rank == 2 else ("NDHWC", "NCDHW")
    if data_format not in (last, first):
        raise ValueError(f"{function}(): data_format={data_format!r}; give {last!r} or {first!r}.")
    return data_format == last
