"""VariableScope: a name prefix with a reuse mode and the defaults of what is inside; no tensor.

A plain value: it knows neither a store nor whether it is open. In: a `Request` of a variable in it.
Out: the same with the scope's defaults filled in (`complete`), and the variable (`ask`).
"""

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from ._arguments import Constraint, DTypeLike, GraphKeys, ShapeLike, as_dtype, as_value
from ._collections import in_collection
from ._declaration import Request, is_value
from ._default import current_pass
from ._errors import ScopeError, naming
from ._getter import CustomGetter, answer, check_graph_only, mode_for
from ._pass import Pass
from ._reuse import Reuse
from .regularizers import Regularizer


@dataclass  # Not frozen, which Dynamo could not trace; nobody assigns to it.
class Defaults:
    """What variables in a scope, and scopes in it, inherit."""

    initializer: Any = None
    regularizer: Regularizer | None = None
    dtype: torch.dtype | None = None
    custom_getter: CustomGetter | None = None

    def __post_init__(self) -> None:
        # Whether no getter, and no value for an initializer, changes what a get asks for.
        self.plain = self.custom_getter is None and not is_value(self.initializer)

    def over(self, outer: "Defaults") -> "Defaults":
        """These, else ``outer``'s; custom getters are chained, this one called first."""
        getter = self.custom_getter
        if getter is not None and outer.custom_getter is not None:
            getter = functools.partial(_chained, getter, outer.custom_getter)
        return Defaults(
            outer.initializer if self.initializer is None else self.initializer,
            outer.regularizer if self.regularizer is None else self.regularizer,
            outer.dtype if self.dtype is None else self.dtype,
            outer.custom_getter if getter is None else getter,
        )


NO_DEFAULTS = Defaults()


def _chained(
    inner: CustomGetter, outer: CustomGetter, getter: CustomGetter, *args: Any, **kwargs: Any
) -> Any:
    """A custom getter that calls the outer scope's custom getter as its ``getter``."""
    return inner(functools.partial(outer, getter), *args, **kwargs)


class VariableScope:
    """A name prefix, a reuse mode and the defaults that variables inside it inherit; a value.

    It belongs to no store: it acts on the store that is entered. You get one from
    ``with variable_scope(...) as scope`` or ``get_variable_scope()``, and enter it again by
    ``with variable_scope(scope):``.
    """

    __slots__ = ("constraint", "defaults", "mode", "name", "prefix")

    name: str
    prefix: str  # what full names of variables in it begin with
    mode: Reuse
    defaults: Defaults
    constraint: Constraint | None  # for variables directly in this scope, as in TensorFlow

    # No __init__: `scope_at` takes half the time, and a scope is made at each opening.

    if not TYPE_CHECKING:  # A checker of types says so itself.

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"The scope {self.name!r} is not a context manager. Write: "
                "with ts.variable_scope(scope):"
            )

        def __exit__(self, *error: object) -> None: ...

    def __reduce__(self) -> Any:
        return scope_at, (self.name, self.mode, self.defaults, self.constraint)

    @property
    def reuse(self) -> bool | Reuse:
        """False, True or ``AUTO_REUSE``."""
        return self.mode.plain

    @property
    def initializer(self) -> Any:
        """The default initializer, or None."""
        return self.defaults.initializer

    @property
    def regularizer(self) -> Regularizer | None:
        """The default regularizer, or None."""
        return self.defaults.regularizer

    @property
    def dtype(self) -> torch.dtype | None:
        """The default dtype; None stands for torch's."""
        return self.defaults.dtype

    @property
    def custom_getter(self) -> CustomGetter | None:
        """The custom getter, those of outer scopes chained to it, or None."""
        return self.defaults.custom_getter

    def __repr__(self) -> str:
        return f"VariableScope({self.name!r}, reuse={self.reuse!r})"

    def _set(self, **changed: Any) -> None:
        self.defaults = replace(self.defaults, **changed)

    def reuse_variables(self) -> None:
        """From now on, in this scope and scopes opened in it, only return existing variables."""
        self.mode = Reuse.YES

    def set_initializer(self, initializer: Any) -> None:
        """Set the default initializer, None for none."""
        self._set(initializer=initializer)

    def set_regularizer(self, regularizer: Regularizer | None) -> None:
        """Set the default regularizer, None for none."""
        self._set(regularizer=regularizer)

    def set_dtype(self, dtype: DTypeLike) -> None:
        """Set the default dtype, None for torch's."""
        self._set(dtype=as_dtype(dtype))

    def set_custom_getter(self, custom_getter: CustomGetter | None) -> None:
        """Set the custom getter, None for none; it replaces the old one, without chaining."""
        self._set(custom_getter=custom_getter)

    def set_partitioner(self, partitioner: Any) -> None:
        """Do nothing: no variable is partitioned here."""

    set_caching_device = set_use_resource = set_partitioner

    def complete(self, request: Request) -> Request:
        """Fill in, in place, the scope's defaults where ``request`` has none."""
        defaults = self.defaults
        if request.dtype is not None:
            request.dtype = _explicit_dtype(request)
        if request.dtype is None:
            request.dtype = defaults.dtype
        if request.dtype is None:
            request.dtype, request.by_default = torch.get_default_dtype(), True
        if request.initializer is None:
            request.initializer = defaults.initializer
        if request.regularizer is None:
            request.regularizer = defaults.regularizer
        if request.constraint is None:
            request.constraint = self.constraint
        return request

    def get_variable(
        self,
        name: str,
        shape: ShapeLike = None,
        dtype: DTypeLike = None,
        initializer: Any = None,
        regularizer: Regularizer | None = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        *,
        custom_getter: CustomGetter | None = None,
        constraint: Constraint | None = None,
        device: Any = None,
        **graph_only: Any,
    ) -> Any:
        """As the function ``get_variable``, in this scope; ``reuse`` overrides the scope's."""
        check_graph_only(graph_only)
        request = Request(
            name=self.full_name(name),
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            regularizer=regularizer,
            trainable=trainable,
            collections=collections,
            constraint=constraint,
            device=device,
        )
        return self.ask(current_pass(), request, reuse, custom_getter, graph_only)

    def full_name(self, name: Any) -> str:
        """The full name of a variable in this scope."""
        if not isinstance(name, str):
            raise TypeError(f"A variable's name is a string, not {name!r}.")
        return self.prefix + name

    def ask(
        self,
        run: Pass,
        request: Request,
        reuse: Any,
        custom_getter: CustomGetter | None,
        graph_only: dict[str, Any],
    ) -> Any:
        """The variable that ``request`` asks for in this scope."""
        mode = self.mode if reuse is None else mode_for(request.name, reuse)
        getter = self.defaults.custom_getter if custom_getter is None else custom_getter
        return answer(run, self.complete(request), mode, getter, graph_only)

    def get_collection(self, key: str) -> list[Any]:
        """The members of the collection ``key`` in this scope."""
        return in_collection(key, re.escape(self.prefix))

    def global_variables(self) -> list[torch.Tensor]:
        """The variables in this scope except local ones, in the order of creation."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[torch.Tensor]:
        """The variables in this scope that require a gradient now."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def local_variables(self) -> list[torch.Tensor]:
        """The local variables in this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)


def scope_at(
    name: str, mode: Reuse, defaults: Defaults, constraint: Constraint | None = None
) -> VariableScope:
    """A new scope, not opened."""
    scope = VariableScope()
    scope.name = name
    scope.prefix = name + "/" if name else ""
    scope.mode = mode
    scope.defaults = defaults
    scope.constraint = constraint
    return scope


def _explicit_dtype(request: Request) -> torch.dtype | None:
    """The dtype given in a get, which an initializer that is a value must have."""
    with naming(request.name):
        dtype = as_dtype(request.dtype)
        if dtype is None or not is_value(request.initializer):
            return dtype
        found = as_value(request.initializer, dtype).dtype
    if found != dtype:
        raise ScopeError(
            request.name,
            f"Variable {request.name!r} is asked for with dtype {dtype}, but the value that is its "
            f"initializer has {found}. Leave dtype out, or convert the value.",
        )
    return dtype
