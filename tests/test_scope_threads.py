"""Scopes and threads: TensorFlow's threads share the graph, those here the default store."""

import threading
from typing import Any

import pytest
from passes import in_every_pass

import torchscope as ts


def in_a_thread(function):
    """Run ``function`` in a new thread and wait; an error in it comes out here."""
    failures = []

    def target():
        try:
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_a_second_thread_cannot_make_what_the_first_has_made():
    def make():
        with ts.variable_scope("foo"):
            return ts.get_variable("v", [])

    in_a_thread(make)
    with pytest.raises(ValueError, match="'foo/v' already exists"):
        in_a_thread(make)
    assert list(ts.default_store()) == ["foo/v"]


def test_two_threads_can_be_in_a_scope_of_one_name_at_once():
    first_is_in, second_is_done = threading.Event(), threading.Event()

    def first():
        with ts.variable_scope("foo"):
            ts.get_variable("v", [])
            first_is_in.set()
            assert second_is_done.wait(10)
            assert ts.get_variable_scope().name == "foo"

    def second():
        assert first_is_in.wait(10)
        try:
            assert ts.get_variable_scope().name == ""
            with ts.variable_scope("foo") as scope:
                assert scope.name == "foo"
                with pytest.raises(ValueError, match="'foo/v' already exists"):
                    ts.get_variable("v", [])
        finally:
            second_is_done.set()

    thread = threading.Thread(target=second)
    thread.start()
    in_a_thread(first)
    thread.join()
    assert list(ts.default_store()) == ["foo/v"]


def test_a_thread_can_enter_the_main_threads_scope():
    def in_main_and_in_bar():
        with ts.variable_scope(main), ts.variable_scope("foo"):
            ts.get_variable("v", [])
        with ts.variable_scope("bar"):
            ts.get_variable("v", [])

    with ts.variable_scope("main") as main:
        in_a_thread(in_main_and_in_bar)
    assert list(ts.default_store()) == ["main/foo/v", "bar/v"]


@in_every_pass
def test_a_new_thread_starts_at_the_root_with_counts_of_its_own(store):
    def default_names():
        found = [ts.get_variable_scope().name]
        for _ in range(2):
            with ts.variable_scope(None, "layer") as scope:
                found.append(scope.name)
        return found

    seen = []
    with ts.variable_scope("main"), ts.variable_scope(None, "layer"):
        in_a_thread(lambda: seen.extend(store(default_names)))
        with store:
            assert ts.get_variable_scope().name == "main/layer"
    assert seen == ["", "layer", "layer_1"]


def test_on_the_default_store_threads_share_variables_and_count_apart():
    seen = []

    def layer(reuse):
        with ts.variable_scope(None, "layer"), ts.variable_scope("in", reuse=reuse):
            seen.append(ts.get_variable("v", []))

    with ts.variable_scope("main") as main:
        main.reuse_variables()
        in_a_thread(lambda: layer(None))
    layer(True)
    assert seen[0] is seen[1]
    assert list(ts.default_store()) == ["layer/in/v"]


def elsewhere(opening: Any, store: ts.VariableStore) -> None:
    in_a_thread(lambda: opening.__exit__(None, None, None))


def in_another_pass(opening: Any, store: ts.VariableStore) -> None:
    with ts.VariableStore(), ts.variable_scope("other"):
        opening.__exit__(None, None, None)


@pytest.mark.parametrize("leave", [elsewhere, in_another_pass])
def test_leaving_a_scope_where_it_is_not_open_is_an_error_that_says_so(leave: Any):
    store, opening = ts.VariableStore(), ts.variable_scope("q")
    with store:
        opening.__enter__()
        with pytest.raises(ts.ScopeOrderError, match=r"variable_scope\('q'\) is not open here"):
            leave(opening, store)
        assert ts.get_variable_scope().name == "q"
        opening.__exit__(None, None, None)
        with pytest.raises(ts.ScopeOrderError, match=r"variable_scope\('q'\) is not open here"):
            opening.__exit__(None, None, None)
