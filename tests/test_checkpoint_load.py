"""Loading into a store by name: every kind of source, maps of names, and what does not fit."""

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from checkpoint_writer import BundleWriter
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing._internal.distributed.fake_pg import FakeStore

import torchscope as ts
from torchscope import checkpoint

CASES = Path(__file__).parent / "data" / "checkpoints"
ONE = torch.ones(1)

VALUES = {
    "dense/kernel": torch.arange(6.0).view(2, 3),
    "dense/bias": torch.tensor([1.0, 2.0, 3.0]),
    "steps": torch.tensor(7),
}


def dense(x: Tensor) -> Tensor:
    with ts.variable_scope("dense"):
        kernel = ts.get_variable("kernel", [2, 3])
        bias = ts.get_variable("bias", [3])
    ts.get_buffer("steps", [], torch.int64)
    return x @ kernel + bias


def build(fn: Callable[[Tensor], Any], built: bool) -> ts.ScopedModule[..., Any]:
    net = ts.ScopedModule(fn, seed=0)
    return net.build(torch.ones(1, 2)) if built else net


def after_a_call(net: ts.ScopedModule[..., Any]) -> dict[str, Tensor]:
    net(torch.ones(1, 2))
    return {name: variable.detach().clone() for name, variable in net.named_variables()}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in found
    )


both = pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])

# ---- sources -----------------------------------------------------------------------------------


def write_tensorflow(path: Path) -> Path:
    writer = BundleWriter()
    for name, value in VALUES.items():
        writer.add(name, value)
    return writer.write(path / "model.ckpt")


def write_torch(path: Path) -> Path:
    torch.save(VALUES, path / "model.pt")
    return path / "model.pt"


def write_old_torch(path: Path) -> Path:
    torch.save(VALUES, path / "model.pth", _use_new_zipfile_serialization=False)
    return path / "model.pth"


def write_lightning(path: Path) -> Path:
    torch.save(VALUES, path / "model.ckpt")
    return path / "model.ckpt"


def write_safetensors(path: Path) -> Path:
    save_file(VALUES, path / "model.safetensors")
    return path / "model.safetensors"


SOURCES = {
    "tensorflow": write_tensorflow,
    "an index": lambda path: f"{write_tensorflow(path)}.index",
    "open": lambda path: checkpoint.open(write_tensorflow(path)),
    "mapped": lambda path: checkpoint.open(write_tensorflow(path), mmap=True),
    "torch": write_torch,
    "old torch": write_old_torch,
    "torch called ckpt": write_lightning,
    "safetensors": write_safetensors,
    "a mapping": lambda _: VALUES,
    "arrays": lambda _: {name: np.asarray(value) for name, value in VALUES.items()},
    "a state dict": lambda _: build(dense, True).state_dict() | VALUES,
}


@both
@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_is_loaded(tmp_path: Path, kind: str, built: bool):
    net = build(dense, built)
    report = checkpoint.load(net, SOURCES[kind](tmp_path))
    assert same(after_a_call(net), VALUES)
    assert report.loaded == {name: name for name in VALUES}
    assert sorted(report.waiting) == ([] if built else sorted(VALUES))


@pytest.mark.parametrize("case", ["gpt2_tiny", "dcgan_tiny", "tf_facts"])
@both
def test_a_checkpoint_of_tensorflow_loads_without_a_map(case: str, built: bool):
    with checkpoint.open(CASES / case) as saved:
        names = [name for name in saved if name not in saved.not_the_models]
        expected = {name: saved[name] for name in names}

        def model(_: Tensor) -> None:
            for name in names:
                ts.get_variable(name, saved.shape(name), saved.dtype(name))

        net = build(model, built)
        report = checkpoint.load(net, CASES / case)
    assert same(after_a_call(net), expected)
    rest = report.left_out if built else report.offered
    assert len(report.loaded) + len(rest) == len(saved)


@both
def test_a_source_that_the_caller_opened_stays_open(tmp_path: Path, built: bool):
    with checkpoint.open(write_tensorflow(tmp_path)) as saved:
        checkpoint.load(build(dense, built), saved)
        assert saved["steps"] == 7


def test_loading_a_mapping_copies_it():
    values = {name: value.clone() for name, value in VALUES.items()}
    net = build(dense, False)
    checkpoint.load(net, values)
    values["dense/bias"].zero_()
    assert same(after_a_call(net), VALUES)


def test_values_are_copied_into_the_variables_that_are_there():
    net = build(dense, True)
    before = dict(net.named_variables())
    checkpoint.load(net, VALUES)
    assert all(variable is before[name] for name, variable in net.named_variables())


def test_variables_of_one_store_may_be_exchanged():
    def model(_: Tensor) -> None:
        ts.get_variable("a", [1])
        ts.get_variable("b", [1])

    net = build(model, True)
    checkpoint.load(net, {"a": ONE, "b": ONE * 2})
    checkpoint.load(net, net.state_dict(), {"a": "b", "b": "a"})
    assert same(after_a_call(net), {"a": ONE * 2, "b": ONE})


def test_a_copy_of_a_store_that_waits_is_as_exact():
    store = ts.VariableStore()
    checkpoint.load(store, {"w": ONE.double()})
    with store.copy(), pytest.raises(ts.VariableMismatchError, match="loaded as torch"):
        ts.get_variable("w", [1])


def test_a_store_without_a_function_is_loaded_too():
    store = ts.VariableStore()
    checkpoint.load(store, VALUES)
    store(dense, torch.ones(1, 2))
    assert same(dict(store.named_variables()), VALUES)


def test_the_default_store_is_loaded_once_it_holds_the_model():
    dense(torch.ones(1, 2))
    report = checkpoint.load(ts.default_store(), VALUES)
    assert str(report) == "3 variables loaded, from a mapping"
    assert same(dict(ts.default_store().named_variables()), VALUES)
    with pytest.raises(ts.CheckpointError, match="unexpected: 'more'"):
        checkpoint.load(ts.default_store(), VALUES | {"more": ONE})


def test_after_a_first_pass_that_failed_the_rest_waits():
    def model(x: Tensor) -> Tensor:
        y = dense(x)
        if ready:
            ts.get_variable("late", [1])
            return y
        raise RuntimeError("not ready")

    ready = False
    net = ts.ScopedModule(model)
    with pytest.raises(RuntimeError, match="not ready"):
        net(torch.ones(1, 2))
    report = checkpoint.load(net, VALUES | {"late": ONE})
    assert str(report).startswith("3 variables loaded, 1 wait for the first call")
    ready = True
    assert same(after_a_call(net), VALUES | {"late": ONE})


# ---- blocks --------------------------------------------------------------------------------------


def outer(x: Tensor) -> Tensor:
    with ts.variable_scope("model"):
        x = ts.get_module("h0", lambda: ts.ScopedModule(block))(x)
        return ts.get_module("head", lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh()))(x)


def block(x: Tensor) -> Tensor:
    with ts.variable_scope("attn"):
        x = x @ ts.get_variable("w", [2, 2])
        return ts.get_module("deep", lambda: ts.ScopedModule(deep))(x)


def deep(x: Tensor) -> Tensor:
    return x + ts.get_variable("v.1", [2])


NESTED = {
    "model/h0/attn/w": torch.full((2, 2), 2.0),
    "model/h0/attn/deep/v.1": torch.full((2,), 3.0),
    "model/head/0/weight": torch.full((2, 2), 4.0),
    "model/head/0/bias": torch.full((2,), 5.0),
}


@both
@pytest.mark.parametrize("kind", ["names", "tensorflow", "keys"])
def test_blocks_in_blocks_are_loaded(tmp_path: Path, kind: str, built: bool):
    source: Any = NESTED
    if kind == "tensorflow":
        writer = BundleWriter()
        for name, value in NESTED.items():
            writer.add(name, value)
        source = writer.write(tmp_path / "model.ckpt")
    elif kind == "keys":
        other = build(outer, True)
        checkpoint.load(other, NESTED)
        source = other.state_dict()
        assert "model/h0.attn/deep.v%2E1" in source
    net = build(outer, built)
    checkpoint.load(net, source)
    assert same(after_a_call(net), NESTED)


def test_what_a_block_lacks_is_reported_when_it_is_made():
    net = build(outer, False)
    checkpoint.load(net, {k: v for k, v in NESTED.items() if not k.endswith("v.1")})
    with pytest.raises(ts.StateDictError, match=r"lacks names that the first pass made: 'v\.1'"):
        net(torch.ones(1, 2))


@both
def test_the_map_reaches_into_blocks(built: bool):
    net = build(outer, built)
    old = {name.replace("model/h0", "old/block"): value for name, value in NESTED.items()}
    checkpoint.load(net, old, {"old/block/": "model/h0/", "model/head/": "model/head/"})
    assert same(after_a_call(net), NESTED)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.head = nn.Linear(2, 3, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


@both
@pytest.mark.parametrize("left_out", ["none", "m.head.weight", "m.embedding.weight"])
def test_a_module_that_uses_a_parameter_twice_takes_either_name(left_out: str, built: bool):
    def model(x: Tensor) -> Tensor:
        return ts.get_module("m", Tied)(x)

    source = {f"m.{name}.weight": torch.ones(3, 2) for name in ("embedding", "head")}
    source.pop(left_out, None)
    net = build(model, built)
    checkpoint.load(net, source, strict=built)  # torch's own loading wants both.
    assert same(after_a_call(net), {"m/embedding/weight": torch.ones(3, 2)})


# ---- maps of names -------------------------------------------------------------------------------

OLD = {f"old/{name.removeprefix('dense/')}": value for name, value in VALUES.items()}


@both
@pytest.mark.parametrize(
    ("there", "assignment_map"),
    [
        ({f"m/{name}": value for name, value in VALUES.items()}, {"m/": "/"}),
        (VALUES, {"/": "/"}),
        (OLD, {"old/kernel": "dense/kernel", "old/bias": "dense/bias", "old/steps": "steps"}),
        (OLD, [("old/kernel", "dense/kernel"), ("old/bias", "dense/bias"), ("old/steps", "steps")]),
        (OLD, {re.compile("^old/(kernel|bias)$"): r"dense/\1", re.compile("^old/"): ""}),
        (OLD, {re.compile("old/"): "dense/", "dense/": "dense/", "dense/steps": "steps"}),
        ({f"module.{k}": v for k, v in VALUES.items()}, {re.compile(r"^module\."): ""}),
        (VALUES | {"head/w": ONE}, {re.compile("^head/"): None}),
    ],
    ids=["root", "itself", "variables", "pairs", "patterns", "mixed", "torch", "without"],
)
def test_names_are_mapped(there: Any, assignment_map: Any, built: bool):
    net = build(dense, built)
    checkpoint.load(net, there, assignment_map)
    assert same(after_a_call(net), VALUES)


@both
def test_a_map_of_scopes_loads_what_it_names_and_nothing_else(built: bool):
    first = after_a_call(build(dense, built))
    net = build(dense, built)
    scopes = {"old/": "dense/"}
    source = {"old/kernel": VALUES["dense/kernel"], "old/bias": VALUES["dense/bias"], "z": ONE}
    report = checkpoint.load(net, source, scopes)
    assert same(after_a_call(net), VALUES | {"steps": first["steps"]})
    assert report.left_out == ["z"]
    assert report.untouched == (["steps"] if built else [])


def test_one_name_may_give_two_variables():
    def twice(_: Tensor) -> None:
        ts.get_variable("a", [1])
        ts.get_variable("b", [1])

    net = build(twice, True)
    checkpoint.load(net, {"w": ONE}, [("w", "a"), ("w", "b")])
    assert same(after_a_call(net), {"a": ONE, "b": ONE})


@both
def test_averaged_weights_are_loaded_by_a_pattern(built: bool):
    averages = {f"{name}/ExponentialMovingAverage": value for name, value in VALUES.items()}
    plain = {name: torch.zeros_like(value) for name, value in VALUES.items()}
    net = build(dense, built)
    report = checkpoint.load(net, plain | averages, {re.compile("/ExponentialMoving.*$"): ""})
    assert same(after_a_call(net), VALUES)
    assert sorted(report.left_out) == sorted(plain)


@pytest.mark.parametrize(
    ("assignment_map", "error", "match"),
    [
        ({"old/": "nowhere/"}, ts.CheckpointError, "no scope 'nowhere/' here"),
        ({"old/kernel": "nowhere"}, ts.CheckpointError, "no variable 'nowhere' here"),
        ({"old/": "dense"}, ts.CheckpointError, "'old/': 'dense/'"),
        ({"old": "dense/"}, ts.CheckpointError, "'old/': 'dense/'"),
        ({"old": "dense"}, ts.CheckpointError, "'old/': 'dense/'"),
        (
            {"new/": "dense/"},
            ts.CheckpointError,
            "missing: 'dense/kernel', which was to be 'new/kernel' there; .* has 'old/kernel'",
        ),
        ({"old/kernel": 3}, TypeError, "'there/': 'here/'"),
        ({"old/kernel": ONE}, TypeError, r"a Tensor: give its name, store\.name_of\(variable\)"),
        (["old/"], TypeError, "takes pairs"),
        ("old/", TypeError, "mapping or pairs of names, not 'old/'"),
        (False, TypeError, "mapping or pairs of names, not False"),
        ({re.compile("^old/.*"): "one"}, ts.CheckpointError, "Both 'old/kernel' and 'old/bias'"),
        ({re.compile("^old/"): r"\1"}, ts.CheckpointError, "cannot replace"),
    ],
)
def test_a_map_that_leads_nowhere_is_refused(assignment_map: Any, error: Any, match: str):
    net = build(dense, True)
    before = after_a_call(net)
    with pytest.raises(error, match=match):
        checkpoint.load(net, OLD, assignment_map)
    assert same(after_a_call(net), before)


def test_a_scope_that_an_unbuilt_net_is_to_take_must_be_there():
    with pytest.raises(ts.CheckpointError, match="nothing below 'new/' there"):
        checkpoint.load(build(dense, False), OLD, {"new/": "dense/"})


@pytest.mark.parametrize(
    ("assignment_map", "named"),
    [({"old/": "new/"}, "'new/'"), ({"old/kernel": "new/w"}, "'new/w'")],
)
def test_a_name_here_that_the_first_pass_does_not_make_is_reported(assignment_map: Any, named: str):
    net = build(dense, False)
    checkpoint.load(net, OLD, assignment_map)
    with pytest.raises(ts.StateDictError, match=f"the first pass did not make: {named}"):
        net(torch.ones(1, 2))


@both
def test_a_name_that_is_not_there_is_missing(built: bool):
    net = build(dense, built)
    pairs = {"old/kernl": "dense/kernel", "old/bias": "dense/bias"}
    match = "missing: 'dense/kernel', which was to be 'old/kernl' there; .* has 'old/kernel'"
    with pytest.raises(ts.CheckpointError, match=match):
        checkpoint.load(net, OLD, pairs)
    assert checkpoint.load(net, OLD, pairs, strict=False).missing == ["dense/kernel"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ts.ScopeWarning)  # The first pass tells of it once more.
        assert after_a_call(net)["dense/bias"].tolist() == [1, 2, 3]


def test_a_variable_is_not_asked_for_because_another_begins_like_it():
    def model(_: Tensor) -> None:
        ts.get_variable("w", [1])
        ts.get_variable("w_2", [1])

    net = build(model, False)
    checkpoint.load(net, {"v": ONE}, {"v": "w"})
    assert after_a_call(net)["w"] == 1


def test_a_scope_may_be_a_block_with_a_dot_in_its_name():
    def model(x: Tensor) -> Tensor:
        return ts.get_module("h.0", lambda: ts.ScopedModule(dense))(x)

    net = build(model, False)
    checkpoint.load(net, {"old/dense/kernel": VALUES["dense/kernel"]}, {"old/": "h.0/"})
    with pytest.raises(ts.StateDictError, match="first pass made: 'dense/bias', 'steps'"):
        net(torch.ones(1, 2))


def test_a_block_may_be_called_later_than_in_the_first_pass():
    def model(x: Tensor, whole: bool = False) -> Tensor:
        h = ts.get_module("h", lambda: ts.ScopedModule(dense))
        return h(x) if whole else x

    net = ts.ScopedModule(model)
    checkpoint.load(net, {f"old/{name}": v for name, v in VALUES.items()}, {"old/": "h/"})
    net(torch.ones(1, 2))
    net(torch.ones(1, 2), whole=True)
    assert same(after_a_call(net), {f"h/{name}": value for name, value in VALUES.items()})


@both
@pytest.mark.parametrize("pairs", [[("a", "w"), ("b", "w")], [("b", "w"), ("a", "w")]])
def test_of_two_names_for_one_variable_the_last_by_the_alphabet_holds(pairs: Any, built: bool):
    net = build(lambda _: ts.get_variable("w", [1]), built)
    checkpoint.load(net, {"a": ONE, "b": ONE * 2}, pairs)
    assert after_a_call(net)["w"] == 2


# ---- optimizers ----------------------------------------------------------------------------------

SLOTS = {
    "global_step": torch.tensor(100),
    "beta1_power": ONE[0],
    "train/beta2_power_1": ONE[0],
    "dense/kernel/Adam": torch.zeros(2, 3),
    "dense/kernel/Adam_1": torch.zeros(2, 3),
    "dense/kernel/adam_m": torch.zeros(2, 3),
    "train/dense/bias/D_opt_1": torch.zeros(3),
    "dense/bias/RMSProp": torch.zeros(3),
    "dense/bias/Momentum": torch.zeros(3),
    "dense/bias/ExponentialMovingAverage": torch.zeros(3),
    "loss/Mean/ExponentialMovingAverage": ONE[0],  # of a tensor
}


@both
def test_what_optimizers_keep_is_left_out_and_listed(built: bool):
    net = build(dense, built)
    report = checkpoint.load(net, VALUES | SLOTS)
    assert same(after_a_call(net), VALUES)
    assert sorted(report.left_out if built else report.offered) == sorted(SLOTS)
    assert "asks for them: 11 (" in str(report) or (built and "not asked for: 11 (" in str(report))


def test_an_optimizer_with_a_name_of_its_own_is_hinted_at():
    source = VALUES | {"dense/bias/solver": ONE, "train/dense/bias/solver_1": ONE, "other/w": ONE}
    cure = re.escape("assignment_map={re.compile('/(solver|solver_1)$'): None}")
    with pytest.raises(ts.CheckpointError, match=f"2 of these look like slots.*{cure}"):
        checkpoint.load(build(dense, True), source)
    del source["other/w"]
    checkpoint.load(build(dense, True), source, {re.compile("/(solver|solver_1)$"): None})


# Written by TensorFlow 2.21: two layers under eight optimizers, two of them under names of their
# own and one in a scope; a convolution with batch normalization and three moving averages.
SAVED_WITH = {
    "optimizers.ckpt": (
        {"l1/kernel": (3, 5), "l1/bias": (5,), "l2/kernel": (5, 2), "l2/bias": (2,)},
        "/(D_solver|generator|generator_1)$",
    ),
    "averages.ckpt": (
        {"net/conv/kernel": (3, 3, 3, 4)}
        | {f"net/bn/{name}": (4,) for name in ("moving_mean", "moving_variance", "gamma", "beta")},
        "/(shadow|deb)$",
    ),
}


@both
@pytest.mark.parametrize("file", SAVED_WITH)
def test_what_tensorflow_saves_beside_variables_is_left_out(file: str, built: bool):
    shapes, own_names = SAVED_WITH[file]

    def model(_: Tensor) -> None:
        for name, shape in shapes.items():
            ts.get_variable(name, shape)

    net = build(model, built)
    with checkpoint.open(CASES / "tf_slots" / file) as saved:
        report = checkpoint.load(net, saved, {re.compile(own_names): None})
        assert same(after_a_call(net), {name: saved[name] for name in shapes})
        assert len(report.left_out) + len(report.offered) == len(saved) - len(shapes)
        assert bool(report.offered) != built


@both
def test_tensorflows_averaged_weights_are_loaded_by_a_pattern(built: bool):
    shapes, own_names = SAVED_WITH["averages.ckpt"]
    average = "/ExponentialMovingAverage"

    def model(_: Tensor) -> None:
        for name, shape in shapes.items():
            ts.get_variable(name, shape)

    net = build(model, built)
    with checkpoint.open(CASES / "tf_slots" / "averages.ckpt") as saved:
        checkpoint.load(net, saved, {re.compile(f"{average}$"): "", re.compile(own_names): None})
        kept = {name: name + average if name + average in saved else name for name in shapes}
        assert same(after_a_call(net), {name: saved[there] for name, there in kept.items()})
        assert sum(there.endswith(average) for there in kept.values()) == 3


@both
def test_a_variable_that_the_model_has_is_never_left_out(built: bool):
    def model(x: Tensor) -> Tensor:
        ts.get_buffer("global_step", [], torch.int64)
        return dense(x)

    net = build(model, built)
    checkpoint.load(net, VALUES | SLOTS)
    assert net["global_step"] == 100 if built else after_a_call(net)["global_step"] == 100


def test_a_built_model_may_have_a_variable_named_as_a_slot():
    def model(_: Tensor) -> None:
        ts.get_variable("w", [1])
        ts.get_variable("w/Adam", [1])

    net = build(model, True)
    checkpoint.load(net, {"w": ONE, "w/Adam": ONE * 2})
    assert same(after_a_call(net), {"w": ONE, "w/Adam": ONE * 2})


def test_a_variable_that_only_sounds_like_a_slot_is_none():
    def model(_: Tensor) -> None:
        ts.get_variable("lamb/wool", [1])
        ts.get_variable("adam", [1])

    net = build(model, False)
    source = {"lamb/wool": ONE, "adam": ONE}
    assert checkpoint.load(net, source).left_out == []
    assert same(after_a_call(net), source)


# ---- what does not fit ---------------------------------------------------------------------------


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    values = VALUES | {name.replace("_", "/"): value for name, value in changes.items()}
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (changed(dense_bias=None), "missing: 'dense/bias'\n"),
        (changed(dense_bios=ONE), "unexpected: 'dense/bios'\n"),
        (
            changed(dense_bias=None, dense_bios=ONE),
            "missing: 'dense/bias'; the other side has 'dense/bios'",
        ),
        (
            changed(dense_bias=torch.ones(4)),
            r"'dense/bias' has shape \(3,\) here, \(4,\) there\n",
        ),
        (
            changed(dense_kernel=torch.ones(3, 2)),
            r"\(3, 2\) there: saved\['dense/kernel'\]\.T would fit",
        ),
        (
            changed(dense_kernel=torch.ones(1, 2, 3)),
            r"saved\['dense/kernel'\]\.reshape\(2, 3\) would fit",
        ),
        (changed(dense_bias=torch.ones(3).double()), "float32 here, float64 there"),
        (changed(dense_bias=torch.ones(3).long()), "float32 here, int64 there"),
        (changed(steps=torch.tensor(1.0)), "int64 here, float32 there"),
        ({f"m/{k}": v for k, v in VALUES.items()}, r"assignment_map=\{'m/': '/'\}"),
        (
            {k.removeprefix("dense/"): v for k, v in VALUES.items()},
            r"assignment_map=\{'/': 'dense/'\}",
        ),
        (
            {f"module.{k}": v for k, v in VALUES.items()},
            r"assignment_map=\{re\.compile\('\^module\.'\): ''\}",
        ),
        ({"dense/bias": {"a": ONE}}, r"'dense/bias' is a dict itself"),
        ({"dense/bias": object()}, r"'dense/bias' is not a tensor but of type object"),
        (changed(dense_bias=torch.ones(3, device="meta")), "'dense/bias' is on the meta device"),
        (changed(dense_bias=torch.ones(3).to_sparse()), r"saved\['dense/bias'\]\.to_dense\(\)"),
        (VALUES | {"dense/bias": np.ones(3, ">f4")}, r"'dense/bias' cannot be a tensor\. .*order"),
        ({0: ONE}, "The mapping is not a state dict: its key 0 is not a string"),
    ],
)
def test_a_source_that_does_not_fit_says_why_and_changes_nothing(source: Any, match: str):
    net = build(dense, True)
    before = after_a_call(net)
    with pytest.raises(ts.CheckpointError, match=match):
        checkpoint.load(net, source)
    assert same(after_a_call(net), before)


def test_what_does_not_fit_can_be_left_out_as_the_error_says():
    net = build(dense, True)
    source = changed(dense_bias=torch.ones(4))
    cure = "assignment_map={re.compile('^dense/bias$'): None}, strict=False"
    with pytest.raises(ts.CheckpointError, match=re.escape(cure)):
        checkpoint.load(net, source)
    report = checkpoint.load(net, source, {re.compile("^dense/bias$"): None}, strict=False)
    assert report.missing == ["dense/bias"]


def test_a_kernel_of_tensorflows_layout_is_hinted_at():
    net = build(lambda _: ts.get_variable("w", [8, 4, 3, 3]), True)
    with pytest.raises(ts.CheckpointError, match=r"saved\['w'\]\.permute\(3, 2, 0, 1\) would fit"):
        checkpoint.load(net, {"w": torch.ones(3, 3, 4, 8)})


def test_the_error_has_the_report():
    with pytest.raises(checkpoint.CheckpointMismatchError) as caught:
        checkpoint.load(build(dense, True), changed(dense_bias=torch.ones(4), more=ONE))
    report = caught.value.report
    assert [(m.name, m.shape, m.shape_there) for m in report.mismatched] == [
        ("dense/bias", (3,), (4,))
    ]
    assert report.unexpected == ["more"]


def test_a_damaged_last_tensor_leaves_the_first_unchanged(tmp_path: Path):
    prefix = write_tensorflow(tmp_path)
    data = next(tmp_path.glob("*.data-*"))
    data.write_bytes(data.read_bytes()[:-1] + b"\x01")
    for built in (True, False):
        net = build(dense, built)
        before = net.state_dict()
        before = {name: value.clone() for name, value in before.items()}
        with pytest.raises(ts.CheckpointError, match="fail their checksum"):
            checkpoint.load(net, prefix)
        assert same(net.state_dict(), before)


@both
def test_not_strict_loads_what_fits_and_reports_the_rest(built: bool):
    net = build(dense, built)
    first = after_a_call(build(dense, built))
    report = checkpoint.load(net, changed(dense_bias=None, more=ONE), strict=False)
    if built:
        assert (report.missing, report.unexpected) == (["dense/bias"], ["more"])
        assert "missing: 'dense/bias'" in str(report)
        found = after_a_call(net)
    else:
        with pytest.warns(ts.ScopeWarning, match="did not ask for: 'more'"):
            found = after_a_call(net)
    assert same(found, VALUES | {"dense/bias": first["dense/bias"]})


def test_not_strict_still_refuses_shapes_and_a_source_in_which_nothing_fits():
    net = build(dense, True)
    with pytest.raises(ts.CheckpointError, match="has shape"):
        checkpoint.load(net, changed(dense_bias=torch.ones(4)), strict=False)
    with pytest.raises(ts.CheckpointError, match="No name fits: give an assignment_map"):
        checkpoint.load(net, {"other": ONE}, strict=False)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"dense/bias": torch.ones(4)}, ts.VariableMismatchError, "was loaded with"),
        ({"dense/bias": torch.ones(3).double()}, ts.VariableMismatchError, "loaded as torch.float"),
        ({"more": ONE}, ts.StateDictError, "did not ask for: 'more'"),
    ],
)
def test_what_waits_and_does_not_fit_is_told_in_the_first_pass(change: Any, error: Any, match: str):
    net = build(dense, False)
    checkpoint.load(net, VALUES | change)
    with pytest.raises(error, match=match):
        net(torch.ones(1, 2))


def test_two_files_may_be_loaded_before_the_build():
    net = build(dense, False)
    checkpoint.load(
        net, {"a/kernel": VALUES["dense/kernel"], "a/bias": VALUES["dense/bias"]}, {"a/": "dense/"}
    )
    checkpoint.load(net, {"n": VALUES["steps"]}, {"n": "steps"})
    assert same(after_a_call(net), VALUES)


@pytest.mark.parametrize(
    ("dtype", "there"),
    [(torch.float32, torch.bfloat16), (torch.float64, torch.float32), (torch.int64, torch.int32)],
)
@both
def test_a_dtype_that_loses_nothing_is_converted(dtype: Any, there: Any, built: bool):
    net = build(lambda _: ts.get_buffer("w", [2], dtype), built)
    checkpoint.load(net, {"w": torch.tensor([1, 2], dtype=there)})
    found = after_a_call(net)["w"]
    assert found.dtype == dtype
    assert found.tolist() == [1, 2]


def test_a_model_in_half_precision_takes_what_it_was_declared_as():
    net = build(dense, True).half()
    checkpoint.load(net, VALUES)
    assert net["dense/bias"].dtype == torch.float16
    assert net["dense/bias"].tolist() == [1, 2, 3]


def test_variables_on_the_meta_device_are_refused():
    net = ts.ScopedModule(dense).to("meta").build(torch.ones(1, 2, device="meta"))
    with pytest.raises(ts.CheckpointError, match=r"to_empty\(device='cpu'\)"):
        checkpoint.load(net, VALUES)
    checkpoint.load(net.to_empty(device="cpu"), VALUES)
    assert same(after_a_call(net), VALUES)


def test_local_variables_are_in_no_checkpoint():
    def model(x: Tensor) -> Tensor:
        ts.get_local_variable("count", [1], initializer=ts.zeros_initializer())
        return dense(x)

    report = checkpoint.load(build(model, True), VALUES)
    assert report.missing == []


@pytest.mark.parametrize("kind", ["tensorflow", "a mapping"])
def test_each_rank_keeps_its_own_part_of_a_sharded_variable(tmp_path: Path, kind: str):
    from torch.distributed.tensor import (
        Shard,
        distribute_module,
        distribute_tensor,
        init_device_mesh,
    )

    dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        mesh = init_device_mesh("cpu", (2,))
        net = build(dense, True)

        def shard(_: str, module: nn.Module, mesh: Any) -> None:
            for key, parameter in module.named_parameters(recurse=False):
                part = distribute_tensor(parameter.detach(), mesh, [Shard(0)], src_data_rank=None)
                module.register_parameter(key, nn.Parameter(part))

        distribute_module(net, mesh, shard)
        checkpoint.load(net, SOURCES[kind](tmp_path))
        assert net["dense/kernel"].to_local().tolist() == [[3, 4, 5]]
        assert net["dense/bias"].to_local().tolist() == [3]
    finally:
        dist.destroy_process_group()


# ---- files that cannot be read -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.pt", None, r"There is no file .*a\.pt\."),
        ("a.safetensors", None, r"There is no file .*a\.safetensors\."),
        ("a.pt", b"PK\x03\x04 and so on", "a zip archive, as torch.save writes, that is cut"),
        ("a.pt", b"hello", "not a checkpoint: it is text"),
        ("a.safetensors", b"hello, I am no tensor", "not a checkpoint: it is text"),
        ("a.ckpt", b"hello", "not a checkpoint: it is text"),
    ],
)
def test_a_file_that_is_none_is_an_error(tmp_path: Path, name: str, content: Any, match: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ts.CheckpointError, match=match):
        checkpoint.load(build(dense, True), tmp_path / name)


@pytest.mark.parametrize("path", ["~/no such/model.ckpt", "~/no such/model.pt"])
def test_a_path_that_a_shell_would_expand_says_how_python_does(path: str):
    with pytest.raises(ts.CheckpointError, match=re.escape(f"os.path.expanduser({path!r})")):
        checkpoint.load(build(dense, True), path)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("this must not be run",)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ts.CheckpointError, match="weights_only=True"):
        checkpoint.load(build(dense, True), tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""


@both
def test_a_training_checkpoint_says_which_part_to_load(tmp_path: Path, built: bool):
    torch.save({"model": VALUES, "epoch": 3}, tmp_path / "train.pt")
    match = r"holds dicts of tensors: 'model' \(3 tensors\)\. .* assignment_map=\{'model/': '/'\}"
    with pytest.raises(ts.CheckpointError, match=match):
        checkpoint.load(build(dense, built), tmp_path / "train.pt")
    net = build(dense, built)
    checkpoint.load(net, tmp_path / "train.pt", {"model/": "/"})
    assert same(after_a_call(net), VALUES)


def test_a_list_of_tensors_is_not_a_state_dict(tmp_path: Path):
    torch.save([ONE], tmp_path / "list.pt")
    with pytest.raises(ts.CheckpointError, match="does not hold a state dict, but a list"):
        checkpoint.load(build(dense, True), tmp_path / "list.pt")


def test_a_safetensors_file_is_read_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_safetensors(tmp_path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    net = build(dense, True)
    checkpoint.load(net, path)
    assert same(dict(net), VALUES)


@pytest.mark.parametrize(
    ("store", "source", "match"),
    [
        (nn.Linear(1, 1), VALUES, r"takes a ScopedModule or another VariableStore, not Linear"),
        (nn.Sequential(ts.VariableStore()), VALUES, r"load\(module\.get_submodule\('0'\), path\)"),
        (ts.VariableStore(), nn.Linear(1, 1), r"A module's is module\.state_dict\(\)"),
        (ts.VariableStore(), 3, "A source is a path"),
        (ts.VariableStore(), None, "A source is a path"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(store: Any, source: Any, match: str):
    with pytest.raises(TypeError, match=match):
        checkpoint.load(store, source)


# ---- memory --------------------------------------------------------------------------------------

MEASURE = """
import sys, torch, torchscope as ts
from torchscope import checkpoint
def model(x):
    for i in range(16):
        ts.get_variable(f"w{i}", [4 << 20], initializer=ts.zeros_initializer())
net = ts.ScopedModule(model)
if sys.argv[2] == "built":
    net.build(torch.ones(1))
    for v in net.values(): v.detach().fill_(1)  # in memory, not just promised
def kilobytes(of):
    return int(open("/proc/self/status").read().partition(of + ":")[2].split()[0])
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = kilobytes("VmRSS")
checkpoint.load(net, sys.argv[1])
print((kilobytes("VmHWM") - before) / (16 << 10))
"""


@both
@pytest.mark.filterwarnings("ignore:Checksums of checkpoints")  # The file is written here.
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")
def test_loading_takes_the_memory_of_one_tensor_beside_the_model(tmp_path: Path, built: bool):
    writer = BundleWriter()
    for i in range(16):
        writer.add(f"w{i}", torch.full([4 << 20], float(i)))
    command = [
        sys.executable,
        "-c",
        MEASURE,
        str(writer.write(tmp_path / "model.ckpt")),
        "built" if built else "unbuilt",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tensors = float(done.stdout)
    assert tensors < (2 if built else 16 + 2)
