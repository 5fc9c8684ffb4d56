"""tf.estimator: the modes that a model function is told; a namespace."""

from . import _missing

__all__ = ["ModeKeys"]

__getattr__ = _missing.of("tf.estimator")


class ModeKeys:
    """What a model function is called for.

    Torch: ``net.train()`` and ``net.eval()``, which a function sees by ``ts.is_training()``.
    """

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"
