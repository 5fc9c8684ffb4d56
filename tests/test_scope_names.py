"""Names of scopes and of variables in them: full, default and refused ones."""

import pytest
import torch
from passes import in_every_pass

import torchscope as ts
from torchscope._opened import Opened


@in_every_pass
def test_a_scope_has_its_full_name(store):
    with ts.variable_scope("tower") as tower:
        assert tower.name == "tower"
    with ts.variable_scope("tower2"), ts.variable_scope("bar") as bar:
        assert bar.name == "tower2/bar"
        with ts.variable_scope(tower, reuse=True) as shared:
            assert shared.name == "tower"
        assert ts.get_variable_scope() is bar
    assert ts.get_variable_scope().name == ""


@in_every_pass
def test_a_name_goes_before_a_default_name(store, refused):
    with ts.variable_scope("tower", "default", []):
        assert store.name_of(ts.get_variable("w", [])) == "tower/w"
    with (
        ts.variable_scope("tower", "default", []),
        refused(store, ValueError, match="'tower/w' already exists"),
    ):
        ts.get_variable("w", [])
    with ts.variable_scope(None, "default", []):
        assert store.name_of(ts.get_variable("w", [])) == "default/w"
    with ts.variable_scope(None, "default", []):
        assert store.name_of(ts.get_variable("w", [])) == "default_1/w"


def ask(below):
    """A variable in a default name, in a scope for each name in ``below``."""
    if below:
        with ts.variable_scope(below[0]):
            ask(below[1:])
    else:
        with ts.variable_scope(None, "d"):
            ts.get_variable("w", [])


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ([[""], []], ["d/w", "d_1/w"]),
        ([[], [""], []], ["d/w", "d_1/w", "d_2/w"]),
        ([[""], [""]], ["d/w", "d_1/w"]),
        ([["", ""], []], ["d/w", "d_1/w"]),
        ([[""], ["a"], [""]], ["d/w", "a/d/w", "d_1/w"]),
        ([["", "a"], []], ["a/d/w", "d/w"]),
        ([["a", ""], ["a"], [""], []], ["a//d/w", "a/d/w", "d/w", "d_1/w"]),
    ],
)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_leaving_the_empty_name_at_the_root_sets_no_count_back(asked, names, compiled):
    def model(x):
        for below in asked:
            ask(below)
        return x + sum(ts.trainable_variables())

    net = ts.ScopedModule(model).build(torch.zeros(()))
    assert list(net) == names
    run = torch.compile(net, backend="eager") if compiled else net
    run(torch.zeros(()))
    assert list(net) == names


@in_every_pass
def test_a_named_scope_in_the_empty_name_counts_after_it(store):
    with ts.variable_scope(""), ts.variable_scope("d"):
        ts.get_variable("w", [])
    with ts.variable_scope(None, "d"):
        assert store.name_of(ts.get_variable("w", [])) == "d_1/w"


@in_every_pass
def test_the_root_entered_again_sets_the_counts_back(store, refused):
    with ts.variable_scope("") as root, ts.variable_scope(None, "d"):
        ts.get_variable("w", [])
    with ts.variable_scope(root), ts.variable_scope(None, "d"):
        assert store.name_of(ts.get_variable("w", [])) == "d_1/w"
    with (
        ts.variable_scope(None, "d"),
        refused(store, ts.VariableExistsError, match="'d_1/w' already exists"),
    ):
        ts.get_variable("w", [])


@in_every_pass
def test_default_names_that_begin_alike_are_counted_apart(store):
    def layer_in(default_name):
        with ts.variable_scope(None, default_name), ts.variable_scope(None, "layer"):
            return store.name_of(ts.get_variable("w", []))

    assert layer_in("scope1") == "scope1/layer/w"
    assert layer_in("scope1") == "scope1_1/layer/w"
    assert layer_in("scope") == "scope/layer/w"
    assert layer_in("scope1") == "scope1_2/layer/w"


@in_every_pass
def test_default_names_count_on_after_a_jump(store):
    def layer():
        with ts.variable_scope(None, "layer"):
            return store.name_of(ts.get_variable("w", []))

    with ts.variable_scope("default") as default:
        assert layer() == "default/layer/w"
        assert layer() == "default/layer_1/w"
        with ts.variable_scope(default):
            pass
        assert layer() == "default/layer_2/w"


@in_every_pass
def test_default_names_begin_again_in_a_scope_entered_again(store):
    def two_layers():
        with ts.variable_scope("tower", "default", []):
            w1 = ts.get_variable("w", [])
        with ts.variable_scope(None, "default", []):
            w2 = ts.get_variable("w", [])
        return [store.name_of(w1), store.name_of(w2)]

    with ts.variable_scope("outer") as outer:
        assert two_layers() == ["outer/tower/w", "outer/default/w"]
    with ts.variable_scope(outer, reuse=True):
        assert two_layers() == ["outer/tower/w", "outer/default/w"]
    with ts.variable_scope(outer) as entered:
        entered.reuse_variables()
        assert two_layers() == ["outer/tower/w", "outer/default/w"]


@in_every_pass
def test_a_scope_object_entered_with_a_default_name_keeps_its_name(store):
    with ts.variable_scope("outer") as outer:
        with ts.variable_scope(outer, "default", []):
            assert store.name_of(ts.get_variable("w", [])) == "outer/w"
        with ts.variable_scope(None, "default", []):
            assert store.name_of(ts.get_variable("w", [])) == "outer/default/w"
    with ts.variable_scope(outer, "default", reuse=True):
        assert store.name_of(ts.get_variable("w", [])) == "outer/w"
        with ts.variable_scope(None, "default", []):
            assert store.name_of(ts.get_variable("w", [])) == "outer/default/w"


@in_every_pass
def test_the_outer_scope_can_be_entered_inside_itself(store):
    with ts.variable_scope("outer") as outer:
        with ts.variable_scope(outer):
            assert store.name_of(ts.get_variable("w", [])) == "outer/w"
        with ts.variable_scope("default"):
            assert store.name_of(ts.get_variable("w", [])) == "outer/default/w"
        with ts.variable_scope(outer, reuse=True):
            assert store.name_of(ts.get_variable("w", [])) == "outer/w"
        with ts.variable_scope("default", reuse=True):
            assert store.name_of(ts.get_variable("w", [])) == "outer/default/w"


@in_every_pass
def test_the_root_can_be_entered_from_a_scope(store):
    root = ts.get_variable_scope()
    with ts.variable_scope("outer"):
        with ts.variable_scope(root) as entered:
            assert entered.name == ""
            assert store.name_of(ts.get_variable("w", [])) == "w"
        assert store.name_of(ts.get_variable("w", [])) == "outer/w"


@in_every_pass
def test_name_scopes_touch_no_variable(store):
    with ts.name_scope("scope1"), ts.variable_scope("tower"), ts.name_scope(None, "scope2", []):
        assert store.name_of(ts.get_variable("w", [])) == "tower/w"
        assert ts.get_variable_scope().name == "tower"


@in_every_pass
def test_scopes_left_out_of_order_are_a_runtime_error(store, refused):
    with ts.variable_scope("aa"):
        manager = ts.variable_scope("bb")
        manager.__enter__()
        with ts.variable_scope("cc"):
            out_of_order = "reverse order of entering; 'aa/bb/cc' is still open"
            with refused(store, RuntimeError, match=out_of_order):
                manager.__exit__(None, None, None)
        assert ts.get_variable_scope().name == "aa/bb"
        manager.__exit__(None, None, None)
        assert ts.get_variable_scope().name == "aa"


def test_leaving_a_scope_that_was_not_entered_is_a_runtime_error(store, refused):
    with refused(store, RuntimeError, match="reverse order of entering"):
        ts.variable_scope("a").__exit__(None, None, None)


@pytest.mark.parametrize("name", ["_", "_a", "-a", "/a", "a b", "a:0", "a?", "é"])
def test_a_name_that_tensorflow_refuses_is_refused(store, refused, name):
    with refused(store, ts.VariableNameError, match="is not a scope name"), ts.variable_scope(name):
        pass
    with refused(store, ts.VariableNameError, match="is not a variable name"):
        ts.get_variable(name, [])


@pytest.mark.parametrize("name", [None, 3, b"a", ["a"]])
def test_a_name_is_a_string(store, refused, name):
    with (
        refused(store, TypeError, match=r"variable_scope(\(None\) needs| takes)"),
        ts.variable_scope(name),
    ):
        pass
    with refused(store, TypeError, match="name is a string, not"):
        ts.get_variable(name, [])


@in_every_pass
def test_a_template_without_a_name_has_its_scope_in_the_outer_one(store):
    template = ts.make_template("", lambda: ts.get_variable("v", []))
    with ts.variable_scope("outer"):
        v = template()
    assert template.variable_scope.name == "outer/"
    assert store.name_of(v) == "outer//v"


@in_every_pass
def test_a_scope_opened_again_by_its_name_continues(store, refused):
    with ts.variable_scope("a"):
        ts.get_variable("v", [])
    with ts.variable_scope("a"):
        assert store.name_of(ts.get_variable("w", [])) == "a/w"
        with refused(store, ts.VariableExistsError, match="'a/v' already exists"):
            ts.get_variable("v", [])


def test_paths_are_searched_for_only_at_leaving_what_they_pass_through(monkeypatch):
    searched = []
    forget_below = Opened.forget_below

    def noting(opened, name):
        searched.append(name)
        forget_below(opened, name)

    monkeypatch.setattr(Opened, "forget_below", noting)
    found = []
    with ts.VariableStore():
        for name in ("a/b/c", "d/e", "d/f", "a/b/c", "x"):
            with ts.variable_scope(name), ts.variable_scope(None, "g") as scope:
                found.append(scope.name)
        assert not searched
        with ts.variable_scope("a"), ts.variable_scope(None, "b") as scope:
            found.append(scope.name)
        assert searched == ["a/b", "a"]
        with ts.variable_scope("a"), ts.variable_scope(None, "b") as scope:
            found.append(scope.name)
    assert found == ["a/b/c/g", "d/e/g", "d/f/g", "a/b/c/g", "x/g", "a/b", "a/b"]
