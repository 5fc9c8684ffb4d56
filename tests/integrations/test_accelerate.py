"""accelerate prepares, saves, offloads and loads modules that hold nets."""

from pathlib import Path
from typing import Any

import pytest
import torch
from nets import WIDTH, built, changed, every_kind, inputs, output, unbuilt, values
from torch.utils.data import DataLoader, TensorDataset
from warned import torch_asks_for_the_device_of_a_process_group

import torchscope as ts

accelerate = pytest.importorskip("accelerate")
safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture(autouse=True)
def fresh_state() -> Any:
    """An Accelerator's choices are the process's; each test makes its own."""
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def train(accelerator: Any, module: Any, epochs: int = 1) -> tuple[Any, Any]:
    optimizer = torch.optim.Adam(module.named_parameters(), lr=0.02)
    loader = DataLoader(TensorDataset(inputs()), batch_size=4)
    module, optimizer, loader = accelerator.prepare(module, optimizer, loader)
    for _ in range(epochs):
        for (x,) in loader:
            accelerator.backward((module(x) - x).square().mean())
            optimizer.step()
            optimizer.zero_grad()
    return module, optimizer


def on_meta(kind: str, *, include_buffers: bool = False) -> Any:
    with accelerate.init_empty_weights(include_buffers=include_buffers):
        return unbuilt(kind).build(torch.ones(1, WIDTH, device="meta"))


@every_kind
def test_training_gives_the_weights_that_a_loop_by_hand_gives(kind: str):
    trained, _ = train(accelerate.Accelerator(cpu=True), built(kind), epochs=2)
    by_hand = built(kind)
    optimizer = torch.optim.Adam(by_hand.named_parameters(), lr=0.02)
    for x in (*inputs().split(4), *inputs().split(4)):
        (by_hand(x) - x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert values(trained) == values(by_hand) != values(built(kind))


@every_kind
def test_an_unbuilt_net_is_an_error_that_says_build(kind: str):
    with pytest.raises(ts.NotBuiltError, match=r"Adam is given.*net\.build\(\*example\)"):
        train(accelerate.Accelerator(cpu=True), unbuilt(kind))


@every_kind
def test_in_mixed_precision_variables_stay_float32(kind: str):
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    module, _ = train(accelerator, built(kind))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert not torch.equal(output(module), output(accelerator.unwrap_model(module, False)))


@every_kind
def test_a_saved_model_has_each_variable_once_by_its_name(kind: str, tmp_path: Path):
    module = changed(kind)
    accelerate.Accelerator(cpu=True).save_model(module, tmp_path)
    saved = safetensors.load_file(tmp_path / "model.safetensors")
    assert set(saved) == set(module.state_dict())
    loaded = built(kind)
    accelerate.load_checkpoint_in_model(loaded, tmp_path)
    assert values(loaded) == values(module)
    assert torch.equal(output(loaded), output(module))


@every_kind
def test_a_saved_model_is_loaded_by_safetensors_into_what_was_not_built(kind: str, tmp_path: Path):
    module, loaded = changed(kind), unbuilt(kind)
    accelerate.Accelerator(cpu=True).save_model(module, tmp_path)
    safetensors.load_model(loaded, tmp_path / "model.safetensors")
    assert torch.equal(output(loaded), output(module))
    assert values(loaded) == values(module)


@every_kind
def test_a_model_saved_in_shards_is_loaded(kind: str, tmp_path: Path):
    module, loaded = changed(kind), built(kind)
    accelerate.Accelerator(cpu=True).save_model(module, tmp_path, max_shard_size=100)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    accelerate.load_checkpoint_in_model(loaded, tmp_path)
    assert values(loaded) == values(module)


@every_kind
def test_training_that_is_resumed_from_a_saved_state_ends_as_if_it_had_not_stopped(
    kind: str, tmp_path: Path
):
    straight, _ = train(accelerate.Accelerator(cpu=True), built(kind), epochs=2)
    stopped = accelerate.Accelerator(cpu=True)
    train(stopped, built(kind))
    stopped.save_state(tmp_path)

    resumed = accelerate.Accelerator(cpu=True)
    module, optimizer = train(resumed, built(kind), epochs=0)
    resumed.load_state(tmp_path)
    for x in inputs().split(4):
        resumed.backward((module(x) - x).square().mean())
        optimizer.step()
        optimizer.zero_grad()
    assert values(module) == values(straight)


@every_kind
def test_offloaded_variables_come_for_the_time_of_a_call(kind: str):
    module = accelerate.cpu_offload(changed(kind), execution_device="cpu", offload_buffers=True)
    for _ in range(2):
        assert {tensor.device.type for tensor in module.state_dict().values()} == {"meta"}
        assert torch.equal(output(module), output(changed(kind)))


@every_kind
def test_what_is_offloaded_to_disk_comes_too_once_there_are_directories(kind: str, tmp_path: Path):
    module = changed(kind)
    for key in module.state_dict():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
    module = accelerate.disk_offload(module, tmp_path, execution_device="cpu", offload_buffers=True)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    assert torch.equal(output(module), output(changed(kind)))


@torch_asks_for_the_device_of_a_process_group
def test_accelerate_cannot_load_into_a_net_that_was_not_built(tmp_path: Path):
    """A limit that the docs name. Should this fail, it can be taken from there."""
    accelerate.Accelerator(cpu=True).save_model(changed("plain").net, tmp_path)
    with pytest.raises(ValueError, match="process group"):
        accelerate.load_checkpoint_in_model(unbuilt("plain").net, tmp_path)


def test_offloading_to_disk_misses_a_directory_that_nobody_made(tmp_path: Path):
    """A limit that the docs name. Should this fail, it can be taken from there."""
    with pytest.raises(FileNotFoundError, match=r"encoder/w\.dat"):
        accelerate.disk_offload(changed("plain"), tmp_path, execution_device="cpu")


@every_kind
def test_a_net_built_on_the_meta_device_gets_its_values_from_a_file(kind: str, tmp_path: Path):
    accelerate.Accelerator(cpu=True).save_model(changed(kind), tmp_path)
    module = on_meta(kind)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    module = accelerate.load_checkpoint_and_dispatch(module, tmp_path, device_map={"": "cpu"})
    assert values(module) == values(changed(kind))
    assert torch.equal(output(module), output(changed(kind)))


@every_kind
def test_a_net_built_on_the_meta_device_gets_the_values_of_a_usual_build(kind: str):
    module = on_meta(kind, include_buffers=True).to_empty(device="cpu")
    for net in module.children():
        net.reset_parameters()
    if kind == "two nets":
        module.scale.data.fill_(1.0)
    assert values(module) == values(built(kind))
    assert torch.equal(output(module), output(built(kind)))


def test_the_variables_of_a_net_can_be_kept_together():
    device_map = accelerate.infer_auto_device_map(
        on_meta("two nets"),
        max_memory={"cpu": 300, "disk": 10_000},  # bytes; all of it takes 384
        no_split_module_classes=["ScopedModule"],
    )
    assert set(device_map) == {"left", "scale", "right"}
