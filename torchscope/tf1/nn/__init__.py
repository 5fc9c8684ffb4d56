"""tf.nn: what a TensorFlow 1 network calls. This file holds the public names only."""

from torchscope.tf1 import _missing

from .activations import *
from .convolution import *
from .cross_entropy import *
from .dropout import *
from .embedding import *
from .linear import *
from .normalization import *
from .pooling import *
from .ranking import *

__getattr__ = _missing.of("tf.nn")
