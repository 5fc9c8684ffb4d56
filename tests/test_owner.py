"""Which store is entered, and what a variable was declared with, asked without the store."""

import copy
import pickle
import sys
import threading

import pytest
import torch

import torchscope as ts


def make(constraint=torch.relu):
    return ts.get_variable("w", [2], constraint=constraint)


def test_the_store_entered_last_is_named_and_the_default_store_is_not():
    inner = ts.VariableStore()
    assert ts.entered_store() is None
    make()
    assert ts.entered_store() is None
    with ts.VariableStore() as outer:
        assert ts.entered_store() is outer
        assert inner(ts.entered_store) is inner
        assert ts.entered_store() is outer


def test_a_constraint_is_found_by_its_variable(store):
    w = make()
    assert ts.constraint_of(w) is torch.relu
    assert ts.constraint_of(ts.get_variable("v", [2])) is None
    assert ts.constraint_of(torch.ones(2)) is None


@pytest.mark.parametrize("other", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_a_net_knows_its_constraints(other):
    net = other(ts.ScopedModule(make).build())
    assert ts.constraint_of(net["w"]) is torch.relu


def test_a_block_inside_a_net_knows_its_constraints():
    def model():
        return ts.get_module("block", lambda: ts.ScopedModule(make))()

    net = ts.ScopedModule(model).build()
    assert ts.constraint_of(next(net.parameters())) is torch.relu


def test_a_store_that_is_gone_is_forgotten():
    store = ts.VariableStore()
    w = store(make)
    del store
    assert ts.constraint_of(w) is None


def test_a_constraint_is_found_while_threads_make_stores():
    stop, failures = threading.Event(), []
    net = ts.ScopedModule(make).build()

    def make_stores() -> None:
        while not stop.is_set():
            ts.VariableStore(0)

    def look() -> None:
        try:
            for _ in range(2000):
                assert ts.constraint_of(net["w"]) is torch.relu
        except BaseException as error:
            failures.append(error)

    kept = [ts.VariableStore(0) for _ in range(500)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    makers = [threading.Thread(target=make_stores) for _ in range(2)]
    looker = threading.Thread(target=look)
    try:
        for thread in (*makers, looker):
            thread.start()
        looker.join()
    finally:
        stop.set()
        for thread in makers:
            thread.join()
        sys.setswitchinterval(interval)
    assert failures == []
    assert len(kept) == 500


def test_a_constraint_of_a_variable_that_was_removed_is_passed_over():
    net, other = ts.ScopedModule(make).build(), ts.ScopedModule(make).build()
    del net.w
    assert ts.constraint_of(other["w"]) is torch.relu
