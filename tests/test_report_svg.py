"""The SVG of a sharing report: well formed, nothing in it runs, no text on another."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sharing_data

from torchscope.report._svg import svg

DATA = {
    "ten variables": sharing_data.ten,
    "2,000 variables": sharing_data.many,
    "2,000 side by side": sharing_data.flat,
    "hostile names": sharing_data.hostile,
    "60 scopes deep": sharing_data.ladder,
    "no variables": lambda: sharing_data.report("empty", []),
}
every_report = pytest.mark.parametrize("make", DATA.values(), ids=DATA.keys())


def elements(text: str, kind: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text).iter(f"{{http://www.w3.org/2000/svg}}{kind}"))


def words(text: str) -> list[str]:
    return [one.text or "" for one in elements(text, "text")]


@every_report
def test_it_is_xml_of_shapes_and_text_alone(make: Callable[[], dict[str, Any]]):
    kinds = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(svg(make())).iter()}
    assert kinds <= {"svg", "title", "style", "rect", "g", "text", "path"}
    assert "http" not in svg(make()).replace("http://www.w3.org/2000/svg", "", 1)


def test_a_name_is_shown_as_it_is_written():
    shown = "\n".join(words(svg(sharing_data.hostile())))
    assert "<img src=x" in shown
    assert "\"quoted\" & 'quoted' &amp; &lt;" in shown
    assert "\\u202e" in shown
    assert "\u202e" not in shown


def test_it_shows_each_variable_and_each_line_of_code():
    shown = words(svg(sharing_data.ten()))
    for word in ("conv1", "weights", "[32, 32, 5, 5]", "25.6k", "shared ×2", "unused", "near miss"):
        assert word in shown
    assert 'w = ts.get_variable("w", [64, 64])' in shown


def test_what_is_shared_is_drawn_twice_as_strong_and_with_a_ring():
    drawn = svg(sharing_data.ten())
    rings = [one for one in elements(drawn, "rect") if one.get("class") == "ring"]
    edges = [one.get("class") for one in elements(drawn, "path")]
    assert len(rings) == 5 + 4
    assert edges == ["edge"] * 4 + ["edge shared"] * 6  # on top


@every_report
def test_it_folds_to_about_40_boxes_of_a_column(make: Callable[[], dict[str, Any]]):
    boxes = [one for one in elements(svg(make()), "rect") if "box" in one.get("class", "")]
    assert len(boxes) <= 2 * 45


def test_folded_scopes_say_how_much_is_in_them():
    shown = words(svg(sharing_data.many()))
    assert "stage_3" in shown
    assert "200 variables" in shown
    assert "2 shared" in shown
    assert "layer_3" not in shown


OVERLAPS = """() => {
    const boxes = [...document.querySelectorAll("text")]
        .map(one => [one.getBoundingClientRect(), one.textContent]);
    const width = document.documentElement.getBoundingClientRect().width;
    const found = boxes.filter(([box]) => box.left < 0 || box.right > width).map(one => one[1]);
    boxes.forEach(([a, text], i) => boxes.slice(i + 1).forEach(([b, other]) => {
        if (a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3)
            found.push([text, other]);
    }));
    return found;
}"""


@pytest.mark.parametrize("font", ["DejaVu Sans Mono", "Liberation Mono", "no such font"])
@every_report
def test_no_text_lies_on_another(
    make: Callable[[], dict[str, Any]], font: str, browser: Any, tmp_path: Path
):
    path = tmp_path / "sharing.svg"
    path.write_text(svg(make()).replace("ui-monospace, Menlo", f'"{font}"'), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.evaluate(OVERLAPS) == []
    page.close()


@pytest.mark.parametrize(("scheme", "paper"), [("light", [250, 250, 248]), ("dark", [21, 24, 28])])
def test_an_image_of_it_is_light_or_dark_as_the_reader_wants(
    scheme: str, paper: list[int], browser: Any
):
    page = browser.new_page(color_scheme=scheme)
    drawn = page.evaluate(
        """async text => {
            const image = new Image();
            image.src = "data:image/svg+xml," + encodeURIComponent(text);
            await image.decode();
            const context = document.createElement("canvas").getContext("2d");
            context.drawImage(image, 0, 0);
            return [...context.getImageData(8, 100, 1, 1).data.slice(0, 3)];
        }""",
        svg(sharing_data.ten()),
    )
    assert drawn == paper
    page.close()
