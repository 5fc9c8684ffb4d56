"""Resizing as TensorFlow 1 does: pixel i of the result is at ``i * in / out``, no half pixels.

Each axis has a matrix, [out, in], of the weight of each pixel in a pixel of the result; a resize is
a product with both.  (``half_pixel_centers``, in late 1.x, is torch's rule.)
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torchscope.tf1._arguments import ints
from torchscope.tf1._convert import Operand, numeric

from ._images import images as images_of

__all__ = [
    "ResizeMethod",
    "resize",
    "resize_area",
    "resize_bicubic",
    "resize_bilinear",
    "resize_images",
    "resize_nearest_neighbor",
]

# (where the pixels of the result are, [out, 1]; pixels given; their distance; half pixels?) ->
# (which pixels each of them takes, [out, taps], and how much of each).  What is outside is clamped.
_Taps: TypeAlias = Callable[[Tensor, int, float, bool], tuple[Tensor, Tensor]]

_STEPS = 1024  # TensorFlow takes bicubic weights from a table of this many steps


class ResizeMethod:
    """How ``tf.image.resize_images`` interpolates.

    Torch: the ``mode`` of ``F.interpolate``.
    """

    BILINEAR = 0
    NEAREST_NEIGHBOR = 1
    BICUBIC = 2
    AREA = 3


def resize_images(
    images: Operand,
    size: Any = None,
    method: Any = ResizeMethod.BILINEAR,
    align_corners: bool = False,
    preserve_aspect_ratio: bool = False,
    name: str | None = None,
    new_height: Any = None,
    new_width: Any = None,
) -> Tensor:
    """Resize an image or a batch by one of four methods.

    Torch: ``F.interpolate``; channels last, and no half pixels.

    >>> resize_images(torch.tensor([[[0.0], [1.0]]]), [1, 4]).flatten()
    tensor([0.0000, 0.5000, 1.0000, 1.0000])

    Args:
        images: [H, W, C] or [N, H, W, C]; returned as it is if it has the size already.
        size: the new height and width.
        method: one of ``tf.image.ResizeMethod``.
        align_corners: whether the centers of the corner pixels stay where they are.
        preserve_aspect_ratio: whether the size is only a bound, and the aspect ratio is preserved.
        name: not used.
        new_height: before TensorFlow 1.0, with ``new_width``, instead of ``size``.
        new_width: likewise.

    Returns:
        float32; the dtype of the images for nearest neighbors, and if they have the size already.

    Raises:
        ValueError: an invalid image, size or method.
    """
    x = images_of(images, "resize_images", "images")
    batch = x if x.ndim == 4 else x[None]
    height, width = _size([new_height, new_width] if size is None else size, "resize_images")
    if preserve_aspect_ratio:
        scale = min(height / batch.shape[1], width / batch.shape[2])
        height, width = round(batch.shape[1] * scale), round(batch.shape[2] * scale)
    if (height, width) == tuple(batch.shape[1:3]):
        return x
    resize = _METHODS.get(method)
    if resize is None:
        raise ValueError(f"resize_images(): method={method!r}; give one of tf.image.ResizeMethod.")
    y = resize(batch, [height, width], align_corners)
    return y if x.ndim == 4 else y[0]


def resize_bilinear(
    images: Operand,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resize a batch, interpolating between the two nearest pixels of each axis.

    Torch: ``F.interpolate(mode="bilinear")``; channels last, and no half pixels. All dtypes
    give float32.
    """
    x, size = _batch(images, "resize_bilinear"), _size(size, "resize_bilinear")
    _check_centers(align_corners, half_pixel_centers, "resize_bilinear")
    return _resized(x, size, _linear, align_corners, half_pixel_centers)


def resize_bicubic(
    images: Operand,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resize a batch with cubic weights of the four nearest pixels of each axis.

    Torch: ``F.interpolate(mode="bicubic")``; channels last, no half pixels, and the weights come
    from a table of 1024 steps.
    """
    x, size = _batch(images, "resize_bicubic"), _size(size, "resize_bicubic")
    _check_centers(align_corners, half_pixel_centers, "resize_bicubic")
    return _resized(x, size, _cubic, align_corners, half_pixel_centers)


def resize_area(
    images: Operand, size: Any, align_corners: bool = False, name: str | None = None
) -> Tensor:
    """Resize a batch; each pixel of the result is the average of the area that it covers.

    Torch: ``F.interpolate(mode="area")``; channels last, and pixels on the edge of an area count
    partly.
    """
    x, size = _batch(images, "resize_area"), _size(size, "resize_area")
    return _resized(x, size, _areas, align_corners, False)


def resize_nearest_neighbor(
    images: Operand,
    size: Any,
    align_corners: bool = False,
    name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:
    """Resize a batch by repeating or leaving out pixels.

    Torch: ``F.interpolate(mode="nearest")``; channels last, and with ``align_corners``.
    """
    function = "resize_nearest_neighbor"
    x, size = _batch(images, function), _size(size, function)
    _check_centers(align_corners, half_pixel_centers, function)
    for axis, wanted in zip((1, 2), size, strict=True):
        given = x.shape[axis]
        at = torch.arange(wanted, device=x.device, dtype=torch.float32)
        at = (at + 0.5 if half_pixel_centers else at) * _scale(given, wanted, align_corners)
        at = (at.double() + 0.5 if align_corners else at).floor().long()
        x = x.index_select(axis, at.clamp(0, given - 1))
    return x


resize = resize_images

_METHODS: dict[Any, Any] = {
    ResizeMethod.BILINEAR: resize_bilinear,
    ResizeMethod.NEAREST_NEIGHBOR: resize_nearest_neighbor,
    ResizeMethod.BICUBIC: resize_bicubic,
    ResizeMethod.AREA: resize_area,
    "bilinear": resize_bilinear,  # the names of later versions
    "nearest": resize_nearest_neighbor,
    "bicubic": resize_bicubic,
    "area": resize_area,
}


def _resized(x: Tensor, size: tuple[int, int], taps: _Taps, align: bool, half: bool) -> Tensor:
    wide = x.float()
    for dim, wanted in zip((1, 2), size, strict=True):
        given = x.shape[dim]
        scale = _scale(given, wanted, align)
        at = torch.arange(wanted, device=x.device, dtype=torch.float32)
        at = (at + 0.5) * scale - 0.5 if half else at * scale
        indices, weights = taps(at[:, None], given, scale, half)
        matrix = torch.zeros(wanted, given, device=x.device)
        matrix = matrix.scatter_add(1, indices.long().clamp(0, given - 1), weights)
        mixed = matrix @ wide.flatten(dim + 1)
        wide = mixed.reshape(*wide.shape[:dim], wanted, *wide.shape[dim + 1 :])
    return wide


def _linear(at: Tensor, given: int, scale: float, half: bool) -> tuple[Tensor, Tensor]:
    below = at.floor()
    share = at - below
    return torch.cat([below, below + 1], 1), torch.cat([1 - share, share], 1)


def _cubic(at: Tensor, given: int, scale: float, half: bool) -> tuple[Tensor, Tensor]:
    below = at.floor()
    share = ((at - below) * _STEPS).round() / _STEPS
    a = -0.5 if half else -0.75
    near, far = torch.cat([share, 1 - share], 1), torch.cat([1 + share, 2 - share], 1)
    near = ((a + 2) * near - (a + 3)) * near * near + 1
    far = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    indices = below + torch.arange(-1, 3, device=at.device)
    weights = torch.cat([far[:, :1], near, far[:, 1:]], 1)
    if half:  # what is outside counts nothing
        weights = weights * ((indices >= 0) & (indices < given))
        weights = weights / weights.sum(1, keepdim=True)
    return indices, weights


def _areas(at: Tensor, given: int, scale: float, half: bool) -> tuple[Tensor, Tensor]:
    wanted, scale = len(at), scale or 1.0  # 0 if one pixel is spread with its corners aligned
    pixels = torch.arange(max(given, math.ceil(wanted * scale)), device=at.device)
    overlap = torch.minimum(pixels + 1, at + scale) - torch.maximum(pixels, at)
    return pixels.expand(wanted, -1), overlap.clamp(min=0) / scale


def _scale(given: int, wanted: int, align_corners: bool) -> float:
    return (given - 1) / (wanted - 1) if align_corners and wanted > 1 else given / wanted


def _batch(images: Operand, function: str) -> Tensor:
    x = numeric(images, function, "images")
    if x.ndim != 4:
        raise ValueError(
            f"{function}(): images have to be [batch, height, width, channels], not"
            f" {list(x.shape)}; tf.image.resize_images takes a single one."
        )
    return x


def _size(size: Any, function: str) -> tuple[int, int]:
    found = ints(size, function, "size")
    if len(found) != 2 or min(found) < 1:
        raise ValueError(f"{function}(): size={size}; give the new height and width.")
    return found[0], found[1]


def _check_centers(align_corners: bool, half_pixel_centers: bool, function: str) -> None:
    if align_corners and half_pixel_centers:
        raise ValueError(f"{function}(): give align_corners or half_pixel_centers, not both.")
