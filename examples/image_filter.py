"""Train one image filter on both images of a pair: do they show the same handwritten digit?

This is the example of TensorFlow 1's guide to sharing variables, ``conv_relu`` and
``my_image_filter``, on real data. Run it with one of

    python examples/image_filter.py --share=call     scope.reuse_variables() between the two
    python examples/image_filter.py --share=reuse    the same name again, with reuse=True
    python examples/image_filter.py --share=scope    the scope object entered again
    python examples/image_filter.py --share=none     two filters, which share nothing
    python examples/image_filter.py --compare        all four, one after the other
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor

import torchscope as ts

# ---- the model ---------------------------------------------------------------------------------


def conv_relu(x: Tensor, kernel_shape: list[int], bias_shape: list[int]) -> Tensor:
    """A convolution and a ReLU, with variables in whichever scope is open."""
    weights = ts.get_variable(
        "weights", kernel_shape, initializer=ts.random_normal_initializer(stddev=0.1)
    )
    biases = ts.get_variable("biases", bias_shape, initializer=ts.constant_initializer(0.0))
    return F.relu(F.conv2d(x, weights, biases, padding="same"))


def my_image_filter(images: Tensor) -> Tensor:
    """Two convolutions: ``[n, 1, 8, 8]`` becomes ``[n, 32, 8, 8]``."""
    with ts.variable_scope("conv1"):
        x = conv_relu(images, [32, 1, 5, 5], [32])
    with ts.variable_scope("conv2"):
        return conv_relu(x, [32, 32, 5, 5], [32])


def share_by_call(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
    """One filter: from ``reuse_variables()`` on, the scope returns what it has made."""
    with ts.variable_scope("model") as scope:
        y1 = my_image_filter(image1)
        scope.reuse_variables()
        y2 = my_image_filter(image2)
    return y1, y2


def share_by_reuse(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
    """One filter: the second time, the scope of that name only returns existing variables."""
    with ts.variable_scope("model"):
        y1 = my_image_filter(image1)
    with ts.variable_scope("model", reuse=True):
        y2 = my_image_filter(image2)
    return y1, y2


def share_by_scope(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
    """One filter: a scope object can be stored and entered again, from anywhere."""
    with ts.variable_scope("model") as scope:
        y1 = my_image_filter(image1)
    with ts.variable_scope(scope, reuse=True):
        y2 = my_image_filter(image2)
    return y1, y2


def share_none(image1: Tensor, image2: Tensor) -> tuple[Tensor, Tensor]:
    """Two filters: other names, other variables."""
    with ts.variable_scope("left"):
        y1 = my_image_filter(image1)
    with ts.variable_scope("right"):
        y2 = my_image_filter(image2)
    return y1, y2


SHARE = {
    "call": share_by_call,
    "reuse": share_by_reuse,
    "scope": share_by_scope,
    "none": share_none,
}


def same_digit(share: str, image1: Tensor, image2: Tensor) -> Tensor:
    """A number for each pair, above 0 where the two seem to show the same digit."""
    y1, y2 = SHARE[share](image1, image2)
    # What the filter finds in each quarter of the images, and how far apart that is.
    apart = (F.max_pool2d(y1, 4) - F.max_pool2d(y2, 4)).square().flatten(1)
    with ts.variable_scope("decision"):
        features = apart.shape[1]
        weights = ts.get_variable(
            "weights", [features], initializer=ts.constant_initializer(-1 / features)
        )
        bias = ts.get_variable("bias", [], initializer=ts.zeros_initializer())
    return apart @ weights + bias


def make_net(share: str, seed: int | None = None) -> ts.ScopedModule[..., Tensor]:
    """The model as an ``nn.Module``; its variables appear when it is called or built."""
    return ts.ScopedModule(functools.partial(same_digit, share), seed=seed)


# ---- the images --------------------------------------------------------------------------------


class Digits(NamedTuple):
    """Images ``[n, 1, 8, 8]`` with values from 0 to 1, and the digit that each shows."""

    images: Tensor
    labels: Tensor


class Pairs(NamedTuple):
    """Two images each, and whether they show the same digit."""

    image1: Tensor
    image2: Tensor
    same: Tensor


def load_images(held_out: int, device: str, seed: int) -> tuple[Digits, Digits]:
    """The images to train with, and those that are in no training pair."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit(
            "This example takes its images from scikit-learn, which is not installed:\n"
            "    python -m pip install scikit-learn"
        ) from None
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(seed))
    images = torch.as_tensor(digits.images, dtype=torch.float32)[order].unsqueeze(1) / 16
    labels = torch.as_tensor(digits.target)[order]
    images = images.to(device)
    return (
        Digits(images[held_out:], labels[held_out:]),
        Digits(images[:held_out], labels[:held_out]),
    )


def draw_pairs(digits: Digits, count: int, random: torch.Generator) -> Pairs:
    """Pairs of two images each, every other pair of the same digit."""
    images, labels = digits
    first = torch.randint(len(labels), (count,), generator=random)
    same = torch.arange(count) % 2 == 0
    allowed = (labels[first].unsqueeze(1) == labels) == same.unsqueeze(1)
    allowed[torch.arange(count), first] = False  # No image is paired with itself.
    second = torch.multinomial(allowed.float(), 1, generator=random).squeeze(1)
    return Pairs(images[first], images[second], same.to(images.device))


# ---- training ----------------------------------------------------------------------------------


def train(
    net: ts.ScopedModule[..., Tensor],
    optimizer: torch.optim.Optimizer,
    digits: Digits,
    steps: int,
    seed: int,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Train with new pairs at every step, at a decreasing learning rate."""
    random = torch.Generator().manual_seed(seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / steps)
        image1, image2, same = draw_pairs(digits, 64, random)
        loss = F.binary_cross_entropy_with_logits(net(image1, image2), same.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % max(1, steps // 10) == 0:
            report(f"step {step + 1:4} of {steps}   loss {loss.item():.3f}")


@torch.no_grad()
def balanced_accuracy(net: ts.ScopedModule[..., Tensor], pairs: Pairs) -> float:
    """The fraction of right answers; pairs of the same digit and of two digits count equally."""
    right = (net(pairs.image1, pairs.image2) > 0) == pairs.same
    return (right[pairs.same].float().mean() + right[~pairs.same].float().mean()).item() / 2


# ---- saving and resuming -----------------------------------------------------------------------


def save(path: Path, net: ts.ScopedModule[..., Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Save everything needed to resume training."""
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, path)


def resume(
    path: Path, share: str, example: Pairs
) -> tuple[ts.ScopedModule[..., Tensor], torch.optim.Optimizer]:
    """Resume from a file, as a new process would: without the net that was saved."""
    device = example.image1.device
    saved = torch.load(path, map_location=device, weights_only=True)
    net = make_net(share).to(device)
    net.load_state_dict(saved["net"])  # Before the first call: the values wait until asked for.
    net.build(example.image1, example.image2)
    optimizer = torch.optim.Adam(net.named_parameters())
    optimizer.register_load_state_dict_pre_hook(ts.match_by_name)  # torch pairs by position.
    optimizer.load_state_dict(saved["optimizer"])
    return net, optimizer


def show_resuming(
    path: Path,
    share: str,
    net: ts.ScopedModule[..., Tensor],
    optimizer: torch.optim.Optimizer,
    digits: Digits,
) -> None:
    """Save, resume, train both on: the outputs stay equal to the last bit."""
    save(path, net, optimizer)
    print(f"saved the net and its optimizer to {path}")
    example = draw_pairs(digits, 64, torch.Generator().manual_seed(0))
    resumed, resumed_optimizer = resume(path, share, example)
    check_equal("resumed from the file", net, resumed, example)
    train(net, optimizer, digits, steps=5, seed=1)
    train(resumed, resumed_optimizer, digits, steps=5, seed=1)
    check_equal("after 5 more steps of both", net, resumed, example)


@torch.no_grad()
def check_equal(
    when: str,
    net: ts.ScopedModule[..., Tensor],
    resumed: ts.ScopedModule[..., Tensor],
    pairs: Pairs,
) -> None:
    """Print that two nets agree to the last bit; an error if they do not."""
    if not torch.equal(net(pairs.image1, pairs.image2), resumed(pairs.image1, pairs.image2)):
        raise SystemExit(f"{when}: the outputs differ")
    print(f"{when}: outputs equal bit for bit")


# ---- the command -------------------------------------------------------------------------------


class Result(NamedTuple):
    """The result of one run."""

    share: str
    filter_variables: int
    before: float
    after: float


def run(share: str, steps: int, seed: int, device: str, path: Path) -> Result:
    """Train, save, resume; print all of it."""
    began = time.perf_counter()
    training, held_out = load_images(400, device, seed)
    test_pairs = draw_pairs(held_out, 6000, torch.Generator().manual_seed(seed))
    print(f"--share={share} on {device}")
    print(
        f"{len(training.images):,} images to train with; {len(test_pairs.same):,} pairs of "
        f"{len(held_out.images)} other images to test with"
    )

    net = make_net(share, seed).to(device)
    net.build(test_pairs.image1[:1], test_pairs.image2[:1])
    optimizer = torch.optim.Adam(net.named_parameters())
    print(f"\n{net.summary()}\n")

    before = balanced_accuracy(net, test_pairs)
    print(f"balanced accuracy before training: {before:.3f}")
    train(net, optimizer, training, steps, seed, report=lambda line: print(line, flush=True))
    after = balanced_accuracy(net, test_pairs)
    print(f"balanced accuracy after training: {after:.3f}\n")

    show_resuming(path, share, net, optimizer, training)
    print(f"{time.perf_counter() - began:.0f} seconds\n")
    filter_variables = [name for name, _ in net.named_variables() if "/conv" in name]
    return Result(share, len(filter_variables), before, after)


def print_comparison(results: list[Result]) -> None:
    """The accuracies side by side."""
    print(f"{'':<14}{'variables':>11}{'balanced accuracy':>21}")
    print(f"{'--share=':<14}{'of filters':>11}{'before':>12}{'after':>9}")
    for share, filter_variables, before, after in results:
        print(f"{share:<14}{filter_variables:>11}{before:>12.3f}{after:>9.3f}")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", choices=SHARE, default="call", help="default: %(default)s")
    parser.add_argument("--compare", action="store_true", help="run all four, compare accuracies")
    parser.add_argument("--steps", type=int, default=600, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the model and optimizer")
    args = parser.parse_args()
    # Too little work for several threads; with one the numbers do not depend on the cores.
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True  # Deterministic on a GPU, too.

    with tempfile.TemporaryDirectory() as folder:
        path = args.save or Path(folder) / "image_filter.pt"
        results = [
            run(share, args.steps, args.seed, args.device, path)
            for share in (SHARE if args.compare else [args.share])
        ]
    if args.compare:
        print_comparison(results)


if __name__ == "__main__":
    main()
