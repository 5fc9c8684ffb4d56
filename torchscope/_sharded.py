"""Values of tensors that torch.distributed keeps in parts; knows of no store and no name.

torch copies no whole tensor into one that is kept in parts (a DTensor), nor adds the two.
"""

import sys
from typing import Any, cast

import torch
from torch import nn


def like(variable: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``value``, or this rank's part of it if ``variable`` is kept in parts; nothing is sent."""
    if not in_parts(variable) or in_parts(value):
        return value
    kept: Any = variable
    distribute = sys.modules["torch.distributed.tensor"].distribute_tensor
    return distribute(value.detach(), kept.device_mesh, kept.placements, src_data_rank=None)


def gathered(value: torch.Tensor) -> torch.Tensor:
    """The whole of ``value``, with its gradient, on every rank."""
    return cast("Any", value).full_tensor() if in_parts(value) else value


def in_parts(tensor: torch.Tensor) -> bool:
    """Whether each rank has a part of it."""
    # If nobody has imported it there is none; importing it would take a second.
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def is_fully_sharded(module: nn.Module) -> bool:
    """Whether ``fully_shard`` was called with it: then its tensors are whole while it is called."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(module, fsdp.FSDPModule)


def back_in_parts(module: nn.Module) -> None:
    """Let go of tensors that a call has gathered: what is written to those is lost."""
    for inner in module.modules():
        if is_fully_sharded(inner):
            cast("Any", inner).reshard()
