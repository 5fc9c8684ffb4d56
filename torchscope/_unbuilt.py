"""Who reads the parameters of a module before it has any; knows nothing of how it gets them."""

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any, cast

import torch
from torch import nn

from ._errors import NotBuiltError
from ._origin import Origin
from ._pass import entered


class Unbuilt(dict[str, Any]):
    """The parameters of a module that was not built: an optimizer that reads them would hold none.

    torch gives no other way to notice one that is made from a bigger module, which reads
    ``_parameters`` directly (``nn.Module._named_members``).
    """

    read_at: Origin | None = None

    def items(self) -> Any:
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_name in _PASSING_ON:
            frame = frame.f_back
        where = "" if frame is None else frame.f_globals.get("__name__", "") + "."
        function = "" if frame is None else frame.f_code.co_name
        holding = where.startswith(_HOLDING) and not where.startswith(_SAVING)
        ours = where.startswith(("torch.", "torchscope.")) and not holding
        if not ours or function == "requires_grad_":
            self.notice()
        return super().items()  # Moving, saving, compiling need not see what is to come.

    def notice(self) -> None:
        """Refuse an optimizer and the like; remember any other reader, to warn it."""
        self._refuse_holders(sys._getframe(1))
        self.read_at = Origin.here()

    def __reduce__(self) -> Any:
        return Unbuilt, (dict(self),)  # Copying reads, too, but holds nothing.

    def _refuse_holders(self, frame: FrameType | None) -> None:
        while frame is not None:
            holder = type(cast("object", frame.f_locals.get("self")))
            function = frame.f_code.co_name
            sharding = function in _SHARDING
            if sharding or (function == "__init__" and issubclass(holder, _HOLDERS)):
                name = function if sharding else holder.__name__
                raise NotBuiltError(
                    None,
                    f"{name} is given a ScopedModule that was not built, and would hold none of "
                    "its variables. Build it first: net.build(*example).",
                )
            frame = frame.f_back


def note_reading(modules: Iterable[nn.Module]) -> None:
    """Note that somebody lists the variables of ``modules``, from outside their passes."""
    for module in modules:
        if isinstance(module._parameters, Unbuilt) and entered(module) is None:
            module._parameters.notice()


_PASSING_ON = {"parameters", "named_parameters", "_named_members", "<lambda>"}
_HOLDING = ("torch.optim.", "torch.distributed.", "torch.nn.parallel.", "torchscope.tf1.train.")
_SAVING = "torch.distributed.checkpoint."
_SHARDING = {"fully_shard", "distribute_module"}
_HOLDERS = (torch.optim.Optimizer, nn.parallel.DistributedDataParallel)
