"""tf.math: the operations of numbers, the same as in tf itself."""

from . import _missing
from .ops import arithmetic
from .ops.arithmetic import *
from .ops.comparisons import *
from .ops.elementwise import *
from .ops.old_names import *
from .ops.reductions import *
from .ops.segments import *

divide_no_nan = arithmetic.div_no_nan

__getattr__ = _missing.of("tf.math")
