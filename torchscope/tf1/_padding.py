"""SAME and VALID, data formats and the views that go with them; knows no convolution.

An image is channels last in TensorFlow and channels first in torch.  The functions here only return
views: an NHWC tensor viewed as NCHW is what torch calls ``channels_last``, and is fast as it is.
"""

from collections.abc import Sequence

from torch import Tensor


def is_channels_last(data_format: str | None, function: str) -> bool:
    """Whether a data format is channels last, as None is; ValueError for an unknown one."""
    if data_format is None or data_format in ("NHWC", "NWC", "NDHWC", "channels_last"):
        return True
    if data_format in ("NCHW", "NCW", "NCDHW", "channels_first"):
        return False
    raise ValueError(f"{function}(): data_format={data_format!r}; give 'NHWC' or 'NCHW'.")


def channels_first(x: Tensor) -> Tensor:
    """[N, ..., C] viewed as [N, C, ...]."""
    return x.movedim(-1, 1)


def channels_last(x: Tensor) -> Tensor:
    """[N, C, ...] viewed as [N, ..., C]."""
    return x.movedim(1, -1)


def kernel_first(kernel: Tensor) -> Tensor:
    """[..., in, out] viewed as torch's [out, in, ...]."""
    return kernel.movedim((-1, -2), (0, 1))


def padding_of(
    padding: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    function: str,
) -> list[tuple[int, int]]:
    """Zeros before and after each spatial axis; VALID pads none, SAME the smaller half before.

    SAME gives ``ceil(size / stride)`` outputs, so what it pads depends on the size.

    Raises:
        ValueError: another padding, or a window that does not fit into the image.
    """
    same = padding == "SAME"
    if not same and padding != "VALID":
        raise ValueError(f"{function}(): padding={padding!r}; give 'SAME' or 'VALID'.")
    pads: list[tuple[int, int]] = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        span = (k - 1) * d + 1
        total = max((-(-size // s) - 1) * s + span - size, 0) if same else 0
        check_fits(span, size + total, function)
        pads.append((total // 2, total - total // 2))
    return pads


def check_fits(span: int, size: int, function: str) -> None:
    """ValueError if a window (in pixels) is larger than the padded image."""
    if span > size:
        raise ValueError(f"{function}(): a window of {span} does not fit into {size} pixels.")


def torch_pads(pads: Sequence[tuple[int, int]]) -> list[int]:
    """The ``pad`` of ``torch.nn.functional.pad`` for the spatial axes, channels first."""
    return [n for pair in reversed(pads) for n in pair]
