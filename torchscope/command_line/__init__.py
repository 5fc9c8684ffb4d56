"""The command line: checkpoints, ports of TensorFlow 1 code, and what a net shares."""

from ._main import main

__all__ = ["main"]
