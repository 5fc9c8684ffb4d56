"""Ranks that save sharded variables together: who writes, and whether all went well; no file."""

import hashlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from torchscope._errors import CheckpointError
from torchscope._sharded import is_sharded


class Ranks:
    """The processes that hold parts of the same variables; alone where none is sharded.

    Args:
        tensors: the variables, in the same order on every rank.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        meshes: dict[Any, None] = {}
        for tensor in tensors:
            if is_sharded(tensor):
                sharded: Any = tensor
                meshes[sharded.device_mesh] = None
        self._meshes = list(meshes)

    @property
    def alone(self) -> bool:
        """Whether this process need not wait for another."""
        return not self._meshes

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes: the first of all that hold parts."""
        if self.alone:
            return True
        from torch import distributed

        first = min(int(mesh.mesh.min()) for mesh in self._meshes)
        return distributed.get_rank() == first

    @contextmanager
    def agreeing(self) -> Generator[list[str]]:
        """Raise at the end, on every rank, if any rank has raised.

        Gives a list for what has to be the same on all ranks.
        """
        same: list[str] = []
        failure: Exception | None = None
        try:
            yield same
        except Exception as error:
            failure = error
        if not self.alone:
            self._exchange(failure, hashlib.sha256("\n".join(same).encode()).hexdigest())
        if failure is not None:
            raise failure

    def _exchange(self, failure: Exception | None, digest: str) -> None:
        """Tell the others; raise for what they tell, if there is nothing to raise here."""
        from torch import distributed

        rank = distributed.get_rank()
        told: dict[int, tuple[str, str]] = {rank: (str(failure) if failure else "", digest)}
        for mesh in self._meshes:  # along each dimension in turn it comes to all
            for dimension in range(mesh.ndim):
                group = mesh.get_group(dimension)
                parts: list[Any] = [None] * distributed.get_world_size(group)
                distributed.all_gather_object(parts, told, group=group)
                told = {rank: one for part in parts for rank, one in part.items()}
        if failure is not None:
            return
        for other, (problem, _) in sorted(told.items()):
            if problem:
                raise CheckpointError(None, f"Saving failed on rank {other}: {problem}")
        if len({digest for _, digest in told.values()}) > 1:
            raise CheckpointError(
                None,
                "The ranks do not hold the same variables, so nothing was saved: "
                "torchscope.distributed.check_same_variables(net) says which differ.",
            )
