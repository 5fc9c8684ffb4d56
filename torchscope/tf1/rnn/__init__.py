"""tf.contrib.rnn, and the part of it in tf.nn. This file holds the public names only."""

from torchscope.tf1 import _missing

from . import rnn_cell as rnn_cell
from ._cell import LayerRNNCell, RNNCell, assert_like_rnncell
from .cells import BasicRNNCell, GRUCell
from .dropout import DropoutWrapper
from .linear import _linear
from .lstm import (
    BasicLSTMCell,
    LayerNormBasicLSTMCell,
    LSTMBlockCell,
    LSTMCell,
    LSTMStateTuple,
)
from .raw import raw_rnn
from .sequences import (
    bidirectional_dynamic_rnn,
    dynamic_rnn,
    stack_bidirectional_dynamic_rnn,
    static_bidirectional_rnn,
    static_rnn,
)
from .wrappers import (
    DeviceWrapper,
    InputProjectionWrapper,
    MultiRNNCell,
    OutputProjectionWrapper,
    ResidualWrapper,
)

__all__ = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "DeviceWrapper",
    "DropoutWrapper",
    "GRUCell",
    "InputProjectionWrapper",
    "LSTMBlockCell",
    "LSTMCell",
    "LSTMStateTuple",
    "LayerNormBasicLSTMCell",
    "LayerRNNCell",
    "MultiRNNCell",
    "OutputProjectionWrapper",
    "RNNCell",
    "ResidualWrapper",
    "_linear",
    "assert_like_rnncell",
    "bidirectional_dynamic_rnn",
    "dynamic_rnn",
    "raw_rnn",
    "stack_bidirectional_dynamic_rnn",
    "static_bidirectional_rnn",
    "static_rnn",
]

__getattr__ = _missing.of("tf.contrib.rnn")
