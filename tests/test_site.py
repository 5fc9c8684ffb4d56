"""The site: built with warnings as errors, with every public name and every error on it."""

import html
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest
import tf1_page

import torchscope
import torchscope.checkpoint
import torchscope.distributed
import torchscope.report

ROOT = Path(__file__).parent.parent
ERRORS = (ROOT / "docs" / "errors.md").read_text()
CHROMIUM = shutil.which("chromium")
NEEDED = ["sphinx", "myst_parser", "furo", "sphinx_copybutton"]

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, NEEDED)),
    reason="builds the site, which needs the extra docs: pip install -e '.[docs]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning, such as a link that leads nowhere, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q"]
    built = subprocess.run(
        [*command, "-d", folder / "doctrees", ROOT / "docs", folder / "html"],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def documented(site: Path) -> set[str]:
    """The names that the reference explains."""
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda *parts: "/".join(parts))
    return {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}


def public_names() -> Iterator[str]:
    for module in (torchscope, torchscope.checkpoint, torchscope.distributed, torchscope.report):
        for name in module.__all__:
            if module is torchscope.report and name in torchscope.__all__:
                continue
            if not isinstance(getattr(module, name), type(torchscope)):
                yield f"{module.__name__}.{name}"
    for name in torchscope.__all__:
        if name.endswith("_initializer"):
            yield f"torchscope.initializers.{name.removesuffix('_initializer')}"
        if name.endswith("regularizer"):
            yield f"torchscope.regularizers.{name}"


def test_every_public_name_is_in_the_reference(documented):
    missing = sorted(set(public_names()) - documented)
    assert not missing, "list them in docs/reference/torchscope.rst or its neighbours"


def test_every_name_of_tf1_is_in_the_reference_under_each_of_its_names(documented):
    names = {name for first, (_, others) in tf1_page.entries().items() for name in [first, *others]}
    modules = tf1_page.namespaces()
    names = {f"{modules[n.rpartition('.')[0]].__name__}.{n.rpartition('.')[2]}" for n in names}
    assert len(names) > 900
    assert not sorted(names - documented), "docs/reference/tf1 lacks their namespace"


@pytest.mark.parametrize("namespace", [*tf1_page.namespaces()])
def test_the_constants_of_tf1_are_in_the_reference(documented, namespace):
    module = tf1_page.namespaces()[namespace]
    values = tf1_page.public_names(module).items()
    names = {f"{module.__name__}.{name}" for name, value in values if not callable(value)}
    assert names <= documented


def error_classes() -> list[str]:
    found = [getattr(torchscope, name) for name in torchscope.__all__]
    return [
        value.__name__
        for value in found
        if isinstance(value, type) and issubclass(value, Exception) and value is not ValueError
    ]


@pytest.mark.parametrize("name", error_classes())
def test_every_error_class_is_explained_by_its_messages(name):
    assert name == "ScopeError" or re.search(rf"^## {name}$", ERRORS, re.MULTILINE)


def torchscopes_headings() -> list[str]:
    ours = ERRORS.partition("## Messages of TensorFlow 1")[0]
    return re.findall(r"^### (.+)$", ours, re.MULTILINE)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("heading", torchscopes_headings())
def test_every_heading_is_the_text_of_a_message_that_the_source_has(heading, messages):
    texts = [words(text) for part in ("", "checkpoint") for _, text in messages.literals(part)]
    for sentence in re.split(r"[.,?] ", heading):
        said = words(sentence.replace("\\\\", "\\")) - {"it", "variable", "module", "scopedmodule"}
        assert any(said <= text for text in texts), sentence


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    path = ROOT / "docs" / "_extension" / "messages.py"
    spec = importlib.util.spec_from_file_location("messages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("part", ["", "checkpoint", "report", "tf1"])
def test_every_message_of_the_source_is_on_the_site(site, messages, part):
    page = html.unescape((site / "messages.html").read_text())
    found = messages.messages(part)
    assert len(found) > 10
    assert not [text for _, text in found if text not in page]


SEARCHED = [
    "Variable conv1/weights already exists, shape (32, 1, 5, 5), first made at model.py:12",
    "ValueError: Variable x already exists, disallowed. Did you mean to set reuse=True or "
    "reuse=tf.AUTO_REUSE in VarScope?",
    "ValueError: Variable my_gan/h7/zz_w already exists, disallowed. Did you mean to set "
    'reuse=True in VarScope? Originally defined at: File "/home/me/train.py", line 31',
    "Trying to share variable w, but specified shape (3,) and found shape (4,).",
    "Variable x does not exist, or was not created with tf.get_variable()",
    "Attempting to use uninitialized value beta1_power",
    "module 'tensorflow' has no attribute 'placeholder'",
    "Some tensors share memory, this will lead to duplicate memory on disk",
    "The state dict does not fit this ScopedModule; nothing was loaded",
]


@pytest.mark.skipif(CHROMIUM is None, reason="searches in a browser: apt-get install chromium")
@pytest.mark.parametrize("message", SEARCHED)
def test_a_search_for_a_message_ends_at_its_explanation(site, message):
    shown = browse(f"{(site / 'search.html').as_uri()}?q={quote(message)}")
    found = re.findall(r'<li class="[^"]*"><a href="([^"?#]+)', shown)
    assert found[0] == "errors.html", found


def browse(address: str) -> str:
    """The page as a browser has it, after its scripts have run."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    run = subprocess.run(
        [*command, "--virtual-time-budget=20000", address],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return run.stdout


def test_the_notebook_is_a_page_with_what_its_cells_print(site):
    page = (site / "tour.html").read_text()
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())
    assert "net = ts.ScopedModule(distance, seed=0)" in text
    assert "ScopedModule(distance): 4 variables, 4 shared" in text
    assert "VariableExistsError: Variable 'tower/hidden/w' already exists" in text
    assert '<div class="torchscope-summary">' in page
    assert "% notebook" not in page
