"""Runs a notebook in a kernel of its own; as a script, stores what the cells of the tour print.

python tests/run_notebook.py
"""

import copy
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
COLOR = re.compile(r"\x1b\[[\d;]*m")
TOUR = ROOT / "examples" / "tour.ipynb"


def run(notebook: Any, folder: str | Path, times: int = 1) -> Any:
    """The notebook with the outputs of its cells, each run ``times`` in a row, in ``folder``."""
    ran = copy.copy(notebook)
    ran.cells = [again(cell, time) for cell in ran.cells for time in range(times)]
    client = NotebookClient(
        ran,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})  # This tree's torchscope.
    return ran


def again(cell: Any, time: int) -> Any:
    """A copy; ids are unique in a notebook."""
    cell = copy.deepcopy(cell)
    cell.id += f"-{time}" if time else ""
    return cell


def shown(cell: Any) -> list[str]:
    """What the outputs of a cell say as text."""
    return [text_of(output) for output in cell.outputs]


def text_of(output: Any) -> str:
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return output.data["text/plain"]


def with_short_tracebacks(cell: Any) -> Any:
    """The cell, without the frames of files, which are elsewhere on each machine."""
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            frames = [COLOR.sub("", part) for part in output.traceback]
            output.traceback = [part for part in frames if not part.startswith("File ")]
    return cell


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        ran = run(nbformat.read(TOUR, 4), folder)
    ran.cells = [with_short_tracebacks(cell) for cell in ran.cells]
    nbformat.write(ran, TOUR)
