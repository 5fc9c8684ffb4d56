"""tf.keras: only its initializers, which models without Keras use."""

from torchscope.tf1 import _missing

from . import initializers as initializers

__getattr__ = _missing.of("tf.keras")
