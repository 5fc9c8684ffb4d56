"""The global step, a variable that counts steps; knows no optimizer."""

import torch
from torch import Tensor

import torchscope as ts

__all__ = [
    "assert_global_step",
    "create_global_step",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
]

_GLOBAL_STEP = "global_step"  # its name, and that of its collection


def get_global_step(graph: object = None) -> Tensor | None:
    """The global step, or a variable called ``global_step``; None if there is neither.

    Torch: a number that you count yourself.

    Args:
        graph: accepted, as TensorFlow's; the store that is entered is searched.

    Raises:
        TypeError: the variable is not one integer.
    """
    try:
        found = ts.get_collection(_GLOBAL_STEP) or [
            v for v in ts.global_variables() if ts.name_of(v) == _GLOBAL_STEP
        ]
    except ts.ScopeError:  # No store was entered, and the default one is empty.
        return None
    if not found:
        return None
    assert_global_step(found[0])
    return found[0]


def create_global_step(graph: object = None) -> Tensor:
    """Make the global step in the current scope: an int64 variable that is not trained, 0 at first.

    Torch: an int in the loop of training.

    Raises:
        ValueError: there is one already, in this pass.
    """
    if _of_this_pass():
        raise ValueError("create_global_step(): there is one: tf.train.get_global_step().")
    return _made()


def get_or_create_global_step(graph: object = None) -> Tensor:
    """The global step, made in the current scope if there is none.

    It is counted by ``minimize(global_step=)`` and ``apply_gradients(global_step=)``.

    Torch: a number that you count yourself.
    """
    found = get_global_step()
    if found is None:
        return _made()
    _of_this_pass().append(found)
    return found


def _of_this_pass() -> list[Tensor]:
    """The global step, if this pass has asked for it."""
    return ts.in_this_pass(__name__, _none)


def _none() -> list[Tensor]:
    return []


def _made() -> Tensor:
    step = ts.get_variable(
        _GLOBAL_STEP,
        [],
        torch.int64,
        ts.zeros_initializer(),
        trainable=False,
        collections=[ts.GraphKeys.GLOBAL_VARIABLES, _GLOBAL_STEP],
    )
    _of_this_pass().append(step)
    return step


def assert_global_step(global_step_tensor: Tensor) -> None:
    """Raise a TypeError unless it is a tensor of one integer.

    Torch: nothing.
    """
    if not isinstance(global_step_tensor, Tensor) or global_step_tensor.is_floating_point():
        raise TypeError(f"The global step has to be an integer tensor, not {global_step_tensor!r}.")
    if global_step_tensor.ndim:
        raise TypeError(
            f"The global step has to be a scalar, not {list(global_step_tensor.shape)}."
        )


def global_step(sess: object, global_step_tensor: Tensor) -> int:
    """The current number of the global step; ``sess`` is not used.

    Torch: an int in the loop of training.
    """
    return int(global_step_tensor)
