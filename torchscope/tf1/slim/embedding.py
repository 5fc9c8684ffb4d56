"""slim's embeddings of sequences."""

from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nn
from torchscope.tf1._convert import Operand

from .variables import model_variable

__all__ = ["embed_sequence"]


def embed_sequence(
    ids: Operand,
    vocab_size: int | None = None,
    embed_dim: int | None = None,
    unique: bool = False,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    scope: Any = None,
    reuse: Any = None,
) -> Tensor:
    """Look ids up in ``embeddings`` [vocab_size, embed_dim], a variable.

    Torch: ``nn.Embedding``; the initializer is the scope's, else Glorot uniform.

    Args:
        ids: integers of any shape.
        vocab_size: number of rows; may be left out on reuse.
        embed_dim: size of the rows; likewise.
        unique: accepted; the optimization is not needed here.
        initializer: of the embeddings.
        regularizer: ``f(embeddings)`` is a loss.
        trainable: whether the embeddings are.
        scope: a name or scope; ``EmbedSequence``, ``EmbedSequence_1``, ... by default.
        reuse: as for ``variable_scope``.

    Raises:
        ValueError: a size is missing, and nothing is reused; what ``get_variable`` raises.
    """
    if not (reuse or (vocab_size and embed_dim)):
        raise ValueError(
            f"embed_sequence(): vocab_size={vocab_size} and embed_dim={embed_dim}; give both, or"
            " reuse."
        )
    with ts.variable_scope(scope, "EmbedSequence", reuse=reuse):
        known = vocab_size is not None and embed_dim is not None
        shape = [vocab_size, embed_dim] if known else None
        embeddings = model_variable(
            "embeddings", shape, torch.float32, initializer, regularizer, trainable
        )
        return nn.embedding_lookup(embeddings, ids)
