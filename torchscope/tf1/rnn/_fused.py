"""TensorFlow's LSTM over a whole sequence by torch's: another order of gates, and a forget bias.

The two compute the same; ``weights`` converts one's weights to the other's.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def can_run(inputs: Tensor, state: tuple[Tensor, Tensor], lengths: Tensor | None) -> bool:
    """Whether torch's LSTM can be used: not inside function transforms, nor compiled with lengths.

    Compiled code cannot know the lengths, by which sequences are packed; vmap has no rule for it.
    """
    if not all(part.dtype is inputs.dtype for part in state):
        return False
    if torch.compiler.is_compiling():
        return lengths is None
    return not torch._C._are_functorch_transforms_active()


def lstm(
    inputs: Tensor,
    state: tuple[Tensor, Tensor],
    kernel: Tensor,
    bias: Tensor,
    forget_bias: float,
    lengths: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Outputs ``[time, batch, size]`` and the last state ``(c, h)``.

    Args:
        inputs: ``[time, batch, depth]``.
        state: ``(c, h)``, each ``[batch, size]``.
        kernel: ``[depth + size, 4 * size]``, gates i, j, f, o.
        bias: ``[4 * size]``.
        forget_bias: added to the bias of f.
        lengths: of the sequences, or None; for a length of 0 the last state is the first.
    """
    c, h = (part[None] for part in state)
    parameters = weights(kernel, bias, inputs.shape[-1], forget_bias)
    if inputs.is_cuda:
        parameters = in_one_piece(parameters)
    train = torch.is_grad_enabled()  # cuDNN keeps what a gradient needs only then
    if inputs.is_meta:  # where there are shapes only, also of what a build has made elsewhere
        lengths, parameters = None, tuple(parameter.to("meta") for parameter in parameters)
    if lengths is None:
        outputs, h, c = torch.lstm(inputs, (h, c), parameters, True, 1, 0.0, train, False, False)
        return outputs, (c[0], h[0])
    packed = pack_padded_sequence(inputs, lengths.clamp(min=1).cpu(), enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert back is not None
    data, h, c = torch.lstm(
        *(packed.data, packed.batch_sizes, (h[:, order], c[:, order])),
        *(parameters, True, 1, 0.0, train, False),
    )
    whole = PackedSequence(data, packed.batch_sizes, order, back)
    outputs, _ = pad_packed_sequence(whole, total_length=len(inputs))
    some = (lengths > 0)[:, None]  # A packed sequence has at least one step.
    c, h = (torch.where(some, new[0, back], old) for new, old in zip((c, h), state, strict=True))
    return outputs.where(some, outputs.new_zeros(())), (c, h)


def weights(kernel: Tensor, bias: Tensor, depth: int, forget_bias: float) -> tuple[Tensor, ...]:
    """``weight_ih, weight_hh, bias_ih, bias_hh``: gates i, f, j, o, each ``[out, in]``."""
    i, j, f, o = kernel.chunk(4, dim=1)
    of_inputs, of_outputs = torch.cat([i, f, j, o], dim=1).tensor_split([depth])
    i, j, f, o = bias.chunk(4)
    bias = torch.cat([i, f + forget_bias, j, o])
    return of_inputs.t(), of_outputs.t(), bias, torch.zeros_like(bias)


def in_one_piece(parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The parameters contiguous in memory; otherwise cuDNN copies them, and warns at each call."""
    whole = torch.cat([parameter.flatten() for parameter in parameters])
    parts = torch.split(whole, [parameter.numel() for parameter in parameters])
    return tuple(part.view(p.shape) for part, p in zip(parts, parameters, strict=True))
