"""tf.keras: only its initializers and regularizers, which models without Keras use."""

from torchscope.tf1 import _missing

from . import initializers as initializers
from . import regularizers as regularizers

__getattr__ = _missing.of("tf.keras")
