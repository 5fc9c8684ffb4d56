"""Reading TensorFlow's checkpoints: the cases bit for bit, own ones, and what is refused."""

import functools
import gc
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_writer import (
    MAGIC,
    NUMBERS,
    BundleWriter,
    block,
    checksum,
    entry,
    header,
    message,
    number,
    snappy,
    string_bytes,
    tensor_bytes,
    v1_rows,
    values_proto,
    varint,
    write_raw,
    write_v1,
)
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from torchscope import CheckpointError, ScopeError, ScopeWarning, checkpoint
from torchscope.checkpoint import _crc32c, _dtypes, _proto, _slices, _snappy
from torchscope.checkpoint._file import File

DATA = Path(__file__).parent / "data" / "checkpoints"
ZOO = DATA / "ckpt_zoo"
GPT2 = DATA / "gpt2_tiny"

# Prefix or V1 file -> what it holds. The sums are of the bytes in memory, little endian.
CASES = {
    "ckpt_zoo/v2.ckpt-7": "ckpt_zoo/v2.ckpt-7.sha256.json",
    "ckpt_zoo/v1.ckpt": "ckpt_zoo/v1.ckpt.sha256.json",
    "ckpt_zoo/sharded1.ckpt": "ckpt_zoo/sharded1.ckpt.sha256.json",
    "ckpt_zoo/multi.ckpt": "ckpt_zoo/multi.ckpt.sha256.json",
    "gpt2_tiny/model.ckpt": "gpt2_tiny/ckpt_sha256.json",
    "dcgan_tiny/model.ckpt": "dcgan_tiny/ckpt_sha256.json",
    "tf_facts/model.ckpt": "tf_facts/ckpt_sha256.json",
    "tf_slots/optimizers.ckpt": "tf_slots/optimizers.ckpt.sha256.json",
    "tf_slots/averages.ckpt": "tf_slots/averages.ckpt.sha256.json",
}


def flat(value: Any) -> list[bytes]:
    """The strings of a variable in order."""
    return [value] if isinstance(value, bytes) else [one for inner in value for one in flat(inner)]


def facts(saved: checkpoint.Checkpoint, name: str) -> dict[str, Any]:
    """What the lists of sums say of a variable."""
    value = saved[name]
    dtype = saved.dtype(name)
    found: dict[str, Any] = {"shape": list(saved.shape(name))}
    if dtype == "string":
        return {**found, "dtype": "string", "hex": [one.hex() for one in flat(value)]}
    assert (value.dtype, value.shape) == (dtype, saved.shape(name))
    found["dtype"] = str(dtype).removeprefix("torch.")
    return {**found, "sha256": hashlib.sha256(tensor_bytes(value)).hexdigest()}


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither google_crc32c nor crc32c were installed."""
    monkeypatch.setattr(_crc32c, "_fast", None)
    monkeypatch.setattr(_crc32c, "_slowly_verified", 0)


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Bit for bit."""
    return (first.dtype, first.shape) == (second.dtype, second.shape) and tensor_bytes(
        first
    ) == tensor_bytes(second)


def example(dtype: torch.dtype, shape: tuple[int, ...] = (3, 5)) -> torch.Tensor:
    """A tensor of random bits (a bool's are 0 or 1)."""
    if dtype == torch.bool:
        return torch.rand(shape) > 0.5
    bits = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8)
    return bits.view(dtype).reshape(shape)


# ---- real checkpoints --------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True], ids=["copied", "mapped"])
@pytest.mark.parametrize("case", CASES)
def test_every_tensor_of_a_case_is_read_bit_for_bit(case: str, mmap: bool):
    expected = json.loads((DATA / CASES[case]).read_text())
    strings = {name for name, known in expected.items() if known["dtype"] == "string"}
    with checkpoint.open(DATA / case, mmap=mmap) as saved:
        found = {name: facts(saved, name) for name in saved}
    for name in strings:
        expected[name].pop("sha256", None)
    assert found == expected


@pytest.mark.usefixtures("without_packages")
def test_the_cases_are_verified_without_a_package_too():
    with checkpoint.open(ZOO / "v2.ckpt-7") as saved:
        assert len(dict(saved)) == 323


def test_an_index_of_several_blocks_is_read_to_its_end():
    saved = checkpoint.open(ZOO / "blocks.ckpt")
    assert len(saved) == 3600
    assert torch.stack(list(saved.values())).shape == (3600,)


def test_names_are_sorted_as_tensorflow_lists_them():
    names = [name for name, _ in checkpoint.list_variables(ZOO / "v1.ckpt")]
    assert names == sorted(json.loads((ZOO / "v1.ckpt.sha256.json").read_text()))


def test_strings_are_nested_by_their_shape():
    strings = checkpoint.load_variable(ZOO / "v2.ckpt-7", "t/string")
    assert strings == [[b"", b"abc"], [b"x" * 300, "hé".encode()]]
    assert checkpoint.load_variable(ZOO / "v2.ckpt-7", "t/string_scalar") == b"hello"


# ---- a mapping that reads when asked -----------------------------------------------------------


def test_names_shapes_and_dtypes_are_known_without_the_data(tmp_path: Path):
    (tmp_path / "m.index").write_bytes((ZOO / "v2.ckpt-7.index").read_bytes())
    saved = checkpoint.open(tmp_path / "m")
    assert saved.shape("p/emb") == torch.Size([10, 4])
    assert saved.dtype("t/uint16") == torch.uint16
    assert saved.dtype("t/string") == "string"
    assert dict(checkpoint.list_variables(tmp_path / "m"))["t/empty"] == [0, 4]
    with pytest.raises(CheckpointError, match=r"m\.data-00000-of-00001 is missing"):
        saved["p/emb"]


def test_a_name_that_is_not_there_is_a_key_error_that_offers_the_nearest():
    saved = checkpoint.open(GPT2)
    with pytest.raises(CheckpointError, match=r"no variable 'model/wpt' .* or 'model/wpe'") as e:
        saved["model/wpt"]
    assert isinstance(e.value, KeyError)
    assert e.value.name == "model/wpt"
    assert saved.get("model/wpt") is None
    assert "model/wpt" not in saved
    with pytest.raises(CheckpointError, match=r"no variable 'zzz' among its 28\.$"):
        saved.shape("zzz")


def test_load_variable_takes_the_name_of_a_tensor_as_tensorflow_does():
    with_output = checkpoint.load_variable(str(GPT2), "model/wpe:0")
    assert torch.equal(with_output, checkpoint.load_variable(GPT2, "model/wpe"))


def test_a_closed_checkpoint_keeps_its_names_but_reads_no_more():
    with checkpoint.open(GPT2) as saved:
        kept = saved["model/wpe"]
    assert kept.shape == saved.shape("model/wpe")
    with pytest.raises(CheckpointError, match=r"is closed: 'model/wte' cannot be read"):
        saved["model/wte"]
    with checkpoint.open(ZOO / "v1.ckpt") as old:
        pass
    with pytest.raises(CheckpointError, match="closed"):
        old["t/float32"]


def test_a_checkpoint_says_what_it_is():
    assert repr(checkpoint.open(GPT2)).endswith("gpt2_tiny/model.ckpt': 28 variables>")


def test_one_that_is_not_closed_warns_of_nothing():
    checkpoint.open(GPT2)["model/wpe"]
    checkpoint.open(ZOO / "v1.ckpt")["t/float32"]
    gc.collect()  # a ResourceWarning would be an error here


def test_threads_may_read_the_same_checkpoint():
    saved = checkpoint.open(DATA / "dcgan_tiny")
    expected = {name: tensor_bytes(tensor) for name, tensor in saved.items()}
    found: list[bool] = []

    def read() -> None:
        names = random.sample(list(saved), len(saved))
        found.append({name: tensor_bytes(saved[name]) for name in names} == expected)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads and forks
@pytest.mark.parametrize("name", ["m.pt", "m.safetensors", "m"])
def test_forked_processes_may_read_the_same_checkpoint(tmp_path: Path, name: str):
    values = {f"w{number}": torch.full((500,), float(number)) for number in range(20)}
    if name == "m":
        checkpoint.save(values, tmp_path / name)
    else:
        (save_file if name == "m.safetensors" else torch.save)(values, tmp_path / name)
    saved = checkpoint.open(tmp_path / name)

    def read() -> bool:
        return all(saved[name].equal(values[name]) for _ in range(100) for name in values)

    def read_in_a_fork() -> int:
        child = os.fork()
        if child:
            return child
        try:
            os._exit(0 if read() else 1)
        finally:  # after an error
            os._exit(2)

    children = [read_in_a_fork() for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4


def test_tensors_are_made_on_the_cpu_whatever_the_default_device_is():
    with torch.device("meta"):
        saved = checkpoint.open(ZOO / "v2.ckpt-7")
        assert {saved[name].device.type for name in ("t/float32", "p/emb")} == {"cpu"}
        assert checkpoint.load_variable(ZOO / "v1.ckpt", "p/emb").device.type == "cpu"


# ---- paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["", "model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta"],
)
def test_a_checkpoint_is_opened_by_its_prefix_a_file_of_it_or_its_directory(path: str):
    saved = checkpoint.open(os.fspath(GPT2 / path))
    assert saved.path == GPT2 / "model.ckpt"
    assert len(saved) == 28


def test_an_index_comes_before_a_directory_and_a_v1_file_of_that_name(tmp_path: Path):
    BundleWriter().write(tmp_path / "m")
    (tmp_path / "m").mkdir()
    assert len(checkpoint.open(tmp_path / "m")) == 0


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("model.ckpt-8", r"neither 'model\.ckpt-8\.index', .* mean '.*/model\.ckpt-7'\?$"),
        ("zzz", r"Checkpoints there: 'model\.ckpt-7', 'other'\. Give the path of one, as in"),
        ("", r"is a directory without a file 'checkpoint' .* there: 'model\.ckpt-7'"),
        ("nowhere/model", r"there is no directory .*nowhere\.$"),
        ("empty/model", r"No other checkpoint is in .*empty\.$"),
        ("half", r"Its data is there, but cannot be read without the index\.$"),
        ("pipe", r"No checkpoint at .*pipe"),
        ("\0", "No checkpoint at"),
        ("x" * 5000, "No checkpoint at"),
        ("model.ckpt-7/x", r"there is no directory"),
    ],
)
def test_where_there_is_none_the_error_says_what_there_is(tmp_path: Path, path: str, match: str):
    BundleWriter().write(tmp_path / "model.ckpt-7")
    BundleWriter().write(tmp_path / "other")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half.data-00000-of-00001").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=match):
        checkpoint.open(f"{tmp_path}/{path}")


def test_a_shard_that_is_a_pipe_is_not_waited_for(tmp_path: Path):
    writer = BundleWriter()
    writer.add("w", torch.ones(3))
    path = writer.write(tmp_path / "m")
    (tmp_path / "m.data-00000-of-00001").unlink()
    os.mkfifo(tmp_path / "m.data-00000-of-00001")
    saved = checkpoint.open(path)
    with pytest.raises(CheckpointError, match="is missing, or is not a regular file"):
        saved["w"]


# ---- the state file ----------------------------------------------------------------------------


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory with two checkpoints, in one that has another beside it."""
    logs = tmp_path / "logs"
    (logs / "sub").mkdir(parents=True)
    for path in ("logs/model.ckpt-7", "logs/sub/model.ckpt-9", "outside", "logs/a\"b'c\n\xe9\\"):
        BundleWriter().write(tmp_path / path)
    return logs


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('"model.ckpt-7"', "model.ckpt-7"),
        ("'model.ckpt-7'", "model.ckpt-7"),
        ('"sub/model.ckpt-9"', "sub/model.ckpt-9"),
        ('"/home/somebody/run/model.ckpt-7"', "model.ckpt-7"),
        (r'"C:\\runs\\model.ckpt-7"', "model.ckpt-7"),
        ('"../elsewhere/model.ckpt-7"', "model.ckpt-7"),
        (r'"mod\145l.ckpt\x2d7"', "model.ckpt-7"),
        (r'"a\"b\'c\n\303\251\\"', "a\"b'c\n\xe9\\"),
        ('"{logs}/sub/model.ckpt-9"', "sub/model.ckpt-9"),
    ],
)
def test_the_state_file_names_the_latest(logs: Path, line: str, found: str):
    text = f"# a comment\n  model_checkpoint_path : {line.replace('{logs}', str(logs))}\n"
    text += 'all_model_checkpoint_paths: "other"\nlast_preserved_timestamp: 1.5\n'
    (logs / "checkpoint").write_text(text)
    assert checkpoint.latest_checkpoint(logs) == str(logs / found)
    assert len(checkpoint.open(logs)) == 0


def test_the_latest_is_found_in_the_current_directory(logs: Path, monkeypatch: pytest.MonkeyPatch):
    (logs / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"')
    monkeypatch.chdir(logs)
    assert checkpoint.latest_checkpoint(".") == "model.ckpt-7"
    (logs / "checkpoint").write_text(f'model_checkpoint_path: "{logs}/model.ckpt-7"')
    assert checkpoint.latest_checkpoint("") == f"{logs}/model.ckpt-7"


def test_the_state_file_may_have_another_name():
    latest = checkpoint.latest_checkpoint(ZOO, "checkpoint_v1")
    assert latest == str(ZOO / "v1.ckpt")
    assert len(checkpoint.open(latest)) == 312


def test_without_a_state_file_or_with_an_empty_one_there_is_no_latest(logs: Path):
    assert checkpoint.latest_checkpoint(logs) is None
    assert checkpoint.latest_checkpoint(logs / "nowhere") is None
    (logs / "checkpoint").write_text('model_checkpoint_path: ""')
    assert checkpoint.latest_checkpoint(logs) is None


@pytest.mark.parametrize("noted", ["../outside", "{parent}/outside", "sub/../../outside"])
def test_a_noted_path_leads_outside_only_when_asked(logs: Path, noted: str):
    noted = noted.replace("{parent}", str(logs.parent))
    (logs / "checkpoint").write_text(f'model_checkpoint_path: "{noted}"')
    with pytest.raises(CheckpointError, match=r"outside=True\. .* there: .*'model\.ckpt-7'"):
        checkpoint.latest_checkpoint(logs)
    with pytest.raises(CheckpointError, match="outside=True"):
        checkpoint.open(logs)
    found = checkpoint.latest_checkpoint(logs, outside=True)
    assert found is not None
    assert checkpoint.open(found).path.resolve() == logs.parent / "outside"


@pytest.mark.parametrize("noted", [".", "..", "/", "{logs}", "{logs}/", "./.", "sub/..", "\\000"])
def test_a_noted_path_is_never_the_directory_itself(logs: Path, noted: str):
    BundleWriter().write(logs.parent / "logs")  # logs.index, beside the directory
    noted = noted.replace("{logs}", str(logs))
    (logs / "checkpoint").write_text(f'model_checkpoint_path: "{noted}"')
    with pytest.raises(CheckpointError, match="names '"):
        checkpoint.latest_checkpoint(logs)


def test_a_state_file_that_names_what_is_gone_says_what_there_is(logs: Path):
    (logs / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-8"')
    with pytest.raises(CheckpointError, match=r"names 'model\.ckpt-8', .* mean .*ckpt-7'\?$"):
        checkpoint.latest_checkpoint(logs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model_checkpoint_path: 7",
        'model_checkpoint_path: "a',
        "\xff",
        'model_checkpoint_path: "' + "\\a" * 1_000_000 + '"',
    ],
    ids=range(5),
)
def test_a_damaged_state_file_is_an_error(logs: Path, text: str):
    (logs / "checkpoint").write_text(text)
    with pytest.raises(CheckpointError, match="not a state file: it has no line"):
        checkpoint.latest_checkpoint(logs)


def test_a_huge_state_file_is_not_read(logs: Path):
    with (logs / "checkpoint").open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(CheckpointError, match="too large"):
        checkpoint.latest_checkpoint(logs)


# ---- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_every_dtype_is_read_in_both_byte_orders(tmp_path: Path, dtype: torch.dtype, order: str):
    tensors = {"a": example(dtype), "b": example(dtype, ()), "c": example(dtype, (0, 2))}
    writer = BundleWriter(order=order)
    for name, tensor in tensors.items():
        writer.add(name, tensor)
    saved = checkpoint.open(writer.write(tmp_path / "m"))
    assert [name for name in tensors if not same(saved[name], tensors[name])] == []


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("shape", "strings", "expected"),
    [
        ((), [b"a\0\xff"], b"a\0\xff"),
        ((2,), [b"", b"x" * 200], [b"", b"x" * 200]),
        ((2, 1, 2), [b"a", b"b", b"c", b"d"], [[[b"a", b"b"]], [[b"c", b"d"]]]),
        ((0,), [], []),
        ((1 << 62, 3, 0), [], []),
    ],
)
def test_strings_are_bytes(
    tmp_path: Path, shape: tuple[int, ...], strings: list[bytes], expected: Any, order: str
):
    writer = BundleWriter(order=order)
    writer.add_strings("s", shape, strings)
    saved = checkpoint.open(writer.write(tmp_path / "m"))
    assert saved["s"] == expected
    assert (saved.dtype("s"), saved.shape("s")) == ("string", torch.Size(shape))


@pytest.mark.parametrize("options", [{}, {"compress": snappy}, {"block_bytes": 200}])
def test_tables_of_many_kinds_are_read(tmp_path: Path, options: dict[str, Any]):
    tensors = {f"layer_{i}/kernel": torch.tensor(float(i)) for i in range(300)}
    writer = BundleWriter()
    for name, tensor in tensors.items():
        writer.add(name, tensor)
    saved = checkpoint.open(writer.write(tmp_path / "m", **options))
    assert dict(saved) == tensors


GRID = [((0, 2), (0, -1)), ((2, 1), (0, 2)), ((2, 1), (2, 3))]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("mmap", [False, True])
def test_a_partitioned_variable_is_joined_from_its_shards(tmp_path: Path, order: str, mmap: bool):
    whole = torch.arange(15.0).view(3, 5)
    writer = BundleWriter(shards=3, order=order)
    writer.add_sliced("a\0\xff/w", whole, GRID)
    writer.add("other", torch.ones(2), shard=2)
    saved = checkpoint.open(writer.write(tmp_path / "m"), mmap=mmap)
    assert list(saved) == ["a\0\xff/w", "other"]
    assert saved.shape("a\0\xff/w") == (3, 5)
    assert torch.equal(saved["a\0\xff/w"], whole)


def test_a_partitioned_variable_may_be_long_or_empty(tmp_path: Path):
    long = torch.arange(40_000, dtype=torch.int32)
    writer = BundleWriter()
    writer.add_sliced("long", long, [((0, 60),), ((60, 9_000),), ((9_060, 30_940),)])
    writer.add_sliced("empty", torch.ones(0, 2), [((0, -1), (0, 1)), ((0, -1), (1, 1))])
    saved = checkpoint.open(writer.write(tmp_path / "m"))
    assert torch.equal(saved["long"], long)
    assert saved["empty"].shape == (0, 2)


def test_a_checkpoint_of_tensorflow_2_shows_its_keys_as_they_are(tmp_path: Path):
    kernel = "dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    writer = BundleWriter()
    writer.add_strings("_CHECKPOINTABLE_OBJECT_GRAPH", (), [b"\n\0graph"])
    writer.add(kernel, torch.ones(2, 3))
    writer.add("save_counter/.ATTRIBUTES/VARIABLE_VALUE", torch.tensor(7))
    prefix = writer.write(tmp_path / "m")
    assert checkpoint.list_variables(prefix) == [
        ("_CHECKPOINTABLE_OBJECT_GRAPH", []),
        (kernel, [2, 3]),
        ("save_counter/.ATTRIBUTES/VARIABLE_VALUE", []),
    ]
    assert torch.equal(checkpoint.load_variable(prefix, kernel), torch.ones(2, 3))


def test_names_that_are_not_utf8_are_listed_and_read(tmp_path: Path):
    writer = BundleWriter()
    writer.add(b"w\xff\xe9", torch.ones(2))
    saved = checkpoint.open(writer.write(tmp_path / "m"))
    assert list(saved) == ["w\udcff\udce9"]
    assert torch.equal(saved["w\udcff\udce9"], torch.ones(2))


@pytest.mark.parametrize(
    ("dtype", "described"), [(11, "qint8"), (20, "resource"), (99, "unknown dtype 99")]
)
def test_a_dtype_that_torch_has_not_fails_only_when_it_is_asked_for(
    tmp_path: Path, dtype: int, described: str
):
    writer = BundleWriter()
    writer.add_raw("q", dtype, (3,), b"abc")
    writer.add("w", torch.ones(2))
    saved = checkpoint.open(writer.write(tmp_path / "m"))
    assert saved.dtype("q") == described
    assert torch.equal(saved["w"], torch.ones(2))
    match = rf"m\.index, byte 0: variable 'q' .*torch has no dtype for TensorFlow's {described}"
    with pytest.raises(CheckpointError, match=match):
        saved["q"]


def test_a_bool_that_is_neither_true_nor_false_is_refused(tmp_path: Path):
    writer = BundleWriter()
    writer.add_raw("b", 10, (3,), b"\0\1\7")
    with pytest.raises(CheckpointError, match="'b' cannot be read: a bool is neither 0 nor 1"):
        checkpoint.load_variable(writer.write(tmp_path / "m"), "b")


# ---- copies and maps ---------------------------------------------------------------------------


@pytest.fixture
def two_floats(tmp_path: Path) -> Path:
    """``w`` is aligned in its file, ``odd`` is not."""
    writer = BundleWriter()
    writer.add("w", torch.arange(3000.0))
    writer.add("flag", torch.tensor(True))
    writer.add("odd", torch.arange(3000.0))
    return writer.write(tmp_path / "m")


def maps(prefix: Path) -> int:
    """How often the data is mapped into this process."""
    return Path("/proc/self/maps").read_text().count(f"{prefix}.data-00000-of-00001")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="/proc shows what is mapped")
def test_a_mapped_tensor_is_the_file_itself_as_long_as_it_lives(two_floats: Path):
    with checkpoint.open(two_floats, mmap=True) as saved:
        tensor = saved["w"]
        assert maps(two_floats) == 1
        assert tensor.data_ptr() == saved["w"].data_ptr()
    del saved
    gc.collect()
    assert maps(two_floats) == 1
    assert torch.equal(tensor, torch.arange(3000.0))
    del tensor
    gc.collect()
    assert maps(two_floats) == 0


def test_writing_to_a_mapped_tensor_changes_no_file(two_floats: Path):
    tensor = checkpoint.load_variable(two_floats, "w")
    with checkpoint.open(two_floats, mmap=True) as saved:
        saved["w"].zero_()
    assert torch.equal(checkpoint.load_variable(two_floats, "w"), tensor)


def test_what_is_not_aligned_is_copied(two_floats: Path):
    with checkpoint.open(two_floats, mmap=True) as saved:
        assert torch.equal(saved["odd"], torch.arange(3000.0))
        first, second = saved["odd"], saved["odd"]
        assert first.data_ptr() != second.data_ptr()
        assert first.data_ptr() % 4 == 0


def test_a_copied_tensor_shares_nothing(two_floats: Path):
    with checkpoint.open(two_floats) as saved:
        first = saved["w"].zero_()
        assert torch.equal(saved["w"], torch.arange(3000.0))
    (two_floats.parent / "m.data-00000-of-00001").write_bytes(b"")
    assert torch.equal(first, torch.zeros(3000))


# ---- checksums ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True], ids=["copied", "mapped"])
def test_a_flipped_bit_in_the_data_is_found_unless_verify_is_false(two_floats: Path, mmap: bool):
    path = two_floats.parent / "m.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[4000] ^= 1
    path.write_bytes(data)
    with checkpoint.open(two_floats, mmap=mmap) as saved:
        match = r"00001, byte 0: the 12000 bytes of 'w' fail their checksum: .* verify=False"
        with pytest.raises(CheckpointError, match=match) as caught:
            saved["w"]
        assert caught.value.name == "w"
        assert saved["odd"][7] == 7  # the others are as good as they were
    with checkpoint.open(two_floats, mmap=mmap, verify=False) as saved:
        assert saved["w"][999] == 999
        assert saved["w"][1000] != 1000


def test_flipped_bits_in_strings_and_v1_files_are_found_too(tmp_path: Path):
    writer = BundleWriter()
    writer.add_strings("s", (2,), [b"abc", b"def"])
    prefix = writer.write(tmp_path / "m")
    path = tmp_path / "m.data-00000-of-00001"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"g")
    with pytest.raises(CheckpointError, match="the 12 bytes of 's' fail their checksum"):
        checkpoint.load_variable(prefix, "s")
    with checkpoint.open(prefix, verify=False) as saved:
        assert saved["s"] == [b"abc", b"deg"]
    path.write_bytes(b"\2\4" + good[2:])
    with pytest.raises(CheckpointError, match="the lengths in 's' fail their checksum"):
        checkpoint.load_variable(prefix, "s")

    variable = v1_rows("w", 1, (2,), [(((0, -1),), values_proto(torch.ones(2)))])
    old = write_v1(tmp_path / "v1", [variable], block_bytes=1)
    data = old.read_bytes()
    old.write_bytes(data.replace(torch.ones(2).numpy().tobytes(), b"\1\2\3\4\5\6\7\0"))
    with pytest.raises(CheckpointError, match="the block of 40 bytes fails its checksum"):
        checkpoint.load_variable(old, "w")
    with checkpoint.open(old, verify=False) as saved:
        assert tensor_bytes(saved["w"]) == b"\1\2\3\4\5\6\7\0"


@functools.cache
def by_definition(data: bytes) -> int:
    """CRC-32C one bit at a time."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def implementations() -> dict[str, Any]:
    """The name of each way to compute checksums that works here, and what `_fast` is then."""
    found: dict[str, Any] = {"torch": None}
    for package in ("crc32c", "google_crc32c"):
        with pytest.MonkeyPatch.context() as patch:
            for other in {"crc32c", "google_crc32c"} - {package}:
                patch.setitem(sys.modules, other, None)
            fast = _crc32c._installed()
            if fast is not None:
                found[package] = fast
    return found


WAYS = implementations()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [0, 1, 9, 4095, 4096, 4103, 131_072, 131_080, 400_001])
def test_checksums_are_the_same_in_every_way(monkeypatch: pytest.MonkeyPatch, way: str, size: int):
    data = random.Random(size).randbytes(size)
    monkeypatch.setattr(_crc32c, "_fast", WAYS[way])
    expected = by_definition(data)
    assert _crc32c.extend(0, data) == expected
    cut = size * 2 // 3
    start = _crc32c.extend(0, bytearray(data[:cut]))
    assert _crc32c.extend(start, memoryview(data)[cut:]) == expected


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums_are_those_of_the_standard(data: bytes, crc: int):
    assert _crc32c.extend(0, data) == crc  # RFC 3720, B.4
    assert by_definition(data) == crc


def test_without_a_package_large_data_is_verified_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without_packages: None
):
    writer = BundleWriter()
    writer.add("large", torch.ones(2000, dtype=torch.float64))
    prefix = writer.write(tmp_path / "m")
    monkeypatch.setattr(_crc32c, "WARN_AFTER", _crc32c._slowly_verified + 10_000)
    saved = checkpoint.open(prefix)  # small: says nothing
    with pytest.warns(ScopeWarning, match="pip install crc32c"):
        saved["large"]
    saved["large"]  # once


@pytest.mark.usefixtures("without_packages")
def test_the_index_is_verified_without_a_package_too(two_floats: Path):
    path = two_floats.parent / "m.index"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"m\.index, byte 0: .* fails its checksum"):
        checkpoint.open(two_floats, verify=False)


def test_a_package_without_its_c_part_is_not_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "crc32c", None)
    slow = types.SimpleNamespace(implementation="python")
    monkeypatch.setitem(sys.modules, "google_crc32c", slow)
    assert _crc32c._installed() is None
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert _crc32c._installed() is None


def test_packages_are_called_as_they_want_to_be(monkeypatch: pytest.MonkeyPatch):
    google = types.SimpleNamespace(implementation="c", extend=lambda crc, data: (crc, bytes(data)))
    monkeypatch.setitem(sys.modules, "crc32c", None)
    monkeypatch.setitem(sys.modules, "google_crc32c", google)
    fast = _crc32c._installed()
    assert fast is not None
    assert fast(7, memoryview(b"abc")) == (7, b"abc")
    assert fast(7, memoryview(bytearray(b"abcd"))[1:]) == (7, b"bcd")
    assert fast(7, bytearray()) == (7, b"")
    other = types.SimpleNamespace(crc32c=lambda data, crc: (bytes(data), crc))
    monkeypatch.setitem(sys.modules, "crc32c", other)
    fast = _crc32c._installed()
    assert fast is not None
    assert fast(7, b"abc") == (b"abc", 7)


# ---- the format's parts ------------------------------------------------------------------------


@given(st.binary(max_size=300), st.integers(1, 50))
def test_snappy_gives_back_what_was_compressed(data: bytes, times: int):
    assert _snappy.decompress(memoryview(snappy(data * times))) == data * times


@pytest.mark.parametrize(
    ("compressed", "match"),
    [
        (b"", "a number runs past the end"),
        (varint(1000) + b"\0a", "cannot stand for 1000"),
        (varint(5) + b"\0a\x01\x02", "from before the beginning"),
        (varint(5) + b"\0a\x01\x00", "from before the beginning"),
        (varint(2) + b"\0a\x0d\x01", "more than was announced"),
        (varint(9) + b"\x20abc", "more than was announced"),
        (varint(9) + b"\xf0", "more than was announced"),
        (varint(9) + b"\0a\x02\x01", "more than was announced"),
        (varint(9) + b"\0a", "less than was announced"),
    ],
)
def test_damaged_snappy_blocks_are_refused(compressed: bytes, match: str):
    with pytest.raises(_proto.MalformedError, match=match):
        _snappy.decompress(memoryview(compressed))


@given(st.integers(0, (1 << 64) - 1))
def test_numbers_are_read_as_they_were_written(value: int):
    assert _proto.varint(b"x" + varint(value) + b"\xff", 1) == (value, 1 + len(varint(value)))
    assert _proto.signed(value) & (1 << 64) - 1 == value


int64s = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(st.tuples(int64s, int64s), min_size=2, max_size=2))
def test_keys_of_slices_sort_as_their_numbers_do(numbers: list[tuple[int, int]]):
    keys = [_slices.slice_key(b"w", (extent,)) for extent in numbers]
    assert (keys[0] < keys[1]) == (numbers[0] < numbers[1])
    assert (keys[0] == keys[1]) == (numbers[0] == numbers[1])


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (b"\x08", "a number runs past the end"),
        (b"\x08" + b"\xff" * 10, "more than 10 bytes"),
        (b"\xff" * 11, "more than 10 bytes"),
        (b"\x0a\x02a", "a field runs past the end"),
        (b"\x0d\1\2\3", "a field runs past the end"),
        (b"\x0b", "wire type 3"),
        (memoryview(b"\x0a\0" * 65537), "field 1 comes more than 65536 times"),
    ],
)
def test_damaged_messages_are_refused(message: _proto.Buffer, match: str):
    with pytest.raises(_proto.MalformedError, match=match):
        _proto.Message(message)


def test_fields_that_no_message_here_has_are_passed_over():
    message = _proto.Message(b"\x82\x02\x01a" + b"\x80\x02\x07" + b"\x08\x05")
    assert (message.number(32), message.data(32), message.number(1)) == (0, b"", 5)


def test_fields_of_another_wire_type_are_as_good_as_absent():
    message = _proto.Message(b"\x09" + bytes(7) + b"\x01" + b"\x12\x01a" + b"\x1d\1\0\0\0")
    assert (message.number(1), message.number(3), message.number(2)) == (1 << 56, 1, 0)
    assert (message.data(2), message.data(1), message.all(3)) == (b"a", b"", ())


# ---- damaged tables ----------------------------------------------------------------------------


def handle(offset: int, size: int) -> bytes:
    return varint(offset) + varint(size)


def one_table(
    *contents: bytes, kind: int = 0, index: bytes | None = None, footer: bytes | None = None
) -> bytes:
    """A table of blocks with those contents, and perhaps another index block or footer."""
    out = b""
    for content in contents:
        stored = content + bytes([kind])
        out += stored + checksum(stored)
    if index is None:
        index = block([(b"\xff" * 9, handle(0, len(contents[0])))])
    where = handle(len(out), len(index))
    out += index + b"\0" + checksum(index + b"\0")
    if footer is None:
        footer = handle(0, 0) + where
    return out + footer.ljust(40, b"\0") + MAGIC


GOOD = block([(b"", header())])
B = block([(b"b", b"")])


def raw_entry(shared: int, key: bytes, value: bytes = b"") -> bytes:
    return varint(shared) + varint(len(key)) + varint(len(value)) + key + value


DAMAGED_TABLES = {
    "short": (b"abc", r"m\.index, byte 0: not a TensorFlow checkpoint: 3 bytes are too few"),
    "empty file": (b"", "0 bytes are too few"),
    "magic": (bytes(100), r"byte 92: .* the magic number is missing"),
    "footer": (one_table(GOOD, footer=b"\xff" * 40), "byte [0-9]+: the footer is damaged"),
    "index block outside": (one_table(GOOD, footer=handle(0, 0) + handle(9, 1 << 40)), "byte 9: a"),
    "index block far away": (
        one_table(GOOD, footer=handle(0, 0) + handle(1 << 63, 1 << 63)),
        "does not fit into the file",
    ),
    "index": (one_table(GOOD, index=block([(b"a", b"\xff")])), "the index block is damaged"),
    "block outside": (one_table(GOOD, index=block([(b"a", handle(50, 9))])), "does not fit"),
    "a block twice": (
        one_table(GOOD, index=block([(b"a", handle(0, 9)), (b"b", handle(0, 9))])),
        "the block at byte 0 begins before 14",
    ),
    "cycle": (
        one_table(GOOD, index=block([(b"\xff", handle(len(GOOD) + 5, 18))])),
        "is in the wrong block|damaged|should come first",
    ),
    "compression": (one_table(GOOD, kind=2), "byte [0-9]+: unknown compression 2"),
    "snappy": (one_table(GOOD, kind=1), "byte 0: the block is damaged: snappy"),
    "restarts": (one_table(b"\xff\xff\xff\xff"), "its list of restarts is longer"),
    "too short a block": (one_table(b"\1"), "its list of restarts is longer"),
    "past the end": (one_table(raw_entry(0, b"abc")[:4] + bytes(4)), "an entry runs past the end"),
    "long number": (one_table(b"\xff" * 12 + bytes(4)), "damaged 0 bytes after here: a number"),
    "first shares": (one_table(raw_entry(1, b"a") + bytes(4)), "the first key repeats another"),
    "shares too much": (
        one_table(raw_entry(0, b"", header()) + raw_entry(1, b"c") + bytes(4)),
        "damaged 9 bytes after here: a key repeats more than there is",
    ),
    "same key": (
        one_table(raw_entry(0, b"", header()) + raw_entry(0, b"") + bytes(4)),
        "keys do not rise",
    ),
    "keys that unfold": (
        one_table(
            raw_entry(0, b"", header())
            + raw_entry(0, b"a" * 5000)
            + b"".join(raw_entry(5000, i.to_bytes(2, "big")) for i in range(5000))
            + bytes(4)
        ),
        "keys repeat more than writers let them",
    ),
    "wrong block": (
        one_table(B, index=block([(b"a", handle(0, len(B)))])),
        "the key b'b' is in the wrong block",
    ),
    "no entries": (one_table(bytes(4)), "not a V2 checkpoint: the table is empty"),
}


@pytest.mark.parametrize("damage", DAMAGED_TABLES)
def test_a_damaged_table_is_an_error_that_says_where(tmp_path: Path, damage: str):
    data, match = DAMAGED_TABLES[damage]
    (tmp_path / "m.index").write_bytes(data)
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoint.list_variables(tmp_path / "m")
    assert f"{tmp_path}/m.index, byte " in str(caught.value)
    assert isinstance(caught.value, ScopeError)


def test_keys_must_rise_from_block_to_block(tmp_path: Path):
    index = block([(b"a", handle(0, len(GOOD))), (b"b", handle(len(GOOD) + 5, len(GOOD)))])
    (tmp_path / "m.index").write_bytes(one_table(GOOD, GOOD, index=index))
    with pytest.raises(CheckpointError, match="the key b'' is in the wrong block"):
        checkpoint.open(tmp_path / "m")


def test_an_enormous_index_is_not_read(tmp_path: Path):
    with (tmp_path / "m.index").open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(CheckpointError, match="an index of 8589934592 bytes is too large"):
        checkpoint.open(tmp_path / "m")


# ---- damaged entries ---------------------------------------------------------------------------

CRC = checksum(b"")
DAMAGED_HEADERS = {
    "no shards": ([(b"", header(0))], "byte 0: the header cannot be read: 0 shards"),
    "byte order": ([(b"", number(1, 1) + number(2, 2))], "byte order 2"),
    "newer": ([(b"", header(min_consumer=2))], "for readers of version 2"),
    "not a message": ([(b"", b"\x0b")], "the header cannot be read: a field has"),
    "not first": ([(b"a", entry(1, ()))], "b'a' comes before the header"),
}


@pytest.mark.parametrize("damage", DAMAGED_HEADERS)
def test_a_damaged_header_is_an_error_on_opening(tmp_path: Path, damage: str):
    rows, match = DAMAGED_HEADERS[damage]
    with pytest.raises(CheckpointError, match=match):
        checkpoint.open(write_raw(tmp_path / "m", rows))


DAMAGED_SHAPES = {
    "not a message": (b"\x0b", "byte 0: 'v' is damaged: a field has the wire type 3"),
    "negative size": (entry(1, (-3, 2)), r"impossible shape \[-3, 2\]"),
    "rank": (entry(1, (1,) * 255), "impossible shape"),
    "no rank": (number(1, 1) + message(2, number(3, 1)), "its shape is unknown"),
}


@pytest.mark.parametrize("ask", ["shape", "dtype", "__getitem__"])
@pytest.mark.parametrize("damage", DAMAGED_SHAPES)
def test_a_damaged_shape_is_an_error_when_it_is_asked_for(tmp_path: Path, damage: str, ask: str):
    value, match = DAMAGED_SHAPES[damage]
    rows = [(b"", header()), (b"v", value), (b"w", entry(1, (2,)))]
    saved = checkpoint.open(write_raw(tmp_path / "m", rows))
    assert list(saved) == ["v", "w"]
    assert saved.shape("w") == (2,)
    with pytest.raises(CheckpointError, match=match) as caught:
        getattr(saved, ask)("v")
    assert caught.value.name == "v"


WHOLE = ((0, -1),)
KEY = _slices.slice_key
ZEROS = checksum(bytes(8))


def sliced(shape: tuple[int, ...], *pieces: Any, dtype: int = 1) -> list[tuple[bytes, bytes]]:
    """A partitioned ``v`` whose slices are there, all of the same eight zero bytes."""
    part = entry(dtype, (2,), size=8, crc=ZEROS)
    rows = {KEY(b"v", piece): part for piece in pieces}
    return [*rows.items(), (b"v", entry(1, shape, slices=pieces))]


def strings(data: bytes, shape: tuple[int, ...]) -> list[tuple[bytes, bytes]]:
    return [(b"v", entry(7, shape, size=len(data), crc=CRC))]


# Entries of the index, data, and what is said when ``v`` is read.
DAMAGED_VARIABLES: dict[str, tuple[list[tuple[bytes, bytes]], bytes, str]] = {
    "shard": ([(b"v", entry(1, (0,), shard=1))], b"", "byte 0: 'v' is damaged: shard 1 of 1"),
    "size": ([(b"v", entry(1, (3,), size=8))], bytes(8), r"shape \[3\] takes 12 bytes, its data 8"),
    "no size": ([(b"v", entry(1, (1 << 40, 1 << 40)))], b"", "takes 4835703278458516698824704 b"),
    "too short": (
        [(b"v", entry(1, (1 << 40,), size=1 << 42))],
        bytes(8),
        "00001, byte 0: variable 'v' should have 4398046511104 bytes here, but the file has 8",
    ),
    "outside": ([(b"v", entry(1, (1,), offset=5, size=4))], bytes(8), "byte 5: variable 'v' shou"),
    "negative": ([(b"v", entry(1, (1,), offset=-4, size=4))], bytes(8), "should have 4 bytes here"),
    "overflow": ([(b"v", entry(1, (1 << 62, 1 << 62, 0), crc=CRC))], b"", "cannot make the shape"),
    "no strings": (strings(b"", (1 << 60,)), b"", "strings in 0 bytes"),
    "many strings": (strings(bytes(9), (1 << 60,)), bytes(9), "strings in 9 bytes"),
    "long strings": (strings(b"\x7f" + bytes(8), (1,)), b"\x7f" + bytes(8), "strings of 132 bytes"),
    "string lengths": (strings(b"\xff" * 12, (1,)), b"\xff" * 12, "more than 10 bytes"),
    "dimensions": (
        [(b"v", entry(7, (1,) * 9, size=6, crc=string_bytes([b"a"])[1]))],
        string_bytes([b"a"])[0],
        "strings in 9 dimensions",
    ),
    "missing slice": (
        [(b"v", entry(1, (2,), slices=[WHOLE]))],
        b"",
        r"its slice \[\(0, -1\)\] is missing",
    ),
    "dtype of a slice": (sliced((2,), WHOLE, dtype=3), bytes(8), "has another dtype"),
    "shape of a slice": (sliced((1,), ((0, 1),)), bytes(8), "is in the wrong place"),
    "gap": (sliced((9,), ((0, 2),), ((7, 2),)), bytes(99), "slices of 4 elements for the shape"),
    "overlap": (sliced((4,), ((0, 2),), ((1, 2),)), bytes(99), "its slices overlap"),
    "outside the shape": (sliced((4,), ((0, 2),), ((3, 2),)), bytes(99), "does not fit the shape"),
    "before the shape": (sliced((4,), ((-2, 2),), ((2, 2),)), bytes(99), "does not fit the shape"),
    "rank of a slice": (sliced((4,), ((0, 2), (0, 2))), bytes(99), "it has 1 dimensions, but a"),
    "dimensions of a slice": (sliced((4,), ((0, 2),) * 255), bytes(99), "a slice has 255 dim"),
    "slices of many dimensions": (
        sliced((1,) * 9, ((0, 1),) * 9, ((0, 0),) * 9),
        bytes(99),
        "it has slices in 9 dimensions",
    ),
    "one piece of data many times": (
        sliced((200,), *[((2 * i, 2),) for i in range(100)]),
        bytes(8),
        r"the shards are too short for its shape \[200\]",
    ),
}


@pytest.mark.parametrize("mmap", [False, True], ids=["copied", "mapped"])
@pytest.mark.parametrize("damage", DAMAGED_VARIABLES)
def test_a_damaged_variable_is_an_error_on_reading_it_alone(
    tmp_path: Path, damage: str, mmap: bool
):
    rows, data, match = DAMAGED_VARIABLES[damage]
    good = (b"w", entry(1, (0,), crc=CRC))
    prefix = write_raw(tmp_path / "m", [(b"", header()), *sorted(rows), good], data)
    with checkpoint.open(prefix, mmap=mmap) as saved:
        with pytest.raises(CheckpointError, match=match) as caught:
            saved["v"]
        assert caught.value.name == "v"
        assert saved["w"].shape == (0,)


def test_a_file_that_becomes_shorter_is_an_error(two_floats: Path):
    with checkpoint.open(two_floats) as saved:
        saved["w"]
        (two_floats.parent / "m.data-00000-of-00001").write_bytes(bytes(20))
        with pytest.raises(CheckpointError, match="byte 20: the file has become shorter"):
            saved["w"]


def test_what_the_system_refuses_is_an_error(two_floats: Path, monkeypatch: pytest.MonkeyPatch):
    file = File(two_floats.parent / "m.index")
    file.close()
    with pytest.raises(CheckpointError, match=r"m\.index, byte 3: cannot be read: .*closed"):
        file.read(3, 1)
    with pytest.raises(CheckpointError, match=r"m\.index cannot be mapped: .*closed"):
        file.map()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not for you")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"m\.index cannot be opened: not for you"):
        checkpoint.open(two_floats)
    monkeypatch.setattr(Path, "glob", refuse)
    with pytest.raises(CheckpointError, match="No other checkpoint is in"):
        checkpoint.open(two_floats.parent / "other")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no memory")], ids=str)
def test_a_lack_of_memory_is_an_error(
    two_floats: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail(*_: object, **__: object) -> None:
        raise error

    saved = checkpoint.open(two_floats)
    monkeypatch.setattr(File, "fill", fail)
    with pytest.raises(CheckpointError, match="'w' cannot be read: no memory"):
        saved["w"]


def test_an_index_that_takes_too_much_memory_is_an_error(
    two_floats: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(File, "read", fail)
    with pytest.raises(CheckpointError, match="no memory to read its index"):
        checkpoint.open(two_floats)


def test_no_name_in_an_index_leads_to_a_file(tmp_path: Path):
    writer = BundleWriter()
    writer.add("../../secret", torch.ones(2))
    writer.add("/etc/passwd", torch.zeros(2))
    saved = checkpoint.open(writer.write(tmp_path / "m"))
    assert {name: value.tolist() for name, value in saved.items()} == {
        "../../secret": [1, 1],
        "/etc/passwd": [0, 0],
    }


# ---- V1 ----------------------------------------------------------------------------------------

V1_DTYPES = [dtype for number, dtype in ((n, d) for d, n in NUMBERS.items()) if number < 20]


@pytest.mark.parametrize("options", [{}, {"block_bytes": 1}, {"compress": snappy}], ids=str)
@pytest.mark.parametrize("dtype", V1_DTYPES, ids=str)
def test_every_dtype_is_read_from_a_v1_file(
    tmp_path: Path, dtype: torch.dtype, options: dict[str, Any]
):
    tensors = {"z": example(dtype), "b": example(dtype, ()), "c": example(dtype, (0, 2))}
    variables = [
        v1_rows(name, NUMBERS[dtype], one.shape, [(((0, -1),) * one.ndim, values_proto(one))])
        for name, one in tensors.items()
    ]
    halves = [(((0, 2), (0, -1)), tensors["z"][:2]), (((2, 1), (0, -1)), tensors["z"][2:])]
    parts = [(piece, values_proto(part)) for piece, part in halves]
    variables.append(v1_rows("d", NUMBERS[dtype], (3, 5), parts))
    tensors["d"] = tensors["z"]
    saved = checkpoint.open(write_v1(tmp_path / "v1", variables, **options), mmap=True)
    assert list(saved) == ["b", "c", "d", "z"]
    assert [name for name in saved if not same(saved[name], tensors[name])] == []


def test_strings_are_read_from_a_v1_file(tmp_path: Path):
    values = b"".join(message(8, one) for one in (b"a", b"", b"\xff"))
    variable = v1_rows("s", 7, (3, 1), [(((0, -1), (0, -1)), values)])
    path = write_v1(tmp_path / "v1", [variable])
    assert checkpoint.load_variable(path, "s") == [[b"a"], [b""], [b"\xff"]]


def test_only_the_blocks_that_are_needed_are_read(tmp_path: Path):
    one = torch.ones(100)
    names = [f"v{i}" for i in range(20)]
    variables = [v1_rows(name, 1, (100,), [(WHOLE, values_proto(one))]) for name in names]
    path = write_v1(tmp_path / "v1", variables, block_bytes=1)
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1  # in one of the last blocks
    path.write_bytes(data)
    saved = checkpoint.open(path)
    assert torch.equal(saved["v1"], one)
    with pytest.raises(CheckpointError, match="fails its checksum"):
        dict(saved)


FLOATS = values_proto(torch.ones(2))
DAMAGED_V1 = {
    "twice": ([v1_rows("v", 1, (2,), [])] * 2, "two variables 'v'"),
    "shape": ([v1_rows("v", 1, (-2,), [(WHOLE, FLOATS)])], "impossible shape"),
    "huge": ([v1_rows("v", 1, (1 << 60,), [(WHOLE, FLOATS)])], "the file is too short for its sh"),
    "count": ([v1_rows("v", 1, (3,), [(WHOLE, FLOATS)])], "3 numbers of torch.float32 in 8 bytes"),
    "dtype": ([v1_rows("v", 11, (2,), [(WHOLE, FLOATS)])], "torch has no dtype for .* qint8"),
    "other dtype": ([v1_rows("v", 3, (2,), [(WHOLE, FLOATS)])], "2 numbers of torch.int32 in 0"),
    "never in V1": ([v1_rows("v", 23, (2,), [(WHOLE, FLOATS)])], "2 numbers of torch.uint64 in 0"),
    "few": ([v1_rows("v", 9, (2,), [(WHOLE, message(10, b"\x80\1"))])], "1 numbers instead of 2"),
    "varints": ([v1_rows("v", 9, (2,), [(WHOLE, message(10, b"\1\x80"))])], "runs past the end"),
    "no slice": ([v1_rows("v", 1, (2,), [])], "slices of 0 elements"),
    "slice of another": (
        [(v1_rows("v", 1, (2,), [(WHOLE, FLOATS)])[0], v1_rows("w", 1, (2,), [(WHOLE, b"")])[1])],
        r"its slice \[\(0, -1\)\] is missing",
    ),
    "after the last": (
        [(v1_rows("v", 1, (2,), [(WHOLE, FLOATS)])[0], [])],
        r"its slice \[\(0, -1\)\] is missing",
    ),
    "strings": ([v1_rows("v", 7, (2,), [(WHOLE, message(8, b"a"))])], "1 strings for the shape"),
    "string slices": (
        [v1_rows("v", 7, (2,), [(((i, 1),), message(8, b"a")) for i in range(2)])],
        "it is of strings, and partitioned",
    ),
    "message": ([v1_rows("v", 1, (2,), [(WHOLE, b"\x0b")])], "a field has the wire type 3"),
}


@pytest.mark.parametrize("damage", DAMAGED_V1)
def test_a_damaged_v1_file_is_an_error(tmp_path: Path, damage: str):
    variables, match = DAMAGED_V1[damage]
    path = write_v1(tmp_path / "v1", variables)
    with pytest.raises(CheckpointError, match=rf"v1, byte 0: .*{match}"):
        checkpoint.load_variable(path, "v")


def test_an_index_under_another_name_is_distinguished_from_a_v1_file(tmp_path: Path):
    (tmp_path / "renamed").write_bytes((GPT2 / "model.ckpt.index").read_bytes())
    with pytest.raises(CheckpointError, match=r"index should end in \.index"):
        checkpoint.open(tmp_path / "renamed")
    with pytest.raises(CheckpointError, match="is not a checkpoint: it is text"):
        checkpoint.open(__file__)


# ---- what comes with torchscope ----------------------------------------------------------------


def test_importing_torchscope_does_not_import_this():
    program = "import sys, torchscope; print([n for n in sys.modules if 'torchscope.checkp' in n])"
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_nothing_of_tensorflow_or_numpy_is_needed():
    program = (
        "import sys; sys.modules.update(tensorflow=None, numpy=None, crc32c=None)\n"
        "from torchscope import checkpoint\n"
        f"print(len(dict(checkpoint.open({str(ZOO / 'v2.ckpt-7')!r}))))"
    )
    run = [sys.executable, "-W", "ignore", "-c", program]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "323\n"


# ---- an entry that is not as TensorFlow writes it ----------------------------------------------

PLAIN = entry(1, (2, 3), shard=0, offset=200, size=24, crc=b"\n\x12\x08a")
ENTRIES = {
    "plain": PLAIN,
    "scalar": entry(9, (), size=8),
    "another shape behind": PLAIN + message(2, number(2, 0)),
    "another dtype behind": PLAIN + number(1, 3),
    "unknown fields": PLAIN + number(9, 300) + message(12, b"abc"),
    "shape first": message(2, b"\x12\x02\x08\x05") + number(1, 2),
    "a long number": number(1, 1 << 40) + message(2, b""),
    "no shape": number(1, 1),
    **{f"cut to {end}": PLAIN[:end] for end in range(len(PLAIN))},
}


@pytest.mark.parametrize("data", ENTRIES.values(), ids=ENTRIES)
def test_dtype_and_shape_are_what_protobuf_says_whatever_the_order(tmp_path: Path, data: bytes):
    write_raw(tmp_path / "m", [(b"", header()), (b"w", data)])
    with checkpoint.open(tmp_path / "m") as saved:
        try:
            parsed = _proto.Message(data)
            dtype = _dtypes.describe(parsed.number(1))
            expected = dtype, _slices.parse_shape(bytes(parsed.data(2)))
        except _proto.MalformedError:
            with pytest.raises(CheckpointError, match="'w' is damaged"):
                saved.shape("w")
        else:
            assert saved._reader.describe("w") == expected
