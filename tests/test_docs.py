"""What the docstrings, the README and the docs show is what happens."""

import contextlib
import doctest
import importlib
import inspect
import io
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import torchscope
from torchscope.command_line import main

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
ELSEWHERE = {"frameworks.md"}  # needs the frameworks: tests/integrations/test_page.py
MODULES = [
    module.name
    for module in pkgutil.walk_packages(torchscope.__path__, "torchscope.")
    if not module.name.endswith("__main__")
]
PRINTS = "\n\nIt prints\n\n```text\n"  # below a block without prompts
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=OPTIONS)
    assert result.failed == 0, "see the captured output"


def run_examples(page: Path) -> None:
    blocks = re.findall(rf"```python\n(.*?)```(?:{PRINTS}(.*?)```)?", page.read_text(), re.DOTALL)
    session: dict[str, object] = {}
    for number, (block, prints) in enumerate(blocks):
        name = f"{page.name}, block {number + 1}"
        if ">>>" not in block:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block, name, "exec"), session)
            fits = doctest.OutputChecker().check_output(prints, printed.getvalue(), OPTIONS)
            assert fits or not prints, f"{name} prints:\n{printed.getvalue()}"
            continue
        test = doctest.DocTestParser().get_doctest(block, session, name, str(page), 0)
        runner = doctest.DocTestRunner(optionflags=OPTIONS)
        runner.run(test, clear_globs=False)
        assert runner.summarize(verbose=False).failed == 0, f"{name}; see the captured output"
        session.update(test.globs)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda page: page.name
)
def test_the_examples_in_pages_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for child in ROOT.iterdir():  # Paths in them begin at the top of a clone; what they write goes.
        (tmp_path / child.name).symlink_to(child)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    run_examples(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def public_functions() -> list[str]:
    return [
        name
        for name in torchscope.__all__
        if inspect.isfunction(getattr(torchscope, name))
        or inspect.isclass(getattr(torchscope, name))
    ]


@pytest.mark.parametrize("name", public_functions())
def test_every_public_name_has_a_docstring_that_says_one_thing_first(name: str):
    docstring = inspect.getdoc(getattr(torchscope, name)) or ""
    assert docstring.partition("\n\n")[0].rstrip().endswith((".", ":")), docstring[:80]


def test_the_program_of_the_first_port_runs_as_a_script_made_of_the_pages_blocks(tmp_path: Path):
    page = (ROOT / "docs" / "first-port.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    program = tmp_path / "digits.py"
    program.write_text("\n\n".join(block for block in blocks if ">>>" not in block))
    run = subprocess.run(
        [sys.executable, program, "--steps=100", f"--logdir={tmp_path}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert re.fullmatch(r"step 100, loss \d\.\d+\naccuracy 0\.\d+\n", run.stdout), run.stderr
    assert (tmp_path / "digits.pt").exists()


def test_the_first_port_shows_what_the_command_makes_of_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    page = (ROOT / "docs" / "first-port.md").read_text()
    program = tmp_path / "digits.py"
    shutil.copy(ROOT / "tests" / "data" / "programs" / "digits_tf1.py", program)
    main(["port", str(program), "--write"])
    said = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    (shown,) = re.findall(r"```text\n(.*?)\.\.\.\n```", page, re.DOTALL)
    assert said.startswith(shown)
    ported = program.read_text()
    model = ported[ported.index("def conv_relu") : ported.index("def load")].rstrip()
    assert model in page
