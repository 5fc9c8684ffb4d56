"""examples/tour.ipynb: it prints what is stored in it, and its cells may be run again."""

import re
from pathlib import Path
from typing import Any

import pytest

for package in ("ipykernel", "nbclient"):
    pytest.importorskip(package, reason="runs a notebook: pip install nbclient ipykernel")

import nbformat  # noqa: E402
from run_notebook import TOUR, run, shown, with_short_tracebacks  # noqa: E402


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


EDITED = """\
def model(x):
    return x @ ts.get_variable("w", [3, {units}])
"""


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each of these cells shows: a model, edited and run again below a net that it made."""
    cells = [
        "import torch, torchscope as ts",
        "x = torch.ones(1, 3)\n" + EDITED.format(units=4),
        "net = ts.ScopedModule(lambda x: model(x)).build(x)",
        EDITED.format(units=5),
        "tuple(net(x).shape)",
        "del net['w']",
        "net.build(x)\ntuple(net(x).shape)",
        "y = model(x)",
        "y = model(x)",
        "net = ts.ScopedModule(model)\ntuple(net(x).shape)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    for cell in notebook.cells:
        cell.metadata["tags"] = ["raises-exception"]
    ran = run(notebook, tmp_path_factory.mktemp("edited"))
    return ["".join(shown(cell)) for cell in ran.cells]


def test_a_net_called_after_its_model_was_edited_is_refused_and_cured_by_what_the_error_says(
    edited,
):
    assert "Variable 'w' has shape (3, 4), not (3, 5); first made at Cell In[2]:3." in edited[4]
    assert "forget the variable: del net['w']" in edited[4]
    assert edited[5] == ""
    assert edited[6].endswith("(1, 5)")


def test_a_model_called_twice_without_a_store_is_cured_by_what_the_error_says(edited):
    assert edited[7] == ""
    assert "For repeated calls: net = ts.ScopedModule(model)." in edited[8]
    assert edited[9].endswith("(1, 5)")
