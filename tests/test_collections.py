"""Collections: variables stay in them with the store, other values end with the pass."""

import json
import pickle
import subprocess
import sys

import pytest
import torch

import torchscope as ts

Keys = ts.GraphKeys


def names(variables):
    return [ts.name_of(variable) for variable in variables]


# ---- variables ---------------------------------------------------------------------------------


def test_a_variable_put_into_a_collection_stays_in_it_with_the_store(store):
    def program():
        with ts.variable_scope("a"):
            w = ts.get_variable("w", [])
        ts.add_to_collection("mine", w)
        assert ts.get_collection("mine") == [w]

    for _ in range(3):
        store(program)
    assert store.get_collection("mine") == [store["a/w"]]
    assert ts.get_collection("mine") == [store["a/w"]]


def test_adding_in_every_pass_makes_the_store_no_bigger(store):
    def program():
        ts.add_to_collection("mine", ts.get_variable("w", []))
        return len(pickle.dumps(store))

    size, *later = [store(program) for _ in range(4)]
    assert later == [size] * 3


def test_a_variable_keeps_its_other_collections(store):
    v = ts.get_variable("v", [], collections=["first"])
    ts.add_to_collection("second", v)
    assert ts.get_collection("first") == ts.get_collection("second") == [v]
    ts.add_to_collection(Keys.GLOBAL_VARIABLES, v)
    assert ts.global_variables() == [v]


def test_the_variables_of_a_key_come_in_the_order_of_making(store):
    for name in ("c", "a", "b"):
        ts.add_to_collection("mine", ts.get_variable(name, []))
    assert names(ts.get_collection("mine")) == ["c", "a", "b"]


def test_a_collection_nobody_put_anything_in_is_empty(store):
    ts.get_variable("v", [])
    assert ts.get_collection("mine") == []


def test_what_is_returned_is_a_list_of_the_callers_own(store):
    v = ts.get_variable("v", [], collections=["mine", Keys.GLOBAL_VARIABLES])
    ts.add_to_collection("losses", 1)
    for key in ("mine", "losses", Keys.GLOBAL_VARIABLES, Keys.TRAINABLE_VARIABLES):
        ts.get_collection(key).clear()
    assert ts.get_collection("mine") == ts.global_variables() == ts.trainable_variables() == [v]
    assert ts.get_collection("losses") == [1]


def test_the_trainable_variables_are_those_that_train_now(store):
    v, w = ts.get_variable("v", []), ts.get_variable("w", [], trainable=False)
    n = ts.get_variable("n", [], dtype=torch.int32)
    assert ts.global_variables() == [v, w, n]
    assert ts.trainable_variables() == [v]
    v.requires_grad_(False)
    w.requires_grad_(True)
    assert ts.trainable_variables() == ts.get_collection(Keys.TRAINABLE_VARIABLES) == [w]


def test_a_buffer_is_global_and_a_local_variable_is_local(store):
    ts.get_buffer("mean", [2])
    ts.get_local_variable("count", [])
    ts.get_variable("w", [2])
    assert names(ts.global_variables()) == ["mean", "w"]
    assert names(ts.local_variables()) == ["count"]
    assert names(ts.trainable_variables()) == ["w"]


# ---- other values ------------------------------------------------------------------------------


def test_a_value_ends_with_its_pass(store):
    def program(loss):
        ts.add_to_collection("losses", loss)
        return ts.get_collection("losses")

    for number in range(3):
        loss = torch.tensor(float(number))
        assert store(program, loss) == [loss]
    assert ts.get_collection("losses") == []


def test_a_value_ends_with_a_pass_that_fails(store):
    def program():
        ts.add_to_collection("losses", 1)
        raise ZeroDivisionError("in the model")

    with pytest.raises(ZeroDivisionError, match="in the model"):
        store(program)
    assert store(lambda: ts.get_collection("losses")) == []


def test_a_value_is_not_seen_from_a_pass_inside(store):
    ts.add_to_collection("losses", 1)
    assert store(lambda: ts.get_collection("losses")) == []
    assert ts.VariableStore()(lambda: ts.get_collection("losses")) == []
    assert ts.get_collection("losses") == [1]


def test_entering_the_store_again_is_the_same_pass(store):
    ts.add_to_collection("losses", 1)
    with store:
        ts.add_to_collection("losses", 2)
    assert ts.get_collection("losses") == [1, 2]


def test_no_graph_outlives_the_pass_that_put_it_in(store):
    freed = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.watch = Watch()
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class Watch:
        def __del__(self):
            freed.append(True)

    def program():
        w = ts.get_variable("w", [])
        ts.add_to_collection("losses", Watched.apply(w))
        assert not freed

    store(program)
    assert freed == [True]


def test_a_value_may_be_anything_and_comes_in_the_order_of_adding(store):
    loss, update = torch.tensor(1.0), object()
    for value in (loss, "text", update, None, loss):
        ts.add_to_collection("mine", value)
    found = ts.get_collection("mine")
    assert found == [loss, "text", update, None, loss]
    assert found[0] is loss


def test_variables_come_before_values(store):
    ts.add_to_collection("mine", 1)
    v = ts.get_variable("v", [])
    ts.add_to_collection("mine", v)
    assert ts.get_collection("mine") == [v, 1]


def test_a_tensor_computed_from_a_variable_is_a_value(store):
    v = ts.get_variable("v", [])
    doubled = v * 2
    ts.add_to_collection("mine", doubled)
    assert store(lambda: ts.get_collection("mine")) == []
    assert ts.get_collection("mine") == [doubled]


def test_a_value_is_found_by_the_scope_it_was_put_in_from(store):
    with ts.variable_scope("tower"):
        ts.add_to_collection(Keys.UPDATE_OPS, "tower's")
        with ts.variable_scope("bn"):
            ts.add_to_collection(Keys.UPDATE_OPS, "bn's")
    with ts.variable_scope("tower_1") as scope:
        ts.add_to_collection(Keys.UPDATE_OPS, "other")
        assert scope.get_collection(Keys.UPDATE_OPS) == ["other"]
    ts.add_to_collection(Keys.UPDATE_OPS, "root's")
    updates = Keys.UPDATE_OPS
    assert ts.get_collection(updates, "tower/") == ["tower's", "bn's"]
    assert ts.get_collection(updates, "tower") == ["tower's", "bn's", "other"]
    assert ts.get_collection(updates) == ["tower's", "bn's", "other", "root's"]
    assert ts.get_variable_scope().get_collection(updates) == ts.get_collection(updates)


def test_the_default_store_has_values_until_it_is_reset():
    ts.get_variable("v", [])
    ts.add_to_collection("losses", 1)
    assert ts.get_collection("losses") == [1]
    ts.reset_default_store()
    assert ts.get_collection("losses") == []


# ---- the scope of a list -----------------------------------------------------------------------


@pytest.fixture
def four_variables(store):
    for scope_name in ("q_func", "q_func_2", "deepq/q_func"):
        with ts.variable_scope(scope_name):
            ts.get_variable("w", [], regularizer=ts.l2_regularizer(0.5), collections=["mine"])
    ts.get_variable("v", [], collections=["mine"])
    return store


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (None, ["q_func/w", "q_func_2/w", "deepq/q_func/w", "v"]),
        ("", ["q_func/w", "q_func_2/w", "deepq/q_func/w", "v"]),
        ("q_func", ["q_func/w", "q_func_2/w"]),  # Not a path: a prefix.
        ("q_func/", ["q_func/w"]),
        (r"q_func_\d", ["q_func_2/w"]),
        (".*/q_func", ["deepq/q_func/w"]),
        ("func", []),  # Matched at the beginning.
        ("Q_FUNC", []),
    ],
)
def test_a_scope_is_a_regular_expression_for_the_beginning(four_variables, scope, found):
    assert names(ts.get_collection("mine", scope)) == found
    assert names(ts.get_collection("mine", scope=scope)) == found
    assert names(ts.trainable_variables(scope)) == found
    assert [four_variables.name_of(v) for v in four_variables.trainable_variables(scope)] == found
    regularized = [name for name in found if name != "v"]
    assert len(ts.get_regularization_losses(scope)) == len(regularized)


# ---- regularization losses ---------------------------------------------------------------------


def test_regularization_losses_are_of_the_values_now_and_have_gradients(store):
    w = ts.get_variable("w", initializer=[3.0, 4.0], regularizer=ts.l2_regularizer(0.5))
    assert [loss.item() for loss in ts.get_regularization_losses()] == [6.25]
    ts.assign(w, [1.0, 1.0])
    (loss,) = ts.get_regularization_losses()
    assert loss.item() == 0.5
    loss.backward()
    assert w.grad.tolist() == [0.5, 0.5]
    assert [loss.item() for loss in store.regularization_losses()] == [0.5]


def test_a_regularizer_may_give_several_losses(store):
    ts.get_variable("w", initializer=[3.0, -4.0], regularizer=lambda w: (w.abs().sum(), w.max()))
    assert [loss.item() for loss in store.regularization_losses()] == [7.0, 3.0]


def test_the_regularization_loss_is_their_sum(store):
    with ts.variable_scope("a", regularizer=ts.l1_regularizer(0.5)):
        v = ts.get_variable("v", initializer=[3.0, -4.0])
        ts.get_variable("free", initializer=[9.0], regularizer=ts.no_regularizer)
    w = ts.get_variable("w", initializer=[3.0], regularizer=ts.l2_regularizer(2.0))
    ts.get_variable("off", initializer=[9.0], regularizer=ts.l2_regularizer(0.0))
    assert [loss.item() for loss in ts.get_regularization_losses()] == [3.5, 9.0]
    total = ts.get_regularization_loss()
    assert (total.item(), total.shape) == (12.5, ())
    assert ts.get_regularization_loss("a/").item() == 3.5
    assert ts.get_regularization_loss(scope="w", name="mine").item() == 9.0
    total.backward()
    assert v.grad.tolist() == [0.5, -0.5]
    assert w.grad.tolist() == [6.0]


def test_without_regularizers_the_loss_is_zero(store):
    ts.get_variable("v", [2])
    loss = ts.get_regularization_loss()
    assert (loss.item(), loss.shape, loss.dtype) == (0.0, (), torch.float32)
    assert ts.get_regularization_losses() == []


def test_a_loss_of_ones_own_counts_in_its_pass(store):
    def program():
        w = ts.get_variable("w", initializer=[3.0], regularizer=ts.l2_regularizer(2.0))
        ts.add_to_collection(Keys.REGULARIZATION_LOSSES, w.sum() * 2)
        return ts.get_regularization_loss()

    assert [store(program).item() for _ in range(3)] == [15.0, 15.0, 15.0]
    assert ts.get_regularization_loss().item() == 9.0


def test_reuse_and_later_passes_add_no_loss(store):
    def program():
        with ts.variable_scope("", regularizer=ts.l2_regularizer(2.0)) as scope:
            ts.get_variable("w", initializer=[3.0])
            scope.reuse_variables()
            ts.get_variable("w", regularizer=ts.l1_regularizer(1.0))
        return [loss.item() for loss in ts.get_regularization_losses()]

    assert [store(program) for _ in range(3)] == [[9.0]] * 3


def test_a_frozen_variable_is_regularized_without_a_gradient(store):
    ts.get_variable("w", initializer=[3.0], trainable=False, regularizer=ts.l2_regularizer(2.0))
    (loss,) = ts.get_regularization_losses()
    assert (loss.item(), loss.requires_grad) == (9.0, False)


def test_a_training_loop_with_the_loss_in_it_shrinks_the_weights():
    def model(x):
        w = ts.get_variable("w", [3, 1], regularizer=ts.l2_regularizer(1.0))
        return (x @ w).sum() * 0.0 + ts.get_regularization_loss()

    net = ts.ScopedModule(model).build(torch.ones(1, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = net(torch.ones(1, 3))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # Each step takes a tenth of every weight, so the squares shrink to 0.81.
    assert losses[1:] == pytest.approx([losses[0] * 0.81, losses[0] * 0.81**2])


# ---- the default store that nobody touched -----------------------------------------------------

ASKED = {
    "global_variables()": "net.global_variables()",
    "trainable_variables()": "net.trainable_variables()",
    "local_variables()": "net.local_variables()",
    "get_collection('losses')": "net.get_collection('losses')",
    "get_regularization_losses()": "net.regularization_losses()",
    "get_regularization_loss()": "net.regularization_losses()",
    "get_variable_scope().global_variables()": "net.",
}


def in_a_fresh_process(program):
    """What ``program`` prints, as JSON; here the default store was reset long ago."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import json, torch, torchscope as ts\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def answers():
    """What each function says when no store was entered, and what is in the default store then."""
    return in_a_fresh_process(
        f"""
answers = {{}}
for call in {list(ASKED)}:
    try:
        answers[call] = ["no error", repr(eval("ts." + call))]
    except Exception as error:
        answers[call] = [type(error).__name__, str(error)]
answers["left"] = list(ts.default_store())
print(json.dumps(answers))
"""
    )


@pytest.mark.parametrize("call", ASKED)
def test_asking_the_untouched_default_store_names_the_stores_own_method(answers, call):
    error, message = answers[call]
    assert (error, answers["left"]) == ("ScopeError", [])
    assert "No store is entered" in message
    assert ASKED[call] in message


def test_a_variable_or_a_reset_makes_the_default_store_answer():
    found = in_a_fresh_process(
        """
ts.get_variable("v", [])
found = [len(ts.global_variables()), ts.get_regularization_losses()]
ts.reset_default_store()
print(json.dumps([*found, ts.global_variables(), ts.get_collection("losses")]))
"""
    )
    assert found == [1, [], [], []]


def test_a_value_put_into_the_default_store_is_found():
    assert in_a_fresh_process(
        """
ts.add_to_collection("losses", 1)
print(json.dumps(ts.get_collection("losses")))
"""
    ) == [1]


# ---- a store that is entered and empty -----------------------------------------------------------

EMPTY_ANSWERS = {
    "global_variables": ts.global_variables,
    "trainable_variables": ts.trainable_variables,
    "trainable_variables of a scope": lambda: ts.trainable_variables("source"),
    "local_variables": ts.local_variables,
    "get_regularization_losses": ts.get_regularization_losses,
    "get_regularization_loss": ts.get_regularization_loss,
    "get_collection of variables": lambda: ts.get_collection(ts.GraphKeys.TRAINABLE_VARIABLES),
    "get_collection of losses": lambda: ts.get_collection(ts.GraphKeys.REGULARIZATION_LOSSES),
    "get_collection of weights": lambda: ts.get_collection(ts.GraphKeys.WEIGHTS, scope="q"),
}
EMPTY = pytest.mark.parametrize("ask", EMPTY_ANSWERS.values(), ids=EMPTY_ANSWERS)


def in_a_pass(ask):
    store = ts.VariableStore()
    with store:
        return store, ask()


def in_a_call(ask):
    store = ts.VariableStore()
    return store, store(ask)


def in_a_net(ask):
    net = ts.ScopedModule(ask)
    return net, net()


def after_a_call(ask):
    store = ts.VariableStore()
    store(lambda: None)
    return store, store(ask)


@EMPTY
@pytest.mark.parametrize("run", [in_a_pass, in_a_call, in_a_net, after_a_call])
def test_an_empty_answer_of_an_empty_store_is_reported_once(ask, run):
    with pytest.warns(ts.ScopeWarning, match="holds no variables yet") as told:
        store, answer = run(ask)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert not answer
    store(ask) if type(store) is ts.VariableStore else store()


def test_a_target_network_copied_before_its_source_was_made_is_reported_once():
    def copy_to_target():
        for source, target in zip(
            ts.trainable_variables("q/"), ts.trainable_variables("target/"), strict=True
        ):
            ts.assign(target, source)

    def q(name):
        with ts.variable_scope(name):
            return ts.get_variable("w", [2])

    store = ts.VariableStore()
    with pytest.warns(
        ts.ScopeWarning, match=r"trainable_variables\(\).*holds no variables"
    ) as told:
        store(copy_to_target)
    assert len(told) == 1
    with store:
        source, target = q("q"), q("target")
        copy_to_target()
    assert torch.equal(source, target)


FILLED = {
    "a variable": lambda: ts.get_variable("w", [2]),
    "a buffer": lambda: ts.get_buffer("mean", [2]),
    "a module": lambda: ts.get_module("relu", torch.nn.ReLU),
    "a loss": lambda: ts.add_to_collection(ts.GraphKeys.REGULARIZATION_LOSSES, torch.ones(())),
}


@pytest.mark.parametrize("fill", FILLED.values(), ids=FILLED)
def test_a_store_that_holds_something_answers(store, fill):
    fill()
    ts.get_regularization_loss()


@pytest.mark.parametrize("key", ["losses", "update_ops", "summaries", "activations", "my own"])
def test_a_collection_of_values_may_be_asked_for_before_there_are_variables(store, key):
    assert ts.get_collection(key) == []


# ---- what a pass remembers ---------------------------------------------------------------------


def test_what_is_remembered_in_a_pass_is_made_once_and_ends_with_it(store):
    remembered = ts.in_this_pass("key", list)
    assert ts.in_this_pass("key", list) is remembered
    assert ts.in_this_pass("other", list) is not remembered
    assert store(ts.in_this_pass, "key", list) is not remembered


def test_a_bound_function_finds_what_was_remembered_when_it_first_ran(store):
    def note():
        ts.in_this_pass("late", lambda: notes.append("made"))
        return ts.in_this_pass("early", object)

    notes = []
    early = ts.in_this_pass("early", object)
    bound = ts.bind(note)
    assert bound() is bound() is early
    assert notes == ["made", "made"]  # The second run begins as the first did.
    ts.in_this_pass("late", lambda: notes.append("again"))
    assert notes == ["made", "made"]
