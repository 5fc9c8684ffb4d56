"""Each variable under a module by its name, and what there is to say of it; prints nothing.

In: any module: a store, one with stores somewhere inside, or a plain one. Out: its variables in the
order of making. Names are those that users type: in a store full names (`model/h0/w`), as
`named_variables` gives them; outside of one torch's (`encoder.weight`), and where a store lies in
a plain module, both (`encoder.model/h0/w`).
"""

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from torchscope import _names
from torchscope._table import VariableTable
from torchscope._walk import items, own, walk

_DEEPEST = 64  # scopes; a name with a million slashes is not indented by as many


class Named(NamedTuple):
    """A name of a variable; one that a module uses under two names has two."""

    parts: tuple[str, ...]  # the scopes, each with what ends it, and the last name
    tensor: torch.Tensor
    module: nn.Module  # that holds it
    local: str  # its name there: the full name in a store, an attribute elsewhere

    @property
    def name(self) -> str:
        """The name that users type."""
        return "".join(self.parts)

    @property
    def scope(self) -> str:
        """The name without its last part."""
        return "".join(self.parts[:-1])[:-1]

    @property
    def made(self) -> Any:
        """Where it was made, an ``Origin``; None for one of a plain module."""
        declared = self.module._declared if isinstance(self.module, VariableTable) else {}
        declaration = declared.get(self.local)
        return None if declaration is None else declaration.origin

    def facts(self) -> dict[str, Any]:
        """What there is to say of it, in words and numbers of Python's."""
        tensor, lazy = self.tensor, nn.parameter.is_lazy(self.tensor)
        count = 0 if lazy else tensor.numel()
        return {
            "name": self.name,
            "scope": self.scope,
            "kind": "parameter" if isinstance(tensor, nn.Parameter) else "buffer",
            "shape": None if lazy else list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "device": str(tensor.device),
            "trainable": tensor.requires_grad,
            "count": count,
            "bytes": count * tensor.dtype.itemsize,
        }


def named(module: nn.Module) -> Iterator[Named]:
    """Each name of a variable in ``module``."""
    for one, before, around in places(module):
        for local, tensor in _held(one, around):
            last = _split(local) if around is not None else (local,)
            yield Named(_joined((*before, *last)), tensor, one, local)


def places(module: nn.Module) -> Iterator[tuple[nn.Module, tuple[str, ...], Any]]:
    """Each module from here down, the parts that its names begin with, and the store around."""
    if isinstance(module, VariableTable):
        for one, prefix in walk(module):
            yield one, _split(prefix), module
        return
    yield module, (), None
    for key, child in items(module._modules):
        if child is not None:
            for one, before, around in places(child):
                yield one, (f"{key}.", *before), around


def _held(module: nn.Module, around: VariableTable | None) -> Iterator[tuple[str, torch.Tensor]]:
    kept = [*items(module._parameters), *items(module._buffers)]
    if around is not None:
        ids = {id(tensor) for _, tensor in kept}
        for found in own(module, around):
            if id(found.tensor) in ids:  # Else pruning computes it from one that is.
                yield found.full_name, found.tensor
        return
    for key, tensor in kept:
        if tensor is not None and key not in module._non_persistent_buffers_set:
            yield key, tensor


def waiting(module: nn.Module) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The parts of each name that a value was loaded for which nobody has asked for, and it."""
    for one, before, _ in places(module):
        if isinstance(one, VariableTable):
            for key, value in list(one._pending.values.items()):
                yield _joined((*before, *_split(_names.unescape(key)))), value


def _split(name: str) -> tuple[str, ...]:
    """``a/b/c`` as ``a/``, ``b/``, ``c``."""
    scope, slash, last = name.rpartition("/")
    return (*_scopes(scope + slash), last) if last else _scopes(scope + slash)


@functools.lru_cache(4096)
def _scopes(name: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"(?<=/)", name, maxsplit=_DEEPEST) if part)


def _joined(parts: tuple[str, ...]) -> tuple[str, ...]:
    """No more parts than can be shown one in the other; what is too deep is part of the last."""
    return parts if len(parts) <= _DEEPEST else (*parts[:_DEEPEST], "".join(parts[_DEEPEST:]))


def called(module: nn.Module) -> str:
    """A module in a word: its class, and the function that it runs.

    >>> import torchscope as ts
    >>> def siamese(x):
    ...     return x
    >>> called(ts.ScopedModule(siamese)), called(ts.VariableStore())
    ('ScopedModule(siamese)', 'VariableStore')
    """
    fn: Any = getattr(module, "fn", None) if isinstance(module, VariableTable) else None
    while isinstance(fn, functools.partial):
        fn = fn.func
    kind = type(module).__name__.lstrip("_")
    if fn is None:
        return kind
    return f"{kind}({getattr(fn, '__name__', type(fn).__name__)})"
