"""Shapes: tf.shape as a vector of ints, TensorShape, broadcasting; knows no arithmetic of tensors.

Sizes are Python ints here, not tensors, so that a shape computed from them costs nothing and
torch.compile knows it: ``tf.shape(x)[0] * 2`` is an int, ``tf.shape(x)[1:3] * 2`` two of them.
"""

import math
import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex, cast

import torch
from torch import Tensor

from torchscope.tf1._arguments import shape as sizes_of
from torchscope.tf1._convert import Operand, as_dtype, check_broadcast, tensor

__all__ = [
    "TensorShape",
    "broadcast_dynamic_shape",
    "broadcast_static_shape",
    "broadcast_to",
    "ensure_shape",
    "rank",
    "shape",
    "shape_n",
    "size",
]


class Sizes(tuple[int, ...]):
    """The result of tf.shape: a tuple of ints that adds, multiplies and compares as a vector does.

    >>> Sizes([2, 3])[1:] * 2, Sizes([2, 3]) + [1, 1], Sizes([2, 3]) > 2
    ((6,), (3, 4), tensor([False,  True]))
    """

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        if index is None or isinstance(index, tuple):  # tf.newaxis, ...
            return tensor(self)[cast("Any", index)]
        found: Any = super().__getitem__(cast("SupportsIndex | slice", index))
        return type(self)(found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._with(operator.add, other)

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __sub__(self, other: Any) -> Any:
        return self._with(operator.sub, other)

    def __rsub__(self, other: Any) -> Any:
        return (self - other) * -1

    def __mul__(self, other: Any) -> Any:
        return self._with(operator.mul, other)

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __floordiv__(self, other: Any) -> Any:
        return self._with(operator.floordiv, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with(operator.floordiv, other, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        return Sizes(self)._with(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> Any:
        return Sizes(self)._with(operator.truediv, other, swapped=True)

    def __mod__(self, other: Any) -> Any:
        return self._with(operator.mod, other)

    def __rmod__(self, other: Any) -> Any:
        return self._with(operator.mod, other, swapped=True)

    def __pow__(self, other: Any) -> Any:
        return self._with(operator.pow, other)

    def __neg__(self) -> Any:
        return self * -1

    def __abs__(self) -> Any:
        return self._with(max, self * -1)

    # Not == and !=, which are those of tuples.
    def __lt__(self, other: Any) -> Any:
        return self._compared(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._compared(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._compared(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._compared(operator.ge, other)

    def _with(self, operation: Any, other: Any, *, swapped: bool = False) -> Any:
        if isinstance(other, Tensor):
            return operation(other, tensor(self)) if swapped else operation(tensor(self), other)
        one: Any = tuple(self)
        two: Any = tuple(other) if hasattr(other, "__iter__") else (other,) * len(one)
        if len(one) != len(two):
            check_broadcast([len(one)], [len(two)], f"tf.shape: {operation.__name__}")
            one, two = (one * len(two), two) if len(one) == 1 else (one, two * len(one))
        if swapped:
            one, two = two, one
        return type(self)([operation(a, b) for a, b in zip(one, two, strict=True)])

    def _compared(self, operation: Any, other: Any) -> Tensor:
        return operation(tensor(self), other if isinstance(other, Tensor) else tensor(other))


class _LongSizes(Sizes):
    """Sizes that are int64 as a tensor."""

    __slots__ = ()
    _tf1_dtype = torch.int64  # which ``_convert.tensor`` looks at


class TensorShape(tuple[int | None, ...]):
    """A shape whose sizes are ints, or None where unknown.

    Torch: ``torch.Size``, which has no unknown sizes and no ``as_list``.

    >>> TensorShape([None, 3]).as_list()
    [None, 3]

    ``TensorShape(None)`` is a shape of which not even the rank is known.
    """

    __slots__ = ()

    def __new__(cls, dims: Iterable[int | None] | int | None) -> "TensorShape":
        """A shape from sizes.

        Raises:
            ValueError: a size is negative.
            TypeError: a size is not an int.
        """
        if dims is None or isinstance(dims, _AnyShape):
            return tuple.__new__(_AnyShape)
        listed = dims if isinstance(dims, Iterable) else [dims]
        sizes = [None if size is None else _size(size) for size in listed]
        return super().__new__(cls, sizes)

    def __getitem__(self, index: SupportsIndex | slice) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        found: Any = super().__getitem__(index)
        return TensorShape(found) if isinstance(index, slice) else found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, tuple)) and tuple(self) == tuple(cast("Any", other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    @property
    def ndims(self) -> int | None:
        """The rank, None if it is unknown."""
        return len(self)

    @property
    def rank(self) -> int | None:
        """The rank, None if it is unknown."""
        return self.ndims

    @property
    def dims(self) -> list[int | None] | None:
        """The sizes as a list, None if not even the rank is known."""
        return list(self)

    def as_list(self) -> list[int | None]:
        """The sizes as a list."""
        return list(self)

    def num_elements(self) -> int | None:
        """The product of the sizes, None if one is unknown."""
        return math.prod(cast("Any", self)) if self.is_fully_defined() else None

    def is_fully_defined(self) -> bool:
        """Whether all sizes are known."""
        return None not in self

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the two could be the same shape."""
        other = TensorShape(other)
        if isinstance(other, _AnyShape):
            return True
        return len(self) == len(other) and all(
            a == b or a is None or b is None for a, b in zip(self, other, strict=True)
        )

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raise a ValueError unless the two could be the same shape."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self.as_list()} and {list(other)} are incompatible.")

    def merge_with(self, other: Any) -> "TensorShape":
        """The sizes known from either; ValueError unless they could be the same shape."""
        self.assert_is_compatible_with(other)
        pairs = zip(self, TensorShape(other), strict=True)
        return TensorShape([b if a is None else a for a, b in pairs])

    def concatenate(self, other: Any) -> "TensorShape":
        """The sizes of the one, then those of the other."""
        return TensorShape([*self, *TensorShape(other)])

    def assert_is_fully_defined(self) -> None:
        """Raise a ValueError unless all sizes are known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self.dims} is not fully defined.")

    def assert_same_rank(self, other: Any) -> None:
        """Raise a ValueError unless the two could have the same rank."""
        ranks = self.ndims, TensorShape(other).ndims
        if None not in ranks and ranks[0] != ranks[1]:
            raise ValueError(f"Shapes {self.as_list()} and {list(other)} must have the same rank.")

    def assert_has_rank(self, rank: int) -> None:
        """Raise a ValueError unless it could have this rank."""
        self.with_rank(rank)

    def with_rank(self, rank: int) -> "TensorShape":
        """Itself; ValueError unless it has this rank."""
        if len(self) != rank:
            raise ValueError(f"Shape {self.as_list()} must have rank {rank}.")
        return self

    def with_rank_at_least(self, rank: int) -> "TensorShape":
        """Itself; ValueError unless it has this rank or a larger one."""
        if len(self) < rank:
            raise ValueError(f"Shape {self.as_list()} must have rank at least {rank}.")
        return self

    def with_rank_at_most(self, rank: int) -> "TensorShape":
        """Itself; ValueError unless it has this rank or a smaller one."""
        if len(self) > rank:
            raise ValueError(f"Shape {self.as_list()} must have rank at most {rank}.")
        return self


class _AnyShape(TensorShape):
    """A shape about which nothing is known."""

    __slots__ = ()

    @property
    def ndims(self) -> None:
        return None

    @property
    def dims(self) -> None:
        return None

    def as_list(self) -> list[int | None]:
        raise ValueError("as_list(): TensorShape(None) has no known sizes.")

    def is_fully_defined(self) -> bool:
        return False

    def is_compatible_with(self, other: Any) -> bool:
        return True

    def merge_with(self, other: Any) -> TensorShape:
        return TensorShape(other)

    def concatenate(self, other: Any) -> TensorShape:
        return self

    def with_rank(self, rank: int) -> TensorShape:
        return TensorShape([None] * rank)

    def with_rank_at_least(self, rank: int) -> TensorShape:
        return self


def shape(input: Operand, name: str | None = None, out_type: Any = torch.int32) -> Sizes:
    """The sizes of a tensor as ints, which add and multiply as a vector.

    Torch: ``x.shape``; ``tf.shape(x)[1:] * 2`` doubles, where a tuple repeats. With
    ``out_type=tf.int64`` they become int64 next to tensors.

    >>> shape(torch.zeros(2, 3))[1:] * 2
    (6,)
    """
    sizes = Sizes(tensor(input, function="shape", argument="input").shape)
    return sizes if as_dtype(out_type) is torch.int32 else _LongSizes(sizes)


def shape_n(
    input: Iterable[Operand], name: str | None = None, out_type: Any = torch.int32
) -> list[Sizes]:
    """The sizes of each of several tensors.

    Torch: ``[x.shape for x in inputs]``.
    """
    if not isinstance(input, (list, tuple)):
        raise TypeError("shape_n(): input has to be a list of tensors.")
    return [shape(one, out_type=out_type) for one in input]


def size(input: Operand, name: str | None = None, out_type: Any = torch.int32) -> int:
    """How many elements a tensor has, as an int.

    Torch: ``x.numel()``.
    """
    return tensor(input, function="size", argument="input").numel()


def rank(input: Operand, name: str | None = None) -> int:
    """How many axes a tensor has, as an int.

    Torch: ``x.ndim``.
    """
    return tensor(input, function="rank", argument="input").ndim


def ensure_shape(x: Operand, shape: Any, name: str | None = None) -> Tensor:
    """The tensor itself, if it has this shape, where None fits any size; else a ValueError.

    Torch: ``assert x.shape == (...)``.
    """
    x = tensor(x, function="ensure_shape", argument="x")
    if not TensorShape(shape).is_compatible_with(x.shape):
        raise ValueError(f"ensure_shape(): shape {list(x.shape)} is not {list(shape)}.")
    return x


def broadcast_to(input: Operand, shape: Any, name: str | None = None) -> Tensor:
    """The tensor repeated to a shape, as a view.

    Torch: ``x.expand(shape)``.
    """
    x = tensor(input, function="broadcast_to", argument="input")
    sizes = sizes_of(shape, "broadcast_to")
    if (
        len(sizes) < x.ndim
        or min(sizes, default=0) < 0
        or any(a not in (1, b) for a, b in zip(reversed(x.shape), reversed(sizes), strict=False))
    ):
        raise ValueError(f"broadcast_to(): {list(x.shape)} cannot become {list(sizes)}.")
    return x.expand(sizes)


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Sizes:
    """The shape that two shapes broadcast to, as ints.

    Torch: ``torch.broadcast_shapes``.
    """
    one, two = (sizes_of(s, "broadcast_dynamic_shape", "shape") for s in (shape_x, shape_y))
    check_broadcast(one, two, "broadcast_dynamic_shape")
    return Sizes(torch.broadcast_shapes(one, two))


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape that two shapes broadcast to.

    Torch: ``torch.broadcast_shapes``.
    """
    return TensorShape(broadcast_dynamic_shape(shape_x, shape_y))


def _size(value: Any) -> int:
    if isinstance(value, torch.SymInt):
        return cast("int", value)
    if not hasattr(value, "__index__"):
        raise TypeError(f"TensorShape(): {value!r} is not a size.")
    if value < 0:
        raise ValueError(f"TensorShape(): size {value} is negative.")
    return operator.index(value)
