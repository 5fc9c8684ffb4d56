"""What a person sees while debugging: reprs, origins, tracebacks, the state after a failure."""

import copy
import functools
import linecache
import pickle
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import X
from torch import nn
from torch.nn.utils import parametrizations

import torchscope as ts

ROOT = Path(__file__).parents[1]


def layer(x: torch.Tensor) -> torch.Tensor:
    w = ts.get_variable("w", [x.shape[-1], 3])
    return x @ w + ts.get_variable("b", [3])


def model(x: torch.Tensor, fail: bool = False) -> torch.Tensor:
    for name in ("encoder", "head"):
        with ts.variable_scope(name):
            x = layer(x)
            if fail:
                raise ZeroDivisionError("mine")
    return x


failing = functools.partial(model, fail=True)


# ---- repr ----------------------------------------------------------------------------------------

FOUR_LINES = """\
ScopedModule(
  (encoder/w): Parameter (3, 3) float32 cpu
  (encoder/b): Parameter (3,) float32 cpu
  (head/w): Parameter (3, 3) float32 cpu
  (head/b): Parameter (3,) float32 cpu
)"""


def test_four_variables_are_four_lines():
    assert repr(ts.ScopedModule(model).build(X)) == FOUR_LINES


def test_four_variables_are_four_lines_inside_a_bigger_model():
    outer = nn.Sequential(ts.ScopedModule(model).build(X), nn.Tanh())
    inner = FOUR_LINES.replace("\n", "\n  ")
    assert repr(outer) == f"Sequential(\n  (0): {inner}\n  (1): Tanh()\n)"


def test_the_repr_of_a_net_that_is_not_built_is_short_and_makes_nothing():
    net = ts.ScopedModule(model)
    assert repr(net) == "ScopedModule()"
    assert not net.built
    assert torch.optim.SGD(net.build(X).named_parameters(), lr=0.1)  # Nobody was told of a reader.


def test_ten_thousand_variables_in_a_hundred_blocks_are_few_lines_each():
    def block() -> None:
        for number in range(100):
            ts.get_variable(f"w{number}", [], initializer=ts.zeros_initializer())

    def blocks() -> None:
        for number in range(100):
            ts.get_module(f"block{number}", lambda: ts.ScopedModule(block))()

    net = ts.ScopedModule(blocks).build()
    assert len(list(net.named_variables())) == 10_000
    lines = repr(net).splitlines()
    assert len(lines) == 2 + 100 * 23
    assert max(map(len, lines)) < 80
    assert lines[1:3] == ["  (block0): ScopedModule(", "    (w0): Parameter () float32 cpu"]


def test_ten_thousand_variables_of_a_store_are_the_first_ten_and_the_last_ten():
    store = ts.VariableStore()
    with store, ts.variable_scope("model"):
        for number in range(10_000):
            ts.get_variable(f"w{number}", [], initializer=ts.zeros_initializer())
    shown = [f"  (model/w{number}): Parameter () float32 cpu" for number in range(10_000)]
    expected = ["VariableStore(", *shown[:10], "  ... 9,980 more", *shown[-10:], ")"]
    assert repr(store).splitlines() == expected


def parametrized(net: Any) -> None:
    parametrizations.weight_norm(net, "head/w")


def halved(net: Any) -> None:
    net.to(torch.bfloat16)


def on_meta(net: Any) -> None:
    net.to("meta")


def frozen(net: Any) -> None:
    net.requires_grad_(False)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (parametrized, "(head/w): Tensor (3, 3) float32 cpu"),
        (halved, "(head/w): Parameter (3, 3) bfloat16 cpu"),
        (on_meta, "(head/w): Parameter (3, 3) float32 meta"),
        (frozen, "(head/w): Parameter (3, 3) float32 cpu"),
    ],
)
def test_the_repr_shows_what_a_variable_is_now(change: Any, line: str):
    net = ts.ScopedModule(model).build(X)
    change(net)
    assert line in repr(net)


def test_the_repr_of_what_was_loaded_for_later_shows_it():
    net = ts.ScopedModule(model)
    net.load_state_dict(ts.ScopedModule(model).build(X).state_dict())
    assert re.findall(r"\((\S+)\): \w+ \(", repr(net)) == [
        "encoder/w",
        "encoder/b",
        "head/w",
        "head/b",
    ]


# ---- origins -------------------------------------------------------------------------------------


def line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip() == text)


def test_the_origin_is_the_users_line_however_deep_the_call():
    line = line_of('w = ts.get_variable("w", [x.shape[-1], 3])')
    here = f"{__file__}:{line}"

    def wrapped(x: torch.Tensor) -> torch.Tensor:
        return ts.get_module("block", lambda: ts.ScopedModule(ts.make_template("t", layer)))(x)

    net = ts.ScopedModule(wrapped).build(X)
    assert net.origin("block/t/w") == here
    assert ts.ScopedModule(model).build(X).origin("head/w") == here


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_knows_the_origins(copied: Any):
    net = ts.ScopedModule(model).build(X)
    assert copied(net).origin("head/w") == net.origin("head/w")


def test_the_origin_of_what_was_typed_in_a_notebook_names_the_cell():
    code = "import torchscope as ts\ndef cell(x):\n    return x @ ts.get_variable('w', [3, 3])\n"
    namespace: dict[str, Any] = {}
    exec(compile(code, "<ipython-input-7>", "exec"), namespace)
    net = ts.ScopedModule(namespace["cell"]).build(X)
    assert net.origin("w") == "<ipython-input-7>:3"


def ask_for_another_shape() -> None:
    with ts.variable_scope("", reuse=True):
        ts.get_variable("w", [4, 4])


def test_an_error_names_the_line_where_the_variable_was_made_first(store: ts.VariableStore):
    layer(X)
    with pytest.raises(ts.VariableMismatchError, match="'w' has shape") as caught:
        ask_for_another_shape()
    made_at = re.search(r"made at (\S+):(\d+)", str(caught.value))
    assert made_at is not None
    assert linecache.getline(made_at[1], int(made_at[2])).strip().startswith("w = ts.get_variable")


# ---- tracebacks ----------------------------------------------------------------------------------


def in_a_store() -> None:
    with ts.VariableStore():
        model(X, fail=True)


def in_a_block() -> None:
    ts.ScopedModule(lambda x: ts.get_module("block", lambda: ts.ScopedModule(failing))(x))(X)


def in_a_template() -> None:
    ts.VariableStore()(ts.make_template("template", failing), X)


def in_a_bound_function() -> None:
    with ts.VariableStore():
        ts.bind(failing)(X)


# What fails, and how many of the library's frames a reader has to pass over: one a call.
FAILURES: dict[str, tuple[Callable[[], Any], int]] = {
    "the first call": (lambda: ts.ScopedModule(failing)(X), 1),
    "a later call": (lambda: ts.ScopedModule(model).build(X)(X, fail=True), 1),
    "a store called": (lambda: ts.VariableStore()(failing, X), 1),
    "a store entered": (in_a_store, 0),
    "the default store": (lambda: failing(X), 0),
    "a block in a net": (in_a_block, 2),
    "a template": (in_a_template, 3),
    "a bound function": (in_a_bound_function, 1),
    "build": (lambda: ts.ScopedModule(failing).build(X), 3),
    "build on meta": (lambda: ts.ScopedModule(failing).build(X.to("meta")), 3),
}


@pytest.mark.parametrize(("fail", "ours"), FAILURES.values(), ids=FAILURES)
def test_a_failing_pass_has_a_traceback_without_noise(fail: Any, ours: int):
    with pytest.raises(ZeroDivisionError, match=r"^mine$") as caught:
        fail()
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert not getattr(error, "__notes__", [])
    frames = traceback.extract_tb(error.__traceback__)
    assert frames[-1].name == "model"  # It ends where the user's code failed.
    files = [Path(frame.filename) for frame in frames]
    assert sum(file.parent == ROOT / "torchscope" for file in files) <= ours
    assert ts.get_variable_scope().name == ""


def test_an_error_of_the_users_own_kind_passes_through():
    class Mine(BaseException):
        pass

    def stop(x: torch.Tensor) -> torch.Tensor:
        layer(x)
        raise Mine

    with pytest.raises(Mine, match=r"^$"):
        ts.ScopedModule(stop)(X)


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: layer(X), ts.VariableExistsError),
        (ask_for_another_shape, ts.VariableMismatchError),
        (lambda: ts.get_variable("_w", [4]), ts.VariableNameError),
    ],
)
def test_an_error_of_ours_shows_the_name_that_users_import(ask: Any, error: type[Exception]):
    def fail() -> None:
        with ts.VariableStore():
            layer(X)
            ask()

    with pytest.raises(error, match="'") as caught:
        fail()
    shown = traceback.format_exception_only(caught.value)
    assert shown[0].startswith(f"torchscope.{error.__name__}: ")
    assert caught.value.__context__ is None


# ---- after a failure -----------------------------------------------------------------------------


def test_after_a_failed_pass_the_next_one_goes_on_with_what_was_made():
    net = ts.ScopedModule(model, seed=0)
    with pytest.raises(ZeroDivisionError, match="mine"):
        net(X, fail=True)
    assert list(net) == ["encoder/w", "encoder/b"]
    assert not net.built
    assert torch.equal(net(X), ts.ScopedModule(model, seed=0)(X))
    assert list(net) == ["encoder/w", "encoder/b", "head/w", "head/b"]


def test_a_pass_can_be_looked_at_from_inside():
    """What a debugger's prompt inside a pass would ask."""

    def looking(x: torch.Tensor) -> torch.Tensor:
        with ts.variable_scope("encoder") as scope:
            y = layer(x)
            assert repr(scope) == "VariableScope('encoder', reuse=False)"
            assert ts.get_variable_scope() is scope
            names = [ts.name_of(variable) for variable in ts.global_variables()]
            assert names == ["encoder/w", "encoder/b"]
            return y

    net = ts.ScopedModule(looking)
    net(X)
    net(X)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
def test_a_nan_is_traced_to_the_users_line():
    def bad(x: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(layer(x) * 0 - 1)

    net = ts.ScopedModule(bad).build(X)
    with (
        torch.autograd.detect_anomaly(check_nan=True),
        pytest.warns(UserWarning, match="Error detected in SqrtBackward0") as caught,
        pytest.raises(RuntimeError, match="SqrtBackward0"),
    ):
        net(X).sum().backward()
    assert any("return torch.sqrt(layer(x) * 0 - 1)" in str(each.message) for each in caught)
