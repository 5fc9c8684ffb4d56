"""slim's initializers: xavier and variance scaling, whose truncated normal is widened by 1.3."""

import math
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1.dtypes import as_dtype

__all__ = [
    "variance_scaling_initializer",
    "xavier_initializer",
    "xavier_initializer_conv2d",
]


class variance_scaling_initializer:  # noqa: N801  # TensorFlow's name
    """Draw values of variance ``factor / n``, where n is the number of inputs or outputs.

    Torch: ``nn.init.kaiming_normal_``; truncated at two standard deviations and then widened by
    ``sqrt(1.3)``, where ``tf.variance_scaling_initializer`` has ``sqrt(1.2925)``; kernels [.., in,
    out].

    Args:
        factor: divided by n.
        mode: which n: ``"FAN_IN"``, ``"FAN_OUT"`` or their mean, ``"FAN_AVG"``.
        uniform: whether to draw from a uniform distribution.
        seed: of its own random numbers; by default the store's.
        dtype: used where the call names none.

    Raises:
        TypeError: an unknown mode, or a dtype that is not a float.
    """

    def __init__(
        self,
        factor: float = 2.0,
        mode: str = "FAN_IN",
        uniform: bool = False,
        seed: int | None = None,
        dtype: Any = torch.float32,
    ) -> None:
        if mode not in ("FAN_IN", "FAN_OUT", "FAN_AVG"):
            raise TypeError(f"mode={mode!r}; give 'FAN_IN', 'FAN_OUT' or 'FAN_AVG'.")
        if not as_dtype(dtype).is_floating_point:
            raise TypeError(f"dtype={dtype}; the values are floats.")
        self.factor, self.mode, self.uniform = factor, mode, uniform
        self.seed, self.dtype = seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        *window, inputs, outputs = (1, *shape[-1:], *shape[-1:]) if len(shape) < 2 else shape
        n = {
            "FAN_IN": inputs,
            "FAN_OUT": outputs,
            "FAN_AVG": (inputs + outputs) / 2,
        }[self.mode] * math.prod(window)
        if self.uniform:
            limit = math.sqrt(3 * self.factor / n)
            draw: Any = ts.random_uniform_initializer(-limit, limit, seed=self.seed)
        else:
            deviation = math.sqrt(1.3 * self.factor / n)
            draw = ts.truncated_normal_initializer(0.0, deviation, seed=self.seed)
        return draw(shape, dtype=self.dtype if dtype is None else as_dtype(dtype))


def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: Any = torch.float32
) -> variance_scaling_initializer:
    """Draw values of variance ``2 / (in + out)``, from a uniform distribution by default.

    Torch: ``nn.init.xavier_uniform_``; kernels [.., in, out], and the normal one is truncated.
    """
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer
