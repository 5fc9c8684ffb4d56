"""tf.contrib: an index of what is elsewhere. This file holds the public names only."""

from torchscope.tf1 import _missing
from torchscope.tf1 import rnn as rnn
from torchscope.tf1 import slim as layers
from torchscope.tf1 import slim as slim

from . import framework as framework

__all__ = ["framework", "layers", "rnn", "slim"]

__getattr__ = _missing.of("tf.contrib")
