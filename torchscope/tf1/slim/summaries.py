"""slim's summaries: accepted, and nothing is written; log in your training loop instead."""

from typing import Any

__all__ = [
    "summarize_activation",
    "summarize_activations",
    "summarize_biases",
    "summarize_collection",
    "summarize_tensor",
    "summarize_tensors",
    "summarize_variables",
    "summarize_weights",
]


def summarize_tensor(tensor: Any, tag: Any = None) -> None:
    """Accept a tensor, and write nothing.

    Torch: ``torch.utils.tensorboard.SummaryWriter``.
    """


def summarize_activation(op: Any) -> None:
    """Accept a layer's result, and write nothing.

    Torch: ``torch.utils.tensorboard.SummaryWriter``.
    """


def summarize_tensors(tensors: Any, summarizer: Any = None) -> None:
    """Accept tensors, and write nothing.

    Torch: ``torch.utils.tensorboard.SummaryWriter``.
    """


def summarize_collection(
    collection: Any = None, name_filter: Any = None, summarizer: Any = None
) -> None:
    """Accept a collection, and write nothing.

    Torch: ``torch.utils.tensorboard.SummaryWriter``.
    """


summarize_activations = summarize_variables = summarize_weights = summarize_biases = (
    summarize_collection
)
