"""Q learning as a program for TensorFlow 1: a network, its target, and a session for both."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import layers


def q_values(observations, n_actions):
    x = layers.fully_connected(observations, 64, scope="hidden")
    return layers.fully_connected(x, n_actions, activation_fn=None, scope="values")


class Learner(object):
    def __init__(self, size, n_actions, rate=1e-3, gamma=0.99):
        self.now = tf.placeholder(tf.float32, [None, size])
        self.actions = tf.placeholder(tf.int32, [None])
        self.rewards = tf.placeholder(tf.float32, [None])
        self.next = tf.placeholder(tf.float32, [None, size])

        with tf.variable_scope("online"):
            self.values = q_values(self.now, n_actions)
        with tf.variable_scope("target"):
            best = tf.reduce_max(q_values(self.next, n_actions), axis=1)
        goal = tf.stop_gradient(self.rewards + gamma * best)
        taken = tf.one_hot(self.actions, self.values.get_shape()[1].value)
        self.loss = tf.reduce_mean(tf.square(goal - tf.reduce_sum(self.values * taken, axis=1)))

        online = [v for v in tf.trainable_variables() if v.name.startswith("online/")]
        target = [v for v in tf.trainable_variables() if v.name.startswith("target/")]
        self.train = tf.train.AdamOptimizer(rate).minimize(self.loss, var_list=online)
        self.update_target = tf.group(*[t.assign(v) for t, v in zip(target, online)])
        self.session = tf.Session()
        self.session.run(tf.global_variables_initializer())

    def act(self, observation):
        return np.argmax(self.session.run(self.values, {self.now: observation[None]}))
