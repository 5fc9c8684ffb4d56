"""TensorFlow's record of 1,903 programs: torchscope.tf1 does the same with each."""

import conformance_tf1
import pytest
from conformance_tf1 import kind

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
# Whoever lands a module adds its kind here; what is not here is not there yet.
UNDER_TEST: set[str] = set()
# What torchscope does otherwise, and why; docs/differences.md says it to users.
DIFFERENT = {
    "ops/assign/16": "an assignment happens, whether or not anybody reads its result",
    "ops/assign/18": "an assignment happens, whether or not anybody reads its result",
    "ops/cond/07": "of the two branches one runs, so nobody sees that the other gives another kind",
    "random/ops/54": "a tensor without requires_grad has no gradient, and tf.gradients says so",
}


def program(record):
    known = DIFFERENT.get(record["id"])
    marks = [pytest.mark.xfail(reason=known, strict=True)] if known else []
    return pytest.param(record, id=record["id"], marks=marks)


def test_all_public_programs_are_here():
    assert len({record["id"] for record in PROGRAMS}) == len(PROGRAMS)
    found = [kind(record) for record in PROGRAMS]
    assert {name: found.count(name) for name in sorted(set(found))} == NUMBERS


@pytest.mark.parametrize("record", [program(r) for r in PROGRAMS if kind(r) in UNDER_TEST])
def test_a_program_does_what_it_did_in_tensorflow(record):
    differences = conformance_tf1.differences(record)
    assert not differences, "\n".join([record.get("text") or record["id"], *differences])
