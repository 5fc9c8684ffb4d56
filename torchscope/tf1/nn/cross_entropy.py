"""Cross entropies of logits, one for each example; the caller or tf.losses reduces them.

Until TensorFlow 1.0 the logits came first, so three of the functions take keywords only.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import one_axis, renamed
from torchscope.tf1._convert import (
    HALVES,
    Operand,
    check_fills,
    floating,
    integers,
    same_dtype,
    tensor,
)

__all__ = [
    "log_poisson_loss",
    "sigmoid_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "sparse_softmax_cross_entropy_with_logits",
    "weighted_cross_entropy_with_logits",
]


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Operand = None,
    logits: Operand = None,
    dim: Any = None,
    name: str | None = None,
    axis: Any = None,
) -> Tensor:
    """The cross entropy of softmax(logits) and labels, which get no gradient.

    Torch: ``F.cross_entropy(logits, labels, reduction="none")``, classes last; the gradient is
    ``softmax - labels`` even for labels that do not sum to 1.

    Args:
        _sentinel: prevents labels and logits from being given by position.
        labels: a distribution over the classes, of the shape of the logits; of any dtype.
        logits: [..., classes], floats.
        dim: the axis of the classes, the last by default.
        name: not used.
        axis: the later name of ``dim``.

    Returns:
        One cross entropy for each distribution, without the axis of the classes.

    Raises:
        ValueError: arguments by position, or shapes that do not fit.
    """
    function = "softmax_cross_entropy_with_logits"
    _by_keyword(function, _sentinel, labels, logits)
    labels, logits, dim = _distributions(function, labels, logits, axis, dim)
    return _softmax_cross_entropy(labels.detach(), logits, dim)


def softmax_cross_entropy_with_logits_v2(
    labels: Operand,
    logits: Operand,
    axis: Any = None,
    name: str | None = None,
    dim: Any = None,
) -> Tensor:
    """The cross entropy of softmax(logits) and labels; both get gradients.

    Torch: ``F.cross_entropy(logits, labels, reduction="none")``; see
    ``tf.nn.softmax_cross_entropy_with_logits``.
    """
    function = "softmax_cross_entropy_with_logits_v2"
    labels, logits, dim = _distributions(function, labels, logits, axis, dim)
    return _softmax_cross_entropy(labels, logits, dim)


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Operand = None,
    logits: Operand = None,
    name: str | None = None,
) -> Tensor:
    """The cross entropy of softmax(logits) and the class that each label names.

    Torch: ``F.cross_entropy(logits, labels, reduction="none")``, classes last, int32 or int64.

    Args:
        _sentinel: prevents labels and logits from being given by position.
        labels: integers from 0 to classes - 1, of the shape of the logits without the last axis.
        logits: [..., classes].
        name: not used.

    Raises:
        ValueError: arguments by position, or shapes that do not fit.
        TypeError: labels that are not integers.
    """
    function = "sparse_softmax_cross_entropy_with_logits"
    _by_keyword(function, _sentinel, labels, logits)
    logits = tensor(logits, function=function, argument="logits")
    labels = tensor(labels, function=function, argument="labels")
    if logits.ndim == 0 or labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"{function}(): labels of shape {list(labels.shape)} for logits of shape"
            f" {list(logits.shape)}; the logits have to have one axis more, the classes."
        )
    logits, labels = floating(logits, function, "logits"), integers(labels, function, "labels")
    if logits.dtype in HALVES:
        wide = sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits.float())
        return wide.to(logits.dtype)
    if logits.ndim == 2:
        return _of_rows(logits, labels)
    rows = logits.reshape(-1, logits.shape[-1])
    return _of_rows(rows, labels.reshape(-1)).reshape(labels.shape)


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Operand = None,
    logits: Operand = None,
    name: str | None = None,
    targets: Operand = None,
) -> Tensor:
    """The cross entropy of sigmoid(logits) and labels, element by element; both get gradients.

    Torch: ``F.binary_cross_entropy_with_logits(logits, labels, reduction="none")``.

    Args:
        _sentinel: prevents labels and logits from being given by position.
        labels: probabilities, of the shape of the logits.
        logits: of any shape.
        name: not used.
        targets: what labels were called before TensorFlow 1.0.

    Raises:
        ValueError: arguments by position, or two shapes.
        TypeError: two dtypes.
    """
    function = "sigmoid_cross_entropy_with_logits"
    labels = renamed(function, labels=labels, targets=targets)
    _by_keyword(function, _sentinel, labels, logits)
    logits, labels = _alike(function, logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def weighted_cross_entropy_with_logits(
    labels: Operand = None,
    logits: Operand = None,
    pos_weight: Operand = None,
    name: str | None = None,
    targets: Operand = None,
) -> Tensor:
    """The sigmoid cross entropy, with positive labels weighted by ``pos_weight``.

    Torch: ``F.binary_cross_entropy_with_logits(logits, labels, pos_weight=..., reduction="none")``.
    """
    function = "weighted_cross_entropy_with_logits"
    labels = renamed(function, labels=labels, targets=targets)
    logits, labels = _alike(function, logits, labels)
    if pos_weight is None:
        raise ValueError(f"{function}(): give pos_weight.")
    pos_weight = tensor(pos_weight, device=logits.device, function=function, argument="pos_weight")
    check_fills(pos_weight.shape, logits.shape, function, "pos_weight")
    weight = 1 + (pos_weight.to(logits.dtype) - 1) * labels
    # As TensorFlow writes it, for the gradient at 0.
    below = torch.log1p(torch.exp(-logits.abs())) + torch.relu(-logits)
    return (1 - labels) * logits + weight * below


def log_poisson_loss(
    targets: Operand, log_input: Operand, compute_full_loss: bool = False, name: str | None = None
) -> Tensor:
    """The negative log likelihood of counts under Poisson distributions, element by element.

    Torch: ``F.poisson_nll_loss(log_input, targets, full=..., reduction="none")``, except that the
    full loss leaves Stirling's term out for targets from 0 to 1 (torch: up to 1).
    """
    log_input, targets = _alike("log_poisson_loss", log_input, targets, "log_input", "targets")
    losses = torch.exp(log_input) - log_input * targets
    if not compute_full_loss:
        return losses
    inside = (targets >= 0) & (targets <= 1)
    safe = torch.where(inside, 2.0, targets)
    stirling = safe * torch.log(safe) - safe + 0.5 * torch.log(2 * torch.pi * safe)
    return losses + torch.where(inside, 0.0, stirling)


def _of_rows(logits: Tensor, labels: Tensor) -> Tensor:
    # torch ignores one class by default, -100, where TensorFlow raises.
    return F.cross_entropy(logits, labels.long(), ignore_index=-(2**31), reduction="none")


def _softmax_cross_entropy(labels: Tensor, logits: Tensor, dim: int) -> Tensor:
    wide = logits.float() if logits.dtype in HALVES else logits
    labels = labels.to(wide.dtype)
    losses = -(labels * torch.log_softmax(wide, dim)).sum(dim)
    # TensorFlow's gradient is softmax - labels.  Differentiated, the line above gives
    # softmax * sum(labels) - labels; this term is 0 and has the difference as its gradient.
    total = torch.logsumexp(wide, dim)
    losses = losses + (1 - labels.detach().sum(dim)) * (total - total.detach())
    return losses.to(logits.dtype)


def _distributions(
    function: str, labels: Operand, logits: Operand, axis: Any, dim: Any
) -> tuple[Tensor, Tensor, int]:
    axis = renamed(function, axis=axis, dim=dim)
    logits = floating(logits, function, "logits")
    labels = tensor(labels, device=logits.device, function=function, argument="labels")
    if logits.ndim == 0 or logits.shape != labels.shape:
        raise ValueError(
            f"{function}(): labels of shape {list(labels.shape)} and logits of shape"
            f" {list(logits.shape)} have to be of one shape, with an axis of classes."
        )
    return (
        labels.to(logits.dtype),
        logits,
        one_axis(-1 if axis is None else axis, logits.ndim, function),
    )


def _alike(
    function: str, one: Operand, two: Operand, first: str = "logits", second: str = "labels"
) -> list[Tensor]:
    """Two float tensors of one dtype and shape."""
    sizes = [list(tensor(value, function=function).shape) for value in (one, two)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{function}(): {first} {sizes[0]} and {second} {sizes[1]} have to be of one shape."
        )
    found = same_dtype((one, two), function, f"{first} and {second}")
    floating(found[0], function, first)
    return found


def _by_keyword(function: str, sentinel: Any, labels: Operand, logits: Operand) -> None:
    if sentinel is not None or labels is None or logits is None:
        raise ValueError(
            f"{function}(): name the arguments: {function}(labels=..., logits=...); before"
            " TensorFlow 1.0 the logits came first."
        )
