"""tf.summary: does nothing; torch.utils.tensorboard.SummaryWriter writes summaries."""

from typing import Any

from . import _missing

__all__ = ["audio", "histogram", "image", "merge", "merge_all", "scalar", "tensor_summary", "text"]

__getattr__ = _missing.of("tf.summary")


def scalar(name: str, tensor: Any, collections: Any = None, family: str | None = None) -> None:
    """Do nothing.

    Torch: ``SummaryWriter.add_scalar(name, value, step)``, outside of the model.
    """


def histogram(name: str, values: Any, collections: Any = None, family: str | None = None) -> None:
    """Do nothing.

    Torch: ``SummaryWriter.add_histogram(name, values, step)``.
    """


def image(
    name: str,
    tensor: Any,
    max_outputs: int = 3,
    collections: Any = None,
    family: str | None = None,
) -> None:
    """Do nothing.

    Torch: ``SummaryWriter.add_images(name, images, step, dataformats="NHWC")``.
    """


def audio(
    name: str,
    tensor: Any,
    sample_rate: Any,
    max_outputs: int = 3,
    collections: Any = None,
    family: str | None = None,
) -> None:
    """Do nothing.

    Torch: ``SummaryWriter.add_audio(name, sound, step, sample_rate)``.
    """


def text(name: str, tensor: Any, collections: Any = None) -> None:
    """Do nothing.

    Torch: ``SummaryWriter.add_text(name, text, step)``.
    """


def tensor_summary(
    name: str,
    tensor: Any,
    summary_description: Any = None,
    collections: Any = None,
    summary_metadata: Any = None,
    family: str | None = None,
    display_name: str | None = None,
) -> None:
    """Do nothing."""


def merge(inputs: Any, collections: Any = None, name: str | None = None) -> None:
    """Do nothing."""


def merge_all(key: str = "summaries", scope: str | None = None, name: str | None = None) -> None:
    """Do nothing."""
