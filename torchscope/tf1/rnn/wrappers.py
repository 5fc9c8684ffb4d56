"""Cells around other cells: stacks, dropout, residuals, projections; they compute no gates."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1.dtypes import as_dtype

from . import _states
from ._cell import RNNCell, assert_like_rnncell, unroll
from .cells import LSTMStateTuple, activation_of, dropout, linear_in

Step = Callable[[Any, Any, Any], tuple[Any, Any]]  # (cell, inputs, state) -> (outputs, state)


class MultiRNNCell(RNNCell):
    """Cells on top of each other, in scopes ``cell_0``, ``cell_1``, ...; the state has one of each.

    One cell object at two depths shares its variables. A sequence goes through layer by layer.

    Torch: ``num_layers=`` of ``nn.LSTM``.

    Args:
        cells: from the bottom up.
        state_is_tuple: False for one tensor that holds all states side by side.

    Raises:
        TypeError: ``cells`` is not a list of cells.
        ValueError: it is empty, or states that are tuples themselves are to lie side by side.
    """

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not isinstance(cells, (list, tuple)):
            raise TypeError(f"MultiRNNCell(): cells has to be a list of cells, not {cells!r}.")
        if not cells:
            raise ValueError("MultiRNNCell(): give at least one cell.")
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

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        if not self._state_is_tuple:
            return super().zero_state(batch_size, dtype)
        return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        return self._through(inputs, state, _one_step)

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        return self._in_scope(self._through, None, inputs, state, _all_steps(lengths))

    def _through(self, inputs: Any, state: Any, step: Step) -> tuple[Any, Any]:
        """Go through the layers, one step or all."""
        if self._state_is_tuple:
            states = cast("tuple[Any, ...]", state)
            if not isinstance(state, (tuple, list)) or len(states) != len(self._cells):
                raise ValueError(
                    f"{self.name}: the state has to be a tuple of {len(self._cells)}, one for each"
                    f" cell, not {state!r}."
                )
        else:
            states = state.split([cell.state_size for cell in self._cells], dim=1)
        new_states: list[Any] = []
        for number, (cell, cell_state) in enumerate(zip(self._cells, states, strict=True)):
            with ts.variable_scope(f"cell_{number}"):
                inputs, new_state = step(cell, inputs, cell_state)
            new_states.append(new_state)
        return inputs, tuple(new_states) if self._state_is_tuple else torch.cat(new_states, 1)


class _Wrapper(RNNCell):
    """A cell with something around it; it has no scope of its own."""

    def __init__(self, cell: RNNCell) -> None:
        assert_like_rnncell(f"{type(self).__name__}(): cell", cell)
        super().__init__()
        self._cell = cell

    @property
    def wrapped_cell(self) -> RNNCell:
        """The cell inside."""
        return self._cell

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    @property
    def variables(self) -> list[Tensor]:
        return self._cell.variables

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        return self._around(inputs, state, _one_step_in(scope))

    def _around(self, inputs: Any, state: Any, step: Step) -> tuple[Any, Any]:
        """Do what the wrapper does around the cell's step, or around all of them."""
        return step(self._cell, inputs, state)


class DropoutWrapper(_Wrapper):
    """Dropout before and after a cell, and on its state (an LSTM's ``c`` is spared).

    A keep probability of 1.0 drops nothing. A cell is made for training or for evaluation, by its
    probabilities, as in TensorFlow: ``net.eval()`` does not reach it.

    Torch: ``dropout=`` of ``nn.LSTM``, which is the probability to drop, and lies between layers.

    Args:
        cell: the cell inside.
        input_keep_prob: the share of inputs that is kept.
        output_keep_prob: the share of outputs that is kept.
        state_keep_prob: the share of the new state that is kept.
        variational_recurrent: True for one mask at all steps of a pass, and for all of a batch.
        input_size: the depth of the inputs, for their mask.
        dtype: of the masks.
        seed: accepted; torch has one random stream.
        dropout_state_filter_visitor: ``f(part_of_state)`` gives whether it is dropped, or a
            structure of such answers.

    Raises:
        ValueError: a probability outside [0, 1]; no ``dtype`` or ``input_size`` for the masks.
    """

    def __init__(
        self,
        cell: RNNCell,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        dtype: Any = None,
        seed: Any = None,
        dropout_state_filter_visitor: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(cell)
        self._keep = {
            "input": input_keep_prob,
            "output": output_keep_prob,
            "state": state_keep_prob,
        }
        for what, keep_prob in self._keep.items():
            if not 0 <= float(keep_prob) <= 1:
                raise ValueError(
                    f"DropoutWrapper(): {what}_keep_prob={keep_prob} is not between 0 and 1."
                )
        self._drops_state = dropout_state_filter_visitor or _all_but_c
        self._mask_sizes: dict[str, Any] = {}
        if variational_recurrent:
            if dtype is None:
                raise ValueError("DropoutWrapper(): variational_recurrent=True needs dtype=.")
            if input_size is None and float(input_keep_prob) < 1:
                raise ValueError("DropoutWrapper(): variational_recurrent=True needs input_size=.")
            sizes = {"input": input_size, "output": cell.output_size, "state": cell.state_size}
            self._mask_sizes = {what: s for what, s in sizes.items() if s is not None}
            self._mask_dtype = as_dtype(dtype)

    def _around(self, inputs: Any, state: Any, step: Step) -> tuple[Any, Any]:
        inputs = self._dropped("input", inputs)
        outputs, state = step(self._cell, inputs, state)
        if self._keep["state"] != 1:
            state = self._dropped("state", state)
        return self._dropped("output", outputs), state

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        if self._keep["state"] != 1:  # which comes between the steps
            return super()._unroll(inputs, state, lengths)
        return self._around(inputs, state, _all_steps(lengths))

    def _dropped(self, what: str, values: Any) -> Any:
        """The values with a share of them dropped."""
        keep_prob = self._keep[what]
        if isinstance(keep_prob, (int, float)) and keep_prob == 1:
            return values
        masks = values
        if self._mask_sizes:
            masks = ts.in_this_pass((self, what), lambda: self._mask(what, values))
        drops = _answers(self._drops_state, values) if what == "state" else None

        def dropped(value: Any, mask: Any, drop: bool = True) -> Any:
            if not drop:
                return value
            return value * mask if self._mask_sizes else dropout(value, keep_prob)

        if drops is None:
            return nest.map_structure(dropped, values, masks)
        return nest.map_structure(dropped, values, masks, drops)

    def _mask(self, what: str, like: Any) -> Any:
        """What values are multiplied by: 0 or 1 / keep_prob, the same for all of a batch."""
        device = nest.flatten(like)[0].device
        zeros = _states.zeros(self._mask_sizes[what], 1, self._mask_dtype, device)
        return _states.each(lambda zero: dropout(zero + 1, self._keep[what]), zeros)


class ResidualWrapper(_Wrapper):
    """Adds the inputs of a cell to its outputs.

    Torch: none.

    Args:
        cell: the cell inside.
        residual_fn: ``f(inputs, outputs)`` gives the outputs instead; called at each step.

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
        outputs, state = self._around(inputs, state, _all_steps(lengths))
        if lengths is not None:
            steps = len(nest.flatten(inputs)[0])
            outputs = _states.zero_beyond(outputs, _states.live_steps(lengths, steps))
        return outputs, state


class DeviceWrapper(_Wrapper):
    """The cell itself: where variables lie is the store's to say.

    Torch: none.

    Args:
        cell: the cell inside.
        device: accepted, as ``tf.device`` accepts it.
    """

    def __init__(self, cell: RNNCell, device: Any) -> None:
        super().__init__(cell)

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        return self._around(inputs, state, _all_steps(lengths))


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


def _one_step(cell: Any, inputs: Any, state: Any) -> tuple[Any, Any]:
    return cell(inputs, state)


def _one_step_in(scope: Any) -> Step:
    def step(cell: Any, inputs: Any, state: Any) -> tuple[Any, Any]:
        return cell(inputs, state, scope=scope)

    return _one_step if scope is None else step


def _all_steps(lengths: Tensor | None) -> Step:
    return lambda cell, inputs, state: unroll(cell, inputs, state, lengths)


def _added(inputs: Tensor, outputs: Tensor) -> Tensor:
    if inputs.shape != outputs.shape:
        shapes = f"{list(inputs.shape)} and the outputs {list(outputs.shape)}"
        raise ValueError(f"ResidualWrapper(): the inputs are {shapes}; they have to be alike.")
    return inputs + outputs


def _all_but_c(state: Any) -> Any:
    """What is dropped of a state: everything but what an LSTM remembers."""
    return LSTMStateTuple(False, True) if isinstance(state, LSTMStateTuple) else True


def _answers(asked: Callable[[Any], Any], state: Any) -> Any:
    """Whether to drop each leaf of a state: what ``asked`` says of it or of what holds it."""
    answer = asked(state)
    if nest.is_nested(answer):
        return answer
    if not answer or isinstance(state, Tensor):
        return _states.each(lambda _: bool(answer), state)
    return _states.rebuilt(state, [_answers(asked, part) for part in state])
