"""TensorFlow's record of 1,903 programs: torchscope.tf1 does the same with each."""

import re

import conformance_tf1
import numpy as np
import pytest
from conformance_tf1 import Recorded, kind

PROGRAMS = conformance_tf1.read()
NUMBERS = {
    "clip": 26,
    "image": 41,
    "layers": 443,
    "losses": 57,
    "nn": 168,
    "ops": 605,
    "rnn": 155,
    "slim": 206,
    "train": 202,
}
# What torchscope does otherwise, and why; docs/differences.md says it to users.
DIFFERENT = {
    "nn/conv2d_transpose/wrong_output_shape": "it is refused at once, there is no graph to run",
    "ops/assign/16": "an assignment happens, whether or not anybody reads its result",
    "ops/assign/18": "an assignment happens, whether or not anybody reads its result",
    "ops/cond/07": "of the two branches one runs, so nobody sees that the other gives another kind",
}


def program(record):
    reason = DIFFERENT.get(record["id"])
    marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
    return pytest.param(record, id=record["id"], marks=marks)


def test_all_public_programs_are_here():
    assert len({record["id"] for record in PROGRAMS}) == len(PROGRAMS)
    found = [kind(record) for record in PROGRAMS]
    assert {name: found.count(name) for name in sorted(set(found))} == NUMBERS


@pytest.mark.parametrize("record", [program(record) for record in PROGRAMS])
def test_a_program_does_what_it_did_in_tensorflow(record):
    differences = conformance_tf1.differences(record)
    assert not differences, "\n".join([record.get("text") or record["id"], *differences])


def record_of(program, **expected):
    """A record of a program of one input, ``x``, whose only output is ``y``."""
    recorded = {"events": [], "variables": [], "collections": {}, "phases": []}
    x = Recorded(np.array([1.0, -2.0], "float32"))
    inputs = {"x": {"value": x}}
    return {
        "id": "a/program",
        "category": "ops",
        "program": program,
        "inputs": inputs,
        "outputs": ["y"],
        "text": "",
        "expected": recorded | expected,
    }


def seen(record):
    """What torchscope does, in the form of TensorFlow's part of a record."""
    actual = conformance_tf1.run(record)
    (phase,) = actual["phases"]
    for event in actual["events"]:
        event["type"] = event.pop("is_a", [""])[0]
    for variable in actual["variables"]:
        variable["value"] = Recorded(variable["initial"])
        variable["init"] = {"value": variable["value"]}
    forward = {
        "outputs": {"y": list(map(Recorded, phase["outputs"]["y"]))},
        "losses": list(map(Recorded, phase["losses"])),
        "regularization": list(map(Recorded, phase["regularization"])),
        "grads": {
            of: {name: Recorded(array) for name, array in gradients.items()}
            for of, gradients in phase["grads"].items()
        },
    }
    return actual | {"dtypes": phase["dtypes"], "phases": [forward]}


PROGRAM = [
    {
        "op": "get",
        "name": "w",
        "shape": [2],
        "regularizer": {"reg": "l2", "scale": 1.0},
        "initializer": {"init": "ones"},
        "as": "w",
    },
    {"op": "call", "fn": "multiply", "in": ["x", "w"], "as": "y"},
    {"op": "call", "fn": "add_to_collection", "in": [{"str": "losses"}, "y"]},
    {"op": "observe", "obj": "y", "what": ["kind"]},
    {"op": "try", "label": "e", "body": [{"op": "raise"}]},
]


def test_a_record_of_our_own_is_met():
    record = record_of(PROGRAM, collections={"losses": 1})
    record["expected"] = seen(record)
    assert conformance_tf1.differences(record) == []


OTHER = Recorded(np.array([9.0, 9.0], "float32"))


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        (["events", 0, "facts", "kind"], "none", "kind of y tensor, TensorFlow none"),
        (["events", 1, "type"], "TypeError", r"e: ProgramError .*, TensorFlow TypeError"),
        (["events", 1, "fatal"], True, "TensorFlow fatal ProgramError"),
        (["variables", 0, "name"], "v", r"variables \['w'\], TensorFlow \['v'\]"),
        (["variables", 0, "shape"], [3], r"w: shape \[2\], TensorFlow \[3\]"),
        (["variables", 0, "dtype"], "float64", "w: dtype float32, TensorFlow float64"),
        (["variables", 0, "trainable"], False, "w: trainable True, TensorFlow False"),
        (["variables", 0, "init"], {"constant": 2.0}, r"w at first: \[1. 1.\], TensorFlow all 2.0"),
        (["variables", 0, "init"], {"value": OTHER}, "w at first: 2 of 2 differ"),
        (["collections", "losses"], 2, "collection losses: 1 entries, TensorFlow 2"),
        (["dtypes", "y"], ["int32"], r"y\[0\] is float32, TensorFlow int32"),
        (["phases", 0, "outputs", "y"], [OTHER], r"y\[0\]: 2 of 2 differ"),
        (["phases", 0, "outputs", "y"], [None], r"y\[0\]: a tensor, TensorFlow None"),
        (["phases", 0, "outputs", "y"], [], "y: 1 tensors, TensorFlow 0"),
        (["phases", 0, "losses"], [OTHER], r"losses\[0\]: 2 of 2 differ"),
        (["phases", 0, "regularization"], [], "regularization: 1 tensors, TensorFlow 0"),
        (["phases", 0, "grads", "inputs", "x"], OTHER, "gradient of x: 2 of 2 differ"),
        (["phases", 0, "grads", "inputs", "x"], None, "gradient of x: a tensor, TensorFlow None"),
        (["phases", 0, "grads", "variables", "w"], OTHER, "gradient of w: 2 of 2 differ"),
    ],
)
def test_every_field_of_a_record_is_compared(path, value, match):
    record = record_of(PROGRAM, collections={"losses": 1})
    record["expected"] = seen(record)
    *way, last = path
    place = record["expected"]
    for step in way:
        place = place[step]
    place[last] = value
    (difference,) = conformance_tf1.differences(record)
    assert re.search(match, difference), difference


def test_a_phase_that_does_not_come_is_a_difference():
    record = record_of(PROGRAM, collections={"losses": 1})
    record["expected"] = seen(record)
    record["expected"]["phases"] *= 2
    assert conformance_tf1.differences(record) == ["1 phases, TensorFlow 2"]


def test_a_name_that_torchscope_lacks_fails_whatever_tensorflow_did():
    body = [{"op": "call", "fn": "no_such_name", "in": ["x"], "as": "y"}]
    record = record_of([{"op": "try", "body": body}], events=[{"e": "error", "type": "Exception"}])
    (difference,) = conformance_tf1.differences(record)
    assert difference.startswith("missing: tf.no_such_name")
