"""Adapters: what is trained, what is saved, how it loads, merges and goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from test_trainer import Rows, arguments, loaded, same, state_of

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.adapter_loading import SETTINGS_FILE, load_adapter
from nyx_hf.trainer.adapter_weights import merged_weights
from nyx_hf.trainer.adapters import lora_targets, without_adapter
from nyx_hf.trainer.run_arguments import parse_run
from nyx_hf.trainer.run_model import load_model
from nyx_hf.trainer.tiny import MODEL_TYPES
from nyx_hf.trainer.trainer import NyxTrainer
from nyx_hf.trainer.training_run import main


def trained(backbone: Path, folder: Path, **changes: Any) -> NyxTrainer:
    how = {"use_lora": True, "learning_rate": 0.02, "temperature": 0.5, **changes}
    trainer = NyxTrainer(loaded(backbone), arguments(folder, **how), train_dataset=Rows(tuple(range(12))))
    trainer.train()
    return trainer


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("target", ["language", "all"])
def test_every_adapted_layer_learns_and_nothing_else(
    tiny_backbones: dict[str, Path], tmp_path: Path, model_type: str, use_dora: bool, target: str
) -> None:
    trainer = trained(tiny_backbones[model_type], tmp_path, use_dora=use_dora, lora_target=target)
    model = trainer.model
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    kinds = {name.split(".")[-2 if "magnitude" not in name else -3] for name in names}
    assert any("visual" in name for name in names) == (target == "all")
    assert any("lora_magnitude_vector" in name for name in names) == use_dora, kinds
    moved = {n for n, p in model.named_parameters() if "lora_B" in n and p.abs().max() > 0}
    assert moved == {name for name in names if "lora_B" in name}
    base = loaded(tiny_backbones[model_type]).state_dict()
    now = {n.replace(".base_layer", ""): v for n, v in without_adapter(model).state_dict().items() if "lora_" not in n}
    assert same(dict(base), now)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_targets_are_found_by_what_they_are(tiny_backbones: dict[str, Path], model_type: str) -> None:
    model = loaded(tiny_backbones[model_type])
    every = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    import re

    for target, expected in (("all", every), ("language", {n for n in every if n.startswith("language_model.")})):
        pattern = re.compile(lora_targets(model, target))
        assert {name for name, _ in model.named_modules() if pattern.fullmatch(name)} == expected and len(
            expected
        ) > 10


@pytest.mark.parametrize("use_dora", [False, True])
def test_merging_by_arithmetic_is_pefts_merging(
    tiny_backbones: dict[str, Path], tmp_path: Path, use_dora: bool
) -> None:
    """What is merged where parameters are spread over processes."""
    model = trained(tiny_backbones["qwen3_vl"], tmp_path, use_dora=use_dora, lora_target="all", lora_r=3).model
    ours = merged_weights(model.state_dict(), model.peft_config["default"])
    theirs = model.merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-6)


class TestLoading:
    def test_one_call_from_a_plain_backbone(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        model = NyxModel.from_backbone(tiny_backbones["qwen2_vl"], "u-marvel", max_length=99)
        args = arguments(tmp_path, use_lora=True, learning_rate=0.02, matryoshka_dims=[64, 16])
        trainer = NyxTrainer(model, args, train_dataset=Rows())
        trainer.train()
        trainer.save_model()
        expected = model.encode(["a fox"], prompt="Find it.")
        again = load_adapter(tmp_path)
        assert isinstance(again, PeftModel) and again.get_base_model().settings == model.settings
        np.testing.assert_allclose(again.encode(["a fox"], prompt="Find it."), expected, atol=1e-6)
        assert json.loads((tmp_path / SETTINGS_FILE).read_text())["max_length"] == 99
        assert not any(parameter.requires_grad for parameter in again.parameters())

    def test_one_call_from_a_retriever(self, tiny_folder: Path, tmp_path: Path) -> None:
        model = NyxModel.from_pretrained(tiny_folder)
        trainer = NyxTrainer(model, arguments(tmp_path, use_lora=True, learning_rate=0.02), train_dataset=Rows())
        trainer.train()
        trainer.save_model()
        np.testing.assert_allclose(load_adapter(tmp_path).encode("a fox"), model.encode("a fox"), atol=1e-6)

    def test_what_is_no_adapter(self, tiny_folder: Path) -> None:
        with pytest.raises(ValueError, match="is no adapter: it has no adapter_config.json"):
            load_adapter(tiny_folder)


@pytest.mark.e2e
def test_training_goes_on_with_an_adapter(tmp_path: Path) -> None:
    """`model: ADAPTER` in a recipe trains that adapter on, from the weights it has."""
    words = [
        "--config",
        "digits",
        "smoke=true",
        "use_lora=true",
        "lora_r=3",
        "max_steps=1",
        "warmup_steps=0",
        "save_steps=2",
        "eval_steps=2",
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*words, f"output_dir={first}", "load_best_model_at_end=false"]) == 0
    run = parse_run([*words, f"output_dir={second}", f"model={first}"])
    model = load_model(run.model, run.training)
    start = load_adapter(first)
    assert same(state_of(model), state_of(start))
    assert [n for n, p in model.named_parameters() if p.requires_grad] and model.peft_config["default"].r == 3
    assert main([*words, f"output_dir={second}", f"model={first}", "load_best_model_at_end=false"]) == 0
    config = json.loads((second / "adapter_config.json").read_text())
    assert (
        config["base_model_name_or_path"]
        == json.loads((first / "adapter_config.json").read_text())["base_model_name_or_path"]
    )
    moved = [n for n, v in state_of(load_adapter(second)).items() if not torch.equal(v, state_of(start)[n])]
    assert moved and all("lora_" in name for name in moved)
