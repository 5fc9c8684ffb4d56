"""DCGAN, a program for TensorFlow 1, running in PyTorch: it learns to draw handwritten digits.

The first part is the program (https://arxiv.org/abs/1511.06434), structured as such programs were:
batch norms are made once and called in whichever scope is open, the discriminator runs twice with
one set of variables, and the sampler uses the generator's, with moving averages in place of
the batch's own. It is the output of ``torchscope port``, with arguments in place of placeholders.
The second part trains it: a loop in Python, and two optimizers that get the variables by name.
``tests/test_examples_dcgan.py`` compares both parts with three steps that TensorFlow recorded. Run
it with one of

    python examples/dcgan.py
    python examples/dcgan.py --steps=2000 --seed=1

``examples/gan.py`` trains longer on the same images and judges more strictly.
"""

import argparse
import time
from typing import NamedTuple

import torch
from torch import Tensor

import torchscope as ts
import torchscope.tf1 as tf

# ---- the program: layers -----------------------------------------------------------------------


class BatchNorm:
    """A batch norm; its variables belong to the scope that it is called in."""

    def __init__(self, epsilon=1e-5, momentum=0.9, name="batch_norm"):
        with tf.variable_scope(name):
            self.epsilon = epsilon
            self.momentum = momentum
            self.name = name

    def __call__(self, x, train=True):
        return tf.contrib.layers.batch_norm(
            x,
            decay=self.momentum,
            updates_collections=None,
            epsilon=self.epsilon,
            scale=True,
            is_training=train,
            scope=self.name,
        )


def conv2d(x, output_dim, stddev=0.02, name="conv2d"):
    """Halve height and width: ``[n, height, width, channels]`` in TensorFlow's layout."""
    with tf.variable_scope(name):
        w = tf.get_variable(
            "w",
            [5, 5, x.shape[-1], output_dim],
            initializer=tf.truncated_normal_initializer(stddev=stddev),
        )
        conv = tf.nn.conv2d(x, w, strides=[1, 2, 2, 1], padding="SAME")
        biases = tf.get_variable("biases", [output_dim], initializer=tf.constant_initializer(0.0))
        return tf.nn.bias_add(conv, biases)


def deconv2d(x, output_shape, stddev=0.02, name="deconv2d"):
    """Double height and width; since 2n and 2n - 1 both halve to n, ``output_shape`` decides."""
    with tf.variable_scope(name):
        w = tf.get_variable(
            "w",
            [5, 5, output_shape[-1], x.shape[-1]],
            initializer=tf.random_normal_initializer(stddev=stddev),
        )
        deconv = tf.nn.conv2d_transpose(x, w, output_shape=output_shape, strides=[1, 2, 2, 1])
        biases = tf.get_variable(
            "biases", [output_shape[-1]], initializer=tf.constant_initializer(0.0)
        )
        return tf.nn.bias_add(deconv, biases)


def linear(x, output_size, scope=None, stddev=0.02):
    """A dense layer."""
    with tf.variable_scope(scope or "Linear"):
        matrix = tf.get_variable(
            "Matrix",
            [x.shape[1], output_size],
            tf.float32,
            tf.random_normal_initializer(stddev=stddev),
        )
        bias = tf.get_variable("bias", [output_size], initializer=tf.constant_initializer(0.0))
        return tf.matmul(x, matrix) + bias


def lrelu(x, leak=0.2):
    """The leaky relu."""
    return tf.maximum(x, leak * x)


def half(size):
    """The size after a convolution of stride 2."""
    return (size + 1) // 2


# ---- the program: the two networks -------------------------------------------------------------


class DCGAN:
    """Generator, discriminator and sampler."""

    def __init__(self, output_size=8, z_dim=16, gf_dim=16, df_dim=8, c_dim=1):
        self.output_size = output_size
        self.z_dim = z_dim
        self.gf_dim = gf_dim
        self.df_dim = df_dim
        self.c_dim = c_dim

        self.d_bn1 = BatchNorm(name="d_bn1")
        self.d_bn2 = BatchNorm(name="d_bn2")
        self.d_bn3 = BatchNorm(name="d_bn3")

        self.g_bn0 = BatchNorm(name="g_bn0")
        self.g_bn1 = BatchNorm(name="g_bn1")
        self.g_bn2 = BatchNorm(name="g_bn2")
        self.g_bn3 = BatchNorm(name="g_bn3")

    def build_model(self, inputs, z):
        """The loss of the discriminator and that of the generator."""
        drawn = self.generator(z)
        real_logits = self.discriminator(inputs)
        drawn_logits = self.discriminator(drawn, reuse=True)

        def cross_entropy(logits, labels):
            return tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(logits=logits, labels=labels)
            )

        d_loss_real = cross_entropy(real_logits, tf.ones_like(real_logits))
        d_loss_drawn = cross_entropy(drawn_logits, tf.zeros_like(drawn_logits))
        g_loss = cross_entropy(drawn_logits, tf.ones_like(drawn_logits))
        return d_loss_real + d_loss_drawn, g_loss

    def discriminator(self, image, reuse=False):
        """How real images look, ``[n, 1]``: above 0 for rather real ones."""
        with tf.variable_scope("discriminator") as scope:
            if reuse:
                scope.reuse_variables()
            h0 = lrelu(conv2d(image, self.df_dim, name="d_h0_conv"))
            h1 = lrelu(self.d_bn1(conv2d(h0, self.df_dim * 2, name="d_h1_conv")))
            h2 = lrelu(self.d_bn2(conv2d(h1, self.df_dim * 4, name="d_h2_conv")))
            h3 = lrelu(self.d_bn3(conv2d(h2, self.df_dim * 8, name="d_h3_conv")))
            return linear(tf.reshape(h3, [h3.shape[0], -1]), 1, "d_h4_lin")

    def generator(self, z, train=True, reuse=False):
        """Images from random numbers ``[n, z_dim]``, with values from -1 to 1."""
        with tf.variable_scope("generator") as scope:
            if reuse:
                scope.reuse_variables()
            n = z.shape[0]
            s1 = self.output_size
            s2 = half(s1)
            s4 = half(s2)
            s8 = half(s4)
            s16 = half(s8)

            h0 = linear(z, self.gf_dim * 8 * s16 * s16, "g_h0_lin")
            h0 = tf.reshape(h0, [-1, s16, s16, self.gf_dim * 8])
            h0 = tf.nn.relu(self.g_bn0(h0, train=train))
            h1 = deconv2d(h0, [n, s8, s8, self.gf_dim * 4], name="g_h1")
            h1 = tf.nn.relu(self.g_bn1(h1, train=train))
            h2 = deconv2d(h1, [n, s4, s4, self.gf_dim * 2], name="g_h2")
            h2 = tf.nn.relu(self.g_bn2(h2, train=train))
            h3 = deconv2d(h2, [n, s2, s2, self.gf_dim], name="g_h3")
            h3 = tf.nn.relu(self.g_bn3(h3, train=train))
            return tf.nn.tanh(deconv2d(h3, [n, s1, s1, self.c_dim], name="g_h4"))

    def sampler(self, z):
        """The trained generator: no image depends on the others of its batch."""
        return self.generator(z, train=False, reuse=True)


# ---- training ----------------------------------------------------------------------------------


def make_optimizers(
    store: ts.VariableStore, d_rate: float, g_rate: float, **settings: float
) -> list[tf.train.AdamOptimizer]:
    """One for the discriminator and one for the generator, each with the variables of its own."""
    with store:  # As TensorFlow counts names within a graph: beta1_power, beta1_power_1.
        t_vars = tf.trainable_variables()
        d_vars = [var for var in t_vars if "d_" in tf.name_of(var)]
        g_vars = [var for var in t_vars if "g_" in tf.name_of(var)]
        return [
            tf.train.AdamOptimizer(d_vars, d_rate, **settings),
            tf.train.AdamOptimizer(g_vars, g_rate, **settings),
        ]


def train_step(
    store: ts.VariableStore,
    model: DCGAN,
    optimizers: list[tf.train.AdamOptimizer],
    images: Tensor,
    z: Tensor,
) -> Tensor:
    """Train the discriminator, then the generator against it; the loss of each before its step."""
    losses = []
    for which, optimizer in enumerate(optimizers):
        loss = store(model.build_model, images, z)[which]
        optimizer.minimize(loss)
        losses.append(loss.detach())
    return torch.stack(losses)


def train(store: ts.VariableStore, model: DCGAN, images: Tensor, steps: int, seed: int) -> None:
    """Train with images drawn at random, and print the progress."""
    # The discriminator learns more slowly, or the generator would have nothing to learn from it.
    optimizers = make_optimizers(store, d_rate=0.0002, g_rate=0.002, beta1=0.5)
    random = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        batch = images[torch.randint(len(images), (64,), generator=random)]
        z = 2 * torch.rand(64, model.z_dim, generator=random) - 1
        d_loss, g_loss = train_step(store, model, optimizers, batch, z).tolist()
        if step % max(1, steps // 5) == 0:
            print(f"step {step:4} of {steps}   d_loss {d_loss:.3f}   g_loss {g_loss:.3f}")


# ---- the images --------------------------------------------------------------------------------


class Digits(NamedTuple):
    """Images ``[n, 64]`` with values from 0 to 1, and the digit that each shows."""

    images: Tensor
    labels: Tensor


def load_images(held_out: int, seed: int) -> tuple[Digits, Digits]:
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
    images = torch.as_tensor(digits.data, dtype=torch.float32)[order] / 16
    labels = torch.as_tensor(digits.target)[order]
    return (
        Digits(images[held_out:], labels[held_out:]),
        Digits(images[:held_out], labels[:held_out]),
    )


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
def draw(store: ts.VariableStore, model: DCGAN, count: int, seed: int) -> Tensor:
    """Images ``[count, pixels]`` with values from 0 to 1, from noise that no step has used."""
    z = 2 * torch.rand(count, model.z_dim, generator=torch.Generator().manual_seed(seed + 1)) - 1
    return (store(model.sampler, z).flatten(1) + 1) / 2


def distance(images: Tensor, real: Tensor) -> float:
    """How far images are from the nearest real one, on average."""
    return torch.cdist(images, real).amin(1).mean().item()


def main() -> None:
    """Read the command line, train and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(1)  # Faster for so little work, and repeatable.
    began = time.perf_counter()

    training, held_out = load_images(400, args.seed)
    images = 2 * training.images.view(-1, 8, 8, 1) - 1
    print(f"{len(images):,} images {list(images.shape[1:])}, {len(held_out.images)} others\n")

    model = DCGAN()
    store = ts.VariableStore(args.seed)
    store(model.build_model, images[:2], torch.zeros(2, model.z_dim))
    store.finalize()  # From here on, a misspelt name is an error and not a new variable.
    print(store.summary(depth=3))
    of_others = distance(held_out.images, training.images)
    print(f"\ndistance of other real images to the nearest: {of_others:.2f}")

    for steps in (0, args.steps):
        print(f"\nafter {steps} steps")
        if steps:
            train(store, model, images, steps, args.seed)
        drawn = draw(store, model, len(held_out.images), args.seed)
        shares = "".join(f"{share:>6.2f}" for share in shares_of_digits(drawn, held_out))
        print(f"distance to the nearest real image: {distance(drawn, training.images):.2f}")
        print(f"shares of the digits 0 to 9:{shares}\n")
        print(picture(drawn[:5]))
    print(f"\n{time.perf_counter() - began:.0f} seconds")


if __name__ == "__main__":
    main()
