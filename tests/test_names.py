"""Names: which are legal, and that a legal one survives everything PyTorch does with a module."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from torch import nn

import torchscope as ts
from torchscope import _names

LONG = "x" * 10_000

# name -> its key in a state dict
KEYS = {
    "weights": "weights",
    "keys": "/keys",
    "training": "/training",
    "type": "/type",
    "forward": "/forward",
    "update": "/update",
    "fn": "/fn",
    "seed": "/seed",
    "model/keys": "model/keys",
    "keys/model": "keys/model",
    "v.1": "v%2E1",
    "s.1/v": "s%2E1/v",
    ".a": "%2Ea",
    ".": "%2E",
    "a..b": "a%2E%2Eb",
    "a>b": "a>b",
    "a\\b": "a\\b",
    "a/": "a/",
    "a//b": "a//b",
    "0": "0",
    "1x-2_y": "1x-2_y",
    "T": "T",
    "a/_b": "a/_b",
    LONG: LONG,
}

# What TensorFlow refuses, and what stands for it in a message.
REFUSED = [
    "",
    "_a",
    "a b",
    "weights:0",
    "/keys",
    "/a",
    "-a",
    "\\a",
    ">a",
    "%2E",
    "a%2Eb",
    "é",
    "a\n",
]

# Every public method that torchscope adds to a module; each is a legal name of a variable.
OUR_ATTRIBUTES = sorted(
    name
    for name in {*dir(ts.ScopedModule), *vars(ts.ScopedModule(lambda: None))}
    if not name.startswith("_") and not hasattr(nn.ParameterDict, name)
)


def shown(name: str) -> str:
    return repr(name) if len(name) < 30 else f"{len(name)} characters"


every_name = pytest.mark.parametrize("name", KEYS, ids=shown)


def store_with(name: str, seed: int = 0) -> ts.VariableStore:
    store = ts.VariableStore(seed)
    with store:
        ts.get_variable(name, [2])
    return store


class Net:
    """A module-level function of a chosen name, so that a module of it can be pickled."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x * ts.get_variable(self.name, [2])


@every_name
def test_the_mapping_shows_the_true_name(name: str):
    store = store_with(name)
    assert list(store) == list(store.keys()) == [name]
    assert list(store.items()) == [(name, store[name])]
    assert name in store
    assert store.name_of(store[name]) == name
    assert [full_name for full_name, _ in store.named_variables()] == [name]


@every_name
def test_the_state_dict_key_is_the_documented_one(name: str):
    store = store_with(name)
    key = KEYS[name]
    assert list(store.state_dict()) == [key]
    assert store.get_parameter(key) is store[name]
    assert [key for key, _ in store.named_parameters()] == [key]


@every_name
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
@pytest.mark.parametrize("strict", [False, True], ids=["any", "strict"])
@pytest.mark.parametrize("built", [False, True], ids=["empty", "built"])
def test_a_name_survives_saving_and_loading(name: str, built: bool, strict: bool, assign: bool):
    saved = store_with(name)
    other = store_with(name, seed=1) if built else ts.VariableStore(1)
    report = other.load_state_dict(saved.state_dict(), strict=strict, assign=assign)
    assert (report.missing_keys, report.unexpected_keys) == ([], [])
    assert list(other) == [name]
    with other:
        loaded = ts.get_variable(name, [2])
    assert torch.equal(loaded, saved[name])
    assert list(other.state_dict()) == [KEYS[name]]


@every_name
@pytest.mark.parametrize("built", [False, True], ids=["empty", "built"])
def test_loading_takes_the_true_name_as_a_key_too(name: str, built: bool):
    store = store_with(name) if built else ts.VariableStore()
    store.load_state_dict({name: torch.tensor([5.0, 6.0])})
    with store:
        assert ts.get_variable(name, [2]).tolist() == [5.0, 6.0]
    assert list(store) == [name]
    assert list(store.state_dict()) == [KEYS[name]]


@pytest.mark.parametrize("name", ["v.1", "keys"])
def test_loading_takes_the_true_name_inside_a_bigger_module(name: str):
    outer = nn.Sequential(store_with(name))
    outer.load_state_dict({f"0.{name}": torch.tensor([5.0, 6.0])})
    assert outer[0][name].tolist() == [5.0, 6.0]


@every_name
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))],
    ids=["deepcopy", "pickle"],
)
def test_a_name_survives_copying(name: str, copied):
    store = store_with(name)
    other = copied(store)
    assert list(other) == [name]
    assert torch.equal(other[name], store[name])
    assert other[name] is not store[name]
    with other:
        assert ts.get_variable(name, [2]) is other[name]


@every_name
def test_a_name_survives_a_file(name: str):
    file = io.BytesIO()
    saved = store_with(name)
    torch.save(saved.state_dict(), file)
    file.seek(0)
    other = store_with(name, seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other[name], saved[name])


@every_name
def test_a_name_works_in_functional_call(name: str):
    net = ts.ScopedModule(Net(name)).build(torch.ones(2))
    given = {key: torch.full_like(value, 3.0) for key, value in net.state_dict().items()}
    assert torch.func.functional_call(net, given, torch.ones(2)).tolist() == [3.0, 3.0]


@every_name
def test_the_module_itself_still_works(name: str):
    net = ts.ScopedModule(Net(name)).build(torch.ones(2))
    net.train().eval().float().requires_grad_(False).zero_grad()
    assert not net.training
    assert net.to(torch.float64)[name].dtype == torch.float64
    assert net(torch.ones(2)).shape == (2,)


@pytest.mark.parametrize("name", OUR_ATTRIBUTES)
def test_a_variable_may_be_called_as_one_of_our_own_methods(name: str):
    net = ts.ScopedModule(Net(name)).build(torch.ones(2))
    assert list(net) == [name]
    assert list(net.state_dict()) == [f"/{name}"]


def test_the_reserved_names_cover_all_that_a_parameter_dict_has():
    public = {
        name for name in (*dir(nn.ParameterDict), *vars(nn.ParameterDict())) if name[0] != "_"
    }
    assert public - _names.RESERVED == set()


@pytest.mark.parametrize("kind", [ts.VariableStore, ts.ScopedModule])
def test_the_reserved_names_cover_all_that_our_classes_have(kind):
    instance = kind() if kind is ts.VariableStore else kind(lambda: None)
    public = {name for name in (*dir(kind), *vars(instance)) if name[0] != "_"}
    assert public - _names.RESERVED == set()


def test_no_two_names_share_a_key():
    keys = [_names.escape(name) for name in {*KEYS, *_names.RESERVED}]
    assert len(keys) == len(set(keys))


@every_name
def test_a_key_spells_its_name(name: str):
    assert _names.unescape(_names.escape(name)) == name


def test_names_that_differ_only_in_spelling_live_side_by_side():
    names = ["keys", "a/keys", "v.1", "v_1", "V.1", "v", "v/1"]
    store = ts.VariableStore()
    with store:
        for name in names:
            ts.get_variable(name, [2])
    assert list(store) == names
    other = ts.VariableStore()
    other.load_state_dict(store.state_dict())
    assert sorted(other) == sorted(names)
    assert not any(
        torch.equal(store[first], store[second])
        for first, second in itertools.combinations(names, 2)
    )


@pytest.mark.parametrize("name", REFUSED, ids=repr)
def test_a_name_that_tensorflow_refuses_is_refused(store: ts.VariableStore, name: str):
    with pytest.raises(ts.VariableNameError, match="is not a variable name") as caught:
        ts.get_variable(name, [2])
    assert caught.value.name == name
    assert repr(name) in str(caught.value)
    assert list(store) == []
    assert list(store.state_dict()) == []


@pytest.mark.parametrize("name", REFUSED, ids=repr)
def test_a_refused_name_cannot_be_set_either(name: str):
    store = store_with("w")
    with pytest.raises(ts.VariableNameError, match="is not a variable name"):
        store[name] = nn.Parameter(torch.ones(2))
    assert list(store) == list(store.state_dict()) == ["w"]


@pytest.mark.parametrize("name", REFUSED, ids=repr)
def test_a_refused_name_is_not_a_module_either(store: ts.VariableStore, name: str):
    with pytest.raises(ts.VariableNameError, match="is not a"):
        ts.get_module(name, lambda: nn.Linear(1, 1))
    assert list(store.modules()) == [store]


@pytest.mark.parametrize("name", [None, 1, b"w", ["w"], 1.5], ids=repr)
def test_a_name_that_is_not_a_string_is_a_type_error(store: ts.VariableStore, name):
    with pytest.raises(TypeError, match="name is a string"):
        ts.get_variable(name, [2])
    with pytest.raises(TypeError, match="name is a string"):
        ts.get_module(name, lambda: nn.Linear(1, 1))
    assert list(store) == []


@pytest.mark.parametrize("name", ["_a", "-a", "/a", "", ">a", "\\a"], ids=repr)
def test_only_the_full_name_has_to_begin_well(store: ts.VariableStore, name: str):
    with ts.variable_scope("s"):
        ts.get_variable(name, [2])
    assert list(store) == [f"s/{name}"]


@pytest.mark.parametrize("name", ["a b", "_a", "-a", "/a", "é", "a:0", ">a", "a\n"], ids=repr)
def test_a_scope_name_that_tensorflow_refuses_is_refused(store: ts.VariableStore, name: str):
    refused = ts.variable_scope(name)
    with pytest.raises(ts.VariableNameError, match="is not a scope name"):
        refused.__enter__()
    assert ts.get_variable_scope().name == ""


@pytest.mark.parametrize("name", ["a b", "é", "a:0", "a\n"], ids=repr)
def test_a_scope_name_is_checked_inside_another_scope(store: ts.VariableStore, name: str):
    with ts.variable_scope("s"):
        refused = ts.variable_scope(name)
        with pytest.raises(ts.VariableNameError, match="is not a scope name"):
            refused.__enter__()
        assert ts.get_variable_scope().name == "s"


@pytest.mark.parametrize("name", ["_a", "-a", ">a", "\\a", "", "a.b", LONG], ids=shown)
def test_inside_a_scope_a_scope_name_may_begin_anyhow(store: ts.VariableStore, name: str):
    with ts.variable_scope("s"), ts.variable_scope(name):
        ts.get_variable("v", [2])
    assert list(store) == [f"s/{name}/v"]


@pytest.mark.parametrize("name", ["a b", "weights:0", "s/x y", "_a", "/keys"])
def test_the_name_suggested_instead_of_a_refused_one_is_accepted(
    store: ts.VariableStore, name: str
):
    with pytest.raises(ts.VariableNameError, match="For example") as caught:
        ts.get_variable(name, [2])
    suggested = str(caught.value).rpartition("For example ")[2].strip(".'")
    ts.get_variable(suggested, [2])
    assert list(store) == [suggested]


def test_a_variable_may_be_called_as_a_scope_is(store: ts.VariableStore):
    ts.get_variable("a", [2])
    with ts.variable_scope("a"):
        ts.get_variable("a", [2])
        with ts.variable_scope("a"):
            ts.get_variable("a", [2])
    assert list(store) == ["a", "a/a", "a/a/a"]
    assert list(store.state_dict()) == ["a", "a/a", "a/a/a"]


@pytest.mark.parametrize("name", ["keys", "v.1", "training", "type"])
def test_a_module_kept_under_such_a_name_is_saved_and_loaded(name: str):
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module(name, lambda: nn.Linear(2, 2))(x)

    net = ts.ScopedModule(model).build(torch.ones(1, 2))
    key = _names.escape(name)
    assert list(net.state_dict()) == [f"{key}.weight", f"{key}.bias"]
    other = ts.ScopedModule(model)
    other.load_state_dict(net.state_dict())
    x = torch.ones(1, 2)
    assert torch.equal(other(x), net(x))
    net.train().eval()
