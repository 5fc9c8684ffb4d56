"""What is compared between a record of TensorFlow's and ours, and how closely; runs nothing.

Names, their order, shapes, dtypes, sizes of collections and slots' names: exactly. An error: its
class. Numbers: ``|a - b| <= max(1e-6, tolerance) + 1e-5 |b|``, the tolerance as recorded. Random
numbers: their moments, or how often each integer comes, to many standard errors.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

RELATIVE, ABSOLUTE = 1e-5, 1e-6
FLOATS = ("float16", "float32", "float64")


def compare(record: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """The differences, one to a line; none if all is equal."""
    return list(_differences(record, actual))


def _differences(record: dict[str, Any], actual: dict[str, Any]) -> Iterator[str]:
    expected = record["expected"]
    yield from _events(expected["events"], actual["events"])
    yield from _variables(record, expected["variables"], actual["variables"])
    if any("fatal" in event for event in expected["events"]):
        return
    for key, count in expected["collections"].items():
        if actual["collections"][key] != count:
            yield f"collection {key}: {actual['collections'][key]} entries, TensorFlow {count}"
    if len(actual["phases"]) < len(expected["phases"]) and "later_passes_differ" not in actual:
        yield f"{len(actual['phases'])} phases, TensorFlow {len(expected['phases'])}"
    phases = record.get("phases", [{"do": "forward"}])
    for phase, theirs, ours in zip(phases, expected["phases"], actual["phases"], strict=False):
        for line in _phase(record, theirs, ours):
            yield f"{phase['do']}, {line}"


# ---- the first pass -----------------------------------------------------------------------------


def _events(expected: list[Any], actual: list[Any]) -> Iterator[str]:
    for i in range(max(len(expected), len(actual))):
        theirs, ours = (events[i] if i < len(events) else None for events in (expected, actual))
        if theirs is None or ours is None or theirs["e"] != ours["e"]:
            yield f"event {i}: {_brief(ours)}, TensorFlow {_brief(theirs)}"
            return
        where = theirs.get("label", f"event {i}")
        if theirs["e"] == "error" and (
            theirs["type"] not in ours["is_a"] or theirs.get("fatal") != ours.get("fatal")
        ):
            yield f"{where}: {_brief(ours)}, TensorFlow {_brief(theirs)}"
        for what, value in theirs.get("facts", {}).items():
            if ours["facts"][what] != value:
                yield f"{where}: {what} of {theirs['of']} {ours['facts'][what]}, TensorFlow {value}"


def _brief(event: dict[str, Any] | None) -> str:
    if event is None or event["e"] != "error":
        return str(event)[:200]
    name = event["is_a"][0] if "is_a" in event else event["type"]
    message = event["message"].partition("\n")[0]
    return f"{'fatal ' if event.get('fatal') else ''}{name} ({message[:140]})"


def _variables(record: dict[str, Any], expected: list[Any], actual: list[Any]) -> Iterator[str]:
    names = [variable["name"] for variable in actual]
    if names != (wanted := [variable["name"] for variable in expected]):
        yield f"variables {names}, TensorFlow {wanted}"
    # What a program changes by itself it has changed in the pass that made it.
    program = json.dumps(record["program"])
    assigned = any(f'"{word}' in program for word in ("assign", "scatter_add", "scatter_update"))
    averaged = '"updates_collections": null' in program
    for theirs in expected:
        if theirs["name"] not in names:
            continue
        ours, where = actual[names.index(theirs["name"])], f"variable {theirs['name']}"
        for key in ("shape", "dtype", "trainable"):
            if ours[key] != theirs[key] and (key != "trainable" or theirs["dtype"] in FLOATS):
                yield f"{where}: {key} {ours[key]}, TensorFlow {theirs[key]}"
        if "init" in theirs and ours["shape"] == theirs["shape"]:
            if assigned or (averaged and not theirs["trainable"]):
                continue
            yield from _initial(f"{where} at first", theirs["init"], ours["initial"])


def _initial(where: str, expected: dict[str, Any], a: np.ndarray) -> Iterator[str]:
    if "constant" in expected:
        if not np.allclose(a, expected["constant"], rtol=1e-6, atol=1e-7):
            yield f"{where}: {a.ravel()[:4]}, TensorFlow all {expected['constant']}"
    elif "value" in expected:
        yield from _number(where, expected["value"], a)
    else:
        yield from _moments(where, expected["random"], statistics(a))


# ---- the phases ---------------------------------------------------------------------------------


def _phase(
    record: dict[str, Any], expected: dict[str, Any], actual: dict[str, Any]
) -> Iterator[str]:
    for name, arrays in expected.get("outputs", {}).items():
        yield from _sequence(name, arrays, actual["outputs"][name])
    for key in ("losses", "regularization"):
        yield from _sequence(key, expected.get(key, []), actual.get(key, []))
    if "dtypes" in actual:
        yield from _dtypes(record, actual["dtypes"])
    for of, gradients in expected.get("grads", {}).items():
        yield from _gradients(gradients, actual["grads"][of])
    for key in ("variables", "slots", "averages"):
        yield from _named(key, expected.get(key, {}), actual.get(key, {}))
    if more := sorted(set(actual.get("slots", {})) - set(expected.get("slots", {}))):
        yield f"slots: {more} too, unlike TensorFlow"
    for key in ("restore", "global_step"):
        if expected.get(key) != actual.get(key):
            yield f"{key}: {actual.get(key)}, TensorFlow {expected.get(key)}"
    for name, theirs in expected.get("random", {}).items():
        yield from _random(name, theirs, actual["random"][name], "seed" in record["text"])
    for name, theirs in expected.get("stats", {}).items():
        yield from _stats(name, theirs, actual["stats"][name])


def _sequence(where: str, expected: list[Any], actual: list[Any]) -> Iterator[str]:
    if len(expected) != len(actual):
        yield f"{where}: {len(actual)} tensors, TensorFlow {len(expected)}"
    for i, (theirs, ours) in enumerate(zip(expected, actual, strict=False)):
        if theirs is None or ours is None:
            if theirs is not ours:
                yield f"{where}[{i}]: {_none(ours)}, TensorFlow {_none(theirs)}"
        else:
            yield from _number(f"{where}[{i}]", theirs, ours)


def _none(array: Any) -> str:
    return "None" if array is None else "a tensor"


def _named(key: str, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[str]:
    for name, theirs in expected.items():
        if name in actual:
            yield from _number(f"{key} {name}", theirs, actual[name])
        else:
            yield f"{key}: no {name}, but {sorted(actual)}"


def _gradients(expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[str]:
    """A gradient that is None on one side may be zeros on the other."""
    for name, theirs in expected.items():
        ours, where = actual.get(name), f"gradient of {name}"
        if theirs is not None and ours is not None:
            yield from _number(where, theirs, ours)
        elif (given := ours if theirs is None else theirs.value) is not None and np.any(given):
            yield f"{where}: {_none(ours)}, TensorFlow {_none(theirs)}"


def _dtypes(record: dict[str, Any], actual: dict[str, list[str]]) -> Iterator[str]:
    for name, dtypes in record["expected"].get("dtypes", {}).items():
        for i, (theirs, ours) in enumerate(zip(dtypes, actual[name], strict=False)):
            if ours != theirs and not (ours == "ints" and name in record["ints_ok"]):
                yield f"{name}[{i}] is {ours}, TensorFlow {theirs}"


def _number(where: str, expected: Any, actual: Any) -> Iterator[str]:
    e, a = expected.value, np.asarray(actual)
    if e.shape != a.shape:
        yield f"{where}: shape {a.shape}, TensorFlow {e.shape}"
    elif e.dtype.kind not in "fc":
        if not np.array_equal(e, a):
            yield f"{where}: {a.tolist()}, TensorFlow {e.tolist()}"
    elif e.size:
        absolute = max(ABSOLUTE, expected.tolerance)
        if e.dtype == np.float16:
            absolute = max(absolute, 1e-3 * float(np.abs(e).max()))
        e, a = e.astype("complex128"), a.astype("complex128")
        equal = (e == a) | (np.isnan(e) & np.isnan(a))
        with np.errstate(invalid="ignore"):
            far = np.where(equal, 0, np.nan_to_num(np.abs(e - a), nan=np.inf))
            excess = far - (absolute + RELATIVE * np.abs(e))
        bad = ~equal & ~(excess <= 0)
        if bad.any():
            i = np.unravel_index(np.argmax(np.where(bad, far, -1)), e.shape)
            yield (
                f"{where}: {bad.sum()} of {e.size} differ; at {list(map(int, i))} "
                f"{a[i]:.7g}, TensorFlow {e[i]:.7g}"
            )


# ---- random numbers -----------------------------------------------------------------------------


def statistics(array: np.ndarray) -> dict[str, Any]:
    """What is compared of random numbers: floats' moments, integers' counts."""
    facts = {"shape": list(array.shape), "n": array.size, "dtype": str(array.dtype)}
    if array.dtype.kind != "f":
        values, counts = np.unique(array, return_counts=True)
        return facts | {"values": values.tolist(), "counts": counts.tolist()}
    a = array.astype("float64")
    mean, std = a.mean(), a.std()
    kurtosis = ((a - mean) ** 4).mean() / max(std, 1e-30) ** 4
    moments = {"mean": mean, "std": std, "kurtosis": kurtosis, "min": a.min(), "max": a.max()}
    return facts | moments


def _random(
    where: str, expected: dict[str, Any], actual: dict[str, Any], seeded: bool
) -> Iterator[str]:
    # A seeded operation of TensorFlow's goes on from run to run, one of ours begins again.
    for key in ("shape", "dtype") if seeded else ("shape", "dtype", "fresh"):
        if expected[key] != actual[key]:
            yield f"{where}: {key} {actual[key]}, TensorFlow {expected[key]}"
    if "values" in expected:
        n = expected["n"]
        theirs, ours = (
            dict(zip(of["values"], of["counts"], strict=True)) for of in (expected, actual)
        )
        for value in sorted({*theirs, *ours}):
            p, q = theirs.get(value, 0) / n, ours.get(value, 0) / n
            if abs(p - q) > 7 * math.sqrt(2 * max(p * (1 - p), q * (1 - q)) / n) + 1e-9:
                yield f"{where}: {value} in {q:.4f}, TensorFlow {p:.4f}"
    else:
        yield from _moments(where, expected, actual)


def _moments(where: str, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[str]:
    if actual["n"] < 400:
        return
    std, root = expected["std"], math.sqrt(actual["n"])
    allowed = {"mean": 10 * std / root, "std": 10 * std / root, "kurtosis": 70 / root}
    if expected["kurtosis"] < 2.7:  # It is uniform (1.8) or truncated (2.36), not normal (3).
        allowed |= {"min": 0.1 * std, "max": 0.1 * std}
    for key, difference in allowed.items():
        if abs(actual[key] - expected[key]) > difference:
            yield f"{where}: {key} {actual[key]:.4g}, TensorFlow {expected[key]:.4g}"


def zero_stats(array: np.ndarray, shared_axes: list[int] | None) -> dict[str, Any]:
    """What dropout made of ones: how much is zero, what the rest is, whether slices are alike."""
    first = array
    for axis in shared_axes or []:
        first = first.take([0], axis)
    facts = {
        "zero_fraction": float((array == 0).mean()),
        "nonzero": np.unique(array[array != 0])[:4],
    }
    return facts | ({"shared": bool((array == first).all())} if shared_axes else {})


def _stats(where: str, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[str]:
    rate = expected.get("rate", expected["zero_fraction"])
    error = 5 * math.sqrt(max(rate * (1 - rate), 1e-9) / expected["n"]) + 1e-6
    if abs(actual["zero_fraction"] - rate) > error:
        yield f"{where}: {actual['zero_fraction']:.3f} zeros, TensorFlow {rate:.3f}"
    ours, theirs = actual["nonzero"], np.array(expected["nonzero"])
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-5):
        yield f"{where}: {ours} kept, TensorFlow {theirs}"
    if expected.get("shared") != actual.get("shared"):
        yield f"{where}: shared {actual.get('shared')}, TensorFlow {expected.get('shared')}"
