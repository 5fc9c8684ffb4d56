"""tf.keras.regularizers: the squares count whole, where tf.contrib.layers counts half of them."""

from torchscope.regularizers import Regularizer, l1_l2_regularizer, l1_regularizer, l2_regularizer
from torchscope.tf1 import _missing

__all__ = ["l1", "l1_l2", "l2"]

__getattr__ = _missing.of("tf.keras.regularizers")


def l1(l: float = 0.01) -> Regularizer:  # noqa: E741  # Keras's name
    """``l`` times the sum of the absolute values.

    Torch: ``ts.l1_regularizer(l)``.
    """
    return l1_regularizer(float(l))


def l2(l: float = 0.01) -> Regularizer:  # noqa: E741
    """``l`` times the sum of the squares, twice what ``tf.contrib.layers.l2_regularizer`` gives.

    >>> import torch, torchscope.tf1 as tf
    >>> weights = torch.tensor([1.0, 2.0])
    >>> tf.keras.regularizers.l2(0.5)(weights), tf.contrib.layers.l2_regularizer(0.5)(weights)
    (tensor(2.5000), tensor(1.2500))

    Torch: ``ts.l2_regularizer(2 * l)``.
    """
    return l2_regularizer(2.0 * l)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> Regularizer:
    """The sum of `l1` and `l2`.

    Torch: ``ts.l1_l2_regularizer(l1, 2 * l2)``.
    """
    return l1_l2_regularizer(float(l1), 2.0 * l2)
