"""Scoped: an object with a scope of its own, such as layers and cells; makes no variable itself.

The first call in a pass fixes the scope, in which later calls share what the first has made.
Every pass begins anew: the object remembers nothing of the pass before.
"""

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1._weights import weight


def _empty() -> dict[str, Any]:  # Dynamo traces it, but not dict[str, Any]()
    return {}


@dataclass
class Opened:
    """Its state in one pass."""

    scope: ts.VariableScope | None = None
    dtype: torch.dtype | None = None
    built: bool = False
    made: bool = False
    """Whether ``build`` has made the variables, so that ``call`` only gets them."""
    weights: dict[str, Any] = field(default_factory=_empty)
    """The full names of its own variables -> the regularizers whose losses it counts."""


class Scoped:
    """What layers and cells have in common.

    Every attribute has a default, since users' classes may not call the ``__init__`` of their base.
    """

    trainable: bool = True
    _given_name: str | None = None
    _name: str | None = None
    _scope: ts.VariableScope | None = None  # one fixed for all passes
    _dtype: torch.dtype | None = None
    _reuse: Any = None

    # ---- for those who derive a class ------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the variables; called before the first ``call`` of each pass."""

    def add_weight(
        self,
        name: str,
        shape: Any = (),
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool | None = True,
        constraint: Any = None,
        use_resource: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        partitioner: Any = None,
    ) -> Tensor:
        """A variable in the scope; the last four arguments are accepted and ignored."""
        dtype = dtype or self.dtype or torch.float32
        with self._entered():
            self._own(name, regularizer)
            settings = initializer, regularizer, constraint
            return weight(name, shape, dtype, *settings, trainable is not False and self.trainable)

    add_variable = add_weight

    # ---- its scope -------------------------------------------------------------------------

    def _entered(self, scope: Any = None) -> AbstractContextManager[Any]:
        """The opening of its scope, which the first call in a pass fixes."""
        opened = ts.in_this_pass(self, Opened)
        if opened.scope is None:
            opened.scope = self._scope
            if opened.scope is None:
                default = self._base_name
                asked = (scope or default, None) if self._reuse else (scope, default)
                with ts.variable_scope(*asked) as opened.scope:
                    pass
        return ts.variable_scope(opened.scope, reuse=opened.built or self._reuse)

    def _build(self, inputs: Any) -> None:
        """Build it for these inputs, and remember their dtype."""
        tensors = self._see(inputs)
        self.build(inputs.shape if isinstance(inputs, Tensor) else [x.shape for x in tensors])

    def _see(self, inputs: Any) -> list[Any]:
        """The inputs as a list, of tensors alone; remembers their dtype."""
        tensors: list[Any] = nest.flatten(inputs)
        for x in tensors:
            if not hasattr(x, "dtype"):
                raise ValueError(f"{self._base_name}: inputs have to be tensors, not {x!r}.")
        ts.in_this_pass(self, Opened).dtype = tensors[0].dtype
        return tensors

    def _own(self, name: str, regularizer: Any) -> None:
        """Count the variable ``name`` of its open scope, and its loss, as its own.

        As in TensorFlow the loss is that of the object that asks for the variable first.
        """
        opened = ts.in_this_pass(self, Opened)
        full_name = f"{self.scope_name}/{name}"
        owners = ts.in_this_pass("torchscope.tf1: owners of losses", _empty)
        owner = owners.setdefault(full_name, self)
        opened.weights.setdefault(full_name, regularizer if owner is self else None)

    # ---- what it has -----------------------------------------------------------------------

    def _call_it(self, name: str | None) -> None:
        """Give it a name, or one from its class's name and a number."""
        self._given_name = name
        self._name = name or f"{self._base_name}_{number_of(self._base_name)}"

    @property
    def name(self) -> str:
        """The given name, or one from the class's name and a number in the order of creation."""
        return self._name or self._base_name

    @property
    def _base_name(self) -> str:
        return self._given_name or _snake_case(type(self).__name__)

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype given, or that of the first input in this pass."""
        return self._dtype or ts.in_this_pass(self, Opened).dtype

    @property
    def built(self) -> bool:
        """Whether its variables have been asked for in this pass."""
        return ts.in_this_pass(self, Opened).built

    @built.setter
    def built(self, built: bool) -> None:
        ts.in_this_pass(self, Opened).built = built

    @property
    def scope_name(self) -> str:
        """The full name of its scope.

        Raises:
            ValueError: it was not called yet in this pass.
        """
        scope = ts.in_this_pass(self, Opened).scope or self._scope
        if scope is None:
            raise ValueError(
                f"{self._base_name!r} has no scope yet: its first call in a pass opens one."
            )
        return scope.name

    def _key(self, kind: str) -> str:
        """The collection of what it was given itself."""
        return f"torchscope.tf1: {kind} of {id(self)}"

    def _collected(self, key: str) -> list[Any]:
        scope = ts.in_this_pass(self, Opened).scope
        return [] if scope is None else scope.get_collection(key)

    @property
    def variables(self) -> list[Tensor]:
        """The variables in its scope, in the order of creation."""
        return self._collected(ts.GraphKeys.GLOBAL_VARIABLES)

    @property
    def trainable_variables(self) -> list[Tensor]:
        """Those of them that require a gradient."""
        return self._collected(ts.GraphKeys.TRAINABLE_VARIABLES)

    @property
    def non_trainable_variables(self) -> list[Tensor]:
        """Those of them that do not require a gradient."""
        return [variable for variable in self.variables if not variable.requires_grad]

    weights = variables
    trainable_weights = trainable_variables
    non_trainable_weights = non_trainable_variables

    @property
    def losses(self) -> list[Tensor]:
        """Of the regularizers that it was given, not its scope, and what ``add_loss`` added."""
        given = ts.in_this_pass(self, Opened).weights
        named = {ts.name_of(variable): variable for variable in self.variables}
        found = [f(named[name]) for name, f in given.items() if f is not None and name in named]
        return [loss for loss in found if loss is not None] + ts.get_collection(self._key("losses"))

    @property
    def updates(self) -> list[Any]:
        """The updates that wait; see ``tf.collect_updates``."""
        return self._collected(ts.GraphKeys.UPDATE_OPS)


def number_of(base: str) -> int:
    """The number of an object without a name among those of its kind in this pass, from 1."""
    numbers = ts.in_this_pass("torchscope.tf1: numbers of layers", _empty)
    number = numbers[base] = numbers.get(base, 0) + 1
    return number


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"private{name}" if name.startswith("_") else name
