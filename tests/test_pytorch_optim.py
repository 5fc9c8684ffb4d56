"""Optimizers: groups by scope, late variables, and state that is resumed by name."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import X
from torch import nn

import torchscope as ts


def dense(x: torch.Tensor) -> torch.Tensor:
    w = ts.get_variable("weights", [3, 3])
    return x @ w + ts.get_variable("biases", [3], initializer=ts.zeros_initializer())


def model(x: torch.Tensor) -> torch.Tensor:
    """Two scopes whose names begin alike, a block and a module."""
    with ts.variable_scope("gen"):
        x = torch.tanh(dense(x))
    with ts.variable_scope("gen_2"):
        x = torch.tanh(dense(x))
    with ts.variable_scope("disc"):
        x = ts.get_module("block", lambda: ts.ScopedModule(dense))(x)
        return ts.get_module("linear", lambda: nn.Linear(3, 3))(x)


DISC = ["disc/block/weights", "disc/block/biases", "disc/linear/weight", "disc/linear/bias"]


def values(net: ts.VariableStore) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.named_variables()}


def changed(net: ts.VariableStore, before: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, value in net.named_variables() if not torch.equal(value, before[name])]


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(X).square().sum().backward()
    optimizer.step()


# ---- groups --------------------------------------------------------------------------------------


def test_a_group_of_a_scope_holds_what_lies_in_the_scope_by_full_name():
    net = ts.ScopedModule(model).build(X)
    optimizer = torch.optim.Adam(
        [{"params": list(net.named_variables(scope))} for scope in ("gen", "gen_2", "disc")]
    )
    names = [group["param_names"] for group in optimizer.param_groups]
    assert names == [["gen/weights", "gen/biases"], ["gen_2/weights", "gen_2/biases"], DISC]
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in held} == {id(value) for value in net.parameters()}
    assert len(held) == len(list(net.parameters()))


def test_every_scope_learns_at_a_rate_of_its_own():
    net = ts.ScopedModule(model).build(X)
    rates = {"gen": 0.0, "gen_2": 0.1, "disc": 0.5}
    optimizer = torch.optim.SGD(
        [{"params": list(net.named_variables(scope)), "lr": lr} for scope, lr in rates.items()]
    )
    before = values(net)
    step(net, optimizer)
    for name, value in net.named_variables():
        rate = rates[name.partition("/")[0]]
        assert value.grad is not None
        assert torch.allclose(value, before[name] - rate * value.grad), name


def test_weight_decay_takes_weights_and_leaves_biases():
    net = ts.ScopedModule(model).build(X)
    with torch.no_grad():
        for value in net.parameters():
            value.fill_(1.0)
            value.grad = torch.zeros_like(value)
    weights = [(name, value) for name, value in net.named_variables() if value.ndim > 1]
    others = [(name, value) for name, value in net.named_variables() if value.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": 0.5},
        {"params": others, "weight_decay": 0.0},
    ]
    torch.optim.SGD(groups, lr=1.0).step()
    assert {value.unique().item() for _, value in weights} == {0.5}
    assert {value.unique().item() for _, value in others} == {1.0}
    assert all(name.endswith(("biases", "bias")) for name, _ in others)


def test_two_optimizers_by_scope_leave_each_others_variables_alone():
    net = ts.ScopedModule(model).build(X)
    first = torch.optim.Adam(list(net.named_variables("gen")), lr=0.1)
    second = torch.optim.Adam(list(net.named_variables("disc")), lr=0.1)
    before = values(net)
    step(net, first)
    assert changed(net, before) == ["gen/weights", "gen/biases"]
    before = values(net)
    step(net, second)
    assert changed(net, before) == DISC


def test_a_group_may_hold_buffers_and_frozen_variables_which_stay_as_they_are():
    def mixed(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("enc"):
            x = dense(x) + ts.get_buffer("mean", [3]) + ts.get_variable("count", [], torch.int64)
            return x * ts.get_variable("frozen", [3], trainable=False)

    net = ts.ScopedModule(mixed).build(X)
    before = values(net)
    step(net, torch.optim.AdamW(list(net.named_variables("enc")), lr=0.1))
    assert changed(net, before) == ["enc/weights", "enc/biases"]


def test_a_scope_frozen_after_the_optimizer_was_made_stays_as_it_is():
    net = ts.ScopedModule(model).build(X)
    optimizer = torch.optim.AdamW(net.named_parameters(), lr=0.1)
    for _, value in net.named_variables("gen"):
        value.requires_grad_(False)
    before = values(net)
    step(net, optimizer)
    assert changed(net, before) == ["gen_2/weights", "gen_2/biases", *DISC]


OPTIMIZERS = ["SGD", "Adam", "AdamW", "Adagrad", "Adadelta", "RMSprop", "NAdam", "LBFGS"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_made_from_named_parameters_trains_every_variable(name: str):
    net = ts.ScopedModule(model).build(X)
    optimizer = getattr(torch.optim, name)(net.named_parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = net(X).square().sum()
        loss.backward()
        return loss

    before, loss = values(net), closure().item()
    optimizer.step(closure)
    assert changed(net, before) == list(before)
    assert closure().item() < loss
    assert optimizer.param_groups[0]["param_names"] == [key for key, _ in net.named_parameters()]


# ---- variables that an optimizer does not hold ---------------------------------------------------


def other_parameters() -> list[nn.Parameter]:
    return list(nn.Linear(1, 1).parameters())


UNBUILT: dict[str, Callable[[ts.ScopedModule], Any]] = {
    "a group of a scope": lambda net: torch.optim.SGD(
        [{"params": list(net.named_variables("gen"))}], lr=0.1
    ),
    "groups of scopes beside another": lambda net: torch.optim.SGD(
        [{"params": other_parameters()}, {"params": [v for _, v in net.named_variables("gen")]}],
        lr=0.1,
    ),
    "trainable variables beside others": lambda net: torch.optim.SGD(
        [*other_parameters(), *net.trainable_variables()], lr=0.1
    ),
    "a group added later": lambda net: torch.optim.SGD(other_parameters()).add_param_group(
        {"params": net.parameters()}
    ),
}


@pytest.mark.parametrize("made", UNBUILT.values(), ids=UNBUILT)
def test_an_optimizer_of_an_unbuilt_modules_variables_is_an_error_or_warned_of(made: Any):
    net = ts.ScopedModule(model)

    def make_and_call() -> None:
        made(net)
        net(X)  # A warning comes here, when the first variable is made.

    with pytest.raises((ts.NotBuiltError, ts.ScopeWarning), match=r"net\.build\("):
        make_and_call()


def with_late(x: torch.Tensor, late: bool = False) -> torch.Tensor:
    return dense(x) * (ts.get_variable("late/scale", [3]) if late else 1.0)


def test_a_late_variable_trains_once_it_was_added_to_the_optimizer():
    net = ts.ScopedModule(with_late).build(X)
    optimizer = torch.optim.Adam(net.named_parameters(), lr=0.1)
    with pytest.warns(ts.ScopeWarning, match=r"'late/scale'.*an optimizer"):
        net(X, late=True)

    def late_step() -> list[str]:
        before = values(net)
        net(X, late=True).square().sum().backward()
        optimizer.step()
        return changed(net, before)

    assert late_step() == ["weights", "biases"]
    optimizer.add_param_group({"params": list(net.named_variables("late"))})
    assert late_step() == ["weights", "biases", "late/scale"]
    assert optimizer.param_groups[1]["param_names"] == ["late/scale"]


def test_a_finalized_module_makes_nothing_that_an_optimizer_could_miss():
    net = ts.ScopedModule(with_late).build(X)
    optimizer = torch.optim.Adam(net.named_parameters(), lr=0.1)
    net.finalize()
    with pytest.raises(ts.NotBuiltError, match=r"'late/scale' is new.*finalized"):
        net(X, late=True)
    step(net, optimizer)
    assert {id(value) for value in net.parameters()} == {id(value) for value in optimizer.state}


# ---- resuming ------------------------------------------------------------------------------------


def first_order(x: torch.Tensor) -> torch.Tensor:
    a, b = ts.get_variable("a", [3]), ts.get_variable("b", [3])
    return x * a + b


def other_order(x: torch.Tensor) -> torch.Tensor:
    b, a = ts.get_variable("b", [3]), ts.get_variable("a", [3])
    return x * a + b


def adam(net: ts.ScopedModule, **options: Any) -> torch.optim.Adam:
    return torch.optim.Adam(net.named_parameters(), lr=0.1, **options)


def resumed(net: ts.ScopedModule, state: dict[str, Any]) -> torch.optim.Adam:
    optimizer = adam(net)
    optimizer.register_load_state_dict_pre_hook(ts.match_by_name)
    optimizer.load_state_dict(state)
    return optimizer


def moments(optimizer: torch.optim.Optimizer) -> dict[str, list[float]]:
    return {
        name: optimizer.state[parameter]["exp_avg"].tolist()
        for group in optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
        if parameter in optimizer.state
    }


@pytest.fixture
def trained() -> tuple[ts.ScopedModule, torch.optim.Adam]:
    net = ts.ScopedModule(first_order, seed=0).build(X)
    optimizer = adam(net)
    step(net, optimizer)
    return net, optimizer


def test_training_goes_on_bit_for_bit_though_the_order_of_making_changed(trained: Any):
    net, optimizer = trained
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    step(net, optimizer)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = ts.ScopedModule(other_order)
    other.load_state_dict(saved["net"])
    other.build(X)
    assert [name for name, _ in other.named_parameters()] == ["b", "a"]
    step(other, resumed(other, saved["optimizer"]))
    assert all(torch.equal(other[name], net[name]) for name in ("a", "b"))


def test_without_the_hook_torch_gives_each_variable_the_state_of_another(trained: Any):
    """The reason for match_by_name. Should this fail, torch has learnt to match names."""
    _, optimizer = trained
    other = ts.ScopedModule(other_order).build(X)
    by_position = adam(other)
    by_position.load_state_dict(optimizer.state_dict())
    right = moments(optimizer)
    wrong = {name: by_position.state[other[name]]["exp_avg"].tolist() for name in ("a", "b")}
    assert wrong == {"a": right["b"], "b": right["a"]}
    assert moments(resumed(other, optimizer.state_dict())) == right


def test_matching_by_name_leaves_the_saved_state_as_it_is(trained: Any):
    _, optimizer = trained
    state = optimizer.state_dict()
    before = copy.deepcopy(state)
    resumed(ts.ScopedModule(other_order).build(X), state)
    assert state["param_groups"] == before["param_groups"]
    assert list(state["state"]) == list(before["state"])


def test_settings_of_the_saved_groups_are_resumed_with_the_names_that_are_here():
    net = ts.ScopedModule(model).build(X)
    groups = [{"params": list(net.named_variables(s)), "lr": lr} for s, lr in RATES]
    saved = torch.optim.Adam(groups)
    step(net, saved)
    other = torch.optim.Adam(
        [{"params": list(reversed(list(net.named_variables(scope))))} for scope, _ in RATES]
    )
    other.register_load_state_dict_pre_hook(ts.match_by_name)
    other.load_state_dict(saved.state_dict())
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.2, 0.3]
    assert other.param_groups[0]["param_names"] == ["gen/biases", "gen/weights"]
    assert moments(other) == moments(saved)


RATES = [("gen", 0.1), ("gen_2", 0.2), ("disc", 0.3)]


def test_a_variable_that_went_to_another_group_takes_its_state_along():
    net = ts.ScopedModule(first_order).build(X)
    a, b = net.named_variables()
    saved = torch.optim.Adam([{"params": [a]}, {"params": [b]}], lr=0.1)
    step(net, saved)
    other = torch.optim.Adam([{"params": [b]}, {"params": [a]}], lr=0.1)
    other.register_load_state_dict_pre_hook(ts.match_by_name)
    other.load_state_dict(saved.state_dict())
    assert moments(other) == moments(saved)


def test_a_variable_without_state_stays_without():
    net = ts.ScopedModule(first_order).build(X)
    net["a"].requires_grad_(False)
    saved = adam(net)
    step(net, saved)
    assert list(moments(resumed(net, saved.state_dict()))) == ["b"]


def test_a_schedule_goes_on_after_matching_by_name(trained: Any):
    net, optimizer = trained
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    schedule.step()
    assert resumed(net, optimizer.state_dict()).param_groups[0]["lr"] == pytest.approx(0.01)


def third(x: torch.Tensor) -> torch.Tensor:
    return x * ts.get_variable("a", [3]) + ts.get_variable("c", [3])


def in_two_groups(net: ts.ScopedModule) -> torch.optim.Adam:
    return torch.optim.Adam([{"params": [pair]} for pair in net.named_parameters()])


MISFITS: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "another name": (third, adam, r"Missing: \['c'\]; unexpected: \['b'\].*Make the optimizer"),
    "other groups": (first_order, in_two_groups, r"groups: 1 saved, 2 here"),
    "no names": (
        first_order,
        lambda net: torch.optim.Adam(net.parameters()),
        r"no names.*Adam\(net\.named_parameters\(\)\)",
    ),
}


@pytest.mark.parametrize(("function", "make", "match"), MISFITS.values(), ids=MISFITS)
def test_a_saved_state_of_another_optimizer_is_refused_and_nothing_is_loaded(
    trained: Any, function: Any, make: Any, match: str
):
    net = ts.ScopedModule(function).build(X)
    optimizer = make(net)
    optimizer.register_load_state_dict_pre_hook(ts.match_by_name)
    before = [group["lr"] for group in optimizer.param_groups]
    with pytest.raises(ts.StateDictError, match=match):
        optimizer.load_state_dict(trained[1].state_dict())
    assert not optimizer.state
    assert [group["lr"] for group in optimizer.param_groups] == before


def test_a_saved_state_without_names_is_refused():
    net = ts.ScopedModule(first_order).build(X)
    saved = torch.optim.Adam(net.parameters())
    step(net, saved)
    with pytest.raises(ts.StateDictError, match=r"no names to match"):
        resumed(net, saved.state_dict())


def test_names_that_two_groups_share_are_refused_and_never_mixed_up():
    """Two nets in one optimizer, each with an ``a`` and a ``b``: the names do not tell which."""
    nets = [ts.ScopedModule(first_order, seed=seed).build(X) for seed in range(2)]

    def both() -> torch.optim.Adam:
        return torch.optim.Adam([{"params": list(net.named_parameters())} for net in nets], lr=0.1)

    saved = both()
    (nets[0](X) * 3 + nets[1](X)).sum().backward()
    saved.step()
    other = both()
    other.register_load_state_dict_pre_hook(ts.match_by_name)
    with pytest.raises(ts.StateDictError, match=r"'a'"):
        other.load_state_dict(saved.state_dict())
    assert not other.state


def test_parameters_of_a_bigger_module_are_matched_by_their_names_there():
    nets = [
        nn.Sequential(nn.Linear(3, 3), ts.ScopedModule(function).build(X))
        for function in (first_order, other_order)
    ]
    saved = torch.optim.Adam(nets[0].named_parameters(), lr=0.1)
    step(nets[0], saved)
    other = torch.optim.Adam(nets[1].named_parameters(), lr=0.1)
    other.register_load_state_dict_pre_hook(ts.match_by_name)
    other.load_state_dict(saved.state_dict())
    assert other.param_groups[0]["param_names"] == ["0.weight", "0.bias", "1.b", "1.a"]
    assert moments(other) == moments(saved)
