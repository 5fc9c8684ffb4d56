"""Reuse, as TensorFlow's own variable_scope_test.py says it: what is found, made and refused."""

import numpy as np
import pytest
import torch
from passes import in_every_pass

import torchscope as ts


@in_every_pass
def test_a_name_made_twice_is_refused_unless_reused(store, refused):
    v = ts.get_variable("v", [1])
    scope = ts.get_variable_scope()
    with refused(store, ValueError, match="'v' already exists"):
        ts.get_variable("v", [1])
    with refused(store, ValueError, match="'v' already exists"):
        scope.get_variable("v", [1], reuse=False)
    assert scope.get_variable("v", [1], reuse=True) is v
    assert scope.get_variable("v", [1], reuse=ts.AUTO_REUSE) is v
    with refused(store, ValueError, match="'u' does not exist"):
        scope.get_variable("u", [1], reuse=True)


@in_every_pass
def test_variables_are_found_from_wherever_their_scope_is_entered(store, refused):
    with ts.variable_scope("root"):
        with ts.variable_scope("towerA") as tower_a:
            va = ts.get_variable("v", [1])
        assert store.name_of(va) == "root/towerA/v"

        with ts.variable_scope(tower_a, reuse=True):
            assert ts.get_variable("v", [1]) is va
        with ts.variable_scope("towerB"):
            assert store.name_of(ts.get_variable("v", [1])) == "root/towerB/v"
        with (
            ts.variable_scope("towerA"),
            refused(store, ValueError, match="'root/towerA/v' already exists"),
        ):
            ts.get_variable("v", [1])
        with ts.variable_scope("towerA", reuse=True):
            assert ts.get_variable("v", [1]) is va

        with ts.variable_scope("foo"), ts.variable_scope("bar"):
            assert store.name_of(ts.get_variable("v", [1])) == "root/foo/bar/v"
            with ts.variable_scope(tower_a, reuse=True):
                assert ts.get_variable("v", [1]) is va


@in_every_pass
def test_reuse_is_inherited_by_inner_scopes(store, refused):
    with ts.variable_scope("tower") as tower:
        ts.get_variable("v", [1])
    missing = "'tower/baz/v' does not exist"
    with ts.variable_scope(tower, reuse=True), ts.variable_scope("baz"):
        assert ts.get_variable_scope().reuse is True
        with refused(store, ts.VariableMissingError, match=missing):
            ts.get_variable("v", [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": [2]}, r"'tower/v' has shape \(1,\), not \(2,\)"),
        ({"shape": [1, 1]}, r"'tower/v' has shape \(1,\), not \(1, 1\)"),
        ({"shape": [None, None]}, r"'tower/v' has shape \(1,\), not \(None, None\)"),
        ({"shape": [1], "dtype": torch.int32}, "'tower/v' has dtype torch.float32, not"),
    ],
)
@in_every_pass
def test_what_is_reused_has_to_fit(store, refused, arguments, message):
    with ts.variable_scope("tower"):
        ts.get_variable("v", [1])
    with (
        ts.variable_scope("tower", reuse=True),
        refused(store, ts.VariableMismatchError, match=message),
    ):
        ts.get_variable("v", **arguments)


@pytest.mark.parametrize("shape", [None, [None, 3], [2, None], [None, None], (2, 3)])
@in_every_pass
def test_a_partial_shape_fits_what_it_leaves_open(store, shape):
    v = ts.get_variable("v", [2, 3])
    with ts.variable_scope("", reuse=True):
        assert ts.get_variable("v", shape) is v


@pytest.mark.parametrize("shape", [[2.5, 3.0], (2.0, "3"), ["2", "3"]])
@in_every_pass
def test_sizes_are_integers_also_on_reuse(store, refused, shape):
    ts.get_variable("v", [2, 3])
    with (
        ts.variable_scope("", reuse=True),
        refused(store, TypeError, match="A size in a shape is an integer or None"),
    ):
        ts.get_variable("v", shape)


@pytest.mark.parametrize("shape", [None, [None], [None, 3], [2, None]])
def test_a_variable_is_made_from_a_full_shape_only(store, refused, shape):
    with refused(store, ts.ScopeError, match="'v' needs a full shape"):
        ts.get_variable("v", shape)


@pytest.mark.parametrize(
    "shape",
    [[2, 3], (2, 3), torch.Size([2, 3]), np.array([2, 3]), [np.int32(2), np.int64(3)]],
    ids=["list", "tuple", "torch.Size", "array", "numpy integers"],
)
@in_every_pass
def test_any_sequence_of_integers_is_a_shape(store, shape):
    assert ts.get_variable("v", shape).shape == (2, 3)


@pytest.mark.parametrize("shape", [3, np.int64(3), [3]])
@in_every_pass
def test_a_lone_integer_is_one_dimension(store, shape):
    assert ts.get_variable("v", shape).shape == (3,)


@in_every_pass
def test_a_scope_object_reuses_as_it_did_when_it_was_left(store):
    with ts.variable_scope("jump", reuse=True) as reusing:
        pass
    with ts.variable_scope(reusing) as scope:
        assert scope.reuse is True
    with ts.variable_scope(reusing, reuse=True) as scope:
        assert scope.reuse is True
    with ts.variable_scope(reusing, reuse=False) as scope:
        assert scope.reuse is True  # Inherited, cannot be undone.

    with ts.variable_scope("jump", reuse=False) as making:
        pass
    with ts.variable_scope(making) as scope:
        assert scope.reuse is False
    with ts.variable_scope(making, reuse=True) as scope:
        assert scope.reuse is True
    with ts.variable_scope(making, reuse=False) as scope:
        assert scope.reuse is False


@pytest.mark.parametrize("value", [42.0, 13.0, 17.0])
@in_every_pass
def test_auto_reuse_makes_at_first_and_finds_after(store, value):
    with ts.variable_scope("bar", reuse=ts.AUTO_REUSE) as scope:
        assert scope.reuse is ts.AUTO_REUSE
        made = ts.assign(ts.get_variable("var", []), value)
    with ts.variable_scope("bar", reuse=ts.AUTO_REUSE):
        found = ts.get_variable("var", [])
    assert found is made
    assert found.item() == value


@pytest.mark.parametrize("reuse", [1, 0, "True", "auto", np.True_, []])
def test_reuse_is_only_true_false_none_or_auto_reuse(store, refused, reuse):
    with (
        refused(store, ValueError, match="reuse is True, False, None or AUTO"),
        ts.variable_scope("a", reuse=reuse),
    ):
        pass


@in_every_pass
def test_a_default_name_cannot_be_reused(store, refused):
    for_reuse = "reuse needs a name"
    with (
        refused(store, ValueError, match=for_reuse),
        ts.variable_scope(None, "default", reuse=True),
    ):
        pass
    with (
        refused(store, ValueError, match=for_reuse),
        ts.variable_scope(None, "default", reuse=ts.AUTO_REUSE),
    ):
        pass
    with ts.variable_scope(None, "default") as scope:
        assert scope.name == "default"  # The refused ones were not counted.
