"""tf.nn.rnn_cell: the cells. This file holds the public names only."""

from torchscope.tf1 import _missing

from ._cell import RNNCell as RNNCell
from .cells import BasicLSTMCell as BasicLSTMCell
from .cells import BasicRNNCell as BasicRNNCell
from .cells import GRUCell as GRUCell
from .cells import LSTMCell as LSTMCell
from .cells import LSTMStateTuple as LSTMStateTuple
from .linear import _linear as _linear
from .wrappers import DeviceWrapper as DeviceWrapper
from .wrappers import DropoutWrapper as DropoutWrapper
from .wrappers import MultiRNNCell as MultiRNNCell
from .wrappers import ResidualWrapper as ResidualWrapper

__getattr__ = _missing.of("tf.nn.rnn_cell")
