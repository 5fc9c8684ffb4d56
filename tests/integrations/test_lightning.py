"""Lightning trains, saves, resumes and loads modules that hold nets."""

from pathlib import Path
from typing import Any

import pytest
import torch
from nets import WIDTH, built, every_kind, inputs, output, unbuilt, values
from torch.utils.data import DataLoader, TensorDataset
from warned import lightning_uses_a_deprecated_class_of_torch

import torchscope as ts

lightning = pytest.importorskip("lightning")
pytestmark = [lightning_uses_a_deprecated_class_of_torch]


class Lit(lightning.LightningModule):
    """What the tests train: a module of some kind, built in ``configure_model``."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.module = unbuilt(kind)
        self.bias = torch.nn.Parameter(torch.zeros(WIDTH))
        self.losses: list[float] = []

    def configure_model(self) -> None:
        if not next(net for net in self.modules() if isinstance(net, ts.ScopedModule)).built:
            self.module.build(torch.ones(1, WIDTH))

    def training_step(self, batch: Any) -> torch.Tensor:
        (x,) = batch
        loss = (self.module(x) + self.bias - x).square().mean()
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(self.named_parameters(), lr=0.02)
        optimizer.register_load_state_dict_pre_hook(ts.match_by_name)
        return optimizer


class NeverBuilt(Lit):
    def configure_model(self) -> None:
        """Forgotten."""


def fit(
    lit: Lit, *, epochs: int = 1, batch: int = 4, resume: Path | None = None, **options: Any
) -> Any:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        **options,
    )
    trainer.fit(lit, DataLoader(TensorDataset(inputs()), batch_size=batch), ckpt_path=resume)
    return trainer


@every_kind
def test_all_that_trains_is_trained(kind: str):
    lit = Lit(kind)
    (optimizer,) = fit(lit, epochs=20).optimizers
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    assert names == [name for name, _ in lit.named_parameters()]
    assert {name.removeprefix("module.") for name in names} == {
        "bias",
        *(name for name, _ in built(kind).named_parameters()),
    }
    assert lit.losses[-1] < 0.9 * lit.losses[0]


@every_kind
def test_training_gives_the_weights_that_a_loop_by_hand_gives(kind: str):
    lit, by_hand = Lit(kind), Lit(kind)
    fit(lit, epochs=2)
    by_hand.configure_model()
    optimizer = by_hand.configure_optimizers()
    for x in (*inputs().split(4), *inputs().split(4)):
        optimizer.zero_grad()
        by_hand.training_step([x]).backward()
        optimizer.step()
    assert values(lit) == values(by_hand)


@every_kind
def test_training_that_is_resumed_ends_as_if_it_had_not_stopped(kind: str, tmp_path: Path):
    straight, stopped, resumed = Lit(kind), Lit(kind), Lit(kind)
    fit(straight, epochs=4)
    fit(stopped, epochs=2).save_checkpoint(tmp_path / "lit.ckpt")
    trainer = fit(resumed, epochs=4, resume=tmp_path / "lit.ckpt")
    assert trainer.current_epoch == 4
    assert values(resumed) == values(straight)


@every_kind
@pytest.mark.parametrize("lightning_module", [Lit, NeverBuilt])
def test_a_checkpoint_is_loaded_into_what_was_not_built(
    kind: str, lightning_module: type[Lit], tmp_path: Path
):
    trained = Lit(kind)
    fit(trained).save_checkpoint(tmp_path / "lit.ckpt")
    loaded = lightning_module.load_from_checkpoint(tmp_path / "lit.ckpt")
    assert torch.equal(output(loaded.module), output(trained.module))
    assert values(loaded) == values(trained)


@every_kind
def test_an_unbuilt_net_beside_other_parameters_is_an_error_that_says_build(kind: str):
    lit = NeverBuilt(kind)
    with pytest.raises(ts.NotBuiltError, match=r"Adam is given.*net\.build\(\*example\)"):
        fit(lit)
    assert lit.losses == []


@every_kind
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("bf16-mixed", torch.float32), ("bf16-true", torch.bfloat16), ("64-true", torch.float64)],
)
def test_variables_have_the_precision_of_the_trainer(kind: str, precision: Any, dtype: torch.dtype):
    lit = Lit(kind)
    fit(lit, precision=precision)
    assert {parameter.dtype for parameter in lit.parameters()} == {dtype}
    after = output(lit.module, inputs().to(dtype))  # torch's default dtype is float32 again.
    assert after.dtype is dtype


@every_kind
def test_under_init_module_a_net_is_built_in_its_precision(kind: str):
    trainer = lightning.Trainer(accelerator="cpu", precision="bf16-true", logger=False)
    with trainer.init_module():
        lit = Lit(kind)
        lit.configure_model()
    assert {parameter.dtype for parameter in lit.parameters()} == {torch.bfloat16}
    assert output(lit.module, inputs().bfloat16()).dtype is torch.bfloat16


@pytest.mark.parametrize("kind", ["plain", "nested"])
def test_two_processes_give_the_weights_that_one_gives_on_the_whole_batch(kind: str):
    one, two = Lit(kind), Lit(kind)
    fit(one, epochs=3, batch=8)
    fit(two, epochs=3, batch=4, strategy="ddp_fork", devices=2)
    for name, expected in one.state_dict().items():
        assert torch.allclose(two.state_dict()[name], expected, atol=1e-5), name


@every_kind
def test_fabric_trains_saves_and_loads(kind: str, tmp_path: Path):
    fabric = lightning.Fabric(accelerator="cpu", precision="bf16-mixed")
    bare = built(kind)
    module, optimizer = fabric.setup(bare, torch.optim.Adam(bare.named_parameters(), lr=0.02))
    fabric.backward(module(inputs()).square().mean())
    optimizer.step()
    fabric.save(tmp_path / "fabric.ckpt", {"module": module})
    assert values(bare) != values(built(kind))
    other = built(kind)
    fabric.load(tmp_path / "fabric.ckpt", {"module": other})
    assert values(other) == values(bare)


@every_kind
def test_fabric_is_told_of_a_net_that_was_not_built(kind: str):
    module = lightning.Fabric(accelerator="cpu").setup(unbuilt(kind))
    with pytest.warns(ts.ScopeWarning, match=r"before any was made.*net\.build\(\*example\)"):
        module(inputs())


class Finetuned(Lit):
    """Its ``backbone``, which callbacks take, is the module around the net."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.backbone = self.module

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.bias], lr=0.1)


def trained_values(lit: Lit) -> dict[str, list[Any]]:
    return {name: parameter.tolist() for name, parameter in lit.module.named_parameters()}


@every_kind
def test_a_finetuning_callback_freezes_and_thaws_a_net_in_a_module_around_it(kind: str):
    from lightning.pytorch.callbacks import BackboneFinetuning

    lit = Finetuned(kind)
    lit.configure_model()
    seen = [trained_values(lit)]

    class Note(lightning.Callback):
        def on_train_epoch_end(self, trainer: Any, lit: Any) -> None:
            seen.append(trained_values(lit))

    thaw = BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone_initial_lr=0.1)
    fit(lit, epochs=2, callbacks=[thaw, Note()])
    before, frozen, thawed = seen
    assert frozen == before
    assert all(thawed[name] != before[name] for name in thawed if "gamma" not in name)
