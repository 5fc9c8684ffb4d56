"""TensorFlow 1's guide to sharing variables, unchanged except for its import, on real data.

``conv_relu``, ``my_image_filter`` and the three ways of sharing are here as the guide printed
them. Around them are real images, handwritten digits, and a loop that trains the filter to tell
whether two of them show the same digit. Run it with

    python examples/shared_variables_tf1.py              all three ways, one after the other
    python examples/shared_variables_tf1.py --steps=20   in less time
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  - as everybody calls it
from torch import Tensor

import torchscope as ts
import torchscope.tf1 as tf

# ---- the guide's program -----------------------------------------------------------------------
# fmt: off


def conv_relu(input, kernel_shape, bias_shape):
    # Create variable named "weights".
    weights = tf.get_variable("weights", kernel_shape,
        initializer=tf.random_normal_initializer())
    # Create variable named "biases".
    biases = tf.get_variable("biases", bias_shape,
        initializer=tf.constant_initializer(0.0))
    conv = tf.nn.conv2d(input, weights,
        strides=[1, 1, 1, 1], padding='SAME')
    return tf.nn.relu(conv + biases)


def my_image_filter(input_images):
    with tf.variable_scope("conv1"):
        # Variables created here will be named "conv1/weights", "conv1/biases".
        relu1 = conv_relu(input_images, [5, 5, 32, 32], [32])
    with tf.variable_scope("conv2"):
        # Variables created here will be named "conv2/weights", "conv2/biases".
        return conv_relu(relu1, [5, 5, 32, 32], [32])


def share_by_name(input1, input2):
    with tf.variable_scope("model"):
      output1 = my_image_filter(input1)
    with tf.variable_scope("model", reuse=True):
      output2 = my_image_filter(input2)
    return output1, output2


def share_by_call(input1, input2):
    with tf.variable_scope("model") as scope:
      output1 = my_image_filter(input1)
      scope.reuse_variables()
      output2 = my_image_filter(input2)
    return output1, output2


def share_by_scope(input1, input2):
    with tf.variable_scope("model") as scope:
      output1 = my_image_filter(input1)
    with tf.variable_scope(scope, reuse=True):
      output2 = my_image_filter(input2)
    return output1, output2


def share_by_mistake(input1, input2):
    return my_image_filter(input1), my_image_filter(input2)  # This fails.


# fmt: on
Filter = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
WAYS: dict[str, Filter] = {
    "the same name, with reuse=True": share_by_name,
    "scope.reuse_variables()": share_by_call,
    "the scope object, with reuse=True": share_by_scope,
}

# ---- the images --------------------------------------------------------------------------------


def load_images() -> tuple[Tensor, Tensor]:
    """Handwritten digits ``[n, 8, 8, 32]``, and which digit each is.

    The guide's filter takes 32 channels. The images have one, of 17 shades: so plane k has a 1
    wherever a pixel is darker than k / 2.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit(
            "This example takes its images from scikit-learn, which is not installed:\n"
            "    python -m pip install scikit-learn"
        ) from None
    digits = load_digits()
    shades = torch.as_tensor(digits.images, dtype=torch.float32).unsqueeze(-1)
    return (shades > torch.arange(32) / 2).float(), torch.as_tensor(digits.target)


def draw_pairs(digits: Tensor, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two images for each pair, by number; every other pair shows one digit twice."""
    first = torch.randint(len(digits), (count,), generator=random)
    same = (digits[first].unsqueeze(1) == digits) == (torch.arange(count) % 2 == 0).unsqueeze(1)
    return first, torch.multinomial(same.float(), 1, generator=random).squeeze(1)


# ---- the filter at work ------------------------------------------------------------------------


def likeness(net: Callable[..., tuple[Tensor, Tensor]], image1: Tensor, image2: Tensor) -> Tensor:
    """The similarity, from -1 to 1, of the filter's mean outputs for each pair."""
    output1, output2 = net(image1, image2)
    return F.cosine_similarity(output1.mean([1, 2]), output2.mean([1, 2]))


def train(net: ts.ScopedModule[..., tuple[Tensor, Tensor]], steps: int, seed: int) -> None:
    """Train the filter, and print how well it distinguishes digits before and after."""
    images, digits = load_images()
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.named_parameters(), lr=0.02)
    same = torch.arange(64) % 2 == 0
    for step in range(steps + 1):
        one, two = draw_pairs(digits, 64, random)
        alike = likeness(net, images[one], images[two])
        if step in (0, steps):
            apart = (alike[same].mean() - alike[~same].mean()).item()
            print(f"after {step:3} steps the same digit is more alike than two by {apart:.2f}")
        loss = F.mse_loss(alike, torch.where(same, 1.0, 0.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(1)  # Faster for so little work, and repeatable.
    images, _ = load_images()
    print(f"{len(images):,} images {list(images.shape[1:])}")

    for way, share in WAYS.items():
        net = ts.ScopedModule(share, seed=args.seed).build(images[:1], images[1:2])
        print(f"\n{way}")
        for name, variable in net.named_variables():
            print(f"    {name:<24}{list(variable.shape)}")
        output1, output2 = net(images[:1], images[:1])
        print(f"equal images have equal outputs: {torch.equal(output1, output2)}")
        train(net, args.steps, args.seed)

    print("\nneither")
    try:
        ts.ScopedModule(share_by_mistake).build(images[:1], images[1:2])
    except ts.VariableExistsError as error:
        print(f"VariableExistsError: {error}")


if __name__ == "__main__":
    main()
