"""What a large batch's loss takes: a process of its own, and the most that it held."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STEP = """
import json, resource, sys
import torch
from nyx_hf.trainer.loss_batch import EmbeddedBatch
from nyx_hf.trainer.loss_contrastive import ContrastiveLoss

rows, width = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(2)
torch.manual_seed(0)
query, positive = (torch.randn(rows, width, requires_grad=True) for _ in range(2))
loss = ContrastiveLoss(0.05, dims=[width, width // 2, width // 4, width // 8])(EmbeddedBatch.of(query, positive)).loss
loss.backward()
norms = [float(side.grad.norm()) for side in (query, positive)]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"loss": loss.item(), "norms": norms, "peak": peak}))
"""
GIB = 2**30


def step(rows: int, width: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(rows), str(width)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, float] = json.loads(done.stdout)
    assert found["loss"] > 1 and min(found["norms"]) > 1e-4
    return found


def test_memory_grows_with_the_batch_and_not_its_square() -> None:
    """From 2,048 rows to 8,192 the similarities grow from 16 MiB a copy to 256, and each of four dims had its own."""
    peaks = [step(rows, 64)["peak"] for rows in (2048, 8192)]
    assert peaks[1] - peaks[0] < 128 * 2**20


@pytest.mark.long
def test_16384_rows_take_less_than_one_copy_of_their_similarities() -> None:
    """One copy would be 1 GiB; torch itself takes the rest of what is held."""
    assert step(16_384, 256)["peak"] - step(1024, 256)["peak"] < GIB


@pytest.mark.long
@pytest.mark.e2e
def test_32768_rows_of_1024_dims_fit_in_4_gib() -> None:
    """Similarities in full would take 4 GiB for each copy of each of the four dims."""
    assert step(32_768, 1024)["peak"] < 4 * GIB
