"""A word-level language model for TensorFlow 1, in the form of the PTB tutorial's program.

One graph holds the model twice, to train and to validate, by ``reuse``. LSTMs lie on top of each
other and are unrolled by hand; the last state of a batch is fed to the next one. Plain gradient
descent takes gradients that are clipped by their global norm, at a rate that decays by epochs.
"""

from __future__ import absolute_import, division, print_function

import numpy as np
import tensorflow as tf


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
        self.batch_size = batch_size = config.batch_size
        self.num_steps = num_steps = config.num_steps
        size = config.hidden_size
        vocab_size = config.vocab_size

        self._input_data = tf.placeholder(tf.int32, [batch_size, num_steps])
        self._targets = tf.placeholder(tf.int32, [batch_size, num_steps])

        with tf.device("/cpu:0"):
            embedding = tf.get_variable("embedding", [vocab_size, size], dtype=data_type())
            inputs = tf.nn.embedding_lookup(embedding, self._input_data)

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

        self._initial_state = cell.zero_state(batch_size, data_type())
        state = self._initial_state
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
            [tf.reshape(self._targets, [-1])],
            [tf.ones([batch_size * num_steps], dtype=data_type())],
        )
        self._cost = cost = tf.reduce_sum(loss) / batch_size
        self._final_state = state

        if not is_training:
            return

        self._lr = tf.Variable(0.0, trainable=False)
        tvars = tf.trainable_variables()
        grads, _ = tf.clip_by_global_norm(tf.gradients(cost, tvars), config.max_grad_norm)
        optimizer = tf.train.GradientDescentOptimizer(self._lr)
        self._train_op = optimizer.apply_gradients(
            zip(grads, tvars), global_step=tf.train.get_or_create_global_step()
        )

        self._new_lr = tf.placeholder(tf.float32, shape=[], name="new_learning_rate")
        self._lr_update = tf.assign(self._lr, self._new_lr)

    def assign_lr(self, session, lr_value):
        session.run(self._lr_update, feed_dict={self._new_lr: lr_value})


def run_epoch(session, model, words, train=False):
    """The cost of each batch, before it is trained with."""
    costs = []
    state = session.run(model._initial_state)
    for x, y in batches(words, model.batch_size, model.num_steps):
        feed_dict = {model._input_data: x, model._targets: y}
        for i, (c, h) in enumerate(model._initial_state):
            feed_dict[c] = state[i].c
            feed_dict[h] = state[i].h
        fetches = [model._cost, model._final_state]
        if train:
            fetches += [model._train_op]
        cost, state = session.run(fetches, feed_dict)[:2]
        costs.append(cost)
    return costs


def build(config):
    """The model to train and the one to validate, of one graph."""
    initializer = tf.random_uniform_initializer(-config.init_scale, config.init_scale)
    with tf.name_scope("Train"):
        with tf.variable_scope("Model", reuse=None, initializer=initializer):
            m = PTBModel(is_training=True, config=config)
    with tf.name_scope("Valid"):
        with tf.variable_scope("Model", reuse=True, initializer=initializer):
            mvalid = PTBModel(is_training=False, config=config)
    return m, mvalid


def train(session, m, mvalid, config, words, held_out):
    """The costs of all batches, epoch after epoch: those trained with, and those held out."""
    costs, valid_costs = [], []
    for i in range(config.max_max_epoch):
        lr_decay = config.lr_decay ** max(i + 1 - config.max_epoch, 0.0)
        m.assign_lr(session, config.learning_rate * lr_decay)
        costs.append(run_epoch(session, m, words, train=True))
        valid_costs.append(run_epoch(session, mvalid, held_out))
    return costs, valid_costs
