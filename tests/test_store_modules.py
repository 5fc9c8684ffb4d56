"""get_module: a module that is made once, shared and kept under its name."""

import copy
import pickle
import re
from typing import Any

import pytest
import torch
from models import SHAPE, get, linear
from torch import nn

import torchscope as ts
from torchscope import AUTO_REUSE, VariableExistsError


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


@pytest.mark.parametrize("factory", [None, 5, "dense", [linear]], ids=repr)
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
    ts.get_module("dense", linear)


def test_an_error_of_a_factory_leaves_nothing_behind(store: ts.VariableStore):
    def factory() -> nn.Module:
        raise ZeroDivisionError("mine")

    stream = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError, match="mine"):
        ts.get_module("dense", factory)
    assert list(store.modules()) == [store]
    assert torch.equal(torch.get_rng_state(), stream)
    ts.get_module("dense", linear)


@pytest.mark.parametrize("variable", ["dense", "dense/w"])
def test_a_module_cannot_take_the_name_of_a_variable(store: ts.VariableStore, variable: str):
    get(variable)
    with pytest.raises(VariableExistsError, match=f"'dense' would take the name of '{variable}'"):
        ts.get_module("dense", linear)
    assert list(store.state_dict()) == [variable]


@pytest.mark.parametrize("name", ["dense/w", "dense/w/v"])
def test_a_variable_cannot_lie_in_a_module(store: ts.VariableStore, name: str):
    ts.get_module("dense", linear)
    with pytest.raises(VariableExistsError, match=f"'{name}' would lie in the module 'dense'"):
        get(name)
    assert list(store) == []


@pytest.mark.parametrize("ask", [get, lambda name: ts.get_buffer(name, SHAPE)])
@pytest.mark.parametrize("reuse", [None, True, AUTO_REUSE], ids=str)
def test_a_module_is_not_a_variable(store: ts.VariableStore, ask: Any, reuse: Any):
    with ts.variable_scope("a"):
        ts.get_module("dense", linear)
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
        ts.get_module("dense", linear)
    assert list(store.modules()) == [store]


def test_a_module_beside_a_scope_of_nearly_its_name_is_fine(store: ts.VariableStore):
    ts.get_module("dense", linear)
    get("dense_1/w")
    get("den")
    assert list(store) == ["dense_1/w", "den"]


def test_a_module_that_is_deleted_is_made_anew():
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("fc", nn.Linear, 3, width)(x)

    width = 2
    net: Any = ts.ScopedModule(model).build(torch.ones(1, 3))
    del net.fc
    assert net.trainable_variables() == []
    net.reset_parameters()
    width = 4
    with pytest.warns(ts.ScopeWarning, match="made after the net was built"):
        assert net(torch.ones(1, 3)).shape == (1, 4)
    net.fc = None
    for ask in (lambda: net(torch.ones(1, 3)), net.reset_parameters):
        with pytest.raises(
            ts.VariableMissingError, match=r"'fc' was removed.*delattr\(net, 'fc'\)"
        ):
            ask()
    delattr(net, "fc")
    with pytest.warns(ts.ScopeWarning, match="made after the net was built"):
        net(torch.ones(1, 3))


def test_deleting_the_module_of_a_clone_leaves_the_original_alone():
    net: Any = ts.ScopedModule(lambda x: ts.get_module("fc", nn.Linear, 3, 2)(x))
    net.build(torch.ones(1, 3))
    clone = copy.copy(net)
    del clone.fc
    assert net.origin("fc").startswith(__file__)
    net(torch.ones(1, 3))


REGISTERED: dict[str, Any] = {
    "add_module": lambda store: store.add_module("a", nn.Linear(2, 2)),
    "an attribute": lambda store: setattr(store, "a", nn.Linear(2, 2)),
}


@pytest.mark.parametrize("register", REGISTERED.values(), ids=REGISTERED)
def test_a_variable_cannot_lie_in_a_module_that_was_set_from_outside(register: Any):
    store = ts.VariableStore()
    register(store)
    names = ["a/weight", "a/bias"]
    assert [name for name, _ in store.named_variables()] == names
    assert store.origin("a/weight") == "an unknown place"
    with store:
        for name in ("a/weight", "a/b/w"):
            with pytest.raises(VariableExistsError, match="would lie in the module 'a'"):
                ts.get_variable(name, [2])
        for make in (lambda: ts.get_variable("a", [2]), lambda: ts.get_module("a", linear)):
            with pytest.raises(ts.VariableNameError, match="has an attribute of that name"):
                make()
    with pytest.raises(VariableExistsError, match="would lie in the module 'a'"):
        store["a/weight"] = torch.ones(2)
    assert [name for name, _ in store.named_variables()] == names
