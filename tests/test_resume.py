"""Killed with SIGKILL and resumed, a run ends with the weights of one that was never killed, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from test_trainer import Rows, arguments, loaded

from nyx_hf.data_builders.digits import build_digits
from nyx_hf.trainer.checkpoints import RUN_FILE, ResumeError, check_resume, last_whole, mark_whole
from nyx_hf.trainer.trainer import NyxTrainer
from nyx_hf.trainer.training_run import main

ROOT = Path(__file__).resolve().parent.parent
STEPS = 12


def recipe(folder: Path, data: list[Path]) -> Path:
    """All that a run keeps between steps: resampled datasets, learned temperatures, dropout, the optimizer's state."""
    values = {
        "model": "tiny:qwen2_vl",
        "datasets": [{"name": str(path), "task": name} for path, name in zip(data, ("one", "two"), strict=True)],
        "loss": "contrastive",
        "learn_temperature": True,
        "temperature_tasks": ["one", "two"],
        "temperature_learning_rate": 0.05,
        "hardness": 2.0,
        "batching": "single",
        "resample_steps": 3,
        "chunk_rows": 3,
        "use_lora": True,
        "lora_dropout": 0.3,
        "lora_target": "all",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": STEPS,
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "logging_steps": 1,
        "save_steps": 1,
        "save_total_limit": 1,
        "eval_dataset": [str(data[0])],
        "eval_queries": 4,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 3,
        "resume_from_checkpoint": "auto",
        "output_dir": str(folder / "set-when-run"),
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A run that was never killed, `whole`, and one killed six times at all kinds of moments, `killed`."""
    folder = tmp_path_factory.mktemp("resume")
    data = [
        build_digits(folder / f"digits{seed}", seed=seed, train_documents=24, test_documents=10) for seed in (1, 2)
    ]
    path = recipe(folder, data)
    out = folder / "killed"
    kills: list[dict[str, Any] | None] = [
        {"path": str(out / "checkpoint-1")},  # while the first checkpoint is begun
        {"path": str(out / "checkpoint-2" / RUN_FILE)},  # just when one is whole
        {"path": str(out / "checkpoint-4" / "optimizer.pt")},  # in the middle of one
        {"path": str(out / "checkpoint-6" / "trainer_state.json")},  # when one is nearly whole
        {"path": str(out / "checkpoint-7" / RUN_FILE)},
        {"path": str(out / "checkpoint-9" / "adapter_model.safetensors")},
        None,
    ]
    plan = [{"words": ["--config", str(path), f"output_dir={folder / 'whole'}"], "log": str(folder / "whole.log")}]
    plan += [
        {"words": ["--config", str(path), f"output_dir={out}"], "kill": kill, "log": str(folder / f"{number}.log")}
        for number, kill in enumerate(kills)
    ]
    (folder / "plan.json").write_text(json.dumps(plan))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    script = [sys.executable, str(ROOT / "tests" / "resume_worker.py"), str(folder / "plan.json")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=500, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.e2e
class TestKilled:
    def test_it_was_killed_and_went_on(self, runs: tuple[Path, list[int]]) -> None:
        folder, statuses = runs
        assert statuses == [0, -9, -9, -9, -9, -9, -9, 0], (folder / "1.log").read_text()[-2000:]
        begun = [(folder / f"{number}.log").read_text() for number in range(7)]
        assert all("'loss'" in log for log in begun[1:])
        assert len({log.split("'epoch'")[0] for log in begun}) > 3  # the runs did not all begin at the first step

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "objective.safetensors"])
    def test_the_weights_are_the_same_bit_for_bit(self, runs: tuple[Path, list[int]], name: str) -> None:
        folder, _ = runs
        whole, killed = (folder / run / name for run in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes()
        first = load_file(whole)
        assert any(value.abs().max() > 0 for value in first.values())

    def test_so_is_the_whole_history(self, runs: tuple[Path, list[int]]) -> None:
        folder, _ = runs
        histories = []
        for run in ("whole", "killed"):
            last = last_whole(folder / run)
            assert last is not None and last.name == f"checkpoint-{STEPS}"
            entries = json.loads((last / "trainer_state.json").read_text())["log_history"]
            timed = ("runtime", "_per_second")
            histories.append([{k: v for k, v in e.items() if not k.endswith(timed)} for e in entries])
        assert histories[0] == histories[1]
        lines = [line for line in histories[0] if "loss" in line]
        assert len(lines) == STEPS and len({line["temperature_one"] for line in lines}) == STEPS
        datasets = [{name for name in line if "digits" in name} for line in lines]
        assert any(len(names) == 2 for names in datasets)  # both datasets were seen

    def test_nothing_half_written_is_left(self, runs: tuple[Path, list[int]]) -> None:
        folder, _ = runs
        assert [path.name for path in (folder / "killed").glob("checkpoint-*")] == [f"checkpoint-{STEPS}"]
        assert (folder / "killed" / RUN_FILE).is_file()


class TestRefusals:
    def test_a_changed_recipe(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["--config", "digits", "smoke=true", f"output_dir={tmp_path / 'run'}"]
        assert main(words) == 0
        capsys.readouterr()
        changed = ["learning_rate=0.5", "temperature=0.3", "resume_from_checkpoint=true"]
        assert main([*words, *changed]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("error: ") and "learning_rate 0.002 → 0.5; temperature 0.05 → 0.3" in said
        assert "start anew in another output_dir" in said
        # what changes no weight may differ
        assert main([*words, "logging_steps=2", "resume_from_checkpoint=true"]) == 0

    def test_half_a_checkpoint(self, tmp_path: Path) -> None:
        half = tmp_path / "checkpoint-3"
        half.mkdir()
        assert last_whole(tmp_path) is None
        with pytest.raises(ResumeError, match="was not written to its end"):
            check_resume(half, {})
        mark_whole(half, {"a": 1})
        (tmp_path / "checkpoint-10").mkdir()
        mark_whole(tmp_path / "checkpoint-10", {"a": 1})
        assert last_whole(tmp_path) == tmp_path / "checkpoint-10"
        check_resume(half, {"a": 1})

    def test_the_trainer_checks_too(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        how = {"save_strategy": "steps", "save_steps": 1}
        trainer = NyxTrainer(loaded(tiny_backbones["qwen2_vl"]), arguments(tmp_path, **how), train_dataset=Rows())
        trainer.train()
        other = arguments(tmp_path, **how, hardness=2.0)
        again = NyxTrainer(loaded(tiny_backbones["qwen2_vl"]), other, train_dataset=Rows())
        with pytest.raises(ResumeError, match=r"hardness 0.0 → 2.0"):
            again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
