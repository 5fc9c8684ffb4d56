"""Layer: the base class of layer objects, which users may derive from; has no layer itself."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1._scoped import Opened, Scoped
from torchscope.tf1.dtypes import as_dtype

__all__ = ["InputSpec", "Layer"]


@dataclass
class InputSpec:
    """The inputs that a layer takes: their rank, or the sizes of some axes.

    Torch: none. A layer's ``input_spec`` is one of these, or a list of them for several inputs.
    """

    dtype: Any = None
    shape: Any = None
    ndim: int | None = None
    max_ndim: int | None = None
    min_ndim: int | None = None
    axes: dict[int, int] | None = None

    def admits(self, x: Tensor) -> bool:
        """Whether a tensor fits this."""
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


class Layer(Scoped):
    """Derive a layer from this, which shares its variables among its calls.

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

    A layer object that is used in several passes begins each anew: its scope is opened and it is
    built at its first call in the pass.

    Args:
        trainable: whether its variables are.
        name: of the scope, made unique there; the class's name by default.
        dtype: of the variables; that of the first input by default.
        kwargs: ``activity_regularizer``; ``_scope`` and ``_reuse``, the scope and its reuse mode.
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
        self._call_it(name)
        if scope:
            with ts.variable_scope(scope) as self._scope:
                pass

    # ---- for those who derive a layer ------------------------------------------------------

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes; called in its scope."""
        return inputs

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Add a loss, or a list of them, to REGULARIZATION_LOSSES and to its ``losses``."""
        self._add(ts.GraphKeys.REGULARIZATION_LOSSES, "losses", losses)

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Add an update, or a list of them, to UPDATE_OPS and to its ``updates``."""
        self._add(ts.GraphKeys.UPDATE_OPS, "updates", updates)

    def _add(self, collection: str, kind: str, values: Any) -> None:
        for value in nest.flatten(values):
            ts.add_to_collection(collection, value)
            ts.add_to_collection(self._key(kind), value)

    # ---- what it has -----------------------------------------------------------------------

    def _collected(self, key: str) -> list[Any]:
        own = ts.in_this_pass(self, Opened).weights
        return [v for v in super()._collected(key) if ts.name_of(v) in own]

    @property
    def updates(self) -> list[Any]:
        """What ``add_update`` has added in this pass."""
        return ts.get_collection(self._key("updates"))

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
            regularizer = self._activity_regularizer
            if regularizer is not None and (loss := regularizer(y)) is not None:
                self.add_loss(loss / y.shape[0])
            return y

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The same as calling it."""
        return self(inputs, *args, **kwargs)
