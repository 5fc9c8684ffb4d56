"""Parametrizations and pruning of a variable by its name, compared with an nn.Module's."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import X, layer
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import torchscope as ts

NAME = "layer/w"


class Layer(nn.Module):
    """The same by hand."""

    def __init__(self, net: ts.VariableStore) -> None:
        super().__init__()
        self.w = nn.Parameter(net["layer/w"].detach().clone())
        self.b = nn.Parameter(net["layer/b"].detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ self.w + self.b)


class Symmetric(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return (value + value.T) / 2

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        return value


def old_weight_norm(module: nn.Module, name: str) -> None:
    """By a hook, as before torch had parametrizations."""
    with pytest.warns(FutureWarning, match="deprecated"):
        nn.utils.weight_norm(module, name)


PARAMETRIZATIONS: dict[str, Callable[[nn.Module, str], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "one's own": lambda module, name: parametrize.register_parametrization(
        module, name, Symmetric()
    ),
    "two": lambda module, name: (
        parametrizations.weight_norm(module, name),
        parametrize.register_parametrization(module, name, Symmetric()),
    ),
}
HOOKS: dict[str, Callable[[nn.Module, str], Any]] = {
    "l1_unstructured": lambda module, name: prune.l1_unstructured(module, name, amount=0.5),
    "ln_structured": lambda module, name: prune.ln_structured(module, name, 0.4, n=2, dim=0),
    "custom_from_mask": lambda module, name: prune.custom_from_mask(module, name, torch.eye(3)),
    "pruned twice": lambda module, name: [
        prune.l1_unstructured(module, name, amount=2) for _ in range(2)
    ],
    "old weight_norm": old_weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
}
every_change = pytest.mark.parametrize(
    "change",
    [pytest.param(f, id=name) for name, f in {**PARAMETRIZATIONS, **HOOKS}.items()],
)
every_parametrization = pytest.mark.parametrize(
    "change", PARAMETRIZATIONS.values(), ids=PARAMETRIZATIONS
)


def build(seed: int = 0) -> ts.ScopedModule:
    return ts.ScopedModule(layer, seed=seed).build(X)


def alike(change: Callable[[nn.Module, str], Any]) -> tuple[ts.ScopedModule, nn.Module]:
    """A net and the same by hand, both changed."""
    net = build()
    by_hand = Layer(net)
    for module, name in ((net, NAME), (by_hand, "w")):
        torch.manual_seed(0)
        change(module, name)
    return net, by_hand


def train(module: nn.Module, steps: int = 3) -> list[float]:
    optimizer = torch.optim.Adam(module.named_parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (module(X) - 1).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# ---- the parametrized value is what get_variable gives -------------------------------------------


@every_change
def test_a_changed_variable_trains_as_the_parameter_of_a_module_does(change: Any):
    net, by_hand = alike(change)
    assert torch.equal(net(X), by_hand(X))
    assert train(net) == pytest.approx(train(by_hand))
    net.eval()
    by_hand.eval()
    assert torch.allclose(net(X), by_hand(X))
    assert torch.allclose(net[NAME], by_hand.w)


@every_change
def test_nothing_is_made_anew_for_a_changed_variable(change: Any):
    net, by_hand = alike(change)
    keys, parameters = list(net.state_dict()), [id(value) for value in net.parameters()]
    assert len(parameters) == len(list(by_hand.parameters()))
    net.build(X)
    net.finalize()
    for _ in range(2):
        net(X)
    assert list(net.state_dict()) == keys
    assert [id(value) for value in net.parameters()] == parameters
    assert list(net) == [NAME, "layer/b"]


@every_change
def test_a_changed_variable_is_still_checked_against_what_it_was_declared_as(change: Any):
    net = build()
    change(net, NAME)
    with net, ts.variable_scope("layer", reuse=ts.AUTO_REUSE):
        assert ts.get_variable("w", [3, 3]).shape == (3, 3)
        with pytest.raises(ts.VariableMismatchError, match=r"'layer/w' has shape \(3, 3\)"):
            ts.get_variable("w", [4, 4])


@every_change
def test_every_use_of_a_shared_variable_sees_the_changed_value(change: Any):
    def twice(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with ts.variable_scope("layer") as scope:
            first = ts.get_variable("w", [3, 3])
        with ts.variable_scope(scope, reuse=True):
            return first, ts.get_variable("w")

    net = ts.ScopedModule(twice).build(X).eval()
    change(net, NAME)
    first, second = net(X)
    assert torch.equal(first, second)
    assert not first.is_leaf


def test_within_cached_a_value_is_computed_once():
    net = build()
    parametrizations.orthogonal(net, NAME)
    with net, ts.variable_scope("layer", reuse=True):
        assert ts.get_variable("w") is not ts.get_variable("w")
        with parametrize.cached():
            assert ts.get_variable("w") is ts.get_variable("w")


def test_the_keys_are_those_that_torch_gives():
    net = build()
    parametrizations.weight_norm(net, NAME)
    prune.identity(net, "layer/b")
    assert list(net.state_dict()) == [
        "layer/b_orig",
        "layer/b_mask",
        "parametrizations.layer/w.original0",
        "parametrizations.layer/w.original1",
    ]


@pytest.mark.parametrize(("name", "key"), [("keys", "/keys"), ("v.1", "v%2E1")])
@every_change
def test_a_name_that_needs_spelling_is_changed_by_its_key(change: Any, name: str, key: str):
    def model(x: torch.Tensor) -> torch.Tensor:
        return x @ ts.get_variable(name, [3, 3])

    nets = [ts.ScopedModule(model, seed=seed).build(X).eval() for seed in range(2)]
    for net in nets:
        change(net, key)
    nets[1].load_state_dict(nets[0].state_dict())
    assert torch.allclose(nets[1](X), nets[0](X))
    assert list(nets[0]) == [name]


def test_a_buffer_can_be_parametrized_too():
    def model(x: torch.Tensor) -> torch.Tensor:
        return x @ ts.get_buffer("mixing", [3, 3])

    net = ts.ScopedModule(model).build(X)
    parametrize.register_parametrization(net, "mixing", Symmetric())
    assert torch.equal(net["mixing"], net["mixing"].T)
    assert torch.equal(net(X), X @ net["mixing"])
    assert list(net.parameters()) == []


def test_before_the_build_there_is_nothing_to_change_and_after_it_there_is():
    net = ts.ScopedModule(layer, seed=0)
    with pytest.raises(ValueError, match=NAME):
        parametrizations.weight_norm(net, NAME)
    net.build(X)
    parametrizations.weight_norm(net, NAME)
    assert torch.allclose(net(X), build()(X))


def test_a_regularizer_and_its_gradient_go_through_the_parametrization():
    def model(x: torch.Tensor) -> torch.Tensor:
        return x @ ts.get_variable("w", [3, 3], regularizer=ts.l2_regularizer(2.0))

    net = ts.ScopedModule(model).build(X)
    before = net.regularization_losses()[0].item()
    parametrizations.weight_norm(net, "w")
    with torch.no_grad():
        net.get_parameter("parametrizations.w.original0").mul_(3.0)
    (loss,) = net.regularization_losses()
    assert loss.item() == pytest.approx(9 * before)
    loss.backward()
    assert net.get_parameter("parametrizations.w.original0").grad.any()


@pytest.mark.parametrize("change", [parametrizations.weight_norm, HOOKS["l1_unstructured"]])
def test_a_changed_net_may_still_be_moved_and_converted(change: Any):
    net = build()
    change(net, NAME)
    assert net.double()(X.double()).dtype is torch.float64
    assert net.to("meta")(X.to("meta")).is_meta


def test_a_changed_net_still_makes_late_variables():
    def model(x: torch.Tensor, late: bool = False) -> torch.Tensor:
        return layer(x) * (ts.get_variable("late", [3]) if late else 1.0)

    net = ts.ScopedModule(model).build(X)
    parametrizations.weight_norm(net, NAME)
    with pytest.warns(ts.ScopeWarning, match="'late'"):
        net(X, late=True)
    assert list(net) == [NAME, "layer/b", "late"]


# ---- taking it back ------------------------------------------------------------------------------


@every_parametrization
def test_removing_a_parametrization_leaves_a_variable_of_the_value(change: Any):
    net = build().eval()
    change(net, NAME)
    expected = net(X)
    parametrize.remove_parametrizations(net, NAME)
    assert torch.allclose(net(X), expected)
    assert sorted(net.state_dict()) == sorted(build().state_dict())
    assert isinstance(net[NAME], nn.Parameter)
    assert net.name_of(net[NAME]) == NAME
    train(net)


def test_removing_a_mask_leaves_a_variable_of_the_pruned_value():
    net = build()
    prune.l1_unstructured(net, NAME, amount=0.5)
    train(net)
    expected = net(X)
    prune.remove(net, NAME)
    assert torch.equal(net(X), expected)
    assert sorted(net.state_dict()) == sorted(build().state_dict())
    assert (net[NAME] == 0).sum() == 4
    assert net.name_of(net[NAME]) == NAME


# ---- saving and copying --------------------------------------------------------------------------


def deep(x: torch.Tensor) -> torch.Tensor:
    for number in range(2):
        x = ts.get_module(f"h{number}", lambda: ts.ScopedModule(layer))(x)
    return x


@every_change
def test_a_changed_variable_of_a_block_is_saved_and_loaded(change: Any):
    nets = [ts.ScopedModule(deep, seed=seed).build(X).eval() for seed in range(2)]
    for net in nets:
        change(net.get_submodule("h1"), NAME)
    train(nets[0])
    file = io.BytesIO()
    torch.save(nets[0].state_dict(), file)
    file.seek(0)
    nets[1].load_state_dict(torch.load(file, weights_only=True))
    assert torch.allclose(nets[1](X), nets[0](X))
    assert not any(key == "h1.layer/w" for key in nets[0].state_dict())


@every_parametrization
@pytest.mark.parametrize("when", ["fresh", "trained"])
def test_a_deep_copy_is_changed_too_and_independent(change: Any, when: str):
    net = build().eval()
    change(net, NAME)
    if when == "trained":
        train(net)
    twin = copy.deepcopy(net)
    expected = net(X)
    assert torch.allclose(twin(X), expected)
    train(twin)
    assert torch.equal(net(X), expected)
    assert not torch.equal(twin(X), expected)


def test_a_pruned_net_is_copied_by_its_state_dict():
    """torch refuses to copy a pruned module itself, of ours as of any."""
    net, by_hand = alike(HOOKS["l1_unstructured"])
    for module in (net, by_hand):
        module(X)
        with pytest.raises(RuntimeError, match="deepcopy protocol"):
            copy.deepcopy(module)
    twin = build(seed=1)
    prune.identity(twin, NAME)
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(X), net(X))


def test_a_parametrized_net_is_pickled_by_its_state_dict_alone():
    """torch refuses to pickle one itself."""
    net = build()
    parametrizations.weight_norm(net, NAME)
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(net)
    twin = parametrizations.weight_norm(build(seed=1), NAME)
    twin.load_state_dict(pickle.loads(pickle.dumps(net.state_dict())))
    assert torch.equal(twin(X), net(X))


# ---- pruning -------------------------------------------------------------------------------------


def test_what_was_pruned_stays_zero_while_the_rest_trains():
    net = build()
    prune.l1_unstructured(net, NAME, amount=4)
    zero = net[NAME] == 0
    before = net[NAME].detach().clone()
    train(net)
    net(X)
    assert zero.sum() == 4
    assert not net[NAME][zero].any()
    assert (net[NAME] != before)[~zero].all()


def test_the_smallest_of_all_blocks_are_pruned_together():
    net = ts.ScopedModule(deep).build(X)
    blocks = [(net.get_submodule(name), NAME) for name in ("h0", "h1")]
    with torch.no_grad():
        net.get_submodule("h0")[NAME].fill_(0.1)
        net.get_submodule("h1")[NAME].fill_(0.2)
    prune.global_unstructured(blocks, pruning_method=prune.L1Unstructured, amount=9)
    net(X)
    assert not net.get_submodule("h0")[NAME].any()
    assert net.get_submodule("h1")[NAME].all()


def test_a_pruned_variable_of_a_plain_store_is_renewed_at_every_call():
    store = ts.VariableStore(seed=0)
    store(layer, X)
    by_hand = Layer(store)
    for module, name in ((store, NAME), (by_hand, "w")):
        prune.custom_from_mask(module, name, torch.eye(3))
    optimizer = torch.optim.SGD(store.named_parameters(), lr=0.1)
    reference = torch.optim.SGD(by_hand.named_parameters(), lr=0.1)
    for _ in range(3):
        for opt, call in ((optimizer, lambda: store(layer, X)), (reference, lambda: by_hand(X))):
            opt.zero_grad()
            call().sum().backward()
            opt.step()
    assert torch.allclose(store(layer, X), by_hand(X))


def test_an_entered_store_sees_a_pruned_value_as_it_was_at_the_last_call():
    """torch computes it when the module is called."""
    store = ts.VariableStore(seed=0)
    store(layer, X)
    prune.custom_from_mask(store, NAME, torch.eye(3))
    store(layer, X)
    with torch.no_grad():
        store.get_parameter("layer/w_orig").fill_(5.0)
    with store, ts.variable_scope("layer"):
        assert not (ts.get_variable("w") == 5).any()
    store(layer, X)
    with store, ts.variable_scope("layer"):
        assert torch.equal(ts.get_variable("w"), 5 * torch.eye(3))


# ---- what writes to a variable must not write to a computed value --------------------------------

WRITTEN: dict[str, Callable[[nn.Module, str], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "prune": lambda module, name: prune.custom_from_mask(module, name, torch.ones(3, 3)),
}
written = pytest.mark.parametrize("change", WRITTEN.values(), ids=WRITTEN)


def problem(work: Callable[[], Any]) -> str:
    """The text of the error that ``work()`` raises, which would do as well; or nothing."""
    try:
        work()
    except ts.ScopeError as error:
        return str(error)
    return ""


@written
def test_a_reset_reaches_a_changed_variable_or_is_refused(change: Any):
    net = build()
    expected = net(X)
    change(net, NAME)
    train(net)
    refused = problem(net.reset_parameters)
    assert NAME in refused if refused else torch.allclose(net(X), expected)


@written
def test_a_constraint_reaches_a_changed_variable_or_is_refused(change: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable("layer/w", [3, 3], constraint=lambda w: w.clamp(-0.1, 0.1))
        return x @ w

    net = ts.ScopedModule(model).build(X)
    change(net, NAME)
    refused = problem(net.apply_constraints)
    net(X)
    assert NAME in refused if refused else net[NAME].abs().max() <= 0.1 + 1e-6


@written
def test_an_assignment_reaches_a_changed_variable_or_is_refused(change: Any):
    def assignment() -> None:
        with net, ts.variable_scope("layer", reuse=True):
            ts.assign(ts.get_variable("w"), torch.ones(3, 3))

    net = build()
    change(net, NAME)
    refused = problem(assignment)
    net(X)
    assert "computed" in refused if refused else torch.allclose(net[NAME], torch.ones(3, 3))


@written
def test_a_reset_reaches_the_changed_weight_of_a_kept_module_or_is_refused(change: Any):
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("dense", lambda: nn.Linear(3, 3))(x)

    net = ts.ScopedModule(model).build(X)
    expected = net(X)
    change(net.get_submodule("dense"), "weight")
    train(net)
    refused = problem(net.reset_parameters)
    assert "dense" in refused if refused else torch.allclose(net(X), expected)


@written
def test_a_copy_of_a_store_holds_what_a_changed_variable_is_computed_from_or_is_refused(
    change: Any,
):
    net = build()
    change(net, NAME)
    copied: list[ts.VariableStore] = []
    refused = problem(lambda: copied.append(net.copy()))
    if not refused:
        copied[0](layer, X).sum().backward()
    assert NAME in refused if refused else all(v.grad is not None for v in net.parameters())


WRITES: dict[str, Callable[[ts.VariableStore], Any]] = {
    "del": lambda net: net.__delitem__(NAME),
    "set": lambda net: net.__setitem__(NAME, nn.Parameter(torch.ones(3, 3))),
}


@written
@pytest.mark.parametrize("write", WRITES)
def test_a_changed_variable_is_forgotten_or_replaced_wholly_or_not_at_all(change: Any, write: str):
    net = build()
    change(net, NAME)
    keys, expected = list(net.state_dict()), net(X)
    try:
        WRITES[write](net)
    except Exception:  # Whichever: then nothing is to have changed.
        assert list(net) == [NAME, "layer/b"]
        assert list(net.state_dict()) == keys
        assert torch.equal(net(X), expected)
    else:
        assert sorted(net.state_dict()) == ["layer/b"] + ([NAME] if write == "set" else [])


@written
def test_the_trainable_variables_of_a_changed_net_are_what_an_optimizer_takes(change: Any):
    net = build()
    change(net, NAME)
    optimizer = torch.optim.SGD(net.trainable_variables(), lr=0.1)
    held = {id(value) for value in optimizer.param_groups[0]["params"]}
    assert held == {id(value) for value in net.parameters()}


def test_a_kept_module_may_be_called_as_torch_calls_its_parametrizations():
    def model(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("parametrizations", lambda: nn.Linear(3, 3))(x)

    names = [name for name, _ in ts.ScopedModule(model).build(X).named_variables()]
    assert names == ["parametrizations/weight", "parametrizations/bias"]


@written
def test_a_group_of_a_scope_holds_what_a_changed_variable_is_computed_from(change: Any):
    net = build()
    change(net, NAME)
    optimizer = torch.optim.SGD(list(net.named_variables("layer")), lr=0.1)
    held = {id(value) for value in optimizer.param_groups[0]["params"]}
    assert held >= {id(value) for value in net.parameters()}
