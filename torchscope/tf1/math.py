"""tf.math: the operations of numbers, the same as in tf itself and in tf.nn."""

from . import _missing
from .nn import in_top_k as in_top_k
from .nn import l2_normalize as l2_normalize
from .nn import log_softmax as log_softmax
from .nn import softmax as softmax
from .nn import softplus as softplus
from .nn import softsign as softsign
from .nn import top_k as top_k
from .nn import zero_fraction as zero_fraction
from .ops import arithmetic
from .ops.arithmetic import *
from .ops.checks import is_non_decreasing as is_non_decreasing
from .ops.checks import is_strictly_increasing as is_strictly_increasing
from .ops.comparisons import *
from .ops.elementwise import *
from .ops.old_names import *
from .ops.reductions import *
from .ops.segments import *
from .ops.special import *

divide_no_nan = arithmetic.div_no_nan

__getattr__ = _missing.of("tf.math")
