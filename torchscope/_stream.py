"""The random stream that a first value is drawn from; knows only the variable's name.

In: work that may draw random numbers, a seed and a name. Out: the work's result. The stream is
seeded from both, so values do not depend on the order of creation, differ between variables and
agree between processes with the same seed; and torch's global stream stays as it was, or activation
checkpointing would compute wrong gradients (dropout would draw other masks the second time).

Work that takes a generator gets this thread's own. Any other work draws from torch's stream on the
CPU, which belongs to the process: one thread at a time may use it.

Everything is restored in a `finally`: an interrupt could come before the first line of an
`__exit__` written in Python, but not before a `finally`.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from ._errors import ScopeError
from ._locks import Lock
from .initializers import stream

T = TypeVar("T")

PATIENCE = 60.0  # seconds that a thread waits for the stream while another uses it
_CPU = torch.device("cpu")
function_modes: Callable[[], int] = cast("Any", torch._C)._len_torch_function_stack


def default_device() -> torch.device:
    """Torch's default device, quickly where none was set, as nearly always."""
    return _CPU if function_modes() == 0 else torch.get_default_device()


def plainly(work: Callable[[], T]) -> T:
    """The result of ``work`` on the CPU and without autocast, which would change dtypes."""
    if default_device().type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return work()
    with _CPU, torch.autocast("cpu", enabled=False):
        return work()


def in_own_stream(seed: int, full_name: str, work: Callable[[], T]) -> T:
    """The result of ``work``, which draws from `stream.own`."""
    outer = stream.generator
    stream.generator = stream.own
    try:
        stream.own.manual_seed(_seed_of(seed, full_name))
        return plainly(work)
    finally:
        stream.generator = outer


class _Lent:
    """Torch's stream on the CPU, while work uses it."""

    lock = Lock()  # Re-entrant: an initializer may ask for another variable.
    ambient: tuple[torch.Tensor, int] | None = None  # its state to restore; the thread that uses it


def in_lent_stream(seed: int, full_name: str, work: Callable[[], T]) -> T:
    """The result of ``work``, which draws from torch's own stream on the CPU.

    Raises:
        ScopeError: another thread does not release it; perhaps it waits for this one.
    """
    lock = _Lent.lock.held
    try:
        if not lock.acquire(timeout=PATIENCE):
            raise ScopeError(
                full_name,
                f"{full_name!r} cannot be made: for {PATIENCE:.0f} seconds another thread has been "
                "in an initializer or factory of yours, which may draw from torch's random "
                "stream. Does it wait for this thread? Build one net before the other.",
            )
        return _lent(seed, full_name, work)
    finally:
        try:  # noqa: SIM105  - While a context manager is made, an interrupt could come.
            lock.release()
        except RuntimeError:  # It was not acquired.
            pass


def _lent(seed: int, full_name: str, work: Callable[[], T]) -> T:
    generator = torch.default_generator
    outer, lent, state = stream.generator, _Lent.ambient, generator.get_state()
    ambient = lent or (state, threading.get_ident())
    stream.generator, _Lent.ambient = None, ambient
    try:
        generator.manual_seed(_seed_of(seed, full_name))
        return plainly(work)
    finally:
        stream.generator, _Lent.ambient = outer, lent
        generator.set_state(state)


def _seed_of(seed: int, full_name: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{full_name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _give_back_in_child() -> None:
    """The thread that used the stream does not exist in a forked child."""
    if _Lent.ambient is not None and _Lent.ambient[1] != threading.get_ident():
        torch.default_generator.set_state(_Lent.ambient[0])
        _Lent.ambient = None


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(after_in_child=_give_back_in_child)
