"""tf.keras.initializers: TensorFlow's, and three with defaults of their own; a namespace."""

from typing import Any

from torchscope.initializers import Initializer
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
    random_normal,
    random_uniform,
    truncated_normal,
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
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "get",
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


def RandomNormal(  # noqa: N802
    mean: float = 0.0, stddev: float = 0.05, seed: int | None = None, dtype: Any = None
) -> Initializer:
    """Normal values with a standard deviation of 0.05.

    Torch: ``ts.random_normal_initializer(stddev=0.05)``.
    """
    return random_normal(mean, stddev, seed, dtype)


def TruncatedNormal(  # noqa: N802
    mean: float = 0.0, stddev: float = 0.05, seed: int | None = None, dtype: Any = None
) -> Initializer:
    """Normal values with a standard deviation of 0.05, truncated at two standard deviations.

    Torch: ``ts.truncated_normal_initializer(stddev=0.05)``.
    """
    return truncated_normal(mean, stddev, seed, dtype)


def RandomUniform(  # noqa: N802
    minval: float = -0.05, maxval: float = 0.05, seed: int | None = None, dtype: Any = None
) -> Initializer:
    """Uniform values between -0.05 and 0.05.

    Torch: ``ts.random_uniform_initializer(-0.05, 0.05)``.
    """
    return random_uniform(minval, maxval, seed, dtype)


_NAMED: dict[str, Any] = {
    **{name: globals()[name] for name in __all__ if name != "get"},
    "normal": RandomNormal,
    "random_normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "uniform": RandomUniform,
    "random_uniform": RandomUniform,
}


def get(identifier: Any) -> Any:
    """The initializer of a name, such as ``"he_normal"``; anything else is returned as it is.

    Torch: ``getattr(torch.nn.init, name)``.

    Raises:
        ValueError: no initializer has that name.
    """
    if not isinstance(identifier, str):
        return identifier
    if identifier not in _NAMED:
        raise ValueError(f"{identifier!r} is not an initializer. Use one of: {', '.join(_NAMED)}.")
    return _NAMED[identifier]()
