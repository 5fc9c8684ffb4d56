"""Random numbers: normal, uniform, truncated, shuffled, drawn; all from torch's stream.

TensorFlow's ``seed=`` of one operation is accepted and does nothing.  There it starts a sequence
that continues from step to step.  Here a generator of its own would either begin anew at every step
(the same noise each time), or not be restored when activation checkpointing restores torch's stream
(wrong gradients).  ``tf.set_random_seed`` makes a program repeatable.
"""

import math
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._arguments import one_int
from torchscope.tf1._arguments import shape as sizes_of
from torchscope.tf1._convert import (
    Operand,
    check_broadcast,
    floating,
    name_of,
    numeric,
    tensor,
)
from torchscope.tf1.dtypes import as_dtype

__all__ = [
    "multinomial",
    "random_crop",
    "random_gamma",
    "random_normal",
    "random_poisson",
    "random_shuffle",
    "random_uniform",
    "set_random_seed",
    "truncated_normal",
]


def set_random_seed(seed: int) -> None:
    """Make all random numbers that follow repeatable.

    Torch: ``torch.manual_seed``; called in a model, it gives every step the same numbers.
    """
    torch.manual_seed(one_int(seed, "set_random_seed", "seed"))


def random_normal(
    shape: Any,
    mean: Operand = 0.0,
    stddev: Operand = 1.0,
    dtype: Any = torch.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal random numbers.

    Torch: ``mean + stddev * torch.randn(shape)``.

    Args:
        shape: of the result.
        mean: a number, or a tensor that broadcasts.
        stddev: likewise.
        dtype: a float dtype.
        seed: accepted; see ``set_random_seed``.
        name: accepted.

    Raises:
        TypeError: sizes that are not integers, or a dtype that is not a float.
    """
    values = torch.randn(_sizes(shape, "random_normal"), dtype=_float(dtype, "random_normal"))
    return _scaled(values, mean, stddev, "random_normal")


def truncated_normal(
    shape: Any,
    mean: Operand = 0.0,
    stddev: Operand = 1.0,
    dtype: Any = torch.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal random numbers, none further than two standard deviations from the mean.

    Torch: ``torch.nn.init.trunc_normal_`` of an empty tensor, a graph break in torch.compile.
    Their standard deviation is 0.88 times ``stddev``.

    Args:
        shape: of the result.
        mean: a number, or a tensor that broadcasts.
        stddev: likewise.
        dtype: a float dtype.
        seed: accepted; see ``set_random_seed``.
        name: accepted.
    """
    dtype = _float(dtype, "truncated_normal")
    exact = torch.float32 if dtype.itemsize < 4 else dtype  # float16 and bfloat16 are too coarse.
    uniform = torch.rand(_sizes(shape, "truncated_normal"), dtype=exact) * 2 - 1
    within = math.erf(math.sqrt(2))  # the probability of two standard deviations
    values = (torch.erfinv(uniform * within) * math.sqrt(2)).clamp(-2, 2)
    return _scaled(values.to(dtype), mean, stddev, "truncated_normal")


def random_uniform(
    shape: Any,
    minval: Operand = 0,
    maxval: Operand = None,
    dtype: Any = torch.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Uniform random numbers in ``[minval, maxval)``.

    Torch: ``minval + (maxval - minval) * torch.rand(shape)``, ``torch.randint`` for integers.

    Args:
        shape: of the result.
        minval: a number, or a tensor that broadcasts.
        maxval: likewise; 1 by default for floats.
        dtype: a float dtype, int32 or int64.
        seed: accepted; see ``set_random_seed``.
        name: accepted.

    Raises:
        ValueError: another dtype; for integers no ``maxval``, or none between the bounds.
        TypeError: sizes that are not integers.
    """
    size, dtype = _sizes(shape, "random_uniform"), as_dtype(dtype)
    if dtype.is_floating_point:
        values = torch.rand(size, dtype=dtype)
        low = _of(minval, values, "random_uniform", "minval")
        high = 1 if maxval is None else _of(maxval, values, "random_uniform", "maxval")
        return _scaled(values, low, high - low, "random_uniform")
    if dtype not in (torch.int32, torch.int64):
        raise ValueError(f"random_uniform(): dtype={name_of(dtype)}; give a float, int32 or int64.")
    if maxval is None:
        raise ValueError(f"random_uniform(): give maxval where dtype is {name_of(dtype)}.")
    low, high = (one_int(v, "random_uniform", "minval, maxval") for v in (minval, maxval))
    if low >= high:
        raise ValueError(f"random_uniform(): minval={low} has to be less than maxval={high}.")
    return torch.randint(low, high, size, dtype=dtype)


def random_shuffle(value: Operand, seed: int | None = None, name: str | None = None) -> Tensor:
    """The rows in a random order.

    Torch: ``x[torch.randperm(len(x))]``.
    """
    value = tensor(value, function="random_shuffle")
    return value[torch.randperm(len(value), device=value.device)] if value.ndim else value


def random_crop(
    value: Operand, size: Any, seed: int | None = None, name: str | None = None
) -> Tensor:
    """A slice of the given size at a random position.

    Torch: ``x.narrow`` on each axis, at ``torch.randint``.

    Args:
        value: any rank.
        size: one for each axis.
        seed: accepted; see ``set_random_seed``.
        name: accepted.

    Raises:
        ValueError: a size that is larger than the value's.
    """
    value, size = tensor(value, function="random_crop"), _sizes(size, "random_crop", "size")
    if len(size) != value.ndim or any(s > n for s, n in zip(size, value.shape, strict=True)):
        raise ValueError(
            f"random_crop(): size {list(size)} does not fit into shape {list(value.shape)}."
        )
    for axis, (wanted, there) in enumerate(zip(size, value.shape, strict=True)):
        value = value.narrow(axis, int(torch.randint(there - wanted + 1, ())), wanted)
    return value


def multinomial(
    logits: Operand,
    num_samples: Any,
    seed: int | None = None,
    name: str | None = None,
    output_dtype: Any = None,
) -> Tensor:
    """Classes drawn by their unnormalized log-probabilities, with replacement.

    Torch: ``torch.multinomial(logits.softmax(1), num_samples, replacement=True)``.

    Args:
        logits: [batch, classes].
        num_samples: how many for each row.
        seed: accepted; see ``set_random_seed``.
        name: accepted.
        output_dtype: int64 by default.

    Returns:
        [batch, num_samples].

    Raises:
        ValueError: logits of another rank, or a negative number of samples.
    """
    logits = floating(logits, "multinomial", "logits")
    count = one_int(num_samples, "multinomial", "num_samples")
    if logits.ndim != 2:
        raise ValueError(f"multinomial(): logits has rank {logits.ndim} and has to have 2.")
    if count < 0:
        raise ValueError(f"multinomial(): num_samples={count} is negative.")
    dtype = torch.int64 if output_dtype is None else as_dtype(output_dtype)
    if count == 0 or logits.shape[0] == 0:
        return torch.zeros(logits.shape[0], count, dtype=dtype, device=logits.device)
    drawn = torch.multinomial(logits.float().softmax(1), count, replacement=True)
    return drawn.to(dtype)


def random_gamma(
    shape: Any,
    alpha: Operand,
    beta: Operand = None,
    dtype: Any = torch.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Gamma random numbers, with gradients to both parameters.

    Torch: ``torch.distributions.Gamma(alpha, beta).rsample(shape)``.

    Args:
        shape: how many for each ``alpha``.
        alpha: the shape parameter.
        beta: the inverse scale, 1 by default.
        dtype: a float dtype.
        seed: accepted; see ``set_random_seed``.
        name: accepted.

    Returns:
        ``shape`` and then the shape of ``alpha`` and ``beta``.
    """
    dtype = _float(dtype, "random_gamma")
    alpha = tensor(alpha, dtype, function="random_gamma", argument="alpha")
    beta = tensor(1 if beta is None else beta, dtype, function="random_gamma", argument="beta")
    return torch.distributions.Gamma(alpha, beta).rsample(_sizes(shape, "random_gamma"))


def random_poisson(
    lam: Operand,
    shape: Any,
    dtype: Any = torch.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Poisson random numbers.

    Torch: ``torch.poisson``.

    Args:
        lam: the rates.
        shape: how many for each rate.
        dtype: of the result.
        seed: accepted; see ``set_random_seed``.
        name: accepted.

    Returns:
        ``shape`` and then the shape of ``lam``.
    """
    lam = numeric(lam, "random_poisson", "lam")
    lam = lam if lam.is_floating_point() else lam.float()
    size = _sizes(shape, "random_poisson")
    return torch.poisson(lam.expand((*size, *lam.shape))).to(as_dtype(dtype))


def _sizes(shape: Any, function: str, argument: str = "shape") -> tuple[int, ...]:
    """A shape as a tuple of ints; ValueError if one is negative."""
    size = sizes_of(shape, function, argument)
    if any(n < 0 for n in size):
        raise ValueError(f"{function}(): {argument}={list(size)} has a negative size.")
    return size


def _float(dtype: Any, function: str) -> torch.dtype:
    dtype = as_dtype(dtype)
    if not dtype.is_floating_point:
        raise TypeError(f"{function}(): dtype is {name_of(dtype)} and has to be a float.")
    return dtype


def _scaled(values: Tensor, mean: Operand, stddev: Operand, function: str) -> Tensor:
    stddev = _of(stddev, values, function, "stddev")
    mean = _of(mean, values, function, "mean")
    if isinstance(stddev, Tensor) or stddev != 1:
        values = values * stddev
    return values + mean if isinstance(mean, Tensor) or mean != 0 else values


def _of(value: Operand, like: Tensor, function: str, argument: str) -> Any:
    """A parameter that can be multiplied with ``like``; numbers stay numbers."""
    if isinstance(value, (int, float)):
        return value
    value = tensor(value, like.dtype, device=like.device, function=function, argument=argument)
    check_broadcast(value.shape, like.shape, function)
    return value
