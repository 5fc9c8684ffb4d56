"""Rows of a table by index, with sparse gradients (rows) if an optimizer asks for them.

TensorFlow's gradient of a lookup holds one row for each index, also of equal indices, and its
optimizers and ``clip_by_global_norm`` treat it differently from a dense one: a row that was not
looked up keeps its momentum, and the norm is taken before equal rows are added up.  torch has such
gradients, too (sparse and not coalesced), but most of its optimizers refuse them.  So they are
dense unless asked for: by ``as_rows(parameters)``, which TensorFlow's optimizers call, and users as
``tf.train.sparse_gradients``.
"""

from collections.abc import Iterable
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it


def as_rows(parameters: Iterable[Tensor], enabled: bool = True) -> None:
    """From the next forward on, give these parameters sparse gradients from lookups of rows.

    A parameter that is also used in another way in the same step gets a dense gradient all the
    same; so do all in DistributedDataParallel, which takes sparse ones from ``nn.Embedding`` only.
    """
    for parameter in parameters:
        # On the parameter itself: a table of parameters would go stale when one is replaced.
        parameter._tf1_rows = enabled  # pyright: ignore[reportAttributeAccessIssue]


class _AsTheyCome(torch.autograd.Function):
    """The table itself, whose gradients as rows are concatenated where several are summed.

    On a CPU torch adds up equal rows of two lookups then, unless the values of one are strided.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(table: Tensor) -> Tensor:
        return table.view_as(table)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, rows: Tensor) -> Tensor:  # pyright: ignore
        if not rows.is_sparse:
            return rows
        values = rows._values()
        return with_values(rows, torch.stack([values, values], dim=-1)[..., 0])


def is_rows(t: Any) -> TypeGuard[Tensor]:
    """Whether it is a gradient as rows."""
    return isinstance(t, Tensor) and t.is_sparse


def with_values(rows: Tensor, values: Tensor) -> Tensor:
    """A gradient as rows with other values, of the same rows."""
    parts = rows._indices(), values, rows.shape
    return torch.sparse_coo_tensor(*parts, check_invariants=False)  # they are those of `rows`


def take(table: Tensor, ids: Tensor, function: str) -> Tensor:
    """The rows of a table, [rows, ...], for int32 or int64 ids of any shape.

    Raises:
        IndexError: an id out of range, on the CPU; a GPU stops the program.
        ValueError: a scalar instead of a table.
    """
    if not table.ndim:
        raise ValueError(f"{function}(): params is a scalar, which has no rows.")
    try:
        if table.ndim == 2 and table.is_floating_point():
            rows = table.requires_grad and getattr(table, "_tf1_rows", False)
            if rows and nn.parallel.DistributedDataParallel._get_active_ddp_module() is not None:
                rows = False
            if rows and not torch.compiler.is_compiling():
                table = cast("Tensor", _AsTheyCome.apply(table))
            return F.embedding(ids, table, sparse=rows)
        return table.index_select(0, ids.reshape(-1)).reshape((*ids.shape, *table.shape[1:]))
    except (IndexError, RuntimeError) as error:
        if "out of range" not in str(error) and len(table):
            raise
        raise IndexError(
            f"{function}(): ids from {int(ids.min())} to {int(ids.max())} for a table of"
            f" {len(table)} rows."
        ) from None
