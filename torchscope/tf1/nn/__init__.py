"""tf.nn: what a TensorFlow 1 network calls. This file holds the public names only."""

from torchscope.tf1 import _missing

from .convolution import *
from .normalization import *
from .pooling import *

__getattr__ = _missing.of("tf.nn")
