"""Dropout, which in TensorFlow 1 takes the probability to *keep*."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import ints
from torchscope.tf1._convert import Operand, name_of, tensor

__all__ = ["dropout"]


def dropout(
    x: Operand,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: Any = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """Keep each element with probability ``keep_prob``, divided by it; the others become 0.

    Torch: ``F.dropout(x, 1 - keep_prob)``; the second argument is the probability to keep, and
    there is no training flag.

    >>> dropout(torch.ones(3), 1.0)
    tensor([1., 1., 1.])

    Args:
        x: floats.
        keep_prob: above 0, at most 1; a number or a scalar tensor.
        noise_shape: the shape of the random mask, which broadcasts to ``x``: ``[n, 1, c]`` drops
            whole rows. None in it is the size of ``x``.
        seed: accepted; see ``tf.set_random_seed``.
        name: not used.
        rate: ``1 - keep_prob``, in later versions.

    Raises:
        ValueError: integers; neither or both of ``keep_prob`` and ``rate``, or one out of range.
    """
    x = tensor(x, function="dropout", argument="x")
    if not x.is_floating_point():
        raise ValueError(f"dropout(): x is {name_of(x.dtype)}; cast it: tf.cast(x, tf.float32).")
    if (keep_prob is None) == (rate is None):
        raise ValueError("dropout(): give keep_prob or rate.")
    given = f"keep_prob={keep_prob}" if rate is None else f"rate={rate}"
    if isinstance(rate, str) or isinstance(keep_prob, str):
        raise ValueError(f"dropout(): {given}; give a number.")
    keep = keep_prob if rate is None else 1 - rate
    if not isinstance(keep, Tensor):
        if not 0 < keep <= 1:
            raise ValueError(
                f"dropout(): {given}; keep_prob is in (0, 1], and rate, 1 - keep_prob, in [0, 1)."
            )
        if keep == 1:
            return x
        if noise_shape is None:
            return F.dropout(x, 1 - float(keep))
    shape = _noise_shape(x, noise_shape)
    kept = torch.rand(shape, device=x.device) < keep
    return x / keep * kept


def _noise_shape(x: Tensor, noise_shape: Any) -> tuple[int, ...]:
    if noise_shape is None:
        return x.shape
    if isinstance(noise_shape, (list, tuple)):
        noise_shape = [-1 if n is None else n for n in cast("list[Any]", noise_shape)]
    wanted = ints(noise_shape, "dropout", "noise_shape")
    if len(wanted) == x.ndim:
        wanted = tuple(s if w < 0 else w for w, s in zip(wanted, x.shape, strict=True))
    ends = zip(reversed(wanted), reversed(x.shape), strict=False)
    if len(wanted) > x.ndim or any(w != 1 and w != size for w, size in ends):
        raise ValueError(
            f"dropout(): noise_shape={list(wanted)} does not broadcast to x, {list(x.shape)}."
        )
    return wanted
