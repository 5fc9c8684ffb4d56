"""Patches of images: every window of a size, or boxes resized to one size."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import ints, renamed
from torchscope.tf1._convert import Operand, integers, numeric, tensor
from torchscope.tf1._padding import padding_of
from torchscope.tf1.nn._convolve import check_rank, spatial

__all__ = ["crop_and_resize", "extract_image_patches"]


def extract_image_patches(
    images: Operand,
    ksizes: Any = None,
    strides: Any = None,
    rates: Any = None,
    padding: str | None = None,
    name: str | None = None,
    sizes: Any = None,
) -> Tensor:
    """Put the pixels of each window into the channels: [N, rows, columns, height * width * C].

    Torch: ``F.unfold``; channels last, in the order row, column, channel.

    Args:
        images: [N, H, W, C].
        ksizes: the window, ``[1, height, width, 1]``.
        strides: of the windows, likewise.
        rates: the distance of pixels in a window, likewise.
        padding: ``"SAME"`` or ``"VALID"``.
        name: not used.
        sizes: the later name of ``ksizes``.

    Raises:
        ValueError: a rank, size or padding that does not fit.
    """
    function = "extract_image_patches"
    x = numeric(images, function, "images")
    check_rank(x, 4, function, "images")
    window = spatial(renamed(function, ksizes=ksizes, sizes=sizes), 2, None, function, "ksizes")
    steps = spatial(strides, 2, None, function, "strides")
    apart = spatial(rates, 2, None, function, "rates")
    pads = padding_of(str(padding), x.shape[1:3], window, steps, apart, function)
    x = F.pad(x, [0, 0, *pads[1], *pads[0]])
    for axis, k, step, rate in zip((1, 3), window, steps, apart, strict=True):
        starts = torch.arange(0, x.shape[axis] - (k - 1) * rate, step, device=x.device)
        pixels = starts[:, None] + torch.arange(k, device=x.device) * rate
        found = x.index_select(axis, pixels.flatten())
        x = found.reshape(*x.shape[:axis], *pixels.shape, *x.shape[axis + 1 :])
    return x.transpose(2, 3).flatten(3)


def crop_and_resize(
    image: Operand,
    boxes: Operand,
    box_ind: Operand = None,
    crop_size: Any = None,
    method: str = "bilinear",
    extrapolation_value: float = 0,
    name: str | None = None,
    box_indices: Operand = None,
) -> Tensor:
    """Cut boxes out of a batch of images, and resize them to one size.

    Torch: ``torchvision.ops.roi_align``, which averages; here each pixel is interpolated at one
    point, and a box is given by the centers of its corner pixels.

    Args:
        image: [N, H, W, C].
        boxes: [boxes, 4], float32: top, left, bottom, right, from 0 to 1 between the first and the
            last pixel.
        box_ind: [boxes], int32: the index of each box's image.
        crop_size: height and width of the result.
        method: ``"bilinear"`` or ``"nearest"``.
        extrapolation_value: the value outside the image.
        name: not used.
        box_indices: the later name of ``box_ind``.

    Returns:
        [boxes, height, width, C], float32.

    Raises:
        ValueError: shapes, sizes or a method that do not fit.
    """
    function = "crop_and_resize"
    x = numeric(image, function, "image").float()
    check_rank(x, 4, function, "image")
    corners = tensor(boxes, torch.float32, device=x.device, function=function, argument="boxes")
    owner = renamed(function, box_ind=box_ind, box_indices=box_indices)
    owner = integers(owner, function, "box_ind")
    if corners.ndim != 2 or corners.shape[1] != 4 or owner.shape != corners.shape[:1]:
        raise ValueError(
            f"{function}(): boxes {list(corners.shape)} and box_ind {list(owner.shape)} have to be"
            " [boxes, 4] and [boxes]."
        )
    if method not in ("bilinear", "nearest"):
        raise ValueError(f"{function}(): method={method!r}; give 'bilinear' or 'nearest'.")
    size = ints(crop_size, function, "crop_size")
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"{function}(): crop_size={crop_size}; give height and width.")
    (top, bottom), (left, right) = corners[:, 0::2].unbind(1), corners[:, 1::2].unbind(1)
    ys = _places(top, bottom, size[0], x.shape[1])[:, :, None]
    xs = _places(left, right, size[1], x.shape[2])[:, None, :]

    def pixels(ys: Tensor, xs: Tensor) -> Tensor:
        rows, columns = ys.clamp(0, x.shape[1] - 1), xs.clamp(0, x.shape[2] - 1)
        return x[owner[:, None, None].long(), rows.long(), columns.long()]

    if method == "nearest":
        result = pixels((ys + 0.5).floor(), (xs + 0.5).floor())
    else:
        above, before = ys.floor(), xs.floor()
        share = (xs - before)[..., None]
        upper = torch.lerp(pixels(above, before), pixels(above, before + 1), share)
        lower = torch.lerp(pixels(above + 1, before), pixels(above + 1, before + 1), share)
        result = torch.lerp(upper, lower, (ys - above)[..., None])
    inside = (ys >= 0) & (ys <= x.shape[1] - 1) & (xs >= 0) & (xs <= x.shape[2] - 1)
    return torch.where(inside[..., None], result, extrapolation_value)


def _places(start: Tensor, end: Tensor, count: int, size: int) -> Tensor:
    """[boxes, count]: from start to end, in pixels of an axis; the middle for a count of 1."""
    if count == 1:
        return ((start + end) * (0.5 * (size - 1)))[:, None]
    step = (end - start) * ((size - 1) / (count - 1))
    return start[:, None] * (size - 1) + torch.arange(count, device=start.device) * step[:, None]
