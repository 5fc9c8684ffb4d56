"""One interface for one step of a cell and for all of them; and wrappers for both."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ._cell import RNNCell, assert_like_rnncell, unroll

Step = Callable[[Any, Any, Any], tuple[Any, Any]]  # (cell, inputs, state) -> (outputs, state)


def one_step(cell: Any, inputs: Any, state: Any) -> tuple[Any, Any]:
    return cell(inputs, state)


def one_step_in(scope: Any) -> Step:
    def step(cell: Any, inputs: Any, state: Any) -> tuple[Any, Any]:
        return cell(inputs, state, scope=scope)

    return one_step if scope is None else step


def all_steps(lengths: Tensor | None) -> Step:
    return lambda cell, inputs, state: unroll(cell, inputs, state, lengths)


class Wrapper(RNNCell):
    """A wrapper around a cell; it has no scope of its own."""

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

    def _collected(self, key: str) -> list[Any]:
        return []  # As in TensorFlow: the variables are listed by the cell inside.

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        return self._around(inputs, state, one_step_in(scope))

    def _around(self, inputs: Any, state: Any, step: Step) -> tuple[Any, Any]:
        """Run the cell's step, or all of them, with what the wrapper adds."""
        return step(self._cell, inputs, state)
