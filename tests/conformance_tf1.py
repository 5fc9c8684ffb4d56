"""Compare torchscope.tf1 with TensorFlow 1's record: the programs, and how they run.

    python tests/conformance_tf1.py                       # how many programs of each kind match
    python tests/conformance_tf1.py ops/concat ops/pad    # those whose ids begin so
    python tests/conformance_tf1.py --show ops/concat/01  # its source and every difference

A line of ``data/tf1/*.jsonl.gz`` is a small program and the record of TensorFlow 2.21
(``tf.compat.v1``, graph mode, float32) and tf_slim 1.1 running it; the arrays lie in the .npz of
the same name. A program is a list of statements (the methods ``do_...`` of ``Interpreter``) on its
``inputs``. Then every variable is set to its recorded value and the ``phases`` follow (those of
``Run``): each pass over the program is what a graph's run was. ``conformance_tf1_compare.py`` says
what is compared, and how closely.
"""

import argparse
import collections
import contextlib
import functools
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from conformance_tf1_compare import compare, statistics, zero_stats

import torchscope as ts
import torchscope.tf1 as tf

DATA = Path(__file__).parent / "data" / "tf1"
SCOPE_ARGUMENTS = (
    *("default_name", "reuse", "dtype", "initializer", "regularizer", "custom_getter"),
    "constraint",
)
GET_ARGUMENTS = (
    *("shape", "dtype", "initializer", "regularizer", "trainable", "constraint", "collections"),
)


class Recorded(NamedTuple):
    """An array of TensorFlow's, and what absolute tolerance it needs if the usual is too little."""

    value: np.ndarray
    tolerance: float = 0.0


def read() -> list[dict[str, Any]]:
    """All programs with their records."""
    programs: list[dict[str, Any]] = []
    for path in sorted(DATA.glob("*.npz")):
        with np.load(path) as arrays, gzip.open(path.with_suffix(".jsonl.gz"), "rt") as lines:
            decode = functools.partial(decoded, dict(arrays))
            programs += [json.loads(line, object_hook=decode) for line in lines]
    return programs


def decoded(arrays: dict[str, np.ndarray], found: dict[str, Any]) -> Any:
    """``found`` itself, or the array that it stands for."""
    if "@" in found:
        dtype, start, shape = found["@"]
        size = int(np.prod(shape, dtype=int))
        return Recorded(arrays[dtype][start : start + size].reshape(shape), found.get("tol", 0.0))
    if "=" in found:
        value = np.array(found["="], found["t"])
        return Recorded(value.reshape(found.get("s", value.shape)), found.get("tol", 0.0))
    return found


def kind(record: dict[str, Any]) -> str:
    """The part of torchscope.tf1 that a program is about."""
    return record["category"].removeprefix("random/").partition("/")[0]


# ---- what programs name -------------------------------------------------------------------------


class Missing(BaseException):
    """torchscope.tf1 lacks a name; no Exception, lest it pass for an error that is expected."""


class ProgramError(KeyError):
    """Raised where a program asks for it."""


def resolve(name: str) -> Any:
    """What ``tf.NAME`` is, or for ``glue.NAME`` the plain arithmetic between the calls."""
    if name.startswith("glue."):
        return GLUE[name.removeprefix("glue.")]
    try:
        return functools.reduce(getattr, name.split("."), tf)
    except AttributeError as error:
        raise Missing(f"tf.{name}: {error}") from None


def at(thing: Any, index: Any) -> Any:
    """``thing[index]``, ``thing.index`` for a string, or one after the other for a list."""
    for i in index if isinstance(index, list) else [index]:
        thing = getattr(thing, i) if isinstance(i, str) else thing[i]
    return thing


GLUE: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "matmul": lambda a, b: a @ b,
    "scale": lambda a, by: a * by,
    "square": lambda a: a * a,
    "relu": torch.relu,
    "mean": lambda a, axis=None: a.mean() if axis is None else a.mean(axis),
    "reshape": lambda a, shape: a.reshape(shape),
    "transpose": lambda a, perm: a.permute(perm),
    "concat": lambda *parts, axis: torch.cat(parts, axis),
    "unstack": lambda a, axis=0: list(a.unbind(axis)),
    "list": lambda *parts: list(parts),
    "get": at,
}


def scale2(getter: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
    return getter(name, *args, **kwargs) * 2


def freeze(getter: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
    return getter(name, *args, **kwargs | {"trainable": False})


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "scale2": scale2,
    "freeze": freeze,
    "double": lambda x: x * 2,
    "swap": lambda x, y: (y, x + np.float32(1)),
    "argsort": lambda x: np.argsort(x, -1).astype("int64"),
    "identity": lambda x: x,
    "nonneg": lambda w: w * (w >= 0).to(w.dtype),
}


def flatten(value: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dicts, in TensorFlow's order."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if not isinstance(value, tuple | list):
        return [value]
    return [leaf for part in value for leaf in flatten(part)]


# ---- running a program --------------------------------------------------------------------------


class Interpreter:
    """Runs the statements of one program once, in one pass; keeps what they bind and observe."""

    def __init__(self, store: ts.VariableStore, inputs: dict[str, Any]) -> None:
        self.store = store
        self.env = dict(inputs)
        self.events: list[dict[str, Any]] = []

    def run(self, program: list[Any]) -> None:
        try:
            self.block(program)
        except Exception as error:
            self.record_error(error, fatal=True)

    @property
    def fatal(self) -> bool:
        return any("fatal" in event for event in self.events)

    @property
    def errors(self) -> list[str]:
        return [event["is_a"][0] for event in self.events if event["e"] == "error"]

    def record_error(self, error: Exception, **fields: Any) -> None:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        self.events.append({"e": "error", "is_a": kinds, "message": str(error), **fields})

    def block(self, statements: list[Any]) -> None:
        for statement in statements:
            getattr(self, f"do_{statement['op']}")(statement)

    # ---- values

    def value(self, v: Any, key: str = "") -> Any:
        match v:
            case list():
                return [self.value(x) for x in v]
            case {"ref": name}:
                return self.env[name]
            case {"str": text}:
                return text
            case {"tuple": parts}:
                return tuple(self.value(x) for x in parts)
            case {"dict": parts}:
                return {k: self.value(x) for k, x in parts.items()}
            case {"npscalar": number, "dtype": dtype}:
                return np.dtype(dtype).type(number)
            case {"npdtype": dtype}:
                return np.dtype(dtype).type
            case {"tensor": numbers, "dtype": dtype}:
                return torch.as_tensor(np.array(numbers, dtype))
            case {"array": numbers, "dtype": dtype}:
                return np.array(numbers, dtype)
            case {"dtype": name} | {"fn": name}:
                return resolve(name)
            case {"init": name, **rest}:
                name = name if name.startswith("slim.") else f"{name}_initializer"
                return resolve(name)(**self.arguments(rest))
            case {"reg": "none"}:
                return resolve("no_regularizer")
            case {"reg": name, **rest}:
                return resolve(f"contrib.layers.{name}_regularizer")(**rest)
            case {"act": name} if name != "identity":
                return resolve(f"nn.{name}")
            case {"constraint": "clip", **rest}:
                limit = rest.get("c", 0.1)
                return lambda w: w.clamp(-limit, limit)
            case {"act": name} | {"constraint": name} | {"getter": name} | {"py": name}:
                return FUNCTIONS[name]
            case {"reduction": name}:
                return resolve(f"losses.Reduction.{name}")
            case {"current_scope": _}:
                return tf.get_variable_scope()
            case "auto" if key == "reuse":
                return tf.AUTO_REUSE
            case dict():
                raise ValueError(f"no value is written {v!r}")
            case _:
                return v

    def arguments(self, given: dict[str, Any], keys: Any = None) -> dict[str, Any]:
        keys = given if keys is None else [key for key in keys if key in given]
        return {key: self.value(given[key], key) for key in keys}

    def operands(self, s: dict[str, Any]) -> list[Any]:
        given = s.get("in", [])
        given = [given] if isinstance(given, str) else given
        return [self.env[g] if isinstance(g, str) else self.value(g) for g in given]

    def bind(self, target: Any, result: Any) -> None:
        if isinstance(target, str):
            self.env[target] = result
        elif target is not None:
            for name, part in zip(target, result, strict=True):
                self.bind(name, part)

    # ---- statements

    def do_let(self, s: dict[str, Any]) -> None:
        self.bind(s["as"], self.value(s["value"]))

    def do_call(self, s: dict[str, Any]) -> None:
        function = resolve(s["fn"])
        self.bind(s.get("as"), function(*self.operands(s), **self.arguments(s.get("args", {}))))

    def do_apply(self, s: dict[str, Any]) -> None:
        target = self.env[s["obj"]]
        if "method" in s:
            # A tensor's own: `torchscope port` makes tf.assign(v, x) of v.assign(x).
            method = s["method"]
            is_tensor = isinstance(target, torch.Tensor)
            target = functools.partial(resolve(method), target) if is_tensor else at(target, method)
        self.bind(s.get("as"), target(*self.operands(s), **self.arguments(s.get("args", {}))))

    def inside(self, manager: Any, s: dict[str, Any]) -> None:
        with manager as opened:
            self.bind(s.get("as"), opened)
            self.block(s["body"])

    def do_with(self, s: dict[str, Any]) -> None:
        arguments = self.arguments(s.get("args", {}))
        self.inside(resolve(s["fn"])(*self.operands(s), **arguments), s)

    def do_scope(self, s: dict[str, Any]) -> None:
        arguments = self.arguments(s, SCOPE_ARGUMENTS)
        self.inside(tf.variable_scope(self.value(s.get("name")), **arguments), s)

    def do_name_scope(self, s: dict[str, Any]) -> None:
        self.inside(tf.name_scope(s["name"]), s)

    def do_arg_scope(self, s: dict[str, Any]) -> None:
        arg_scope = resolve("slim.arg_scope")
        if "scope" in s:
            self.inside(arg_scope(self.env[s["scope"]]), s)
        else:
            functions = [resolve(name) for name in s["fns"]]
            self.inside(arg_scope(functions, **self.arguments(s.get("args", {}))), s)

    def do_capture(self, s: dict[str, Any]) -> None:
        self.bind(s["as"], tf.get_variable_scope())

    def do_reuse_variables(self, s: dict[str, Any]) -> None:
        scope = self.env[s["scope"]] if "scope" in s else tf.get_variable_scope()
        scope.reuse_variables()

    def do_get(self, s: dict[str, Any]) -> None:
        arguments = self.arguments(s, GET_ARGUMENTS)
        self.bind(s.get("as"), tf.get_variable(s["name"], **arguments))

    def do_def(self, s: dict[str, Any]) -> None:
        defined_in = self.env if s.get("closure") else None

        def function(*args: Any, **kwargs: Any) -> Any:
            caller = self.env
            given = dict(zip(s.get("params", []), args, strict=False), **kwargs)
            self.env = (caller if defined_in is None else defined_in) | given
            try:
                self.block(s["body"])
                names = s.get("return")
                if not isinstance(names, list):
                    return None if names is None else self.env[names]
                return (list if s.get("return_list") else tuple)(self.env[name] for name in names)
            finally:
                self.env = caller

        self.env[s["as"]] = function

    def do_template(self, s: dict[str, Any]) -> None:
        self.env[s["as"]] = tf.make_template(s["name"], self.env[s["func"]])

    def do_try(self, s: dict[str, Any]) -> None:
        label = {"label": s["label"]} if "label" in s else {}
        try:
            self.block(s["body"])
        except Exception as error:
            self.record_error(error, **label)
        else:
            if label:
                self.events.append({"e": "fine", **label})

    def do_raise(self, s: dict[str, Any]) -> None:
        raise ProgramError("raised by the program")

    def do_observe(self, s: dict[str, Any]) -> None:
        thing = self.env[s["obj"]] if "obj" in s else tf.get_variable_scope()
        facts = {what: self.fact(thing, what) for what in s["what"]}
        self.events.append({"e": "observe", "of": s.get("obj", "scope"), "facts": facts})

    # ---- facts

    def fact(self, thing: Any, what: str) -> Any:
        match what:
            case "self":
                return plain(thing)
            case "kind":
                return nesting(thing, lambda leaf: "none" if leaf is None else "tensor", told=True)
            case "structure":
                return nesting(thing, lambda leaf: list(leaf.shape))
            case "variables" | "trainable_variables":
                return [self.store.name_of(v) for v in getattr(thing, what)]
            case "kernel" | "bias" | "gamma" | "moving_variance":
                return self.store.name_of(getattr(thing, what))
            case _ if what.startswith("is:"):
                return isinstance(thing, resolve(what.removeprefix("is:")))
            case _:
                return plain(getattr(thing, what))


def nesting(thing: Any, leaf: Callable[[Any], Any], *, told: bool = False) -> Any:
    """How results are nested: lists, with the kind in front if ``told``; dicts for named tuples."""
    if not isinstance(thing, tuple | list):
        return leaf(thing)
    parts = [nesting(part, leaf, told=told) for part in thing]
    fields = ",".join(getattr(thing, "_fields", ()))
    if told:
        return [f"{'tuple' if isinstance(thing, tuple) else 'list'} {fields}".strip(), *parts]
    return {type(thing).__name__: parts} if fields else parts


def plain(value: Any) -> Any:
    """A fact as JSON has it."""
    if isinstance(value, tuple | list):
        return nesting(value, plain)
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return value if isinstance(value, int | float | str | None) else str(value)


# ---- running a record ---------------------------------------------------------------------------


class PassDiffersError(Exception):
    """A later pass has not the errors of the first.

    Under reuse the program asks for a variable that it makes only later: an error in TensorFlow's
    one graph and in the first pass, none where the variable is there. Its numbers cannot be
    compared; its names, shapes, errors and collections have been.
    """


def run(record: dict[str, Any]) -> dict[str, Any]:
    """The record of one program on a fresh store; compare it with ``record["expected"]``."""
    return Run(record).run()


class Run:
    """One program's store, with the optimizers and moving averages that its phases use."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record, self.expected = record, record["expected"]
        self.store = ts.VariableStore(seed=7)
        self.updates: list[Any] | None = (
            None  # what the last pass left in UPDATE_OPS, to be applied
        )
        self.tools: dict[str, Any] = {}
        self.steps: collections.Counter[str] = collections.Counter()  # of each tool

    def run(self) -> dict[str, Any]:
        first, left = self.one_pass(self.expected.get("collections", {}))
        self.first_errors = first.errors
        result: dict[str, Any] = {
            "events": first.events,
            "collections": {key: len(values) for key, values in left.items()},
            "variables": self.variables(),
            "phases": [],
        }
        if first.fatal:
            return result
        with torch.no_grad():
            for variable in self.expected["variables"]:
                if variable["name"] in self.store and "value" in variable:
                    self.set_variable(variable["name"], variable["value"])
        with contextlib.suppress(PassDiffersError):
            for phase in self.record.get("phases", [{"do": "forward"}]):
                result["phases"].append(getattr(self, f"do_{phase['do']}")(phase))
            return result
        return result | {"later_passes_differ": True}

    def one_pass(self, keys: Any) -> tuple[Interpreter, dict[str, list[Any]]]:
        """The program once, from the root; and what it left in the collections ``keys``."""
        interpreter = Interpreter(self.store, self.inputs())
        with self.store, tf.collect_updates():
            interpreter.run(self.record["program"])
            return interpreter, {key: list(tf.get_collection(key)) for key in keys}

    def inputs(self) -> dict[str, torch.Tensor]:
        given: dict[str, torch.Tensor] = {}
        for name, spec in self.record["inputs"].items():
            given[name] = torch.as_tensor(spec["value"].value.copy())
            if given[name].is_floating_point():
                given[name].requires_grad_(spec.get("grad", True))
        return given

    def variables(self) -> list[dict[str, Any]]:
        trainable = {self.store.name_of(v) for v in self.store.trainable_variables()}
        return [
            {
                "name": name,
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "trainable": name in trainable,
                "initial": array,
            }
            for name, array in self.values().items()
        ]

    def values(self) -> dict[str, np.ndarray]:
        return {self.store.name_of(v): array_of(v) for v in self.store.global_variables()}

    def set_variable(self, name: str, recorded: Recorded) -> None:
        with torch.no_grad():
            self.store[name].copy_(torch.as_tensor(recorded.value))

    # ---- passes over the program, and what is seen of them

    def outputs(self) -> tuple[dict[str, Any], dict[str, list[Any]], dict[str, list[Any]]]:
        """A later pass: what it bound, its outputs and the losses and updates collected."""
        interpreter, left = self.one_pass(("losses", "regularization_losses", "update_ops"))
        if self.first_errors != interpreter.errors:
            raise PassDiffersError
        assert not interpreter.fatal, interpreter.events[-1]
        env, ints = interpreter.env, self.record.get("ints_ok", [])
        self.updates = left["update_ops"]
        outputs = {
            name: [env[name]] if name in ints and is_ints(env[name]) else flatten(env[name])
            for name in self.record["outputs"]
        }
        return env, outputs, left

    def loss(self, env: dict[str, Any], outputs: dict[str, list[Any]], name: Any = None) -> Any:
        """The value called ``name``, or a sum with the weights cos(0.7), cos(1.7), ..."""
        name = name or self.record.get("loss")
        if name is not None:
            return env[name]
        total: Any = 0.0
        for t in [t for tensors in outputs.values() for t in tensors]:
            if isinstance(t, torch.Tensor) and t.dtype in (torch.float32, torch.float64):
                weights = np.cos(np.arange(t.numel()) + 0.7).astype("float32")
                total = total + (t * torch.as_tensor(weights).reshape(t.shape)).sum()
        return total

    def do_forward(self, phase: dict[str, Any]) -> dict[str, Any]:
        env, outputs, left = self.outputs()
        result: dict[str, Any] = {
            "outputs": {name: list(map(array_of, found)) for name, found in outputs.items()},
            "dtypes": {name: list(map(dtype_of, found)) for name, found in outputs.items()},
            "losses": list(map(array_of, left["losses"])),
            "regularization": list(map(array_of, left["regularization_losses"])),
        }
        if phase.get("grads", True):
            loss = self.loss(env, outputs)
            inputs = {name: env[name] for name in self.record["inputs"] if env[name].requires_grad}
            variables = {self.store.name_of(v): v for v in self.store.trainable_variables()}
            gradients = gradients_of(loss, [*inputs.values(), *variables.values()])
            result["loss"] = array_of(loss)
            result["grads"] = {
                "inputs": dict(zip(inputs, gradients, strict=False)),
                "variables": dict(zip(variables, gradients[len(inputs) :], strict=True)),
            }
        return result

    def do_updates(self, phase: dict[str, Any]) -> dict[str, Any]:
        for _ in range(phase.get("times", 1)):
            if self.updates is None:
                self.outputs()
            self.apply_updates()
        trainable = {self.store.name_of(v) for v in self.store.trainable_variables()}
        kept = {name: value for name, value in self.values().items() if name not in trainable}
        return {"variables": kept}

    def apply_updates(self) -> None:
        with torch.no_grad():
            for update in self.updates or []:
                if callable(update):
                    update()
        self.updates = None

    def do_values(self, phase: dict[str, Any]) -> dict[str, Any]:
        self.outputs()
        return {"variables": self.values()}

    def do_set(self, phase: dict[str, Any]) -> dict[str, Any]:
        for name, recorded in phase["values"].items():
            self.set_variable(name, recorded)
        return {}

    def do_stats(self, phase: dict[str, Any]) -> dict[str, Any]:
        """What dropout made of ones."""
        _, outputs, _ = self.outputs()
        axes = phase.get("shared_axes")
        return {
            "stats": {name: zero_stats(array_of(outputs[name][0]), axes) for name in phase["of"]}
        }

    def do_random(self, phase: dict[str, Any]) -> dict[str, Any]:
        one, two = ({name: array_of(t[0]) for name, t in self.outputs()[1].items()} for _ in "12")
        return {
            "random": {
                name: statistics(one[name]) | {"fresh": not np.array_equal(one[name], two[name])}
                for name in phase["of"]
            }
        }

    # ---- optimizers and moving averages

    @contextlib.contextmanager
    def scopes_of(self, spec: dict[str, Any]) -> Iterator[None]:
        """The store, and in it the scopes that are part of the names of what ``spec`` makes."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.store)
            if "scope" in spec:
                stack.enter_context(tf.variable_scope(spec["scope"]))
            if "name_scope" in spec:
                stack.enter_context(tf.name_scope(spec["name_scope"]))
            yield

    def tool(self, name: str) -> tuple[dict[str, Any], Any]:
        """The trainer or moving average ``name``, made when first asked for."""
        spec = self.record["tools"][name]
        if name not in self.tools:
            arguments = {key: self.argument(name, key, v) for key, v in spec["args"].items()}
            variables = [(self.store.name_of(v), v) for v in self.store.trainable_variables()]
            with self.scopes_of(spec):
                if spec["kind"] == "trainer":
                    self.tools[name] = resolve(spec["optimizer"])(variables, **arguments)
                else:
                    self.tools[name] = tf.train.ExponentialMovingAverage(**arguments)
        return spec, self.tools[name]

    def argument(self, tool: str, key: str, value: Any) -> Any:
        """An optimizer's; what follows from the step is a function without arguments."""
        if key == "num_updates" and value == "count":
            return lambda: self.steps[tool]
        if isinstance(value, dict) and "schedule" in value:
            schedule = functools.partial(resolve(value["schedule"]), **value["args"])
            return lambda: schedule(global_step=self.steps[tool])
        return value

    def do_train(self, phase: dict[str, Any]) -> dict[str, Any]:
        spec, optimizer = self.tool(phase["with"])
        for _ in range(phase.get("times", 1)):
            env, outputs, _ = self.outputs()
            optimizer.zero_grad(set_to_none=True)
            self.loss(env, outputs, spec["loss"]).backward()
            if "clip_by_global_norm" in spec:
                live = [v for v in self.store.trainable_variables() if v.grad is not None]
                clipped, _ = tf.clip_by_global_norm(
                    [v.grad for v in live], spec["clip_by_global_norm"]
                )
                for variable, gradient in zip(live, clipped, strict=True):
                    variable.grad = gradient
            if spec.get("updates"):
                self.apply_updates()
            optimizer.step()
            self.steps[phase["with"]] += 1
        slots = {name: array_of(slot) for name, slot in optimizer.slot_variables().items()}
        result = {"variables": self.values(), "slots": slots}
        return result | (
            {"global_step": self.steps[phase["with"]]} if "global_step" in spec else {}
        )

    def do_ema(self, phase: dict[str, Any]) -> dict[str, Any]:
        spec, averages = self.tool(phase["with"])
        variables = [self.store[name] for name in spec.get("of", [])]
        variables = variables or self.store.trainable_variables()
        with self.scopes_of(spec):
            for _ in range(phase.get("times", 1)):
                averages.apply(variables)
                self.steps[phase["with"]] += 1
        with self.store:
            result: dict[str, Any] = {
                "averages": {
                    averages.average_name(v): array_of(averages.average(v)) for v in variables
                }
            }
            if phase.get("restore"):
                restored = averages.variables_to_restore().items()
                result["restore"] = {key: self.store.name_of(v) for key, v in restored}
        return result


def gradients_of(loss: Any, wanted: list[torch.Tensor]) -> list[np.ndarray | None]:
    if not wanted or not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        return [None] * len(wanted)
    return [array_of(g) for g in torch.autograd.grad(loss, wanted, allow_unused=True)]


def array_of(t: Any) -> Any:
    if isinstance(t, torch.Tensor):
        return (t.to_dense() if t.is_sparse else t).detach().numpy().copy()
    return None if t is None else np.array(t)


def is_ints(value: Any) -> bool:
    """Whether it is an int or nested ints: what tf.shape, size and rank give instead of tensors."""
    if isinstance(value, list | tuple):
        return all(map(is_ints, value))
    return isinstance(value, int) and not isinstance(value, bool)


def dtype_of(t: Any) -> str:
    if t is None:
        return "none"
    return "ints" if is_ints(t) else str(getattr(t, "dtype", type(t))).removeprefix("torch.")


# ---- the command --------------------------------------------------------------------------------


def differences(record: dict[str, Any]) -> list[str]:
    """What torchscope does otherwise; nothing if all is equal."""
    try:
        actual = run(record)
    except Missing as missing:
        return [f"missing: {missing}"]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return compare(record, actual)


def main(arguments: list[str] | None = None) -> int:
    """Run programs, print how each that differs does first; 1 if any does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ids", nargs="*", help="what the ids begin with; all by default")
    parser.add_argument("--show", action="store_true", help="every difference, and the program")
    options = parser.parse_args(arguments)

    programs, matching = collections.Counter[str](), collections.Counter[str]()
    for record in read():
        if not record["id"].startswith(tuple(options.ids or [""])):
            continue
        found = differences(record)
        programs[kind(record)] += 1
        matching[kind(record)] += not found
        if options.show:
            print(record["id"], record.get("text") or json.dumps(record["program"]), sep="\n")
            print(*(found or ["same"]), sep="\n    ")
        elif found:
            print(f"{record['id']}  {found[0]}")
    for name in sorted(programs):
        print(f"{name:10} {matching[name]:5}/{programs[name]}")
    return 0 if matching == programs else 1


if __name__ == "__main__":
    sys.exit(main())
