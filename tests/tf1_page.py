"""Write docs/tf1.md, which lists torchscope.tf1's names, from their docstrings.

    python tests/tf1_page.py            # after a docstring or a name has changed

A row says what a name does, its docstring's first paragraph, and what torch has for it: the
paragraph that begins with ``Torch:``, or else the function of torch's that has this name.
"""

import functools
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import torchscope
import torchscope.tf1
from torchscope.tf1 import _missing

PAGE = Path(__file__).parent.parent / "docs" / "tf1.md"
HEAD = """\
# What torchscope.tf1 has

Made from the docstrings by `python tests/tf1_page.py`. Get the functions by
`import torchscope.tf1 as tf`. They take TensorFlow 1's arguments and those of earlier versions:
`keep_dims`, `reduction_indices`, `concat(axis, values)`. [Porting](porting.md) shows how they are
used. What all have in common:

- Python's numbers are int32 and float32. A numpy array keeps its dtype. Nothing is promoted: two
  dtypes in one operation are a TypeError.
- A number, list or array after a tensor takes the tensor's dtype. Before a tensor, it is converted
  by itself, as in TensorFlow: `tf.add(3, x)` is refused for floats, `tf.add(3.0, x)` is not.
- Images are `[batch, height, width, channels]`, kernels `[height, width, in, out]`.
- `name=` is accepted everywhere and does nothing.
"""


def namespaces() -> dict[str, ModuleType]:
    """``tf`` and the namespaces below it, each module by the first of its names."""
    by_module = {
        module: name
        for name, module in sorted(_below("tf", torchscope.tf1), key=lambda named: named[0])[::-1]
    }
    return {"tf": torchscope.tf1, **{by_module[m]: m for m in sorted(by_module, key=by_module.get)}}


def _below(prefix: str, module: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    for name in getattr(module, "__all__", dir(module)):
        value = getattr(module, name)
        # A namespace, unlike other modules, explains the names that it lacks.
        if isinstance(value, ModuleType) and _missing.__name__ == _explainer(value):
            yield f"{prefix}.{name}", value
            yield from _below(f"{prefix}.{name}", value)


def _explainer(module: ModuleType) -> str | None:
    return getattr(vars(module).get("__getattr__"), "__module__", None)


def public_names(module: ModuleType) -> dict[str, Any]:
    """A namespace's functions, classes and constants."""
    names = getattr(module, "__all__", None) or [n for n in dir(module) if n[0] != "_"]
    found = {name: getattr(module, name) for name in sorted(names, key=str.lower)}
    return {name: value for name, value in found.items() if not isinstance(value, ModuleType)}


def entries() -> dict[str, tuple[Any, list[str]]]:
    """Each function and class by its full name, with the other names that it has."""
    names: dict[int, list[str]] = defaultdict(list)
    values: dict[int, Any] = {}
    for namespace, module in namespaces().items():
        for name, value in public_names(module).items():
            if callable(value):
                values[id(value)] = value
                names[id(value)].append(f"{namespace}.{name}")
    found: dict[str, tuple[Any, list[str]]] = {}
    for key, value in values.items():
        own = f"tf.{getattr(value, '__name__', None)}"
        # tf.nn's functions, some of which tf.math and tf.linalg have as well, are listed there.
        also = "tf.math.", "tf.linalg."
        first, *others = sorted(
            names[key], key=lambda name, own=own: (name != own, name.startswith(also))
        )
        found[first] = (value, others)
    return dict(sorted(found.items(), key=lambda entry: entry[0].lower()))


def docstring(value: Any) -> str:
    return inspect.getdoc(unwrapped(value)) or ""


def unwrapped(value: Any) -> Any:
    """The function of which a ``functools.partial`` is made."""
    return value.func if isinstance(value, functools.partial) else value


def summary(value: Any) -> str:
    """What it does: the first paragraph of its docstring."""
    first = " ".join(docstring(value).partition("\n\n")[0].split())
    return first.partition(" Torch: ")[0]


def in_torch(full_name: str, value: Any) -> str:
    """How torch or torchscope has it; nothing if its docstring does not say so."""
    value = unwrapped(value)
    if not value.__module__.startswith("torchscope.tf1"):
        return f"`{value.__module__.partition('.')[0]}.{value.__name__}`"
    if told := re.search(r"(?:^|\s)Torch: (.+?)(\n\n|\Z)", docstring(value), re.DOTALL):
        return " ".join(told[1].split())
    if summary(value).startswith("Do nothing"):
        return "nothing"
    name = getattr(value, "__name__", full_name.rpartition(".")[2])
    places = {"torch": torch, "F": torch.nn.functional, "torch.linalg": torch.linalg}
    return next((f"`{place}.{name}`" for place in places if hasattr(places[place], name)), "")


def markdown(text: str) -> str:
    return re.sub(r"(?::func:)?``?([^`]+)``?", r"`\1`", text).replace("|", r"\|")


def page() -> str:
    """The whole of docs/tf1.md."""
    by_namespace: dict[str, list[str]] = defaultdict(list)
    for full, (value, others) in entries().items():
        namespace = full.rpartition(".")[0]
        names = f"`{full}`" + "".join(f", `{other}`" for other in others)
        cells = (names, summary(value) or "torch's own", in_torch(full, value))
        by_namespace[namespace].append(f"| {' | '.join(map(markdown, cells))} |")
    parts = [HEAD]
    for namespace, rows in by_namespace.items():
        table = "\n".join(["| name | what it does | in torch |", "|---|---|---|", *rows])
        parts.append(f"## {namespace}\n\n{table}\n")
    return "\n".join([*parts, constants(), missing()])


def constants() -> str:
    """The values that are not callable: dtypes, keys and levels."""
    rows = []
    for namespace, module in namespaces().items():
        values = public_names(module).items()
        names = [f"`{name}`" for name, value in values if not callable(value)]
        if names:
            rows.append(f"| `{namespace}` | {', '.join(names)} |")
    table = "\n".join(["| namespace | values |", "|---|---|", *rows])
    return f"## Values\n\n{table}\n"


def missing() -> str:
    """The names that are not here."""
    rows = [
        f"| {', '.join(f'`{name}`' for name in names.split())} | {markdown(advice)} |"
        for advice, names in _missing.ADVICE.items()
    ]
    table = "\n".join(["| not here | instead |", "|---|---|", *rows])
    return f"## What is not here\n\nEach is an `AttributeError` that says what to do.\n\n{table}\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE}: {len(entries())} functions and classes")
