"""What layers of torchscope.tf1 cost over torch's modules, in passes of several of them."""

from collections.abc import Iterator
from typing import Any

import torch
from timing import MODULE, TORCHSCOPE, Measure, Settings, Statement, race
from torch import nn

import torchscope as ts
import torchscope.tf1 as tf

LAYERS = 10  # in a pass over tiny inputs, so that the call of the net is shared by all


class Repeated(nn.Module):
    """The same inputs through each of some modules."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(modules)

    def forward(self, x: torch.Tensor) -> Any:
        y = None
        for layer in self.layers:
            y = layer(x)
        return y


def repeated(call: Any, number: int, x: torch.Tensor) -> ts.ScopedModule[Any, Any]:
    """The same inputs through a layer that is called some times, with names that it counts."""

    def model(x: torch.Tensor) -> Any:
        y = None
        for _ in range(number):
            y = call(x)
        return y

    return ts.ScopedModule(model).build(x)


def layers(settings: Settings) -> Iterator[Measure]:
    """Dense layers and convolutions, tiny and real."""
    tiny, wide = torch.randn(4, 8), torch.randn(1024, 1024)
    small, images = torch.randn(2, 8, 8, 3), torch.randn(32, 224, 224, 3)
    linear = [nn.Linear(8, 8) for _ in range(LAYERS)]
    convolutions = [nn.Conv2d(3, 8, 3, padding="same") for _ in range(LAYERS)]
    convolution = nn.Conv2d(3, 64, 3, padding="same").to(memory_format=torch.channels_last)

    def dense(x: torch.Tensor) -> torch.Tensor:
        return tf.layers.dense(x, x.shape[1])

    def conv2d(x: torch.Tensor, filters: int = 8) -> torch.Tensor:
        return tf.layers.conv2d(x, filters, 3, padding="same")

    def slim_conv2d(x: torch.Tensor) -> torch.Tensor:
        return tf.slim.conv2d(x, 64, 3, activation_fn=None)

    yield compared("dense 4 x 8 -> 8", dense, linear, tiny, tiny, 1.5, settings)
    yield compared("dense 1024 -> 1024", dense, [nn.Linear(1024, 1024)], wide, wide, 1.05, settings)
    first = small.movedim(-1, 1).contiguous()
    yield compared("conv2d 2 x 8 x 8 x 3 -> 8", conv2d, convolutions, small, first, 1.5, settings)
    real = images, images.movedim(-1, 1), 1.05, settings  # channels_last, as torch likes them best
    for name, call in (("conv2d", lambda x: conv2d(x, 64)), ("slim.conv2d", slim_conv2d)):
        yield compared(f"{name} 32 x 224 x 224 x 3 -> 64", call, [convolution], *real)


def compared(
    name: str,
    call: Any,
    modules: list[nn.Module],
    x: torch.Tensor,
    first: torch.Tensor,
    bar: float,
    settings: Settings,
) -> Measure:
    """A layer and torch's module, each as often; ``first`` is what the module takes for ``x``."""
    net = repeated(call, len(modules), x)
    with torch.no_grad():
        samples = race(
            {
                MODULE: Statement("net(x)", {"net": Repeated(*modules), "x": first}),
                TORCHSCOPE: Statement("net(x)", {"net": net, "x": x}),
            },
            settings,
        )
    each = {key: [ns / len(modules) for ns in taken] for key, taken in samples.items()}
    return Measure(f"tf1 {name}", f"tf.layers: {name}", "ns", each, bars={TORCHSCOPE: bar})
