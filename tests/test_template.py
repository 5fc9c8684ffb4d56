"""make_template: variables made at the first call and shared after, in each pass anew."""

import pytest
import torch

import torchscope as ts


def dummy():
    return ts.get_variable("dummy", [1], initializer=ts.zeros_initializer())


def dummy_in(scope_name):
    with ts.variable_scope(scope_name):
        return dummy()


def dummy_and(side, trainable=True):
    """Makes a variable more, under whatever reuse."""
    with ts.variable_scope("", reuse=ts.AUTO_REUSE):
        ts.get_variable(side, [1], trainable=trainable)
    return dummy()


@pytest.fixture(params=["first", "second", "third"])
def each_pass(request, store):
    """Runs a function in the last of one, two or three passes; the others ran it, too."""

    def run(function):
        for _ in range(["first", "second", "third"].index(request.param)):
            store(function)
        return store(function)

    return run


def test_training_the_line_of_a_template_improves_it_on_other_points():
    # y = 2x + 1
    train_x, train_y = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([2.8, 5.1, 7.2, 8.7])
    test_x, test_y = torch.tensor([5.0, 6.0, 7.0, 8.0]), torch.tensor([11.0, 13.0, 15.0, 17.0])

    def line(x):
        w = ts.get_variable("w", [], initializer=ts.truncated_normal_initializer())
        b = ts.get_variable("b", [], initializer=ts.truncated_normal_initializer())
        return x * w + b

    template = ts.make_template("line", line)

    def losses():
        return [
            (template(x) - y).square().mean() for x, y in ((train_x, train_y), (test_x, test_y))
        ]

    net = ts.ScopedModule(losses).build()
    assert list(net) == ["line/w", "line/b"]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    train_loss, before = net()
    train_loss.backward()
    optimizer.step()
    assert net()[1] < before


# ---- names -------------------------------------------------------------------------------------


def test_a_template_shares_and_a_second_one_of_its_name_does_not(store, each_pass):
    def program():
        first, second = ts.make_template("s1", dummy), ts.make_template("s1", dummy)
        v1, v2, v3 = first(), first(), second()
        assert v1 is v2
        assert [store.name_of(v) for v in (v1, v3)] == ["s1/dummy", "s1_1/dummy"]

    each_pass(program)


def test_the_scope_of_a_template_is_where_it_was_called_first(store, each_pass):
    def program():
        first, second = ts.make_template("s1", dummy), ts.make_template("s1", dummy)
        with ts.variable_scope("scope"):
            v1, v3 = first(), second()
        with ts.variable_scope("scope2"):
            v2 = first()
        assert v1 is v2
        assert [store.name_of(v) for v in (v1, v3)] == ["scope/s1/dummy", "scope/s1_1/dummy"]

    each_pass(program)


def test_a_scope_made_now_is_where_the_template_was_made(store, each_pass):
    def program():
        with ts.variable_scope("made_in"):
            now = ts.make_template("a", dummy, True)
            deferred = ts.make_template("b", dummy, False)
        with ts.variable_scope("called_in"):
            inner_now, inner_deferred = now(), deferred()
        assert now() is inner_now
        assert deferred() is inner_deferred
        assert store.name_of(inner_now) == "made_in/a/dummy"
        assert store.name_of(inner_deferred) == "called_in/b/dummy"

    each_pass(program)


def test_a_unique_name_is_used_as_it_is(store, refused, each_pass):
    def program():
        first = ts.make_template("_", dummy, unique_name_="s1")
        v = first()
        assert first() is v
        assert store.name_of(v) == "s1/dummy"
        second = ts.make_template("_", dummy, unique_name_="s1")
        with refused(store, ts.VariableExistsError, match="'s1/dummy' already exists"):
            second()
        ts.get_variable_scope().reuse_variables()
        assert ts.make_template("_", dummy, unique_name_="s1")() is v

    each_pass(program)


@pytest.mark.parametrize("create_scope_now", [False, True])
def test_a_unique_name_is_below_the_scope(store, each_pass, create_scope_now):
    def program():
        with ts.variable_scope("outer"):
            template = ts.make_template("_", dummy, create_scope_now, unique_name_="s1")
            v = template()
        assert store.name_of(v) == "outer/s1/dummy"
        assert template.variable_scope.name == "outer/s1"

    each_pass(program)


@pytest.mark.parametrize("create_scope_now", [False, True])
def test_a_template_needs_a_name(store, refused, create_scope_now):
    with refused(store, ValueError, match="A template needs a name"):
        ts.make_template(None, dummy, create_scope_now)


def test_keyword_arguments_are_kept_for_the_function(store, refused, each_pass):
    def program():
        template = ts.make_template("s1", dummy_in, scope_name="test")
        v = template()
        assert template() is v
        assert store.name_of(v) == "s1/test/dummy"
        # Those of a call go before them.
        with refused(store, ts.VariableMissingError, match="'s1/other/dummy' does not exist"):
            template(scope_name="other")

    each_pass(program)


def test_arguments_of_the_call_reach_the_function(store, each_pass):
    def function(x, *, scale, offset=0.0):
        return x * scale + offset

    def program():
        template = ts.make_template("t", function, scale=2.0)
        assert (template(3.0), template(3.0, offset=1.0)) == (6.0, 7.0)

    each_pass(program)


def test_scopes_inside_a_template_are_shared(store, refused, each_pass):
    def program():
        first, second = ts.make_template("s1", dummy_in), ts.make_template("s1", dummy_in)
        v1, v2, v3 = first("test"), first("test"), second("test")
        assert v1 is v2
        assert [store.name_of(v) for v in (v1, v3)] == ["s1/test/dummy", "s1_1/test/dummy"]
        missing = "'s1/not_test/dummy' does not exist"
        with refused(store, ts.VariableMissingError, match=missing):
            first("not_test")

    each_pass(program)


def test_a_function_may_reuse_its_own_scopes(store, each_pass):
    def nested():
        with ts.variable_scope("nested") as scope:
            v1 = ts.get_variable("x", [], initializer=ts.zeros_initializer())
        with ts.variable_scope(scope, reuse=True):
            assert ts.get_variable("x") is v1
        return v1

    def program():
        first, second = ts.make_template("s1", nested), ts.make_template("s1", nested)
        v1, v2, v3 = first(), first(), second()
        assert v1 is v2
        assert [store.name_of(v) for v in (v1, v3)] == ["s1/nested/x", "s1_1/nested/x"]

    each_pass(program)


def test_templates_nest(store, each_pass):
    def outer():
        inner1, inner2 = ts.make_template("nested", dummy), ts.make_template("nested", dummy)
        return inner1(), inner2()

    def program():
        first, second = ts.make_template("s1", outer), ts.make_template("s1", outer)
        v1, v2, v3 = first(), first(), second()
        assert v1[0] is v2[0]
        assert v1[1] is v2[1]
        assert [store.name_of(v) for v in (*v1, *v3)] == [
            "s1/nested/dummy",
            "s1/nested_1/dummy",
            "s1_1/nested/dummy",
            "s1_1/nested_1/dummy",
        ]

    each_pass(program)


def test_a_template_and_a_default_name_do_not_share_a_scope(store, each_pass):
    def program():
        with ts.variable_scope(None, "layer"):
            dummy()
        template = ts.make_template("layer", dummy)
        assert store.name_of(template()) == "layer_1/dummy"
        with ts.variable_scope(None, "layer") as scope:
            assert scope.name == "layer_2"

    each_pass(program)


# ---- later calls -------------------------------------------------------------------------------


def test_a_new_trainable_variable_in_a_later_call_is_refused_and_stays(store):
    template = ts.make_template("s", dummy_and)
    with store:
        template("1")
        new_in_later = "'s//2' is new in a later call of the template 's'"
        with pytest.raises(ts.ScopeError, match=new_in_later):
            template("2")
        assert list(store) == ["s//1", "s/dummy", "s//2"]
        assert template("1") is store["s/dummy"]  # It works on.
        assert template("2") is store["s/dummy"]  # The variable is not new any more.


def test_in_the_next_pass_too_it_is_refused(each_pass):
    template = ts.make_template("s", dummy_and)

    def program():
        template("1")
        with pytest.raises(ts.ScopeError, match="'s//2' is new in a later call"):
            template("2")

    each_pass(program)


def test_a_new_variable_that_is_not_trained_is_allowed(store, each_pass):
    def program():
        template = ts.make_template("s", dummy_and, trainable=False)
        assert template("1") is template("2")
        assert list(store) == ["s//1", "s/dummy", "s//2"]

    each_pass(program)


def test_a_new_local_variable_is_allowed(store, each_pass):
    def function(name):
        with ts.variable_scope("", reuse=ts.AUTO_REUSE):
            return ts.get_local_variable(name, [])

    def program():
        template = ts.make_template("s", function)
        assert [store.name_of(template(name)) for name in "ab"] == ["s//a", "s//b"]

    each_pass(program)


def test_a_variable_made_outside_between_calls_is_none_of_the_templates(store, each_pass):
    def function():
        with ts.variable_scope(root, reuse=ts.AUTO_REUSE):
            return ts.get_variable("shared", [])

    root = None

    def program():
        nonlocal root
        root = ts.get_variable_scope()
        template = ts.make_template("s", lambda use: function() if use else dummy())
        template(False)
        shared = ts.get_variable("shared", [])
        assert template(True) is shared

    each_pass(program)


@pytest.mark.parametrize("create_scope_now", [False, True])
def test_a_call_that_fails_before_its_variables_was_no_first_call(
    store, refused, each_pass, create_scope_now
):
    def function(inputs):
        return inputs * ts.get_variable("w", [1], initializer=ts.ones_initializer())

    def program():
        template = ts.make_template("f1", function, create_scope_now_=create_scope_now)
        data = torch.zeros(1)
        with refused(store, TypeError, match="unexpected keyword argument 'is_training'"):
            template(data, is_training=True)
        assert template.variables == []
        assert template.variable_scope.name == "f1"
        template(data)
        assert template(data).tolist() == [0.0]
        assert [store.name_of(v) for v in template.variables] == ["f1/w"]

    each_pass(program)


@pytest.mark.parametrize("create_scope_now", [False, True])
def test_a_call_that_fails_after_its_variables_makes_the_next_collide(
    store, refused, each_pass, create_scope_now
):
    def function(fail):
        dummy()
        if fail:
            raise ZeroDivisionError("in the function")

    def program():
        template = ts.make_template("f1", function, create_scope_now)
        with pytest.raises(ZeroDivisionError, match="in the function"):
            template(True)
        assert template.variable_scope.name == "f1"  # Kept, though the call failed.
        with refused(store, ts.VariableExistsError, match="'f1/dummy' already exists"):
            template(False)

    each_pass(program)


def test_a_later_call_that_fails_changes_nothing(store, refused, each_pass):
    def function(fail):
        v = dummy()
        if fail:
            raise ZeroDivisionError("in the function")
        return v

    def program():
        template = ts.make_template("f1", function)
        v = template(False)
        with refused(store, ZeroDivisionError, match="in the function"):
            template(True)
        assert template(False) is v
        assert [store.name_of(v) for v in template.variables] == ["f1/dummy"]

    each_pass(program)


# ---- what a template's scope inherits ----------------------------------------------------------


@pytest.mark.parametrize("create_scope_now", [False, True])
def test_a_custom_getter_is_called_for_making_and_for_finding(each_pass, create_scope_now):
    def program():
        called = []

        def custom_getter(getter, name, *args, **kwargs):
            called.append((name, kwargs["reuse"]))
            return getter(name, *args, **kwargs)

        template = ts.make_template("s", dummy, create_scope_now, custom_getter_=custom_getter)
        assert called == []
        template()
        template()
        assert called == [("s/dummy", False), ("s/dummy", True)]

    each_pass(program)


def test_a_custom_getter_wraps_the_one_of_the_scope_outside(each_pass):
    def program():
        called = []

        def named(tag):
            def custom_getter(getter, *args, **kwargs):
                called.append(tag)
                return getter(*args, **kwargs)

            return custom_getter

        template = ts.make_template("s", dummy, custom_getter_=named("template"))
        with ts.variable_scope("outer", custom_getter=named("outer")):
            template()
        assert called == ["template", "outer"]

    each_pass(program)


@pytest.mark.parametrize(
    ("create_scope_now", "dtype"), [(False, torch.float64), (True, torch.float32)]
)
def test_a_scope_inherits_at_its_making_all_but_the_dtype_of_one_made_now(
    each_pass, create_scope_now, dtype
):
    def function():
        return ts.get_variable("v", [])

    def program():
        ones = ts.ones_initializer()
        with ts.variable_scope("a", initializer=ones, dtype=torch.float64):
            template = ts.make_template("t", function, create_scope_now)
            v = template()
        assert (v.item(), v.dtype) == (1.0, dtype)
        assert template() is v

    each_pass(program)


def test_a_template_first_called_under_reuse_finds(store, refused, each_pass):
    def program():
        with ts.variable_scope("a") as scope, ts.variable_scope("s"):
            v = dummy()
        with ts.variable_scope(scope, reuse=True):
            assert ts.make_template("s", dummy)() is v
            other = ts.make_template("other", dummy)
            with refused(store, ts.VariableMissingError, match="'a/other/dummy' does not exist"):
                other()

    each_pass(program)


# ---- what a template shows ---------------------------------------------------------------------


def test_a_template_shows_its_scope(store, each_pass):
    def program():
        with ts.variable_scope("foo"):
            first, second = (ts.make_template("bar", dummy, True) for _ in range(2))
        assert (first.variable_scope.name, second.variable_scope.name) == ("foo/bar", "foo/bar_1")
        assert first.variable_scope_name == "foo/bar/"
        with ts.variable_scope("foo_2"):
            deferred = ts.make_template("blah", dummy, False)
        assert deferred.variable_scope is None
        assert deferred.variable_scope_name is None
        deferred()
        assert deferred.variable_scope.name == "blah"
        assert deferred.variable_scope_name == "blah/"

    each_pass(program)


def test_a_template_shows_its_name_and_function():
    template = ts.make_template("layer", dummy)
    assert (template.name, template.func) == ("layer", dummy)


def test_a_template_lists_its_variables_once_a_call_is_completed(store, each_pass):
    def function():
        ts.get_local_variable("local", [])
        ts.get_variable("frozen", [], trainable=False)
        return dummy()

    def lists(template):
        return {
            kind: [store.name_of(v) for v in getattr(template, f"{kind}variables")]
            for kind in ("", "trainable_", "non_trainable_", "global_", "local_")
        }

    def program():
        with ts.variable_scope("foo"):
            template = ts.make_template("bar", function, True)
            like = ts.make_template("bar.", dummy, True)
        assert lists(template) == {kind: [] for kind in lists(template)}
        template()
        like()
        frozen, trained, local = "foo/bar/frozen", "foo/bar/dummy", "foo/bar/local"
        assert lists(template) == {
            "": [frozen, trained, local],
            "trainable_": [trained],
            "non_trainable_": [frozen, local],
            "global_": [frozen, trained],
            "local_": [local],
        }
        assert lists(like)[""] == ["foo/bar./dummy"]

    each_pass(program)


# ---- passes ------------------------------------------------------------------------------------


def test_each_pass_has_a_first_call_of_its_own(store, refused):
    template = ts.make_template("t", dummy)

    def call_in(scope_name):
        assert template.variable_scope is None
        assert template.variables == []
        with ts.variable_scope(scope_name):
            v = template()
        assert template() is v
        assert template.variable_scope.name == f"{scope_name}/t"
        return v

    v = store(call_in, "a")
    assert store(call_in, "b") is not v
    assert store(call_in, "a") is v
    assert list(store) == ["a/t/dummy", "b/t/dummy"]


def test_two_stores_have_their_own_variables_of_a_template():
    template = ts.make_template("t", dummy)
    first, second = ts.VariableStore(), ts.VariableStore()
    assert first(template) is first["t/dummy"]
    assert second(template) is second["t/dummy"]
    assert first["t/dummy"] is not second["t/dummy"]


def test_a_pass_inside_a_pass_has_a_first_call_of_its_own(store):
    template = ts.make_template("t", dummy)
    other = ts.VariableStore()
    with ts.variable_scope("a"):
        v = template()
        assert other.name_of(other(template)) == "t/dummy"
        assert template() is v
        assert template.variable_scope.name == "a/t"


def test_a_scope_fixed_outside_any_pass_is_kept_in_every_pass():
    first, second = (ts.make_template("layer", dummy, create_scope_now_=True) for _ in range(2))
    store = ts.VariableStore()

    def program():
        with ts.variable_scope("model"):
            v1, v2 = first(), second()
        assert first() is v1
        assert second() is v2
        assert first.variable_scope_name == "layer/"
        return [store.name_of(v) for v in (v1, v2)]

    for _ in range(3):
        assert store(program) == ["layer/dummy", "layer_1/dummy"]
    assert list(ts.default_store()) == []


def test_a_scope_fixed_in_a_pass_is_kept_in_the_next(store):
    def make():
        with ts.variable_scope("model"):
            return ts.make_template("layer", dummy, True)

    def call():
        v = template()
        assert template() is v
        return v

    template = store(make)
    assert store.name_of(store(call)) == "model/layer/dummy"
    assert store(call) is store(call)


def test_a_template_kept_over_passes_numbers_like_one_made_in_each(store):
    kept = [ts.make_template("t", dummy) for _ in range(2)]

    def program():
        made_now = [ts.make_template("t", dummy) for _ in range(2)]
        return [store.name_of(template()) for template in (*kept, *made_now)]

    expected = ["t/dummy", "t_1/dummy", "t_2/dummy", "t_3/dummy"]
    assert [store(program) for _ in range(3)] == [expected] * 3


def test_on_the_default_store_a_template_is_called_first_once():
    template = ts.make_template("t", dummy)
    v = template()
    assert template() is v
    assert template() is v
    assert list(ts.default_store()) == ["t/dummy"]
    ts.reset_default_store()
    assert template.variable_scope is None
    assert template() is not v
