"""slim beyond TensorFlow's records: arg scopes, lists of variables, averages, bad input."""

import math
import threading

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import torchscope as ts
import torchscope.tf1 as tf
from torchscope.tf1 import slim

SEQUENCE, IMAGE, VOLUME = (2, 6, 3), (2, 6, 5, 4), (2, 4, 4, 4, 3)

# Each function: the shape of its input, and a call.
CALLS = {
    "fully_connected": (
        (4, 3),
        lambda x: slim.fully_connected(x, 5, normalizer_fn=slim.layer_norm, scope="fc"),
    ),
    "linear": (SEQUENCE, lambda x: slim.linear(x, 5)),
    "bias_add": (IMAGE, lambda x: slim.bias_add(x, torch.tanh)),
    "conv1d": (SEQUENCE, lambda x: slim.conv1d(x, 4, 3)),
    "conv2d": (IMAGE, lambda x: slim.conv2d(x, 4, 3, normalizer_fn=slim.batch_norm)),
    "conv3d": (VOLUME, lambda x: slim.conv3d(x, 4, 2, 2)),
    "convolution": (IMAGE, lambda x: slim.convolution(x, 4, 3, rate=2)),
    "conv2d_transpose": (IMAGE, lambda x: slim.conv2d_transpose(x, 4, 3, 2, "VALID")),
    "conv3d_transpose": (VOLUME, lambda x: slim.conv3d_transpose(x, 2, 2, 2)),
    "conv2d_in_plane": (IMAGE, lambda x: slim.conv2d_in_plane(x, 3)),
    "separable_conv2d": (IMAGE, lambda x: slim.separable_conv2d(x, 4, 3, 2)),
    "separable_conv2d, depthwise": (IMAGE, lambda x: slim.separable_conv2d(x, None, 3, 2)),
    "batch_norm": (IMAGE, lambda x: slim.batch_norm(x, 0.5, scale=True)),
    "batch_norm of rank 2": ((4, 3), lambda x: slim.batch_norm(x, activation_fn=tf.nn.relu)),
    "batch_norm at inference": (IMAGE, lambda x: slim.batch_norm(x, is_training=False)),
    "batch_norm, told by a tensor": (
        SEQUENCE,
        lambda x: slim.batch_norm(x, is_training=x.sum() != 0),
    ),
    "batch_norm, weighted": (
        (2, 3),
        lambda x: slim.batch_norm(x, batch_weights=torch.tensor([1.0, 2.0])),
    ),
    "batch_norm, not biased": (
        IMAGE,
        lambda x: slim.batch_norm(x, 0.9, zero_debias_moving_mean=True),
    ),
    "layer_norm": (IMAGE, lambda x: slim.layer_norm(x, begin_norm_axis=-1)),
    "instance_norm": (IMAGE, lambda x: slim.instance_norm(x, data_format="NCHW")),
    "group_norm": (IMAGE, lambda x: slim.group_norm(x, 2, mean_close_to_zero=True)),
    "dropout": (IMAGE, lambda x: slim.dropout(x, is_training=False) + 1),
    "max_pool2d": (IMAGE, lambda x: slim.max_pool2d(x, 2)),
    "avg_pool2d": (IMAGE, lambda x: slim.avg_pool2d(x, 3, padding="SAME")),
    "max_pool3d": (VOLUME, lambda x: slim.max_pool3d(x, 2)),
    "pool": (IMAGE, lambda x: slim.pool(x, 2, "AVG")),
    "flatten": (IMAGE, slim.flatten),
    "softmax": (SEQUENCE, slim.softmax),
    "maxout": (IMAGE, lambda x: slim.maxout(x, 2)),
    "unit_norm": (IMAGE, lambda x: slim.unit_norm(x, 3)),
    "repeat": (IMAGE, lambda x: slim.repeat(x, 2, slim.conv2d, 4, 3)),
    "stack": (IMAGE, lambda x: slim.stack(x, slim.conv2d, [(4, 3), (2, 1)], scope="s")),
    "arg_scope": (IMAGE, lambda x: in_arg_scope(x)),
    "outputs_collections": (IMAGE, lambda x: end_points(x)),
}


def in_arg_scope(x):
    with slim.arg_scope([slim.conv2d, slim.fully_connected], activation_fn=torch.tanh) as scope:
        x = slim.conv2d(x, 4, 3)
    with slim.arg_scope(scope):
        return slim.fully_connected(slim.flatten(x), 3)


def end_points(x):
    with tf.variable_scope("net"), slim.arg_scope([slim.conv2d], outputs_collections="ends"):
        slim.conv2d(slim.conv2d(x, 4, 3, scope="one"), 4, 3)
    return sum(slim.utils.convert_collection_to_dict("ends").values())


def net_and_input(name, dtype=torch.float32):
    shape, call = CALLS[name]
    return ts.ScopedModule(call, seed=1), torch.randn(shape, dtype=dtype)


each = pytest.mark.parametrize("name", CALLS)


@each
def test_a_function_is_one_graph_that_is_not_compiled_again(name):
    torch._dynamo.reset()  # or shapes of other tests make those of this one dynamic
    net, x = net_and_input(name)
    other = ts.ScopedModule(net.fn, seed=1).build(x)
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(net.build(x), fullgraph=True, backend=counter)
    for _ in range(3):
        x = torch.randn(x.shape)
        torch.testing.assert_close(compiled(x), other(x))
    assert counter.frame_count == 1
    torch.testing.assert_close(dict(net), dict(other))


@each
def test_a_function_is_built_on_meta(name):
    net, x = net_and_input(name)
    built = ts.ScopedModule(net.fn, seed=1).build(x)
    net.build(x.to("meta"))
    torch.testing.assert_close(dict(net), dict(built))


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"batch_norm, weighted"}))
def test_a_function_has_the_dtype_of_its_input_and_follows_double(name):
    net, x = net_and_input(name)
    before = ts.ScopedModule(net.fn, seed=1).build(x.double())
    assert all(variable.dtype is torch.float64 for variable in before.values())
    assert net.build(x).double()(x.double()).dtype is torch.float64


@pytest.mark.parametrize("name", ["fully_connected", "conv2d", "batch_norm", "layer_norm"])
def test_a_function_computes_in_bfloat16_after_the_net_was_moved(name):
    net, x = net_and_input(name)
    expected = net.build(x)(x)
    got = net.to(torch.bfloat16)(x.bfloat16())
    assert got.dtype is torch.bfloat16
    torch.testing.assert_close(got.float(), expected, atol=0.1, rtol=0.1)


def test_contrib_is_an_index_of_the_same_functions():
    assert tf.contrib.layers is tf.contrib.slim is tf.slim
    assert tf.contrib.framework.arg_scope is slim.arg_scope
    assert tf.contrib.losses is slim.losses
    with pytest.raises(AttributeError, match=r"tf\.contrib\.crf is not in torchscope\.tf1"):
        _ = tf.contrib.crf


# ---- arg scopes --------------------------------------------------------------------------------


@slim.add_arg_scope
def shown(x, by=1, to=None):
    """What it was called with."""
    return x, by, to


@slim.add_arg_scope
def other(x, by=0):
    return x, by


def test_inner_defaults_go_before_outer_ones_and_the_call_before_all():
    with slim.arg_scope([shown, other], by=2), slim.arg_scope([shown], to=3):
        assert shown(1) == (1, 2, 3)
        assert other(1) == (1, 2)
        with slim.arg_scope([shown], by=4):
            assert shown(1) == (1, 4, 3)
            assert shown(1, by=5, to=None) == (1, 5, None)
    assert shown(1) == (1, 1, None)


def test_a_kept_arg_scope_replaces_what_is_around_it():
    with slim.arg_scope([shown], by=2) as kept:
        pass
    with slim.arg_scope([shown, other], by=3), slim.arg_scope(kept):
        assert (shown(1), other(1)) == ((1, 2, None), (1, 0))
        with slim.arg_scope([other], by=4):
            assert (shown(1), other(1)) == ((1, 2, None), (1, 4))
        assert other(1) == (1, 0)


def not_decorated(x):
    return x


@pytest.mark.parametrize(
    ("given", "defaults", "error", "match"),
    [
        ([shown, not_decorated], {"by": 2}, ValueError, "not decorated"),
        (shown, {"by": 2}, TypeError, "give a list of functions"),
        ({}, {"by": 2}, ValueError, "give no defaults"),
    ],
    ids=["not decorated", "no list", "a scope with defaults"],
)
def test_an_arg_scope_that_is_refused_leaves_nothing_and_takes_nothing(
    given, defaults, error, match
):
    with slim.arg_scope([shown], by=7):
        before = slim.current_arg_scope()
        with pytest.raises(error, match=match), slim.arg_scope(given, **defaults):
            pass
        assert slim.current_arg_scope() == before
        assert shown(1) == (1, 7, None)
    assert slim.current_arg_scope() == {}


def test_an_error_inside_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError), slim.arg_scope([shown], by=2):
        raise ZeroDivisionError
    assert shown(1) == (1, 1, None)


def test_what_is_changed_in_a_current_arg_scope_is_the_callers():
    with slim.arg_scope([shown], by=2):
        slim.current_arg_scope().clear()
        assert shown(1) == (1, 2, None)


def test_arg_scopes_are_this_threads_alone():
    found = []
    with slim.arg_scope([shown], by=2):
        thread = threading.Thread(target=lambda: found.append(shown(1)))
        thread.start()
        thread.join()
    assert found == [(1, 1, None)]


def test_an_arg_scope_reaches_a_normalizer_and_another_name_of_the_function(store):
    with (
        slim.arg_scope([slim.batch_norm], scale=True),
        slim.arg_scope([slim.conv2d], padding="VALID"),
    ):
        y = slim.convolution2d(torch.ones(IMAGE), 2, 3, normalizer_fn=slim.batch_norm)
    assert y.shape == (2, 4, 3, 2)
    assert "Conv/BatchNorm/gamma" in store


def test_a_decorated_function_says_so():
    assert slim.has_arg_scope(slim.conv2d)
    assert not slim.has_arg_scope(not_decorated)
    assert slim.arg_scoped_arguments(shown) == ("by", "to")
    assert shown.__doc__ == "What it was called with."


# ---- variables ---------------------------------------------------------------------------------


def model(x):
    with tf.variable_scope("a"):
        x = slim.fully_connected(x, 3, normalizer_fn=slim.batch_norm, scope="fc")
    with tf.variable_scope("ab"):
        x = slim.fully_connected(x, 3, scope="fc")
    slim.variable("free", [2], trainable=False)
    return x


BN = ["a/fc/BatchNorm/beta", "a/fc/BatchNorm/moving_mean", "a/fc/BatchNorm/moving_variance"]
LISTED = {
    "all": (slim.get_variables, ["a/fc/weights", *BN, "ab/fc/weights", "ab/fc/biases", "free"]),
    "of the model": (
        slim.get_model_variables,
        ["a/fc/weights", *BN, "ab/fc/weights", "ab/fc/biases"],
    ),
    "by a prefix": (lambda: slim.get_variables("ab"), ["ab/fc/weights", "ab/fc/biases"]),
    "trained": (lambda: slim.get_trainable_variables("a/"), ["a/fc/weights", BN[0]]),
    "local": (slim.get_local_variables, []),
    "by name": (lambda: slim.get_variables_by_name("weights"), ["a/fc/weights", "ab/fc/weights"]),
    "by name at the root": (lambda: slim.get_variables_by_name("free"), ["free"]),
    "by suffix": (lambda: slim.get_variables_by_suffix("fc/biases:0"), ["ab/fc/biases"]),
    "by suffix in a scope": (
        lambda: slim.get_variables_by_suffix("weights", "a/"),
        ["a/fc/weights"],
    ),
    "one": (lambda: [slim.get_unique_variable("free")], ["free"]),
    "to restore": (
        lambda: slim.get_variables_to_restore(include=["a"], exclude=["a/fc/BatchNorm"]),
        ["a/fc/weights", "ab/fc/weights", "ab/fc/biases"],
    ),
    "filtered": (
        lambda: slim.filter_variables(slim.get_variables(), ["weights", "free"], ["^ab"]),
        ["a/fc/weights", "free"],
    ),
    "filtered from the beginning": (
        lambda: slim.filter_variables(slim.get_variables(), "fc", reg_search=False),
        [],
    ),
}


@pytest.mark.parametrize(("listed", "names"), LISTED.values(), ids=LISTED)
def test_variables_are_found(listed, names, store):
    model(torch.ones(2, 3))
    assert [slim.get_variable_full_name(v) for v in listed()] == names


def test_collections_of_variables_are_the_stores(store):
    slim.fully_connected(torch.ones(2, 3), 2, variables_collections={"biases": ["mine"]})
    slim.model_variable("m", [2], collections=["mine"])
    slim.add_model_variable(slim.variable("v", [2], collections=["mine"]))
    names = [ts.name_of(v) for v in ts.get_collection("mine")]
    assert names == ["fully_connected/biases", "m", "v"]
    assert [ts.name_of(v) for v in slim.get_model_variables()][-2:] == ["m", "v"]
    assert "v" not in [ts.name_of(v) for v in slim.get_variables()]


def test_a_variable_has_the_scopes_dtype_and_a_model_variable_float32(store: ts.VariableStore):
    with store, ts.variable_scope("s", dtype=torch.float64):
        assert slim.variable("v", [2]).dtype is torch.float64
        assert slim.model_variable("m", [2]).dtype is torch.float32


def test_outputs_are_kept_by_the_names_of_their_scopes(store):
    def net(x):
        with (
            tf.variable_scope("vgg"),
            slim.arg_scope(
                [slim.conv2d, slim.max_pool2d, slim.flatten], outputs_collections="ends"
            ),
        ):
            x = slim.repeat(x, 2, slim.conv2d, 4, 3, scope="conv1")
            x = slim.max_pool2d(x, 2, scope="pool1")
            slim.utils.collect_named_outputs("ends", "mine", x)
            return slim.flatten(x)

    y = net(torch.ones(IMAGE))
    ends = slim.utils.convert_collection_to_dict("ends")
    names = ["vgg/conv1/conv1_1", "vgg/conv1/conv1_2", "vgg/pool1", "mine", "vgg/Flatten"]
    assert list(ends) == names
    assert ends["vgg/Flatten"] is y
    assert len(ts.get_collection("ends")) == 5


def test_the_variables_are_counted_and_printed(store, capsys):
    slim.fully_connected(torch.ones(2, 3), 2, scope="fc")
    assert slim.model_analyzer.analyze_vars(slim.get_variables(), print_info=True) == (8, 32)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fc/weights (float32 3x2) [6, bytes: 24]"
    assert lines[-2:] == ["Total size of variables: 8", "Total bytes of variables: 32"]


# ---- averages ----------------------------------------------------------------------------------


def test_averages_are_buffers_in_the_model_variables():
    net = ts.ScopedModule(lambda x: slim.batch_norm(x, 0.5)).build(torch.ones(4, 3))
    assert [name for name, _ in net.named_buffers()] == [
        "BatchNorm/moving_mean",
        "BatchNorm/moving_variance",
    ]
    x = torch.randn(8, 3)
    net(x)
    torch.testing.assert_close(net["BatchNorm/moving_mean"], x.mean(0) / 2)
    torch.testing.assert_close(net["BatchNorm/moving_variance"], 0.5 + x.var(0) / 2)


def test_updates_without_a_collection_never_wait():
    def model(x):
        with tf.collect_updates():
            return slim.batch_norm(x, 0.5, updates_collections=None)

    net = ts.ScopedModule(model).build(torch.ones(4, 3))
    net(torch.ones(4, 3))
    assert net["BatchNorm/moving_mean"].tolist() == [0.5] * 3


@pytest.mark.parametrize("collected", ["mine", ["mine", "yours"]])
def test_updates_wait_in_the_collections_that_are_named(collected):
    def model(x):
        with tf.collect_updates():
            slim.batch_norm(x, 0.5, updates_collections=collected)
        return [len(ts.get_collection(key)) for key in ("mine", "yours", "update_ops")]

    assert ts.ScopedModule(model)(torch.ones(4, 3)) == [2, 2 * isinstance(collected, list), 0]


def test_a_mean_without_bias_is_that_of_the_batches_so_far():
    def model(x):
        return slim.batch_norm(x, 0.9, zero_debias_moving_mean=True)

    net = ts.ScopedModule(model).build(torch.ones(4, 3))
    assert list(net)[3:] == [
        "BatchNorm/BatchNorm/moving_mean/biased",
        "BatchNorm/BatchNorm/moving_mean/local_step",
    ]
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    net(first)
    torch.testing.assert_close(net["BatchNorm/moving_mean"], first.mean(0))
    net(second)
    expected = (0.09 * first + 0.1 * second).mean(0) / 0.19
    torch.testing.assert_close(net["BatchNorm/moving_mean"], expected)


@pytest.mark.parametrize(
    ("shape", "settings", "losses"),
    [
        ([3, 4], {}, 1),
        ([3, 2, 4], {}, 1),
        ([3, 4], {"updates_collections": None}, 1),
        ([3, 4], {"batch_weights": [1.0, 0.5, 2.0]}, 0),
        ([3, 2, 4], {"updates_collections": None}, 0),
    ],
)
def test_regularizers_count_where_they_do_in_tensorflow(shape, settings, losses):
    def model(x):
        regularizers = {"beta": ts.l2_regularizer(1.0)}
        return slim.batch_norm(x, param_regularizers=regularizers, **settings)

    net = ts.ScopedModule(model).build(torch.ones(shape))
    assert len(net.regularization_losses()) == losses


def test_a_mean_without_bias_stays_while_training_is_a_tensor_that_is_false():
    def model(x, training):
        return slim.batch_norm(x, 0.9, is_training=training, zero_debias_moving_mean=True)

    x = torch.randn(4, 3)
    net = ts.ScopedModule(model).build(x, torch.tensor(True))
    net(x, torch.tensor(False))
    assert all(net[name].eq(0).all() for name in list(net) if "moving_mean" in name)
    net(x, torch.tensor(True))
    torch.testing.assert_close(net["BatchNorm/moving_mean"], x.mean(0))


def test_examples_of_weight_zero_do_not_count():
    def model(x, weights):
        return slim.batch_norm(x, 0.0, batch_weights=weights, scale=True)

    x = torch.randn(4, 3)
    net = ts.ScopedModule(model).build(x, torch.ones(4))
    y = net(x, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(net["BatchNorm/moving_mean"], x[:2].mean(0))
    torch.testing.assert_close(y[:2].mean(0), torch.zeros(3), atol=1e-6, rtol=0)


# ---- initializers and regularizers -------------------------------------------------------------


@pytest.mark.parametrize(
    ("initializer", "deviation", "bound"),
    [
        (slim.xavier_initializer(), math.sqrt(2 / 500), math.sqrt(6 / 500)),
        (slim.xavier_initializer(uniform=False), 0.879 * math.sqrt(2.6 / 500), 0.145),
        (slim.variance_scaling_initializer(), 0.879 * math.sqrt(2.6 / 200), 0.229),
        (slim.variance_scaling_initializer(1.0, "FAN_OUT", True), math.sqrt(1 / 300), 0.1),
    ],
    ids=["xavier", "xavier, normal", "variance scaling", "variance scaling, uniform"],
)
def test_initial_values_are_spread_as_tensorflows(initializer, deviation, bound, store):
    value = tf.get_variable("w", [200, 300], initializer=initializer)
    assert value.std().item() == pytest.approx(deviation, rel=0.02)
    assert bound * 0.99 < value.abs().max() < bound * 1.01


def test_a_vector_has_as_many_inputs_as_outputs():
    assert slim.xavier_initializer()([3]).abs().max() <= 1.0
    assert slim.xavier_initializer(seed=1)([3]).equal(slim.xavier_initializer(seed=1)([3]))


def test_regularizers_are_summed_and_applied(store):
    both = slim.sum_regularizer([slim.l1_regularizer(1.0), None, slim.l2_regularizer(1.0)])
    w = tf.get_variable("w", initializer=[3.0, -4.0], regularizer=both)
    assert [loss.item() for loss in ts.get_regularization_losses()] == [19.5]
    assert slim.sum_regularizer([None]) is None
    total = slim.apply_regularization(slim.l1_regularizer(0.5), [w, w])
    assert (total.item(), len(ts.get_regularization_losses())) == (7.0, 2)
    ts.add_to_collection(tf.GraphKeys.WEIGHTS, w)
    assert slim.apply_regularization(slim.l1_regularizer(0.5)).item() == 3.5


X, Y = torch.tensor([[0.2, -0.7], [0.5, 0.1]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    "name",
    [
        *("absolute_difference", "mean_squared_error", "mean_pairwise_squared_error"),
        *("sigmoid_cross_entropy", "softmax_cross_entropy"),
    ],
)
def test_losses_are_those_of_tensorflow_with_predictions_first(name, store):
    expected = getattr(tf.losses, name)(Y, X, 0.5)
    assert getattr(slim.losses, name)(X, Y, 0.5).equal(expected)
    assert len(slim.losses.get_losses()) == 2


def test_losses_of_other_signatures_are_tensorflows_too(store):
    ids = torch.tensor([1, 0])
    same = [
        (slim.losses.log_loss(X.abs(), Y, 0.5), tf.losses.log_loss(Y, X.abs(), 0.5)),
        (slim.losses.cosine_distance(X, Y, dim=1), tf.losses.cosine_distance(Y, X, 1)),
        (
            slim.losses.sparse_softmax_cross_entropy(X, ids),
            tf.losses.sparse_softmax_cross_entropy(ids, X),
        ),
        (slim.losses.hinge_loss(X, Y).mean(), tf.losses.hinge_loss(Y, X)),
    ]
    for got, expected in same:
        torch.testing.assert_close(got, expected)


# ---- bad input ---------------------------------------------------------------------------------

REFUSED = [
    (lambda x: slim.fully_connected(x, 2.5), ValueError, r"fully_connected\(\): num_outputs"),
    (lambda x: slim.fully_connected(x, 2, colour="red"), TypeError, "colour"),
    (lambda x: slim.fully_connected(x.int(), 2), TypeError, r"fully_connected\(\): inputs are"),
    (lambda x: slim.fully_connected(x, 2, reuse=True), ValueError, "needs a name"),
    (lambda x: slim.conv2d(x, 2, 3, data_format="channels_last"), ValueError, "'channels_last'"),
    (lambda x: slim.conv2d(x, 2, 3, padding="full"), ValueError, r"padding='full'"),
    (lambda x: slim.conv2d(x, 0, 3), ValueError, r"num_outputs=0"),
    (lambda x: slim.conv2d_transpose(x, 0, 3), ValueError, r"num_outputs=0"),
    (lambda x: slim.separable_conv2d(x, -1, 3), ValueError, r"num_outputs=-1"),
    (lambda x: slim.softmax(x[0, 0, 0]), ValueError, "rank 2 or more"),
    (lambda x: slim.conv2d(x[0], 2, 3), ValueError, r"convolution2d\(\): inputs .* rank 4"),
    (lambda x: slim.conv2d(x, 2, [3, 3, 3]), ValueError, r"kernel_size=\[3, 3, 3\]"),
    (lambda x: slim.conv2d(x, 2, 3, 2, rate=2), ValueError, "cannot be combined"),
    (lambda x: slim.conv2d_transpose(x, 2, 3, data_format="NHC"), ValueError, "'NHC'"),
    (lambda x: slim.separable_conv2d(x, 2, 3, padding="full"), ValueError, r"padding='full'"),
    (
        lambda x: slim.max_pool2d(x, 2, data_format="NHC"),
        ValueError,
        r"max_pool2d\(\): data_format",
    ),
    (lambda x: slim.batch_norm(x, data_format="NHC"), ValueError, r"batch_norm\(\): data_format"),
    (lambda x: slim.batch_norm(x, renorm=True), ValueError, "renorm"),
    (lambda x: slim.layer_norm(x, begin_norm_axis=4), ValueError, "begin_norm_axis=4"),
    (lambda x: slim.group_norm(x), ValueError, "4 channels are not 32 equal groups"),
    (lambda x: slim.group_norm(x, 3), ValueError, "4 channels are not 3 equal groups"),
    (lambda x: slim.group_norm(x, 2, reduction_axes=[1, 3]), ValueError, "channels_axis=-1 is in"),
    (lambda x: slim.maxout(x, 3), ValueError, "not a multiple of num_units=3"),
    (lambda x: slim.unit_norm(x, 4), ValueError, r"unit_norm\(\): dim=4"),
    (lambda x: slim.stack(x, slim.conv2d, 3), ValueError, "stack_args is a list"),
    (lambda x: slim.embed_sequence(x.int()), ValueError, "vocab_size=None"),
    (lambda x: slim.get_unique_variable("no"), ValueError, "no variable 'no'"),
    (lambda x: slim.get_variables_to_restore("no"), TypeError, "include is a list"),
    (lambda x: slim.apply_regularization(ts.l2_regularizer(1.0)), ValueError, "no weights"),
    (lambda x: slim.apply_regularization(torch.relu, [x]), ValueError, "not a scalar"),
    (lambda x: slim.variance_scaling_initializer(mode="FAN"), TypeError, "mode='FAN'"),
    (lambda x: slim.xavier_initializer(dtype=tf.int32), TypeError, "floats"),
    (lambda x: slim.utils.two_element_tuple([1, 2, 3]), ValueError, "give 2 positive ints"),
    (lambda x: slim.utils.last_dimension(x.shape, min_rank=5), ValueError, "below 5"),
    (lambda x: slim.optimize_loss(x), AttributeError, "optimize_loss"),
]


@pytest.mark.parametrize(("call", "error", "match"), REFUSED)
def test_what_is_wrong_is_named(call, error, match, store):
    with pytest.raises(error, match=match):
        call(torch.ones(IMAGE))
    assert not list(store)


@pytest.mark.parametrize(("fused", "count"), [(None, 3), (False, 5)])
def test_what_a_debiased_average_keeps_is_a_model_variable_on_the_plain_way(fused, count):
    with ts.VariableStore() as store:  # TensorFlow's lists
        slim.batch_norm(torch.ones(2, 3), zero_debias_moving_mean=True, fused=fused)
        assert len(slim.get_model_variables()) == count
    assert [name.rpartition("/")[2] for name in store][-2:] == ["biased", "local_step"]


def test_spatial_softmax_gives_the_place_of_each_channel_as_tensorflows():
    x = torch.arange(24.0).reshape(1, 2, 4, 3) ** 1.5 / 10
    y = torch.arange(16.0).reshape(1, 2, 2, 4) / 3
    with ts.VariableStore() as store:
        found = slim.spatial_softmax(x)
        other = slim.spatial_softmax(y, temperature=2.0, data_format="NCHW")
        assert slim.get_model_variables() == list(store.values())
    assert list(store) == ["spatial_softmax/temperature", "spatial_softmax_1/temperature"]
    wanted = [[0.9975113, 0.8885945, 0.9980954, 0.89531684, 0.9985182, 0.90139323]]
    torch.testing.assert_close(found, torch.tensor(wanted))
    wanted = [[0.32151273, 0.13780726, 0.3215127, 0.13780725]]
    torch.testing.assert_close(other, torch.tensor(wanted))


def test_scale_gradient_changes_the_gradient_only():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = slim.scale_gradient(x, 0.5)
    (y * 4).sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([1.0, -2.0], [2.0, 2.0])
