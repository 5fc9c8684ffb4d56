"""torch.func and torch.autograd: a net as a function of its variables, and gradients inside it."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import X, layer
from torch import nn
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap

import torchscope as ts

# Torch's own, when forward-mode gradients are first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


def shared(x: torch.Tensor) -> torch.Tensor:
    """One layer, used twice."""
    with ts.variable_scope("tower", reuse=ts.AUTO_REUSE):
        return layer(layer(x))


def nested(x: torch.Tensor) -> torch.Tensor:
    """Variables beside blocks beside modules, under names that need spelling, and a buffer."""
    x = x * ts.get_variable("keys", [3]) + ts.get_variable("v.1", [3]) + ts.get_buffer("mean", [3])
    for number in range(2):
        x = ts.get_module(f"h{number}", functools.partial(ts.ScopedModule, layer))(x)
    return ts.get_module("dense", lambda: nn.Linear(3, 3))(x)


MODELS = [layer, shared, nested]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def build(model: Callable[..., Any], seed: int = 0) -> ts.ScopedModule:
    return ts.ScopedModule(model, seed=seed).build(X)


def tensors(net: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


# ---- calling with other values -------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("given", [tensors, lambda net: net.state_dict()], ids=["named", "dict"])
def test_functional_call_runs_a_net_with_the_values_of_another(model: Any, given: Any):
    net, other = build(model), build(model, seed=1)
    before = copy.deepcopy(net.state_dict())
    held = list(net.parameters())
    assert torch.equal(functional_call(net, given(other), (X,), strict=True), other(X))
    assert not torch.equal(net(X), other(X))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(a is b for a, b in zip(net.parameters(), held, strict=True))


@every_model
def test_functional_call_leaves_the_rest_as_it_is_and_takes_keywords(model: Any):
    net = build(model)
    name, value = next(iter(net.named_parameters()))
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed.get_parameter(name).zero_()
    given = {name: torch.zeros_like(value)}
    assert torch.equal(functional_call(net, given, (), {"x": X}), changed(X))


@every_model
def test_functional_call_of_a_module_around(model: Any):
    outer = nn.Sequential(nn.Linear(3, 3), build(model))
    other = nn.Sequential(outer[0], build(model, seed=1))
    given = {f"1.{name}": value for name, value in tensors(other[1]).items()}
    assert torch.equal(functional_call(outer, given, (X,)), other(X))


def test_functional_call_with_a_value_for_a_shared_variable_reaches_every_use():
    net = build(shared)
    zeros = {name: torch.zeros_like(value) for name, value in net.named_parameters()}
    assert not functional_call(net, zeros, (X,)).any()


def test_within_functional_call_a_variable_has_its_name_and_its_place_in_the_lists():
    def model() -> tuple[list[str], torch.Tensor]:
        with ts.variable_scope("scope", regularizer=ts.l2_regularizer(2.0)):
            ts.get_variable("w", [3])
        names = [ts.name_of(variable) for variable in ts.trainable_variables()]
        return names, ts.get_regularization_loss()

    net = ts.ScopedModule(model).build()
    given = {"scope/w": torch.ones(3, requires_grad=True)}
    names, loss = functional_call(net, given)
    assert names == ["scope/w"]
    assert loss.item() == pytest.approx(3.0)


def test_a_moving_average_given_to_functional_call_moves_and_the_nets_own_stays():
    def model(x: torch.Tensor) -> torch.Tensor:
        return x - ts.assign(ts.get_buffer("mean", [3], initializer=ts.zeros_initializer()), x[0])

    net = build(model)
    given = {"mean": torch.zeros(3)}
    functional_call(net, given, (X,))
    assert torch.equal(given["mean"], X[0])
    assert not net["mean"].any()


@pytest.mark.parametrize("kind", [nn.Parameter, torch.Tensor.detach], ids=["parameters", "tensors"])
@pytest.mark.parametrize("loaded", [False, True], ids=["", "loaded"])
def test_functional_call_of_an_unbuilt_net_is_an_error_that_says_build_and_harms_nothing(
    kind: Any, loaded: bool
):
    """Its values would be lost, and what it makes taken away again when it ends."""
    net, other = ts.ScopedModule(layer, seed=0), build(layer, seed=1)
    if loaded:
        net.load_state_dict(build(layer).state_dict())
    given = {name: kind(value.detach().clone()) for name, value in other.named_parameters()}
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        functional_call(net, given, (X,))
    assert not net.built
    assert torch.equal(net(X), build(layer)(X))
    assert torch.equal(functional_call(net, given, (X,)), other(X))


# ---- gradients -----------------------------------------------------------------------------------


def loss_of(net: nn.Module) -> Callable[[dict[str, torch.Tensor], torch.Tensor], torch.Tensor]:
    return lambda given, x: functional_call(net, given, (x,)).square().sum()


@every_model
def test_grad_gives_what_backward_gives(model: Any):
    net = build(model)
    gradients = grad(loss_of(net))(dict(net.named_parameters()), X)
    net(X).square().sum().backward()
    for name, value in net.named_parameters():
        assert torch.allclose(gradients[name], value.grad), name


@every_model
def test_vmap_of_grad_gives_the_gradients_of_each_example(model: Any):
    net = build(model)
    parameters = dict(net.named_parameters())
    each = vmap(grad(lambda given, x: loss_of(net)(given, x[None])), (None, 0))(parameters, X)
    for number, x in enumerate(X):
        net.zero_grad()
        net(x[None]).square().sum().backward()
        for name, value in net.named_parameters():
            assert torch.allclose(each[name][number], value.grad, atol=1e-6), name


@every_model
def test_forward_mode_agrees_with_backward_mode(model: Any):
    net = build(model)
    parameters = dict(net.named_parameters())
    loss = loss_of(net)
    _, slope = jvp(lambda given: loss(given, X), (parameters,), (parameters,))
    gradients = grad(loss)(parameters, X)
    expected = sum((gradients[name] * value).sum() for name, value in parameters.items())
    assert torch.allclose(slope, expected)


def test_second_derivatives_go_through_a_shared_variable():
    net = build(shared)
    parameters = {name: value.detach() for name, value in net.named_parameters()}
    found = hessian(loss_of(net))(parameters, X)["tower/layer/b"]["tower/layer/w"]
    assert found.shape == (3, 3, 3)

    def by_hand(b: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.tanh(X @ w + b) @ w + b).square().sum()

    b, w = parameters["tower/layer/b"], parameters["tower/layer/w"]
    expected = torch.autograd.functional.hessian(by_hand, (b, w))[0][1]
    assert torch.allclose(found, expected, atol=1e-5)


def test_gradients_of_inputs_go_through_a_built_net():
    net = build(nested)
    x = X.clone().requires_grad_()
    net(x).sum().backward()
    assert torch.allclose(grad(lambda x: net(x).sum())(X), x.grad)


# ---- ensembles -----------------------------------------------------------------------------------


@every_model
def test_an_ensemble_runs_in_one_call(model: Any):
    nets = [build(model, seed) for seed in range(3)]
    parameters, buffers = stack_module_state(nets)
    assert list(parameters) == [name for name, _ in nets[0].named_parameters()]
    base = copy.deepcopy(nets[0]).to("meta")

    def call(parameters: Any, buffers: Any, x: torch.Tensor) -> torch.Tensor:
        return functional_call(base, (parameters, buffers), (x,))

    outputs = vmap(call, (0, 0, None))(parameters, buffers, X)
    for output, net in zip(outputs, nets, strict=True):
        assert torch.allclose(output, net(X), atol=1e-6)


def test_an_ensemble_trains_as_its_members_do():
    nets = [build(nested, seed) for seed in range(2)]
    parameters, buffers = stack_module_state(nets)
    base = copy.deepcopy(nets[0]).to("meta")
    loss = vmap(lambda p, b: functional_call(base, (p, b), (X,)).square().sum())
    loss(parameters, buffers).sum().backward()
    for number, net in enumerate(nets):
        net(X).square().sum().backward()
        for name, value in net.named_parameters():
            assert torch.allclose(parameters[name].grad[number], value.grad, atol=1e-6), name


# ---- gradients inside the pass: WGAN-GP ----------------------------------------------------------


def critic(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("critic", reuse=ts.AUTO_REUSE):
        hidden = torch.tanh(x @ ts.get_variable("w1", [3, 4]) + ts.get_variable("b1", [4]))
        return hidden @ ts.get_variable("w2", [4, 1])


def wgan(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    mixed = (0.3 * real + 0.7 * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    return critic(fake).mean() - critic(real).mean() + 10 * penalty


def wgan_by_transform(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    scores = critic(fake).mean() - critic(real).mean()
    slope = grad(lambda x: critic(x).sum())(0.3 * real + 0.7 * fake)
    return scores + 10 * (slope.norm(dim=1) - 1).square().mean()


class Critic(nn.Module):
    """The same by hand."""

    def __init__(self, net: ts.ScopedModule) -> None:
        super().__init__()
        for name in ("w1", "b1", "w2"):
            setattr(self, name, nn.Parameter(net[f"critic/{name}"].detach().clone()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ self.w1 + self.b1) @ self.w2


@pytest.mark.parametrize("loss", [wgan, wgan_by_transform])
def test_a_gradient_penalty_inside_the_pass_has_the_gradients_of_the_same_by_hand(loss: Any):
    net = ts.ScopedModule(loss)
    net(X, X + 1)  # The first call makes the variables.
    by_hand = Critic(net)
    for _ in range(2):
        net.zero_grad()
        net(X, X + 1).backward()
    mixed = (0.3 * X + 0.7 * (X + 1)).requires_grad_()
    (slope,) = torch.autograd.grad(by_hand(mixed).sum(), mixed, create_graph=True)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    (by_hand(X + 1).mean() - by_hand(X).mean() + 10 * penalty).backward()
    for name, value in by_hand.named_parameters():
        assert torch.allclose(net[f"critic/{name}"].grad, value.grad, atol=1e-6), name


def test_a_loss_with_a_gradient_penalty_can_be_built_before_its_optimizer_is_made():
    net = ts.ScopedModule(wgan).build(X, X + 1)
    assert list(net) == ["critic/w1", "critic/b1", "critic/w2"]
    assert all(value.grad is None for value in net.parameters())
    torch.optim.Adam(net.named_parameters())


def test_a_build_of_a_function_that_calls_backward_itself_leaves_no_gradient():
    def step(x: torch.Tensor) -> torch.Tensor:
        loss = layer(x).square().sum()
        loss.backward()
        return loss.detach()

    x = X.clone().requires_grad_()
    net = ts.ScopedModule(step).build(x)
    assert list(net) == ["layer/w", "layer/b"]
    assert x.grad is None
    assert all(value.grad is None for value in net.parameters())
    net(x)
    kept = x.grad.clone()
    net.build(x)  # What is there already stays as it is.
    assert torch.equal(x.grad, kept)


def test_a_critic_trains_with_its_penalty():
    net = ts.ScopedModule(wgan)
    first = net(X, X + 1).item()
    optimizer = torch.optim.Adam(net.named_parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        loss = net(X, X + 1)
        loss.backward()
        optimizer.step()
    assert loss.item() < first


# ---- nothing is made inside a transform ----------------------------------------------------------

TRANSFORMS: dict[str, Callable[[Callable[..., torch.Tensor]], Any]] = {
    "grad": lambda fn: grad(lambda x: fn(x).sum())(X),
    "vmap": lambda fn: vmap(fn)(X[None]),
    "jvp": lambda fn: jvp(fn, (X,), (X,)),
    "vjp": lambda fn: torch.func.vjp(fn, X),
    "jacrev": lambda fn: torch.func.jacrev(fn)(X),
    "jacfwd": lambda fn: torch.func.jacfwd(fn)(X),
    "hessian": lambda fn: hessian(fn)(X),
    "functionalize": lambda fn: torch.func.functionalize(fn)(X),
    "vmap of grad": lambda fn: vmap(grad(lambda x: fn(x[None]).sum()))(X),
}
LATE: dict[str, Callable[[], Any]] = {
    "variable": lambda: ts.get_variable("late", [3]),
    "value": lambda: ts.get_variable("late", initializer=[1.0, 2.0, 3.0]),
    "buffer": lambda: ts.get_buffer("late", [3]),
    "local variable": lambda: ts.get_local_variable("late", [3]),
    "module": lambda: ts.get_module("late", lambda: nn.Linear(3, 3)).weight[0],
    "block": lambda: ts.get_module("late", lambda: ts.ScopedModule(layer))(X)[0],
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("ask", LATE.values(), ids=LATE)
def test_nothing_is_made_inside_a_transform(ask: Any, transform: Any):
    def model(x: torch.Tensor, late: bool = False) -> torch.Tensor:
        x = layer(x)
        return x * ask() if late else x

    net = build(model)
    keys, modules = list(net.state_dict()), list(net.modules())
    with pytest.raises(ts.NotBuiltError, match=r"'late'.*transform.*net\.build\(") as caught:
        transform(lambda x: net(x, late=True))
    assert caught.value.name == "late"
    assert list(net.state_dict()) == list(net) == keys
    assert list(net.modules()) == modules
    transform(net)


def test_a_refused_transform_leaves_nothing_behind_that_a_build_does_not_cure():
    net, reference = ts.ScopedModule(nested, seed=0), build(nested)
    with pytest.raises(ts.NotBuiltError, match=r"net\.build\("):
        grad(lambda x: net(x).sum())(X)
    assert not net.built
    net.build(X)
    assert torch.equal(net(X), reference(X))
    assert torch.equal(grad(lambda x: net(x).sum())(X), grad(lambda x: reference(x).sum())(X))


def test_a_function_that_first_asks_inside_a_transform_gets_that_error_from_build():
    """Where build itself is refused, the cure cannot be build: ask outside the transform first."""

    def model(x: torch.Tensor) -> torch.Tensor:
        return grad(lambda x: critic(x).sum())(x)

    net = ts.ScopedModule(model)
    with pytest.raises(ts.NotBuiltError, match="outside the transform"):
        net.build(X)
    assert list(net) == []


def test_a_store_that_is_entered_makes_nothing_inside_a_transform_either():
    store = ts.VariableStore()
    with store, pytest.raises(ts.NotBuiltError, match=r"'layer/w'.*transform"):
        vmap(layer)(X[None])
    assert list(store) == list(store.state_dict()) == []


def test_what_is_made_under_inference_mode_or_a_dual_level_can_be_trained():
    net = ts.ScopedModule(layer)
    with torch.inference_mode():
        net(X)
    other = ts.ScopedModule(layer)
    with torch.autograd.forward_ad.dual_level():
        other(torch.autograd.forward_ad.make_dual(X, X))
    for module in (net, other):
        module(X).sum().backward()
        assert all(value.grad is not None for value in module.parameters())
