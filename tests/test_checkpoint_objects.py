"""What is an optimizer's, and TensorFlow 2's object checkpoints by the names of their variables.

The files are TensorFlow 2.21's: trained models of tf.keras and tf-keras, a tf.Module with an
optimizer of TensorFlow 1, and Keras in a graph of TensorFlow 1, under nine optimizers.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_writer import BundleWriter, message
from safetensors.torch import load_file
from torch import nn

import torchscope as ts
from torchscope import CheckpointError, checkpoint
from torchscope.checkpoint._optimizers import NotTheModels
from torchscope.command_line import main

CASES = Path(__file__).parent / "data" / "checkpoints"
TF2 = CASES / "tf2"
VALUES = json.loads((TF2 / "values.json").read_text())
GRAPHS = json.loads((CASES / "keras_graph" / "values.json").read_text())
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

# What each file has for the model's own variables -> what those are called.
MODELS = {
    "objects.ckpt-1": {
        f"net/kernel{VALUE}": "net/dense/kernel",
        f"net/bias{VALUE}": "net/dense/bias",
        f"net/names_{VALUE}": f"net/names_{VALUE}",  # three variables are called Variable
        f"net/twins/0{VALUE}": f"net/twins/0{VALUE}",
        f"net/twins/1{VALUE}": f"net/twins/1{VALUE}",
        f"step{VALUE}": "step",
    },
    "legacy.ckpt-1": {
        f"model/layer_with_weights-0/{name}{VALUE}": f"dense/{name}" for name in ("kernel", "bias")
    },
    "trained.ckpt": {
        f"layer_with_weights-0/{name}{VALUE}": f"dense/{name}" for name in ("kernel", "bias")
    },
    "keras3.ckpt-1": {
        f"optimizer/_trainable_variables/{i}{VALUE}": f"sequential/{name}"
        for i, name in enumerate(
            ["dense/kernel", "dense/bias", "dense_1_1/kernel", "dense_1_1/bias"]
        )
    },
}


@pytest.mark.parametrize("file", VALUES)
@pytest.mark.parametrize("names", ["file", "variables"])
def test_object_checkpoints_have_the_values_that_tensorflow_reads(file: str, names: Any):
    saved = checkpoint.open(TF2 / file, names=names)
    renamed = {old: new for old, new in MODELS.get(file, {}).items() if names == "variables"}
    for old, (_, value) in VALUES[file].items():
        found = saved[renamed[old]] if old in renamed else saved.get(old)
        if found is not None:
            assert plain(found) == value


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [one.decode() for one in value]
    return value.tolist()


@pytest.mark.parametrize("file", MODELS)
def test_the_file_itself_says_what_its_variables_are_called(file: str):
    saved = checkpoint.open(TF2 / file)
    named = checkpoint.open(TF2 / file, names="variables")
    assert {n for n in saved if n not in saved.not_the_models} == set(MODELS[file])
    assert {n for n in named if n not in named.not_the_models} == set(MODELS[file].values())
    assert list(named) == sorted(named)
    for old, new in MODELS[file].items():
        assert (named.shape(new), named.dtype(new)) == (saved.shape(old), saved.dtype(old))


def test_one_variable_that_two_objects_hold_has_one_name():
    named = checkpoint.open(TF2 / "export.ckpt", names="variables")
    assert [name for name in named if "/" in name] == [
        f"sequential/{layer}/{name}"
        for layer in ("dense", "dense_1_1")
        for name in ("bias", "kernel")
    ]


def test_a_checkpoint_without_objects_has_its_names_either_way():
    path = CASES / "gpt2_tiny"
    assert checkpoint.list_variables(path, names="variables") == checkpoint.list_variables(path)


def test_every_function_takes_the_names():
    name, path = "dense/kernel", TF2 / "trained.ckpt"
    expected = VALUES["trained.ckpt"][f"layer_with_weights-0/kernel{VALUE}"][1]
    assert (name, [3, 2]) in checkpoint.list_variables(path, names="variables")
    assert checkpoint.load_variable(path, name, names="variables").tolist() == expected
    with pytest.raises(TypeError, match="names is 'file' or 'variables', not 'objects'"):
        checkpoint.open(path, names="objects")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"checkpoint\.open\(path, names=\.\.\.\)"):
        checkpoint.load(ts.VariableStore(), {}, names="variables")


@pytest.mark.parametrize(
    "graph", [b"\x0b", message(1, b"\x0b"), message(1, message(2, b"\x0b"))], ids=range(3)
)
def test_a_damaged_graph_of_objects_is_an_error(tmp_path: Path, graph: bytes):
    writer = BundleWriter()
    writer.add(f"w{VALUE}", torch.ones(1))
    writer.add_strings("_CHECKPOINTABLE_OBJECT_GRAPH", (), [graph])
    path = writer.write(tmp_path / "m")
    assert len(checkpoint.open(path)) == 2
    with pytest.raises(CheckpointError, match="graph of objects cannot be read"):
        checkpoint.open(path, names="variables")


# ---- loading -------------------------------------------------------------------------------------


def dense(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("dense"):
        return x @ ts.get_variable("kernel", [3, 2]) + ts.get_variable("bias", [2])


def net(built: bool) -> ts.ScopedModule[..., Any]:
    made = ts.ScopedModule(dense)
    return made.build(torch.ones(1, 3)) if built else made


both = pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])


@both
@pytest.mark.parametrize("file", ["trained.ckpt", "legacy.ckpt-1"])
def test_an_object_checkpoint_is_loaded_by_the_names_of_its_variables(file: str, built: bool):
    ours = net(built)
    with pytest.raises(CheckpointError, match="names='variables'"):
        checkpoint.load(ours, TF2 / file)
    report = checkpoint.load(ours, TF2 / file, names="variables")
    ours(torch.ones(1, 3))
    old = next(name for name in VALUES[file] if name.endswith(f"kernel{VALUE}"))
    assert ours["dense/kernel"].tolist() == VALUES[file][old][1]
    assert sorted(report.loaded) == ["dense/bias", "dense/kernel"]
    assert not report.unexpected


@both
@pytest.mark.parametrize("file", GRAPHS)
def test_what_optimizers_of_keras_keep_is_not_the_models(file: str, built: bool):
    ours = net(built)
    report = checkpoint.load(ours, CASES / "keras_graph" / file)
    ours(torch.ones(1, 3))
    assert ours["dense/kernel"].tolist() == GRAPHS[file]["dense/kernel"][1]
    assert list(ours) == ["dense/kernel", "dense/bias"]
    assert len(report.left_out) + len(report.offered) == len(GRAPHS[file]) - 2


@pytest.mark.parametrize("file", GRAPHS)
def test_list_and_convert_leave_the_same_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
):
    path = str(CASES / "keras_graph" / file)
    assert main(["list", path, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["slots"]) == len(GRAPHS[file]) - 2
    assert main(["convert", path, str(tmp_path / "m.safetensors")]) == 0
    assert sorted(load_file(tmp_path / "m.safetensors")) == ["dense/bias", "dense/kernel"]


OTHERS = {
    "beside a variable": ["w/Adam", "w/Adam_1", "w/rms_prop_Momentum", "train/w/D_opt"],
    "of Keras": [
        "training/Adam/w/m",
        "Adam/w/v_1",
        "training_1/RMSprop_2/a/b/rms",
        "SGD/w/momentum",
    ],
    "of Keras, turned": ["Adam/m/w", "Adam/velocity/a/b"],
    "of Keras, numbers alone": ["Adam/iter", "training/SGD/learning_rate", "Adam/decay"],
    "of Keras 1": ["training/Adam/iterations", "training/Adam/lr", "training/Adam/Variable_7"],
    "under a name of its own": [
        "solver/iteration",
        "solver/learning_rate",
        "solver/w_momentum",
        "solver/anything",
    ],
    "without a scope": ["opt/iter", "opt/decay", "opt/w/m", "learning_rate", "iter"],
    "TensorFlow 2's": [
        f"net/w/.OPTIMIZER_SLOT/my_solver/m{VALUE}",
        f"my_solver/beta_1{VALUE}",
        f"my_solver/iter{VALUE}",
        f"save_counter{VALUE}",
        f"net/keras_api/metrics/0/total{VALUE}",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
    ],
    "two at once": [
        f"gen_opt/_iterations{VALUE}",
        f"gen_opt/_learning_rate{VALUE}",
        f"gen_opt/_variables/1{VALUE}",
        f"disc_opt/_iterations{VALUE}",
        f"disc_opt/_learning_rate{VALUE}",
        f"disc_opt/_variables/2{VALUE}",
    ],
    "steps": ["global_step", "train/global_step", "beta1_power_3"],
}
OWN = ["w", "a/b", "Adam/w", "momentum/kernel", "sgd/dense/kernel", "learning_rate", "dense/iter"]
OWN += ["eve/Adam/kernel", f"optimizer/w{VALUE}", f"x/_trainable_variables/0{VALUE}", "v/m", "m"]


@pytest.mark.parametrize("kind", OTHERS)
def test_an_optimizers_variables_are_known_by_their_names(kind: str):
    names = {"w", "a/b", f"net/w{VALUE}", *OTHERS[kind]}
    others = NotTheModels(names)
    assert {name for name in names if name in others} == set(OTHERS[kind])


def test_variables_that_only_sound_like_an_optimizers_are_the_models():
    others = NotTheModels(OWN)
    assert [name for name in OWN if name in others] == []


def test_keras_3_keeps_the_models_variables_below_its_optimizer():
    below = [f"optimizer/{name}{VALUE}" for name in ("_iterations", "_learning_rate")]
    own = f"optimizer/_trainable_variables/0{VALUE}"
    others = NotTheModels([*below, own])
    assert own not in others
    assert all(name in others for name in below)


# ---- a function that asks for what is an optimizer's --------------------------------------------


def training(x: torch.Tensor) -> torch.Tensor:
    """As BERT's optimizer has it: slots and a step of its own."""
    step = ts.get_buffer("global_step", [], torch.int64)
    w = ts.get_variable("w", [2])
    m = ts.get_variable("w/Adam", [2], trainable=False)
    return x * w + m + step


SAVED = {
    "w": torch.tensor([1.0, 2.0]),
    "w/Adam": torch.tensor([3.0, 4.0]),
    "w/Adam_1": torch.tensor([5.0, 6.0]),
    "global_step": torch.tensor(7),
    "beta1_power": torch.tensor(0.5),
}


def as_tensorflow(path: Path) -> Path:
    writer = BundleWriter()
    for name, value in SAVED.items():
        writer.add(name, value)
    return writer.write(path / "m")


SOURCES: dict[str, Callable[[Path], Any]] = {"a mapping": lambda _: SAVED, "a file": as_tensorflow}


@both
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("strict", [True, False])
def test_slots_and_a_step_that_the_function_asks_for_take_their_values(
    tmp_path: Path, kind: str, built: bool, strict: bool
):
    ours = ts.ScopedModule(training)
    if built:
        ours.build(torch.ones(2))
    report = checkpoint.load(ours, SOURCES[kind](tmp_path), strict=strict)
    ours(torch.ones(2))
    assert {name: value.tolist() for name, value in ours.named_variables()} == {
        name: SAVED[name].tolist() for name in ("w", "w/Adam", "global_step")
    }
    # What is reported is what happens.
    if built:
        assert sorted(report.left_out) == ["beta1_power", "w/Adam_1"]
    else:
        assert not report.left_out
        assert sorted(report.offered) == ["beta1_power", "global_step", "w/Adam", "w/Adam_1"]
        assert "loaded if the first call asks for them: 4 (" in str(report)


@pytest.mark.parametrize("pairs", [{"/": "/"}, {"w": "w", "w/Adam": "w/Adam"}])
def test_pairs_offer_slots_too(pairs: dict[str, str]):
    ours = ts.ScopedModule(training)
    checkpoint.load(ours, SAVED, pairs)
    ours(torch.ones(2))
    assert ours["w/Adam"].tolist() == [3, 4]


def test_a_slot_that_a_pair_names_must_be_asked_for():
    ours = ts.ScopedModule(lambda x: x * ts.get_variable("w", [2]))
    checkpoint.load(ours, SAVED, {"w": "w", "w/Adam": "w/momentum"})
    with pytest.raises(ts.StateDictError, match="'w/momentum'"):
        ours(torch.ones(2))


def test_slots_wait_for_a_second_function_of_a_store():
    store = ts.VariableStore()
    checkpoint.load(store, SAVED)
    assert not store.built
    store(lambda: ts.get_variable("w", [2]))
    assert store.built  # what else waits nobody need ask for
    assert store(training, torch.ones(2)).tolist() == [1 + 3 + 7, 2 + 4 + 7]


def test_slots_below_a_kept_module_and_a_built_block_are_no_obstacle():
    def block(x: torch.Tensor) -> torch.Tensor:
        return x * ts.get_variable("w", [2])

    def model(x: torch.Tensor) -> torch.Tensor:
        y = ts.get_module("h", lambda: ts.ScopedModule(block).build(torch.ones(2)))(x)
        return ts.get_module("fc", nn.Linear, 2, 1, bias=False)(y)

    saved = {"h/w": torch.ones(2), "h/w/Adam": torch.ones(2), "fc/weight": torch.ones(1, 2)}
    saved["fc/weight/Adam"] = torch.ones(1, 2)
    ours = ts.ScopedModule(model)
    checkpoint.load(ours, saved)
    assert ours(torch.ones(2)).item() == 2


# ---- values that nobody has asked for yet --------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The parameters were read")  # as they are, a line below
@pytest.mark.parametrize("make", [ts.VariableStore, lambda: ts.ScopedModule(dense)])
@pytest.mark.parametrize(
    "load", [checkpoint.load, lambda store, saved: store.load_state_dict(saved)]
)
def test_a_value_that_waits_is_in_the_mapping_but_not_a_variable(make: Any, load: Any):
    store, saved = make(), {"dense/kernel": torch.ones(3, 2), "dense/bias": torch.ones(2)}
    load(store, saved)
    assert (len(store), sorted(store), store.built) == (2, sorted(saved), False)
    assert sorted(store.state_dict()) == sorted(saved)
    assert store.global_variables() == store.trainable_variables() == []
    assert list(store.named_variables()) == []
    assert re.findall(r"(\S+): .* waits to be asked for", repr(store)) == [
        "(dense/kernel)",
        "(dense/bias)",
    ]
    _ = (
        store(dense, torch.ones(1, 3))
        if type(store) is ts.VariableStore
        else store(torch.ones(1, 3))
    )
    assert (len(store), len(store.global_variables()), store.built) == (2, 2, True)
    assert "waits" not in repr(store)


def test_a_store_of_two_functions_is_built_when_both_have_asked():
    store = ts.VariableStore()
    checkpoint.load(store, {"a": torch.ones(1), "b": torch.ones(1)})
    store(lambda: ts.get_variable("a", [1]))
    assert (len(store), len(store.global_variables()), store.built) == (2, 1, False)
    store(lambda: ts.get_variable("b", [1]))
    assert (len(store), len(store.global_variables()), store.built) == (2, 2, True)
    del store["b"]
    assert (len(store), len(store.global_variables()), store.built) == (1, 1, True)
