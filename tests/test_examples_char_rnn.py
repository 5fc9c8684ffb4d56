"""The character-level language model, run in a short form as a user would run it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torchscope as ts
from torchscope.command_line import main

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "char_rnn.py"
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}  # This tree's torchscope, installed or not.

spec = importlib.util.spec_from_file_location("char_rnn", EXAMPLE)
char_rnn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(char_rnn)

CELL = "rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell/{}"
NAMES = {
    "rnnlm/softmax_w": [96, 103],
    "rnnlm/softmax_b": [103],
    "rnnlm/embedding": [103, 96],
    CELL.format(0, "kernel"): [192, 384],
    CELL.format(0, "bias"): [384],
    CELL.format(1, "kernel"): [192, 384],
    CELL.format(1, "bias"): [384],
}


@pytest.fixture
def model() -> char_rnn.Model:
    return char_rnn.Model(vocab_size=103)


@pytest.fixture
def store(model) -> ts.VariableStore:
    store = ts.VariableStore(0)
    store(model.predict, torch.zeros(1, 1, dtype=torch.int64))
    return store


@pytest.fixture(scope="module")
def printed() -> str:
    command = [sys.executable, str(EXAMPLE), "--steps=300"]
    done = subprocess.run(command, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_variables_have_tensorflows_names_and_shapes(store):
    assert {name: list(variable.shape) for name, variable in store.items()} == NAMES


def test_it_is_the_same_text_in_one_go_and_character_by_character(model, store):
    text = torch.randint(103, (3, 7), generator=torch.Generator().manual_seed(0))
    expected, last = store(model.predict, text)
    state, logits = None, []
    for character in text.split(1, dim=1):
        one, state = store(model.predict, character, state)
        logits.append(one)
    torch.testing.assert_close(torch.cat(logits, dim=1), expected)
    torch.testing.assert_close(state, last)


def test_the_cost_is_the_cross_entropy_of_the_next_characters(model, store):
    text = torch.randint(103, (3, 7), generator=torch.Generator().manual_seed(0))
    logits, _ = store(model.predict, text[:, :-1])
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
    torch.testing.assert_close(store(model.cost, text[:, :-1], text[:, 1:])[0], expected)


def test_the_rewriter_leaves_of_the_program_what_the_example_has(tmp_path, capsys):
    program = EXAMPLE.read_text().partition("# ---- the text")[0]
    path = tmp_path / "char_rnn_tf1.py"
    path.write_text(
        program.replace("import torchscope.tf1 as tf\n", "import tensorflow as tf\n").replace(
            "input_data.shape[0]", "input_data.get_shape()[0].value"
        )
    )
    assert path.read_text() != program
    assert main(["port", str(path), "--write"]) == 0
    assert path.read_text() == program
    assert "nothing left to do by hand" in capsys.readouterr().out


def test_it_learns_more_than_to_count_pairs(printed: str):
    pattern = r"^(?:counting pairs|before training|after training): (\d\.\d+) bits a character$"
    pairs, before, after = map(float, re.findall(pattern, printed, re.MULTILINE))
    assert after < pairs < before
    assert len(re.findall(r"^step +\d+ of 300 +\d\.\d+ bits", printed, re.MULTILINE)) == 5
    assert re.search(r"^The \S+", printed, re.MULTILINE)
