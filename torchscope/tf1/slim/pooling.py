"""slim's pools: stride 2 and VALID by default; they open no scope and are not numbered."""

from typing import Any

from torch import Tensor

from torchscope.tf1 import nn
from torchscope.tf1._convert import Operand
from torchscope.tf1.layers._parts import documented, layer_input, padding_name, per_axis
from torchscope.tf1.nn.pooling import pooled

from ._arg_scopes import add_arg_scope
from .core import alias_of, is_last
from .utils import collect_named_outputs

__all__ = ["avg_pool2d", "avg_pool3d", "max_pool2d", "max_pool3d", "pool"]


def _pool(kind: str, rank: int) -> Any:
    function = f"{kind}_pool{rank}d"
    default = "MaxPool" if kind == "max" else "AvgPool"
    does = "Take the largest value" if kind == "max" else "Take the mean of the values"

    @add_arg_scope
    @documented(
        function,
        f"""{does} under each window; the stride is 2 by default.

    Torch: ``nn.{default}{rank}d``; channels last, VALID by default.

    Args:
        inputs: channels last by default; floats.
        kernel_size: the window: an int, or one for each spatial axis.
        stride: likewise.
        padding: ``"VALID"`` or ``"SAME"``.
        data_format: {'``"NHWC"`` or ``"NCHW"``' if rank == 2 else '``"NDHWC"`` or ``"NCDHW"``'}.
        outputs_collections: collections of the result.
        scope: the name of the result in them.

    Raises:
        ValueError: a rank, size or option that does not fit.
        TypeError: the inputs are integers.
    """,
    )
    def pool(
        inputs: Operand,
        kernel_size: Any,
        stride: Any = 2,
        padding: str = "VALID",
        data_format: str = "NHWC" if rank == 2 else "NDHWC",
        outputs_collections: Any = None,
        scope: Any = None,
    ) -> Tensor:
        first = not is_last(data_format, function, rank)
        y = pooled(
            layer_input(inputs, function, rank + 2),
            per_axis(kernel_size, rank, function, "kernel_size"),
            per_axis(stride, rank, function, "stride"),
            padding_name(function, padding),
            first,
            kind.upper(),
            function,
        )
        return collect_named_outputs(outputs_collections, alias_of(scope, f"{default}{rank}D"), y)

    return pool


avg_pool2d, avg_pool3d = _pool("avg", 2), _pool("avg", 3)
max_pool2d, max_pool3d = _pool("max", 2), _pool("max", 3)


@add_arg_scope
def pool(
    inputs: Operand,
    kernel_size: Any,
    pooling_type: str,
    padding: str = "VALID",
    data_format: str | None = None,
    dilation_rate: Any = 1,
    stride: Any = 1,
    outputs_collections: Any = None,
    scope: Any = None,
) -> Tensor:
    """Pool sequences, images or volumes, by their rank: ``pooling_type`` is "MAX" or "AVG".

    Torch: ``nn.MaxPool2d``, ``nn.AvgPool2d`` and the like; see ``tf.nn.pool``.
    """
    y = nn.pool(
        *(inputs, kernel_size, pooling_type, padding, dilation_rate, stride),
        data_format=data_format,
    )
    alias = alias_of(scope, f"{pooling_type.lower()}_pool")
    return collect_named_outputs(outputs_collections, alias, y)
