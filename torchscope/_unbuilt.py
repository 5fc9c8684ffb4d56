"""Who reads the parameters of a store before it has any; does not know how it gets them.

In: reads of `_parameters`, lists of variables, `apply` and the like, of a store that holds nothing
yet. Out: an error if the reader would keep what it gets (an optimizer, DDP, FSDP), or a note of
where it was, for a warning when the first variable is made (`_make.warn_of_late`).

torch gives no other way to notice a reader of a bigger module: it reads `_parameters` of each
module directly (`nn.Module._named_members`). So `_parameters` has a class of its own, which looks
at the frame that reads. Moving, saving and compiling may read it without a note.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterable
from types import FrameType
from typing import Any, cast

import torch
from torch import nn

from ._errors import NotBuiltError
from ._origin import Origin
from ._pass import entered


class Unbuilt(dict[str, Any]):
    """The parameters of a ScopedModule that was not built."""

    what = "a ScopedModule that was not built"
    build = "net.build(*example)"
    read_at: Origin | None = None

    def items(self) -> Any:
        self.read(sys._getframe(1))
        return dict(self).items()  # A copy, as `Growing` gives.

    def read(self, frame: FrameType | None, alone: bool = True) -> None:
        """Note the reader in ``frame``, unless it is torch's code that does not keep the result."""
        # Past torch's functions that only pass the parameters on, to whoever asked for them.
        while frame is not None and frame.f_code.co_name in _PASSING_ON:
            if frame.f_code.co_name == "_named_members":
                alone = frame.f_locals["self"]._parameters is self
            frame = frame.f_back
        where = "" if frame is None else frame.f_globals.get("__name__", "") + "."
        keeping = where.startswith(_KEEPING) and not where.startswith(_SAVING)
        function = "" if frame is None else frame.f_code.co_name
        if keeping or function == "requires_grad_" or not where.startswith(_OURS):
            self.notice(alone)

    def notice(self, alone: bool = True, note: bool = True) -> None:
        """Refuse an optimizer and the like; remember any other reader, for a warning."""
        self._refuse_keepers(sys._getframe(1))
        if note:
            self.read_at = Origin.here()

    def _refuse_keepers(self, frame: FrameType | None) -> None:
        while frame is not None:
            name = frame.f_code.co_name
            if name == "__init__":  # Only here: looking at a frame's locals keeps them alive.
                kind: type = type(cast("object", frame.f_locals.get("self")))
                name = kind.__name__ if issubclass(kind, _keepers()) else ""
            elif name not in _SHARDING:
                name = ""
            if name:
                raise NotBuiltError(
                    None,
                    f"{name} is given {self.what}, and would hold none of its variables. Build it "
                    f"first: {self.build}.",
                )
            frame = frame.f_back

    def copy(self) -> "Unbuilt":
        """For a clone, which is not built either."""
        other = type(self)(self)
        other.read_at = self.read_at
        return other

    def __reduce__(self) -> Any:
        return type(self), (dict(self),)


class Empty(Unbuilt):
    """The parameters of a VariableStore that holds nothing yet.

    It may stay empty, so reading it alone is fine. A reader of a bigger model may miss variables,
    and so does what changes all that are there (`apply`, `share_memory`).
    """

    what = "a model with a VariableStore that holds nothing yet"
    build = "store.build(fn, *example)"

    def notice(self, alone: bool = True, note: bool = True) -> None:
        super().notice(note=note and not alone)


def _noting(name: str) -> Any:
    """The method ``name`` of a dict; it notes who calls it."""

    def method(self: "EmptyState", *given: Any) -> Any:
        self._parameters.read(sys._getframe(1))
        return getattr(OrderedDict(OrderedDict[str, Any].items(self)), name)(*given)

    return method


class EmptyState(OrderedDict[str, Any]):
    """The state dict of a net that was not built: notes whoever loops over it, and gets nothing."""

    def __init__(self, parameters: Unbuilt, metadata: Any) -> None:
        super().__init__()
        self._parameters, self._metadata = parameters, metadata

    keys, items, values, copy, __or__, __ror__ = map(
        _noting, ("keys", "items", "values", "copy", "__or__", "__ror__")
    )

    def __reduce__(self) -> Any:
        self._parameters.read(sys._getframe(1))
        return OrderedDict, (), {"_metadata": self._metadata}


def note_reading(modules: Iterable[nn.Module], note: bool = True, alone: bool = True) -> None:
    """Note that somebody lists the variables of ``modules``, from outside their passes."""
    for module in modules:
        if isinstance(module._parameters, Unbuilt) and entered(module) is None:
            module._parameters.notice(alone, note)


_PASSING_ON = {"parameters", "named_parameters", "_named_members", "<lambda>", "state_dict"}
_OURS = "torch.", "torchscope.", "safetensors."
_KEEPING = (
    *("torch.optim.", "torch.distributed.", "torch.nn.parallel.", "torchscope.tf1.train."),
    *("torch._functorch.functional_call.", "torch.nn.utils.convert_parameters."),
)
_SAVING = "torch.distributed.checkpoint."
_SHARDING = {"fully_shard", "distribute_module"}


def _keepers() -> tuple[type, ...]:
    """The classes that keep the parameters of what they are made from."""
    kinds = torch.optim.Optimizer, nn.parallel.DistributedDataParallel
    # Importing it takes long; another thread may be doing so.
    fsdp = getattr(sys.modules.get("torch.distributed.fsdp"), "FullyShardedDataParallel", None)
    return kinds if fsdp is None else (*kinds, fsdp)
