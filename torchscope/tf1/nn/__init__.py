"""tf.nn: what a TensorFlow 1 network calls. This file holds the public names only."""

from torchscope.tf1 import _missing
from torchscope.tf1.ops.slicing import depth_to_space as depth_to_space
from torchscope.tf1.ops.slicing import space_to_batch as space_to_batch
from torchscope.tf1.ops.slicing import space_to_depth as space_to_depth
from torchscope.tf1.rnn import bidirectional_dynamic_rnn as bidirectional_dynamic_rnn
from torchscope.tf1.rnn import dynamic_rnn as dynamic_rnn
from torchscope.tf1.rnn import raw_rnn as raw_rnn
from torchscope.tf1.rnn import rnn_cell as rnn_cell
from torchscope.tf1.rnn import static_bidirectional_rnn as static_bidirectional_rnn
from torchscope.tf1.rnn import static_rnn as static_rnn

from .activations import *
from .convolution import *
from .cross_entropy import *
from .dropout import *
from .embedding import *
from .linear import *
from .normalization import *
from .pooling import *
from .ranking import *
from .sampled import *

__getattr__ = _missing.of("tf.nn")
