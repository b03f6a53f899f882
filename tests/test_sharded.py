"""Models spread over two processes (DDP, ZeRO-2, ZeRO-3, FSDP2) against one process on the same global batch."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from sharded_worker import launched
from test_gradient_cache import Clips
from test_trainer import arguments, loaded
from torch import Tensor

from nyx_hf.trainer import chunks
from nyx_hf.trainer.trainer import NyxTrainer

ROOT = Path(__file__).resolve().parent.parent
HARD = {"learn_temperature": True, "two_way": True, "temperature_learning_rate": 0.05}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"max_steps": 3},
    "chunks": {"max_steps": 2, "chunk_rows": 2, "gradient_accumulation_steps": 2, **HARD},
    "lora": {
        "max_steps": 2,
        "use_lora": True,
        "lora_target": "all",
        "chunk_rows": 3,
        "merge_lora": True,
        "max_grad_norm": 0.25,  # much less than the norms, and not DeepSpeed's own 1.0
    },
}


SPREAD = {
    "ddp": "MULTI_CPU DistributedDataParallel",
    "zero2": "DEEPSPEED DeepSpeedEngine",
    "zero3": "DEEPSPEED DeepSpeedEngine",
    "fsdp2": "FSDP FSDP",
}


class FewPictures(Clips):
    """Of two processes, one may see no image and no video."""

    def __init__(self) -> None:
        super().__init__(pictured=(5,))

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = super().__getitem__(index)
        if index not in (0, 1, 5):
            for content in (row["query"], *row["positives"]):
                content["content"] = [part for part in content["content"] if part["type"] == "text"]
        return row


def steps_of(backbone: Path, folder: Path, kind: str, per_device: int, **changes: Any) -> dict[str, Any]:
    """A few steps of SGD, whose updates are the gradients."""
    torch.manual_seed(0)
    how: dict[str, Any] = {"optim": "sgd", "lr_scheduler_type": "constant", "learning_rate": 1e-2}
    how["max_grad_norm"] = changes.pop("max_grad_norm", 0.0)
    if kind in ("zero2", "zero3", "fsdp2"):
        how |= {"accelerator_config": {"use_configured_state": True}, "use_cpu": False}
    args = arguments(folder, **how, per_device_train_batch_size=per_device, temperature=0.5, **changes)
    trainer = NyxTrainer(loaded(backbone), args, train_dataset=FewPictures())
    with patch.object(chunks, "_FEW", 1):  # without limits: as many pieces as lengths, of each process its own
        trainer.train()
    parameters = [type(parameter.data).__name__ for parameter in trainer.model.parameters()]
    held = sum(parameter.numel() for parameter in trainer.model.parameters())
    trainer.save_model()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    return {
        "losses": [line["loss"] for line in lines],
        "norms": [line["grad_norm"] for line in lines],
        "temperatures": [line["temperature"] for line in lines],
        "spread": f"{trainer.accelerator.distributed_type.name} {type(trainer.model_wrapped).__name__}",
        "parameters": f"{max(set(parameters), key=parameters.count)} {held}",
    }


def saved(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def alone(tiny_backbones: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process on the global batches."""
    folder = tmp_path_factory.mktemp("alone")
    results = {n: steps_of(tiny_backbones["qwen2_5_vl"], folder / n, "none", 4, **how) for n, how in SETTINGS.items()}
    assert min(results["lora"]["norms"]) > 0.5, "nothing would be clipped"
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("ddp", ["plain", "chunks", "lora"]),
        ("fsdp2", ["plain", "chunks", "lora"]),
        ("zero2", ["plain"]),  # DeepSpeed allows one trainer a process
        pytest.param("zero2", ["chunks"], marks=pytest.mark.long),
        pytest.param("zero3", ["chunks"], marks=pytest.mark.long),
        ("zero3", ["lora"]),
    ],
)
def test_spread_trains_as_one(
    kind: str, names: list[str], alone: Path, tiny_backbones: dict[str, Path], tmp_path: Path
) -> None:
    command = [
        *launched(kind, tmp_path),
        str(ROOT / "tests" / "sharded_worker.py"),
        kind,
        str(tiny_backbones["qwen2_5_vl"]),
        str(tmp_path),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    settings = json.dumps({name: SETTINGS[name] for name in names})
    done = subprocess.run(
        [*command, settings], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    expected = json.loads((alone / "results.json").read_text())
    for name in names:
        for rank in ranks:
            assert rank[name]["spread"].startswith(SPREAD[kind]), "the model was not spread as it should be"
            assert rank[name]["losses"] == pytest.approx(expected[name]["losses"], abs=1e-5), name
            assert rank[name]["norms"] == pytest.approx(expected[name]["norms"], rel=1e-3), name
            assert rank[name]["temperatures"] == pytest.approx(expected[name]["temperatures"], abs=1e-6), name
        whole, spread = saved(alone / name), saved(tmp_path / name)
        assert whole.keys() == spread.keys()
        for key, value in whole.items():
            torch.testing.assert_close(spread[key], value, rtol=0, atol=2e-6, msg=lambda m, key=key: f"{key}: {m}")
