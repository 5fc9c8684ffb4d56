"""What torchscope.tf1 costs over the torch functions it calls, and its import; knows no tables."""

import statistics
from typing import Any

import torch
from many import imported
from timing import Measure, Settings, Statement, race

import torchscope.tf1 as tf

ALLOWED = 2_000.0  # ns that a plain operation may take over torch's own

# An operation on small tensors, where the call is all there is, and torch's own.
PLAIN = {
    "tf.add(x, y)": "x + y",
    "tf.subtract(1.0, x)": "1.0 - x",
    "tf.multiply(x, row)": "x * row",
    "tf.exp(x)": "torch.exp(x)",
    "tf.maximum(x, 0.0)": "x.clamp(min=0.0)",
    "tf.greater(x, y)": "x > y",
    "tf.cast(x, tf.int32)": "x.to(torch.int32)",
    "tf.reshape(x, [-1, 4])": "x.reshape(-1, 4)",
    "tf.concat([x, y], 1)": "torch.cat([x, y], 1)",
    "tf.stack([x, y])": "torch.stack([x, y])",
    "tf.split(x, 2, 1)": "x.split(4, 1)",
    "tf.unstack(x)": "x.unbind()",
    "tf.transpose(x, [1, 0])": "x.permute(1, 0)",
    "tf.expand_dims(x, 1)": "x.unsqueeze(1)",
    "tf.squeeze(column, [1])": "column.squeeze(1)",
    "tf.slice(x, [0, 0], [2, -1])": "x[0:2]",
    "tf.tile(x, [1, 2])": "x.repeat(1, 2)",
    "tf.shape(x)[0]": "x.shape[0]",
    "tf.zeros([3, 3])": "torch.zeros(3, 3)",
    "tf.reduce_sum(x, 1)": "x.sum(1)",
    "tf.reduce_mean(x, axis=[0, 1])": "x.mean((0, 1))",
    "tf.reduce_max(x, -1, keep_dims=True)": "x.amax(-1, True)",
    "tf.argmax(x, 1)": "x.argmax(1)",
    "tf.matmul(x, y, transpose_b=True)": "x @ y.mT",
    "tf.gather(x, i)": "torch.nn.functional.embedding(i, x)",
    "tf.where(positive, x, y)": "torch.where(positive, x, y)",
}


def plain_operations(settings: Settings) -> Measure:
    """The time over torch's own of each plain operation: that of the middle one and the longest."""
    x = torch.linspace(-1, 1, 64).reshape(8, 8).requires_grad_()
    names: dict[str, Any] = {
        "torch": torch,
        "tf": tf,
        "x": x,
        "y": x.detach() + 1,
        "row": x[0].detach(),
        "column": x[:, :1],
        "positive": x > 0,
        "i": torch.arange(4, dtype=torch.int32),
    }
    over: list[list[float]] = []
    for ours, theirs in PLAIN.items():
        taken = race({code: Statement(code, names) for code in (ours, theirs)}, settings)
        over.append([a - b for a, b in zip(taken[ours], taken[theirs], strict=True)])
    longest = max(over, key=statistics.median)
    code = list(PLAIN)[over.index(longest)]
    samples = {
        "allowed": [ALLOWED] * settings.rounds,
        "the middle one": [statistics.median(one) for one in zip(*over, strict=True)],
        f"the longest, {code}": longest,
    }
    title = f"{len(PLAIN)} plain operations of torchscope.tf1 on 8 x 8, over torch's own"
    bars = dict.fromkeys(list(samples)[1:], 1.0)
    return Measure("tf1 plain", title, "ns", samples, reference="allowed", bars=bars)


IMPORT_ALLOWED = 60.0  # ms
ALL_NAMESPACES = "import torchscope.tf1 as tf\nfor name in dir(tf): getattr(tf, name)"


def importing(settings: Settings) -> Measure:
    """What ``import torchscope.tf1`` takes, alone and with every namespace that it has."""
    code = {"import torchscope.tf1": "import torchscope.tf1", "with all namespaces": ALL_NAMESPACES}
    samples = {"allowed": [IMPORT_ALLOWED] * settings.making_rounds}
    for name, one in code.items():
        samples[name], _ = imported(one, settings, first="import torchscope")
    title = "import torchscope.tf1 after torch and torchscope"
    bars = {"import torchscope.tf1": 1.0}
    return Measure("tf1 import", title, "ms", samples, reference="allowed", bars=bars)
