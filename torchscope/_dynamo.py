"""What compiling rests on that is private in Dynamo, all of it; the rest of the code knows none.

Dynamo reads these attributes off functions. The public ways to set them (`torch.compiler.disable`,
`substitute_in_graph`, `assume_constant_result`) import Dynamo, which takes a second. Without them
compiled code comes in pieces, with the right values, and `fullgraph=True` is refused.
"""

from typing import Any, cast

import torch

from . import _module, _pass, _table


def _tracing() -> int:
    return _pass.TRACING


def _no_loop() -> bool:
    return False


def _read_instead(function: Any, other: Any) -> None:
    function._torchdynamo_inline = other


# Neither a backward pass nor an event loop is anything that compiled code could watch.
_read_instead(_pass.graph_task, _tracing)
_read_instead(_pass.in_event_loop, _no_loop)

# What follows from the digest of a store's structure is as constant as that.
cast("Any", _table.as_built)._dynamo_marked_constant = True

# The first pass is left to Python, and the next is compiled.
_first_pass: Any = _pass.first_pass
_first_pass._torchdynamo_disable = True
_first_pass._torchdynamo_disable_msg = (
    "Variables are made in the first pass, which cannot be compiled. "
    "Build the module first: net.build(*example)."
)

# Looking up `forward` runs where Dynamo would compile whatever is called, and is not to be.
_frames = cast("Any", torch._C)._dynamo.eval_frame
_look_up: Any = _module.ScopedModule.__dict__["forward"].__get__
_skip = _frames._FrameAction.SKIP
_frames.set_code_exec_strategy(_look_up.__code__, _frames._FrameExecStrategy(_skip, _skip))
