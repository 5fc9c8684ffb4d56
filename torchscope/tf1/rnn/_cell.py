"""RNNCell: a scope, variables and a step, and steps over a sequence; knows no particular cell."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

import torchscope as ts
from torchscope.tf1._arguments import one_int
from torchscope.tf1._scoped import Scoped
from torchscope.tf1.dtypes import as_dtype

from . import _states

T = TypeVar("T")


class RNNCell(Scoped):
    """One step of a recurrent network: ``output, new_state = cell(inputs, state)``.

    The first call in a pass fixes the scope, named after the class, and makes the variables; every
    later call shares them, wherever it is made. Subclass it with ``state_size``, ``output_size``
    and a ``call``:

    >>> import torch, torchscope.tf1 as tf
    >>> class Leaky(tf.nn.rnn_cell.RNNCell):
    ...     state_size = output_size = 4
    ...     def call(self, inputs, state):
    ...         decay = tf.get_variable("decay", [4])
    ...         state = torch.sigmoid(decay) * state + inputs
    ...         return state, state

    Torch: ``nn.RNNCellBase``, whose layers hold their parameters themselves.

    Args:
        trainable: whether ``add_variable`` makes trainable ones.
        name: of the scope; the second cell of a name in a scope gets ``_1``.
        dtype: of the variables; that of the inputs by default.
        _reuse: True to only take variables that are there, under exactly this name.
    """

    state_size: Any  # of each subclass, as are output_size and call
    output_size: Any

    def __init__(
        self,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
        *,
        _reuse: Any = None,
    ) -> None:
        self.trainable = trainable
        self._call_it(name)
        self._dtype = None if dtype is None else as_dtype(dtype)
        self._reuse = _reuse

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A cell with another step than its base cannot go over sequences as its base does.
        if {"call", "__call__"} & vars(cls).keys() and "_unroll" not in vars(cls):
            cls._unroll = RNNCell._unroll

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        """Take one step.

        Args:
            inputs: ``[batch, depth]``.
            state: in the structure of ``state_size``, each ``[batch, size]``.
            scope: another name for the scope than the class's; read at the first call only.

        Returns:
            The output ``[batch, output_size]``, and the new state.
        """
        return self._in_scope(self._step, scope, inputs, state)

    def apply(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        """The same as calling it."""
        return self(inputs, state, scope)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Compute a step, in the cell's scope."""
        raise NotImplementedError(f"{type(self).__name__} has to define call(inputs, state).")

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        """Go over a sequence, in the scope that is open.

        Args:
            inputs: ``[time, batch, ...]``, or a structure of such.
            state: the first one.
            lengths: of the sequences; outputs beyond are zero, states stay as they were.

        Returns:
            Outputs ``[time, batch, ...]``, and the last state.
        """
        scope = ts.get_variable_scope()
        steps = _states.unstacked(inputs)
        live = None if lengths is None else _states.live_steps(lengths, len(steps)).unbind()
        outputs: list[Any] = []
        for time, now in enumerate(steps):
            # TensorFlow runs a step's Python once. Here later steps share what the first made,
            # and count default names from where it did.
            with ts.variable_scope(scope, reuse=True if time else None):
                output, new_state = self(now, state)
            if live is not None:
                output = _states.zero_beyond(output, live[time])
                new_state = _states.where(live[time], new_state, state)
            state = new_state
            outputs.append(output)
        return _states.stacked(outputs), state

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The state that sequences begin with: zeros in the structure of ``state_size``."""
        batch = one_int(batch_size, "zero_state", "batch_size")
        if batch < 0:
            raise ValueError(f"zero_state(): batch_size={batch} has to be zero or more.")
        return _states.zeros(self.state_size, batch, as_dtype(dtype))

    def _in_scope(self, function: Callable[..., T], scope: Any, *args: Any) -> T:
        """Run ``function`` in the cell's scope."""
        with self._entered(scope):
            result = function(*args)
            self.built = True
        return result

    def _step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        if not self.built:
            self._build(inputs)
        return self.call(inputs, state)


LayerRNNCell = RNNCell  # In TensorFlow the one that makes its variables in ``build``.


def unroll(cell: Any, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
    """``cell._unroll``, also for a cell that is not an RNNCell but can be called like one."""
    steps: Any = cell._unroll if isinstance(cell, RNNCell) else partial(RNNCell._unroll, cell)
    return steps(inputs, state, lengths)


def assert_like_rnncell(cell_name: str, cell: Any) -> None:
    """Raise a TypeError unless ``cell`` can be called and has the sizes and zeros of a cell.

    Torch: nothing.
    """
    wanted = [a for a in ("output_size", "state_size", "zero_state") if not hasattr(cell, a)]
    if wanted or not callable(cell):
        lacking = " and ".join(wanted) or "__call__"
        raise TypeError(f"{cell_name} has to be an RNNCell; {cell!r} lacks {lacking}.")
