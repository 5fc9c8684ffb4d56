"""The exception and warning classes; knows nothing about the rest."""

from typing import Any

__all__ = [
    "CheckpointError",
    "NotBuiltError",
    "ScopeError",
    "ScopeOrderError",
    "ScopeWarning",
    "StateDictError",
    "VariableExistsError",
    "VariableMismatchError",
    "VariableMissingError",
    "VariableNameError",
]


class ScopeError(ValueError):
    """Base of torchscope's errors; a ``ValueError``, as TensorFlow's are, so ported code works.

    Attributes:
        name: full name of the variable, scope or module concerned; None where there is none.
    """

    # No __init__ of its own, which Dynamo could not trace: made as ScopeError(name, message).

    @property
    def name(self) -> str | None:
        return self.args[0] if len(self.args) > 1 else None

    def __str__(self) -> str:
        return str(self.args[-1]) if self.args else ""


class VariableExistsError(ScopeError):
    """The name is taken, and the scope does not reuse."""


class VariableMissingError(ScopeError):
    """The scope only reuses, and there is no variable of that name."""


class VariableMismatchError(ScopeError):
    """The variable exists with another shape, dtype or kind than was asked for."""


class VariableNameError(ScopeError):
    """A variable or a scope cannot have this name."""


class ScopeOrderError(ScopeError, RuntimeError):
    """Scopes or stores were left in another order than they were entered."""


class NotBuiltError(ScopeError, RuntimeError):
    """A variable would have to be made where that is not possible: build the module first."""


class StateDictError(ScopeError, RuntimeError):
    """A state dict does not fit; a ``RuntimeError``, as ``load_state_dict``'s are in torch."""


class CheckpointError(ScopeError):
    """A checkpoint file cannot be read, or does not fit."""


class ScopeWarning(UserWarning):
    """Something works, but probably not as intended."""


class naming:  # noqa: N801  - reads as a function: with naming(full_name):
    """Add the variable's name to errors from code that does not know it."""

    __slots__ = ("_full_name",)

    def __init__(self, full_name: str) -> None:
        self._full_name = full_name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ScopeError) and error.name is None:
            message = f"Variable {self._full_name!r}: {error}"
            raise type(error)(self._full_name, message) from error
        if isinstance(error, TypeError):
            raise TypeError(f"Variable {self._full_name!r}: {error}") from error


# Tracebacks show the names that users import.
for _class in [globals()[name] for name in __all__]:
    _class.__module__ = "torchscope"
