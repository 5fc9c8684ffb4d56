"""Layer: the class that layer objects are of, and that users derive theirs from; makes no layer."""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1._weights import weight
from torchscope.tf1.dtypes import as_dtype

from ._parts import activated, number_of

__all__ = ["InputSpec", "Layer"]


@dataclass
class InputSpec:
    """Say what inputs a layer takes: their rank, or the sizes of some axes.

    Torch: none. A layer's ``input_spec`` is one of these, or a list of them for several inputs.
    """

    dtype: Any = None
    shape: Any = None
    ndim: int | None = None
    max_ndim: int | None = None
    min_ndim: int | None = None
    axes: dict[int, int] | None = None

    def admits(self, x: Tensor) -> bool:
        """Whether a tensor is as this says."""
        sizes: dict[int, Any] = {**dict(enumerate(self.shape or ())), **(self.axes or {})}
        return (
            (self.shape is None or x.ndim == len(self.shape))
            and (self.ndim is None or x.ndim == self.ndim)
            and (self.min_ndim is None or x.ndim >= self.min_ndim)
            and (self.max_ndim is None or x.ndim <= self.max_ndim)
            and all(
                size is None or (axis < x.ndim and x.shape[axis] == size)
                for axis, size in sizes.items()
            )
        )


@dataclass
class _Opened:
    """What one pass knows of a layer."""

    scope: ts.VariableScope | None = None
    dtype: torch.dtype | None = None
    built: bool = False


class Layer:
    """Derive from this a layer that shares its variables whenever it is called.

    Torch: ``nn.Module``; variables belong to the store, and the scope is that of the first call.

    >>> import torch, torchscope as ts
    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight("scale", [input_shape[-1]])
    ...     def call(self, inputs):
    ...         return inputs * self.scale
    >>> scale = Scale()
    >>> net = ts.ScopedModule(lambda x: scale(scale(x)))
    >>> net(torch.ones(2, 3)).shape, list(net)
    (torch.Size([2, 3]), ['scale/scale'])

    A layer made once and kept begins every pass as the first: its scope is opened and it is built
    at its first call in that pass.

    Args:
        trainable: whether its variables are.
        name: of the scope, made unique there; the class's name by default.
        dtype: of the variables; that of the first input by default.
        kwargs: ``activity_regularizer``; ``_scope`` and ``_reuse``, the scope and how it reuses.
    """

    def __init__(
        self, trainable: bool = True, name: Any = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        scope, self._reuse = kwargs.pop("_scope", None), kwargs.pop("_reuse", None)
        self._activity_regularizer = kwargs.pop("activity_regularizer", None)
        for unknown in kwargs:
            raise TypeError(f"{type(self).__name__}() has no argument {unknown!r}.")
        self.trainable = trainable
        self._dtype = None if dtype is None else as_dtype(dtype)
        self.input_spec: Any = None  # an InputSpec, or a list of them
        self._base_name: str = name or _snake_case(type(self).__name__)
        self._name: str = name or f"{self._base_name}_{number_of(self._base_name)}"
        self._scope: ts.VariableScope | None = None
        if scope:
            with ts.variable_scope(scope) as self._scope:
                pass

    # ---- for those who derive a layer ------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Make the variables; called before the first ``call`` of each pass."""

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes; called in its scope."""
        return inputs

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
        """A variable in the layer's scope; the last four arguments are accepted and ignored."""
        dtype = dtype or self.dtype or torch.float32
        with self._entered():
            settings = initializer, regularizer, constraint
            return weight(name, shape, dtype, *settings, trainable is not False and self.trainable)

    add_variable = add_weight

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Put a loss, or a list of them, into REGULARIZATION_LOSSES."""
        for loss in nest.flatten(losses):
            ts.add_to_collection(ts.GraphKeys.REGULARIZATION_LOSSES, loss)

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Put an update, or a list of them, into UPDATE_OPS."""
        for update in nest.flatten(updates):
            ts.add_to_collection(ts.GraphKeys.UPDATE_OPS, update)

    # ---- calling it ------------------------------------------------------------------------

    def __call__(self, inputs: Any, *args: Any, scope: Any = None, **kwargs: Any) -> Any:
        with self._entered(scope):
            if not self.built:
                self._build(inputs)
                self.built = True
            for spec, x in zip(nest.flatten(self.input_spec), nest.flatten(inputs), strict=False):
                if spec is not None and not spec.admits(x):
                    raise ValueError(f"{self.name}: inputs of {list(x.shape)} do not fit {spec}.")
            y = self.call(inputs, *args, **kwargs)
            if self._activity_regularizer is not None:
                activated(y, None, self._activity_regularizer)
            return y

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The same as calling it."""
        return self(inputs, *args, **kwargs)

    def _build(self, inputs: Any) -> None:
        tensors: list[Any] = nest.flatten(inputs)
        ts.in_this_pass(self, _Opened).dtype = tensors[0].dtype
        self.build(inputs.shape if isinstance(inputs, Tensor) else [x.shape for x in tensors])

    def _entered(self, scope: Any = None) -> Any:
        """The opening of its scope, which is fixed by the first in a pass."""
        opened = ts.in_this_pass(self, _Opened)
        if opened.scope is None:
            opened.scope = self._scope
            if opened.scope is None:
                default = self._base_name
                asked = (scope or default, None) if self._reuse else (scope, default)
                with ts.variable_scope(*asked) as opened.scope:
                    pass
        return ts.variable_scope(opened.scope, reuse=opened.built or self._reuse)

    # ---- what it has -----------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name given, or one made of the class's and a number in the order of making."""
        return self._name

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype given, or that of the first input in this pass."""
        return self._dtype or ts.in_this_pass(self, _Opened).dtype

    @property
    def built(self) -> bool:
        """Whether its variables have been asked for in this pass."""
        return ts.in_this_pass(self, _Opened).built

    @built.setter
    def built(self, built: bool) -> None:
        ts.in_this_pass(self, _Opened).built = built

    @property
    def scope_name(self) -> str:
        """The full name of its scope, once it was called in this pass.

        Raises:
            ValueError: it was not.
        """
        scope = ts.in_this_pass(self, _Opened).scope or self._scope
        if scope is None:
            raise ValueError(
                f"The layer {self.name!r} has no scope yet: its first call in a pass opens one."
            )
        return scope.name

    def _collected(self, key: str) -> list[Any]:
        scope = ts.in_this_pass(self, _Opened).scope
        return [] if scope is None else scope.get_collection(key)

    @property
    def variables(self) -> list[Tensor]:
        """The variables in its scope, in the order of making."""
        return self._collected(ts.GraphKeys.GLOBAL_VARIABLES)

    @property
    def trainable_variables(self) -> list[Tensor]:
        """Those of them that require a gradient."""
        return self._collected(ts.GraphKeys.TRAINABLE_VARIABLES)

    @property
    def non_trainable_variables(self) -> list[Tensor]:
        """Those of them that require none."""
        return [variable for variable in self.variables if not variable.requires_grad]

    weights = variables
    trainable_weights = trainable_variables
    non_trainable_weights = non_trainable_variables

    @property
    def losses(self) -> list[Tensor]:
        """The regularization losses of its variables and of its calls in this pass."""
        return self._collected(ts.GraphKeys.REGULARIZATION_LOSSES)

    @property
    def updates(self) -> list[Any]:
        """The updates that wait; see ``tf.collect_updates``."""
        return self._collected(ts.GraphKeys.UPDATE_OPS)


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"private{name}" if name.startswith("_") else name
