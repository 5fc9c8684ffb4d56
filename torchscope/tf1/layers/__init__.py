"""tf.layers: layers as functions and as objects. This file holds the public names only."""

from torchscope.tf1 import _missing

from .convolution import *
from .core import *
from .layer import *
from .normalization import *
from .objects import *
from .pooling import *

__getattr__ = _missing.of("tf.layers")
