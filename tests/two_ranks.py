"""Runs tests in two processes, the ranks of one process group; does not know what they test."""

import contextlib
import importlib
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import Empty
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

RANKS = 2
COLLECTIVE = timedelta(seconds=60)  # after which a rank that waits for the other gives up
ALL = 900.0  # seconds, after which the processes are killed


@dataclass
class Rank:
    """Where a check runs."""

    number: int
    device: str
    mesh: DeviceMesh
    folder: Path  # the same for both ranks, kept for tests that look at it afterwards

    def part(self, batch: torch.Tensor) -> torch.Tensor:
        """This rank's rows of a batch."""
        return batch.to(self.device).chunk(RANKS)[self.number]


class Outcome(dict[str, str]):
    """Of each check that came to an end, what went wrong on any rank, or nothing."""

    def __init__(self, problems: dict[str, str], folder: Path) -> None:
        super().__init__(problems)
        self.folder = folder


def on_two_ranks(*cases: Any) -> Callable[[Callable[..., None]], Any]:
    """Make ``check(rank)`` a test: it runs on both ranks, and passes if it passes on both.

    With cases it is ``check(rank, case)``, a test for each; cases are named by ``str``.
    """

    def decorate(check: Callable[..., None]) -> Any:
        def test(ranks: Outcome) -> None:
            _passed_on_both(ranks, check.__name__)

        def test_of_case(ranks: Outcome, case: Any) -> None:
            _passed_on_both(ranks, f"{check.__name__}[{case}]")

        result: Any = test_of_case if cases else test
        result.__name__ = result.__qualname__ = check.__name__
        result.__module__ = check.__module__
        result.checks = {f"{check.__name__}[{case}]": partial(check, case=case) for case in cases}
        result.checks = result.checks or {check.__name__: check}
        return pytest.mark.parametrize("case", cases, ids=str)(result) if cases else result

    return decorate


def name_of_check(item: Any) -> str:
    """The check that a collected test needs to have run; nothing if it needs none."""
    if not hasattr(item.function, "checks"):
        return getattr(item.function, "needs", "")
    case = item.callspec.params.get("case")
    return item.function.__name__ if case is None else f"{item.function.__name__}[{case}]"


def _passed_on_both(ranks: Outcome, name: str) -> None:
    assert name in ranks, "a process came to no end"
    assert not ranks[name], ranks[name]


def run(module: ModuleType, names: Sequence[str], backend: str, folder: Path) -> Outcome:
    """Run these checks of ``module`` in two processes."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    ranks = [
        context.Process(
            target=_run_rank, args=(number, module.__name__, names, backend, folder, queue)
        )
        for number in range(RANKS)
    ]
    for rank in ranks:
        rank.start()
    problems: dict[str, list[str]] = {}
    deadline, running, missing = time.monotonic() + ALL, True, RANKS * len(names)
    try:
        while running and missing:  # Those that are missing at the end are found to be.
            # Asked first: what a process has told is in the queue once it has ended.
            running = time.monotonic() < deadline and any(rank.is_alive() for rank in ranks)
            with contextlib.suppress(Empty):
                while missing:
                    name, problem = queue.get(timeout=0.1)
                    problems.setdefault(name, []).append(problem)
                    missing -= 1
    finally:
        for rank in ranks:
            rank.join(5)
            rank.kill()
    ended = {
        name: "\n".join(filter(None, each)) for name, each in problems.items() if len(each) == RANKS
    }
    return Outcome(ended, folder)


def _run_rank(
    number: int, module: str, names: Sequence[str], backend: str, folder: Path, queue: Any
) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    tests = vars(importlib.import_module(module)).values()
    checks = {name: check for test in tests for name, check in getattr(test, "checks", {}).items()}
    device = f"cuda:{number}" if backend == "nccl" else "cpu"
    if backend == "nccl":
        torch.cuda.set_device(number)
    store = dist.FileStore(str(folder / "store"), RANKS)
    for name in names:
        # A group for each, so that what one leaves in disorder does not reach the next.
        own = dist.PrefixStore(name, store)
        try:
            dist.init_process_group(
                backend, store=own, rank=number, world_size=RANKS, timeout=COLLECTIVE
            )
            mesh = init_device_mesh(device.partition(":")[0], (RANKS,))
            torch.manual_seed(0)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                checks[name](Rank(number, device, mesh, folder))
        except BaseException:  # pytest's own are no Exceptions.
            queue.put((name, f"On rank {number}:\n{traceback.format_exc()}"))
        else:
            queue.put((name, ""))
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
    queue.close()
    queue.join_thread()
    os._exit(0)  # Ending as usual, a process of gloo's may wait for ever.
