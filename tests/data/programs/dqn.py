"""Deep Q learning for TensorFlow 1, in the form of the baselines of OpenAI: functions of a graph.

``build_act`` and ``build_train`` make placeholders, build the graph, and return what runs parts of
it: act, train, update_target and q_values. Q is doubled (the online network chooses the action that
the target network values), gradients are clipped one by one, and errors are weighted by importance.
"""

import tensorflow as tf
import tensorflow.contrib.layers as layers


class function(object):
    """Like a function of theano: runs a part of the graph with values for its inputs."""

    def __init__(self, inputs, outputs=(), updates=()):
        self.inputs = inputs
        self.outputs = list(outputs)
        self.update = tf.group(*updates)

    def __call__(self, *values):
        feed_dict = dict(zip(self.inputs, values))
        return tf.get_default_session().run(self.outputs + [self.update], feed_dict=feed_dict)[:-1]


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
        advantages -= tf.expand_dims(tf.reduce_mean(advantages, 1), 1)
        return value + advantages


def build_act(make_obs_ph, q_func, num_actions, scope="deepq", reuse=None):
    """Creates act(observations, stochastic, update_eps): an action each, by chance or the best."""
    with tf.variable_scope(scope, reuse=reuse):
        observations_ph = make_obs_ph("observation")
        stochastic_ph = tf.placeholder(tf.bool, (), name="stochastic")
        update_eps_ph = tf.placeholder(tf.float32, (), name="update_eps")

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
        update_eps_expr = eps.assign(
            tf.cond(update_eps_ph >= 0, lambda: update_eps_ph, lambda: eps)
        )
        return function(
            inputs=[observations_ph, stochastic_ph, update_eps_ph],
            outputs=[output_actions],
            updates=[update_eps_expr],
        )


def build_train(
    make_obs_ph,
    q_func,
    num_actions,
    learning_rate,
    grad_norm_clipping=None,
    gamma=0.99,
    double_q=True,
    scope="deepq",
    reuse=None,
):
    """Creates act, train(obs_t, action, reward, obs_tp1, done, weight), update_target, q_values."""
    act_f = build_act(make_obs_ph, q_func, num_actions, scope=scope, reuse=reuse)

    with tf.variable_scope(scope, reuse=reuse):
        # set up placeholders
        obs_t_input = make_obs_ph("obs_t")
        act_t_ph = tf.placeholder(tf.int32, [None], name="action")
        rew_t_ph = tf.placeholder(tf.float32, [None], name="reward")
        obs_tp1_input = make_obs_ph("obs_tp1")
        done_mask_ph = tf.placeholder(tf.float32, [None], name="done")
        importance_weights_ph = tf.placeholder(tf.float32, [None], name="weight")

        # q network evaluation
        q_t = q_func(obs_t_input, num_actions, scope="q_func", reuse=True)
        q_func_vars = scope_vars(absolute_scope_name("q_func"))

        # target q network evaluation
        q_tp1 = q_func(obs_tp1_input, num_actions, scope="target_q_func")
        target_q_func_vars = scope_vars(absolute_scope_name("target_q_func"))

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

        # compute optimization op (potentially with gradient clipping)
        optimizer = tf.train.AdamOptimizer(learning_rate=learning_rate)
        gradients = optimizer.compute_gradients(weighted_error, var_list=q_func_vars)
        if grad_norm_clipping is not None:
            for i, (grad, var) in enumerate(gradients):
                if grad is not None:
                    gradients[i] = (tf.clip_by_norm(grad, grad_norm_clipping), var)
        optimize_expr = optimizer.apply_gradients(gradients)

        # update_target_fn will be called periodically to copy Q network to target Q network
        update_target_expr = []
        for var, var_target in zip(
            sorted(q_func_vars, key=lambda v: v.name),
            sorted(target_q_func_vars, key=lambda v: v.name),
        ):
            update_target_expr.append(var_target.assign(var))
        update_target_expr = tf.group(*update_target_expr)

        # Create callable functions
        train = function(
            inputs=[
                obs_t_input,
                act_t_ph,
                rew_t_ph,
                obs_tp1_input,
                done_mask_ph,
                importance_weights_ph,
            ],
            outputs=[td_error, weighted_error],
            updates=[optimize_expr],
        )
        update_target = function([], [], updates=[update_target_expr])
        q_values = function([obs_t_input], [q_t])

        return act_f, train, update_target, q_values
