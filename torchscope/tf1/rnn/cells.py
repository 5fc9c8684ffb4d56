"""The simplest cell, and the GRU."""

from typing import Any

import torch

from ._cell import RNNCell
from ._parts import ONES, Activation, activation_of, check, linear_in


class BasicRNNCell(RNNCell):
    """The simplest cell: ``output = new_state = activation([inputs, state] @ kernel + bias)``.

    Torch: ``nn.RNNCell``, which has two kernels and two biases.

    Args:
        num_units: size of output and state.
        activation: a function or its name, tanh by default.
        reuse: True to only take variables that are there.
        name: of the scope, ``"basic_rnn_cell"`` by default.
        dtype: of the variables; that of the inputs by default.
        **kwargs: ``trainable=False``.
    """

    def __init__(
        self,
        num_units: int,
        activation: Activation = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, _reuse=reuse, **kwargs)
        self.state_size = self.output_size = num_units
        self._activation = activation_of(activation)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        check(self, inputs, (state, self.state_size))
        output = self._activation(linear_in(self, [inputs, state], self.output_size))
        return output, output


class GRUCell(RNNCell):
    """The gated recurrent unit of Cho et al.: reset, then the product; gates begin at bias 1.

    Torch: ``nn.GRUCell`` computes something else: it resets after the product.

    Args:
        num_units: size of output and state.
        activation: of the candidate; a function or its name, tanh by default.
        reuse: True to only take variables that are there.
        kernel_initializer: of both kernels; the scope's by default.
        bias_initializer: of both biases; by default 1 for the gates and 0 for the candidate.
        name: of the scope, ``"gru_cell"`` by default.
        dtype: of the variables; that of the inputs by default.
        **kwargs: ``trainable=False``.
    """

    def __init__(
        self,
        num_units: int,
        activation: Activation = None,
        reuse: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, _reuse=reuse, **kwargs)
        self.state_size = self.output_size = num_units
        self._activation = activation_of(activation)
        self._kernel_initializer = kernel_initializer
        self._bias_initializer = bias_initializer

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        size, initial, biases = self.state_size, self._kernel_initializer, self._bias_initializer
        check(self, inputs, (state, size))
        gates = linear_in(self, [inputs, state], 2 * size, "gates/", initial, biases or ONES)
        reset, update = torch.sigmoid(gates).chunk(2, dim=1)
        candidate = self._activation(
            linear_in(self, [inputs, reset * state], size, "candidate/", initial, biases)
        )
        output = torch.lerp(candidate, state, update)  # update * state + (1 - update) * candidate
        return output, output
