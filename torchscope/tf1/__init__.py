"""torchscope.tf1: TensorFlow 1's functions over torch. This file holds the public names only.

Each module lists its names in ``__all__``.  A name that is not here raises an AttributeError that
says what to write instead (``_missing``).
"""

from torch import Tensor as Tensor

from . import _missing
from . import dtypes as dtypes
from . import nn as nn
from .dtypes import *

__getattr__ = _missing.of("tf")
