"""The default store, which serves where no other is entered."""

import subprocess
import sys

import pytest
from models import get

import torchscope as ts
from torchscope import VariableExistsError


def test_without_a_store_the_default_one_serves():
    w = get()
    assert ts.default_store() is ts.default_store()
    assert ts.default_store()["w"] is w
    assert ts.name_of(w) == "w"


def test_the_default_stores_error_offers_a_scoped_module():
    get()
    with pytest.raises(VariableExistsError, match=r"net = ts\.ScopedModule\(model\)"):
        get()
    with ts.VariableStore():
        get()
        with pytest.raises(VariableExistsError, match="'w' already exists") as caught:
            get()
    assert "ScopedModule" not in str(caught.value)


def test_entering_the_default_store_joins_its_endless_pass():
    get()
    with ts.default_store(), pytest.raises(VariableExistsError, match="'w'"):
        get()


def test_calling_the_default_store_is_a_pass_of_its_own():
    assert ts.default_store()(get) is ts.default_store()(get)


def test_the_default_store_can_be_reset():
    first = get()
    before = ts.default_store()
    with ts.variable_scope("a"):
        pass
    ts.reset_default_store()
    assert ts.default_store() is not before
    assert get() is not first
    with ts.variable_scope(None, "a") as scope:
        assert scope.name == "a"


def test_the_default_store_cannot_be_reset_inside_a_scope():
    before = ts.default_store()
    with ts.variable_scope("a"):
        with pytest.raises(ts.ScopeOrderError, match="inside the scope 'a'") as caught:
            ts.reset_default_store()
        get()
    assert caught.value.name == "a"
    assert ts.default_store() is before
    assert list(before) == ["a/w"]


def test_the_list_functions_refuse_where_nothing_was_entered_or_made():
    program = """
import torchscope as ts
for call in (ts.global_variables, ts.trainable_variables, ts.local_variables,
             ts.get_regularization_loss, ts.get_regularization_losses,
             lambda: ts.get_collection("losses")):
    try:
        call()
    except ts.ScopeError as error:
        assert "net." in str(error), error
    else:
        raise AssertionError("an empty list is a silent zero loss")
with ts.VariableStore():
    assert ts.global_variables() == []
    assert ts.get_regularization_loss().item() == 0
w = ts.get_variable("w", [2])
assert ts.global_variables()[0] is w
ts.reset_default_store()
assert ts.global_variables() == []
print("done")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "done\n", ran.stderr
