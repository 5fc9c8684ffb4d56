"""gradients, stop_gradient, custom_gradient and py_func: what is differentiated, and how."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from torchscope.tf1 import nest
from torchscope.tf1._convert import Operand, name_of, tensor
from torchscope.tf1.dtypes import as_dtype

__all__ = [
    "AggregationMethod",
    "IndexedSlices",
    "UnconnectedGradients",
    "custom_gradient",
    "gradients",
    "hessians",
    "py_func",
    "stop_gradient",
]


class IndexedSlices(NamedTuple):
    """TensorFlow's class for a gradient of gathered rows.

    Torch: nothing here makes one; gradients are dense tensors, so ``isinstance`` is False.
    """

    values: Any
    indices: Any
    dense_shape: Any = None


class AggregationMethod:
    """Accepted by ``gradients``, and ignored.

    Torch: nothing.
    """

    ADD_N = DEFAULT = 0
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


class UnconnectedGradients:
    """What ``gradients`` returns where ``ys`` do not depend on an ``x``.

    Torch: ``torch.autograd.grad(materialize_grads=True)`` for zeros.
    """

    NONE = "none"
    ZERO = "zero"


def stop_gradient(input: Operand, name: str | None = None) -> Tensor:
    """The same values, as a constant for differentiation.

    Torch: ``x.detach()``.
    """
    return tensor(input, function="stop_gradient", argument="input").detach()


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: str = "none",
) -> list[Tensor | None]:
    """The gradients of the sum of ``ys`` with respect to each of ``xs``.

    Torch: ``torch.autograd.grad(ys, xs, grad_ys, create_graph=True, allow_unused=True)``.  Each
    ``x`` has to require a gradient before anything is computed from it.

    >>> import torchscope.tf1 as tf
    >>> x = tf.constant([1.0, 2.0]).requires_grad_()
    >>> tf.gradients(tf.square(x), x)[0].tolist()
    [2.0, 4.0]

    Args:
        ys: a tensor or a list of tensors, whose elements are all added up.
        xs: a tensor or a list of tensors.
        grad_ys: weights for each of ``ys``, ones by default.
        name: accepted.
        colocate_gradients_with_ops: accepted.
        gate_gradients: accepted.
        aggregation_method: accepted.
        stop_gradients: tensors that count as constants.
        unconnected_gradients: ``"zero"`` for zeros instead of None.

    Returns:
        A list: for each of ``xs`` a tensor of its shape, which can be differentiated again, or None
        where ``ys`` do not depend on it.  While no gradients are recorded (``torch.no_grad()``, a
        build) NaNs, since they cannot be computed.

    Raises:
        ValueError: another number of ``grad_ys``, or an ``x`` that does not require a gradient.
        TypeError: ``grad_ys`` of another dtype.
    """
    ys, xs = _listed(ys), _listed(xs)
    weights = [None] * len(ys) if grad_ys is None else _listed(grad_ys)
    if len(weights) != len(ys):
        raise ValueError(f"gradients(): there are {len(ys)} ys and {len(weights)} grad_ys.")
    if unconnected_gradients not in ("none", "zero"):
        raise ValueError(f"gradients(): unconnected_gradients={unconnected_gradients!r}.")
    pairs = [(y, _weights(w, y)) for y, w in zip(ys, weights, strict=True) if isinstance(y, Tensor)]
    is_float = [isinstance(x, Tensor) and x.is_floating_point() for x in xs]
    wanted = [x for x, has_gradient in zip(xs, is_float, strict=True) if has_gradient]
    if not torch.is_grad_enabled():
        found = iter([torch.full_like(x, torch.nan) for x in wanted])
        return [next(found) if has_gradient else None for has_gradient in is_float]
    for x in wanted:
        if not x.requires_grad:
            raise ValueError(
                f"gradients(): one of xs, of shape {list(x.shape)}, does not require a gradient, so"
                " torch did not record what was computed from it. Before that: x.requires_grad_()."
            )
    pairs = [(y, w) for y, w in pairs if y.requires_grad]
    found = iter(_grad(pairs, wanted, _listed(stop_gradients)))
    made = [_plain(next(found)) if has_gradient else None for has_gradient in is_float]
    if unconnected_gradients == "zero":
        return [torch.zeros_like(x) if g is None else g for g, x in zip(made, xs, strict=True)]
    return made


def _plain(gradient: Tensor | None) -> Tensor | None:
    """The gradient itself, but torch's zeros without memory as a tensor that numpy can read."""
    if gradient is None or torch.compiler.is_compiling() or not gradient._is_zerotensor():
        return gradient
    return torch.zeros(gradient.shape, dtype=gradient.dtype, device=gradient.device)


def hessians(
    ys: Any,
    xs: Any,
    name: str = "hessians",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
) -> list[Tensor]:
    """For each of ``xs`` the second derivatives of the sum of ``ys``, of shape ``[*x, *x]``.

    Torch: ``torch.func.hessian``, which takes the function.
    """
    return [_hessian(ys, x) for x in _listed(xs)]


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that defines its own gradient: ``f(*xs)`` returns ``y, grad``.

    Torch: ``torch.autograd.Function``.

    >>> import torchscope.tf1 as tf
    >>> @tf.custom_gradient
    ... def clip_gradient(x):
    ...     return tf.identity(x), lambda dy: tf.clip_by_value(dy, -1.0, 1.0)

    Args:
        f: called with tensors; returns a tensor or a tuple of them, and a function that takes
            the gradient of each and returns those of ``f``'s arguments.  The result can be
            differentiated again if that function can.

    Variables that ``f`` gets by itself receive no gradient: pass them as arguments.
    """

    def decorated(*args: Operand, **kwargs: Any) -> Any:
        inputs = [tensor(x, function="custom_gradient", argument="an argument") for x in args]
        result, grad_fn = f(*inputs, **kwargs)
        outputs = [tensor(y).detach() for y in nest.flatten(result)]
        attached = _with_gradient(grad_fn, len(outputs), *outputs, *inputs)
        return nest.pack_sequence_as(result, attached)

    return decorated


def py_func(
    func: Callable[..., Any],
    inp: Sequence[Operand],
    Tout: Any,  # noqa: N803  # TensorFlow's name
    stateful: bool = True,
    name: str | None = None,
) -> Any:
    """The results of a Python function of numpy arrays, as tensors without gradients.

    Torch: ``torch.as_tensor(func(x.numpy()))``.

    Args:
        func: called with an array for each of ``inp``.
        inp: tensors.
        Tout: the dtype of the result, or a list of them, to which the results are converted.
        stateful: accepted.
        name: accepted.

    Raises:
        ValueError: another number of results.
    """
    inputs = [tensor(x, function="py_func", argument="inp") for x in inp]
    result = func(*(x.detach().cpu().numpy() for x in inputs))
    single = not isinstance(Tout, (list, tuple))
    results, dtypes = [result] if single else _listed(result), _listed(Tout)
    if len(results) != len(dtypes):
        raise ValueError(
            f"py_func(): func returned {len(results)} results; Tout has {len(dtypes)}."
        )
    device = inputs[0].device if inputs else None
    made = [
        tensor(r, device=device, function="py_func", argument="what func gives").to(as_dtype(dtype))
        for r, dtype in zip(results, dtypes, strict=True)
    ]
    return made[0] if single else made


class _WithGradient(torch.autograd.Function):
    """Outputs as they are, with gradients from a function."""

    @staticmethod
    def forward(ctx: Any, grad_fn: Any, outputs: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.grad_fn, ctx.outputs = grad_fn, outputs
        return tuple(t.view_as(t) for t in tensors[:outputs])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, None, *([None] * ctx.outputs), *_listed(ctx.grad_fn(*grads))


_with_gradient: Any = _WithGradient.apply  # pyright: ignore[reportUnknownVariableType]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(cast("Sequence[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def _weights(weights: Any, y: Tensor) -> Tensor | None:
    if weights is None:
        return torch.ones_like(y) if y.is_floating_point() else None
    weights = tensor(weights, y.dtype, device=y.device, function="gradients", argument="grad_ys")
    if weights.shape != y.shape:
        raise ValueError(
            f"gradients(): grad_ys has shape {list(weights.shape)} for a y of {list(y.shape)}."
        )
    return weights


def _grad(pairs: Any, xs: list[Tensor], stopped: list[Tensor]) -> Sequence[Tensor | None]:
    if not pairs or not xs:
        return [None] * len(xs)
    ys, weights = zip(*pairs, strict=True)
    arrived: dict[Tensor, Tensor] = {}  # at what is stopped, from where no gradient goes on
    hooks: list[Any] = [
        s.register_hook(_stopping(s, arrived)) for s in stopped if s.grad_fn is not None
    ]
    try:
        found = torch.autograd.grad(ys, xs, weights, create_graph=True, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return [arrived.get(x, g) for x, g in zip(xs, found, strict=True)]


def _stopping(stopped: Tensor, arrived: dict[Tensor, Tensor]) -> Callable[[Tensor], Tensor]:
    def hook(gradient: Tensor) -> Tensor:
        arrived[stopped] = gradient
        return torch.zeros_like(gradient)

    return hook


def _hessian(ys: Any, x: Tensor) -> Tensor:
    if not x.is_floating_point():
        raise TypeError(f"hessians(): xs has to be floats, not {name_of(x.dtype)}.")
    rows = [_gradient(element, x) for element in _gradient(ys, x).reshape(-1)]
    return torch.stack(rows).reshape(*x.shape, *x.shape)


def _gradient(ys: Any, x: Tensor) -> Tensor:
    return cast("Tensor", gradients(ys, x, unconnected_gradients="zero")[0])
