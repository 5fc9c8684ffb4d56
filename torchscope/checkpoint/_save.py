"""From a store or a mapping into TensorFlow's files: check everything, then write one by one."""

import operator
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import torch
from torch import Tensor, nn

from torchscope._errors import CheckpointError
from torchscope._sharded import gathered, reshard
from torchscope._store import VariableStore

from . import _dtypes, _state
from ._bundle_writer import BundleWriter, Strings
from ._mapping import Checkpoint
from ._paths import TORCH_ENDINGS, PathLike, home_hint, is_directory, prefix_of
from ._publish import Publication, publishing
from ._ranks import Ranks
from ._sources import Source
from ._stored import pending, stored
from ._values import STRING, check_name, flat_strings, plain, writable

Slots = Mapping[str, Any] | Iterable[Mapping[str, Any]]

_STEP = "global_step"


def save(
    source: VariableStore | Mapping[str, Any],
    prefix: PathLike,
    *,
    step: int | Tensor | None = None,
    slots: Slots | None = None,
    keep: int | None = 5,
    overwrite: bool = False,
) -> Path:
    """Save variables as a TensorFlow checkpoint, which TensorFlow 1 and 2 read by name.

    The files are TensorFlow's V2 format, byte for byte: ``PREFIX-STEP.index``,
    ``PREFIX-STEP.data-00000-of-00001``, and in the same directory the text file ``checkpoint``,
    which notes the latest one and those before it. ::

        path = checkpoint.save(net, "logs/model.ckpt", step=1000)

    A store is written under its full names, blocks and modules kept in it included: what
    ``state_dict`` has, as it is now. Values that were loaded before the build are written as they
    wait. Tensors are written one at a time, with checksums.

    Everything is checked first. The files are written beside their places, put there once they are
    on the disk, and noted last: whenever the process is killed, the old checkpoint or the new one
    is there whole, and the next save clears what was left behind.

    Variables that ``fully_shard`` or ``distribute_tensor`` have sharded are gathered one at a time:
    call it on all ranks. The first rank writes, all return when the files are there, and if one
    fails, all raise. Where each rank has all variables (DDP), call it on one rank.

    >>> import tempfile, torch, torchscope as ts
    >>> from torchscope import checkpoint
    >>> net = ts.ScopedModule(lambda x: x @ ts.get_variable("w", [2, 3])).build(torch.ones(1, 2))
    >>> with tempfile.TemporaryDirectory() as logs:
    ...     path = checkpoint.save(net, f"{logs}/model.ckpt", step=7)
    ...     print(path.name, checkpoint.list_variables(logs))
    model.ckpt-7 [('global_step', []), ('w', [2, 3])]

    Args:
        source: a ``ScopedModule`` or another ``VariableStore``; or a mapping from names to tensors,
            arrays, numbers or strings (``str``, ``bytes``, lists of them), such as an open
            `Checkpoint`.
        prefix: where the files go, without their endings; its directory has to exist.
        step: the number of steps so far. It is put behind the prefix, and is written as the int64
            scalar ``global_step`` where the source has no variable of that name.
        slots: what an optimizer of ``torchscope.tf1.train`` keeps, by TensorFlow's names:
            ``optimizer.slot_variables()``; of several optimizers, a list.
        keep: how many checkpoints of this prefix with a step to keep, as
            ``tf.train.Saver(max_to_keep=)`` does: older ones are removed. None or 0 for all.
        overwrite: whether a checkpoint of the same prefix and step may be replaced.

    Returns:
        The path of the checkpoint: ``PREFIX-STEP``.

    Raises:
        CheckpointError: something cannot be written: a tensor on the meta device, a sparse or
            quantized one, a dtype or a name that TensorFlow does not have, two values of one name;
            the checkpoint exists already; the directory does not exist, or the disk is full.
            Nothing was changed.
    """
    keep = 0 if keep is None else _natural("keep", keep)
    number = None if step is None else _natural("step", step)
    stem = target = Path(os.fsdecode(prefix))
    counted = None
    if number is not None:
        target, counted = stem.with_name(f"{stem.name}-{number}"), stem.name
    with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
        items = list(_items_of_slots(slots))
        given = [item.name for item in items] + ([] if number is None else [_STEP])
        items += _items_of(source, given)
        if number is not None and _STEP not in {item.name for item in items}:
            items.append(Item(_STEP, partial(torch.tensor, number, dtype=torch.int64)))
        items.sort(key=lambda item: item.name)
        ranks = Ranks(_sharded(items))
        publication = None
        with ranks.agreeing() as same:
            same.extend(checked(items))
            if ranks.writes:
                _check_place(stem, target)
        with ranks.agreeing():
            if ranks.writes:
                files = publishing(target, counted, keep=keep, overwrite=overwrite)
                publication = stack.enter_context(files)
        with ranks.agreeing():
            write_items(items, publication, alone=ranks.alone)
        with ranks.agreeing():
            if publication is not None:
                publication.put()
    return target


class Item(NamedTuple):
    """Something to write: its name, and how to get it when its turn has come."""

    name: str
    fetch: Callable[[], Any]
    described: str = ""  # what it is, where that is known without fetching it


def checked(items: list[Item]) -> Iterator[str]:
    """What each is, in a word; nothing is kept of the values.

    Raises:
        CheckpointError: one of them cannot be written, or there are none, or two of one name.
    """
    if not items:
        raise CheckpointError(
            None,
            "There are no variables to save. A ScopedModule makes them when it is built: "
            "net.build(*example).",
        )
    before = None
    for item in items:
        if item.name == before:
            raise CheckpointError(
                item.name,
                f"Two values would be saved as {item.name!r}. Rename one of them, or leave it out.",
            )
        before = item.name
        check_name(item.name)
        if item.described:
            yield item.described
            continue
        value = writable(item.name, item.fetch())
        dtype = "string" if isinstance(value, Strings) else value.dtype
        yield f"{item.name} {dtype} {tuple(value.shape)}"


def write_items(
    items: list[Item],
    publication: Publication | None,
    *,
    alone: bool = True,
    done: Callable[[int], None] = lambda size: None,
) -> None:
    """Write the data, one after the other, then the index.

    Args:
        items: sorted by name.
        publication: where it goes; None for a rank that only takes part in gathering.
        alone: whether no rank waits for this one, so that it may stop at once.
        done: told how many bytes more have been written.
    """
    bundle = None if publication is None else BundleWriter(publication.data.write)
    failure: Exception | None = None
    for item in items:
        try:
            value = writable(item.name, item.fetch())
            if isinstance(value, Tensor):
                value = gathered(value)
            if bundle is not None and failure is None:
                done(bundle.add(item.name, plain(item.name, value)))
        except Exception as error:
            if alone:
                raise
            failure = failure or error  # the other ranks go on gathering
    if failure is not None:
        raise failure
    if bundle is not None and publication is not None:
        bundle.write_index(publication.file("index").write)
        if publication.replaces:
            bundle.write_index(publication.file("index-of-2").write, shards=2)


# ---- what is saved -------------------------------------------------------------------------------


def _items_of(source: Any, given: Collection[str]) -> Iterator[Item]:
    """What a source has; ``given`` is what is saved besides."""
    if isinstance(source, VariableStore):
        reshard(source)
        tensors, _, _ = stored(source)
        for name, tensor in [*tensors.items(), *pending(source, given)]:
            yield Item(name, partial(_itself, tensor))
    elif isinstance(source, Checkpoint):
        for name in source:
            yield item_of(source, name, name)
    elif isinstance(source, Mapping):
        yield from _items_of_mapping(cast("Mapping[Any, Any]", source))
    else:
        raise TypeError(
            "checkpoint.save takes a ScopedModule or another VariableStore, or a mapping from names"
            f" to tensors, not {type(source).__name__}.{_hint(source)}"
        )


def _items_of_mapping(mapping: Mapping[Any, Any]) -> Iterator[Item]:
    for name in mapping:
        if not isinstance(name, str):
            raise CheckpointError(None, f"{name!r} is not a name: names are strings.")
        yield Item(name, partial(mapping.__getitem__, name))


def item_of(source: Source, name: str, new: str) -> Item:
    """A variable of a file, to be written under a new name, or the same."""
    dtype, shape = source.dtype(name), tuple(source.shape(name))
    if dtype != STRING and dtype not in _dtypes.NUMBERS:
        raise CheckpointError(
            name, f"{name!r} is {dtype}, which torch or TensorFlow does not have: leave it out."
        )

    def fetch() -> Any:
        value = source[name]
        return flat_strings(value, shape) if dtype == STRING else value

    return Item(new, fetch, f"{new} {dtype} {shape}")


def _items_of_slots(slots: Any) -> Iterator[Item]:
    several: Any = () if slots is None else [slots] if isinstance(slots, Mapping) else slots
    if isinstance(slots, torch.optim.Optimizer) or not isinstance(several, Iterable):
        _refuse_slots(slots)
    for one in cast("Iterable[Any]", several):
        if not isinstance(one, Mapping) or "param_groups" in one:
            _refuse_slots(one)
        yield from _items_of_mapping(cast("Mapping[Any, Any]", one))


def _refuse_slots(given: Any) -> NoReturn:
    cure, kind = "slots=optimizer.slot_variables()", type(given).__name__
    torchs = not hasattr(given, "slot_variables")
    if torchs and isinstance(given, torch.optim.Optimizer | Mapping):
        cure = (
            "of torch's own optimizers TensorFlow has no names. Train with torchscope.tf1.train, or"
            " keep optimizer.state_dict() with torch.save"
        )
    raise TypeError(f"slots is what an optimizer keeps, by TensorFlow's names, not {kind}: {cure}.")


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _sharded(items: list[Item]) -> Iterator[Tensor]:
    """The tensors that may be sharded; none where there are no ranks."""
    ranks = torch.distributed
    if ranks.is_available() and ranks.is_initialized():
        values = (item.fetch() for item in items if not item.described)
        yield from (value for value in values if isinstance(value, Tensor))


# ---- arguments -----------------------------------------------------------------------------------


def _natural(what: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{what} is a whole number, not {value!r}.")
    if number < 0:
        raise CheckpointError(None, f"{what} is a number from 0 on, not {number}.")
    return number


def _check_place(stem: Path, target: Path) -> None:
    """Raise unless a checkpoint may be at ``target``; ``stem`` is the prefix that was given."""
    folder = stem.parent
    problem = ""
    if is_directory(stem):
        problem = f"{stem} is a directory: give a name in it, such as {str(stem / 'model.ckpt')!r}."
    elif not is_directory(folder):
        cure = home_hint(stem) or f" Make it: mkdir -p {shlex.quote(str(folder))}"
        problem = f"There is no directory {folder}.{cure}"
    elif prefix_of(stem) != stem:
        problem = f"{stem} would be one of a checkpoint's files: leave out {stem.suffix!r}."
    elif stem.suffix in (".safetensors", *TORCH_ENDINGS):
        problem = (
            f"{stem}: save writes TensorFlow's files, whose names begin with the prefix, such as "
            f"{str(stem.with_suffix('.ckpt'))!r}. For the other formats: torchscope convert."
        )
    elif target.name == _state.NAME:
        problem = f"{target} is the state file's name: give another, such as 'model.ckpt'."
    if problem:
        raise CheckpointError(None, problem)


def _hint(source: Any) -> str:
    """What to pass instead."""
    if not isinstance(source, nn.Module):
        return ""
    paths = [
        path for path, one in cast("Any", source).named_modules() if isinstance(one, VariableStore)
    ]
    which = f"module.get_submodule({paths[0]!r})" if paths else "module.state_dict()"
    return f" Pass {which}."
