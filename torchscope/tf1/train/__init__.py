"""tf.train: optimizers, learning rates, averages, the global step. This file holds names only."""

from torchscope.tf1 import _missing

from .adagrad import *
from .adaptive import *
from .averages import *
from .descent import *
from .global_step import *
from .optimizer import Optimizer as Optimizer
from .rows import *
from .schedules import *

__getattr__ = _missing.of("tf.train")
