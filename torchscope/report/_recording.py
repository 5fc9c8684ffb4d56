"""One pass with recording on: which variables are asked for, and from where; judges nothing.

A get ends by noting that this pass has met its name, `run.met[name] = None`: the one thing that all
gets do, by whatever way they came. So a recorded pass is a pass whose `met` also looks at who
asks. And a recorded call is one in which the thread's list of passes turns each pass that is put
on it into a recorded one: that of the net, those of blocks inside it, those of bound functions.
Outside of it there is neither the one nor the other, so nothing is asked and nothing is slower.

Parameters of plain modules are never asked for by name. For them the calls of their module count
(by one of torch's hooks for all modules), or, where it is never called, the operations that read
them. `get_module` counts as one call of each module inside, which the call that follows is.
"""

import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from torchscope._names import escape
from torchscope._origin import is_inside
from torchscope._pass import Pass, graph_task, here
from torchscope._table import VariableTable

from ._lineage import Lineage


class Step(NamedTuple):
    """A call on the way to a get: the line, and which of the line's calls it is."""

    file: str
    line: int
    function: str
    instruction: int


Path = tuple[Step, ...]  # innermost first


class Get(NamedTuple):
    """One way in which a variable was asked for."""

    path: Path
    scope: str = ""  # that was open, by its name in the store
    store: int = 0  # the id of that store; 0 for a call of a module


class _Met(dict[str, None]):
    """The names that a recorded pass has met."""

    note: Callable[[str], None] | None = None

    def __setitem__(self, name: str, value: None) -> None:
        super().__setitem__(name, value)
        if self.note is not None:
            self.note(name)


class _RecordedPasses(list[Pass]):
    """The passes of a thread that records."""

    def __init__(self, passes: list[Pass], recording: "Recording") -> None:
        super().__init__(passes)
        self._recording = recording

    def append(self, run: Pass, /) -> None:
        self._recording.begin(run)
        super().append(run)


class Recording:
    """What one call of a module did."""

    def __init__(self) -> None:
        # By the id of a store and a name in it; by that of a module; by that of a parameter. Gets
        # of a module are calls of it and of each module inside.
        self.gets: dict[tuple[int, str], Counter[Get]] = {}
        self.calls: dict[int, Counter[Get]] = {}
        self.reads: dict[int, Counter[Get]] = {}
        self.stores: dict[int, VariableTable] = {}  # those asked, by id
        self.lineage = Lineage(self._parameter_read)
        self._paid: Counter[int] = Counter()  # by modules: calls that a `get_module` stands for
        self._begun: list[tuple[Pass, dict[str, None], bool]] = []
        self._backward = graph_task()
        self._thread = threading.get_ident()
        self._kept: list[Any] = []  # what ids are of, so that none is given away again

    # ---- while it is on --------------------------------------------------------------------

    @contextmanager
    def on(self) -> Generator[None]:
        """Record what this thread asks for."""
        outer = here.passes
        here.passes = _RecordedPasses(outer, self)
        endless = here.endless
        if endless is not None:  # The default store's, which nobody puts on the list.
            self.begin(endless)
        hook = register_module_forward_pre_hook(self._called)
        try:
            with self.lineage:
                yield
        finally:
            hook.remove()
            here.passes = outer
            if here.endless is not None and here.endless is not endless:  # Nobody was looking.
                self.stores[id(here.endless.store)] = here.endless.store
            for run, met, is_older in reversed(self._begun):
                if isinstance(run.met, _Met):
                    run.met.note = None
                run.met = met if is_older else dict(run.met)

    def begin(self, run: Pass) -> None:
        """Make ``run`` a recorded pass."""
        if isinstance(run.met, _Met):
            return
        self._begun.append((run, run.met, run.endless or run in here.passes))
        run.met = _Met(run.met)
        run.met.note = functools.partial(self._asked, run)

    def _asked(self, run: Pass, name: str) -> None:
        if graph_task() != self._backward:  # Activation checkpointing runs it again.
            return
        store: VariableTable = run.store
        scope = run.stack[-1][0].name if run.stack else ""
        get = Get(_path(), scope, id(store))
        self.gets.setdefault((id(store), name), Counter())[get] += 1
        self.stores[id(store)] = store
        key = escape(name)
        variable = store._parameters.get(key)
        variable = store._buffers.get(key) if variable is None else variable
        if variable is not None:
            made = store._declared[name]
            last, spec = name.rpartition("/")[2], made.spec
            self.lineage.announce(variable, (made.origin, last, spec.shape, spec.dtype))
        elif name in store._made_modules:
            for one in inside(store._modules[key]):
                self._paid[id(one)] += 1
                self._count(self.calls, one, get)
                for local, parameter in one._parameters.items():
                    if parameter is not None:
                        role = store._made_modules[name].origin, local, parameter.shape
                        self.lineage.announce(parameter, role)

    def _count(self, counts: dict[int, Counter[Get]], one: Any, get: Get) -> None:
        self._kept.append(one)
        counts.setdefault(id(one), Counter())[get] += 1

    def _called(self, module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() != self._thread or isinstance(module, VariableTable):
            return
        if self._paid[id(module)]:
            self._paid[id(module)] -= 1
        elif module._parameters or module._buffers:
            self._count(self.calls, module, Get(_path()))

    def _parameter_read(self, parameter: torch.Tensor) -> None:
        self._count(self.reads, parameter, Get(_path()))


def inside(module: nn.Module | None) -> Iterator[nn.Module]:
    """``module`` and those below it, but stores and what they hold."""
    if module is not None and not isinstance(module, VariableTable):
        yield module
        for child in module._modules.values():
            yield from inside(child)


def _path() -> Path:
    """The user's lines that lead here, innermost first, up to the call that records.

    If there are none inside that call, whoever made it.
    """
    steps: list[Step] = []
    frame: FrameType | None = sys._getframe(1)
    recorder = False
    while frame is not None and not (recorder and steps):
        code = frame.f_code
        recorder = recorder or code is run_recorded.__code__
        if not is_inside(frame.f_globals.get("__name__")):
            steps.append(Step(code.co_filename, frame.f_lineno, code.co_name, frame.f_lasti))
        frame = frame.f_back
    return tuple(steps)


def run_recorded(fn: Callable[[], Any]) -> tuple[Recording, Any]:
    """Call ``fn`` with recording on; returns what was recorded, and what it gave."""
    recording = Recording()
    with _nothing_compiled(), recording.on():
        result = fn()
    return recording, result


def _nothing_compiled() -> AbstractContextManager[Any]:
    """What torch.compile has compiled runs as Python, where it can be seen."""
    if "torch._dynamo" not in sys.modules:  # To import it takes a second.
        return nullcontext()
    stance: Any = torch.compiler.set_stance
    return stance("force_eager")
