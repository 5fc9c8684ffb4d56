"""Functions as they are when a variable is made; knows no variable.

TensorFlow calls an initializer, a regularizer or a constraint once. Here they are called again
later, when the names they close over may have changed: functions defined in a loop would all see
its last iteration. So a copy is stored whose closure has the values of now. (An initializer or
factory is first called as it is; the copy is used if that gives another value.) Objects are still
shared: only what each name refers to is fixed.
"""

import contextlib
import dis
import functools
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast


def as_now(function: Any, copied: dict[int, Any] | None = None) -> Any:
    """A copy of ``function`` whose closure cannot change; anything else is returned as it is."""
    if function is None:
        return None
    copied = {} if copied is None else copied
    if type(function) is functools.partial:
        partial = cast("functools.partial[Any]", function)
        args, kwargs = (_held_as_now(g, copied) for g in (partial.args, partial.keywords))
        return functools.partial(as_now(partial.func, copied), *args, **kwargs)
    if type(function) is MethodType:
        return MethodType(as_now(function.__func__, copied), function.__self__)
    called = vars(type(cast("object", function))).get("__call__")
    if type(called) is FunctionType:  # A class in a loop.
        fixed = as_now(called, copied)
        return function if fixed is called else MethodType(fixed, function)
    if type(function) is not FunctionType or "<" not in function.__qualname__:
        return function  # A named function of a module is pickled by its name.
    if id(function) in copied:  # It calls itself.
        return copied[id(function)]
    cells = function.__closure__ or ()
    names = function.__globals__
    if "<locals>" not in function.__qualname__ and _reads_values(function):
        names = dict(names)  # A loop at the top of a script.
    elif not (cells or function.__defaults__ or function.__kwdefaults__):
        return function
    own = [
        cell if name in _written(function.__code__) else CellType()
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
    ]
    copy = FunctionType(function.__code__, names, function.__name__, None, tuple(own))
    copy.__qualname__ = function.__qualname__
    copy.__dict__.update(function.__dict__)
    copied[id(function)] = copy
    copy.__defaults__ = _held_as_now(function.__defaults__, copied)
    copy.__kwdefaults__ = _held_as_now(function.__kwdefaults__, copied)
    for new, cell in zip(own, cells, strict=True):
        if new is not cell:
            with contextlib.suppress(ValueError):  # Nothing is assigned to that name yet.
                new.cell_contents = _held_as_now(cell.cell_contents, copied)
    return copy


def _held_as_now(held: Any, copied: dict[int, Any]) -> Any:
    """What a function refers to: a function, or a list, tuple or dict of some, as it is now."""
    if isinstance(held, _FUNCTIONS):  # Another object may be read, not only called.
        return as_now(held, copied)
    kind = cast("Any", type(held))
    if kind not in _TABLES:
        return held
    is_dict = issubclass(kind, dict)
    values = list(held.values() if is_dict else held)
    if not any(isinstance(value, _FUNCTIONS) for value in values):
        return held  # The same list, which may be read.
    fixed = [as_now(v, copied) if isinstance(v, _FUNCTIONS) else v for v in values]
    return kind(zip(held, fixed, strict=True) if is_dict else fixed)


_FUNCTIONS = FunctionType, MethodType, functools.partial
_TABLES: Any = dict, list, tuple


def _reads_values(function: FunctionType) -> bool:
    """Whether it reads a global that is not a function, a class or a module."""
    found = [function.__globals__.get(name, len) for name in function.__code__.co_names]
    return not all(callable(value) or isinstance(value, ModuleType) for value in found)


@functools.cache
def _written(code: CodeType) -> set[str]:
    """The names of enclosing functions that it assigns to, which others may read."""
    return {
        cast("str", instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("STORE_DEREF", "DELETE_DEREF")
    }
