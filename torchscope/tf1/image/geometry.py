"""Flips, rotations, crops and paddings of images; each image of a batch by itself."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's documentation writes it

from torchscope.tf1._arguments import one_int
from torchscope.tf1._convert import Operand

from ._images import images

__all__ = [
    "central_crop",
    "crop_to_bounding_box",
    "flip_left_right",
    "flip_up_down",
    "pad_to_bounding_box",
    "random_flip_left_right",
    "random_flip_up_down",
    "resize_image_with_crop_or_pad",
    "resize_with_crop_or_pad",
    "rot90",
    "transpose_image",
]


def flip_left_right(image: Operand) -> Tensor:
    """Mirror an image or a batch left to right.

    Torch: ``x.flip(-2)``.
    """
    return images(image, "flip_left_right").flip(-2)


def flip_up_down(image: Operand) -> Tensor:
    """Turn an image or a batch upside down.

    Torch: ``x.flip(-3)``.
    """
    return images(image, "flip_up_down").flip(-3)


def random_flip_left_right(image: Operand, seed: Any = None) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Torch: none.
    """
    return _randomly_flipped(images(image, "random_flip_left_right"), -2)


def random_flip_up_down(image: Operand, seed: Any = None) -> Tensor:
    """Turn each image upside down with probability 1/2.

    Torch: none.
    """
    return _randomly_flipped(images(image, "random_flip_up_down"), -3)


def transpose_image(image: Operand) -> Tensor:
    """Swap height and width.

    Torch: ``x.transpose(-3, -2)``.
    """
    return images(image, "transpose_image").transpose(-3, -2)


def rot90(image: Operand, k: Any = 1, name: str | None = None) -> Tensor:
    """Rotate by 90 degrees counter-clockwise, k times.

    Torch: ``torch.rot90(x, k, (-3, -2))``.
    """
    return torch.rot90(images(image, "rot90"), one_int(k, "rot90", "k"), (-3, -2))


def central_crop(image: Operand, central_fraction: float) -> Tensor:
    """Keep the central fraction of height and width.

    Torch: none.

    Raises:
        ValueError: a fraction that is not in (0, 1].
    """
    x = images(image, "central_crop")
    if not 0 < central_fraction <= 1:
        raise ValueError(f"central_crop(): central_fraction={central_fraction} is not in (0, 1].")
    height, width = x.shape[-3:-1]
    top = int((height - height * central_fraction) / 2)
    left = int((width - width * central_fraction) / 2)
    return x[..., top : height - top, left : width - left, :]


def crop_to_bounding_box(
    image: Operand,
    offset_height: Any,
    offset_width: Any,
    target_height: Any,
    target_width: Any,
) -> Tensor:
    """Cut out a box.

    Torch: ``x[..., top:top + height, left:left + width, :]``.

    Raises:
        ValueError: a box that is not inside the image.
    """
    function = "crop_to_bounding_box"
    x = images(image, function)
    top, left, height, width = _box(
        function, offset_height, offset_width, target_height, target_width
    )
    if top + height > x.shape[-3] or left + width > x.shape[-2]:
        raise ValueError(
            f"{function}(): a box of {height} x {width} at {top}, {left} is not inside an image of"
            f" {x.shape[-3]} x {x.shape[-2]}."
        )
    return x[..., top : top + height, left : left + width, :]


def pad_to_bounding_box(
    image: Operand,
    offset_height: Any,
    offset_width: Any,
    target_height: Any,
    target_width: Any,
) -> Tensor:
    """Pad with zeros: the given rows and columns before, and as many after as the size needs.

    Torch: ``F.pad``.

    Raises:
        ValueError: the padded image would be larger than the size.
    """
    function = "pad_to_bounding_box"
    x = images(image, function)
    top, left, height, width = _box(
        function, offset_height, offset_width, target_height, target_width
    )
    bottom, right = height - top - x.shape[-3], width - left - x.shape[-2]
    if bottom < 0 or right < 0:
        raise ValueError(
            f"{function}(): an image of {x.shape[-3]} x {x.shape[-2]} at {top}, {left} is not"
            f" inside {height} x {width}."
        )
    return F.pad(x, [0, 0, left, right, top, bottom])


def resize_image_with_crop_or_pad(image: Operand, target_height: Any, target_width: Any) -> Tensor:
    """Crop the center, or pad with zeros around it, until the size fits.

    Torch: none.

    Raises:
        ValueError: a size that is not positive.
    """
    function = "resize_image_with_crop_or_pad"
    x = images(image, function)
    _, _, *target = _box(function, 0, 0, target_height, target_width)
    pads: list[int] = [0, 0]
    for size, wanted in zip(reversed(x.shape[-3:-1]), reversed(target), strict=True):
        before = (wanted - size) // 2 if wanted > size else -((size - wanted) // 2)
        pads += [before, wanted - size - before]
    return F.pad(x, pads)  # what is negative is cut off


resize_with_crop_or_pad = resize_image_with_crop_or_pad


def _randomly_flipped(x: Tensor, axis: int) -> Tensor:
    chosen = torch.rand(*x.shape[:-3], 1, 1, 1, device=x.device) < 0.5
    return torch.where(chosen, x.flip(axis), x)


def _box(function: str, top: Any, left: Any, height: Any, width: Any) -> list[int]:
    arguments = ("offset_height", "offset_width", "target_height", "target_width")
    found = [
        one_int(value, function, argument)
        for value, argument in zip((top, left, height, width), arguments, strict=True)
    ]
    if min(found[:2]) < 0 or min(found[2:]) < 1:
        raise ValueError(
            f"{function}(): offsets {found[:2]} and target {found[2:]}; offsets have to be at least"
            " 0, and sizes 1."
        )
    return found
