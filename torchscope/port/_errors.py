"""The error of a file that cannot be ported."""


class PortError(ValueError):
    """What is in the file is not a TensorFlow 1 program that can be read."""


PortError.__module__ = "torchscope.port"
