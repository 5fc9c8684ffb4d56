"""DropoutWrapper: dropout around a cell, and of its state; knows no cell except LSTM's state."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1.dtypes import as_dtype

from . import _states
from ._cell import RNNCell
from ._parts import dropout
from ._steps import Step, Wrapper, all_steps
from .lstm import LSTMStateTuple


class DropoutWrapper(Wrapper):
    """Dropout before and after a cell, and on its state (but not on an LSTM's ``c``).

    A keep probability of 1.0 drops nothing. As in TensorFlow the probabilities make a cell one for
    training or for evaluation: ``net.eval()`` has no effect on it.

    Torch: ``dropout=`` of ``nn.LSTM``, which is the probability to drop, between layers.

    Args:
        cell: the cell inside.
        input_keep_prob: the probability to keep an input.
        output_keep_prob: the probability to keep an output.
        state_keep_prob: the probability to keep an element of the new state.
        variational_recurrent: True for one mask at all steps of a pass, and for all of a batch.
        input_size: the depth of the inputs, for their mask.
        dtype: of the masks.
        seed: accepted; torch has one random stream.
        dropout_state_filter_visitor: ``f(part_of_state)`` returns whether to drop it, or a
            structure of such bools.

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
        return self._around(inputs, state, all_steps(lengths))

    def _dropped(self, what: str, values: Any) -> Any:
        """The values, with some dropped."""
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
        """The factors of the values: 0 or 1 / keep_prob, the same for the whole batch."""
        device = nest.flatten(like)[0].device
        zeros = _states.zeros(self._mask_sizes[what], 1, self._mask_dtype, device)
        return _states.each(lambda zero: dropout(zero + 1, self._keep[what]), zeros)


def _all_but_c(state: Any) -> Any:
    """Which parts of a state to drop by default: all except an LSTM's ``c``."""
    return LSTMStateTuple(False, True) if isinstance(state, LSTMStateTuple) else True


def _answers(asked: Callable[[Any], Any], state: Any) -> Any:
    """Whether to drop each leaf of a state: ``asked`` of the leaf or of a structure around it."""
    answer = asked(state)
    if nest.is_nested(answer):
        return answer
    if not answer or isinstance(state, Tensor):
        return _states.each(lambda _: bool(answer), state)
    return _states.rebuilt(state, [_answers(asked, part) for part in state])
