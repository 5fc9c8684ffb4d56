"""Lazy layers of torch, which get their shapes and values at their first input; knows no store.

Those values follow from the store's seed and the layer's name, as all do.
"""

import copy
import functools
import re
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ._build import keep_values_of
from ._errors import ScopeError
from ._stream import in_lent_stream


def name_lazy_layers(module: nn.Module, seed: int, full_name: str) -> None:
    """Let each lazy layer of ``module`` draw its values from a stream seeded by its name."""
    for path, layer in _lazy_layers(module):
        initialize = functools.partial(_initialize, layer, seed, f"{full_name}/{path}")
        layer.__dict__["initialize_parameters"] = initialize


def _initialize(layer: Any, seed: int, full_name: str, *args: Any, **kwargs: Any) -> None:
    """Replaces the layer's ``initialize_parameters``, which torch calls with the first input."""
    initialize = cast("Any", type(layer)).initialize_parameters
    in_lent_stream(seed, full_name, functools.partial(initialize, layer, *args, **kwargs))
    del layer.__dict__["initialize_parameters"]  # Not before: an interrupted call is repeated.
    keep_values_of(layer)


def first_values(
    fresh: nn.Module, kept: nn.Module, seed: int, full_name: str
) -> dict[str, torch.Tensor]:
    """The state dict of ``fresh``, made like ``kept``; with lazy layers that were called."""
    values = {key: value for key, value in tensors_of(fresh).items() if not is_lazy(value)}
    for path, _ in _lazy_layers(fresh):
        layer: Any = kept.get_submodule(path)
        if not any(map(is_lazy, [*layer.parameters(), *layer.buffers()])):
            layer = copy.deepcopy(layer)
            if not hasattr(layer, "reset_parameters"):
                raise ScopeError(
                    full_name,
                    f"The {type(layer).__name__} in {full_name!r} cannot be reset: it has no "
                    "method reset_parameters(self). Write one. Nothing was reset.",
                )
            in_lent_stream(seed, f"{full_name}/{path}", layer.reset_parameters)
            prefix = f"{path}." if path else ""
            values.update({prefix + key: value for key, value in tensors_of(layer).items()})
    return values


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Each tensor by its key in the state dict; buffers that are not saved, too."""
    buffers = cast("Any", module).named_buffers(remove_duplicate=False)
    saved = module.state_dict(keep_vars=True).items()  # May hold what `get_extra_state` returns.
    return {re.sub(_WRAPPERS, "", name): buffer for name, buffer in buffers} | {
        key: value for key, value in saved if isinstance(value, torch.Tensor)
    }


_WRAPPERS = r"_(checkpoint|fsdp)_wrapped_module\."  # They leave this out of their state dicts.


def _lazy_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, layer in cast("Any", module).named_modules():
        if isinstance(layer, LazyModuleMixin) and cast("Any", layer).has_uninitialized_params():
            yield path, cast("nn.Module", layer)
