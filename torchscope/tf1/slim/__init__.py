"""slim, which is tf.contrib.layers and tf.contrib.slim. This file holds the public names only."""

from torchscope.tf1 import _missing
from torchscope.tf1.train.global_step import *

from . import losses as losses
from . import model_analyzer as model_analyzer
from . import utils as utils
from ._arg_scopes import *
from .convolution import *
from .core import *
from .embedding import *
from .initializers import *
from .normalization import *
from .pooling import *
from .regularizers import *
from .spatial import *
from .summaries import *
from .variables import *

__getattr__ = _missing.of("tf.contrib.slim")
