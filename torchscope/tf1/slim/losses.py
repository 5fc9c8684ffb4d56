"""slim.losses, the same as tf.contrib.losses: tf.losses with predictions or logits first."""

from typing import Any

from torch import Tensor

from torchscope.tf1 import _missing, losses
from torchscope.tf1._convert import Operand
from torchscope.tf1.losses import (
    add_loss,
    compute_weighted_loss,
    get_losses,
    get_regularization_losses,
    get_total_loss,
)

__all__ = [
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]

__getattr__ = _missing.of("tf.contrib.losses")


def absolute_difference(
    predictions: Operand, labels: Operand = None, weights: Operand = 1.0, scope: Any = None
) -> Tensor:
    """Average the absolute differences; see ``tf.losses.absolute_difference``.

    Torch: ``F.l1_loss``.
    """
    return losses.absolute_difference(labels, predictions, weights)


def mean_squared_error(
    predictions: Operand, labels: Operand = None, weights: Operand = 1.0, scope: Any = None
) -> Tensor:
    """Average the squared differences; see ``tf.losses.mean_squared_error``.

    Torch: ``F.mse_loss``.
    """
    return losses.mean_squared_error(labels, predictions, weights)


def mean_pairwise_squared_error(
    predictions: Operand, labels: Operand = None, weights: Operand = 1.0, scope: Any = None
) -> Tensor:
    """Average over pairs of elements; see ``tf.losses.mean_pairwise_squared_error``.

    Torch: none.
    """
    return losses.mean_pairwise_squared_error(labels, predictions, weights)


def log_loss(
    predictions: Operand,
    labels: Operand = None,
    weights: Operand = 1.0,
    epsilon: float = 1e-7,
    scope: Any = None,
) -> Tensor:
    """Average the cross entropies of probabilities; see ``tf.losses.log_loss``.

    Torch: ``F.binary_cross_entropy``; epsilon is added inside both logarithms.
    """
    return losses.log_loss(labels, predictions, weights, epsilon)


def cosine_distance(
    predictions: Operand,
    labels: Operand = None,
    axis: Any = None,
    weights: Operand = 1.0,
    scope: Any = None,
    dim: Any = None,
) -> Tensor:
    """Average one minus the scalar products; see ``tf.losses.cosine_distance``.

    Torch: ``1 - (x * y).sum(axis)``; nothing is normalized.
    """
    return losses.cosine_distance(labels, predictions, axis, weights, dim=dim)


def sigmoid_cross_entropy(
    logits: Operand,
    multi_class_labels: Operand,
    weights: Operand = 1.0,
    label_smoothing: float = 0,
    scope: Any = None,
) -> Tensor:
    """Average the cross entropies of sigmoids; see ``tf.losses.sigmoid_cross_entropy``.

    Torch: ``F.binary_cross_entropy_with_logits``.
    """
    return losses.sigmoid_cross_entropy(multi_class_labels, logits, weights, label_smoothing)


def softmax_cross_entropy(
    logits: Operand,
    onehot_labels: Operand,
    weights: Operand = 1.0,
    label_smoothing: float = 0,
    scope: Any = None,
) -> Tensor:
    """Average the cross entropies of softmax; see ``tf.losses.softmax_cross_entropy``.

    Torch: ``F.cross_entropy``; labels are rows of probabilities.
    """
    return losses.softmax_cross_entropy(onehot_labels, logits, weights, label_smoothing)


def sparse_softmax_cross_entropy(
    logits: Operand, labels: Operand, weights: Operand = 1.0, scope: Any = None
) -> Tensor:
    """Average the cross entropies of softmax; see ``tf.losses.sparse_softmax_cross_entropy``.

    Torch: ``F.cross_entropy``; the classes are last.
    """
    return losses.sparse_softmax_cross_entropy(labels, logits, weights)


def hinge_loss(logits: Operand, labels: Operand = None, scope: Any = None) -> Tensor:
    """Return the hinge loss of each element, for labels 0 and 1; nothing is averaged.

    Torch: ``F.relu(1 - y * x)`` for y = -1, 1.
    """
    none = losses.Reduction.NONE
    return losses.hinge_loss(labels, logits, loss_collection=None, reduction=none)
