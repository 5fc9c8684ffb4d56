"""Runs the two training programs of this folder in TensorFlow and records what it computes.

Whoever has TensorFlow 2.21, tf-keras and tf-slim makes ``ptb_lm.npz`` and ``dqn.npz`` anew by

    TF_USE_LEGACY_KERAS=1 python tests/data/programs/record.py

The tests read these files only. Each holds the data, every variable and slot before the first step
(``before/``) and after the last (``after/``), and what each step gave.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow
import tf_slim

HERE = Path(__file__).parent
tf: Any = tensorflow.compat.v1
tf.disable_v2_behavior()


def sequence_loss_by_example(logits: list[Any], targets: list[Any], weights: list[Any]) -> Any:
    """TensorFlow 1.15's, of contrib, which TensorFlow 2 left out."""
    steps = zip(logits, targets, weights, strict=True)
    losses = [
        w * tf.nn.sparse_softmax_cross_entropy_with_logits(labels=t, logits=x) for x, t, w in steps
    ]
    return tf.add_n(losses) / (tf.add_n(weights) + 1e-12)


# What the programs import: TensorFlow 1's names, of which TensorFlow 2 keeps most.
contrib = SimpleNamespace(
    layers=tf_slim.layers,
    rnn=tf.nn.rnn_cell,
    legacy_seq2seq=SimpleNamespace(sequence_loss_by_example=sequence_loss_by_example),
)
tf.contrib = contrib
sys.modules |= {
    "tensorflow": tf,
    "tensorflow.contrib": contrib,
    "tensorflow.contrib.layers": tf_slim.layers,
}
sys.path.insert(0, str(HERE))


def values(session: Any, folder: str) -> dict[str, Any]:
    variables = tf.global_variables()
    names = [f"{folder}/{v.op.name}" for v in variables]
    return dict(zip(names, session.run(variables), strict=True))


def record_ptb_lm() -> dict[str, Any]:
    """Six epochs; the words follow a rule with exceptions, so that there is something to learn."""
    import ptb_lm

    config = ptb_lm.Config()
    random = np.random.default_rng(1)
    words = [0]
    while len(words) < 250:
        following = (words[-1] * 3 + 5) % config.vocab_size
        words.append(
            int(random.integers(config.vocab_size)) if random.random() < 0.1 else following
        )
    words, held_out = np.int32(words[:200]), np.int32(words[200:])
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(2)
        models = ptb_lm.build(config)
        session.run(tf.global_variables_initializer())
        before = values(session, "before")
        costs, valid_costs = ptb_lm.train(session, *models, config, words, held_out)
        return {
            **before,
            **values(session, "after"),
            "words": words,
            "held_out": held_out,
            "costs": np.array(costs),
            "valid_costs": np.array(valid_costs),
        }


def record_dqn() -> dict[str, Any]:
    """Eight steps; the target network follows before the first and the fifth."""
    import dqn

    random = np.random.default_rng(3)
    batch = {
        "obs_t": random.normal(size=(8, 6)).astype(np.float32),
        "action": random.integers(4, size=8).astype(np.int32),
        "reward": random.normal(size=8).astype(np.float32) * 2,
        "obs_tp1": random.normal(size=(8, 6)).astype(np.float32),
        "done": (random.random(8) < 0.3).astype(np.float32),
        "weight": random.random(8).astype(np.float32) + 0.5,
    }

    def make_obs_ph(name: str) -> Any:
        return tf.placeholder(tf.float32, [None, 6], name=name)

    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(4)
        act, train, update_target, q_values = dqn.build_train(
            make_obs_ph, dqn.mlp, 4, learning_rate=0.01, grad_norm_clipping=0.1
        )
        session.run(tf.global_variables_initializer())
        found = {**batch, **values(session, "before")}
        steps = []
        for step in range(8):
            if step % 4 == 0:
                update_target()
            steps.append(train(*batch.values()))
        td_errors, losses = zip(*steps, strict=True)
        (actions,) = act(batch["obs_t"], False, 0.25)
        (q,) = q_values(batch["obs_tp1"])
        return {
            **found,
            **values(session, "after"),
            "td_errors": np.array(td_errors),
            "losses": np.array(losses),
            "actions": actions,
            "q_values": q,
        }


if __name__ == "__main__":
    for record in (record_ptb_lm, record_dqn):
        name = record.__name__.removeprefix("record_")
        np.savez_compressed(HERE / f"{name}.npz", **record())
