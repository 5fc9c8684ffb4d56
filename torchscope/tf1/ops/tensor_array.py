"""TensorArray: a list of tensors, written in a loop; knows no loop."""

from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._arguments import ints, one_int
from torchscope.tf1._convert import Operand, tensor
from torchscope.tf1.dtypes import as_dtype

__all__ = ["TensorArray"]


class TensorArray:
    """A list of tensors; each write returns a new array with the element.

    Torch: a Python list and ``torch.stack``.  An element may be read repeatedly, whatever
    ``clear_after_read`` says.

    >>> import torchscope.tf1 as tf
    >>> array = tf.TensorArray(tf.float32, size=2).write(0, 1.0).write(1, 2.0)
    >>> array.stack(), array.size()
    (tensor([1., 2.]), 2)

    Args:
        dtype: of all elements.
        size: how many elements; 0 by default.
        dynamic_size: whether writing may make it longer.
        clear_after_read: accepted, as all arguments that mean something only in a graph.
        tensor_array_name: likewise.
        handle: likewise.
        flow: likewise.
        infer_shape: whether all elements have one shape.
        element_shape: accepted.
        colocate_with_first_write_call: accepted.
        name: accepted.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        self.dtype = as_dtype(dtype)
        self._dynamic = bool(dynamic_size)
        self._one_shape = infer_shape
        size = 0 if size is None else one_int(size, "TensorArray", "size")
        self._elements: list[Tensor | None] = [None] * size

    def size(self, name: str | None = None) -> int:
        """How many elements it has, written or not."""
        return len(self._elements)

    def identity(self) -> "TensorArray":
        """The same elements."""
        return self._with(list(self._elements))

    def write(self, index: Any, value: Operand, name: str | None = None) -> "TensorArray":
        """An array that also has ``value`` at ``index``.

        Raises:
            ValueError: ``index`` has been written already or is out of range, or the
                elements would have different shapes.
            TypeError: a tensor of another dtype.
        """
        index = one_int(index, "write", "index")
        value = tensor(value, self.dtype, function="write")
        elements = list(self._elements)
        if self._dynamic and index >= len(elements):
            elements += [None] * (index + 1 - len(elements))
        if not 0 <= index < len(elements):
            raise ValueError(
                f"write(): index {index} is out of range for a TensorArray of size {len(elements)};"
                " with dynamic_size=True it grows."
            )
        if elements[index] is not None:
            raise ValueError(f"write(): index {index} has been written to already.")
        if self._one_shape:
            _check_one_shape([*elements, value])
        elements[index] = value
        return self._with(elements)

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The element at ``index``; zeros if only others have been written."""
        index = one_int(index, "read", "index")
        return self.gather([index])[0]

    def stack(self, name: str | None = None) -> Tensor:
        """All elements, stacked."""
        return self.gather(range(len(self._elements)))

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements at ``indices``, stacked.

        Raises:
            ValueError: an index is out of range, or nothing has been written at all.
        """
        found = [self._element(index) for index in ints(indices, "gather", "indices")]
        return torch.stack(found) if found else torch.zeros(0, dtype=self.dtype)

    def concat(self, name: str | None = None) -> Tensor:
        """All elements, joined along their first axis."""
        return torch.cat([self._element(index) for index in range(len(self._elements))])

    def unstack(self, value: Operand, name: str | None = None) -> "TensorArray":
        """An array of the rows of ``value``."""
        value = tensor(value, self.dtype, function="unstack")
        return self.scatter(range(len(value)), value)

    def scatter(self, indices: Any, value: Operand, name: str | None = None) -> "TensorArray":
        """An array that also has the rows of ``value`` at ``indices``."""
        value = tensor(value, self.dtype, function="scatter")
        array = self
        for index, row in zip(ints(indices, "scatter", "indices"), value, strict=True):
            array = array.write(index, row)
        return array

    def split(self, value: Operand, lengths: Any, name: str | None = None) -> "TensorArray":
        """An array of parts of ``value``, cut along its first axis, of the given lengths."""
        value = tensor(value, self.dtype, function="split")
        parts = value.split(ints(lengths, "split", "lengths"))
        array = self
        for index, part in enumerate(parts):
            array = array.write(index, part)
        return array

    def close(self, name: str | None = None) -> None:
        """Do nothing: Python frees the elements."""

    def _with(self, elements: list[Tensor | None]) -> "TensorArray":
        array = TensorArray(self.dtype, dynamic_size=self._dynamic, infer_shape=self._one_shape)
        array._elements = elements
        return array

    def _element(self, index: int) -> Tensor:
        if not 0 <= index < len(self._elements):
            raise ValueError(
                f"index {index} is out of range for a TensorArray of size {len(self._elements)}."
            )
        element = self._elements[index]
        if element is not None:
            return element
        written = next((one for one in self._elements if one is not None), None)
        if written is None or not self._one_shape:
            raise ValueError(f"Nothing has been written to index {index} of this TensorArray.")
        return torch.zeros_like(written)


def _check_one_shape(elements: list[Tensor | None]) -> None:
    shapes = [element.shape for element in elements if element is not None]
    if shapes[0] != shapes[-1]:
        raise ValueError(
            f"write(): this TensorArray has elements of shape {list(shapes[0])}, and the value has"
            f" {list(shapes[-1])}; with infer_shape=False they may differ."
        )
