"""Running a module without a trace: whatever a pass changes is put back; records nothing.

In: any module, and what it will be called with. Out: a `with` block after which values, tables,
attributes, training flags and random streams are as they were, whether the block raised or not;
and so is the default store, which a pass may have asked.
"""

import random
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from torchscope._build import keep_values, put_back
from torchscope._default import _default
from torchscope._pass import here
from torchscope._pending import Pending
from torchscope._sharded import reshard


@contextmanager
def undisturbed(module: nn.Module, inputs: Any) -> Generator[None]:
    """Leave ``module``, all below it, ``inputs`` and random streams as they were."""
    stores = [] if _default.store is None else [_default.store]
    before: list[_State | _DefaultPass] = [_DefaultPass()]
    before += [_State(one) for one in dict.fromkeys([*module.modules(), *stores])]
    streams = _other_streams()
    try:
        with put_back(module):
            leaves = [*tree_leaves(inputs), *(v for one in before for v in one.own.values())]
            keep_values(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
            yield
    finally:
        reshard(module)  # Else fully_shard believes that what it gathered is still there.
        for state in before:
            state.put_back()
        for set_state, value in streams:
            set_state(value)


class _State:
    """What a module had in its ``__dict__``, and in the containers there."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.own: dict[str, Any] = dict(module.__dict__)
        self.inside = [(one, _copied(one)) for one in self.own.values() if isinstance(one, _KINDS)]
        tensors = (*module._parameters.values(), *module._buffers.values())
        self.trained = [(t, t.requires_grad) for t in tensors if t is not None and t.is_leaf]

    def put_back(self) -> None:
        own = self.module.__dict__
        if not _same(own, self.own):
            own.clear()
            own.update(self.own)
        for one, copy in self.inside:
            _refill(one, copy)
        for tensor, trained in self.trained:
            if tensor.requires_grad is not trained:
                tensor.requires_grad_(trained)


class _DefaultPass:
    """The default store, and this thread's share of its pass."""

    def __init__(self) -> None:
        self.own: dict[str, Any] = {}
        self.default = _default.store, _default.run, _default.was_reset
        self.run = run = here.endless
        if run is not None:
            self.opened, self.templates = run.opened.copy(), dict(run.templates)
            self.values = {key: list(values) for key, values in run.values.items()}

    def put_back(self) -> None:
        _default.store, _default.run, _default.was_reset = self.default
        here.endless = run = self.run
        if run is not None:
            run.opened = self.opened
            _refill(run.templates, self.templates)
            _refill(run.values, self.values)


_KINDS: Any = (dict, list, set, Pending)


def _copied(one: Any) -> Any:
    if isinstance(one, Pending):
        return one.copy()
    kind: Any = next(kind for kind in (dict, list, set) if isinstance(one, kind))
    return kind(one)


def _refill(one: Any, copy: Any) -> None:
    """Give a container what it held; by no method that a subclass may have changed."""
    if isinstance(copy, Pending):
        for name in Pending.__slots__:
            setattr(one, name, getattr(copy, name))
    elif isinstance(copy, list):
        list.__setitem__(one, slice(None), copy)
    elif isinstance(copy, set):
        set.clear(one)
        set.update(one, copy)
    elif not _same(one, copy):
        dict.clear(one)
        dict.update(one, copy)


def _same(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    """Whether two dicts hold the same objects in the same order; tensors cannot be compared."""
    pairs = zip(dict(one).items(), other.items(), strict=False)
    return len(one) == len(other) and all(a is c and b is d for (a, b), (c, d) in pairs)


def _other_streams() -> list[tuple[Any, Any]]:
    """The states of Python's and numpy's random streams, each with what puts it back."""
    streams: list[tuple[Any, Any]] = [(random.setstate, random.getstate())]
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        streams.append((numpy.random.set_state, numpy.random.get_state()))
    return streams
