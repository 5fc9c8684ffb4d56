"""Compare torchscope with TensorFlow's record: an interpreter, a comparison, a printer.

    python tests/conformance.py                           # how many programs of each kind match
    python tests/conformance.py --show reuse/child_inherits         # one program and both records

A line of ``data/conformance/*.jsonl`` is a small program, and the record of TensorFlow 2.21
(``tf.compat.v1``, graph mode) running it. A program is a list of statements; ``show_program`` says
in Python what each stands for. A record has ``events``, in order:

- ``get``: a variable was got; ``var`` is the same number for the same object, ``value`` its first
  value, or None when that is random;
- ``tensor``: a get returned something that is not a variable;
- ``scope``, ``template``: what a scope or a template shows; ``getter``: what a custom getter is
  handed;
- ``error``: an exception, caught by the program or ``fatal`` to it;

and ``final``: the lists of variables, the regularization losses and the scopes captured.
"""

import argparse
import contextlib
import json
import math
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import torchscope as ts

DATA = Path(__file__).parent / "data" / "conformance"

FLOATS = ("float16", "float32", "float64")
SCOPE_ARGUMENTS = (
    "default_name",
    "reuse",
    "dtype",
    "initializer",
    "regularizer",
    "custom_getter",
)
GET_ARGUMENTS = ("shape", "dtype", "initializer", "regularizer", "trainable", "custom_getter")
TEMPLATE_ARGUMENTS = ("create_scope_now", "unique_name", "custom_getter")
LISTS = ("global", "trainable", "local")


def read() -> list[dict[str, Any]]:
    """All programs with their records, those written by hand first."""
    files = [DATA / "curated.jsonl", DATA / "random.jsonl"]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# ---- running a program -------------------------------------------------------------------------


class ProgramError(KeyError):
    """Raised where a program asks for it."""


def has_threads(program: list[Any]) -> bool:
    return '"op": "thread"' in json.dumps(program)


def run(program: list[Any]) -> dict[str, Any]:
    """The record of one pass over a fresh store."""
    if not has_threads(program):
        return Interpreter(ts.VariableStore()).run(program)
    # A pass belongs to one thread. What all threads share, as they share TensorFlow's default
    # graph, is the endless pass of the default store.
    ts.reset_default_store()
    return Interpreter(ts.default_store()).run(program)


class Interpreter:
    """Runs one program in one pass over ``store``; keeps what it has got and captured."""

    def __init__(self, store: ts.VariableStore) -> None:
        self.store = store
        self.events: list[dict[str, Any]] = []
        self.variables: list[torch.Tensor] = []  # each once, in the order of appearance
        self.scopes: dict[str, ts.VariableScope] = {}
        self.managers: dict[str, ts.variable_scope] = {}
        self.callables: dict[str, Callable[..., Any]] = {}  # functions and templates

    def run(self, program: list[Any]) -> dict[str, Any]:
        entered = contextlib.nullcontext() if self.store is ts.default_store() else self.store
        with entered:
            try:
                self.block(program)
            except Exception as error:
                self.record_error(error, fatal=True)
            return {"events": self.events, "final": self.final()}

    def final(self) -> dict[str, Any]:
        return {
            **self.lists(self.store),
            "losses": [loss.item() for loss in self.store.regularization_losses()],
            "scopes": {
                key: {"name": scope.name, **self.lists(scope)}
                for key, scope in sorted(self.scopes.items())
            },
            "integers": [name for name, v in self.store.items() if not v.is_floating_point()],
        }

    def lists(self, holder: Any) -> dict[str, list[str]]:
        """The names in the three lists that a store and a scope have."""
        return {key: self.names(getattr(holder, f"{key}_variables")()) for key in LISTS}

    def names(self, variables: list[torch.Tensor]) -> list[str]:
        return [self.store.name_of(variable) for variable in variables]

    def record(self, event: str, **fields: Any) -> None:
        self.events.append({"e": event, **fields})

    def record_error(self, error: Exception, **fields: Any) -> None:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        self.record("error", type=kinds[0], is_a=kinds, message=str(error), **fields)

    def block(self, statements: list[Any]) -> None:
        for statement in statements:
            getattr(self, f"do_{statement['op']}")(statement)

    # ---- scopes

    def scope_manager(self, s: dict[str, Any]) -> ts.variable_scope:
        name = s.get("name")
        if isinstance(name, dict):
            name = self.scopes[name["ref"]]
        return ts.variable_scope(name, **self.arguments(s, SCOPE_ARGUMENTS))

    def inside(self, manager: ts.variable_scope, s: dict[str, Any]) -> None:
        with manager as scope:
            if "as" in s:
                self.scopes[s["as"]] = scope
            self.block(s["body"])

    def do_scope(self, s: dict[str, Any]) -> None:
        self.inside(self.scope_manager(s), s)

    def do_make_scope(self, s: dict[str, Any]) -> None:
        self.managers[s["as"]] = self.scope_manager(s)

    def do_with(self, s: dict[str, Any]) -> None:
        self.inside(self.managers[s["manager"]], s)

    def do_enter(self, s: dict[str, Any]) -> None:
        self.managers[s["manager"]].__enter__()

    def do_exit(self, s: dict[str, Any]) -> None:
        self.managers[s["manager"]].__exit__(None, None, None)

    def scope(self, s: dict[str, Any]) -> ts.VariableScope:
        return self.scopes[s["scope"]] if "scope" in s else ts.get_variable_scope()

    def do_capture(self, s: dict[str, Any]) -> None:
        self.scopes[s["as"]] = ts.get_variable_scope()

    def do_reuse_variables(self, s: dict[str, Any]) -> None:
        self.scope(s).reuse_variables()

    def do_set(self, s: dict[str, Any]) -> None:
        getattr(self.scope(s), f"set_{s['what']}")(self.argument(s["what"], s["value"]))

    def do_observe(self, s: dict[str, Any]) -> None:
        scope = self.scope(s)
        self.record(
            "scope",
            name=scope.name,
            reuse=plain_reuse(scope.reuse),
            dtype=dtype_name(scope.dtype),
            initializer=scope.initializer is not None,
            regularizer=scope.regularizer is not None,
            custom_getter=scope.custom_getter is not None,
        )

    # ---- variables

    def do_get(self, s: dict[str, Any]) -> None:
        get = ts.get_local_variable if s.get("local") else ts.get_variable
        got = get(s["name"], **self.arguments(s, GET_ARGUMENTS))
        fields = {
            "shape": list(got.shape),
            "dtype": dtype_name(got.dtype),
            "value": got.detach().tolist(),
        }
        try:
            name = self.store.name_of(got)
        except ts.VariableMissingError:
            self.record("tensor", **fields)
            return
        known = [index for index, variable in enumerate(self.variables) if variable is got]
        if not known:
            known = [len(self.variables)]
            self.variables.append(got)
        trainable = any(got is variable for variable in self.store.trainable_variables())
        self.record("get", name=name, var=known[0], trainable=trainable, **fields)

    # ---- arguments

    def arguments(self, s: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        return {key: self.argument(key, s[key]) for key in keys if key in s}

    def argument(self, key: str, value: Any) -> Any:
        if value is None:
            return None
        if key == "reuse":
            return ts.AUTO_REUSE if value == "auto" else value
        if key == "custom_getter":
            return self.getter(value)
        special = {"dtype": as_dtype, "initializer": initializer, "regularizer": regularizer}
        return special[key](value) if key in special else value

    def getter(self, spec: dict[str, Any]) -> Any:
        """A custom getter of one of a few kinds."""

        def log(getter: Any, name: str, **arguments: Any) -> Any:
            self.record(
                "getter",
                tag=spec.get("tag", ""),
                name=name,
                shape=plain_shape(arguments["shape"]),
                dtype=dtype_name(arguments["dtype"]),
                reuse=plain_reuse(arguments["reuse"]),
                trainable=arguments["trainable"],
                initializer=arguments["initializer"] is not None,
                regularizer=arguments["regularizer"] is not None,
            )
            return getter(name, **arguments)

        def scale2(getter: Any, name: str, **arguments: Any) -> Any:
            got = getter(name, **arguments)
            return got if got.dtype == torch.bool else got * 2

        def rename(getter: Any, name: str, **arguments: Any) -> Any:
            return getter(name + spec["suffix"], **arguments)

        def pair(getter: Any, name: str, **arguments: Any) -> Any:
            return getter(f"{name}/g", **arguments) + getter(f"{name}/v", **arguments)

        def stub(getter: Any, name: str, *, shape: Any, dtype: Any, **_: Any) -> Any:
            sizes = plain_shape(shape)
            if sizes is None or None in sizes:
                raise ProgramError(name)
            return torch.zeros(sizes, dtype=dtype)

        def fail(getter: Any, name: str, **_: Any) -> Any:
            raise ProgramError(name)

        def overriding(**changed: Any) -> Callable[..., Any]:
            return lambda getter, name, **arguments: getter(name, **{**arguments, **changed})

        kind = spec["getter"]
        if kind == "junk":
            return 3
        if kind == "retype":
            return overriding(dtype=as_dtype(spec["dtype"]))
        overrides = {
            "freeze": {"trainable": False},
            "ones": {"initializer": ts.ones_initializer()},
            "auto": {"reuse": ts.AUTO_REUSE},
            "unregularized": {"regularizer": None},
        }
        if kind in overrides:
            return overriding(**overrides[kind])
        functions = [log, scale2, rename, pair, stub, fail]
        return {function.__name__: function for function in functions}[kind]

    # ---- functions and templates

    def do_def(self, s: dict[str, Any]) -> None:
        def function(**arguments: Any) -> None:
            if set(arguments) != set(s.get("params", [])):
                raise TypeError(f"wrong arguments: {sorted(arguments)}")
            self.block(substitute(s["body"], arguments))

        self.callables[s["as"]] = function

    def do_make_template(self, s: dict[str, Any]) -> None:
        chosen = self.arguments(s, TEMPLATE_ARGUMENTS)
        keywords = {f"{key}_": value for key, value in chosen.items()} | s.get("args", {})
        function = self.callables[s["func"]]
        self.callables[s["as"]] = ts.make_template(s["name"], function, **keywords)

    def do_call(self, s: dict[str, Any]) -> None:
        self.callables[s["fn"]](**s.get("args", {}))

    def do_observe_template(self, s: dict[str, Any]) -> None:
        template: Any = self.callables[s["fn"]]
        scope = template.variable_scope
        lists = {key: self.names(getattr(template, f"{key}_variables")) for key in LISTS}
        self.record("template", scope=None if scope is None else scope.name, **lists)

    # ---- control

    def do_try(self, s: dict[str, Any]) -> None:
        try:
            self.block(s["body"])
        except Exception as error:
            self.record_error(error)

    def do_raise(self, s: dict[str, Any]) -> None:
        raise ProgramError("raised by the program")

    def do_thread(self, s: dict[str, Any]) -> None:
        failures: list[Exception] = []

        def target() -> None:
            try:
                self.block(s["body"])
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]


def substitute(node: Any, arguments: dict[str, Any]) -> Any:
    """A copy of ``node`` in which every ``{"$": p}`` is replaced by ``arguments[p]``."""
    if isinstance(node, dict):
        if set(node) == {"$"}:
            return arguments[node["$"]]
        return {key: substitute(value, arguments) for key, value in node.items()}
    if isinstance(node, list):
        return [substitute(value, arguments) for value in node]
    return node


def plain_shape(shape: Any) -> list[Any] | None:
    return [shape] if isinstance(shape, int) else None if shape is None else list(shape)


def plain_reuse(reuse: Any) -> Any:
    return "auto" if reuse is ts.AUTO_REUSE else bool(reuse)


def as_dtype(name: str) -> torch.dtype:
    return getattr(torch, name)


def dtype_name(dtype: torch.dtype | None) -> str:
    return str(dtype or torch.get_default_dtype()).removeprefix("torch.")


def initializer(spec: dict[str, Any]) -> Any:
    """An initializer object, class or value, or a function with one of a few signatures."""
    if spec.get("init") == "constant":
        return ts.constant_initializer(spec["value"])
    if "init" in spec:
        return getattr(ts, f"{spec['init']}_initializer")()
    if "init_class" in spec:
        return getattr(ts, f"{spec['init_class']}_initializer")
    if "tensor" in spec:
        return torch.tensor(spec["tensor"], dtype=as_dtype(spec["dtype"]))
    if "array" in spec:
        return np.array(spec["array"], dtype=spec["dtype"])
    if "fn" in spec:
        return initializer_function(spec)
    return spec.get("python", spec.get("junk"))


def initializer_function(spec: dict[str, Any]) -> Any:
    value = spec.get("value", 0.5)

    def two() -> torch.Tensor:
        return torch.full((2,), value, dtype=as_dtype(spec.get("dtype", "float32")))

    def filled(shape: Any, dtype: torch.dtype) -> torch.Tensor:
        return torch.full(tuple(shape), value, dtype=dtype)

    def noargs() -> torch.Tensor:
        return two()

    def optarg(flag: bool = True) -> torch.Tensor:
        return two()

    def shape_dtype(shape: Any, dtype: torch.dtype) -> torch.Tensor:
        return filled(shape, dtype)

    def shape_dtype_default(shape: Any, dtype: Any = None) -> torch.Tensor:
        return filled(shape, dtype)

    def shape_any(shape: Any, **keywords: Any) -> torch.Tensor:
        return filled(shape, keywords["dtype"])

    def shape_only(shape: Any) -> torch.Tensor:
        return two()

    def fail(shape: Any = None, dtype: Any = None) -> torch.Tensor:
        raise ProgramError("initializer")

    class Filled:
        def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
            return filled(shape, dtype)

    class Two:
        def __call__(self) -> torch.Tensor:
            return two()

    if spec["fn"] in ("class", "object", "object_noargs"):
        return {"class": Filled, "object": Filled(), "object_noargs": Two()}[spec["fn"]]
    functions = [noargs, optarg, shape_dtype, shape_dtype_default, shape_any, shape_only, fail]
    return {function.__name__: function for function in functions}[spec["fn"]]


def regularizer(spec: Any) -> Any:
    """A regularizer, or what is none."""

    def fail(variable: torch.Tensor) -> torch.Tensor:
        raise ProgramError("regularizer")

    if isinstance(spec, str):
        return {"none": ts.no_regularizer, "null": lambda variable: None, "fail": fail}[spec]
    if "l2" in spec:
        return ts.l2_regularizer(spec["l2"])
    if "sum" in spec:
        return lambda variable: spec["sum"] * variable.detach().to(torch.float32).sum()
    return spec["junk"]


# ---- comparing two records ---------------------------------------------------------------------


def compare(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """The differences, a line or a few for each; empty when the records match."""
    lines: list[str] = []
    for index in range(max(len(expected["events"]), len(actual["events"]))):
        theirs, ours = (record["events"][index : index + 1] for record in (expected, actual))
        if not theirs or not ours:
            lines.append(f"event {index}: expected {brief(theirs)}, got {brief(ours)}")
            break
        if differs := differing(theirs[0], ours[0]):
            lines.append(
                f"event {index} differs in {', '.join(differs)}:\n"
                f"    expected {brief(theirs)}\n    got      {brief(ours)}"
            )
    integers = set(actual["final"]["integers"]) | {
        event["name"]
        for event in expected["events"]
        if event["e"] == "get" and event["dtype"] not in FLOATS
    }
    theirs, ours = expected["final"], actual["final"]
    lines += different_lists("at the end", theirs, ours, integers)
    if not close(theirs["losses"], ours["losses"]):
        lines.append(f"losses: expected {theirs['losses']}, got {ours['losses']}")
    for key, scope in theirs["scopes"].items():
        if key not in ours["scopes"]:
            lines.append(f"scope {key} was not captured")
            continue
        other = ours["scopes"][key]
        if scope["name"] != other["name"]:
            lines.append(f"scope {key}: expected {scope['name']!r}, got {other['name']!r}")
        lines += different_lists(f"scope {key}", scope, other, integers)
    return lines


def differing(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """The fields in which two events differ."""
    if expected["e"] != actual["e"]:
        return ["e"]
    if expected["e"] == "error":
        right = {
            "type": expected["type"] in actual["is_a"],
            "fatal": expected.get("fatal") == actual.get("fatal"),
        }
        return [key for key in right if not right[key]]
    keys = set(expected) | set(actual)
    if expected.get("dtype") not in FLOATS:
        keys.discard("trainable")  # An integer tensor of PyTorch's cannot be trained.
    return [key for key in sorted(keys) if not close(expected.get(key), actual.get(key), key)]


def close(expected: Any, actual: Any, key: str = "value") -> bool:
    """Equality, for numbers that were computed to about four digits; a value of None is random."""
    if key != "value":
        return expected == actual
    if expected is None:
        return True
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(close, expected, actual))
    if isinstance(expected, float) and isinstance(actual, float):
        return math.isclose(expected, actual, rel_tol=1e-4, abs_tol=1e-5)
    return expected == actual


def different_lists(
    where: str, expected: dict[str, Any], actual: dict[str, Any], integers: set[str]
) -> Iterator[str]:
    for key in LISTS:
        theirs, ours = expected[key], actual[key]
        if key == "trainable":
            theirs, ours = ([n for n in names if n not in integers] for names in (theirs, ours))
        if theirs != ours:
            yield f"{where}, {key} variables: expected {theirs}, got {ours}"


def brief(events: list[dict[str, Any]]) -> str:
    """One event or none, as it is printed: long values cut short."""
    if not events:
        return "nothing"
    shown = {key: value for key, value in events[0].items() if key != "is_a"}
    if len(str(shown.get("value"))) > 60:
        shown["value"] = f"{str(shown['value'])[:56]} ..."
    return str(shown)


# ---- printing a program as the Python code it stands for ---------------------------------------


def show_program(statements: list[Any], indent: str = "") -> list[str]:
    """The lines of code."""
    lines: list[str] = []
    for s in statements:
        lines += [indent + line for line in show_statement(s)]
        if "body" in s:
            lines += show_program(s["body"], f"{indent}    ") or [f"{indent}    pass"]
        if s["op"] == "try":
            lines += [f"{indent}except Exception as error:", f"{indent}    record(error)"]
    return lines


def show_statement(s: dict[str, Any]) -> list[str]:
    """The statement's first line, and for most the only one."""
    target = s.get("scope") or "ts.get_variable_scope()"
    tail = f" as {s['as']}:" if "as" in s else ":"
    match s["op"]:
        case "scope":
            return [f"with {show_scope(s)}{tail}"]
        case "make_scope":
            return [f"{s['as']} = {show_scope(s)}"]
        case "with":
            return [f"with {s['manager']}{tail}"]
        case "enter":
            return [f"{s['manager']}.__enter__()"]
        case "exit":
            return [f"{s['manager']}.__exit__(None, None, None)"]
        case "capture":
            return [f"{s['as']} = ts.get_variable_scope()"]
        case "reuse_variables":
            return [f"{target}.reuse_variables()"]
        case "set":
            return [f"{target}.set_{s['what']}({show_value(s['what'], s['value'])})"]
        case "observe":
            return [f"observe({target})"]
        case "get":
            function = "ts.get_local_variable" if s.get("local") else "ts.get_variable"
            return [show_call(function, [show_value("name", s["name"])], s, GET_ARGUMENTS)]
        case "def":
            return [f"def {s['as']}({', '.join(s.get('params', []))}):"]
        case "make_template":
            renamed = {f"{key}_": s[key] for key in TEMPLATE_ARGUMENTS if key in s}
            given = renamed | s.get("args", {})
            first = [repr(s["name"]), s["func"]]
            return [f"{s['as']} = {show_call('ts.make_template', first, given, given)}"]
        case "call":
            given = s.get("args", {})
            return [show_call(s["fn"], [], given, given)]
        case "observe_template":
            return [f"observe({s['fn']})"]
        case "try":
            return ["try:"]
        case "raise":
            return ["raise ProgramError()"]
        case "thread":
            return ["with in_a_new_thread():"]
        case op:
            raise ValueError(f"no statement is called {op!r}")


def show_scope(s: dict[str, Any]) -> str:
    name = s.get("name")
    refers = isinstance(name, dict) and "ref" in name
    first = name["ref"] if refers else show_value("name", name)
    return show_call("ts.variable_scope", [first], s, SCOPE_ARGUMENTS)


def show_call(function: str, first: list[str], given: dict[str, Any], keys: Any) -> str:
    keywords = [f"{key}={show_value(key, given[key])}" for key in keys if key in given]
    return f"{function}({', '.join([*first, *keywords])})"


def show_value(key: str, value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, dict) and set(value) == {"$"}:
        return value["$"]
    match key:
        case "reuse" if value == "auto":
            return "ts.AUTO_REUSE"
        case "dtype":
            return f"torch.{value}"
        case "initializer":
            return show_initializer(value)
        case "regularizer":
            return show_regularizer(value)
        case "custom_getter" | "custom_getter_":
            rest = ", ".join(repr(v) for k, v in value.items() if k != "getter")
            return f"{value['getter']}_getter({rest})" if rest else f"{value['getter']}_getter"
    return repr(value)


def show_initializer(spec: dict[str, Any]) -> str:
    if "init" in spec:
        return f"ts.{spec['init']}_initializer({spec.get('value', '')})"
    if "init_class" in spec:
        return f"ts.{spec['init_class']}_initializer"
    if "tensor" in spec:
        return f"torch.tensor({spec['tensor']!r}, dtype=torch.{spec['dtype']})"
    if "array" in spec:
        return f"np.array({spec['array']!r}, dtype={spec['dtype']!r})"
    if "fn" in spec:
        return f"{spec['fn']}_function"
    return repr(spec.get("python", spec.get("junk")))


def show_regularizer(spec: Any) -> str:
    if isinstance(spec, str):
        names = {"none": "ts.no_regularizer", "null": "lambda v: None"}
        return names.get(spec, f"{spec}_regularizer")
    if "l2" in spec:
        return f"ts.l2_regularizer({spec['l2']})"
    if "sum" in spec:
        return f"lambda v: {spec['sum']} * v.sum()"
    return repr(spec["junk"])


# ---- the command -------------------------------------------------------------------------------


def show(line: dict[str, Any], actual: dict[str, Any], differences: list[str]) -> None:
    """Print one program, both records and how they differ."""
    print(f"# {line['id']}: {line.get('note', 'a random program')}")
    print("\n".join(show_program(line["program"])))
    for title, record in (("expected", line["expected"]), ("actual", actual)):
        print(f"\n{title}:")
        for event in record["events"]:
            print(f"    {brief([event])}")
        print(f"    {record['final']}")
    print("\ndifferences:" if differences else "\nsame")
    for difference in differences:
        print(f"  {difference}")


def main(arguments: list[str] | None = None) -> int:
    """Run the programs, print what differs; 1 if anything does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--show", metavar="ID", help="print one program in full")
    options = parser.parse_args(arguments)

    lines = [line for line in read() if options.show in (None, line["id"])]
    if not lines:
        print(f"no program is called {options.show!r}")
        return 1
    totals, matches = Counter[str](), Counter[str]()
    for line in lines:
        actual = run(line["program"])
        differences = compare(line["expected"], actual)
        totals[line["category"]] += 1
        matches[line["category"]] += not differences
        if options.show:
            show(line, actual, differences)
        elif differences:
            print("\n  ".join([line["id"], *differences]))
    for category in sorted(totals):
        print(f"{category:24} {matches[category]:5}/{totals[category]}")
    print(f"{matches.total()} match, {totals.total() - matches.total()} differ")
    return 0 if matches == totals else 1


if __name__ == "__main__":
    sys.exit(main())
