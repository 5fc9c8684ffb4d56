"""A get, a scope, whole passes and training steps, without compiling; knows nothing of tables."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from models import (
    IMAGE,
    TOKENS,
    Empty,
    HandWritten,
    HandWrittenModel,
    Layer,
    Transformer,
    by_gets_only,
    calculate,
    dict_model,
    in_scopes_only,
    leave_out,
    make_dict,
    scoped_model,
    transformer,
    variables_by_name,
)
from timing import (
    DICT,
    MODULE,
    SCOPED_MODULE,
    TORCHSCOPE,
    WITH_STORE,
    Measure,
    Settings,
    Statement,
    race,
)

import torchscope as ts
from torchscope._make import check_can_make
from torchscope._origin import Origin

SHAPE = "[2, 1, 3, 3]"
GET = f"get_variable('weights', {SHAPE})"


def get_under_reuse(settings: Settings) -> Measure:
    net = HandWritten()
    params = variables_by_name(net)
    with ExitStack() as entered:
        entered.enter_context(ts.VariableStore())
        for reuse in (False, True):
            with ts.variable_scope("model", reuse=reuse), ts.variable_scope("conv1"):
                ts.get_variable("weights", [2, 1, 3, 3])
        entered.enter_context(ts.variable_scope("model", reuse=True))
        entered.enter_context(ts.variable_scope("conv1"))
        samples = race(
            {
                TORCHSCOPE: Statement(GET, {"get_variable": ts.get_variable}),
                MODULE: Statement("net.conv1.weights", {"net": net}),
                DICT: Statement("params['conv1/weights']", {"params": params}),
            },
            settings,
        )
    title = "get a variable under reuse, depth 2, shape given; net.conv1.weights"
    return Measure("get", title, "ns", samples, bars={TORCHSCOPE: 0.4})


def scope(settings: Settings) -> Measure:
    with ts.VariableStore(), ts.variable_scope("model"):
        samples = race(
            {
                TORCHSCOPE: Statement(
                    "with variable_scope('conv1'): pass", {"variable_scope": ts.variable_scope}
                ),
                MODULE: Statement("empty(None)", {"empty": Empty()}),
            },
            settings,
        )
    title = "enter and leave a scope; call an empty module"
    return Measure("scope", title, "ns", samples, bars={TORCHSCOPE: 1.1})


def passes(layer: Layer, settings: Settings) -> dict[str, list[float]]:
    model = scoped_model(layer)
    by_hand = HandWrittenModel(layer)
    images = {"a": IMAGE, "b": IMAGE}
    store = {"store": ts.VariableStore(), "model": model}
    net = ts.ScopedModule(model).build(IMAGE, IMAGE)
    by_name = dict_model(layer, variables_by_name(by_hand))
    return race(
        {
            WITH_STORE: Statement("with store:\n    model(a, b)", images | store),
            SCOPED_MODULE: Statement("net(a, b)", images | {"net": net}),
            MODULE: Statement("net(a, b)", images | {"net": by_hand}),
            DICT: Statement("model(a, b)", images | {"model": by_name}),
        },
        settings,
    )


def naming(settings: Settings) -> Measure:
    title = "naming alone: a pass of the tutorial's model, the arithmetic left out"
    return Measure("naming", title, "ns", passes(leave_out, settings))


def forward(settings: Settings) -> Measure:
    title = "a pass of the tutorial's model, tiny images"
    samples = passes(calculate, settings)
    return Measure("forward", title, "ns", samples, bars={SCOPED_MODULE: 1.02})


def shares(settings: Settings) -> Measure:
    """What each part of naming takes where the processor's caches are full of arithmetic."""
    store = ts.VariableStore()
    store(scoped_model(calculate), IMAGE, IMAGE)
    params = dict(store.items())
    by_hand = dict_model(calculate, params)
    images = {"a": IMAGE, "b": IMAGE}
    by_store = {
        "the store called, no name asked for": by_hand,
        "scopes, no get in them": in_scopes_only(calculate, params),
        "gets by full names, no scope": by_gets_only(calculate),
        "all, as the tutorial has it": scoped_model(calculate),
    }
    nets: dict[str, Callable[..., Any]] = {
        "a dict": by_hand,
        **{name: functools.partial(store, model) for name, model in by_store.items()},
        MODULE: HandWrittenModel(calculate),
    }
    statements = {name: Statement("net(a, b)", images | {"net": net}) for name, net in nets.items()}
    title = "that pass, with a part of the naming: what is left out comes from a dict"
    return Measure("shares", title, "ns", race(statements, settings))


def training(settings: Settings) -> Measure:
    samples = race(
        {
            SCOPED_MODULE: step(
                ts.ScopedModule(scoped_model(calculate)).build(IMAGE, IMAGE), IMAGE, IMAGE
            ),
            MODULE: step(HandWrittenModel(calculate), IMAGE, IMAGE),
        },
        settings,
    )
    title = "a training step of the tutorial's model, SGD"
    return Measure("training", title, "ns", samples, bars={SCOPED_MODULE: 1.02})


def step(net: Any, *inputs: torch.Tensor) -> Statement:
    """Forward, backward and one step of the optimizer."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        results = net(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        torch.stack([result.square().sum() for result in results]).sum().backward()
        optimizer.step()

    return Statement("run()", {"run": run})


def transformers(settings: Settings) -> Measure:
    samples = race(
        {
            SCOPED_MODULE: Statement(
                "net(x)", {"net": ts.ScopedModule(transformer).build(TOKENS), "x": TOKENS}
            ),
            MODULE: Statement("net(x)", {"net": Transformer(), "x": TOKENS}),
        },
        settings,
    )
    title = "a pass of a transformer, 12 layers of width 64, 2 x 16 tokens"
    return Measure("transformer", title, "ns", samples, bars={SCOPED_MODULE: 1.02})


# ---- less plain gets ---------------------------------------------------------------------------

PLAIN, GETTER = "plain get in a named scope", "custom getter"
DEFAULT_NAME, TEMPLATE = "default name", "template"


def gets(settings: Settings) -> Measure:
    """Each contender makes ten gets, each in a scope of its own but for the getter."""

    def plain() -> Any:
        with ts.variable_scope("layer"):
            return ts.get_variable("w", [8])

    def by_default_name() -> Any:
        with ts.variable_scope(None, "layer"):
            return ts.get_variable("w", [8])

    template = ts.make_template("shared", lambda: ts.get_variable("w", [8]))
    # Numbers of default names are given back when the outer scope is left, or they would run on.
    ten = f"with scope('{{0}}'{{1}}):\n    {'fetch();' * 10}"
    with ts.VariableStore(), ts.variable_scope("model", reuse=ts.AUTO_REUSE):
        names = {"scope": ts.variable_scope, "handed_on": handed_on}
        samples = race(
            {
                PLAIN: Statement(ten.format("a", ""), names | {"fetch": plain}),
                GETTER: Statement(
                    ten.format("a", ", custom_getter=handed_on"), names | {"fetch": plain}
                ),
                DEFAULT_NAME: Statement(ten.format("b", ""), names | {"fetch": by_default_name}),
                TEMPLATE: Statement(ten.format("c", ""), names | {"fetch": template}),
            },
            settings,
        )
    title = "ten gets, each in a scope of its own, under AUTO_REUSE"
    bars = {DEFAULT_NAME: 3.0, TEMPLATE: 3.0}
    return Measure("gets", title, "ns", samples, PLAIN, bars)


# ---- what it is made of ------------------------------------------------------------------------


class Nothing:
    """A context manager that does nothing, made of slots as ours is."""

    __slots__ = ("_name",)

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def sixteen(
    a, b, c=None, d=None, e=None, f=None, g=None, h=None, i=None, j=None, k=None, m=None,
    n=None, o=None, p=None, q=None,
) -> None: ...  # fmt: skip


def handed_on(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """A custom getter that changes nothing."""
    return getter(name, *args, **kwargs)


def parts(settings: Settings) -> Measure:
    """The steps that no get and no scope can leave out, with every check on."""
    here: Any = threading.local()
    here.passes = [None]
    store = make_dict(100)
    value = torch.zeros(8)
    pieces: dict[str, tuple[str, dict[str, Any]]] = {
        "the list of the shape, compared": (f"{SHAPE} == shape", {"shape": [2, 1, 3, 3]}),
        "a call with two of 16 arguments": ("f(1, 2)", {"f": sixteen}),
        "a getter that passes its arguments on": (
            f"h(getter=f, name='a', {', '.join(f'{letter}=1' for letter in 'bcdefghijkmnop')})",
            {"h": handed_on, "f": sixteen},
        ),
        "this thread's pass": ("here.passes[-1]", {"here": here}),
        "torch's default dtype": ("f()", {"f": torch.get_default_dtype}),
        "is a gradient computed?": ("f()", {"f": torch._C._current_graph_task_id}),
        "is Dynamo compiling?": ("f()", {"f": torch.compiler.is_dynamo_compiling}),
        "does an event loop run?": ("f()", {"f": asyncio._get_running_loop}),
        "an empty context manager": ("with Nothing(): pass", {"Nothing": Nothing}),
        "making: zeros and nn.Parameter": ("P(z([8], dtype=f))", {
            "P": torch.nn.Parameter, "z": torch.zeros, "f": torch.float32,
        }),
        "making: register_parameter": ("s.register_parameter('scope0/v0', v)", {
            "s": store, "v": torch.nn.Parameter(value),
        }),
        "making: file and line of the caller": ("f()", {"f": Origin.here}),
        "making: may one be made here, so named?": ("f('Variable', 'scope0/v0')", {
            "f": functools.partial(check_can_make, ts.VariableStore()),
        }),
    }  # fmt: skip
    samples = race({name: Statement(*piece) for name, piece in pieces.items()}, settings)
    return Measure("parts", "what gets, scopes and making are made of", "ns", samples, "")


# ---- threads -----------------------------------------------------------------------------------

THREADS = 8


def threads(settings: Settings) -> Measure:
    """Wall time, since processor time says nothing of waiting for a lock."""
    net = ts.ScopedModule(scoped_model(leave_out)).build(IMAGE, IMAGE)
    by_hand = HandWrittenModel(leave_out)
    calls = max(1, round(settings.seconds * 5_000))
    samples: dict[str, list[float]] = {SCOPED_MODULE: [], MODULE: []}
    for _ in range(settings.rounds):
        for name, module in {SCOPED_MODULE: net, MODULE: by_hand}.items():
            samples[name].append(seconds_in_threads(module, calls) / calls / THREADS * 1e9)
    title = f"naming alone, {THREADS} threads at once, wall time of a pass"
    return Measure("threads", title, "ns", samples, bars={SCOPED_MODULE: 1.0})


def seconds_in_threads(net: Callable[..., Any], calls: int) -> float:
    started = threading.Barrier(THREADS + 1)

    def work() -> None:
        started.wait()
        for _ in range(calls):
            net(IMAGE, IMAGE)

    workers = [threading.Thread(target=work) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    started.wait()
    begun = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - begun
