"""The examples of tied weights and of a GAN, run in a short form as a user would run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}  # This tree's torchscope, installed or not.


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=HERE, capture_output=True, text=True, check=False
    )


def printed_by(name: str, *arguments: str) -> str:
    done = run(str(ROOT / "examples" / name), "--device=cpu", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def without(package: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run an example as where ``package`` is not installed."""
    script = str(ROOT / "examples" / name)
    return run(
        "-c",
        f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv = [{name!r}];"
        f"runpy.run_path({script!r}, run_name='__main__')",
    )


# ---- weight_tying.py -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tying() -> str:
    pytest.importorskip("safetensors", reason="the example saves with safetensors")
    return printed_by("weight_tying.py", "--steps=60")


def test_the_language_model_learns_more_than_to_count_words(tying: str) -> None:
    pattern = r"perplexity of counting words: (\d+)\nperplexity before training: (\d+)"
    counting, before = map(int, re.findall(pattern, tying)[0])
    (after,) = map(int, re.findall(r"perplexity after training: (\d+)", tying))
    assert after < counting < before
    assert len(re.findall(r"^step +\d+ of 60 +loss \d", tying, re.MULTILINE)) == 10
    assert re.search(r"^It writes: the value of the \w+", tying, re.MULTILINE)


def test_the_tied_table_is_one_name_here_and_two_by_hand(tying: str) -> None:
    rows = re.findall(r"^ +(\S+) +\[1000, 64\] +64,000$", tying, re.MULTILINE)
    assert rows == ["embedding/table", "embedding.weight", "output.weight"]
    totals = re.findall(r"([\d,]+) numbers to train, ([\d,]+) in the state dict", tying)
    assert totals == [("138,112", "138,112"), ("138,112", "202,112")]


def test_both_models_are_the_same_model_and_the_file_holds_all_of_it(tying: str) -> None:
    (apart,) = re.findall(r"difference between the outputs of both: (\S+)", tying)
    assert float(apart) < 1e-4
    assert "saved with safetensors" in tying
    assert "loaded, outputs equal: True" in tying


UNTIED = {"tied by hand": ("2", False), "torchscope": ("1", True)}
STILL_TIED = {"tied by hand": ("1", True), "torchscope": ("1", True)}


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("copy.deepcopy", STILL_TIED),
        ("torch.save, load_state_dict", STILL_TIED),
        ("load_state_dict(assign=True)", UNTIED),
        ("on meta, to_empty, load_state_dict", UNTIED),
        ("safetensors of clones, assign=True", UNTIED),
    ],
)
def test_what_comes_untied_by_hand_stays_tied_in_torchscope(
    tying: str, way: str, expected: dict[str, tuple[str, bool]]
) -> None:
    (row,) = re.findall(rf"^{re.escape(way)} +(\d) +(\S+) +(\d) +(\S+)$", tying, re.MULTILINE)
    hand, scoped = (row[0], float(row[1]) == 0), (row[2], float(row[3]) == 0)
    assert {"tied by hand": hand, "torchscope": scoped} == expected


def test_safetensors_refuses_what_is_tied_by_hand_and_only_that(tying: str) -> None:
    assert re.search(r"^safetensors +refused +1 +0$", tying, re.MULTILINE)
    reasons = re.findall(r"^safetensors refuses the model (.*?): (.*)$", tying, re.MULTILINE)
    assert [model for model, _ in reasons] == ["tied by hand"]
    assert "share memory" in reasons[0][1]


def test_without_safetensors_the_error_says_how_to_install_it() -> None:
    done = without("safetensors.torch", "weight_tying.py")
    assert done.returncode == 1
    assert "python -m pip install safetensors" in done.stderr
    assert "Traceback" not in done.stderr


# ---- gan.py --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gan() -> str:
    pytest.importorskip("sklearn", reason="the example's images come from scikit-learn")
    return printed_by("gan.py", "--steps=500")


def test_drawn_digits_come_nearer_to_real_ones(gan: str) -> None:
    (real,) = re.findall(r"other real images told apart: (\S+),", gan)
    before, after = re.findall(r"drawn and real images told apart: (\S+)", gan)
    assert 0.4 < float(real) < 0.6
    assert float(before) > 0.99
    assert float(after) < 0.98
    assert len(re.findall(r"^step +\d+ of 500 +loss", gan, re.MULTILINE)) == 10


def test_each_optimizer_holds_one_scope_and_the_store_holds_both(gan: str) -> None:
    rows = re.findall(r"^(\w+)/ +(\d+) variables +yes +([\d,]+) ", gan, re.MULTILINE)
    assert rows == [("generator", "6", "26,944"), ("discriminator", "6", "16,641")]
    assert re.search(r"^VariableStore: 12 variables", gan, re.MULTILINE)


def test_the_shares_of_the_digits_add_up(gan: str) -> None:
    rows = re.findall(r"shares of the digits 0 to 9:((?: +\d\.\d\d){10})$", gan, re.MULTILINE)
    assert [sum(map(float, row.split())) for row in rows] == pytest.approx([1, 1, 1], abs=0.06)


def test_pictures_of_ten_digits_are_shown_before_and_after(gan: str) -> None:
    lines = [line for line in gan.splitlines() if line and not set(line) - set(" .:-=+*#%@")]
    assert len(lines) <= 4 * 8  # Empty rows of pixels leave no line.
    assert len(lines) > 3 * 8
    assert max(map(len, lines)) <= 5 * 16 + 4 * 3


def test_a_seed_repeats_the_drawing(gan: str) -> None:
    first, again = (
        printed_by("gan.py", "--steps=2", "--seed=1").rpartition("\n\n")[0] for _ in range(2)
    )
    assert first == again
    drawn = first.partition("before training")[2].partition("step")[0]
    assert drawn.count("\n") > 16
    assert drawn not in gan


def test_without_scikit_learn_the_gan_says_how_to_install_it() -> None:
    done = without("sklearn", "gan.py")
    assert done.returncode == 1
    assert "python -m pip install scikit-learn" in done.stderr
    assert "Traceback" not in done.stderr
