"""TensorFlow 1 programs rewritten for `torchscope.tf1`, and what is left to do by hand.

`port` takes the text of a file, and reads no file; ``torchscope port`` is the command. It needs
libcst: ``pip install "torchscope[port]"``.
"""

from ._errors import PortError
from ._finder import Leftover
from ._port import Ported, port

__all__ = ["Leftover", "PortError", "Ported", "port"]
