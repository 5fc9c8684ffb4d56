"""What of a source goes to which variable of a store, and what is wrong with it; reads no value."""

import re
from typing import Any

from torch import Tensor, nn

from torchscope._arguments import keeps_all
from torchscope._errors import CheckpointError
from torchscope._names import escape
from torchscope._store import VariableStore

from . import _assignment
from ._assignment import AssignmentMap, Pair
from ._optimizers import VALUE, NotTheModels, is_beside
from ._report import Mismatch, Report
from ._sources import Source, Tensors
from ._stored import stored
from ._terms import LoadTerms

OBJECTS = (
    "is an object checkpoint of TensorFlow 2, whose names lead through its objects. For the names "
    "that the variables were made with: names='variables'."
)


class CheckpointMismatchError(CheckpointError):
    """A source does not fit a store; nothing was loaded.

    Attributes:
        report: the `Report` of what was found.
    """

    @property
    def report(self) -> Report:
        return self.args[1]


CheckpointMismatchError.__module__ = "torchscope.checkpoint"


class Plan:
    """What is to be loaded from where; reads only names, shapes and dtypes.

    Names *there* are the source's, unchanged; names *here* are full names in the store. In
    between are the source's names after the patterns of the map have renamed them (`_renamed`) and
    in the spelling of full names (`_spelt`): both map back to names there.
    """

    def __init__(
        self, store: VariableStore, tensors: Source, assignment_map: AssignmentMap | None
    ) -> None:
        self._tensors, self._built = tensors, store.built
        self.here, self._dtypes, self._tied = stored(store)
        self.into: dict[str, str] = {}  # variables that are there already
        self.waiting: dict[str, str] = {}  # state-dict keys of those that are still to be made
        self.terms = LoadTerms()
        self.report = Report("a mapping" if tensors.path is None else str(tensors.path))

        self._pairs, patterns = _assignment.split(assignment_map)
        self._rename(patterns)
        self._spell()
        self._choose()
        rest, optional = self._left_over()
        if store.built:
            self.report.unexpected.extend(self._renamed[name] for name in rest)
        elif self._pairs is None:
            self._wait_for_all(rest, optional)
        else:
            self._wait_for_pairs(self._pairs, rest, optional)

    def _rename(self, patterns: list[Any]) -> None:
        """Apply the regular expressions, which may leave names out."""
        names = [name for name in self._tensors if not _is_extra_state(name, self._tensors)]
        renamed = _assignment.renamed(names, patterns)
        self.report.left_out.extend(old for old, new in renamed.items() if new is None)
        self._renamed = {new: old for old, new in renamed.items() if new is not None}
        self._not_the_models = self._tensors.not_the_models
        if patterns:  # What is left out may have slots, too.
            known = [new for new, old in self._renamed.items() if old in self._not_the_models.known]
            self._not_the_models = NotTheModels({*self._renamed, *renamed}, known)

    def _spell(self) -> None:
        """Spell the names as the store's; a file may have any one name of a tied parameter."""
        spelt = self._renamed
        if self._tensors.has_keys:
            keys = _assignment.spelt_as_keys(self._renamed)
            spelt = {name: self._renamed[key] for name, key in keys.items()}
        tied = {other: first for other, first in self._tied.items() if other in spelt}
        self._again = {spelt[other] for other in tied}
        self._spelt = {**{first: spelt[other] for other, first in tied.items()}, **spelt}

    def _choose(self) -> None:
        """Check each variable here that is wanted: all, or those that the pairs name."""
        wanted = {name: name for name in self.here}
        if self._pairs is not None:
            wanted = _assignment.by_pairs(self._pairs, self.here, lenient=not self._built)
            self.report.untouched.extend(name for name in self.here if name not in wanted)
        for name, there in wanted.items():
            self._judge(name, there)

    def _left_over(self) -> tuple[list[str], list[str]]:
        """The renamed names that no variable here has taken: the model's, and an optimizer's."""
        report = self.report
        used = {*report.loaded.values(), *(mismatch.there for mismatch in report.mismatched)}
        rest: list[str] = []
        optional: list[str] = []
        for new, old in self._renamed.items():
            if old in used:
                continue
            is_optional = new in self._not_the_models
            if (
                old in self._again
                or isinstance(self._tensors.dtype(old), str)
                or (self._built and (is_optional or self._pairs is not None))
            ):
                report.left_out.append(old)
            else:
                (optional if is_optional else rest).append(new)
        return rest, optional

    def _wait_for_all(self, rest: list[str], optional: list[str]) -> None:
        """Let all wait for the first pass, which must ask for all but what is an optimizer's."""
        for new in rest:
            self._wait(self._key(new), new, self._renamed[new])
        self.terms = LoadTerms([self._offer(self._key(new), new) for new in optional])

    def _key(self, new: str) -> str:
        return new if self._tensors.has_keys else escape(new)

    def _wait_for_pairs(self, pairs: list[Pair], rest: list[str], optional: list[str]) -> None:
        """Let what the pairs name wait for the first pass."""
        unused = {self._renamed[new] for new in (*rest, *optional)}
        optional_there = {self._renamed[new] for new in optional}
        there = {name for name, old in self._spelt.items() if old in unused}
        named = {target for key, target in pairs if not key.endswith("/")}
        offered: list[str] = []
        for name, new in _assignment.by_pairs_reversed(pairs, there).items():
            old = self._spelt.get(new)
            if name in self.here:
                continue
            if old is None:
                self._lack(name, new)
            elif old in optional_there and name not in named:
                self.waiting[escape(name)] = old
                self.report.offered.append(old)
                offered.append(escape(name))
            else:
                self._wait(escape(name), name, old)
        # As in TensorFlow, what a scope there has and the scope here has not is passed over.
        covers = tuple("" if to == "/" else to for _, to in pairs)
        self.terms = LoadTerms({*self.waiting, *offered}, covers)
        taken = {*self.report.loaded.values(), *self.report.offered}
        self.report.left_out.extend(
            self._renamed[new] for new in (*rest, *optional) if self._renamed[new] not in taken
        )

    def _judge(self, name: str, wanted: str) -> None:
        """Whether the variable ``name``, which is here, can take what is there."""
        there = self._spelt.get(wanted)
        if there is None:
            self._lack(name, wanted)
            return
        shape, shape_there = tuple(self.here[name].shape), tuple(self._tensors.shape(there))
        dtype, dtype_there = self._dtypes[name], self._tensors.dtype(there)
        # Moved by .half() or the like, a variable still is what it was declared as.
        fits = any(keeps_all(dtype_there, one) for one in (dtype, self.here[name].dtype))
        if shape == shape_there and fits:
            self.into[name] = self.report.loaded[name] = there
        else:
            self.report.mismatched.append(
                Mismatch(name, there, shape, shape_there, dtype, dtype_there)
            )

    def _lack(self, name: str, wanted: str) -> None:
        self.report.missing.append(name)
        if wanted != name:
            self.report.sought[name] = wanted

    def _wait(self, key: str, name: str, there: str) -> None:
        self.waiting[key] = self.report.loaded[name] = there
        self.report.waiting.append(name)

    def _offer(self, key: str, new: str) -> str:
        """Keep a value that the first pass need not ask for."""
        self.waiting[key] = self._renamed[new]
        self.report.offered.append(self._renamed[new])
        return key

    def crossing(self, tensors: Tensors) -> set[str]:
        """Names there whose memory is another variable's here: in a state dict of this store."""
        written: dict[int, set[str]] = {}
        for name in self.into:
            written.setdefault(_memory(self.here[name]), set()).add(name)
        return {
            there
            for name, there in self.report.loaded.items()
            if written.get(_memory(tensors[there]), {name}) != {name}
        }

    def check(self, strict: bool) -> None:
        """Raise if something does not fit."""
        report = self.report
        for name in self.into:
            if self.here[name].is_meta:
                raise CheckpointError(
                    name,
                    f"Variable {name!r} is on the meta device, which holds no values. Give the "
                    "store memory first: store.to_empty(device='cpu').",
                )
        cures: list[str] = []
        if report.mismatched:
            pattern = f"^{re.escape(report.mismatched[0].there)}$"
            cures.append(
                "Change the variables or the values, or leave one out: "
                f"assignment_map={{re.compile({pattern!r}): None}}, strict=False."
            )
        if strict and (report.missing or report.unexpected):
            cures += _hint_at_slots(report)
            if any(name.endswith(VALUE) for name in report.unexpected):
                cures.append(f"It {OBJECTS}")
            cures.append("To load what fits by name: strict=False.")
        elif not cures and not report.loaded:
            cures.append("No name fits: give an assignment_map.")
        if cures:
            lines = [f"{report.source} does not fit; nothing was loaded.", *report.rest(), *cures]
            raise CheckpointMismatchError(None, report, "\n".join(lines))


def _hint_at_slots(report: Report) -> list[str]:
    """How to leave out the slots of an optimizer with a name that is not recognized."""
    variables = set(report.loaded.values())
    beside = [name for name in report.unexpected if is_beside(name, variables)]
    if not beside:
        return []
    words = sorted({re.escape(name.rpartition("/")[2]) for name in beside})
    return [
        f"{len(beside)} of these look like slots of an optimizer: a variable's name and a word. To "
        f"leave them out: assignment_map={{re.compile('/({'|'.join(words)})$'): None}}."
    ]


def _is_extra_state(name: str, tensors: Source) -> bool:
    """Whether a state dict keeps something under that key that is not of the model's tensors."""
    return tensors.has_keys and name.endswith("_extra_state")


def _memory(tensor: Tensor) -> int:
    """Where its numbers are, if it is not of a subclass, which may have none of its own."""
    if type(tensor) in (Tensor, nn.Parameter):
        return tensor.untyped_storage().data_ptr()
    return id(tensor)
