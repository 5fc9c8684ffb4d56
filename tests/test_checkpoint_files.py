"""Whatever file people have: read as what it is, or named in a sentence that says what to do."""

import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_writer import (
    BundleWriter,
    message,
    number,
    v1_rows,
    values_proto,
    varint,
    write_v1,
)
from safetensors.torch import save_file
from torch import nn

import torchscope as ts
from torchscope import CheckpointError, checkpoint
from torchscope.checkpoint import _proto, _varints
from torchscope.checkpoint._file import File
from torchscope.checkpoint._proto import MalformedError

CASES = Path(__file__).parent / "data" / "checkpoints"
VALUES = {"dense/kernel": torch.arange(6.0).view(2, 3), "dense/bias": torch.tensor([1.0, 2.0, 3.0])}
WHOLE = ((0, -1),)


def dense(x: torch.Tensor) -> torch.Tensor:
    with ts.variable_scope("dense"):
        return x @ ts.get_variable("kernel", [2, 3]) + ts.get_variable("bias", [3])


def net(built: bool = True) -> ts.ScopedModule[..., Any]:
    made = ts.ScopedModule(dense, seed=0)
    return made.build(torch.ones(1, 2)) if built else made


def held(net: ts.ScopedModule[..., Any]) -> dict[str, list[Any]]:
    net(torch.ones(1, 2))
    return {name: value.tolist() for name, value in net.named_variables()}


def lists(values: dict[str, torch.Tensor]) -> dict[str, list[Any]]:
    return {name: value.tolist() for name, value in values.items()}


both = pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])


# ---- files of torch.save -------------------------------------------------------------------------


def zipped_anew(path: Path, compression: int) -> Path:
    """The same archive, as other tools write it."""
    with zipfile.ZipFile(path) as old:
        contents = {one.filename: old.read(one) for one in old.infolist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in contents.items():
            new.writestr(name, data)
    return path


ZIPS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@both
@pytest.mark.parametrize("compression", ZIPS)
def test_a_pt_file_that_was_zipped_anew_is_read_right_or_refused(
    tmp_path: Path, compression: int, built: bool
):
    torch.save(VALUES, tmp_path / "m.pt")
    path = zipped_anew(tmp_path / "m.pt", compression)
    ours = net(built)
    before = held(net(True))
    try:
        checkpoint.load(ours, path)
    except CheckpointError:  # torch itself unpacks no bzip2 and no lzma
        assert compression in ZIPS[2:]
        assert held(ours) == before
    else:
        assert held(ours) == lists(VALUES)


def test_a_pt_file_of_which_some_entries_are_compressed_is_read_right(tmp_path: Path):
    torch.save(VALUES, tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as old:
        contents = {one.filename: old.read(one) for one in old.infolist()}
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as new:
        for name, data in contents.items():
            kind = zipfile.ZIP_DEFLATED if name.endswith("data/0") else zipfile.ZIP_STORED
            new.writestr(name, data, kind)
    saved = checkpoint.open(tmp_path / "m.pt")
    assert {name: saved[name].tolist() for name in saved} == lists(VALUES)


base = torch.arange(24.0)
ODD_TENSORS = {
    "transposed": base.view(4, 6).t(),
    "a part": base[5:9],
    "every second": base[::2],
    "of one number": base[7],
    "empty": base[:0],
    "expanded": base[3].expand(2, 5),
    "overlapping": base.as_strided((3, 4), (1, 1)),
    "a parameter": nn.Parameter(base[:2]),
    "conjugate": torch.tensor([1 + 2j]).conj(),
    "bool": base > 3,
    "bfloat16": base.bfloat16(),
    "float8": base.to(torch.float8_e4m3fn),
    "uint16": base.to(torch.uint16),
}


NEW = ("float8", "uint16")  # torch could not write them before it wrote zip archives


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before zip"])
def test_tensors_of_every_layout_are_read_as_torch_reads_them(tmp_path: Path, zipped: bool):
    values = {name: one for name, one in ODD_TENSORS.items() if zipped or name not in NEW}
    torch.save(values, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    saved = checkpoint.open(tmp_path / "m.pt")
    for name, value in values.items():
        assert (saved.shape(name), saved.dtype(name)) == (value.shape, value.dtype)
        found = saved[name].resolve_conj()
        assert torch.equal(found.contiguous().view(-1).view(torch.uint8), raw(value)), name


def raw(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().contiguous().view(-1).view(torch.uint8)


def test_a_pt_file_is_not_read_as_a_whole_to_list_it(tmp_path: Path):
    torch.save({"w": torch.ones(1).expand(10**11)}, tmp_path / "m.pt")  # 400 GB, if they were
    assert checkpoint.list_variables(tmp_path / "m.pt") == [("w", [10**11])]


def test_an_expanded_tensor_without_the_memory_for_it_is_an_error(tmp_path: Path):
    torch.save({"w": torch.ones(1).expand(10**14)}, tmp_path / "m.pt")
    ours = ts.ScopedModule(lambda x: ts.get_variable("w", [10**14]))
    with pytest.raises(CheckpointError, match="'w' cannot be kept in memory"):
        checkpoint.load(ours, tmp_path / "m.pt")
    assert len(ours) == 0
    for file in ("m.pt", "m.safetensors"):
        with pytest.raises(CheckpointError, match="'w'"):
            run_convert(tmp_path / "m.pt", tmp_path / f"new-{file}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pt"]


def run_convert(source: Path, target: Path) -> None:
    from torchscope.checkpoint._convert import kind_of, plan, write
    from torchscope.checkpoint._rows import rows_of

    with checkpoint.open(source) as saved:
        kind = kind_of(target, None)
        planned = plan(saved, rows_of(saved), kind, [], False)
        write(saved, planned.written, target, kind, lambda _: None)


def test_files_are_converted_side_by_side(tmp_path: Path):
    checkpoint.save(VALUES, tmp_path / "m")

    def convert(thread: int) -> None:
        for step in range(6):
            run_convert(tmp_path / "m", tmp_path / f"{thread}-{step}.safetensors")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(convert, range(8)))
    assert len(list(tmp_path.glob("*.safetensors"))) == 48
    assert not list(tmp_path.glob(".torchscope-*"))


class Config:
    """What a training run keeps in its checkpoint beside the tensors."""


@pytest.mark.parametrize("name", ["m.pt", "m.ckpt", "m.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_class_that_stands_in_the_way_is_named(tmp_path: Path, name: str, zipped: bool):
    kept = {"state_dict": VALUES, "hyper_parameters": Config()}
    torch.save(kept, tmp_path / name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(net(), tmp_path / name)
    said = str(caught.value)
    assert f"a {Config.__module__}.Config, which torch.load(weights_only=True) refuses" in said
    assert "'weights.pt')" in said
    assert "\n" not in said
    assert said.isprintable()
    # What it says to type works, and what comes of it is read.
    typed = said[said.index("torch.save(") :].replace("'weights.pt'", "tmp_path / 'weights.pt'")
    exec(typed, {"torch": torch, "tmp_path": tmp_path})
    checkpoint.load(net(), tmp_path / "weights.pt")


@both
def test_a_lightning_checkpoint_says_how_to_load_the_part_that_is_the_model(
    tmp_path: Path, built: bool
):
    kept = {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": OrderedDict(VALUES),
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        "hyper_parameters": {"rate": 0.1},
    }
    torch.save(kept, tmp_path / "epoch=3.ckpt")
    ours = net(built)
    cure = "{'state_dict/': '/'}"
    with pytest.raises(CheckpointError, match=re.escape(f"assignment_map={cure}.")):
        checkpoint.load(ours, tmp_path / "epoch=3.ckpt")
    checkpoint.load(ours, tmp_path / "epoch=3.ckpt", eval(cure))
    assert held(ours) == lists(VALUES)


# ---- a file that changes while it is read --------------------------------------------------------

CUT = """
import json, os, sys, torch, torchscope as ts
from torchscope import checkpoint
from torchscope.checkpoint import _file
fill = _file.File.fill
def model(x):
    for i in range(8):
        ts.get_variable(f"w{i}", [1 << 12], initializer=ts.zeros_initializer())
def outcome(path, what, when):
    net, count = ts.ScopedModule(model).build(torch.ones(1)), [0]
    def cut(self, *args, **kwargs):
        count[0] += 1
        if count[0] == when:
            os.truncate(what, os.path.getsize(what) // 2)
        return fill(self, *args, **kwargs)
    _file.File.fill = cut
    try:
        checkpoint.load(net, path)
    except ts.CheckpointError as error:
        return sum(float(v.detach().sum()) != 0 for v in net.values()), str(error)
    finally:
        _file.File.fill = fill
print(json.dumps([outcome(*one) for one in json.loads(sys.argv[1])]))
"""


KINDS = ["m.pt", "m.safetensors", "v1", "v2"]


def eight_tensors(path: Path, kind: str) -> tuple[Path, Path]:
    """A checkpoint of that kind: what is given, and the file that is cut."""
    values = {f"w{i}": torch.full([1 << 12], i + 1.0) for i in range(8)}
    if kind == "v1":
        rows = [v1_rows(n, 1, v.shape, [(WHOLE, values_proto(v))]) for n, v in values.items()]
        return (write_v1(path / kind, rows, block_bytes=1),) * 2
    if kind == "v2":
        writer = BundleWriter()
        for name, value in values.items():
            writer.add(name, value)
        return writer.write(path / kind), path / "v2.data-00000-of-00001"
    (torch.save if kind == "m.pt" else save_file)(values, path / kind)
    return (path / kind,) * 2


def test_a_file_that_is_cut_while_it_is_loaded_is_an_error_not_the_end_of_the_process(
    tmp_path: Path,
):
    runs: list[tuple[str, str, int]] = []
    for kind in KINDS:
        for when in (1, 4, 8, 12, 16):
            (tmp_path / f"{kind}{when}").mkdir()
            given, cut = eight_tensors(tmp_path / f"{kind}{when}", kind)
            runs.append((str(given), str(cut), when))
    command = [sys.executable, "-W", "ignore", "-c", CUT, json.dumps(runs)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for (path, _, when), outcome in zip(runs, json.loads(done.stdout), strict=True):
        assert outcome is not None or when > 8, path  # it may have been read by then
        changed, message = outcome or (0, "")
        said = re.search(r"(\d) of 8 variables have their new values, the next", message)
        assert changed - (int(said[1]) if said else 0) in (0, 1), path
        assert changed == 0 or when > 1


@pytest.mark.parametrize("kind", ["m.pt", "m.safetensors"])
def test_a_file_without_checksums_that_is_written_to_meanwhile_is_an_error(
    tmp_path: Path, kind: str
):
    given, _ = eight_tensors(tmp_path, kind)
    saved = checkpoint.open(given)
    assert saved["w0"][0] == 1
    time.sleep(0.02)  # as exact as the times that a system notes
    with given.open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"x")
    with pytest.raises(CheckpointError, match="has been changed while it was read"):
        _ = saved["w1"]


def test_a_file_that_is_replaced_meanwhile_is_read_as_it_was(tmp_path: Path):
    torch.save({"w": torch.ones(3)}, tmp_path / "m.pt")
    saved = checkpoint.open(tmp_path / "m.pt")
    torch.save({"w": torch.zeros(3)}, tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "m.pt")
    assert saved["w"].tolist() == [1, 1, 1]


# ---- V1 in shards --------------------------------------------------------------------------------

SHARDED = CASES / "v1_sharded"
EXPECTED = json.loads((SHARDED / "values.json").read_text())["model.ckpt-10-?????-of-00002"]


@pytest.mark.parametrize(
    "path",
    [
        "model.ckpt-10-?????-of-00002",  # as V1's save() returns it
        "",
        "checkpoint",
        "model.ckpt-10-00000-of-00002",
        "model.ckpt-10-00001-of-00002",
        "model.ckpt-10",
        "model.ckpt-10.meta",
    ],
)
def test_the_shards_of_a_v1_checkpoint_are_read_as_one(path: str):
    saved = checkpoint.open(f"{SHARDED}/{path}")
    assert saved.path == SHARDED / "model.ckpt-10-?????-of-00002"
    found = {name: [str(value.dtype)[6:], value.tolist()] for name, value in saved.items()}
    assert found == EXPECTED


def test_a_v1_variable_may_have_slices_in_several_shards(tmp_path: Path):
    value = torch.arange(12.0).view(4, 3)
    pieces = [((start, 2), (0, -1)) for start in (0, 2)]
    for shard, piece in enumerate(pieces):
        part = value[piece[0][0] : piece[0][0] + 2]
        rows = [v1_rows("w", 1, (4, 3), [(piece, values_proto(part))])]
        rows.append(v1_rows(f"only{shard}", 1, (1,), [(WHOLE, values_proto(torch.ones(1)))]))
        write_v1(tmp_path / f"m-{shard:05d}-of-00002", rows)
    saved = checkpoint.open(tmp_path / "m")
    assert list(saved) == ["only0", "only1", "w"]
    assert torch.equal(saved["w"], value)


def test_a_missing_shard_of_a_v1_checkpoint_is_named(tmp_path: Path):
    shutil.copy(SHARDED / "model.ckpt-10-00001-of-00002", tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.ckpt-10-00000-of-00002 is missing"):
        checkpoint.open(tmp_path / "model.ckpt-10-00001-of-00002")
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        checkpoint.open(tmp_path / "other-?????-of-00002")


def test_shards_of_v1_that_contradict_each_other_are_refused(tmp_path: Path):
    for shard, shape in enumerate([(2,), (3,)]):
        rows = [v1_rows("w", 1, shape, [(WHOLE, values_proto(torch.ones(shape)))])]
        write_v1(tmp_path / f"m-{shard:05d}-of-00002", rows)
    with pytest.raises(CheckpointError, match="'w' is another variable in another shard"):
        checkpoint.open(tmp_path / "m")


def test_a_file_that_is_only_called_like_a_shard_is_what_it_is(tmp_path: Path):
    torch.save(VALUES, tmp_path / "m-00000-of-00002")
    assert len(checkpoint.open(tmp_path / "m-00000-of-00002")) == 2


# ---- V1 integers ---------------------------------------------------------------------------------


def encoded(numbers: list[int]) -> bytes:
    return b"".join(map(varint, numbers))


@pytest.mark.parametrize(
    "numbers",
    [
        [],
        [0],
        [127, 128, 300, -1, 2**63 - 1, -(2**63), 2**56 - 1, 2**56, 2**55, 2**62],
        [1] * 70_000 + [-2] * 70_000,  # several chunks, of both kinds
        [(-1) ** i * 3**i % 2**62 for i in range(5_000)],
        [2 ** (7 * i) + d for i in range(9) for d in (-1, 0, 1)] * 3,
    ],
    ids=range(6),
)
def test_integers_are_decoded_in_bulk_as_one_by_one(numbers: list[int]):
    assert _varints.decode(encoded(numbers)).tolist() == numbers


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"\x80", "runs past the end"),
        (b"\1\x80", "runs past the end"),
        (b"\x80" * 10 + b"\1", "more than 10 bytes"),
        (b"\1" + b"\x80" * 10 + b"\1", "more than 10 bytes"),
        (b"\x80" * 2_000_000 + b"\1", "more than 10 bytes"),
    ],
    ids=range(5),
)
def test_damaged_integers_are_refused(data: bytes, match: str):
    with pytest.raises(MalformedError, match=match):
        _varints.decode(data)


def test_two_million_integers_of_a_v1_file_take_less_than_a_loop_over_them(tmp_path: Path):
    # The file's own reading and verifying is not measured.
    numbers = torch.arange(2_000_000) * 7
    data = encoded(numbers.tolist())
    path = write_v1(tmp_path / "v1", [v1_rows("w", 9, (2_000_000,), [(WHOLE, message(10, data))])])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Of several, each waits busily where others use the processor.
    try:
        with checkpoint.open(path, verify=False) as saved:
            taken: list[float] = []
            for _ in range(5):
                begun = time.process_time()
                found = saved["w"]
                taken.append(time.process_time() - begun)
    finally:
        torch.set_num_threads(threads)
    begun, at = time.process_time(), 0
    while at < len(data):
        _, at = _proto.varint(data, at)
    loop = time.process_time() - begun
    assert torch.equal(found, numbers)
    assert min(taken) < loop / 4


# ---- directories ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["", "variables", "variables/variables", "variables/variables.index"]
)
def test_a_saved_model_is_opened(path: str):
    saved = checkpoint.open(CASES / "saved_model" / path)
    assert saved.path == CASES / "saved_model" / "variables" / "variables"
    assert saved["dense/w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_state_file_is_read_as_its_directory_is(tmp_path: Path):
    writer = BundleWriter()
    writer.add("w", torch.ones(2))
    writer.write(tmp_path / "model.ckpt-7")
    for name in ("checkpoint", "best"):
        (tmp_path / name).write_text('model_checkpoint_path: "model.ckpt-7"\n')
        assert checkpoint.open(tmp_path / name).path == tmp_path / "model.ckpt-7"
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "gone"\n')
    with pytest.raises(CheckpointError, match="names 'gone', which is not in"):
        checkpoint.open(tmp_path / "checkpoint")


def test_a_prefix_may_end_in_a_slash(tmp_path: Path):
    writer = BundleWriter()
    writer.add("w", torch.ones(2))
    writer.write(tmp_path / "m")
    (tmp_path / "src").mkdir()
    (tmp_path / "m.index").rename(tmp_path / "src" / ".index")
    (tmp_path / "m.data-00000-of-00001").rename(tmp_path / "src" / ".data-00000-of-00001")
    assert checkpoint.open(tmp_path / "src" / ".index")["w"].tolist() == [1, 1]
    # Of the directory alone that is only a guess; what the error suggests is right.
    with pytest.raises(CheckpointError) as caught:
        checkpoint.open(tmp_path / "src")
    suggested = re.search(r"as in '(.*)'\.$", str(caught.value))
    assert suggested is not None
    assert len(checkpoint.open(suggested[1])) == 1


DIRECTORIES = {
    "model.safetensors": "a Hugging Face directory. Give model.safetensors",
    "pytorch_model.bin": "a Hugging Face directory. Give pytorch_model.bin",
    "model.safetensors.index.json": "Give model.safetensors.index.json",
    "tf_model.h5": "h5py reads tf_model.h5",
    ".metadata": "dcp_to_torch",
    "_CHECKPOINT_METADATA": "Orbax",
    "data.pkl": "an unpacked file of torch.save",
    "saved_model.pb": "a SavedModel that has no variables",
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_other_directories_are_named(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    (tmp_path / "config.json").touch()
    with pytest.raises(CheckpointError, match=re.escape(DIRECTORIES[name])):
        checkpoint.open(tmp_path)


# ---- safetensors ---------------------------------------------------------------------------------


def sharded(path: Path) -> Path:
    files = {name: f"model-0000{i}-of-00002.safetensors" for i, name in enumerate(VALUES, 1)}
    for name, file in files.items():
        save_file({name: VALUES[name]}, path / file)
    index = path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 36}, "weight_map": files}))
    return index


@both
def test_an_index_of_safetensors_files_is_read_as_one(tmp_path: Path, built: bool):
    ours = net(built)
    checkpoint.load(ours, sharded(tmp_path))
    assert held(ours) == lists(VALUES)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda found: found["weight_map"].update(a="../x.safetensors"), "not the name of a file"),
        (lambda found: found["weight_map"].update(a=3), "not the name of a file"),
        (
            lambda found: found["weight_map"].update(a="model-00001-of-00002.safetensors"),
            "should have 'a', but does not",
        ),
        (lambda found: found["weight_map"].update(a="gone.safetensors"), "gone.safetensors is mis"),
        (lambda found: found.clear(), "it is JSON"),
    ],
    ids=range(5),
)
def test_a_damaged_index_of_safetensors_files_is_an_error(
    tmp_path: Path, change: Callable[[Any], Any], match: str
):
    path = sharded(tmp_path)
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match=match):
        checkpoint.open(path)


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def described(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


DAMAGED = {
    "cut data": (safetensors(described(), bytes(4)), "describes 8 bytes of data, but there are 4"),
    "longer data": (safetensors(described(), bytes(9)), "describes 8 bytes of data, but there are"),
    "cut header": (safetensors(described())[:20], "the header should have"),
    "shape": (safetensors(described(shape=[3]), bytes(8)), r"shape \[3\] of F32 does not take 8"),
    "negative": (safetensors(described(shape=[-2]), bytes(8)), "an impossible shape or place"),
    "huge": (safetensors(described(shape=[1 << 70]), bytes(8)), "an impossible shape or place"),
    "text": (safetensors(described(shape="2"), bytes(8)), "an impossible shape or place"),
    "backwards": (safetensors(described(data_offsets=[8, 0])), "an impossible dtype or place"),
    "gap": (safetensors(described(data_offsets=[1, 9]), bytes(9)), "overlap or leave a gap"),
    "overlap": (
        safetensors({**described(), "v": described()["w"]}, bytes(8)),
        "overlap or leave a gap",
    ),
    "no dtype": (safetensors({"w": {"shape": [], "data_offsets": [0, 0]}}), "'dtype'"),
    "a list": (safetensors(described(dtype=["F32"]), bytes(8)), "an impossible dtype"),
    "not a mapping": (safetensors({"w": 3}), "cannot be read"),
    "not JSON": (safetensors(b"{nonsense"), "cannot be read"),
    "deep": (safetensors(b'{"a":' * 100_000), "cannot be read"),
    "twice": (safetensors(b'{"w": 1, "w": 2}'), "a name is there twice"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_safetensors_file_is_an_error(tmp_path: Path, damage: str):
    content, match = DAMAGED[damage]
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=match):
        checkpoint.open(tmp_path / "m.safetensors")


def test_a_safetensors_file_with_a_bool_that_is_neither_is_refused(tmp_path: Path):
    header = {"w": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}
    (tmp_path / "m.safetensors").write_bytes(safetensors(header, b"\2"))
    with pytest.raises(CheckpointError, match="a bool is neither 0 nor 1"):
        checkpoint.load_variable(tmp_path / "m.safetensors", "w")


def test_a_dtype_that_torch_lacks_is_listed(tmp_path: Path):
    header = {"w": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}
    (tmp_path / "m.safetensors").write_bytes(safetensors(header, b"\2"))
    saved = checkpoint.open(tmp_path / "m.safetensors")
    assert saved.dtype("w") == "F4"
    with pytest.raises(CheckpointError, match="torch has no dtype for F4"):
        _ = saved["w"]


# ---- open and list_variables ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors", "m.ckpt", "m", "m.npz"])
@pytest.mark.parametrize("write", [torch.save, save_file])
def test_files_of_torch_and_safetensors_are_opened_whatever_they_are_called(
    tmp_path: Path, write: Callable[..., Any], name: str
):
    write(VALUES, tmp_path / name)
    assert (
        checkpoint.list_variables(tmp_path / name)
        == [
            ("dense/bias", [3]),
            ("dense/kernel", [2, 3]),
        ]
        or write is torch.save
    )
    assert sorted(checkpoint.list_variables(tmp_path / name)) == [
        ("dense/bias", [3]),
        ("dense/kernel", [2, 3]),
    ]
    assert checkpoint.load_variable(tmp_path / name, "dense/bias").tolist() == [1, 2, 3]
    ours = net()
    checkpoint.load(ours, tmp_path / name)
    assert held(ours) == lists(VALUES)


# ---- everything else is named --------------------------------------------------------------------


def onnx() -> bytes:
    return number(1, 8) + message(2, b"pytorch") + message(3, b"2.0") + message(7, b"\x0a\0" * 20)


def mindspore() -> bytes:
    tensor = number(1, 5) + message(2, b"Float32") + message(3, bytes(20))
    return message(1, message(1, b"conv1.weight") + message(2, tensor)) * 3


def packed(write: Callable[[Any], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def tar(stream: io.BytesIO) -> None:
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("model.ckpt.index")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))


def zip_of(*names: str) -> bytes:
    def write(stream: io.BytesIO) -> None:
        with zipfile.ZipFile(stream, "w") as archive:
            for name in names:
                archive.writestr(name, b"abc")

    return packed(write)


def pickled(value: Any, protocol: int = 2) -> bytes:
    import pickle

    return pickle.dumps(value, protocol)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PADDLE = {"linear.w": np.ones(2), "StructuredToParameterName@@": {"linear.w": "linear_0.w_0"}}
NAMED = {
    "a Git LFS pointer": (POINTER, "git lfs pull"),
    "an HTML page": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "The download failed"),
    "an HTML page in capitals": (b"\n <HTML>", "The download failed"),
    "an XML document": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "failed"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "h5py reads it"),
    ".keras": (zip_of("metadata.json", "config.json", "model.weights.h5"), r"a \.keras file"),
    "npz": (packed(lambda stream: np.savez(stream, a=np.ones(2))), r"mapping that numpy\.load"),
    "npy": (packed(lambda stream: np.save(stream, np.ones(2))), "one numpy array"),
    "ONNX": (onnx(), "an ONNX model"),
    "ONNX without a producer": (number(1, 7) + message(7, message(1, b"abc")), "an ONNX model"),
    "TFLite": (b"\x1c\0\0\0TFL3" + bytes(100), "TensorFlow Lite"),
    "GGUF": (b"GGUF\3\0\0\0" + bytes(100), "GGUF"),
    "gzip": (gzip.compress(b"abc"), "gunzip"),
    "tar": (packed(tar), "tar -xf"),
    "a zip": (zip_of("a.txt", "b.txt"), "a zip archive. Unpack it"),
    "a TorchScript archive": (
        zip_of("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version"),
        "a TorchScript archive",
    ),
    "MindSpore": (mindspore(), "mindspore.load_checkpoint"),
    "Paddle": (pickled(PADDLE), "paddle.load"),
    "a pickle": (pickled({"w": [1, 2]}), "a Python pickle, but not one of torch.save"),
    "a pickle of protocol 4": (pickled({"w": [1, 2]}, 4), "a Python pickle, but not one of"),
    "an empty file": (b"", "it is empty"),
    "zeros": (bytes(5000), "a file of zeros"),
    "JSON": (b'{"architectures": ["GPT2"]}', "it is JSON"),
    "text": (b"loss: 0.3\n", "it is text"),
    "anything": (bytes(range(128, 228)), "not of a kind that is read; it begins with"),
}
ENDINGS = ["m.ckpt", "m", "m.safetensors", "m.pt", "m.pth", "m.bin", "m.npz"]


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("kind", NAMED)
def test_what_is_not_read_is_named_under_any_ending(tmp_path: Path, kind: str, name: str):
    content, match = NAMED[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoint.load(net(), tmp_path / name)
    assert "weights_only=False" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "match"),
    [
        ("v1_sharded/model.ckpt-10.meta", "a TensorFlow graph without the values"),
        ("saved_model/saved_model.pb", "the graph of a SavedModel"),
    ],
)
def test_a_graph_without_its_checkpoint_is_named(tmp_path: Path, file: str, match: str):
    shutil.copy(CASES / file, tmp_path / "alone.meta")
    with pytest.raises(CheckpointError, match=match):
        checkpoint.open(tmp_path / "alone.meta")
    shutil.copy(CASES / file, tmp_path / "alone.pb")
    with pytest.raises(CheckpointError, match=match):
        checkpoint.open(tmp_path / "alone.pb")


def test_a_frozen_graph_is_named(tmp_path: Path):
    node = message(1, b"dense/kernel") + message(2, b"Const") + message(5, b"abc")
    (tmp_path / "frozen.pb").write_bytes(message(1, node) * 3)
    with pytest.raises(CheckpointError, match="a frozen graph has its values as constants"):
        checkpoint.open(tmp_path / "frozen.pb")


def test_a_data_file_without_its_index_says_so(tmp_path: Path):
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(range(256)))
    with pytest.raises(CheckpointError, match="cannot be read without the index"):
        checkpoint.open(tmp_path / "m.data-00000-of-00001")


def test_the_mapping_that_numpy_gives_is_loaded(tmp_path: Path):
    before = {name.replace("dense", "before"): value.numpy() for name, value in VALUES.items()}
    np.savez(tmp_path / "golden.npz", **before)
    ours = net()
    checkpoint.load(ours, np.load(tmp_path / "golden.npz"), {"before/": "dense/"})
    assert held(ours) == lists(VALUES)


def test_the_first_bytes_are_all_that_is_read_of_what_is_named(tmp_path: Path):
    with (tmp_path / "m.h5").open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="HDF5"):
        checkpoint.open(tmp_path / "m.h5")
    assert File(tmp_path / "m.h5").size == 1 << 40
