"""The default store, used where none was entered, and the pass that a thread is in."""

from ._errors import ScopeOrderError
from ._locks import Lock
from ._pass import Pass, here
from ._store import VariableStore


class _DefaultStore(VariableStore):
    """A store with one endless pass, which continues whenever it is entered."""

    @property
    def built(self) -> bool:
        """Whether it holds variables: its only pass never ends."""
        return bool(self._declared)

    def _new_pass(self) -> Pass:
        return _endless_pass() if self is _default.store else super()._new_pass()


class _EndlessPass(Pass):
    """Shared by all threads, each with its own scopes and counts."""

    endless = True

    def __init__(self, store: VariableStore, shares: Pass | None) -> None:
        super().__init__(store)
        self.task, self.graph_task = None, -1  # It belongs to no task and no backward pass.
        if shares is not None:
            self.met, self.values, self.templates = shares.met, shares.values, shares.templates


class _Default:
    store: _DefaultStore | None = None
    run: Pass | None = None  # its pass; each thread has its own share
    was_reset = False
    lock = Lock()


_default = _Default()


def default_store() -> VariableStore:
    """The store that is used where none was entered.

    It has one pass that never ends, shared by all threads, like TensorFlow's default graph: asking
    for a name a second time without reuse is always an error. A model that is called repeatedly
    belongs in a ``ScopedModule``.
    """
    if _default.store is None:
        with _default.lock.held:
            if _default.store is None:
                _default.run = None
                _default.store = _DefaultStore()
    return _default.store


def reset_default_store() -> None:
    """Replace the default store by an empty one, as ``tf.reset_default_graph`` does.

    Raises:
        ScopeOrderError: this thread is inside a scope of the default store.
    """
    run = here.endless
    if run is not None and run.store is _default.store and run.is_in_scope:
        name = run.scope_names[-1]
        raise ScopeOrderError(
            name,
            f"The default store cannot be reset inside the scope {name!r}. Leave the scope first.",
        )
    with _default.lock.held:
        _default.store, _default.run, _default.was_reset = None, None, True


def current_pass() -> Pass:
    """The pass that this thread is in; if it has entered no store, the default store's."""
    passes = here.passes
    return passes[-1] if passes else _endless_pass()


def _endless_pass() -> Pass:
    run = here.endless
    if run is None or run.store is not _default.store:
        with _default.lock.held:  # No other thread resets it meanwhile.
            run = _EndlessPass(default_store(), shares=_default.run)
            _default.run = _default.run or run
        here.endless = run
    return run


def is_untouched(run: Pass) -> bool:
    """Whether no store is entered and the default one was never used."""
    used = len(run.store) or run.store._made_modules or run.values or _default.was_reset
    return not here.passes and not used
