"""A character-level language model, written for TensorFlow 1, running in PyTorch.

The first part is the program: ``tf.nn.dynamic_rnn`` over two LSTM cells on top of each other. It is
the output of ``torchscope port`` for such a program, with arguments in place of placeholders, so
its variables have the names that a checkpoint of it has. The second part trains it on consecutive
pieces of a text, passing the state of one on to the next, and generates text. Run it with one of

    python examples/char_rnn.py
    python examples/char_rnn.py --steps=2000 --seed=1

The text is the manual that ``help()`` shows, which comes with Python.
"""

import argparse
import math
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

import torchscope as ts
import torchscope.tf1 as tf

# ---- the program -------------------------------------------------------------------------------


class Model:
    """Predicts each next character from all before it."""

    def __init__(self, vocab_size, rnn_size=96, num_layers=2):
        self.vocab_size = vocab_size
        self.rnn_size = rnn_size
        self.num_layers = num_layers

    def make_cell(self):
        """LSTMs on top of each other."""
        cells = [tf.nn.rnn_cell.BasicLSTMCell(self.rnn_size) for _ in range(self.num_layers)]
        return tf.nn.rnn_cell.MultiRNNCell(cells, state_is_tuple=True)

    def predict(self, input_data, initial_state=None):
        """Logits ``[n, length, vocab_size]`` for characters ``[n, length]``, and the last state."""
        cell = self.make_cell()
        if initial_state is None:
            initial_state = cell.zero_state(input_data.shape[0], tf.float32)

        with tf.variable_scope("rnnlm"):
            softmax_w = tf.get_variable("softmax_w", [self.rnn_size, self.vocab_size])
            softmax_b = tf.get_variable("softmax_b", [self.vocab_size])
            embedding = tf.get_variable("embedding", [self.vocab_size, self.rnn_size])

        inputs = tf.nn.embedding_lookup(embedding, input_data)
        outputs, last_state = tf.nn.dynamic_rnn(
            cell, inputs, initial_state=initial_state, scope="rnnlm"
        )
        return tf.tensordot(outputs, softmax_w, 1) + softmax_b, last_state

    def cost(self, input_data, targets, initial_state=None):
        """The cross entropy, in nats per character, and the last state."""
        logits, last_state = self.predict(input_data, initial_state)
        loss = tf.contrib.legacy_seq2seq.sequence_loss_by_example(
            [tf.reshape(logits, [-1, self.vocab_size])],
            [tf.reshape(targets, [-1])],
            [tf.ones([targets.shape[0] * targets.shape[1]])],
        )
        return tf.reduce_mean(loss), last_state


# ---- the text ----------------------------------------------------------------------------------


class Text(NamedTuple):
    """The characters by number; and the text as numbers, to train with and to test with."""

    characters: str
    training: Tensor
    held_out: Tensor


def load_text() -> Text:
    """Python's manual; the end of every chapter is held out."""
    from pydoc_data.topics import topics

    chapters = [topics[chapter] for chapter in sorted(topics)]
    training = "".join(chapter[: len(chapter) * 9 // 10] for chapter in chapters)
    held_out = "".join(chapter[len(chapter) * 9 // 10 :] for chapter in chapters)
    characters = "".join(sorted({*training, *held_out}))
    numbers = {character: number for number, character in enumerate(characters)}
    return Text(
        characters,
        torch.tensor([numbers[character] for character in training]),
        torch.tensor([numbers[character] for character in held_out]),
    )


def in_rows(text: Tensor, rows: int) -> Tensor:
    """Consecutive characters in each of ``n`` rows; the rest at the end is cut off."""
    return text[: len(text) // rows * rows].view(rows, -1)


# ---- training ----------------------------------------------------------------------------------


def train(store: ts.VariableStore, model: Model, text: Tensor, steps: int, length: int) -> None:
    """Go along the text, a piece of it at each step, and print the progress."""
    rows = in_rows(text, 16)
    pieces = (rows.shape[1] - 1) // length
    global_step = 0
    optimizer = tf.train.AdamOptimizer(
        store.named_variables(),
        lambda: tf.train.exponential_decay(0.02, global_step, steps, decay_rate=0.1),
    )
    state: Any = None
    for global_step in range(steps):
        start = global_step % pieces * length
        if start == 0:
            state = None  # At the beginning of the text, also when it comes round again.
        piece = rows[:, start : start + length + 1]
        cost, state = store(model.cost, piece[:, :-1], piece[:, 1:], state)
        # The next piece begins with this state, but does not learn through it.
        state = tf.contrib.framework.nest.map_structure(tf.stop_gradient, state)
        gradients, variables = zip(*optimizer.compute_gradients(cost), strict=True)
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if (global_step + 1) % max(1, steps // 5) == 0:
            print(f"step {global_step + 1:4} of {steps}   {bits(cost):.2f} bits a character")


def bits(nats: Tensor) -> float:
    """A loss in bits: b bits are the uncertainty among 2 ** b equally likely characters."""
    return nats.item() / math.log(2)


@torch.no_grad()
def bits_of(store: ts.VariableStore, model: Model, text: Tensor) -> float:
    """The loss, in bits, on a text that it was not trained with."""
    rows = in_rows(text, 100)
    return bits(store(model.cost, rows[:, :-1], rows[:, 1:])[0])


def bits_of_counting(text: Text) -> float:
    """The same for predicting each character by how often it follows the one before it."""
    size = len(text.characters)
    pairs = torch.zeros(size, size)
    one = torch.ones(len(text.training) - 1)
    pairs.index_put_((text.training[:-1], text.training[1:]), one, accumulate=True)
    pairs += 0.1
    shares = pairs / pairs.sum(1, keepdim=True)
    return bits(-shares[text.held_out[:-1], text.held_out[1:]].log().mean())


@torch.no_grad()
def sample(
    store: ts.VariableStore, model: Model, characters: str, start: str, count: int, seed: int
) -> str:
    """Generate text: each next character is drawn from the model's prediction."""
    random = torch.Generator().manual_seed(seed)
    logits, state = store(model.predict, torch.tensor([[characters.index(c) for c in start]]))
    written = start
    for _ in range(count):
        guess = torch.multinomial((logits[0, -1] / 0.7).softmax(0), 1, generator=random)
        written += characters[int(guess)]
        logits, state = store(model.predict, guess.view(1, 1), state)
    return written


# ---- the command -------------------------------------------------------------------------------


def main() -> None:
    """Read the command line, train and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(1)  # Faster for so little work, and repeatable.
    began = time.perf_counter()

    text = load_text()
    print(
        f"{len(text.training):,} characters to train with, {len(text.held_out):,} others to test"
        f" with; {len(text.characters)} different ones\n"
    )
    model = Model(len(text.characters))
    store = ts.VariableStore(args.seed)
    store(model.predict, text.training[:1].view(1, 1))
    store.finalize()  # From here on, a misspelt name is an error and not a new variable.
    print(store.summary())

    print(f"\ncounting pairs: {bits_of_counting(text):.2f} bits a character")
    print(f"before training: {bits_of(store, model, text.held_out):.2f} bits a character")
    train(store, model, text.training, args.steps, length=25)
    print(f"after training: {bits_of(store, model, text.held_out):.2f} bits a character\n")
    print(sample(store, model, text.characters, "The ", 300, args.seed))
    print(f"\n{time.perf_counter() - began:.0f} seconds")


if __name__ == "__main__":
    main()
