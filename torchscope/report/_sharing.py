"""sharing and summary: one pass over a module, recorded and undone, and the report of it."""

import inspect
import sys
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from torchscope._build import computing_nothing_on_meta, example_of, no_gradients_left
from torchscope._dynamo import never_compiled
from torchscope._errors import ScopeError
from torchscope._module import ScopedModule
from torchscope._overview import Summary, overview
from torchscope._store import VariableStore

from ._reading import report_of
from ._recording import Recording, run_recorded
from ._report import SharingReport
from ._undisturbed import undisturbed


@never_compiled("sharing and summary run a pass to look at it, which cannot be compiled.")
def sharing(module: nn.Module, /, *args: Any, **kwargs: Any) -> SharingReport:
    """What is shared: run one pass with recording on, and say who asked for which variable.

    >>> import torch, torchscope as ts
    >>> def siamese(a, b):
    ...     with ts.variable_scope("encoder", reuse=ts.AUTO_REUSE):
    ...         return [x @ ts.get_variable("w", [3, 2]) for x in (a, b)]
    >>> net = ts.ScopedModule(siamese)
    >>> report = ts.sharing(net, torch.ones(1, 3), torch.ones(1, 3))
    >>> list(report.shared), report.unused, report.near_misses
    (['encoder/w'], [], [])

    The pass changes nothing: values, moving averages, random streams, training mode, attributes
    and tables are put back, also if it raises; a net that was not built is not built by it. It
    runs without gradients, and what torch.compile compiled runs as Python. Inputs on the meta
    device do: then nothing is computed.

    Args:
        module: a ScopedModule, another store, or any ``nn.Module``.
        args: what it is called with; for a store that is not a ScopedModule, the function first.
            Without any, a ScopedModule is called with zeros like what ``build`` was given, and
            a plain module is not run: then only what is tied by hand is told.
        kwargs: likewise.

    Raises:
        TypeError: not a module, or a store without a function.
        Exception: whatever the pass raises; then there is no report.
    """
    module = _plain_module("sharing", module)
    call = _call("sharing", module, args, kwargs)
    if call is None:
        return report_of(module, None)
    return _undone(module, call, lambda recording: report_of(module, recording))


@never_compiled("sharing and summary run a pass to look at it, which cannot be compiled.")
def summary(module: nn.Module, /, *args: Any, depth: int | None = None, **kwargs: Any) -> Summary:
    """What a module holds, as :meth:`VariableStore.summary` says it: stores anywhere inside, too.

    >>> import torch, torchscope as ts
    >>> def head(x):
    ...     return x @ ts.get_variable("w", [3, 2])
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), ts.ScopedModule(head))
    >>> print(ts.summary(model, torch.ones(1, 4)))
    Sequential: 3 variables, 21 numbers, 21 of them trainable, 84 bytes
    <BLANKLINE>
    name                   shape        dtype    device  trainable  count  bytes
    0.  Linear             2 variables                   yes           15     60
      weight               [3, 4]       float32  cpu     yes           12     48
      bias                 [3]          float32  cpu     yes            3     12
    1.  ScopedModule(head)  1 variable                    yes            6     24
      w                    [3, 2]       float32  cpu     yes            6     24

    Args:
        module: any ``nn.Module``; of a plain one the names are torch's.
        args: an example, to see what is not built yet: the module is called with it, and all is
            put back as it was, as by :func:`sharing`. Without one nothing is run.
        depth: how many scopes deep to show; by default as deep as it stays readable.
        kwargs: as ``args``.

    Raises:
        TypeError: not a module.
        ValueError: ``depth`` is negative, or not an integer.
    """
    module = _plain_module("summary", module)
    if not (args or kwargs):
        return overview(module, depth)
    call = _call("summary", module, args, kwargs)
    assert call is not None
    return _undone(module, call, lambda _: overview(module, depth))


# ---- the pass --------------------------------------------------------------------------------


def _plain_module(function: str, module: Any) -> nn.Module:
    """``module``, or what torch.compile wrapped in it."""
    module = getattr(module, "_orig_mod", module)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{function} takes a net, a store or another nn.Module, not {module!r}. For a "
            f"function: ts.{function}(ts.ScopedModule(fn), *example)."
        )
    return module


class _Call:
    """What is run: a module, or a function in a store, with arguments."""

    def __init__(self, run: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.run, self.args, self.kwargs = run, args, kwargs


def _call(function: str, module: nn.Module, args: Any, kwargs: Any) -> _Call | None:
    if isinstance(module, ScopedModule):
        run = cast("ScopedModule[..., Any]", module)
        if not (args or kwargs):
            args, kwargs = example_of(run) or (args, kwargs)
        _check_callable(function, run.fn, args, kwargs)
        return _Call(run, args, kwargs)
    if isinstance(module, VariableStore):
        if not args or not callable(args[0]):
            raise TypeError(f"A store is run with a function: ts.{function}(store, fn, *example).")
        return _Call(module, args, kwargs)
    return _Call(module, args, kwargs) if args or kwargs else None


def _check_callable(function: str, fn: Any, args: Any, kwargs: Any) -> None:
    """Raise, before anything runs, if ``fn`` needs an example and there is none."""
    if args or kwargs:
        return
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # Some builtins have none.
        return
    try:
        signature.bind()
    except TypeError:
        raise ScopeError(
            None,
            f"{getattr(fn, '__name__', fn)!r} takes arguments. Give them: ts.{function}(net, "
            "*example). What net.build(*example) is given would be remembered.",
        ) from None


def _undone(module: nn.Module, call: _Call, look: Callable[[Recording], Any]) -> Any:
    """Run the call, look at the module, and put everything back."""

    def attempt() -> Any:
        inputs = call.args, call.kwargs
        with undisturbed(module, inputs), computing_nothing_on_meta(inputs):
            args, kwargs = _each_its_own(inputs)
            recording, _ = run_recorded(lambda: call.run(*args, **kwargs))
            return look(recording)

    compiles = "torch._dynamo" in sys.modules
    try:
        with torch.no_grad():
            seen = attempt()
            # What called torch.compile for the first time may hide what it asked for.
            return seen if compiles or "torch._dynamo" not in sys.modules else attempt()
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
    # It takes gradients itself, for a penalty perhaps.
    with torch.enable_grad(), no_gradients_left(module, (call.args, call.kwargs)):
        return attempt()


def _each_its_own(inputs: Any) -> Any:
    """The inputs, a tensor that is given twice as two: for two inputs it only stands."""
    seen: set[int] = set()

    def own(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in seen and type(tensor) is torch.Tensor:
            return tensor.detach().requires_grad_(tensor.requires_grad)
        seen.add(id(tensor))
        return tensor

    return tree_map_only(torch.Tensor, own, inputs)
