"""Scopes: what inner ones take over from outer ones, and that a scope object is a value."""

import contextlib
import copy
import pickle

import pytest
import torch
from passes import in_every_pass, names

import torchscope as ts


@in_every_pass
def test_an_initializer_comes_from_the_scope(store):
    init = ts.constant_initializer(0.25)
    with ts.variable_scope("tower") as tower:
        with ts.variable_scope("foo", initializer=init):
            v = ts.get_variable("v", [])
            with ts.variable_scope("bar"):
                u = ts.get_variable("u", [])
        with ts.variable_scope(tower, initializer=init):
            w = ts.get_variable("w", [])
    assert [x.item() for x in (v, u, w)] == [0.25, 0.25, 0.25]
    assert names([v, u, w]) == ["tower/foo/v", "tower/foo/bar/u", "tower/w"]


@in_every_pass
def test_a_dtype_comes_from_the_scope(store):
    with ts.variable_scope("tower") as tower:
        with ts.variable_scope("foo", dtype=torch.float16):
            v = ts.get_variable("v", [])
            with ts.variable_scope("bar"):
                u = ts.get_variable("u", [])
        with ts.variable_scope(tower, dtype=torch.float16):
            w = ts.get_variable("w", [])
            x = ts.get_variable("x", [], dtype=torch.float64)
        y = ts.get_variable("y", [], dtype=v.dtype)
    dtypes = [variable.dtype for variable in (v, u, w, x, y)]
    assert dtypes == [torch.float16, torch.float16, torch.float16, torch.float64, torch.float16]


@in_every_pass
def test_a_constraint_holds_in_its_scope_and_not_in_inner_ones(store):
    def to_zero(variable):
        return 0.0 * variable

    ones = ts.ones_initializer()
    with ts.variable_scope("tower", initializer=ones) as tower:
        with ts.variable_scope("foo", constraint=to_zero) as foo:
            v = ts.get_variable("v", [])
            with ts.variable_scope("child") as child:
                free = ts.get_variable("v", [])
        with ts.variable_scope(tower, constraint=to_zero):
            w = ts.get_variable("w", [])
        x = ts.get_variable("x", [], constraint=to_zero)
    assert foo.constraint is to_zero
    assert child.constraint is None
    store.apply_constraints()
    assert [variable.item() for variable in (v, free, w, x)] == [0.0, 1.0, 0.0, 0.0]


@in_every_pass
def test_a_regularizer_comes_from_the_scope_and_can_be_switched_off(store):
    init = ts.constant_initializer(0.25)

    def regularizer1(variable):
        return variable.mean() + 1.0

    def regularizer2(variable):
        return variable.mean() + 2.0

    def losses():
        return [loss.item() for loss in ts.get_collection(ts.GraphKeys.REGULARIZATION_LOSSES)]

    with ts.variable_scope("tower", regularizer=regularizer1) as tower:
        with ts.variable_scope("foo", initializer=init):
            ts.get_variable("v", [])
        assert losses()[:1] == [1.25]
        with ts.variable_scope(tower, initializer=init) as scope:
            ts.get_variable("u", [])
            scope.set_regularizer(regularizer2)
            ts.get_variable("w", [])
            # The next three are not regularized.
            ts.get_variable("x", [], regularizer=ts.no_regularizer)
            with ts.variable_scope("baz", regularizer=ts.no_regularizer):
                ts.get_variable("y", [])
            scope.set_regularizer(ts.no_regularizer)
            ts.get_variable("z", [])
        assert losses() == [1.25, 1.25, 2.25]
        with ts.variable_scope("foo", reuse=True):
            ts.get_variable("v", [])
            assert losses() == [1.25, 1.25, 2.25]  # No new loss added.


@in_every_pass
def test_the_current_scope_can_be_changed_and_the_change_ends_with_it(store, refused):
    with ts.variable_scope("bar"):
        assert ts.get_variable_scope().initializer is None
        ts.get_variable_scope().set_initializer(ts.constant_initializer(0.25))
        assert ts.get_variable("v", []).item() == 0.25
        ts.get_variable_scope().reuse_variables()
        with refused(store, ValueError, match="'bar/w' does not exist"):
            ts.get_variable("w", [1])
    assert ts.get_variable_scope().initializer is None
    assert ts.get_variable_scope().reuse is False


@in_every_pass
def test_what_is_set_on_the_root_ends_with_the_pass(store):
    root = ts.get_variable_scope()
    assert (root.initializer, root.dtype, root.reuse) == (None, None, False)
    ts.get_variable("made", [])
    root.set_initializer(ts.ones_initializer())
    root.set_dtype(torch.float64)
    root.reuse_variables()
    assert ts.get_variable_scope() is root


def test_what_is_set_on_a_kept_scope_stays(store):
    def keep():
        with ts.variable_scope("a") as scope:
            ts.get_variable("v", [])
        scope.set_dtype(torch.float64)
        scope.reuse_variables()
        return scope

    scope = store(keep)

    def enter(expected):
        with ts.variable_scope(scope) as again:
            assert (again.reuse, again.dtype) == (True, torch.float64)
            again.set_dtype(expected)  # The copy's, not the original's.

    store(enter, torch.float16)
    store(enter, None)


def test_a_kept_scope_numbers_default_names_alike_in_every_pass(store):
    with ts.variable_scope("a") as kept:
        pass

    def layers():
        for _ in range(2):
            with ts.variable_scope(None, "layer"):
                yield store.name_of(ts.get_variable("v", []))

    def program():
        with ts.variable_scope(kept):
            made = [*layers()]
        with ts.variable_scope(kept, reuse=True):
            assert [*layers()] == made
        with ts.variable_scope(None, "a") as other:
            return [*made, other.name]

    expected = ["a/layer/v", "a/layer_1/v", "a_1"]
    assert [store(program) for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize("name", ["layer", None])
def test_a_kept_manager_opens_the_same_scope_in_every_pass(store, refused, name):
    manager = ts.variable_scope(name, "layer")

    def program():
        with ts.variable_scope("a"), manager as scope:
            ts.get_variable("v", [])
        with (
            ts.variable_scope("a"),
            manager,
            refused(store, ts.VariableExistsError, match="'a/layer/v' already exists"),
        ):
            ts.get_variable("v", [])
        return scope.name

    assert [store(program) for _ in range(3)] == ["a/layer"] * 3


@in_every_pass
def test_empty_names(store):
    with ts.variable_scope("") as root:
        assert root.name == ""
        assert store.name_of(ts.get_variable("v", [])) == "v"
        with ts.variable_scope("b"):
            assert store.name_of(ts.get_variable("v", [])) == "b/v"
    with ts.variable_scope("a"), ts.variable_scope("") as inner:
        assert inner.name == "a/"
        assert store.name_of(ts.get_variable("v", [])) == "a//v"


# ---- scopes are values -------------------------------------------------------------------------


@in_every_pass
def test_a_scope_can_be_asked_from_outside_it(store, refused):
    with ts.variable_scope("a", initializer=ts.ones_initializer(), dtype=torch.float64) as scope:
        pass
    with ts.variable_scope("b"):
        v = scope.get_variable("v", [2])
    assert (store.name_of(v), v.dtype, v.tolist()) == ("a/v", torch.float64, [1.0, 1.0])
    with refused(store, ts.VariableExistsError, match="'a/v' already exists"):
        scope.get_variable("v", [2])
    scope.reuse_variables()
    assert scope.get_variable("v", [2]) is v


def test_a_scope_acts_on_the_store_entered_now(store):
    with ts.variable_scope("a", initializer=ts.ones_initializer()) as scope:
        v = ts.get_variable("v", [])
    with ts.VariableStore() as other, ts.variable_scope(scope):
        w = ts.get_variable("v", [])
        assert scope.global_variables() == [w]
    assert scope.global_variables() == [v]
    assert (other.name_of(w), w.item()) == ("a/v", 1.0)
    assert v is not w


def test_entering_the_default_store_inside_its_scope_changes_nothing():
    with ts.variable_scope("a") as scope:
        with ts.default_store() as store:
            assert ts.get_variable_scope() is scope
            ts.get_variable("v", [])
        assert ts.get_variable_scope() is scope
    assert list(store) == ["a/v"]


@in_every_pass
def test_an_initializer_may_ask_for_another_variable(store):
    def twice_the_other(shape, dtype):
        return 2 * ts.get_variable("other", shape, dtype, initializer=ts.ones_initializer())

    v = ts.get_variable("v", [2], initializer=twice_the_other)
    assert list(store) == ["other", "v"]
    assert (v.tolist(), v.is_leaf) == ([2.0, 2.0], True)


@pytest.mark.parametrize(
    "typed",
    [
        "variable_scope('a')",
        "variable_scope('a/b')",
        "variable_scope('')",
        "variable_scope(None, 'd')",
        "variable_scope('a', 'd')",
        "variable_scope('a', reuse=True)",
        "variable_scope('a', reuse=AUTO_REUSE)",
        "variable_scope(None, 'd', dtype=torch.float64)",
        "variable_scope('a', initializer=1.5, regularizer=no_regularizer, reuse=True)",
        "variable_scope('a', constraint=torch.abs)",
        "variable_scope('a', custom_getter=len)",
    ],
)
def test_the_repr_of_an_opening_reads_as_what_was_typed(typed):
    shown = {
        "torch.abs": repr(torch.abs),
        "len": repr(len),
        "no_regularizer": repr(ts.no_regularizer),
    }
    expected = typed
    for name, text in shown.items():
        expected = expected.replace(f"={name}", f"={text}")
    opening = eval(typed, {**vars(ts), "torch": torch})
    assert repr(opening) == expected
    with ts.VariableStore():
        with opening:
            assert repr(opening) == expected
        assert repr(opening) == expected


def test_the_repr_of_an_opening_of_a_scope_shows_the_scope(store):
    with ts.variable_scope("a") as scope:
        pass
    assert repr(ts.variable_scope(scope)) == "variable_scope(VariableScope('a', reuse=False))"
    assert repr(ts.variable_scope(scope, reuse=False)) == repr(ts.variable_scope(scope))
    with ts.variable_scope("a", reuse=ts.AUTO_REUSE) as scope:
        pass
    assert repr(scope) == "VariableScope('a', reuse=AUTO_REUSE)"


def test_a_scope_entered_by_itself_is_refused_and_says_what_to_write(store: ts.VariableStore):
    with ts.variable_scope("a") as scope:
        pass
    said = r"'a' is not a context manager\. Write: with ts\.variable_scope\(scope\):"
    refusal = pytest.raises(TypeError, match=said)
    with refusal, scope:  # type: ignore[attr-defined]
        pass
    with pytest.raises(TypeError, match=r"with ts\.variable_scope\(scope\):"):
        contextlib.ExitStack().enter_context(scope)  # type: ignore[arg-type]
    assert ts.get_variable_scope().name == ""
    assert pickle.loads(pickle.dumps(scope)).name == copy.deepcopy(scope).name == "a"
