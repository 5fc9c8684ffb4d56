"""What holds for all scopes, names, passes and stores: properties, tried on random programs."""

import contextlib
import string
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import torchscope as ts
from torchscope._pass import Pass, here


def tried(quick, thorough):
    """A test of a property, twice: with few examples, the same each time, and slowly with many."""
    many = settings(max_examples=thorough, derandomize=False)
    return pytest.mark.parametrize(
        "tries",
        [
            pytest.param(settings(max_examples=quick), id="quick"),
            pytest.param(many, id="thorough", marks=pytest.mark.slow),
        ],
    )


# A name that can stand first, and one that can follow a scope's.
SAFE = string.ascii_letters + string.digits + "._\\>-"
first_names = st.text(SAFE, min_size=1, max_size=4).filter(lambda name: name[0] not in "_\\>-")
later_names = st.text(SAFE, min_size=1, max_size=4)
# Few names, so that they meet.
few_names = st.sampled_from(["a", "b", "a_1", "ab"])


# ---- names -------------------------------------------------------------------------------------


@tried(quick=300, thorough=10_000)
def test_nested_scopes_equal_one_joined_scope(tries):
    @tries
    @given(first_names, st.lists(later_names | st.just(""), max_size=4), later_names, st.data())
    def holds(first, rest, name, data):
        parts = [first, *rest]
        cut = data.draw(st.integers(1, len(parts)), label="cut")
        joined = "/".join(parts)
        with ts.VariableStore() as store:
            with contextlib.ExitStack() as nested:
                for part in parts:
                    scope = nested.enter_context(ts.variable_scope(part, reuse=ts.AUTO_REUSE))
                assert scope.name == joined
                variable = ts.get_variable(name, [1])
            with ts.variable_scope(joined, reuse=True) as scope:
                assert scope.name == joined
                assert ts.get_variable(name, [1]) is variable
            with ts.variable_scope("/".join(parts[:cut]), reuse=True):
                assert ts.get_variable("/".join([*parts[cut:], name]), [1]) is variable
            with ts.variable_scope(scope, reuse=True):
                assert ts.get_variable(name, [1]) is variable
        assert list(store) == [f"{joined}/{name}"]

    holds()


class CountTable:
    """TensorFlow's table of scopes opened: a count for each name, set to 0 below a scope left."""

    def __init__(self):
        self.counts = Counter()

    def unused(self, name):
        if not self.counts[name]:
            return name
        number = 1
        while self.counts[f"{name}_{number}"]:
            number += 1
        return f"{name}_{number}"

    @contextlib.contextmanager
    def opened(self, name, by_object):
        self.counts[name] += 1
        before = self.counts.copy()
        try:
            yield
        finally:
            if by_object:
                self.counts = before
            for below in [key for key in self.counts if key.startswith(f"{name}/")]:
                if not by_object:
                    self.counts[below] = 0


def trees(leaves, kinds):
    """Random programs: a list of statements, each of a kind that may have a body."""
    return st.recursive(
        st.lists(leaves, max_size=2),
        lambda bodies: st.lists(leaves | st.tuples(kinds, few_names, bodies), max_size=4),
        max_leaves=12,
    )


@tried(quick=300, thorough=10_000)
def test_default_names_are_those_of_tensorflows_table(tries):
    kinds = st.sampled_from(["default", "name", "path", "object", "failing"])
    leaves = st.tuples(
        st.sampled_from(["default", "template", "fixed template"]), few_names, st.just([])
    )

    @tries
    @given(trees(leaves, kinds))
    def holds(program):
        table, scopes = CountTable(), []

        def run(statements, outer):
            for kind, name, body in statements:
                with contextlib.suppress(ZeroDivisionError):
                    run_one(kind, name, body, outer)
                assert ts.get_variable_scope().name == outer

        def run_one(kind, name, body, outer):
            full_name = f"{outer}/{name}" if outer else name
            by_object = kind == "object" and len(scopes) > 0
            if by_object:
                target = scopes[len(body) % len(scopes)]
                full_name = target.name
                manager = ts.variable_scope(target)
            elif kind in ("default", "template", "fixed template"):
                full_name = table.unused(full_name)
                manager = ts.variable_scope(None, name)
            elif kind == "path":
                full_name += "/in"
                manager = ts.variable_scope(f"{name}/in")
            else:
                manager = ts.variable_scope(name)
            if kind.endswith("template"):
                template = ts.make_template(name, lambda: None, kind.startswith("fixed"))
                if kind == "template":
                    template()
                with table.opened(full_name, by_object=False):
                    assert template.variable_scope.name == full_name
                scopes.append(template.variable_scope)
                return
            with table.opened(full_name, by_object), manager as scope:
                assert scope.name == full_name
                scopes.append(scope)
                run(body, full_name)
                if kind == "failing":
                    raise ZeroDivisionError

        with ts.VariableStore():
            run(program, "")

    holds()


# ---- the stack ---------------------------------------------------------------------------------


@tried(quick=300, thorough=10_000)
def test_the_stack_is_restored_whatever_happens(tries):
    kinds = st.sampled_from(["scope", "reusing", "again", "store", "same", "call", "try", "thrown"])
    leaves = st.tuples(
        st.sampled_from(["get", "missing", "raise", "refused", "set"]), few_names, st.just([])
    )

    @tries
    @given(trees(leaves, kinds))
    def holds(program):
        root_store = ts.VariableStore()

        def run(statements):
            for statement in statements:
                passes, scope = list(here.passes), ts.get_variable_scope()
                name, reuse = scope.name, scope.reuse
                try:
                    run_one(*statement)
                finally:
                    assert here.passes == passes
                    assert ts.get_variable_scope() is scope
                    assert scope.name == name
                    assert scope.reuse == reuse or "'set'" in str(statement)

        def run_one(kind, name, body):
            current = ts.get_variable_scope()
            match kind:
                case "scope":
                    with ts.variable_scope(name):
                        run(body)
                case "reusing":
                    with ts.variable_scope(name, reuse=True):
                        run(body)
                case "again":
                    with ts.variable_scope(current):
                        run(body)
                case "store":
                    with ts.VariableStore():
                        assert ts.get_variable_scope().name == ""
                        run(body)
                case "same":
                    with root_store:
                        run(body)
                case "call":
                    root_store(run, body)
                case "try":
                    with contextlib.suppress(ValueError, ZeroDivisionError):
                        run(body)
                case "thrown":
                    with ts.variable_scope(name):
                        run(body)
                        raise ZeroDivisionError
                case "get":
                    ts.get_variable(name, [1])  # An error, the second time.
                case "missing":
                    current.get_variable("missing", [1], reuse=True)
                case "raise":
                    raise ZeroDivisionError
                case "refused":
                    ts.variable_scope(f"{name} ").__enter__()
                case "set":
                    current.reuse_variables()

        with root_store:
            with contextlib.suppress(ValueError, ZeroDivisionError):
                run(program)
            assert ts.get_variable_scope().name == ""
            assert ts.get_variable_scope().get_variable("afterwards", [1], reuse=False) is not None
        assert here.passes == []

    holds()


# ---- saving and loading ------------------------------------------------------------------------

KINDS = {
    "parameter": ts.get_variable,
    "frozen": lambda *arguments: ts.get_variable(*arguments, trainable=False),
    "buffer": ts.get_buffer,
}
DTYPES = [torch.float32, torch.float64, torch.int64, torch.bool]
full_names = st.builds(
    lambda first, rest: "/".join([first, *rest]), first_names, st.lists(later_names)
)
variables = st.dictionaries(
    first_names | full_names | st.sampled_from(["keys", "type", "training", "v.1"]),
    st.tuples(
        st.sampled_from(list(KINDS)),
        st.lists(st.integers(0, 3), max_size=2),
        st.sampled_from(DTYPES),
    ),
    max_size=6,
)


def made_from(declared):
    """A function that asks for all of them, in order."""

    def model():
        return [KINDS[kind](name, shape, dtype) for name, (kind, shape, dtype) in declared.items()]

    return model


def contents(store):
    return [(name, v.dtype, v.requires_grad, v.tolist()) for name, v in store.items()]


def saved(declared):
    store = ts.VariableStore()
    with torch.no_grad():
        for number, variable in enumerate(store(made_from(declared))):
            variable.copy_(torch.full_like(variable, number + 1))
    return store


@tried(quick=150, thorough=5_000)
def test_loading_into_a_built_store_keeps_names_order_and_values(tries):
    @tries
    @given(variables, st.booleans())
    def holds(declared, assign):
        store, other = saved(declared), ts.VariableStore()
        other(made_from(declared))
        other.load_state_dict(store.state_dict(), assign=assign)
        assert contents(other) == contents(store)
        assert list(other.state_dict()) == list(store.state_dict())
        other(made_from(declared))
        assert contents(other) == contents(store)

    holds()


@tried(quick=150, thorough=5_000)
def test_loading_before_the_first_pass_keeps_names_order_and_values(tries):
    @tries
    @given(variables, st.booleans())
    def holds(declared, assign):
        store, other = saved(declared), ts.ScopedModule(made_from(declared))
        other.load_state_dict(store.state_dict(), assign=assign)
        assert list(other) == list(store)
        assert [v.tolist() for v in other.values()] == [v.tolist() for v in store.values()]
        assert list(other.state_dict()) == list(store.state_dict())
        other()
        assert contents(other) == contents(store)
        assert list(other.state_dict()) == list(store.state_dict())

    holds()


@tried(quick=150, thorough=5_000)
def test_a_seed_gives_the_same_values_in_any_order(tries):
    @tries
    @given(variables, st.randoms(use_true_random=False), st.integers(0, 2**63 - 1))
    def holds(declared, random, seed):
        shuffled = list(declared.items())
        random.shuffle(shuffled)
        one, other = ts.VariableStore(seed=seed), ts.VariableStore(seed=seed)
        one(made_from(declared))
        other(made_from(dict(shuffled)))
        assert sorted(contents(one)) == sorted(contents(other))

    holds()


# ---- passes and reuse --------------------------------------------------------------------------


class ModelPass:
    """What the model knows of a pass: the names met, the open scopes, and what leaves them."""

    def __init__(self, manager):
        self.met = set()
        self.scopes = [["", False]]  # name and reuse mode, innermost last
        self.managers = [manager]  # the store's, then one for each scope but the root

    def leave(self, *error):
        while self.managers:
            self.managers.pop().__exit__(*error)


class Passes(RuleBasedStateMachine):
    """Random passes over one store, compared with the reuse table of docs/how-it-works.md.

    The model: the shape that each name was made with, and what each open pass has met.
    """

    seen = Bundle("seen")  # scope objects, each with the model's [name, mode] of it
    modes = st.sampled_from([None, False, True, ts.AUTO_REUSE])
    shapes = st.sampled_from([(1,), (2,)])

    def __init__(self):
        super().__init__()
        self.store = ts.VariableStore()
        self.made = {}  # full name -> variable
        self.passes = []  # innermost last

    def teardown(self):
        while self.passes:
            self.passes.pop().leave(None, None, None)

    # -- passes

    @precondition(lambda self: len(self.passes) < 2)
    @rule()
    def begin_a_pass(self):
        # Entering the store once more would be the same pass; calling it begins one like this.
        manager = Pass(self.store) if self.passes else self.store
        manager.__enter__()
        self.passes.append(ModelPass(manager))

    @precondition(lambda self: self.passes)
    @rule(error=st.sampled_from([None, ZeroDivisionError()]))
    def end_the_pass(self, error):
        self.passes.pop().leave(error and type(error), error, None)

    @precondition(lambda self: self.passes)
    @rule()
    def enter_the_store_again(self):
        with self.store as store:
            assert store is self.store
            self.compare_the_scope()

    # -- scopes

    def opened(self, manager, name, mode):
        model = [name, mode]
        scope = manager.__enter__()
        self.passes[-1].scopes.append(model)
        self.passes[-1].managers.append(manager)
        return scope, model

    @precondition(lambda self: self.passes)
    @rule(target=seen, name=few_names, mode=modes)
    def open_a_scope(self, name, mode):
        outer, inherited = self.passes[-1].scopes[-1]
        full_name = f"{outer}/{name}" if outer else name
        return self.opened(ts.variable_scope(name, reuse=mode), full_name, mode or inherited)

    @precondition(lambda self: self.passes)
    @rule(target=seen, scope_and_model=seen, mode=modes)
    def enter_a_scope_again(self, scope_and_model, mode):
        scope, (name, own) = scope_and_model
        return self.opened(ts.variable_scope(scope, reuse=mode), name, mode or own)

    @precondition(lambda self: self.passes and len(self.passes[-1].scopes) > 1)
    @rule()
    def close_the_scope(self):
        self.passes[-1].managers.pop().__exit__(None, None, None)
        self.passes[-1].scopes.pop()

    @precondition(lambda self: self.passes)
    @rule()
    def reuse_variables(self):
        self.passes[-1].scopes[-1][1] = True
        ts.get_variable_scope().reuse_variables()

    # -- the table

    @precondition(lambda self: self.passes)
    @rule(name=few_names, shape=shapes)
    def get(self, name, shape):
        met = self.passes[-1].met
        outer, mode = self.passes[-1].scopes[-1]
        full_name = f"{outer}/{name}" if outer else name
        error = None
        if full_name not in self.made:
            error = ts.VariableMissingError if mode is True else None
        elif full_name in met and mode is False:
            error = ts.VariableExistsError
        elif self.made[full_name].shape != shape:
            error = ts.VariableMismatchError
        if error is not None:
            with pytest.raises(error, match=f"'{full_name}'"):
                ts.get_variable(name, shape)
            return
        got = ts.get_variable(name, shape)
        met.add(full_name)
        assert self.made.setdefault(full_name, got) is got
        assert got.shape == shape
        assert self.store.name_of(got) == full_name

    # -- what always holds

    @invariant()
    def compare_the_scope(self):
        if self.passes:
            scope = ts.get_variable_scope()
            assert [scope.name, scope.reuse] == self.passes[-1].scopes[-1]

    @invariant()
    def compare_the_passes(self):
        assert len(here.passes) == len(self.passes)

    @invariant()
    def compare_the_store(self):
        assert list(self.store) == list(self.made)
        assert all(self.store[name] is variable for name, variable in self.made.items())


@tried(quick=200, thorough=3_000)
def test_passes_follow_the_table_of_reuse(tries):
    run_state_machine_as_test(Passes, settings=settings(tries, stateful_step_count=30))
