"""What compiling rests on that is private in Dynamo, all of it; knows nothing of torchscope.

Dynamo reads these attributes off functions. The public ways to set them (`torch.compiler.disable`,
`substitute_in_graph`, `assume_constant_result`) import Dynamo, which takes a second. Without them
compiled code comes in pieces, with the right values, and `fullgraph=True` is refused.
docs/dynamo.md says what each is needed for.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])

_frames: Any = cast("Any", torch._C)._dynamo.eval_frame
_callback: Callable[[], Any] = _frames.get_eval_frame_callback


def constant(function: F) -> F:
    """What it returns follows from its arguments, once and for all: called while tracing."""
    cast("Any", function)._dynamo_marked_constant = True
    return function


def never_compiled(message: str) -> Callable[[F], F]:
    """Left to Python, with what it calls; under ``fullgraph=True`` the error shows ``message``."""

    def mark(function: F) -> F:
        cast("Any", function)._torchdynamo_disable = True
        cast("Any", function)._torchdynamo_disable_msg = message
        return function

    return mark


def only_inlined(function: F) -> F:
    """Read as part of what calls it, but never compiled as a function of its own.

    Where Dynamo has left a caller to Python it tries each function that is called next. One that
    asks whether it is traced, or that Dynamo reads something else for, would then be compiled as
    if its caller were.
    """
    skip, go_on = _frames._FrameAction.SKIP, _frames._FrameAction.DEFAULT
    _frames.set_code_exec_strategy(function.__code__, _frames._FrameExecStrategy(skip, go_on))
    return function


def uncompiled(function: F) -> F:
    """``function``, so that Dynamo, if it is there, compiles neither it nor what it calls."""
    dynamo = sys.modules.get("torch._dynamo")
    return function if dynamo is None else dynamo.disable(function)


def is_on() -> bool:
    """Whether Dynamo is to compile what Python calls from here."""
    return callable(_callback())
