"""Updates of moving averages: applied at once or collected; knows no layer and no average."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.compiler import is_compiling

import torchscope as ts

__all__ = ["collect_updates"]

Update = Callable[[], None]


class _Here(threading.local):
    """This thread's state; made in ``__init__``, the form that Dynamo can trace."""

    def __init__(self) -> None:
        self.collecting = False


_here = _Here()


class collect_updates:  # noqa: N801  # used as a function is
    """Let updates wait in UPDATE_OPS, as in TensorFlow, instead of applying them at once.

    Torch: none; ``nn.BatchNorm2d`` updates its averages in forward, and so do layers here. Inside
    this context each update is a function without arguments in the collection.

    >>> import torch, torchscope as ts
    >>> from torchscope.tf1 import layers
    >>> def model(x):
    ...     with collect_updates():
    ...         y = layers.batch_normalization(x, training=True)
    ...     return y, ts.get_collection(ts.GraphKeys.UPDATE_OPS)
    >>> net = ts.ScopedModule(model)
    >>> y, updates = net(torch.ones(4, 3))
    >>> len(updates), net["batch_normalization/moving_mean"].tolist()
    (2, [0.0, 0.0, 0.0])
    >>> for update in updates:
    ...     update()
    >>> net["batch_normalization/moving_mean"]
    tensor([0.0100, 0.0100, 0.0100])
    """

    def __enter__(self) -> None:
        self._outer = _here.collecting
        _here.collecting = True

    def __exit__(self, *error: object) -> None:
        _here.collecting = self._outer


def apply_or_collect(update: Update, collections: Any = ts.GraphKeys.UPDATE_OPS) -> None:
    """Apply an update now, unless updates are collected; with ``collections=None`` always now.

    When activation checkpointing runs the forward a second time, it is not applied again.
    """
    if _recomputing():
        return
    if collections is None or not _here.collecting:
        update()
        return
    for key in [collections] if isinstance(collections, str) else collections:
        ts.add_to_collection(key, update)


def _recomputing() -> bool:
    """Whether gradients are being computed now; compiled code never runs this a second time."""
    graph_task: Any = torch._C._current_graph_task_id
    return not is_compiling() and graph_task() != -1
