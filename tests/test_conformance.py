"""TensorFlow's record of 1,070 programs: torchscope does the same with each, pass after pass."""

import copy

import conformance
import pytest
from conformance import Interpreter, compare, has_threads, show_program

import torchscope as ts

PROGRAMS = conformance.read()


def recorded_errors(line):
    return [event for event in line["expected"]["events"] if event["e"] == "error"]


# With a thread a program runs on the default store, whose pass never ends.
REPEATABLE = [
    line for line in PROGRAMS if not recorded_errors(line) and not has_threads(line["program"])
]


def program_id(line):
    return line["id"]


def told(line, differences):
    """What to print: the id, the program as Python code, and what differs."""
    return "\n".join([line["id"], *show_program(line["program"], "    "), *differences])


def test_all_public_programs_are_here():
    assert len({line["id"] for line in PROGRAMS}) == len(PROGRAMS) == 1070
    assert len(REPEATABLE) == 329


@pytest.mark.parametrize("line", PROGRAMS, ids=program_id)
def test_a_program_does_what_it_did_in_tensorflow(line):
    differences = compare(line["expected"], conformance.run(line["program"]))
    assert not differences, told(line, differences)


@pytest.mark.parametrize("line", REPEATABLE, ids=program_id)
def test_a_later_pass_repeats_the_first(line):
    store = ts.VariableStore()
    passes = [Interpreter(store) for _ in range(3)]
    first, second, third = [interpreter.run(line["program"]) for interpreter in passes]
    assert second == first, told(line, compare(first, second))
    assert third == first, told(line, compare(first, third))
    identities = [[id(v) for v in interpreter.variables] for interpreter in passes]
    assert identities[1] == identities[0]
    assert identities[2] == identities[0]


def test_a_difference_is_reported_with_the_program():
    line = {
        "id": "some/id",
        "program": [{"op": "scope", "name": "a", "body": [{"op": "get", "name": "v"}]}],
        "expected": {
            "events": [{"e": "error", "type": "KeyError"}],
            "final": {"global": ["a/w"], "trainable": [], "local": [], "losses": [], "scopes": {}},
        },
    }
    message = told(line, compare(line["expected"], conformance.run(line["program"])))
    assert message.startswith(
        "some/id\n"
        "    with ts.variable_scope('a'):\n"
        "        ts.get_variable('v')\n"
        "event 0 differs in type"
    )
    assert message.endswith("at the end, global variables: expected ['a/w'], got []")


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        ("get", "name", "other"),
        ("get", "var", 7),
        ("get", "shape", [9]),
        ("get", "dtype", "float64"),
        ("get", "trainable", None),
        ("get", "value", [0.001, 0.0]),
        ("scope", "reuse", "auto"),
        ("scope", "custom_getter", None),
        ("template", "scope", "other"),
        ("getter", "initializer", None),
        ("error", "type", "KeyError"),
        ("error", "fatal", True),
    ],
)
def test_every_field_of_a_record_is_compared(event, field, value):
    program = [
        {"op": "get", "name": "v", "initializer": {"python": [0.0, 0.0]}},
        {"op": "try", "body": [{"op": "get", "name": "v"}]},
        {"op": "get", "name": "w", "shape": [2], "custom_getter": {"getter": "log"}},
        {"op": "def", "as": "f", "body": []},
        {"op": "make_template", "as": "t", "name": "t", "func": "f"},
        {"op": "observe_template", "fn": "t"},
        {"op": "observe"},
    ]
    actual = conformance.run(program)
    expected = copy.deepcopy(actual)
    assert compare(expected, actual) == []
    changed = next(e for e in expected["events"] if e["e"] == event)
    changed[field] = value
    (difference,) = compare(expected, actual)
    assert f"differs in {field}:" in difference


@pytest.mark.parametrize("field", ["global", "trainable", "local", "losses"])
def test_the_lists_at_the_end_are_compared(field):
    program = [
        {"op": "get", "name": "v", "initializer": {"python": [2.0]}, "regularizer": {"l2": 1.0}},
        {"op": "get", "name": "w", "shape": [], "local": True},
        {"op": "capture", "as": "s"},
    ]
    actual = conformance.run(program)
    expected = copy.deepcopy(actual)
    assert compare(expected, actual) == []
    expected["final"][field] = []
    assert len(compare(expected, actual)) == 1
    if field != "losses":
        expected["final"]["scopes"]["s"][field] = []
        assert len(compare(expected, actual)) == 2
