"""The command line: what it prints and writes, its exit codes, and hostile input."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from checkpoint_writer import NUMBERS, BundleWriter, entry, header, write_raw
from safetensors.torch import load_file, save_file

from torchscope import checkpoint
from torchscope.checkpoint import _compare
from torchscope.command_line import _terminal, main

DATA = Path(__file__).parent / "data" / "checkpoints"
GPT2 = DATA / "gpt2_tiny"
V1 = DATA / "ckpt_zoo" / "v1.ckpt"


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Answer]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""

    def run(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """A checkpoint of TensorFlow's, or what the ending says."""
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    elif path.suffix == ".pt":
        torch.save(tensors, path)
    else:
        writer = BundleWriter()
        for name, tensor in tensors.items():
            writer.add(name, tensor)
        writer.write(path)
    return path


def training(path: Path) -> Path:
    """A checkpoint with all that is left out by default."""
    writer = BundleWriter()
    writer.add("net/w", torch.tensor([1.0, 2.0]))
    writer.add("net/w/Adam", torch.zeros(2))
    writer.add("global_step", torch.tensor(7))
    writer.add("beta1_power", torch.tensor(0.9))
    writer.add_strings("words", (2,), [b"a", b"bc"])
    return writer.write(path)


def bits(tensor: torch.Tensor) -> tuple[Any, ...]:
    data = tensor.contiguous().reshape(-1).view(torch.uint8).tolist() if tensor.numel() else []
    return tensor.dtype, tuple(tensor.shape), data


# ---- list --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m", "m.safetensors", "m.pt"])
def test_list_shows_name_shape_dtype_and_bytes_and_a_total(run: Run, tmp_path: Path, name: str):
    tensors = {"a/b": torch.zeros(2, 3), "a/c": torch.zeros((), dtype=torch.int64)}
    path = write(tmp_path / name, tensors)
    assert run("list", path) == Answer(
        0,
        "name  shape   dtype    bytes\n"
        "a/b   [2, 3]  float32     24\n"
        "a/c   []      int64        8\n"
        f"2 variables, 32 bytes, in {path}\n",
        "",
    )


def test_list_says_which_checkpoint_of_a_directory_it_lists(run: Run):
    assert run("list", GPT2).out.endswith(f"28 variables, 65,376 bytes, in {GPT2 / 'model.ckpt'}\n")


def test_list_reads_v1_files(run: Run):
    code, out, err = run("list", V1)
    assert (code, err) == (0, "")
    assert re.search(r"^p/emb +\[10, 4\] +float32 +160$", out, re.MULTILINE)


def test_list_reads_bfloat16_from_safetensors(run: Run, tmp_path: Path):
    path = write(tmp_path / "m.safetensors", {"w": torch.zeros(3, dtype=torch.bfloat16)})
    assert "w     [3]    bfloat16      6\n" in run("list", path).out


def test_a_tree_has_the_count_and_the_bytes_of_each_scope(run: Run, tmp_path: Path):
    names = ["b", "a/x/w", "a/x/w/Adam", "a/y", "a.z"]
    path = write(tmp_path / "m", {name: torch.zeros(1) for name in names})
    assert run("list", path, "--tree").out.splitlines()[:-2] == [
        "name        shape        dtype    bytes",
        "a/          3 variables              12",
        "  x/        2 variables               8",
        "    w       [1]          float32      4",
        "    w/      1 variable                4",
        "      Adam  [1]          float32      4",
        "  y         [1]          float32      4",
        "a.z         [1]          float32      4",
        "b           [1]          float32      4",
    ]


def test_select_lists_what_the_pattern_is_found_in(run: Run):
    answer = run("list", GPT2, "--select", "wte$|wpe$", "--json")
    assert [row["name"] for row in json.loads(answer.out)["variables"]] == [
        "model/wpe",
        "model/wte",
    ]


def test_list_as_json_is_complete(run: Run, tmp_path: Path):
    path = training(tmp_path / "m")
    found = json.loads(run("list", path, "--json").out)
    assert found["path"] == str(path)
    assert found["total"] == {"variables": 5, "bytes": 8 + 8 + 8 + 4}
    assert found["variables"][-1] == {
        "name": "words",
        "shape": [2],
        "dtype": "string",
        "bytes": None,
    }


def test_a_dict_within_a_pt_file_is_a_scope(run: Run, tmp_path: Path):
    inner: dict[Any, Any] = {"fc.w": torch.zeros(2), 0: {"step": 5}}
    inner["itself"] = inner
    torch.save({"model": inner, "epoch": 3, "name": "resnet", "groups": [1]}, tmp_path / "m.pt")
    rows = json.loads(run("list", tmp_path / "m.pt", "--json").out)["variables"]
    assert [(row["name"], row["dtype"]) for row in rows] == [
        ("model/fc.w", "float32"),
        ("model/0/step", "int64"),
        ("model/itself", "dict"),
        ("epoch", "int64"),
        ("name", "string"),
        ("groups", "list"),
    ]


def test_two_entries_of_a_pt_file_with_one_name_are_refused(run: Run, tmp_path: Path):
    torch.save({"a": {"b": 1}, "a/b": 2}, tmp_path / "m.pt")
    code, _, err = run("list", tmp_path / "m.pt")
    assert code == 2
    assert "has two entries 'a/b'" in err


# ---- names and claims of hostile files ---------------------------------------------------------


def hostile(path: Path, name: bytes, shape: tuple[int, ...] = ()) -> Path:
    return write_raw(path, [(b"", header()), (name, entry(1, shape, size=4))], bytes(4))


@pytest.mark.parametrize("arguments", [["list"], ["list", "--tree"]], ids=" ".join)
def test_no_name_commands_the_terminal(run: Run, tmp_path: Path, arguments: list[str]):
    name = b"a\x1b[2J\x9b\n\xff" + "\u202e\u2028é".encode()
    out = run(*arguments, hostile(tmp_path / "m", name)).out
    assert r"a\x1b[2J\x9b\n\xff\u202e\u2028é" in out
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert len(out.splitlines()) == 3


def test_no_name_or_path_in_an_error_commands_the_terminal(run: Run, tmp_path: Path):
    path = hostile(tmp_path / "m\x1b[2J\n", b"w\x1b[2J", (7,))
    code, _, err = run("convert", path, tmp_path / "m.pt")
    assert code == 2
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


def test_a_name_that_is_not_utf8_is_valid_json(run: Run, tmp_path: Path):
    out = run("list", hostile(tmp_path / "m", b"w\xff\x1b"), "--json").out
    assert out.isascii()
    assert json.loads(out)["variables"][0]["name"] == "w\udcff\x1b"


def test_a_shape_that_claims_more_than_there_can_be_has_no_bytes(run: Run, tmp_path: Path):
    path = hostile(tmp_path / "m", b"w", (2**62,) * 254)
    code, out, _ = run("list", path)
    assert code == 0
    assert out.splitlines()[1].endswith(" -")
    assert json.loads(run("list", path, "--json").out)["variables"][0]["bytes"] is None


@pytest.mark.parametrize("name", [b"x" * 100_000, b"a/" * 50_000 + b"b"], ids=["wide", "deep"])
@pytest.mark.parametrize("arguments", [["list"], ["list", "--tree"]], ids=" ".join)
def test_one_long_name_does_not_make_every_line_long(
    run: Run, tmp_path: Path, name: bytes, arguments: list[str]
):
    writer = BundleWriter()
    for one in [name, *(b"y%03d" % number for number in range(100))]:
        writer.add(one, torch.zeros(1))
    assert len(run(*arguments, writer.write(tmp_path / "m")).out) < 2 * len(name)


def test_a_terminal_that_has_no_such_letter_gets_its_number(tmp_path: Path):
    path = write(tmp_path / "m", {"é": torch.zeros(1)})
    done = program("list", path, environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert r"\xe9" in done.stdout


# ---- diff --------------------------------------------------------------------------------------


def test_diff_of_the_same_values_in_two_formats_answers_0(run: Run, tmp_path: Path):
    tensors = {"a": torch.tensor([1.0, float("nan"), float("inf")]), "b": torch.arange(3)}
    a, b = write(tmp_path / "a", tensors), write(tmp_path / "b.pt", tensors)
    code, out, _ = run("diff", a, b)
    assert code == 0
    assert out == f"A is {a}\nB is {b}\n2 variables the same, 0 different\n"


def test_diff_says_what_differs_and_answers_1(run: Run, tmp_path: Path):
    same = {"same": torch.ones(3)}
    a = write(
        tmp_path / "a.pt",
        same
        | {"gone": torch.ones(1), "shape": torch.ones(2, 3), "value": torch.tensor([1.0, 2.0])}
        | {"dtype": torch.tensor([1.0, 0.1]), "step": torch.tensor(2**62 + 1)},
    )
    b = write(
        tmp_path / "b.pt",
        same
        | {"shape": torch.ones(3, 2), "value": torch.tensor([1.0, 2.5])}
        | {"dtype": torch.tensor([1.0, 0.1]).bfloat16(), "step": torch.tensor(2**62)}
        | {"new": torch.ones(1)},
    )
    code, out, _ = run("diff", a, b)
    assert code == 1
    assert out.splitlines()[2:] == [
        "gone: only in A",
        "shape: shape [2, 3] in A, [3, 2] in B",
        "value: largest difference 0.5",
        "dtype: float32 in A, bfloat16 in B; largest difference 9.76548e-05",
        "step: largest difference 1",
        "new: only in B",
        "1 variable the same, 6 different",
    ]


def test_diff_as_json_has_no_number_that_json_lacks(run: Run, tmp_path: Path):
    a = write(tmp_path / "a.pt", {"w": torch.tensor([float("nan")]), "v": torch.ones(1)})
    b = write(tmp_path / "b.pt", {"w": torch.tensor([1.0]), "u": torch.ones(1)})
    code, out, _ = run("diff", a, b, "--json")
    found = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert code == 1
    assert (found["a"], found["b"], found["same"]) == (str(a), str(b), 0)
    by_name = {one["name"]: one for one in found["different"]}
    assert by_name["w"]["largest_difference"] == "nan"
    assert by_name["v"]["b"] is by_name["u"]["a"] is None


def test_diff_compares_strings(run: Run, tmp_path: Path):
    one, two = BundleWriter(), BundleWriter()
    one.add_strings("words", (2,), [b"a", b"b"])
    two.add_strings("words", (2,), [b"a", b"c"])
    a, b = one.write(tmp_path / "a"), two.write(tmp_path / "b")
    assert run("diff", a, a).code == 0
    code, out, _ = run("diff", a, b)
    assert code == 1
    assert "words: the values differ" in out


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([-(2**63)], [2**63 - 1], 2**64 - 1),
        ([5, -7], [5, -7], 0),
        ([5, -7], [4, 7], 14),
    ],
)
def test_the_difference_of_integers_is_exact(a: list[int], b: list[int], expected: int):
    assert _compare.largest_difference(torch.tensor(a), torch.tensor(b)) == expected


INTEGERS = [torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_the_ends_of_an_integer_dtype_differ_by_all_of_it(dtype: torch.dtype):
    info = torch.iinfo(dtype)
    a, b = torch.tensor([info.min, 1], dtype=dtype), torch.tensor([info.max, 1], dtype=dtype)
    assert _compare.largest_difference(a, b) == info.max - info.min


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if d.is_floating_point], ids=str)
def test_the_difference_of_each_float_dtype_is_found(dtype: torch.dtype):
    a, b = torch.tensor([1.0, 2.0]).to(dtype), torch.tensor([1.0, 4.0]).to(dtype)
    assert _compare.largest_difference(a, b) == 2.0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (torch.tensor([0.0]), torch.tensor([-0.0]), 0.0),
        (torch.tensor([float("inf")]), torch.tensor([float("-inf")]), float("inf")),
        (torch.tensor([3 + 4j]), torch.tensor([0j]), 5.0),
        (torch.tensor([True]), torch.tensor([False]), 1),
        (torch.tensor([2**63], dtype=torch.uint64), torch.tensor([0]), 2.0**63),
        (torch.zeros(0), torch.zeros(0), 0),
    ],
)
def test_the_difference_of_odd_values(a: torch.Tensor, b: torch.Tensor, expected: float):
    assert _compare.largest_difference(a, b) == expected


def test_a_difference_behind_the_first_chunk_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_compare, "_CHUNK", 4)
    a = torch.zeros(11)
    b = a.clone()
    b[10] = 3.0
    assert _compare.largest_difference(a, b) == 3.0


# ---- convert -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["m.safetensors", "m.pt"])
@pytest.mark.parametrize("source", ["v2", "v2, big-endian", "safetensors", "pt"])
def test_convert_keeps_every_bit(run: Run, tmp_path: Path, source: str, target: str):
    torch.manual_seed(1)
    tensors = {
        f"scope/{dtype}".removeprefix("torch."): torch.randint(0, 2, (3, 5)).to(dtype)
        if dtype == torch.bool
        else torch.randint(0, 256, (3, 5 * dtype.itemsize), dtype=torch.uint8).view(dtype)
        for dtype in NUMBERS
        if dtype != torch.complex128 or target == "m.pt"
    }
    tensors |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(1.5)}
    if source == "safetensors":
        tensors.pop("scope/torch.complex128", None)
        path = write(tmp_path / "in.safetensors", tensors)
    elif source == "pt":
        path = write(tmp_path / "in.pt", tensors)
    else:
        writer = BundleWriter(order="big" if "big" in source else "little")
        for name, tensor in tensors.items():
            writer.add(name, tensor)
        path = writer.write(tmp_path / "in")
    code, _, err = run("convert", path, tmp_path / target)
    assert (code, err) == (0, "")
    read = load_file(tmp_path / target) if "safe" in target else torch.load(tmp_path / target)
    assert {name: bits(tensor) for name, tensor in read.items()} == {
        name: bits(tensor) for name, tensor in tensors.items()
    }


def test_a_v1_file_is_converted(run: Run, tmp_path: Path):
    assert run("convert", V1, tmp_path / "m.safetensors").code == 0
    read = load_file(tmp_path / "m.safetensors")
    with checkpoint.open(V1) as saved:
        assert {n: bits(t) for n, t in read.items()} == {n: bits(saved[n]) for n in saved}


def test_what_was_converted_loads_into_a_store_of_the_names(run: Run, tmp_path: Path):
    run("convert", GPT2, tmp_path / "m.safetensors")
    assert run("diff", GPT2, tmp_path / "m.safetensors").code == 0


def test_convert_leaves_out_slots_and_strings_and_says_so(run: Run, tmp_path: Path):
    path = training(tmp_path / "m")
    code, out, _ = run("convert", path, tmp_path / "m.pt")
    assert code == 0
    assert out == (
        f"1 variable, 8 bytes, from {path} to {tmp_path / 'm.pt'}\n"
        "  left out, optimizer state and step counters: 3 (beta1_power, global_step, net/w/Adam); "
        "--keep-slots writes them\n"
        "  left out, not numbers: words (string); only --to tensorflow writes strings\n"
    )
    assert list(torch.load(tmp_path / "m.pt")) == ["net/w"]


def test_keep_slots_writes_all_numbers(run: Run, tmp_path: Path):
    run("convert", training(tmp_path / "m"), tmp_path / "m.safetensors", "--keep-slots")
    names = ["beta1_power", "global_step", "net/w", "net/w/Adam"]
    assert sorted(load_file(tmp_path / "m.safetensors")) == names


def test_map_and_select_choose_and_rename(run: Run, tmp_path: Path):
    path = write(tmp_path / "m", {f"old/{name}": torch.ones(1) for name in ("w", "b", "other")})
    arguments = ["--select", "w$|b$", "--map", "^old/=new.", "--map", "(?=w$)(.)=\\1eight"]
    answer = run("convert", path, tmp_path / "m.pt", *arguments, "--json")
    assert list(torch.load(tmp_path / "m.pt")) == ["new.b", "new.weight"]
    found = json.loads(answer.out)
    assert {new: row["name"] for new, row in found["written"].items()} == {
        "new.b": "old/b",
        "new.weight": "old/w",
    }
    assert found["left_out"] == {"slots": [], "no_numbers": []}
    assert found["total"] == {"variables": 2, "bytes": 8}


def test_shared_and_transposed_tensors_of_a_pt_file_are_converted(run: Run, tmp_path: Path):
    whole = torch.arange(6.0).view(2, 3)
    tensors = {
        "w": whole,
        "tied": whole,
        "t": whole.T,
        "row": whole[1],
        "conj": (whole + 1j).conj(),
    }
    torch.save(tensors, tmp_path / "in.pt")
    assert run("convert", tmp_path / "in.pt", tmp_path / "m.safetensors").code == 0
    read = load_file(tmp_path / "m.safetensors")
    assert {n: bits(t) for n, t in read.items()} == {
        n: bits(t.resolve_conj()) for n, t in tensors.items()
    }


@pytest.mark.parametrize(
    "odd",
    [torch.eye(2).to_sparse(), torch.ones(2, device="meta")],
    ids=["sparse", "without data"],
)
@pytest.mark.parametrize("target", ["m.safetensors", "m.pt"])
def test_what_is_not_a_plain_tensor_is_not_converted(
    run: Run, tmp_path: Path, odd: torch.Tensor, target: str
):
    torch.save({"a": torch.ones(1), "odd": odd}, tmp_path / "in.pt")
    code, _, err = run("convert", tmp_path / "in.pt", tmp_path / target)
    assert code == 2
    assert "'odd' is not a plain tensor" in err
    assert not (tmp_path / target).exists()


def test_a_name_that_is_not_utf8_is_kept_in_a_pt_file(run: Run, tmp_path: Path):
    writer = BundleWriter()
    writer.add(b"w\xff", torch.ones(1))
    path = writer.write(tmp_path / "m")
    assert run("convert", path, tmp_path / "m.pt").code == 0
    assert run("diff", path, tmp_path / "m.pt").code == 0


def test_the_file_may_be_read_by_whom_the_umask_allows(run: Run, tmp_path: Path):
    run("convert", GPT2, tmp_path / "m.pt")
    (tmp_path / "other").touch()
    assert (tmp_path / "m.pt").stat().st_mode == (tmp_path / "other").stat().st_mode


# ---- what is refused: one line, 2, and nothing is changed --------------------------------------


def odd_bundle(path: Path) -> Path:
    writer = BundleWriter()
    writer.add("a", torch.ones(1))
    writer.add("b", torch.ones(1, dtype=torch.complex128))
    writer.add(b"c\xff", torch.ones(1))
    writer.add_raw("q", 11, (3,), b"abc")
    return writer.write(path)


REFUSED = {
    "an ending that says nothing": (
        ["{odd}", "m.npz"],
        "does not say what to write.* --to tensorflow",
    ),
    "no directory": (["{odd}", "nowhere/m.pt"], "There is no directory"),
    "a directory": (["{odd}", "dir.pt"], "is a directory"),
    "a file that is there": (["{odd}", "old.pt"], "exists already; --force replaces it"),
    "no source": (["{dir}/nothing", "m.pt"], "No checkpoint at"),
    "no format's dtype": (["{odd}", "m.pt"], "'q' is qint8, which torch lacks: .* --select"),
    "not safetensors' dtype": (
        ["{odd}", "m.safetensors", "--select", "[abc]"],
        "'b' is complex128, which safetensors cannot store: write a .pt file, or .* --select",
    ),
    "not safetensors' name": (
        ["{odd}", "m.safetensors", "--select", "[ac]"],
        "safetensors cannot store the name .*--map",
    ),
    "safetensors' own name": (
        ["{odd}", "m.safetensors", "--select", "a", "--map", "a=__metadata__"],
        "safetensors cannot store the name '__metadata__'",
    ),
    "two names that become one": (
        ["{odd}", "m.pt", "--select", "[ac]", "--map", ".+=x"],
        "Both 'a' and 'c.*' would be written as 'x'",
    ),
    "a name that selects nothing": (["{odd}", "m.pt", "--select", "zzz"], "Nothing to write"),
    "only slots": (["{slots}", "m.pt", "--select", "Adam"], "all 1 are .*--keep-slots"),
    "a group that is not there": (["{odd}", "m.pt", "--select", "a", "--map", r"a=\3"], "group"),
    "no pattern": (["{odd}", "m.pt", "--select", "("], "not a regular expression"),
    "no map": (["{odd}", "m.pt", "--map", "a"], "has no =; for example '\\^old/=new/'"),
    "an unknown option": (["{odd}", "m.pt", "--fast"], "unrecognized arguments: --fast"),
    "damaged data": (["{damaged}", "old.pt", "--force"], "checksum"),
}


def test_the_way_back_to_tensorflow_is_lossless(run: Run, tmp_path: Path):
    for target in ("a.safetensors", "b.pt", "c.ckpt"):
        assert run("convert", GPT2, tmp_path / target).code == 0
        back = tmp_path / target.replace(".", "_") / "model.ckpt-7"
        back.parent.mkdir()
        assert run("convert", tmp_path / target, back).code == 0
        for ending in (".index", ".data-00000-of-00001"):
            written = back.with_name(back.name + ending).read_bytes()
            assert written == (GPT2 / f"model.ckpt{ending}").read_bytes()
        assert len(list(back.parent.iterdir())) == 2  # and no state file


def test_names_are_mapped_on_the_way_back(run: Run, tmp_path: Path):
    torch.save({"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}, tmp_path / "m.pt")
    maps = ("--map", r"^fc\.=dense/", "--map", "/weight$=/kernel")
    code, out, _ = run("convert", tmp_path / "m.pt", tmp_path / "m.ckpt", *maps)
    assert code == 0
    assert out.startswith("2 variables, 32 bytes, from ")
    assert checkpoint.list_variables(tmp_path / "m.ckpt") == [
        *(("dense/bias", [2]), ("dense/kernel", [2, 3]))
    ]


def test_strings_are_written_to_tensorflow_alone(run: Run, tmp_path: Path):
    values = {"s": [["a", "b"]], "w": torch.ones(2)}
    path = checkpoint.save(values, tmp_path / "strings")
    assert run("convert", path, tmp_path / "m.ckpt").code == 0
    assert checkpoint.load_variable(tmp_path / "m.ckpt", "s") == [[b"a", b"b"]]
    out = run("convert", path, tmp_path / "m.pt").out
    assert re.search(r"left out, .*\bs\b", out)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("tensorflow", lambda path: checkpoint.list_variables(path)),
        ("torch", lambda path: torch.load(path, weights_only=True)),
        ("safetensors", lambda path: load_file(path)),
    ],
)
def test_a_kind_may_be_asked_for_whatever_the_ending(
    run: Run, tmp_path: Path, kind: str, check: Any
):
    for target in ("plain", "m.other"):
        assert run("convert", GPT2, tmp_path / target, "--to", kind).code == 0
        assert len(check(tmp_path / target)) == 28


def test_a_checkpoint_that_is_there_is_replaced_with_force_alone(run: Run, tmp_path: Path):
    target = checkpoint.save({"w": torch.ones(1)}, tmp_path / "model.ckpt")
    state = (tmp_path / "checkpoint").read_bytes()
    code, _, err = run("convert", GPT2, target)
    assert (code, err.count("\n")) == (2, 1)
    assert "exists already; --force replaces it" in err
    assert run("convert", GPT2, target, "--force").code == 0
    assert len(checkpoint.list_variables(target)) == 28
    assert (tmp_path / "checkpoint").read_bytes() == state


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"a b": torch.ones(1)}, "TensorFlow would refuse the name.*--map REGEX=REPLACEMENT"),
        (
            {"w": torch.zeros(1, dtype=torch.float8_e8m0fnu)},
            "a dtype that TensorFlow does not have",
        ),
        ({"w": torch.ones(1).to_sparse()}, "layout"),
    ],
)
def test_what_tensorflow_could_not_have_is_not_converted(
    run: Run, tmp_path: Path, values: Any, match: str
):
    torch.save(values, tmp_path / "m.pt")
    code, _, err = run("convert", tmp_path / "m.pt", tmp_path / "m.ckpt")
    assert code == 2
    assert re.search(match, err)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("name", ["m.index", "no/such/m.ckpt", "."])
def test_a_place_where_no_checkpoint_can_be_is_refused(run: Run, tmp_path: Path, name: str):
    code, _, err = run("convert", GPT2, tmp_path / name, "--to", "tensorflow")
    assert (code, err.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_conversion_says_why_and_changes_nothing(
    run: Run, tmp_path: Path, arguments: list[str], message: str
):
    odd, slots = odd_bundle(tmp_path / "odd"), training(tmp_path / "slots")
    damaged = write(tmp_path / "damaged", {"w": torch.ones(9)})
    (tmp_path / "damaged.data-00000-of-00001").write_bytes(bytes(36))
    (tmp_path / "old.pt").write_text("old")
    (tmp_path / "dir.pt").mkdir()
    there = set(tmp_path.iterdir())
    places = {"odd": odd, "slots": slots, "damaged": damaged, "dir": tmp_path}
    source, target, *rest = (argument.format(**places) for argument in arguments)
    code, out, err = run("convert", source, tmp_path / target, *rest)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert len([line for line in err.splitlines() if line.startswith("torchscope")]) == 1
    assert "Traceback" not in err
    assert set(tmp_path.iterdir()) == there
    assert (tmp_path / "old.pt").read_text() == "old"


@pytest.mark.parametrize("target", ["m.safetensors", "m.pt"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_conversion_that_stops_midway_leaves_nothing(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    error: BaseException,
):
    calls: list[int] = []

    def fail(self: object, count: int) -> None:
        calls.append(count)
        if len(calls) > 2:
            raise error

    monkeypatch.setattr(_terminal.Progress, "add", fail)
    (tmp_path / target).write_text("old")
    code, _, err = run("convert", GPT2, tmp_path / target, "--force")
    if isinstance(error, OSError):
        assert (code, err.count("\n")) == (2, 1)
        assert f"{target} cannot be written: No space left on device." in err
    else:
        assert (code, err) == (130, "")
    assert [path.name for path in tmp_path.iterdir()] == [target]
    assert (tmp_path / target).read_text() == "old"


def test_force_replaces_a_file_even_the_one_that_is_read(run: Run, tmp_path: Path):
    path = write(tmp_path / "m.pt", {"a": torch.ones(2), "b": torch.ones(2)})
    assert run("convert", path, path, "--select", "a", "--force").code == 0
    assert list(torch.load(path)) == ["a"]


def test_no_verify_reads_data_whose_checksum_is_wrong(run: Run, tmp_path: Path):
    path = write(tmp_path / "m", {"w": torch.ones(9)})
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(36))
    assert run("diff", path, path).code == 2
    assert run("diff", path, path, "--no-verify").code == 0
    assert run("convert", path, tmp_path / "m.pt", "--no-verify").code == 0
    assert torch.load(tmp_path / "m.pt")["w"].tolist() == [0.0] * 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "is a directory without a file 'checkpoint'"),
        (lambda path: path.write_bytes(b"nonsense" * 9), "is not a checkpoint: it is text"),
        (lambda path: path.with_suffix(".index").write_bytes(b""), "0 bytes are too few"),
        (lambda path: None, "No checkpoint at"),
    ],
    ids=["a directory", "nonsense", "an empty index", "nothing"],
)
def test_what_is_not_a_checkpoint_is_one_line(
    run: Run, tmp_path: Path, make: Callable[[Path], object], message: str
):
    make(tmp_path / "m")
    code, out, err = run("list", tmp_path / "m")
    assert (code, out) == (2, "")
    assert err.startswith("torchscope: ")
    assert err.count("\n") == 1
    assert message in err


def test_safetensors_files_are_written_without_the_package(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert run("convert", GPT2, tmp_path / "m.safetensors").code == 0


def test_no_command_says_which_there_are(run: Run):
    code, _, err = run()
    assert code == 2
    assert "COMMAND" in err


@pytest.mark.parametrize("command", ["list", "diff", "convert", "port"])
def test_each_command_has_help_with_examples(run: Run, command: str):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"torchscope {command} " in out.partition("examples:")[2]


# ---- port --------------------------------------------------------------------------------------

MODEL = """\
import tensorflow as tf


def model(x):
    n = x.get_shape()[1].value  # features
    return tf.nn.relu(x) * n
"""
PORTED = MODEL.replace("tensorflow", "torchscope.tf1").replace("get_shape()[1].value", "shape[1]")
LEFT = "import tensorflow as tf\n\nx = tf.placeholder(tf.float32)\n"


def saved(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_port_prints_a_diff_and_changes_nothing(run: Run, tmp_path: Path):
    path = saved(tmp_path / "model.py", MODEL)
    code, out, err = run("port", path)
    assert (code, err) == (0, "")
    assert out == (
        f"--- {path}\n+++ {path}\n@@ -1,6 +1,6 @@\n"
        "-import tensorflow as tf\n+import torchscope.tf1 as tf\n \n \n def model(x):\n"
        "-    n = x.get_shape()[1].value  # features\n+    n = x.shape[1]  # features\n"
        "     return tf.nn.relu(x) * n\n"
        f"{path}: 2 lines changed, nothing left to do by hand\n"
    )
    assert path.read_text() == MODEL
    assert [one.name for one in tmp_path.iterdir()] == ["model.py"]


def test_port_says_that_a_file_is_not_there(run: Run):
    code, out, err = run("port", "nowhere.py")
    assert (code, out, err) == (2, "", "torchscope: There is no file nowhere.py.\n")


def test_what_port_prints_is_a_patch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "model.py", MODEL.rstrip())
    patch = run("port", "model.py").out
    subprocess.run(["git", "apply", "-p0"], input=patch, text=True, check=True)
    assert (tmp_path / "model.py").read_text() == PORTED.rstrip()


def test_port_tells_what_is_left_by_line_and_answers_1(run: Run, tmp_path: Path):
    path = saved(tmp_path / "model.py", LEFT)
    code, out, _ = run("port", path)
    assert code == 1
    assert out.splitlines()[-2:] == [
        f"{path}: 1 line changed, 1 thing left to do by hand",
        f"{path}:3: tf.placeholder: Make it an argument of the function that builds the model.",
    ]


def test_port_writes_and_keeps_the_old_file(run: Run, tmp_path: Path):
    path = saved(tmp_path / "model.py", MODEL)
    path.chmod(0o755)
    assert run("port", path, "--write") == Answer(
        0,
        f"{path}: 2 lines changed (the old file is model.py.orig), nothing left to do by hand\n",
        "",
    )
    assert path.read_text() == PORTED
    assert path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "model.py.orig").read_text() == MODEL
    assert len(list(tmp_path.iterdir())) == 2


def test_a_second_port_changes_nothing(run: Run, tmp_path: Path):
    path = saved(tmp_path / "model.py", MODEL)
    run("port", path, "--write")
    before = path.stat()
    out = run("port", path, "--write").out
    assert out == f"{path}: nothing to change, nothing left to do by hand\n"
    assert path.stat() == before


def test_an_old_file_that_is_kept_is_not_replaced(run: Run, tmp_path: Path):
    path = saved(tmp_path / "model.py", MODEL)
    saved(tmp_path / "model.py.orig", "mine")
    code, out, err = run("port", path, "--write")
    assert (code, out) == (2, "")
    assert "model.py.orig exists already" in err
    assert (path.read_text(), (tmp_path / "model.py.orig").read_text()) == (MODEL, "mine")


@pytest.mark.parametrize(
    ("git", "kept"),
    [
        (["init"], True),
        (["init", "add"], False),
        (["init", "add", "change"], True),
    ],
    ids=lambda words: "-".join(words) if isinstance(words, list) else "",
)
def test_a_file_that_git_can_give_back_is_not_kept(
    run: Run, tmp_path: Path, git: list[str], kept: bool
):
    path = saved(tmp_path / "model.py", "# first\n")
    for word in git:
        if word != "change":
            path.write_text(MODEL)
            words = ["git", word, *(["model.py"] if word == "add" else [])]
            subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
        else:
            path.write_text(f"{MODEL}# not added\n")
    assert run("port", path, "--write").code == 0
    assert (tmp_path / "model.py.orig").exists() == kept


def test_a_link_stays_a_link(run: Run, tmp_path: Path):
    path = saved(tmp_path / "model.py", MODEL)
    (tmp_path / "link.py").symlink_to(path)
    assert run("port", tmp_path / "link.py", "--write").code == 0
    assert (tmp_path / "link.py").is_symlink()
    assert path.read_text() == PORTED


def test_port_goes_on_after_a_file_that_it_cannot_port(run: Run, tmp_path: Path):
    good = saved(tmp_path / "good.py", MODEL)
    bad = [saved(tmp_path / "torch.py", "import torch\n"), saved(tmp_path / "two.py", "print 1\n")]
    code, out, err = run("port", *bad, tmp_path / "none.py", tmp_path, good)
    assert code == 2
    assert out.endswith(f"{good}: 2 lines changed, nothing left to do by hand\n")
    lines = err.splitlines()
    assert lines[0].endswith(f"{bad[0]} is not TensorFlow 1 code: it does not import tensorflow.")
    assert f"2to3 -w {bad[1]}" in lines[1]
    assert [line.count("torchscope: ") for line in lines] == [1] * 4


def test_without_libcst_port_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = saved(tmp_path / "model.py", MODEL)
    for name in [name for name in sys.modules if name.startswith("torchscope.port")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("torchscope.port", raising=False)
    monkeypatch.setitem(sys.modules, "libcst", None)
    code, _, err = run("port", path)
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install libcst" in err


@pytest.mark.parametrize("words", ["", "list", "port"])
def test_help_comes_without_what_only_port_needs(words: str):
    program = (
        "import sys\nfrom torchscope.command_line import main\n"
        f"try: main([*{words.split()}, '--help'])\nexcept SystemExit: pass\n"
        "print([n for n in ('libcst', 'torchscope.tf1', 'numpy.random') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=HERE, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# ---- the bar -----------------------------------------------------------------------------------


class Terminal:
    """What a program writes to a terminal."""

    def __init__(self, is_terminal: bool) -> None:
        self.written = ""
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None: ...


def test_a_terminal_shows_a_bar_which_is_gone_in_the_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_terminal, "_EVERY", 0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal(True))
    assert run("convert", GPT2, tmp_path / "m.safetensors").code == 0
    states = terminal.written.split("\r")
    assert re.fullmatch(r"writing \[#{30}\] 100%  0 of 0 MB\x1b\[K", states[-2])
    assert states[-1] == "\033[K"


def test_where_there_is_no_terminal_there_is_no_bar(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_terminal, "_EVERY", 0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal(False))
    assert run("convert", GPT2, tmp_path / "m.safetensors").code == 0
    assert terminal.written == ""


# ---- as a program ------------------------------------------------------------------------------

HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}  # this tree's torchscope


def program(
    *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "torchscope", *map(str, arguments)]
    env = HERE | (environment or {})
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


def test_python_m_torchscope_is_the_command_line():
    done = program("list", GPT2, "--select", "wpe")
    assert (done.returncode, done.stderr) == (0, "")
    assert "model/wpe  [16, 24]  float32  1,536\n" in done.stdout


def test_the_installed_script_is_the_command_line():
    script = shutil.which("torchscope", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("torchscope is not installed with its script")
    done = subprocess.run(
        [script, "list", GPT2, "--json"], env=HERE, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["total"]["variables"] == 28


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path):
    path = write(tmp_path / "m", {f"v{number:05}": torch.zeros(1) for number in range(5_000)})
    words = [sys.executable, "-m", "torchscope", "list", str(path)]
    with subprocess.Popen(
        words, env=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith("name")
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait() == 128 + signal.SIGPIPE


def test_importing_torchscope_leaves_the_checkpoints_out():
    words = "import sys, torchscope; print([n for n in sys.modules if 'checkpoint' in n])"
    done = subprocess.run(
        [sys.executable, "-c", words], env=HERE, capture_output=True, text=True, check=True
    )
    assert [n for n in eval(done.stdout) if n.startswith("torchscope")] == []


# ---- the page ----------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "command-line.md"


def test_the_page_shows_what_happens(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("tests", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    shown = "".join(re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL))
    happened = ""
    answer = Answer(0, "", "")
    for line in re.findall(r"^\$ .*\n", shown, re.MULTILINE):
        if line == "$ echo $?\n":
            happened += f"{line}{answer.code}\n"
        else:
            answer = run(*shlex.split(line)[2:])
            happened += line + answer.out + answer.err
    assert shown == happened


# ---- paths as a shell gives them -----------------------------------------------------------------


def test_the_files_of_one_checkpoint_given_together_are_that_checkpoint(run: Run, tmp_path: Path):
    path = training(tmp_path / "model.ckpt-7")
    (tmp_path / "model.ckpt-7.meta").write_bytes(b"a graph")
    files = sorted(tmp_path.glob("model.ckpt*"))
    assert len(files) == 3
    assert run("list", *files).out == run("list", path).out
    assert run("list", *files, "--tree").code == 0
    assert run("convert", *files, tmp_path / "m.safetensors").code == 0
    assert run("diff", *files, tmp_path / "m.safetensors", "--select", "w$").code == 0
    # All of a directory, in which the state file and events lie, too.
    (tmp_path / "m.safetensors").unlink()
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"')
    (tmp_path / "events.out.tfevents.1").write_bytes(b"events")
    assert run("list", *sorted(tmp_path.iterdir())).out == run("list", path).out


def test_the_shards_of_a_v1_checkpoint_and_of_safetensors_are_one(run: Run, tmp_path: Path):
    sharded = DATA / "v1_sharded"
    files = sorted(sharded.glob("model.ckpt*"))
    assert len(files) == 3
    assert run("list", *files).out == run("list", sharded).out
    names = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}
    for name, file in names.items():
        write(tmp_path / file, {name: torch.ones(1)})
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    shards = sorted(tmp_path.glob("m-*"))
    assert "2 variables" in run("list", *shards).out
    assert "2 variables" in run("list", *shards, index).out


def test_files_of_several_checkpoints_are_refused_where_one_is_meant(run: Run, tmp_path: Path):
    for name in ("model.ckpt-1", "model.ckpt-10"):
        write(tmp_path / name, {"w": torch.ones(1)})
    files = sorted(tmp_path.glob("model.ckpt*"))
    for words in (("list", *files), ("convert", *files, tmp_path / "m.pt")):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert "these are 2 checkpoints, not one: " in err
    assert run("diff", *files).code == 0
    one = [file for file in files if ".ckpt-1." in file.name]
    assert "two checkpoints are compared, not 1" in run("diff", *one, files[0]).err
    assert run("diff", files[0], files[0]).code == 0


# ---- what is typed here --------------------------------------------------------------------------


def test_errors_suggest_what_is_typed_at_a_terminal(run: Run, tmp_path: Path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt"')
    damaged = write(tmp_path / "damaged", {"w": torch.ones(9)})
    (tmp_path / "damaged.data-00000-of-00001").write_bytes(bytes(36))
    torch.save({"state_dict": {}, "config": Odd()}, tmp_path / "odd.ckpt")
    said = {
        ("list", tmp_path): "To read that one, give its path.",
        ("diff", damaged, damaged): "--no-verify reads them as they are.",
        ("list", "~/model.ckpt"): "A shell leaves '~' as it is between quotes.",
        ("list", tmp_path / "odd.ckpt"): 'python -c "import torch; torch.save(torch.load(',
    }
    for words, expected in said.items():
        err = run(*words).err
        assert expected in err
        assert not re.search(r"outside=|verify=|expanduser|names=", err)


class Odd:
    """What torch.load(weights_only=True) does not make."""


def test_names_of_variables_are_shown_and_written_and_hinted_at(run: Run, tmp_path: Path):
    path = DATA / "tf2" / "trained.ckpt"
    assert "--names variables shows those of the variables\n" in run("list", path).out
    shown = run("list", path, "--names", "variables").out
    assert "\ndense/kernel " in shown
    assert "of these, optimizer state and step counters: 11 (" in shown
    target = tmp_path / "m.safetensors"
    assert run("convert", path, target, "--names", "variables").code == 0
    assert sorted(load_file(target)) == ["dense/bias", "dense/kernel"]
    assert run("diff", path, target, "--names", "variables", "--select", "^dense/").code == 0


def test_convert_says_what_strings_are_and_what_writes_them(run: Run, tmp_path: Path):
    writer = BundleWriter()
    writer.add_strings("words", (2,), [b"a", b"bc"])
    writer.add_strings("_CHECKPOINTABLE_OBJECT_GRAPH", (), [b""])
    code, _, err = run("convert", writer.write(tmp_path / "m"), tmp_path / "m.pt")
    assert code == 2
    assert "are not numbers (string): only --to tensorflow writes strings" in err
    assert "--keep-slots" not in err
    torch.save({"w": torch.ones(1), "words": ["a"], "name": "net"}, tmp_path / "m.pt")
    out = run("convert", tmp_path / "m.pt", tmp_path / "m.safetensors").out
    assert "left out, not numbers: words (list), name (string)" in out
    assert out.endswith("; only --to tensorflow writes strings\n")


def test_strings_in_a_file_of_torch_are_written_to_tensorflow(run: Run, tmp_path: Path):
    values = {"w": torch.ones(1), "name": "net", "raw": b"\0", "words": ["a"], "epoch": 3}
    torch.save(values, tmp_path / "m.pt")
    out = run("convert", tmp_path / "m.pt", tmp_path / "m.ckpt").out
    assert out.endswith("\n  left out, not numbers: words (list)\n")
    with checkpoint.open(tmp_path / "m.ckpt") as written:
        assert {name: written[name] for name in ("name", "raw", "epoch", "w")} == {
            "name": b"net",
            "raw": b"\0",
            "epoch": torch.tensor(3),
            "w": torch.ones(1),
        }
    out = run("diff", tmp_path / "m.pt", tmp_path / "m.ckpt").out
    assert out.endswith("words: only in A\n4 variables the same, 1 different\n")


# ---- told to end ---------------------------------------------------------------------------------

SLOW = """
import signal, sys
from torchscope.command_line import main, _terminal
calls = []
def add(self, count):
    calls.append(count)
    if len(calls) == 1:
        print("writing", flush=True)
        signal.pause()
_terminal.Progress.add = add
sys.exit(main(["convert", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_conversion_that_is_told_to_end_leaves_nothing_for_long(
    run: Run, tmp_path: Path, kind: signal.Signals
):
    command = [sys.executable, "-c", SLOW, str(GPT2), str(tmp_path / "m.pt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        # What is being written is nobody else's to remove.
        assert run("convert", GPT2, tmp_path / "other.pt").code == 0
        assert len(list(tmp_path.glob(".torchscope-*"))) == 1
        process.send_signal(kind)
        code = process.wait()
    assert code == (-kind if kind == signal.SIGKILL else 128 + kind)
    assert len(list(tmp_path.glob(".torchscope-*"))) == (kind == signal.SIGKILL)
    assert run("convert", GPT2, tmp_path / "third.pt").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pt", "third.pt"]
