"""net.summary() and ts.summary: what a module holds, readable in any terminal and in a notebook."""

import time
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchscope as ts
from torchscope._overview._text import width_of

X = torch.ones(1, 3)


def block(x: Tensor) -> Tensor:
    return x @ ts.get_variable("w", [3, 3])


def model(x: Tensor) -> Tensor:
    with ts.variable_scope("encoder"):
        x = x @ ts.get_variable("w", [3, 3]) + ts.get_variable("b", [3], trainable=False)
        x = x + ts.get_buffer("mean", [3])
        x = ts.get_module("dense", nn.Linear, 3, 3)(x)
    return ts.get_module("h0", lambda: ts.ScopedModule(block))(x)


@pytest.fixture
def net() -> Any:
    return ts.ScopedModule(model).build(X)


def test_it_is_a_tree_of_scopes_with_totals(net: Any):
    assert str(net.summary()).splitlines() == [
        "ScopedModule(model): 6 variables, 36 numbers, 30 of them trainable, 144 bytes",
        "",
        "name                      shape        dtype    device  trainable  count  bytes",
        "encoder/                  5 variables                   partly        27    108",
        "  w                       [3, 3]       float32  cpu     yes            9     36",
        "  b                       [3]          float32  cpu     no             3     12",
        "  mean                    [3]          float32  cpu     buffer         3     12",
        "  dense/  Linear          2 variables                   yes           12     48",
        "    weight                [3, 3]       float32  cpu     yes            9     36",
        "    bias                  [3]          float32  cpu     yes            3     12",
        "h0/  ScopedModule(block)  1 variable                    yes            9     36",
        "  w                       [3, 3]       float32  cpu     yes            9     36",
    ]


def test_depth_says_how_deep(net: Any):
    lines = [str(net.summary(depth=depth)).splitlines() for depth in range(4)]
    assert [len(shown) for shown in lines] == [1, 5, 10, 12]
    assert lines[3] == str(net.summary()).splitlines()


@pytest.mark.parametrize("depth", [-1, 1.5, "2", True])
def test_a_depth_that_is_not_one_is_refused(net: Any, depth: Any):
    with pytest.raises(ValueError, match="depth is how many scopes deep to show, 0 or more"):
        net.summary(depth)


def test_what_is_not_built_yet_is_said():
    net = ts.ScopedModule(model)
    assert "Not built yet: net.build(*example) makes the variables." in str(net.summary())
    assert "Not built yet: store.build(fn, *example)" in str(ts.VariableStore().summary())
    around = nn.Sequential(nn.LazyLinear(3), net)
    shown = str(ts.summary(around))
    assert shown.count("not built yet") == 3
    assert ts.summary(around).to_dict()["not_built"] == ["1"]
    assert not net.built


def test_an_example_shows_what_is_not_built_yet_and_builds_nothing():
    around = nn.Sequential(nn.Linear(3, 3), ts.ScopedModule(model))
    shown = ts.summary(around, X)
    assert shown.to_dict()["total"]["variables"] == 8
    assert "not built yet" not in str(shown)
    assert not around[1].built
    assert ts.summary(around).to_dict()["total"]["variables"] == 2


def test_values_that_wait_for_the_build_are_shown(net: Any):
    other = ts.ScopedModule(model)
    other.load_state_dict(net.state_dict())
    shown = str(other.summary().text(200))
    assert shown.count("loaded, waits to be asked for") == 6
    assert other.summary().to_dict()["total"]["variables"] == 0


def test_reading_it_is_not_noticed_as_reading_the_parameters():
    net = ts.ScopedModule(model)
    net.summary()
    ts.summary(nn.Sequential(net))
    net.build(X)  # A ScopeWarning would be an error here.


def test_a_parameter_under_two_names_is_counted_once():
    tied = nn.ModuleList([nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)])
    tied[1].weight = tied[0].weight
    shown = ts.summary(tied)
    assert shown.to_dict()["total"] == {"variables": 1, "count": 9, "trainable": 9, "bytes": 36}
    assert "is 0.weight" in str(shown)


def test_it_shows_the_module_as_it_was(net: Any):
    before = net.summary()
    net.double()
    assert "float32" in str(before)
    assert "float64" in str(net.summary())


@pytest.mark.parametrize("width", [12, 16, 24, 40, 60, 79, 200])
def test_no_line_is_longer_than_the_terminal(net: Any, width: int, monkeypatch: Any):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = str(net.summary()).splitlines()
    assert all(width_of(line) <= width for line in lines)
    assert width < 20 or any("dense/" in line for line in lines)


def test_columns_stay_aligned_with_wide_and_with_cut_names():
    module = nn.Module()
    module.add_module("編碼器", nn.Linear(2, 2))
    module.add_module("a" * 200, nn.Linear(2, 2))
    lines = ts.summary(module).text(60).splitlines()[-6:]
    assert len({width_of(line) for line in lines}) == 1
    assert "aaaa..aaaa" in lines[3]


def test_names_cannot_command_a_terminal_or_a_browser():
    module = nn.Module()
    module.add_module("x\x1b[31m</summary><script>alert(1)</script>", nn.Linear(2, 2))
    shown = ts.summary(module)
    assert "\x1b" not in str(shown)
    assert "<script" not in shown._repr_html_()
    assert "&lt;script&gt;" in shown._repr_html_()


class Balanced(HTMLParser):
    """The tags that are open, and all that were."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.all: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.all.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_in_a_notebook_it_is_a_folded_tree_without_a_script(net: Any):
    page = Balanced(net.summary()._repr_html_())
    assert page.open == []
    assert page.all.count("details") == 3
    assert "script" not in page.all
    assert "ScopedModule(block)" in net.summary()._repr_html_()


def test_ten_thousand_variables_are_folded_in_less_than_a_second():
    with ts.VariableStore() as store:
        for i in range(20):
            with ts.variable_scope(f"s{i}"):
                for j in range(50):
                    with ts.variable_scope(f"t{j}"):
                        for k in range(10):
                            ts.get_variable(f"v{k}", [1], initializer=ts.zeros_initializer())
    begun = time.process_time()
    summary = store.summary()
    lines = str(summary).splitlines()
    assert time.process_time() - begun < 1
    assert len(lines) < 30
    assert "Folded: summary(depth=3) shows all." in lines
    assert len(str(store.summary(depth=3)).splitlines()) == 3 + 20 + 1000 + 10_000
    begun = time.process_time()
    assert summary._repr_html_().count("<details>") == 1020
    assert time.process_time() - begun < 1


def test_ten_thousand_variables_in_one_scope_are_folded_too():
    with ts.VariableStore() as store:
        for i in range(10_000):
            ts.get_variable(f"v{i}", [1], initializer=ts.zeros_initializer())
    lines = str(store.summary()).splitlines()
    assert len(lines) < 70
    assert any("more" in line for line in lines)


def test_a_name_with_a_million_slashes_is_shown():
    with ts.VariableStore() as store:
        store[f"{'a/' * 100_000}w"] = nn.Parameter(torch.ones(1))
        store[f"{'a/' * 100_000}v"] = nn.Parameter(torch.ones(2))
    lines = store.summary().text(80).splitlines()
    assert all(width_of(line) <= 80 for line in lines)
    assert lines[0].startswith("VariableStore: 2 variables, 3 numbers")
    assert len(ts.sharing(store, lambda: None).unused) == 2


def test_every_store_has_one_and_ts_summary_takes_any_module(net: Any):
    assert str(ts.summary(net)) == str(net.summary())
    assert str(ts.default_store().summary()).startswith("DefaultStore: 0 variables")
    assert str(ts.summary(nn.Identity())) == (
        "Identity: 0 variables, 0 numbers, 0 of them trainable, 0 bytes"
    )
    assert str(ts.summary(ts.VariableStore(), block, X)).startswith("VariableStore: 1 variable,")
    with pytest.raises(TypeError, match="takes a net, a store or another"):
        ts.summary(model)  # type: ignore[arg-type]


def test_dtypes_and_devices_are_as_they_are():
    with torch.device("meta"):
        shown = str(ts.summary(nn.Linear(2, 2, dtype=torch.bfloat16)))
    assert "bfloat16  meta" in shown
    assert "6 numbers, 6 of them trainable, 12 bytes" in shown
