"""GPT-2 as a program for TensorFlow 1: what `torchscope port` has to do with such a file.

Written for this test, with the names of variables of the published checkpoints, in the ways in
which such programs are written.
"""

import numpy as np
import tensorflow as tf
from tensorflow.contrib.training import HParams


def default_hparams():
    return HParams(n_vocab=50257, n_ctx=1024, n_embd=768, n_head=12, n_layer=12)


def sizes_of(x):
    """The sizes of a tensor: numbers where they are known, else what they turn out to be."""
    known = x.get_shape().as_list()
    found = tf.shape(x)
    return [found[axis] if size is None else size for axis, size in enumerate(known)]


def gelu(x):
    return 0.5 * x * (1 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * tf.pow(x, 3))))


def normalize(x, scope, epsilon=1e-5):
    with tf.variable_scope(scope):
        width = x.get_shape()[-1].value
        gain = tf.get_variable("g", [width], initializer=tf.constant_initializer(1))
        bias = tf.get_variable("b", [width], initializer=tf.constant_initializer(0))
        mean, variance = tf.nn.moments(x, [-1], keep_dims=True)
        x = (x - mean) * tf.rsqrt(variance + epsilon)
        x *= gain  # TensorFlow 1 makes a new tensor of this
        x += bias
        return x


def project(x, scope, width):
    with tf.variable_scope(scope):
        sizes = sizes_of(x)
        w = tf.get_variable(
            "w",
            [1, sizes[-1], width],
            initializer=tf.random_normal_initializer(stddev=0.02),
        )
        b = tf.get_variable("b", [width], initializer=tf.constant_initializer(0))
        flat = tf.matmul(tf.reshape(x, [-1, sizes[-1]]), tf.reshape(w, [-1, width])) + b
        return tf.reshape(flat, sizes[:-1] + [width])


def causal_mask(queries, keys, dtype):
    """1 for the keys that a query may look at, counted from the last of both."""
    rows = tf.range(queries)[:, None] + keys - queries
    return tf.cast(rows >= tf.range(keys), dtype)


def attend(x, scope, past, hparams):
    assert x.shape.ndims == 3, "[batch, tokens, width]"
    if past is not None:
        past.set_shape([None, 2, hparams.n_head, None, hparams.n_embd // hparams.n_head])

    def split_heads(x):
        batch, tokens, width = sizes_of(x)
        split = tf.reshape(x, [batch, tokens, hparams.n_head, width // hparams.n_head])
        return tf.transpose(split, [0, 2, 1, 3])

    with tf.variable_scope(scope):
        width = x.shape[-1].value
        q, k, v = [split_heads(part) for part in tf.split(project(x, "c_attn", 3 * width), 3, 2)]
        present = tf.stack([k, v], axis=1)
        if past is not None:
            old_k, old_v = tf.unstack(past, axis=1)
            k, v = tf.concat([old_k, k], -2), tf.concat([old_v, v], -2)
        scores = tf.matmul(q, k, transpose_b=True) / np.sqrt(v.shape[-1].value)
        mask = causal_mask(tf.shape(q)[2], tf.shape(k)[2], scores.dtype.base_dtype)
        scores = scores * mask - 1e10 * (1 - mask)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), [0, 2, 1, 3])
        batch, tokens, _, _ = sizes_of(mixed)
        return project(tf.reshape(mixed, [batch, tokens, width]), "c_proj", width), present


def feed_forward(x, scope):
    with tf.variable_scope(scope):
        width = int(x.get_shape()[-1])
        return project(gelu(project(x, "c_fc", 4 * width)), "c_proj", width)


def block(x, scope, past, hparams):
    with tf.variable_scope(scope):
        mixed, present = attend(normalize(x, "ln_1"), "attn", past, hparams)
        x += mixed
        x += feed_forward(normalize(x, "ln_2"), "mlp")
        return x, present


def model(hparams, tokens, past=None, scope="model", reuse=False):
    with tf.variable_scope(scope, reuse=reuse):
        normal = tf.random_normal_initializer
        wpe = tf.get_variable(
            "wpe", [hparams.n_ctx, hparams.n_embd], initializer=normal(stddev=0.01)
        )
        wte = tf.get_variable(
            "wte", [hparams.n_vocab, hparams.n_embd], initializer=normal(stddev=0.02)
        )
        batch, count = sizes_of(tokens)
        before = 0 if past is None else tf.shape(past)[-2]
        h = tf.gather(wte, tokens) + tf.gather(wpe, before + tf.range(count))
        pasts = [None] * hparams.n_layer if past is None else tf.unstack(past, axis=1)
        presents = []
        for number, one in enumerate(pasts):
            h, present = block(h, "h%d" % number, one, hparams)
            presents.append(present)
        h = tf.reshape(normalize(h, "ln_f"), [batch * count, hparams.n_embd])
        logits = tf.reshape(tf.matmul(h, wte, transpose_b=True), [batch, count, hparams.n_vocab])
        return {"logits": logits, "present": tf.stack(presents, axis=1)}


def loss(hparams, tokens):
    logits = model(hparams, tokens)["logits"]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tokens[:, 1:], logits=logits[:, :-1]
    )
    return tf.reduce_mean(losses)
