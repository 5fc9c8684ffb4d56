"""The models that are timed, each by names and by hand; knows nothing of timing."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor, nn

import torchscope as ts

# ---- the tutorial's ----------------------------------------------------------------------------

IMAGE = torch.ones(1, 1, 4, 4)


def calculate(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    return F.relu(F.conv2d(x, weights, biases, padding="same"))


def leave_out(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    return x


Layer = Callable[[Tensor, Tensor, Tensor], Tensor]


def scoped_model(layer: Layer) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The tutorial's model, as it is written there."""

    def conv_relu(x: Tensor, kernel_shape: list[int], bias_shape: list[int]) -> Tensor:
        weights = ts.get_variable(
            "weights", kernel_shape, initializer=ts.random_normal_initializer(stddev=0.1)
        )
        biases = ts.get_variable("biases", bias_shape, initializer=ts.constant_initializer(0.0))
        return layer(x, weights, biases)

    def my_image_filter(images: Tensor) -> Tensor:
        with ts.variable_scope("conv1"):
            x = conv_relu(images, [2, 1, 3, 3], [2])
        with ts.variable_scope("conv2"):
            return conv_relu(x, [2, 2, 3, 3], [2])

    def model(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        with ts.variable_scope("model") as scope:
            y1 = my_image_filter(image1)
            scope.reuse_variables()
            y2 = my_image_filter(image2)
        return y1, y2

    return model


class ConvRelu(nn.Module):
    def __init__(self, layer: Layer, kernel_shape: list[int], bias_shape: list[int]) -> None:
        super().__init__()
        self.layer = layer
        self.weights = nn.Parameter(torch.randn(kernel_shape) * 0.1)
        self.biases = nn.Parameter(torch.zeros(bias_shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.weights, self.biases)


class HandWritten(nn.Module):
    """The same filter by hand."""

    def __init__(self, layer: Layer = calculate) -> None:
        super().__init__()
        self.conv1 = ConvRelu(layer, [2, 1, 3, 3], [2])
        self.conv2 = ConvRelu(layer, [2, 2, 3, 3], [2])

    def forward(self, images: Tensor) -> Tensor:
        return self.conv2(self.conv1(images))


class HandWrittenModel(nn.Module):
    """The same model by hand: both images pass through one filter."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.model = HandWritten(layer)

    def forward(self, image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(image1), self.model(image2)


def variables_by_name(module: nn.Module) -> nn.ParameterDict:
    return nn.ParameterDict(
        {name.replace(".", "/"): variable for name, variable in module.named_parameters()}
    )


def dict_model(
    layer: Layer, params: Mapping[str, Tensor]
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The same model as a function over an nn.ParameterDict."""

    def conv_relu(x: Tensor, scope: str) -> Tensor:
        return layer(x, params[scope + "/weights"], params[scope + "/biases"])

    def my_image_filter(images: Tensor, scope: str) -> Tensor:
        return conv_relu(conv_relu(images, scope + "/conv1"), scope + "/conv2")

    def model(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        return my_image_filter(image1, "model"), my_image_filter(image2, "model")

    return model


def in_scopes_only(
    layer: Layer, params: Mapping[str, Tensor]
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The same model in its scopes, but with no get in them."""

    def my_image_filter(images: Tensor) -> Tensor:
        with ts.variable_scope("conv1"):
            x = layer(images, params["model/conv1/weights"], params["model/conv1/biases"])
        with ts.variable_scope("conv2"):
            return layer(x, params["model/conv2/weights"], params["model/conv2/biases"])

    def model(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        with ts.variable_scope("model"):
            return my_image_filter(image1), my_image_filter(image2)

    return model


def by_gets_only(layer: Layer) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The same model by full names, in no scope."""
    get = ts.get_variable

    def my_image_filter(images: Tensor) -> Tensor:
        weights, biases = get("model/conv1/weights", [2, 1, 3, 3]), get("model/conv1/biases", [2])
        x = layer(images, weights, biases)
        weights, biases = get("model/conv2/weights", [2, 2, 3, 3]), get("model/conv2/biases", [2])
        return layer(x, weights, biases)

    def model(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
        y1 = my_image_filter(image1)
        ts.get_variable_scope().reuse_variables()
        return y1, my_image_filter(image2)

    return model


class Empty(nn.Module):
    def forward(self, x: Any) -> Any:
        return x


# ---- a transformer -----------------------------------------------------------------------------

LAYERS, WIDTH, HEADS = 12, 64, 4
TOKENS = torch.randn(2, 16, WIDTH)


def attend(x: Tensor, qkv: Tensor) -> Tensor:
    batch, length, width = x.shape
    q, k, v = qkv.view(batch, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed.transpose(1, 2).reshape(batch, length, width)


def dense(x: Tensor, units: int, name: str) -> Tensor:
    with ts.variable_scope(name):
        kernel = ts.get_variable("kernel", [units, x.shape[-1]])
        bias = ts.get_variable("bias", [units], initializer=ts.zeros_initializer())
    return F.linear(x, kernel, bias)


def norm(x: Tensor, name: str) -> Tensor:
    with ts.variable_scope(name):
        gamma = ts.get_variable("gamma", [WIDTH], initializer=ts.ones_initializer())
        beta = ts.get_variable("beta", [WIDTH], initializer=ts.zeros_initializer())
    return F.layer_norm(x, (WIDTH,), gamma, beta)


def transformer(x: Tensor) -> Tensor:
    for i in range(LAYERS):
        with ts.variable_scope(f"h{i}"):
            qkv = dense(norm(x, "ln_1"), 3 * WIDTH, "attn")
            x = x + dense(attend(x, qkv), WIDTH, "proj")
            x = x + dense(F.gelu(dense(norm(x, "ln_2"), 4 * WIDTH, "fc")), WIDTH, "fc_proj")
    return x


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc, self.fc_proj = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.proj(attend(x, self.attn(self.ln_1(x))))
        return x + self.fc_proj(F.gelu(self.fc(self.ln_2(x))))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.h = nn.ModuleList(Block() for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.h:
            x = block(x)
        return x


# ---- many small layers, to be compiled ---------------------------------------------------------


def scoped_chain(count: int) -> Callable[[Tensor], Tensor]:
    """``count`` variables in scopes of ten, added one after the other."""

    def chain(x: Tensor) -> Tensor:
        for i in range(count // 10):
            with ts.variable_scope(f"layer{i}"):
                for j in range(10):
                    x = x + ts.get_variable(f"v{j}", [8], initializer=ts.zeros_initializer())
        return x

    return chain


class Ten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for j in range(10):
            setattr(self, f"v{j}", nn.Parameter(torch.zeros(8)))

    def forward(self, x: Tensor) -> Tensor:
        for j in range(10):
            x = x + getattr(self, f"v{j}")
        return x


class Chain(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Ten() for _ in range(count // 10))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


# ---- many variables ----------------------------------------------------------------------------


def make_by_scopes(count: int) -> ts.VariableStore:
    with ts.VariableStore() as store:
        for i in range(100):
            with ts.variable_scope(f"scope{i}"):
                for j in range(count // 100):
                    ts.get_variable(f"v{j}", [8], initializer=ts.zeros_initializer())
    return store


def make_modules(count: int) -> nn.Module:
    net = nn.Module()
    for i in range(100):
        scope = nn.Module()
        net.add_module(f"scope{i}", scope)
        for j in range(count // 100):
            setattr(scope, f"v{j}", nn.Parameter(torch.zeros(8)))
    return net


def make_dict(count: int) -> nn.ParameterDict:
    params = nn.ParameterDict()
    for i in range(100):
        for j in range(count // 100):
            params[f"scope{i}/v{j}"] = nn.Parameter(torch.zeros(8))
    return params
