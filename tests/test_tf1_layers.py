"""tf.layers beyond TensorFlow's records: passes, recomputing, compiling, dtypes, bad input."""

import copy
import threading

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

import torchscope as ts
import torchscope.tf1 as tf

SEQUENCE, IMAGE, VOLUME = (2, 6, 3), (2, 6, 5, 3), (2, 4, 4, 4, 3)
L2 = ts.l2_regularizer(0.1)

# Each function: the shape of its input, and a call.
CALLS = {
    "dense": ((4, 3), lambda x: tf.layers.dense(x, 2, torch.tanh, kernel_regularizer=L2)),
    "dense of rank 3": (SEQUENCE, lambda x: tf.layers.dense(x, 2, use_bias=False)),
    "conv1d": (SEQUENCE, lambda x: tf.layers.conv1d(x, 4, 3, padding="causal")),
    "conv2d": (IMAGE, lambda x: tf.layers.conv2d(x, 4, 3, 2, "same", activation="relu")),
    "conv3d": (VOLUME, lambda x: tf.layers.conv3d(x, 4, 2)),
    "conv2d_transpose": (IMAGE, lambda x: tf.layers.conv2d_transpose(x, 4, 3, 2, "same")),
    "conv3d_transpose": (VOLUME, lambda x: tf.layers.conv3d_transpose(x, 2, 2, 2)),
    "separable_conv1d": (SEQUENCE, lambda x: tf.layers.separable_conv1d(x, 4, 3)),
    "separable_conv2d": (IMAGE, lambda x: tf.layers.separable_conv2d(x, 4, 3, padding="same")),
    "max_pooling1d": (SEQUENCE, lambda x: tf.layers.max_pooling1d(x, 2, 2, "same")),
    "max_pooling2d": (IMAGE, lambda x: tf.layers.max_pooling2d(x, 2, 2)),
    "max_pooling3d": (VOLUME, lambda x: tf.layers.max_pooling3d(x, 2, 2)),
    "average_pooling1d": (SEQUENCE, lambda x: tf.layers.average_pooling1d(x, 2, 2)),
    "average_pooling2d": (IMAGE, lambda x: tf.layers.average_pooling2d(x, 3, 2, "same")),
    "average_pooling3d": (VOLUME, lambda x: tf.layers.average_pooling3d(x, 2, 2)),
    "flatten": (IMAGE, tf.layers.flatten),
    "dropout": (IMAGE, lambda x: tf.layers.dropout(x, 0.4) + 1),
    "batch_normalization": (IMAGE, lambda x: tf.layers.batch_normalization(x)),
    "batch_normalization in training": (
        IMAGE,
        lambda x: tf.layers.batch_normalization(x, training=True, momentum=0.5),
    ),
    "batch_normalization of rank 2": (
        (4, 3),
        lambda x: tf.layers.batch_normalization(x, training=True, axis=1),
    ),
    "batch_normalization, told by a tensor": (
        IMAGE,
        lambda x: tf.layers.batch_normalization(x, training=x.sum() != 0),
    ),
    "Dense": ((4, 3), lambda x: shared(tf.layers.Dense(3), x)),
    "Conv2D": (IMAGE, lambda x: shared(tf.layers.Conv2D(3, 3, padding="same"), x)),
    "BatchNormalization": (IMAGE, lambda x: tf.layers.BatchNormalization()(x, training=True)),
}


def shared(layer, x):
    return layer(layer(x))


def net_and_input(name, dtype=torch.float32):
    shape, call = CALLS[name]
    x = torch.randn(shape, dtype=dtype)
    return ts.ScopedModule(call, seed=1), x


each = pytest.mark.parametrize("name", CALLS)


@each
def test_a_layer_is_one_graph_that_is_not_compiled_again(name):
    net, x = net_and_input(name)
    other = ts.ScopedModule(net.fn, seed=1).build(x)
    torch._dynamo.reset()  # or shapes of other tests make those of this one dynamic
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(net.build(x), fullgraph=True, backend=counter)
    for _ in range(3):
        x = torch.randn(x.shape)
        torch.testing.assert_close(compiled(x), other(x))
    assert counter.frame_count == 1
    torch.testing.assert_close(dict(net), dict(other))


@each
def test_a_layer_is_built_on_meta(name):
    net, x = net_and_input(name)
    built = ts.ScopedModule(net.fn, seed=1).build(x)
    net.build(x.to("meta"))
    torch.testing.assert_close(dict(net), dict(built))


@pytest.mark.parametrize(
    "name", sorted(CALLS.keys() - {"average_pooling3d"})
)  # torch has no kernel
def test_a_layer_computes_in_bfloat16_after_the_net_was_moved(name):
    net, x = net_and_input(name)
    expected = net.build(x)(x)
    got = copy.deepcopy(net).to(torch.bfloat16)(x.bfloat16())
    assert got.dtype is torch.bfloat16
    torch.testing.assert_close(got.float(), expected, atol=0.1, rtol=0.1)


@each
def test_a_layer_trains_under_autocast_with_variables_of_float32(name):
    net, x = net_and_input(name)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x.requires_grad_())
    y.float().sum().backward()
    assert all(variable.dtype is torch.float32 for variable in net.values())


@each
def test_a_layer_has_the_dtype_of_its_input_and_follows_double(name):
    net, x = net_and_input(name)
    before = ts.ScopedModule(net.fn, seed=1).build(x.double())
    assert all(variable.dtype is torch.float64 for variable in before.values())
    assert net.build(x).double()(x.double()).dtype is torch.float64


@pytest.mark.parametrize("name", ["dense", "conv2d", "separable_conv2d", "batch_normalization"])
def test_layers_run_for_several_sets_of_variables_at_once(name):
    net, x = net_and_input(name)
    net.build(x)
    sets = {key: torch.stack([v.detach(), 2 * v.detach()]) for key, v in net.named_parameters()}
    y = torch.func.vmap(lambda p: torch.func.functional_call(net, p, (x,)))(sets)
    torch.testing.assert_close(y[0], net(x))


# ---- names -------------------------------------------------------------------------------------


def test_the_positions_are_tensorflows():
    zeros = ts.zeros_initializer()
    with ts.VariableStore() as store:
        tf.layers.dense(
            torch.ones(2, 3), 4, None, True, None, zeros, None, None, None, None, None, True, "fc"
        )
        tf.layers.conv2d(torch.ones(IMAGE), 2, 3, 1, "same", "channels_last", 1, torch.relu, False)
    assert list(store) == ["fc/kernel", "fc/bias", "conv2d/kernel"]


def test_an_initializer_may_be_named_as_for_keras(store):
    tf.layers.dense(torch.ones(1, 200), 300, kernel_initializer="random_uniform", name="a")
    tf.layers.dense(torch.ones(1, 2), 3, bias_initializer="ones", name="b")
    assert 0.049 < store["a/kernel"].abs().max() < 0.05
    assert store["b/bias"].tolist() == [1.0] * 3


def test_a_layers_loss_is_there_after_the_pass_and_follows_the_variable():
    def model(x):
        with tf.variable_scope("s", regularizer=ts.l1_regularizer(1.0)):
            return tf.layers.dense(
                x, 2, kernel_regularizer=L2, bias_initializer=ts.ones_initializer()
            )

    net = ts.ScopedModule(model).build(torch.ones(2, 3))
    for _ in range(
        2
    ):  # The scope's and the layer's own of the kernel, then the scope's of the bias.
        kernel = net["s/dense/kernel"]
        expected = [kernel.abs().sum(), 0.05 * kernel.square().sum(), torch.tensor(2.0)]
        torch.testing.assert_close(net.regularization_losses(), expected)
        net(torch.ones(2, 3))
    assert len(copy.deepcopy(net).regularization_losses()) == 3


def test_a_loss_of_the_activity_is_the_passes():
    def model(x):
        y = tf.layers.dense(x, 2, activity_regularizer=L2)
        (loss,) = ts.get_regularization_losses()
        return y, loss

    y, loss = ts.ScopedModule(model)(torch.ones(5, 3))
    torch.testing.assert_close(loss, 0.05 * y.square().sum() / 5)


# ---- moving averages ---------------------------------------------------------------------------


def bn(x, training=True, **others):
    return tf.layers.batch_normalization(x, training=training, momentum=0.5, name="bn", **others)


def averages(net):
    return [net["bn/moving_mean"].clone(), net["bn/moving_variance"].clone()]


def test_moving_averages_are_buffers_that_move_at_once():
    net = ts.ScopedModule(bn).build(torch.ones(4, 3))
    assert [name for name, _ in net.named_parameters()] == ["bn/gamma", "bn/beta"]
    assert [name for name, _ in net.named_buffers()] == ["bn/moving_mean", "bn/moving_variance"]
    x = torch.randn(8, 3)
    net(x)
    mean, variance = averages(net)
    torch.testing.assert_close(mean, x.mean(0) / 2)
    torch.testing.assert_close(variance, 0.5 + x.var(0, correction=0) / 2)


@pytest.mark.parametrize("shape", [(8, 4, 4, 3), (1, 1, 1, 3)])
def test_images_have_the_averages_of_torch(shape):
    net = ts.ScopedModule(bn).build(torch.ones(shape))
    x, torchs = torch.randn(shape), nn.BatchNorm2d(3, eps=1e-3, momentum=0.5)
    y = net(x)
    if x[..., 0].numel() > 1:
        torch.testing.assert_close(y, torchs(x.movedim(-1, 1)).movedim(1, -1))
        torch.testing.assert_close(averages(net), [torchs.running_mean, torchs.running_var])
    else:  # torch refuses one value a channel; TensorFlow takes its variance for zero.
        torch.testing.assert_close(averages(net)[1], torch.full((3,), 0.5))


def test_images_of_float64_have_the_biased_variance_since_the_fused_kernel_has_no_float64():
    net = ts.ScopedModule(bn).build(torch.ones(1, 2, 2, 3, dtype=torch.float64))
    x = torch.randn(1, 2, 2, 3, dtype=torch.float64)
    net(x)
    torch.testing.assert_close(averages(net)[1], 0.5 + x.var((0, 1, 2), correction=0) / 2)


def test_frozen_layers_normalize_by_the_batch_and_never_move():
    net = ts.ScopedModule(lambda x: bn(x, trainable=False)).build(torch.ones(4, 3))
    before = averages(net)
    y = net(torch.randn(8, 3))
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(averages(net), before)


def test_a_tensor_that_is_false_moves_nothing():
    net = ts.ScopedModule(bn).build(torch.ones(4, 3))
    net(torch.randn(8, 3))
    before, x = averages(net), torch.randn(8, 3)
    torch.testing.assert_close(net(x, torch.tensor(False)), net(x, False))
    torch.testing.assert_close(averages(net), before, rtol=0, atol=0)


def test_averages_are_read_as_they_were_before_a_later_call_moved_them():
    def model(x, z):
        with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
            y = bn(x, training=False)
            bn(z)
            return y

    x = torch.randn(4, 3, 3, 2, requires_grad=True)
    net = ts.ScopedModule(model).build(x, x)
    expected = torch.autograd.grad(copy.deepcopy(net)(x, torch.zeros_like(x)).square().sum(), x)
    got = torch.autograd.grad(net(x, 5 * x.detach() + 3).square().sum(), x)
    torch.testing.assert_close(got, expected)


def test_a_build_moves_no_average():
    net = ts.ScopedModule(bn).build(torch.randn(8, 3))
    assert [value.tolist() for value in averages(net)] == [[0.0] * 3, [1.0] * 3]


def test_an_average_that_a_custom_getter_replaces_is_not_lost_in_silence():
    def twice(getter, name, *args, **kwargs):
        return getter(name, *args, **kwargs) * 2

    def model(x, training):
        with tf.variable_scope("s", custom_getter=twice):
            return bn(x, training)

    net = ts.ScopedModule(model).build(torch.ones(2, 3), False)
    with pytest.raises(AttributeError, match="other than the variable"):
        net(torch.ones(2, 3), True)


def test_buffers_given_from_outside_move_instead_of_the_nets():
    net = ts.ScopedModule(bn).build(torch.ones(4, 3))
    given = {name: value.clone() for name, value in net.state_dict().items()}
    torch.func.functional_call(net, given, (torch.randn(8, 3),))
    assert averages(net)[0].tolist() == [0.0] * 3
    assert given["bn/moving_mean"].abs().sum() > 0


# ---- recomputing -------------------------------------------------------------------------------


def block(x):
    for number in range(2):
        x = tf.layers.conv2d(x, 3, 3, padding="same", name=f"conv{number}")
        x = bn(x) if number else torch.relu(x)
    return x


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_what_is_recomputed_moves_nothing_twice(use_reentrant):
    x = torch.randn(4, 5, 5, 3, requires_grad=True)
    recomputed = ts.ScopedModule(
        lambda x: checkpoint(ts.bind(block), x, use_reentrant=use_reentrant), seed=1
    ).build(x)
    net = ts.ScopedModule(block, seed=1).build(x)
    gradients = [torch.autograd.grad(net(x).square().sum(), [x, *net.parameters()])]
    recomputed(x).square().sum().backward()
    gradients.append((x.grad, *(p.grad for p in recomputed.parameters())))
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(dict(recomputed), dict(net))


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_what_is_recomputed_collects_nothing_twice(use_reentrant):
    def model(x):
        with tf.collect_updates():
            y = checkpoint(ts.bind(block), x, use_reentrant=use_reentrant)
        y.sum().backward()
        return ts.get_collection(tf.GraphKeys.UPDATE_OPS)

    assert len(ts.ScopedModule(model)(torch.randn(2, 5, 5, 3, requires_grad=True))) == 2


def test_compiled_code_that_recomputes_moves_nothing_twice():
    torch._dynamo.reset()
    x = torch.randn(4, 5, 5, 3, requires_grad=True)
    net = ts.ScopedModule(block, seed=1).build(x)
    recomputed = ts.ScopedModule(lambda x: checkpoint(block, x, use_reentrant=False), seed=1).build(
        x
    )
    net(x).sum().backward()
    # Without it Dynamo compiles no checkpoint whose function opens scopes.
    with torch._dynamo.config.patch(skip_fwd_side_effects_in_bwd_under_checkpoint=True):
        torch.compile(recomputed, backend="aot_eager", fullgraph=True)(x).sum().backward()
    torch.testing.assert_close(dict(recomputed), dict(net))


# ---- collected updates -------------------------------------------------------------------------


def collecting(x):
    with tf.collect_updates():
        y = bn(x)
        bn(y, reuse=True)
    return ts.get_collection(tf.GraphKeys.UPDATE_OPS)


def test_collected_updates_wait_until_they_are_called():
    net, moved = ts.ScopedModule(collecting), ts.ScopedModule(lambda x: bn(bn(x), reuse=True))
    x = torch.randn(8, 3)
    updates = net.build(x)(x)
    assert averages(net)[0].tolist() == [0.0] * 3
    for update in updates:  # Mean and variance of the first call, then of the second.
        update()
    moved.build(x)(x)
    assert len(updates) == 4
    torch.testing.assert_close(averages(net), averages(moved))


def test_collecting_ends_with_its_context_also_by_an_error():
    net = ts.ScopedModule(bn).build(torch.ones(4, 3))
    with pytest.raises(ZeroDivisionError), tf.collect_updates():
        raise ZeroDivisionError
    with tf.collect_updates(), tf.collect_updates():
        pass
    net(torch.randn(8, 3))
    assert averages(net)[0].abs().sum() > 0


def test_collecting_is_this_threads_alone():
    net, x = ts.ScopedModule(bn).build(torch.ones(4, 3)), torch.randn(8, 3)
    with tf.collect_updates():
        thread = threading.Thread(target=net, args=(x,))
        thread.start()
        thread.join()
    assert averages(net)[0].abs().sum() > 0


def test_a_collected_update_keeps_no_graph():
    net = ts.ScopedModule(collecting)
    updates = net(torch.randn(8, 3, requires_grad=True))
    assert not any(value.requires_grad for update in updates for value in update.args[1:2])


# ---- layer objects -----------------------------------------------------------------------------


def test_a_layer_kept_outside_begins_every_pass_as_the_first():
    layer, norm = tf.layers.Dense(3), tf.layers.BatchNormalization(momentum=0.5)

    def model(x):
        return norm(shared(layer, tf.layers.dense(x, 3)), training=True)

    net, x = ts.ScopedModule(model), torch.randn(4, 3)
    for _ in range(3):
        net(x)
    names = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    assert list(net)[:4] == names
    assert len(net) == 8
    assert ts.ScopedModule(lambda x: layer(x)).build(x)["dense/kernel"].shape == (3, 3)


def test_a_layer_kept_outside_is_recomputed_as_it_ran():
    layer = tf.layers.Dense(3)

    def model(x):
        return checkpoint(ts.bind(layer), layer(x), use_reentrant=False)

    net, x = ts.ScopedModule(model), torch.randn(4, 3)
    for _ in range(2):
        net.zero_grad()
        net(x).sum().backward()
    assert list(net) == ["dense/kernel", "dense/bias"]
    kernel, bias = net.values()
    expected = ((x @ kernel + bias) @ kernel + bias).sum()
    torch.testing.assert_close(kernel.grad, torch.autograd.grad(expected, kernel)[0])


def test_a_layer_says_what_it_has():
    def model(x):
        layer = tf.layers.Conv2D(4, 3, name="c", use_bias=False, kernel_regularizer=L2)
        with pytest.raises(ValueError, match="has no scope yet"):
            _ = layer.scope_name
        assert (layer.built, layer.variables, layer.filters) == (False, [], 4)
        layer(x)
        assert (layer.built, layer.scope_name, layer.dtype) == (True, "s/c", torch.float32)
        assert layer.bias is None
        assert layer.kernel is layer.weights[0] is layer.trainable_weights[0]
        assert len(layer.losses) == 1
        assert layer.updates == layer.non_trainable_variables == []

    def in_scope(x):
        with tf.variable_scope("s"):
            model(x)

    ts.ScopedModule(in_scope)(torch.ones(IMAGE))


class Scale(tf.layers.Layer):
    """As users write their own: build, add_variable, call."""

    def build(self, input_shape):
        self.scale = self.add_variable("scale", [input_shape[-1]], regularizer=L2)
        self.count = self.add_weight(
            "count", [], initializer=ts.zeros_initializer(), trainable=False
        )
        self.built = True

    def call(self, inputs, shift=0.0):
        self.add_loss(inputs.mean())
        return tf.layers.dense(inputs * self.scale + shift, 2)


def test_a_layer_of_the_users_own_is_built_once_a_pass():
    layer = Scale(dtype=torch.float32)

    def model(x):
        y = layer.apply(x, shift=1.0)
        with tf.variable_scope("elsewhere"):
            return y + layer(x), layer.losses

    net = ts.ScopedModule(model)
    for _ in range(2):
        _, losses = net(torch.ones(2, 3))
    assert list(net) == ["scale/scale", "scale/count", "scale/dense/kernel", "scale/dense/bias"]
    assert len(losses) == 3
    assert not net["scale/count"].requires_grad


def test_a_layer_in_a_given_scope_reuses_it():
    def model(x):
        tf.layers.dense(x, 3, name="fc")
        return tf.layers.Dense(3, name="fc", _scope="fc", _reuse=True)(x)

    assert list(ts.ScopedModule(model).build(torch.ones(2, 3))) == ["fc/kernel", "fc/bias"]


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (tf.layers.InputSpec(ndim=3), (2, 3)),
        (tf.layers.InputSpec(min_ndim=3), (2, 3)),
        (tf.layers.InputSpec(max_ndim=1), (2, 3)),
        (tf.layers.InputSpec(axes={1: 4}), (2, 3)),
        (tf.layers.InputSpec(shape=(None, 4)), (2, 3)),
    ],
    ids=str,
)
def test_an_input_that_does_not_fit_the_layers_spec_is_refused(spec, shape, store):
    layer = tf.layers.Layer(name="mine")
    layer(torch.ones(shape))
    layer.input_spec = spec
    with pytest.raises(ValueError, match=r"mine: inputs of \[2, 3\] do not fit"):
        layer(torch.ones(shape))


# ---- bad input ---------------------------------------------------------------------------------

REFUSED = [
    (lambda x: tf.layers.dense(x[0, 0, 0], 2), ValueError, r"dense\(\): inputs .* rank 2 or more"),
    (lambda x: tf.layers.dense(x.int(), 2), TypeError, r"dense\(\): inputs are int32"),
    (lambda x: tf.layers.dense([1, 2], 2), TypeError, r"dense\(\): inputs are int32"),
    (lambda x: tf.layers.dense(x, "two"), ValueError, "invalid literal"),
    (lambda x: tf.layers.dense(x, 2, size=3), TypeError, "size"),
    (lambda x: tf.layers.conv2d(x[0], 2, 3), ValueError, r"conv2d\(\): inputs .* rank 4, not 3"),
    (lambda x: tf.layers.conv2d(x, 2, [3]), ValueError, r"conv2d\(\): kernel_size=\[3\]"),
    (lambda x: tf.layers.conv2d(x, 2, 0), ValueError, r"conv2d\(\): kernel_size=0"),
    (lambda x: tf.layers.conv2d(x, 2, 9), ValueError, r"conv2d\(\): a window of 9 does not fit"),
    (
        lambda x: tf.layers.conv2d(x, 2, 3, 2, dilation_rate=2),
        ValueError,
        "strides=2 and dilat",
    ),
    (lambda x: tf.layers.conv2d(x, 2, 3, padding="full"), ValueError, r"padding='full'"),
    (lambda x: tf.layers.conv2d(x, 2, 3, padding="causal"), ValueError, r"padding='causal'"),
    (lambda x: tf.layers.conv2d(x, 2, 3, data_format="NHWC"), ValueError, r"data_format='NHWC'"),
    (lambda x: tf.layers.conv2d_transpose(x, 2, 3, padding="full"), ValueError, r"padding='full'"),
    (lambda x: tf.layers.max_pooling2d(x, 2), TypeError, "strides"),
    (lambda x: tf.layers.max_pooling2d(x[0], 2, 2), ValueError, r"max_pooling2d\(\): inputs"),
    (lambda x: tf.layers.average_pooling1d(x, 2, 2), ValueError, r"average_pooling1d\(\): inputs"),
    (lambda x: tf.layers.dropout(x, 2.0), ValueError, r"dropout\(\): rate=2.0"),
    (lambda x: tf.layers.flatten(x, data_format="NCHW"), ValueError, r"flatten\(\): data_format"),
    (lambda x: tf.layers.batch_normalization(x, 4), ValueError, r"axis=4 has to be from -4 to 3"),
    (lambda x: tf.layers.batch_normalization(x, [1, 1]), ValueError, r"has an axis twice"),
    (lambda x: tf.layers.batch_normalization(x, renorm=True), ValueError, r"renorm"),
    (lambda x: tf.layers.Dense(), TypeError, r"Dense\(\): \['units'\]"),
    (lambda x: tf.layers.Dense(2, units=3), TypeError, r"Dense\(\): \['units'\]"),
    (lambda x: tf.layers.Dense(2, size=3), TypeError, r"Dense\(\): \['size'\]"),
    (lambda x: tf.layers.Layer(size=3), TypeError, "size"),
    (lambda x: tf.layers.Flatten()(x, training=True), TypeError, "training"),
    (
        lambda x: tf.layers.dense(x, 2, kernel_initializer="he"),
        ValueError,
        "'he' is not an initializer",
    ),
    (lambda x: tf.layers.dense(x, 2, "gelu"), ValueError, "tf.nn.gelu is not in"),
    (lambda x: tf.layers.dense(x, 2, 3), TypeError, "activation=3 is not a function"),
    (lambda x: tf.layers.conv2d(x, 0, 3), ValueError, r"conv2d\(\): filters=0"),
    (lambda x: tf.layers.conv2d(x, None, 3), ValueError, r"conv2d\(\): filters=None"),
    (lambda x: tf.layers.conv2d(x, "2", 3), TypeError, "filters has to be an int, not '2'"),
    (lambda x: tf.layers.conv2d(x, 2, 3, activation="gelu"), ValueError, "tf.nn.gelu is not in"),
    (lambda x: tf.layers.conv2d(x, 2, 2.5), ValueError, r"kernel_size=2.5"),
    (lambda x: tf.layers.conv2d(x, 2, [1.5, 1]), TypeError, r"kernel_size\[0\] has to be an int"),
    (lambda x: tf.layers.conv2d(x, 2, 3, "1"), ValueError, r"strides='1'"),
    (lambda x: tf.layers.conv2d_transpose(x, -1, 3), ValueError, r"filters=-1"),
    (lambda x: tf.layers.separable_conv2d(x, 0, 3), ValueError, r"filters=0"),
    (lambda x: tf.layers.max_pooling2d(x, 1.5, 1), ValueError, r"pool_size=1.5"),
    (lambda x: tf.layers.flatten(x[0, 0, 0, 0]), ValueError, "rank 1 or more"),
    (lambda x: tf.layers.dropout(x, "half", training=True), ValueError, "rate=half"),
    (lambda x: tf.layers.dropout(x.int(), training=True), ValueError, "x is int32"),
    (lambda x: tf.layers.batch_normalization(x, None), TypeError, "not None"),
    (lambda x: tf.layers.batch_normalization(x, []), ValueError, "one axis at least"),
]


@pytest.mark.parametrize(("call", "error", "match"), REFUSED)
def test_what_is_wrong_is_named(call, error, match, store):
    with pytest.raises(error, match=match):
        call(torch.ones(IMAGE))
    # As in TensorFlow, what is found wrong only by computing leaves the variables.
    assert not list(store) or "does not fit" in match or error is AttributeError


def test_keras_regularizers_count_squares_whole():
    weights, keras = torch.tensor([[1.0, -2.0]]), tf.keras.regularizers
    assert keras.l1(0.5)(weights) == 1.5
    assert keras.l2(0.5)(weights) == 2.5
    assert keras.l1_l2(1, 0.5)(weights) == 5.5

    def model():
        tf.layers.dense(weights, 1, use_bias=False, kernel_regularizer=keras.l2(0.1))
        return tf.losses.get_regularization_loss(), tf.trainable_variables()[0]

    loss, kernel = ts.ScopedModule(model)()
    torch.testing.assert_close(loss, 0.1 * kernel.square().sum())


@pytest.mark.parametrize(
    ("size", "strides", "made"), [(4, 1, []), (3, 1, ["c/kernel"]), (4, 2, ["c/kernel"])]
)
def test_a_kernel_that_is_larger_than_the_image_leaves_what_tensorflow_has_made(
    size: int, strides: int, made: list[str], store: ts.VariableStore
):
    with pytest.raises(ValueError, match=f"a window of {size} does not fit into 2 pixels"):
        tf.layers.conv1d(torch.ones(1, 2, 3), 2, size, strides, use_bias=False, name="c")
    assert list(store) == made


def test_what_training_is_has_to_be_a_bool(store: ts.VariableStore):
    for layer in (tf.layers.batch_normalization, tf.layers.dropout):
        with pytest.raises(TypeError, match="training is a bool or a tensor of one, not 'yes'"):
            layer(torch.ones(2, 3), training="yes")
    tf.layers.batch_normalization(torch.ones(2, 3), training=1)
    tf.layers.batch_normalization(torch.ones(2, 3), training=torch.tensor(False))


def test_spellings_that_keras_takes_are_those_of_the_same_layer(store: ts.VariableStore):
    x = torch.ones(2, 5, 3)
    shapes = [
        tf.layers.conv1d(x, 4.0, 2, padding="Same").shape,
        tf.layers.conv1d(x, 9 / 2, 2, padding="SAME", data_format=None).shape,
        tf.layers.conv1d(x, 4, 2, padding="same", data_format="CHANNELS_LAST").shape,
    ]
    assert shapes == [(2, 5, 4)] * 3


def test_build_makes_the_variables_that_calls_share(store: ts.VariableStore):
    def model(x: torch.Tensor) -> torch.Tensor:
        layer = tf.layers.Dense(3, kernel_regularizer=L2)
        layer.build((None, 2))
        assert layer.built
        assert [ts.name_of(v) for v in layer.variables] == names
        assert layer.kernel.shape == (2, 3)
        assert len(layer.losses) == 1
        return layer(x) + layer(x)

    names = ["dense/kernel", "dense/bias"]
    x = torch.ones(4, 2)
    for _ in range(2):  # The second pass finds what the first has made.
        assert torch.equal(store(model, x), 2 * x @ store["dense/kernel"])
    assert list(store) == names


@pytest.mark.parametrize(
    ("layer", "shape", "sizes"),
    [
        (lambda: tf.layers.Conv2D(4, 3), (None, None, None, 2), [[3, 3, 2, 4], [4]]),
        (lambda: tf.layers.Conv1D(4, 3, data_format="channels_first"), [8, 2, 9], [[3, 2, 4], [4]]),
        (lambda: tf.layers.Conv2DTranspose(4, 3), (None, 5, 5, 2), [[3, 3, 4, 2], [4]]),
        (lambda: tf.layers.SeparableConv1D(4, 3), (1, 5, 2), [[3, 2, 1], [1, 2, 4], [4]]),
        (lambda: tf.layers.BatchNormalization(axis=1), (None, 7, None), [[7]] * 4),
        (lambda: tf.layers.Flatten(), (None, 3), []),
        (lambda: tf.layers.Dense(2, dtype=tf.float64), [None, 3], [[3, 2], [2]]),
    ],
)
def test_build_takes_none_for_sizes_that_no_variable_has(layer, shape, sizes, store):
    with store:
        made = layer()
        made.build(shape)
        assert [list(v.shape) for v in made.variables] == sizes
        assert made.built


def test_build_asks_for_the_number_of_channels(store: ts.VariableStore):
    with store, pytest.raises(ValueError, match=r"dense_1.build\(\(4, None\)\): axis -1"):
        tf.layers.Dense(3).build((4, None))
    assert not list(store)


def test_a_class_derived_from_a_layer_may_build_more(store: ts.VariableStore):
    class Scaled(tf.layers.Dense):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", [], initializer=tf.ones_initializer())
            super().build(input_shape)

        def call(self, inputs):
            return self.scale * super().call(inputs)

    def model(x):
        layer = Scaled(3)
        return layer(layer(x))

    for _ in range(2):
        store(model, torch.ones(2, 3))
    assert list(store) == ["scaled/scale", "scaled/kernel", "scaled/bias"]


def test_a_layer_of_float64_takes_inputs_of_float32(store: ts.VariableStore):
    with store:
        assert tf.layers.Dense(2, dtype=tf.float64)(torch.ones(4, 3)).dtype is torch.float64


def test_training_may_be_none_which_collects_updates_that_change_nothing(store: ts.VariableStore):
    x = torch.arange(6.0).reshape(3, 2)
    with store, tf.collect_updates():
        y = tf.layers.batch_normalization(x, training=None)
        assert torch.equal(y, tf.layers.batch_normalization(x, name="other"))
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        for update in updates:
            update()
    assert len(updates) == 2
    assert store["batch_normalization/moving_mean"].tolist() == [0, 0]


def test_what_a_layer_lists_is_its_own_as_in_tensorflow():
    class Own(tf.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", [3], regularizer=L2)
            self.v = self.add_weight("v", [2], trainable=False)

        def call(self, inputs):
            self.add_loss(inputs.mean())
            return inputs * self.w + tf.get_variable("extra", [3], regularizer=L2)

    class Outer(tf.layers.Layer):
        def call(self, inputs):
            return tf.layers.BatchNormalization()(inputs, training=True)

    def counts(layer, *inputs):
        for x in inputs:
            layer(x)
        return [len(layer.variables), len(layer.losses), len(layer.updates)]

    x = torch.ones(2, 3)
    store = ts.VariableStore()
    for _ in range(2):  # The numbers are TensorFlow's, and those of every pass.

        def model():
            with tf.variable_scope("s", regularizer=L2), tf.collect_updates():
                assert counts(tf.layers.Dense(3)) == [0, 0, 0]
                assert counts(tf.layers.Dense(3), x, x) == [2, 0, 0]
                both = {"kernel_regularizer": L2, "bias_regularizer": L2, "name": "fc"}
                assert counts(tf.layers.Dense(3, **both), x, x) == [2, 2, 0]
                assert counts(tf.layers.Dense(3, **both, _reuse=True), x) == [2, 0, 0]
                assert counts(tf.layers.Dense(3, activity_regularizer=L2), x, x) == [2, 2, 0]
                norm = tf.layers.BatchNormalization(gamma_regularizer=L2)
                assert [len(norm.updates), *counts(norm, x)] == [0, 4, 1, 0]
                assert counts(Own(), x) == [2, 2, 0]
                assert counts(Own(name="own_2"), x, x) == [2, 3, 0]
                assert counts(Outer(), x) == [0, 0, 0]
                cell = tf.nn.rnn_cell.GRUCell(3)
                wrapped = tf.nn.rnn_cell.DropoutWrapper(cell, 0.5)
                wrapped(x, x)
                assert [len(c.variables) for c in (cell, wrapped)] == [4, 0]
                assert cell.losses == wrapped.losses == []

        store(model)


def test_a_layer_keeps_a_size_for_each_axis_and_has_no_kernel_before_its_first_call():
    layer = tf.layers.Conv2D(4, 3, padding="same")
    assert (layer.kernel_size, layer.strides) == ((3, 3), (1, 1))
    assert tf.layers.MaxPooling1D(2, [2]).pool_size == (2,)
    with pytest.raises(ValueError, match="kernel_size"):
        tf.layers.Conv2D(4, (3, 3, 3))
    with pytest.raises(AttributeError, match="first call"):
        _ = layer.kernel
    assert not hasattr(layer, "bias")
