"""TensorFlow's plain operations by theme, each re-exported by torchscope.tf1.

A module here lists its public names in ``__all__``; ``torchscope/tf1/__init__.py`` takes them all.
"""
