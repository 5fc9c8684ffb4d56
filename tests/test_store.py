"""VariableStore: passes, the default store, nested stores, the mapping, and its own methods."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import torchscope as ts
from torchscope import AUTO_REUSE, VariableExistsError, VariableMissingError

T = TypeVar("T")
SHAPE = [2, 3]


def get(name: str = "w", **arguments: Any) -> torch.Tensor:
    return ts.get_variable(name, SHAPE, **arguments)


def store_of(*names: str, seed: int = 0, **arguments: Any) -> ts.VariableStore:
    store = ts.VariableStore(seed)
    with store:
        for name in names:
            get(name, **arguments)
    return store


def in_threads(count: int, work: Callable[[int], T]) -> list[T | BaseException]:
    """What ``work(0)``, ``work(1)``, ... give or raise, each in its own thread, all at once."""
    results: dict[int, T | BaseException] = {}
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(count)]


@pytest.fixture(autouse=True)
def _nothing_is_left_entered() -> Iterator[None]:
    yield
    assert ts.get_variable_scope().name == ""


# ---- the reuse table of docs/how-it-works.md -----------------------------------------------------

UNKNOWN, KNOWN, MET = "unknown", "in the store, not met in this pass", "met in this pass"
MADE, RETURNED = "made", "returned"

REUSE_TABLE: list[tuple[Any, str, Any]] = [
    (False, UNKNOWN, MADE),
    (False, KNOWN, RETURNED),
    (False, MET, VariableExistsError),
    (None, UNKNOWN, MADE),
    (None, KNOWN, RETURNED),
    (None, MET, VariableExistsError),
    (True, UNKNOWN, VariableMissingError),
    (True, KNOWN, RETURNED),
    (True, MET, RETURNED),
    (AUTO_REUSE, UNKNOWN, MADE),
    (AUTO_REUSE, KNOWN, RETURNED),
    (AUTO_REUSE, MET, RETURNED),
]


def dense() -> nn.Module:
    return nn.Linear(2, 3)


ASK: dict[str, Callable[[], Any]] = {
    "get_variable": get,
    "scope.get_variable": lambda: ts.get_variable_scope().get_variable("w", SHAPE),
    "with a value": lambda: ts.get_variable("w", initializer=[1.0]),
    "get_buffer": lambda: ts.get_buffer("w", SHAPE),
    "get_local_variable": lambda: ts.get_local_variable("w", SHAPE),
    "get_module": lambda: ts.get_module("w", dense),
}


def enter(store: ts.VariableStore, body: Callable[[], T]) -> T:
    with store:
        return body()


def call(store: ts.VariableStore, body: Callable[[], T]) -> T:
    return store(body)


@pytest.mark.parametrize("run", [enter, call])
@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
@pytest.mark.parametrize(("reuse", "state", "outcome"), REUSE_TABLE)
def test_the_reuse_table(run: Any, ask: Callable[[], Any], reuse: Any, state: str, outcome: Any):
    store = ts.VariableStore()

    def make() -> Any:
        with ts.variable_scope("s"):
            return ask()

    def body() -> None:
        if state == MET:
            assert make() is known
        before = list(store.state_dict())
        with ts.variable_scope("s", reuse=reuse):
            if outcome in (MADE, RETURNED):
                assert (ask() is known) == (outcome == RETURNED)
            else:
                with pytest.raises(outcome, match="'s/w'"):
                    ask()
                assert list(store.state_dict()) == before

    known = None if state == UNKNOWN else run(store, make)
    run(store, body)


@pytest.mark.parametrize(
    ("reuse", "state", "outcome"), [row for row in REUSE_TABLE if row[1] != KNOWN]
)
def test_the_reuse_table_on_the_default_store_whose_pass_never_ends(
    reuse: Any, state: str, outcome: Any
):
    known = None
    if state == MET:
        with ts.variable_scope("s"):
            known = get()
    with ts.variable_scope("s", reuse=reuse):
        if outcome in (MADE, RETURNED):
            assert (get() is known) == (outcome == RETURNED)
        else:
            with pytest.raises(outcome, match="'s/w'"):
                get()
    made = [] if state == UNKNOWN and outcome is not MADE else ["s/w"]
    assert list(ts.default_store()) == made


def test_a_name_used_twice_by_mistake_is_an_error_at_every_step():
    store = store_of("w")
    for _ in range(3):
        with store:
            get()
            with pytest.raises(VariableExistsError, match="'w' already exists"):
                get()


@pytest.mark.parametrize("given", [0, 1, "True", "AUTO_REUSE", object(), [], 1.0], ids=repr)
def test_another_value_for_reuse_is_refused(store: ts.VariableStore, given: Any):
    with pytest.raises(ts.ScopeError, match="reuse is True, False, None or AUTO_REUSE"):
        ts.variable_scope("a", reuse=given)
    with pytest.raises(ts.ScopeError, match="reuse is True, False, None or AUTO_REUSE"):
        ts.get_variable_scope().get_variable("w", SHAPE, reuse=given)
    assert list(store) == []


# ---- passes --------------------------------------------------------------------------------------


def test_entering_gives_the_store_and_leaving_forgets_it():
    store = ts.VariableStore()
    with store as entered:
        assert entered is store
        inside = get()
    assert store["w"] is inside
    get()
    assert list(ts.default_store()) == ["w"]
    assert ts.default_store()["w"] is not inside


def test_calling_passes_arguments_on_and_gives_the_result():
    def body(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs, get()

    store = ts.VariableStore()
    args, kwargs, w = store(body, 1, 2, fn=3, args=5)
    assert args == (1, 2)
    assert kwargs == {"fn": 3, "args": 5}
    assert w is store["w"]


def test_several_functions_use_one_store():
    def encode(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("encoder"):
            return x @ get()

    def decode(z: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("encoder", reuse=AUTO_REUSE):
            w = get()
        with ts.variable_scope("decoder"):
            return z @ w.T + ts.get_variable("b", [2])

    store = ts.VariableStore()
    for _ in range(2):
        store(decode, store(encode, torch.ones(1, 2)))
    assert list(store) == ["encoder/w", "decoder/b"]


def test_entering_a_store_again_changes_nothing(store: ts.VariableStore):
    with ts.variable_scope("a"):
        get()
        with store:
            assert ts.get_variable_scope().name == "a"
            with pytest.raises(VariableExistsError, match="'a/w'"):
                get()
        assert ts.get_variable_scope().name == "a"
    assert list(store) == ["a/w"]


def test_entering_an_outer_store_again_goes_back_to_where_it_was():
    outer, inner = ts.VariableStore(), ts.VariableStore()
    with outer, ts.variable_scope("a"):
        get()
        with inner:
            assert ts.get_variable_scope().name == ""
            with ts.variable_scope("b"), outer:
                assert ts.get_variable_scope().name == "a"
                get("v")
                with pytest.raises(VariableExistsError, match="'a/w'"):
                    get()
            get()
    assert list(outer) == ["a/w", "a/v"]
    assert list(inner) == ["w"]


def test_calling_a_store_inside_its_own_pass_is_a_pass_of_its_own_from_the_root(
    store: ts.VariableStore,
):
    def body() -> torch.Tensor:
        assert ts.get_variable_scope().name == ""
        assert ts.get_variable_scope().reuse is False
        return get()

    with ts.variable_scope("a", reuse=AUTO_REUSE):
        first = store(body)
        assert store(body) is first
        assert ts.get_variable_scope().name == "a"
    assert get() is first  # What the inner passes met, this one has not.
    with pytest.raises(VariableExistsError, match="'w'"):
        get()


def test_scopes_and_default_names_start_again_in_every_pass():
    def body() -> list[str]:
        names = []
        for _ in range(2):
            with ts.variable_scope(None, "layer") as scope:
                names.append(scope.name)
                get()
        return names

    store = ts.VariableStore()
    passes = [store(body) for _ in range(3)]
    assert passes == [["layer", "layer_1"]] * 3
    assert list(store) == ["layer/w", "layer_1/w"]


def test_a_store_is_built_once_a_pass_has_ended_without_an_exception():
    def fail() -> None:
        get()
        raise ZeroDivisionError("mine")

    store = ts.VariableStore()
    for run in (enter, call):
        with pytest.raises(ZeroDivisionError, match="mine"):
            run(store, fail)
        assert not store.built
    assert list(store) == ["w"]
    with store:
        get()
        assert not store.built
    assert store.built


@pytest.mark.parametrize("run", [enter, call])
def test_after_an_exception_nothing_is_entered_any_more(run: Any):
    def fail() -> None:
        with ts.variable_scope("a"), ts.variable_scope("b"):
            raise ZeroDivisionError("mine")

    store = ts.VariableStore()
    with pytest.raises(ZeroDivisionError, match="mine"):
        run(store, fail)
    assert ts.get_variable_scope().name == ""
    with store:
        assert ts.get_variable_scope().name == ""


def test_leaving_a_store_that_was_not_entered_is_an_error():
    with pytest.raises(ts.ScopeOrderError, match="without having been entered"):
        ts.VariableStore().__exit__(None, None, None)


def test_hooks_fire_when_a_store_is_called():
    store = store_of("w")
    calls: list[Any] = []
    store.register_forward_pre_hook(lambda module, args: calls.append(args))
    store.register_forward_hook(lambda module, args, result: calls.append(result))
    store(get)
    assert calls == [(get,), store["w"]]


def test_a_store_is_true_even_when_empty():
    assert ts.VariableStore()
    assert not len(ts.VariableStore())


def test_a_variable_is_a_parameter_of_the_store():
    store = store_of("a/w")
    w = store["a/w"]
    assert type(w) is nn.Parameter
    assert list(store.parameters()) == [w]
    assert store.get_parameter("a/w") is w


def test_a_store_inside_a_module_is_part_of_it():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.store = ts.VariableStore()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with self.store:
                return x @ get()

    net = Net()
    net(torch.ones(1, 2))
    assert list(net.state_dict()) == ["store.w"]


# ---- the default store ---------------------------------------------------------------------------


def test_without_a_store_the_default_one_serves():
    w = get()
    assert ts.default_store() is ts.default_store()
    assert ts.default_store()["w"] is w
    assert ts.name_of(w) == "w"


def test_the_default_stores_error_offers_a_scoped_module():
    get()
    with pytest.raises(VariableExistsError, match=r"net = ts\.ScopedModule\(model\)"):
        get()
    with ts.VariableStore():
        get()
        with pytest.raises(VariableExistsError, match="'w' already exists") as caught:
            get()
    assert "ScopedModule" not in str(caught.value)


def test_entering_the_default_store_joins_its_endless_pass():
    get()
    with ts.default_store(), pytest.raises(VariableExistsError, match="'w'"):
        get()


def test_calling_the_default_store_is_a_pass_of_its_own():
    assert ts.default_store()(get) is ts.default_store()(get)


def test_the_default_store_can_be_reset():
    first = get()
    before = ts.default_store()
    with ts.variable_scope("a"):
        pass
    ts.reset_default_store()
    assert ts.default_store() is not before
    assert get() is not first
    with ts.variable_scope(None, "a") as scope:
        assert scope.name == "a"


def test_the_default_store_cannot_be_reset_inside_a_scope():
    before = ts.default_store()
    with ts.variable_scope("a"):
        with pytest.raises(ts.ScopeOrderError, match="inside the scope 'a'") as caught:
            ts.reset_default_store()
        get()
    assert caught.value.name == "a"
    assert ts.default_store() is before
    assert list(before) == ["a/w"]


def test_the_list_functions_refuse_where_nothing_was_entered_or_made():
    program = """
import torchscope as ts
for call in (ts.global_variables, ts.trainable_variables, ts.local_variables,
             ts.get_regularization_loss, ts.get_regularization_losses,
             lambda: ts.get_collection("losses")):
    try:
        call()
    except ts.ScopeError as error:
        assert "net." in str(error), error
    else:
        raise AssertionError("an empty list is a silent zero loss")
with ts.VariableStore():
    assert ts.global_variables() == []
    assert ts.get_regularization_loss().item() == 0
w = ts.get_variable("w", [2])
assert ts.global_variables()[0] is w
ts.reset_default_store()
assert ts.global_variables() == []
print("done")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "done\n", ran.stderr


# ---- stores in stores ----------------------------------------------------------------------------


def clipped(variable: torch.Tensor) -> torch.Tensor:
    return variable.clamp(-1, 1)


def attention() -> None:
    with ts.variable_scope("attn"):
        get(regularizer=ts.l2_regularizer(0.5), constraint=clipped)
        ts.get_buffer("mean", SHAPE)
        ts.get_local_variable("count", [], initializer=ts.zeros_initializer())
        get("frozen", trainable=False)


def block() -> None:
    get("scale")
    ts.get_module("inner", lambda: ts.ScopedModule(attention))()


def nested_model() -> None:
    with ts.variable_scope("model"):
        get("first", regularizer=ts.l2_regularizer(0.5))
        ts.get_module("h0", lambda: ts.ScopedModule(block))()
        ts.get_module("list", lambda: nn.ModuleList([ts.VariableStore(1)]))[0](get)
        ts.get_module("norm", lambda: nn.BatchNorm1d(3))
    get("model/last")


@pytest.fixture
def nested() -> ts.ScopedModule:
    return ts.ScopedModule(nested_model, seed=0).build()


IN_NESTED = {
    "model/first": "model/first",
    "model/last": "model/last",
    "model/h0/scale": "model/h0.scale",
    "model/h0/inner/attn/w": "model/h0.inner.attn/w",
    "model/h0/inner/attn/mean": "model/h0.inner.attn/mean",
    "model/h0/inner/attn/count": None,
    "model/h0/inner/attn/frozen": "model/h0.inner.attn/frozen",
    "model/list/0/w": "model/list.0.w",
    "model/norm/weight": "model/norm.weight",
    "model/norm/bias": "model/norm.bias",
    "model/norm/running_mean": "model/norm.running_mean",
    "model/norm/running_var": "model/norm.running_var",
    "model/norm/num_batches_tracked": "model/norm.num_batches_tracked",
}
OWN = [name for name, key in IN_NESTED.items() if "/norm/" not in name and "/list/" not in name]


def names(nested: ts.ScopedModule, tensors: list[torch.Tensor]) -> list[str]:
    return [nested.name_of(tensor) for tensor in tensors]


def test_names_of_a_store_in_a_store_are_joined_by_slashes(nested: ts.ScopedModule):
    assert [name for name, _ in nested.named_variables()] == list(IN_NESTED)


def test_keys_of_a_store_in_a_store_stay_torchs(nested: ts.ScopedModule):
    assert set(nested.state_dict()) == {key for key in IN_NESTED.values() if key}


def test_every_variable_of_a_store_in_a_store_has_its_name(nested: ts.ScopedModule):
    for name, variable in nested.named_variables():
        assert nested.name_of(variable) == name
    with nested:
        for name, variable in nested.named_variables():
            assert ts.name_of(variable) == name


def test_the_lists_descend_into_stores(nested: ts.ScopedModule):
    trainable = [name for name, variable in nested.named_variables() if variable.requires_grad]
    local = ["model/h0/inner/attn/count"]
    everything = [name for name in IN_NESTED if name not in local]
    assert names(nested, nested.trainable_variables()) == trainable
    assert names(nested, nested.local_variables()) == local
    assert names(nested, nested.global_variables()) == everything
    with nested:
        assert names(nested, ts.trainable_variables()) == trainable
        assert names(nested, ts.local_variables()) == local
        assert names(nested, ts.global_variables()) == everything
        assert names(nested, ts.get_collection(ts.GraphKeys.GLOBAL_VARIABLES)) == everything


def test_the_scope_of_a_list_may_reach_into_a_store(nested: ts.ScopedModule):
    inside = ["model/h0/inner/attn/w", "model/h0/inner/attn/mean", "model/h0/inner/attn/frozen"]
    assert names(nested, nested.global_variables("model/h0/inner")) == inside
    assert names(nested, nested.global_variables("model/h./in.*attn")) == inside
    assert [name for name, _ in nested.named_variables("model/h0/inner/attn")] == [
        name for name in IN_NESTED if name.startswith("model/h0/inner/attn/")
    ]
    with nested, ts.variable_scope("model/h0") as scope:
        assert names(nested, scope.local_variables()) == ["model/h0/inner/attn/count"]


def test_regularization_losses_come_from_stores_too(nested: ts.ScopedModule):
    values = [nested["model/first"], dict(nested.named_variables())["model/h0/inner/attn/w"]]
    expected = [0.25 * value.detach().square().sum() for value in values]
    assert torch.allclose(torch.stack(nested.regularization_losses()), torch.stack(expected))
    with nested:
        assert torch.allclose(ts.get_regularization_loss(), sum(expected))
    assert len(nested.regularization_losses("model/h0")) == 1
    nested.regularization_losses()[1].backward()
    assert torch.allclose(values[1].grad, 0.5 * values[1])


def test_constraints_reach_into_stores(nested: ts.ScopedModule):
    constrained = dict(nested.named_variables())["model/h0/inner/attn/w"]
    for variable in nested.trainable_variables():
        ts.assign(variable, torch.full_like(variable, 5))
    nested.apply_constraints()
    assert (constrained == 1).all()
    assert (nested["model/first"] == 5).all()


@pytest.mark.parametrize("name", OWN)
def test_the_origin_of_a_variable_in_a_store_in_a_store_is_known(
    nested: ts.ScopedModule, name: str
):
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", nested.origin(name))


@pytest.mark.parametrize("name", ["model/list/0/w", "model/norm/weight"])
def test_the_origin_of_what_lies_in_a_module_is_known(nested: ts.ScopedModule, name: str):
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", nested.origin(name))


def test_finalize_reaches_into_stores(nested: ts.ScopedModule):
    nested.finalize()
    inner = nested.get_submodule("model/h0.inner")
    assert isinstance(inner, ts.VariableStore)
    before = list(nested.state_dict())
    with inner, pytest.raises(ts.NotBuiltError, match="'new'"):
        get("new")
    assert list(nested.state_dict()) == before
    nested()


def test_reset_parameters_reaches_into_stores(nested: ts.ScopedModule):
    before = {key: value.clone() for key, value in nested.state_dict().items()}
    with torch.no_grad():
        for value in nested.state_dict().values():
            value.fill_(9)
    nested.reset_parameters()
    after = nested.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_a_store_called_below_another_starts_from_its_own_root(nested: ts.ScopedModule):
    assert list(nested.get_submodule("model/h0.inner")) == [
        "attn/w",
        "attn/mean",
        "attn/count",
        "attn/frozen",
    ]


def test_a_block_called_twice_in_a_pass_shares_its_variables():
    def model(x: torch.Tensor) -> torch.Tensor:
        layer = ts.get_module(
            "layer", lambda: ts.ScopedModule(lambda x: x @ ts.get_variable("w", [2, 2]))
        )
        return layer(layer(x))

    net = ts.ScopedModule(model).build(torch.ones(1, 2))
    assert [name for name, _ in net.named_variables()] == ["layer/w"]


def test_a_block_kept_under_two_names_is_listed_once():
    shared = ts.VariableStore()

    def model() -> None:
        for name in ("a", "b"):
            ts.get_module(name, lambda: shared)(get)

    net = ts.ScopedModule(model).build()
    assert [name for name, _ in net.named_variables()] == ["a/w"]
    assert len(net.trainable_variables()) == len(list(net.parameters())) == 1


def test_a_nested_store_survives_copying(nested: ts.ScopedModule):
    twin = copy.deepcopy(nested)
    assert [name for name, _ in twin.named_variables()] == list(IN_NESTED)
    for name, variable in twin.named_variables():
        assert twin.name_of(variable) == name
        assert torch.equal(variable, dict(nested.named_variables())[name])
    with pytest.raises(VariableMissingError, match="not a variable of this store"):
        twin.name_of(nested["model/first"])


# ---- the mapping ---------------------------------------------------------------------------------


def test_a_store_is_a_mapping_from_full_names_in_the_order_of_making():
    store = store_of("b", "a/b", "a")
    with store:
        ts.get_buffer("c", SHAPE)
    expected = ["b", "a/b", "a", "c"]
    assert list(store) == list(store.keys()) == expected
    assert list(reversed(store)) == expected[::-1]
    assert len(store) == 4
    assert [name for name, _ in store.items()] == expected
    assert list(store.values()) == [store[name] for name in expected]
    assert "a/b" in store
    assert "b/a" not in store
    assert 5 not in store
    assert store.get("a") is store["a"]
    assert store.get("x") is None
    assert store.get("x", 5) == 5


def test_a_missing_name_is_a_key_error_that_offers_the_nearest():
    store = store_of("model/weights")
    with pytest.raises(KeyError, match="Did you mean 'model/weights'"):
        store["model/weight"]
    with pytest.raises(KeyError, match="Did you mean 'model/weights'"):
        del store["model/weight"]
    with pytest.raises(KeyError, match="model/weight"):
        store.pop("model/weight")
    assert list(store) == ["model/weights"]


def kept_modules() -> None:
    with ts.variable_scope("head"):
        ts.get_module("dense", dense)
    for name in ("v.1", "keys"):
        ts.get_module(name, dense)
    ts.get_module("block", lambda: ts.ScopedModule(get))()


@pytest.mark.parametrize("name", ["head/dense", "v.1", "keys", "block"])
def test_a_kept_module_asked_for_as_a_variable_says_get_submodule(name: str):
    store = ts.ScopedModule(kept_modules).build()
    for ask in (lambda: store[name], lambda: store.pop(name), lambda: store.__delitem__(name)):
        with pytest.raises(KeyError, match=r"is a module.*get_submodule\(") as caught:
            ask()
        (typed,) = re.findall(r"store\.(get_submodule\('[^']+'\))", str(caught.value))
        assert isinstance(eval(f"store.{typed}", {"store": store}), nn.Module)
    assert name not in store
    assert store.get(name) is None


@pytest.mark.parametrize("name", ["head/dense", "head/dense/weight", "block/w"])
def test_a_variable_cannot_be_set_where_a_kept_module_is(name: str):
    store = ts.ScopedModule(kept_modules).build()
    names = list(store)
    with pytest.raises(VariableExistsError, match=r"module '(head/dense|block)'"):
        store[name] = nn.Parameter(torch.ones(2))
    assert list(store) == names


@pytest.mark.parametrize("name", [5, None, ("w",)], ids=repr)
@pytest.mark.parametrize("pending", [False, True])
def test_a_key_that_is_not_a_string_is_only_missing(name: Any, pending: bool):
    store = store_of("w")
    if pending:
        store = ts.VariableStore()
        store.load_state_dict({"w": torch.zeros(2)})
    assert name not in store
    assert store.get(name) is None
    with pytest.raises(KeyError, match=re.escape(str(name))):
        store[name]
    with pytest.raises(KeyError, match=re.escape(str(name))):
        del store[name]


def test_del_forgets_a_variable_and_its_name_is_free_again():
    store = store_of("a", "b")
    old = store["a"]
    del store["a"]
    assert list(store) == list(store.state_dict()) == ["b"]
    with store:
        assert get("a") is not old
    assert list(store) == list(store.state_dict()) == ["b", "a"]


def test_pop_and_popitem_give_what_they_forget():
    store = store_of("a", "b", "c")
    a, c = store["a"], store["c"]
    assert store.pop("a") is a
    assert store.popitem() == ("c", c)
    assert list(store) == list(store.state_dict()) == ["b"]


def test_popitem_of_an_empty_store_is_a_key_error():
    with pytest.raises(KeyError):
        ts.VariableStore().popitem()


def test_clear_forgets_all():
    store = store_of("a", "keys", "v.1")
    store.clear()
    assert list(store) == list(store.state_dict()) == list(store.parameters()) == []
    with store:
        get("keys")


def test_setting_a_name_declares_it_anew():
    store = store_of("table", "w")
    bigger = nn.Parameter(torch.zeros(5, 3))
    store["table"] = bigger
    assert store["table"] is bigger
    with store:
        assert ts.get_variable("table", [5, 3]) is bigger
    with store, pytest.raises(ts.VariableMismatchError, match=r"'table' has shape \(5, 3\)"):
        ts.get_variable("table", SHAPE)
    assert list(store) == ["table", "w"]


def test_setting_a_name_keeps_the_order_of_the_parameters():
    store = store_of("a", "b", "c")
    store["a"] = nn.Parameter(torch.zeros(5))
    assert list(store) == ["a", "b", "c"]
    assert [name for name, _ in store.named_parameters()] == list(store)


def test_setting_a_name_keeps_what_else_it_was_declared_as():
    store = store_of("w", regularizer=ts.l2_regularizer(2.0), constraint=clipped)
    store["w"] = nn.Parameter(torch.full((5,), 3.0))
    assert [loss.item() for loss in store.regularization_losses()] == [45.0]
    store.apply_constraints()
    assert store["w"].tolist() == [1] * 5


def test_a_new_name_can_be_set_and_a_tensor_becomes_a_parameter():
    store = ts.VariableStore()
    store["a/w"] = torch.ones(2)
    store["keys"] = nn.Parameter(torch.ones(2), requires_grad=False)
    store["steps"] = torch.tensor([1, 2])
    assert isinstance(store["a/w"], nn.Parameter)
    assert store["a/w"].requires_grad
    with store:
        assert ts.get_variable("keys", [2]) is store["keys"]
    assert store.trainable_variables() == [store["a/w"]]
    assert store.origin("a/w").startswith(__file__)


def test_a_buffer_set_to_a_tensor_stays_a_buffer():
    store = ts.VariableStore()
    with store:
        ts.get_buffer("mean", [2])
    store["mean"] = torch.zeros(3)
    assert list(store.parameters()) == []
    assert list(store.state_dict()) == ["mean"]
    with store:
        assert ts.get_buffer("mean", [3]) is store["mean"]


@pytest.mark.parametrize("value", [None, [1.0], 5, "w"], ids=repr)
@pytest.mark.parametrize("name", ["w", "new"])
def test_a_refused_value_leaves_the_store_as_it_was(name: str, value: Any):
    store = store_of("w", "v")
    w, v = store.values()
    with pytest.raises(TypeError, match="takes a parameter or a tensor"):
        store[name] = value
    assert list(store.items()) == [("w", w), ("v", v)]
    assert list(store.named_parameters()) == [("w", w), ("v", v)]
    with store:
        assert get() is w


def test_a_parameter_set_to_whole_numbers_is_not_trained_any_more():
    store = store_of("w")
    store["w"] = torch.tensor([1, 2])
    assert store["w"].dtype is torch.int64
    assert store.trainable_variables() == []
    with store:
        assert ts.get_variable("w", [2], torch.int64) is store["w"]


def test_update_and_the_operators_set_many():
    store = store_of("a")
    store.update({"a": nn.Parameter(torch.zeros(5)), "b": nn.Parameter(torch.ones(1))})
    assert {name: tuple(variable.shape) for name, variable in store.items()} == {
        "a": (5,),
        "b": (1,),
    }
    store |= {"c": nn.Parameter(torch.ones(1))}
    assert list(store) == ["a", "b", "c"]
    assert list(store | {"d": nn.Parameter(torch.ones(1))}) == ["a", "b", "c", "d"]
    assert list(store) == ["a", "b", "c"]
    other = store_of("x")
    other.update(store)
    assert list(other) == ["x", "a", "b", "c"]


def test_setdefault_makes_only_what_is_missing():
    store = store_of("a")
    a, new = store["a"], nn.Parameter(torch.ones(1))
    assert store.setdefault("a", new) is a
    assert store.setdefault("b", new) is new
    assert list(store) == ["a", "b"]


def test_copy_is_another_store_of_the_same_variables():
    store = store_of("a", "keys")
    with store:
        ts.get_buffer("mean", [2])
        ts.get_buffer("count", [], torch.int64)
        ts.get_local_variable("local", [2])
    other = store.copy()
    assert list(other.items()) == list(store.items())
    assert list(other.state_dict()) == list(store.state_dict())
    assert list(other.parameters()) == list(store.parameters())
    del other["a"]
    assert "a" in store


def test_copy_keeps_what_the_variables_were_declared_as():
    store = store_of("w", regularizer=ts.l2_regularizer(0.5), constraint=clipped)
    assert len(store.copy().regularization_losses()) == 1


@pytest.mark.parametrize("method", ["keys", "items", "values", "copy", "clear", "popitem"])
def test_a_method_works_though_a_variable_has_its_name(method: str):
    store = store_of(method)
    assert list(store) == [method]
    getattr(store, method)()


# ---- reset_parameters ----------------------------------------------------------------------------


def init_from_stream(shape: Any, dtype: Any = None) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype)


RESET: dict[str, Callable[[], Any]] = {
    "default": get,
    "ours": lambda: get(initializer=ts.random_normal_initializer(stddev=0.1)),
    "class": lambda: get(initializer=ts.glorot_normal_initializer),
    "constant": lambda: get(initializer=ts.constant_initializer(3.0)),
    "seeded": lambda: get(initializer=ts.truncated_normal_initializer(seed=5)),
    "function": lambda: get(initializer=init_from_stream),
    "nn.init": lambda: get(initializer=nn.init.orthogonal_),
    "no arguments": lambda: ts.get_variable("w", initializer=lambda: torch.randn(3)),
    "tensor": lambda: ts.get_variable("w", initializer=torch.tensor([1.0, 2.0])),
    "number": lambda: ts.get_variable("w", initializer=2.5),
    "integers": lambda: ts.get_variable("w", initializer=[1, 2]),
    "frozen": lambda: get(trainable=False),
    "buffer": lambda: ts.get_buffer("w", SHAPE),
    "local": lambda: ts.get_local_variable("w", SHAPE),
}


@pytest.mark.parametrize("ask", RESET.values(), ids=RESET)
def test_reset_parameters_gives_the_values_of_a_first_build_in_place(ask: Callable[[], Any]):
    store = ts.VariableStore(3)
    variable = store(ask)
    first, memory = variable.detach().clone(), variable.data_ptr()
    ts.assign(variable, torch.full_like(variable, 7))
    stream = torch.get_rng_state()
    store.reset_parameters()
    assert store["w"] is variable
    assert variable.data_ptr() == memory
    assert torch.equal(variable, first)
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("ask", [get, RESET["function"], RESET["nn.init"]])
def test_reset_parameters_puts_meta_variables_to_their_values(ask: Callable[[], Any]):
    store = ts.VariableStore(3).to("meta")
    assert store(ask).device.type == "meta"
    store.to_empty(device="cpu")
    store.reset_parameters()
    assert torch.equal(store["w"], ts.VariableStore(3)(ask))


def test_reset_parameters_resets_what_was_loaded():
    store = ts.VariableStore(3)
    store.load_state_dict({"w": torch.full((2, 3), 9.0)})
    assert store(get).tolist() == [[9] * 3] * 2
    store.reset_parameters()
    assert torch.equal(store["w"], ts.VariableStore(3)(get))


def test_reset_parameters_after_setting_gives_what_was_set():
    store = ts.VariableStore(3)
    store["w"] = torch.ones(2)
    ts.assign_add(store["w"], [1.0, 1.0])
    store.reset_parameters()
    assert store["w"].tolist() == [1, 1]


@pytest.mark.parametrize("initializer", [None, ts.random_normal_initializer(), nn.init.normal_])
def test_reset_parameters_initializes_a_resized_variable(initializer: Any):
    store = store_of("table", initializer=initializer)
    store["table"] = nn.Parameter(torch.zeros(50, 3))
    store.reset_parameters()
    assert store["table"].abs().max() > 0


def test_reset_parameters_keeps_the_dtype_that_the_module_has_now():
    store = store_of("w")
    first = store["w"].detach().clone()
    store.half()
    ts.assign(store["w"], torch.zeros(2, 3))
    store.reset_parameters()
    assert torch.equal(store["w"], first.half())


def test_a_failing_initializer_makes_reset_parameters_change_nothing():
    fails = False

    def initializer(shape: Any, dtype: Any = None) -> torch.Tensor:
        if fails:
            raise ZeroDivisionError("mine")
        return torch.zeros(shape, dtype=dtype)

    store = store_of("a", "b", initializer=initializer)
    for variable in store.values():
        ts.assign(variable, torch.ones(2, 3))
    fails = True
    with pytest.raises(ZeroDivisionError, match="mine"):
        store.reset_parameters()
    assert all((variable == 1).all() for variable in store.values())


def test_reset_parameters_makes_modules_as_they_were_first():
    def model() -> None:
        ts.get_module("dense", dense)
        ts.get_module("norm", lambda: nn.BatchNorm1d(3))

    net = ts.ScopedModule(model, seed=3).build()
    before = copy.deepcopy(net.state_dict())
    parameters = list(net.parameters())
    for value in net.state_dict().values():
        value.fill_(9)
    net.reset_parameters()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))


@pytest.mark.parametrize("make", [ts.VariableStore, lambda: ts.ScopedModule(get)])
def test_reset_parameters_returns_the_store(make: Any):
    store = make()
    with store:
        get()
    assert store.reset_parameters() is store


# ---- build ---------------------------------------------------------------------------------------


def encode(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    with ts.variable_scope("encoder"):
        steps = ts.get_buffer("steps", [], initializer=ts.zeros_initializer())
        ts.assign_add(steps, 1)
        frozen = ts.get_variable("frozen", [], trainable=False, initializer=ts.ones_initializer())
        ts.assign(frozen, 5)
        return nn.functional.dropout(x) @ ts.get_variable("w", [x.shape[-1], 2]) * scale


def decode(z: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("decoder"):
        return z @ ts.get_variable("w", [z.shape[-1], 3])


def test_a_store_is_built_for_several_functions():
    store = ts.VariableStore(0)
    stream = torch.get_rng_state()
    assert store.build(encode, torch.ones(1, 3), scale=2.0) is store
    assert store.build(decode, torch.ones(1, 2)) is store
    assert torch.equal(torch.get_rng_state(), stream)
    assert list(store) == ["encoder/steps", "encoder/frozen", "encoder/w", "decoder/w"]
    assert store.built
    assert store["encoder/steps"].item() == 0
    assert store["encoder/frozen"].item() == 1
    assert all(parameter.grad is None for parameter in store.parameters())
    other = ts.VariableStore(0)
    other(encode, torch.ones(1, 3))
    assert torch.equal(store["encoder/w"], other["encoder/w"])


def test_a_store_is_built_on_the_meta_device_computing_nothing():
    store = ts.VariableStore(0).build(encode, torch.ones(1, 3, device="meta"))
    assert store["encoder/w"].device.type == "cpu"
    assert torch.equal(
        store["encoder/w"], ts.VariableStore(0).build(encode, torch.ones(1, 3))["encoder/w"]
    )


def test_a_build_of_a_store_with_gradients_of_its_own_keeps_none():
    def penalized(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable("w", [3])
        (gradient,) = torch.autograd.grad((w * x).sum(), w, create_graph=True)
        return gradient.square().sum()

    store = ts.VariableStore().build(penalized, torch.ones(3))
    assert store["w"].grad is None


def test_a_build_inside_a_pass_is_a_pass_of_its_own():
    store = ts.VariableStore()
    with store, ts.variable_scope("outer"):
        store.build(decode, torch.ones(1, 2))
        ts.get_variable("w", [1])
    assert list(store) == ["decoder/w", "outer/w"]


def test_a_build_that_fails_leaves_what_it_made_and_is_not_a_build():
    def failing(x: torch.Tensor) -> None:
        encode(x)
        raise ZeroDivisionError("mine")

    store = ts.VariableStore()
    with pytest.raises(ZeroDivisionError, match="mine"):
        store.build(failing, torch.ones(1, 3))
    assert store["encoder/steps"].item() == 0
    assert not store.built


# ---- buffers, local variables, modules -----------------------------------------------------------


def test_a_buffer_is_state_and_no_parameter(store: ts.VariableStore):
    mean = ts.get_buffer("mean", [2], initializer=ts.zeros_initializer())
    assert list(store.parameters()) == []
    assert list(store.buffers()) == [mean]
    assert not mean.requires_grad
    assert not isinstance(mean, nn.Parameter)
    assert store.global_variables() == [mean]
    assert store.trainable_variables() == store.local_variables() == []
    mean += 1
    assert store.state_dict()["mean"].tolist() == [1, 1]


def test_a_buffer_keeps_its_value_between_passes():
    def count() -> float:
        number = ts.get_buffer("count", [], initializer=ts.zeros_initializer())
        return ts.assign_add(number, 1).item()

    store = ts.VariableStore()
    assert [store(count) for _ in range(3)] == [1, 2, 3]


def test_a_buffer_may_be_left_out_of_the_state_dict(store: ts.VariableStore):
    ts.get_buffer("cache", [2], persistent=False)
    assert list(store) == ["cache"]
    assert store.state_dict() == {}
    assert len(store.global_variables()) == 1


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float64])
def test_a_buffer_has_the_dtype_asked_for(store: ts.VariableStore, dtype: torch.dtype):
    assert ts.get_buffer("b", [2], dtype).dtype is dtype


def test_a_buffer_is_also_found_by_get_variable():
    store = ts.VariableStore()
    with store:
        mean = ts.get_buffer("mean", [2])
    with store:
        assert ts.get_variable("mean", [2]) is mean


def test_a_parameter_is_not_a_buffer():
    store = store_of("w")
    with store, pytest.raises(ts.VariableMismatchError, match="'w' is a parameter, not a buffer"):
        ts.get_buffer("w", SHAPE)
    assert list(store.parameters()) == [store["w"]]


def test_a_buffer_takes_a_regularizer_and_a_custom_getter_of_its_own(store):
    def twice(getter, name, *args, **kwargs):
        asked.append((name, kwargs["trainable"]))
        return getter(name, *args, **kwargs) * 2

    asked = []
    ones = ts.ones_initializer()
    with ts.variable_scope("s", regularizer=ts.l1_regularizer(9.0), custom_getter=twice):
        ts.get_buffer("plain", [2], initializer=ones)
        doubled = ts.get_buffer(
            "mean", [2], initializer=ones, regularizer=ts.l1_regularizer(0.5), custom_getter=twice
        )
    assert asked == [("s/mean", False)]
    assert doubled.tolist() == [2.0, 2.0]
    assert not isinstance(store["s/mean"], torch.nn.Parameter)
    assert [loss.item() for loss in store.regularization_losses()] == [1.0]


def test_a_buffer_takes_the_defaults_of_its_scope(store: ts.VariableStore):
    with ts.variable_scope(
        "a",
        initializer=ts.ones_initializer(),
        dtype=torch.float64,
        regularizer=ts.l2_regularizer(1.0),
    ):
        mean = ts.get_buffer("mean", [2])
    assert mean.tolist() == [1, 1]
    assert mean.dtype is torch.float64


def test_a_local_variable_is_a_buffer_that_no_state_dict_keeps(store: ts.VariableStore):
    local = ts.get_local_variable("count", [2])
    asked = ts.get_variable("other", [2], collections=[ts.GraphKeys.LOCAL_VARIABLES])
    assert list(store) == ["count", "other"]
    assert store.state_dict() == {}
    assert list(store.buffers()) == store.local_variables() == [local, asked]
    assert store.global_variables() == store.trainable_variables() == []
    assert ts.local_variables() == [local, asked]


def test_a_local_variable_keeps_its_collections(store: ts.VariableStore):
    local = ts.get_local_variable("count", [2], collections=["metrics"])
    assert ts.get_collection("metrics") == ts.local_variables() == [local]


def test_the_signature_of_get_local_variable_is_get_variables():
    signature = inspect.signature(ts.get_local_variable)
    assert signature == inspect.signature(ts.get_variable)


@pytest.mark.parametrize("name", ["caching_device", "custom_getter", "constraint", "device"])
def test_a_local_variable_takes_what_a_variable_takes(store: ts.VariableStore, name: str):
    given: dict[str, Any] = {
        "caching_device": "/cpu:0",
        "custom_getter": lambda getter, *args, **kwargs: getter(*args, **kwargs),
        "constraint": torch.abs,
        "device": "cpu",
    }
    ts.get_local_variable("count", [2], **{name: given[name]})
    with pytest.raises(TypeError, match="unexpected keyword argument 'unknown'"):
        ts.get_local_variable("other", [2], unknown=1)
    assert store.local_variables() == [store["count"]]


def test_a_local_variable_takes_its_arguments_by_position(store: ts.VariableStore):
    given = ("count", [2], torch.int32, ts.zeros_initializer(), None, True, ["metrics"])
    local = ts.get_local_variable(*given)
    assert (local.dtype, local.requires_grad) == (torch.int32, False)
    assert ts.get_collection("metrics") == ts.local_variables() == [local]


def test_a_module_is_made_once_and_shared():
    calls: list[int] = []

    def factory() -> nn.Module:
        calls.append(1)
        return nn.Linear(2, 3)

    def model() -> nn.Module:
        with ts.variable_scope("head", reuse=AUTO_REUSE):
            first = ts.get_module("dense", factory)
            assert ts.get_module("dense", factory) is first
        return first

    store = ts.VariableStore()
    assert store(model) is store(model) is store.get_submodule("head/dense")
    assert calls == [1]
    assert list(store.state_dict()) == ["head/dense.weight", "head/dense.bias"]
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", store.origin("head/dense"))


def test_a_module_is_made_with_the_arguments_that_follow_its_factory(store: ts.VariableStore):
    with ts.variable_scope("head", reuse=AUTO_REUSE):
        first = ts.get_module("dense", nn.Linear, 784, 128, bias=False)
        assert ts.get_module("dense", nn.Linear, 784, 128, bias=False) is first
    assert (first.in_features, first.out_features, first.bias) == (784, 128, None)
    by_name = ts.get_module(name="named", factory=nn.Linear, in_features=2, out_features=3)
    assert by_name.weight.shape == (3, 2)


def with_arguments(width: int = 3) -> None:
    for number in range(3):
        ts.get_module(f"dense{number}", nn.Linear, width, number + 1)
    ts.get_module("block", ts.ScopedModule, get)()


def test_the_arguments_of_a_factory_give_the_values_that_a_lambda_gives():
    def with_lambdas() -> None:
        for number in range(3):
            ts.get_module(f"dense{number}", lambda number=number: nn.Linear(3, number + 1))
        ts.get_module("block", lambda: ts.ScopedModule(get))()

    store, other = ts.VariableStore(0), ts.VariableStore(0)
    store(with_arguments)
    other(with_lambdas)
    expected = other.state_dict()
    assert list(store.state_dict()) == list(expected)
    assert all(torch.equal(value, expected[key]) for key, value in store.state_dict().items())


@pytest.mark.parametrize(
    "copied",
    [lambda net: net, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["itself", "deepcopy", "pickle"],
)
def test_a_module_made_with_arguments_is_reset_in_every_copy(copied: Any):
    net = ts.ScopedModule(with_arguments, seed=0).build()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net = copied(net)
    for value in net.state_dict().values():
        value.fill_(9)
    net.reset_parameters()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_module_made_with_arguments_takes_what_was_loaded():
    source, net = ts.ScopedModule(with_arguments), ts.ScopedModule(with_arguments)
    net.load_state_dict(source.build().state_dict())
    assert all(
        torch.equal(value, source.state_dict()[key])
        for key, value in net.build().state_dict().items()
    )


def test_a_module_made_with_arguments_compiles():
    torch._dynamo.reset()

    def model(x: torch.Tensor, width: int = 3) -> torch.Tensor:
        return ts.get_module("dense", nn.Linear, width, out_features=2)(x)

    net = ts.ScopedModule(model).build(torch.ones(1, 3))
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.ones(1, 3)), net(torch.ones(1, 3)))


def test_arguments_that_a_factory_does_not_take_are_its_own_error(
    store: ts.VariableStore, refused: Any
):
    with refused(store, TypeError, match="missing 1 required positional argument"):
        ts.get_module("dense", nn.Linear, 3)
    with refused(store, TypeError, match="unexpected keyword argument 'width'"):
        ts.get_module("dense", nn.Linear, 3, 4, width=5)


@pytest.mark.parametrize("factory", [None, 5, "dense", [dense]], ids=repr)
def test_a_factory_that_cannot_be_called_is_refused_by_the_modules_name(
    store: ts.VariableStore, refused: Any, factory: Any
):
    with (
        ts.variable_scope("head"),
        refused(store, TypeError, match=r"factory of 'head/dense'.*nn\.Linear"),
    ):
        ts.get_module("dense", factory)


@pytest.mark.parametrize(
    "result", [None, 5, torch.zeros(2), nn.Linear], ids=lambda r: type(r).__name__
)
def test_a_factory_that_gives_no_module_is_refused(store: ts.VariableStore, result: Any):
    with pytest.raises(TypeError, match=r"'dense' returned \w+, not an nn\.Module"):
        ts.get_module("dense", lambda: result)
    assert list(store.modules()) == [store]
    ts.get_module("dense", dense)


def test_an_error_of_a_factory_leaves_nothing_behind(store: ts.VariableStore):
    def factory() -> nn.Module:
        raise ZeroDivisionError("mine")

    stream = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError, match="mine"):
        ts.get_module("dense", factory)
    assert list(store.modules()) == [store]
    assert torch.equal(torch.get_rng_state(), stream)
    ts.get_module("dense", dense)


@pytest.mark.parametrize("variable", ["dense", "dense/w"])
def test_a_module_cannot_take_the_name_of_a_variable(store: ts.VariableStore, variable: str):
    get(variable)
    with pytest.raises(VariableExistsError, match=f"'dense' would take the name of '{variable}'"):
        ts.get_module("dense", dense)
    assert list(store.state_dict()) == [variable]


@pytest.mark.parametrize("name", ["dense/w", "dense/w/v"])
def test_a_variable_cannot_lie_in_a_module(store: ts.VariableStore, name: str):
    ts.get_module("dense", dense)
    with pytest.raises(VariableExistsError, match=f"'{name}' would lie in the module 'dense'"):
        get(name)
    assert list(store) == []


@pytest.mark.parametrize("ask", [get, lambda name: ts.get_buffer(name, SHAPE)])
@pytest.mark.parametrize("reuse", [None, True, AUTO_REUSE], ids=str)
def test_a_module_is_not_a_variable(store: ts.VariableStore, ask: Any, reuse: Any):
    with ts.variable_scope("a"):
        ts.get_module("dense", dense)
    with (
        ts.variable_scope("a", reuse=reuse),
        pytest.raises(ts.VariableMismatchError, match="'a/dense' is a module, made at"),
    ):
        ask("dense")
    assert list(store) == []


@pytest.mark.parametrize("reuse", [True, AUTO_REUSE], ids=str)
def test_a_variable_is_not_a_module(store: ts.VariableStore, reuse: Any):
    get("dense")
    ts.get_variable_scope()
    with ts.variable_scope("", reuse=reuse), pytest.raises(ts.ScopeError, match="dense"):
        ts.get_module("dense", dense)
    assert list(store.modules()) == [store]


def test_a_module_beside_a_scope_of_nearly_its_name_is_fine(store: ts.VariableStore):
    ts.get_module("dense", dense)
    get("dense_1/w")
    get("den")
    assert list(store) == ["dense_1/w", "den"]


# ---- collections, constraints, finalize ----------------------------------------------------------


def test_collections_belong_to_the_store_and_values_to_the_pass():
    def model() -> tuple[int, int]:
        w = get(collections=["mine", ts.GraphKeys.GLOBAL_VARIABLES])
        if not store.built:
            ts.add_to_collection("later", w)
        ts.add_to_collection("losses", w.sum())
        return len(ts.get_collection("losses")), len(ts.get_collection("later"))

    store = ts.VariableStore()
    assert [store(model) for _ in range(3)] == [(1, 1)] * 3
    twins = [store, copy.deepcopy(store), pickle.loads(pickle.dumps(store))]
    for twin in twins:
        assert twin.get_collection("mine") == twin.get_collection("later") == [twin["w"]]
        assert twin.get_collection("losses") == []


def test_a_constraint_is_applied_when_asked_for():
    def model() -> None:
        get("a", constraint=clipped, initializer=ts.constant_initializer(5.0))
        get("b", initializer=ts.constant_initializer(5.0))
        with ts.variable_scope("s", constraint=clipped):
            get("c", initializer=ts.constant_initializer(-5.0))

    store = ts.VariableStore()
    store(model)
    a = store["a"]
    store.apply_constraints()
    assert store["a"] is a
    assert [variable.flatten()[0].item() for variable in store.values()] == [1, 5, -1]
    assert a.requires_grad
    assert a.is_leaf


def test_constraints_can_be_hooked_to_an_optimizers_step():
    net = ts.ScopedModule(lambda: get(constraint=clipped).sum()).build()
    optimizer = torch.optim.SGD(net.parameters(), lr=100.0)
    optimizer.register_step_post_hook(lambda *_: net.apply_constraints())
    net().backward()
    optimizer.step()
    assert (net["w"] == -1).all()


def test_after_finalize_a_new_variable_is_an_error():
    store = store_of("w")
    store.finalize()
    with store:
        get()
        with pytest.raises(ts.NotBuiltError, match=r"'ww' is new, but .* finalized"):
            get("ww")
        with pytest.raises(ts.NotBuiltError, match="'dense' is new"):
            ts.get_module("dense", dense)
        with pytest.raises(ts.NotBuiltError, match="'buffer' is new"):
            ts.get_buffer("buffer", SHAPE)
    assert list(store) == list(store.state_dict()) == ["w"]
    store.half()
    store.reset_parameters()


# ---- names and origins ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (None, ["gen", "gen/w", "gen/a/w", "gen_2/w", "disc/gen/w"]),
        ("", ["gen", "gen/w", "gen/a/w", "gen_2/w", "disc/gen/w"]),
        ("gen", ["gen", "gen/w", "gen/a/w"]),
        ("gen/a", ["gen/a/w"]),
        ("gen/w", ["gen/w"]),
        ("g.n", []),
        ("nothing", []),
    ],
)
def test_named_variables_takes_a_scope_by_its_name(scope: str | None, found: list[str]):
    store = store_of("gen", "gen/w", "gen/a/w", "gen_2/w", "disc/gen/w")
    assert [name for name, _ in store.named_variables(scope)] == found
    assert all(store[name] is variable for name, variable in store.named_variables(scope))


def test_named_variables_takes_a_scope_object():
    store = ts.VariableStore()
    with store, ts.variable_scope("gen") as scope:
        w = get()
        get("gen_2/w")
    assert list(store.named_variables(scope)) == [
        ("gen/w", w),
        ("gen/gen_2/w", store["gen/gen_2/w"]),
    ]
    assert [
        name for name, _ in store.named_variables(ts.VariableStore()(ts.get_variable_scope))
    ] == [
        "gen/w",
        "gen/gen_2/w",
    ]


def test_name_of_follows_the_tensors():
    store = store_of("a/w", "b/w")
    assert store.name_of(store["b/w"]) == "b/w"
    store.to("meta")
    assert store.name_of(store["b/w"]) == "b/w"
    store.to_empty(device="cpu")
    state = {name: torch.zeros(2, 3) for name in store}
    store.load_state_dict(state, assign=True)
    assert store.name_of(store["a/w"]) == "a/w"
    old = store.pop("a/w")
    with pytest.raises(VariableMissingError, match="not a variable of this store"):
        store.name_of(old)


@pytest.mark.parametrize(
    "other", [lambda w: w * 1, lambda w: w.detach(), lambda w: nn.Parameter(w), lambda w: w.T]
)
def test_what_is_computed_from_a_variable_has_no_name(other: Any):
    store = store_of("w")
    with pytest.raises(VariableMissingError, match="not a variable of this store"):
        store.name_of(other(store["w"]))
    with store, pytest.raises(VariableMissingError, match="not a variable of this store"):
        ts.name_of(other(store["w"]))


def test_a_name_asked_for_outside_every_store_says_that_none_is_entered():
    store = store_of("w")
    ts.reset_default_store()
    with pytest.raises(ts.ScopeError, match=r"[Nn]o store is entered.*store\.name_of\(") as caught:
        ts.name_of(store["w"])
    assert isinstance(caught.value, VariableMissingError)
    with store:
        assert ts.name_of(store["w"]) == "w"


def test_a_name_asked_for_in_the_default_store_is_found_there():
    w = get()
    assert ts.name_of(w) == "w"
    other = store_of("w")
    with pytest.raises(VariableMissingError, match=r"[Nn]o store is entered.*store\.name_of\("):
        ts.name_of(other["w"])


def test_the_origin_is_where_the_users_code_asked_first():
    store = ts.VariableStore()
    with store:
        w = ts.get_variable("w", SHAPE)
        line = sys._getframe().f_lineno - 1
    with store:
        ts.get_variable("w", SHAPE)
    assert w is store["w"]
    assert store.origin("w") == f"{__file__}:{line}"


def test_the_origin_of_an_unknown_name_offers_the_nearest():
    store = store_of("model/weights")
    with pytest.raises(VariableMissingError, match="Did you mean 'model/weights'"):
        store.origin("model/weight")


def test_a_repr_shows_each_variable_on_a_line():
    store = store_of("a/w", "keys")
    with store:
        ts.get_buffer("mean", [], torch.int64)
        ts.get_module("dense", dense)
    assert repr(store).splitlines() == [
        "VariableStore(",
        "  (a/w): Parameter (2, 3) float32 cpu",
        "  (keys): Parameter (2, 3) float32 cpu",
        "  (mean): Tensor () int64 cpu",
        "  (dense): Linear(in_features=2, out_features=3, bias=True)",
        ")",
    ]


def test_a_repr_of_very_many_variables_stays_short():
    store = ts.VariableStore()
    with store:
        for number in range(10_000):
            ts.get_variable(f"w{number}", [1], initializer=ts.zeros_initializer())
    lines = repr(store).splitlines()
    assert len(lines) < 30
    assert "(w0)" in lines[1]
    assert "(w9999)" in lines[-2]
    assert any("9,980 more" in line for line in lines)


def test_the_repr_of_an_empty_store_is_its_name():
    assert repr(ts.VariableStore()) == "VariableStore()"


# ---- devices and dtypes --------------------------------------------------------------------------


def test_what_was_moved_before_holds_for_variables_made_after():
    store = store_of("before").to("meta")
    with store:
        get("after")
        ts.get_buffer("mean", SHAPE)
        module = ts.get_module("dense", dense)
        block = ts.get_module("block", lambda: ts.ScopedModule(get))
        inner = block()
        assert get("here", device="cpu").device.type == "cpu"
    assert {store[name].device.type for name in ("before", "after", "mean")} == {"meta"}
    assert module.weight.device.type == inner.device.type == "meta"


def test_moving_a_bigger_module_moves_the_store_in_it():
    outer = nn.Sequential(ts.VariableStore())
    outer.to("meta")
    assert outer[0](get).device.type == "meta"
    outer.to_empty(device="cpu")
    assert outer[0](lambda: get("other")).device.type == "cpu"


def test_a_store_moved_to_the_cpu_stays_there():
    store = ts.VariableStore().to("cpu")
    with torch.device("meta"):
        assert store(get).device.type == "cpu"


def test_the_default_device_is_the_default():
    with torch.device("meta"):
        store = store_of("w")
        with store:
            module = ts.get_module("dense", dense)
    assert store["w"].device.type == module.weight.device.type == "meta"


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (lambda store: store.half(), torch.float16),
        (lambda store: store.double(), torch.float64),
        (lambda store: store.bfloat16(), torch.bfloat16),
        (lambda store: store.to(torch.float64), torch.float64),
        (lambda store: store.half().float(), torch.float32),
        (lambda store: store.half().to("cpu"), torch.float16),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_change_of_dtype_holds_for_all_floats_and_gets_ask_for_what_was_declared(
    change: Any, dtype: torch.dtype, when: str
):
    def model() -> tuple[torch.Tensor, ...]:
        number = ts.get_variable("number", [], torch.int64)
        return get(), get("wide", dtype=torch.float64), number, ts.get_module("dense", dense).weight

    store = ts.VariableStore(0)
    if when == "after":
        store(model)
    change(store)
    for _ in range(2):
        w, wide, number, weight = store(model)
        assert w.dtype is wide.dtype is weight.dtype is dtype
        assert number.dtype is torch.int64


def test_a_get_is_checked_against_the_declaration_and_not_the_tensor():
    store = store_of("w").half()
    with store:
        assert get(dtype=torch.float32).dtype is torch.float16
    with store, pytest.raises(ts.VariableMismatchError, match=r"has dtype torch\.float32"):
        get(dtype=torch.float16)
    store.load_state_dict({"w": torch.zeros(2, 3, dtype=torch.float64)}, assign=True)
    with store:
        assert get().dtype is torch.float64


@pytest.mark.parametrize(
    "swap",
    [
        lambda store: store.to("meta"),
        lambda store: store.load_state_dict({"a/w": torch.zeros(2, 3)}, assign=True),
        lambda store: store.__setitem__("a/w", nn.Parameter(torch.zeros(2, 3))),
    ],
    ids=["meta", "assign", "set"],
)
def test_a_get_gives_the_tensor_that_the_module_holds_now(swap: Any):
    store = store_of("a/w")
    swap(store)
    with store:
        assert get("a/w") is store.get_parameter("a/w")
    assert len(list(store.parameters())) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda net: parametrizations.weight_norm(net, "a/w"),
        lambda net: parametrizations.spectral_norm(net, "a/w"),
        lambda net: prune.l1_unstructured(net, "a/w", amount=0.5),
    ],
    ids=["weight_norm", "spectral_norm", "prune"],
)
def test_a_variable_that_has_left_the_parameters_is_not_made_again(change: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        return x @ get("a/w")

    net = ts.ScopedModule(model).build(torch.ones(1, 2))
    change(net)
    keys = list(net.state_dict())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.0)
    x = torch.ones(1, 2)
    result = net(x)
    assert list(net.state_dict()) == keys
    assert result.isnan().all() or not result.any()
    assert list(net) == ["a/w"]


def test_a_replica_of_data_parallel_uses_its_own_tensors():
    net = ts.ScopedModule(lambda x: x @ get(), seed=0).build(torch.ones(1, 2))
    replica = net._replicate_for_data_parallel()
    for key, parameter in net._parameters.items():
        setattr(replica, key, parameter * 2)  # As torch.nn.parallel.replicate does.
    x = torch.ones(1, 2)
    assert torch.allclose(replica(x), 2 * net(x))
    assert len(list(net.parameters())) == 1


def test_freezing_shows_in_the_lists():
    store = store_of("a", "b")
    store["a"].requires_grad_(False)
    assert store.trainable_variables() == [store["b"]]
    with store:
        assert ts.trainable_variables() == [store["b"]]
    store.requires_grad_(False)
    assert store.trainable_variables() == []
    assert len(store.global_variables()) == 2


def test_gradients_reach_through_functional_call_grad_and_vmap():
    net = ts.ScopedModule(lambda x: (x @ get()).sum()).build(torch.ones(2))
    state = dict(net.named_parameters())

    def loss(state: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, state, (x,))

    x = torch.rand(4, 2)
    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(state, x)
    assert torch.allclose(gradients["w"], x[:, :, None].expand(4, 2, 3))


# ---- threads -------------------------------------------------------------------------------------


def test_threads_that_make_the_same_names_get_one_parameter_a_name():
    store = ts.VariableStore()

    def work(number: int) -> list[torch.Tensor]:
        with store, ts.variable_scope("a"):
            return [get(f"w{index}") for index in range(20)]

    first, *others = in_threads(8, work)
    assert len(list(store.parameters())) == len(store) == 20
    for other in others:
        assert all(a is b for a, b in zip(first, other, strict=True))


def test_threads_that_make_different_names_get_the_values_of_one_thread():
    def work(number: int) -> None:
        with store:
            for index in range(10):
                with ts.variable_scope(f"thread_{number}"):
                    get(f"w{index}")

    store = ts.VariableStore(3)
    stream = torch.get_rng_state()
    assert in_threads(8, work) == [None] * 8
    assert torch.equal(torch.get_rng_state(), stream)
    assert len(store) == 80
    alone = ts.VariableStore(3)
    with alone:
        for name in store:
            get(name)
    assert all(torch.equal(store[name], alone[name]) for name in store)


def test_threads_that_make_the_same_module_get_one():
    store = ts.VariableStore()

    def work(number: int) -> nn.Module:
        with store:
            return ts.get_module("dense", dense)

    modules = in_threads(8, work)
    assert all(module is modules[0] for module in modules)


def test_each_thread_has_a_pass_of_its_own():
    store = store_of("a/w")
    entered = threading.Barrier(4)

    def work(number: int) -> str:
        with store:
            assert ts.get_variable_scope().name == ""
            with ts.variable_scope("a"):
                entered.wait()
                get()
                with pytest.raises(VariableExistsError, match="'a/w'"):
                    get()
                entered.wait()
                return ts.get_variable_scope().name

    with store, ts.variable_scope("b"):
        get()
        assert in_threads(4, work) == ["a"] * 4
        assert ts.get_variable_scope().name == "b"


def test_a_store_called_from_many_threads_gives_what_one_gives():
    net = ts.ScopedModule(lambda x: x @ get(), seed=0)
    expected = ts.ScopedModule(lambda x: x @ get(), seed=0)(torch.ones(1, 2))
    results = in_threads(8, lambda number: net(torch.ones(1, 2)))
    assert all(torch.equal(result, expected) for result in results)
    assert len(list(net.parameters())) == 1


def test_threads_share_the_default_stores_pass_but_not_its_scopes():
    def work(number: int) -> Any:
        assert ts.get_variable_scope().name == ""
        with ts.variable_scope("a"):
            return get()

    with ts.variable_scope("outer"):
        results = in_threads(8, work)
    made = [result for result in results if isinstance(result, torch.Tensor)]
    refused = [result for result in results if isinstance(result, VariableExistsError)]
    assert len(made) == 1
    assert len(refused) == 7
    assert list(ts.default_store()) == ["a/w"]


def test_threads_share_a_variable_of_the_default_store_under_reuse():
    def work(number: int) -> torch.Tensor:
        with ts.variable_scope("a", reuse=AUTO_REUSE):
            return get()

    results = in_threads(8, work)
    assert all(result is ts.default_store()["a/w"] for result in results)


def test_a_new_thread_counts_default_names_afresh():
    def work(number: int) -> str:
        with ts.variable_scope(None, "layer", reuse=None) as scope:
            return scope.name

    with ts.variable_scope(None, "layer"):
        pass
    assert in_threads(1, work) == ["layer"]


def test_a_reset_of_the_default_store_reaches_every_thread():
    get()
    thread_has_used_it, was_reset = threading.Event(), threading.Event()
    found: list[Any] = []

    def work() -> None:
        with ts.variable_scope("", reuse=True):
            found.append(get())
        thread_has_used_it.set()
        was_reset.wait()
        found.append(get())

    thread = threading.Thread(target=work)
    thread.start()
    thread_has_used_it.wait()
    ts.reset_default_store()
    was_reset.set()
    thread.join()
    assert found[0] is not found[1]
    assert ts.default_store()["w"] is found[1]


# ---- torch's registration ------------------------------------------------------------------------


def test_a_hook_on_registration_sees_each_variable_and_may_replace_it(store: ts.VariableStore):
    def doubled(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter:
        return nn.Parameter(parameter.detach() * 2)

    handle = torch.nn.modules.module.register_module_parameter_registration_hook(doubled)
    try:
        variable = ts.get_variable("a/w", [2], initializer=ts.ones_initializer())
    finally:
        handle.remove()
    assert variable.tolist() == [2, 2]
    assert store["a/w"] is variable


def test_a_register_parameter_that_was_exchanged_is_called(
    store: ts.VariableStore, monkeypatch: pytest.MonkeyPatch
):
    """As accelerate's init_empty_weights exchanges it."""
    registered: list[str] = []
    original = nn.Module.register_parameter

    def noting(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        registered.append(name)
        original(self, name, param)

    monkeypatch.setattr(nn.Module, "register_parameter", noting)
    variable = ts.get_variable("a/w", [2])
    assert registered == ["a/w"]
    assert store["a/w"] is variable
