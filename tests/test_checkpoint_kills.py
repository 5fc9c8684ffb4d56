"""Saves that are killed: the old checkpoint or the new one is there, and the next save clears up.

Killed at every instant at which a file is opened, renamed, linked or removed; and at random ones.
"""

import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import torchscope as ts
from torchscope import checkpoint
from torchscope.checkpoint import _mark, _state
from torchscope.checkpoint._bundle_writer import BundleWriter
from torchscope.checkpoint._flock import alone_in
from torchscope.checkpoint._mark import Mark
from torchscope.command_line import main

TENSORS = 4
CASES = ["the first", "one more", "one of three", "again", "again, without links", "from shards"]
CHANGES = ("open", "os.rename", "os.link", "os.remove", "os.truncate", "shutil.copyfile")


def values(number: int, elements: int = 300) -> dict[str, torch.Tensor]:
    """A checkpoint's content: tensors that all say which one it is."""
    return {f"w{index}": torch.full((elements,), float(number)) for index in range(TENSORS)}


def number_in(path: Any) -> int:
    """Which checkpoint it is; all of it is read and verified, and all of it has to be the same."""
    with checkpoint.open(path) as saved:
        found = {float(saved[name].unique()) for name in saved if name.startswith("w")}
        assert len([name for name in saved if name.startswith("w")]) == TENSORS
    (number,) = found
    return int(number)


def latest(folder: Path) -> int | None:
    """The number of the latest checkpoint, None if there is none yet."""
    if checkpoint.latest_checkpoint(folder) is None:
        return None
    for name in _state.read(folder / "checkpoint").all:
        # One that is to be removed next may be gone already, but is not noted any more.
        assert checkpoint.list_variables(folder / name)
    return number_in(folder)


def assert_tidy(folder: Path) -> None:
    """Nothing lies there but the checkpoints that the state file notes, with one data file each.

    Where a save was killed as it replaced a checkpoint, that may be the first of two.
    """
    noted = _state.read(folder / "checkpoint").all
    expected = [f"{name}{end}" for name in noted for end in (".index", ".data-00000-of-00001")]
    there = [path.name.replace("-of-00002", "-of-00001") for path in folder.iterdir()]
    assert sorted(there) == sorted(["checkpoint", *expected])


# ---- processes to be killed --------------------------------------------------------------------


def fork_on_demand(pipe: Any) -> None:
    """What a process does that has imported torch: start others, which takes them milliseconds."""
    while True:
        function, arguments = pipe.recv()
        child = os.fork()
        if not child:
            try:
                function(*arguments)
            finally:
                os._exit(1)
        pipe.send(child)
        pipe.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@dataclass
class Forks:
    """Starts functions in processes of their own, one after the other."""

    pipe: Any

    def start(self, function: Callable[..., None], *arguments: Any) -> int:
        """Returns the number of the process."""
        self.pipe.send((function, arguments))
        return self.pipe.recv()

    def wait(self) -> int:
        """The exit code of the one that was started last; the signal below 0 if it was killed."""
        return self.pipe.recv()


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=fork_on_demand, args=(theirs,))
    server.start()
    yield Forks(ours)
    server.kill()
    server.join()


# ---- at every instant --------------------------------------------------------------------------


def save_until(instant: int, folder: str, step: int | None, no_links: bool) -> None:
    """Save, and be killed as a file is about to be changed for the so manyth time."""
    left = instant

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in CHANGES and folder in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
        if no_links and event == "os.link":
            raise OSError("no links on this file system")

    sys.addaudithook(hook)
    checkpoint.save(values(99), f"{folder}/m", step=step, keep=2, overwrite=True)
    os._exit(0)


@pytest.mark.parametrize("what", CASES)
def test_killed_at_any_instant_the_old_one_or_the_new_one_is_there(
    forks: Forks, tmp_path: Path, what: str
):
    step = None if what.startswith(("again", "from")) else 3
    code, instant, seen = -9, 0, set[int | None]()
    while code == -9:
        instant += 1
        folder = tmp_path / str(instant)
        folder.mkdir()
        if what == "one more":
            checkpoint.save(values(2), folder / "m", step=2)
        elif what == "one of three":
            for number in (1, 2):
                checkpoint.save(values(number), folder / "m", step=number)
        elif what != "the first":
            checkpoint.save(values(2), folder / "m")
            if what == "from shards":  # what a detour leaves behind has two
                rename_to_two_shards(folder)
        forks.start(save_until, instant, str(folder), step, what == "again, without links")
        code = forks.wait()
        seen.add(latest(folder))
        if code == -9:
            checkpoint.save(values(4), folder / "m", step=4, keep=2)
            assert latest(folder) == 4
            assert_tidy(folder)
    assert code == 0
    assert_tidy(folder)
    assert instant > 10
    assert seen == {None if what == "the first" else 2, 99}


def rename_to_two_shards(folder: Path) -> None:
    """Make of a checkpoint's one data file the first of two."""
    (folder / "m.data-00000-of-00001").rename(folder / "m.data-00000-of-00002")
    bundle = BundleWriter(lambda data: None)
    for name, value in values(2).items():
        bundle.add(name, value)
    with (folder / "m.index").open("wb") as file:
        bundle.write_index(file.write, shards=2)
    assert number_in(folder) == 2


def test_one_that_was_killed_may_be_saved_again_without_overwriting(forks: Forks, tmp_path: Path):
    """A job that is started again comes to the step at which it was killed."""
    for instant in range(1, 100):
        folder = tmp_path / str(instant)
        folder.mkdir()
        forks.start(save_until, instant, str(folder), 3, False)
        if forks.wait() == 0:
            break
        checkpoint.save(values(5), folder / "m", step=3)
        assert latest(folder) == 5
        assert_tidy(folder)
    with pytest.raises(ts.CheckpointError, match="already exists"):
        checkpoint.save(values(5), folder / "m", step=3)


# ---- at random instants ------------------------------------------------------------------------


def save_on_and_on(folder: str, begin: int, overwriting: bool) -> None:
    for number in range(begin, begin + 10_000):
        step = None if overwriting else number
        checkpoint.save(values(number, 3_000), f"{folder}/m", step=step, overwrite=overwriting)


def kill_at_random(forks: Forks, folder: Path, times: int, overwriting: bool) -> None:
    random.seed(0)
    last, took = 0, 0.02  # seconds that a save takes here, which depends on the machine's load
    for _ in range(times):
        process = forks.start(save_on_and_on, str(folder), last + 1, overwriting)
        while not last and checkpoint.latest_checkpoint(folder) is None:
            time.sleep(0.01)  # else it might always be killed before it has saved anything
        time.sleep(random.uniform(0, 0.05 + 4 * took))
        os.kill(process, signal.SIGKILL)
        assert forks.wait() == -signal.SIGKILL
        found = latest(folder) or 0
        assert found >= last
        last = found + 1
        step = None if overwriting else last
        begin = time.monotonic()
        checkpoint.save(values(last), folder / "m", step=step, overwrite=overwriting)
        took = min(time.monotonic() - begin, 0.2)
        assert latest(folder) == last
        assert_tidy(folder)
    assert last > times


@pytest.mark.parametrize("overwriting", [False, True], ids=["steps", "the same again"])
def test_killed_fifty_times_it_always_left_a_checkpoint(
    forks: Forks, tmp_path: Path, overwriting: bool
):
    kill_at_random(forks, tmp_path, 25, overwriting)


@pytest.mark.slow
@pytest.mark.parametrize("overwriting", [False, True], ids=["steps", "the same again"])
def test_killed_two_hundred_times_it_always_left_a_checkpoint(
    forks: Forks, tmp_path: Path, overwriting: bool
):
    kill_at_random(forks, tmp_path, 200, overwriting)


# ---- others that save, and interrupts ----------------------------------------------------------


def hold(folder: str) -> None:
    with alone_in(Path(folder)):
        mark = Mark(Path(folder) / "m-1")
    signal.pause()
    del mark


def test_what_another_process_is_saving_is_left_to_it(forks: Forks, tmp_path: Path):
    process, mark = forks.start(hold, str(tmp_path)), tmp_path / ".m-1.torchscope-saving"
    while not mark.exists():
        time.sleep(0.01)
    with pytest.raises(ts.CheckpointError, match="m-1 is being saved by another process"):
        checkpoint.save(values(1), tmp_path / "m", step=1)
    checkpoint.save(values(2), tmp_path / "m", step=2)
    assert mark.exists()
    os.kill(process, signal.SIGKILL)
    forks.wait()
    checkpoint.save(values(3), tmp_path / "m", step=3)
    assert_tidy(tmp_path)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads and forks
def test_a_process_forked_during_a_save_does_not_hold_up_the_next(tmp_path: Path):
    with alone_in(tmp_path):
        child = os.fork()
        if not child:  # as a worker of a data loader, which lives for an epoch
            try:
                signal.pause()
            finally:
                os._exit(1)
    saving = threading.Thread(target=checkpoint.save, args=(values(1), tmp_path / "m"))
    saving.start()
    saving.join(20)
    waits = saving.is_alive()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    saving.join()
    assert not waits


def save_until_old_ones_are_removed(folder: str) -> None:
    _mark.remove = lambda prefix: os.kill(os.getpid(), signal.SIGKILL)
    checkpoint.save(values(2), f"{folder}/m", step=2, keep=1)


def test_what_a_killed_save_was_to_remove_stays_if_it_is_written_anew(forks: Forks, tmp_path: Path):
    checkpoint.save(values(1), tmp_path / "m", step=1, keep=1)
    forks.start(save_until_old_ones_are_removed, str(tmp_path))
    assert forks.wait() == -signal.SIGKILL
    torch.save(values(3), tmp_path / "m.pt")
    arguments = ["convert", tmp_path / "m.pt", tmp_path / "m-1", "--to=tensorflow", "--force"]
    assert main(list(map(str, arguments))) == 0
    assert number_in(tmp_path / "m-1") == 3
    assert latest(tmp_path) == 2


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path):
    checkpoint.save(values(1), tmp_path / "m", step=1)

    class Interrupted(dict[str, torch.Tensor]):
        asked = 0

        def __getitem__(self, name: str) -> torch.Tensor:
            self.asked += 1
            if self.asked > TENSORS + 2:  # once for the check, then to be written
                raise KeyboardInterrupt
            return super().__getitem__(name)

    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(Interrupted(values(2)), tmp_path / "m", step=2)
    assert_tidy(tmp_path)
    assert latest(tmp_path) == 1
