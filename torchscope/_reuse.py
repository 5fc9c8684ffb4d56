"""The reuse table: make a variable, return it or refuse, by what this pass has met so far."""

import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import get_default_dtype, nn
from torch.compiler import is_dynamo_compiling

from ._declare import Declaration, GraphKeys, brings, fits
from ._errors import NotBuiltError, ScopeError, VariableExistsError, VariableMismatchError
from ._here import Pass, here
from ._store import VariableStore, is_dynamo_on, making, uncompiled
from ._table import as_built

T = TypeVar("T")


class Reuse(enum.Enum):
    """What a scope does about a name that is there, and about one that is not."""

    NO = "make, or return what an earlier pass made; twice in a pass is an error"
    YES = "return; a missing name is an error"
    AUTO = "make or return"

    def __repr__(self) -> str:
        return "AUTO_REUSE" if self is Reuse.AUTO else f"Reuse.{self.name}"

    @property
    def plain(self) -> "bool | Reuse":
        """The mode as users write it: False, True or AUTO_REUSE."""
        return self if self is AUTO_REUSE else self is _YES


# Reading a member off the class takes longer than the test it is read for.
_NO, _YES, AUTO_REUSE = Reuse.NO, Reuse.YES, Reuse.AUTO


def mode_of(reuse: Any) -> Reuse:
    """The mode that an argument ``reuse=`` stands for; False and None are one."""
    if reuse is AUTO_REUSE:
        return AUTO_REUSE
    if reuse is True:
        return _YES
    if reuse is not None and reuse is not False:
        raise ScopeError(
            None, f"reuse is True, False, None or AUTO_REUSE, not {reuse!r}: reuse=True."
        )
    return _NO


def recall(run: Pass, full_name: str, shape: Any, dtype: Any, reuse: Reuse) -> torch.Tensor | None:
    """The variable, if it is there and plainly what is asked for; None leaves it to find_or_make.

    The same table, for the one case that a training step has: no value for an initializer, no
    custom getter, shape and dtype as declared.
    """
    watched = True
    if is_dynamo_compiling():
        built = as_built(run.store._structure, "", full_name)
        if built is not None:
            return _recall_built(run, built, shape, dtype, reuse)
        watched = run.traced
    made = run.declared.get(full_name)
    if (
        made is None
        or (
            (dtype or get_default_dtype()) is not made.dtype
            and (dtype is not None or not made.default_dtype)
        )
        or not (shape is None or is_shape(shape, made))
        or (reuse is _NO and watched and full_name in run.met)
    ):
        return None
    if watched:
        run.check(full_name)
        run.met[full_name] = None
    found = run.attributes["_parameters"].get(made.key)
    return run.store._fetch(made) if found is None else found


def _recall_built(
    run: Pass, built: Any, shape: Any, dtype: Any, reuse: Reuse
) -> torch.Tensor | None:
    """The same for what was there when the store was built, while Dynamo traces."""
    full_name, key, sizes, declared = built
    if (dtype or get_default_dtype()) is not declared:
        return None
    if shape is not None and (type(shape) not in (list, tuple) or tuple(shape) != sizes):
        return None
    found = run.store._parameters.get(key)
    if found is None and full_name not in run.declared:  # Made later, in a store like this.
        return None
    if run.traced:
        if reuse is _NO and full_name in run.met:
            return None
        run.met[full_name] = None
    return run.store._at(key) if found is None else found


def is_shape(shape: Any, made: Declaration) -> bool:
    """Whether ``shape`` is plainly the declared one."""
    # An array would compare element by element; find_or_make takes it as what it is.
    if type(shape) is list:
        return shape == made.sizes
    return isinstance(shape, tuple) and shape == made.shape


def find_or_make(run: Pass, request: Declaration, reuse: Reuse) -> torch.Tensor:
    """The variable that ``request`` asks for, as ``reuse`` and the pass allow.

    Raises:
        VariableExistsError: met in this pass already, and ``reuse`` is NO.
        VariableMissingError: unknown to the store, and ``reuse`` is YES.
        VariableMismatchError: there, with another shape or dtype, or a module.
        ScopeError: the request contradicts itself, or lacks a shape.
    """
    store: VariableStore = run.store
    name = request.name
    if request.shape is not None and request.by_value:
        raise ScopeError(
            name,
            f"Variable {name!r} has a value for its initializer, which brings its own shape. Leave "
            "shape out, or use ts.constant_initializer(value).",
        )
    if name in store._made_modules:
        raise VariableMismatchError(
            name,
            f"{name!r} is a module, made at {store.origin(name)}, not a variable. Use another "
            "name, or get_module.",
        )

    if (made := _made(run, name, reuse, store._declared, store._make, request)) is not None:
        # TensorFlow runs it after keeping the variable: if it raises, the variable stays.
        if request.regularizer is not None:
            with making:
                uncompiled(store._regularize)(request)
        return made
    declared = store._declared[name]
    _check_fits(request, declared, met=name in run.met)
    _meet(run, name)
    return store._fetch(declared)


def find_or_make_module(
    run: Pass, full_name: str, factory: Callable[[], nn.Module], reuse: Reuse
) -> nn.Module:
    """The module ``full_name``, by the same table."""
    store: VariableStore = run.store
    there, asked = store._made_modules, (full_name, factory)
    if (made := _made(run, full_name, reuse, there, store._make_module, *asked)) is not None:
        return made
    _meet(run, full_name)
    return cast("nn.Module", store._module(full_name))


def _made(
    run: Pass,
    name: str,
    reuse: Reuse,
    there: Mapping[str, Any],
    make: Callable[..., T],
    *asked: Any,
) -> T | None:
    """What ``make`` makes, if the table says to make; None if it says to return what is there."""
    compiling = is_dynamo_compiling()
    watched = run.traced or not compiling
    if watched:
        run.check(name)
    if name not in there:
        if reuse is _YES and (name not in run.store or there is not run.declared):
            run.store._missing(name, " To make it here, enter its scope with reuse=AUTO_REUSE.")
        if compiling:  # Raised here, Dynamo shows it, or leaves the call to Python.
            raise NotBuiltError(
                name,
                f"{name!r} would have to be made in compiled code. Build the model before: "
                "net.build(*example).",
            )
        with making:
            if name not in there:  # Another thread may have been first.
                if is_dynamo_on():
                    uncompiled(run.store._tell_given_up)(name)
                    make = uncompiled(make)
                made = make(*asked)
                run.met[name] = None
                return made
    if watched and reuse is _NO and name in run.met:
        raise VariableExistsError(name, _exists(run, name))
    return None


def _exists(run: Pass, name: str) -> str:
    declared = run.store._declared.get(name)
    what, shape = ("Variable", f", shape {declared.shape}") if declared else ("Module", "")
    endless = run is here.endless
    return (
        f"{what} {name!r} already exists{shape}, first made at {run.store.origin(name)}. To share "
        "it, enter its scope with reuse=True or reuse=AUTO_REUSE; for a second one, use another "
        "name or scope."
        + (" If it is called again and again: net = ts.ScopedModule(model)." if endless else "")
    )


def _watched(run: Pass) -> bool:
    # Compiled code must not watch a set that grows from call to call; its first pass was eager.
    return run.traced or not is_dynamo_compiling()


def _meet(run: Pass, name: str) -> None:
    if _watched(run):
        run.met[name] = None


def _check_fits(request: Declaration, made: Declaration, *, met: bool) -> None:
    """Compare with what the variable was declared as, never with its tensor, which may differ.

    (``.half()``, ``load_state_dict(assign=True)`` or a sharding policy may have changed that.)
    A name not yet met in this pass is judged as at its making, where a value brings its dtype.
    Where nobody said a dtype, torch's default of now stands for its default of then.
    """
    shape, dtype = (request.shape, request.dtype) if met else brings(request)
    if request.default_dtype and made.default_dtype and dtype == get_default_dtype():
        dtype = None
    # TensorFlow lets get_local_variable return a global variable.
    wants_buffer = request.buffer and GraphKeys.LOCAL_VARIABLES not in request.collections
    if not fits(shape, made.shape or ()):
        problem = f"has shape {made.shape}, not {shape}", f"shape={made.sizes}"
    elif dtype is not None and dtype != made.dtype:
        problem = f"has dtype {made.dtype}, not {dtype}", f"dtype={made.dtype}"
    elif wants_buffer and not made.buffer:
        problem = "is a parameter, not a buffer", "it with get_variable"
    else:
        return
    raise VariableMismatchError(
        made.name,
        f"Variable {made.name!r} {problem[0]}; first made at {made.origin}. Ask for {problem[1]}, "
        "or use another name.",
    )
