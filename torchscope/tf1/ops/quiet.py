"""Functions that mean something only in a graph: they do nothing."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["colocate_with", "control_dependencies", "device", "executing_eagerly"]


def device(device_name_or_function: Any) -> AbstractContextManager[None]:
    """Do nothing.

    Torch: ``net.to(device)`` moves the variables, ``with torch.device(...)`` is for new tensors.
    """
    return nullcontext()


def control_dependencies(control_inputs: Any) -> AbstractContextManager[None]:
    """Do nothing: operations run in the order in which they are written."""
    return nullcontext()


def colocate_with(op: Any, ignore_existing: bool = False) -> AbstractContextManager[None]:
    """Do nothing."""
    return nullcontext()


def executing_eagerly() -> bool:
    """False: the code that asks was written for TensorFlow's graphs.

    Torch: nothing; PyTorch always executes eagerly.
    """
    return False
