"""The examples, each in one file; and the image filter, run as a user would run it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the example's images come from scikit-learn")

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "examples" / "image_filter.py")
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}  # This tree's torchscope, installed or not.

FILTER = ["conv1/weights", "conv1/biases", "conv2/weights", "conv2/biases"]
DECISION = ["decision/weights", "decision/bias"]
ONE_FILTER = [f"model/{name}" for name in FILTER] + DECISION
TWO_FILTERS = [f"{side}/{name}" for side in ("left", "right") for name in FILTER] + DECISION


def image_filter(*arguments: str) -> str:
    command = [sys.executable, SCRIPT, "--device=cpu", *arguments]
    done = subprocess.run(command, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def summary(printed: str) -> tuple[int, list[str]]:
    """How many variables the summary counts, and the names in it, without their indents."""
    (count,) = re.findall(r"^ScopedModule\(same_digit\): (\d+) variables", printed, re.MULTILINE)
    rows = re.findall(r"^ *(\w+/?) +(?:\[|\d+ variables)", printed, re.MULTILINE)
    return int(count), rows


def tree(names: list[str]) -> list[str]:
    """The names, each below its scopes; a scope stands before the first name in it."""
    rows = dict.fromkeys(
        name[: end + 1]
        for name in names
        for end in [*(place for place, letter in enumerate(name) if letter == "/"), len(name)]
    )
    return [re.findall(r"\w+/?$", row)[0] for row in rows]


def test_a_full_run_tells_digits_apart_that_it_was_not_trained_with() -> None:
    printed = image_filter()
    before, after = map(float, re.findall(r"balanced accuracy \w+ training: (\S+)", printed))
    assert before < 0.6
    assert after >= 0.95
    assert len(re.findall(r"^step +\d+ of \d+ +loss", printed, re.MULTILINE)) >= 5
    assert printed.count("outputs equal bit for bit") == 2


@pytest.mark.parametrize(
    ("share", "names"),
    [
        ("call", ONE_FILTER),
        ("reuse", ONE_FILTER),
        ("scope", ONE_FILTER),
        ("none", TWO_FILTERS),
    ],
)
def test_the_table_shows_one_filter_where_it_is_shared_and_two_where_not(
    share: str, names: list[str]
) -> None:
    printed = image_filter("--steps=2", f"--share={share}")
    count, rows = summary(printed)
    assert count == len(names)
    assert rows == tree(names)
    assert "resumed from the file: outputs equal bit for bit" in printed
    assert "after 5 more steps of both: outputs equal bit for bit" in printed


def test_the_ways_of_sharing_compare_equal_and_two_filters_stand_beside_them() -> None:
    printed = image_filter("--compare", "--steps=1")
    rows = re.findall(r"^(\w+) +(\d) +(\d\.\d+) +(\d\.\d+)$", printed, re.MULTILINE)
    assert [row[:2] for row in rows] == [
        ("call", "4"),
        ("reuse", "4"),
        ("scope", "4"),
        ("none", "8"),
    ]
    shared = {row[2:] for row in rows[:3]}
    assert len(shared) == 1


def test_the_model_and_the_optimizer_are_kept_in_the_file_named(tmp_path: Path) -> None:
    import torch

    image_filter("--steps=2", f"--save={tmp_path / 'filter.pt'}")
    saved = torch.load(tmp_path / "filter.pt", weights_only=True)
    assert list(saved["net"]) == ONE_FILTER
    assert saved["optimizer"]["param_groups"][0]["param_names"] == ONE_FILTER


def test_without_scikit_learn_the_error_says_how_to_install_it() -> None:
    without = (
        "import runpy, sys; sys.modules['sklearn'] = None; sys.argv = ['image_filter.py'];"
        f"runpy.run_path({SCRIPT!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", without], env=HERE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "python -m pip install scikit-learn" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_an_example_is_read_without_opening_another(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imports = [node for node in nodes if isinstance(node, ast.Import)]
    imported = {alias.name for node in imports for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & {other.stem for other in path.parent.glob("*.py")}
