"""The command line: checkpoints listed, compared and converted, and TensorFlow 1 code ported."""

from ._main import main

__all__ = ["main"]
