"""Where things live: files import downward only, and importing torchscope brings in little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import torchscope

PACKAGE = Path(torchscope.__file__).parent

# The floors, from the bottom: a file imports only from floors below its own.
FLOORS = [
    ["_errors"],
    ["_names", "_here", "_sharded", "_optim", "initializers", "regularizers"],
    ["_declare", "_build", "_assign"],
    ["_table", "_unbuilt"],
    ["_store"],
    ["_default"],
    ["_reuse", "_collections"],
    ["_getter"],
    ["_scope"],
    ["_variables", "_template", "_bind", "_module"],
    ["distributed"],
    ["__init__"],
    ["checkpoint"],
    ["__main__"],
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imports_of(path: Path) -> set[str]:
    """The files of the package that a file imports, type checking's included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found.update(name.partition(".")[0] for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torchscope"):
            found.add((node.module or "").partition(".")[2])
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("torchscope")]
            found.update(name.partition(".")[2] for name in names)
    return found


def core_files() -> list[Path]:
    return sorted(PACKAGE.glob("*.py"))


def test_every_file_has_its_floor():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {path.stem for path in core_files()} | packages == set(FLOOR)


@pytest.mark.parametrize("path", core_files(), ids=lambda path: path.stem)
def test_a_file_imports_only_from_below(path: Path):
    for name in imports_of(path):
        assert FLOOR[name] < FLOOR[path.stem], f"{path.stem} imports {name}"


@pytest.mark.parametrize("path", core_files(), ids=lambda path: path.stem)
def test_the_first_line_says_what_a_file_holds(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.splitlines()[0].endswith(".")


def test_importing_torchscope_brings_in_nothing_but_itself():
    program = (
        "import sys, torch; before = set(sys.modules); import torchscope;"
        "print(sorted(n for n in set(sys.modules) - before if n.partition('.')[0] != 'torchscope'))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    brought = [name for name in ast.literal_eval(shown.stdout) if name != "typing_extensions"]
    assert brought == []


def test_the_public_names_are_all_there_and_sorted():
    names = torchscope.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(torchscope, name) for name in names)
    assert names == sorted(
        names, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
