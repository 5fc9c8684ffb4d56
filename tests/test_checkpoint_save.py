"""Saving as TensorFlow's checkpoints: its files byte for byte, what is refused, and the history.

What TensorFlow wrote, in tests/data/checkpoints, is read and written again. How saves that are
killed end is in test_checkpoint_kills.py, what ranks do together in test_distributed_saving.py.
"""

import os
import re
import resource
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchscope as ts
import torchscope.tf1 as tf
from torchscope import checkpoint
from torchscope.checkpoint import _state
from torchscope.checkpoint._bundle import Bundle
from torchscope.checkpoint._bundle_writer import BundleWriter
from torchscope.checkpoint._file import File
from torchscope.checkpoint._sstable import Table
from torchscope.checkpoint._table_writer import Block, TableWriter, separator, successor

DATA = Path(__file__).parent / "data" / "checkpoints"

# What TensorFlow wrote into one shard, in the order of names, without partitioned variables.
GOLDEN = [
    "ckpt_zoo/sharded1.ckpt",
    "dcgan_tiny/model.ckpt",
    "gpt2_tiny/model.ckpt",
    "tf_facts/model.ckpt",
    "tf_slots/averages.ckpt",
    "tf_slots/optimizers.ckpt",
]
X = torch.tensor([1, 2])


def files(prefix: Path) -> list[bytes]:
    """The bytes of a checkpoint of one shard."""
    return [
        (prefix.parent / f"{prefix.name}{ending}").read_bytes()
        for ending in (".index", ".data-00000-of-00001")
    ]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def values_of(net: ts.VariableStore) -> dict[str, Tensor]:
    return {name: variable.detach().clone() for name, variable in net.named_variables()}


# ---- byte for byte -----------------------------------------------------------------------------


@pytest.mark.parametrize("golden", GOLDEN)
def test_what_tensorflow_wrote_is_written_again_byte_for_byte(tmp_path: Path, golden: str):
    with checkpoint.open(DATA / golden) as saved:
        copied = checkpoint.save(saved, tmp_path / "copy")
        from_memory = checkpoint.save(dict(saved), tmp_path / "again")
    assert files(copied) == files(DATA / golden)
    assert files(from_memory) == files(DATA / golden)


@pytest.mark.parametrize("path", sorted(DATA.glob("*/*.index")), ids=lambda path: path.stem)
def test_every_index_of_tensorflows_is_built_the_same_from_its_entries(path: Path):
    written = bytearray()
    table = TableWriter(written.extend)
    for key, value, _ in Table(File(path)):
        table.add(key, bytes(value))
    table.finish()
    assert written == path.read_bytes()


def test_an_index_of_two_blocks_and_data_in_the_order_of_a_program_are_written_the_same():
    prefix = DATA / "ckpt_zoo" / "blocks.ckpt"  # 3,600 variables, saved in no order
    data, index = bytearray(), bytearray()
    writer = BundleWriter(data.extend)
    with checkpoint.open(prefix) as saved:
        entries = saved._reader.names  # type: ignore[attr-defined]
        order = sorted(saved, key=lambda name: saved._reader._entry(name, *entries[name]).offset)  # type: ignore[attr-defined]
        for name in order:
            writer.add(name, saved[name])
    writer.write_index(index.extend)
    assert [index, data] == files(prefix)


def test_the_state_is_tensorflows():
    for path in DATA.glob("*/checkpoint*"):
        state = _state.read(path)
        assert _state.text(state.all) == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a\"b\\c'd", rb"a\"b\\c\'d"),
        ("é\t\n\r", "é\\t\\n\\r".encode()),
        ("\x01\x7f", rb"\001\177"),
        (os.fsdecode(b"\xff"), rb"\377"),
    ],
)
def test_paths_in_the_state_are_escaped_as_protobuf_does(tmp_path: Path, name: str, written: bytes):
    text = _state.text([name])
    assert text.splitlines()[0] == b'model_checkpoint_path: "%b"' % written
    (tmp_path / "checkpoint").write_bytes(text)
    assert _state.read(tmp_path / "checkpoint") == (name, [name])


@pytest.mark.parametrize(
    ("key", "following", "between"),
    [
        (b"model/a", b"model/f", b"model/b"),
        (b"model/a", b"model/b", b"model/a"),  # nothing shorter lies between
        (b"model", b"model/a", b"model"),
        (b"a\xff", b"c", b"b"),
        (b"\xff", b"\xff\xff", b"\xff"),
    ],
)
def test_a_block_is_told_from_the_next_by_the_shortest_key(
    key: bytes, following: bytes, between: bytes
):
    assert separator(key, following) == between
    assert key <= between < following


@pytest.mark.parametrize(
    ("key", "after"),
    [(b"many", b"n"), (b"\xff\xffab", b"\xff\xffb"), (b"\xff", b"\xff"), (b"", b"")],
)
def test_the_last_block_is_told_by_a_short_key_behind_it(key: bytes, after: bytes):
    assert successor(key) == after


def test_an_entry_larger_than_two_blocks_has_a_block_of_its_own():
    written = bytearray()
    table = TableWriter(written.extend, block_bytes=100)
    for key, size in ((b"a", 10), (b"b", 300), (b"c", 10)):
        table.add(key, bytes(size))
    table.finish()
    first, second = Block(), Block()
    first.add(b"a", bytes(10))
    second.add(b"b", bytes(300))
    assert written.startswith(first.content() + b"\0")
    assert written.find(second.content() + b"\0") == first.size + 5


# ---- what is written ---------------------------------------------------------------------------

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e5m2fnuz, torch.float8_e4m3fnuz),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    *(torch.bool, torch.complex64, torch.complex128),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path: Path, dtype: torch.dtype):
    values = {
        f"v{'_'.join(map(str, shape))}": (torch.rand(shape) * 3).to(dtype)
        for shape in ((), (1,), (3, 5), (0,), (2, 0, 3), (1,) * 9)
    }
    with checkpoint.open(checkpoint.save(values, tmp_path / "m")) as saved:
        assert list(saved) == sorted(values)
        for name, value in values.items():
            assert saved[name].dtype == dtype
            assert saved[name].shape == value.shape
            assert (
                saved[name].reshape(-1).view(torch.uint8).equal(value.reshape(-1).view(torch.uint8))
            )


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(12.0).view(3, 4).T,
        lambda: torch.ones(1).expand(4, 3),
        lambda: torch.arange(24.0)[::2].view(4, 3),
        lambda: torch.complex(torch.ones(4, 3), torch.ones(4, 3)).conj(),
        lambda: torch.complex(torch.ones(4, 3), torch.ones(4, 3)).conj().imag,
        lambda: torch.ones(4, 3, requires_grad=True) * 2,
    ],
    ids=["transposed", "expanded", "strided", "conjugate", "negative", "of a graph"],
)
def test_tensors_that_lie_otherwise_in_memory_are_written_as_they_read(
    tmp_path: Path, make: Callable[[], Tensor]
):
    path = checkpoint.save({"v": make()}, tmp_path / "m")
    found = checkpoint.load_variable(path, "v")
    assert found.tolist() == make().tolist()


def test_a_tensor_of_several_megabytes_has_a_right_checksum(tmp_path: Path):
    values = {"a": torch.rand(700_001), "b": torch.rand(3)}  # written in three pieces
    with checkpoint.open(checkpoint.save(values, tmp_path / "m"), verify=True) as saved:
        assert all(saved[name].equal(value) for name, value in values.items())


STRINGS = {
    "a string": ("héllo", "héllo".encode()),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "an empty one": ("", b""),
    "a list": (["a", b"bc"], [b"a", b"bc"]),
    "nested": ([["a", "b"], ["c", ""]], [[b"a", b"b"], [b"c", b""]]),
    "tuples": (("a", "b"), [b"a", b"b"]),
    "numpy's of bytes": (np.array([b"ab", b"c"]), [b"ab", b"c"]),
    "numpy's of letters": (np.array([["é"], ["b"]]), [["é".encode()], [b"b"]]),
    "numpy's of objects": (np.array(["a", b"b"], dtype=object), [b"a", b"b"]),
    "numpy's without any": (np.array([], dtype=object), []),
}


@pytest.mark.parametrize("kind", STRINGS)
def test_strings_come_back_as_bytes(tmp_path: Path, kind: str):
    value, expected = STRINGS[kind]
    path = checkpoint.save({"s": value, "t": torch.ones(1)}, tmp_path / "m")
    with checkpoint.open(path) as saved:
        assert saved.dtype("s") == "string"
        assert saved["s"] == expected
        again = checkpoint.save(saved, tmp_path / "again")
    assert files(again) == files(path)


def test_arrays_and_numbers_are_written_as_torch_takes_them(tmp_path: Path):
    golden = tmp_path / "golden.npz"
    np.savez(golden, a=np.arange(3, dtype=np.int16), b=np.float64(2))
    with np.load(golden) as arrays:
        path = checkpoint.save({**arrays, "c": 5, "d": [[1.0, 2.0]]}, tmp_path / "m")
        same = checkpoint.save(arrays, tmp_path / "n")
    with checkpoint.open(path) as saved:
        found = {name: (saved.dtype(name), saved[name].tolist()) for name in saved}
    assert found == {
        "a": (torch.int16, [0, 1, 2]),
        "b": (torch.float64, 2),
        "c": (torch.int64, 5),
        "d": (torch.float32, [[1, 2]]),
    }
    assert checkpoint.list_variables(same) == [("a", [3]), ("b", [])]


# ---- stores ------------------------------------------------------------------------------------


class Tied(nn.Module):
    """An embedding whose numbers are the last layer's, too."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.wte.weight
        self.register_buffer("kept", torch.full((2,), 2.0))
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.wte(x))


def block(x: Tensor) -> Tensor:
    return ts.get_module("lm", Tied)(x) * ts.get_variable("scale", [5])


def model(x: Tensor) -> Tensor:
    with ts.variable_scope("top"):
        y = ts.get_module("b0", lambda: ts.ScopedModule(block))(x)
        y = ts.get_module("last", nn.Linear, 5, 2)(y)
        ts.get_buffer("average", [2])
        ts.get_buffer("scratch", [2], persistent=False)
        ts.get_local_variable("count", [1])
        ts.get_variable("v.1", [1])
    return y * ts.get_variable("keys", [2])  # which is an attribute of every mapping


NAMES = [
    "keys",
    "top/average",
    "top/b0/lm/kept",
    "top/b0/lm/wte/weight",
    "top/b0/scale",
    "top/last/bias",
    "top/last/weight",
    "top/v.1",
]


def net_of(seed: int, built: bool = True) -> ts.ScopedModule[..., Tensor]:
    net = ts.ScopedModule(model, seed=seed)
    return net.build(X) if built else net


def test_a_store_is_saved_under_its_full_names(tmp_path: Path):
    path = checkpoint.save(net_of(0), tmp_path / "m")
    assert [name for name, _ in checkpoint.list_variables(path)] == NAMES


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
def test_it_loads_back_into_a_net(tmp_path: Path, built: bool):
    net, other = net_of(0), net_of(1, built)
    report = checkpoint.load(other, checkpoint.save(net, tmp_path / "m"))
    assert sorted(report.loaded) == NAMES
    assert other(X).equal(net(X))
    kept = other.get_submodule("top/b0").get_submodule("lm")
    assert kept.head.weight is kept.wte.weight


@pytest.mark.parametrize("way", ["checkpoint.load", "load_state_dict"])
def test_what_waits_for_the_build_is_saved_as_it_waits(tmp_path: Path, way: str):
    net, waiting, third = net_of(0), net_of(1, built=False), net_of(2)
    path = checkpoint.save(net, tmp_path / "m")
    if way == "checkpoint.load":
        checkpoint.load(waiting, path)
    else:
        waiting.load_state_dict(net.state_dict())
    again = checkpoint.save(waiting, tmp_path / "again")
    if way == "checkpoint.load":
        assert files(again) == files(path)
    checkpoint.load(third, again)
    assert third(X).equal(net(X))
    assert waiting(X).equal(net(X))  # and it still waits


def test_a_step_goes_before_one_that_was_loaded_and_that_nobody_asks_for(tmp_path: Path):
    path = checkpoint.save(net_of(0), tmp_path / "m", step=3)
    waiting = net_of(1, built=False)
    checkpoint.load(waiting, path)
    later = checkpoint.save(waiting, tmp_path / "m", step=9)
    assert checkpoint.load_variable(later, "global_step") == 9
    without = checkpoint.save(waiting, tmp_path / "n")
    assert checkpoint.load_variable(without, "global_step") == 3


def test_a_failed_first_pass_loses_nothing(tmp_path: Path):
    waiting = net_of(1, built=False)
    path = checkpoint.save(net_of(0), tmp_path / "m")
    checkpoint.load(waiting, path)
    with pytest.raises((IndexError, RuntimeError)):
        waiting(torch.tensor([99]))
    assert files(checkpoint.save(waiting, tmp_path / "again")) == files(path)


def test_what_half_has_changed_is_saved_as_it_is_now(tmp_path: Path):
    net = net_of(0).to(torch.bfloat16)
    with checkpoint.open(checkpoint.save(net, tmp_path / "m")) as saved:
        assert {saved.dtype(name) for name in saved} == {torch.bfloat16}
    checkpoint.load(net_of(1), tmp_path / "m")


def test_saving_changes_nothing_in_the_net(tmp_path: Path):
    net = net_of(0)
    before, keys = values_of(net), list(net.state_dict())
    stream = torch.get_rng_state()
    checkpoint.save(net, tmp_path / "m")
    assert torch.get_rng_state().equal(stream)
    assert list(net.state_dict()) == keys
    assert all(value.equal(before[name]) for name, value in values_of(net).items())


def test_an_unbuilt_net_and_an_empty_mapping_have_nothing_to_save(tmp_path: Path):
    for source in (net_of(0, built=False), {}):
        with pytest.raises(ts.CheckpointError, match=r"no variables to save.*net\.build"):
            checkpoint.save(source, tmp_path / "m")
    assert names_in(tmp_path) == []


# ---- the step and the slots --------------------------------------------------------------------


def linear(x: Tensor) -> Tensor:
    return ((x @ ts.get_variable("w", [3, 2])) ** 2).mean()


def trained(steps: int, net: Any = None, optimizer: Any = None) -> Any:
    x = torch.arange(6.0).view(2, 3)
    if net is None:
        net = ts.ScopedModule(linear, seed=0).build(x)
        optimizer = tf.train.AdamOptimizer(net.named_parameters(), 0.1)
    for _ in range(steps):
        optimizer.minimize(net(x))
    return net, optimizer


def test_the_step_is_in_the_name_and_in_the_file(tmp_path: Path):
    net, _ = trained(1)
    path = checkpoint.save(net, tmp_path / "model.ckpt", step=np.int64(1000))
    assert path == tmp_path / "model.ckpt-1000"
    step = checkpoint.load_variable(path, "global_step")
    assert (step.dtype, step.shape, step.item()) == (torch.int64, (), 1000)
    path = checkpoint.save(net, tmp_path / "model.ckpt", step=torch.tensor(7))
    assert path.name == "model.ckpt-7"


def test_a_global_step_of_the_stores_own_is_kept(tmp_path: Path):
    with ts.VariableStore() as store:
        tf.train.get_or_create_global_step().fill_(12)
    path = checkpoint.save(store, tmp_path / "m", step=store["global_step"])
    assert path.name == "m-12"
    assert checkpoint.list_variables(path) == [("global_step", [])]
    path = checkpoint.save({"global_step": torch.tensor(5)}, tmp_path / "m", step=6)
    assert checkpoint.load_variable(path, "global_step") == 5


def test_training_goes_on_as_if_it_had_not_been_saved(tmp_path: Path):
    net, optimizer = trained(3)
    path = checkpoint.save(net, tmp_path / "m", step=3, slots=optimizer.slot_variables())
    assert [name for name, _ in checkpoint.list_variables(path)] == [
        *("beta1_power", "beta2_power", "global_step", "w", "w/Adam", "w/Adam_1")
    ]
    other, its_optimizer = trained(0)
    checkpoint.load(other, path)
    its_optimizer.load_slots(path)
    trained(2, net, optimizer)
    trained(2, other, its_optimizer)
    assert other["w"].equal(net["w"])
    for name, slot in optimizer.slot_variables().items():
        assert its_optimizer.slot_variables()[name].equal(slot)


def test_slots_of_several_optimizers_and_averages_are_saved_together(tmp_path: Path):
    net, optimizer = trained(1)
    averages = tf.train.ExponentialMovingAverage(0.9)
    averages.apply(net)
    slots = [optimizer.slot_variables(), averages.state_dict()]
    path = checkpoint.save(net, tmp_path / "m", slots=slots)
    assert "w/ExponentialMovingAverage" in dict(checkpoint.list_variables(path))
    with pytest.raises(ts.CheckpointError, match="Two values would be saved as 'beta1_power'"):
        checkpoint.save(net, tmp_path / "n", slots=[optimizer.slot_variables()] * 2)


@pytest.mark.parametrize(
    ("slots", "match"),
    [
        (lambda net, ours: ours, r"not AdamOptimizer: slots=optimizer\.slot_variables\(\)"),
        (
            lambda net, ours: torch.optim.SGD(net.parameters()),
            r"SGD: of torch's own .* torch\.save",
        ),
        (lambda net, ours: torch.optim.SGD(net.parameters()).state_dict(), "of torch's own"),
        (lambda net, ours: [ours], "not AdamOptimizer"),
        (lambda net, ours: 3, "not int"),
        (lambda net, ours: "slots", "not str"),
    ],
)
def test_slots_are_given_by_their_names(tmp_path: Path, slots: Any, match: str):
    net, ours = trained(1)
    with pytest.raises(TypeError, match=match):
        checkpoint.save(net, tmp_path / "m", slots=slots(net, ours))
    assert names_in(tmp_path) == []


# ---- what is refused ---------------------------------------------------------------------------


def quantized() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "meta": (lambda: torch.ones(2, device="meta"), r"on the meta device.*to_empty"),
    "sparse": (lambda: torch.ones(2).to_sparse(), r"layout torch\.sparse_coo.*to_dense\(\)"),
    "csr": (lambda: torch.ones(2, 2).to_sparse_csr(), r"layout torch\.sparse_csr"),
    "nested": (lambda: torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged), "layout"),
    "quantized": (quantized, r"quantized \(qint8\).*dequantize\(\)"),
    "lazy": (lambda: nn.LazyLinear(2).weight, "no values yet, its module is lazy"),
    "dtype": (
        lambda: torch.zeros(2, dtype=torch.float8_e8m0fnu),
        "float8_e8m0fnu, a dtype that TensorFlow does not have",
    ),
    "a dict": (lambda: {"w": torch.ones(1)}, "neither a tensor nor a string, but a dict"),
    "None": (lambda: None, "neither a tensor nor a string, but a NoneType"),
    "a module": (lambda: nn.Linear(1, 1), "neither a tensor nor a string, but a Linear"),
    "ragged": (lambda: [["a"], ["b", "c"]], "lists of different lengths"),
    "mixed": (lambda: ["a", 1], "something else among its strings: int"),
    "dates": (lambda: np.array(["2020-01-01"], dtype="datetime64[D]"), "cannot be a tensor"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of (nested|Sparse)", "ignore:Sparse CSR")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_tensorflow_could_not_have_is_refused_and_nothing_is_written(
    tmp_path: Path, kind: str
):
    make, match = REFUSED[kind]
    with pytest.raises(ts.CheckpointError, match=match) as error:
        checkpoint.save({"a": torch.ones(1), "b": make(), "c": torch.ones(1)}, tmp_path / "m")
    assert error.value.name == "b"
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("", "TensorFlow would refuse the name"),
        ("a b", r"TensorFlow would refuse the name.*For example 'a_b'"),
        ("_w", "TensorFlow would refuse the name"),
        ("é", "TensorFlow would refuse the name"),
        ("w:0", "leave out ':0'"),
        ("/keys", "a key of a state dict.*save the store itself"),
        ("v%2E1", "a key of a state dict"),
        (3, "3 is not a name"),
        (("a",), r"\('a',\) is not a name"),
    ],
)
def test_a_name_that_tensorflow_would_refuse_is_refused(tmp_path: Path, name: Any, match: str):
    with pytest.raises(ts.CheckpointError, match=match):
        checkpoint.save({"a": torch.ones(1), name: torch.ones(1)}, tmp_path / "m")
    assert names_in(tmp_path) == []


def test_a_block_on_the_meta_device_is_named(tmp_path: Path):
    with torch.device("meta"):
        net = net_of(0)
    with pytest.raises(ts.CheckpointError, match="'keys' is on the meta device"):
        checkpoint.save(net, tmp_path / "m")


@pytest.mark.parametrize(
    ("prefix", "match"),
    [
        ("", "is a directory: give a name in it"),
        ("no/such/m", r"There is no directory \S*/no/such\. Make it: mkdir -p "),
        ("no such/m", r"mkdir -p '"),
        ("m.index", "leave out '.index'"),
        ("m.data-00000-of-00001", "leave out '.data-00000-of-00001'"),
        ("m.pt", r"such as \S*m\.ckpt.*torchscope convert"),
        ("m.safetensors", "torchscope convert"),
        ("checkpoint", "is the state file's name"),
    ],
)
def test_a_place_where_no_checkpoint_can_be_is_refused(tmp_path: Path, prefix: str, match: str):
    with pytest.raises(ts.CheckpointError, match=match):
        checkpoint.save({"w": torch.ones(1)}, f"{tmp_path}/{prefix}")
    assert names_in(tmp_path) == []


def test_a_path_that_a_shell_would_expand_says_how_python_does():
    with pytest.raises(ts.CheckpointError, match=re.escape("os.path.expanduser('~/none here/m')")):
        checkpoint.save({"w": torch.ones(1)}, "~/none here/m")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"step": 1.5}, TypeError, "step is a whole number, not 1.5"),
        ({"step": True}, TypeError, "step is a whole number, not True"),
        ({"step": -1}, ts.CheckpointError, "step is a number from 0 on, not -1"),
        ({"keep": "5"}, TypeError, "keep is a whole number"),
        ({"keep": -1}, ts.CheckpointError, "keep is a number from 0 on"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    tmp_path: Path, arguments: Any, error: type[Exception], match: str
):
    with pytest.raises(error, match=match):
        checkpoint.save({"w": torch.ones(1)}, tmp_path / "m", **arguments)
    assert names_in(tmp_path) == []


def test_what_is_not_a_store_says_what_to_pass(tmp_path: Path):
    for source, match in (
        (nn.Sequential(net_of(0)), r"not Sequential\. Pass module\.get_submodule\('0'\)"),
        (nn.Linear(1, 1), r"not Linear\. Pass module\.state_dict\(\)"),
        (torch.ones(1), "not Tensor"),
    ):
        with pytest.raises(TypeError, match=match):
            checkpoint.save(source, tmp_path / "m")  # type: ignore[arg-type]


def test_one_that_is_there_is_replaced_with_overwrite_alone(tmp_path: Path):
    path = checkpoint.save({"w": torch.ones(1)}, tmp_path / "m", step=1)
    before = names_in(tmp_path)
    with pytest.raises(ts.CheckpointError, match=r"m-1 already exists; overwrite=True"):
        checkpoint.save({"w": torch.zeros(1)}, tmp_path / "m", step=1)
    assert checkpoint.load_variable(path, "w") == 1
    checkpoint.save({"w": torch.zeros(1)}, tmp_path / "m", step=1, overwrite=True)
    assert checkpoint.load_variable(path, "w") == 0
    assert names_in(tmp_path) == before


def test_a_v1_file_and_data_without_an_index_are_there_too(tmp_path: Path):
    for name in ("old.ckpt", "lost.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"of somebody")
        prefix = tmp_path / name.partition(".data")[0]
        with pytest.raises(ts.CheckpointError, match="already exists"):
            checkpoint.save({"w": torch.ones(1)}, prefix)
        assert (tmp_path / name).read_bytes() == b"of somebody"


def test_one_of_three_shards_is_replaced_whole(tmp_path: Path):
    for path in (DATA / "ckpt_zoo").glob("multi.ckpt.[di]*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with checkpoint.open(tmp_path / "multi.ckpt") as saved:
        before = {name: saved[name] for name in saved}
        checkpoint.save(saved, tmp_path / "multi.ckpt", overwrite=True)
    assert names_in(tmp_path) == [
        *("checkpoint", "multi.ckpt.data-00000-of-00001", "multi.ckpt.index")
    ]
    with checkpoint.open(tmp_path / "multi.ckpt") as saved:
        assert all(saved[name].equal(value) for name, value in before.items())


def test_a_file_called_checkpoint_that_is_not_a_state_is_left_alone(tmp_path: Path):
    (tmp_path / "checkpoint").write_bytes(b"weights of mine")
    with pytest.raises(ts.CheckpointError, match="not a state file"):
        checkpoint.save({"w": torch.ones(1)}, tmp_path / "m")
    assert names_in(tmp_path) == ["checkpoint"]


# ---- the history -------------------------------------------------------------------------------


def save_steps(folder: Path, steps: range, prefix: str = "m", **arguments: Any) -> None:
    for step in steps:
        checkpoint.save({"w": torch.tensor(step)}, folder / prefix, step=step, **arguments)


def noted(folder: Path) -> list[str]:
    state = _state.read(folder / "checkpoint")
    assert state.latest == state.all[-1]
    return state.all


def test_the_last_five_are_kept_and_noted(tmp_path: Path):
    save_steps(tmp_path, range(8))
    assert noted(tmp_path) == [f"m-{step}" for step in range(3, 8)]
    kept = [f"m-{step}{end}" for step in range(3, 8) for end in (".data-00000-of-00001", ".index")]
    assert names_in(tmp_path) == ["checkpoint", *kept]
    assert (tmp_path / "checkpoint").read_text() == (
        'model_checkpoint_path: "m-7"\n'
        + "".join(f'all_model_checkpoint_paths: "m-{step}"\n' for step in range(3, 8))
    )


@pytest.mark.parametrize("keep", [0, None])
def test_all_are_kept_and_the_latest_alone_is_noted(tmp_path: Path, keep: Any):
    save_steps(tmp_path, range(3), keep=keep)
    assert noted(tmp_path) == ["m-2"]  # as tf.train.Saver does
    assert len(checkpoint.list_variables(tmp_path / "m-0")) == 2


def test_fewer_are_kept_from_now_on(tmp_path: Path):
    save_steps(tmp_path, range(4))
    save_steps(tmp_path, range(4, 5), keep=2)
    assert noted(tmp_path) == ["m-3", "m-4"]
    assert len(names_in(tmp_path)) == 5


def test_one_that_is_saved_again_is_the_latest(tmp_path: Path):
    save_steps(tmp_path, range(3))
    save_steps(tmp_path, range(1), overwrite=True)
    assert noted(tmp_path) == ["m-1", "m-2", "m-0"]


def test_a_directory_can_be_moved(tmp_path: Path):
    (tmp_path / "logs").mkdir()
    save_steps(tmp_path / "logs", range(2))
    (tmp_path / "logs").rename(tmp_path / "moved")
    assert checkpoint.latest_checkpoint(tmp_path / "moved") == str(tmp_path / "moved" / "m-1")
    save_steps(tmp_path / "moved", range(2, 4), keep=2)
    assert noted(tmp_path / "moved") == ["m-2", "m-3"]
    assert len(names_in(tmp_path / "moved")) == 5


def test_only_numbered_ones_of_the_same_prefix_are_removed(tmp_path: Path):
    checkpoint.save({"w": torch.ones(1)}, tmp_path / "m")  # downloaded, say
    save_steps(tmp_path, range(3), prefix="other")
    save_steps(tmp_path, range(7), keep=2)
    assert noted(tmp_path) == ["m", "other-0", "other-1", "other-2", "m-5", "m-6"]
    for name in noted(tmp_path):
        assert checkpoint.list_variables(tmp_path / name)
    save_steps(tmp_path, range(3, 6), prefix="other", keep=2)
    assert noted(tmp_path) == ["m", "m-5", "m-6", "other-4", "other-5"]


def test_nothing_outside_of_the_directory_is_removed(tmp_path: Path):
    logs, outside = tmp_path / "logs", tmp_path / "m-0"
    logs.mkdir()
    checkpoint.save({"w": torch.ones(1)}, outside)
    (logs / "checkpoint").write_bytes(
        _state.text(["../m-0", str(outside), "/etc/m-1", "..", "", "gone-1", "m-0/"])
    )
    save_steps(logs, range(1, 4), keep=1)
    assert noted(logs) == ["m-3"]
    assert checkpoint.list_variables(outside)


def test_absolute_paths_become_relative_ones(tmp_path: Path):
    save_steps(tmp_path, range(2))
    paths = [str(tmp_path / "m-0"), "C:\\logs\\m-1"]  # this one has been moved here
    (tmp_path / "checkpoint").write_bytes(_state.text(paths))
    save_steps(tmp_path, range(2, 3))
    assert noted(tmp_path) == ["m-0", "m-1", "m-2"]


def test_an_empty_state_notes_nothing(tmp_path: Path):
    (tmp_path / "checkpoint").touch()
    save_steps(tmp_path, range(1))
    assert noted(tmp_path) == ["m-0"]


def test_a_meta_graph_goes_with_its_checkpoint(tmp_path: Path):
    save_steps(tmp_path, range(1))
    (tmp_path / "m-0.meta").touch()
    save_steps(tmp_path, range(1, 3), keep=1)
    assert names_in(tmp_path) == ["checkpoint", "m-2.data-00000-of-00001", "m-2.index"]


# ---- memory, a full disk, and others that save -------------------------------------------------


class Made(Mapping[str, Tensor]):
    """Tensors that are made when they are asked for; counts how many there are at once."""

    alive = most = 0

    def __iter__(self) -> Iterator[str]:
        return iter([f"w{number}" for number in range(20)])

    def __len__(self) -> int:
        return 20

    def __getitem__(self, name: str) -> Tensor:
        made = torch.zeros(1000)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(made, self.gone)
        return made

    def gone(self) -> None:
        self.alive -= 1


def test_tensors_are_asked_for_and_written_one_at_a_time(tmp_path: Path):
    made = Made()
    checkpoint.save(made, tmp_path / "m")
    assert made.most <= 2
    assert len(checkpoint.list_variables(tmp_path)) == 20


MEASURED = """
import resource, sys, torch
from torchscope import checkpoint

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # megabytes

checkpoint.save({"w": torch.zeros(1000)}, sys.argv[1] + "/before")
values = {f"w{number}": torch.ones(1 << 20) for number in range(32)}  # 128 megabytes
before = most()
checkpoint.save(values, sys.argv[1] + "/m")
print(most() - before)
"""


def test_writing_takes_no_second_copy_in_memory(tmp_path: Path):
    command = [sys.executable, "-W", "ignore", "-c", MEASURED, str(tmp_path)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(shown.stdout) < 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system takes the rights of root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", [110_000, 300_000], ids=["almost", "by far"])
def test_a_full_disk_leaves_the_old_checkpoint(small_disk: Path, size: int):
    save_steps(small_disk, range(2))
    checkpoint.save({"w": torch.ones(150_000)}, small_disk / "m", step=2)
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    for arguments in ({"step": 3}, {"step": 2, "overwrite": True}):
        with pytest.raises(ts.CheckpointError, match="cannot be written: No space left on device"):
            checkpoint.save({"w": torch.zeros(size)}, small_disk / "m", **arguments)
        assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before
    assert checkpoint.load_variable(small_disk, "w").equal(torch.ones(150_000))


def test_a_disk_with_no_room_for_the_index_leaves_the_old_checkpoint(small_disk: Path):
    save_steps(small_disk, range(2))
    before = names_in(small_disk)
    many = {f"{'long' * 50}/{number}": torch.empty(0) for number in range(20_000)}
    many["w"] = torch.ones(240_000)
    with pytest.raises(ts.CheckpointError, match="No space left"):
        checkpoint.save(many, small_disk / "m", step=2)
    assert names_in(small_disk) == before
    assert checkpoint.load_variable(small_disk, "w") == 1


def test_a_file_that_may_not_become_so_large_leaves_the_old_checkpoint(tmp_path: Path):
    save_steps(tmp_path, range(2))
    before = names_in(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ts.CheckpointError, match="cannot be written: File too large"):
            checkpoint.save({"w": torch.ones(100_000)}, tmp_path / "m", step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names_in(tmp_path) == before


def test_a_source_that_fails_midway_leaves_the_old_checkpoint(tmp_path: Path):
    save_steps(tmp_path, range(1))
    before = names_in(tmp_path)
    path = checkpoint.save({"a": torch.ones(9), "b": torch.ones(9)}, tmp_path / "n", keep=None)
    data = path.with_name("n.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:40])
    with (
        checkpoint.open(path) as damaged,
        pytest.raises(ts.CheckpointError, match="'b'"),
    ):
        checkpoint.save(damaged, tmp_path / "m", step=1)
    assert [name for name in names_in(tmp_path) if not name.startswith("n.")] == before


def test_two_threads_that_save_the_same_do_not_mix(tmp_path: Path):
    errors: list[BaseException] = []

    def save(value: float) -> None:
        for _ in range(20):
            try:
                values = {f"w{number}": torch.full((500,), value) for number in range(20)}
                checkpoint.save(values, tmp_path / "m", overwrite=True)
            except ts.CheckpointError as error:
                errors.append(error)

    threads = [threading.Thread(target=save, args=(float(value),)) for value in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("is being saved by another process" in str(error) for error in errors)
    with checkpoint.open(tmp_path) as saved:
        assert len({float(saved[name].unique()) for name in saved}) == 1
    assert names_in(tmp_path) == ["checkpoint", "m.data-00000-of-00001", "m.index"]


def test_models_that_are_saved_side_by_side_are_all_noted(tmp_path: Path):
    prefixes = "abcdefghijkl"

    def save(prefix: str) -> None:
        save_steps(tmp_path, range(4), prefix=prefix, keep=2)

    with ThreadPoolExecutor(len(prefixes)) as threads:
        list(threads.map(save, prefixes))
    kept = [f"{prefix}-{step}" for prefix in prefixes for step in (2, 3)]
    assert sorted(noted(tmp_path)) == kept
    assert len(names_in(tmp_path)) == 2 * len(kept) + 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_checkpoint_that_is_replaced_as_it_is_opened_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
):
    read_index, values = Bundle._read_index, iter([2.0, 3.0, 4.0][:times])

    def meanwhile(self: Bundle) -> None:
        read_index(self)
        if value := next(values, None):
            checkpoint.save({"w": torch.full((5,), value)}, tmp_path / "m", overwrite=True)

    checkpoint.save({"w": torch.ones(5)}, tmp_path / "m")
    monkeypatch.setattr(Bundle, "_read_index", meanwhile)
    with checkpoint.open(tmp_path / "m") as saved:
        checkpoint.save({"w": torch.zeros(5)}, tmp_path / "m", overwrite=True)
        assert saved["w"].tolist() == [times + 1.0] * 5


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "logs").mkdir()
    path = checkpoint.save({"w": torch.ones(1)}, tmp_path / "cache" / "m")
    before = files(path)
    for ending in (".index", ".data-00000-of-00001"):
        (tmp_path / "logs" / f"m{ending}").symlink_to(tmp_path / "cache" / f"m{ending}")
    checkpoint.save({"w": torch.zeros(1)}, tmp_path / "logs" / "m", overwrite=True)
    assert files(path) == before
    assert checkpoint.load_variable(tmp_path / "logs" / "m", "w") == 0
