"""Every private part of Dynamo that compiling needs; knows nothing about torchscope.

Dynamo reads these attributes of functions. The public ways to set them (`torch.compiler.disable`,
`substitute_in_graph`, `assume_constant_result`) import Dynamo, which takes a second. Without them
compiled code has graph breaks, with the right values, and `fullgraph=True` is refused.
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
    """Its result depends only on its arguments, and never changes: called while tracing."""
    cast("Any", function)._dynamo_marked_constant = True
    return function


def never_compiled(message: str) -> Callable[[F], F]:
    """Runs in Python, with what it calls; under ``fullgraph=True`` the error shows ``message``."""

    def mark(function: F) -> F:
        cast("Any", function)._torchdynamo_disable = True
        cast("Any", function)._torchdynamo_disable_msg = message
        return function

    return mark


def only_inlined(function: F) -> F:
    """Inlined into its caller, but never compiled as a function of its own.

    Where Dynamo has skipped a caller, it tries to compile each function that this one calls. One
    that asks whether it is traced, or that Dynamo replaces by another, would then answer as if its
    caller were compiled.
    """
    skip, go_on = _frames._FrameAction.SKIP, _frames._FrameAction.DEFAULT
    _frames.set_code_exec_strategy(function.__code__, _frames._FrameExecStrategy(skip, go_on))
    return function


def uncompiled(function: F) -> F:
    """``function``, so that Dynamo, if imported, compiles neither it nor what it calls."""
    # Nor is it there yet while another thread imports it.
    disable = getattr(sys.modules.get("torch._dynamo"), "disable", None)
    return function if disable is None else disable(function)


def is_on() -> bool:
    """Whether Dynamo compiles the functions that are called from here."""
    return callable(_callback())
