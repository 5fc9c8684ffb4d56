"""Pooling layers; they have no variables, but are numbered as layers are."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchscope.tf1._convert import Operand
from torchscope.tf1.nn.pooling import pooled

from ._parts import documented, is_last, layer_input, layer_scope, padding_name, per_axis

__all__ = [
    "average_pooling1d",
    "average_pooling2d",
    "average_pooling3d",
    "max_pooling1d",
    "max_pooling2d",
    "max_pooling3d",
]


def _pooling(kind: str, rank: int) -> Callable[..., Tensor]:
    base = f"{kind}_pooling{rank}d"
    does, torch_name = {
        "max": ("Take the largest value", f"nn.MaxPool{rank}d"),
        "average": ("Take the mean of the values", f"nn.AvgPool{rank}d(count_include_pad=False)"),
    }[kind]
    axes = {1: "W", 2: "H, W", 3: "D, H, W"}[rank]

    @documented(
        base,
        f"""{does} under each window of [N, {axes}, C].

        Torch: ``{torch_name}``; channels last by default, "same" at any size, strides required.

        Args:
            inputs: [N, {axes}, C], or [N, C, {axes}] with ``channels_first``.
            pool_size: the window: an int, or one for each spatial axis.
            strides: likewise.
            padding: ``"valid"`` or ``"same"``.
            data_format: ``"channels_last"`` or ``"channels_first"``.
            name: of the scope; ``{base}``, ``{base}_1``, ... by default.

        Raises:
            ValueError: a rank, size or option that does not fit.
            TypeError: the inputs are integers.
        """,
    )
    def pooling(
        inputs: Operand,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: Any = None,
    ) -> Tensor:
        window = per_axis(pool_size, rank, base, "pool_size")
        steps = per_axis(strides, rank, base, "strides")
        padding = padding_name(base, padding)
        first = not is_last(data_format, base)
        with layer_scope(name, base, None):
            x = layer_input(inputs, base, rank + 2)
            return pooled(x, window, steps, padding, first, "MAX" if kind == "max" else "AVG", base)

    return pooling


max_pooling1d, max_pooling2d, max_pooling3d = (_pooling("max", rank) for rank in (1, 2, 3))
average_pooling1d, average_pooling2d, average_pooling3d = (
    _pooling("average", rank) for rank in (1, 2, 3)
)
