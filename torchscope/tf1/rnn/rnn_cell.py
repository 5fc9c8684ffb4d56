"""tf.nn.rnn_cell: the cells. This file holds the public names only."""

from torchscope.tf1 import _missing

from ._cell import RNNCell as RNNCell
from .cells import BasicRNNCell as BasicRNNCell
from .cells import GRUCell as GRUCell
from .dropout import DropoutWrapper as DropoutWrapper
from .linear import _linear as _linear
from .lstm import BasicLSTMCell as BasicLSTMCell
from .lstm import LSTMCell as LSTMCell
from .lstm import LSTMStateTuple as LSTMStateTuple
from .wrappers import DeviceWrapper as DeviceWrapper
from .wrappers import MultiRNNCell as MultiRNNCell
from .wrappers import ResidualWrapper as ResidualWrapper

__getattr__ = _missing.of("tf.nn.rnn_cell")
