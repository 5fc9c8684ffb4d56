"""The error of a file that cannot be ported."""


class PortError(ValueError):
    """The file is not a TensorFlow 1 program, or cannot be parsed."""


PortError.__module__ = "torchscope.port"
