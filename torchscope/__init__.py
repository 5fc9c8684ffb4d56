"""torchscope: variables by name for PyTorch. This file holds the public names and nothing else."""

import importlib
from typing import TYPE_CHECKING, Any

from . import distributed as distributed
from . import initializers as initializers
from . import regularizers as regularizers
from ._arguments import GraphKeys
from ._assign import assign, assign_add, assign_sub
from ._bind import bind
from ._collections import (
    add_to_collection,
    get_collection,
    get_regularization_loss,
    get_regularization_losses,
    global_variables,
    local_variables,
    name_of,
    trainable_variables,
)
from ._default import default_store, reset_default_store
from ._errors import (
    CheckpointError,
    NotBuiltError,
    ScopeError,
    ScopeOrderError,
    ScopeWarning,
    StateDictError,
    VariableExistsError,
    VariableMismatchError,
    VariableMissingError,
    VariableNameError,
)
from ._in_this_pass import in_this_pass
from ._module import ScopedModule
from ._opening import get_variable_scope, name_scope, variable_scope
from ._optim import match_by_name
from ._owner import constraint_of, entered_store
from ._reuse import AUTO_REUSE
from ._scope import VariableScope
from ._store import VariableStore
from ._template import make_template
from ._variables import (
    get_buffer,
    get_local_variable,
    get_module,
    get_variable,
    is_training,
)
from .initializers import (
    constant_initializer,
    glorot_normal_initializer,
    glorot_uniform_initializer,
    he_normal_initializer,
    he_uniform_initializer,
    identity_initializer,
    lecun_normal_initializer,
    lecun_uniform_initializer,
    ones_initializer,
    orthogonal_initializer,
    random_normal_initializer,
    random_uniform_initializer,
    truncated_normal_initializer,
    uniform_unit_scaling_initializer,
    variance_scaling_initializer,
    zeros_initializer,
)
from .regularizers import l1_l2_regularizer, l1_regularizer, l2_regularizer, no_regularizer

if TYPE_CHECKING:  # Most programs never ask for these: they are imported by the first who does.
    from .report import SharingReport, assert_not_shared, assert_shared, sharing, summary

_LATER = {"SharingReport", "assert_not_shared", "assert_shared", "sharing", "summary"}
_PACKAGES = {"checkpoint", "port", "report", "tf1"}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import report

    found = globals()[name] = getattr(report, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_PACKAGES})


__version__ = "0.1.0"

__all__ = [
    "AUTO_REUSE",
    "CheckpointError",
    "GraphKeys",
    "NotBuiltError",
    "ScopeError",
    "ScopeOrderError",
    "ScopeWarning",
    "ScopedModule",
    "SharingReport",
    "StateDictError",
    "VariableExistsError",
    "VariableMismatchError",
    "VariableMissingError",
    "VariableNameError",
    "VariableScope",
    "VariableStore",
    "add_to_collection",
    "assert_not_shared",
    "assert_shared",
    "assign",
    "assign_add",
    "assign_sub",
    "bind",
    "constant_initializer",
    "constraint_of",
    "default_store",
    "distributed",
    "entered_store",
    "get_buffer",
    "get_collection",
    "get_local_variable",
    "get_module",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_variable",
    "get_variable_scope",
    "global_variables",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "he_normal_initializer",
    "he_uniform_initializer",
    "identity_initializer",
    "in_this_pass",
    "initializers",
    "is_training",
    "l1_l2_regularizer",
    "l1_regularizer",
    "l2_regularizer",
    "lecun_normal_initializer",
    "lecun_uniform_initializer",
    "local_variables",
    "make_template",
    "match_by_name",
    "name_of",
    "name_scope",
    "no_regularizer",
    "ones_initializer",
    "orthogonal_initializer",
    "random_normal_initializer",
    "random_uniform_initializer",
    "regularizers",
    "reset_default_store",
    "sharing",
    "summary",
    "trainable_variables",
    "truncated_normal_initializer",
    "uniform_unit_scaling_initializer",
    "variable_scope",
    "variance_scaling_initializer",
    "zeros_initializer",
]
