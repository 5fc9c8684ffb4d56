"""Which names `torchscope.tf1` has; imports it only when asked."""

import importlib
from functools import lru_cache, reduce
from types import ModuleType

from ._names import HOME


@lru_cache(None)
def advice(path: str) -> str | None:
    """None for a name that is there, otherwise the sentence that says what to do instead.

    >>> advice("float32") is None, advice("placeholder")
    (True, 'Make it an argument of the function that builds the model.')
    """
    try:
        _find(path)
    except AttributeError as error:
        said, _, sentence = str(error).partition(f"is not in {HOME}. ")
        return sentence or f"{said}."
    return None


def module_of(path: str) -> str | None:
    """The full name of the module under a path; None if there is none."""
    try:
        found = _find(path)
    except AttributeError:
        return None
    return found.__name__ if isinstance(found, ModuleType) else None


def is_dtype(path: str) -> bool:
    """Whether a path is that of a dtype.

    >>> is_dtype("float32"), is_dtype("nn")
    (True, False)
    """
    return advice(path) is None and type(_find(path)) is _find("DType")


def _find(path: str) -> object:
    parts = path.split(".") if path else []
    return reduce(getattr, parts, importlib.import_module(HOME))
