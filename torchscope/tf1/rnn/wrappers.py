"""Cells around other cells: stacks, residuals, projections; they compute no gates."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest

from . import _states
from ._cell import RNNCell, assert_like_rnncell
from ._parts import activation_of, linear_in
from ._steps import Step, Wrapper, all_steps, one_step


class MultiRNNCell(RNNCell):
    """Cells on top of each other, in scopes ``cell_0``, ``cell_1``, ...; the state has one of each.

    One cell object at two depths shares its variables. A sequence runs through layer by layer.

    Torch: ``num_layers=`` of ``nn.LSTM``.

    Args:
        cells: from the bottom up.
        state_is_tuple: False for one tensor of all states, concatenated.

    Raises:
        TypeError: ``cells`` is not a list of cells.
        ValueError: it is empty, or states to concatenate are tuples themselves.
    """

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not cells:
            raise ValueError("MultiRNNCell(): give at least one cell.")
        if not isinstance(cells, (list, tuple)):
            raise TypeError(f"MultiRNNCell(): cells has to be a list of cells, not {cells!r}.")
        for cell in cells:
            assert_like_rnncell("MultiRNNCell(): each of cells", cell)
        if not state_is_tuple and any(nest.is_nested(cell.state_size) for cell in cells):
            raise ValueError(
                "MultiRNNCell(): a cell's state is a tuple; make the cell with"
                " state_is_tuple=False, too."
            )
        self._cells = list(cells)
        self._state_is_tuple = state_is_tuple

    @property
    def state_size(self) -> Any:
        sizes = tuple(cell.state_size for cell in self._cells)
        return sizes if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> Any:
        return self._cells[-1].output_size

    def _collected(self, key: str) -> list[Any]:
        if not all(isinstance(cell, RNNCell) for cell in self._cells):
            return super()._collected(key)  # one that is only called like a cell lists nothing
        return [item for cell in self._cells for item in cell._collected(key)]

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        if not self._state_is_tuple:
            return super().zero_state(batch_size, dtype)
        return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        return self._through(inputs, state, one_step)

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        return self._in_scope(self._through, None, inputs, state, all_steps(lengths))

    def _through(self, inputs: Any, state: Any, step: Step) -> tuple[Any, Any]:
        """Go through the layers, one step or all."""
        states: Any = state
        if self._state_is_tuple:
            if not isinstance(state, (tuple, list)) or len(states) != len(self._cells):
                raise ValueError(
                    f"{self._base_name}: the state has to be a tuple of {len(self._cells)}, one for"
                    f" each cell, not {state!r}."
                )
        else:
            size = self.state_size
            if not isinstance(state, Tensor) or state.shape[1:] != (size,):
                raise ValueError(f"{self._base_name}: the state has to be [batch, {size}].")
            states = cast("Any", state).split([cell.state_size for cell in self._cells], dim=1)
        new_states: list[Any] = []
        for number, (cell, cell_state) in enumerate(zip(self._cells, states, strict=True)):
            with ts.variable_scope(f"cell_{number}"):
                inputs, new_state = step(cell, inputs, cell_state)
            new_states.append(new_state)
        return inputs, tuple(new_states) if self._state_is_tuple else torch.cat(new_states, 1)


class ResidualWrapper(Wrapper):
    """Adds the inputs of a cell to its outputs.

    Torch: none.

    Args:
        cell: the cell inside.
        residual_fn: ``f(inputs, outputs)`` returns the outputs instead; called at each step.

    Raises:
        ValueError: at a call; inputs and outputs have different shapes.
    """

    def __init__(self, cell: RNNCell, residual_fn: Callable[[Any, Any], Any] | None = None) -> None:
        super().__init__(cell)
        self._residual_fn = residual_fn

    def _around(self, inputs: Any, state: Any, step: Step) -> tuple[Any, Any]:
        outputs, state = step(self._cell, inputs, state)
        if self._residual_fn is not None:
            return self._residual_fn(inputs, outputs), state
        return nest.map_structure(_added, inputs, outputs), state

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        if self._residual_fn is not None:
            return super()._unroll(inputs, state, lengths)
        outputs, state = self._around(inputs, state, all_steps(lengths))
        if lengths is not None:
            steps = len(nest.flatten(inputs)[0])
            outputs = _states.zero_beyond(outputs, _states.live_steps(lengths, steps))
        return outputs, state


class DeviceWrapper(Wrapper):
    """The cell itself: the store decides the device of variables.

    Torch: none.

    Args:
        cell: the cell inside.
        device: accepted, as ``tf.device`` accepts it.
    """

    def __init__(self, cell: RNNCell, device: Any) -> None:
        super().__init__(cell)

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        return self._around(inputs, state, all_steps(lengths))


class OutputProjectionWrapper(RNNCell):
    """A cell whose output goes through a dense layer, in the scope ``output_projection_wrapper``.

    Torch: none. It is cheaper to project the outputs of all steps at once, after ``dynamic_rnn``.

    Args:
        cell: the cell inside.
        output_size: of the projection.
        activation: of the projection; none by default.
        reuse: True to only take variables that are there.
    """

    def __init__(
        self, cell: RNNCell, output_size: int, activation: Any = None, reuse: Any = None
    ) -> None:
        assert_like_rnncell("OutputProjectionWrapper(): cell", cell)
        super().__init__(_reuse=reuse)
        self._cell = cell
        self.state_size, self.output_size = cell.state_size, output_size
        self._activation = activation_of(activation or "linear")

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        output, state = self._cell(inputs, state)
        return self._activation(linear_in(self, [output], self.output_size)), state


class InputProjectionWrapper(RNNCell):
    """A cell whose inputs go through a dense layer, in the scope ``input_projection_wrapper``.

    Torch: none.

    Args:
        cell: the cell inside.
        num_proj: size of the projection.
        activation: of the projection; none by default.
        input_size: accepted, as TensorFlow's; nothing depends on it.
        reuse: True to only take variables that are there.
    """

    def __init__(
        self,
        cell: RNNCell,
        num_proj: int,
        activation: Any = None,
        input_size: Any = None,
        reuse: Any = None,
    ) -> None:
        assert_like_rnncell("InputProjectionWrapper(): cell", cell)
        super().__init__(_reuse=reuse)
        self._cell, self._num_proj = cell, num_proj
        self.state_size, self.output_size = cell.state_size, cell.output_size
        self._activation = activation_of(activation or "linear")

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        return self._cell(self._activation(linear_in(self, [inputs], self._num_proj)), state)


def _added(inputs: Tensor, outputs: Tensor) -> Tensor:
    if inputs.shape != outputs.shape:
        shapes = f"{list(inputs.shape)} and the outputs {list(outputs.shape)}"
        raise ValueError(f"ResidualWrapper(): the inputs are {shapes}; they have to be equal.")
    return inputs + outputs
