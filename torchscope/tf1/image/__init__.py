"""tf.image: resizing, cropping, flipping, colors. This file holds the public names only."""

from torchscope.tf1 import _missing

from .color import *
from .geometry import *
from .patches import *
from .resize import *

__getattr__ = _missing.of("tf.image")
