"""The training script and its launcher: recipes with overrides, errors of one line, two processes as one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_trainer import Gradients, Rows, arguments, loaded, retrieval_set, same, state_of

from nyx_hf.trainer.launch import train_command
from nyx_hf.trainer.recipe_files import (
    RecipeError,
    check_keys,
    find_recipe,
    merge,
    parse_overrides,
    read_recipe,
    to_words,
)
from nyx_hf.trainer.run_arguments import parse_run
from nyx_hf.trainer.trainer import NyxTrainer
from nyx_hf.trainer.training_run import check_world_size, find_checkpoint, main

ROOT = Path(__file__).resolve().parent.parent

RECIPE = """
model: somewhere/model
datasets: [a, b@v2]
learning_rate: 1e-5
matryoshka_dims: [64, 32]
settings: { max_pixels: 100, prompts: { query: "Find:" } }
use_cpu: true
output_dir: OUT
overrides:
  smoke: { max_steps: 3, temperature: 0.5, matryoshka_dims: null }
"""


@pytest.fixture()
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.replace("OUT", str(tmp_path / "out")))
    return path


class TestParsing:
    def test_recipe_then_block_then_typed(self, recipe: Path) -> None:
        plain = parse_run(["--config", str(recipe)])
        assert (plain.training.max_steps, plain.training.temperature) == (-1, 0.02)
        assert plain.training.learning_rate == 1e-5 and plain.training.matryoshka_dims == [64, 32]
        assert plain.data.datasets == ["a", "b@v2"]
        assert plain.model.changed_settings == {"max_pixels": 100, "prompts": {"query": "Find:"}}
        smoke = parse_run(["--config", str(recipe), "temperature=0.7", "smoke=true", "datasets=[c]"])
        assert (smoke.training.max_steps, smoke.training.temperature) == (3, 0.7)
        assert smoke.training.matryoshka_dims is None and smoke.data.datasets == ["c"]
        assert smoke.training.feedback_right == 1.0
        unset = parse_run(["--config", str(recipe), "feedback_right=null", "logging_steps=null"]).training
        assert unset.feedback_right is None  # what may be nothing
        assert parse_run(["--config", str(recipe), "matryoshka_dims=[]"]).training.matryoshka_dims == []
        assert unset.logging_steps == smoke.training.logging_steps  # what may not is as if it were left out
        assert parse_run(["--config", str(recipe), "smoke=false"]).training.max_steps == -1

    def test_typed_values_are_yaml(self, recipe: Path) -> None:
        words = ["matryoshka_dims=[16, 8]", "bf16=false", "learning_rate=3e-4", "settings={max_length: 9}", "seed=7"]
        run = parse_run(["--config", str(recipe), *words, "eval_dataset=null", "hub_model_id=me/1"])
        args = run.training
        assert (args.matryoshka_dims, args.bf16, args.learning_rate, args.seed) == ([16, 8], False, 3e-4, 7)
        assert run.model.changed_settings == {"max_length": 9} and run.data.eval_dataset == []
        assert args.hub_model_id == "me/1"
        assert run.typed == f"trainer/train.py --config {recipe} " + " ".join(
            f"'{word}'" if set(word) & set("[{ ") else word
            for word in [*words, "eval_dataset=null", "hub_model_id=me/1"]
        )

    @given(
        st.dictionaries(
            st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
            st.integers()
            | st.booleans()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.lists(st.integers(), min_size=1, max_size=3),
        )
    )
    def test_overrides_round_trip(self, values: dict[str, Any]) -> None:
        words = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in values.items()]
        assert parse_overrides([word.removesuffix("...\n") for word in words]) == values

    @given(st.text(min_size=1))
    def test_any_word_is_read_or_refused(self, word: str) -> None:
        try:
            values = parse_overrides([word])
        except RecipeError as error:
            assert "\n" not in str(error)
        else:
            assert list(values) == [word.partition("=")[0]]

    def test_words(self) -> None:
        values = {"a": 1, "b": None, "c": True, "d": [1, 2], "e": {"x": [1]}, "f": "text", "g": []}
        assert to_words(values) == ["--a", "1", "--c", "true", "--d", "1", "2", "--e", '{"x": [1]}', "--f", "text"]
        assert to_words({"save_strategy": False, "bf16": False}) == ["--save_strategy", "no", "--bf16", "false"]

    def test_blocks(self) -> None:
        recipe = {"a": 1, "b": 1, "overrides": {"smoke": {"a": 2}, "small": {"b": 2}}}
        assert merge(recipe, {}) == {"a": 1, "b": 1}
        assert merge(recipe, {"small": True, "smoke": True, "b": 3}) == {"a": 2, "b": 3}

    def test_find(self, recipe: Path) -> None:
        assert find_recipe(recipe) == recipe and find_recipe("nyx_pretrain").name == "nyx_pretrain.yaml"


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["max_stepz=1"], "unknown setting 'max_stepz'; did you mean max_steps"),
            (["zzzzzz=1"], "unknown setting 'zzzzzz'"),
            (["max_steps=ten"], "invalid int value: 'ten'"),
            (["max_steps=1.5"], "invalid int value: '1.5'"),
            (["temperature=[1, 2]"], "2"),
            (["bf16=perhaps"], "perhaps"),
            (["max_steps"], "'max_steps' is no setting; write key=value"),
            (["--max_steps", "3"], "'--max_steps' is no setting"),
            (["a=[1"], "no YAML"),
            (["lora_target=everything"], "one of language | all"),
            (["settings=[1]"], "give a mapping"),
            (["model=null"], "missing settings: model"),
            (["quick=true"], "unknown setting 'quick'"),
        ],
    )
    def test_one_line(self, recipe: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
        assert main(["--config", str(recipe), *words]) == 2
        said = capsys.readouterr().err.strip()
        assert message in said and said.startswith("error: ") and "\n" not in said

    def test_no_recipe(self, capsys: pytest.CaptureFixture[str]) -> None:
        for words in ([], ["nyx_pretrain"], ["--config", "absent"]):
            assert main(words) == 2
        said = capsys.readouterr().err
        assert said.count("usage: train.py --config RECIPE") == 2
        assert "give a YAML file's path or one of" in said and "nyx_pretrain" in said

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("- a\n- b", "holds no mapping"),
            ("a: [1", "is no YAML"),
            ("a: 1\nb: 2\na: 3", "a twice"),
            ("overrides: {smoke: {x: 1, x: 2}}", "x twice"),
            ("overrides: 3", "holds no mapping"),
            ("overrides: {smoke: 3}", "holds no mapping"),
        ],
    )
    def test_bad_recipe(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text(text)
        with pytest.raises(RecipeError, match=message) as caught:
            read_recipe(path)
        assert "\n" not in str(caught.value)

    def test_smoke_without_a_block(self) -> None:
        with pytest.raises(RecipeError, match="no `smoke` block"):
            merge({"a": 1}, {"smoke": True})

    def test_near_names(self) -> None:
        with pytest.raises(RecipeError, match="did you mean lora_alpha or lora_a"):
            check_keys({"lora_alfa": 1}, ["lora_alpha", "lora_a", "seed"])

    def test_missing_model_and_data(self, recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert main(["--config", str(recipe), f"model={tmp_path / 'nowhere'}"]) == 2
        assert main(["--config", str(recipe), "model=tiny:gpt"]) == 2
        assert main(["--config", str(recipe), "model=tiny:qwen2_vl", f"datasets=[{tmp_path / 'nowhere'}]"]) == 2
        assert main(["--config", str(recipe), "model=tiny:qwen2_vl", "datasets=['build:cats']"]) == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(said) == 4 and "gpt" in said[1] and "nowhere" in said[2] and "'cats'" in said[3]

    def test_resume_from_nothing(self, recipe: Path) -> None:
        for value, message in (("true", "holds no checkpoint"), ("absent", "no folder")):
            run = parse_run(["--config", str(recipe), f"resume_from_checkpoint={value}"])
            with pytest.raises(RecipeError, match=message):
                find_checkpoint(run)
        run = parse_run(["--config", str(recipe), "resume_from_checkpoint=auto"])
        assert find_checkpoint(run) is None

    def test_processes_that_do_not_know_each_other(self, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        args = parse_run(["--config", str(recipe)]).training
        assert args.world_size == 1
        check_world_size(args)
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(RecipeError, match="started 2 processes but 1 train together.*--multi_gpu"):
            check_world_size(args)


@pytest.mark.e2e
def test_two_processes_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `nyx-hf train` starts; the code is found though the current folder is not the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    assert train_command("digits", ["smoke=true", "output_dir=out", "save_steps=1", "eval_steps=1"], processes=2) == 0
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    assert sorted(path.name for path in (tmp_path / "out" / "checkpoint-2").glob("rng_state*")) == [
        "rng_state_0.pth",
        "rng_state_1.pth",
    ]
    assert "--num_processes 2" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_launching_nothing_is_refused(tmp_path: Path) -> None:
    bad = ("max_steps", "max_steps=[1", "max_steps=ten", "max_stepz=1")
    for recipe, words in (("absent", []), *(("nyx_pretrain", [word]) for word in bad)):
        with pytest.raises(RecipeError):
            train_command(recipe, words)


# ---------------------------------------------------------------- NyxTrainer under accelerate launch

TWO = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import test_train_script
test_train_script.train_on_two(*sys.argv[3:])
"""


SGD = {
    "optim": "sgd",
    "lr_scheduler_type": "constant",
    "learning_rate": 1e-2,
    "max_grad_norm": 0.0,
    "temperature": 1.0,  # gradients of moderate size, which float32 keeps to 1e-6
}


def steps_of(backbone: Path, folder: Path, per_device: int, **changes: Any) -> dict[str, Any]:
    """Steps of plain SGD on rows that seldom have a picture: of two processes, one may see none."""
    kept = Gradients()
    args = arguments(folder, per_device_train_batch_size=per_device, **SGD, **changes)
    rows = Rows(pictured=(0, 5, 7))
    trainer = NyxTrainer(
        loaded(backbone), args, train_dataset=rows, eval_dataset=retrieval_set(rows), callbacks=[kept]
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    prefixes = [entry["loss_dim_8"] for entry in trainer.state.log_history if "loss_dim_8" in entry]
    scores = {name: value for name, value in trainer.evaluate().items() if "@" in name}
    return {
        "losses": losses,
        "prefixes": prefixes,
        "gradients": kept.steps,
        "scores": scores,
        "state": state_of(trainer.model),
    }


def train_on_two(backbone: str, folder: str) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    out, source = Path(folder), Path(backbone)
    results = {"plain": steps_of(source, out / "plain", 2, max_steps=3, gradient_checkpointing=True)}
    results["alone"] = steps_of(source, out / "alone", 2, max_steps=1, gather_negatives=False)
    how: dict[str, Any] = {"max_steps": 5, "save_strategy": "steps", "save_steps": 4}
    results["whole"] = steps_of(source, out / "run", 2, **how)
    args = arguments(out / "run", per_device_train_batch_size=2, **SGD, **how)
    trainer = NyxTrainer(loaded(source), args, train_dataset=Rows(pictured=(0, 5, 7)))
    trainer.train(resume_from_checkpoint=str(out / "run" / "checkpoint-4"))
    results["resumed"] = {"state": state_of(trainer.model)}
    torch.save(results, out / f"rank{args.process_index}.pt")


@pytest.mark.e2e
def test_trainer_on_two_processes_trains_as_on_one(tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
    backbone = tiny_backbones["qwen2_5_vl"]
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--main_process_port", "0", str(script), str(ROOT), str(ROOT / "tests"), str(backbone), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(launch, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in range(2)]

    one = steps_of(backbone, tmp_path / "one", 4, max_steps=3)
    visual = "visual.blocks.0.attn.qkv.weight"
    assert max(step[visual].abs().max() for step in one["gradients"]) > 0
    for rank in ranks:
        two = rank["plain"]
        assert two["losses"] == pytest.approx(one["losses"], abs=1e-6)
        assert two["prefixes"] == pytest.approx(one["prefixes"], abs=1e-6)
        for mine, whole in zip(two["gradients"], one["gradients"], strict=True):
            assert mine.keys() == whole.keys()
            for name, gradient in whole.items():
                torch.testing.assert_close(mine[name], gradient, rtol=1e-5, atol=1e-6)
        assert two["scores"] == pytest.approx(one["scores"], abs=1e-9)
        assert abs(rank["alone"]["losses"][0] - one["losses"][0]) > 1e-2  # fewer candidates, another loss
        assert same(rank["whole"]["state"], rank["resumed"]["state"])
    assert same(ranks[0]["whole"]["state"], ranks[1]["whole"]["state"])
