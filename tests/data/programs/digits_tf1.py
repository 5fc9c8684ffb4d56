"""Tell handwritten digits apart: a program for TensorFlow 1, as people wrote them."""

import os

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

flags = tf.app.flags
flags.DEFINE_integer("steps", 300, "training steps")
flags.DEFINE_integer("batch", 64, "images in a step")
flags.DEFINE_float("rate", 0.01, "learning rate")
flags.DEFINE_float("decay", 1e-4, "L2 penalty")
flags.DEFINE_string("logdir", "logs", "where checkpoints go")
FLAGS = flags.FLAGS


def conv_relu(x, channels, name):
    with tf.variable_scope(name):
        inputs = x.get_shape().as_list()[-1]
        weights = tf.get_variable(
            "weights",
            [3, 3, inputs, channels],
            initializer=tf.truncated_normal_initializer(stddev=0.1),
            regularizer=tf.contrib.layers.l2_regularizer(FLAGS.decay),
        )
        biases = tf.get_variable("biases", [channels], initializer=tf.constant_initializer(0.1))
        x = tf.nn.conv2d(x, weights, strides=[1, 1, 1, 1], padding="SAME")
        return tf.nn.relu(tf.nn.bias_add(x, biases))


def model(images, is_training, reuse=None):
    with tf.variable_scope("digits", reuse=reuse):
        x = tf.reshape(images, [-1, 8, 8, 1])
        x = conv_relu(x, 16, "conv1")
        x = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        x = conv_relu(x, 32, "conv2")
        x = tf.layers.batch_normalization(x, training=is_training, name="bn")
        x = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        x = tf.reshape(x, [-1, np.prod(x.get_shape().as_list()[1:])])
        x = tf.layers.dense(x, 64, activation=tf.nn.relu, name="hidden")
        x = tf.layers.dropout(x, rate=0.4, training=is_training)
        return tf.layers.dense(x, 10, name="logits")


def loss_and_accuracy(logits, labels):
    one_hot = tf.one_hot(labels, 10)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=one_hot, logits=logits))
    loss += tf.add_n(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))
    right = tf.equal(tf.argmax(logits, 1), tf.cast(labels, tf.int64))
    return loss, tf.reduce_mean(tf.cast(right, tf.float32))


def load():
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    images = digits.data[order].astype(np.float32) / 16
    labels = digits.target[order].astype(np.int32)
    return images[:1400], labels[:1400], images[1400:], labels[1400:]


def main(_):
    images, labels, test_images, test_labels = load()

    images_in = tf.placeholder(tf.float32, [None, 64])
    labels_in = tf.placeholder(tf.int32, [None])

    logits = model(images_in, is_training=True)
    loss, _ = loss_and_accuracy(logits, labels_in)
    test_logits = model(images_in, is_training=False, reuse=True)
    _, accuracy = loss_and_accuracy(test_logits, labels_in)

    step = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(FLAGS.rate, step, 100, 0.5)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies(updates):
        train = tf.train.AdamOptimizer(rate).minimize(loss, global_step=step)
    saver = tf.train.Saver()

    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        random = np.random.RandomState(1)
        for i in range(FLAGS.steps):
            chosen = random.choice(len(images), FLAGS.batch)
            feed = {images_in: images[chosen], labels_in: labels[chosen]}
            _, value = session.run([train, loss], feed_dict=feed)
            if (i + 1) % 100 == 0:
                print("step %d, loss %.3f" % (i + 1, value))
        result = session.run(accuracy, {images_in: test_images, labels_in: test_labels})
        print("accuracy %.3f" % result)
        saver.save(session, os.path.join(FLAGS.logdir, "digits.ckpt"))


if __name__ == "__main__":
    tf.app.run()
