"""LSTMs; where torch's fused LSTM computes the same, it runs over whole sequences."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

import torchscope as ts
from torchscope.tf1 import nest

from . import _fused
from ._cell import RNNCell
from ._parts import ZEROS, Activation, activation_of, check, dropout, variable


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM cell: ``c``, its memory, and ``h``, its output.

    Torch: the pair ``(h, c)`` of ``nn.LSTM``, in the other order.
    """

    c: Any
    h: Any

    @property
    def dtype(self) -> torch.dtype:
        """That of both tensors."""
        return self.c.dtype


class LSTMCell(RNNCell):
    """The LSTM of Sak et al., optionally with peepholes, projection and clipping.

    Without these, and with tanh, torch's fused LSTM runs over whole sequences.

    Torch: ``nn.LSTMCell`` orders the gates i, f, j, o (here i, j, f, o), and has ``forget_bias`` in
    its bias, which here is added at each step.

    Args:
        num_units: size of ``c``, and of the output unless it is projected.
        use_peepholes: whether the gates see ``c``.
        cell_clip: bound of ``c``, before the output gate sees it.
        initializer: of kernel, peepholes and projection; the scope's by default.
        num_proj: size of the projected output.
        proj_clip: bound of the projected output.
        num_unit_shards: accepted, as ``num_proj_shards``; nothing is partitioned here.
        num_proj_shards: likewise.
        forget_bias: added to the forget gate.
        state_is_tuple: False for one tensor ``[batch, c and h]`` as state.
        activation: a function or its name, tanh by default.
        reuse: True to only take variables that are there.
        name: of the scope, ``"lstm_cell"`` by default.
        dtype: of the variables; that of the inputs by default.
        **kwargs: ``trainable=False``.
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: Any = None,
        num_proj_shards: Any = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Activation = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, _reuse=reuse, **kwargs)
        self._num_units = num_units
        self._use_peepholes = use_peepholes
        self._cell_clip = cell_clip
        self._initializer = initializer
        self._num_proj = num_proj
        self._proj_clip = proj_clip
        self._forget_bias = forget_bias
        self._state_is_tuple = state_is_tuple
        self._activation = activation_of(activation)
        self.output_size = num_proj or num_units
        sizes = LSTMStateTuple(num_units, self.output_size)
        self.state_size = sizes if state_is_tuple else sum(sizes)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        c, h = self._split(inputs, state)
        kernel, bias = self._kernel_and_bias(inputs.shape[-1], inputs)
        i, j, f, o = torch.addmm(bias, torch.cat([inputs, h], 1), kernel).chunk(4, dim=1)
        f = f + self._forget_bias
        o_peephole = None
        if self._use_peepholes:
            f_peephole, i_peephole, o_peephole = (
                variable(self, f"w_{gate}_diag", [self._num_units], inputs, self._initializer)
                for gate in "fio"
            )
            f, i = f + f_peephole * c, i + i_peephole * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * self._activation(j)
        if self._cell_clip is not None:
            c = c.clamp(-self._cell_clip, self._cell_clip)
        if o_peephole is not None:
            o = o + o_peephole * c
        h = torch.sigmoid(o) * self._activation(c)
        if self._num_proj is not None:
            shape = [self._num_units, self._num_proj]
            h = h @ variable(self, "projection/kernel", shape, inputs, self._initializer)
            if self._proj_clip is not None:
                h = h.clamp(-self._proj_clip, self._proj_clip)
        return h, self._joined(c, h)

    def _unroll(self, inputs: Any, state: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        special = self._use_peepholes or self._cell_clip is not None or self._num_proj is not None
        if not special and self._activation is torch.tanh and isinstance(inputs, Tensor):
            c_and_h = self._split(inputs[0], state)
            if _fused.can_run(inputs, c_and_h, lengths):
                return self._in_scope(self._all_steps, None, inputs, c_and_h, lengths)
        return super()._unroll(inputs, state, lengths)

    def _all_steps(
        self, inputs: Tensor, state: tuple[Tensor, Tensor], lengths: Tensor | None
    ) -> tuple[Any, Any]:
        kernel, bias = self._kernel_and_bias(inputs.shape[-1], inputs)
        outputs, (c, h) = _fused.lstm(inputs, state, kernel, bias, self._forget_bias, lengths)
        return outputs, self._joined(c, h)

    def _kernel_and_bias(self, depth: int, inputs: Tensor) -> tuple[Tensor, Tensor]:
        shape = [depth + self.output_size, 4 * self._num_units]
        kernel = variable(self, "kernel", shape, inputs, self._initializer)
        return kernel, variable(self, "bias", [4 * self._num_units], inputs, ZEROS)

    def _split(self, inputs: Any, state: Any) -> tuple[Tensor, Tensor]:
        sizes = [self._num_units, self.output_size]
        if not self._state_is_tuple:
            check(self, inputs, (state, sum(sizes)))
            c, h = state.split(sizes, dim=1)
            return c, h
        c, h = _pair(self, state)
        check(self, inputs, *zip((c, h), sizes, strict=True))
        return c, h

    def _joined(self, c: Tensor, h: Tensor) -> Any:
        return LSTMStateTuple(c, h) if self._state_is_tuple else torch.cat([c, h], dim=1)


class BasicLSTMCell(LSTMCell):
    """The LSTM of Zaremba et al.; torch's fused LSTM runs over whole sequences.

    Torch: as for ``LSTMCell``.

    Args:
        num_units: size of output, ``c`` and ``h``.
        forget_bias: added to the forget gate.
        state_is_tuple: False for one tensor ``[batch, c and h]`` as state.
        activation: a function or its name, tanh by default.
        reuse: True to only take variables that are there.
        name: of the scope, ``"basic_lstm_cell"`` by default.
        dtype: of the variables; that of the inputs by default.
        **kwargs: ``trainable=False``.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Activation = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_units,
            forget_bias=forget_bias,
            state_is_tuple=state_is_tuple,
            activation=activation,
            reuse=reuse,
            name=name,
            dtype=dtype,
            **kwargs,
        )


class LSTMBlockCell(LSTMCell):
    """``LSTMCell`` with the arguments of ``tf.contrib.rnn.LSTMBlockCell``; computes the same.

    Torch: as for ``LSTMCell``.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        cell_clip: float | None = None,
        use_peephole: bool = False,
        dtype: Any = None,
        reuse: Any = None,
        name: str = "lstm_cell",
    ) -> None:
        super().__init__(
            num_units,
            use_peepholes=use_peephole,
            cell_clip=cell_clip,
            forget_bias=forget_bias,
            reuse=reuse,
            name=name,
            dtype=dtype,
        )


class LayerNormBasicLSTMCell(RNNCell):
    """An LSTM whose gates and state are layer-normalized (Ba et al.), with recurrent dropout.

    Torch: none.

    Args:
        num_units: size of output, ``c`` and ``h``.
        forget_bias: added to the forget gate.
        input_size: accepted, as TensorFlow's; nothing depends on it.
        activation: a function or its name.
        layer_norm: False for a bias in place of the norms.
        norm_gain: first value of each ``gamma``.
        norm_shift: first value of each ``beta``.
        dropout_keep_prob: the probability to keep each of the candidate's values.
        dropout_prob_seed: accepted; torch has one random stream.
        reuse: True to only take variables that are there.
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        input_size: Any = None,
        activation: Activation = None,
        layer_norm: bool = True,
        norm_gain: float = 1.0,
        norm_shift: float = 0.0,
        dropout_keep_prob: Any = 1.0,
        dropout_prob_seed: Any = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(_reuse=reuse)
        self._forget_bias = forget_bias
        self._activation = activation_of(activation)
        self._layer_norm = layer_norm
        self._gain = ts.constant_initializer(norm_gain)
        self._shift = ts.constant_initializer(norm_shift)
        self._keep_prob = dropout_keep_prob
        self.output_size = num_units
        self.state_size = LSTMStateTuple(num_units, num_units)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        size = self.output_size
        c, h = _pair(self, state)
        check(self, inputs, (c, size), (h, size))
        joined = torch.cat([inputs, h], 1)
        gates = joined @ variable(self, "kernel", [joined.shape[1], 4 * size], inputs)
        if not self._layer_norm:
            gates = gates + variable(self, "bias", [4 * size], inputs)
        i, j, f, o = gates.chunk(4, dim=1)
        i, j = self._norm("input", i), self._norm("transform", j)
        f, o = self._norm("forget", f), self._norm("output", o)
        candidate = dropout(self._activation(j), self._keep_prob)
        c = c * torch.sigmoid(f + self._forget_bias) + torch.sigmoid(i) * candidate
        c = self._norm("state", c)
        h = self._activation(c) * torch.sigmoid(o)
        return h, LSTMStateTuple(c, h)

    def _norm(self, scope: str, x: Tensor) -> Tensor:
        if not self._layer_norm:
            return x
        shape = list(x.shape[1:])
        gamma = variable(self, f"{scope}/gamma", shape, x, self._gain)
        beta = variable(self, f"{scope}/beta", shape, x, self._shift)
        return F.layer_norm(x, shape, gamma, beta, eps=1e-12)


def _pair(cell: RNNCell, state: Any) -> tuple[Any, Any]:
    """The state of an LSTM; raise unless it is a pair."""
    if not nest.is_nested(state) or len(state) != 2:
        kind = ValueError if nest.is_nested(state) else TypeError
        raise kind(f"{cell._base_name}: its state is a pair (c, h), not {state!r}.")
    return tuple(state)
