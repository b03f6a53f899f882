"""Every recipe that is shipped: it parses, says what the papers say, and its smoke run ends in a model that loads."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.trainer.adapter_loading import load_adapter
from nyx_hf.trainer.dataset_specs import DatasetSpec
from nyx_hf.trainer.pipelines import PIPELINE
from nyx_hf.trainer.recipe_files import RECIPES, read_recipe
from nyx_hf.trainer.run_arguments import parse_run
from nyx_hf.trainer.training_run import main

READ = {path.stem: read_recipe(path) for path in sorted(RECIPES.glob("*.yaml"))}
STAGES = [name for name, recipe in READ.items() if PIPELINE not in recipe]
OURS = ("adapt", "digits")  # of no paper
OF_PAPERS = [name for name in STAGES if name not in OURS]
SOURCE = re.compile(r"# (not in paper|§|appendix|Table|finding|Eq\.|as above)")


def test_there_is_one_for_every_stage() -> None:
    assert set(OF_PAPERS) == {
        "nyx_pretrain",
        "nyx_feedback",
        *(f"u_marvel_{stage}" for stage in ("1a_text", "1b_image_text", "1c_instructions")),
        *(f"u_marvel_{stage}" for stage in ("2_hard_negatives", "3_distillation")),
        *("rzenembed_1_pretrain", "rzenembed_2_finetune"),
    }
    assert set(OURS) < set(STAGES)
    in_pipelines = [stage for name, recipe in READ.items() if name not in STAGES for stage in recipe[PIPELINE]]
    assert sorted(in_pipelines) == sorted(OF_PAPERS)


@pytest.mark.parametrize("name", STAGES)
def test_parses(name: str, tmp_path: Path) -> None:
    recipe = READ[name]
    run = parse_run(["--config", name, f"output_dir={tmp_path}", "use_cpu=true"])
    for part in (run.model, run.data, run.training):
        for key in vars(part).keys() & recipe.keys() - {"settings", "build", "output_dir", "use_cpu", "datasets"}:
            value, found = recipe[key], vars(part)[key]
            alike = (value, [value], str(value))  # one word makes a list, enumerations are equal to their values
            assert found in alike or str(found) in alike, key
    named = [word if isinstance(word, dict) else {"name": word} for word in recipe["datasets"]]
    assert [DatasetSpec.parse(word) for word in run.data.datasets] == [DatasetSpec(**one) for one in named]
    assert run.model.changed_settings == recipe.get("settings", {})
    assert run.typed.startswith(f"trainer/train.py --config trainer/recipes/{name}.yaml output_dir=")


@pytest.mark.parametrize("name", STAGES)
def test_smoke(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["--config", name, "smoke=true", f"output_dir={out}"]) == 0
    state = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert len(losses) == 2 and min(losses) > 0
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"trainer/train.py --config trainer/recipes/{name}.yaml smoke=true" in card
    assert "recall@1" in card and "cc-by-4.0" in card  # measured, and under the licence of the data
    assert yaml.safe_load((out / "recipe.yaml").read_text())["max_steps"] == 2
    assert not (out / "data").exists()  # what the run made for itself is not pushed
    model = load(out)
    assert model.encode(["a code"]).shape == (1, 64)
    wanted = READ[name].get("preset") or READ[name]["overrides"]["smoke"].get("preset", "nyx")
    assert model.settings.preset == wanted


def load(folder: Path) -> Any:
    """The model of a run, whole or an adapter."""
    from nyx_hf.modeling.modeling_nyx import NyxModel

    if (folder / "adapter_config.json").exists():
        return load_adapter(folder).get_base_model()
    return NyxModel.from_pretrained(folder)


# What the papers say, and where.
FACTS: dict[str, dict[str, Any]] = {
    "nyx_pretrain": {  # §5.4, appendix A
        "model": "Qwen/Qwen2.5-VL-3B-Instruct",
        "settings": {"max_pixels": 400 * 28 * 28},
        "temperature": 0.02,
        "matryoshka_dims": [2048, 1024, 512, 256],
        "matryoshka_weights": [1.0, 1.0, 0.2, 0.2],
        "negatives_per_query": 1,
        "lora_r": 8,
        "per_device_train_batch_size": 20,
        "gradient_accumulation_steps": 4,
        "learning_rate": 1e-5,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,
        "max_grad_norm": 5.0,
        "bf16": True,
        "gradient_checkpointing": True,
        "launch": {"processes": 8, "config": "zero2"},
    },
    "nyx_feedback": {  # §3.3, stage 2
        "loss": "feedback",
        "model": "runs/nyx-pretrain",
        "feedback_right": None,
        "temperature": 0.02,
        "matryoshka_weights": [1.0, 1.0, 0.2, 0.2],
    },
    "u_marvel_1a_text": {  # Table 12
        "model": "Qwen/Qwen2-VL-7B-Instruct",
        "preset": "u-marvel",
        "two_way": False,
        "temperature": 0.05,
        "learning_rate": 2e-4,
        "lora_r": 64,
        "lora_alpha": 128,
        "num_train_epochs": 2,
        "freeze_vision": True,
        "global batch": 576,
    },
    "u_marvel_1b_image_text": {
        "two_way": True,
        "temperature": 0.05,
        "learning_rate": 1e-4,
        "lora_r": 128,
        "lora_alpha": 256,
        "num_train_epochs": 1,
        "global batch": 720,
    },
    "u_marvel_1c_instructions": {
        "temperature": 0.05,
        "learn_temperature": True,
        "learning_rate": 4e-4,
        "lora_r": 128,
        "global batch": 3840,
    },
    "u_marvel_2_hard_negatives": {
        "temperature": 0.0206,
        "learn_temperature": True,
        "learning_rate": 1.5e-5,
        "global batch": 1408,
    },
    "u_marvel_3_distillation": {
        "loss": "distillation",
        "temperature": 0.0188,
        "learning_rate": 1e-5,
        "global batch": 50,
    },
    "rzenembed_1_pretrain": {  # §4.2
        "model": "Qwen/Qwen2-VL-2B-Instruct",
        "preset": "rzenembed",
        "lora_r": 64,
        "lora_target": "all",
        "learning_rate": 2e-4,
        "lr_scheduler_type": "cosine",
        "weight_decay": 0.05,
        "num_train_epochs": 1,
        "global batch": 768,
    },
    "rzenembed_2_finetune": {
        "hardness": 9.0,
        "false_negative_threshold": 0.95,
        "batching": "single",
        "learn_temperature": True,
        "lora_r": 64,
        "lora_target": "all",
        "weight_decay": 0.05,
        "global batch": 768,
    },
}


@pytest.mark.parametrize("name", OF_PAPERS)
def test_is_the_papers(name: str) -> None:
    recipe = READ[name]
    rows = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    recipe = recipe | {"global batch": rows * recipe["launch"]["processes"]}
    for key, value in FACTS[name].items():
        found = recipe[key]
        if key == "settings":
            found = {setting: found[setting] for setting in value}
        assert found == value, key


def test_rzenembed_s_data() -> None:
    """Seven tasks, 100,000 rows a dataset at most (§4.1 names 400,000 clips of one), classification sets merged."""
    recipe = READ["rzenembed_2_finetune"]
    specs = [DatasetSpec(**one) for one in recipe["datasets"]]
    assert len(recipe["temperature_tasks"]) == 7 == len(set(recipe["temperature_tasks"]))
    assert {spec.task for spec in specs} == set(recipe["temperature_tasks"])
    assert {spec.cap for spec in specs if spec.name != "data/videochat-flash"} == {100_000}
    grouped = {spec.name for spec in specs if spec.group == "image classification"}
    assert grouped == {spec.name for spec in specs if spec.task == "image classification"} and len(grouped) > 4
    proportions = [spec["cap"] for spec in READ["rzenembed_1_pretrain"]["datasets"]]
    assert proportions == [300_000, 250_000, 2_000_000, 2_500_000]  # §3.4.1


def test_stages_start_from_what_others_leave() -> None:
    left = {READ[name]["output_dir"] for name in STAGES}
    begun = {READ[name]["model"] for name in OF_PAPERS}
    assert {model for model in begun if model.startswith("runs/")} < left
    assert {model for model in begun if not model.startswith("runs/")} == {
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "Qwen/Qwen2-VL-7B-Instruct",
        "Qwen/Qwen2-VL-2B-Instruct",
    }


@pytest.mark.parametrize("name", OF_PAPERS)
def test_every_training_value_has_its_source(name: str) -> None:
    """Each line between the title and the run's own settings quotes the paper or says that it is silent."""
    text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    body = text[: text.index("# ---- Run ----")]
    lines = [line for line in body.splitlines() if re.match(r"\s*\w+: \S", line) and not line.startswith("split")]
    assert len(lines) > 15
    assert all(SOURCE.search(line) for line in lines), [line for line in lines if not SOURCE.search(line)]


@pytest.mark.parametrize("name", READ)
def test_comments_do_not_hide_values(name: str) -> None:
    """A `#` inside a value would cut it; what is meant to be nothing is written `null`."""
    text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    written = set(re.findall(r"^(\w+): null", text, re.M))
    assert {key for key, value in READ[name].items() if value is None} == written


@pytest.mark.parametrize("name", STAGES)
def test_settings_are_known(name: str) -> None:
    for settings in (READ[name].get("settings", {}), READ[name]["overrides"]["smoke"].get("settings", {})):
        NyxSettings().updated(**settings)
