"""Branches, loops, arrays and nests, compiled and on meta, and what they refuse."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils._pytree as pytree
from torch import Tensor

import torchscope as ts
import torchscope.tf1 as tf

Pair = namedtuple("Pair", "first second")


def is_positive(x: Tensor) -> Tensor:
    return tf.reduce_sum(x) > 0


# A call of each on x: [3, 2], whose sum is positive.
CALLS: dict[str, Callable[[Tensor], Any]] = {
    "cond": lambda x: tf.cond(is_positive(x), lambda: x * 2, lambda: x),
    "cond of lists": lambda x: tf.cond(is_positive(x), lambda: [x, 1.0], lambda: [x * 2, 2.0]),
    "cond in cond": lambda x: tf.cond(
        is_positive(x), lambda: tf.cond(is_positive(-x), lambda: x, lambda: -x), lambda: x
    ),
    "case": lambda x: tf.case(
        [(is_positive(-x), lambda: x), (is_positive(x), lambda: x * 3)], default=lambda: x * 4
    ),
    "case without default": lambda x: tf.case([(is_positive(x), lambda: x * 3)]),
    "while_loop": lambda x: tf.while_loop(
        lambda i, _: i < 3, lambda i, a: (i + 1, tf.tanh(a)), [0, x]
    ),
    "while_loop of nests": lambda x: tf.while_loop(
        lambda i, _: i < 3,
        lambda i, ab: (i + 1, Pair(ab.second, ab.first * 2)),
        (tf.constant(0), Pair(x, -x)),
        maximum_iterations=2,
    ),
    "map_fn": lambda x: tf.map_fn(lambda row: row * row[0], x),
    "map_fn of nests": lambda x: tf.map_fn(
        lambda row: (row["a"] + row["b"], tf.argmax(row["a"])),
        {"a": x, "b": -x},
        dtype=(tf.float32, tf.int64),
    ),
    "scan": lambda x: tf.scan(lambda a, row: a * 0.5 + row, x),
    "scan in reverse": lambda x: tf.scan(lambda a, row: a + row[0], x, 0.5, reverse=True),
    "foldl": lambda x: tf.foldl(lambda a, row: a * 2 + row, x),
    "foldr": lambda x: tf.foldr(lambda a, row: a * 2 + row, x, initializer=tf.zeros([2])),
    "TensorArray": lambda x: tf.TensorArray(tf.float32, 2).write(1, x).write(0, x * 2).stack(),
    "TensorArray of parts": lambda x: (
        tf.TensorArray(tf.float32, 2, infer_shape=False).split(x, [1, 2]).concat()
    ),
    "tuple": lambda x: tf.tuple([x, None, 1.0]),
    "with_dependencies": lambda x: tf.with_dependencies([tf.no_op()], x),
}


@pytest.fixture
def x() -> Tensor:
    return torch.tensor([[0.5, -0.25], [1.0, 2.0], [-0.125, 0.75]], requires_grad=True)


def gradient(result: Any, x: Tensor) -> Tensor | None:
    leaves = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
    total = sum(leaf.sum() for leaf in leaves if leaf.requires_grad)
    return torch.autograd.grad(total, x, allow_unused=True)[0]


@pytest.mark.parametrize("name", CALLS)
def test_it_compiles_into_one_graph_with_the_same_gradient(name: str, x: Tensor):
    torch._dynamo.reset()
    found, wanted = (
        torch.compile(CALLS[name], fullgraph=True, backend="aot_eager")(x),
        CALLS[name](x),
    )
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient(found, x), gradient(wanted, x))


@pytest.mark.parametrize("name", CALLS)
def test_on_meta_it_gives_the_same_shapes_and_dtypes(name: str, x: Tensor):
    with torch.device("meta"):
        found = pytree.tree_leaves(CALLS[name](x.detach().to("meta")))
    wanted = pytree.tree_leaves(CALLS[name](x.detach()))
    kinds = [[(y.shape, y.dtype) for y in ys if y is not None] for ys in (found, wanted)]
    assert kinds[0] == kinds[1]


# What is refused: the call, the error's class, what it says.
REFUSED: list[tuple[Callable[[Tensor], Any], type[Exception], str]] = [
    (lambda x: tf.cond(x, lambda: x, lambda: x), TypeError, "pred is float32 and has to be bool"),
    (lambda x: tf.cond(x > 0, lambda: x, lambda: x), ValueError, r"shape \[3, 2\] and has to be"),
    (lambda x: tf.cond(is_positive(x), x, lambda: x), TypeError, "true_fn has to be callable"),
    (lambda x: tf.cond(is_positive(x), lambda: x), TypeError, "false_fn has to be callable"),
    (
        lambda x: tf.cond(is_positive(x), lambda: x, lambda: x, fn1=lambda: x),
        ValueError,
        r"cond\(\): give true_fn or fn1, not both",
    ),
    (lambda x: tf.case([(is_positive(-x), lambda: x)]), ValueError, "no predicate is true, and"),
    (
        lambda x: tf.case([(is_positive(x), lambda: x)] * 2, lambda: x, exclusive=True),
        ValueError,
        "2 predicates are true, though exclusive=True",
    ),
    (lambda x: tf.case([], lambda: x), TypeError, "a list of pairs"),
    (lambda x: tf.case([(1, lambda: x)]), TypeError, "not a pair of a boolean tensor and a f"),
    (lambda x: tf.while_loop(x, x, [x]), TypeError, "cond and body have to be callable"),
    (lambda x: tf.while_loop(lambda: x, lambda: x, []), ValueError, "no loop variables"),
    (
        lambda x: tf.while_loop(lambda a: is_positive(x), lambda a: (a, a), [x]),
        ValueError,
        "have different parts",
    ),
    (
        lambda x: tf.while_loop(lambda a: is_positive(x), lambda a: tf.to_int32(a), [x]),
        TypeError,
        "a loop variable was float32 and is int32",
    ),
    (
        lambda x: tf.while_loop(lambda a: is_positive(x), lambda a: tf.concat([a, a], 0), [x]),
        ValueError,
        r"had shape \[3, 2\] and has \[6, 2\] after the body.*shape_invariants",
    ),
    (
        lambda x: tf.while_loop(
            lambda a: is_positive(x), lambda a: a, [x], [tf.TensorShape([None, 3])]
        ),
        ValueError,
        r"shape \[3, 2\], which its shape_invariants \[None, 3\] do not allow",
    ),
    (lambda x: tf.map_fn(x, x), TypeError, r"map_fn\(\): fn has to be callable"),
    (lambda x: tf.map_fn(lambda a: a, [1, 2]), ValueError, "A list is a structure"),
    (lambda x: tf.map_fn(lambda a: a[0], (x, x[1:])), ValueError, r"elems have \[3, 2\] rows"),
    (lambda x: tf.map_fn(lambda a: a > 0, x), TypeError, "what fn gives is bool and has to be fl"),
    (lambda x: tf.map_fn(lambda a: (a, a), x), ValueError, "nested differently"),
    (lambda x: tf.scan(lambda a, b: (a, b), x), ValueError, "nested differently"),
    (lambda x: tf.scan(lambda a, b: tf.concat([a, b], 0), x), ValueError, "must keep their shape"),
    (lambda x: tf.foldl(lambda a, b: a, x[:0]), ValueError, "have no rows, and there is no init"),
    (lambda x: tf.TensorArray(tf.float32, 1).write(1, x), ValueError, "dynamic_size=True it grows"),
    (lambda x: tf.TensorArray(tf.int32, 1).write(0, x), TypeError, "value is float32 and has to"),
    (
        lambda x: tf.TensorArray(tf.float32, 1).write(0, x).write(0, x),
        ValueError,
        "has been written to already",
    ),
    (
        lambda x: tf.TensorArray(tf.float32, 2).write(0, x).write(1, x[0]),
        ValueError,
        r"elements of shape \[3, 2\], and the value has \[2\]; with infer_shape=False",
    ),
    (lambda x: tf.TensorArray(tf.float32, 2).read(0), ValueError, "Nothing has been written to i"),
    (lambda x: tf.TensorArray(tf.float32, 2).read(2), ValueError, "index 2 is out of range"),
    (lambda x: tf.tuple([None]), ValueError, "there is no tensor"),
    (lambda x: tf.group(x, names="g"), ValueError, r"unknown keywords \['names'\]"),
    (lambda x: tf.group("x"), TypeError, "'x' is neither a tensor nor"),
    (lambda x: tf.nest.map_structure(x, x), TypeError, "func has to be callable"),
    (lambda x: tf.nest.map_structure(lambda: x), ValueError, "give at least one structure"),
    (lambda x: tf.nest.assert_same_structure([x], (x,)), TypeError, "a list and the other a tuple"),
    (lambda x: tf.nest.assert_same_structure({"a": 1}, {"b": 1}), ValueError, "different parts"),
    (lambda x: tf.nest.pack_sequence_as([1, 2], x), TypeError, "flat_sequence is a list, not"),
]


@pytest.mark.parametrize(("call", "error", "says"), REFUSED, ids=[says for *_, says in REFUSED])
def test_what_is_refused_says_why(call: Callable[..., Any], error: Any, says: str, x: Tensor):
    with pytest.raises(error, match=says):
        call(x)


# ---- cond ---------------------------------------------------------------------------------------


def test_the_branch_that_is_not_taken_is_not_called(x: Tensor):
    assert tf.cond(is_positive(x), lambda: x, lambda: pytest.fail("it was called")) is x


def test_on_meta_both_branches_make_their_variables():
    def model(x: Tensor) -> Tensor:
        return tf.cond(
            is_positive(x), lambda: tf.get_variable("a", [2]), lambda: tf.get_variable("b", [2])
        )

    assert list(ts.ScopedModule(model).build(torch.ones(2, device="meta"))) == ["a", "b"]
    assert list(ts.ScopedModule(model).build(torch.ones(2))) == ["a"]


def test_a_branch_may_give_nothing(store: ts.VariableStore):
    count = tf.Variable(0, trainable=False)
    for step in range(3):
        tf.cond(tf.equal(step, 1), lambda: tf.group(tf.assign_add(count, 1)), tf.no_op)
    assert count.item() == 1


def test_cond_and_case_take_a_comparison_of_sizes_which_is_a_python_bool(x: Tensor):
    wide = tf.shape(x)[0] > 1
    assert type(wide) is bool
    assert tf.cond(wide, lambda: 1, lambda: 2) == (1 if wide else 2)
    assert tf.cond(tf.size(x) < 0, lambda: 1, lambda: 2) == 2
    assert tf.case([(tf.rank(x) < 0, lambda: 1), (x.sum() == x.sum(), lambda: 2)]) == 2
    assert tf.case([(tf.rank(x) < 0, lambda: 1)], default=lambda: 3) == 3


def test_smart_cond_takes_a_python_bool_too(x: Tensor):
    for pred, found in ((True, 1), (False, 2), (tf.constant(False), 2)):
        assert tf.contrib.framework.smart_cond(pred, lambda: 1, lambda: 2) == found


def test_a_list_of_one_is_that_one_unless_strict(x: Tensor):
    assert tf.cond(is_positive(x), lambda: [x], lambda: [x]) is x
    assert tf.cond(is_positive(x), lambda: [x], lambda: [x], strict=True) == [x]


# ---- loops --------------------------------------------------------------------------------------


def test_sizes_that_may_change_are_given_by_shape_invariants(x: Tensor):
    for shape in (tf.TensorShape([None, 2]), tf.TensorShape(None)):
        _, found = tf.while_loop(
            lambda i, _: i < 2,
            lambda i, a: (i + 1, tf.concat([a, a], 0)),
            [0, x],
            shape_invariants=[tf.TensorShape([]), shape],
        )
        assert found.shape == (12, 2)


def test_a_loop_may_fill_a_tensor_array(x: Tensor):
    _, array = tf.while_loop(
        lambda i, _: i < 3,
        lambda i, array: (i + 1, array.write(i, x[i] * 2)),
        (tf.constant(0), tf.TensorArray(tf.float32, size=0, dynamic_size=True)),
    )
    torch.testing.assert_close(array.stack(), x * 2)


def test_a_loop_without_back_prop_has_no_gradient(x: Tensor):
    same = tf.while_loop(lambda a: tf.reduce_sum(a) > 9, lambda a: a, [x], back_prop=False)
    assert not same.requires_grad
    assert not tf.map_fn(lambda row: row, x, back_prop=False).requires_grad
    assert not tf.scan(lambda a, row: a + row, x, back_prop=False).requires_grad


def test_a_single_loop_variable_comes_without_its_list_unless_asked_for(x: Tensor):
    def loop(**keywords: Any) -> Any:
        return tf.while_loop(lambda a: tf.reduce_sum(a) < 9, lambda a: a + 1, [x], **keywords)

    torch.testing.assert_close(loop(return_same_structure=True), [loop()])


def test_functions_of_rows_may_have_no_rows(x: Tensor):
    nothing = x[:0]
    assert tf.map_fn(lambda row: tf.tile(row, [2]), nothing).shape == (0, 4)
    assert tf.scan(lambda a, row: a, nothing, initializer=tf.zeros([5])).shape == (0, 5)
    assert tf.foldl(lambda a, row: a, nothing, initializer=7).item() == 7


# ---- TensorArray --------------------------------------------------------------------------------


def test_a_write_leaves_the_array_as_it_was(x: Tensor):
    array = tf.TensorArray(tf.float32, size=1)
    array.write(0, x)
    with pytest.raises(ValueError, match="Nothing has been written"):
        array.read(0)


def test_what_nobody_wrote_is_zeros_where_others_show_the_shape(x: Tensor):
    stacked = tf.TensorArray(tf.float32, size=3).write(1, x).stack()
    torch.testing.assert_close(stacked, torch.stack([x * 0, x, x * 0]))


# ---- nest ---------------------------------------------------------------------------------------


def test_a_nest_keeps_its_types_and_a_dicts_order():
    nest = {"b": Pair(1, [2]), "a": (3, None)}
    assert tf.nest.flatten(nest) == [3, None, 1, 2]
    doubled = tf.nest.map_structure(lambda leaf: leaf and leaf * 2, nest)
    assert doubled == {"b": Pair(2, [4]), "a": (6, None)}
    assert list(doubled) == ["b", "a"]
    assert type(doubled["b"]) is Pair


def test_shapes_and_strings_are_leaves():
    assert tf.nest.flatten([torch.Size([2, 3]), "ab", tf.TensorShape([None])]) == [
        torch.Size([2, 3]),
        "ab",
        tf.TensorShape([None]),
    ]
    assert tf.contrib.framework.nest.is_sequence((1,))
    assert not tf.contrib.framework.nest.is_sequence("ab")
