"""ScopedModule: a store that knows the function that fills it."""

import functools
import inspect
import types
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling
from typing_extensions import ParamSpec, Self

from . import _traced
from ._build import computing_nothing_on_meta, no_gradients_left, put_back
from ._declare import Origin, warn
from ._errors import NotBuiltError, ScopeWarning, StateDictError
from ._here import Pass, entered, here, whole
from ._names import unescape
from ._store import VariableStore, first_pass, making
from ._table import keep_structure
from ._traced import traced_pass
from ._unbuilt import Unbuilt

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
        self.__dict__["_parameters"] = Unbuilt(self._parameters)
        _warn_of_hidden_modules(fn)

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function as one pass over this store."""
        if is_dynamo_compiling():
            # Of a module as it was built, Dynamo is to watch no more than the structure.
            if not self._structure and not self._built:
                return first_pass(self, self.fn, args, kwargs)
            return traced_pass(self, self.fn, args, kwargs)
        run = Pass(self)
        here.passes.append(run)
        try:  # Not `with`, which takes a fifth of the time of an empty pass.
            result = whole(self.fn(*args, **kwargs))
        except BaseException as error:
            run.__exit__(type(error))
            raise
        run.__exit__(None)
        return result

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
        with put_back(self), computing_nothing_on_meta(args, kwargs):
            try:
                with torch.no_grad():
                    first_pass(self, self.fn, args, kwargs)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
                # It takes gradients itself, for a penalty perhaps.
                with torch.enable_grad(), no_gradients_left(self, (args, kwargs)):
                    first_pass(self, self.fn, args, kwargs)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _name_arguments(self)

    def _replicate_for_data_parallel(self) -> Self:
        if not self._built:
            raise NotBuiltError(
                None,
                "DataParallel is given a ScopedModule that was not built: each replica would make "
                "variables of its own. Build it first: net.build(*example).",
            )
        replica = super()._replicate_for_data_parallel()
        _name_arguments(replica)  # Copied as it was, its forward would be the original's.
        return replica

    def _pass_ended(self) -> None:
        """The first pass that ends well settles what the module holds."""
        if self._built:
            return
        self._settle_pending()
        with making:  # Another thread may be adding to them.
            self.__dict__["_parameters"] = dict(self._parameters)
            made = list(self._declared.values())
        keep_structure(self, made)
        super()._pass_ended()

    def _settle_pending(self) -> None:
        """Say what was loaded for nobody, and who got nothing."""
        if self._not_loaded is None and not self._pending:
            return  # Nothing was loaded.
        optional = self._pending_terms.optional
        left = [repr(unescape(key)) for key in self._pending if key not in optional]
        lacking = [repr(name) for name in self._not_loaded or () if self._pending_strict]
        made = [name for name, *_ in self._all()] + [f"{name}/" for name in self._made_modules]
        idle = [repr(name) for name in self._pending_terms.idle(made)]
        problems = ""
        if idle:
            problems += f" It was for names that the first pass did not make: {', '.join(idle)}."
        if left:
            problems += f" It holds names that the first pass did not ask for: {', '.join(left)}."
        if lacking:
            problems += f" It lacks names that the first pass made: {', '.join(lacking)}."
        if problems and self._pending_strict:
            raise StateDictError(
                None,
                f"The state dict that was loaded does not fit.{problems} Load it again "
                "with strict=False, or drop what is too much: del net[name].",
            )
        self._pending.clear()
        self._not_loaded = None
        if problems:
            warn(Origin.here(), f"The state dict that was loaded does not fit.{problems}")

    def _tell_given_up(self, name: str) -> None:
        """Nothing is given up: forward is compiled again once the variable is there."""

    def _note_reading(self) -> None:
        if isinstance(self._parameters, Unbuilt) and entered(self) is None:
            self._parameters.notice()

    def _check_late(self, what: str, name: str, origin: Origin) -> None:
        parameters = self._parameters
        if self._built:
            warn(
                origin,
                f"{what} {name!r} is made after the net was built: an optimizer, DDP or FSDP made "
                "before does not hold it. Build with inputs that reach it: net.build(*example); "
                "net.finalize() makes this an error.",
            )
        elif isinstance(parameters, Unbuilt) and parameters.read_at is not None:
            read_at, parameters.read_at = parameters.read_at, None
            warn(
                origin,
                f"The net's parameters were read at {read_at}, before any was made: whoever read "
                "them (an optimizer?) holds none. Build it first: net.build(*example).",
            )


# Dynamo counts compilations by code object, and gives up after a few: models of different functions
# must not share one, equal blocks of one function should.
_codes: dict[Any, types.CodeType] = {}


def _code_of(fn: Any) -> Any:
    """The code of a function or method, also of a partial one; of another callable its class."""
    while isinstance(fn, functools.partial):
        fn = cast("Any", fn.func)
    function: Any = getattr(fn, "__func__", fn)
    return getattr(function, "__code__", cast("Any", type(function)))


def _name_arguments(module: ScopedModule[..., Any]) -> None:
    """Give ``module`` a ``forward`` of its own, with the function's code in mind and its arguments.

    torch.export goes by the names of the arguments.
    """
    forward = cast("Any", ScopedModule.forward)
    if type(module).forward is not forward:
        return
    fn = module.fn.forward if isinstance(module.fn, nn.Module) else module.fn
    code = _codes.setdefault(_code_of(fn), forward.__code__.replace())
    own = types.FunctionType(code, _traced.__dict__, forward.__name__)
    try:
        named = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # Some builtins have none.
        named = ()
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    if named and all(p.name != "self" and p.kind is not p.POSITIONAL_ONLY for p in named):
        own.__signature__ = inspect.Signature([itself, *named])  # type: ignore[attr-defined]
    module.__dict__["forward"] = types.MethodType(own, module)


def _warn_of_hidden_modules(fn: Callable[..., Any]) -> None:
    """Warn of modules that ``fn`` uses without the ScopedModule knowing."""
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
