"""Cells over sequences: dynamic_rnn and the like; accept anything that is called like a cell."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1._convert import integers, tensor
from torchscope.tf1.dtypes import as_dtype

from . import _states
from ._cell import assert_like_rnncell, unroll


def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """Run a cell over a sequence, in the scope ``rnn``.

    >>> import torch, torchscope as ts, torchscope.tf1 as tf
    >>> def model(x):
    ...     cell = tf.nn.rnn_cell.BasicLSTMCell(8)
    ...     return tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    >>> net = ts.ScopedModule(model).build(torch.zeros(2, 5, 3))
    >>> list(net)
    ['rnn/basic_lstm_cell/kernel', 'rnn/basic_lstm_cell/bias']

    Torch: ``nn.LSTM``, which is used for LSTM cells; others run in a loop.

    Args:
        cell: an RNNCell.
        inputs: ``[batch, time, depth]``, or a structure of such.
        sequence_length: ``[batch]`` numbers. Beyond it outputs are zero, and the state stays.
        initial_state: in the structure of ``cell.state_size``; zeros by default.
        dtype: of the zeros; needed unless there is an initial state.
        parallel_iterations: accepted, as ``swap_memory``; they mean something only in a graph.
        swap_memory: likewise.
        time_major: whether inputs and outputs are ``[time, batch, depth]``.
        scope: another name, or a scope.

    Returns:
        The outputs, ``[batch, time, cell.output_size]``, and the last state.

    Raises:
        TypeError: ``cell`` is not a cell; dtypes, or the structures of the first state and the
            next, differ.
        ValueError: neither ``initial_state`` nor ``dtype``, or shapes that do not fit.
    """
    assert_like_rnncell("dynamic_rnn(): cell", cell)
    with ts.variable_scope(scope or "rnn"):
        inputs = _states.each(_turned(time_major), nest.map_structure(tensor, inputs))
        outputs, state = _run("dynamic_rnn", cell, inputs, sequence_length, initial_state, dtype)
    return _states.each(_turned(time_major), outputs), state


def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: Any = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Run cells over a sequence both ways, in the scopes ``bidirectional_rnn/fw`` and ``bw``.

    Torch: ``bidirectional=True``, which concatenates the two outputs.  Lengths are integers here.

    Args:
        cell_fw: the cell that goes forward.
        cell_bw: the one that goes backward, through each sequence from its own end.
        inputs: this and what follows as for ``dynamic_rnn``.
        sequence_length: lengths.
        initial_state_fw: of ``cell_fw``.
        initial_state_bw: of ``cell_bw``.
        dtype: of zeros as states.
        parallel_iterations: accepted.
        swap_memory: accepted.
        time_major: whether inputs and outputs are ``[time, batch, depth]``.
        scope: another name than ``bidirectional_rnn``, or a scope.

    Returns:
        The pair of outputs, forward and backward, and the pair of last states.
    """
    assert_like_rnncell("bidirectional_dynamic_rnn(): cell_fw", cell_fw)
    assert_like_rnncell("bidirectional_dynamic_rnn(): cell_bw", cell_bw)

    def reversed_in_time(values: Any) -> Any:
        time = 0 if time_major else 1
        return _states.each(lambda x: _reversed(x, sequence_length, time), values)

    others = {"dtype": dtype, "time_major": time_major}
    inputs = nest.map_structure(tensor, inputs)
    with ts.variable_scope(scope or "bidirectional_rnn"):
        forward, state_fw = dynamic_rnn(
            cell_fw, inputs, sequence_length, initial_state_fw, scope="fw", **others
        )
        backward, state_bw = dynamic_rnn(
            *(cell_bw, reversed_in_time(inputs), sequence_length, initial_state_bw),
            scope="bw",
            **others,
        )
    return (forward, reversed_in_time(backward)), (state_fw, state_bw)


def stack_bidirectional_dynamic_rnn(
    cells_fw: Sequence[Any],
    cells_bw: Sequence[Any],
    inputs: Any,
    initial_states_fw: Sequence[Any] | None = None,
    initial_states_bw: Sequence[Any] | None = None,
    dtype: Any = None,
    sequence_length: Any = None,
    parallel_iterations: Any = None,
    time_major: bool = False,
    scope: Any = None,
    swap_memory: bool = False,
) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Layers of ``bidirectional_dynamic_rnn``, each over both outputs of the one below.

    Torch: ``num_layers=`` with ``bidirectional=True``.

    Args:
        cells_fw: the cells that go forward, from the bottom up.
        cells_bw: as many that go backward.
        inputs: this and what follows as for ``dynamic_rnn``.
        initial_states_fw: one for each of ``cells_fw``.
        initial_states_bw: one for each of ``cells_bw``.
        dtype: of zeros as states.
        sequence_length: lengths.
        parallel_iterations: accepted.
        time_major: whether inputs and outputs are ``[time, batch, depth]``.
        scope: another name than ``stack_bidirectional_rnn``, or a scope.
        swap_memory: accepted.

    Returns:
        The outputs ``[batch, time, both sizes]`` of the top, the states forward, and backward.

    Raises:
        ValueError: not as many cells, or states, in both directions.
    """
    layers = len(cells_fw)
    states_fw = [None] * layers if initial_states_fw is None else initial_states_fw
    states_bw = [None] * layers if initial_states_bw is None else initial_states_bw
    if not layers == len(cells_bw) == len(states_fw) == len(states_bw):
        raise ValueError(
            "stack_bidirectional_dynamic_rnn(): give the same number of cells, and of states, for"
            f" both directions, not {layers} and {len(cells_bw)}."
        )
    ends: list[tuple[Any, Any]] = []
    with ts.variable_scope(scope or "stack_bidirectional_rnn"):
        for layer, cells in enumerate(zip(cells_fw, cells_bw, states_fw, states_bw, strict=True)):
            cell_fw, cell_bw, state_fw, state_bw = cells
            with ts.variable_scope(f"cell_{layer}"):
                both, states = bidirectional_dynamic_rnn(
                    *(cell_fw, cell_bw, inputs, sequence_length, state_fw, state_bw, dtype),
                    time_major=time_major,
                )
            inputs = torch.cat(both, dim=2)
            ends.append(states)
    forward, backward = zip(*ends, strict=True)
    return inputs, forward, backward


def static_rnn(
    cell: Any,
    inputs: Any,
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Run a cell over a list of steps, in the scope ``rnn``.

    Torch: a loop over ``nn.LSTMCell``.

    Args:
        cell: an RNNCell.
        inputs: a list of ``[batch, depth]``, one for each step.
        initial_state: this and what follows as for ``dynamic_rnn``.
        dtype: of zeros as state.
        sequence_length: lengths.
        scope: another name, or a scope.

    Returns:
        The list of outputs, ``[batch, cell.output_size]``, and the last state.

    Raises:
        TypeError: ``inputs`` is not a list, or ``cell`` is not a cell.
        ValueError: an empty list; as for ``dynamic_rnn``.
    """
    assert_like_rnncell("static_rnn(): cell", cell)
    with ts.variable_scope(scope or "rnn"):
        whole = _whole(inputs, "static_rnn")
        outputs, state = _run("static_rnn", cell, whole, sequence_length, initial_state, dtype)
    return _states.unstacked(outputs), state


def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any, Any]:
    """Run cells over a list of steps in both directions, in the scope ``bidirectional_rnn``.

    Torch: as for ``bidirectional_dynamic_rnn``.

    Args:
        cell_fw: the cell that goes forward.
        cell_bw: the one that goes backward, through each sequence from its own end.
        inputs: this and what follows as for ``static_rnn``.
        initial_state_fw: of ``cell_fw``.
        initial_state_bw: of ``cell_bw``.
        dtype: of zeros as states.
        sequence_length: lengths.
        scope: another name, or a scope.

    Returns:
        A list of both outputs, concatenated; the last state forward, and backward.

    Raises:
        TypeError: as for ``static_rnn``.
        ValueError: as for ``static_rnn``.
    """
    assert_like_rnncell("static_bidirectional_rnn(): cell_fw", cell_fw)
    assert_like_rnncell("static_bidirectional_rnn(): cell_bw", cell_bw)
    whole = _whole(inputs, "static_bidirectional_rnn")
    outputs, states = bidirectional_dynamic_rnn(
        *(cell_fw, cell_bw, whole, sequence_length, initial_state_fw, initial_state_bw, dtype),
        time_major=True,
        scope=scope,
    )
    both = nest.map_structure(lambda *two: torch.cat(two, dim=2), *outputs)
    return _states.unstacked(both), *states


def _run(
    function: str, cell: Any, inputs: Any, sequence_length: Any, state: Any, dtype: Any
) -> tuple[Any, Any]:
    """Run a cell over time-major inputs, in the current scope."""
    first: Tensor = nest.flatten(inputs)[0]
    if any(x.ndim < 2 or x.shape[:2] != first.shape[:2] for x in nest.flatten(inputs)):
        shapes = [list(x.shape) for x in nest.flatten(inputs)]
        raise ValueError(
            f"{function}(): inputs have to be [batch, time, depth], equal in batch and time; they"
            f" are, time first, {shapes}."
        )
    if first.shape[0] == 0:  # The variables are made all the same: by a step beyond the end.
        inputs = _states.each(lambda x: x.new_zeros(1, *x.shape[1:]), inputs)
        outputs, state = _run(function, cell, inputs, [0] * first.shape[1], state, dtype)
        return _states.each(lambda x: x[:0], outputs), state
    batch = first.shape[1]
    lengths = None
    if sequence_length is not None:
        lengths = tensor(sequence_length, function=function, argument="sequence_length")
        lengths = lengths.to(first.device, torch.int64).clamp(max=first.shape[0])
        if lengths.shape != (batch,):
            raise ValueError(
                f"{function}(): sequence_length has to be {[batch]}, not {list(lengths.shape)}."
            )
    if state is None:
        if dtype is None:
            raise ValueError(f"{function}(): give dtype=, or an initial_state.")
        state = cell.zero_state(batch, as_dtype(dtype))
    # In a net converted by .half() the program still asks for float32.
    halves = first.dtype in (torch.float16, torch.bfloat16)

    def fitting(x: Tensor) -> Tensor:
        return x.to(first) if halves and x.dtype is torch.float32 else x.to(first.device)

    outputs, last = unroll(cell, inputs, _states.each(fitting, state), lengths)
    if function == "dynamic_rnn" or lengths is not None:
        nest.assert_same_structure(state, last)
    return outputs, last


def _turned(time_major: bool) -> Callable[[Tensor], Tensor]:
    """Swaps batch and time where the user has the batch first."""
    return lambda x: x if time_major or x.ndim < 2 else x.transpose(0, 1)


def _whole(inputs: Any, function: str) -> Any:
    """A list of steps as one sequence, time first."""
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"{function}(): inputs has to be a list of steps: tf.unstack(x, axis=1).")
    if not inputs:
        raise ValueError(f"{function}(): inputs is empty.")
    steps = cast("list[Any]", inputs)
    for parts in zip(*map(nest.flatten, steps), strict=True):
        if len({tensor(part).shape for part in parts}) > 1:
            shapes = [list(part.shape) for part in parts]
            raise ValueError(f"{function}(): the steps have to be of one shape, not {shapes}.")
    return _states.stacked(steps)


def _reversed(x: Tensor, lengths: Any, time: int) -> Tensor:
    """Each sequence reversed within its length; what lies beyond stays."""
    if lengths is None:
        return x.flip(time)
    steps = torch.arange(x.shape[time], device=x.device)
    ends = integers(lengths, "bidirectional_dynamic_rnn", "sequence_length").to(x.device)
    ends = ends.clamp(max=x.shape[time])[:, None]
    sources = torch.where(steps < ends, ends - 1 - steps, steps)  # [batch, time]
    if time == 0:
        return x[sources.t(), torch.arange(x.shape[1], device=x.device)]
    return x[torch.arange(x.shape[0], device=x.device)[:, None], sources]
