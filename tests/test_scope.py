"""Variable scopes: the tutorial's programs, then TensorFlow's own tests, said in torchscope."""

import functools
import inspect
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom

import torchscope as ts

# ---- TensorFlow's tutorial "Sharing Variables" -------------------------------------------------


@pytest.fixture(params=["a store", "the default store"])
def variables(request):
    """The store in which a program of the tutorial makes its variables."""
    if request.param == "the default store":
        yield ts.default_store()
    else:
        with ts.VariableStore() as store:
            yield store


@pytest.fixture
def image():
    return torch.rand(1, 4, 6, 6)


def conv_relu(x, kernel_shape, bias_shape):
    # Create variable named "weights".
    weights = ts.get_variable("weights", kernel_shape, initializer=ts.random_normal_initializer())
    # Create variable named "biases".
    biases = ts.get_variable("biases", bias_shape, initializer=ts.constant_initializer(0.0))
    return F.relu(F.conv2d(x, weights, biases, padding="same"))


def my_image_filter(input_images):
    with ts.variable_scope("conv1"):
        # Variables created here will be named "conv1/weights", "conv1/biases".
        relu1 = conv_relu(input_images, [4, 4, 5, 5], [4])
    with ts.variable_scope("conv2"):
        # Variables created here will be named "conv2/weights", "conv2/biases".
        return conv_relu(relu1, [4, 4, 5, 5], [4])


FOUR_NAMES = ["conv1/weights", "conv1/biases", "conv2/weights", "conv2/biases"]
IN_MODEL = [f"model/{name}" for name in FOUR_NAMES]


def test_conv_relu_twice_without_scopes_is_refused(variables, image, refused):
    x = conv_relu(image, [4, 4, 5, 5], [4])
    assert list(variables) == ["weights", "biases"]

    first_made = r"Variable 'weights' already exists.*first made at .*test_scope\.py:\d+"
    with refused(variables, ts.VariableExistsError, match=first_made):
        conv_relu(x, [4, 4, 5, 5], [4])


def test_conv_relu_under_conv1_and_conv2_makes_four_variables(variables, image):
    my_image_filter(image)
    assert list(variables) == FOUR_NAMES


def test_the_filter_twice_is_refused(variables, image, refused):
    my_image_filter(image)
    already = "Variable 'conv1/weights' already exists"
    with refused(variables, ts.VariableExistsError, match=already):
        my_image_filter(image)


def test_the_scope_of_a_name_opened_again_with_reuse_shares_the_filter(variables, image):
    with ts.variable_scope("model"):
        result1 = my_image_filter(image)
    with ts.variable_scope("model", reuse=True):
        result2 = my_image_filter(image)
    assert list(variables) == IN_MODEL
    assert torch.equal(result1, result2)


def test_reuse_variables_between_two_calls_shares_the_filter(variables, image):
    with ts.variable_scope("model") as scope:
        result1 = my_image_filter(image)
        scope.reuse_variables()
        result2 = my_image_filter(image)
    assert list(variables) == IN_MODEL
    assert torch.equal(result1, result2)


def test_a_scope_object_entered_again_with_reuse_shares_the_filter(variables, image):
    with ts.variable_scope("model") as scope:
        result1 = my_image_filter(image)
    with ts.variable_scope(scope, reuse=True):
        result2 = my_image_filter(image)
    assert list(variables) == IN_MODEL
    assert torch.equal(result1, result2)


def test_two_scopes_make_two_filters(variables, image):
    with ts.variable_scope("model1"):
        result1 = my_image_filter(image)
    with ts.variable_scope("model2"):
        result2 = my_image_filter(image)
    assert len(variables) == 8
    assert not torch.equal(result1, result2)


# ---- TensorFlow's variable_scope_test.py -------------------------------------------------------


def in_every_pass(program):
    """Run ``program`` for three passes over the store it is given: TensorFlow ran it once."""

    @functools.wraps(program)
    def test(store, **fixtures):
        for _ in range(3):
            store(program, store, **fixtures)

    return test


def names(variables):
    return [ts.name_of(variable) for variable in variables]


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


# -- reuse


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


# -- what scopes inherit


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


# -- names


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


# -- local variables


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


# -- lists


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


# -- custom getters


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


# -- threads: TensorFlow's share the graph, ours the default store


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


# ---- beyond the recorded programs --------------------------------------------------------------


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


@in_every_pass
def test_a_template_without_a_name_has_its_scope_in_the_outer_one(store):
    template = ts.make_template("", lambda: ts.get_variable("v", []))
    with ts.variable_scope("outer"):
        v = template()
    assert template.variable_scope.name == "outer/"
    assert store.name_of(v) == "outer//v"


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


@in_every_pass
def test_a_scope_opened_again_by_its_name_continues(store, refused):
    with ts.variable_scope("a"):
        ts.get_variable("v", [])
    with ts.variable_scope("a"):
        assert store.name_of(ts.get_variable("w", [])) == "a/w"
        with refused(store, ts.VariableExistsError, match="'a/v' already exists"):
            ts.get_variable("v", [])


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


# ---- what a refused request leaves behind ------------------------------------------------------


def failing_initializer(shape, dtype):
    raise ZeroDivisionError("in the initializer")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"shape": [-1]}, ValueError, "cannot be negative"),
        ({"shape": [1.5]}, TypeError, "is an integer or None"),
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
