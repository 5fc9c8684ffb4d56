"""From a source into a store, by name: check everything, then copy one tensor after the other."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchscope._errors import CheckpointError
from torchscope._sharded import is_sharded, like, reshard
from torchscope._store import VariableStore

from . import _dtypes
from ._assignment import AssignmentMap
from ._mapping import Checkpoint
from ._objects import ByVariables
from ._open import Names
from ._optimizers import GRAPH
from ._paths import PathLike
from ._plan import OBJECTS, Plan
from ._proto import MalformedError
from ._report import Report
from ._sources import Source, Tensors, opened
from ._torch_file import TorchFile


def load(
    store: VariableStore,
    source: PathLike | Mapping[str, Any],
    assignment_map: AssignmentMap | None = None,
    strict: bool = True,
    *,
    names: Names = "file",
) -> Report:
    """Load a checkpoint into a store and the blocks in it, by name.

    TensorFlow's own files need no map: the names are the same, and so are the layouts. ::

        report = checkpoint.load(net, "models/124M")  # a directory, a prefix or a file
        print(report)

    Names, shapes, dtypes and checksums are all checked before the first value is copied; if
    something does not fit, nothing is changed. Values are copied one at a time to wherever each
    variable is, into the parts of a sharded one, too. What optimizers keep (``w/Adam``,
    ``beta1_power``, ``training/Adam/...``), moving averages of variables and losses
    (``w/ExponentialMovingAverage``), metrics and the global step are left out unless the store has
    variables of those names.

    A store that was not built yet keeps the values, and each variable takes its own when it is
    made; at the end of a ``ScopedModule``'s first pass, names that nobody asked for raise. What is
    an optimizer's waits, too, and is dropped if the function does not ask for it.

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
        source: a path as for :func:`torchscope.checkpoint.open`: a TensorFlow checkpoint, a
            safetensors file, a file of ``torch.save`` (read with ``weights_only=True``); a
            `Checkpoint` that is open; or a mapping from names to tensors or arrays, such as a state
            dict or what ``np.load("values.npz")`` gives.
        assignment_map: a mapping, or pairs. As in ``tf.train.init_from_checkpoint``,
            ``"there/": "here/"`` loads a scope, ``"there/w": "here/w"`` a variable, ``"/"`` is the
            root; then nothing else is loaded. Compiled regular expressions first rename the
            source's names: ``re.compile("^old/"): "new/"``, by ``re.sub``; None leaves them out.
        strict: whether a variable that the source lacks, and a name in the source that no
            variable has, are errors. What does not fit by shape or dtype always is.
        names: of a path, as for :func:`torchscope.checkpoint.open`: ``"variables"`` for object
            checkpoints of TensorFlow 2.

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
    with (
        opened(source, names=names) as tensors,
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        if assignment_map is None:
            _check_names(tensors, store.built)
        plan = Plan(store, tensors, assignment_map)
        plan.check(strict)
        for there in plan.report.loaded.values():
            tensors.verify(there)
        if isinstance(tensors, Tensors):
            tensors.keep(plan.crossing(tensors))
        held = {key: _held(tensors, there) for key, there in plan.waiting.items()}
        reshard(store)
        for count, (name, there) in enumerate(plan.into.items()):
            try:
                _read_into(plan.here[name], tensors, there)
            except CheckpointError as error:
                raise _torn(error, count, len(plan.into)) from error
        if not store.built:
            store._pending.hold(held, strict, terms=plan.terms)
    return plan.report


def _held(tensors: Source, there: str) -> Tensor:
    """A value in memory of its own: a variable will be made of it."""
    shape, dtype = tensors.shape(there), cast("torch.dtype", tensors.dtype(there))
    try:
        value = _dtypes.empty(shape, dtype)
    except MalformedError as error:
        raise CheckpointError(there, f"{there!r} cannot be kept in memory: {error}.") from error
    _read_into(value, tensors, there)
    return value


def _read_into(variable: Tensor, tensors: Source, there: str) -> None:
    if isinstance(tensors, Checkpoint) and not is_sharded(variable):
        tensors.read_into(variable, there)
    else:
        variable.copy_(like(variable, tensors[there]))


def _torn(error: CheckpointError, count: int, total: int) -> CheckpointError:
    """What is raised where a file that was good a moment ago cannot be read to its end."""
    problem = f"{error} The file was changed while it was loaded: {count} of {total} variables "
    problem += "have their new values, the next one perhaps a part. Load again."
    return CheckpointError(error.name, problem)


def _check_names(tensors: Source, built: bool) -> None:
    """Raise where the names of a file cannot be a store's, and say which way to take them."""
    if not isinstance(tensors, Checkpoint):
        return
    if not built and GRAPH in tensors and not isinstance(tensors._reader, ByVariables):
        raise CheckpointError(None, f"{tensors.path} {OBJECTS}")
    if isinstance(tensors._reader, TorchFile):
        counts = tensors._reader.dicts
        if counts:
            largest = max(counts, key=lambda name: counts[name])
            listed = ", ".join(f"{name!r} ({count} tensors)" for name, count in counts.items())
            raise CheckpointError(
                None,
                f"{tensors.path} holds dicts of tensors: {listed}. To load one: "
                f"assignment_map={{{largest + '/'!r}: '/'}}.",
            )


def _store_in(module: Any) -> str:
    """An expression for the store inside a compiled module, DDP or a bigger model."""
    inside = cast("Any", module).named_modules() if isinstance(module, nn.Module) else ()
    paths = [path for path, inner in inside if isinstance(inner, VariableStore)]
    return f"module.get_submodule({paths[0]!r})" if paths else "module.net"
