"""What a build restores, and how it computes nothing on meta; knows no variable's name."""

import functools
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ._pass import here


@contextmanager
def put_back(module: nn.Module) -> Generator[None]:
    """Restore random streams and all values: as they were before, or as they were made."""
    outer = here.kept
    kept: list[Callable[[], object]] = []
    try:
        here.kept = kept
        keep_values_of(module)
        with _forked_streams():
            yield
    finally:
        here.kept = outer
        try:
            _restore_all(kept)
        finally:  # What an interrupt has left of it.
            _restore_all(kept)


@torch.no_grad()
def _restore_all(kept: list[Callable[[], object]]) -> None:
    while kept:
        kept[0]()
        del kept[0]


def keep_values(tensors: Iterable[torch.Tensor]) -> None:
    """While a module is built in this thread, note how to restore the values."""
    if here.kept is not None:
        # Lazy layers have no values yet.
        given = [t for t in tensors if not nn.parameter.is_lazy(t)]
        here.kept += [functools.partial(_restore, t, t.detach().clone()) for t in given]


def keep_values_of(module: nn.Module) -> None:
    """The same for all values of a module, and for its buffers themselves if it replaces some."""
    keep_values([*module.parameters(), *module.buffers()])
    if here.kept is not None:
        inner = [m._buffers for m in module.modules() if not isinstance(m, nn.ParameterDict)]
        here.kept += [functools.partial(buffers.update, dict(buffers)) for buffers in inner]


def _restore(tensor: torch.Tensor, value: torch.Tensor) -> None:
    if not _is_same(tensor, value):  # A write would break a later backward pass.
        tensor.copy_(value)


def _is_same(tensor: torch.Tensor, value: torch.Tensor) -> bool:
    try:
        return torch.equal(tensor, value)
    except RuntimeError:  # Meta and fake tensors have no values to compare.
        return False


@contextmanager
def _forked_streams() -> Generator[None]:
    """Restore the CPU's random stream, and the accelerator's if it is in use already."""
    accelerator = torch.accelerator.current_accelerator()
    kind = "cuda" if accelerator is None else accelerator.type
    backend = getattr(torch, kind)
    awake = getattr(backend, "is_initialized", lambda: accelerator is not None)()
    has_streams = awake and hasattr(backend, "get_rng_state")
    devices = range(torch.accelerator.device_count() if has_streams else 0)
    with torch.random.fork_rng(devices, device_type=kind):
        yield


@contextmanager
def no_gradients_left(module: nn.Module, inputs: Any) -> Generator[None]:
    """Restore every ``.grad``; those of new parameters become None."""
    leaves = [t for t in (*_tensors_in(inputs), *module.parameters()) if t.is_leaf]
    before = {id(t): t.grad for t in leaves}
    keep_values(grad for grad in before.values() if grad is not None)

    def restore() -> None:
        for tensor in (*leaves, *module.parameters()):
            tensor.grad = before.get(id(tensor))

    try:
        yield
    finally:
        try:
            restore()
        finally:  # If an interrupt came.
            restore()


class _OnMeta(TorchDispatchMode):
    """Computes nothing: where one tensor is on the meta device, the others go there too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(tensor.is_meta for tensor in _tensors_in((args, kwargs))):
            args, kwargs = tree_map_only(
                torch.Tensor, lambda tensor: tensor.to("meta"), (args, kwargs or {})
            )
            if "device" in kwargs:
                kwargs["device"] = torch.device("meta")
        return func(*args, **(kwargs or {}))


def computing_nothing_on_meta(inputs: Any) -> AbstractContextManager[Any]:
    on_meta = any(tensor.is_meta for tensor in _tensors_in(inputs))
    return _OnMeta() if on_meta else nullcontext()


def _tensors_in(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


# ---- what a net was built with -------------------------------------------------------------------


@dataclass
class _Like:
    """A tensor without its values."""

    sizes: torch.Tensor  # on the meta device
    device: torch.device


# They lie beside the nets: no copy and no pickle of one has any.
_examples: "WeakKeyDictionary[nn.Module, tuple[Any, Any]]" = WeakKeyDictionary()
_PLAIN = bool | int | float | complex | str | bytes | torch.dtype | torch.device | None


def note_example(net: nn.Module, args: Any, kwargs: Any) -> None:
    """Remember what ``net`` was built with, if that is tensors and plain values."""
    if all(isinstance(leaf, _PLAIN) or _is_plain(leaf) for leaf in tree_leaves((args, kwargs))):
        _examples[net] = tree_map_only(
            torch.Tensor, lambda t: _Like(t.to("meta"), t.device), (args, kwargs)
        )


def example_of(net: nn.Module) -> tuple[Any, Any] | None:
    """Arguments like those that ``net`` was built with, tensors of zeros; None if unknown."""
    known = _examples.get(net)
    return known and tree_map_only(
        _Like, lambda like: torch.zeros_like(like.sizes, device=like.device), known
    )


def _is_plain(leaf: Any) -> bool:
    return type(leaf) in (torch.Tensor, nn.Parameter) and leaf.layout is torch.strided
