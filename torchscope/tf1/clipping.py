"""Clipping by norm: of a tensor, of its average, and of a list of gradients together."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ._arguments import axes as axes_of
from ._convert import Operand, floating, tensor
from ._rows import is_rows, with_values
from .ops._gradients import sqrt
from .ops.arithmetic import maximum, minimum

__all__ = ["clip_by_average_norm", "clip_by_global_norm", "clip_by_norm", "global_norm"]


def clip_by_norm(
    t: Operand, clip_norm: Operand, axes: Any = None, name: str | None = None
) -> Tensor:
    """Scale down to a Euclidean norm of ``clip_norm``, over all axes or each slice by itself.

    Torch: ``torch.renorm``, for one axis and with other arguments.

    Args:
        t: floats, or a sparse gradient (over all axes).
        clip_norm: the largest norm, above 0.
        axes: an int or a list; all by default.
        name: not used.

    Raises:
        ValueError: an axis out of range.
        TypeError: integers.
    """
    if is_rows(t):
        return with_values(t, clip_by_norm(t._values(), clip_norm))
    t = floating(t, "clip_by_norm", "t")
    dims = axes_of(axes, t.ndim, "clip_by_norm", "axes")
    squares = t.square()
    total = squares.sum(dims, keepdim=True) if dims else squares  # torch takes () for all axes
    some = total > 0
    norm = torch.where(some, torch.where(some, total, 1.0).sqrt(), total)  # no gradient at 0
    return t * clip_norm / maximum(norm, clip_norm)


def clip_by_average_norm(t: Operand, clip_norm: Operand, name: str | None = None) -> Tensor:
    """Scale down to a Euclidean norm *divided by the number of elements* of ``clip_norm``.

    Torch: none.
    """
    t = floating(t, "clip_by_average_norm", "t")
    inverse = torch.rsqrt(t.square().sum())
    clip = tensor(clip_norm, t.dtype, function="clip_by_average_norm", argument="clip_norm")
    return t * clip * minimum(inverse * t.numel(), 1.0 / clip)


def clip_by_global_norm(
    t_list: Iterable[Operand],
    clip_norm: Operand,
    use_norm: Operand = None,
    name: str | None = None,
) -> tuple[list[Any], Tensor]:
    """Scale tensors down together, so that the norm of all of them is ``clip_norm`` at most.

    Torch: ``nn.utils.clip_grad_norm_``, which works in place and adds 1e-6 to the norm; here an
    infinite norm makes all NaN, and the norm of sparse gradients is taken before equal rows are
    added up.

    >>> clip_by_global_norm([torch.tensor([3.0]), None, torch.tensor([4.0])], 1.0)
    ([tensor([0.6000]), None, tensor([0.8000])], tensor(5.))

    Args:
        t_list: tensors, sparse gradients and None.
        clip_norm: the largest norm, above 0.
        use_norm: the norm, if it is known.
        name: not used.

    Returns:
        The list scaled, and the norm that it had.

    Raises:
        TypeError: not a list, or integers in it.
    """
    tensors = _listed(t_list, "clip_by_global_norm")
    norm = global_norm(tensors) if use_norm is None else floating(use_norm, "clip_by_global_norm")
    clip = tensor(clip_norm, norm.dtype, function="clip_by_global_norm", argument="clip_norm")
    scale = clip * minimum(1.0 / norm, 1.0 / clip)  # 0 for a clip_norm of 0
    scale = scale + (norm - norm)  # not finite: NaN
    return [_scaled(t, scale) for t in tensors], norm


def global_norm(t_list: Iterable[Operand], name: str | None = None) -> Tensor:
    """The Euclidean norm of all tensors of a list together; None is skipped.

    Torch: ``nn.utils.get_total_norm``; of sparse gradients each row counts, also equal ones.

    Raises:
        TypeError: not a list, or integers in it.
    """
    tensors = [t._values() if is_rows(t) else t for t in _listed(t_list, "global_norm")]
    squares = [t.square().sum() for t in tensors if t is not None]
    return sqrt(torch.stack(squares).sum()) if squares else torch.tensor(0.0)


def _listed(t_list: Iterable[Operand], function: str) -> list[Any]:
    if isinstance(t_list, (str, Tensor)) or not isinstance(t_list, Iterable):
        raise TypeError(f"{function}(): t_list has to be a list of tensors, not {type(t_list)}.")
    return [
        t if t is None or is_rows(t) else floating(t, function, "an element of t_list")
        for t in t_list
    ]


def _scaled(t: Any, scale: Tensor) -> Any:
    if t is None:
        return None
    return with_values(t, t._values() * scale) if t.is_sparse else t * scale.to(t.dtype)
