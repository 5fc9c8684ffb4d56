"""What a get asks for, what a variable was declared as, and which part of that gets compare.

Knows no store, no scope and no value. Three classes with different lifetimes:

- `Request`: one get. Made where the user's call comes in, completed by the scope, read by whatever
  makes or finds the variable, then dropped.
- `Spec`: shape and dtype. A get of an existing variable compares only these, so they are one
  object for all variables of the same spec: a million of them cost little.
- `Declaration`: everything else that is known about a variable. It holds no tensor and is
  never changed, so copies of a store share it; a change makes another (`dataclasses.replace`).
"""

import functools
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ._arguments import (
    Constraint,
    GraphKeys,
    Shape,
    as_device,
    as_dtype,
    as_shape,
    as_value,
    members_of,
)
from ._as_now import as_now
from ._errors import ScopeError, naming
from .initializers import Initializer, ones, zeros
from .regularizers import Regularizer


@dataclass(slots=True)
class Spec:
    """What a get of an existing variable is compared with; nobody changes it."""

    shape: Shape
    dtype: torch.dtype
    by_default: bool  # no dtype was given: it was torch's default when the variable was made
    sizes: list[int] = field(init=False, repr=False, compare=False)  # the shape as users write it

    def __post_init__(self) -> None:
        self.sizes = list(self.shape)


@functools.lru_cache(4096)
def spec_of(shape: Shape, dtype: torch.dtype, by_default: bool) -> Spec:
    """The one object for all variables of this spec."""
    return Spec(shape, dtype, by_default)


@dataclass(slots=True)
class Request:
    """What one get asks for: as given, until `plain`; None means the scope's."""

    name: str  # the full name
    shape: Any = None
    dtype: Any = None
    initializer: Any = None
    regularizer: Regularizer | None = None
    trainable: Any = None
    collections: Any = None
    constraint: Constraint | None = None
    device: Any = None
    buffer: bool = False
    persistent: bool = True
    by_default: bool = False  # no dtype was given, so it is torch's default

    def plain(self) -> "Request":
        """Convert each argument to what the rest of the code takes: tuples, torch's dtype, device.

        Raises:
            ScopeError: collections that are not a list, a negative size.
            TypeError: something that is not a shape, a dtype or a constraint.
        """
        with naming(self.name):
            self.shape = as_shape(self.shape)
            self.dtype = as_dtype(self.dtype) or torch.get_default_dtype()
            self.device = as_device(self.device)
            self.collections = members_of(self.name, self.collections)
            if self.constraint is not None and not callable(self.constraint):
                raise TypeError(
                    f"constraint is a function of the variable, not {self.constraint!r}; for "
                    "example constraint=torch.abs."
                )
        self.trainable = self.trainable is not False
        if _is_local(self.collections):
            self.buffer, self.persistent = True, False
        return self

    @property
    def by_value(self) -> bool:
        """Whether the initializer is a value, which has its own shape and dtype."""
        return is_value(self.initializer)

    @property
    def complete(self) -> bool:
        """Whether the initializer is to be called with the shape; else it decides the shape."""
        return self.shape is not None and None not in self.shape

    def brings(self) -> tuple[tuple[int | None, ...] | None, torch.dtype | None]:
        """Shape and dtype of the variable if it were made; None where that is not known before."""
        if self.by_value:
            with naming(self.name):
                value = as_value(self.initializer, self.dtype)
            return tuple(value.shape), value.dtype
        if self.initializer is not None and not self.complete:
            return self.shape, None
        return self.shape, self.dtype


@dataclass(slots=True)
class Declaration:
    """What a variable was made as."""

    name: str
    key: str  # in the state dict
    spec: Spec
    initializer: Any = None
    shapeless: bool = False  # the initializer takes no arguments and decides the shape
    regularizer: Regularizer | None = None
    constraint: Constraint | None = None
    trainable: bool = True
    collections: tuple[Any, ...] = (GraphKeys.GLOBAL_VARIABLES,)
    buffer: bool = False
    persistent: bool = True
    origin: Any = None  # an Origin
    first: int | None = None  # a checksum of the first value, if the initializer might not repeat
    as_then: Any = None  # the initializer as it was then, see `_as_now`

    def again(self) -> Request:
        """The request for its first value, on the CPU."""
        spec = self.spec
        given = None if self.shapeless or is_value(self.initializer) else spec.shape
        return Request(self.name, given, spec.dtype, self.initializer, device=torch.device("cpu"))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Declaration":
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = {name: picklable(getattr(self, name), name) for name in self.__slots__}
        return {**state, "first": None}  # Another machine may round differently.

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.spec = spec_of(self.spec.shape, self.spec.dtype, self.spec.by_default)


def declared(
    request: Request, key: str, shape: Shape, dtype: torch.dtype, origin: Any, first: int | None
) -> Declaration:
    """The declaration of a variable of this shape and dtype, made for ``request``."""
    initializer = request.initializer
    kind = initializer.__class__
    if kind is zeros or kind is ones:  # Constructed at each get, but all are equal: share one.
        initializer = _alike(kind, initializer.dtype)
    elif request.by_value:  # It may be an array, or another variable, which changes later.
        initializer = as_value(initializer, request.dtype).detach().clone()
    by_default = request.by_default and dtype is torch.get_default_dtype()
    return Declaration(
        name=request.name,
        key=key,
        spec=spec_of(shape, dtype, by_default),
        initializer=initializer,
        shapeless=not request.complete and callable(initializer),
        regularizer=as_now(request.regularizer),
        constraint=as_now(request.constraint),
        trainable=request.trainable,
        collections=request.collections,
        buffer=request.buffer,
        persistent=request.persistent,
        origin=origin,
        first=first,
        as_then=None if first is None else as_now(initializer),
    )


@functools.lru_cache
def _alike(kind: Callable[[Any], Initializer], dtype: torch.dtype | None) -> Initializer:
    return kind(dtype)


def _is_local(members: tuple[Any, ...]) -> bool:
    return GraphKeys.LOCAL_VARIABLES in members and GraphKeys.GLOBAL_VARIABLES not in members


def is_value(initializer: Any) -> bool:
    """Whether an initializer is a value, which brings its own shape and dtype."""
    return initializer is not None and not callable(initializer)


@dataclass
class _Lost:
    """Stands for a function that could not be pickled, and says so when it is called."""

    what: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ScopeError(
            None,
            f"The {self.what} was a function that cannot be pickled (a lambda, or one defined "
            "inside another), so it is lost in this copy. Define it at the top of a module.",
        )


def picklable(value: Any, what: str) -> Any:
    """``value`` if it can be pickled, else a stand-in that raises when it is called."""
    try:
        pickle.dumps(value)
    except Exception:  # Each type raises what it likes.
        return _Lost(what)
    return value
