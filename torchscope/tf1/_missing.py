"""Names of TensorFlow 1 that are not here, and what to write instead; knows no other module.

A module of the package explains its missing names by one line::

    __getattr__ = _missing.of("tf.train")
"""

from collections.abc import Callable
from typing import Any

# The full name -> one sentence that says what to do.  A namespace speaks for all that is below it.
INSTEAD: dict[str, str] = {
    "tf.placeholder": "Make it an argument of the function that builds the model.",
    "tf.Session": "PyTorch runs at once: call the function, and read the tensors it returns.",
}


def of(namespace: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``: an AttributeError that says what to do about a missing name.

    Args:
        namespace: how users write the module, for example ``"tf.train"``.
    """

    def missing(name: str) -> Any:
        raise AttributeError(
            f"{namespace}.{name} is not in torchscope.tf1. {_advice(namespace, name)}"
        )

    return missing


def _advice(namespace: str, name: str) -> str:
    full = f"{namespace}.{name}"
    while full:
        if full in INSTEAD:
            return INSTEAD[full]
        full = full.rpartition(".")[0]
    return "Write it with torch itself; docs/tf1.md lists the names that are here."
