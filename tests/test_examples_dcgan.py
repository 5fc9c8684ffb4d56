"""The port of DCGAN, held to what TensorFlow recorded, to the rewriter, and run as a user would.

``tests/data/checkpoints/dcgan_tiny`` has the checkpoint of a program for TensorFlow 1 with random
weights, after three steps of its two optimizers. ``golden.npz`` has what TensorFlow 2.21 computed
with it before these steps (``before/``), between (``losses``) and after them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

import torchscope as ts
from torchscope import checkpoint
from torchscope.command_line import main

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "dcgan.py"
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}  # This tree's torchscope, installed or not.
TINY = ROOT / "tests" / "data" / "checkpoints" / "dcgan_tiny"
RECORDED = np.load(TINY / "golden.npz")
IMAGES, Z = (torch.from_numpy(RECORDED[name]) for name in ("images", "z"))

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(EXAMPLE.parent)
    import dcgan


def recorded(name: str) -> Tensor:
    return torch.from_numpy(RECORDED[name])


def recorded_below(folder: str) -> dict[str, Tensor]:
    names = [name for name in RECORDED if name.startswith(folder)]
    return {name.removeprefix(folder): recorded(name) for name in names}


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-5)


@pytest.fixture
def model() -> dcgan.DCGAN:
    return dcgan.DCGAN(output_size=20, z_dim=7, gf_dim=4, df_dim=4, c_dim=3)


@pytest.fixture
def store(model: dcgan.DCGAN) -> ts.VariableStore:
    """With the values that TensorFlow began with."""
    store = ts.VariableStore()
    store(model.build_model, IMAGES, Z)
    checkpoint.load(store, recorded_below("before/"))
    return store


# ---- TensorFlow's numbers ----------------------------------------------------------------------


def test_the_variables_are_tensorflows_in_the_order_of_their_making(store):
    assert list(store) == list(recorded_below("before/"))
    saved = dict(checkpoint.list_variables(TINY))
    assert {name: list(store[name].shape) for name in store} == {
        name: saved[name] for name in store
    }


def test_each_optimizer_has_the_variables_that_tensorflow_gave_it(store):
    optimizers = dcgan.make_optimizers(store, 0.02, 0.02)
    held = [[store.name_of(v) for v in each.param_groups[0]["params"]] for each in optimizers]
    assert held == [list(RECORDED["d_var_names"]), list(RECORDED["g_var_names"])]


def test_the_sampler_takes_the_generators_variables_and_its_averages(model, store):
    assert_close(store(model.sampler, Z), recorded("sampler_before"))
    assert len(store) == 48


def test_the_discriminator_moves_its_own_averages_only(model, store):
    assert_close(store(model.discriminator, IMAGES), recorded("D_logits_real"))
    for name, average in recorded_below("after_real/").items():
        assert_close(store[name], average)


def test_drawn_images_move_the_averages_of_both(model, store):
    store(model.discriminator, IMAGES)
    drawn = store(model.generator, Z)
    assert_close(drawn, recorded("G"))
    assert_close(store(model.discriminator, drawn), recorded("D_logits_fake"))
    for name, average in recorded_below("after_fake/").items():
        assert_close(store[name], average)


def test_every_gradient_is_tensorflows(model, store):
    F.softplus(-store(model.discriminator, IMAGES)).mean().backward()
    for name, gradient in recorded_below("grad_d_loss_real/").items():
        assert_close(store[name].grad, gradient)
    _, g_loss = store(model.build_model, IMAGES, Z)
    g_loss.backward()
    for name, gradient in recorded_below("grad_g_loss/").items():
        assert_close(store[name].grad, gradient)


def test_three_steps_of_both_optimizers_are_tensorflows(model, store):
    checkpoint.load(store, recorded_below("train_start/"), strict=False)
    optimizers = dcgan.make_optimizers(store, 0.02, 0.02, beta1=0.5, epsilon=0.01)
    for losses in recorded("losses"):
        assert_close(dcgan.train_step(store, model, optimizers, IMAGES, Z), losses)
    assert_close(store(model.sampler, Z), recorded("sampler_after"))

    saved = checkpoint.open(TINY)
    left = dict(store.items()) | optimizers[0].slot_variables() | optimizers[1].slot_variables()
    assert set(left) == set(saved)
    for name, value in left.items():
        # Which image's average comes last in the discriminator, TensorFlow leaves open.
        if not re.match("discriminator/.*/moving", name):
            assert_close(value, saved[name])


# ---- the rewriter ------------------------------------------------------------------------------

REWRITTEN = {  # as it was: as it is
    "import tensorflow as tf\n": "import torchscope.tf1 as tf\n",
    "[5, 5, x.get_shape()[-1].value, output_dim]": "[5, 5, x.shape[-1], output_dim]",
    "x.get_shape()[-1].value]": "x.shape[-1]]",
    "[x.get_shape().as_list()[1], output_size]": "[x.shape[1], output_size]",
    "h3.get_shape().as_list()[0]": "h3.shape[0]",
}


def test_the_rewriter_leaves_of_the_program_what_the_example_has(tmp_path, capsys):
    program = EXAMPLE.read_text().partition("# ---- training")[0]
    before = program
    for was, now in REWRITTEN.items():
        assert now in before
        before = before.replace(now, was)
    path = tmp_path / "dcgan_tf1.py"
    path.write_text(before)
    assert main(["port", str(path), "--write"]) == 0
    assert path.read_text() == program
    assert "nothing left to do by hand" in capsys.readouterr().out


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed() -> str:
    pytest.importorskip("sklearn", reason="the example's images come from scikit-learn")
    command = [sys.executable, str(EXAMPLE), "--steps=200"]
    done = subprocess.run(command, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_it_lists_the_variables_of_both_networks_once(printed: str):
    counts = re.findall(r"^(\w+)/ +(\d+) variables", printed, re.MULTILINE)
    assert counts == [("generator", "26"), ("discriminator", "22")]
    assert re.search(r"^VariableStore: 48 variables", printed, re.MULTILINE)


def test_what_it_draws_comes_nearer_to_real_images(printed: str):
    assert len(re.findall(r"^step +\d+ of 200   d_loss \d\.\d+   g_loss \d", printed, re.M)) == 5
    before, after = map(float, re.findall(r"nearest real image: +(\d\.\d+)", printed))
    assert after < before - 0.3
