"""Every message names the variable, where it was made, and a cure, which is typed here."""

import copy
import gc
import pickle
import re
from textwrap import dedent
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import torchscope as ts
from torchscope import _default


class Mistake(NamedTuple):
    """A program that goes wrong, and the same with what its message says to type."""

    wrong: str
    error: type[BaseException]
    name: str | None  # full name that the message shows and the error carries; None: has none
    line: int | None  # of the wrong program, where the variable was first made; None: nowhere
    cure: str  # pattern of the message; its last group, if it has one, is what is typed
    right: str  # the program with that in place of CURE


MISTAKES: dict[str, Mistake] = {
    # ---- names ----
    "a variable's name": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("a b", [2])
        """,
        ts.VariableNameError,
        "enc/a b",
        None,
        r"For example '([^']+)'",
        """
        with VariableStore() as store:
            get_variable("CURE", [2])
        assert list(store) == ["CURE"]
        """,
    ),
    "a scope's name": Mistake(
        """
        with VariableStore(), variable_scope("conv 1"):
            pass
        """,
        ts.VariableNameError,
        "conv 1",
        None,
        r"For example '([^']+)'",
        """
        with VariableStore(), variable_scope("CURE"):
            pass
        """,
    ),
    "an attribute's name": Mistake(
        """
        class Store(VariableStore):
            mine = 1
        with Store():
            get_variable("mine", [2])
        """,
        ts.VariableNameError,
        "mine",
        None,
        r"(variable_scope\('\w+'\))",
        """
        class Store(VariableStore):
            mine = 1
        with Store(), CURE:
            get_variable("mine", [2])
        """,
    ),
    # ---- exists ----
    "twice, shared by reuse=True": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            w = get_variable("w", [2])
            get_variable("w", [2])
        """,
        ts.VariableExistsError,
        "enc/w",
        3,
        r"enter its scope with (reuse=True)",
        """
        with VariableStore():
            with variable_scope("enc"):
                w = get_variable("w", [2])
            with variable_scope("enc", CURE):
                assert get_variable("w", [2]) is w
        """,
    ),
    "twice, shared by AUTO_REUSE": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            w = get_variable("w", [2])
            get_variable("w", [2])
        """,
        ts.VariableExistsError,
        "enc/w",
        3,
        r"(reuse=AUTO_REUSE)",
        """
        with VariableStore(), variable_scope("enc", CURE):
            assert get_variable("w", [2]) is get_variable("w", [2])
        """,
    ),
    "twice, another name": Mistake(
        """
        with VariableStore():
            get_variable("w", [2])
            get_variable("w", [2])
        """,
        ts.VariableExistsError,
        "w",
        3,
        r"use another name or scope",
        """
        with VariableStore():
            get_variable("w", [2])
            get_variable("other", [2])
            with variable_scope("other"):
                get_variable("w", [2])
        """,
    ),
    "a second step on the default store": Mistake(
        """
        def model():
            return get_variable("w", [2])
        for step in range(2):
            model()
        """,
        ts.VariableExistsError,
        "w",
        3,
        r"(net = ts\.ScopedModule\(model\))",
        """
        def model():
            return get_variable("w", [2])
        CURE
        for step in range(2):
            net()
        """,
    ),
    "a module twice": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_module("dense", lambda: nn.Linear(2, 2))
            get_module("dense", lambda: nn.Linear(2, 2))
        """,
        ts.VariableExistsError,
        "enc/dense",
        3,
        r"(reuse=AUTO_REUSE)",
        """
        with VariableStore(), variable_scope("enc", CURE):
            dense = get_module("dense", lambda: nn.Linear(2, 2))
            assert get_module("dense", lambda: nn.Linear(2, 2)) is dense
        """,
    ),
    "a variable inside a module": Mistake(
        """
        with VariableStore():
            get_module("dense", lambda: nn.Linear(2, 2))
            get_variable("dense/w", [2])
        """,
        ts.VariableExistsError,
        "dense/w",
        3,
        r"[Uu]se another name",
        """
        with VariableStore():
            get_module("dense", lambda: nn.Linear(2, 2))
            get_variable("other/w", [2])
        """,
    ),
    "a module around a variable": Mistake(
        """
        with VariableStore():
            get_variable("dense/w", [2])
            get_module("dense", lambda: nn.Linear(2, 2))
        """,
        ts.VariableExistsError,
        "dense",
        3,
        r"[Uu]se another name",
        """
        with VariableStore():
            get_variable("dense/w", [2])
            get_module("other", lambda: nn.Linear(2, 2))
        """,
    ),
    # ---- missing ----
    "under reuse": Mistake(
        """
        with VariableStore(), variable_scope("enc", reuse=True):
            get_variable("w", [2])
        """,
        ts.VariableMissingError,
        "enc/w",
        None,
        r"(reuse=AUTO_REUSE)",
        """
        with VariableStore(), variable_scope("enc", CURE):
            get_variable("w", [2])
        """,
    ),
    "under reuse, misspelt": Mistake(
        """
        with VariableStore():
            get_variable("enc/weights", [2])
            with variable_scope("enc", reuse=True):
                get_variable("weight", [2])
        """,
        ts.VariableMissingError,
        "enc/weight",
        None,
        r"Did you mean '([^']+)'",
        """
        with VariableStore():
            w = get_variable("enc/weights", [2])
            with variable_scope("", reuse=True):
                pass
            get_variable_scope().reuse_variables()
            assert get_variable("CURE", [2]) is w
        """,
    ),
    "a module under reuse": Mistake(
        """
        with VariableStore(), variable_scope("enc", reuse=True):
            get_module("dense", lambda: nn.Linear(2, 2))
        """,
        ts.VariableMissingError,
        "enc/dense",
        None,
        r"(reuse=AUTO_REUSE)",
        """
        with VariableStore(), variable_scope("enc", CURE):
            get_module("dense", lambda: nn.Linear(2, 2))
        """,
    ),
    "the origin of a misspelt name": Mistake(
        """
        store = VariableStore()
        with store:
            get_variable("enc/weights", [2])
        store.origin("enc/weight")
        """,
        ts.VariableMissingError,
        "enc/weight",
        None,
        r"Did you mean '([^']+)'",
        """
        store = VariableStore()
        with store:
            get_variable("enc/weights", [2])
        assert store.origin("CURE") == "model.py:4"
        """,
    ),
    "the name of a result": Mistake(
        """
        with VariableStore() as store:
            variable = get_variable("w", [2])
        store.name_of(variable * 2)
        """,
        ts.VariableMissingError,
        None,
        None,
        r"(store\.name_of\(variable\))",
        """
        with VariableStore() as store:
            variable = get_variable("w", [2])
        assert CURE == "w"
        """,
    ),
    # ---- mismatch ----
    "a model that has changed since, as in a notebook": Mistake(
        """
        units = 2
        def model():
            return get_variable("w", [units])
        net = VariableStore()
        net(model)
        units = 3
        net(model)
        """,
        ts.VariableMismatchError,
        "w",
        4,
        r"If the model has changed since.* forget the variable: (del net\['w'\])",
        """
        units = 2
        def model():
            return get_variable("w", [units])
        net = VariableStore()
        net(model)
        units = 3
        CURE
        net(model)
        assert net["w"].shape == (3,)
        """,
    ),
    "a variable of the default store that has changed since": Mistake(
        """
        get_variable("w", [2])
        with variable_scope("", reuse=AUTO_REUSE):
            get_variable("w", [3])
        """,
        ts.VariableMismatchError,
        "w",
        2,
        r"If the model has changed since: (ts\.reset_default_store\(\))",
        """
        get_variable("w", [2])
        CURE
        with variable_scope("", reuse=AUTO_REUSE):
            get_variable("w", [3])
        """,
    ),
    "another shape": Mistake(
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_variable("w", [2, 3])
            get_variable("w", [3, 2])
        """,
        ts.VariableMismatchError,
        "enc/w",
        3,
        r"(shape=\[2, 3\])",
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_variable("w", [2, 3])
            get_variable("w", CURE)
        """,
    ),
    "another dtype": Mistake(
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_variable("w", [2], torch.float64)
            get_variable("w", [2])
        """,
        ts.VariableMismatchError,
        "enc/w",
        3,
        r"(dtype=torch\.float64)",
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_variable("w", [2], torch.float64)
            get_variable("w", [2], CURE)
        """,
    ),
    "a parameter as a buffer": Mistake(
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_variable("w", [2])
            get_buffer("w", [2])
        """,
        ts.VariableMismatchError,
        "enc/w",
        3,
        r"(get_variable)\b",
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_variable("w", [2])
            CURE("w", [2])
        """,
    ),
    "a module as a variable": Mistake(
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_module("dense", lambda: nn.Linear(2, 2))
            get_variable("dense", [2])
        """,
        ts.VariableMismatchError,
        "enc/dense",
        3,
        r"(get_module)\b",
        """
        with VariableStore(), variable_scope("enc", reuse=AUTO_REUSE):
            get_module("dense", lambda: nn.Linear(2, 2))
            CURE("dense", lambda: nn.Linear(2, 2))
        """,
    ),
    "an initializer without return": Mistake(
        """
        def init(shape, dtype=None):
            torch.zeros(shape, dtype=dtype)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
        ts.VariableMismatchError,
        "enc/w",
        None,
        r"forget to (return)",
        """
        def init(shape, dtype=None):
            CURE torch.zeros(shape, dtype=dtype)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
    ),
    "an initializer of another shape": Mistake(
        """
        def init(shape, dtype=None):
            return torch.zeros(3, dtype=dtype)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
        ts.VariableMismatchError,
        "enc/w",
        None,
        r"Make it use `(shape)`",
        """
        def init(shape, dtype=None):
            return torch.zeros(CURE, dtype=dtype)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
    ),
    "an initializer of another dtype": Mistake(
        """
        def init(shape, dtype=None):
            return torch.zeros(shape, dtype=torch.float64)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
        ts.VariableMismatchError,
        "enc/w",
        None,
        r"Make it use `(dtype)`",
        """
        def init(shape, dtype=None):
            return torch.zeros(shape, dtype=CURE)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
    ),
    "an initializer on another device": Mistake(
        """
        def init(shape, dtype=None):
            return torch.zeros(shape, dtype=dtype, device="meta")
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
        ts.VariableMismatchError,
        "enc/w",
        None,
        r"on the (CPU)",
        """
        def init(shape, dtype=None):
            return torch.zeros(shape, dtype=dtype, device="CURE".lower())
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=init)
        """,
    ),
    "a loaded value of another shape": Mistake(
        """
        store = VariableStore()
        store.load_state_dict({"enc/w": torch.zeros(3)})
        with store, variable_scope("enc"):
            get_variable("w", [2])
        """,
        ts.VariableMismatchError,
        "enc/w",
        None,
        r"(del store\['enc/w'\])",
        """
        store = VariableStore()
        store.load_state_dict({"enc/w": torch.zeros(3)})
        CURE
        with store, variable_scope("enc"):
            get_variable("w", [2])
        """,
    ),
    "assigning another shape": Mistake(
        """
        with VariableStore():
            variable = get_variable("w", [2])
        assign(variable, 5.0)
        """,
        ts.VariableMismatchError,
        None,
        None,
        r"(torch\.full_like\(variable, number\))",
        """
        with VariableStore():
            variable = get_variable("w", [2])
        number = 5.0
        assign(variable, CURE)
        """,
    ),
    # ---- other mistakes about variables and scopes ----
    "another value for reuse": Mistake(
        """
        with VariableStore(), variable_scope("enc", reuse=1):
            pass
        """,
        ts.ScopeError,
        None,
        None,
        r"(reuse=True)\.?$",
        """
        with VariableStore(), variable_scope("enc", CURE):
            pass
        """,
    ),
    "reuse without a name": Mistake(
        """
        with VariableStore(), variable_scope(None, "enc", reuse=True):
            pass
        """,
        ts.ScopeError,
        None,
        None,
        r"(variable_scope\('enc', reuse=True\))",
        """
        with VariableStore(), CURE:
            pass
        """,
    ),
    "no name and no default name": Mistake(
        """
        with VariableStore(), variable_scope(None):
            pass
        """,
        TypeError,
        None,
        None,
        r"(variable_scope\(None, '\w+'\))",
        """
        with VariableStore(), CURE:
            pass
        """,
    ),
    "no shape": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w")
        """,
        ts.ScopeError,
        "enc/w",
        None,
        r"(get_variable\('w', \[3, 4\])(?:, \.\.\.)?\)",
        """
        with VariableStore(), variable_scope("enc"):
            CURE)
        """,
    ),
    "an open shape": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [None, 2])
        """,
        ts.ScopeError,
        "enc/w",
        None,
        r"(get_variable\('w', \[3, 4\])(?:, \.\.\.)?\)",
        """
        with VariableStore(), variable_scope("enc"):
            CURE)
        """,
    ),
    "a value and a shape": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=5.0)
        """,
        ts.ScopeError,
        "enc/w",
        None,
        r"(ts\.constant_initializer\(value\))",
        """
        value = 5.0
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=CURE)
            get_variable("or_without_a_shape", initializer=value)
        """,
    ),
    "a value of another dtype": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", dtype=torch.float64, initializer=torch.zeros(2))
        """,
        ts.ScopeError,
        "enc/w",
        None,
        r"Leave dtype out, or convert",
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", initializer=torch.zeros(2))
            get_variable("v", dtype=torch.float64, initializer=torch.zeros(2).double())
        """,
    ),
    "complex numbers without an initializer": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], torch.complex64)
        """,
        ts.ScopeError,
        "enc/w",
        None,
        r"(initializer=ts\.\w+\(\))",
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], torch.complex64, CURE)
        """,
    ),
    "collections that are no list": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], collections="local_variables")
        """,
        ts.ScopeError,
        "enc/w",
        None,
        r"(\[ts\.GraphKeys\.\w+\])",
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], collections=CURE)
        """,
    ),
    "a custom getter that is none": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], custom_getter="getter")
        """,
        ts.ScopeError,
        "enc/w",
        None,
        r"f(\(getter, name, \*args, \*\*kwargs\))",
        """
        def f CURE:
            return getter(name, *args, **kwargs)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], custom_getter=f)
        """,
    ),
    "a template without a name": Mistake(
        """
        def fn():
            return get_variable("w", [2])
        make_template(None, fn)
        """,
        ts.ScopeError,
        None,
        None,
        r"(make_template\('\w+', fn\))",
        """
        def fn():
            return get_variable("w", [2])
        CURE
        """,
    ),
    "a template's new variable": Mistake(
        """
        def fn(more=False):
            get_variable("w", [2])
            if more:
                with variable_scope("s", reuse=AUTO_REUSE):
                    get_variable("more", [2])
        with VariableStore():
            layer = make_template("layer", fn)
            layer()
            layer(more=True)
        """,
        ts.ScopeError,
        "layer/s/more",
        6,
        r"(trainable=False)",
        """
        def fn(more=False):
            get_variable("w", [2])
            if more:
                with variable_scope("s", reuse=AUTO_REUSE):
                    get_variable("more", [2], CURE)
        with VariableStore():
            layer = make_template("layer", fn)
            layer()
            layer(more=True)
        """,
    ),
    # ---- order ----
    "scopes left out of order": Mistake(
        """
        def layers():
            with variable_scope("inner"):
                yield get_variable("w", [2])
        with VariableStore():
            with variable_scope("outer"):
                layer = layers()
                next(layer)
        """,
        ts.ScopeOrderError,
        "outer/inner",
        None,
        r"Keep `with variable_scope\(\.\.\.\)` around code without yield",
        """
        def layers():
            with variable_scope("inner"):
                w = get_variable("w", [2])
            yield w
        with VariableStore():
            with variable_scope("outer"):
                layer = layers()
                next(layer)
        """,
    ),
    "a scope left open": Mistake(
        """
        def layers():
            with variable_scope("inner"):
                yield get_variable("w", [2])
        with VariableStore():
            layer = layers()
            next(layer)
        """,
        ts.ScopeOrderError,
        "inner",
        None,
        r"Keep `with variable_scope\(\.\.\.\)` around code without yield",
        """
        def layers():
            with variable_scope("inner"):
                w = get_variable("w", [2])
            yield w
        with VariableStore():
            layer = layers()
            next(layer)
        """,
    ),
    "stores left out of order": Mistake(
        """
        def layers():
            with VariableStore():
                yield get_variable("w", [2])
        with VariableStore():
            layer = layers()
            next(layer)
        """,
        ts.ScopeOrderError,
        None,
        None,
        r"Keep `with store:` around code without yield",
        """
        def layers():
            with VariableStore():
                w = get_variable("w", [2])
            yield w
        with VariableStore():
            layer = layers()
            next(layer)
        """,
    ),
    "a store that was not entered": Mistake(
        """
        store = VariableStore()
        store.__exit__(None, None, None)
        """,
        ts.ScopeOrderError,
        None,
        None,
        r"entered",
        """
        store = VariableStore()
        store.__enter__()
        store.__exit__(None, None, None)
        """,
    ),
    "the default store reset inside a scope": Mistake(
        """
        with variable_scope("enc"):
            reset_default_store()
        """,
        ts.ScopeOrderError,
        "enc",
        None,
        r"Leave the scope first",
        """
        with variable_scope("enc"):
            pass
        reset_default_store()
        """,
    ),
    "a store shared by tasks": Mistake(
        """
        import asyncio
        async def work(store):
            with store:
                await asyncio.sleep(0)
                get_variable("w", [2])
        async def main():
            store = VariableStore()
            await asyncio.gather(work(store), work(store))
        asyncio.run(main())
        """,
        ts.ScopeOrderError,
        None,
        None,
        r"Keep `with store:` around code without|keep `with store:` around code without",
        """
        import asyncio
        async def work(store):
            await asyncio.sleep(0)
            with store:
                get_variable("w", [2])
        async def main():
            store = VariableStore()
            await asyncio.gather(work(store), work(store))
        asyncio.run(main())
        """,
    ),
    "a scope shared by tasks": Mistake(
        """
        import asyncio
        async def other():
            get_variable("w", [2])
        async def main():
            with VariableStore(), variable_scope("enc"):
                await asyncio.create_task(other())
        asyncio.run(main())
        """,
        ts.ScopeOrderError,
        "enc/w",
        None,
        r"Leave the scope before you await",
        """
        import asyncio
        async def other():
            with VariableStore():
                get_variable("w", [2])
        async def main():
            with VariableStore(), variable_scope("enc"):
                pass
            await asyncio.create_task(other())
        asyncio.run(main())
        """,
    ),
    # ---- not built ----
    "an optimizer of an unbuilt module": Mistake(
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        torch.optim.SGD(net.parameters(), lr=0.1)
        """,
        ts.NotBuiltError,
        None,
        None,
        r"(net\.build\(\*example\))",
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        example = [torch.ones(2)]
        CURE
        torch.optim.SGD(net.parameters(), lr=0.1)
        """,
    ),
    "a transform of an unbuilt module": Mistake(
        """
        net = ScopedModule(lambda x: (x * get_variable("w", [2])).sum())
        torch.func.grad(net)(torch.ones(2))
        """,
        ts.NotBuiltError,
        "w",
        None,
        r"(net\.build\(\*example\))",
        """
        net = ScopedModule(lambda x: (x * get_variable("w", [2])).sum())
        example = [torch.ones(2)]
        CURE
        torch.func.grad(net)(torch.ones(2))
        """,
    ),
    "tracing an unbuilt module": Mistake(
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        torch.export.export(net, (torch.ones(2),), strict=False)
        """,
        ts.NotBuiltError,
        "w",
        None,
        r"(net\.build\(\*example\))",
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        example = [torch.ones(2)]
        CURE
        torch.export.export(net, (torch.ones(2),), strict=False)
        """,
    ),
    "a module made while tracing": Mistake(
        """
        net = ScopedModule(lambda x: get_module("dense", lambda: nn.Linear(2, 2))(x))
        torch.export.export(net, (torch.ones(1, 2),), strict=False)
        """,
        ts.NotBuiltError,
        "dense",
        None,
        r"(net\.build\(\*example\))",
        """
        net = ScopedModule(lambda x: get_module("dense", lambda: nn.Linear(2, 2))(x))
        example = [torch.ones(1, 2)]
        CURE
        torch.export.export(net, (torch.ones(1, 2),), strict=False)
        """,
    ),
    "a new variable after finalize": Mistake(
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        net.finalize()
        net(torch.ones(2))
        """,
        ts.NotBuiltError,
        "w",
        None,
        r"(net\.build\(\*example\))",
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        example = [torch.ones(2)]
        CURE
        net.finalize()
        net(torch.ones(2))
        """,
    ),
    "recomputing without bind": Mistake(
        """
        from torch.utils.checkpoint import checkpoint
        def fn(x):
            return torch.tanh(x * get_variable("w", [2]))
        with VariableStore(), variable_scope("enc"):
            y = checkpoint(fn, torch.ones(2), use_reentrant=False)
        y.sum().backward()
        """,
        ts.NotBuiltError,
        "w",
        None,
        r"(torch\.utils\.checkpoint\.checkpoint\(ts\.bind\(fn\), )\.\.\.\)",
        """
        def fn(x):
            return torch.tanh(x * get_variable("w", [2]))
        with VariableStore() as store, variable_scope("enc"):
            y = CUREtorch.ones(2), use_reentrant=False)
        y.sum().backward()
        assert store["enc/w"].grad is not None
        """,
    ),
    # ---- state dicts ----
    "a state dict that does not fit": Mistake(
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2])).build(torch.ones(2))
        net.load_state_dict({"v": torch.ones(2)})
        """,
        ts.StateDictError,
        None,
        None,
        r"(load_state_dict\(state_dict, strict=False\))",
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2])).build(torch.ones(2))
        state_dict = {"v": torch.ones(2)}
        net.CURE
        """,
    ),
    "a loaded name that nobody asks for": Mistake(
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        net.load_state_dict({"w": torch.ones(2), "v": torch.ones(2)})
        net(torch.ones(2))
        """,
        ts.StateDictError,
        None,
        None,
        r"'v'.*(del net\[name\])",
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        net.load_state_dict({"w": torch.ones(2), "v": torch.ones(2)})
        name = "v"
        CURE
        net(torch.ones(2))
        """,
    ),
    # ---- TypeErrors ----
    "a name that is no string": Mistake(
        """
        with VariableStore():
            get_variable(["w"], [2])
        """,
        TypeError,
        None,
        None,
        r"name is a string",
        """
        with VariableStore():
            get_variable("w", [2])
        """,
    ),
    "a scope that is neither name nor scope": Mistake(
        """
        with VariableStore(), variable_scope(5):
            pass
        """,
        TypeError,
        None,
        None,
        r"a name or a VariableScope",
        """
        with VariableStore(), variable_scope("5") as scope, variable_scope(scope):
            pass
        """,
    ),
    "an unknown argument": Mistake(
        """
        with VariableStore():
            get_variable("w", [2], initialiser=None)
        """,
        TypeError,
        None,
        None,
        r"unexpected keyword argument 'initialiser'",
        """
        with VariableStore():
            get_variable("w", [2], initializer=None)
        """,
    ),
    "an initializer without dtype": Mistake(
        """
        def f(shape):
            return torch.zeros(shape)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=f)
        """,
        TypeError,
        "enc/w",
        None,
        r"`(def f\(shape, dtype=None\))`",
        """
        CURE:
            return torch.zeros(shape, dtype=dtype)
        with VariableStore(), variable_scope("enc"):
            get_variable("w", [2], initializer=f)
        """,
    ),
    "a factory that gives no module": Mistake(
        """
        with VariableStore(), variable_scope("enc"):
            get_module("dense", lambda: None)
        """,
        TypeError,
        "enc/dense",
        None,
        r"(get_module\('[\w/]+', lambda: nn\.Linear\(3, 4\)\))",
        """
        with VariableStore() as store, variable_scope("enc"):
            CURE
        assert list(store.state_dict()) == ["enc/dense.weight", "enc/dense.bias"]
        """,
    ),
    "a value that is no tensor": Mistake(
        """
        store = VariableStore()
        store["w"] = 5.0
        """,
        TypeError,
        "w",
        None,
        r"takes a (parameter) or a (tensor)",
        """
        store = VariableStore()
        store["w"] = torch.CURE(5.0)
        """,
    ),
    "a module of no function": Mistake(
        """
        ScopedModule(nn.Linear(2, 2)(torch.ones(2)))
        """,
        TypeError,
        None,
        None,
        r"takes a function",
        """
        ScopedModule(nn.Linear(2, 2))
        """,
    ),
    # ---- warnings ----
    "a late variable": Mistake(
        """
        net = ScopedModule(lambda x, more: x * get_variable("more/w", [2]) if more else x)
        net.build(torch.ones(2), False)
        net(torch.ones(2), True)
        """,
        ts.ScopeWarning,
        "more/w",
        None,
        r"(net\.build\(\*example\))",
        """
        net = ScopedModule(lambda x, more: x * get_variable("more/w", [2]) if more else x)
        example = [torch.ones(2), True]
        CURE
        net(torch.ones(2), True)
        """,
    ),
    "parameters read too early": Mistake(
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        parameters = list(net.parameters())
        net(torch.ones(2))
        """,
        ts.ScopeWarning,
        None,
        3,
        r"(net\.build\(\*example\))",
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        example = [torch.ones(2)]
        CURE
        assert len(list(net.parameters())) == 1
        net(torch.ones(2))
        """,
    ),
    "a module closed over": Mistake(
        """
        def make():
            dense = nn.Linear(2, 2)
            return ScopedModule(lambda x: dense(x))
        make()
        """,
        ts.ScopeWarning,
        "dense",
        None,
        r"(dense = ts\.get_module\('dense', lambda: )\.\.\.\)",
        """
        def model(x):
            CUREnn.Linear(2, 2))
            return dense(x)
        ScopedModule(model)(torch.ones(2))
        """,
    ),
    "a loaded name that nobody asks for, not strict": Mistake(
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        net.load_state_dict({"w": torch.ones(2), "v": torch.ones(2)}, strict=False)
        net(torch.ones(2))
        """,
        ts.ScopeWarning,
        "v",
        None,
        r"'v'",
        """
        net = ScopedModule(lambda x: x * get_variable("w", [2]))
        net.load_state_dict({"w": torch.ones(2), "v": torch.ones(2)}, strict=False)
        del net["v"]
        net(torch.ones(2))
        """,
    ),
}


def run(program: str) -> None:
    """Run a program as the user's file ``model.py``."""
    names = {name: getattr(ts, name) for name in ts.__all__}
    code = compile(dedent(program), "model.py", "exec")
    exec(code, {"__name__": "model", **names, "ts": ts, "torch": torch, "nn": torch.nn})


@pytest.fixture(params=MISTAKES.values(), ids=MISTAKES)
def mistake(request: pytest.FixtureRequest) -> Mistake:
    return request.param


def message_of(mistake: Mistake) -> str:
    with pytest.raises(mistake.error, match=mistake.cure) as caught:
        run(mistake.wrong)
    if isinstance(caught.value, ts.ScopeError):
        assert type(caught.value) is mistake.error
        assert caught.value.name == mistake.name
    message = str(caught.value)
    if mistake.error is ts.ScopeOrderError:
        del caught
        gc.collect()  # Generators left inside a scope complain now, and in no other test.
    return message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_message_shows_the_full_name_and_where_it_was_first_made(mistake: Mistake):
    message = message_of(mistake)
    if mistake.name is not None:
        assert repr(mistake.name) in message
    if mistake.line is not None:
        assert f"model.py:{mistake.line}" in message


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_message_says_to_type_cures_it(mistake: Mistake):
    found = re.search(mistake.cure, message_of(mistake))
    assert found
    ts.reset_default_store()
    run(mistake.right.replace("CURE", found.group(len(found.groups()))))


def test_every_class_of_error_has_its_mistakes():
    kinds = [getattr(ts, name) for name in ts.__all__ if name.endswith(("Error", "Warning"))]
    assert {mistake.error for mistake in MISTAKES.values()} - {TypeError} == {*kinds} - {
        ts.CheckpointError  # of torchscope.checkpoint
    }


LISTS: dict[str, Any] = {
    "global_variables()": ts.global_variables,
    "trainable_variables()": ts.trainable_variables,
    "local_variables()": ts.local_variables,
    "regularization_losses()": ts.get_regularization_loss,
    "get_collection('losses')": lambda: ts.get_collection("losses"),
}


@pytest.mark.parametrize("call", LISTS)
def test_a_list_asked_for_outside_of_everything_names_the_stores_own(
    call: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_default._default, "was_reset", False)
    with pytest.raises(ts.ScopeError, match="No store is entered") as caught:
        LISTS[call]()
    assert f"net.{call}" in str(caught.value)
    net = ts.ScopedModule(lambda: ts.get_variable("w", [2], regularizer=ts.l2_regularizer(0.5)))
    net.build()
    eval(f"net.{call}", {"net": net})
    with net:
        LISTS[call]()


ABOUT_A_VARIABLE: dict[str, dict[str, Any]] = {
    "a negative size": {"shape": [-1]},
    "a negative lone size": {"shape": -1},
    "a size that is no integer": {"shape": [1.5]},
    "a shape that is none": {"shape": "3"},
    "an unknown dtype": {"shape": [2], "dtype": float},
    "a dtype that is none": {"shape": [2], "dtype": ...},
    "neither function nor value": {"initializer": object()},
    "a string": {"initializer": "zeros"},
    "an array of no numbers": {"initializer": np.array(["a"])},
    "another value for reuse": {"shape": [2], "reuse": 1},
}


@pytest.mark.parametrize("arguments", ABOUT_A_VARIABLE.values(), ids=ABOUT_A_VARIABLE)
def test_an_error_about_a_variable_shows_its_full_name(
    store: ts.VariableStore, arguments: dict[str, Any]
):
    with (
        ts.variable_scope("enc") as scope,
        pytest.raises((ts.ScopeError, TypeError), match="enc/w") as caught,
    ):
        scope.get_variable("w", **arguments)
    if isinstance(caught.value, ts.ScopeError):
        assert caught.value.name == "enc/w"
    assert list(store) == []


def test_the_suggested_name_is_for_the_place_where_it_is_typed(store: ts.VariableStore):
    with ts.variable_scope("enc"):
        with pytest.raises(ts.VariableNameError, match="For example") as caught:
            ts.get_variable("a b", [2])
        suggested = re.findall(r"For example '([^']+)'", str(caught.value))[0]
        ts.get_variable(suggested, [2])
    assert list(store) == ["enc/a_b"]


# ---- the wrong type ------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """A call that is given what it cannot take, run with ``store``, which has a variable ``w``."""

    call: str
    error: type[Exception]
    match: str


LIST_FUNCTIONS = [
    *("ts.global_variables", "ts.trainable_variables", "ts.local_variables"),
    *("ts.get_regularization_losses", "ts.get_regularization_loss"),
    *("store.global_variables", "store.trainable_variables", "store.local_variables"),
    *("store.regularization_losses",),
]
INITIALIZERS = [
    *("zeros", "ones", "random_normal", "truncated_normal", "random_uniform", "orthogonal"),
    *("uniform_unit_scaling", "variance_scaling", "glorot_uniform", "glorot_normal", "identity"),
]
REFUSALS = [
    *(
        Refusal(f"{target}.load_state_dict({given})", TypeError, "state dict.*not")
        for target in ("store", "unbuilt", "ts.VariableStore()")
        for given in ("[1]", "None", "1", "'w'", "[('w', torch.ones(2))]")
    ),
    *(
        Refusal(f"{target}.load_state_dict({{1: torch.ones(2)}})", TypeError, "key.*string.*1")
        for target in ("store", "unbuilt", "ts.VariableStore()")
    ),
    *(
        Refusal(f"ts.{function}({given}, 1)", TypeError, f"{function} takes a variable.*not")
        for function in ("assign", "assign_add", "assign_sub")
        for given in ("'w'", "None", "1", "[1.0]", "np.ones(2)")
    ),
    *(
        Refusal(f"ts.{function}(w, {given})", TypeError, f"{function}.*value")
        for function in ("assign", "assign_add", "assign_sub")
        for given in ("'a'", "None", "object()", "{}", "[None]", "['a']")
    ),
    *(
        Refusal(f"{function}({given})", ValueError, "regular expression")
        for function in LIST_FUNCTIONS
        for given in ("'['", "'('", "'*'")
    ),
    *(
        Refusal(f"{function}({given})", TypeError, "scope.*not")
        for function in LIST_FUNCTIONS
        for given in ("3", "b'w'", "['w']")
    ),
    Refusal("ts.get_collection('variables', '[')", ValueError, "regular expression"),
    Refusal("store.get_collection('variables', '[')", ValueError, "regular expression"),
    Refusal("ts.get_collection('variables', 3)", TypeError, "scope.*not 3"),
    Refusal("store.get_collection('variables', 3)", TypeError, "scope.*not 3"),
    Refusal("list(store.named_variables(3))", TypeError, "scope.*not 3"),
    Refusal("list(store.named_variables(['w']))", TypeError, "scope.*not"),
    *(
        Refusal(f"{get}('v', [2], device={given})", error, "'v'.*device")
        for get in (
            *("ts.get_variable", "ts.get_local_variable", "ts.get_buffer"),
            *("ts.get_variable_scope().get_variable",),
        )
        for given, error in (
            *(("'x'", ValueError), ("'cuda:x'", ValueError), ("-1", ValueError)),
            *(("3.5", TypeError), ("[]", TypeError), ("object()", TypeError)),
        )
    ),
    Refusal("store.origin(1)", TypeError, "name is a string, not 1"),
    Refusal("store.__setitem__(1, torch.ones(2))", TypeError, "name is a string, not 1"),
    Refusal("ts.get_variable('v', [2], constraint=3)", TypeError, "'v'.*constraint.*3"),
    Refusal("ts.make_template('t', 3)", TypeError, "template 't'.*function.*3"),
    Refusal("ts.bind(3)", TypeError, "bind takes a function.*3"),
    Refusal("ts.match_by_name(None, {})", TypeError, "optimizer.*None"),
    Refusal("ts.match_by_name(optimizer, None)", TypeError, "state dict.*None"),
    Refusal("ts.get_module('h', torch.nn.ReLU(), 3)", TypeError, "factory of 'h' is not a class"),
    Refusal("ts.get_module('h', 3, 4)", TypeError, "factory of 'h' is not a class"),
    Refusal("ts.match_by_name(optimizer, {})", TypeError, "state dict.*{}"),
    Refusal("ts.make_template(3, len)", TypeError, "template's name.*3"),
    Refusal("ts.in_this_pass('key', 3)", TypeError, "in_this_pass takes a function.*3"),
    Refusal("store(w)", TypeError, r"store\(fn, x\), not with Parameter"),
    Refusal("store.build(3)", TypeError, r"store\(fn, x\), not with int"),
    Refusal("ts.sharing(unbuilt).part('w')", TypeError, "part takes a list of names, not 'w'"),
    Refusal("ts.sharing(unbuilt).part(3)", TypeError, "part takes a list of names, not 3"),
    *(
        Refusal(f"ts.initializers.{name}(seed={given})([3, 3])", TypeError, "seed is an integer")
        for name in INITIALIZERS
        if name not in ("zeros", "ones", "identity")
        for given in ("2.5", "'x'")
    ),
    *(
        Refusal(f"ts.initializers.{given})([3, 3])", TypeError, "is a number, not")
        for given in (
            *("random_normal(mean='x'", "random_normal(stddev=1j", "truncated_normal(stddev=None"),
            *("random_uniform(minval=None", "random_uniform(0, '1'", "orthogonal(gain='x'"),
            *("identity(gain=[1]", "uniform_unit_scaling('x'", "variance_scaling(None"),
        )
    ),
    *(
        Refusal(f"ts.initializers.constant({given})([2])", TypeError, "constant takes a number")
        for given in ("[None]", "['a']", "[[1, 2], [3]]")
    ),
    Refusal("ts.l2_regularizer(0.1)('w')", TypeError, "tensor.*'w'"),
    Refusal("ts.l1_regularizer(0.1)(1.0)", TypeError, r"tensor.*1\.0"),
    Refusal("ts.l1_l2_regularizer(0.1, 0.1)(None)", TypeError, "tensor.*None"),
    Refusal("ts.initializers.variance_scaling(distribution=3)", ValueError, "distribution.*3"),
    *(
        Refusal(f"ts.initializers.{name}(dtype={given})([3, 3])", TypeError, "not a dtype")
        for name in INITIALIZERS
        for given in ("'x'", "3", "float")
    ),
    *(
        Refusal(f"ts.initializers.{name}()([3, 3], dtype=3)", TypeError, "not a dtype")
        for name in (*INITIALIZERS, "he_normal", "he_uniform", "lecun_normal", "lecun_uniform")
    ),
    *(
        Refusal(f"ts.initializers.{name}()([-1, 3])", ValueError, "negative")
        for name in (*INITIALIZERS, "he_normal", "he_uniform", "lecun_normal", "lecun_uniform")
    ),
    *(
        Refusal(f"ts.initializers.{name}()({given})", TypeError, "shape is a list|size in a shape")
        for name in (*INITIALIZERS, "he_normal", "he_uniform", "lecun_normal", "lecun_uniform")
        for given in ("'ab'", "None", "[2.5, 3]", "[None, 3]")
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.call)
def test_what_cannot_be_taken_is_refused_by_an_error_of_the_right_class(
    refusal: Refusal, refused: Any
):
    store = ts.VariableStore()
    unbuilt = ts.ScopedModule(lambda: ts.get_variable("w", [2]))
    with store:
        w = ts.get_variable("w", [2], regularizer=ts.l2_regularizer(0.1))
        names = {"ts": ts, "torch": torch, "np": np, "store": store, "unbuilt": unbuilt, "w": w}
        names["optimizer"] = torch.optim.SGD(store.named_parameters(), lr=0.1)
        with refused(store, refusal.error, match=refusal.match):
            eval(refusal.call, names)
    assert list(unbuilt) == []


@pytest.mark.parametrize("given", ["float32", np.float32, np.dtype("float32")], ids=repr)
@pytest.mark.parametrize("name", INITIALIZERS)
def test_an_initializer_takes_every_spelling_of_a_dtype(name: str, given: Any):
    kind = getattr(ts.initializers, name)
    torch.manual_seed(5)
    expected = kind(dtype=torch.float32)([3, 3])
    for make in (lambda: kind(dtype=given)([3, 3]), lambda: kind()([3, 3], dtype=given)):
        torch.manual_seed(5)
        assert torch.equal(make(), expected)
    with ts.VariableStore(0):
        variable = ts.get_variable("w", [3, 3], initializer=kind(dtype=given))
    assert variable.dtype is torch.float32


# ---- the classes ---------------------------------------------------------------------------------

CLASSES = [getattr(ts, name) for name in ts.__all__ if name.endswith("Error")]
RUNTIME_ERRORS = {ts.NotBuiltError, ts.ScopeOrderError, ts.StateDictError}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_a_scope_error_and_so_a_value_error(kind: Any):
    assert issubclass(kind, ts.ScopeError)
    assert issubclass(kind, ValueError)
    assert issubclass(kind, RuntimeError) == (kind in RUNTIME_ERRORS)


@pytest.mark.parametrize("kind", [*CLASSES, ts.ScopeWarning])
def test_a_traceback_shows_the_name_that_users_import(kind: Any):
    assert kind.__module__ == "torchscope"
    assert getattr(ts, kind.__name__) is kind


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", ["enc/w", None])
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_an_error_survives_copying(kind: Any, name: str | None, copied: Any):
    error = copied(kind(name, "what happened"))
    assert type(error) is kind
    assert error.name == name
    assert str(error) == "what happened"


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    ("given", "message"), [((), ""), (("text",), "text"), ((3,), "3"), (("w", "text"), "text")]
)
def test_an_error_made_as_any_other_has_no_name(kind: Any, given: Any, message: str):
    error = kind(*given)
    assert error.name == (given[0] if len(given) > 1 else None)
    assert str(error) == message
    assert message in repr(error)


def test_a_real_error_survives_pickling(store: ts.VariableStore):
    ts.get_variable("w", [2])
    with pytest.raises(ts.VariableExistsError, match="'w' already exists") as caught:
        ts.get_variable("w", [2])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.name, str(again)) == ("w", str(caught.value))


def test_ported_code_that_catches_value_error_still_works(store: ts.VariableStore):
    ts.get_variable("w", [2])
    with pytest.raises(ValueError, match="already exists"):
        ts.get_variable("w", [2])
