"""transformers saves and loads a PreTrainedModel that holds nets, and trains it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import WIDTH, every_kind, inputs, output, unbuilt, values
from warned import peft_reads_a_deprecated_attribute_of_transformers

import torchscope as ts

transformers = pytest.importorskip("transformers")
initialization = pytest.importorskip("transformers.initialization")
safetensors = pytest.importorskip("safetensors.torch")


class Config(transformers.PretrainedConfig):
    model_type = "scoped"

    def __init__(self, kind: str = "plain", **others: Any) -> None:
        super().__init__(**others)
        self.kind = kind


class Model(transformers.PreTrainedModel):
    """As the docs show it, around modules of each kind."""

    config_class = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.body = unbuilt(config.kind).build(torch.ones(1, WIDTH))
        self.post_init()

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        y = self.body(x)
        return y if labels is None else {"loss": (y - labels).square().mean(), "y": y}

    def _init_weights(self, module: torch.nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ts.VariableStore):
            first = copy.deepcopy(module.copy())
            first.reset_parameters()
            for name in module:
                initialization.copy_(module[name], first[name])
        elif hasattr(module, "scale"):
            initialization.ones_(module.scale)


class Unbuilt(Model):
    def __init__(self, config: Config) -> None:
        transformers.PreTrainedModel.__init__(self, config)
        self.body = unbuilt(config.kind)
        self.post_init()


def changed(kind: str) -> Model:
    model = Model(Config(kind))
    with torch.no_grad():
        for tensor in model.state_dict(keep_vars=True).values():
            tensor.add_(0.25)
    return model


def load(folder: Path, model: type[Model] = Model, **options: Any) -> tuple[Any, Any]:
    return model.from_pretrained(folder, output_loading_info=True, **options)


@every_kind
def test_what_is_saved_is_loaded(kind: str, tmp_path: Path):
    saved = changed(kind)
    saved.save_pretrained(tmp_path)
    loaded, info = load(tmp_path)
    assert not any(info.values()), info
    assert values(loaded) == values(saved)
    assert torch.equal(output(loaded), output(saved))
    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"cpu"}


@every_kind
def test_a_model_is_made_on_the_meta_device_when_it_is_loaded(kind: str, tmp_path: Path):
    seen: set[str] = set()

    class Watched(Model):
        def __init__(self, config: Config) -> None:
            super().__init__(config)
            seen.update(parameter.device.type for parameter in self.parameters())

    changed(kind).save_pretrained(tmp_path)
    load(tmp_path, Watched)
    assert seen == {"meta"}


@every_kind
def test_a_model_is_loaded_and_trained_in_another_dtype(kind: str, tmp_path: Path):
    changed(kind).save_pretrained(tmp_path)
    loaded, _ = load(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    loaded.train()(inputs().bfloat16()).sum().backward()
    loaded.save_pretrained(tmp_path)
    again, _ = load(tmp_path)  # In the dtype of the file.
    assert values(again) == values(loaded)
    assert output(again, inputs().bfloat16()).dtype is torch.bfloat16


@every_kind
def test_files_may_be_sharded_and_devices_chosen(kind: str, tmp_path: Path):
    saved = changed(kind)
    saved.save_pretrained(tmp_path, max_shard_size=64)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded, _ = load(tmp_path, device_map="auto")
    assert torch.equal(output(loaded), output(saved))


@every_kind
def test_what_a_file_lacks_gets_its_initial_value_and_nothing_else_does(kind: str, tmp_path: Path):
    saved = changed(kind)
    saved.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = safetensors.load_file(file)
    lacking = next(key for key in kept if key.endswith("w"))
    del kept[lacking]
    safetensors.save_file(kept, file, {"format": "pt"})
    loaded, info = load(tmp_path)
    assert info["missing_keys"] == {lacking}
    expected = {**values(saved), lacking: values(Model(Config(kind)))[lacking]}
    assert values(loaded) == expected


@every_kind
def test_not_built_a_model_is_given_nothing_and_the_report_says_so(kind: str, tmp_path: Path):
    saved = changed(kind)
    saved.save_pretrained(tmp_path)
    loaded, info = load(tmp_path, Unbuilt)
    assert len(info["unexpected_keys"]) == len(saved.state_dict()) - len(loaded.state_dict())


@every_kind
def test_its_trainer_trains_saves_and_resumes(kind: str, tmp_path: Path):
    def trainer(steps: int) -> Any:
        arguments = transformers.TrainingArguments(
            str(tmp_path),
            use_cpu=True,
            max_steps=steps,
            save_steps=2,
            learning_rate=0.02,
            lr_scheduler_type="constant",
            weight_decay=0.1,
            report_to=[],
            disable_tqdm=True,
            data_seed=0,
            dataloader_pin_memory=False,
        )
        examples = [{"x": x, "labels": x} for x in inputs()]
        return transformers.Trainer(Model(Config(kind)), arguments, train_dataset=examples)

    straight = trainer(4)
    start = values(straight.model)
    straight.train()
    assert values(straight.model) != start
    resumed = trainer(4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert values(resumed.model) == values(straight.model)


@peft_reads_a_deprecated_attribute_of_transformers
@every_kind
def test_peft_takes_the_model_as_it_is(kind: str):
    peft = pytest.importorskip("peft")
    model = Model(Config(kind))
    before = output(model)
    variables = [name for name, p in model.named_parameters() if p.ndim == 2]
    targets = [name for name in variables if "block" not in name and "linear" not in name]
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_parameters=targets, r=2))
    assert torch.equal(output(adapted), before)
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(names) == 2 * len(targets)
