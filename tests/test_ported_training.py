"""A recurrent and a reinforcement learning program: ported, finished by hand, and trained.

Both meet what TensorFlow 2.21 recorded, step by step; ``tests/ported_training.py`` runs them.
(The adversarial program is ``examples/dcgan.py``, see ``tests/test_examples_dcgan.py``.)
"""

import re
from pathlib import Path

import pytest
import torch
from ported_training import TRAIN, Recording, Trained, by_command, changed, main, source

from torchscope.port import port

PORTING = Path(__file__).parents[1] / "docs" / "porting.md"

# Learning makes differences grow: after the 54 steps of the language model a last digit of the
# first values is 1e-6 of the largest element.
NEAR = {"rtol": 1e-5, "atol": 2e-6}


@pytest.fixture(scope="module", params=list(TRAIN))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def recording(name: str) -> Recording:
    return Recording(name)


@pytest.fixture(scope="module")
def trained(name: str, recording: Recording) -> Trained:
    return TRAIN[name](recording)


def test_the_variables_have_tensorflows_names_in_the_order_of_their_making(trained, recording):
    made = [key for key in recording.below("before") if key in trained.store]
    assert list(trained.store) == made


def test_what_tensorflow_kept_besides_is_kept_by_the_optimizer(name, trained, recording):
    without = {"ptb_lm": {"Train/Model/Variable", "Model/global_step"}, "dqn": set()}
    assert set(trained.left) == set(recording.below("after")) - without[name]


def test_every_step_gives_what_it_gave_in_tensorflow(trained, recording):
    for key, value in trained.given.items():
        torch.testing.assert_close(value, recording[key], **NEAR)


def test_variables_and_slots_are_tensorflows_after_the_last_step(trained, recording):
    for key, value in recording.below("after").items():
        if key in trained.left:
            torch.testing.assert_close(trained.left[key].detach(), value, **NEAR)


def test_both_have_learnt_something():
    assert Recording("ptb_lm")["costs"][-1].mean() < 0.4 * Recording("ptb_lm")["costs"][0].mean()
    assert Recording("dqn")["losses"][-1] < 0.4 * Recording("dqn")["losses"][0]


def test_the_norm_that_clips_is_that_of_rows_before_equal_ones_are_added_up(monkeypatch):
    monkeypatch.setattr("torchscope.tf1.train._rule.as_rows", lambda variables: None)
    recording = Recording("ptb_lm")
    costs = TRAIN["ptb_lm"](recording).given["costs"]
    assert (costs - recording["costs"]).abs().max() > 1e-3


def test_the_command_tells_what_was_done_by_hand_and_nothing_else(name: str):
    finished = port(source(f"{name}_finished").encode())
    assert by_command(name).left
    assert finished.source.decode() == source(f"{name}_finished")
    assert finished.left == []


def test_more_than_half_of_the_program_stays_as_it_was(name: str):
    rewritten = by_command(name).source.decode()
    out, _ = changed(rewritten, source(f"{name}_finished"))
    assert out < 0.5 * len(rewritten.splitlines())


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]):
    page = PORTING.read_text()
    shown = re.search(r"`python tests/ported_training.py`:\n\n```text\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    main()
    differences = re.compile(r"\S+e[+-]\d+")  # The last digits are each processor's own.
    assert differences.sub("", shown[1]) == differences.sub("", capsys.readouterr().out)
