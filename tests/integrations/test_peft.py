"""PEFT adapts variables by their names, trains the adapters alone, saves and merges them."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import built, every_kind, inputs, output, unbuilt, values

import torchscope as ts

peft = pytest.importorskip("peft")

TARGETS = {
    "plain": ["net.encoder/w", "net.head/w"],
    "buffered": ["net.w"],
    "nested": ["net.h/block.w"],
    "two nets": ["left.w", "right.h/w"],
}


def adapted(kind: str, targets: list[str] | None = None, **options: Any) -> Any:
    config = peft.LoraConfig(target_parameters=targets or TARGETS[kind], r=2, **options)
    return peft.get_peft_model(built(kind), config)


def train(model: Any) -> Any:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.05)
    for _ in range(4):
        (model(inputs()) - inputs()).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def changed_names(module: Any, kind: str) -> list[str]:
    before = dict(built(kind).named_parameters())
    after = dict(module.named_parameters())
    assert set(after) == set(before)
    return [name for name in before if not torch.equal(before[name], after[name])]


@every_kind
def test_an_adapter_begins_as_nothing(kind: str):
    assert torch.equal(output(adapted(kind)), output(built(kind)))


@every_kind
def test_only_the_adapters_train(kind: str):
    model = adapted(kind)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trainable) == 2 * len(TARGETS[kind])
    assert all(".lora_" in name for name in trainable)
    train(model)
    kept = {
        name.replace("base_model.model.", "").replace("base_layer.", ""): parameter
        for name, parameter in model.named_parameters()
        if ".lora_" not in name
    }
    before = dict(built(kind).named_parameters())
    assert set(kept) == set(before)
    assert all(torch.equal(kept[name], before[name]) for name in before)
    assert not torch.equal(output(model), output(built(kind)))


@every_kind
def test_merged_a_net_has_its_own_names_and_only_the_adapted_variables_have_changed(kind: str):
    model = train(adapted(kind))
    after = output(model)
    merged = model.merge_and_unload()
    assert type(merged) is type(built(kind))
    assert list(merged.state_dict()) == list(built(kind).state_dict())
    assert set(changed_names(merged, kind)) == set(TARGETS[kind])
    assert torch.allclose(output(merged), after, atol=1e-6)


@every_kind
def test_an_adapter_is_saved_alone_and_loaded_onto_an_equal_net(kind: str, tmp_path: Path):
    model = train(adapted(kind))
    model.save_pretrained(tmp_path)
    after = output(model)
    base = built(kind)
    base.load_state_dict(model.unload().state_dict())  # A moving average is in no adapter's file.
    loaded = peft.PeftModel.from_pretrained(base, tmp_path)
    assert torch.equal(output(loaded), after)


@every_kind
def test_without_its_adapters_a_net_is_what_it_was(kind: str):
    model = adapted(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    assert not torch.equal(output(model), output(built(kind)))
    with model.disable_adapter():
        assert torch.equal(output(model), output(built(kind)))
    assert values(model.unload()) == values(built(kind))


@every_kind
def test_an_adapter_is_merged_in_place_and_taken_out_again_and_copied_with_the_net(kind: str):
    model = train(adapted(kind))
    after = output(model)
    model.merge_adapter()
    assert torch.allclose(output(model), after, atol=1e-6)
    model.unmerge_adapter()
    assert torch.allclose(output(model), after, atol=1e-6)
    assert torch.equal(output(copy.deepcopy(model)), output(model))


def test_two_adapters_take_turns():
    model = adapted("plain")
    model.add_adapter("other", peft.LoraConfig(target_parameters=TARGETS["plain"], r=2))
    train(model)
    first = output(model)
    model.set_adapter("other")
    assert torch.equal(output(model), output(built("plain")))
    model.set_adapter("default")
    assert torch.equal(output(model), first)


def test_a_layer_that_get_module_keeps_is_a_target_module():
    config = peft.LoraConfig(target_modules=["net.h/linear"], r=2)
    model = train(peft.get_peft_model(built("nested"), config))
    after = output(model)
    merged = model.merge_and_unload()
    assert changed_names(merged, "nested") == ["net.h/linear.weight"]
    assert torch.allclose(output(merged), after, atol=1e-6)


def test_a_variable_of_three_dimensions_is_adapted():
    def experts(x: torch.Tensor) -> torch.Tensor:
        return (x @ ts.get_variable("experts/w", [3, 4, 4])).sum(0)

    model = torch.nn.Sequential(ts.ScopedModule(experts, seed=0).build(inputs()))
    config = peft.LoraConfig(target_parameters=["experts/w"], r=2)
    model = train(peft.get_peft_model(model, config))
    after = output(model)
    assert torch.allclose(output(model.merge_and_unload()), after, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "targets", "match"),
    [
        (lambda: built("plain"), ["net.head/b"], "1 dimensional"),
        (lambda: built("plain"), ["net.nosuch"], "no `target_parameters` found"),
        (lambda: unbuilt("plain"), ["net.head/w"], "no `target_parameters` found"),
        (lambda: built("plain").net, ["head/w"], "top-level module is not supported"),
        (lambda: built("nested"), ["net.h/w", "net.h/block.w"], "has no attribute `h/block`"),
    ],
    ids=["one dimension", "no such name", "unbuilt", "a net alone", "a net and its block"],
)
def test_what_peft_cannot_adapt_it_refuses(module: Any, targets: list[str], match: str):
    """Limits that the docs name. Should one fail, it can be taken from there."""
    with pytest.raises((ValueError, AttributeError), match=match):
        peft.get_peft_model(module(), peft.LoraConfig(target_parameters=targets, r=2))


def test_a_layer_adapted_beside_a_variable_of_its_net_is_merged_but_keeps_its_wrapper():
    """A limit that the docs name. Should this fail, it can be taken from there."""
    model = train(adapted("nested", ["net.h/w"], target_modules=["net.h/linear"]))
    after = output(model)
    merged = model.merge_and_unload()
    assert torch.allclose(output(merged), after, atol=1e-6)
    assert isinstance(merged.net.get_submodule("h/linear"), peft.tuners.lora.Linear)
