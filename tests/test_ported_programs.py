"""Programs for TensorFlow 1, rewritten by the command and run: TensorFlow's names and numbers.

``tests/data/programs`` has programs of our own, written as people wrote them. The checkpoint and
the numbers are those of the program that GPT-2's authors published; see ``tests/test_gpt2.py``.
"""

import functools
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torchscope as ts
from torchscope import checkpoint
from torchscope.command_line import main

DATA = Path(__file__).parent / "data"
TINY = DATA / "checkpoints" / "gpt2_tiny"
GOLDEN = {name: torch.from_numpy(values) for name, values in np.load(TINY / "golden.npz").items()}
GRADIENTS = {name.removeprefix("grad/"): g for name, g in GOLDEN.items() if name.startswith("grad")}


def ported(name: str, folder: Path) -> ModuleType:
    """The module that the command makes of a program; nothing may be left to do by hand."""
    path = folder / f"ported_{name}"
    shutil.copy(DATA / "programs" / name, path)
    assert main(["port", str(path), "--write"]) == 0
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)  # Dynamo looks there.
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return ported("gpt2_tf1.py", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def hparams(gpt2: ModuleType) -> Any:
    sizes = {"n_vocab": 61, "n_ctx": 16, "n_embd": 24, "n_head": 3, "n_layer": 2}
    return gpt2.default_hparams().override_from_dict(sizes)


@pytest.fixture
def net(gpt2: ModuleType, hparams: Any) -> ts.ScopedModule[..., dict[str, Tensor]]:
    net = ts.ScopedModule(functools.partial(gpt2.model, hparams)).build(GOLDEN["tokens"])
    checkpoint.load(net, TINY)
    return net


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_names_are_those_of_the_checkpoint_in_the_order_of_their_making(net):
    assert list(net) == list(GRADIENTS)
    assert {name: list(net[name].shape) for name in net} == dict(checkpoint.list_variables(TINY))


@pytest.mark.parametrize("result", ["logits", "present"])
def test_the_results_are_tensorflows(net, result: str):
    assert_close(net(GOLDEN["tokens"])[result], GOLDEN[result])


@pytest.mark.parametrize("result", ["logits", "present"])
def test_the_results_of_a_step_with_a_past_are_tensorflows(net, result: str):
    found = net(GOLDEN["step_tokens"], past=GOLDEN["past_in"])
    assert_close(found[result], GOLDEN[f"step_{result}"])


def test_the_loss_and_every_gradient_are_tensorflows(gpt2: ModuleType, hparams: Any):
    net = ts.ScopedModule(functools.partial(gpt2.loss, hparams)).build(GOLDEN["tokens"])
    checkpoint.load(net, TINY)
    loss = net(GOLDEN["tokens"])
    assert_close(loss, GOLDEN["loss"])
    loss.backward()
    for name, gradient in GRADIENTS.items():
        assert_close(net[name].grad, gradient)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_compiled_it_is_one_graph_with_the_same_results(net):
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    assert_close(compiled(GOLDEN["tokens"])["logits"], GOLDEN["logits"])
    step = compiled(GOLDEN["step_tokens"], past=GOLDEN["past_in"])
    assert_close(step["logits"], GOLDEN["step_logits"])
    torch._dynamo.reset()


# ---- the values that such programs are handed --------------------------------------------------


def test_hparams_are_read_changed_and_asked_for_by_name(hparams: Any):
    assert (hparams.n_embd, hparams.get("n_embd"), hparams.get("rate", 7)) == (24, 24, 7)
    assert "n_embd" in hparams
    assert "rate" not in hparams


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda hparams: hparams.override_from_dict({"n_head": 5, "n_heads": 5}), KeyError),
        (lambda hparams: hparams.add_hparam("n_head", 5), ValueError),
        (lambda hparams: hparams.rate, AttributeError),
    ],
)
def test_hparams_refuse_other_names_and_keep_what_they_had(hparams: Any, change, error):
    before = hparams.values()
    with pytest.raises(error, match="HParams"):
        change(hparams)
    assert hparams.values() == before
