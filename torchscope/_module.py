"""ScopedModule: a store that knows the function that fills it."""

import functools
import inspect
import types
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from torch import nn
from torch.compiler import is_dynamo_compiling
from typing_extensions import ParamSpec, Self

from ._build import note_example
from ._built import built_as
from ._dynamo import only_inlined
from ._errors import NotBuiltError, ScopeWarning, StateDictError
from ._origin import Origin, warn
from ._pass import Pass, here
from ._store import VariableStore, build, first_pass
from ._unbuilt import Unbuilt
from ._walk import variables

P = ParamSpec("P")
R = TypeVar("R")


# ---- the function that runs ------------------------------------------------------------------
#
# torch asks a module for `forward`, and two of its tools look at the result: torch.export uses
# the names of the arguments, and Dynamo counts compilations by code object and gives up after a
# few, so models of different functions must not share one, while equal blocks of one function
# should. So `forward` is looked up by the function, at the call. It is not stored on the instance:
# a bound method there would be a reference cycle, and a shallow copy would run the original.


def _forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Run the function as one pass over this store."""
    if is_dynamo_compiling() and not self._built:
        return first_pass(self, self.fn, args, kwargs)
    passes = here.passes
    depth = len(passes)
    try:  # See `Pass.whole`.
        run = Pass(self)
        passes.append(run)
        result = self.fn(*args, **kwargs)
    finally:
        left = passes[depth:]
        del passes[depth:]
    return run.whole(result, left)


class _Forward:
    """The descriptor of ``forward``: a method with a code object for each function."""

    @only_inlined
    def __get__(self, net: Any, owner: Any = None) -> Any:
        if net is None:
            return _forward
        if is_dynamo_compiling():  # What is inlined needs no code of its own.
            return net._forward
        fn = net.fn
        own = _forwards.get(getattr(fn, "__code__", None)) or _forward_of(fn)
        return types.MethodType(own, net)


_forwards: dict[Any, Callable[..., Any]] = {}


@only_inlined
def _forward_of(fn: Any) -> Callable[..., Any]:
    """``_forward`` with a code object and a signature for ``fn``."""
    key = _code_of(fn)
    own = _forwards.get(key)
    if own is None:
        own = types.FunctionType(_forward.__code__.replace(), globals(), "forward")
        own.__doc__ = _forward.__doc__
        signature = _signature(fn)
        if signature is not None:
            own.__signature__ = signature  # type: ignore[attr-defined]
        own = _forwards.setdefault(key, own)
    return own


@only_inlined
def _code_of(fn: Any) -> Any:
    """The code of a function or method, with the arguments a partial binds; else its class."""
    if isinstance(fn, functools.partial):
        partial = cast("functools.partial[Any]", fn)
        return _code_of(partial.func), len(partial.args), *partial.keywords
    function: Any = getattr(fn, "__func__", fn)
    return getattr(function, "__code__", cast("Any", type(function)))


def _signature(fn: Any) -> inspect.Signature | None:
    """``fn``'s signature with ``self`` in front; None if that is not possible."""
    try:
        named = inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn).parameters
    except (TypeError, ValueError):  # Some builtins have none.
        return None
    if not named or any(p.name == "self" or p.kind is p.POSITIONAL_ONLY for p in named.values()):
        return None
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return inspect.Signature([itself, *named.values()])


class ScopedModule(VariableStore, Generic[P, R]):
    """A function as an ``nn.Module``: its variables are the module's parameters.

    They are made on the first call, or when :meth:`build` is called with example inputs. Each call
    is one pass, from the root scope, wherever it is made.

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
        self.__dict__["_parameters"] = Unbuilt(self._parameters)
        _warn_of_hidden_modules(fn)

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

        def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
            """Run the function as one pass over this store."""
            ...
    else:
        forward = _Forward()
        _forward = _forward

    _grows = False

    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Self:
        """Make the variables now, by running the function once on example inputs.

        It leaves no gradients; torch's random streams and all values are restored: as they were
        before, or as they were made. (Until then each value is stored twice.) With inputs on the
        meta device nothing is computed, but the variables still get their values.

        Args:
            args: example arguments of the function, of the right shapes and dtypes.
            kwargs: likewise.

        Returns:
            The module itself.
        """
        build(self, self.fn, args, kwargs)
        note_example(self, args, kwargs)
        return self

    def _replicate_for_data_parallel(self) -> Self:
        if not self._built:
            raise NotBuiltError(
                None,
                "DataParallel is given a ScopedModule that was not built: each replica would make "
                "variables of its own. Build it first: net.build(*example).",
            )
        return super()._replicate_for_data_parallel()

    def _pass_ended(self) -> None:
        """When the first pass has succeeded, the module is complete: check and freeze its specs."""
        self._check_pending()
        # From here on compiled code guards on the digest of `built` instead of on each spec.
        built = built_as(dict(self._specs))
        with self._lock.held:  # Another thread may be adding to them.
            if len(self._specs) == len(built.specs):
                self._built_as, self._specs = built, built.specs  # One table for all alike.
        super()._pass_ended()

    def _check_pending(self) -> None:
        """Raise or warn if loaded values were not used or variables got none."""
        pending = self._pending
        if pending.nothing:
            return
        made = [found.full_name for found in variables(self)]
        made += [f"{name}/" for name in self._made_modules]
        problems = pending.finish(made)
        if problems and pending.strict:
            raise StateDictError(
                None,
                f"The state dict that was loaded does not fit.{problems} Load it again "
                "with strict=False, or drop the values that are not used: del net[name].",
            )
        pending.clear()
        if problems:
            warn(Origin.here(), f"The state dict that was loaded does not fit.{problems}")


def _warn_of_hidden_modules(fn: Callable[..., Any]) -> None:
    """Warn of modules that ``fn`` uses but the ScopedModule does not hold."""
    hidden = [
        name
        for name, value in _closed_over(fn)
        if isinstance(value, nn.Module)
        and (isinstance(value, ScopedModule) or next(value.parameters(), None) is not None)
    ]
    if hidden:
        names = " and ".join(map(repr, hidden))
        name = next(filter(str.isidentifier, hidden), "layer")
        warnings.warn(
            f"The function closes over the module {names}, whose parameters the ScopedModule does "
            "not hold: they are neither saved nor trained with it. Make it inside the function: "
            f"{name} = ts.get_module({name!r}, lambda: ...).",
            ScopeWarning,
            stacklevel=3,
        )


def _closed_over(fn: Any) -> Iterator[tuple[str, Any]]:
    while isinstance(fn, functools.partial):
        yield from (("an argument", value) for value in (*fn.args, *fn.keywords.values()))
        fn = fn.func
    owner = getattr(fn, "__self__", fn)
    if not isinstance(owner, nn.Module | type) and hasattr(owner, "__dict__"):
        yield from vars(owner).items()
    if isinstance(fn, types.FunctionType):
        for name, parameter in inspect.signature(fn).parameters.items():
            yield name, parameter.default
        try:
            used = inspect.getclosurevars(fn)
        except ValueError:  # A name that is not assigned yet.
            return
        yield from [*used.nonlocals.items(), *used.globals.items()]
