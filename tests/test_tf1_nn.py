"""nn, losses, image, clipping: compiled, on meta, in bfloat16, under vmap; what they refuse.

What they compute is held to TensorFlow's record by test_tf1_conformance.py.
"""

import functools
import importlib
import inspect
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as torch's documentation writes it
import torch.utils._pytree as pytree
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import torchscope as ts
import torchscope.tf1 as tf

MODULES = {
    "nn": (
        *("activations", "convolution", "cross_entropy", "dropout", "embedding", "linear"),
        *("normalization", "pooling", "ranking", "sampled"),
    ),
    "image": ("color", "geometry", "patches", "resize"),
}
NAMES = [
    f"{space}.{name}"
    for space, modules in MODULES.items()
    for module in modules
    for name in importlib.import_module(f"torchscope.tf1.{space}.{module}").__all__
]
NAMES += [f"losses.{name}" for name in tf.losses.__all__]
NAMES += importlib.import_module("torchscope.tf1.clipping").__all__


def thing(name: str) -> Any:
    return functools.reduce(getattr, name.split("."), tf)


def some(x: Tensor, *shape: int) -> Tensor:
    """Different numbers between -1 and 1, of the dtype and device of x."""
    return torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape).to(x)


def vector(x: Tensor) -> Tensor:
    return x[0, 0, 0]


def rows(x: Tensor) -> Tensor:
    return x.flatten(1)  # [2, 48]


def classes(x: Tensor) -> Tensor:
    return tf.to_int32(x[:, 0, 0, 0] * 5)


def sp(x: Tensor, values: Any) -> tf.SparseTensor:
    return tf.SparseTensor([[0, 0], [0, 1], [1, 0]], values, [2, 2])


def sampled(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Drawn classes and their counts."""
    return torch.tensor([0, 3]), torch.full((2, 1), 0.4).to(x), torch.tensor([0.5, 0.2]).to(x)


LOSS_PAIRS = (
    *("absolute_difference", "mean_squared_error", "huber_loss", "log_loss", "hinge_loss"),
    *("mean_pairwise_squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy"),
)
# A call of each function on x, two images [4, 4, 3] with values between 0.2 and 0.9.
CALLS: dict[str, Callable[[Tensor], Any]] = {
    "nn.atrous_conv2d": lambda x: tf.nn.atrous_conv2d(x, some(x, 2, 2, 3, 2), 2, "SAME"),
    "nn.atrous_conv2d_transpose": lambda x: tf.nn.atrous_conv2d_transpose(
        x, some(x, 2, 2, 5, 3), [2, 6, 6, 5], 2, "VALID"
    ),
    "nn.bias_add": lambda x: tf.nn.bias_add(x, vector(x)),
    "nn.conv1d": lambda x: tf.nn.conv1d(x[0], some(x, 2, 3, 5), 2, "SAME"),
    "nn.conv2d": lambda x: tf.nn.conv2d(x, some(x, 3, 3, 3, 5), [1, 2, 2, 1], "SAME"),
    "nn.conv1d_transpose": lambda x: tf.nn.conv1d_transpose(x[0], some(x, 2, 5, 3), [4, 8, 5], 2),
    "nn.conv2d_transpose": lambda x: tf.nn.conv2d_transpose(
        x, some(x, 3, 3, 5, 3), [2, 8, 8, 5], [1, 2, 2, 1]
    ),
    "nn.conv3d": lambda x: tf.nn.conv3d(x[None], some(x, 2, 2, 2, 3, 5), [1, 1, 1, 1, 1], "SAME"),
    "nn.conv3d_transpose": lambda x: tf.nn.conv3d_transpose(
        x[None], some(x, 2, 2, 2, 5, 3), [1, 4, 4, 8, 5], [1, 2, 1, 2, 1]
    ),
    "nn.convolution": lambda x: tf.nn.convolution(x, some(x, 2, 2, 3, 5), "SAME"),
    "nn.deconv2d": lambda x: tf.nn.deconv2d(
        x, some(x, 2, 2, 5, 3), [2, 8, 8, 5], strides=[1, 2, 2, 1]
    ),
    **{
        f"nn.{name}": lambda x, name=name: getattr(tf.nn, name)(
            x, some(x, 2, 2, 3, 2), [1, 1, 1, 1], "SAME"
        )
        for name in ("depthwise_conv2d", "depthwise_conv2d_native")
    },
    "nn.separable_conv2d": lambda x: tf.nn.separable_conv2d(
        x, some(x, 2, 2, 3, 2), some(x, 1, 1, 6, 5), [1, 1, 1, 1], "SAME"
    ),
    "nn.dropout": lambda x: tf.nn.dropout(x, 1.0),
    "nn.embedding_lookup": lambda x: tf.nn.embedding_lookup(rows(x), classes(x) % 2, max_norm=1.5),
    "nn.l2_loss": lambda x: tf.nn.l2_loss(x),
    "nn.relu_layer": lambda x: tf.nn.relu_layer(x[0, 0], some(x, 3, 5), some(x, 5)),
    "nn.xw_plus_b": lambda x: tf.nn.xw_plus_b(x[0, 0], some(x, 3, 5), some(x, 5)),
    "nn.log_poisson_loss": lambda x: tf.nn.log_poisson_loss(x * 3, x, compute_full_loss=True),
    "nn.sigmoid_cross_entropy_with_logits": lambda x: tf.nn.sigmoid_cross_entropy_with_logits(
        labels=x, logits=x * 2
    ),
    "nn.softmax_cross_entropy_with_logits": lambda x: tf.nn.softmax_cross_entropy_with_logits(
        labels=some(x, *x.shape).softmax(-1), logits=x * 2
    ),
    "nn.softmax_cross_entropy_with_logits_v2": lambda x: tf.nn.softmax_cross_entropy_with_logits_v2(
        tf.nn.softmax(x), x * 2
    ),
    "nn.sparse_softmax_cross_entropy_with_logits": lambda x: (
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes(x), logits=rows(x))
    ),
    "nn.weighted_cross_entropy_with_logits": lambda x: tf.nn.weighted_cross_entropy_with_logits(
        x, x * 2, 3.0
    ),
    "nn.batch_norm_with_global_normalization": lambda x: tf.nn.batch_norm_with_global_normalization(
        x, vector(x), vector(x), vector(x), vector(x), 1e-3, True
    ),
    "nn.batch_normalization": lambda x: tf.nn.batch_normalization(
        x, vector(x), vector(x), None, vector(x), 1e-3
    ),
    "nn.fused_batch_norm": lambda x: tf.nn.fused_batch_norm(x, some(x, 3) + 2, some(x, 3)),
    "nn.l2_normalize": lambda x: tf.nn.l2_normalize(x, -1),
    "nn.moments": lambda x: tf.nn.moments(x, [1, 2]),
    "nn.weighted_moments": lambda x: tf.nn.weighted_moments(x, [1, 2], x[:, :, :1]),
    **{
        f"nn.{kind}_pool{rank}": lambda x, kind=kind, rank=rank: getattr(
            tf.nn, f"{kind}_pool{rank}"
        )({"1d": x[0], "3d": x[None]}.get(rank, x), 3, 2, "SAME")
        for kind in ("max", "avg")
        for rank in ("", "1d", "2d", "3d")
    },
    "nn.pool": lambda x: tf.nn.pool(x, [2, 2], "AVG", "VALID", dilation_rate=[2, 1]),
    "nn.max_pool_with_argmax": lambda x: tf.nn.max_pool_with_argmax(x, 3, 2, "SAME"),
    "nn.in_top_k": lambda x: tf.nn.in_top_k(tf.to_float(rows(x)), classes(x), 20),
    "nn.top_k": lambda x: tf.nn.top_k(x, 2),
    **{
        f"nn.{name}": lambda x, name=name: getattr(tf.nn, name)(
            some(x, 4, 48), some(x, 4), classes(x)[:, None] % 4, rows(x), 2, 4, 1, sampled(x)
        )
        for name in ("nce_loss", "sampled_softmax_loss")
    },
    "image.adjust_brightness": lambda x: tf.image.adjust_brightness(x, 0.1),
    "image.adjust_contrast": lambda x: tf.image.adjust_contrast(x, 0.5),
    "image.adjust_hue": lambda x: tf.image.adjust_hue(x, 0.1),
    "image.adjust_saturation": lambda x: tf.image.adjust_saturation(x, 0.5),
    "image.central_crop": lambda x: tf.image.central_crop(x, 0.5),
    "image.convert_image_dtype": lambda x: tf.image.convert_image_dtype(x, tf.uint8),
    "image.crop_and_resize": lambda x: tf.image.crop_and_resize(
        x, [[0.1, 0.2, 0.7, 0.6]], [1], [3, 2]
    ),
    "image.crop_to_bounding_box": lambda x: tf.image.crop_to_bounding_box(x, 1, 0, 2, 3),
    "image.extract_image_patches": lambda x: tf.image.extract_image_patches(
        x, [1, 2, 2, 1], [1, 1, 2, 1], [1, 2, 1, 1], "SAME"
    ),
    "image.grayscale_to_rgb": lambda x: tf.image.grayscale_to_rgb(x[..., :1]),
    "image.pad_to_bounding_box": lambda x: tf.image.pad_to_bounding_box(x, 1, 0, 6, 5),
    "image.resize_image_with_crop_or_pad": lambda x: tf.image.resize_image_with_crop_or_pad(
        x, 3, 7
    ),
    **{
        f"image.resize_{how}": lambda x, how=how: getattr(tf.image, f"resize_{how}")(x, [3, 7])
        for how in ("area", "bicubic", "bilinear", "images", "nearest_neighbor")
    },
    **{
        f"losses.{name}": lambda x, name=name: getattr(tf.losses, name)(
            some(x, 2, 48).softmax(-1), rows(x), loss_collection=None
        )
        for name in LOSS_PAIRS
    },
    "losses.cosine_distance": lambda x: tf.losses.cosine_distance(
        x, x * x, -1, loss_collection=None
    ),
    "losses.sparse_softmax_cross_entropy": lambda x: tf.losses.sparse_softmax_cross_entropy(
        classes(x)[:, None], rows(x), [1.0, 0.0], loss_collection=None
    ),
    "losses.compute_weighted_loss": lambda x: tf.losses.compute_weighted_loss(
        x, x[:, :1, :1], loss_collection=None, reduction=tf.losses.Reduction.MEAN
    ),
    "clip_by_average_norm": lambda x: tf.clip_by_average_norm(x, 0.01),
    "clip_by_global_norm": lambda x: tf.clip_by_global_norm([x, vector(x)], 1.0),
    "clip_by_norm": lambda x: tf.clip_by_norm(x, 0.5, [1, 2]),
    "global_norm": lambda x: tf.global_norm([x, vector(x)]),
}
# Those that draw, or whose result's size depends on values, or that need a pass.
OTHERS: dict[str, Callable[[Tensor], Any]] = {
    **{
        f"nn.{name}_candidate_sampler": lambda x, name=name: getattr(
            tf.nn, f"{name}_candidate_sampler"
        )(classes(x)[:, None], 1, 3, True, 5)
        for name in ("log_uniform", "uniform")
    },
    "nn.fixed_unigram_candidate_sampler": lambda x: tf.nn.fixed_unigram_candidate_sampler(
        classes(x)[:, None], 1, 3, True, 5, unigrams=[5, 4, 3, 2, 1]
    ),
    "nn.embedding_lookup_sparse": lambda x: tf.nn.embedding_lookup_sparse(
        rows(x), sp(x, [0, 1, 0]), sp(x, vector(x)), combiner="sqrtn"
    ),
    "image.random_brightness": lambda x: tf.image.random_brightness(x, 0.5),
    "image.random_contrast": lambda x: tf.image.random_contrast(x, 0.5, 2.0),
    "image.random_flip_left_right": lambda x: tf.image.random_flip_left_right(x),
    "image.random_flip_up_down": lambda x: tf.image.random_flip_up_down(x),
    "image.random_hue": lambda x: tf.image.random_hue(x, 0.2),
    "image.random_saturation": lambda x: tf.image.random_saturation(x, 0.5, 2.0),
    "losses.add_loss": lambda x: tf.losses.add_loss(x.sum()) or x,
    "losses.get_losses": lambda x: tf.losses.add_loss(x.sum()) or tf.losses.get_losses(),
    "losses.get_regularization_loss": lambda x: tf.losses.get_regularization_loss(),
    "losses.get_regularization_losses": lambda x: [x, *tf.losses.get_regularization_losses()],
    "losses.get_total_loss": lambda x: tf.losses.add_loss(x.sum()) or tf.losses.get_total_loss(),
}
# Without second names, such as `lrn`, and without classes.
NAMES = sorted(
    name
    for name in NAMES
    if inspect.isfunction(thing(name)) and thing(name).__name__ == name.rpartition(".")[2]
)
CALLS |= {  # those of one operand
    name: functools.partial(thing(name)) for name in NAMES if name not in {*CALLS, *OTHERS}
}
# These compute in float32, whatever they get.
IN_FLOAT32 = ("losses.", "image.resize", "image.crop_and_resize", "image.per_image", "nn.in_top_k")


@pytest.fixture
def x() -> Tensor:
    values = torch.linspace(0.2, 0.9, 96)
    return values[torch.randperm(96, generator=torch.Generator().manual_seed(0))].reshape(
        2, 4, 4, 3
    )


def tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize("name", NAMES)
def test_every_function_takes_a_name_and_no_unknown_keyword(name: str):
    parameters = inspect.signature(thing(name)).parameters
    assert "name" in parameters or name.startswith(("losses.", "image."))
    assert all(p.kind is not p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_function_says_in_one_sentence_what_it_does(name: str):
    docstring = inspect.getdoc(thing(name)) or ""
    first, _, rest = docstring.partition("\n")
    assert first.endswith(".")
    assert "Torch" not in rest or "\n\nTorch: " in docstring


@pytest.mark.parametrize("name", [*CALLS, *OTHERS])
def test_a_function_runs(name: str, x: Tensor, store: ts.VariableStore):
    assert tensors({**CALLS, **OTHERS}[name](x))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_function_compiles_into_one_graph(name: str, dynamic: bool, x: Tensor):
    torch._dynamo.reset()
    compiled = torch.compile(CALLS[name], fullgraph=True, backend="eager", dynamic=dynamic)
    torch.testing.assert_close(compiled(x), CALLS[name](x), rtol=0, atol=0)


@pytest.mark.parametrize("name", CALLS)
def test_on_meta_a_function_gives_the_same_shapes_and_dtypes(name: str, x: Tensor):
    with torch.device("meta"):
        found = tensors(CALLS[name](x.to("meta")))
    wanted = tensors(CALLS[name](x))
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in wanted]
    assert all(one.is_meta for one in found)


@pytest.mark.parametrize("name", CALLS)
def test_under_vmap_a_function_is_that_of_each(name: str, x: Tensor):
    both = torch.stack([x, x.flip(0)])
    found = tensors(torch.vmap(CALLS[name])(both))
    wanted = zip(*(tensors(CALLS[name](one)) for one in both), strict=True)
    torch.testing.assert_close(found, [torch.stack(pair) for pair in wanted])


@pytest.mark.parametrize("name", CALLS)
def test_in_bfloat16_a_function_is_nearly_the_same(name: str, x: Tensor):
    x = x.bfloat16()
    for found, wanted in zip(tensors(CALLS[name](x)), tensors(CALLS[name](x.float())), strict=True):
        torch.testing.assert_close(found.to(wanted.dtype), wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith(IN_FLOAT32)])
def test_the_gradient_is_the_slope(name: str, x: Tensor):
    def differentiable(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(y for y in tensors(CALLS[name](x)) if y.requires_grad and y.dtype is x.dtype)

    x = x.double().requires_grad_()
    if differentiable(x):
        assert torch.autograd.gradcheck(differentiable, x)


# ---- convolutions and pools ------------------------------------------------------------------


def windows(x: Tensor, window: Any, strides: Any, rates: Any, same: bool, fill: float) -> Tensor:
    """[N, ..., C] as [N, ..., pixels of a window, C], by TensorFlow's definition of SAME."""
    rank = len(window)
    for axis in range(rank):
        size, k, s, d = x.shape[2 * axis + 1], window[axis], strides[axis], rates[axis]
        span = (k - 1) * d + 1
        total = max((-(-size // s) - 1) * s + span - size, 0) if same else 0
        pads = [0, 0] * (x.ndim - 2 - 2 * axis) + [total // 2, total - total // 2]
        x = F.pad(x, pads, value=fill)
        starts = torch.arange(0, size + total - span + 1, s)
        pixels = starts[:, None] + torch.arange(k) * d
        x = x.index_select(2 * axis + 1, pixels.flatten()).unflatten(2 * axis + 1, pixels.shape)
    order = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
    return x.permute(order).flatten(rank + 1, 2 * rank)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes, a window, strides and dilations of one to three axes, with few channels."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    few = st.lists(st.integers(1, 4), min_size=rank, max_size=rank)
    window, strides, rates, more = draw(few), draw(few), draw(few), draw(few)
    same = draw(st.booleans())
    spans = [(k - 1) * d for k, d in zip(window, rates, strict=True)]
    return {
        "sizes": more if same else [m + span for m, span in zip(more, spans, strict=True)],
        "window": window,
        "strides": strides,
        "rates": rates,
        "same": same,
        "batch": draw(st.integers(1, 2)),
        "channels": draw(st.integers(1, 2)),
        "out": draw(st.integers(1, 2)),
        "first": draw(st.booleans()),
    }


def all_gradients(result: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """The result, its gradients, and those of their squares."""
    weights = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
    first = torch.autograd.grad((result * weights).sum(), inputs, create_graph=True)
    # The inputs are added so that the gradient of a linear function has one, too.
    squares = sum((g.square().sum() + 0 * x.sum() for g, x in zip(first, inputs, strict=True)))
    return [result, *first, *torch.autograd.grad(squares, inputs)]


@given(geometries(), st.sampled_from(["convolve", "max", "avg"]))
@settings(max_examples=150)
def test_what_is_under_a_window_is_what_the_definition_says(g: dict[str, Any], what: str):
    rank, padding = len(g["sizes"]), "SAME" if g["same"] else "VALID"
    data_format = [None, "NCW", "NCHW", "NCDHW"][rank] if g["first"] else None
    image = torch.randn(g["batch"], *g["sizes"], g["channels"], requires_grad=True)
    kernel = torch.randn(*g["window"], g["channels"], g["out"], requires_grad=True)
    x = image.movedim(-1, 1) if g["first"] else image
    if what == "convolve":
        inputs = [image, kernel]
        steps = g["strides"] if max(g["rates"]) == 1 else [1] * rank
        y = tf.nn.convolution(x, kernel, padding, steps, g["rates"], data_format=data_format)
        parts = windows(image, g["window"], steps, g["rates"], g["same"], 0)
        wanted = torch.einsum("...kc,kcd->...d", parts, kernel.flatten(0, rank - 1))
    else:
        inputs, steps = [image], list(map(min, g["strides"], g["window"]))
        y = tf.nn.pool(x, g["window"], what.upper(), padding, None, steps, None, data_format)
        fill = -torch.inf if what == "max" else torch.nan
        parts = windows(image, g["window"], steps, [1] * rank, g["same"], fill)
        wanted = parts.amax(-2) if what == "max" else parts.nanmean(-2)
    y = y.movedim(1, -1) if g["first"] else y
    torch.testing.assert_close(
        all_gradients(y, inputs), all_gradients(wanted, inputs), rtol=1e-4, atol=1e-4
    )


@given(geometries())
@settings(max_examples=100)
def test_a_transposed_convolution_is_the_gradient_of_one(g: dict[str, Any]):
    rank, padding = len(g["sizes"]), "SAME" if g["same"] else "VALID"
    function = getattr(tf.nn, f"conv{rank}d_transpose")
    kernel = torch.randn(*g["window"], g["out"], g["channels"], requires_grad=True)
    image = torch.zeros(g["batch"], *g["sizes"], g["out"], requires_grad=True)
    parts = windows(image, g["window"], g["strides"], g["rates"], g["same"], 0)
    small = torch.einsum("...kc,kcd->...d", parts, kernel.flatten(0, rank - 1))
    x = torch.randn(small.shape, requires_grad=True)
    (wanted,) = torch.autograd.grad(small, image, x, create_graph=True)
    shape = [1, *g["strides"], 1]
    y = function(x, kernel, image.shape, shape, padding, dilations=[1, *g["rates"], 1])
    torch.testing.assert_close(
        all_gradients(y, [x, kernel]), all_gradients(wanted, [x, kernel]), rtol=1e-4, atol=1e-4
    )


# Where torch 2.13 goes wrong by itself: see torchscope/tf1/nn/_convolve.py.
FOREIGN = [((2, 5, 5, 1), (3, 3, 1, 1), (1, 3)), ((3, 4, 7, 1), (2, 5, 1, 8), (1, 4))]
FAILING = [((1, 5, 5, 2), (3, 3, 2, 1), (1, 1)), ((1, 4, 4, 3), (2, 2, 3, 1), (2, 2))]


@pytest.mark.parametrize("shapes", [*FOREIGN, *FAILING])
def test_the_faults_of_torch_do_not_reach_the_user(shapes: Any):
    size, window, strides = shapes
    x = torch.randn(size, requires_grad=True)
    kernel = torch.randn(window, requires_grad=True)
    parts = windows(x, window[:2], strides, (1, 1), False, 0)
    wanted = torch.einsum("...kc,kcd->...d", parts, kernel.flatten(0, 1))
    y = tf.nn.conv2d(x, kernel, [1, *strides, 1], "VALID")
    torch.testing.assert_close(all_gradients(y, [x, kernel]), all_gradients(wanted, [x, kernel]))


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="oneDNN's fault with AVX-512"
)
@pytest.mark.parametrize("shapes", FOREIGN)
def test_the_first_fault_is_still_there(shapes: Any):
    """If this fails, torch is right by itself: take the detour out of _convolve."""
    size, window, strides = shapes
    x, kernel = torch.randn(size).movedim(-1, 1), torch.randn(window).permute(3, 2, 0, 1)
    found = F.conv2d(x, kernel, stride=strides)
    assert not torch.allclose(found.double(), F.conv2d(x.double(), kernel.double(), stride=strides))


@pytest.mark.parametrize("shapes", FAILING)
def test_the_second_fault_is_still_there(shapes: Any):
    """If this fails, torch is right by itself: take the copy out of _convolve."""
    size, window, strides = shapes
    kernel = torch.randn(window, requires_grad=True)
    y = F.conv2d(torch.randn(size).movedim(-1, 1), kernel.permute(3, 2, 0, 1), stride=strides)
    with pytest.raises(RuntimeError, match="grad_weight"):
        y.sum().backward()


POINTS = """
import torch
import torchscope.tf1 as tf

torch.set_num_threads(2)
for case in range(60):
    images = torch.randn(5, 14, 14, 8, requires_grad=True)
    kernel = torch.randn(1, 1, 8, 16, requires_grad=True)
    y = tf.nn.conv2d(images, kernel, [1, 2, 2, 1], "SAME")
    torch.autograd.grad(y.square().sum(), [images, kernel])
    kernel = torch.randn(1, 1, 3, 8, requires_grad=True)
    y = tf.nn.conv2d_transpose(images, kernel, [5, 28, 28, 3], [1, 2, 2, 1], "SAME")
    torch.autograd.grad(y.square().sum(), [images, kernel])
"""


def test_a_window_of_one_pixel_at_a_stride_destroys_no_memory():
    """In a process of its own, in which oneDNN's memory changes hands often: it would crash."""
    environment = {**os.environ, "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1"}
    subprocess.run([sys.executable, "-c", POINTS], env=environment, check=True)


@pytest.mark.parametrize(
    ("size", "strides"), [((5, 8), (2, 3)), ((1, 7), (1, 2)), ((4, 4), (5, 5))]
)
@pytest.mark.parametrize("padding", [[(0, 0), (0, 0)], [(1, 0), (2, 2)]])
def test_a_window_of_one_pixel_skips_pixels(
    size: tuple[int, int], strides: tuple[int, int], padding: list[tuple[int, int]]
):
    x = torch.randn(2, *size, 3, requires_grad=True)
    kernel = torch.randn(1, 1, 3, 4, requires_grad=True)
    (top, bottom), (left, right) = padding
    padded = F.pad(x, [0, 0, left, right, top, bottom])
    wanted = padded[:, :: strides[0], :: strides[1]] @ kernel[0, 0]
    y = tf.nn.conv2d(x, kernel, [1, *strides, 1], [(0, 0), *padding, (0, 0)])
    torch.testing.assert_close(all_gradients(y, [x, kernel]), all_gradients(wanted, [x, kernel]))
    again = tf.nn.conv2d_transpose(y, kernel, [*padded.shape], [1, *strides, 1], "VALID")
    apart = torch.zeros_like(padded)
    apart[:, :: strides[0], :: strides[1]] = y @ kernel[0, 0].t()
    torch.testing.assert_close(again, apart)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_large_kernel_is_turned_at_once(transposed: bool):
    x = torch.randn(2, 5, 5, 64, requires_grad=True)
    kernel = torch.randn(3, 3, 64, 72 if not transposed else 64, requires_grad=True)
    if transposed:
        y = tf.nn.conv2d_transpose(x, kernel, [2, 11, 11, 64], [1, 2, 2, 1], "VALID")
        plain = F.conv_transpose2d
    else:
        y = tf.nn.conv2d(x, kernel, [1, 2, 2, 1], "VALID")
        plain = F.conv2d
    torch_kernel = kernel.permute(3, 2, 0, 1).contiguous()
    wanted = plain(x.movedim(-1, 1).contiguous(), torch_kernel, stride=2).movedim(1, -1)
    torch.testing.assert_close(
        all_gradients(y, [x, kernel]), all_gradients(wanted, [x, kernel]), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("batch", [False, True])
def test_argmax_of_a_pool_finds_its_values_in_the_flat_images(padding: str, batch: bool):
    x = torch.randn(2, 5, 7, 3)
    y, index = tf.nn.max_pool_with_argmax(
        x, [1, 3, 2, 1], [1, 2, 2, 1], padding, include_batch_in_index=batch, Targmax=tf.int32
    )
    assert index.dtype is torch.int32
    flat = x.flatten() if batch else x.flatten(1)
    places = index.long().flatten() if batch else index.long().flatten(1)
    torch.testing.assert_close(flat.gather(-1, places).view_as(y), y, rtol=0, atol=0)
    wanted = tf.nn.max_pool(x, [1, 3, 2, 1], [1, 2, 2, 1], padding)
    torch.testing.assert_close(y, wanted, rtol=0, atol=0)


def test_explicit_padding_is_taken_axis_by_axis():
    x, kernel = torch.randn(1, 4, 5, 2), torch.randn(3, 3, 2, 2)
    y = tf.nn.conv2d(x, kernel, 1, [[0, 0], [1, 0], [2, 1], [0, 0]])
    wanted = tf.nn.conv2d(F.pad(x, [0, 0, 2, 1, 1, 0]), kernel, 1, "VALID")
    torch.testing.assert_close(y, wanted)


# ---- gradients -------------------------------------------------------------------------------


def test_softmax_cross_entropy_differentiates_to_softmax_minus_labels():
    logits = torch.randn(3, 4, requires_grad=True)
    labels = torch.rand(3, 4, requires_grad=True)  # they do not sum to 1
    loss = tf.nn.softmax_cross_entropy_with_logits_v2(labels, logits)
    of_labels, of_logits = torch.autograd.grad(loss.sum(), [labels, logits])
    torch.testing.assert_close(of_logits, logits.softmax(-1) - labels)
    torch.testing.assert_close(of_labels, -logits.log_softmax(-1))
    loss = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    (of_logits,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(of_logits, logits.softmax(-1) - labels)


def test_the_variance_of_moments_takes_the_mean_for_a_constant():
    x = torch.randn(5, requires_grad=True)
    (first,) = torch.autograd.grad(tf.nn.moments(x, 0)[1], x, create_graph=True)
    (second,) = torch.autograd.grad(first[0], x)
    torch.testing.assert_close(second, torch.tensor([2 / 5, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("name", "slope"), [("relu", 0), ("relu6", 0), ("selu", 1.0507), ("elu", 1)]
)
def test_the_slope_at_zero(name: str, slope: float):
    x = torch.zeros((), requires_grad=True)
    thing(f"nn.{name}")(x).backward()
    torch.testing.assert_close(x.grad, torch.tensor(float(slope)), rtol=1e-4, atol=0)


def test_averages_that_move_later_do_not_change_a_gradient():
    x, average = torch.randn(2, 3, 3, 4, requires_grad=True), torch.zeros(4)
    ones = torch.ones(4)

    def gradient(move: bool) -> Tensor:
        mean = average.clone()
        scale = torch.ones(4, requires_grad=True)
        y, *_ = tf.nn.fused_batch_norm(x, scale, ones, mean, ones, is_training=False)
        if move:
            mean.add_(1.0)
        return torch.autograd.grad(y.square().sum(), scale)[0]

    torch.testing.assert_close(gradient(move=True), gradient(move=False))


# ---- embeddings, clipping, dropout -----------------------------------------------------------


@pytest.mark.parametrize(("strategy", "parts"), [("mod", [3, 2, 2]), ("div", [3, 2, 2])])
def test_a_table_in_parts_is_the_table(strategy: str, parts: list[int]):
    table = torch.randn(7, 2)
    split = [table[i::3] for i in range(3)] if strategy == "mod" else list(table.split(parts))
    found = tf.nn.embedding_lookup(split, torch.arange(7), strategy)
    torch.testing.assert_close(found, table)
    with pytest.raises(IndexError, match="ids from 7 to 7"):
        tf.nn.embedding_lookup(split, [7], strategy)


def test_the_rows_of_a_vector_are_numbers():
    parts = [torch.tensor([0.0, 2.0]), torch.tensor([1.0])]
    assert tf.nn.embedding_lookup(parts, 2).tolist() == 2.0
    assert tf.nn.embedding_lookup(parts, [[2], [1]]).tolist() == [[2.0], [1.0]]


def test_a_norm_clipped_to_zero_leaves_zeros():
    for function in (tf.clip_by_norm, tf.clip_by_average_norm):
        assert function(torch.tensor([3.0, 4.0]), 0.0).tolist() == [0.0, 0.0]
    (clipped,), norm = tf.clip_by_global_norm([torch.tensor([3.0, 4.0])], 0)
    assert (clipped.tolist(), float(norm)) == ([0.0, 0.0], 5.0)


def test_images_resize_as_tensorflow_did():
    x = torch.tensor([56.0, 112.0, 188.0, 110.0]).reshape(1, 4, 1, 1)
    wide = tf.image.resize_images(x, [5, 2], "area", align_corners=True)
    rows = [56.0, 93.333336, 137.33334, 188.0, 110.0]
    torch.testing.assert_close(wide[0, :, :, 0], torch.tensor([rows, rows]).T)
    for name, method in [("bilinear", 0), ("nearest", 1), ("bicubic", 2), ("area", 3)]:
        given = [tf.image.resize_images(x, [3, 2], m) for m in (name, method)]
        assert given[0].equal(given[1])
        half = tf.image.resize_images(x.half(), [3, 2], method)
        assert half.dtype is (tf.float16 if name == "nearest" else tf.float32)


def test_labels_of_any_dtype_are_a_distribution():
    logits = torch.tensor([[0.5, -1.0, 2.0]])
    labels = torch.tensor([[0, 0, 1]])
    for function in (
        tf.nn.softmax_cross_entropy_with_logits,
        tf.nn.softmax_cross_entropy_with_logits_v2,
    ):
        for target in (labels, labels.double(), labels.bool()):
            y = function(labels=target, logits=logits)
            torch.testing.assert_close(y, -torch.log_softmax(logits, 1)[:, 2])


def test_the_total_variation_of_integers_is_one():
    x = torch.tensor([1, 5, 2, 4], dtype=torch.int32).reshape(2, 2, 1)
    y = tf.image.total_variation(x)
    assert (y.dtype, int(y)) == (torch.int32, 1 + 1 + 4 + 2)


@pytest.mark.parametrize("ids", [[4], [-1], [[0, 9]]])
def test_an_id_out_of_range_is_named(ids: Any):
    with pytest.raises(IndexError, match=r"embedding_lookup\(\): ids from .* a table of 4 rows"):
        tf.nn.embedding_lookup(torch.zeros(4, 3), ids)


@pytest.mark.parametrize("lookup", [tf.nn.embedding_lookup, tf.gather])
def test_gradients_come_as_rows_where_it_is_asked_for(lookup: Callable[..., Tensor]):
    table = torch.nn.Parameter(torch.randn(5, 2))
    ids = [1, 3, 3]
    (dense,) = torch.autograd.grad(lookup(table, ids).sum(), table)
    tf.train.sparse_gradients([("table", table)])
    (rows,) = torch.autograd.grad(lookup(table, ids).sum(), table)
    assert (dense.is_sparse, rows.is_sparse) == (False, True)
    assert rows._indices().tolist() == [[1, 3, 3]]
    torch.testing.assert_close(rows.to_dense(), dense)
    tf.train.sparse_gradients([("table", table)], enabled=False)
    assert not torch.autograd.grad(lookup(table, ids).sum(), table)[0].is_sparse


LOOKUPS = {
    "embedding_lookup_sparse": lambda table: tf.nn.embedding_lookup_sparse(
        table, tf.SparseTensor([[0, 0], [0, 1]], [2, 3], [1, 2]), None
    ),
    "sampled_softmax_loss": lambda table: tf.nn.sampled_softmax_loss(
        table, torch.zeros(6), torch.tensor([[2], [3]]), torch.ones(2, 2), 2, 6
    ),
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_whatever_looks_rows_up_gives_them_where_it_is_asked_for(name: str):
    table = torch.nn.Parameter(torch.randn(6, 2))
    for wanted in (False, True):
        tf.train.sparse_gradients([("table", table)], enabled=wanted)
        (gradient,) = torch.autograd.grad(LOOKUPS[name](table).sum(), table)
        assert gradient.is_sparse == wanted


def test_an_optimizer_of_torchs_takes_dense_gradients_after_one_of_tensorflows():
    net = ts.ScopedModule(lambda ids: tf.nn.embedding_lookup(tf.get_variable("w", [4, 2]), ids))
    net.build(torch.tensor([0]))
    tf.train.GradientDescentOptimizer(net.named_parameters(), 0.1)
    tf.train.sparse_gradients(net, enabled=False)
    net(torch.tensor([1, 1])).sum().backward()
    torch.optim.Adam(net.parameters()).step()


def test_what_is_no_variable_has_no_sparse_gradients():
    with pytest.raises(TypeError, match=r"sparse_gradients\(\): 3 is not a variable"):
        tf.train.sparse_gradients([3])


def test_an_optimizer_of_ones_own_computes_with_rows_as_with_dense_gradients():
    """As BERT's does: what is no clipping makes them dense, as in TensorFlow."""
    parts = [torch.tensor([[0, 2, 2]]), torch.tensor([[1.0], [3.0], [-5.0]]), (4, 1)]
    rows = torch.sparse_coo_tensor(*parts, check_invariants=True)
    dense, m = rows.to_dense(), torch.ones(4, 1)
    for compute in (
        lambda g: tf.multiply(0.9, m) + tf.multiply(0.1, g),
        lambda g: tf.multiply(0.9, m) + tf.multiply(0.1, tf.square(g)),
        lambda g: tf.where(m > 0, tf.check_numerics(g, "g"), m),
        lambda g: tf.reduce_mean(tf.stack([g, g]), 0),
        lambda g: tf.sign(g) / tf.sqrt(m),
    ):
        torch.testing.assert_close(compute(rows), compute(dense))


def test_clipped_by_value_rows_stay_rows():
    parts = [torch.tensor([[0, 2, 2]]), torch.tensor([[1.0], [3.0], [-5.0]]), (4, 1)]
    clipped = tf.clip_by_value(torch.sparse_coo_tensor(*parts, check_invariants=True), -2.0, 2.0)
    assert clipped._indices().tolist() == [[0, 2, 2]]
    assert clipped._values().tolist() == [[1], [2], [-2]]


def test_a_norm_takes_rows_as_they_come():
    parts = [torch.tensor([[0, 0]]), torch.tensor([[3.0], [4.0]]), (2, 1)]
    gradient = torch.sparse_coo_tensor(*parts, check_invariants=True)  # 7 if added up
    torch.testing.assert_close(tf.global_norm([gradient]), torch.tensor(5.0))
    (clipped, _), norm = tf.clip_by_global_norm([gradient, None], 1.0)
    assert norm == 5
    torch.testing.assert_close(clipped.to_dense(), torch.tensor([[1.4], [0.0]]))
    torch.testing.assert_close(tf.clip_by_norm(gradient, 1.0).to_dense(), clipped.to_dense())


def test_rows_of_two_lookups_are_not_added_up_before_their_norm_is_taken():
    table = torch.nn.Parameter(torch.ones(4, 1))
    tf.train.sparse_gradients([("table", table)])
    both = [tf.nn.embedding_lookup(table, ids).sum() for ids in ([0, 3], [3, 3])]
    (gradient,) = torch.autograd.grad(both[0] + both[1], table)
    assert gradient._indices().tolist() in ([[0, 3, 3, 3]], [[3, 3, 0, 3]])
    assert tf.global_norm([gradient]) == 2  # and not sqrt(10), nor sqrt(6)
    assert gradient.to_dense().tolist() == [[1], [0], [0], [3]]


def test_clipping_to_a_norm_of_zero_gives_zeros_and_a_zero_has_a_gradient():
    (clipped,), norm = tf.clip_by_global_norm([torch.tensor([3.0, 4.0])], 0.0)
    assert (clipped.tolist(), norm) == ([0.0, 0.0], 5)
    assert tf.clip_by_average_norm([3.0, 4.0], 0.0).tolist() == [0.0, 0.0]
    zeros = torch.zeros(2, requires_grad=True)
    tf.clip_by_average_norm(zeros, 0.5).sum().backward()
    assert zeros.grad is not None
    assert zeros.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("keep", [0.8, torch.tensor(0.8)])
def test_dropout_keeps_what_is_asked(keep: Any):
    y = tf.nn.dropout(torch.ones(100, 100), keep)
    torch.testing.assert_close(y.unique(), torch.tensor([0, 1.25]))
    assert 0.77 < (y > 0).float().mean() < 0.83
    rows = tf.nn.dropout(torch.ones(100, 7, 3), keep, noise_shape=[None, 1, 3])
    assert (rows == rows[:, :1]).all()


def test_sparse_ids_are_combined():
    table = torch.tensor([[1.0], [2.0], [4.0]])
    ids = tf.SparseTensor([[0, 0], [0, 1], [2, 0]], [0, 2, 1], [3, 2])
    weights = tf.SparseTensor([[0, 0], [0, 1], [2, 0]], [3.0, 1.0, 2.0], [3, 2])
    lookup = tf.nn.embedding_lookup_sparse
    assert lookup(table, ids, None).flatten().tolist() == [2.5, 0, 2]
    assert lookup(table, ids, None, combiner="sum").flatten().tolist() == [5, 0, 2]
    assert lookup(table, ids, weights).flatten()[[0, 2]].tolist() == [1.75, 2]
    root = lookup(table, ids, weights, combiner="sqrtn").flatten()[0]
    torch.testing.assert_close(root, torch.tensor(7 / 10**0.5))


# ---- sampled classes -------------------------------------------------------------------------

SAMPLERS = {
    "log_uniform": [0.4306765, 0.25192929, 0.17874542, 0.13864688],
    "uniform": [0.25] * 4,
    "fixed_unigram": [0.0, 0.5, 0.3, 0.2],
}


def draw(name: str, count: int, unique: bool) -> Any:
    more = {"unigrams": [5, 3, 2], "num_reserved_ids": 1} if name == "fixed_unigram" else {}
    sampler = thing(f"nn.{name}_candidate_sampler")
    return sampler(torch.tensor([[1]]), 1, count, unique, 4, **more)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_draws_by_its_law(name: str):
    drawn, true_count, counts = draw(name, 4000, unique=False)
    found = torch.bincount(drawn, minlength=4) / 4000
    shares = torch.tensor(SAMPLERS[name])
    torch.testing.assert_close(found, shares, rtol=0, atol=0.04)
    torch.testing.assert_close(true_count, 4000 * shares[None, 1:2], rtol=1e-4, atol=0)
    torch.testing.assert_close(counts, 4000 * shares[drawn], rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_different_candidates_are_drawn_until_there_are_enough(name: str):
    """As TensorFlow does; what it then expects is 1 - (1 - share) ** draws."""
    shares, turns = torch.tensor(SAMPLERS[name]), 500
    seen, expected = torch.zeros(2, 4), torch.zeros(2)
    for _ in range(turns):
        drawn, count, _ = draw(name, 2, unique=True)
        assert len(drawn.unique()) == 2
        seen[0, drawn] += 1 / turns
        expected[0] += count.item() / turns
        one_by_one = torch.multinomial(shares, 60, replacement=True)
        draws = int((one_by_one != one_by_one[0]).nonzero()[0]) + 1
        seen[1, one_by_one[:draws]] += 1 / turns
        expected[1] += (1 - (1 - shares[1]) ** draws) / turns
    torch.testing.assert_close(*seen, rtol=0, atol=0.12)
    torch.testing.assert_close(*expected, rtol=0, atol=0.05)


def test_a_softmax_over_a_sample_of_all_classes_is_the_softmax():
    weights, biases, x = torch.randn(5, 3), torch.randn(5), torch.randn(4, 3)
    labels = torch.tensor([[1], [0], [4], [1]])
    everything = torch.arange(5), torch.ones(4, 1), torch.ones(5)
    loss = tf.nn.sampled_softmax_loss(weights, biases, labels, x, 5, 5, sampled_values=everything)
    wanted = F.cross_entropy(x @ weights.T + biases, labels[:, 0], reduction="none")
    torch.testing.assert_close(loss, wanted)


def test_nce_is_logistic_regression_of_true_and_drawn_classes():
    weights, biases, x = torch.randn(5, 3), torch.randn(5), torch.randn(2, 3)
    drawn = torch.tensor([0, 2]), torch.full((2, 1), 0.5), torch.tensor([0.25, 0.125])
    loss = tf.nn.nce_loss(weights, biases, [[1], [4]], x, 2, 5, sampled_values=drawn)
    logits = x @ weights.T + biases
    true = logits[[0, 1], [1, 4]] - torch.tensor(0.5).log()
    others = logits[:, [0, 2]] - drawn[2].log()
    torch.testing.assert_close(loss, F.softplus(-true) + F.softplus(others).sum(1))


# ---- losses ----------------------------------------------------------------------------------


def test_losses_are_in_the_collection_of_the_pass(store: ts.VariableStore):
    def model(x: Tensor) -> Tensor:
        w = ts.get_variable("w", [2], regularizer=ts.l2_regularizer(0.5))
        with ts.variable_scope("head"):
            tf.losses.mean_squared_error(w * 0 + x, x + 2)
        tf.losses.absolute_difference(x, x + 3, loss_collection="mine")
        assert [len(tf.losses.get_losses(s)) for s in (None, "head", "body")] == [1, 1, 0]
        return tf.losses.get_total_loss() - tf.losses.get_regularization_loss()

    for _ in range(2):
        assert store(model, torch.zeros(2)) == 4


def test_a_total_of_no_losses_is_refused(store: ts.VariableStore):
    with pytest.raises(ValueError, match=r"get_total_loss\(\): this pass has no losses"):
        store(tf.losses.get_total_loss)


def test_a_total_of_losses_that_are_not_all_reduced_is_refused(store: ts.VariableStore):
    def model(x: Tensor) -> Tensor:
        tf.losses.mean_squared_error(x, x)
        tf.losses.absolute_difference(x, x, reduction="none")
        return tf.losses.get_total_loss()

    with pytest.raises(ValueError, match=r"shapes \[\[\], \[2\]\]"):
        store(model, torch.zeros(2))


def test_sequences_have_losses_by_example_and_by_step():
    logits, targets = torch.randn(2, 3, 5), torch.tensor([[0, 1, 2], [3, 4, 0]])
    weights = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    each = F.cross_entropy(logits.movedim(-1, 1), targets, reduction="none") * weights
    legacy, seq2seq = tf.contrib.legacy_seq2seq, tf.contrib.seq2seq
    steps = [list(part.unbind(1)) for part in (logits, targets, weights)]
    by_example = each.sum(1) / weights.sum(1)
    torch.testing.assert_close(legacy.sequence_loss_by_example(*steps), by_example)
    torch.testing.assert_close(legacy.sequence_loss(*steps), by_example.mean())
    torch.testing.assert_close(
        legacy.sequence_loss(*steps, average_across_batch=False), by_example.sum()
    )
    loss = seq2seq.sequence_loss
    torch.testing.assert_close(loss(logits, targets, weights), each.sum() / weights.sum())
    torch.testing.assert_close(loss(logits, targets, weights, False, False), each)
    torch.testing.assert_close(loss(logits, targets, weights, True, False), by_example)


# ---- images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(3, 7), (9, 5), (1, 4)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_aligned_corners_are_as_in_torch(how: str, size: tuple[int, int]):
    x = torch.rand(2, 4, 5, 3)
    wanted = F.interpolate(x.movedim(-1, 1), size, mode=how, align_corners=True).movedim(1, -1)
    tolerance = 1e-5 if how == "bilinear" else 2e-3  # TensorFlow's table of 1024 steps
    found = thing(f"image.resize_{how}")(x, size, align_corners=True)
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [(3, 7), (9, 5)])
def test_half_pixels_are_as_in_torch(size: tuple[int, int]):
    x = torch.rand(2, 4, 5, 3)
    wanted = F.interpolate(x.movedim(-1, 1), size, mode="bilinear").movedim(1, -1)
    found = tf.image.resize_bilinear(x, size, half_pixel_centers=True)
    torch.testing.assert_close(found, wanted)
    wanted = F.interpolate(x.movedim(-1, 1), size, mode="nearest-exact").movedim(1, -1)
    found = tf.image.resize_nearest_neighbor(x, size, half_pixel_centers=True)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [(2, 5), (4, 10), (8, 3)])
def test_areas_have_the_mean_of_the_image(size: tuple[int, int]):
    x = torch.rand(1, 8, 10, 3)
    found = tf.image.resize_area(x, size)
    torch.testing.assert_close(found.mean((1, 2)), x.mean((1, 2)))


def test_a_box_of_the_whole_image_resizes_with_aligned_corners():
    x = torch.rand(2, 4, 5, 3)
    found = tf.image.crop_and_resize(x, [[0.0, 0.0, 1.0, 1.0]] * 2, [0, 1], [7, 3])
    torch.testing.assert_close(found, tf.image.resize_bilinear(x, [7, 3], align_corners=True))
    found = tf.image.crop_and_resize(x, [[-1.0, 0.0, 0.0, 1.0]], [1], [2, 2], "nearest", 9)
    assert (found[0, 0] == 9).all()
    torch.testing.assert_close(found[0, 1], x[1, 0, [0, 4]])


def test_patches_hold_row_column_and_channel():
    x = torch.arange(32).reshape(1, 4, 4, 2)
    found = tf.extract_image_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID")
    assert found[0, 0, 0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_colors_turn_and_come_back(x: Tensor):
    torch.testing.assert_close(tf.image.hsv_to_rgb(tf.image.rgb_to_hsv(x)), x)
    torch.testing.assert_close(tf.image.adjust_hue(x, 1.0), x, rtol=1e-4, atol=1e-4)
    gray = tf.image.adjust_saturation(x, 0.0)
    torch.testing.assert_close(gray, x.amax(-1, keepdim=True).expand(x.shape))


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int32])
def test_a_converted_image_comes_back(dtype: torch.dtype):
    x = torch.tensor([0, 3, 255]).to(torch.uint8)
    there = tf.image.convert_image_dtype(x, tf.float32)
    assert there.max() == 1
    assert tf.image.convert_image_dtype(there, tf.uint8).equal(x)
    there = tf.image.convert_image_dtype(x, dtype)
    assert tf.image.convert_image_dtype(there, tf.uint8).equal(x)
    bright = tf.image.adjust_brightness(x, 0.5)
    assert bright.dtype is tf.uint8
    assert bright.max() == 255


# ---- what is refused -------------------------------------------------------------------------

IMAGE, KERNEL = torch.zeros(1, 4, 4, 3), torch.zeros(2, 2, 3, 5)
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tf.nn.conv2d(IMAGE[0], KERNEL, 1, "SAME"), ValueError, "input has to be of rank 4"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL[0], 1, "SAME"), ValueError, "filter has to be of rank 4"),
    (
        lambda: tf.nn.conv2d(IMAGE, KERNEL, 1, "SAME", data_format="NCHW"),
        ValueError,
        r"input has 4 channels and the filter takes 3",
    ),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, [1, 2, 2], "SAME"), ValueError, r"strides=\[1, 2, 2\]"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, [2, 1, 1, 1], "SAME"), ValueError, "1 for the batch"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, [1, 0, 1, 1], "SAME"), ValueError, "positive"),
    (
        lambda: tf.nn.conv2d(IMAGE, KERNEL, [1, 1.5, 1, 1], "SAME"),
        TypeError,
        r"strides\[1\] has to be an int",
    ),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, 1, "FULL"), ValueError, "padding='FULL'"),
    (
        lambda: tf.nn.conv2d(IMAGE, KERNEL, 1, "SAME", data_format="HWC"),
        ValueError,
        "data_format='HWC'",
    ),
    (
        lambda: tf.nn.conv2d(IMAGE[:, :1], KERNEL, 1, "VALID"),
        ValueError,
        "a window of 2 does not fit",
    ),
    (lambda: tf.nn.conv2d(IMAGE.int(), KERNEL.int(), 1, "SAME"), TypeError, "input is int32"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL.double(), 1, "SAME"), TypeError, "float32 and float64"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, 1, "SAME", filters=KERNEL), ValueError, "not both"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, 1, "SAME", strid=1), TypeError, "strid"),
    (
        lambda: tf.nn.convolution(IMAGE, KERNEL, "SAME", [2, 2], [2, 2]),
        ValueError,
        "dilation_rate > 1 cannot be combined",
    ),
    (
        lambda: tf.nn.conv2d_transpose(IMAGE, KERNEL.mT, [1, 9, 8, 3], [1, 2, 2, 1]),
        ValueError,
        "the filter takes 3|does not fit",
    ),
    (
        lambda: tf.nn.conv2d_transpose(IMAGE, KERNEL.mT, [1, 9, 8, 5], [1, 2, 2, 1]),
        ValueError,
        "does not take 9 pixels to 4",
    ),
    (
        lambda: tf.nn.conv2d_transpose(IMAGE, KERNEL.mT, [1, 8, 8], [1, 2, 2, 1]),
        ValueError,
        "has to have 4 sizes",
    ),
    (
        lambda: tf.nn.depthwise_conv2d(IMAGE, KERNEL, [1, 2, 2, 1], "SAME", [2, 2]),
        ValueError,
        "rate",
    ),
    (
        lambda: tf.nn.separable_conv2d(IMAGE, KERNEL, KERNEL, [1, 1, 1, 1], "SAME"),
        ValueError,
        "pointwise_filter has to be",
    ),
    (
        lambda: tf.nn.max_pool(IMAGE, [1, 2, 2, 2], 2, "SAME"),
        ValueError,
        "1 for the batch and the ch",
    ),
    (lambda: tf.nn.max_pool(IMAGE, 5, 2, "VALID"), ValueError, "a window of 5 does not fit into 4"),
    (lambda: tf.nn.avg_pool(IMAGE.int(), 2, 2, "SAME"), TypeError, "int32"),
    (
        lambda: tf.nn.max_pool_with_argmax(IMAGE, 2, 2, "SAME", "NCHW"),
        ValueError,
        "data_format='NCHW'",
    ),
    (lambda: tf.nn.pool(IMAGE, [2, 2], "SUM", "SAME"), ValueError, "'MAX' or 'AVG'"),
    (
        lambda: tf.nn.pool(IMAGE, [1, 2], "MAX", "SAME", strides=[2, 2]),
        ValueError,
        r"strides=\[2, 2\] are above window_shape=\[1, 2\]",
    ),
    (
        lambda: tf.nn.pool(IMAGE, [2, 2], "MAX", "SAME", dilation_rate=[1, 2]),
        ValueError,
        "needs strides of 1 and padding='VALID'",
    ),
    (lambda: tf.nn.dropout(IMAGE, rate="half"), ValueError, "rate=half; give a number"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, 1, "same"), ValueError, "padding='same'"),
    (lambda: tf.nn.conv2d(IMAGE, KERNEL, 1), TypeError, "give padding: 'SAME', 'VALID' or 4"),
    (
        lambda: tf.nn.conv2d(IMAGE, KERNEL, 1, [[1, 0], [1, 1], [1, 1], [0, 0]]),
        ValueError,
        "pads the batch or the channels",
    ),
    (lambda: tf.nn.avg_pool(IMAGE, 2, 2, "valid"), ValueError, "padding='valid'"),
    (lambda: tf.nn.atrous_conv2d(IMAGE, KERNEL, None, "SAME"), TypeError, "rate has to be an int"),
    (
        lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=IMAGE[0].int(), logits=IMAGE),
        ValueError,
        "one shape",
    ),
    (
        lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=IMAGE, logits=IMAGE),
        ValueError,
        "one axis more",
    ),
    (lambda: tf.nn.bias_add(IMAGE, [1.0, 2.0]), ValueError, r"a bias of \[2\]"),
    (lambda: tf.nn.xw_plus_b(IMAGE[0, 0], KERNEL[0, 0], [1.0]), ValueError, "xw_plus_b"),
    (lambda: tf.nn.relu(["a"]), TypeError, "features"),
    (lambda: tf.nn.elu([1, 2]), TypeError, "features is int32"),
    (lambda: tf.nn.softmax(IMAGE, 4), ValueError, "axis=4"),
    (lambda: tf.nn.softmax(IMAGE, axis=1, dim=1), ValueError, "not both"),
    (lambda: tf.nn.softmax(1.0), ValueError, "scalar"),
    (
        lambda: tf.nn.softmax_cross_entropy_with_logits(IMAGE, IMAGE),
        ValueError,
        "name the arguments",
    ),
    (
        lambda: tf.nn.softmax_cross_entropy_with_logits(labels=IMAGE, logits=IMAGE[0]),
        ValueError,
        "one shape",
    ),
    (
        lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=[0.0], logits=IMAGE[0, 0, :1]
        ),
        TypeError,
        "labels is float32",
    ),
    (
        lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=[1.0], logits=IMAGE),
        ValueError,
        "one shape",
    ),
    (lambda: tf.nn.l2_normalize(IMAGE, 7), ValueError, "axis=7"),
    (lambda: tf.nn.moments(IMAGE, [0, 0]), ValueError, "axis twice"),
    (lambda: tf.nn.lrn(IMAGE[0]), ValueError, "rank 4"),
    (
        lambda: tf.nn.fused_batch_norm(IMAGE, [1.0], [0.0]),
        ValueError,
        r"scale has to be \[3\], one for each channel",
    ),
    (
        lambda: tf.nn.fused_batch_norm(IMAGE, [1.0] * 3, [0.0] * 3, is_training=False),
        ValueError,
        "give mean and variance",
    ),
    (lambda: tf.nn.dropout(IMAGE, 0.0), ValueError, "keep_prob=0.0"),
    (lambda: tf.nn.dropout(IMAGE, rate=1.0), ValueError, "rate=1.0"),
    (lambda: tf.nn.dropout(IMAGE), ValueError, "give keep_prob or rate"),
    (lambda: tf.nn.dropout(IMAGE, 0.5, rate=0.5), ValueError, "give keep_prob or rate"),
    (lambda: tf.nn.dropout(IMAGE, 0.5, [2, 4, 4, 3]), ValueError, "noise_shape="),
    (lambda: tf.nn.embedding_lookup([], [0]), ValueError, "params is an empty list"),
    (lambda: tf.nn.embedding_lookup(IMAGE, [0.5]), TypeError, "ids is float32"),
    (lambda: tf.nn.embedding_lookup(IMAGE, [0], "row"), ValueError, "partition_strategy='row'"),
    (lambda: tf.nn.top_k(IMAGE, 4), ValueError, "k=4"),
    (lambda: tf.nn.in_top_k(IMAGE, [0], 1), ValueError, r"\[batch, classes\]"),
    (lambda: tf.clip_by_global_norm(IMAGE, 1.0), TypeError, "t_list has to be a list"),
    (lambda: tf.global_norm([[1, 2]]), TypeError, "int32"),
    (lambda: tf.losses.mean_squared_error(IMAGE, None), ValueError, "predictions is None"),
    (lambda: tf.losses.mean_squared_error(IMAGE, IMAGE[0]), ValueError, "one shape"),
    (lambda: tf.losses.log_loss(IMAGE, IMAGE, [1.0, 2.0]), ValueError, r"weights \[2\]"),
    (lambda: tf.losses.hinge_loss(IMAGE, IMAGE, reduction="mean"), ValueError, "'weighted_mean'"),
    (lambda: tf.image.resize_bilinear(IMAGE[0], [2, 2]), ValueError, "resize_images takes"),
    (lambda: tf.image.resize_images(IMAGE, 2), ValueError, "new height and width"),
    (lambda: tf.image.resize_images(IMAGE, [2, 2], 7), ValueError, "ResizeMethod"),
    (lambda: tf.image.adjust_hue(IMAGE[0, 0], 0.1), ValueError, "3 axes or more"),
    (lambda: tf.image.resize_bicubic(IMAGE, [2, 2], True, None, True), ValueError, "not both"),
    (lambda: tf.image.crop_to_bounding_box(IMAGE, 1, 1, 4, 1), ValueError, "not inside"),
    (lambda: tf.image.pad_to_bounding_box(IMAGE, 1, 1, 4, 6), ValueError, "not inside"),
    (lambda: tf.image.central_crop(IMAGE, 0.0), ValueError, "central_fraction=0.0"),
    (lambda: tf.image.flip_up_down(IMAGE[0, 0]), ValueError, "or a batch of these"),
    (lambda: tf.image.rgb_to_grayscale(IMAGE[..., :2]), ValueError, "3 channels"),
    (lambda: tf.image.random_contrast(IMAGE, 2.0, 1.0), ValueError, "lower=2.0"),
    (
        lambda: tf.nn.batch_normalization(IMAGE, [0.0] * 5, 1.0, None, None, 1e-3),
        ValueError,
        r"batch_normalization\(\): mean \[5\] does not fit",
    ),
    (
        lambda: tf.nn.batch_normalization(IMAGE, 0.0, 1.0, None, None, None),
        ValueError,
        "variance_epsilon is None",
    ),
    (lambda: tf.nn.lrn(IMAGE, 1.5), TypeError, "depth_radius has to be an int, not 1.5"),
    (
        lambda: tf.nn.weighted_cross_entropy_with_logits([[1.0]], [[1.0]], [1.0, 2.0]),
        ValueError,
        r"pos_weight \[2\] does not fit",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=itertools.count())
def test_bad_input_is_named(call: Callable[[], Any], kind: type[Exception], message: str):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert type(caught.value) is kind


def test_the_error_of_an_input_that_numpy_made_float64_says_how_to_keep_its_dtype():
    image, kernel = torch.ones(1, 2, 2, 3, dtype=torch.float64), torch.ones(1, 1, 3, 4)
    with pytest.raises(TypeError, match=r"float64 and float32.*tf\.subtract\(x, mean\)"):
        tf.nn.conv2d(image, kernel, [1, 1, 1, 1], "SAME")
