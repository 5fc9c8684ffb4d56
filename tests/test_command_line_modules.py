"""torchscope sharing and torchscope summary: nets in files, looked at from a terminal."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from torchscope.command_line import main

Run = Callable[..., tuple[int, str, str]]

MODEL = """
import torch
import torchscope as ts

X = torch.ones(1, 4)

def siamese(a, b):
    with ts.variable_scope("encoder", reuse=ts.AUTO_REUSE):
        return [x @ ts.get_variable("w", [4, 4]) for x in (a, b)]

net = ts.ScopedModule(siamese)
built = ts.ScopedModule(siamese).build(X, X)
report = ts.sharing(net, X, X)
store = ts.VariableStore()
number = 3

def make():
    return net, X, X

def with_a_function():
    return store, siamese, X, X

def broken():
    raise KeyError("in the file")
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder with ``a_model.py``."""
    (tmp_path / "a_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "a_model", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "target", ["built", "report", "make", "with_a_function", "net --input 1x4 --input 1x4:float32"]
)
@pytest.mark.parametrize("where", ["a_model.py", "a_model"])
def test_sharing_is_told_of_a_net_in_a_file_or_a_module(run: Run, where: str, target: str):
    code, out, err = run("sharing", *f"{where}:{target}".split())
    assert (code, err) == (0, "")
    assert "1 variable, 1 shared, 0 unused" in out
    assert "2 times at a_model.py:9" in out


def test_sharing_and_summary_answer_in_json(run: Run):
    code, out, _ = run("sharing", "a_model.py:built", "--json")
    assert (code, json.loads(out)["shared"]) == (0, ["encoder/w"])
    code, out, _ = run("summary", "a_model.py:built", "--json")
    assert (code, json.loads(out)["total"]["count"]) == (0, 16)


def test_sharing_draws_a_picture(run: Run, tmp_path: Path):
    assert run("sharing", "a_model.py:built", "--save", "sharing.html")[0] == 0
    assert "encoder" in (tmp_path / "sharing.html").read_text()
    code, _, err = run("sharing", "a_model.py:built", "--save", "sharing.gif")
    assert code == 2
    assert "its name has to end in one of" in err


def test_summary_shows_the_tree(run: Run):
    code, out, _ = run("summary", "a_model.py:make")
    assert (code, out.splitlines()[-1].split()[:3]) == (0, ["w", "[4,", "4]"])
    assert len(run("summary", "a_model.py:built", "--depth", "0")[1].splitlines()) == 1


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("a_model.py:nett", "a_model.py has no 'nett'."),
        ("a_model.py", "'a_model.py' lacks a name: a_model.py:net."),
        ("another.py:net", "There is no file another.py."),
        ("another:net", "There is no module 'another'; a file ends in .py."),
        ("a_model.py:number", "a_model.py:number is int, not a net or a module."),
        ("a_model.py:broken", "a_model.py:broken: KeyError: 'in the file'"),
    ],
)
@pytest.mark.parametrize("command", ["sharing", "summary"])
def test_what_cannot_be_looked_at_is_said_in_a_line(run: Run, command: str, target: str, told: str):
    code, out, err = run(command, target)
    assert (code, out) == (2, "")
    assert told in err.splitlines()[-1]


def test_a_net_that_needs_an_example_says_how_to_give_one(run: Run):
    code, _, err = run("sharing", "a_model.py:net")
    assert code == 2
    assert "On the command line: --input 8x3, for each argument." in err


def test_sizes_that_are_none_are_refused(run: Run):
    code, _, err = run("sharing", "a_model.py:net", "--input", "3xa")
    assert code == 2
    assert "'3xa' is not sizes, as 8x3x32x32 or 8x3:int64" in err
