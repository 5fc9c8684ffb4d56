"""Parts of tensors, and padded tensors: slice, split, unstack, pad, reverse, blocks."""

import builtins
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import axes, ints, one_axis, one_int, refusal, renamed
from torchscope.tf1._arguments import shape as sizes_of
from torchscope.tf1._convert import Operand, integers, is_array, listed, tensor

from .shapes import Sizes

__all__ = [
    "batch_to_space",
    "batch_to_space_nd",
    "depth_to_space",
    "pad",
    "reverse",
    "reverse_sequence",
    "roll",
    "slice",
    "space_to_batch",
    "space_to_batch_nd",
    "space_to_depth",
    "split",
    "strided_slice",
    "unstack",
]


_WHOLE = builtins.slice(None)


def slice(input_: Operand, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """A block of a tensor, by its begin and size; a size of -1 means up to the end.

    Torch: ``x[b0 : b0 + s0, b1 : b1 + s1]``.

    Raises:
        ValueError: the block is not inside the tensor.
    """
    x: Any = input_
    if type(x) is not Tensor and not isinstance(x, Sizes):
        x = tensor(input_, function="slice", argument="input_")
    shape = (len(x),) if isinstance(x, Sizes) else x.shape
    starts, sizes = sizes_of(begin, "slice", "begin"), sizes_of(size, "slice", "size")
    if not len(starts) == len(sizes) == len(shape):
        raise ValueError(f"slice(): begin and size need one number for each of {list(shape)}.")
    index: list[builtins.slice] = []
    for dim, start in enumerate(starts):
        length, whole = sizes[dim], shape[dim]
        stop = whole if length == -1 else start + length
        if start or stop != whole:
            if not 0 <= start <= stop <= whole:
                raise ValueError(
                    f"slice(): begin {list(starts)}, size {list(sizes)} exceed {list(shape)}."
                )
            while len(index) < dim:  # whole axes behind the last one that is cut are left out
                index.append(_WHOLE)
            index.append(builtins.slice(start, stop))
    block: Any = x  # which may be a tensor or sizes
    if not index:
        return block
    return block[index[0]] if len(index) == 1 else block[tuple(index)]


def strided_slice(
    input_: Operand,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """Python's ``x[begin:end:stride, ...]``; the masks' bits mark exceptions for single axes.

    Torch: ``x[...]``; negative strides also work.
    """
    x = tensor(input_, function="strided_slice", argument="input_")
    begins = sizes_of(begin, "strided_slice", "begin")
    ends = sizes_of(end, "strided_slice", "end")
    steps = (1,) * len(begins) if strides is None else sizes_of(strides, "strided_slice", "strides")
    if not len(begins) == len(ends) == len(steps) or 0 in steps:
        raise ValueError("strided_slice(): begin, end and strides differ in length, or one is 0.")
    if ellipsis_mask & (ellipsis_mask - 1):
        raise ValueError(f"strided_slice(): ellipsis_mask={ellipsis_mask} has more than one bit.")
    dim = 0
    for i, (b, e, step) in enumerate(zip(begins, ends, steps, strict=True)):
        bit = 1 << i
        if bit & ellipsis_mask:
            left = sum(not (1 << j) & new_axis_mask for j in range(i + 1, len(begins)))
            dim = x.ndim - left
        elif bit & new_axis_mask:
            x = x.unsqueeze(dim)
            dim += 1
        elif dim >= x.ndim:
            raise ValueError(f"strided_slice(): begin {list(begins)} has too many axes.")
        elif bit & shrink_axis_mask:
            if not -x.shape[dim] <= b < x.shape[dim]:
                raise ValueError(f"strided_slice(): {b} is out of range in {list(x.shape)}.")
            x = x.select(dim, b)
        else:
            cut = builtins.slice(
                None if bit & begin_mask else b, None if bit & end_mask else e, step
            )
            x = _cut(x, dim, range(*cut.indices(x.shape[dim])))
            dim += 1
    return x


def split(
    value: Operand = None,
    num_or_size_splits: Any = None,
    axis: Any = None,
    num: int | None = None,
    name: str = "split",
    *,
    split_dim: Any = None,
    num_split: Any = None,
) -> list[Tensor]:
    """A list of parts along an axis: a number of equal ones, or of given sizes (one may be -1).

    Torch: ``x.split(sizes, axis)``, where a number is the size of a part, not the number of parts;
    ``split(axis, n, x)``, as before TensorFlow 1.0, also works.
    """
    if isinstance(value, int):
        value, axis = axis, value
    parts = num_or_size_splits
    if num_split is not None or split_dim is not None:
        parts = renamed("split", num_or_size_splits=parts, num_split=num_split)
        axis = renamed("split", axis=axis, split_dim=split_dim)
    if value is None or parts is None:
        raise TypeError("split(): give value and num_or_size_splits.")
    x = tensor(value, function="split")
    dim = one_axis(0 if axis is None else axis, x.ndim, "split")
    size = x.shape[dim]
    if isinstance(parts, int) or getattr(parts, "ndim", None) == 0:
        count = one_int(parts, "split", "num_or_size_splits")
        if count < 1 or size % count:
            raise ValueError(f"split(): axis {dim} of {list(x.shape)} has no {count} equal parts.")
        return list(torch.split(x, size // count, dim)) if size else [x] * count
    sizes = list(ints(parts, "split", "num_or_size_splits"))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = size - sum(sizes) - 1
    if num is not None and num != len(sizes):
        raise ValueError(f"split(): num={num} for {len(sizes)} sizes.")
    if sum(sizes) != size or min(sizes, default=0) < 0:
        raise ValueError(f"split(): {parts} does not add up to {size}, axis {dim} of the value.")
    return list(torch.split(x, sizes, dim))


def unstack(
    value: Operand, num: int | None = None, axis: Any = 0, name: str = "unstack"
) -> list[Tensor]:
    """A list of the slices along an axis.

    Torch: ``x.unbind(axis)``.
    """
    if isinstance(value, Sizes):
        return list(value)  # pyright: ignore[reportReturnType]  # ints stay ints
    x = tensor(value, function="unstack")
    dim = one_axis(axis, x.ndim, "unstack")
    if num is not None and num != x.shape[dim]:
        raise ValueError(f"unstack(): num={num}, but axis {dim} has size {x.shape[dim]}.")
    return list(x.unbind(dim))


def pad(
    tensor: Operand,
    paddings: Any,
    mode: str = "CONSTANT",
    name: str | None = None,
    constant_values: Any = 0,
) -> Tensor:
    """A tensor padded before and after each axis.

    Torch: ``torch.nn.functional.pad``; pairs go from the first axis to the last, and "REFLECT" and
    "SYMMETRIC" (which repeats the border) work along any axis.
    """
    x = _tensor(tensor, "pad", "tensor")
    margins = _pairs(paddings, x.ndim, "pad", "paddings")
    mode = mode.upper()
    if mode == "CONSTANT":
        return _pad_with(constant_values, x, [n for margin in reversed(margins) for n in margin])
    if mode not in ("REFLECT", "SYMMETRIC"):
        raise ValueError(f"pad(): mode={mode!r}; give 'CONSTANT', 'REFLECT' or 'SYMMETRIC'.")
    border = int(mode == "REFLECT")  # which is not repeated
    for dim, (before, after) in enumerate(margins):
        size = x.shape[dim]
        if max(before, after) > size - border:
            raise ValueError(f"pad(): {paddings} is more than {list(x.shape)} has to {mode}.")
        if before or after:
            head = x.narrow(dim, border, before).flip(dim)
            tail = x.narrow(dim, size - after - border, after).flip(dim)
            x = torch.cat([head, x, tail], dim)
    return x


def reverse(tensor: Operand, axis: Any = None, name: str | None = None, dims: Any = None) -> Tensor:
    """The elements in reverse order along the given axes.

    Torch: ``x.flip(axis)``; a boolean for each axis, as before TensorFlow 1.0, also works.
    """
    x = _tensor(tensor, "reverse", "tensor")
    axis = renamed("reverse", axis=axis, dims=dims)
    flags: Any = listed(axis) if is_array(axis) else axis
    if not hasattr(flags, "__iter__"):
        raise ValueError(f"reverse(): axis={axis!r} has to be a list: [{axis!r}].")
    if flags and all(isinstance(flag, bool) for flag in flags):
        if len(flags) != x.ndim:
            raise ValueError(f"reverse(): {flags} does not fit a rank of {x.ndim}.")
        flags = [dim for dim, flag in enumerate(flags) if flag]
    return x.flip(axes(flags, x.ndim, "reverse"))


def reverse_sequence(
    input: Operand,
    seq_lengths: Operand,
    seq_axis: Any = None,
    batch_axis: Any = None,
    name: str | None = None,
    seq_dim: Any = None,
    batch_dim: Any = None,
) -> Tensor:
    """The first elements of each sequence, as many as its length, reversed; the rest unchanged.

    Torch: ``x.gather`` of reversed indices.

    Args:
        input: sequences, of any rank from 2.
        seq_lengths: how many elements to reverse, for each entry of the batch axis.
        seq_axis: along which to reverse.
        batch_axis: 0 by default.
        name: unused.
        seq_dim: old spelling of ``seq_axis``.
        batch_dim: old spelling of ``batch_axis``.
    """
    function = "reverse_sequence"
    x = tensor(input, function=function, argument="input")
    lengths = integers(seq_lengths, function, "seq_lengths", x.device)
    seq_axis = renamed(function, seq_axis=seq_axis, seq_dim=seq_dim)
    if seq_axis is None:
        raise TypeError("reverse_sequence(): seq_axis is missing.")
    batch_axis = renamed(function, batch_axis=batch_axis, batch_dim=batch_dim)
    along = one_axis(seq_axis, x.ndim, function, "seq_axis")
    batch = one_axis(0 if batch_axis is None else batch_axis, x.ndim, function, "batch_axis")
    if along == batch or lengths.shape != x.shape[batch : batch + 1]:
        raise ValueError(
            f"reverse_sequence(): lengths of shape {list(lengths.shape)}, seq_axis={along} and"
            f" batch_axis={batch} do not fit {list(x.shape)}."
        )
    steps = torch.arange(x.shape[along], device=x.device)
    ends = lengths.long().masked_fill(lengths < 0, x.shape[along] + 1).unsqueeze(1)  # not allowed
    sources = torch.where(steps < ends, ends - 1 - steps, steps)  # [batch, steps]
    sources = sources if batch < along else sources.mT
    shape = [n if d in (along, batch) else 1 for d, n in enumerate(x.shape)]
    try:
        return x.gather(along, sources.reshape(shape).expand(x.shape))
    except RuntimeError as error:
        longest = x.shape[along]
        plainer = ValueError(f"{function}(): a length is not from 0 to {longest}.")
        raise refusal(error, plainer) from None


def roll(input: Operand, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """The elements shifted along axes; those at the end move to the front.

    Torch: ``torch.roll``.
    """
    x = tensor(input, function="roll", argument="input")
    dims = [one_axis(dim, x.ndim, "roll") for dim in ints(axis, "roll", "axis")]
    shifts = ints(shift, "roll", "shift")
    if len(shifts) != len(dims):
        raise ValueError(f"roll(): {len(shifts)} shifts for {len(dims)} axes.")
    return torch.roll(x, shifts, dims)


def space_to_batch_nd(
    input: Operand, block_shape: Any, paddings: Any, name: str | None = None
) -> Tensor:
    """Blocks of the axes after the first, moved into the batch (after padding with zeros).

    Torch: ``F.pad``, ``reshape`` and ``permute``.
    """
    function = "space_to_batch_nd"
    x = tensor(input, function=function, argument="input")
    blocks = _blocks(x, block_shape, function)
    spatial = _pairs(paddings, len(blocks), function, "paddings")
    rest = x.ndim - 1 - len(blocks)
    x = pad(x, [(0, 0), *spatial, *[(0, 0)] * rest])
    if any(n % block for n, block in zip(x.shape[1:], blocks, strict=False)):
        raise ValueError(f"{function}(): {list(x.shape)} is not a multiple of {list(blocks)}.")
    m = len(blocks)
    split_sizes = [n for i, b in enumerate(blocks) for n in (x.shape[i + 1] // b, b)]
    shape = split_sizes[::2]
    x = x.reshape(x.shape[0], *split_sizes, *x.shape[m + 1 :])
    inner = [2 + 2 * i for i in range(m)]
    outer = [1 + 2 * i for i in range(m)]
    x = x.permute(*inner, 0, *outer, *range(1 + 2 * m, x.ndim))
    return x.reshape(-1, *shape, *x.shape[1 + 2 * m :])


def batch_to_space_nd(
    input: Operand, block_shape: Any, crops: Any, name: str | None = None
) -> Tensor:
    """The inverse of space_to_batch_nd: parts of the batch, joined and cropped.

    Torch: ``reshape``, ``permute`` and slices.
    """
    function = "batch_to_space_nd"
    x = tensor(input, function=function, argument="input")
    blocks = _blocks(x, block_shape, function)
    cuts = _pairs(crops, len(blocks), function, "crops")
    m, product = len(blocks), math.prod(blocks)
    if x.shape[0] % product:
        raise ValueError(f"{function}(): a batch of {x.shape[0]} is not a multiple of {product}.")
    sizes = x.shape[1 : m + 1]
    x = x.reshape(*blocks, x.shape[0] // product, *x.shape[1:])
    mixed = [d for i in range(m) for d in (m + 1 + i, i)]
    x = x.permute(m, *mixed, *range(2 * m + 1, x.ndim))
    full = [n * block for n, block in zip(sizes, blocks, strict=True)]
    x = x.reshape(x.shape[0], *full, *x.shape[2 * m + 1 :])
    for dim, (before, after) in enumerate(cuts, 1):
        if before + after > x.shape[dim]:
            raise ValueError(f"{function}(): crops {crops} are more than {list(x.shape)}.")
        x = x.narrow(dim, before, x.shape[dim] - before - after)
    return x


def space_to_batch(
    input: Operand, paddings: Any, block_size: int, name: str | None = None
) -> Tensor:
    """As space_to_batch_nd, of two spatial axes and square blocks.

    Torch: ``F.pad``, ``reshape`` and ``permute``.
    """
    return space_to_batch_nd(input, [block_size] * 2, paddings)


def batch_to_space(input: Operand, crops: Any, block_size: int, name: str | None = None) -> Tensor:
    """As batch_to_space_nd, of two spatial axes and square blocks.

    Torch: ``reshape``, ``permute`` and slices.
    """
    return batch_to_space_nd(input, [block_size] * 2, crops)


def space_to_depth(
    input: Operand, block_size: int, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Square blocks of an image, moved into the channels.

    Torch: ``torch.nn.functional.pixel_unshuffle``; there a channel's block stays together.
    """
    x, last = _image(input, block_size, data_format, "space_to_depth")
    n, h, w, c = x.shape
    b = block_size
    if h % b or w % b:
        raise ValueError(f"space_to_depth(): {h} x {w} is not a multiple of {b}.")
    x = x.reshape(n, h // b, b, w // b, b, c).permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(n, h // b, w // b, b * b * c)
    return x if last else x.movedim(-1, 1)


def depth_to_space(
    input: Operand, block_size: int, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Channels of an image, rearranged into square blocks.

    Torch: ``torch.nn.functional.pixel_shuffle``; there a channel's block stays together.
    """
    x, last = _image(input, block_size, data_format, "depth_to_space")
    n, h, w, c = x.shape
    b = block_size
    if c % (b * b):
        raise ValueError(f"depth_to_space(): {c} channels are not a multiple of {b * b}.")
    x = x.reshape(n, h, w, b, b, c // (b * b)).permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(n, h * b, w * b, c // (b * b))
    return x if last else x.movedim(-1, 1)


def _tensor(value: Operand, function: str, argument: str, dtype: Any = None) -> Tensor:
    return tensor(value, dtype, function=function, argument=argument)


def _pad_with(value: Any, x: Tensor, margins: list[int]) -> Tensor:
    if not isinstance(value, Tensor):
        if value != 0:  # read on the CPU, since a build is on meta
            made = tensor(value, x.dtype, device="cpu", function="pad", argument="constant_values")
            value = made.item()
        if not x.is_complex():
            return F.pad(x, margins, value=value)
    else:
        value = _tensor(value, "pad", "constant_values", x.dtype).detach()
    # torch pads with a number only, and complex tensors with zeros only.
    inside = F.pad(torch.ones_like(x, dtype=torch.bool), margins)
    return torch.where(inside, F.pad(x, margins), value)


def _cut(x: Tensor, dim: int, places: "builtins.range") -> Tensor:
    """The indices of a range along an axis, which may be descending."""
    index = [builtins.slice(None)] * dim
    if places.step > 0:
        return x[
            (*index, builtins.slice(places.start, max(places.stop, places.start), places.step))
        ]
    if not places:
        return x.narrow(dim, 0, 0)
    forwards = places[::-1]
    return x[(*index, builtins.slice(forwards[0], forwards[-1] + 1, forwards.step))].flip(dim)


def _blocks(x: Tensor, block_shape: Any, function: str) -> tuple[int, ...]:
    blocks = ints(block_shape, function, "block_shape")
    if not 0 < len(blocks) < x.ndim or min(blocks) < 1:
        raise ValueError(f"{function}(): block_shape={block_shape} does not fit {list(x.shape)}.")
    return blocks


def _pairs(value: Any, count: int, function: str, argument: str) -> Sequence[tuple[int, int]]:
    """A given number of pairs of ints, none negative."""
    rows: Any = listed(value) if is_array(value) else value
    if (
        not hasattr(rows, "__len__")
        or len(rows) != count
        or any(not hasattr(row, "__len__") or len(row) != 2 for row in rows)
    ):
        raise ValueError(f"{function}(): {argument} has to be {count} pairs, not {value}.")
    pairs: list[tuple[int, int]] = []
    for row in rows:
        before, after = ints(row, function, argument)
        if before < 0 or after < 0:
            raise ValueError(f"{function}(): {argument} {value} has a negative number.")
        pairs.append((before, after))
    return pairs


def _image(input: Operand, block_size: int, data_format: str, function: str) -> tuple[Tensor, bool]:
    """An image, channels last, and whether it was channels last already."""
    x, last = tensor(input, function=function, argument="input"), data_format == "NHWC"
    if block_size < 2:
        raise ValueError(f"{function}(): block_size={block_size} has to be 2 or more.")
    if x.ndim != 4 or data_format not in ("NHWC", "NCHW"):
        raise ValueError(f"{function}(): shape {list(x.shape)} is not a {data_format} image.")
    return (x if last else x.movedim(1, -1)), last
