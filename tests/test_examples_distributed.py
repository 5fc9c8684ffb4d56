"""The distributed example, as a user would run it: alone, on two processes, killed, resumed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "examples" / "train_distributed.py")
ALONE = [sys.executable, SCRIPT]
ON_TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SHORT = ["--steps=20", "--save-every=8"]


def printed_by(*command: str, gpus: bool = False) -> str:
    here = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    here["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # as the example says
    if not gpus:
        here["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(
        command, env=here, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(printed: str) -> dict[int, float]:
    """The last loss that was printed for each step."""
    found = re.findall(r"^step +(\d+) of \d+ +loss (\d+\.\d+)$", printed, re.MULTILINE)
    return {int(step): float(loss) for step, loss in found}


def held_out(printed: str) -> float:
    (loss,) = re.findall(r"not trained with: (\d+\.\d+)", printed)
    return float(loss)


@pytest.fixture(scope="module")
def alone() -> str:
    return printed_by(*ALONE, *SHORT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def killed(folder: Path) -> str:
    """On two processes, one of which is killed at step 12, when step 8 was the last to be saved."""
    ways = ["--fsdp", "--kill-at=12", f"--checkpoints={folder}"]
    return printed_by(*ON_TWO, "--max-restarts=1", SCRIPT, *SHORT, *ways)


def test_one_process_learns_without_torchrun(alone: str):
    assert list(losses(alone)) == list(range(2, 21, 2))
    assert held_out(alone) < losses(alone)[2]
    whole, kept = re.findall(r"parameters: (\S+) bytes, of which rank 0 of 1 keeps (\S+)", alone)[0]
    assert whole == kept


def test_fully_sharded_each_of_two_processes_keeps_half(killed: str):
    (whole, kept), again = re.findall(r"(\S+) bytes, of which rank 0 of 2 keeps (\S+)", killed)
    assert (whole, kept) == again
    assert int(kept.replace(",", "")) * 2 == int(whole.replace(",", ""))


def test_after_a_kill_training_goes_on_from_the_last_checkpoint_to_the_same_end(
    alone: str, killed: str
):
    before, after = killed.split("goes on from step 8\n")
    assert max(losses(before)) == 12
    assert min(losses(after)) == 10
    assert losses(before)[12] == losses(after)[12]
    assert losses(after) == pytest.approx(
        {step: loss for step, loss in losses(alone).items() if step >= 10}, abs=2e-3
    )
    assert held_out(killed) == pytest.approx(held_out(alone), abs=2e-3)


def test_one_process_goes_on_with_ddp_from_what_two_saved_fully_sharded(
    killed: str, folder: Path, alone: str
):
    printed = printed_by(*ALONE, *SHORT, "--ddp", f"--checkpoints={folder}")
    assert "goes on from step 16\n" in printed
    assert list(losses(printed)) == [18, 20]
    assert held_out(printed) == pytest.approx(held_out(alone), abs=2e-3)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("way", ["--ddp", "--fsdp"])
def test_on_gpus_it_comes_to_about_the_same(alone: str, way: str):
    gpus = 2 if torch.cuda.device_count() > 1 else 1
    launch = [*ON_TWO[:-1], f"--nproc-per-node={gpus}"]
    printed = printed_by(*launch, SCRIPT, *SHORT, way, gpus=True)
    assert held_out(printed) == pytest.approx(held_out(alone), abs=2e-2)
