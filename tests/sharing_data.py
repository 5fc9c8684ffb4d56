"""Sharing reports as plain dictionaries, for the tests of pictures; no model is run for them."""

from collections.abc import Iterable
from math import prod
from typing import Any

FILE = "/home/me/project/filters.py"


def place(line: int, function: str, code: str, file: str = FILE, **more: Any) -> dict[str, Any]:
    return {"file": file, "line": line, "function": function, "code": code, **more}


def variable(
    name: str, shape: Iterable[int], *fetches: dict[str, Any], kind: str = "parameter"
) -> dict[str, Any]:
    shape = list(shape)
    made = (
        {key: fetches[0][key] for key in ("file", "line", "function", "code")} if fetches else None
    )
    return {
        "name": name,
        "scope": name.rpartition("/")[0],
        "kind": kind,
        "shape": shape,
        "dtype": "float32",
        "device": "cpu",
        "trainable": kind == "parameter",
        "count": prod(shape),
        "bytes": 4 * prod(shape),
        "made": made,
        "fetches": list(fetches),
    }


def report(
    name: str, variables: list[dict[str, Any]], near_misses: Any = (), tied: Any = ()
) -> dict[str, Any]:
    times = {one["name"]: sum(fetch["times"] for fetch in one["fetches"]) for one in variables}
    return {
        "format": 1,
        "name": name,
        "variables": variables,
        "shared": [name for name, count in times.items() if count > 1],
        "unused": [name for name, count in times.items() if count == 0],
        "near_misses": list(near_misses),
        "tied": list(tied),
    }


def ten() -> dict[str, Any]:
    """A siamese net of ten variables, with everything that a report can tell."""

    def ask(line: int, what: str, scope: str, times: int) -> dict[str, Any]:
        code = f'{what} = ts.get_variable("{what}", shape, initializer=init)'
        return place(line, "conv_relu", code, scope=scope, times=times)

    def twice(layer: str) -> list[dict[str, Any]]:
        scope = f"model/{layer}"
        return [
            variable(f"{scope}/weights", [32, 32, 5, 5], ask(12, "weights", scope, 2)),
            variable(f"{scope}/biases", [32], ask(13, "biases", scope, 2)),
        ]

    def gate(side: str) -> dict[str, Any]:
        code = 'w = ts.get_variable("w", [64, 64])'
        return variable(f"{side}/w", [64, 64], place(30, "gate", code, scope=side, times=1))

    table = [
        place(41, "encode", 'table = ts.get_variable("table", [1000, 64])', scope="words", times=1),
        place(52, "decode", "x @ ts.get_variable(\n    'table').T", scope="words", times=1),
    ]
    variables = [
        *twice("conv1"),
        *twice("conv2"),
        gate("left"),
        gate("right"),
        variable("words/table", [1000, 64], *table),
        variable("words/spare", [64]),
        variable(
            "mean",
            [64],
            place(60, "<module>", 'ts.get_buffer("mean", [64])', scope="", times=1),
            kind="buffer",
        ),
        variable(
            "step", [], place(61, "<module>", 'ts.get_variable("step", [])', scope="", times=1)
        ),
    ]
    return report(
        "ScopedModule(siamese)",
        variables,
        near_misses=[
            {
                "variables": ["left/w", "right/w"],
                "place": place(30, "gate", 'w = ts.get_variable("w", [64, 64])'),
                "why": "equal shape and last name, in sibling scopes, made by the same line",
            }
        ],
        tied=[{"names": ["words/table", "step"], "how": "one memory"}],
    )


def many(count: int = 2000) -> dict[str, Any]:
    """Layers of ten variables each; one in a hundred is shared."""

    def ask(number: int, times: int, scope: str) -> dict[str, Any]:
        code = f'w = ts.get_variable(f"w{number % 10}", [n, 16])'
        return place(100 + number % 40, f"part_{number % 8}", code, scope=scope, times=times)

    variables = []
    for number in range(count):
        layer = number // 10
        scope = f"stage_{layer // 20}/layer_{layer % 20}"
        asked = ask(number, 2 if number % 100 == 0 else 1, scope)
        variables.append(variable(f"{scope}/w{number % 10}", [number + 1, 16], asked))
    return report("ScopedModule(deep)", variables)


def flat(count: int = 2000) -> dict[str, Any]:
    """All variables side by side, each asked for by a line of its own."""
    return report(
        "VariableStore",
        [
            variable(
                f"w_{number}", [4], place(number, "run", f"get('w_{number}')", scope="", times=1)
            )
            for number in range(count)
        ],
    )


SCRIPT = "</script><script>document.title = 'taken over'</script><!--"
HOSTILE = [
    SCRIPT,
    "<img src=x onerror=\"document.title='taken over'\">",
    "\"quoted\" & 'quoted' &amp; &lt;",
    "back\\slash \\n `tick` #35; ${x} {{data}} %3Cb%3E",
    "right \u202eto left\u202c \u2066isolate \u05e9\u05dc\u05d5\u05dd",
    "two\nlines\rand\ttabs\x00\x1b[31m",
    "half \ud800 letter",
    "end]]> \u2028 separator",
    "重み" * 20,
    "a" * 400,
    "/".join(["deep"] * 300),
    "",
]


def hostile() -> dict[str, Any]:
    """Names, files, functions and code that try to be more than text."""
    variables = []
    for number, text in enumerate(HOSTILE):
        asked = place(number, text, f"x = {text}", file=f"/tmp/{text}.py", scope=text, times=2)
        named = {"scope": text, "name": f"{text}/w{text}", "dtype": text, "device": text}
        variables.append({**variable("w", [2, 2], asked), **named})
    variables.append(
        variable("__proto__/constructor", [1], place(1, "toString", "valueOf()", scope="", times=1))
    )
    names = [one["name"] for one in variables]
    return report(
        SCRIPT,
        variables,
        near_misses=[{"variables": names[:2], "place": variables[0]["made"], "why": SCRIPT}],
        tied=[{"names": names[2:4], "how": SCRIPT}],
    )


def ladder(depth: int = 60) -> dict[str, Any]:
    """A variable on every step of a ladder of scopes."""
    return report(
        "ladder",
        [
            variable(
                "/".join([f"s{i}" for i in range(one)] + ["w"]),
                [4],
                place(1, "step", "w = get()", scope="", times=1),
            )
            for one in range(depth)
        ],
    )
