"""What sequences and optimizers of torchscope.tf1 cost over torch's own, and over loops by hand."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from timing import MODULE, TORCHSCOPE, Measure, Settings, Statement, race
from torch import nn

import torchscope as ts
import torchscope.tf1 as tf

STEPS, BATCH, WIDTH = 50, 32, 128


class Gru(nn.Module):
    """A cell as one writes it by hand: TensorFlow's GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(2 * WIDTH, 2 * WIDTH)
        self.candidate = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, h: Any) -> tuple[torch.Tensor, Any]:
        reset, update = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([x, reset * h], 1)))
        h = torch.lerp(candidate, h, update)
        return h, h


class Peepholes(nn.Module):
    """Likewise an LSTM with peepholes."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(2 * WIDTH, 4 * WIDTH)
        self.diagonals = nn.ParameterList([torch.randn(WIDTH) for _ in range(3)])

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        c, h = state
        of_f, of_i, of_o = self.diagonals
        i, j, f, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        forget, write = torch.sigmoid(f + 1 + of_f * c), torch.sigmoid(i + of_i * c)
        c = forget * c + write * torch.tanh(j)
        h = torch.sigmoid(o + of_o * c) * torch.tanh(c)
        return h, (c, h)


class Loop(nn.Module):
    """A cell over a sequence."""

    def __init__(self, cell: nn.Module, states: int) -> None:
        super().__init__()
        self.cell, self.states = cell, states

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zeros = x.new_zeros(len(x), WIDTH)
        state: Any = zeros if self.states == 1 else (zeros,) * self.states
        outputs: list[torch.Tensor] = []
        for step in x.unbind(1):
            output, state = self.cell(step, state)
            outputs.append(output)
        return torch.stack(outputs, 1)


class Fused(nn.LSTM):
    """torch's own, whose outputs alone are wanted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x)[0]


def sequences(settings: Settings) -> Iterator[Measure]:
    """Forward and backward of a sequence."""
    cells = tf.nn.rnn_cell
    x = torch.randn(BATCH, STEPS, WIDTH, requires_grad=True)

    def over(make: Callable[[], Any]) -> nn.Module:
        return ts.ScopedModule(lambda x: tf.nn.dynamic_rnn(make(), x, dtype=tf.float32)[0]).build(x)

    for name, ours, theirs, bar in (
        ("BasicLSTMCell", lambda: cells.BasicLSTMCell(WIDTH), Fused(WIDTH, WIDTH, 1), 1.2),
        ("GRUCell", lambda: cells.GRUCell(WIDTH), Loop(Gru(), 1), 1.1),
        ("peepholes", lambda: cells.LSTMCell(WIDTH, True), Loop(Peepholes(), 2), 1.1),
    ):
        if isinstance(theirs, Fused):
            theirs.batch_first = True
        samples = race(
            {
                MODULE: Statement("net(x).sum().backward()", {"net": theirs, "x": x}),
                TORCHSCOPE: Statement("net(x).sum().backward()", {"net": over(ours), "x": x}),
            },
            settings,
        )
        title = f"dynamic_rnn({name}): {STEPS} steps of {BATCH} x {WIDTH}, forward and backward"
        yield Measure(f"tf1 {name}", title, "ns", samples, bars={TORCHSCOPE: bar})


def optimizers(settings: Settings) -> Iterator[Measure]:
    """One step of each, compared with torch's of the same name."""
    train, optim = tf.train, torch.optim
    rules: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "GradientDescent": (
            lambda p: train.GradientDescentOptimizer(p, 0.01),
            lambda p: optim.SGD(p, 0.01),
        ),
        "Momentum": (
            lambda p: train.MomentumOptimizer(p, 0.01, 0.9),
            lambda p: optim.SGD(p, 0.01, momentum=0.9),
        ),
        "Adam": (train.AdamOptimizer, optim.Adam),
        "RMSProp": (
            lambda p: train.RMSPropOptimizer(p, 0.01, momentum=0.9),
            lambda p: optim.RMSprop(p, 0.01, momentum=0.9),
        ),
        "Adagrad": (lambda p: train.AdagradOptimizer(p, 0.01), lambda p: optim.Adagrad(p, 0.01)),
        "Adadelta": (train.AdadeltaOptimizer, optim.Adadelta),
    }
    for number in (10, 100):
        for name, pair in rules.items():
            made = [make(variables(number)) for make in pair]
            samples = race(
                {
                    key: Statement("step()", {"step": optimizer.step})
                    for key, optimizer in zip((TORCHSCOPE, MODULE), made, strict=True)
                },
                settings,
            )
            title = f"tf.train.{name}Optimizer: a step of {number} tensors of 64 x 64"
            yield Measure(f"tf1 {name} {number}", title, "ns", samples, bars={TORCHSCOPE: 1.1})


def variables(number: int) -> list[tuple[str, nn.Parameter]]:
    """Parameters with gradients."""
    made = [(f"w{i}", nn.Parameter(torch.randn(64, 64))) for i in range(number)]
    for _, parameter in made:
        parameter.grad = torch.randn(64, 64)
    return made
