"""A shared variable has one name and one owner; the same model tied by hand comes untied."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import torchscope as ts

IDS = torch.tensor([1, 2])
META_IDS = torch.zeros(2, dtype=torch.int64, device="meta")
KEY = "embedding/weight"


def shared(ids: torch.Tensor) -> torch.Tensor:
    """A language model in little: one embedding, as input and as output."""
    with ts.variable_scope("embedding") as scope:
        rows = ts.get_variable("weight", [5, 3])[ids]
    with ts.variable_scope(scope, reuse=True):
        return rows @ ts.get_variable("weight", [5, 3]).T


class Tied(nn.Module):
    """The same model, tied by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.embedding(ids))


def is_tied(model: Tied) -> bool:
    return model.output.weight is model.embedding.weight


def is_one(net: ts.ScopedModule) -> bool:
    """One key, one parameter, and the two places in the function both see it."""
    parameters = list(net.named_parameters())
    if [name for name, _ in parameters] != [KEY] or list(net.state_dict()) != [KEY]:
        return False
    if net[KEY].is_meta:
        return True
    with torch.no_grad():
        net[KEY].fill_(2.0)
    result = net(IDS)
    return bool((result == 12.0).all())  # 3 times 2 by 2


def build() -> ts.ScopedModule:
    return ts.ScopedModule(shared).build(IDS)


def other_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict as a file gives it, each tensor with memory of its own."""
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def assigned(model: nn.Module) -> nn.Module:
    model.load_state_dict(other_tensors(model), assign=True)
    return model


def saved_and_assigned(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file, weights_only=True), assign=True)
    return model


def overwritten(model: nn.Module) -> nn.Module:
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return model.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


CHANGES: dict[str, tuple[Callable[[Any], Any], bool]] = {  # and whether tying by hand survives
    "load_state_dict(assign=True)": (assigned, False),
    "load_state_dict(torch.load(...), assign=True)": (saved_and_assigned, False),
    "to meta": (lambda model: model.to("meta"), False),
    "to meta and to_empty": (lambda model: model.to("meta").to_empty(device="cpu"), False),
    "overwriting conversion": (overwritten, False),
    "to_empty": (lambda model: model.to_empty(device="cpu"), True),
    "double": (lambda model: model.double(), True),
    "half": (lambda model: model.half(), True),
    "to cpu": (lambda model: model.to("cpu"), True),
    "share_memory": (lambda model: model.share_memory(), True),
    "deepcopy": (copy.deepcopy, True),
    "pickle": (lambda model: pickle.loads(pickle.dumps(model)), True),
}
CASES = [pytest.param(change, survives, id=name) for name, (change, survives) in CHANGES.items()]


@pytest.mark.parametrize(("change", "survives"), CASES)
def test_what_is_shared_stays_one_variable_where_tying_by_hand_comes_untied(
    change: Any, survives: bool
):
    assert is_one(change(build()))
    assert is_tied(change(Tied())) == survives


def test_a_model_built_on_the_meta_device_stays_shared_where_one_tied_by_hand_comes_untied():
    with torch.device("meta"):
        tied, net = Tied(), ts.ScopedModule(shared).build(META_IDS)
    assert is_tied(tied)
    tied.to_empty(device="cpu")
    net.to_empty(device="cpu")
    net.reset_parameters()
    assert not is_tied(tied)
    assert torch.equal(net[KEY], ts.ScopedModule(shared, seed=net.seed).build(IDS)[KEY])
    assert is_one(net)


def train(model: nn.Module, steps: int = 2) -> None:
    optimizer = torch.optim.Adam(model.named_parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IDS), IDS.flip(0)).backward()
        optimizer.step()


def test_after_assign_the_shared_variable_trains_as_before_and_the_tied_ones_drift_apart():
    tied, net = Tied(), build()
    net.load_state_dict({KEY: tied.embedding.weight.detach().clone()})
    before, reference = copy.deepcopy(tied), copy.deepcopy(net)
    assigned(tied)
    assigned(net)
    for model in (before, reference, tied, net):
        train(model)
    assert torch.allclose(net[KEY], reference[KEY])
    assert torch.allclose(net[KEY], before.embedding.weight)
    assert not torch.allclose(tied.output.weight, tied.embedding.weight)
    assert not torch.allclose(tied.embedding.weight, before.embedding.weight)


def test_after_assign_from_a_file_the_tied_ones_lie_on_one_memory_and_are_stepped_twice():
    """torch.load gives two tensors over one memory: values agree, and every step counts twice."""
    tied = Tied()
    before = copy.deepcopy(tied)
    saved_and_assigned(tied)
    assert len(list(tied.parameters())) == 2
    assert tied.output.weight.data_ptr() == tied.embedding.weight.data_ptr()
    train(before)
    train(tied)
    assert not torch.allclose(tied.embedding.weight, before.embedding.weight)


def test_weight_norm_keeps_a_shared_variable_one_and_unties_what_is_tied_by_hand():
    net, tied = build(), Tied()
    expected = net(IDS)
    parametrizations.weight_norm(net, KEY)
    assert torch.allclose(net(IDS), expected)
    norms, directions = net.parameters()
    with torch.no_grad():
        norms.mul_(2.0)
    assert torch.allclose(net(IDS), 4 * expected)  # Both places see it.
    assert directions.shape == (5, 3)
    parametrizations.weight_norm(tied.output, "weight")
    with torch.no_grad():
        tied.output.parametrizations.weight.original0.mul_(2.0)
    assert not torch.equal(tied.output.weight, tied.embedding.weight)


def test_two_towers_get_the_sum_of_both_gradients():
    net = build()
    weight = net[KEY].detach().clone().requires_grad_()
    (weight[IDS] @ weight.T).square().sum().backward()
    net(IDS).square().sum().backward()
    assert net[KEY].grad is not None
    assert torch.allclose(net[KEY].grad, weight.grad)


# ---- safetensors ---------------------------------------------------------------------------------


@pytest.fixture
def safetensors() -> Any:
    return pytest.importorskip("safetensors.torch")


def test_safetensors_saves_a_shared_variable_once_and_refuses_what_is_tied_by_hand(
    safetensors: Any, tmp_path: Path
):
    net = build()
    safetensors.save_file(net.state_dict(), tmp_path / "net")
    assert list(safetensors.load_file(tmp_path / "net")) == [KEY]
    with pytest.raises(RuntimeError, match="share memory"):
        safetensors.save_file(Tied().state_dict(), tmp_path / "tied")


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
@pytest.mark.parametrize("assign", [False, True], ids=["copy", "assign"])
def test_what_safetensors_loads_is_one_variable_again(
    safetensors: Any, tmp_path: Path, built: bool, assign: bool
):
    net, other = build(), ts.ScopedModule(shared)
    safetensors.save_file(net.state_dict(), tmp_path / "net")
    if built:
        other.build(IDS)
    other.load_state_dict(safetensors.load_file(tmp_path / "net"), assign=assign)
    assert torch.equal(other(IDS), net(IDS))
    assert is_one(other)


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_safetensors_saves_and_loads_whole_modules(safetensors: Any, tmp_path: Path, built: bool):
    net, other = build(), ts.ScopedModule(shared)
    safetensors.save_model(net, str(tmp_path / "net"))
    if built:
        other.build(IDS)
    assert safetensors.load_model(other, str(tmp_path / "net")) == (set(), [])
    assert torch.equal(other(IDS), net(IDS))


def everything(x: torch.Tensor) -> torch.Tensor:
    """Variables of every kind, under names that need spelling; blocks and modules."""
    for name in ("keys", "v.1", "scope/w"):
        x = x * ts.get_variable(name, [3])
    x = x + ts.get_buffer("mean", [3]) + ts.get_variable("count", [], torch.int64)
    x = x * ts.get_variable("frozen", [3], trainable=False)
    x = ts.get_module("block", lambda: ts.ScopedModule(shared))(IDS)[:, :3] + x
    x = ts.get_module("norm", lambda: nn.BatchNorm1d(3))(x)
    return ts.get_module("dense", lambda: nn.Linear(3, 3))(x)


def test_safetensors_saves_whatever_a_store_holds(safetensors: Any, tmp_path: Path):
    x = torch.ones(2, 3)
    net, other = ts.ScopedModule(everything).build(x).eval(), ts.ScopedModule(everything).eval()
    safetensors.save_file(net.state_dict(), tmp_path / "net")
    other.load_state_dict(safetensors.load_file(tmp_path / "net"))
    assert torch.equal(other(x), net(x))
    assert list(other.state_dict()) == list(net.state_dict())


VALUES: dict[str, dict[str, Any]] = {
    **{
        f"{name}{shape}": {
            "shape": shape,
            "initializer": getattr(ts.initializers, name)(),
        }
        for name in ("orthogonal", "identity", "glorot_uniform", "truncated_normal")
        for shape in ([5, 3], [3, 5])
    },
    "torch's orthogonal_": {"shape": [5, 3], "initializer": nn.init.orthogonal_},
    "a transposed value": {"initializer": torch.arange(6.0).reshape(2, 3).T},
    "an expanded value": {"initializer": torch.ones(1).expand(4)},
    "a part of a value": {"initializer": torch.arange(9.0).reshape(3, 3)[:, 1]},
    "a function's transposed value": {
        "shape": [3, 2],
        "initializer": lambda shape, dtype: torch.ones(shape[::-1], dtype=dtype).T,
    },
}


@pytest.mark.parametrize("arguments", VALUES.values(), ids=VALUES)
def test_safetensors_saves_what_every_initializer_gives(
    safetensors: Any, tmp_path: Path, arguments: dict[str, Any]
):
    with ts.VariableStore() as store:
        variable = ts.get_variable("w", **arguments)
    safetensors.save_file(store.state_dict(), tmp_path / "store")
    assert torch.equal(safetensors.load_file(tmp_path / "store")["w"], variable)


def test_two_variables_of_one_value_do_not_share_memory(safetensors: Any, tmp_path: Path):
    value = torch.arange(3.0)
    with ts.VariableStore() as store:
        first, second = (ts.get_variable(name, initializer=value) for name in "ab")
    with torch.no_grad():
        first.zero_()
    assert second.tolist() == value.tolist() == [0, 1, 2]
    safetensors.save_file(store.state_dict(), tmp_path / "store")
