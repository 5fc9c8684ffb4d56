"""The commands beside the tests: benchmarks/run.py and count_code.py. No time is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
HERE = {**os.environ, "PYTHONPATH": str(TESTS.parent)}  # This tree's torchscope.

PASSES = ["torchscope, with store:", "torchscope, ScopedModule", "nn.Module", "nn.ParameterDict"]
CONTENDERS = {
    "get": ["torchscope", "nn.Module", "nn.ParameterDict"],
    "scope": ["torchscope", "nn.Module"],
    "forward": PASSES,
    "naming": PASSES,
    "making": ["torchscope", "nn.Module", "nn.ParameterDict"],
    "memory": ["torchscope", "nn.Module", "nn.ParameterDict"],
}


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(TESTS / script), *arguments]
    done = subprocess.run(command, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_quick_run_prints_every_row_and_writes_the_same_as_json(tmp_path: Path) -> None:
    printed = run("benchmarks/run.py", "--quick", "--json", str(tmp_path / "numbers.json"))
    written = json.loads((tmp_path / "numbers.json").read_text())

    assert set(written["environment"]) >= {"torchscope", "torch", "python", "cpu"}
    found: dict[str, list[str]] = {}
    for row in written["rows"]:
        found.setdefault(row["measure"], []).append(row["contender"])
    assert found == CONTENDERS

    lines = printed.splitlines()
    assert [line for line in lines if line.startswith("torch ")]
    table = [line for line in lines if line.startswith(("  torchscope", "  nn."))]
    for row, line in zip(written["rows"], table, strict=True):
        assert row["title"] in lines
        value, ratio = row["value"], row["ratios"].get("nn.Module")
        assert value["min"] <= value["median"] <= value["max"]
        assert line.startswith(f"  {row['contender']:<26}{value['median']:>7,.0f} {row['unit']}")
        assert (ratio is None) == (row["contender"] == "nn.Module")
        if ratio:
            assert f"{ratio['median']:.2f} ({ratio['min']:.2f}..{ratio['max']:.2f})" in line


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
    assert {"_here.py", "_scope.py", "_store.py", "_module.py"} <= set(names)
    assert names[-1] == "total"
    assert counts[-1] == sum(counts[:-1])
