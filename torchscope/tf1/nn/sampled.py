"""Losses over very many classes that use a few sampled ones, and the samplers that draw these.

A sampler returns integers and how often each is expected to be drawn.  TensorFlow's ``unique=True``
draws until enough are different, and the expected counts follow from the number of draws.  Here
each class first arrives after an exponential time, the first arrivals are the sample, and the
repeated draws are Poisson distributed: the same distribution, in tensors of a fixed
size, so that it compiles.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchscope.tf1._arguments import one_int
from torchscope.tf1._convert import Operand, floating, integers

from .cross_entropy import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits
from .embedding import embedding_lookup

__all__ = [
    "fixed_unigram_candidate_sampler",
    "log_uniform_candidate_sampler",
    "nce_loss",
    "sampled_softmax_loss",
    "uniform_candidate_sampler",
]

_LEAST = -torch.finfo(torch.float32).max


class Candidates(NamedTuple):
    """Drawn classes, and how often the true and the drawn ones are expected to be drawn."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


def uniform_candidate_sampler(
    true_classes: Operand,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: Any = None,
    name: str | None = None,
) -> Candidates:
    """Draw classes from 0 to range_max - 1, all equally likely.

    Torch: ``torch.randint``, ``torch.randperm``; with the expected counts.
    """
    classes = integers(true_classes, "uniform_candidate_sampler", "true_classes")
    return _drawn(torch.ones(range_max, device=classes.device), classes, num_sampled, unique)


def log_uniform_candidate_sampler(
    true_classes: Operand,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: Any = None,
    name: str | None = None,
) -> Candidates:
    """Draw classes by Zipf's law: class k with probability log((k + 2) / (k + 1)) / log(n + 1).

    Torch: ``torch.multinomial``; with the expected counts. The classes have to be ordered by how
    frequent they are.
    """
    classes = integers(true_classes, "log_uniform_candidate_sampler", "true_classes")
    ranks = torch.arange(1, range_max + 1, dtype=torch.float32, device=classes.device)
    return _drawn(torch.log1p(1 / ranks), classes, num_sampled, unique)


def fixed_unigram_candidate_sampler(
    true_classes: Operand,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: str = "",
    distortion: float = 1.0,
    num_reserved_ids: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    unigrams: Sequence[float] = (),
    seed: Any = None,
    name: str | None = None,
) -> Candidates:
    """Draw classes by given counts to the power of ``distortion``.

    Torch: ``torch.multinomial``; with the expected counts.

    Args:
        true_classes: [batch, num_true], integers.
        num_true: not used.
        num_sampled: how many to draw.
        unique: whether they are different.
        range_max: how many classes there are.
        vocab_file: not read; give ``unigrams``.
        distortion: 0 makes all equally likely, 1 leaves the counts as they are.
        num_reserved_ids: the number of first classes that have no count and are never drawn.
        num_shards: not used.
        shard: not used.
        unigrams: the counts of the classes after the reserved ones.
        seed: accepted; see ``tf.set_random_seed``.
        name: not used.

    Raises:
        ValueError: counts for another number of classes.
    """
    function = "fixed_unigram_candidate_sampler"
    classes = integers(true_classes, function, "true_classes")
    if len(unigrams) + num_reserved_ids != range_max:
        raise ValueError(
            f"{function}(): {len(unigrams)} unigrams and {num_reserved_ids} reserved ids for"
            f" range_max={range_max}; give one count for each class (a vocab_file is not read)."
        )
    counts = torch.tensor([0.0] * num_reserved_ids + list(unigrams), device=classes.device)
    weights = torch.where(counts > 0, counts.clamp(min=1e-38) ** distortion, 0.0)
    return _drawn(weights, classes, num_sampled, unique)


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Operand,
    inputs: Operand,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Tensor:
    """The loss of telling each example's true classes from sampled ones (noise contrast).

    Torch: none.

    Args:
        weights: [num_classes, in], or a list of parts as for ``embedding_lookup``.
        biases: [num_classes], or a list of parts.
        labels: [batch, num_true], integers.
        inputs: [batch, in].
        num_sampled: how many classes are drawn for the whole batch.
        num_classes: how many there are.
        num_true: how many of them are true for an example.
        sampled_values: from a sampler; ``log_uniform_candidate_sampler`` by default.
        remove_accidental_hits: whether a drawn class that is true does not count.
        partition_strategy: ``"mod"`` or ``"div"``.
        name: not used.

    Returns:
        [batch].

    Raises:
        ValueError: shapes that do not fit.
    """
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(
            labels, num_true, num_sampled, True, num_classes
        )
    logits, labels = _sampled_logits(
        *("nce_loss", weights, biases, partition_strategy),
        *(labels, num_true, inputs, sampled_values, remove_accidental_hits),
    )
    return sigmoid_cross_entropy_with_logits(labels=labels, logits=logits).sum(1)


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Operand,
    inputs: Operand,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
    seed: Any = None,
) -> Tensor:
    """The softmax cross entropy over the true classes and sampled ones, for training only.

    Torch: none; ``nn.AdaptiveLogSoftmaxWithLoss`` is an alternative.

    Args:
        weights: [num_classes, in], or a list of parts as for ``embedding_lookup``.
        biases: [num_classes], or a list of parts.
        labels: [batch, num_true], integers.
        inputs: [batch, in].
        num_sampled: how many classes are drawn for the whole batch.
        num_classes: how many there are.
        num_true: how many of them are true for an example.
        sampled_values: from a sampler; ``log_uniform_candidate_sampler`` by default.
        remove_accidental_hits: whether a drawn class that is true does not count.
        partition_strategy: ``"mod"`` or ``"div"``.
        name: not used.
        seed: accepted; see ``tf.set_random_seed``.

    Returns:
        [batch].

    Raises:
        ValueError: shapes that do not fit.
    """
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(
            labels, num_true, num_sampled, True, num_classes
        )
    logits, labels = _sampled_logits(
        *("sampled_softmax_loss", weights, biases, partition_strategy),
        *(labels, num_true, inputs, sampled_values, remove_accidental_hits),
    )
    return softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def _sampled_logits(
    function: str,
    weights: Any,
    biases: Any,
    partition_strategy: str,
    labels: Operand,
    num_true: int,
    inputs: Operand,
    sampled_values: Any,
    remove_accidental_hits: bool,
) -> tuple[Tensor, Tensor]:
    """Logits of the true and the drawn classes, less the log of their counts; and labels."""
    classes = integers(labels, function, "labels").long()
    x = floating(inputs, function, "inputs")
    if x.ndim != 2 or classes.shape != (len(x), num_true):
        raise ValueError(
            f"{function}(): labels {list(classes.shape)} and inputs {list(x.shape)} have to be"
            f" [batch, {num_true}] (num_true) and [batch, in]."
        )
    drawn, true_count, drawn_count = (torch.as_tensor(v).detach() for v in sampled_values)
    drawn = drawn.long()
    ids = torch.cat([classes.flatten(), drawn])
    rows = embedding_lookup(weights, ids, partition_strategy)
    offsets = embedding_lookup(biases, ids, partition_strategy)
    split = classes.numel()
    true_rows = rows[:split].reshape(*classes.shape, -1)
    true = (x[:, None] * true_rows).sum(-1) + offsets[:split].reshape(classes.shape)
    others = x @ rows[split:].T + offsets[split:]
    if remove_accidental_hits:
        hits = (classes[:, :, None] == drawn).any(1)
        others = others + hits * _LEAST
    logits = torch.cat([true - true_count.log(), others - drawn_count.log()], 1)
    return logits, torch.cat([torch.full_like(true, 1 / num_true), torch.zeros_like(others)], 1)


def _drawn(weights: Tensor, classes: Tensor, num_sampled: Any, unique: bool) -> Candidates:
    """Draw by weights; also returns the expected counts of the true and the drawn classes."""
    count = one_int(num_sampled, "candidate sampler", "num_sampled")
    shares = weights / weights.sum()
    if not unique:
        drawn = torch.multinomial(shares, count, replacement=True)
        expected = shares * count
    else:
        if count > len(shares):
            raise ValueError(
                f"candidate sampler: num_sampled={count} is more than the {len(shares)} classes."
            )
        # -log1p(-u) is exponential; a class of weight 0 never arrives.
        times, order = (-torch.log1p(-torch.rand_like(shares)) / shares).sort()
        drawn, waited = order[:count], times[:count]
        again = torch.poisson((shares[drawn] * (waited[-1:] - waited)).sum())
        expected = -torch.expm1((count + again) * torch.log1p(-shares))
    return Candidates(drawn, expected[classes.long()], expected[drawn])
