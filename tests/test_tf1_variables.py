"""tf.Variable and its name, assign, scatter_update, and the scopes as TensorFlow spells them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torchscope as ts
import torchscope.tf1 as tf

# ---- tf.Variable --------------------------------------------------------------------------------


def test_a_variable_is_the_same_in_every_pass():
    def model() -> Tensor:
        with tf.variable_scope("a"):
            return tf.Variable(tf.random_normal([2]), name="w")

    net = ts.ScopedModule(model).build()
    assert net() is net() is net["a/w"]
    assert list(net) == ["a/w"]


def test_a_variable_takes_dtype_trainable_collections_and_constraint(store: ts.VariableStore):
    half = tf.Variable([1, 2], dtype=tf.float16)
    fixed = tf.Variable(lambda: 3.0, trainable=False, name="fixed", constraint=torch.relu)
    local = tf.Variable(0, collections=[tf.GraphKeys.LOCAL_VARIABLES], name="local")
    assert (half.dtype, fixed.item(), local.dtype) == (torch.float16, 3.0, torch.int32)
    assert tf.trainable_variables() == [half]
    assert tf.local_variables() == [local]
    assert ts.constraint_of(fixed) is torch.relu
    assert isinstance(local, tf.Variable)


def test_scopes_give_a_variable_their_name_and_nothing_else(store: ts.VariableStore):
    def getter(*args: Any, **kwargs: Any) -> Any:
        pytest.fail("the getter was asked")

    defaults = {"regularizer": ts.l2_regularizer(1.0), "custom_getter": getter, "reuse": True}
    with tf.variable_scope("a", **defaults):
        tf.Variable(1.0)
    assert list(store) == ["a/Variable"]
    assert store.regularization_losses() == []


def test_a_name_that_get_variable_has_is_passed_over(store: ts.VariableStore):
    with tf.variable_scope("a"):
        tf.get_variable("w", [2])
        tf.Variable(1.0, name="w")
    assert list(store) == ["a/w", "a/w_1"]


def test_a_variable_of_another_shape_than_in_the_first_pass_is_refused():
    store = ts.VariableStore()
    store(lambda: tf.Variable(torch.zeros(2)))
    with pytest.raises(ts.VariableMismatchError, match=r"'Variable' has shape \(2,\), not \(3,\)"):
        store(lambda: tf.Variable(torch.zeros(3)))


def test_isinstance_tells_variables_from_tensors(store: ts.VariableStore):
    made = tf.get_variable("w", [2])
    moving = ts.get_buffer("mean", [2])
    assert all(isinstance(v, tf.Variable) for v in (made, moving))
    assert not any(isinstance(v, tf.Variable) for v in (made * 2, moving.clone(), 3))


# ---- name scopes --------------------------------------------------------------------------------


def names(program: Callable[[Callable[[], Any]], Any]) -> list[str]:
    """What the variables are called that ``program`` makes by its argument."""
    store = ts.VariableStore()
    store(program, lambda: tf.Variable(1.0, name="w"))
    found = list(store)
    store(program, lambda: tf.Variable(1.0, name="w"))
    assert list(store) == found, "the second pass made others"
    return found


def test_a_variable_scope_opened_again_is_another_name_scope():
    def program(make: Callable[[], Any]) -> None:
        for _ in range(2):
            with tf.variable_scope("a"):
                make()
                with tf.variable_scope("b"):
                    make()

    assert names(program) == ["a/w", "a/b/w", "a_1/w", "a_1/b/w"]


def test_a_scope_object_names_by_its_last_part():
    def program(make: Callable[[], Any]) -> None:
        with tf.variable_scope("a"), tf.variable_scope("b") as inner:
            make()
        with tf.variable_scope("c"), tf.variable_scope(inner):
            make()
        with tf.variable_scope(inner, auxiliary_name_scope=False):
            make()

    assert names(program) == ["a/b/w", "c/b/w", "w"]


def test_a_scope_knows_the_name_scope_of_its_first_opening():
    with ts.VariableStore():
        assert tf.original_name_scope(tf.get_variable_scope()) == ""
        with tf.name_scope("n"), tf.variable_scope("a"), tf.name_scope("x"):
            assert tf.original_name_scope(tf.get_variable_scope()) == "n/a/"
        with tf.variable_scope("a") as first:
            assert tf.original_name_scope(first) == "a/"
        with tf.variable_scope("a") as second:
            assert tf.original_name_scope(second) == "a_1/"
            with tf.variable_scope(second, auxiliary_name_scope=False) as again:
                assert tf.original_name_scope(again) == "a_1/"
        assert tf.original_name_scope(first) == "a/"


def test_name_scopes_end_in_a_slash_to_be_entered_again_and_are_empty_at_the_root():
    def program(make: Callable[[], Any]) -> None:
        with tf.name_scope("a") as full, tf.name_scope("a") as inner:
            make()
            with tf.name_scope(full):
                make()
            with tf.name_scope(None), tf.name_scope("b"):
                make()
            with tf.op_scope([1], None, "c"):
                make()
        assert (full, inner) == ("a/", "a/a/")

    assert names(program) == ["a/a/w", "a/w", "b/w", "a/a/c/w"]


def test_upper_and_lower_case_are_one_name():
    def program(make: Callable[[], Any]) -> None:
        for name in ("A", "a", "a_1"):
            with tf.name_scope(name):
                make()

    assert names(program) == ["A/w", "a_1/w", "a_1_1/w"]


def test_scopes_of_torchscope_itself_count_by_their_names():
    def program(make: Callable[[], Any]) -> None:
        with ts.variable_scope("a"), tf.name_scope("b"):
            make()
        with ts.name_scope("c"):
            make()

    assert names(program) == ["a/b/w", "c/w"]


def test_a_scope_may_be_kept_and_opened_twice(store: ts.VariableStore):
    scope = tf.variable_scope("a")
    with scope:
        tf.get_variable("v", [2])
    with scope as again:
        tf.get_variable("w", [2])
    assert again.name == "a"
    assert list(store) == ["a/v", "a/w"]


def test_names_compile_into_one_graph_and_stay(store: ts.VariableStore):
    def model(x: Tensor) -> Tensor:
        with tf.variable_scope("a"), tf.name_scope("b"):
            x = x * tf.Variable(tf.ones([2]))
        with tf.variable_scope("a", reuse=tf.AUTO_REUSE):
            count = tf.Variable(0, trainable=False)
            return x + tf.cast(tf.assign_add(count, 1), tf.float32)

    net = ts.ScopedModule(model).build(torch.ones(2))
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert [compiled(torch.ones(2))[0].item() for _ in range(3)] == [2.0, 3.0, 4.0]
    assert list(net) == ["a/b/Variable", "a_1/Variable"]


@pytest.mark.parametrize("name", ["a b", "a:0", "-a"])
def test_a_name_that_tensorflow_refuses_is_refused(name: str):
    with pytest.raises(ValueError, match="has to be of letters, digits and"):
        tf.name_scope(name)


# ---- assign, scatter ----------------------------------------------------------------------------


@pytest.fixture
def rows(store: ts.VariableStore) -> Tensor:
    return tf.Variable([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], name="rows")


# What is done to rows 1, 1, 2, 2, 3, 3, and what they are then.
CHANGES: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "assign": (lambda v: tf.assign(v, v * 2), [2, 2, 4, 4, 6, 6]),
    "assign_add": (lambda v: tf.assign_add(v, tf.ones_like(v)), [2, 2, 3, 3, 4, 4]),
    "assign_sub": (lambda v: tf.assign_sub(v, v), [0, 0, 0, 0, 0, 0]),
    "scatter_update": (lambda v: tf.scatter_update(v, [2], [[7, 8]]), [1, 1, 2, 2, 7, 8]),
    "scatter_update all": (lambda v: tf.scatter_update(v, [0, 1], 5.0), [5, 5, 5, 5, 3, 3]),
    "scatter_add": (
        lambda v: tf.scatter_add(v, [[0], [0]], tf.ones([2, 1, 2])),
        [3, 3, 2, 2, 3, 3],
    ),
    "scatter_sub": (lambda v: tf.scatter_sub(v, 1, [1, 2]), [1, 1, 1, 0, 3, 3]),
    "scatter_mul": (lambda v: tf.scatter_mul(v, [1, 1], [[2, 3], [4, 5]]), [1, 1, 16, 30, 3, 3]),
    "scatter_mul all": (lambda v: tf.scatter_mul(v, [[0], [2]], 2.0), [2, 2, 2, 2, 6, 6]),
    "scatter_div": (
        lambda v: tf.scatter_div(v, [1, 1], [[2, 4], [4, 2]]),
        [1, 1, 0.25, 0.25, 3, 3],
    ),
    "scatter_min": (
        lambda v: tf.scatter_min(v, [1, 2, 1], [[1, 9], [2, 8], [3, -4]]),
        [1, 1, 1, -4, 2, 3],
    ),
    "scatter_max": (
        lambda v: tf.scatter_max(v, [1, 2, 1], [[1, 9], [2, 8], [3, -4]]),
        [1, 1, 3, 9, 3, 8],
    ),
    "scatter_nd_update": (
        lambda v: tf.scatter_nd_update(v, [[0, 1], [2, 0]], [7, 8]),
        [1, 7, 2, 2, 8, 3],
    ),
    "scatter_nd_add": (lambda v: tf.scatter_nd_add(v, [[1], [1]], v[:2]), [1, 1, 5, 5, 3, 3]),
    "scatter_nd_sub": (lambda v: tf.scatter_nd_sub(v, [[0]], [[1, 1]]), [0, 0, 2, 2, 3, 3]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_happens_at_once_and_gives_the_variable(name: str, rows: Tensor):
    change, wanted = CHANGES[name]
    assert change(rows) is rows
    assert rows.flatten().tolist() == wanted
    assert rows.is_leaf
    assert rows.grad_fn is None


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_compiles_into_one_graph(name: str):
    torch._dynamo.reset()
    change, wanted = CHANGES[name]
    net = ts.ScopedModule(lambda: change(tf.get_variable("v", [3, 2])) * 1).build()
    with torch.no_grad():
        net["v"].copy_(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    assert torch.compile(net, fullgraph=True, backend="aot_eager")().flatten().tolist() == wanted
    assert net["v"].flatten().tolist() == wanted


def test_count_up_to_gives_what_was_and_stops(store: ts.VariableStore):
    count = tf.Variable(0)
    assert [tf.count_up_to(count, 2).item() for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="reached its limit of 2"):
        tf.count_up_to(count, 2)


def test_what_torch_func_puts_in_a_variables_place_can_be_assigned_to():
    net = ts.ScopedModule(lambda: tf.assign_add(tf.get_variable("v", [2]), [1.0, 2.0]) * 1).build()
    given = {"v": torch.zeros(2)}
    assert torch.func.functional_call(net, given, ()).tolist() == [1.0, 2.0]
    assert given["v"].tolist() == [1.0, 2.0]


# What is refused: the call, the error's class, what it says.
REFUSED: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (lambda v: tf.Variable(), ValueError, "give the initial_value"),
    (lambda v: tf.Variable(1.5, dtype=tf.int32), TypeError, "1.5 and has to be int32"),
    (lambda v: tf.Variable(tf.constant(1.0), dtype=tf.float64), ValueError, "use tf.cast"),
    (lambda v: tf.assign(v * 2, v), AttributeError, r"assign\(\): ref is not a variable"),
    (lambda v: tf.assign(v, 1.0), ValueError, r"shape \(3, 2\), the value \(\)"),
    (lambda v: tf.assign(v, tf.to_int32(v)), TypeError, "int32 and has to be float32"),
    (lambda v: tf.scatter_add(v, [0], [1.0]), ValueError, r"\[1\] and has to have \[1, 2\]"),
    (lambda v: tf.scatter_nd_add(v, [[0]], [1.0]), ValueError, r"\[1\] and has to have \[1, 2\]"),
    (lambda v: tf.scatter_update(v, [0.0], v[:1]), TypeError, "indices is float32 and has to be"),
    (lambda v: tf.scatter_update(v, [3], v[:1]), IndexError, "out of range"),
    (lambda v: tf.scatter_mul(v, [0, -1], v[:2]), IndexError, r"scatter_mul\(\): an index is out"),
    (lambda v: tf.scatter_div(v, [0, 3], v[:2]), IndexError, r"scatter_div\(\): an index is out"),
    (lambda v: tf.scatter_min(v * 2, [0], v[:1]), AttributeError, "ref is not a variable"),
]


@pytest.mark.parametrize(("call", "error", "says"), REFUSED, ids=[says for *_, says in REFUSED])
def test_what_is_refused_says_why_and_changes_nothing(
    call: Callable[..., Any], error: Any, says: str, rows: Tensor, refused: Any
):
    with refused(ts.entered_store(), error, match=says):
        call(rows)


# ---- collections and names ----------------------------------------------------------------------


def test_collections_are_torchscopes_under_tensorflows_arguments(store: ts.VariableStore):
    v = tf.get_variable("v", initializer=[1, 2], collections=["variables", "model_variables"])
    assert v.dtype is torch.int32
    tf.add_to_collection(name="c", value=1)
    tf.add_to_collections(["c", "d"], 2)
    tf.add_to_collections("d", 3)
    assert [tf.get_collection("c"), tf.get_collection("d")] == [[1, 2], [2, 3]]
    assert tf.model_variables() == tf.all_variables() == [v]
    assert tf.GraphKeys.VARIABLES == "variables"


def test_names_are_tensorflows_for_whatever_is_asked(store: ts.VariableStore):
    with tf.variable_scope("a") as scope:
        w = tf.get_variable("w", [2])
    assert (tf.name_of(w), tf.op_name(w)) == ("a/w:0", "a/w")
    assert (tf.name_of(w * 2), tf.op_name(w * 2)) == ("tensor:0", "tensor")
    assert (tf.name_of(scope), tf.op_name(scope)) == ("a", "a")


def test_scopes_of_before_1_0_take_values_first(store: ts.VariableStore):
    with tf.variable_op_scope([1], None, "a") as scope, tf.variable_op_scope([], "b") as inner:
        assert (scope.name, inner.name) == ("a", "a/b")
