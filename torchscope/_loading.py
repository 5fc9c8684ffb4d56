"""Whether a state dict fits a module that holds stores; checks everything, changes nothing."""

import difflib
import functools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import nn

from . import _names
from ._arguments import has_shape, untrainable
from ._errors import StateDictError
from ._saved import EXTRA, SavedTable


def check_fits(
    table: SavedTable, state_dict: Mapping[str, Any], strict: bool, assign: bool = False
) -> None:
    """Raise a StateDictError that lists everything that does not fit."""
    if not isinstance(cast("Any", state_dict), Mapping):
        raise TypeError(f"A state dict is a mapping from names to tensors, not {state_dict!r}.")
    for key in state_dict:
        if not isinstance(cast("Any", key), str):
            raise TypeError(f"A key of a state dict is a string, not {key!r}.")
    misfits = [*_misfits(table, state_dict, strict, assign)]
    if not misfits:
        return
    listed = "\n  ".join(misfits)
    cure = "To load what fits by name: load_state_dict(state_dict, strict=False)."
    if not strict:
        cure = "Leave these out of the state dict, or make the variables fit."
    raise StateDictError(
        None,
        f"The state dict does not fit this {type(table).__name__}; nothing was loaded.\n  "
        f"{listed}\n{cure}",
    )


def _misfits(
    table: SavedTable, state_dict: Mapping[str, Any], strict: bool, assign: bool
) -> Iterator[str]:
    # What is given and what is expected, under the same keys: each store respells those of its own.
    given = {k: value for k, value in state_dict.items() if k.rpartition(".")[2] != EXTRA}
    modules = dict(cast("Any", table.named_modules(remove_duplicate=False)))
    judged = _judged(modules)
    expected: dict[str, torch.Tensor] = {}
    for path, module in judged.items():
        prefix = path + "." if path else ""
        if isinstance(module, SavedTable):
            module._respell(given, prefix)
        unkept = module._non_persistent_buffers_set
        for key, tensor in {**module._parameters, **module._buffers}.items():
            if tensor is not None and key not in unkept:
                expected[prefix + key] = tensor
    # First what is expected, then what is given besides: a value that a store has to keep until
    # its variable is made, or one too many.
    refusal = _untrainable if assign else _uncopyable
    for key, tensor in expected.items():
        value = given.get(key, given)
        if value is given:
            if strict:
                yield f"{_names.unescape(key)!r} is missing{_like(key, given, expected)}"
        elif problem := _not_a_tensor(value) or refusal(value, tensor) or _misshapen(value, tensor):
            yield f"{_names.unescape(key)!r} {problem}"
    for key in [key for key in given if key not in expected]:
        owner = judged.get(_path(key, modules))
        if isinstance(owner, SavedTable) and not owner._built:  # The value will wait.
            problem = _not_a_tensor(given[key])
            if problem := problem or (not assign and _uncopyable(given[key], None, owner._device)):
                yield f"{_names.unescape(key)!r} {problem}"
        elif owner is not None and strict:
            yield f"{_names.unescape(key)!r} is unexpected{_like(key, expected, given)}"


def _judged(modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Those of ``modules``, by path, of whose keys all are known; each comes after its holder."""
    judged: dict[str, nn.Module] = {}
    for path, module in modules.items():
        if (not path or path.rpartition(".")[0] in judged) and _reads_its_own_names(module):
            judged[path] = module
    return judged


def _path(key: str, modules: Mapping[str, nn.Module]) -> str:
    """The path of the innermost module that ``key`` lies in."""
    path = key.rpartition(".")[0]
    while path not in modules:
        path = path.rpartition(".")[0]
    return path


def _not_a_tensor(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return f"is not a tensor but {value!r}"
    if has_shape(value):
        return ""
    return "has no shape, as a nested or lazy tensor: it cannot be copied or assigned"


def _misshapen(value: torch.Tensor, tensor: torch.Tensor) -> str:
    """How the shape of ``value`` differs; torch loads one number into a scalar."""
    if value.shape == tensor.shape or (tensor.ndim, value.ndim) == (0, 1):
        return ""
    return f"has shape {tuple(tensor.shape)} here, {tuple(value.shape)} in the state dict"


def _untrainable(value: torch.Tensor, tensor: torch.Tensor) -> str:
    """Why ``value`` cannot replace ``tensor``; "" if it can."""
    return untrainable(value) if tensor.requires_grad else ""


def _uncopyable(
    value: torch.Tensor, tensor: torch.Tensor | None, device: torch.device | None = None
) -> str:
    """Why ``value`` cannot be copied into a tensor like ``tensor``; "" if it can."""
    if (
        type(value) in (torch.Tensor, nn.Parameter, nn.Buffer)
        and value.layout is torch.strided
        and not (value.is_quantized or value.is_meta or value.is_nested)
        and _is_usual(value.dtype)
    ):
        return ""
    try:  # A layout or dtype for which only trying tells.
        if tensor is None:
            tensor = torch.empty(value.shape, device=device or "cpu")
        with torch.no_grad():
            torch.empty_like(tensor).copy_(value)
    except Exception as error:  # Each kind raises what it likes.
        return f"is a tensor that cannot be copied: {str(error).partition(chr(10))[0]}"
    return ""


@functools.cache
def _is_usual(dtype: torch.dtype) -> bool:
    try:
        return torch.promote_types(dtype, torch.float32) is not None
    except RuntimeError:
        return False


def key_in(module: nn.Module, name: str) -> str:
    """The state-dict key of ``name`` below ``module``: ``h0.w`` for ``h0/w``."""
    for key, child in module._modules.items():
        below = _names.unescape(key) + "/"
        if child is not None and name.startswith(below):
            return f"{key}.{key_in(child, name.removeprefix(below))}"
    return _names.escape(name) if isinstance(module, SavedTable) else name


def _reads_its_own_names(module: nn.Module) -> bool:
    """Whether loading reads exactly the keys that the module has; else only torch can tell.

    BatchNorm reads fewer from old files. A user's class or a hook (a checkpoint wrapper's,
    weight_norm's, FSDP's) may rename keys for all modules below, too.
    """
    load = cast("Any", type(module))._load_from_state_dict
    plain = load is nn.Module._load_from_state_dict or load.__module__.startswith("torchscope.")
    return plain and not module._load_state_dict_pre_hooks | module._load_state_dict_post_hooks


def _like(key: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """A hint with the nearest of the names that are only in ``there``, or nothing."""
    others = [other for other in there if other not in here][:10_000]
    close = difflib.get_close_matches(key, others, n=1)
    return f"; there is {close[0]!r}" if close else ""
