"""What a picture of a sharing report shows, as text for other programs, and how it is saved."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sharing_data
import torch

import torchscope as ts
from torchscope.report import _save
from torchscope.report._boxes import MOST, in_sight, opened
from torchscope.report._graph_text import dot, mermaid
from torchscope.report._page import page
from torchscope.report._picture import picture
from torchscope.report._save import FORMATS, save

DOCS = Path(__file__).parents[1] / "docs"

# ---- boxes and edges -----------------------------------------------------------------------------


def test_scopes_lie_in_scopes_and_add_up():
    drawn = picture(sharing_data.ten())
    boxes = {box.label: box for box in drawn.scopes}
    assert drawn.scopes[boxes["conv1"].parent].label == "model"
    assert boxes["model"].weight == 2 * (32 * 32 * 5 * 5 + 32)
    assert boxes["model"].leaves == 4
    assert boxes["words"].marks == {"shared": 1, "unused": 1, "tied": 1}


def test_an_edge_says_how_often_a_line_asks_for_a_variable():
    drawn = picture(sharing_data.ten())
    edges = {
        (drawn.variables[variable]["name"], drawn.lines[line].line): times
        for variable, line, times in drawn.edges
    }
    assert edges["model/conv1/weights", 12] == 2
    assert edges["words/table", 41] == edges["words/table", 52] == 1


def test_a_line_that_asks_in_two_scopes_is_one_line():
    ask = [sharing_data.place(7, "f", "w", scope=scope, times=1) for scope in ("a", "b")]
    drawn = picture(sharing_data.report("x", [sharing_data.variable("a/w", [2], *ask)]))
    assert drawn.edges == [(0, 0, 2)]


def test_scopes_that_only_hold_one_scope_are_one_box():
    names = ["net/encoder/layer/w", "net/encoder/layer/b"]
    drawn = picture(sharing_data.report("x", [sharing_data.variable(name, [1]) for name in names]))
    assert [box.label for box in drawn.scopes] == ["net/encoder/layer", "w", "b"]


def test_the_names_of_plain_modules_have_dots():
    one = {**sharing_data.variable("encoder.layers.0.weight", [1]), "scope": "encoder.layers.0"}
    two = {**sharing_data.variable("encoder.norm.weight", [1]), "scope": "encoder.norm"}
    drawn = picture(sharing_data.report("x", [one, two]))
    labels = [box.label for box in drawn.scopes]
    assert labels == ["encoder", "layers.0", "weight", "norm", "weight"]


@pytest.mark.parametrize("count", [50, 51, 2_000, 3_000, 20_000])
def test_never_more_than_fifty_boxes_lie_side_by_side(count: int):
    names = [sharing_data.variable(f"w{number}", [1]) for number in range(count)]
    boxes = picture(sharing_data.report("x", names)).scopes
    assert sum(box.parent < 0 for box in boxes) <= MOST
    assert max(len(box.children) for box in boxes) <= MOST
    assert sum(box.leaf >= 0 for box in boxes) == count


def test_files_are_told_apart_by_as_few_folders_as_it_takes():
    files = ["/a/gan/train.py", "/a/vae/train.py", "/a/net.py", "<stdin>", "C:\\me\\nets.py"]
    asked = [
        sharing_data.variable(
            f"w{line}", [1], sharing_data.place(line, "f", "x", file, times=1, scope="")
        )
        for line, file in enumerate(files)
    ]
    lines = picture(sharing_data.report("x", asked)).lines
    assert {one.file: one.short for one in lines} == dict(
        zip(files, ["gan/train.py", "vae/train.py", "net.py", "<stdin>", "nets.py"], strict=True)
    )


@pytest.mark.parametrize("make", [sharing_data.many, sharing_data.flat, sharing_data.ladder])
def test_what_opens_by_itself_fits_on_two_screens(make: Callable[[], dict[str, Any]]):
    boxes = picture(make()).scopes
    sight = in_sight(boxes, opened(boxes, 40))
    assert 1 < len(set(sight)) <= 40


def test_what_is_shared_is_opened_if_it_fits():
    names = [f"layer_{layer}/w{number}" for layer in range(20) for number in range(10)]
    asked = [
        sharing_data.variable(
            name, [1], sharing_data.place(1, "f", "x", scope="", times=1 + (name == "layer_3/w3"))
        )
        for name in names
    ]
    boxes = picture(sharing_data.report("x", asked)).scopes
    assert [boxes[one].label for one in opened(boxes, 40)] == ["layer_3"]


# ---- text for other programs ---------------------------------------------------------------------


def test_dot_has_every_variable_in_its_scopes():
    text = dot(sharing_data.many())
    assert text.count(" -> ") == 2000
    assert text.count("{") == text.count("}")
    small = dot(sharing_data.ten())
    assert 'subgraph cluster_s0 { label="model' in small
    assert 's2 [label="weights\\n[32, 32, 5, 5]\\nshared ×2", color=' in small
    assert 's2 -> f2 [label="×2", color="#a83f00", penwidth=3];' in small


def test_a_name_cannot_end_its_label_in_dot():
    text = dot(sharing_data.hostile())
    unquoted = re.sub(r'"(?:\\.|[^"\\])*"', '""', text)
    assert not re.search(r"script|onerror|quoted", unquoted)
    assert "\\\"quoted\\\" &amp; 'quoted' &amp;amp; &amp;lt;" in text


def test_mermaid_is_folded_where_there_is_much():
    small, large = mermaid(sharing_data.ten()), mermaid(sharing_data.many())
    assert small.startswith("flowchart LR\n")
    assert 's2["weights<br>[32, 32, 5, 5]<br>shared ×2"]:::shared' in small
    assert 's2 ===|"×2"| f2' in small
    assert '"stage_3<br>200 variables, 2.2M, 2 shared"' in large
    assert sum("---" in line or "===" in line for line in large.splitlines()) < 500


def test_a_name_means_nothing_to_mermaid():
    text = mermaid(sharing_data.hostile())
    unquoted = re.sub(r'"[^"\n]*"', '""', text)
    assert not re.search(r"script|onerror|quoted", unquoted)
    assert set(re.findall(r"<\w+>", text)) == {"<br>"}
    assert "%%" not in mermaid(
        sharing_data.report("x", [sharing_data.variable("%%{init: {}}%%", [1])])
    )


# ---- the page as text ----------------------------------------------------------------------------


class Tags(HTMLParser):
    """The elements of a page, and what is in its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.inside: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.inside.setdefault(self.tags[-1] if self.tags else "", []).append(data)


@pytest.mark.parametrize("make", [sharing_data.ten, sharing_data.hostile, sharing_data.many])
def test_names_add_no_element_to_the_page(make: Callable[[], dict[str, Any]]):
    assert Tags(page(make())).tags == Tags(page(sharing_data.report("x", []))).tags


def test_the_page_holds_all_it_needs():
    tags = Tags(page(sharing_data.ten()))
    addresses = [value for name, value in tags.attributes if name in ("src", "href", "srcset")]
    assert addresses == ["data:,"]
    assert not re.search(r"@import|url\(", "".join(tags.inside["style"]))


def test_the_policy_lets_this_script_and_style_run_and_nothing_else():
    text = page(sharing_data.ten())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    (style,), (script,) = (
        re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
        re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
    )
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in (style, script)
    ]
    assert policy.startswith(
        f"default-src 'none'; style-src {hashes[0]}; script-src {hashes[1]}; img-src data:;"
    )


def test_the_data_of_the_page_are_json_of_ascii():
    text = page(sharing_data.hostile())
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert data.isascii()
    assert json.loads(data)["name"] == sharing_data.SCRIPT


# ---- the docs ---------------------------------------------------------------------------------


def test_the_pictures_of_the_docs_are_what_the_examples_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(DOCS)
    import draw_pictures

    draw_pictures.draw(tmp_path)
    for name in draw_pictures.PICTURES:
        drawn, kept = ((folder / name).read_text("utf-8") for folder in (tmp_path, DOCS))
        assert drawn == kept, "draw them anew: python docs/draw_pictures.py"


def test_the_pictures_of_the_docs_are_small():
    pictures = [*DOCS.glob("sharing*.svg"), *DOCS.glob("sharing*.png")]
    assert len(pictures) == 4
    assert all(path.stat().st_size < 200_000 for path in pictures)


# ---- saving --------------------------------------------------------------------------------------


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("ending", "begins"),
    [
        (".html", "<!doctype html>"),
        (".svg", "<svg "),
        (".dot", "digraph"),
        (".mmd", "flowchart"),
        (".SVG", "<svg "),
    ],
)
def test_the_ending_says_what_is_drawn(ending: str, begins: str, tmp_path: Path):
    path = tmp_path / f"sharing{ending}"
    save(sharing_data.ten(), str(path))
    assert path.read_text(encoding="utf-8").startswith(begins)
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["sharing.png", "sharing", "html", "sharing.html.gz", ".svg"])
def test_another_ending_is_refused_with_those_that_there_are(name: str, tmp_path: Path):
    with pytest.raises(ValueError, match="does not say what to draw") as refused:
        save(sharing_data.ten(), tmp_path / name)
    assert all(ending in str(refused.value) for ending in FORMATS)
    assert names_in(tmp_path) == []


def test_a_directory_that_is_not_there_is_named_with_the_cure(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"mkdir -p {tmp_path}/plots")):
        save(sharing_data.ten(), tmp_path / "plots" / "sharing.html")
    assert names_in(tmp_path) == []


def test_a_directory_in_place_of_a_file_is_refused(tmp_path: Path):
    (tmp_path / "sharing.html").mkdir()
    with pytest.raises(IsADirectoryError, match="give the name of a file in it"):
        save(sharing_data.ten(), tmp_path / "sharing.html")


def test_a_save_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "sharing.svg"
    path.write_text("old")

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_save.Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(sharing_data.ten(), path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["sharing.svg"]


def test_a_saved_file_can_be_read_by_whom_other_files_can(tmp_path: Path):
    (tmp_path / "other").write_text("")
    save(sharing_data.ten(), tmp_path / "sharing.svg")
    mode = (tmp_path / "sharing.svg").stat().st_mode
    assert mode == (tmp_path / "other").stat().st_mode
    (tmp_path / "sharing.svg").chmod(0o640)
    save(sharing_data.ten(), tmp_path / "sharing.svg")
    assert (tmp_path / "sharing.svg").stat().st_mode & 0o777 == 0o640


def test_a_report_of_a_real_pass_saves_itself(tmp_path: Path):
    net = ts.ScopedModule(lambda x: x @ ts.get_variable("w", [2, 2]))
    report = ts.sharing(net, torch.ones(1, 2))
    for ending in FORMATS:
        report.save(tmp_path / f"sharing{ending}")
    assert "w\\n[2, 2]" in (tmp_path / "sharing.dot").read_text()


def test_what_a_link_points_to_is_replaced_and_the_link_stays(tmp_path: Path):
    (tmp_path / "real.svg").write_text("old")
    (tmp_path / "link.svg").symlink_to("real.svg")
    save(sharing_data.ten(), tmp_path / "link.svg")
    assert (tmp_path / "link.svg").is_symlink()
    assert (tmp_path / "real.svg").read_text().startswith("<svg")
