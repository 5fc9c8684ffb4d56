"""The commands beside the tests: benchmarks/*.py and count_code.py. No time is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

TESTS = Path(__file__).parent
HERE = {**os.environ, "PYTHONPATH": str(TESTS.parent)}  # This tree's torchscope.

RULES = ["GradientDescent", "Momentum", "Adam", "RMSProp", "Adagrad", "Adadelta"]
MEASURES = {
    *("get", "scope", "naming", "forward", "shares", "training", "transformer", "gets", "parts"),
    *("threads", "making", "memory", "making once", "fetching", "state_dict", "load_state_dict"),
    "deepcopy",
    *("named_variables", "get_collection", "name_of", "import"),
    *("graphs 10", "guards 10", "compile 10", "dispatch 10", "tf1 import", "tf1 plain"),
    *("tf1 dense 4 x 8 -> 8", "tf1 dense 1024 -> 1024", "tf1 conv2d 2 x 8 x 8 x 3 -> 8"),
    *("tf1 conv2d 32 x 224 x 224 x 3 -> 64", "tf1 slim.conv2d 32 x 224 x 224 x 3 -> 64"),
    *("tf1 BasicLSTMCell", "tf1 GRUCell", "tf1 peepholes"),
    *(f"tf1 {rule} {number}" for rule in RULES for number in (10, 100)),
}


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(TESTS / script), *arguments]
    done = subprocess.run(command, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, str]:
    """What a quick run prints, writes as JSON and draws."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    to = tmp_path_factory.mktemp("benchmarks")
    files = "--json", str(to / "numbers.json"), "--svg", str(to / "ratios.svg")
    printed = run("benchmarks/run.py", "--quick", *files)
    written = json.loads((to / "numbers.json").read_text())
    return printed, written, (to / "ratios.svg").read_text()


def test_a_quick_run_measures_all_there_is(quick_run: tuple[str, Any, str]) -> None:
    _, written, _ = quick_run
    assert set(written["environment"]) >= {"torchscope", "torch", "python", "cpu"}
    assert {row["measure"] for row in written["rows"]} - {"peers"} == MEASURES


def test_the_table_shows_what_is_written_as_json(quick_run: tuple[str, Any, str]) -> None:
    printed, written, _ = quick_run
    lines = printed.splitlines()
    for row in written["rows"]:
        assert row["title"] in lines
        value, ratio = row["value"], row["ratio"]
        assert value["low"] <= value["median"] <= value["high"]
        shown = [line for line in lines if line.startswith(f"  {row['contender']:<34}")]
        assert shown
        if ratio:
            spread = f"{ratio['median']:.2f} ({ratio['low']:.2f}..{ratio['high']:.2f})"
            assert any(spread in line for line in shown)
            if row["bar"]:
                held = "held" if ratio["median"] <= row["bar"] else "MISSED"
                assert any(f"<= {row['bar']:.2f} {held}" in line for line in shown)


def test_the_picture_has_a_bar_for_each_ratio_with_a_limit(quick_run: tuple[str, Any, str]) -> None:
    _, written, drawn = quick_run
    limited = [row for row in written["rows"] if row["ratio"] and row["bar"]]
    picture = ElementTree.fromstring(drawn)
    bars = picture.findall("{http://www.w3.org/2000/svg}rect")[1:]  # The first is the background.
    assert len(bars) == len(limited) > 10


def test_a_quick_run_reads_checkpoints_in_each_way_and_writes_the_same_as_json(
    tmp_path: Path,
) -> None:
    printed = run("benchmarks/checkpoint.py", "--quick", "--json", str(tmp_path / "numbers.json"))
    written = json.loads((tmp_path / "numbers.json").read_text())

    assert {"torch", "cpu", "checksums", "data"} <= set(written["environment"])
    assert [(row["contender"], row["ratio"] is None) for row in written["rows"]] == [
        ("500 variables opened and listed", True),
        ("torch.load(weights_only=True)", True),
        ("mapped and verified", False),
        ("copied and verified", False),
        ("checkpoint.load into a built net", False),
        ("torch.save", True),
        ("checkpoint.save, with checksums", False),
    ]
    for row in written["rows"]:
        spent, ratio = row["milliseconds"], row["ratio"]
        assert 0 < spent["low"] <= spent["median"] <= spent["high"]
        line = next(line for line in printed.splitlines() if f"  {row['contender']}  " in line)
        assert f"{spent['median']:,.0f} ({spent['low']:,.0f}..{spent['high']:,.0f})" in line
        if ratio:
            assert f"{ratio['median']:.2f} ({ratio['low']:.2f}..{ratio['high']:.2f})" in line


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_the_scaling_of_variables_and_ranks_is_printed_as_tables() -> None:
    printed = run("benchmarks/scaling.py", "--variables", "100", "200", "--ranks", "2")
    tables = [line for line in printed.splitlines() if line.startswith("|")]
    rows = {line.split("|")[1].strip(): line.count("|") for line in tables}
    assert rows["variables"] == rows["build"] == rows["pass"] == rows["memory"] == 5
    assert rows["ranks"] == rows["a check of ten variables"] == 3
    assert "ESTIMATE, not measured: 200 variables on 1,000 ranks" in printed


def test_the_count_leaves_out_comments_blanks_and_docstrings(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(
        '"""What it is,\n\nat length."""\n\n# A comment.\nx = """two\nlines"""  # counted\n\n\n'
        'def f(\n    a: int,\n) -> int:\n    """Return it."""\n    return a  # counted\n'
    )
    assert run("count_code.py", str(file)).split() == ["6", "example.py", "6", "total"]


def test_the_count_is_of_the_core_if_no_file_is_named() -> None:
    lines = run("count_code.py").splitlines()
    counts = [int(line.split()[0].replace(",", "")) for line in lines]
    names = [line.split()[1] for line in lines]
    assert {"_pass.py", "_scope.py", "_store.py", "_module.py"} <= set(names)
    assert names[-1] == "total"
    assert counts[-1] == sum(counts[:-1])
