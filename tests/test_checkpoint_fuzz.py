"""Mutated checkpoints: whatever is done to the files, they give CheckpointError or values.

Loaded into a net, they leave it as it was if they do not fit.

As a program it runs any part of the cases, in 400 MiB more than it has at first, and says which one
fails:

    python tests/test_checkpoint_fuzz.py FIRST COUNT
"""

import functools
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from checkpoint_writer import (
    BundleWriter,
    snappy,
    table,
    v1_rows,
    values_proto,
    write_v1,
)

import torchscope as ts
from torchscope import CheckpointError, checkpoint
from torchscope.checkpoint._file import File
from torchscope.checkpoint._sstable import Table

Files = dict[str, bytes]
Rows = list[tuple[bytes, bytes]]

DATA = Path(__file__).parent / "data" / "checkpoints"
SECONDS = 10  # of computing: more for one case counts as a hang; they take milliseconds
MEMORY = 400 << 20  # of address space, besides what Python and torch take
ODD_BYTES = bytes([0, 1, 2, 5, 7, 8, 10, 18, 26, 127, 128, 129, 254, 255])


def files_in(directory: Path, names: str = "*") -> Files:
    return {path.name: path.read_bytes() for path in directory.glob(names)}


def small_bundle(directory: Path, order: str) -> None:
    """Of everything a little, and a state file."""
    writer = BundleWriter(shards=2, order=order)
    for dtype in (torch.float32, torch.bool, torch.bfloat16, torch.complex64, torch.int64):
        writer.add(f"layer/{dtype}", torch.ones(3, 2).to(dtype), shard=1)
    writer.add("layer/empty", torch.ones(0, 2))
    writer.add_strings("strings", (2, 2), [b"", b"a", b"bc" * 99, b"d"])
    writer.add_strings("_CHECKPOINTABLE_OBJECT_GRAPH", (), [b"graph"])
    whole = torch.arange(12.0).view(3, 4)
    writer.add_sliced("part/rows", whole, [((0, 1), (0, -1)), ((1, 2), (0, -1))])
    writer.add_sliced("part/grid", whole, [((0, 2), (0, 4)), ((2, 1), (0, 3)), ((2, 1), (3, 1))])
    writer.add_raw("quantised", 11, (3,), b"abc")
    writer.write(directory / "m")
    (directory / "checkpoint").write_text('model_checkpoint_path: "m"\n')


def small_v1(directory: Path) -> None:
    both = torch.arange(6.0).view(2, 3)
    halves = [(((i, 1), (0, -1)), values_proto(both[i])) for i in range(2)]
    numbers = values_proto(torch.tensor([1, -1, 300]))
    variables = [
        v1_rows("a", 1, (2, 3), halves),
        v1_rows("b", 9, (3,), [(((0, -1),), numbers)]),
        v1_rows("c", 7, (), [((), b"\x42\x03abc")]),
        v1_rows("d", 10, (2,), [(((0, -1),), values_proto(torch.tensor([True, False])))]),
    ]
    write_v1(directory / "m", variables)


@functools.cache
def corpus() -> list[tuple[str, Files]]:
    """Good checkpoints: what to open, and the files."""
    found = [
        ("multi.ckpt", files_in(DATA / "ckpt_zoo", "multi.ckpt.[!s]*")),
        ("model.ckpt", files_in(DATA / "gpt2_tiny", "model*")),
    ]
    for order in ("little", "big"):
        with tempfile.TemporaryDirectory() as directory:
            small_bundle(Path(directory), order)
            found.append((".", files_in(Path(directory))))
    with tempfile.TemporaryDirectory() as directory:
        small_v1(Path(directory))
        found.append(("m", files_in(Path(directory))))
    return found


def rows_of(data: bytes) -> Rows:
    """The entries of a good table."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return [(key, bytes(value)) for key, value, _ in Table(File(Path(file.name)))]


def mutate(random: random.Random, data: bytes) -> bytes:
    """Change, cut, repeat or move a few bytes."""
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.randrange(len(data) + 1)
        if random.random() < 0.3:  # near the end are footers, and numbers that claim sizes
            at = max(0, len(data) - random.randrange(60))
        end = at + random.choice((1, 1, 2, 4, 8, 50))
        piece = data[at:end]
        kind = random.randrange(7)
        if kind == 0:
            piece = bytes(byte ^ 1 << random.randrange(8) for byte in piece)
        elif kind == 1:
            piece = bytes(random.choice(ODD_BYTES) for _ in piece)
        elif kind == 2:
            piece = random.randbytes(len(piece))
        elif kind == 3:
            piece = b""
        elif kind == 4:
            piece += piece * random.choice((1, 3, 200))
        elif kind == 5:
            start = random.randrange(len(data) + 1)
            piece = data[start : start + len(piece)]
        else:
            piece = bytes(random.choice(ODD_BYTES) for _ in range(end - at)) + piece
        data = data[:at] + piece + data[end:]
    return data[: random.randrange(len(data) + 1)] if random.random() < 0.05 else data


def mutate_rows(random: random.Random, data: bytes) -> bytes:
    """The same table with other keys or values, and checksums that are right."""
    rows = rows_of(data)
    for _ in range(random.choice((1, 1, 3))):
        position = random.randrange(len(rows))
        key, value = rows[position]
        other = random.choice(rows)
        kind = random.randrange(6)
        if kind == 0:
            rows[position] = (mutate(random, key), value)
        elif kind == 1:
            rows[position] = (key, other[1])
        elif kind == 2 and len(rows) > 1:
            del rows[position]
        else:
            rows[position] = (key, mutate(random, value))
    if random.random() < 0.9:
        rows.sort()
    compress = snappy if random.random() < 0.2 else None
    return table(rows, block_bytes=random.choice((1, 100, 1 << 18)), compress=compress)


@functools.cache
def built_nets() -> list[ts.ScopedModule]:
    """For each of the corpus a net with the variables that it can have."""
    nets: list[ts.ScopedModule] = []
    for name, files in corpus():
        with tempfile.TemporaryDirectory() as directory:
            for one, data in files.items():
                (Path(directory) / one).write_bytes(data)
            with checkpoint.open(Path(directory) / name) as saved:
                readable = [n for n in saved if not isinstance(saved.dtype(n), str)]
                declared = {n: (saved.shape(n), saved.dtype(n)) for n in readable}
        nets.append(ts.ScopedModule(functools.partial(declare, declared)).build())
    return nets


def declare(declared: dict[str, tuple[torch.Size, torch.dtype]]) -> None:
    for name, (shape, dtype) in declared.items():
        trainable = dtype.is_floating_point or dtype.is_complex
        ts.get_variable(name, shape, dtype, initializer=ts.zeros_initializer(), trainable=trainable)


def load_case(path: Path, net: ts.ScopedModule, strict: bool) -> str:
    """Load into a net, which is as it was if that fails; says how it went."""
    tensors = net.state_dict()
    before = {name: tensor.view(-1).view(torch.uint8).clone() for name, tensor in tensors.items()}
    try:
        checkpoint.load(net, path, strict=strict)
    except CheckpointError:
        for name, tensor in tensors.items():
            assert torch.equal(before[name], tensor.view(-1).view(torch.uint8)), name
        return "nothing loaded"
    return "loaded"


def run_case(seed: int, directory: Path) -> tuple[str, str]:
    """Mutate, open, list and read all, load into a net; says how both went."""
    chance = random.Random(seed)
    which = chance.randrange(len(corpus()))
    name, files = corpus()[which]
    files = dict(files)
    tables = [
        one for one in files if one.endswith(".index") or files[one][-8:-4] == b"W\xfb\x80\x8b"
    ]
    if chance.random() < 0.5:
        victim = chance.choice(tables)
        files[victim] = mutate_rows(chance, files[victim])
    else:
        victim = chance.choice([*files, *tables])
        files[victim] = mutate(chance, files[victim])
    for old in directory.iterdir():
        old.unlink()
    for one, data in files.items():
        (directory / one).write_bytes(data)
    loaded = load_case(directory / name, built_nets()[which], strict=seed % 2 == 0)
    verify, mmap = chance.random() < 0.5, chance.random() < 0.5
    return read_case(directory / name, verify=verify, mmap=mmap), loaded


def read_case(path: Path, *, verify: bool, mmap: bool) -> str:
    """Open, list and read all; says how it went."""
    try:
        saved = checkpoint.open(path, verify=verify, mmap=mmap)
    except CheckpointError:
        return "not opened"
    outcome = "read"
    for variable in saved:
        try:
            shape, dtype = saved.shape(variable), saved.dtype(variable)
            value = saved[variable]
        except CheckpointError:
            outcome = "opened"
        else:
            if isinstance(value, torch.Tensor):
                assert (value.shape, value.dtype) == (shape, dtype)
                value.clone()
    return outcome


def run(first: int, count: int) -> Counter[str]:
    """Some of the cases, in little memory; an exception names its case."""

    def hang(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} seconds")

    built_nets()
    torch.set_num_threads(1)  # each would take address space of its own
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, hang)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(first, first + count):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                outcomes.update(run_case(seed, Path(directory)))
            except BaseException:
                print(f"case {seed}:", file=sys.stderr)
                raise
            signal.setitimer(signal.ITIMER_PROF, 0)
    return outcomes


def run_in_a_process(first: int, count: int) -> None:
    program = [sys.executable, __file__, str(first), str(count)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcomes = dict(line.split(": ") for line in done.stdout.splitlines())
    read, loaded = int(outcomes.pop("read")), int(outcomes.pop("loaded"))
    assert sum(map(int, outcomes.values())) + read + loaded == 2 * count
    assert 0 < loaded < count / 2  # or the mutations would be too tame
    assert 0 < read < count / 2


def test_mutated_checkpoints_give_errors_or_values_in_little_memory():
    run_in_a_process(0, 500)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1_000_000, 1_020_000, 2_000))
def test_many_mutated_checkpoints_give_errors_or_values_in_little_memory(first: int):
    run_in_a_process(first, 2_000)


if __name__ == "__main__":
    for outcome, number in sorted(run(int(sys.argv[1]), int(sys.argv[2])).items()):
        print(f"{outcome}: {number}")
