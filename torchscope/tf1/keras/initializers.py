"""tf.keras.initializers: those that are no others than TensorFlow's; a namespace."""

from torchscope.tf1 import _missing
from torchscope.tf1.initializers import (
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    identity,
    lecun_normal,
    lecun_uniform,
    ones,
    orthogonal,
    variance_scaling,
    zeros,
)
from torchscope.tf1.initializers import constant as Constant  # noqa: N812  # Keras's names
from torchscope.tf1.initializers import identity as Identity  # noqa: N812
from torchscope.tf1.initializers import ones as Ones  # noqa: N812
from torchscope.tf1.initializers import orthogonal as Orthogonal  # noqa: N812
from torchscope.tf1.initializers import variance_scaling as VarianceScaling  # noqa: N812
from torchscope.tf1.initializers import zeros as Zeros  # noqa: N812

__all__ = [
    "Constant",
    "Identity",
    "Ones",
    "Orthogonal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "variance_scaling",
    "zeros",
]

__getattr__ = _missing.of("tf.keras.initializers")
