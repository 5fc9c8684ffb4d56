"""What an image is: [height, width, channels], or a batch of them; knows no operation."""

from torch import Tensor

from torchscope.tf1._convert import Operand, numeric


def images(value: Operand, function: str, argument: str = "image") -> Tensor:
    """An image or a batch as a tensor; ValueError unless of rank 3 or 4."""
    x = numeric(value, function, argument)
    if x.ndim not in (3, 4):
        raise ValueError(
            f"{function}(): {argument} has to be [height, width, channels] or a batch of these,"
            f" not {list(x.shape)}."
        )
    return x


def rgb(value: Operand, function: str, rank: int = 1) -> Tensor:
    """Images of this rank or a higher one, whose last axis has three channels."""
    x = numeric(value, function, "images")
    if x.ndim < rank or x.shape[-1] != 3:
        raise ValueError(
            f"{function}(): the last of {rank} axes or more has to hold 3 channels; the shape is"
            f" {list(x.shape)}."
        )
    return x
