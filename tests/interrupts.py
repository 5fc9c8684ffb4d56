"""Interrupt code of torchscope at every instant at which Python could, one after the other.

Signals and asynchronous exceptions come where Python looks for them: as a function begins, after a
call and at a jump back. Stores that stand side by side are never parted.
"""

import dis
import functools
import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import torchscope

T = TypeVar("T")

PACKAGE = str(Path(torchscope.__file__).parent)


class Interrupt(BaseException):
    """As KeyboardInterrupt is: no Exception."""


def at_every_instant(
    work: Callable[[], Any], inside: tuple[str, ...] = (PACKAGE,)
) -> Iterator[type[BaseException] | None]:
    """Run ``work`` until it is not interrupted any more, each time one instant later.

    Yields the class of what came out of each run, None if nothing did. Only files are interrupted
    whose paths begin with one of ``inside``.
    """
    for came, _ in on_new_ones(lambda: None, lambda _: work(), inside):
        yield came


def on_new_ones(
    new: Callable[[], T], work: Callable[[T], Any], inside: tuple[str, ...] = (PACKAGE,)
) -> Iterator[tuple[type[BaseException] | None, T]]:
    """The same for work on something that is made anew for each run, and then yielded, too."""
    for number in itertools.count(1):
        subject = new()
        tracer = _Tracer(number, inside)
        before, came = sys.gettrace(), None
        collects = gc.isenabled()
        gc.disable()  # Else garbage of other tests is freed meanwhile, where Python drops errors.
        try:
            sys.settrace(tracer.call)
            work(subject)
        except BaseException as error:  # Not kept: its traceback would keep all frames.
            came = type(error)
        finally:
            sys.settrace(before)
            if collects:
                gc.enable()
        if tracer.left > 0:
            assert came is None, came
            return
        yield came, subject


class _Tracer:
    def __init__(self, number: int, inside: tuple[str, ...]) -> None:
        self.left = number  # instants until it raises
        self.inside = inside
        self.looks: set[FrameType] = set()  # frames in which Python looks at the next instruction

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_name != "__init__":  # Python calls Python without looking afterwards.
            self.looks.discard(frame.f_back)
        if not frame.f_code.co_filename.startswith(self.inside):
            return None
        frame.f_trace_opcodes = True
        self.looks.add(frame)
        return self.step

    def step(self, frame: FrameType, event: str, argument: Any) -> Any:
        looks = frame in self.looks
        self.looks.discard(frame)
        if event == "opcode":
            if frame.f_lasti in _calls(frame.f_code):
                self.looks.add(frame)
            if looks:
                self.arrive()
        elif event == "line" and looks:  # Comes before the instruction does.
            self.looks.add(frame)
        return self.step

    def arrive(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Interrupt


@functools.cache
def _calls(code: CodeType) -> frozenset[int]:
    """Where ``code`` has instructions after which Python looks for signals."""
    return frozenset(
        instruction.offset
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith(("CALL", "JUMP_BACKWARD", "JUMP_ABSOLUTE"))
    )
