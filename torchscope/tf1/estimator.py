"""tf.estimator: the modes that are passed to a model function; a namespace."""

from . import _missing

__all__ = ["ModeKeys"]

__getattr__ = _missing.of("tf.estimator")


class ModeKeys:
    """The modes in which a model function is called.

    Torch: ``net.train()`` and ``net.eval()``, which a function reads by ``ts.is_training()``.
    """

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"
