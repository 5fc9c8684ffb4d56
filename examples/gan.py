"""Draw handwritten digits: two functions of one store, and an optimizer for the scope of each.

A generator turns random numbers into images, a discriminator tells them from real ones, and each
learns from the other (https://arxiv.org/abs/1406.2661). Both are plain functions. Their variables
are in one store, so one state dict holds them and one line moves them; the scopes decide which
optimizer trains which. Run it with one of

    python examples/gan.py
    python examples/gan.py --steps=10000 --seed=1
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor

import torchscope as ts

NOISE = 16  # random numbers that an image is made from
PIXELS = 8 * 8

# ---- the two functions -------------------------------------------------------------------------


def dense(x: Tensor, size: int) -> Tensor:
    """A layer with variables in whichever scope is open."""
    weights = ts.get_variable("weights", [x.shape[1], size], initializer=ts.he_normal_initializer())
    biases = ts.get_variable("biases", [size], initializer=ts.zeros_initializer())
    return x @ weights + biases


def generator(noise: Tensor) -> Tensor:
    """Images from random numbers: ``[n, NOISE]`` becomes ``[n, PIXELS]``, from 0 to 1."""
    with ts.variable_scope("generator"):
        with ts.variable_scope("hidden1"):
            x = F.relu(dense(noise, 128))
        with ts.variable_scope("hidden2"):
            x = F.relu(dense(x, 128))
        with ts.variable_scope("image"):
            return torch.sigmoid(dense(x, PIXELS))


def discriminator(images: Tensor) -> Tensor:
    """How real images look: ``[n, PIXELS]`` becomes ``[n]``, above 0 for rather real ones."""
    with ts.variable_scope("discriminator"):
        with ts.variable_scope("hidden1"):
            x = F.leaky_relu(dense(images, 128), 0.2)
        with ts.variable_scope("hidden2"):
            x = F.leaky_relu(dense(x, 64), 0.2)
        with ts.variable_scope("real"):
            return dense(x, 1).squeeze(1)


def make_store(seed: int, device: str) -> ts.VariableStore:
    """A store with the variables of both; calling each once makes them."""
    store = ts.VariableStore(seed).to(device)
    store(discriminator, store(generator, torch.zeros(1, NOISE, device=device)))
    store.finalize()  # From here on, a misspelt name is an error and not a new variable.
    return store


# ---- the images --------------------------------------------------------------------------------


class Digits(NamedTuple):
    """Images ``[n, PIXELS]`` with values from 0 to 1, and the digit that each shows."""

    images: Tensor
    labels: Tensor


def load_images(held_out: int, device: str, seed: int) -> tuple[Digits, Digits]:
    """The images to train with, and those that no step sees."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit(
            "This example takes its images from scikit-learn, which is not installed:\n"
            "    python -m pip install scikit-learn"
        ) from None
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(seed))
    images = torch.as_tensor(digits.data, dtype=torch.float32)[order].to(device) / 16
    labels = torch.as_tensor(digits.target)[order].to(device)
    return (
        Digits(images[held_out:], labels[held_out:]),
        Digits(images[:held_out], labels[:held_out]),
    )


def draw_noise(count: int, random: torch.Generator, device: str) -> Tensor:
    """The generator's input."""
    return torch.randn(count, NOISE, generator=random).to(device)


# ---- training ----------------------------------------------------------------------------------


def steepness(store: ts.VariableStore, images: Tensor) -> Tensor:
    """The squared gradient of the discriminator's output with respect to real images.

    Kept small, it keeps guiding the generator where the discriminator is sure
    (https://arxiv.org/abs/1801.04406).
    """
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(store(discriminator, images).sum(), images, create_graph=True)
    return gradient.square().sum(1).mean()


def train(
    store: ts.VariableStore,
    images: Tensor,
    steps: int,
    seed: int,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Train both in turn, each with an optimizer that holds only its scope."""
    of_discriminator = torch.optim.Adam(
        store.named_variables("discriminator"), lr=0.001, betas=(0.5, 0.99)
    )
    of_generator = torch.optim.Adam(store.named_variables("generator"), lr=0.001, betas=(0.5, 0.99))
    random = torch.Generator().manual_seed(seed)
    device = str(images.device)
    for step in range(steps):
        real = images[torch.randint(len(images), (128,), generator=random)]
        drawn = store(generator, draw_noise(128, random, device))

        # The discriminator should say "real" for the first and "drawn" for the second.
        taken_for_drawn = F.softplus(-store(discriminator, real)).mean()
        taken_for_real = F.softplus(store(discriminator, drawn.detach())).mean()
        loss = taken_for_drawn + taken_for_real + 2.5 * steepness(store, real)
        of_discriminator.zero_grad()
        loss.backward()
        of_discriminator.step()

        # The generator should make it say "real".
        found_out = F.softplus(-store(discriminator, drawn)).mean()
        of_generator.zero_grad()
        found_out.backward()
        of_generator.step()

        if (step + 1) % max(1, steps // 10) == 0:
            report(
                f"step {step + 1:5} of {steps}   loss of the discriminator {loss.item():.3f}   "
                f"of the generator {found_out.item():.3f}"
            )


# ---- how good they are -------------------------------------------------------------------------


def told_apart(some: Tensor, others: Tensor) -> float:
    """How often the nearest of all other images belongs to the same set: some, or others.

    For sets of the same distribution it is 0.5, chance; for sets that differ it is close to 1.
    This measure is not trained, and copying a few real images does not improve it.
    """
    images = torch.cat([some, others])
    kind = torch.arange(len(images), device=images.device) < len(some)
    distance = torch.cdist(images, images).fill_diagonal_(torch.inf)
    return (kind[distance.argmin(1)] == kind).float().mean().item()


def shares_of_digits(images: Tensor, like: Digits) -> list[float]:
    """How many of the images show 0, 1, ... 9, by the real image that is nearest to each."""
    shown = like.labels[torch.cdist(images, like.images).argmin(1)]
    return (torch.bincount(shown, minlength=10) / len(images)).tolist()


def picture(images: Tensor) -> str:
    """Images side by side, as text: the more ink, the darker the letter."""
    shades = " .:-=+*#%@"
    rows = images.view(-1, 8, 8).transpose(0, 1)  # All their first rows, all their second rows.
    return "\n".join(
        "   ".join(
            "".join(2 * shades[min(9, int(10 * ink))] for ink in line) for line in row.tolist()
        ).rstrip()
        for row in rows
    )


# ---- the command -------------------------------------------------------------------------------


@torch.no_grad()
def print_quality(when: str, store: ts.VariableStore, real: Digits, seed: int) -> None:
    """Draw as many images as there are real ones held out, and judge them."""
    device = str(real.images.device)
    random = torch.Generator().manual_seed(seed + 1)  # Noise that no step of the training had.
    drawn = store(generator, draw_noise(len(real.images), random, device))
    shares = "".join(f"{share:>6.2f}" for share in shares_of_digits(drawn, real))
    print(f"{when}: drawn and real images told apart: {told_apart(drawn, real.images):.3f}")
    print(f"    shares of the digits 0 to 9:{shares}\n")
    print(picture(drawn[:5]), end="\n\n")
    print(picture(drawn[5:10]), end="\n\n")


def run(steps: int, seed: int, device: str) -> None:
    """Train, judge and show."""
    began = time.perf_counter()
    training, held_out = load_images(400, device, seed)
    print(
        f"{len(training.images):,} images to train with, {len(held_out.images)} others to compare"
    )
    store = make_store(seed, device)
    print(f"\n{store.summary(depth=1)}\n")

    chance = told_apart(training.images[: len(held_out.images)], held_out.images)
    print(f"real and other real images told apart: {chance:.3f}, as good as it can get")
    shares = "".join(f"{share:>6.2f}" for share in shares_of_digits(held_out.images, training))
    print(f"    shares of the digits 0 to 9:{shares}\n")
    print_quality("before training", store, held_out, seed)
    train(store, training.images, steps, seed, report=lambda line: print(line, flush=True))
    print()
    print_quality("after training", store, held_out, seed)
    print(f"{time.perf_counter() - began:.0f} seconds")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    # Too little work for several threads; with one the numbers do not depend on the cores.
    torch.set_num_threads(1)
    run(args.steps, args.seed, args.device)


if __name__ == "__main__":
    main()
