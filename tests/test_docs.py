"""What the docstrings, the README and the docs show is what happens."""

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import torchscope

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
ELSEWHERE = {"frameworks.md"}  # needs the frameworks: tests/integrations/test_page.py
MODULES = [
    module.name
    for module in pkgutil.walk_packages(torchscope.__path__, "torchscope.")
    if not module.name.endswith("__main__")
]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=OPTIONS)
    assert result.failed == 0, "see the captured output"


def run_examples(page: Path) -> None:
    text = page.read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    session: dict[str, object] = {}
    for number, block in enumerate(blocks):
        name = f"{page.name}, block {number + 1}"
        if ">>>" not in block:
            exec(compile(block, name, "exec"), session)
            continue
        test = doctest.DocTestParser().get_doctest(block, session, name, str(page), 0)
        runner = doctest.DocTestRunner(optionflags=OPTIONS)
        runner.run(test, clear_globs=False)
        assert runner.summarize(verbose=False).failed == 0, f"{name}; see the captured output"
        session.update(test.globs)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda page: page.name
)
def test_the_examples_in_pages_run(page: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)  # Paths in them begin at the top of a clone.
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
