"""A check that torch.distributed does not make: that all ranks hold the same variables.

Knows ranks and which variables a module holds; makes and changes none.
"""

import hashlib
import warnings
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import torch
from torch import nn

from ._errors import NotBuiltError, ScopeError, ScopeWarning, VariableMismatchError
from ._names import unescape
from ._store import VariableStore
from ._unbuilt import Unbuilt

__all__ = ["check_same_variables"]


def check_same_variables(module: nn.Module, process_group: Any = None) -> None:
    """Raise, on every rank, unless all ranks hold the same variables in the same order.

    ``DistributedDataParallel`` pairs parameters by position. A rank that makes its variables in
    another order then trains with the gradients of others, and torch says nothing. Every rank calls
    this once its net is built, before wrapping it:

    >>> import torch, torchscope as ts, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> net = ts.ScopedModule(lambda x: x @ ts.get_variable("w", [3, 2])).build(torch.ones(1, 3))
    >>> ts.distributed.check_same_variables(net)
    >>> dist.destroy_process_group()

    It compares names, order, shapes, dtypes, and which are trained, frozen or buffers; not values.
    It warns if seeds differ. Each rank sends a hundred bytes unless something differs.

    Args:
        module: a ``ScopedModule``, or a bigger module with some inside.
        process_group: the ranks to compare; all of them by default.

    Raises:
        VariableMismatchError: names the first difference and the rank.
        NotBuiltError: a ``ScopedModule`` was not built, on this rank or on another.
        ScopeError: ``torch.distributed`` is not initialized.
    """
    ranks = torch.distributed
    if not ranks.is_available() or not ranks.is_initialized():
        raise ScopeError(
            None,
            "torch.distributed is not initialized: there are no ranks to compare. Start the script "
            "with torchrun, and call this before: torch.distributed.init_process_group().",
        )
    if ranks.get_rank(process_group) < 0:
        return  # This rank is not in the group.

    # A rank that finds an error of its own raises only after the exchange, or others would wait.
    stores = [inner for inner in module.modules() if isinstance(inner, VariableStore)]
    unbuilt = any(isinstance(store._parameters, Unbuilt) for store in stores)
    own = [] if unbuilt else list(_described(module))
    seeds = [store.seed for store in stores]
    reports: list[Any] = [None] * ranks.get_world_size(process_group)
    ranks.all_gather_object(reports, (unbuilt, _digest(own), seeds[:1]), process_group)

    lacking = [rank for rank, (unbuilt, _, _) in enumerate(reports) if unbuilt]
    if lacking:
        raise NotBuiltError(
            None,
            f"A ScopedModule was not built on {_listed(lacking)}. Build it first, on every rank: "
            "net.build(*example).",
        )
    if len({digest for _, digest, _ in reports}) > 1:
        first = [own]
        ranks.broadcast_object_list(first, group=process_group, group_src=0)
        differences: list[Any] = [None] * len(reports)
        ranks.all_gather_object(differences, _difference(module, own, first[0]), process_group)
        _refuse(differences)
    others = [rank for rank, (_, _, seeds) in enumerate(reports) if seeds != reports[0][2]]
    if others:
        warnings.warn(
            f"The variables have other initial values on {_listed(others)} than on rank 0, because "
            "the seeds differ. DDP uses those of rank 0, but fully_shard shards each rank's own. "
            "Give the seed: ts.ScopedModule(fn, seed=0).",
            ScopeWarning,
            stacklevel=2,
        )


def _described(module: nn.Module) -> Iterator[tuple[str, str]]:
    """The state-dict key of each variable and what it is, in the order in which torch sees them."""
    for key, parameter in module.named_parameters():
        yield key, f"{_kind(parameter)}, {'trained' if parameter.requires_grad else 'frozen'}"
    for key, buffer in module.named_buffers():
        yield key, f"{_kind(buffer)}, a buffer"


def _kind(tensor: torch.Tensor) -> str:
    return f"shape {tuple(tensor.shape)}, {str(tensor.dtype).removeprefix('torch.')}"


def _digest(described: list[tuple[str, str]]) -> str:
    return hashlib.blake2b(repr(described).encode(), digest_size=16).hexdigest()


def _difference(
    module: nn.Module, own: list[tuple[str, str]], first: list[tuple[str, str]]
) -> tuple[str, str] | None:
    """The first name that differs from rank 0, and how; None if none does."""
    for here, there in zip_longest(own, first):
        if here == there:
            continue
        if here is None:
            return unescape(there[0]), f"lacks {unescape(there[0])!r} ({there[1]})"
        name = unescape(here[0])
        has = f"has {name!r} ({here[1]}{_made_at(module, here[0])})"
        if there is None:
            return name, f"{has}, which rank 0 lacks"
        if here[0] == there[0]:
            return name, f"{has}, where it is {there[1]} on rank 0"
        return name, f"{has}, where rank 0 has {unescape(there[0])!r} ({there[1]})"
    return None


def _made_at(module: nn.Module, key: str) -> str:
    path, _, last = key.rpartition(".")
    owner = module.get_submodule(path)
    declared = owner._declared.get(unescape(last)) if isinstance(owner, VariableStore) else None
    return "" if declared is None else f", made at {declared.origin}"


def _refuse(differences: list[tuple[str, str] | None]) -> None:
    found = {rank: found for rank, found in enumerate(differences) if found}
    rank, (name, difference) = next(iter(found.items()))
    also = [other for other in found if other != rank]
    more = f" It also differs on {_listed(also)}." if also else ""
    raise VariableMismatchError(
        name,
        f"The variables are not the same on all ranks: rank {rank} {difference}.{more} Make them "
        "by the same code in the same order everywhere (not below `if rank == 0:`, nor in the "
        "order of a set), and build with inputs of the same shapes: net.build(*example).",
    )


def _listed(ranks: list[int]) -> str:
    """The ranks in words; only the first eight of many."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    some = ", ".join(map(str, ranks[:8]))
    return f"ranks {some}{', ...' if len(ranks) > 8 else ''}"
