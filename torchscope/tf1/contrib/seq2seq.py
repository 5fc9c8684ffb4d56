"""tf.contrib.seq2seq: the loss of a batch of sequences. Its decoders are not here."""

from collections.abc import Callable

from torch import Tensor

from torchscope.tf1 import _missing
from torchscope.tf1._convert import Operand, same_dtype, tensor
from torchscope.tf1.nn.cross_entropy import sparse_softmax_cross_entropy_with_logits

__all__ = ["sequence_loss"]


def sequence_loss(
    logits: Operand,
    targets: Operand,
    weights: Operand,
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    softmax_loss_function: Callable[..., Tensor] | None = None,
    name: str | None = None,
) -> Tensor:
    """The weighted cross entropy of a batch of sequences, averaged over steps, batch or both.

    Torch: ``F.cross_entropy(reduction="none")``, weighted; an average divides by the weights.

    Args:
        logits: [batch, steps, classes].
        targets: [batch, steps] of integers.
        weights: [batch, steps] of floats.
        average_across_timesteps: whether to average over the steps.
        average_across_batch: whether to average over the batch.
        softmax_loss_function: ``f(labels=, logits=)`` instead of the softmax cross entropy, of
            [batch * steps] and [batch * steps, classes].
        name: not used.

    Returns:
        A scalar if both are averaged; [batch] or [steps] if one is, [batch, steps] if none is.

    Raises:
        ValueError: other ranks.
    """
    logits, weights = same_dtype((logits, weights), "sequence_loss", "logits and weights")
    targets = tensor(targets, function="sequence_loss", argument="targets")
    if (logits.ndim, targets.ndim, weights.ndim) != (3, 2, 2):
        raise ValueError(
            f"sequence_loss(): logits {list(logits.shape)}, targets {list(targets.shape)} and"
            f" weights {list(weights.shape)} have to be [batch, steps, classes] and twice"
            " [batch, steps]."
        )
    loss = softmax_loss_function or sparse_softmax_cross_entropy_with_logits
    losses = loss(labels=targets.reshape(-1), logits=logits.flatten(0, 1)).reshape(targets.shape)
    losses = losses * weights
    averaged = (average_across_batch, average_across_timesteps)
    dims = [dim for dim, average in enumerate(averaged) if average]
    return losses.sum(dims) / (weights.sum(dims) + 1e-12) if dims else losses


__getattr__ = _missing.of("tf.contrib.seq2seq")
