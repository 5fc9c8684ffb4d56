"""Devices and dtypes, on the CPU, on a fake accelerator and, where there is one, on a GPU.

The checks named ``check_...`` run twice: on a backend without kernels, whose tensors are fake but
know their device, in a process of its own (``python tests/test_pytorch_devices.py``); and on a GPU.
"""

import copy
import functools
import json
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchscope as ts

FAKE = "fakegpu"


def dense(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("dense"):
        w = ts.get_variable("w", [3, 3], initializer=nn.init.xavier_uniform_)
        return x @ w + ts.get_variable("b", [3])


def full(x: torch.Tensor) -> torch.Tensor:
    """All that a store can hold."""
    x = dense(x) + ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
    x = x * ts.get_variable("frozen", [3], trainable=False)
    x = x + ts.get_local_variable("local", [3], initializer=ts.ones_initializer())
    x = x + ts.get_variable("value", initializer=[1.0, 2.0, 3.0])
    ts.get_variable("count", [], torch.int64)
    x = ts.get_module("linear", lambda: nn.Linear(3, 3))(x)
    return ts.get_module("block", lambda: ts.ScopedModule(dense))(x)


def ones(device: Any = None, dtype: Any = None) -> torch.Tensor:
    return torch.ones(2, 3, device=device, dtype=dtype)


def devices(net: nn.Module) -> set[str]:
    """Where all lies, which should be one place."""
    return {str(tensor.device) for tensor in [*net.parameters(), *net.buffers()]}


def dtypes(net: nn.Module) -> set[torch.dtype]:
    tensors = [*net.parameters(), *net.buffers()]
    return {tensor.dtype for tensor in tensors if tensor.is_floating_point()}


# ---- what holds on every accelerator -------------------------------------------------------------


def check_a_net_moved_before_its_build_is_built_there(device: str) -> None:
    net = ts.ScopedModule(full).to(device).build(ones(device))
    assert devices(net) == {device}
    assert str(net(ones(device)).device) == device


def check_a_net_moved_before_its_first_call_makes_its_variables_there(device: str) -> None:
    net = ts.ScopedModule(full).to(device)
    assert str(net(ones(device)).device) == device
    assert devices(net) == {device}


def check_a_net_moved_after_its_build_goes_with_all_it_holds(device: str) -> None:
    net = ts.ScopedModule(full).build(ones())
    assert devices(net) == {"cpu"}
    net.to(device)
    assert devices(net) == {device}
    assert str(net(ones(device)).device) == device


def check_a_bigger_module_takes_an_unbuilt_net_along(device: str) -> None:
    outer = nn.Sequential(ts.ScopedModule(full)).to(device)
    outer(ones(device))
    assert devices(outer) == {device}


def check_the_default_device_is_where_a_net_is_built(device: str) -> None:
    net = ts.ScopedModule(full)
    with torch.device(device):
        net.build(ones(device))
    assert devices(net) == {device}


def check_a_store_that_was_moved_makes_its_variables_there(device: str) -> None:
    store = ts.VariableStore().to(device)
    with store:
        full(ones(device))
    assert devices(store) == {device}


def check_a_device_of_ones_own_choice_counts_more(device: str) -> None:
    def model() -> list[str]:
        made = [
            ts.get_variable("a", [3], device=device),
            ts.get_buffer("b", [3], device=torch.device(device)),
            ts.get_local_variable("c", [3], device=device),
            ts.get_variable("d", [3]),
        ]
        return [str(variable.device) for variable in made]

    store = ts.VariableStore().to("cpu")
    for _ in range(2):
        assert store(model) == [device, device, device, "cpu"]


def check_a_factorys_own_device_counts_more_than_the_default(device: str) -> None:
    net = ts.ScopedModule(lambda x: ts.get_module("d", lambda: nn.Linear(3, 3, device=device))(x))
    assert str(net(ones(device)).device) == device
    assert devices(net) == {device}


def check_a_late_variable_goes_where_the_net_was_moved(device: str) -> None:
    def model(x: torch.Tensor, late: bool = False) -> torch.Tensor:
        return dense(x) * (ts.get_variable("late", [3]) if late else 1.0)

    net = ts.ScopedModule(model).build(ones()).to(device)
    with pytest.warns(ts.ScopeWarning, match="'late'"):
        net(ones(device), late=True)
    assert devices(net) == {device}


def check_gradients_and_an_optimizers_state_are_there_too(device: str) -> None:
    net = ts.ScopedModule(full).to(device).build(ones(device))
    optimizer = torch.optim.AdamW(net.named_parameters())
    for _ in range(2):
        optimizer.zero_grad()
        net(ones(device)).sum().backward()
        optimizer.step()
    gradients = [value.grad for value in net.parameters() if value.grad is not None]
    assert len(gradients) == 7
    assert {str(gradient.device) for gradient in gradients} == {device}
    moments = [state["exp_avg"] for state in optimizer.state.values()]
    assert {str(moment.device) for moment in moments} == {device}
    for loss in ts.ScopedModule(full).to(device).regularization_losses():
        assert str(loss.device) == device


def check_an_input_elsewhere_is_torchs_error(device: str) -> None:
    for net in (ts.ScopedModule(dense), ts.ScopedModule(dense).build(ones())):
        with pytest.raises(RuntimeError, match="on the same device"):
            net(ones(device))
    net = ts.ScopedModule(dense).to(device).build(ones(device))
    with pytest.raises(RuntimeError, match="on the same device"):
        net(ones())


def check_a_net_is_converted_and_moved_at_once(device: str) -> None:
    net = ts.ScopedModule(full).to(device, torch.bfloat16)
    net.build(ones(device, torch.bfloat16))
    assert dtypes(net) == {torch.bfloat16}
    assert devices(net) == {device}
    assert net(ones(device, torch.bfloat16)).dtype is torch.bfloat16


def check_a_net_built_on_the_meta_device_comes_here_by_to_empty(device: str) -> None:
    net = ts.ScopedModule(full).to("meta").build(ones("meta"))
    net.to_empty(device=device)
    net.reset_parameters()
    assert devices(net) == {device}
    assert str(net(ones(device)).device) == device


def check_values_loaded_before_the_build_go_where_the_net_was_moved(device: str) -> None:
    state = ts.ScopedModule(full).build(ones()).state_dict()
    net = ts.ScopedModule(full).to(device)
    net.load_state_dict(state)
    net.build(ones(device))
    assert devices(net) == {device}


def check_values_loaded_after_the_build_are_copied_there(device: str) -> None:
    net = ts.ScopedModule(full).to(device).build(ones(device))
    net.load_state_dict(ts.ScopedModule(full).build(ones()).state_dict())
    assert devices(net) == {device}


def check_values_assigned_bring_their_device(device: str) -> None:
    state = ts.ScopedModule(full).to(device).build(ones(device)).state_dict()
    for net in (ts.ScopedModule(full).to("meta").build(ones("meta")), ts.ScopedModule(full)):
        net.to("meta").load_state_dict(state, assign=True)
        net.to(device) if net.built else net.to(device).build(ones(device))
        assert devices(net) == {device}


def check_constraints_assignments_and_losses_work_there(device: str) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        w = ts.get_variable(
            "w",
            [3, 3],
            constraint=lambda w: w.clamp(-0.1, 0.1),
            regularizer=ts.l2_regularizer(1.0),
        )
        mean = ts.get_buffer("mean", [3], initializer=ts.zeros_initializer())
        return x @ w + ts.assign_add(mean, x.mean(0))

    net = ts.ScopedModule(model).to(device).build(ones(device))
    net(ones(device))
    net.apply_constraints()
    (loss,) = net.regularization_losses()
    assert devices(net) == {device} == {str(loss.device)}


def check_an_initializer_that_works_elsewhere_is_reported(device: str) -> None:
    def initializer(shape: Any, dtype: Any) -> torch.Tensor:
        return torch.ones(shape, dtype=dtype, device=device)

    net = ts.ScopedModule(lambda x: x * ts.get_variable("w", [3], initializer=initializer))
    with pytest.raises(ts.VariableMismatchError, match=r"'w' returned a tensor on .* on the CPU"):
        net(ones())
    assert list(net) == []
    assert devices(net.to(device).build(ones(device))) == {device}


CHECKS: dict[str, Callable[[str], None]] = {
    name.removeprefix("check_").replace("_", " "): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


# ---- a fake accelerator, in a process of its own -------------------------------------------------

# What only a backend that we write ourselves can tell.


def fake_build_puts_the_accelerators_random_stream_back(backend: Any) -> None:
    def draws(x: torch.Tensor) -> torch.Tensor:
        backend.stream += 1
        return dense(x)

    backend.stream = 5
    ts.ScopedModule(draws).to(f"{FAKE}:0").build(ones(f"{FAKE}:0"))
    assert backend.stream == 5


def fake_build_works_on_a_backend_without_random_streams(backend: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(type(backend), "get_rng_state")
        patch.delattr(type(backend), "set_rng_state")
        net = ts.ScopedModule(full).to(f"{FAKE}:0").build(ones(f"{FAKE}:0"))
    assert devices(net) == {f"{FAKE}:0"}


def fake_build_on_the_cpu_does_not_wake_an_accelerator(backend: Any) -> None:
    """Asking CUDA for its random state initializes it: then no process can be forked any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(backend), "is_initialized", lambda self: False)
        patch.setattr(type(backend), "woken", 0)
        ts.ScopedModule(full).build(ones())
        assert backend.woken == 0


FAKE_CHECKS: dict[str, Callable[[Any], None]] = {
    name.removeprefix("fake_").replace("_", " "): check
    for name, check in list(globals().items())
    if name.startswith("fake_")
}


def run_on_the_fake_accelerator() -> dict[str, str]:
    """Each check's name and, if it failed, its traceback."""
    from torch.utils import backend_registration

    class Backend(backend_registration._DummyBackendModule):
        stream = woken = 0

        def device_count(self) -> int:
            return 2

        def get_rng_state(self, device: Any = None) -> torch.Tensor:
            type(self).woken += 1
            return torch.tensor(self.stream, device="cpu")

        def set_rng_state(self, state: Any, device: Any = None) -> None:
            self.stream = 5 if isinstance(state, torch.Tensor) else 0

    backend = Backend()
    backend_registration._setup_privateuseone_for_python_backend(FAKE, backend)
    runs: dict[str, Callable[[], None]] = {
        **{name: functools.partial(check, f"{FAKE}:0") for name, check in CHECKS.items()},
        **{name: functools.partial(check, backend) for name, check in FAKE_CHECKS.items()},
    }
    moved = check_a_net_moved_before_its_build_is_built_there
    runs["the second"] = functools.partial(moved, f"{FAKE}:1")
    return {name: _problem(run) for name, run in runs.items()}


def _problem(run: Callable[[], None]) -> str:
    from torch._subclasses.fake_tensor import FakeTensorMode

    for _ in range(10):
        try:
            with warnings.catch_warnings(), FakeTensorMode():
                warnings.simplefilter("error")
                run()
        except BaseException as error:
            # Torch's fake tensors cannot be moved within a module when an operation on them is
            # new to torch, which then holds weak references; nn.Linear's neither. So: again.
            if "Couldn't swap" not in str(error):
                return "".join(traceback.format_exception(error, limit=-4))[-3000:]
        else:
            return ""
    return "torch could not move the fake tensors"


@pytest.fixture(scope="module")
def on_the_fake_accelerator() -> dict[str, str]:
    ran = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("check", CHECKS)
def test_on_a_fake_accelerator(on_the_fake_accelerator: dict[str, str], check: str):
    problem = on_the_fake_accelerator[check]
    assert not problem, problem


def test_on_the_second_fake_accelerator(on_the_fake_accelerator: dict[str, str]):
    problem = on_the_fake_accelerator["the second"]
    assert not problem, problem


@pytest.mark.parametrize("check", FAKE_CHECKS)
def test_with_a_fake_accelerator(on_the_fake_accelerator: dict[str, str], check: str):
    problem = on_the_fake_accelerator[check]
    assert not problem, problem


# ---- a real GPU ----------------------------------------------------------------------------------


def on_cuda(test: Any) -> Any:
    there = torch.cuda.is_available()
    return pytest.mark.cuda(pytest.mark.skipif(not there, reason="there is no CUDA device")(test))


@on_cuda
@pytest.mark.parametrize("check", CHECKS)
def test_on_a_gpu(check: str):
    CHECKS[check]("cuda:0")


@on_cuda
def test_a_seed_gives_the_same_values_on_a_gpu():
    net = ts.ScopedModule(full, seed=1).to("cuda").build(ones("cuda"))
    reference = ts.ScopedModule(full, seed=1).build(ones())
    for name, value in reference.named_variables():
        assert torch.equal(dict(net.named_variables())[name].cpu(), value), name
    assert torch.allclose(net(ones("cuda")).cpu(), reference(ones()), atol=1e-3)


@on_cuda
def test_a_build_puts_the_random_stream_of_a_gpu_back():
    def model(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(dense(x))

    net = ts.ScopedModule(model).to("cuda")
    before = torch.cuda.get_rng_state()
    net.build(ones("cuda"))
    assert torch.equal(torch.cuda.get_rng_state(), before)


@on_cuda
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_training_on_a_gpu_agrees_with_the_cpu(compiled: bool):
    losses = {}
    for device in ("cpu", "cuda"):
        net = ts.ScopedModule(full, seed=1).to(device).build(ones(device))
        run = torch.compile(net, fullgraph=True) if compiled and device == "cuda" else net
        optimizer = torch.optim.Adam(net.named_parameters(), lr=0.1)
        losses[device] = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = run(ones(device)).square().mean()
            loss.backward()
            optimizer.step()
            losses[device].append(loss.item())
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)


# ---- dtypes, on the CPU --------------------------------------------------------------------------

CONVERSIONS: dict[str, tuple[Callable[[nn.Module], nn.Module], torch.dtype]] = {
    "half": (lambda net: net.half(), torch.float16),
    "bfloat16": (lambda net: net.bfloat16(), torch.bfloat16),
    "double": (lambda net: net.double(), torch.float64),
    "to": (lambda net: net.to(torch.float64), torch.float64),
    "like a tensor": (lambda net: net.to(torch.ones(1, dtype=torch.float64)), torch.float64),
    "in a bigger module": (lambda net: nn.Sequential(net).double()[0], torch.float64),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("convert", "dtype"), CONVERSIONS.values(), ids=CONVERSIONS)
def test_a_net_converted_before_or_after_its_build_computes_and_trains_in_that_dtype(
    convert: Any, dtype: torch.dtype, when: str
):
    net = ts.ScopedModule(full)
    if when == "after":
        net.build(ones())
    net = convert(net)
    if when == "before":
        net.build(ones(dtype=dtype))
    assert dtypes(net) == {dtype}
    assert net["count"].dtype is torch.int64
    before = net["dense/w"].detach().clone()
    result = net(ones(dtype=dtype))
    result.sum().backward()
    assert result.dtype is net["dense/w"].grad.dtype is dtype
    torch.optim.SGD(net.named_parameters(), lr=0.1).step()
    assert not torch.equal(net["dense/w"], before)


def test_an_optimizer_made_before_a_conversion_still_holds_the_variables():
    net = ts.ScopedModule(full).build(ones())
    optimizer = torch.optim.SGD(net.named_parameters(), lr=0.1)
    net.double()
    held = {id(value) for value in optimizer.param_groups[0]["params"]}
    assert held == {id(value) for value in net.parameters()}


def test_a_converted_net_keeps_its_dtype_when_values_are_copied_and_takes_theirs_by_assign():
    net, state = ts.ScopedModule(full).build(ones()).half(), ts.ScopedModule(full).build(ones())
    net.load_state_dict(state.state_dict())
    assert dtypes(net) == {torch.float16}
    net.load_state_dict(state.state_dict(), assign=True)
    assert {value.dtype for value in net.parameters() if value.is_floating_point()} == {
        torch.float32
    }


# ---- the meta device -----------------------------------------------------------------------------


def by_to(net: ts.ScopedModule) -> None:
    net.to("meta").build(ones("meta"))


def by_context(net: ts.ScopedModule) -> None:
    with torch.device("meta"):
        net.build(ones())


def by_default(net: ts.ScopedModule) -> None:
    torch.set_default_device("meta")
    try:
        net.build(ones())
    finally:
        torch.set_default_device(None)


on_meta = pytest.mark.parametrize("build", [by_to, by_context, by_default])


def tensors(net: ts.ScopedModule) -> dict[str, tuple[torch.Tensor, bool]]:
    return {name: (value, value.requires_grad) for name, value in net.named_variables()}


def assert_equal(net: ts.ScopedModule, reference: ts.ScopedModule) -> None:
    found, expected = tensors(net), tensors(reference)
    assert list(found) == list(expected)
    for name, (value, trained) in expected.items():
        assert torch.equal(found[name][0], value), name
        assert found[name][1] == trained, name
        assert type(found[name][0]) is type(value), name
    assert torch.equal(net(ones()), reference(ones()))


@on_meta
def test_a_net_built_on_the_meta_device_gets_the_values_of_a_build_by_reset_parameters(build: Any):
    net = ts.ScopedModule(full, seed=1)
    build(net)
    assert devices(net) == {"meta"}
    net.to_empty(device="cpu")
    net.reset_parameters()
    assert_equal(net, ts.ScopedModule(full, seed=1).build(ones()))


@on_meta
def test_a_net_built_on_the_meta_device_takes_its_values_by_assign(build: Any):
    reference = ts.ScopedModule(full, seed=1).build(ones())
    net = ts.ScopedModule(full, seed=2)
    build(net)
    state = {name: value.clone() for name, value in reference.state_dict().items()}
    net.load_state_dict(state, assign=True)
    local = net.get_buffer("local")
    assert local.is_meta  # No state dict keeps a local variable; this one has to be made anew.
    net["local"] = torch.ones(3)
    assert_equal(net, reference)


def test_what_was_made_on_the_meta_device_inside_a_bigger_module_comes_along():
    net = ts.ScopedModule(full, seed=1)
    outer = nn.Sequential(nn.Linear(3, 3, device="meta"), net.to("meta").build(ones("meta")))
    outer.to_empty(device="cpu")
    net.reset_parameters()
    assert_equal(net, ts.ScopedModule(full, seed=1).build(ones()))


def test_nothing_is_allocated_for_a_net_on_the_meta_device():
    def model(x: torch.Tensor) -> torch.Tensor:
        return x @ ts.get_variable("w", [2**20, 2**20])  # 4 TiB

    net = ts.ScopedModule(model).to("meta").build(torch.empty(1, 2**20, device="meta"))
    assert net["w"].numel() == 2**40


def test_values_loaded_on_the_meta_device_without_assign_are_told_to_be_lost():
    """torch tells so for its own modules: copying to meta does nothing."""
    net = ts.ScopedModule(dense).to("meta")
    net.load_state_dict(ts.ScopedModule(dense).build(ones()).state_dict())
    with pytest.warns(UserWarning, match=r"assign=True"):
        net.build(ones("meta"))


def test_a_variable_made_after_values_were_assigned_lies_where_they_lie():
    def model(x: torch.Tensor, late: bool = False) -> torch.Tensor:
        return dense(x) * (ts.get_variable("late", [3]) if late else 1.0)

    net = ts.ScopedModule(model).to("meta").build(ones("meta"))
    net.load_state_dict(ts.ScopedModule(model).build(ones()).state_dict(), assign=True)
    with pytest.warns(ts.ScopeWarning, match="'late'"):
        result = net(ones(), late=True)
    assert str(result.device) == "cpu"


def test_a_value_for_an_initializer_is_not_lost_on_the_default_device():
    with torch.device("meta"), ts.VariableStore():
        variable = ts.get_variable("w", initializer=[1.0, 2.0], device="cpu")
    assert variable.tolist() == [1, 2]


def test_a_device_that_is_not_there_is_refused_and_nothing_is_made():
    store = ts.VariableStore()
    with store, pytest.raises(ts.ScopeError, match="There is no device 'no such device'"):
        ts.get_variable("w", [3], device="no such device")
    assert list(store) == list(store.state_dict()) == []


def test_a_deep_copy_lies_where_the_original_lies():
    net = ts.ScopedModule(full).to("meta").build(ones("meta"))
    assert devices(copy.deepcopy(net)) == {"meta"}


if __name__ == "__main__":
    print(json.dumps(run_on_the_fake_accelerator()))
