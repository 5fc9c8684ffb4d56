"""tf.train: optimizers, learning rates, averages, the global step. This file holds names only."""

from torchscope.tf1 import _missing

from .averages import *
from .global_step import *
from .optimizer import Optimizer as Optimizer
from .optimizers import *
from .schedules import *

__getattr__ = _missing.of("tf.train")
