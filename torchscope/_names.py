"""Names: which are legal, how they join, how a state dict spells them; knows no store."""

import re

from ._errors import VariableNameError

# TensorFlow's rules for the names of operations (tensorflow/python/framework/ops.py,
# _VALID_OP_NAME_REGEX and _VALID_SCOPE_NAME_REGEX); a variable or scope must be able to be one.
_FULL_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_INNER_NAME = re.compile(r"[A-Za-z0-9_.\\/>-]*")

# Names that an attribute of the module has already. Written out, not taken from `dir()`, which
# grows with torch's releases: the keys of a state dict must not change between releases. Names that
# start with an underscore are missing because no variable at the root may have one.
RESERVED = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children clear compile copy cpu
    cuda double dump_patches eval extra_repr float forward fromkeys get get_buffer get_extra_state
    get_parameter get_submodule half ipu items keys load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters pop popitem register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule setdefault share_memory state_dict to to_empty train training type update values
    xpu zero_grad

    apply_constraints build built finalize fn get_collection global_variables local_variables
    name_of named_variables origin regularization_losses reset_parameters seed summary
    trainable_variables
    """.split()  # noqa: SIM905  - a list of strings would take a page
)


def join(scope_name: str, name: str) -> str:
    """``name`` below ``scope_name``; an empty name below ``a`` is ``a/``, as in TensorFlow."""
    return f"{scope_name}/{name}" if scope_name else name


def check_variable(full_name: str) -> None:
    """Raise unless TensorFlow would accept ``full_name`` as a variable's."""
    if not _FULL_NAME.fullmatch(full_name):
        raise VariableNameError(full_name, _refusal("variable", full_name))


def check_scope(name: str, *, at_root: bool) -> None:
    """Raise unless TensorFlow would open a scope ``name``; below the root any first character."""
    rule = _FULL_NAME if at_root else _INNER_NAME
    if name and not rule.fullmatch(name):
        raise VariableNameError(name, _refusal("scope", name))


def _refusal(what: str, name: str) -> str:
    # Only the last part: it is typed inside the scopes that the others name.
    last = name.rpartition("/")[2]
    suggestion = re.sub(r"[^A-Za-z0-9_.\\>-]", "_", last).lstrip("_\\>-") or "name"
    return (
        f"{name!r} is not a {what} name: it may hold ASCII letters, digits and _ . \\ / > -, and "
        f"its full name starts with a letter, a digit or a dot. For example {suggestion!r}."
    )


def escape(full_name: str) -> str:
    """The state-dict key of a variable: its name, with ``keys`` -> ``/keys``, ``.`` -> ``%2E``.

    Neither spelling can be a TensorFlow name, so no two names share a key.
    """
    key = full_name.replace(".", "%2E")
    return f"/{key}" if key in RESERVED else key


def unescape(key: str) -> str:
    """The variable's name that a state-dict key spells."""
    return key.removeprefix("/").replace("%2E", ".")
