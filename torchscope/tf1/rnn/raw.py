"""raw_rnn: a cell in a loop that the user controls; accepts anything that is called like a cell."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import torchscope as ts
from torchscope.tf1 import nest
from torchscope.tf1.ops.tensor_array import TensorArray

from . import _states
from ._cell import assert_like_rnncell


def raw_rnn(
    cell: Any,
    loop_fn: Callable[[Any, Any, Any, Any], tuple[Any, Any, Any, Any, Any]],
    parallel_iterations: Any = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:
    """Step a cell until ``loop_fn`` says that all sequences are finished.

    Torch: a Python loop, as here; it cannot be compiled, since its length is not known.

    Args:
        cell: an RNNCell.
        loop_fn: ``f(time, cell_output, cell_state, loop_state)`` returns ``(finished, next_input,
            next_state, emit, next_loop_state)``. At time 0 it is called with None for the others,
            and returns the first state and, as ``emit``, a template of what each step emits:
            tensors of shapes without the batch, or None for the cell's output.
        parallel_iterations: accepted, as ``swap_memory``; they mean something only in a graph.
        swap_memory: likewise.
        scope: another name than ``rnn``, or a scope.

    Returns:
        A TensorArray of what was emitted (zeros for finished sequences), or a structure of
        them; the last state, and the last loop state.

    Raises:
        TypeError: ``cell`` is not a cell, or ``loop_fn`` cannot be called.
    """
    assert_like_rnncell("raw_rnn(): cell", cell)
    if not callable(loop_fn):
        raise TypeError(f"raw_rnn(): loop_fn has to be a function, not {loop_fn!r}.")
    emitted: list[Any] = []
    with ts.variable_scope(scope or "rnn"):
        current = ts.get_variable_scope()
        time = torch.zeros((), dtype=torch.int32)
        finished, inputs, state, emit, loop_state = loop_fn(time, None, None, None)
        batch, dtype = len(finished), nest.flatten(state)[0].dtype
        if emit is None:
            nothing = _states.zeros(cell.output_size, batch, dtype, finished.device)
        else:
            nothing = _states.each(lambda x: x.new_zeros(batch, *x.shape), emit)
        while not bool(finished.all()):
            time = time + 1
            with ts.variable_scope(current, reuse=True if emitted else None):
                output, new_state = cell(inputs, state)
                over, inputs, new_state, emit, new_loop_state = loop_fn(
                    time, output, new_state, loop_state
                )
            emitted.append(_states.where(~finished, emit, nothing))
            state = _states.where(~finished, new_state, state)
            loop_state = loop_state if new_loop_state is None else new_loop_state
            finished = finished | over
    return nest.map_structure(_array, *emitted or [nothing]), state, loop_state


def _array(*steps: Tensor) -> TensorArray:
    array = TensorArray(steps[0].dtype, size=len(steps))
    return array.unstack(torch.stack(steps))
