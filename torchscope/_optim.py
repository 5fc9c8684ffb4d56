"""match_by_name: an optimizer's saved state goes to parameters by name; knows no store."""

from collections import Counter
from typing import Any

import torch

from ._errors import StateDictError


def match_by_name(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Let ``optimizer.load_state_dict`` pair state and parameters by name, not by position.

    torch pairs them by position, and silently gives one parameter the state of another if the
    variables were made in another order than when the state was saved. Both optimizers, the saved
    one and this one, must be made from named parameters:

    >>> import torch, torchscope as ts
    >>> net = ts.ScopedModule(lambda x: x @ ts.get_variable("w", [3, 2])).build(torch.ones(1, 3))
    >>> optimizer = torch.optim.Adam(net.named_parameters())
    >>> handle = optimizer.register_load_state_dict_pre_hook(ts.match_by_name)
    >>> optimizer.load_state_dict(optimizer.state_dict())

    Args:
        optimizer: the optimizer into which the state is loaded.
        state_dict: the saved state; it is not changed.

    Raises:
        StateDictError: there are no names, or they are not the same; nothing was loaded.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"match_by_name takes an optimizer, not {optimizer!r}.")
    if not isinstance(state_dict, dict) or "param_groups" not in state_dict:
        raise TypeError(f"match_by_name takes the optimizer's state dict, not {state_dict!r}.")
    ids: dict[str, int] = {}
    for group in [*optimizer.param_groups, *state_dict["param_groups"]]:
        if "param_names" not in group:
            raise StateDictError(
                None,
                "The optimizer's parameters have no names to match. Make it from named ones, both "
                "to save and to load: torch.optim.Adam(net.named_parameters()).",
            )
    for group in state_dict["param_groups"]:
        ids.update(zip(group["param_names"], group["params"], strict=True))
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    saved_names = [name for group in state_dict["param_groups"] for name in group["param_names"]]
    counted = Counter(names), Counter(saved_names)
    twice = {name for count in counted for name in count if count[name] > 1}
    if twice:
        raise StateDictError(
            None,
            f"Several parameters have the same name: {sorted(twice)}. Make an optimizer for "
            "each module, or give them names that differ: [('a.' + name, p) for name, p in ...].",
        )
    missing, unexpected = sorted(set(names) - set(ids)), sorted(set(ids) - set(names))
    if missing or unexpected or len(optimizer.param_groups) != len(state_dict["param_groups"]):
        raise StateDictError(
            None,
            "The saved state is from another optimizer; nothing was loaded. Missing: "
            f"{missing}; unexpected: {unexpected}; groups: {len(state_dict['param_groups'])} "
            f"saved, {len(optimizer.param_groups)} here. Make the optimizer as the saved one was.",
        )
    groups = [
        saved | {"params": [ids[n] for n in own["param_names"]], "param_names": own["param_names"]}
        for saved, own in zip(state_dict["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**state_dict, "param_groups": groups}
