"""A word-level language model for TensorFlow 1, in the form of the PTB tutorial's program.

One graph holds the model twice, to train and to validate, by ``reuse``. LSTMs lie on top of each
other and are unrolled by hand; the last state of a batch is fed to the next one. Plain gradient
descent takes gradients that are clipped by their global norm, at a rate that decays by epochs.
"""

from __future__ import absolute_import, division, print_function

import numpy as np

import torchscope as ts
import torchscope.tf1 as tf


class Config(object):
    init_scale = 0.3
    learning_rate = 2.0
    max_grad_norm = 1.0
    num_layers = 2
    num_steps = 5
    hidden_size = 12
    max_epoch = 4
    max_max_epoch = 6
    keep_prob = 1.0
    lr_decay = 0.5
    batch_size = 4
    vocab_size = 11


def data_type():
    return tf.float32


def batches(words, batch_size, num_steps):
    """Inputs and targets, each [batch_size, num_steps], of consecutive words."""
    length = len(words) // batch_size
    rows = np.asarray(words[: batch_size * length]).reshape(batch_size, length)
    for i in range((length - 1) // num_steps):
        start = i * num_steps
        yield rows[:, start : start + num_steps], rows[:, start + 1 : start + num_steps + 1]


class PTBModel(object):
    def __init__(self, is_training, config):
        self._is_training = is_training
        self._config = config
        self.batch_size = config.batch_size
        self.num_steps = config.num_steps

    def __call__(self, input_data, targets, initial_state=None):
        """The cost of a batch, and the last state."""
        is_training, config = self._is_training, self._config
        batch_size = config.batch_size
        num_steps = config.num_steps
        size = config.hidden_size
        vocab_size = config.vocab_size

        with tf.device("/cpu:0"):
            embedding = tf.get_variable("embedding", [vocab_size, size], dtype=data_type())
            inputs = tf.nn.embedding_lookup(embedding, input_data)

        if is_training and config.keep_prob < 1:
            inputs = tf.nn.dropout(inputs, config.keep_prob)

        def make_cell():
            cell = tf.contrib.rnn.BasicLSTMCell(
                size, forget_bias=0.0, state_is_tuple=True, reuse=not is_training
            )
            if is_training and config.keep_prob < 1:
                cell = tf.contrib.rnn.DropoutWrapper(cell, output_keep_prob=config.keep_prob)
            return cell

        cell = tf.contrib.rnn.MultiRNNCell(
            [make_cell() for _ in range(config.num_layers)], state_is_tuple=True
        )

        state = initial_state or cell.zero_state(batch_size, data_type())
        outputs = []
        with tf.variable_scope("RNN"):
            for time_step in range(num_steps):
                if time_step > 0:
                    tf.get_variable_scope().reuse_variables()
                (cell_output, state) = cell(inputs[:, time_step, :], state)
                outputs.append(cell_output)

        output = tf.reshape(tf.concat(outputs, 1), [-1, size])
        softmax_w = tf.get_variable("softmax_w", [size, vocab_size], dtype=data_type())
        softmax_b = tf.get_variable("softmax_b", [vocab_size], dtype=data_type())
        logits = tf.matmul(output, softmax_w) + softmax_b
        loss = tf.contrib.legacy_seq2seq.sequence_loss_by_example(
            [logits],
            [tf.reshape(targets, [-1])],
            [tf.ones([batch_size * num_steps], dtype=data_type())],
        )
        return tf.reduce_sum(loss) / batch_size, state


def train_step(store, optimizer, cost, max_grad_norm):
    tvars = store.trainable_variables()
    grads, _ = tf.clip_by_global_norm(tf.gradients(cost, tvars), max_grad_norm)
    optimizer.apply_gradients(zip(grads, tvars))


def run_epoch(store, model, words, optimizer=None):
    """The cost of each batch, before it is trained with."""
    costs = []
    state = None
    for x, y in batches(words, model.batch_size, model.num_steps):
        cost, state = store(in_scope, model, tf.constant(x), tf.constant(y), state)
        state = tf.nest.map_structure(tf.stop_gradient, state)
        if optimizer is not None:
            train_step(store, optimizer, cost, model._config.max_grad_norm)
        costs.append(cost.item())
    return costs


def in_scope(model, *inputs):
    config = model._config
    initializer = tf.random_uniform_initializer(-config.init_scale, config.init_scale)
    with tf.variable_scope("Model", reuse=not model._is_training, initializer=initializer):
        return model(*inputs)


def build(config):
    """The store, with the variables of the model."""
    example = tf.zeros([config.batch_size, config.num_steps], tf.int32)
    return ts.VariableStore().build(in_scope, PTBModel(True, config), example, example)


def train(store, config, words, held_out):
    """The costs of all batches, epoch after epoch: those trained with, and those held out."""
    m, mvalid = PTBModel(True, config), PTBModel(False, config)
    optimizer = tf.train.GradientDescentOptimizer(store.named_variables(), lambda: lr)
    costs, valid_costs = [], []
    for i in range(config.max_max_epoch):
        lr_decay = config.lr_decay ** max(i + 1 - config.max_epoch, 0.0)
        lr = config.learning_rate * lr_decay
        costs.append(run_epoch(store, m, words, optimizer))
        valid_costs.append(run_epoch(store, mvalid, held_out))
    return costs, valid_costs
