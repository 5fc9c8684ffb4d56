"""Draws the pictures of this folder anew, from the examples: python docs/draw_pictures.py.

The SVG files need nothing but torchscope. The screenshot of the page needs the extra test-browser
and a chromium; without them it stays as it is.
"""

import contextlib
import doctest
import functools
import io
import re
import runpy
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import torchscope as ts

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples"))
import gpt2  # noqa: E402
import image_filter  # noqa: E402


def one_filter() -> ts.SharingReport:
    """The image filter: both images pass through the same variables."""
    return _filter("call")


def two_filters() -> ts.SharingReport:
    """The same without reuse: two sets of variables, where one may have been meant."""
    return _filter("none")


def _filter(share: str) -> ts.SharingReport:
    images = torch.zeros(1, 1, 8, 8)
    return ts.sharing(image_filter.make_net(share), images, images)


def gpt2_124m() -> ts.SharingReport:
    """GPT-2 of 124 million parameters; on meta, so that they take no memory."""
    sizes = gpt2.HParams(n_vocab=50257, n_ctx=1024, n_embd=768, n_head=12, n_layer=12)
    net = ts.ScopedModule(functools.partial(gpt2.model, sizes)).to("meta")
    return ts.sharing(net, torch.zeros(1, 8, dtype=torch.int64, device="meta"))


def tutorial(name: str) -> ts.SharingReport:
    """A net of docs/sharing.md, by what its section is about."""
    page = _page_as_module()
    words = torch.zeros(2, 5, dtype=torch.int64)
    pair = torch.zeros(2, 4), torch.zeros(2, 4)
    nets: dict[str, tuple[Callable[..., object], tuple[object, ...]]] = {
        "tied_embeddings": (page["language_model"], (words,)),
        "siamese": (page["same"], pair),
        "gan": (page["real_and_drawn"], (torch.zeros(2, 3), torch.zeros(2, 6))),
        "target_network": (page["loss"], (pair[0], torch.zeros(2), pair[1])),
        "depth": (page["grouped"], (torch.zeros(1, 8),)),
    }
    function, example = nets[name]
    return ts.sharing(ts.ScopedModule(function, seed=0), *example)


@functools.cache
def _page_as_module() -> dict[str, Any]:
    """The code of docs/sharing.md, run as one file, whose lines the pictures show."""
    page = (HERE / "sharing.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    examples = (e for block in blocks for e in doctest.DocTestParser().get_examples(block))
    code = "".join(example.source for example in examples if example.exc_msg is None)
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, "sharing.py")
    path.write_text(code)
    with contextlib.redirect_stdout(io.StringIO()):
        found = runpy.run_path(str(path))
    return {**found, "folder": folder}  # The file is there for as long as its lines are drawn.


PICTURES: dict[str, Callable[[], ts.SharingReport]] = {
    "sharing-one-filter.svg": one_filter,
    "sharing-two-filters.svg": two_filters,
    "sharing-gpt2.svg": gpt2_124m,
    **{
        f"pictures/{name}.svg": functools.partial(tutorial, name)
        for name in ["tied_embeddings", "siamese", "gan", "target_network", "depth"]
    },
}
SCREENSHOT = "sharing-page.png"


def draw(folder: Path) -> None:
    """Draw the SVG files into a folder."""
    (folder / "pictures").mkdir(exist_ok=True)
    for name, report in PICTURES.items():
        report().save(folder / name)


def photograph(path: Path) -> None:
    """Take the screenshot of the page: the image filter, with one line of code lit up."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        one_filter().save(f"{folder}/sharing.html")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 740}, color_scheme="light")
        page.goto(Path(folder, "sharing.html").as_uri())
        page.locator(".code > .head").first.hover()
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    """Draw them all, and say so."""
    draw(HERE)
    print(*PICTURES, sep="\n")
    try:
        photograph(HERE / SCREENSHOT)
    except ImportError as error:
        print(f"{SCREENSHOT} stays as it is: {error}", file=sys.stderr)
    else:
        print(SCREENSHOT)


if __name__ == "__main__":
    main()
