"""Custom getters of scopes: the order in which they are called, and all that they receive."""

import pytest
import torch
from passes import in_every_pass, names

import torchscope as ts


@pytest.mark.parametrize("reuse", [None, ts.AUTO_REUSE])
def test_a_custom_getter_that_cannot_be_called_is_refused(store, refused, reuse):
    with (
        ts.variable_scope("scope", custom_getter=3, reuse=reuse),
        refused(store, ValueError, match="custom_getter is a function"),
    ):
        ts.get_variable("name", [])
    with refused(store, ValueError, match="custom_getter is a function"):
        ts.get_variable("name", [], custom_getter=3)


@in_every_pass
def test_a_custom_getter_that_only_passes_on_changes_nothing(store):
    called = []

    def custom_getter(getter, *args, **kwargs):
        called.append(kwargs["name"])
        return getter(*args, **kwargs)

    with ts.variable_scope("scope", custom_getter=custom_getter) as scope:
        v = ts.get_variable("v", [1])
    with ts.variable_scope(scope, reuse=True):
        assert ts.get_variable("v", [1]) is v
    with ts.variable_scope("new_scope") as new_scope:
        w = ts.get_variable("w", [1])
    with ts.variable_scope(new_scope, reuse=True, custom_getter=custom_getter):
        assert ts.get_variable("w", [1]) is w
    assert called == ["scope/v", "scope/v", "new_scope/w"]


@in_every_pass
def test_a_custom_getter_can_tell_a_reused_variable(store):
    seen = []

    def custom_getter(getter, *args, **kwargs):
        seen.append(kwargs["reuse"])
        return getter(*args, **kwargs) * 2

    ones = ts.ones_initializer()
    with ts.variable_scope("scope", custom_getter=custom_getter) as scope:
        assert ts.get_variable("v", [1], initializer=ones).tolist() == [2.0]
    with ts.variable_scope(scope, reuse=True):
        assert ts.get_variable("v", [1]).tolist() == [2.0]
    assert seen == [False, True]
    assert store["scope/v"].tolist() == [1.0]


@in_every_pass
def test_a_custom_getter_can_make_two_variables_of_one(store):
    def custom_getter(getter, name, *args, **kwargs):
        return getter(f"{name}/0", *args, **kwargs) + getter(f"{name}/1", *args, **kwargs)

    with ts.variable_scope("scope", custom_getter=custom_getter):
        v = ts.get_variable("v", [1, 2, 3])
    assert list(store) == ["scope/v/0", "scope/v/1"]
    assert torch.equal(v, store["scope/v/0"] + store["scope/v/1"])


@in_every_pass
def test_custom_getters_nest_and_the_innermost_is_called_first(store):
    def sum_getter(getter, name, *args, **kwargs):
        return getter(f"{name}/sum_0", *args, **kwargs) + getter(f"{name}/sum_1", *args, **kwargs)

    def prod_getter(getter, name, *args, **kwargs):
        return getter(f"{name}/prod_0", *args, **kwargs) * getter(f"{name}/prod_1", *args, **kwargs)

    with (
        ts.variable_scope("prod", custom_getter=prod_getter),
        ts.variable_scope("sum", custom_getter=sum_getter),
        ts.variable_scope("inner", custom_getter=sum_getter),
    ):
        v = ts.get_variable("v", [1, 2, 3])  # sums of sums of products
    assert list(store) == [
        f"prod/sum/inner/v/sum_{i}/sum_{j}/prod_{k}"
        for i in range(2)
        for j in range(2)
        for k in range(2)
    ]
    p = list(store.values())
    assert torch.equal(v, ((p[0] * p[1]) + (p[2] * p[3])) + ((p[4] * p[5]) + (p[6] * p[7])))


GETTER_KEYWORDS = {
    "shape",
    "dtype",
    "initializer",
    "regularizer",
    "reuse",
    "trainable",
    "collections",
    "caching_device",
    "partitioner",
    "validate_shape",
    "use_resource",
    "synchronization",
    "aggregation",
    "constraint",
}


@in_every_pass
def test_a_getter_receives_everything_by_keyword(store):
    received = {}

    def custom_getter(**kwargs):
        received.update(kwargs)
        return kwargs.pop("getter")(**kwargs)

    def clip(variable):
        return variable.clamp(max=1.0)

    with ts.variable_scope("a", constraint=clip, dtype=torch.float64, custom_getter=custom_getter):
        v = ts.get_variable("v", [2], None, ts.ones_initializer(), collections=["mine"])
    assert set(received) == GETTER_KEYWORDS | {"getter", "name"}
    assert received["name"] == "a/v"
    assert received["shape"] == [2]
    assert received["dtype"] == torch.float64
    assert received["constraint"] is clip
    assert received["collections"] == ["mine"]
    assert received["trainable"] is True
    assert received["reuse"] is False
    assert received["validate_shape"] is True
    assert names(ts.get_collection("mine")) == names([v]) == ["a/v"]


@in_every_pass
def test_a_getter_sees_arguments_of_a_graph_as_they_were_given(store):
    received = {}

    def custom_getter(getter, name, *args, **kwargs):
        received.update(kwargs)
        return getter(name, *args, **kwargs)

    with ts.variable_scope("a", custom_getter=custom_getter):
        ts.get_variable("v", [1], synchronization="ON_READ", aggregation="MEAN")
    assert (received["synchronization"], received["aggregation"]) == ("ON_READ", "MEAN")


@in_every_pass
def test_a_getter_of_the_time_before_constraints_is_spared_them(store):
    def custom_getter(
        getter,
        name,
        shape=None,
        dtype=None,
        initializer=None,
        regularizer=None,
        reuse=None,
        trainable=None,
        collections=None,
        caching_device=None,
        partitioner=None,
        validate_shape=True,
        use_resource=None,
        synchronization=None,
        aggregation=None,
    ):
        return getter(name, shape, dtype, initializer, regularizer, reuse, trainable)

    with ts.variable_scope("a", custom_getter=custom_getter):
        v = ts.get_variable("v", [1], constraint=lambda variable: variable * 0.0)
    assert store.name_of(v) == "a/v"


@in_every_pass
def test_the_inner_getter_without_reuse_makes_or_finds(store):
    def custom_getter(getter, name, shape, **_):
        return getter(name, shape=shape)

    with ts.variable_scope("a", custom_getter=custom_getter):
        made = ts.get_variable("v", [2])
        assert ts.get_variable("v", [2]) is made
    with ts.variable_scope("a", custom_getter=custom_getter, reuse=True):
        assert ts.get_variable("v", [2]) is made
        assert store.name_of(ts.get_variable("new", [2])) == "a/new"
