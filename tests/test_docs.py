"""docs/training.md: its code runs, its tables are those of the code."""

import re
import shlex
from contextlib import redirect_stdout
from dataclasses import MISSING, fields
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_readme import quickstart  # noqa: F401

from nyx_hf.trainer.adapters import AdapterArguments
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.batching import BatchArguments
from nyx_hf.trainer.chunks import ChunkArguments
from nyx_hf.trainer.dataset_specs import DatasetSpec
from nyx_hf.trainer.launch import CONFIGS
from nyx_hf.trainer.objective import ObjectiveArguments
from nyx_hf.trainer.pipelines import stages_of
from nyx_hf.trainer.plan_report import plan_report
from nyx_hf.trainer.recipe_files import RECIPES

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
ROWS = {cells[0].strip("` "): cells[1].strip() for cells in re.findall(r"^\| (`\w+`) \| (.*?) \|", PAGE, re.M)}
SAID = {
    None: {"none", "the model's", "alike", "learning_rate", "the student's"},
    (): {"none"},
    (1, 5, 10): {"1, 5, 10"},
}


def own_defaults() -> dict[str, Any]:
    """The arguments that are ours, with their defaults."""
    found: dict[str, Any] = {}
    for kind in (ObjectiveArguments, BatchArguments, ChunkArguments, AdapterArguments):
        for entry in fields(kind):
            found[entry.name] = entry.default_factory() if entry.default is MISSING else entry.default
    for entry in fields(NyxTrainingArguments):
        if entry.name in ("eval_ks", "early_stopping_patience"):
            found[entry.name] = entry.default_factory() if entry.default is MISSING else entry.default
    return found


def test_every_setting_is_told_with_its_default() -> None:
    for name, default in own_defaults().items():
        assert name in ROWS, name
        key = tuple(default) if isinstance(default, list) else default
        said = SAID.get(key, {str(default).lower() if isinstance(default, bool) else str(default)})
        assert ROWS[name] in said, f"{name}: {ROWS[name]!r}, and the default is {default!r}"


def test_every_recipe_and_launch_config_is_told() -> None:
    for folder in (RECIPES, CONFIGS):
        for path in folder.glob("*.yaml"):
            assert path.stem in ROWS, path


def test_the_plan_is_what_is_printed() -> None:
    [shown] = re.findall(r"^    nyx_pretrain\n(?:    .*\n)+", PAGE, re.M)
    lines = [line.strip() for line in shown.strip().splitlines()]
    printed = [line.strip() for line in plan_report("nyx_pretrain").splitlines()]
    assert lines[-1] == "…" and lines[:-1] == printed[: len(lines) - 1]


@pytest.mark.parametrize("config", ["fsdp2", "zero2", "zero3", "ddp"])
def test_several_machines(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's command, as accelerate understands it, with each way to spread a model."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    [line] = re.findall(r"^    (accelerate launch (?:.*\\\n)+.*)$", PAGE, re.M)
    words = shlex.split(line.replace("\\\n", " ").replace("fsdp2.yaml", f"{config}.yaml"))[2:]
    monkeypatch.chdir(ROOT)
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    args.machine_rank = "1"
    args.deepspeed_fields_from_accelerate_config = ""
    if args.use_deepspeed:
        assert prepare_deepspeed_cmd_env(args)[0] is None  # torchrun on each machine, no ssh from one to the others
    else:
        prepare_multi_gpu_env(args)
    assert (args.nnodes, args.nproc_per_node, args.node_rank) == ("2", "8", 1)
    assert args.rdzv_endpoint == "10.0.0.1:29500" and args.training_script == "trainer/train.py"


def test_yaml(tmp_path: Path) -> None:
    [pipeline, datasets] = [yaml.safe_load(code) for language, code in BLOCKS if language == "yaml"]
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text("model: m\n")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(pipeline))
    assert [stage.name for stage in stages_of(path)] == ["first", "second"]
    assert len([DatasetSpec(**one) for one in datasets["datasets"]]) == 4


@pytest.mark.e2e
def test_code(quickstart: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.chdir(quickstart)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(quickstart / "cache-docs"))
    codes = [code for language, code in BLOCKS if language == "python"]
    assert len(codes) == 2
    for code in codes:
        with redirect_stdout(StringIO()):
            exec(compile(code, "docs/training.md", "exec"), {})
    assert (quickstart / "runs" / "tuned" / "model.safetensors").is_file()
    assert (quickstart / "runs" / "tuned" / "objective.safetensors").is_file()


def test_code_of_the_losses_page() -> None:
    page = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    with redirect_stdout(StringIO()) as printed:
        exec(compile(code, "docs/losses.md", "exec"), {})
    assert "loss_dim_16" in printed.getvalue() and "hardest_negative_share" in printed.getvalue()


@pytest.mark.parametrize("line", re.findall(r"^    (nyx-hf soup .*)$", PAGE, re.M))
def test_soups_are_commands(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from typer.testing import CliRunner

    from nyx_hf import cli

    called: list[Any] = []
    cooked = SimpleNamespace(as_text=lambda: "cooked")
    monkeypatch.setattr("nyx_hf.soup.cook", lambda *words: called.append(words) or cooked)
    assert CliRunner().invoke(cli.app, shlex.split(line)[1:]).output == "cooked\n"
    assert called[0][0] == ["runs/mix1", "runs/mix2", "runs/mix3"]
