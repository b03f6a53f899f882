"""How `nyx-hf train` starts processes: launch settings, pipelines of stages, what goes on where it stopped."""

import json
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from nyx_hf.trainer import launch, training_run
from nyx_hf.trainer.launch import CONFIGS, Launch, train_command
from nyx_hf.trainer.pipelines import stages_of
from nyx_hf.trainer.recipe_files import RECIPES, RecipeError, parse_overrides

SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


class TestLaunch:
    recipe = {"launch": {"processes": 8, "config": "zero2"}}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("values", "processes", "config", "expected"),
        [
            (recipe, None, None, Launch(8, "zero2")),
            (recipe, 4, None, Launch(4, "zero2")),
            (recipe, 1, None, Launch(1, "single")),
            (recipe, 1, "zero3", Launch(1, "zero3")),
            (recipe, None, "fsdp2", Launch(8, "fsdp2")),
            ({}, None, None, Launch(1, "single")),
            ({}, 2, None, Launch(2, "ddp")),
            ({"launch": None}, None, None, Launch(1, "single")),
            (recipe | {"use_cpu": True}, None, None, Launch(1, "single")),  # its GPUs are not meant then
            (recipe | {"use_cpu": True}, 2, None, Launch(2, "ddp")),
        ],
    )
    def test_settles(
        self, values: dict[str, Any], processes: int | None, config: str | None, expected: Launch
    ) -> None:
        assert Launch.of(values, processes, config) == expected

    @pytest.mark.parametrize(
        ("values", "config", "message"),
        [
            ({"launch": 8}, None, "launch is 8; write `launch: { processes: 8, config: zero2 }`"),
            ({"launch": {"processes": 8}}, None, "launch is"),
            ({"launch": {"processes": "8", "config": "ddp"}}, None, "launch has '8' processes"),
            ({"launch": {"processes": 0, "config": "ddp"}}, None, "launch has 0 processes"),
            ({}, "zero9", "no launch config 'zero9': give one of ddp, fsdp2, single, zero2, zero3, or an accelerate"),
            ({"use_cpu": True}, "zero2", "zero2 is for GPUs; with use_cpu=true take ddp"),
        ],
    )
    def test_refuses(self, values: dict[str, Any], config: str | None, message: str) -> None:
        with pytest.raises(RecipeError) as raised:
            Launch.of(values, None, config)
        assert message in str(raised.value)

    def test_a_config_of_one_s_own(self, tmp_path: Path) -> None:
        own = tmp_path / "mine.yaml"
        own.write_text("distributed_type: MULTI_GPU\n")
        assert str(own) in Launch.of({}, 2, str(own)).words()

    @pytest.mark.parametrize("name", SHIPPED)
    def test_accelerate_reads_the_shipped_ones(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """From the project's folder as they are, and from elsewhere as `nyx-hf train` gives them."""
        from accelerate.commands.launch import _validate_launch_command, launch_command_parser

        monkeypatch.chdir(CONFIGS.parent.parent)
        short = ["--config_file", f"trainer/launch_configs/{name}.yaml", "--num_processes", "4"]
        for words in (short, Launch(4, name).words()[3:]):
            args, _, _ = _validate_launch_command(launch_command_parser().parse_args([*words, "train.py"]))
            assert args.num_processes == 4 and args.num_machines == 1 and args.mixed_precision == "no"
            assert args.use_deepspeed == name.startswith("zero") and args.use_fsdp == (name == "fsdp2")
            assert args.multi_gpu == (name == "ddp")
            if args.use_deepspeed:
                config = json.loads(Path(args.deepspeed_config_file).read_text())
                assert config["zero_optimization"]["stage"] == int(name[-1])
                assert config["gradient_clipping"] == "auto"  # max_grad_norm; DeepSpeed's own is 1.0
            if args.use_fsdp:
                assert args.fsdp_version == 2 and args.fsdp_state_dict_type == "FULL_STATE_DICT"

    def test_more_processes_than_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
        started: list[list[str]] = []
        monkeypatch.setattr(launch, "subprocess", SimpleNamespace(run=lambda command, check: started.append(command)))
        with pytest.raises(RecipeError, match="asks for 8 processes with a GPU each, and this machine has 2; give"):
            train_command("nyx_pretrain")
        assert not started


class TestStages:
    def test_each_starts_from_the_one_before(self, tmp_path: Path) -> None:
        stages = stages_of(RECIPES / "u_marvel.yaml", ["smoke=true", "learning_rate=1e-3", f"output_dir={tmp_path}"])
        words = [parse_overrides(stage.words) for stage in stages]
        assert [stage.name[9:11] for stage in stages] == ["1a", "1b", "1c", "2_", "3_"]
        assert "model" not in words[0]
        for before, this, values in zip(stages, stages[1:], words[1:], strict=False):
            assert values["model"] == f"{tmp_path}/{before.name}" and values["output_dir"] == f"{tmp_path}/{this.name}"
        for values in words:
            assert values["smoke"] is True and float(values["learning_rate"]) == 1e-3
            assert values["resume_from_checkpoint"] == "auto"

    def test_settings_of_the_pipeline_and_of_a_stage(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        second = {"recipe": "digits", "settings": {"max_length": 99}, "learning_rate": 1e-5, "seed": 3}
        own = {"pipeline": ["first", second], "output_dir": "out", "seed": 1, "max_steps": 4}
        path.write_text(yaml.safe_dump(own))
        (tmp_path / "first.yaml").write_text("model: m\n")
        one, two = stages_of(path, ["max_steps=5", "temperature=0.5"])
        assert one.recipe == tmp_path / "first.yaml" and two.recipe == RECIPES / "digits.yaml"
        shared = {"resume_from_checkpoint": "auto", "max_steps": 5, "temperature": 0.5}
        assert parse_overrides(one.words) == {**shared, "seed": 1, "output_dir": "out/first"}
        own_settings = {"seed": 3, "settings": {"max_length": 99}, "learning_rate": 1e-5}
        assert parse_overrides(two.words) == {
            **shared,
            **own_settings,
            "model": "out/first",
            "output_dir": "out/digits",
        }

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("pipeline: digits", "`pipeline` is a list of recipes"),
            ("pipeline: []", "`pipeline` is a list of recipes"),
            ("pipeline: [digits]", "needs an output_dir"),
            ("{pipeline: [3], output_dir: o}", "stage 3 is neither"),
            ("{pipeline: [{seed: 1}], output_dir: o}", "neither a recipe's name nor a mapping"),
            ("{pipeline: [absent], output_dir: o}", "no recipe 'absent'"),
            ("{pipeline: [digits, digits], output_dir: o}", "two stages are named digits"),
        ],
    )
    def test_refuses(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(RecipeError) as raised:
            stages_of(path)
        assert message in str(raised.value)

    def test_all_stages_are_checked_before_the_first_begins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launch, "subprocess", SimpleNamespace(run=lambda *_, **__: pytest.fail("it began")))
        with pytest.raises(RecipeError, match="unknown setting 'learning_rat'"):
            train_command("u_marvel", ["smoke=true", "learning_rat=1"])

    def test_the_script_itself_runs_no_pipeline(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert training_run.main(["--config", "u_marvel", "smoke=true"]) == 2
        assert (
            "u_marvel is a pipeline of several stages: run it with `nyx-hf train u_marvel`" in capsys.readouterr().err
        )


class InProcess:
    """Starts runs as `nyx-hf train` does, but here: five processes would take a minute to begin."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.begun: list[str] = []

    def run(self, command: list[str], check: bool) -> SimpleNamespace:
        words = command[command.index("--config") :]
        name = Path(words[1]).stem
        self.begun.append(name)
        return SimpleNamespace(returncode=1 if name == self.fails else training_run.main(words))


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["nyx", "u_marvel", "rzenembed"])
def test_pipeline_runs_and_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["smoke=true", f"output_dir={out}"]
    stages = [stage.name for stage in stages_of(RECIPES / f"{name}.yaml", words)]

    stopped = InProcess(fails=stages[-1])
    monkeypatch.setattr(launch, "subprocess", stopped)
    assert train_command(name, words) == 1 and stopped.begun == stages
    assert f"{stages[-1]} ended with 1; the same command goes on from there" in capsys.readouterr().err

    weights = {stage: (out / stage / "model.safetensors").stat().st_mtime_ns for stage in stages[:-1]}
    whole = InProcess()
    monkeypatch.setattr(launch, "subprocess", whole)
    assert train_command(name, words) == 0 and whole.begun == stages
    said = capsys.readouterr().err
    for stage in stages[:-1]:
        assert f"{out / stage} is done" in said
        assert (out / stage / "model.safetensors").stat().st_mtime_ns == weights[stage], "it was trained again"
    assert f"{out / stages[-1]} is done" not in said
    for before, stage in pairwise(stages):
        run = json.loads((out / stage / "run.json").read_text())
        assert run["model"] == str(out / before) and len(run["upstream"]) == 64
        assert not same_weights(out / before, out / stage)

    # a changed stage is another model: the ones after it are refused, not passed over
    first = out / stages[0] / "run.json"
    first.write_text(first.read_text() + "\n")
    assert train_command(name, words) == 2
    assert "run with other settings (upstream " in capsys.readouterr().err


def same_weights(one: Path, other: Path) -> bool:
    mine, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.e2e
def test_what_a_temperature_learned_starts_the_next_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "two.yaml"
    first = {"recipe": "u_marvel_1c_instructions", "temperature_learning_rate": 0.5, "warmup_steps": 0}
    second = {"recipe": "u_marvel_2_hard_negatives", "temperature": 0.4}
    path.write_text(yaml.safe_dump({"pipeline": [first, second], "output_dir": str(tmp_path / "out")}))
    monkeypatch.setattr(launch, "subprocess", InProcess())
    assert train_command(str(path), ["smoke=true"]) == 0
    [learned] = load_file(tmp_path / "out" / "u_marvel_1c_instructions" / "objective.safetensors").values()
    assert abs(float(learned) - math.log(0.05)) > 0.1
    state = tmp_path / "out" / "u_marvel_2_hard_negatives" / "checkpoint-2" / "trainer_state.json"
    began = next(line for line in json.loads(state.read_text())["log_history"] if "temperature" in line)
    assert math.log(began["temperature"]) == pytest.approx(float(learned), abs=1e-3)  # and not the recipe's 0.4
