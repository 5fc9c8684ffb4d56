"""tf.contrib: its namespaces, with functions from elsewhere. Holds the public names only."""

from torchscope.tf1 import _missing
from torchscope.tf1 import keras as keras
from torchscope.tf1 import rnn as rnn
from torchscope.tf1 import slim as layers
from torchscope.tf1 import slim as slim
from torchscope.tf1.slim import losses as losses

from . import framework as framework
from . import learn as learn
from . import legacy_seq2seq as legacy_seq2seq
from . import seq2seq as seq2seq
from . import training as training

__all__ = [
    "framework",
    "keras",
    "layers",
    "learn",
    "legacy_seq2seq",
    "losses",
    "rnn",
    "seq2seq",
    "slim",
    "training",
]

__getattr__ = _missing.of("tf.contrib")
