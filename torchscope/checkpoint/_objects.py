"""TensorFlow 2's object checkpoints by the names of variables: the file itself says which is which.

Such a file has the values by the way from the root object to each variable,
``layer-0/kernel/.ATTRIBUTES/VARIABLE_VALUE``, and in one entry the graph of the objects, in which
each also has the name that its variable was made with, ``dense/kernel``.
"""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from torchscope._errors import CheckpointError

from ._mapping import Reader
from ._optimizers import GRAPH, NotTheModels
from ._proto import MalformedError, Message


class ByVariables:
    """A reader whose names are the variables' own, for one whose names lead through objects.

    A name that several variables of different values have says nothing: those keep the names that
    the file has for them, as does what is not a variable.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.has_keys = reader.has_keys
        self.names = dict(sorted((new, old) for old, new in _renamed(reader).items()))
        others = NotTheModels(reader.names)
        self.not_the_models = frozenset(new for new, old in self.names.items() if old in others)

    def describe(self, name: str) -> tuple[torch.dtype | str, torch.Size]:
        return self._reader.describe(self.names[name])

    def read(self, name: str, out: Tensor | None = None) -> Tensor | Any:
        return self._reader.read(self.names[name], out)

    def verify(self, name: str) -> None:
        self._reader.verify(self.names[name])

    def content(self, name: str) -> tuple[object, ...] | None:
        return self._reader.content(self.names[name])

    def close(self) -> None:
        self._reader.close()


def _renamed(reader: Reader) -> dict[str, str]:
    """The reader's names -> the variables', where those tell them apart."""
    full_names = _full_names(reader)
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in reader.names:
        alike[full_names.get(name) or name].append(name)
    result: dict[str, str] = {}
    for new, olds in alike.items():
        if len(olds) == 1 or _are_one(reader, olds):
            result[olds[0]] = new
        else:
            result.update((old, old) for old in olds)
    return result


def _are_one(reader: Reader, names: list[str]) -> bool:
    """Whether they have the same value: one variable that two objects hold, as Keras 3 exports."""
    contents = {reader.content(name) for name in names}
    return len(contents) == 1 and None not in contents


def _full_names(reader: Reader) -> dict[str, str]:
    """What the file has for a variable -> the variable's name."""
    graph = reader.read(GRAPH)
    try:
        if not isinstance(graph, bytes):
            raise MalformedError("it is not one string")
        names: dict[str, str] = {}
        for node in Message(graph).all(1):
            for attribute in map(Message, Message(node).all(2)):
                key, full_name = (
                    bytes(attribute.data(field)).decode(errors="surrogateescape")
                    for field in (3, 2)
                )
                names[key] = full_name
    except MalformedError as error:
        raise CheckpointError(GRAPH, f"The graph of objects cannot be read: {error}.") from error
    return names
