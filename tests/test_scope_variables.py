"""What get_variable takes: initializers, arguments of a graph; and what a refused call leaves."""

import inspect

import numpy as np
import pytest
import torch
from passes import in_every_pass

import torchscope as ts

# -- initializers


@in_every_pass
def test_a_value_brings_its_shape_and_dtype(store):
    w = ts.get_variable("w", initializer=torch.tensor(0.25))
    assert (w.item(), w.shape, w.dtype) == (0.25, (), torch.float32)
    with ts.variable_scope("foo", initializer=torch.tensor([0.5, 0.25])):
        v = ts.get_variable("v")
    assert v.tolist() == [0.5, 0.25]
    t = ts.get_variable("t", initializer=torch.tensor(1, dtype=torch.int32))
    assert (t.item(), t.dtype) == (1, torch.int32)
    x = ts.get_variable("x", initializer=np.array([1, 2, 3]), dtype=torch.int64)
    assert (x.tolist(), x.dtype) == ([1, 2, 3], torch.int64)


@in_every_pass
def test_a_value_and_a_shape_are_refused_together(store, refused):
    value = torch.tensor([0.25])
    ts.get_variable("there", initializer=value)
    with refused(store, ValueError, match="Leave shape out"):
        ts.get_variable("new", [1], initializer=value)
    with ts.variable_scope("", reuse=True), refused(store, ValueError, match="Leave shape out"):
        ts.get_variable("there", [1], initializer=value)


@in_every_pass
def test_a_value_of_another_dtype_than_asked_for_is_refused(store, refused):
    value = torch.tensor(1, dtype=torch.int32)
    other = r"'s' is asked for with dtype torch\.float64, but the value .* has torch\.int32"
    with refused(store, ValueError, match=other):
        ts.get_variable("s", initializer=value, dtype=torch.float64)


@pytest.mark.parametrize("junk", [{}, "zeros", object()], ids=["dict", "str", "object"])
def test_what_is_not_an_initializer_is_a_type_error(store, refused, junk):
    with refused(store, TypeError, match="is not an initializer"):
        ts.get_variable("x", initializer=junk)


INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", [*INTEGERS, torch.bool], ids=str)
@in_every_pass
def test_integers_and_booleans_start_as_zeros(store, dtype):
    x = ts.get_variable("x", [3, 4], dtype=dtype)
    y = ts.get_variable("y", [3, 4], dtype=dtype, initializer=ts.zeros_initializer(dtype=dtype))
    assert x.dtype == y.dtype == dtype
    assert not x.any()
    assert torch.equal(x, y)


@pytest.mark.parametrize(
    "initializer", [lambda: [2.0], lambda flag=True: [2.0]], ids=["none", "optional"]
)
@in_every_pass
def test_a_function_that_needs_no_arguments_brings_the_value(store, initializer):
    v = ts.get_variable("foo", initializer=initializer)
    assert (store.name_of(v), v.tolist()) == ("foo", [2.0])


def test_a_function_that_needs_a_shape_is_given_none_in_vain(store, refused):
    with refused(store, ValueError, match="'foo' needs a full shape"):
        ts.get_variable("foo", initializer=lambda x: [2.0])


@pytest.mark.parametrize("function", [ts.get_variable, ts.get_local_variable])
def test_arguments_stand_where_they_do_in_tensorflow(function, store):
    tensorflows = ["name", "shape", "dtype", "initializer", "regularizer", "trainable"]
    tensorflows += ["collections", "caching_device", "partitioner", "validate_shape"]
    tensorflows += ["use_resource", "custom_getter", "constraint", "synchronization", "aggregation"]
    names = list(inspect.signature(ts.get_variable).parameters)
    assert names == [*tensorflows, "device"]

    def doubled(getter, *args, **kwargs):
        return 2 * getter(*args, **kwargs)

    by_position = ["w", [], None, ts.ones_initializer(), None, True, None, *[None] * 4, doubled]
    assert function(*by_position).item() == 2


@in_every_pass
def test_a_constraint_given_to_a_get_goes_before_the_scopes(store):
    with ts.variable_scope("a", constraint=lambda variable: variable * 0.0):
        v = ts.get_variable("v", [], constraint=lambda variable: variable * 0.0 + 3.0)
    store.apply_constraints()
    assert v.item() == 3.0


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(4, torch.int32), (4, torch.int64), (4, torch.uint8), ([4, 5], torch.int16)],
)
@in_every_pass
def test_a_python_integer_becomes_the_integer_asked_for(store, value, dtype):
    v = ts.get_variable("v", initializer=value, dtype=dtype)
    assert (v.tolist(), v.dtype) == (value, dtype)


@in_every_pass
def test_a_function_without_arguments_may_return_a_list(store):
    v = ts.get_variable("v", initializer=lambda: [[1.0, 2.0], [3.0, 4.0]])
    assert v.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert v.requires_grad


@pytest.mark.parametrize(
    "initializer",
    [
        ts.zeros_initializer,
        ts.ones_initializer,
        ts.constant_initializer,
        ts.random_normal_initializer,
        ts.truncated_normal_initializer,
        ts.random_uniform_initializer,
        ts.uniform_unit_scaling_initializer,
        ts.variance_scaling_initializer,
        ts.glorot_uniform_initializer,
        ts.glorot_normal_initializer,
        ts.orthogonal_initializer,
        ts.identity_initializer,
    ],
)
@in_every_pass
def test_an_initializer_takes_a_dtype_and_the_variables_goes_before_it(store, initializer):
    init = initializer(dtype=torch.float64)
    assert init([2, 2]).dtype == torch.float64
    assert ts.get_variable("v", [2, 2], initializer=init).dtype == torch.float32


# -- arguments of a graph


GRAPH_ONLY = {
    "caching_device": "/job:moo",
    "partitioner": lambda shape, dtype: [1] * len(shape),
    "use_resource": True,
}
ON_A_GET = {"validate_shape": False, "synchronization": "AUTO", "aggregation": "MEAN"}
ON_A_SCOPE = {"auxiliary_name_scope": False, "values": []}


@pytest.mark.parametrize("name", [*GRAPH_ONLY, *ON_A_GET])
@in_every_pass
def test_a_get_takes_arguments_of_a_graph(store, name):
    argument = {name: (GRAPH_ONLY | ON_A_GET)[name]}
    assert store.name_of(ts.get_variable("v", [2], **argument)) == "v"
    assert store.name_of(ts.get_local_variable("w", [2], **argument)) == "w"


@pytest.mark.parametrize("name", [*GRAPH_ONLY, *ON_A_SCOPE])
@in_every_pass
def test_a_scope_takes_arguments_of_a_graph(store, name):
    with ts.variable_scope("a", **{name: (GRAPH_ONLY | ON_A_SCOPE)[name]}) as scope:
        assert store.name_of(ts.get_variable("v", [2])) == "a/v"
        scope.set_caching_device("/job:moo")
        scope.set_partitioner(None)
        scope.set_use_resource(True)
        assert store.name_of(ts.get_variable("w", [2])) == "a/w"


@pytest.mark.parametrize("name", ["stddev", "reuse", "initialiser"])
def test_a_get_refuses_other_arguments(store, refused, name):
    unexpected = f"unexpected keyword argument '{name}'"
    with refused(store, TypeError, match=unexpected):
        ts.get_variable("v", [2], **{name: True})
    with refused(store, TypeError, match=unexpected):
        ts.get_local_variable("v", [2], **{name: True})


def test_a_scope_refuses_other_arguments(store, refused):
    with refused(store, TypeError, match="unexpected keyword argument 'resue'"):
        ts.variable_scope("a", resue=True)


def test_a_refused_argument_is_refused_for_a_variable_that_is_there_too(store, refused):
    ts.get_variable("v", [2])
    with (
        ts.variable_scope("", reuse=True),
        refused(store, TypeError, match="unexpected keyword argument 'stddev'"),
    ):
        ts.get_variable("v", [2], stddev=0.1)


# ---- what a refused request leaves behind ------------------------------------------------------


def failing_initializer(shape, dtype):
    raise ZeroDivisionError("in the initializer")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"shape": [-1]}, ValueError, "cannot be negative"),
        ({"shape": [1.5]}, TypeError, "is an integer or None, not 1.5; divide sizes with //"),
        ({"shape": "2"}, TypeError, "A shape is a list of sizes"),
        ({"shape": [2], "dtype": "float31"}, TypeError, "is not a dtype"),
        ({"shape": [2], "dtype": float}, TypeError, "is not a dtype"),
        ({"shape": [2], "initializer": failing_initializer}, ZeroDivisionError, "in the init"),
        ({"shape": [2], "initializer": lambda shape, dtype: None}, ValueError, "returned None"),
        (
            {"shape": [2], "initializer": lambda shape, dtype: torch.zeros(3)},
            ValueError,
            r"returned shape \(3,\), not \(2,\)",
        ),
        (
            {"shape": [2], "initializer": lambda shape, dtype: torch.zeros(2).double()},
            ValueError,
            r"returned dtype torch\.float64, not torch\.float32",
        ),
        (
            {"shape": [2], "initializer": lambda shape: torch.zeros(2)},
            TypeError,
            "cannot be called",
        ),
        ({"shape": [2], "initializer": lambda: torch.zeros(2)}, TypeError, "cannot be called"),
    ],
)
@in_every_pass
def test_a_refused_variable_leaves_nothing_and_can_then_be_made(
    store, refused, arguments, error, message
):
    name = f"v{len(store)}"  # A new one in every pass.
    with refused(store, error, match=message):
        ts.get_variable(name, **arguments)
    assert store.name_of(ts.get_variable(name, [2])) == name


@in_every_pass
def test_a_variable_stays_when_its_regularizer_raises(store):
    def failing(variable):
        raise ZeroDivisionError("in the regularizer")

    name = f"v{len(store)}"  # A new one in every pass.
    with pytest.raises(ZeroDivisionError, match="in the regularizer"):
        ts.get_variable(name, [2], regularizer=failing)
    with ts.variable_scope("", reuse=True):
        assert store.name_of(ts.get_variable(name, [2])) == name
    # In this pass it gives no loss, as in TensorFlow; in later ones it is called again.
    assert ts.get_regularization_losses(name) == []
