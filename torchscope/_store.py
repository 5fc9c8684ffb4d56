"""VariableStore: the owner of variables, as users see it; knows names, but no scopes.

`_table` stores its variables, `_make` makes them, `_walk` lists them.
"""

import operator
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling
from torch.utils._python_dispatch import _disable_current_modes
from typing_extensions import ParamSpec, Self

from ._arguments import GraphKeys, begins_with
from ._assign import fitting
from ._build import computing_nothing_on_meta, no_gradients_left, put_back
from ._dynamo import never_compiled, uncompiled
from ._errors import ScopeOrderError, VariableMissingError, naming
from ._loading import check_fits
from ._make import losses_of, reset_variable
from ._make_module import reset_module
from ._mapping import VariableMapping
from ._pass import Pass, ResetPass, WayOut, entered, here
from ._sharded import gathered, is_fully_sharded, like, reshard
from ._table import VariableTable, close
from ._unbuilt import Empty, EmptyState, Unbuilt, note_reading
from ._walk import Found, items, locate, made_at, tables, variables, walk

if TYPE_CHECKING:
    from ._overview import Summary

P = ParamSpec("P")
R = TypeVar("R")

living: "weakref.WeakValueDictionary[int, VariableStore]" = weakref.WeakValueDictionary()
"""All stores, by id, for `_owner`."""


class VariableStore(VariableMapping):
    """The owner of variables: full name -> ``nn.Parameter`` or buffer.

    An ordinary ``nn.ParameterDict``: optimizers, ``state_dict``, ``.to(...)`` and the rest of
    PyTorch work on it. Enter it, or call it with the function to run; each of these is one *pass*.

    >>> import torch, torchscope as ts
    >>> def layer(x):
    ...     return x @ ts.get_variable("w", [x.shape[-1], 2])
    >>> store = ts.VariableStore()
    >>> with store:
    ...     y = layer(torch.ones(1, 3))
    >>> bool((store(layer, torch.ones(1, 3)) == y).all())
    True
    >>> {name: tuple(variable.shape) for name, variable in store.items()}
    {'w': (3, 2)}

    ``list(store)``, ``len(store)`` and ``store[name]`` give the variables, buffers included, in
    the order of creation. ``store[name] = parameter`` redeclares a variable (to resize an
    embedding, say); ``del store[name]`` removes one.

    A value that was loaded for a name nobody has asked for yet *waits*: it is in the mapping and in
    ``state_dict()``, so that nothing is lost, but not a variable, so it is in no list of those
    (``named_variables``, ``global_variables``, ``parameters``), and ``built`` is False.

    >>> early = ts.VariableStore()
    >>> early.load_state_dict({"w": torch.ones(3, 2)})
    <All keys matched successfully>
    >>> list(early), early.global_variables(), early.built
    (['w'], [], False)
    >>> early(layer, torch.ones(1, 3)).tolist(), len(early.global_variables()), early.built
    ([[3.0, 3.0]], 1, True)

    Args:
        seed: initial values depend on it and on the names only. By default one number
            drawn from torch's CPU generator, so ``torch.manual_seed`` makes a script repeatable.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.__dict__["_parameters"] = Empty()
        self._seed = _drawn_seed() if seed is None else _as_seed(seed)
        living[id(self)] = self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        living[id(self)] = self

    @property
    def seed(self) -> int:
        """What initial values depend on, with the names and nothing else."""
        return self._seed

    @property
    def built(self) -> bool:
        """Whether a pass has ended without an exception, and no value that was loaded waits."""
        return self._built and not self._pending.owed

    # ---- passes ----------------------------------------------------------------------------

    if TYPE_CHECKING:

        def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
        ) -> R: ...
    else:
        __call__ = nn.Module.__call__  # ParameterDict's own refuses to be called.

    def forward(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn(*args, **kwargs)`` as one pass over this store."""
        if not callable(fn):
            raise TypeError(
                f"A store is called with a function and its arguments, store(fn, x), not with "
                f"{type(fn).__name__}. Was the function called already?"
            )
        if is_dynamo_compiling() and not self._built:
            return first_pass(self, fn, args, kwargs)
        passes = here.passes
        depth = len(passes)
        try:  # See `Pass.whole`.
            run = Pass(self)
            passes.append(run)
            result = fn(*args, **kwargs)
        finally:
            left = passes[depth:]
            del passes[depth:]
        return run.whole(result, left)

    def build(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Self:
        """Make the variables of ``fn`` now, by running it once on example inputs.

        For a store with several functions: ``store.build(encode, x).build(decode, z)``. It leaves
        no gradients; torch's random streams and all values are restored: as they were before, or as
        they were made. With inputs on the meta device nothing is computed, but the variables still
        get their values.

        Args:
            fn: a function that the store will be called with.
            args: example arguments of ``fn``, of the right shapes and dtypes.
            kwargs: likewise.

        Returns:
            The store itself.
        """
        build(self, fn, args, kwargs)
        return self

    def __enter__(self) -> Self:
        run = entered(self)
        if run is None and is_fully_sharded(self):
            raise ScopeOrderError(
                None,
                "This store is entered, but fully_shard gathers its variables only while it is "
                "called. Call it: store(fn, x), or net(x) for a ScopedModule.",
            )
        (run or self._new_pass()).__enter__()
        return self

    if TYPE_CHECKING:

        def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...
    else:
        __exit__ = WayOut()

    def _new_pass(self) -> Pass:
        """The pass that begins when this store is entered."""
        return Pass(self)

    def _pass_ended(self) -> None:
        """Called when the first pass has ended without an exception."""
        self._no_longer_empty()
        close(self)
        self._built = True

    # ---- lists -----------------------------------------------------------------------------

    def named_variables(self, scope: Any = None) -> Iterator[tuple[str, torch.Tensor]]:
        """Each variable with its full name, including those of blocks and modules in the store.

        Args:
            scope: only those in this scope, a name or a ``VariableScope``: ``"gen"`` stands for
                ``gen`` and ``gen/...``, not for ``gen_2/...``.

        >>> import torchscope as ts
        >>> with ts.VariableStore() as store, ts.variable_scope("gen"):
        ...     w = ts.get_variable("w", [2])
        >>> [name for name, _ in store.named_variables("gen")]
        ['gen/w']
        """
        note_reading(tables(self))
        inside = getattr(scope, "name", scope) or ""
        if not isinstance(inside, str):
            raise TypeError(f"scope is a name or a VariableScope, not {scope!r}.")
        inside = inside.rstrip("/")
        below = inside + "/"
        for name, variable, _, _ in variables(self):
            if not inside or name.startswith(below) or name == inside:
                yield name, variable

    def get_collection(self, key: str, scope: str | None = None) -> list[torch.Tensor]:
        """The variables in the collection ``key``, in the order of creation.

        Args:
            key: ``GraphKeys.GLOBAL_VARIABLES`` and the like, or a name of your own.
            scope: a regular expression that the full name has to begin with, as in TensorFlow:
                ``"gen"`` also finds ``gen_2/w``.
        """
        note_reading(tables(self))
        begins = begins_with(scope)
        return [
            found.tensor
            for found in variables(self)
            if begins(found.full_name) and _is_in(key, found)
        ]

    def _add_to_collection(self, key: str, variable: torch.Tensor) -> bool:
        """Put a variable into the collection ``key``; False if it is not one of this store's."""
        found = locate(self, variable)
        made = None if found is None else found.table._declared.get(found.name)
        if found is None or made is None:
            return False
        members = tuple(dict.fromkeys((*made.collections, key)))
        found.table._declared[found.name] = replace(made, collections=members)
        return True

    def global_variables(self, scope: str | None = None) -> list[torch.Tensor]:
        """All variables except local ones; ``scope`` as for :meth:`get_collection`."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES, scope)

    def trainable_variables(self, scope: str | None = None) -> list[torch.Tensor]:
        """The variables that require a gradient now; ``scope`` as for :meth:`get_collection`."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)

    def local_variables(self, scope: str | None = None) -> list[torch.Tensor]:
        """The local variables; ``scope`` as for :meth:`get_collection`."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES, scope)

    def regularization_losses(self, scope: str | None = None) -> list[torch.Tensor]:
        """The regularizers' losses for the variables' current values: scalars, with gradients.

        In the order of creation; ``scope`` as for :meth:`get_collection`.
        """
        note_reading(tables(self))
        begins = begins_with(scope)
        losses: list[torch.Tensor] = []
        seen: set[int] = set()
        for module, prefix in walk(self):
            if isinstance(module, VariableStore) and id(module) not in seen:
                seen.add(id(module))
                for name, made in items(module._declared):
                    if made.regularizer and begins(prefix + name):
                        losses += losses_of(made, module._fetch(made.key))
        return [gathered(loss) for loss in losses]

    def name_of(self, variable: torch.Tensor) -> str:
        """The full name of a variable of this store or of a block in it.

        Raises:
            VariableMissingError: ``variable`` is not one; the result of a computation, perhaps.
        """
        found = locate(self, variable)
        if found is None:
            raise VariableMissingError(
                None,
                "This tensor is not a variable of this store. Pass what get_variable returned: "
                "store.name_of(variable).",
            )
        return found.full_name

    def origin(self, name: str) -> str:
        """Where the variable or module ``name`` was made: ``file:line`` in the user's code."""
        if not isinstance(name, str):
            raise TypeError(f"A variable's name is a string, not {name!r}.")
        found = made_at(self, name)
        return self._missing(name) if found is None else found

    def summary(self, depth: int | None = None) -> "Summary":
        """What this store holds, as a tree of scopes with totals: print it.

        Shape, dtype, device, whether it is trained, numbers and bytes of each variable, those of
        kept modules and blocks included, and what is not built yet. As the last line of a
        notebook's cell it is a folded tree. Nothing is run, and nothing changes.

        >>> import torch, torchscope as ts
        >>> with ts.VariableStore() as store, ts.variable_scope("gen"):
        ...     w = ts.get_variable("w", [2, 3])
        >>> print(store.summary())
        VariableStore: 1 variable, 6 numbers, 6 of them trainable, 24 bytes
        <BLANKLINE>
        name  shape       dtype    device  trainable  count  bytes
        gen/  1 variable                   yes            6     24
          w   [2, 3]      float32  cpu     yes            6     24

        Args:
            depth: how many scopes deep to show; 0 for the totals alone. By default as deep as it
                stays readable.

        Raises:
            ValueError: ``depth`` is negative, or not an integer.
        """
        from ._overview import overview  # Most programs never ask.

        return overview(self, depth)

    # ---- all at once -----------------------------------------------------------------------

    def finalize(self) -> None:
        """From now on, asking for a variable that does not exist is an error, in blocks too."""
        for table in tables(self):
            table._finalized = True

    def apply_constraints(self) -> None:
        """Set every variable that has a ``constraint=`` to the value that it returns, in place."""
        reshard(self)
        with torch.no_grad():
            for variable, value in list(_constrained(self)):
                variable.copy_(value)

    def reset_parameters(self) -> Self:
        """Give each variable its initial value again, in place: the value of a first build.

        Variables made on the meta device get their values so, after
        ``store.to_empty(device=...)``. Variables that were loaded are reset as well.
        Returns the store itself.
        """
        reshard(self)
        values: list[tuple[torch.Tensor, torch.Tensor]] = []
        passes = here.passes
        depth = len(passes)
        try:  # See `Pass.whole`.
            run = ResetPass(VariableTable())
            passes.append(run)
            for table in tables(self):
                for name, made in items(table._declared):
                    run.of = name
                    values.append(reset_variable(table, made))
                for name, _ in items(table._made_modules):
                    run.of = name
                    values += reset_module(table, name)
        finally:
            del passes[depth:]
        with torch.no_grad():
            for variable, value in values:
                variable.copy_(like(variable, value))  # Of a sharded one, this rank's shard.
        return self

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As ``nn.Module.load_state_dict``, but check everything first.

        Before the first pass there is nothing to load into: the values wait, and each
        variable takes its own when it is first asked for.

        Raises:
            StateDictError: names or shapes do not fit; all are listed, and nothing was loaded.
        """
        check_fits(self, state_dict, strict, assign)
        return super().load_state_dict(state_dict, strict, assign)

    def copy(self) -> "VariableStore":
        """Another store of the same variables, without this store's modules."""
        other = VariableStore(self._seed)
        for _, made in items(self._declared):
            other._register(made, self._writable(made))
        other._pending = self._pending.copy()
        return other

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self._pending.apply(fn)
        # What fn does to tensors tells the device and dtype of later variables.
        dtypes = torch.float32, torch.float64
        moved, wider = (fn(torch.empty(0, dtype=dtype, device="cpu")) for dtype in dtypes)
        try:
            left = fn(torch.empty(0, device="meta")).is_meta and not moved.is_meta
        except RuntimeError:  # Nothing can be copied from meta, so fn moves.
            left = False
        if not left:
            self._device = moved.device
        if moved.dtype == wider.dtype and moved.is_floating_point():
            self._float_dtype = moved.dtype
        if moved.device.type == "cpu" and moved.is_shared():
            note_reading([self], alone=False)  # By share_memory, which later ones do not follow.
        return self

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """As ``nn.Module.apply``; before the first pass there is nothing inside to reach."""
        note_reading([self], alone=False)
        return super().apply(fn)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As ``nn.Module.state_dict``; before the first pass it has the loaded values."""
        state = cast("Any", super()).state_dict(*args, **kwargs)
        parameters = self._parameters
        if not isinstance(parameters, Unbuilt) or self._pending.values:
            return state
        if kwargs.get("destination") is not None:  # A bigger module's, which is not an EmptyState.
            parameters.read(sys._getframe(1), alone=False)
        return state or EmptyState(parameters, state._metadata)


@never_compiled(
    "Variables are made in the first pass, which cannot be compiled. "
    "Build the module first: net.build(*example)."
)
def first_pass(store: VariableStore, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
    """Run a pass that may have to make variables: never compiled, nor what it calls."""
    return uncompiled(VariableStore.forward)(store, fn, *args, **kwargs)


def _constrained(store: VariableStore) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each variable that has a constraint, and the value that this returns."""
    for table in tables(store):
        for _, made in items(table._declared):
            if made.constraint is not None:
                variable = table._writable(made)
                with naming(made.name):
                    value = fitting("constraint", variable, made.constraint(variable))
                yield variable, value


def build(store: VariableStore, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Run ``fn`` once, so that ``store`` holds its variables, and restore everything else."""
    run = uncompiled(VariableStore.forward)
    inputs = args, kwargs
    with put_back(store), computing_nothing_on_meta(inputs), no_gradients_left(store, inputs):
        try:
            with torch.no_grad():
                run(store, fn, *args, **kwargs)
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            # The function computes gradients itself, for a penalty perhaps.
            with torch.enable_grad():
                run(store, fn, *args, **kwargs)


def _is_in(key: str, found: Found) -> bool:
    if key == GraphKeys.TRAINABLE_VARIABLES:
        return found.tensor.requires_grad
    made = found.table._declared.get(found.name)
    # A module's own parameters are in no other collection.
    return key == GraphKeys.GLOBAL_VARIABLES if made is None else key in made.collections


def _as_seed(seed: Any) -> int:
    try:
        return int(operator.index(seed))
    except TypeError:
        raise TypeError(f"seed is an integer, not {seed!r}; for example seed=0.") from None


def _drawn_seed() -> int:
    # FakeTensorMode and the like would give a tensor without a number.
    with _disable_current_modes():
        drawn = torch.randint(2**63 - 1, (), generator=torch.default_generator, device="cpu")
        return int(drawn.item())
