"""ScopedModule: a store that knows the function that fills it."""

import functools
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from typing_extensions import ParamSpec, Self

from . import _names
from ._declare import Origin
from ._errors import NotBuiltError, ScopeWarning, StateDictError
from ._here import Pass, here
from ._store import VariableStore, first_pass

P = ParamSpec("P")
R = TypeVar("R")


class ScopedModule(VariableStore, Generic[P, R]):
    """A function as an ``nn.Module``: its variables are the module's parameters.

    They appear on the first call, or when :meth:`build` is called with example inputs. Each call
    is one pass, from the root, wherever it is made.

    >>> import torch, torchscope as ts
    >>> def model(x):
    ...     with ts.variable_scope("dense"):
    ...         return x @ ts.get_variable("w", [3, 2])
    >>> net = ts.ScopedModule(model).build(torch.ones(1, 3))
    >>> net
    ScopedModule((dense/w): Parameter (3, 2) float32 cpu)
    >>> optimizer = torch.optim.Adam(net.named_parameters())

    Args:
        fn: the function, or an ``nn.Module``, which then is the submodule ``fn``.
        seed: as for :class:`VariableStore`.

    Raises:
        TypeError: ``fn`` cannot be called.
    """

    def __init__(self, fn: Callable[P, R], *, seed: int | None = None) -> None:
        if not callable(fn):
            raise TypeError(f"ScopedModule takes a function, not {fn!r}.")
        super().__init__(seed)
        self.fn = fn
        _name_arguments(self)
        self.__dict__["_parameters"] = _Unbuilt(self._parameters)
        _warn_of_hidden_modules(fn)

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function as one pass over this store."""
        if not self._built and is_dynamo_compiling():
            return first_pass(self, self.fn, args, kwargs)
        with Pass(self):
            return self.fn(*args, **kwargs)

    def build(self, *args: P.args, **kwargs: P.kwargs) -> Self:
        """Make the variables now, by running the function once on example inputs.

        No gradient is kept; torch's random streams, buffers and variables that are not trained are
        put back as they were, or as they were made. Inputs on the meta device do: then nothing is
        computed, and the variables have their values all the same.

        Args:
            args: what the module will be called with, or anything of those shapes and dtypes.
            kwargs: likewise.

        Returns:
            The module itself.
        """
        with _put_back(self), torch.no_grad(), _meta_mode(args, kwargs):
            first_pass(self, self.fn, args, kwargs)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _name_arguments(self)

    def _replicate_for_data_parallel(self) -> Self:
        replica = super()._replicate_for_data_parallel()
        _name_arguments(replica)  # Copied as it was, its forward would be the original's.
        return replica

    def _pass_ended(self) -> None:
        """The first pass that ends well settles what the module holds."""
        if self._built:
            return
        self._settle_pending()
        self.__dict__["_parameters"] = dict(self._parameters)
        super()._pass_ended()

    def _settle_pending(self) -> None:
        if not self._pending:
            return
        names = ", ".join(repr(_names.unescape(key)) for key in self._pending)
        message = (
            f"The state dict that was loaded holds names that the first pass did not ask for: "
            f"{names}."
        )
        if self._pending_strict:
            raise StateDictError(
                None, f"{message} Load it with strict=False, or drop them: del net[name]."
            )
        self._pending.clear()
        warn(Origin.here(), message)

    def _check_late(self, what: str, name: str, origin: Origin) -> None:
        parameters = self._parameters
        if self._built:
            warn(
                origin,
                f"{what} {name!r} is made after the net was built: an optimizer, DDP or FSDP made "
                "before does not hold it. Build with inputs that reach it: net.build(*example); "
                "net.finalize() makes this an error.",
            )
        elif isinstance(parameters, _Unbuilt) and parameters.read_at is not None:
            read_at, parameters.read_at = parameters.read_at, None
            warn(
                origin,
                f"The net's parameters were read at {read_at}, before any was made: whoever read "
                "them (an optimizer?) holds none. Build it first: net.build(*example).",
            )


def warn(origin: Origin, message: str) -> None:
    """Warn as if from the user's line."""
    warnings.warn_explicit(message, ScopeWarning, origin.file, origin.line)


def _name_arguments(module: ScopedModule[..., Any]) -> None:
    """Give ``module.forward`` the argument names of the function, which torch.export goes by."""
    forward = cast("Any", ScopedModule.forward)
    fn = module.fn
    if type(module).forward is not forward:
        return
    try:
        signature = inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn)
    except (TypeError, ValueError):  # Some builtins have none.
        return
    own = types.FunctionType(forward.__code__, forward.__globals__, forward.__name__)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    named = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    if all(parameter.kind is not parameter.POSITIONAL_ONLY for parameter in named):
        own.__signature__ = inspect.Signature([itself, *named])  # type: ignore[attr-defined]
        module.__dict__["forward"] = types.MethodType(own, module)


class _Unbuilt(dict[str, Any]):
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
        if where.startswith(_HOLDING) or function == "requires_grad_":
            self._refuse_holders(frame)
        elif where.startswith(("torch.", "torchscope.")):
            return super().items()  # Moving, saving, compiling: they need not see what is to come.
        self.read_at = Origin.here()
        return super().items()

    def __reduce__(self) -> Any:
        return _Unbuilt, (dict(self),)  # Copying reads, too, but holds nothing.

    def _refuse_holders(self, frame: FrameType | None) -> None:
        while frame is not None:
            holder = type(cast("object", frame.f_locals.get("self")))
            sharding = frame.f_code.co_name == "fully_shard"
            if sharding or (frame.f_code.co_name == "__init__" and issubclass(holder, _HOLDERS)):
                name = "fully_shard" if sharding else holder.__name__
                raise NotBuiltError(
                    None,
                    f"{name} is given a ScopedModule that was not built, and would hold none of "
                    "its variables. Build it first: net.build(*example).",
                )
            frame = frame.f_back


_PASSING_ON = {"parameters", "named_parameters", "_named_members", "<lambda>"}
_HOLDING = ("torch.optim.", "torch.distributed.", "torch.nn.parallel.")
_HOLDERS = (torch.optim.Optimizer, nn.parallel.DistributedDataParallel)


@contextmanager
def _put_back(module: nn.Module) -> Generator[None]:
    """Leave random streams and all that is not trained as they were, or as they were made."""
    accelerator = torch.accelerator.current_accelerator()
    kind = "cuda" if accelerator is None else accelerator.type
    devices = range(torch.accelerator.device_count())
    kept = [(tensor, tensor.detach().clone()) for tensor in _untrained(module)]
    outer, here.kept = here.kept, kept
    try:
        with torch.random.fork_rng(devices, device_type=kind):
            yield
    finally:
        here.kept = outer
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)


def _untrained(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.buffers()
    yield from (parameter for parameter in module.parameters() if not parameter.requires_grad)


class _OnMeta(TorchDispatchMode):
    """Computes nothing: where one tensor is on the meta device, the others go there too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if any(tensor.is_meta for tensor in tensors):
            args, kwargs = tree_map_only(
                torch.Tensor, lambda tensor: tensor.to("meta"), (args, kwargs or {})
            )
            if "device" in kwargs:
                kwargs["device"] = torch.device("meta")
        return func(*args, **(kwargs or {}))


def _meta_mode(args: Any, kwargs: Any) -> AbstractContextManager[Any]:
    leaves = tree_leaves((args, kwargs))
    on_meta = any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in leaves)
    return _OnMeta() if on_meta else nullcontext()


def _warn_of_hidden_modules(fn: Callable[..., Any]) -> None:
    """Warn of modules that ``fn`` uses without the ScopedModule knowing."""
    hidden = [
        name
        for name, value in _closed_over(fn)
        if isinstance(value, nn.Module) and next(value.parameters(), None) is not None
    ]
    if hidden:
        names = " and ".join(map(repr, hidden))
        warnings.warn(
            f"The function closes over the module {names}, whose parameters the ScopedModule does "
            "not hold: they are neither saved nor trained with it. Make it inside the function: "
            f"{hidden[0]} = ts.get_module({hidden[0]!r}, lambda: ...).",
            ScopeWarning,
            stacklevel=3,
        )


def _closed_over(fn: Any) -> Iterator[tuple[str, Any]]:
    while isinstance(fn, functools.partial):
        yield from (("an argument", value) for value in (*fn.args, *fn.keywords.values()))
        fn = fn.func
    for name, cell in zip(
        getattr(getattr(fn, "__code__", None), "co_freevars", ()),
        getattr(fn, "__closure__", None) or (),
        strict=False,
    ):
        try:
            yield name, cell.cell_contents
        except ValueError:  # Not assigned yet.
            continue
