"""Two programs for TensorFlow 1 that train, ported, finished by hand, and trained again.

    python tests/ported_training.py

prints, of each, how much the command and a person changed, and how far the training is from what
TensorFlow recorded. ``tests/data/programs`` has the programs, their finished ports
(``*_finished.py``), and the recordings with the script that made them.
"""

import difflib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import torchscope as ts
from torchscope import checkpoint
from torchscope.port import Ported, port

PROGRAMS = Path(__file__).parent / "data" / "programs"


class Recording:
    """What TensorFlow computed with a program."""

    def __init__(self, name: str) -> None:
        with np.load(PROGRAMS / f"{name}.npz") as file:
            self._values = {key: torch.from_numpy(values) for key, values in file.items()}

    def __getitem__(self, key: str) -> Tensor:
        return self._values[key]

    def below(self, folder: str) -> dict[str, Tensor]:
        prefix = f"{folder}/"
        found = self._values.items()
        return {key.removeprefix(prefix): v for key, v in found if key.startswith(prefix)}


class Trained(NamedTuple):
    """A finished port that trained from TensorFlow's first values: what it gave and left.

    Attributes:
        given: what the steps gave, by the names in the recording.
        left: variables and slots after the last step.
        store: what held the variables.
    """

    given: dict[str, Tensor]
    left: dict[str, Tensor]
    store: ts.VariableStore


def source(name: str) -> str:
    return (PROGRAMS / f"{name}.py").read_text()


def by_command(name: str) -> Ported:
    """What `torchscope port` makes of a program."""
    return port(source(name).encode(), name)


def finished(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}_finished.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_ptb_lm(recording: Recording) -> Trained:
    program = finished("ptb_lm")
    config = program.Config()
    store = program.build(config)
    # The rate and the number of the step were variables; both are Python's here.
    extra = "Train/Model/Variable", "Model/global_step"
    before = recording.below("before")
    checkpoint.load(store, {key: v for key, v in before.items() if key not in extra})
    words, held_out = recording["words"], recording["held_out"]
    costs, valid_costs = program.train(store, config, words, held_out)
    given = {"costs": torch.tensor(costs), "valid_costs": torch.tensor(valid_costs)}
    return Trained(given, dict(store.items()), store)


def train_dqn(recording: Recording) -> Trained:
    program = finished("dqn")
    inputs = ("obs_t", "action", "reward", "obs_tp1", "done", "weight")
    batch = [recording[name] for name in inputs]
    learner = program.Learner(program.mlp, 4, batch, learning_rate=0.01, grad_norm_clipping=0.1)
    checkpoint.load(learner.store, recording.below("before"))
    td_errors, losses = [], []
    for step in range(8):
        if step % 4 == 0:
            learner.update_target()
        td_error, loss = learner.train(*batch)
        td_errors.append(td_error)
        losses.append(loss)
    given = {
        "td_errors": torch.stack(td_errors),
        "losses": torch.tensor(losses),
        "actions": learner.act(batch[0], False, 0.25),
        "q_values": learner.q_values(batch[3]).detach(),
    }
    left = dict(learner.store.items()) | learner.optimizer.slot_variables()
    return Trained(given, left, learner.store)


TRAIN: dict[str, Callable[[Recording], Trained]] = {"ptb_lm": train_ptb_lm, "dqn": train_dqn}


def changed(before: str, after: str) -> tuple[int, int]:
    """How many lines went and how many came; blank ones do not count."""
    lines = [[line for line in text.splitlines() if line.strip()] for text in (before, after)]
    marks = [line[0] for line in difflib.ndiff(*lines)]
    return marks.count("-"), marks.count("+")


def apart(pairs: Iterable[tuple[Any, Any]]) -> float:
    """The largest difference of tensors, by the largest element of each."""
    return max(
        ((one.detach() - other).abs().max() / other.abs().max().clamp(min=1e-30)).item()
        for one, other in pairs
    )


def main() -> None:
    for name, train in TRAIN.items():
        recording = Recording(name)
        trained = train(recording)
        tool = by_command(name)
        rewritten = tool.source.decode()
        print(f"{name}: {len(source(name).splitlines())} lines")
        out, new = changed(source(name), rewritten)
        print(f"  by torchscope port   {out} lines out, {new} in")
        print(f"  left to do by hand   {len(tool.left)} things")
        out, new = changed(rewritten, source(f"{name}_finished"))
        print(f"  by hand              {out} lines out, {new} in")
        for key, value in trained.given.items():
            difference = apart([(value, recording[key])])
            print(f"  {key:<20} {value.numel():>3} numbers, apart by {difference:.0e} at most")
        after = recording.below("after")
        pairs = [(value, after[key]) for key, value in trained.left.items()]
        most = f"apart by {apart(pairs):.0e} at most"
        print(f"  variables and slots  {len(pairs):>3} tensors, {most}")


if __name__ == "__main__":
    main()
