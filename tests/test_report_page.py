"""The page of a sharing report in a real browser: how it looks, folds, searches and lights up."""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sharing_data
import torch

import torchscope as ts
from torchscope.report._save import save

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import draw_pictures

WIDTHS = [1280, 390]


def one_filter() -> dict[str, Any]:
    return draw_pictures.one_filter().to_dict()


@functools.cache
def gpt2_124m() -> dict[str, Any]:
    return draw_pictures.gpt2_124m().to_dict()


@functools.cache
def a_net_of_2000() -> dict[str, Any]:
    def tower(x: torch.Tensor) -> torch.Tensor:
        for layer in range(1000):
            with ts.variable_scope(f"stage{layer // 100}/layer{layer % 100}"):
                w = ts.get_variable("w", [4, 4])
                b = ts.get_variable("b", [4])
                x = torch.tanh(x @ w + b)
        return x

    def net(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("tower", reuse=ts.AUTO_REUSE):
            return tower(one) - tower(other)

    return ts.sharing(ts.ScopedModule(net), torch.ones(1, 4), torch.ones(1, 4)).to_dict()


DATA = {
    "image filter": one_filter,
    "GPT-2 124M": gpt2_124m,
    "a net of 2,000": a_net_of_2000,
    "ten variables": sharing_data.ten,
    "2,000 variables": sharing_data.many,
    "2,000 side by side": sharing_data.flat,
    "hostile names": sharing_data.hostile,
    "60 scopes deep": sharing_data.ladder,
}


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page of a report; at the end it has fetched nothing and complained of nothing."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(data: dict[str, Any], width: int = 1280, **options: Any) -> Any:
        path = tmp_path / "sharing.html"
        save(data, path)
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked(request.url, path))
        page.goto(path.as_uri())
        return page

    def asked(url: str, path: Path) -> None:
        if url not in (path.as_uri(), "data:,"):
            complaints.append(f"request to {url}")

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def head(page: Any, side: str, label: str, number: int = 0) -> Any:
    return page.locator(f"#{side} .head", has=page.get_by_text(label, exact=True)).nth(number)


def settled(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def lit_labels(page: Any, side: str) -> list[str]:
    return page.locator(f"#{side} .lit > .head > .label").all_text_contents()


def seen_labels(page: Any, side: str) -> list[str]:
    labels = page.locator(f"#{side} .label").filter(visible=True)
    return labels.all_text_contents()


# ---- looking at it ------------------------------------------------------------------------------


def test_it_opens_with_every_variable_and_the_code_that_asks_for_it(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    assert page.title() == "Sharing in ScopedModule(siamese)"
    assert page.locator("#totals").inner_text().startswith("10 variables · 123,521 parameters")
    assert len(page.locator("#scopes .variable").all()) == 10
    assert 'w = ts.get_variable("w", [64, 64])' in seen_labels(page, "files")
    assert page.locator("#edges path").count() == 10


def test_one_filter_for_two_images_is_seen_to_be_shared(open_page: Callable[..., Any]):
    page = open_page(one_filter())
    pills = page.locator("#scopes .variable .pill.shared")
    assert pills.all_inner_texts() == ["shared ×2"] * 4
    ways = page.locator("#files .code.shared").first.locator(".way").all_inner_texts()
    assert ways == ["y1 = my_image_filter(image1)", "y2 = my_image_filter(image2)"]


def test_what_is_shared_has_a_mark_that_is_not_only_a_colour(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    assert head(page, "scopes", "table").locator(".pill.shared").inner_text() == "shared ×2"
    assert head(page, "scopes", "spare").locator(".pill").inner_text() == "unused"
    assert page.locator(".variable.shared").count() == 5
    style = "element => getComputedStyle(element).borderTopStyle"
    assert page.locator(".variable.shared").first.evaluate(style) == "double"
    widths = {
        kind: page.locator(kind).first.evaluate(
            "one => parseFloat(getComputedStyle(one).strokeWidth)"
        )
        for kind in ("path.shared", "path:not(.shared)")
    }
    assert widths["path.shared"] > 2 * widths["path:not(.shared)"]


def test_a_box_is_higher_the_more_parameters_it_has(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    table, conv, gate, bias = (
        head(page, "scopes", name).bounding_box()["height"]
        for name in ("table", "weights", "w", "biases")
    )
    assert table > conv > gate > bias


def test_lines_join_what_they_are_about(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    page.get_by_role("button", name="Fold all").click()
    head(page, "scopes", "left").click()
    settled(page)
    head(page, "scopes", "left").hover()
    ends = page.locator("#edges path.lit").first.evaluate(
        """path => [0, path.getTotalLength()].map(at => {
            const point = path.getPointAtLength(at);
            const frame = document.getElementById("picture").getBoundingClientRect();
            return [point.x + frame.left, point.y + frame.top];
        })"""
    )
    for (x, y), one in zip(
        ends, (head(page, "scopes", "w"), head(page, "files", "filters.py")), strict=True
    ):
        around = one.bounding_box()
        assert around["x"] - 2 <= x <= around["x"] + around["width"] + 2
        assert abs(y - around["y"] - around["height"] / 2) < 2


CUT_OFF = """() => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { data, parentElement } = walker.currentNode;
        if (!parentElement.checkVisibility() || parentElement.closest("script")) continue;
        for (const word of data.matchAll(/\\S+/g)) {
            const range = document.createRange();
            range.setStart(walker.currentNode, word.index);
            range.setEnd(walker.currentNode, word.index + word[0].length);
            for (const box of range.getClientRects()) {
                for (let one = parentElement; one !== document.body; one = one.parentElement) {
                    const around = one.getBoundingClientRect();
                    if (getComputedStyle(one).display === "inline") continue;
                    if (box.left < around.left - 1 || box.right > around.right + 1
                        || box.bottom > around.bottom + 6)
                        found.push([one.tagName, one.className, word[0]]);
                }
                if (box.left < 0 || box.right > innerWidth) found.push(["window", "", word[0]]);
            }
        }
    }
    if (document.documentElement.scrollWidth > innerWidth) found.push(["the whole page"]);
    return found.slice(0, 5);
}"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", DATA.values(), ids=DATA.keys())
def test_no_text_is_cut_off(make: Callable[[], Any], width: int, open_page: Callable[..., Any]):
    page = open_page(make(), width)
    for details in page.locator("#scopes .variable > .head, #files .code > .head").all()[:8]:
        details.click()
    settled(page)
    assert page.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_lies_on_another(width: int, open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten(), width)
    overlaps = page.evaluate(
        """() => [...document.querySelectorAll(".head")].filter(head => {
            const boxes = [...head.children].filter(one => one.textContent)
                .map(one => one.getBoundingClientRect());
            return boxes.some((a, i) => boxes.slice(i + 1).some(b =>
                a.left < b.right - 1 && b.left < a.right - 1
                && a.top < b.bottom - 2 && b.top < a.bottom - 2));
        }).map(head => head.textContent)"""
    )
    assert overlaps == []


CONTRAST = """() => {
    const light = color => {
        const [r, g, b] = color.match(/[\\d.]+/g).map(one => one / 255)
            .map(one => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        const color = getComputedStyle(element).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : color;
    };
    const texts = "h1, h2, p, .label, .facts, .size, .number, .pill, button, dt, dd";
    return [...document.querySelectorAll(texts)]
        .filter(element => element.checkVisibility())
        .map(element => {
            const [a, b] = [light(getComputedStyle(element).color), light(behind(element))]
                .sort((one, other) => one - other);
            return [(b + 0.05) / (a + 0.05), element.className + " " + element.textContent];
        })
        .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_light_and_on_dark_paper(scheme: str, open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten(), color_scheme=scheme)
    head(page, "scopes", "table").click()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 384) == (scheme == "light")
    assert page.evaluate(CONTRAST) == []


# ---- doing something -----------------------------------------------------------------------------


def test_a_scope_folds_and_its_lines_go_on_from_the_folded_box(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    before = page.locator("#edges path").count()
    head(page, "scopes", "model").click()
    settled(page)
    assert "conv1" not in seen_labels(page, "scopes")
    assert page.locator("#edges path").count() == before - 2  # two and two that had one line each
    assert head(page, "scopes", "model").locator(".pill").inner_text() == "4 shared"
    head(page, "scopes", "model").click()
    settled(page)
    assert "conv1" in seen_labels(page, "scopes")
    assert page.locator("#edges path").count() == before


def test_an_opened_variable_tells_all_that_is_known(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    head(page, "scopes", "table").click()
    told = page.locator(".variable.open .details").inner_text()
    for word in ("words/table", "float32 [1000, 64] on cpu", "64,000 values, 256,000 bytes"):
        assert word in told
    assert "/home/me/project/filters.py:41 in encode" in told
    assert "x @ ts.get_variable(\n    'table').T" in told


@pytest.mark.parametrize(
    ("side", "label", "other", "lit"),
    [
        (
            "scopes",
            "table",
            "files",
            [
                'table = ts.get_variable("table", [1000, 64])',
                "x @ ts.get_variable(\n    'table').T",
            ],
        ),
        ("files", 'w = ts.get_variable("w", [64, 64])', "scopes", ["w", "w"]),
        (
            "scopes",
            "conv2",
            "files",
            [
                'weights = ts.get_variable("weights", shape, initializer=init)',
                'biases = ts.get_variable("biases", shape, initializer=init)',
            ],
        ),
    ],
)
@pytest.mark.parametrize("by", ["hover", "focus"])
def test_either_end_lights_up_the_other(
    side: str, label: str, other: str, lit: list[str], by: str, open_page: Callable[..., Any]
):
    page = open_page(sharing_data.ten())
    one = head(page, side, label)
    one.hover() if by == "hover" else one.locator("..").focus()
    assert lit_labels(page, other) == lit
    assert page.locator("#edges path.lit").count() == 2
    dimmed = page.locator("#edges path:not(.lit)").first
    assert float(dimmed.evaluate("path => getComputedStyle(path).opacity")) < 0.3
    page.mouse.move(2, 2) if by == "hover" else page.locator("#search").focus()
    page.wait_for_function("document.querySelectorAll('.lit').length === 0")


def test_searching_opens_what_is_found_and_hides_the_rest(open_page: Callable[..., Any]):
    page = open_page(sharing_data.many())
    page.locator("#search").fill("layer_7/w3")
    settled(page)
    assert page.locator("#found").inner_text() == "10 of 2,000 variables"
    assert page.locator(".variable:visible").count() == 10
    page.locator("#search").fill("no such thing")
    settled(page)
    assert page.locator("#found").inner_text() == "0 of 2,000 variables"
    assert page.locator("#edges path").count() == 0
    page.keyboard.press("Escape")
    settled(page)
    assert seen_labels(page, "scopes") == [f"stage_{number}" for number in range(10)]


def test_searching_finds_code_and_functions_too(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    page.locator("#search").fill("DECODE")
    settled(page)
    assert page.locator(".variable:visible .label").all_text_contents() == ["table"]


def test_only_what_is_shared_can_be_shown(open_page: Callable[..., Any]):
    page = open_page(sharing_data.many())
    button = page.get_by_role("button", name="20 shared", exact=True)
    button.click()
    assert page.locator(".variable:visible").count() == 20
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    settled(page)
    assert page.locator(".variable:visible").count() == 0


def test_a_near_miss_leads_to_its_variables(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    page.get_by_role("button", name="Fold all").click()
    page.get_by_role("button", name="right/w").click()
    assert page.evaluate("document.activeElement.querySelector('.label').textContent") == "w"
    assert "sibling scopes" in page.locator("#notes").inner_text()


def test_a_screen_reader_is_told_what_the_lines_show(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    name = "table, [1000, 64], shared ×2, tied, 64.0k, asked for by filters.py:41, filters.py:52"
    item = page.get_by_role("treeitem", name=name, exact=True)
    assert item.get_attribute("aria-level") == "2"
    assert item.get_attribute("aria-expanded") == "false"
    item.locator(".head").click()
    assert item.get_attribute("aria-expanded") == "true"


def test_the_keyboard_alone_is_enough(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten())
    focused = "document.activeElement.querySelector('.label')?.textContent"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    while page.evaluate(focused) != "model":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert "conv1" not in seen_labels(page, "scopes")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "left"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "w"
    page.keyboard.press("Tab")  # to the line that is lit up
    assert page.evaluate(focused) == 'w = ts.get_variable("w", [64, 64])'
    assert lit_labels(page, "scopes") == ["w", "w"]
    page.keyboard.press("Enter")
    assert "left/w" in page.locator(".code.open .details").inner_text()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("End")
    assert page.evaluate(focused) == "step"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "conv1"


def test_a_report_of_nothing_says_so(open_page: Callable[..., Any]):
    page = open_page({**sharing_data.report("empty", []), "recorded": False, "notes": ["A note."]})
    for button in ("Open all", "Fold all"):
        page.get_by_role("button", name=button).click()
    page.locator("#search").fill("x")
    settled(page)
    text = page.inner_text("body")
    for words in ("There are no variables.", "no pass was recorded", "A note."):
        assert words in text


def test_it_tells_from_which_lines_the_code_that_asks_was_called(open_page: Callable[..., Any]):
    callers = [sharing_data.place(line, "model", f"y{line} = encode(x{line})") for line in (8, 9)]
    asked = sharing_data.place(3, "encode", "w = get()", scope="", times=2, callers=callers)
    page = open_page(sharing_data.report("net", [sharing_data.variable("w", [2], asked)]))
    head(page, "scopes", "w").click()
    told = page.locator(".variable .details").inner_text()
    assert told.index("w = get()") < told.index("y8 = encode(x8)") < told.index("y9 = encode(x9)")


# ---- 2,000 variables, hostile names, paper -------------------------------------------------------


@pytest.mark.parametrize("make", [sharing_data.many, sharing_data.flat, a_net_of_2000])
def test_2000_variables_are_drawn_in_two_seconds(
    make: Callable[[], Any], open_page: Callable[..., Any]
):
    page = open_page(make())
    chromium = page.context.new_cdp_session(page)
    chromium.send("Performance.enable", {"timeDomain": "threadTicks"})  # however busy the machine
    page.reload()
    settled(page)
    measured = chromium.send("Performance.getMetrics")["metrics"]
    assert 0 < {one["name"]: one["value"] for one in measured}["TaskDuration"] < 2
    assert len(seen_labels(page, "scopes")) <= 40


def test_2000_variables_can_all_be_opened(open_page: Callable[..., Any]):
    page = open_page(sharing_data.many())
    page.get_by_role("button", name="Open all").click()
    settled(page)
    assert page.locator(".variable").filter(visible=True).count() == 2000
    assert page.locator("#edges path").count() == 2000


def test_hostile_names_are_shown_and_not_run(open_page: Callable[..., Any]):
    page = open_page(sharing_data.hostile())
    assert page.title().startswith("Sharing in </script>")
    assert page.locator("img").count() == 0
    labels = "\n".join(page.locator("#scopes .label").all_text_contents())
    for shown in (
        "onerror=",
        "\"quoted\" & 'quoted' &amp; &lt;",
        "\\u202e",
        "two\\nlines\\r",
        "\\ud800",
    ):
        assert shown in labels
    assert not set("\u202e\u2066\x00\x1b") & set(page.locator("body").inner_text())


def test_the_page_could_not_ask_a_network_if_it_wanted_to(browser: Any, tmp_path: Path):
    save(sharing_data.ten(), tmp_path / "sharing.html")
    page = browser.new_page()
    page.goto((tmp_path / "sharing.html").as_uri())
    refused: list[str] = []

    def is_the_third(message: Any) -> bool:
        if "Content Security Policy" in message.text:
            refused.append(message.text)
        return len(refused) == 3

    with page.expect_console_message(is_the_third):
        page.evaluate(
            """() => {
                const image = Object.assign(new Image(), {src: "https://example.org/x.png"});
                const script = document.createElement("script");
                script.textContent = "document.title = 'taken over'";
                document.body.append(image, script);
                return fetch("https://example.org/").catch(() => 0);
            }"""
        )
    assert page.title() != "taken over"
    page.close()


def test_a_page_without_scripts_says_what_to_do(browser: Any, tmp_path: Path):
    save(sharing_data.ten(), tmp_path / "sharing.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "sharing.html").as_uri())
    assert 'report.save("sharing.svg")' in page.inner_text("body")
    context.close()


def test_on_paper_each_variable_names_the_lines_that_ask_for_it(open_page: Callable[..., Any]):
    page = open_page(sharing_data.ten(), color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert "asked for by filters.py:41, filters.py:52" in page.inner_text("#scopes")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".tools").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
