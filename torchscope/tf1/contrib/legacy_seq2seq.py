"""tf.contrib.legacy_seq2seq: losses of sequences that are lists of steps, and rnn_decoder."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope.tf1 import _missing
from torchscope.tf1._convert import Operand, tensor
from torchscope.tf1.nn.cross_entropy import sparse_softmax_cross_entropy_with_logits
from torchscope.tf1.ops.arithmetic import add_n

__all__ = ["rnn_decoder", "sequence_loss", "sequence_loss_by_example"]


def sequence_loss_by_example(
    logits: Sequence[Operand],
    targets: Sequence[Operand],
    weights: Sequence[Operand],
    average_across_timesteps: bool = True,
    softmax_loss_function: Callable[..., Tensor] | None = None,
    name: str | None = None,
) -> Tensor:
    """The weighted cross entropy of each sequence of a batch, by default averaged over its steps.

    Torch: ``F.cross_entropy(reduction="none")`` of each step.

    Args:
        logits: one [batch, classes] for each step.
        targets: one [batch] of integers for each step.
        weights: one [batch] of floats for each step.
        average_across_timesteps: whether to divide by the sum of the weights.
        softmax_loss_function: ``f(labels=, logits=)`` instead of the softmax cross entropy.
        name: not used.

    Returns:
        [batch].

    Raises:
        ValueError: lists of different lengths.
    """
    if not len(logits) == len(targets) == len(weights):
        raise ValueError(
            f"sequence_loss_by_example(): {len(logits)} logits, {len(targets)} targets and"
            f" {len(weights)} weights; give one of each for each step."
        )
    loss = softmax_loss_function or _sparse_cross_entropy
    factors = [tensor(weight) for weight in weights]
    losses = [
        loss(labels=target, logits=logit) * factor
        for logit, target, factor in zip(logits, targets, factors, strict=True)
    ]
    total = add_n(losses)
    return total / (add_n(factors) + 1e-12) if average_across_timesteps else total


def sequence_loss(
    logits: Sequence[Operand],
    targets: Sequence[Operand],
    weights: Sequence[Operand],
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    softmax_loss_function: Callable[..., Tensor] | None = None,
    name: str | None = None,
) -> Tensor:
    """The weighted cross entropy of a batch of sequences, summed or by default averaged.

    Torch: ``F.cross_entropy``; see ``sequence_loss_by_example``.
    """
    losses = sequence_loss_by_example(
        logits, targets, weights, average_across_timesteps, softmax_loss_function
    )
    return losses.sum() / len(tensor(targets[0])) if average_across_batch else losses.sum()


def rnn_decoder(
    decoder_inputs: Sequence[Tensor],
    initial_state: Any,
    cell: Callable[[Tensor, Any], tuple[Tensor, Any]],
    loop_function: Callable[[Tensor, int], Tensor] | None = None,
    scope: Any = None,
) -> tuple[list[Tensor], Any]:
    """Run a cell over a list of inputs, or over inputs that a function makes of its last output.

    Torch: a loop over ``nn.LSTMCell``.

    Args:
        decoder_inputs: one [batch, in] for each step.
        initial_state: of the cell.
        cell: called with an input and a state; its variables are in the scope ``rnn_decoder``.
        loop_function: ``f(output, step)`` gives every input but the first.
        scope: instead of ``"rnn_decoder"``.

    Returns:
        The outputs and the last state.
    """
    outputs: list[Tensor] = []
    state = initial_state
    with ts.variable_scope(scope or "rnn_decoder") as opened:
        for step, given in enumerate(decoder_inputs):
            if step:
                opened.reuse_variables()
                if loop_function is not None:
                    with ts.variable_scope("loop_function", reuse=True):
                        given = loop_function(outputs[-1], step)
            output, state = cell(given, state)
            outputs.append(output)
    return outputs, state


def _sparse_cross_entropy(labels: Operand, logits: Operand) -> Tensor:
    return sparse_softmax_cross_entropy_with_logits(
        labels=tensor(labels).reshape(-1), logits=logits
    )


__getattr__ = _missing.of("tf.contrib.legacy_seq2seq")
