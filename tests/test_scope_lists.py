"""The lists of a scope, and the collections that its variables are put into."""

import pytest
from passes import in_every_pass, names

import torchscope as ts


@in_every_pass
def test_a_local_variable_has_its_name_and_its_list(store):
    with ts.variable_scope("outer") as outer, ts.variable_scope(outer, "default", []):
        local = ts.get_local_variable("w", [], collections=["foo"])
    assert names(ts.local_variables()) == ["outer/w"]
    assert names(ts.get_collection("foo")) == ["outer/w"]
    assert ts.global_variables() == []
    assert ts.trainable_variables() == []
    assert list(store.state_dict()) == []
    with ts.variable_scope(outer, "default", reuse=True):
        assert ts.get_local_variable("w", []) is local


@in_every_pass
def test_a_scope_lists_what_is_in_it(store):
    def two_variables():
        ts.get_variable("a", [])
        ts.get_variable("b", [], trainable=False)
        ts.get_local_variable("c", [])

    two_variables()
    with ts.variable_scope("foo_") as scope1:
        two_variables()
    with ts.variable_scope("foo") as scope2:
        two_variables()
    every, trainable = ts.GraphKeys.GLOBAL_VARIABLES, ts.GraphKeys.TRAINABLE_VARIABLES
    assert names(scope1.get_collection(trainable)) == ["foo_/a"]
    assert names(scope1.get_collection(every)) == ["foo_/a", "foo_/b"]
    assert names(scope2.get_collection(trainable)) == ["foo/a"]
    assert names(scope2.get_collection(every)) == ["foo/a", "foo/b"]
    assert names(scope2.trainable_variables()) == ["foo/a"]
    assert names(scope2.global_variables()) == ["foo/a", "foo/b"]
    assert names(scope2.local_variables()) == ["foo/c"]
    root = ts.get_variable_scope()
    assert names(root.get_collection(trainable)) == ["a", "foo_/a", "foo/a"]
    assert names(root.get_collection(every)) == ["a", "b", "foo_/a", "foo_/b", "foo/a", "foo/b"]
    assert names(root.local_variables()) == ["c", "foo_/c", "foo/c"]


@in_every_pass
def test_a_scope_lists_by_its_plain_name(store):
    with ts.variable_scope("a.c") as dotted:
        ts.get_variable("v", [])
    with ts.variable_scope("abc"):
        ts.get_variable("v", [])
    assert names(dotted.global_variables()) == ["a.c/v"]


@in_every_pass
def test_collections_replace_the_global_variables(store):
    v = ts.get_variable("v", [], collections=["mine"])
    w = ts.get_variable("w", [], trainable=False, collections=["mine", "yours"])
    both = ts.get_variable("u", [], collections=["mine", ts.GraphKeys.GLOBAL_VARIABLES])
    assert ts.global_variables() == [both]
    assert names(ts.get_collection("mine")) == names([v, w, both])
    assert names(ts.get_collection("yours")) == ["w"]
    assert names(ts.trainable_variables()) == ["v", "u"]  # All that train are in there.
    assert ts.local_variables() == []
    assert list(store.state_dict()) == ["v", "w", "u"]  # Kept all the same.


@in_every_pass
def test_the_collection_of_local_variables_makes_a_local_one(store):
    ts.get_variable("a", [], collections=[ts.GraphKeys.LOCAL_VARIABLES])
    with ts.variable_scope("foo") as scope:
        ts.get_variable("b", [], collections=[ts.GraphKeys.LOCAL_VARIABLES])
        ts.get_variable("c", [])
    assert names(scope.local_variables()) == ["foo/b"]
    assert names(ts.local_variables()) == ["a", "foo/b"]
    assert names(ts.global_variables()) == ["foo/c"]
    assert list(store.state_dict()) == ["foo/c"]


@pytest.mark.parametrize("collections", ["mine", 3])
def test_collections_are_a_list(store, refused, collections):
    with refused(store, ValueError, match="collections is a list"):
        ts.get_variable("v", [], collections=collections)


@in_every_pass
def test_the_scope_of_a_collection_is_the_beginning_of_a_regular_expression(store):
    for name in ("q_func", "q_func_2", "my_q_func"):
        with ts.variable_scope(name):
            ts.get_variable("w", [])
    every = ts.GraphKeys.GLOBAL_VARIABLES
    assert names(ts.get_collection(every, scope="q_func")) == ["q_func/w", "q_func_2/w"]
    assert names(ts.get_collection(every, scope="q_func/")) == ["q_func/w"]
    assert names(ts.get_collection(every, scope=".*q_func/")) == ["q_func/w", "my_q_func/w"]
    assert names(ts.global_variables("q_func$")) == []
