"""torchscope.tf1: TensorFlow 1's functions over torch. This file holds the public names only.

Each module lists its names in ``__all__``.  A name that is not here raises an AttributeError that
says what to write instead (``_missing``).
"""

from torch import Tensor as Tensor

from . import _missing
from . import dtypes as dtypes
from . import layers as layers
from . import linalg as linalg
from . import math as math
from . import nn as nn
from . import sparse as sparse
from .dtypes import *
from .ops.arithmetic import *
from .ops.arrays import *
from .ops.casts import *
from .ops.comparisons import *
from .ops.creation import *
from .ops.elementwise import *
from .ops.indexing import *
from .ops.linear_algebra import *
from .ops.old_names import *
from .ops.reductions import *
from .ops.segments import *
from .ops.shapes import *
from .ops.slicing import *
from .ops.sparse import *
from .updates import *

newaxis = None

__getattr__ = _missing.of("tf")
