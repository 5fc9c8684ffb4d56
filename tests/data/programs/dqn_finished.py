"""Deep Q learning for TensorFlow 1, in the form of the baselines of OpenAI: functions of a graph.

``build_act`` and ``build_train`` make placeholders, build the graph, and return what runs parts of
it: act, train, update_target and q_values. Q is doubled (the online network chooses the action that
the target network values), gradients are clipped one by one, and errors are weighted by importance.
"""

import torchscope as ts
import torchscope.tf1 as tf
from torchscope.tf1.contrib import layers


def huber_loss(x, delta=1.0):
    """Reference: https://en.wikipedia.org/wiki/Huber_loss"""
    return tf.where(tf.abs(x) < delta, tf.square(x) * 0.5, delta * (tf.abs(x) - 0.5 * delta))


def scope_vars(scope, trainable_only=False):
    return tf.get_collection(
        tf.GraphKeys.TRAINABLE_VARIABLES if trainable_only else tf.GraphKeys.GLOBAL_VARIABLES,
        scope=scope if isinstance(scope, str) else scope.name,
    )


def absolute_scope_name(relative_scope_name):
    return tf.get_variable_scope().name + "/" + relative_scope_name


def mlp(observations, num_actions, scope, reuse=None, hiddens=(16, 12), layer_norm=True):
    """Q of every action: a value, and advantages that are zero on average (dueling)."""
    with tf.variable_scope(scope, reuse=reuse):
        out = layers.flatten(observations)
        for hidden in hiddens:
            out = layers.fully_connected(out, num_outputs=hidden, activation_fn=None)
            if layer_norm:
                out = layers.layer_norm(out, center=True, scale=True)
            out = tf.nn.relu(out)
        with tf.variable_scope("action_value"):
            advantages = layers.fully_connected(out, num_outputs=num_actions, activation_fn=None)
        with tf.variable_scope("state_value"):
            value = layers.fully_connected(out, num_outputs=1, activation_fn=None)
        advantages = advantages - tf.expand_dims(tf.reduce_mean(advantages, 1), 1)
        return value + advantages


def act(q_func, num_actions, observations_ph, stochastic_ph, update_eps_ph, scope="deepq"):
    """An action for each observation, by chance or the best."""
    with tf.variable_scope(scope):
        eps = tf.get_variable("eps", (), initializer=tf.constant_initializer(0), trainable=False)

        q_values = q_func(observations_ph, num_actions, scope="q_func")
        deterministic_actions = tf.argmax(q_values, axis=1)

        batch_size = tf.shape(observations_ph)[0]
        random_actions = tf.random_uniform(
            tf.stack([batch_size]), minval=0, maxval=num_actions, dtype=tf.int64
        )
        chose_random = tf.random_uniform(tf.stack([batch_size]), minval=0, maxval=1) < eps
        stochastic_actions = tf.where(chose_random, random_actions, deterministic_actions)

        output_actions = tf.cond(
            stochastic_ph, lambda: stochastic_actions, lambda: deterministic_actions
        )
        tf.assign(eps, tf.cond(update_eps_ph >= 0, lambda: update_eps_ph, lambda: eps))
        return output_actions


def td_errors(
    q_func,
    num_actions,
    obs_t_input,
    act_t_ph,
    rew_t_ph,
    obs_tp1_input,
    done_mask_ph,
    importance_weights_ph,
    gamma=0.99,
    double_q=True,
    scope="deepq",
):
    """The errors, and their weighted loss."""
    with tf.variable_scope(scope):
        # q network evaluation
        q_t = q_func(obs_t_input, num_actions, scope="q_func")

        # target q network evaluation
        q_tp1 = q_func(obs_tp1_input, num_actions, scope="target_q_func")

        # q scores for actions which we know were selected in the given state.
        q_t_selected = tf.reduce_sum(q_t * tf.one_hot(act_t_ph, num_actions), 1)

        # compute estimate of best possible value starting from state at t + 1
        if double_q:
            q_tp1_using_online_net = q_func(obs_tp1_input, num_actions, scope="q_func", reuse=True)
            q_tp1_best_using_online_net = tf.argmax(q_tp1_using_online_net, 1)
            q_tp1_best = tf.reduce_sum(
                q_tp1 * tf.one_hot(q_tp1_best_using_online_net, num_actions), 1
            )
        else:
            q_tp1_best = tf.reduce_max(q_tp1, 1)
        q_tp1_best_masked = (1.0 - done_mask_ph) * q_tp1_best

        # compute the error (potentially clipped)
        q_t_selected_target = rew_t_ph + gamma * q_tp1_best_masked
        td_error = q_t_selected - tf.stop_gradient(q_t_selected_target)
        errors = huber_loss(td_error)
        weighted_error = tf.reduce_mean(importance_weights_ph * errors)
        return td_error, weighted_error


def copy_to_target(scope="deepq"):
    """Copy the Q network to the target Q network."""
    with tf.variable_scope(scope):
        q_func_vars = scope_vars(absolute_scope_name("q_func"))
        target_q_func_vars = scope_vars(absolute_scope_name("target_q_func"))
    for var, var_target in zip(
        sorted(q_func_vars, key=lambda v: tf.name_of(v)),
        sorted(target_q_func_vars, key=lambda v: tf.name_of(v)),
    ):
        tf.assign(var_target, var)


class Learner(object):
    """The store, and what runs in it."""

    def __init__(self, q_func, num_actions, example, learning_rate, grad_norm_clipping=None):
        self.q_func, self.num_actions = q_func, num_actions
        self.grad_norm_clipping = grad_norm_clipping
        self.store = ts.VariableStore()
        self.store.build(
            act, q_func, num_actions, example[0], tf.constant(False), tf.constant(-1.0)
        )
        self.store.build(td_errors, q_func, num_actions, *example)
        with self.store, tf.variable_scope("deepq"), tf.name_scope("deepq_1/"):  # as in the graph
            variables = scope_vars("deepq/q_func")
            self.optimizer = tf.train.AdamOptimizer(variables, learning_rate=learning_rate)

    def act(self, observations, stochastic=True, update_eps=-1.0):
        return self.store(
            act,
            self.q_func,
            self.num_actions,
            observations,
            tf.constant(stochastic),
            tf.constant(update_eps),
        )

    def train(self, *batch):
        """The errors and their loss, before the step."""
        td_error, loss = self.store(td_errors, self.q_func, self.num_actions, *batch)
        gradients = self.optimizer.compute_gradients(loss)
        if self.grad_norm_clipping is not None:
            for i, (grad, var) in enumerate(gradients):
                if grad is not None:
                    gradients[i] = (tf.clip_by_norm(grad, self.grad_norm_clipping), var)
        self.optimizer.apply_gradients(gradients)
        return td_error.detach(), loss.item()

    def update_target(self):
        self.store(copy_to_target)

    def q_values(self, observations):
        def q_values():
            with tf.variable_scope("deepq"):
                return self.q_func(observations, self.num_actions, scope="q_func")

        return self.store(q_values)
