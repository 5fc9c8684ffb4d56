"""One test for each known way in which variables by name can silently fail in PyTorch.

Each happened to a prototype. The result must be right or an error; a silent failure fails the test.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  - PyTorch's custom
from models import X, dense, encoder_and_head
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

import torchscope as ts

NAMES = ["encoder/w", "encoder/b", "head/w", "head/b"]


def built() -> ts.ScopedModule[..., torch.Tensor]:
    return ts.ScopedModule(encoder_and_head, seed=0).build(X)


# ---- a variable that has left the parameters is made anew ----------------------------------------


def weight_norm(net: nn.Module) -> None:
    parametrizations.weight_norm(net, "head/w")


def old_weight_norm(net: nn.Module) -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        nn.utils.weight_norm(net, "head/w")


def pruned(net: nn.Module) -> None:
    prune.identity(net, "head/w")


def spectral_norm(net: nn.Module) -> None:
    parametrizations.spectral_norm(net, "head/w")


def itself(net: Any) -> Any:
    return net


@pytest.mark.parametrize(
    ("change", "copied"),
    [
        (weight_norm, itself),
        (weight_norm, copy.deepcopy),
        (spectral_norm, itself),
        (spectral_norm, copy.deepcopy),
        (old_weight_norm, itself),  # Of this and the next torch itself makes no deepcopy.
        (pruned, itself),
    ],
)
def test_a_parametrized_variable_is_not_made_anew(change: Any, copied: Any):
    net = built()
    expected = net(X)
    names = list(net)
    change(net)
    net = copied(net).eval()
    parameters = [id(parameter) for parameter in net.parameters()]
    found = net(X)
    assert list(net) == names
    assert [id(parameter) for parameter in net.parameters()] == parameters
    assert torch.allclose(found, expected, atol=1e-6) is (change is not spectral_norm)
    found.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_parametrized_variable_trains():
    net = built()
    parametrizations.weight_norm(net, "head/w")
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    before = net["head/w"].detach().clone()
    net(X).square().sum().backward()
    optimizer.step()
    assert not torch.equal(net["head/w"], before)
    with net, ts.variable_scope("head", reuse=True):
        assert torch.equal(ts.get_variable("w", [3, 3]), net["head/w"])


def test_a_replica_of_data_parallel_finds_every_variable():
    net = built()
    replica: Any = net._replicate_for_data_parallel()
    for key, parameter in net.named_parameters():
        setattr(replica, key, 2 * parameter)  # As replicate() does: tensors, and no parameters.
    expected = torch.tanh(torch.tanh(X @ (2 * net["encoder/w"])) @ (2 * net["head/w"]))
    assert torch.allclose(replica(X), expected)
    assert list(net) == list(replica) == NAMES
    assert len(list(net.parameters())) == 4
    assert list(replica.parameters()) == []


# ---- a variable that can never be trained --------------------------------------------------------


def kept_module(x: torch.Tensor) -> torch.Tensor:
    return ts.get_module("dense", functools.partial(nn.Linear, 3, 3))(x)


def from_a_tensor(x: torch.Tensor) -> torch.Tensor:
    return x @ ts.get_variable("w", initializer=torch.eye(3))  # An inference tensor, made here.


def with_a_buffer(x: torch.Tensor) -> torch.Tensor:
    return dense(x) * ts.get_buffer("scale", [3], initializer=ts.ones_initializer())


def a_block(x: torch.Tensor) -> torch.Tensor:
    return ts.get_module("block", lambda: ts.ScopedModule(dense))(x)


def as_it_is(net: Any) -> torch.dtype:
    return torch.float32


def as_double(net: Any) -> torch.dtype:
    net.double()
    return torch.float64


def loaded(net: Any) -> torch.dtype:
    other = ts.ScopedModule(net.fn).build(X)
    with torch.inference_mode():
        net.load_state_dict(other.state_dict())
    return torch.float32


@pytest.mark.parametrize("prepare", [as_it_is, as_double, loaded])
@pytest.mark.parametrize(
    "fn", [encoder_and_head, kept_module, from_a_tensor, with_a_buffer, a_block]
)
def test_what_is_made_in_inference_mode_can_be_trained(fn: Any, prepare: Any):
    net = ts.ScopedModule(fn, seed=0)
    dtype = prepare(net)
    with torch.inference_mode():
        net(X.to(dtype))
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    (net(X.to(dtype)) + 1).square().sum().backward()
    optimizer.step()
    for parameter, value in zip(net.parameters(), before, strict=True):
        assert not parameter.is_inference()
        assert not torch.equal(parameter, value)


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "grad": lambda fn: torch.func.grad(lambda x: fn(x).sum())(X),
    "vjp": lambda fn: torch.func.vjp(fn, X),
    "jvp": lambda fn: torch.func.jvp(fn, (X,), (X,)),
    "vmap": lambda fn: torch.func.vmap(fn)(X),
    "jacrev": lambda fn: torch.func.jacrev(fn)(X),
    "functionalize": lambda fn: torch.func.functionalize(fn)(X),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("fn", [encoder_and_head, kept_module, with_a_buffer])
def test_nothing_is_made_inside_a_function_transform(fn: Any, transform: Any):
    net = ts.ScopedModule(fn, seed=0)
    with pytest.raises(ts.NotBuiltError, match=r"function transform.*net\.build\("):
        transform(net)
    assert list(net) == list(net.state_dict()) == []
    net.build(X)
    transform(net)
    net(X).square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


# ---- what is traced is empty, or runs uncompiled for ever ----------------------------------------


def alone(net: nn.Module) -> nn.Module:
    return net


def in_a_bigger_model(net: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), net, nn.Tanh())


@pytest.mark.parametrize("place", [alone, in_a_bigger_model])
@pytest.mark.parametrize("fn", [encoder_and_head, kept_module, with_a_buffer])
def test_a_model_that_is_not_built_is_not_exported_empty(fn: Any, place: Any):
    net = ts.ScopedModule(fn, seed=0)
    outer = place(net)
    with pytest.raises(ts.NotBuiltError, match=r"traced.*net\.build\("):
        torch.export.export(outer, (X,), strict=False)
    assert list(net) == list(net.state_dict()) == []
    outer(X)
    exported = torch.export.export(outer, (X,), strict=False)
    assert list(exported.state_dict) == list(outer.state_dict())
    assert torch.equal(exported.module()(X), outer(X))


def test_a_model_that_is_not_built_is_compiled_from_its_second_call_on():
    torch._dynamo.reset()
    counter, net = CompileCounter(), ts.ScopedModule(encoder_and_head, seed=0)
    outer = nn.Sequential(net, nn.Tanh())
    compiled = torch.compile(outer, backend=counter)
    compiled(X)
    compiled(X)
    after_two = counter.frame_count, counter.op_count
    compiled(X)
    assert (counter.frame_count, counter.op_count) == after_two
    built_before = CompileCounter()
    torch._dynamo.reset()
    torch.compile(outer, backend=built_before)(X)
    assert built_before.frame_count == 1
    # The graph of the net is all of it; what stood beside the first call may be compiled apart.
    assert counter.op_count <= 2 * built_before.op_count
    assert torch.equal(compiled(X), outer(X))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's own
# ---- wrong gradients -----------------------------------------------------------------------------


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("same_store", [False, True])
def test_what_is_recomputed_inside_another_store_touches_nothing_there(
    use_reentrant: bool, same_store: bool
):
    store, x = ts.VariableStore(0), X.clone().requires_grad_()
    with store, ts.variable_scope("a"):
        bound = checkpoint(ts.bind(dense), x, use_reentrant=use_reentrant)
        with ts.variable_scope("unbound"):
            unbound = checkpoint(dense, x, use_reentrant=use_reentrant)
    other = store if same_store else ts.VariableStore(1)
    with other, ts.variable_scope("b"):
        dense(X)
    with other, ts.variable_scope("b", reuse=ts.AUTO_REUSE):
        bound.sum().backward()
        with pytest.raises(ts.NotBuiltError, match=r"ts\.bind\("):
            unbound.sum().backward()
    assert other["b/w"].grad is None
    assert [name for name in other if name.startswith("b")] == ["b/w", "b/b"]
    expected = torch.autograd.grad(torch.tanh(X @ store["a/w"]).sum(), store["a/w"])
    assert torch.equal(store["a/w"].grad, *expected)


def user_initializer(shape: Any, dtype: Any = None) -> torch.Tensor:
    torch.manual_seed(99)  # The worst that an initializer may do to the ambient stream.
    return torch.randn(shape, dtype=dtype)


@pytest.mark.parametrize(
    "initializer",
    [None, ts.random_normal_initializer(), nn.init.xavier_uniform_, user_initializer],
    ids=["default", "ours", "torch's", "a user's"],
)
def test_making_a_variable_leaves_the_ambient_random_stream_alone(initializer: Any):
    def dropped(x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(x, 0.5)
        x = torch.tanh(x @ ts.get_variable("w", [3, 3], initializer=initializer))
        return kept_module(F.dropout(x, 0.5))

    def gradients(run: Callable[..., Any]) -> list[torch.Tensor]:
        torch.manual_seed(5)
        store, x = ts.VariableStore(0), (X + 1).requires_grad_()
        with store:
            run(dropped, x).square().sum().backward()
        return [x.grad, *(parameter.grad for parameter in store.parameters())]

    expected = gradients(lambda fn, x: fn(x))
    # The first pass makes, the recomputing finds: only then do the masks have to agree.
    found = gradients(lambda fn, x: checkpoint(ts.bind(fn), x, use_reentrant=False))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    torch.manual_seed(5)
    after_nothing = torch.rand(3)
    torch.manual_seed(5)
    ts.VariableStore(0)(lambda: ts.get_variable("w", [3, 3], initializer=initializer))
    assert torch.equal(torch.rand(3), after_nothing)


def test_no_two_variables_begin_with_equal_values():
    def twelve(x: torch.Tensor) -> None:
        for number in range(6):
            ts.get_variable(f"w{number}", [3, 3])
            with ts.variable_scope(f"scope{number}"):
                ts.get_variable("w", [3, 3], initializer=nn.init.kaiming_normal_)
            ts.get_module(f"dense{number}", functools.partial(nn.Linear, 3, 3, bias=False))
            ts.get_module(f"block{number}", lambda: ts.ScopedModule(dense))(x)

    first, second = (ts.ScopedModule(twelve).build(X) for _ in range(2))
    values = [
        tuple(parameter.flatten().tolist())
        for net in (first, second)
        for parameter in net.parameters()
        if parameter.ndim == 2
    ]
    assert len(values) == len(set(values)) == 2 * 24


# ---- a table of tensors that has gone stale ------------------------------------------------------


def assigned(net: Any) -> None:
    other = ts.ScopedModule(net.fn, seed=1).build(X)
    net.load_state_dict(other.state_dict(), assign=True)


def emptied(net: Any) -> None:
    net.to("meta").to_empty(device="cpu")
    net.reset_parameters()


def set_anew(net: Any) -> None:
    net["head/w"] = nn.Parameter(torch.ones(3, 3))


def overwritten(net: Any) -> None:
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    net.double().float()
    torch.__future__.set_overwrite_module_params_on_conversion(before)


def set_by_torch(net: Any) -> None:
    setattr(net, "head/w", nn.Parameter(torch.ones(3, 3)))


@pytest.mark.parametrize("change", [assigned, emptied, set_anew, overwritten, set_by_torch])
def test_a_variable_is_the_one_that_the_module_holds_now(change: Any):
    net = built()
    names = [net.name_of(variable) for variable in net.values()]
    change(net)
    held = dict(net.named_parameters())
    assert all(net[name] is held[name] for name in names)
    assert [net.name_of(variable) for variable in net.values()] == names
    net(X).square().sum().backward()
    assert all(parameter.grad is not None for parameter in held.values())
    expected = torch.tanh(torch.tanh(X @ held["encoder/w"]) @ held["head/w"])
    assert torch.equal(net(X), expected)


def test_a_functional_call_uses_what_it_is_given():
    net = built()
    given = {name: torch.zeros_like(variable) for name, variable in net.items()}
    assert not torch.func.functional_call(net, given, (X,)).any()
    assert net(X).any()


# ---- names that corrupt the module ---------------------------------------------------------------

CORRUPTING = ["keys", "items", "training", "type", "forward", "T_destination", "fn", "v.1", "build"]


@pytest.mark.parametrize("name", CORRUPTING)
def test_a_name_that_a_module_has_already_harms_nothing(name: str):
    net = ts.ScopedModule(lambda x: x @ ts.get_variable(name, [3, 3]), seed=0).build(X)
    expected = net(X)
    assert list(net) == [name]
    assert net.eval().train().training is True
    assert net.float().requires_grad_() is net
    twin = copy.deepcopy(net)
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(X), expected)
    assert net.name_of(net[name]) == name
    parametrizations.weight_norm(net, next(iter(net.state_dict())))
    assert torch.allclose(net(X), expected)


@pytest.mark.parametrize("name", ["_parameters", "_forward_hooks", "_keys", "_fn", "", "a b", "ä"])
def test_a_name_that_would_destroy_the_module_is_refused(
    store: ts.VariableStore, refused: Any, name: str
):
    with refused(store, ts.VariableNameError, match="is not a variable name"):
        ts.get_variable(name, [3, 3])
    dense(X)
    assert list(store) == ["w", "b"]
