"""slim.model_analyzer: how large the variables of a model are."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope.tf1 import _missing

__all__ = ["analyze_ops", "analyze_vars", "tensor_description"]

__getattr__ = _missing.of("slim.model_analyzer")


def tensor_description(var: Tensor) -> str:
    """Return a tensor's dtype and shape, such as ``(float32_ref 3x4)``.

    Torch: ``x.dtype, x.shape``.
    """
    return f"({str(var.dtype).removeprefix('torch.')} {'x'.join(map(str, var.shape))})"


def analyze_vars(variables: Iterable[Tensor], print_info: bool = False) -> tuple[int, int]:
    """Count the elements and bytes of variables, and print them with ``print_info``.

    Torch: ``sum(p.numel() for p in net.parameters())``.
    """
    found = list(variables)
    if print_info:
        for one in found:
            size = one.numel() * one.element_size()
            print(f"{ts.name_of(one)} {tensor_description(one)} [{one.numel()}, bytes: {size}]")
    elements = sum(one.numel() for one in found)
    size = sum(one.numel() * one.element_size() for one in found)
    if print_info:
        print(f"Total size of variables: {elements}\nTotal bytes of variables: {size}")
    return elements, size


def analyze_ops(graph: Any, print_info: bool = False) -> None:
    """Accept a graph, and count nothing.

    Torch: ``torch.profiler``.
    """
