"""Gradients that differ between TensorFlow and torch; knows no names and converts nothing."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function


def sqrt(x: Tensor) -> Tensor:
    """The square root; its gradient is 0 where the incoming one is 0, also at 0 (torch: NaN)."""
    # Dynamo traces a Function, but no hook on grad_fn; a Function costs five times as much.
    if torch.compiler.is_compiling() and x.requires_grad:
        return _apply(_Sqrt, x)
    return _zero_where_none_comes(torch.sqrt(x))


def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x), with the same gradient."""
    if torch.compiler.is_compiling() and x.requires_grad:
        return _apply(_Rsqrt, x)
    return _zero_where_none_comes(torch.rsqrt(x))


def reciprocal(x: Tensor) -> Tensor:
    """1 / x, with the same gradient."""
    if torch.compiler.is_compiling() and x.requires_grad:
        return _apply(_Reciprocal, x)
    return _zero_where_none_comes(torch.reciprocal(x))


def power(x: Tensor, y: Tensor) -> Tensor:
    """The power of two tensors that broadcast; at 0 and below as in TensorFlow.

    d/dx is y * x ** (y - 1) literally, NaN for 0 ** 0 (torch: 0); d/dy is 0 for every base that
    is not positive (torch: NaN for a negative one).
    """
    return _apply(_Power, x, y.clone() if y is x else y)  # Dynamo takes no tensor twice


def constant(operation: Any, *args: Any) -> Tensor:
    """The result of an operation without a gradient, such as rounding.

    No gradient flows through it, and ``tf.gradients`` returns None (torch: zeros), but there is a
    gradient with respect to the result itself.
    """
    if any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
        return _apply(_Constant, operation, *args)
    return operation(*args)


def _zero_where_none_comes(result: Tensor) -> Tensor:
    if result.requires_grad:
        cast("Any", result.grad_fn).register_hook(_mask)
    return result


def _mask(of_inputs: Any, of_outputs: Any) -> Any:
    gradient, comes_in = of_inputs[0], of_outputs[0]
    return None if comes_in is None else (torch.where(comes_in == 0, 0.0, gradient),)


def _apply(function: Any, *args: Any) -> Tensor:
    return function.apply(*args)


class _Constant(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(operation: Any, *args: Any) -> Tensor:
        return operation(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return (None,) * len(ctx.needs_input_grad)


class _Sqrt(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.sqrt(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (root,) = ctx.saved_tensors
        return torch.where(gradient == 0, 0.0, gradient * 0.5 / root)


class _Rsqrt(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.rsqrt(x)

    setup_context = _Sqrt.setup_context

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (root,) = ctx.saved_tensors
        return torch.where(gradient == 0, 0.0, gradient * -0.5 * root**3)


class _Reciprocal(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.reciprocal(x)

    setup_context = _Sqrt.setup_context

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (quotient,) = ctx.saved_tensors
        return torch.where(gradient == 0, 0.0, -gradient * quotient**2)


class _Power(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return torch.pow(x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y, power = ctx.saved_tensors
        log = torch.log(torch.where(x > 0, x, 1.0))
        of_x = gradient * y * _apply(_Power, x, y - 1)  # its own gradient is TensorFlow's, too
        return of_x.sum_to_size(x.shape), (gradient * power * log).sum_to_size(y.shape)
