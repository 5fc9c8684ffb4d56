"""A checkpoint's files written beside their places, then put there; knows no name and no tensor.

Whenever the process is killed, the old checkpoint or the new one is there whole, and the next save
clears what was left behind.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import torch

from torchscope._errors import CheckpointError

from . import _history, _state
from ._flock import alone_in
from ._mark import Mark, beside, data_files, data_of, left_behind, shards_of
from ._paths import exists, index_of

_BUFFER = 1 << 20


class Publication:
    """The files of one checkpoint on their way.

    Args:
        mark: held by this process.
        stem: the checkpoint's name without the step; None if it has none.
        keep: how many checkpoints of the stem the state file keeps; None leaves it as it is.
    """

    def __init__(self, mark: Mark, stem: str | None, keep: int | None) -> None:
        self._mark, self._stem, self._keep = mark, stem, keep
        self._prefix, self._folder = mark.prefix, mark.prefix.parent
        self._files: list[IO[bytes]] = []
        self.replaces = shards_of(self._prefix) == 1  # then "index-of-2" is needed, too
        self.switched = False  # whether the new index is in its place
        self.done = False
        self.data: IO[bytes]

    def file(self, kind: str) -> IO[bytes]:
        """A new file to be written: ``index``, and ``index-of-2`` if it `replaces`."""
        file = beside(self._prefix, kind).open("wb", buffering=_BUFFER)
        self._files.append(file)
        return file

    def put(self) -> None:
        """Put the files that were written where they belong, and the state file last."""
        with alone_in(self._folder):
            left = left_behind(self._folder, but=self._prefix)
            try:
                self._note([mark.prefix.name for mark in left])
                self._finish_writing()
                self._switch()
                if self._keep is not None:
                    _replace(beside(self._prefix, "state"), self._folder / _state.NAME)
                noted = _noted(self._folder, self._prefix)
                for mark in [self._mark, *left]:
                    mark.clear(noted)
            except BaseException:
                for mark in left:
                    mark.release(keep=True)
                raise
            for mark in left:
                mark.release()
        self._mark.release()
        self.done = True

    def drop(self) -> None:
        """Remove what was written, unless it is in its place already."""
        for file in self._files:
            with suppress(OSError):
                file.close()
        if not self.switched:
            for file in self._files:
                Path(file.name).unlink(missing_ok=True)

    def _note(self, left: list[str]) -> None:
        """Write the new state file, and note what is to be removed then."""
        if self._keep is None:
            return
        name = self._prefix.name
        unnoted = [other for other in left if exists(self._folder / other)]
        state, dropped = _history.following(self._folder, name, self._stem, self._keep, unnoted)
        self.file("state").write(state)
        self._mark.note(dropped)

    def _finish_writing(self) -> None:
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
            file.close()

    def _switch(self) -> None:
        """From the present checkpoint of this prefix to the new one.

        No system replaces two files at once. But an index says how many data files there are, which
        is in their names: where the present one says one, the new one says two for a moment.
        """
        prefix, written = self._prefix, beside(self._prefix, "data")
        if self.replaces:
            of_two = data_of(prefix, 2)
            _replace(written, of_two)
            _replace(beside(prefix, "index-of-2"), index_of(prefix))
            _link(of_two, written)
        _replace(written, data_of(prefix))
        _replace(beside(prefix, "index"), index_of(prefix))
        self.switched = True


@contextmanager
def publishing(
    prefix: Path, stem: str | None, *, keep: int | None, overwrite: bool
) -> Generator[Publication]:
    """Files for a checkpoint, which disappear after an error, unless they were `put` in place.

    Args:
        prefix: its path.
        stem: its name without the step; None if it has none.
        keep: how many checkpoints of the stem the state file keeps; None leaves it as it is.
        overwrite: whether one that is there may be replaced.

    Raises:
        CheckpointError: it exists already, or the files cannot be written.
    """
    try:
        if not beside(prefix, "saving").exists():
            _check_free(prefix, overwrite)
        if keep is not None:
            _history.there(prefix.parent)  # raises if it is not a state file
        mark = _marked(prefix, overwrite)
        publication = Publication(mark, stem, keep)
        try:
            publication.data = publication.file("data")
            yield publication
        except BaseException:
            publication.drop()
            raise
        finally:
            if not publication.done:
                mark.release(keep=mark.found or publication.switched)
    except OSError as error:
        problem = f"{prefix} cannot be written: {error.strerror or error}."
        raise CheckpointError(None, problem) from error


def _marked(prefix: Path, overwrite: bool) -> Mark:
    """The mark of a new save, once what a killed one has left is cleared."""
    with alone_in(prefix.parent):
        mark = Mark(prefix)
        try:
            if mark.found:  # what is there under this name was left by a save of its own
                mark.clear(_noted(prefix.parent))
            else:
                _check_free(prefix, overwrite)
        except BaseException:
            mark.release(keep=mark.found)
            raise
    return mark


def _noted(folder: Path, *new: Path) -> list[str] | None:
    """What the state file notes, and what is new besides; None if it cannot be read."""
    try:
        return [*_history.there(folder), *(prefix.name for prefix in new)]
    except CheckpointError:
        return None


def _check_free(prefix: Path, overwrite: bool) -> None:
    """Raise if there is a checkpoint that must not be replaced."""
    if overwrite or not (exists(prefix) or data_files(prefix)):
        return
    ranks = torch.distributed
    several = ranks.is_available() and ranks.is_initialized() and ranks.get_world_size() > 1
    hint = " Of several ranks with the same variables, let one save." if several else ""
    raise CheckpointError(None, f"{prefix} already exists; overwrite=True replaces it.{hint}")


def _replace(source: Path, target: Path) -> None:
    """Rename, and see to it that the disk knows before anything else happens."""
    source.replace(target)
    _sync(target.parent)


def _link(source: Path, target: Path) -> None:
    """Another name for a file."""
    try:
        os.link(source, target)
    except OSError:  # there are file systems without links
        shutil.copyfile(source, target)
        _sync(target)


def _sync(path: Path) -> None:
    with suppress(OSError):  # not every system syncs a directory
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
