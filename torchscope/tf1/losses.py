"""tf.losses: weighted losses, reduced to a number and added to the collection LOSSES of the pass.

All take ``weights`` (1.0, a mask, or a tensor that broadcasts to the losses by axes of size 1), a
``reduction`` and a ``loss_collection`` (None for none).  They compute in float32.
"""

from typing import Any

import torch
from torch import Tensor

import torchscope as ts

from . import _missing
from ._arguments import one_axis, renamed
from ._convert import Operand, tensor
from .nn.cross_entropy import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    sparse_softmax_cross_entropy_with_logits,
)
from .ops.arithmetic import div_no_nan
from .ops.casts import cast

__all__ = [
    "Reduction",
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "huber_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]

LOSSES = ts.GraphKeys.LOSSES


class Reduction:
    """How losses become one number.

    Torch: the ``reduction`` of torch's losses: ``"none"``, ``"sum"``, ``"mean"``.

    NONE leaves the weighted losses as they are, SUM adds them up; then SUM_OVER_BATCH_SIZE divides
    by their number, MEAN by the sum of the weights, and SUM_BY_NONZERO_WEIGHTS, the default, by the
    number of weights that are not 0.
    """

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """All of them."""
        return (
            cls.NONE,
            cls.SUM,
            cls.MEAN,
            cls.SUM_OVER_BATCH_SIZE,
            cls.SUM_BY_NONZERO_WEIGHTS,
        )

    @classmethod
    def validate(cls, key: str) -> None:
        """ValueError unless the key is one of them."""
        if key not in cls.all():
            raise ValueError(f"reduction={key!r}; give one of {', '.join(map(repr, cls.all()))}.")


def compute_weighted_loss(
    losses: Operand,
    weights: Operand = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """Weight losses, reduce them, and add the result to the collection of losses.

    Torch: ``(losses * weights).sum() / (weights != 0).sum()``.

    >>> import torch, torchscope as ts
    >>> with ts.VariableStore():
    ...     compute_weighted_loss(torch.tensor([1.0, 2.0, 6.0]), [1.0, 1.0, 0.0])
    tensor(1.5000)

    Args:
        losses: of any shape.
        weights: a number, or a tensor of the same rank whose sizes are equal or 1.
        scope: not used.
        loss_collection: where the result goes; None for nowhere.
        reduction: one of ``tf.losses.Reduction``.

    Returns:
        A scalar, 0 if all weights are 0; the weighted losses for ``Reduction.NONE``.

    Raises:
        ValueError: weights that do not fit, or an unknown reduction.
    """
    Reduction.validate(reduction)
    losses = tensor(losses, function="compute_weighted_loss", argument="losses")
    wide = cast(losses, torch.float32)
    weights = _weights(weights, wide, "compute_weighted_loss")
    loss = wide * weights
    if reduction != Reduction.NONE:
        loss = loss.sum()
        if reduction == Reduction.SUM_OVER_BATCH_SIZE:
            loss = loss / max(wide.numel(), 1)
        elif reduction == Reduction.MEAN:
            loss = div_no_nan(loss, weights.expand(wide.shape).sum())
        elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
            loss = div_no_nan(loss, (weights != 0).float().expand(wide.shape).sum())
    loss = loss.to(losses.dtype)
    add_loss(loss, loss_collection)
    return loss


def absolute_difference(
    labels: Operand,
    predictions: Operand,
    weights: Operand = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The weighted absolute difference of labels and predictions.

    Torch: ``F.l1_loss``; with weights, and in the collection of losses.
    """
    labels, predictions = _float_pair(labels, predictions, "absolute_difference")
    losses = (predictions - labels).abs()
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_squared_error(
    labels: Operand,
    predictions: Operand,
    weights: Operand = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The weighted squared difference of labels and predictions.

    Torch: ``F.mse_loss``; with weights, and in the collection of losses.
    """
    labels, predictions = _float_pair(labels, predictions, "mean_squared_error")
    losses = (predictions - labels).square()
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def huber_loss(
    labels: Operand,
    predictions: Operand,
    weights: Operand = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """Half the squared difference up to ``delta``, linear above it, weighted.

    Torch: ``F.huber_loss``; with weights, and in the collection of losses.
    """
    labels, predictions = _float_pair(labels, predictions, "huber_loss")
    error = (predictions - labels).abs()
    quadratic = error.clamp(max=delta)
    losses = 0.5 * quadratic.square() + delta * (error - quadratic)
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def log_loss(
    labels: Operand,
    predictions: Operand,
    weights: Operand = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The weighted cross entropy of labels and predicted probabilities.

    Torch: ``F.binary_cross_entropy``; epsilon is added inside both logarithms.
    """
    labels, predictions = _float_pair(labels, predictions, "log_loss")
    losses = -labels * torch.log(predictions + epsilon)
    losses = losses - (1 - labels) * torch.log(1 - predictions + epsilon)
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def hinge_loss(
    labels: Operand,
    logits: Operand,
    weights: Operand = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The weighted hinge ``relu(1 - (2 * labels - 1) * logits)``; labels are 0 or 1.

    Torch: ``F.hinge_embedding_loss`` is another loss.
    """
    labels, logits = _float_pair(labels, logits, "hinge_loss", "logits")
    losses = torch.relu(1 - (2 * labels - 1) * logits)
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def cosine_distance(
    labels: Operand,
    predictions: Operand,
    axis: Any = None,
    weights: Operand = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
    dim: Any = None,
) -> Tensor:
    """``1 - sum(labels * predictions)`` along an axis, weighted.

    Torch: ``1 - F.cosine_similarity``; here both have to be of length 1 already.

    Raises:
        ValueError: no axis, or shapes that do not fit.
    """
    axis = renamed("cosine_distance", axis=axis, dim=dim)
    if axis is None:
        raise ValueError("cosine_distance(): give the axis.")
    labels, predictions = _float_pair(labels, predictions, "cosine_distance")
    dim = one_axis(axis, predictions.ndim, "cosine_distance")
    losses = 1 - (predictions * labels).sum(dim, keepdim=True)
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Operand,
    predictions: Operand,
    weights: Operand = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
) -> Tensor:
    """The mean squared error of pairwise differences: between elements of each example.

    Torch: none.

    Args:
        labels: [batch, ...].
        predictions: likewise.
        weights: a number, or one for each example, [batch, 1, ...].
        scope: not used.
        loss_collection: where the result goes; None for nowhere.
    """
    function = "mean_pairwise_squared_error"
    labels, predictions = _float_pair(labels, predictions, function)
    differences = predictions - labels
    dims = tuple(range(1, differences.ndim))
    weights = _weights(weights, differences, function)
    present = _sum((weights != 0).float().expand(differences.shape), dims)
    squares = _sum(differences.square(), dims)
    product = _sum(differences, dims).square()
    others = (present - 1).clamp(min=0)
    pairs = 2 * div_no_nan(squares, others) - 2 * div_no_nan(product, present * others)
    loss = (pairs * weights).sum()
    add_loss(loss, loss_collection)
    return loss


def sigmoid_cross_entropy(
    multi_class_labels: Operand,
    logits: Operand,
    weights: Operand = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The weighted sigmoid cross entropy; smoothing moves the labels towards 1/2.

    Torch: ``F.binary_cross_entropy_with_logits``; with weights, and in the collection of losses.
    """
    labels, logits = _pair(multi_class_labels, logits, "sigmoid_cross_entropy", "logits")
    if label_smoothing > 0:
        labels = labels * (1 - label_smoothing) + 0.5 * label_smoothing
    losses = sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Operand,
    logits: Operand,
    weights: Operand = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The weighted softmax cross entropy; smoothing moves the labels towards 1/classes.

    Torch: ``F.cross_entropy(label_smoothing=...)``; labels are distributions, without a gradient.
    """
    labels, logits = _pair(onehot_labels, logits, "softmax_cross_entropy", "logits")
    if label_smoothing > 0:
        labels = labels * (1 - label_smoothing) + label_smoothing / labels.shape[-1]
    losses = softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Operand,
    logits: Operand,
    weights: Operand = 1.0,
    scope: str | None = None,
    loss_collection: str | None = LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The weighted softmax cross entropy for labels that are classes.

    Torch: ``F.cross_entropy``; with weights for each example, and in the collection of losses.

    Args:
        labels: int32 or int64, of the shape of the logits without the last axis, or with one of 1.
        logits: [..., classes].
        weights: as the labels.
        scope: not used.
        loss_collection: where the result goes; None for nowhere.
        reduction: one of ``tf.losses.Reduction``.
    """
    labels = _given(labels, "labels", "sparse_softmax_cross_entropy")
    logits = _given(logits, "logits", "sparse_softmax_cross_entropy")
    if labels.ndim == logits.ndim and labels.shape[-1] == 1:
        labels = labels.squeeze(-1)
    elif logits.ndim == labels.ndim + 2 and logits.shape[-1] == 1:
        logits = logits.squeeze(-1)
    weights = tensor(weights, device=logits.device)
    if weights.ndim == labels.ndim + 1 and weights.shape[-1] == 1:
        weights = weights.squeeze(-1)
    losses = sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def add_loss(loss: Tensor, loss_collection: str | None = LOSSES) -> None:
    """Add a loss to the collection of losses, where it stays until the pass ends.

    Torch: none.
    """
    if loss_collection:
        ts.add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = LOSSES) -> list[Tensor]:
    """The losses of this pass; with ``scope``, only of scopes whose names begin so.

    Torch: none.
    """
    return ts.get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    """The current loss of each variable's regularizer.

    Torch: none; ``net.regularization_losses()`` outside the function.
    """
    return ts.get_regularization_losses(scope)


def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> Tensor:
    """The sum of the regularization losses; 0 if there are none.

    Torch: none; ``sum(net.regularization_losses())`` outside the function.
    """
    return sum(ts.get_regularization_losses(scope), torch.tensor(0.0))


def get_total_loss(
    add_regularization_losses: bool = True,
    name: str = "total_loss",
    scope: str | None = None,
) -> Tensor:
    """The sum of the losses of this pass and, by default, of the regularization losses.

    Torch: none; call it in the function that computes the losses, and return it.

    Raises:
        ValueError: there is none, or they are of several shapes.
    """
    losses = get_losses(scope)
    if add_regularization_losses:
        losses = [*losses, *ts.get_regularization_losses(scope)]
    if not losses:
        raise ValueError(
            "get_total_loss(): this pass has no losses; call it after the losses, in the same"
            " function."
        )
    shapes = [list(loss.shape) for loss in losses]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"get_total_loss(): the losses have shapes {shapes}; one with reduction='none' is not"
            " reduced."
        )
    return sum(losses[1:], losses[0])


def _weights(weights: Operand, losses: Tensor, function: str) -> Tensor:
    """The weights as float32, if they broadcast as TensorFlow allows."""
    found = cast(tensor(weights, device=losses.device, argument="weights"), torch.float32)
    if found.ndim and (
        found.ndim != losses.ndim
        or any(w != 1 and w != size for w, size in zip(found.shape, losses.shape, strict=True))
    ):
        raise ValueError(
            f"{function}(): weights {list(found.shape)} for losses {list(losses.shape)}; give a"
            " number or a tensor of the same rank, each size equal or 1."
        )
    return found


def _given(value: Operand, argument: str, function: str) -> Tensor:
    if value is None:
        raise ValueError(f"{function}(): {argument} is None.")
    return tensor(value, function=function, argument=argument)


def _pair(
    labels: Operand, predictions: Operand, function: str, argument: str
) -> tuple[Tensor, Tensor]:
    """Labels in the predictions' dtype; both must have the same shape."""
    predictions = _given(predictions, argument, function)
    labels = cast(_given(labels, "labels", function), predictions.dtype).to(predictions.device)
    if labels.shape != predictions.shape:
        raise ValueError(
            f"{function}(): labels {list(labels.shape)} and {argument} {list(predictions.shape)}"
            " have to be of one shape."
        )
    return labels, predictions


def _float_pair(
    labels: Operand, predictions: Operand, function: str, argument: str = "predictions"
) -> tuple[Tensor, Tensor]:
    """Both in float32; they must have the same shape."""
    predictions = cast(_given(predictions, argument, function), torch.float32)
    return _pair(labels, predictions, function, argument)


def _sum(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x.sum(dims, keepdim=True) if dims else x  # torch takes () for all axes


__getattr__ = _missing.of("tf.losses")
