"""examples/tour.ipynb: it prints what is stored in it, and its cells may be run again."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel", reason="runs a notebook: pip install nbclient ipykernel")
nbformat = pytest.importorskip("nbformat", reason="runs a notebook: pip install nbclient ipykernel")

from run_notebook import TOUR, run, shown, with_short_tracebacks  # noqa: E402  - it needs both


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


STORED = code_cells(nbformat.read(TOUR, 4))
NUMBERS = range(len(STORED))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, Any]]:
    """Each code cell with its outputs, after it has run once and after it has run twice."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = code_cells(run(nbformat.read(TOUR, 4), folder, times=2))
    return list(zip(cells[::2], cells[1::2], strict=True))


def comparable(cell: Any) -> list[str]:
    """What it shows, but for the numbers of cells, and percentages, which differ by machines."""
    return [re.sub(r"In\[\d+\]|\d+%", "...", text) for text in shown(cell)]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_notebook_shows_what_its_cells_print(ran, number):
    assert comparable(ran[number][0]) == comparable(STORED[number])


@pytest.mark.parametrize("number", NUMBERS)
def test_a_cell_run_again_prints_the_same(ran, number):
    once, again = ran[number]
    assert comparable(again) == comparable(once)


def test_only_the_cell_that_shows_the_error_raises_one(ran):
    kinds = [[output.output_type for output in once.outputs] for once, _ in ran]
    assert sum("error" in kind for kind in kinds) == 1
    (message,) = [text for once, _ in ran for text in shown(once) if "Error" in text]
    assert "VariableExistsError: Variable 'tower/hidden/w' already exists" in message
    assert re.search(r"first made at Cell In\[\d+\]:2\.", message)


def test_the_summary_is_a_table_and_the_report_names_cells(ran):
    (summary,) = [o for once, _ in ran for o in once.outputs if "text/html" in o.get("data", {})]
    assert "<table>" in summary.data["text/html"]
    assert any("at Cell In[" in text for once, _ in ran for text in shown(once))


def test_training_makes_it_better(ran):
    printed = "".join(text for once, _ in ran for text in shown(once))
    before, after = re.findall(r"training: (\d+)%", printed)
    assert int(before) < 80 < 85 <= int(after)


def test_nothing_of_the_machine_that_ran_it_is_stored():
    stored = TOUR.read_text()
    assert str(Path(__file__).parents[1]) not in stored
    assert "site-packages" not in stored
    assert "ipykernel_" not in stored


def test_a_stored_traceback_has_the_frames_of_cells_only():
    color, plain = "\x1b[0;31m", "\x1b[0m"
    frames = [
        f"Cell {color}In[1]{plain}, line 2",
        f"{color}File {plain}/home/me/x.py:3",
        "Error: no",
    ]
    output = nbformat.v4.new_output("error", ename="Error", evalue="no", traceback=frames)
    cell = with_short_tracebacks(nbformat.v4.new_code_cell("f()", outputs=[output]))
    assert cell.outputs[0].traceback == ["Cell In[1], line 2", "Error: no"]
