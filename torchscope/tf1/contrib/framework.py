"""tf.contrib.framework: arg scopes and variables, which are slim's; a namespace."""

from torchscope.tf1 import _missing
from torchscope.tf1 import nest as nest
from torchscope.tf1.ops.control_flow import smart_cond
from torchscope.tf1.ops.sparse import is_tensor
from torchscope.tf1.slim import (
    add_arg_scope,
    add_model_variable,
    arg_scope,
    arg_scoped_arguments,
    current_arg_scope,
    filter_variables,
    get_local_variables,
    get_model_variables,
    get_trainable_variables,
    get_unique_variable,
    get_variable_full_name,
    get_variables,
    get_variables_by_name,
    get_variables_by_suffix,
    get_variables_to_restore,
    has_arg_scope,
    model_variable,
    variable,
)
from torchscope.tf1.train import (
    create_global_step,
    get_global_step,
    get_or_create_global_step,
)

__all__ = [
    "add_arg_scope",
    "add_model_variable",
    "arg_scope",
    "arg_scoped_arguments",
    "create_global_step",
    "current_arg_scope",
    "filter_variables",
    "get_global_step",
    "get_local_variables",
    "get_model_variables",
    "get_or_create_global_step",
    "get_trainable_variables",
    "get_unique_variable",
    "get_variable_full_name",
    "get_variables",
    "get_variables_by_name",
    "get_variables_by_suffix",
    "get_variables_to_restore",
    "has_arg_scope",
    "is_tensor",
    "model_variable",
    "nest",
    "smart_cond",
    "variable",
]

__getattr__ = _missing.of("tf.contrib.framework")
