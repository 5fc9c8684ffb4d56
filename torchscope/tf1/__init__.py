"""torchscope.tf1: TensorFlow 1's functions over torch. This file holds the public names only.

Each module lists its names in ``__all__``.  Namespaces, such as ``tf.layers``, are imported when
they are asked for, since a model uses few of them.  A name that is not here raises an
AttributeError that says what to write instead (``_missing``).
"""

import typing as _typing
from importlib import import_module as _import_module

from torch import Tensor as Tensor

from . import _missing
from . import dtypes as dtypes
from .clipping import *
from .dtypes import *
from .ops.arithmetic import *
from .ops.arrays import *
from .ops.casts import *
from .ops.checks import *
from .ops.comparisons import *
from .ops.control_flow import *
from .ops.creation import *
from .ops.elementwise import *
from .ops.functional import *
from .ops.gradients import *
from .ops.indexing import *
from .ops.initial_values import *
from .ops.linear_algebra import *
from .ops.old_names import *
from .ops.quiet import *
from .ops.random import *
from .ops.reductions import *
from .ops.scopes import *
from .ops.segments import *
from .ops.shapes import *
from .ops.slicing import *
from .ops.sparse import *
from .ops.sparse_segments import *
from .ops.special import *
from .ops.tensor_array import *
from .ops.variables import *
from .updates import *

if _typing.TYPE_CHECKING:  # what __getattr__ gives
    from . import contrib as contrib
    from . import debugging as debugging
    from . import estimator as estimator
    from . import image as image
    from . import initializers as initializers
    from . import keras as keras
    from . import layers as layers
    from . import linalg as linalg
    from . import logging as logging
    from . import losses as losses
    from . import math as math
    from . import nest as nest
    from . import nn as nn
    from . import random as random
    from . import rnn as rnn
    from . import slim as slim
    from . import sparse as sparse
    from . import summary as summary
    from . import train as train
    from .image import extract_image_patches as extract_image_patches

__version__ = "1.15.0"  # whose functions these are; programs ask
newaxis = None

_NAMESPACES = (
    "contrib",
    "debugging",
    "estimator",
    "image",
    "initializers",
    "keras",
    "layers",
    "linalg",
    "logging",
    "losses",
    "math",
    "nest",
    "nn",
    "random",
    "rnn",
    "slim",
    "sparse",
    "summary",
    "train",
)
_missing_name = _missing.of("tf")


def __getattr__(name: str) -> _typing.Any:
    if name in _NAMESPACES:
        return _import_module(f"{__name__}.{name}")
    if name == "extract_image_patches":
        return _import_module(f"{__name__}.image").extract_image_patches
    return _missing_name(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMESPACES, "extract_image_patches"})
