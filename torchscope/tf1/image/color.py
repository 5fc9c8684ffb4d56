"""The values of pixels: dtypes, brightness, contrast, gray, hue and saturation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchscope.tf1._convert import Operand, floating, numeric
from torchscope.tf1.dtypes import as_dtype
from torchscope.tf1.ops._gradients import sqrt
from torchscope.tf1.ops.arithmetic import maximum, minimum

from ._images import images as images_of
from ._images import rgb

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "convert_image_dtype",
    "grayscale_to_rgb",
    "hsv_to_rgb",
    "per_image_standardization",
    "per_image_whitening",
    "random_brightness",
    "random_contrast",
    "random_hue",
    "random_saturation",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "total_variation",
]

_GRAY = (0.2989, 0.5870, 0.1140)


def convert_image_dtype(
    image: Operand, dtype: Any, saturate: bool = False, name: str | None = None
) -> Tensor:
    """Convert between floats from 0 to 1 and integers from 0 to their largest.

    Torch: ``torchvision.transforms.functional.convert_image_dtype``; floats are truncated, not
    rounded.

    Args:
        image: of any shape.
        dtype: of the result.
        saturate: whether floats are first clipped to [0, 1].
        name: not used.
    """
    x, wanted = numeric(image, "convert_image_dtype", "image"), as_dtype(dtype)
    if x.dtype is wanted or (x.is_floating_point() and wanted.is_floating_point):
        return x.to(wanted)
    if wanted.is_floating_point:
        return x.to(wanted) * (1 / torch.iinfo(x.dtype).max)
    largest = torch.iinfo(wanted).max
    if x.is_floating_point():
        x = x * (largest + 0.5)
        return (x.clamp(torch.iinfo(wanted).min, largest) if saturate else x).to(wanted)
    given = torch.iinfo(x.dtype).max
    if given > largest:
        return x.div((given + 1) // (largest + 1), rounding_mode="floor").to(wanted)
    return x.to(wanted) * ((largest + 1) // (given + 1))


def per_image_standardization(image: Operand) -> Tensor:
    """Bring each image to mean 0 and variance 1; the divisor is at least ``1 / sqrt(n)``.

    Torch: none.

    Returns:
        float32.
    """
    x = images_of(image, "per_image_standardization").float()
    dims = (-3, -2, -1)
    centered = x - x.mean(dims, keepdim=True)
    deviation = sqrt(centered.square().mean(dims, keepdim=True))
    return centered / deviation.clamp(min=x.shape[-3:].numel() ** -0.5)


per_image_whitening = per_image_standardization


def adjust_brightness(image: Operand, delta: Any) -> Tensor:
    """Add ``delta`` to the values, as floats from 0 to 1.

    Torch: ``x + delta``; integers are converted to floats and back.
    """
    x, back = _as_floats(numeric(image, "adjust_brightness", "image"))
    return back(x + delta)


def random_brightness(image: Operand, max_delta: float, seed: Any = None) -> Tensor:
    """Add one random number between ``-max_delta`` and ``max_delta``.

    Torch: ``torchvision.transforms.ColorJitter``.
    """
    if max_delta < 0:
        raise ValueError(f"random_brightness(): max_delta={max_delta} is negative.")
    return adjust_brightness(image, _uniform(-max_delta, max_delta))


def adjust_contrast(images: Operand, contrast_factor: Any) -> Tensor:
    """Multiply the distance of each value from the mean of its image and channel.

    Torch: none; torchvision takes one mean, of the gray image.
    """
    x, back = _as_floats(images_of(images, "adjust_contrast", "images"))
    mean = x.mean((-3, -2), keepdim=True)
    return back((x - mean) * contrast_factor + mean)


def random_contrast(image: Operand, lower: float, upper: float, seed: Any = None) -> Tensor:
    """Adjust the contrast by one random factor between ``lower`` and ``upper``.

    Torch: ``torchvision.transforms.ColorJitter``.
    """
    return adjust_contrast(image, _factor(lower, upper, "random_contrast"))


def rgb_to_grayscale(images: Operand, name: str | None = None) -> Tensor:
    """The brightness, a weighted sum of red, green and blue: [..., 3] to [..., 1].

    Torch: ``torchvision.transforms.functional.rgb_to_grayscale``.
    """
    x, back = _as_floats(rgb(images, "rgb_to_grayscale"))
    return back((x * x.new_tensor(_GRAY)).sum(-1, keepdim=True))


def grayscale_to_rgb(images: Operand, name: str | None = None) -> Tensor:
    """Repeat the one channel three times: [..., 1] to [..., 3].

    Torch: ``x.expand(..., 3)``.
    """
    x = numeric(images, "grayscale_to_rgb", "images")
    if x.ndim < 1 or x.shape[-1] != 1:
        raise ValueError(f"grayscale_to_rgb(): the last axis of {list(x.shape)} is not of size 1.")
    return x.expand(*x.shape[:-1], 3)


def rgb_to_hsv(images: Operand, name: str | None = None) -> Tensor:
    """Red, green and blue from 0 to 1 as hue, saturation and value.

    Torch: none.
    """
    x = rgb(floating(images, "rgb_to_hsv", "images"), "rgb_to_hsv")
    red, green, blue = x.unbind(-1)
    value = maximum(maximum(red, green), blue)  # whose gradient goes to one channel of equal ones
    least = minimum(blue, minimum(green, red))
    spread = value - least
    norm = 1 / (6 * spread.masked_fill(spread == 0, 1))
    hue = torch.where(
        red == value,
        norm * (green - blue),
        torch.where(green == value, norm * (blue - red) + 2 / 6, norm * (red - green) + 4 / 6),
    )
    hue = torch.where(spread > 0, torch.where(hue < 0, hue + 1, hue), 0.0)
    saturation = spread / value.masked_fill(value <= 0, 1)
    return torch.stack([hue, torch.where(value > 0, saturation, 0.0), value], -1)


def hsv_to_rgb(images: Operand, name: str | None = None) -> Tensor:
    """Hue, saturation and value from 0 to 1 as red, green and blue.

    Torch: none.
    """
    x = rgb(floating(images, "hsv_to_rgb", "images"), "hsv_to_rgb")
    hue, saturation, value = (channel[..., None] for channel in x.unbind(-1))
    sixths = hue * 6
    red = (sixths - 3).abs() - 1
    green = 2 - (sixths - 2).abs()
    blue = 2 - (sixths - 4).abs()
    full = torch.cat([red, green, blue], -1).clamp(0, 1)
    return ((1 - saturation) + saturation * full) * value


def adjust_saturation(image: Operand, saturation_factor: Any, name: str | None = None) -> Tensor:
    """Multiply the saturation, clipped to [0, 1].

    Torch: ``torchvision.transforms.functional.adjust_saturation``, which mixes with gray instead.
    """
    x, back = _as_floats(rgb(image, "adjust_saturation", 3))
    hue, saturation, value = rgb_to_hsv(x).unbind(-1)
    saturation = (saturation * saturation_factor).clamp(0, 1)
    return back(hsv_to_rgb(torch.stack([hue, saturation, value], -1)))


def random_saturation(image: Operand, lower: float, upper: float, seed: Any = None) -> Tensor:
    """Multiply the saturation by one random factor between ``lower`` and ``upper``.

    Torch: ``torchvision.transforms.ColorJitter``.
    """
    return adjust_saturation(image, _factor(lower, upper, "random_saturation"))


def adjust_hue(image: Operand, delta: Any, name: str | None = None) -> Tensor:
    """Rotate the hue by ``delta``, where 1 is a full turn.

    Torch: ``torchvision.transforms.functional.adjust_hue``.
    """
    x, back = _as_floats(rgb(image, "adjust_hue", 3))
    hue, saturation, value = rgb_to_hsv(x).unbind(-1)
    return back(hsv_to_rgb(torch.stack([(hue + delta) % 1, saturation, value], -1)))


def random_hue(image: Operand, max_delta: float, seed: Any = None) -> Tensor:
    """Rotate the hue by one random number between ``-max_delta`` and ``max_delta``.

    Torch: ``torchvision.transforms.ColorJitter``.
    """
    if not 0 <= max_delta <= 0.5:
        raise ValueError(f"random_hue(): max_delta={max_delta} is not in [0, 0.5].")
    return adjust_hue(image, _uniform(-max_delta, max_delta))


def total_variation(images: Operand, name: str | None = None) -> Tensor:
    """The sum of the absolute differences of neighbouring pixels, for each image.

    Torch: ``x.diff(dim=-3).abs().sum() + x.diff(dim=-2).abs().sum()``.
    """
    x = images_of(images, "total_variation", "images")
    parts = [x.diff(dim=dim).abs().sum((-3, -2, -1), dtype=x.dtype) for dim in (-3, -2)]
    return parts[0] + parts[1]


def _as_floats(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Images as floats from 0 to 1, and a function that converts back to their dtype."""
    wide = x if x.is_floating_point() else convert_image_dtype(x, torch.float32)
    return wide, lambda result: convert_image_dtype(result, x.dtype, saturate=True)


def _factor(lower: float, upper: float, function: str) -> Tensor:
    if not 0 <= lower < upper:
        raise ValueError(f"{function}(): lower={lower} and upper={upper}; give 0 <= lower < upper.")
    return _uniform(lower, upper)


def _uniform(low: float, high: float) -> Tensor:
    return torch.rand(()) * (high - low) + low
