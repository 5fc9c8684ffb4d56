"""Values of tensors that torch.distributed has sharded (DTensors); knows no store and no name.

torch can neither copy a whole tensor into a sharded one nor add the two.
"""

import sys
from typing import Any, cast

import torch
from torch import nn


def like(variable: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``value``, or this rank's shard of it if ``variable`` is sharded; nothing is sent."""
    if not is_sharded(variable) or is_sharded(value):
        return value
    kept: Any = variable
    distribute = sys.modules["torch.distributed.tensor"].distribute_tensor
    return distribute(value.detach(), kept.device_mesh, kept.placements, src_data_rank=None)


def gathered(value: torch.Tensor) -> torch.Tensor:
    """The whole of ``value``, with its gradient, on every rank."""
    return cast("Any", value).full_tensor() if is_sharded(value) else value


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether each rank has a shard of it."""
    # If nobody has imported DTensor to its end, none exists; importing it would take a second.
    kind = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", ())
    return isinstance(tensor, kind)


def is_fully_sharded(module: nn.Module) -> bool:
    """Whether ``fully_shard`` was called on it: then its tensors are whole during its calls."""
    return isinstance(module, getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ()))


def reshard(module: nn.Module) -> None:
    """Free the tensors that a call has gathered: what is written to them would be lost."""
    for inner in module.modules():
        if is_fully_sharded(inner):
            cast("Any", inner).reshard()
