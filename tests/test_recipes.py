"""Every recipe that is shipped: it parses, says what the paper says, and its smoke run ends in a model that loads."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.recipe_files import RECIPES, read_recipe
from nyx_hf.trainer.run_arguments import parse_run
from nyx_hf.trainer.training_run import main

NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def test_there_are_recipes() -> None:
    assert {"nyx_pretrain", "digits"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_parses(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    run = parse_run(["--config", name, f"output_dir={tmp_path}", "use_cpu=true"])
    for part in (run.model, run.data, run.training):
        for key, value in recipe.items():
            found: Any = vars(part).get(key, value)
            if key in vars(part) and key not in ("settings", "build", "output_dir", "use_cpu"):
                alike = (value, [value], str(value))  # one word makes a list, enumerations are equal to their values
                assert found in alike or str(found) in alike, key
    assert json.loads(run.model.settings or "{}") == recipe["settings"]
    assert run.typed.startswith(f"trainer/train.py --config trainer/recipes/{name}.yaml output_dir=")


@pytest.mark.parametrize("name", NAMES)
def test_smoke(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["--config", name, "smoke=true", f"output_dir={out}"]) == 0
    state = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert len(losses) == 2 and min(losses) > 0
    model = NyxModel.from_pretrained(out)
    assert model.encode(["a code"]).shape == (1, 64)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"trainer/train.py --config trainer/recipes/{name}.yaml smoke=true" in card
    assert "recall@1" in card and "cc-by-4.0" in card  # measured, and under the licence of the data
    assert not (out / "data").exists()  # what the run made for itself is not pushed


class TestNyxPretrain:
    """Values of Nyx §4, §5.4 and appendix A."""

    recipe = read_recipe(RECIPES / "nyx_pretrain.yaml")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("model", "Qwen/Qwen2.5-VL-3B-Instruct"),
            ("temperature", 0.02),
            ("matryoshka_dims", [2048, 1024, 512, 256]),
            ("matryoshka_weights", [1.0, 1.0, 0.2, 0.2]),
            ("negatives_per_query", 1),
            ("lora_r", 8),
            ("per_device_train_batch_size", 20),
            ("gradient_accumulation_steps", 4),
            ("learning_rate", 1e-5),
            ("lr_scheduler_type", "linear"),
            ("warmup_steps", 0.05),
            ("max_grad_norm", 5.0),
            ("bf16", True),
            ("gradient_checkpointing", True),
        ],
    )
    def test_is_the_papers(self, key: str, value: Any) -> None:
        assert self.recipe[key] == value

    def test_image_limit(self) -> None:
        assert self.recipe["settings"]["max_pixels"] == 400 * 28 * 28

    def test_every_training_value_has_its_source(self) -> None:
        """Each line between the model and the run's own settings quotes the paper or says that it is silent."""
        text = (RECIPES / "nyx_pretrain.yaml").read_text(encoding="utf-8")
        body = text[: text.index("# ---- Run ----")]
        lines = [line for line in body.splitlines() if re.match(r"\w+: \S", line) and not line.startswith("split")]
        assert len(lines) > 15
        assert all(re.search(r"# (not in paper|§|appendix|as above|Eq\.)", line) for line in lines), lines


def test_comments_do_not_hide_values() -> None:
    """A `#` inside a value would cut it."""
    for name in NAMES:
        values = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
        assert all(value is not None for value in values.values()), name
