"""Draws the pictures of this folder anew, from the examples: python docs/draw_pictures.py.

The SVG files need nothing but torchscope. The screenshot of the page needs the extra test-browser
and a chromium; without them it stays as it is.
"""

import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

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


PICTURES: dict[str, Callable[[], ts.SharingReport]] = {
    "sharing-one-filter.svg": one_filter,
    "sharing-two-filters.svg": two_filters,
    "sharing-gpt2.svg": gpt2_124m,
}
SCREENSHOT = "sharing-page.png"


def draw(folder: Path) -> None:
    """Draw the SVG files into a folder."""
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
