"""From a source into a store, by name: check everything, then copy one tensor after the other."""

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchscope._arguments import keeps_all
from torchscope._errors import CheckpointError
from torchscope._names import escape
from torchscope._sharded import back_in_parts, in_parts, like
from torchscope._store import VariableStore

from . import _assignment
from ._assignment import AssignmentMap, Pair
from ._mapping import Checkpoint
from ._open import PathLike
from ._report import Mismatch, Report
from ._sources import Source, Tensors, opened
from ._stored import stored
from ._terms import LoadTerms


class CheckpointMismatchError(CheckpointError):
    """A source does not fit a store; nothing was loaded.

    Attributes:
        report: the `Report` of what was found.
    """

    @property
    def report(self) -> Report:
        return self.args[1]


CheckpointMismatchError.__module__ = "torchscope.checkpoint"


def load(
    store: VariableStore,
    source: PathLike | Mapping[str, Any],
    assignment_map: AssignmentMap | None = None,
    strict: bool = True,
) -> Report:
    """Load a checkpoint into a store and the blocks in it, by name.

    TensorFlow's own files need no map: the names are the same, and so are the layouts. ::

        report = checkpoint.load(net, "models/124M")  # a directory, a prefix or a file
        print(report)

    Names, shapes, dtypes and checksums are all checked before the first value is copied; if
    something does not fit, nothing is changed. Values are copied one at a time to wherever each
    variable is, also into the shards of a sharded one. Optimizers' slots (``w/Adam``,
    ``beta1_power``, ...), moving averages of variables (``w/ExponentialMovingAverage``)
    and the global step are left out unless the store has variables of those names.

    In a store that was not built yet the values wait, and each variable takes its own when it is
    made; at the end of a ``ScopedModule``'s first pass, names that were not asked for raise. If
    a model itself has variables like ``w/ExponentialMovingAverage``, build it before.

    >>> import torch, torchscope as ts
    >>> from torchscope import checkpoint
    >>> def model(x):
    ...     with ts.variable_scope("dense"):
    ...         return x @ ts.get_variable("kernel", [2, 3])
    >>> net = ts.ScopedModule(model).build(torch.ones(1, 2))
    >>> print(checkpoint.load(net, {"dense/kernel": torch.zeros(2, 3)}))
    1 variables loaded, from a mapping
    >>> print(checkpoint.load(net, {"old/kernel": torch.ones(2, 3)}, {"old/": "dense/"}))
    1 variables loaded, from a mapping

    Args:
        store: a ``ScopedModule`` or another ``VariableStore``.
        source: a TensorFlow checkpoint as for :func:`torchscope.checkpoint.open` (or one that is
            open), a ``.safetensors`` file, a file of ``torch.save`` (read with
            ``weights_only=True``), or a mapping from names to tensors, such as a state dict.
        assignment_map: a mapping, or pairs. As in ``tf.train.init_from_checkpoint``,
            ``"there/": "here/"`` loads a scope, ``"there/w": "here/w"`` a variable, ``"/"`` is the
            root; then nothing else is loaded. Compiled regular expressions first rename the
            source's names: ``re.compile("^old/"): "new/"``, by ``re.sub``; None leaves them out.
        strict: whether a variable that the source lacks, and a name in the source that no
            variable has, are errors. A shape or dtype that does not fit always is.

    Returns:
        A `Report` of what was loaded and what was not; ``print`` it.

    Raises:
        CheckpointError: the source cannot be read.
        CheckpointMismatchError: it does not fit; this is a CheckpointError with a ``.report``.
    """
    if not isinstance(store, VariableStore):
        raise TypeError(
            "checkpoint.load takes a ScopedModule or another VariableStore, not "
            f"{type(store).__name__}. Where a module holds one: "
            f"checkpoint.load({_store_in(store)}, path)."
        )
    with opened(source) as tensors, torch.inference_mode(False), torch.no_grad():
        plan = _Plan(store, tensors, assignment_map)
        plan.check(strict)
        for there in plan.report.loaded.values():
            tensors.verify(there)
        if isinstance(tensors, Tensors):
            tensors.keep(plan.crossing(tensors))
        # In memory of their own: variables will be made of these.
        held: dict[str, Tensor] = {}
        for key, there in plan.waiting.items():
            dtype = cast("torch.dtype", tensors.dtype(there))
            held[key] = torch.empty(tensors.shape(there), dtype=dtype, device="cpu")
            _read_into(held[key], tensors, there)
        back_in_parts(store)
        for name, there in plan.into.items():
            _read_into(plan.here[name], tensors, there)
        if not store.built:
            store._pending.hold(held, strict, terms=plan.terms)
    return plan.report


def _read_into(variable: Tensor, tensors: Source, there: str) -> None:
    if isinstance(tensors, Checkpoint) and not in_parts(variable):
        tensors.read_into(variable, there)
    else:
        variable.copy_(like(variable, tensors[there]))


def _store_in(module: Any) -> str:
    """An expression for the store inside a compiled module, DDP or a bigger model."""
    inside = cast("Any", module).named_modules() if isinstance(module, nn.Module) else ()
    paths = [path for path, inner in inside if isinstance(inner, VariableStore)]
    return f"module.get_submodule({paths[0]!r})" if paths else "module.net"


class _Plan:
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
        rest = self._left_over()
        if store.built:
            self.report.unexpected.extend(self._renamed[name] for name in rest)
        elif self._pairs is None:
            self._wait_for_all(rest)
        else:
            self._wait_for_pairs(self._pairs, rest)

    def _rename(self, patterns: list[Any]) -> None:
        """Apply the regular expressions, which may leave names out."""
        renamed = _assignment.renamed(self._tensors, patterns)
        self.report.left_out.extend(old for old, new in renamed.items() if new is None)
        self._renamed = {new: old for old, new in renamed.items() if new is not None}
        self._all_names = {*self._renamed, *renamed}  # also what is left out may have slots

    def _spell(self) -> None:
        """Spell the names as the store does; a file may have any of a tied parameter's names."""
        spelt = self._renamed
        if not isinstance(self._tensors, Checkpoint):  # A state dict, which has keys.
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

    def _left_over(self) -> list[str]:
        """The renamed names that no variable here has, except optimizers' slots."""
        report = self.report
        used = {*report.loaded.values(), *(mismatch.there for mismatch in report.mismatched)}
        rest: list[str] = []
        for new, old in self._renamed.items():
            if old in used:
                continue
            leave_out = old in self._again or isinstance(self._tensors.dtype(old), str)
            leave_out = leave_out or _assignment.is_slot(new, self._all_names)
            if self._built:
                no_variable = self._pairs is not None or _assignment.is_bookkeeping(new)
                leave_out = leave_out or no_variable
            (report.left_out if leave_out else rest).append(old if leave_out else new)
        return rest

    def _wait_for_all(self, rest: list[str]) -> None:
        """Let all values wait for the first pass, which must ask for all but bookkeeping."""
        optional: list[str] = []
        for new in rest:
            key = escape(new) if isinstance(self._tensors, Checkpoint) else new
            if _assignment.is_bookkeeping(new):
                optional.append(key)
                self.waiting[key] = self._renamed[new]
                self.report.left_out.append(self._renamed[new])
            else:
                self._wait(key, new, self._renamed[new])
        self.terms = LoadTerms(optional)

    def _wait_for_pairs(self, pairs: list[Pair], rest: list[str]) -> None:
        """Let what the pairs name wait for the first pass."""
        unused = {self._renamed[new] for new in rest}
        there = {name for name, old in self._spelt.items() if old in unused}
        for name, new in _assignment.by_pairs_reversed(pairs, there).items():
            if name not in self.here and new in self._spelt:
                self._wait(escape(name), name, self._spelt[new])
            elif name not in self.here:
                self._lack(name, new)
        # As in TensorFlow, names that only the scope there has are ignored.
        covers = tuple("" if to == "/" else to for _, to in pairs)
        self.terms = LoadTerms(self.waiting, covers)
        taken = set(self.report.loaded.values())
        left = [self._renamed[new] for new in rest if self._renamed[new] not in taken]
        self.report.left_out.extend(left)

    def _judge(self, name: str, wanted: str) -> None:
        """Whether the variable ``name``, which is here, can take what is there."""
        there = self._spelt.get(wanted)
        if there is None:
            self._lack(name, wanted)
            return
        shape, shape_there = tuple(self.here[name].shape), tuple(self._tensors.shape(there))
        dtype, dtype_there = self._dtypes[name], self._tensors.dtype(there)
        # After .half() or the like, the declared dtype still counts.
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

    def crossing(self, tensors: Tensors) -> set[str]:
        """Names there that share memory with another variable here: a state dict of this store."""
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
            cures.append("To load what fits by name: strict=False.")
        elif not cures and not report.loaded:
            cures.append("No name fits: give an assignment_map.")
        if cures:
            lines = [f"{report.source} does not fit; nothing was loaded.", *report.rest(), *cures]
            raise CheckpointMismatchError(None, report, "\n".join(lines))


def _hint_at_slots(report: Report) -> list[str]:
    """How to leave out the slots of an optimizer with a name that is not recognized."""
    variables = set(report.loaded.values())
    beside = [name for name in report.unexpected if _assignment.is_beside(name, variables)]
    if not beside:
        return []
    words = sorted({re.escape(name.rpartition("/")[2]) for name in beside})
    return [
        f"{len(beside)} of these look like slots of an optimizer: a variable's name and a word. To "
        f"leave them out: assignment_map={{re.compile('/({'|'.join(words)})$'): None}}."
    ]


def _memory(tensor: Tensor) -> int:
    """The address of its data; None for a subclass, which may have no data of its own."""
    if type(tensor) in (Tensor, nn.Parameter):
        return tensor.untyped_storage().data_ptr()
    return id(tensor)
