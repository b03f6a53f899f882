"""What vLLM reads of a folder: by its own reader where it is installed, and by what that reader asks for."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors import safe_open

from nyx_hf.modeling.modeling_nyx import NyxModel

HAS_VLLM = find_spec("vllm") is not None
READ = {  # names of modules that vLLM 0.33 knows, and what it makes of pooling modes
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "sentence_transformers.base.modules.normalize.Normalize",
}


@pytest.fixture(params=["last", "mean"])
def folder(request: pytest.FixtureRequest, tiny_backbones: dict[str, Path], tmp_path: Path) -> Path:
    model = NyxModel.from_backbone(tiny_backbones["qwen2_5_vl"], preset="nyx", pooling=request.param)
    model.save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


def test_pooling_widths_and_names_are_where_vllm_looks(folder: Path) -> None:
    modules = {one["name"]: one for one in json.loads((folder / "modules.json").read_text())}
    assert {modules["pooling"]["type"], modules["normalize"]["type"]} == READ
    pooling = json.loads((folder / modules["pooling"]["path"] / "config.json").read_text())
    assert pooling["pooling_mode"] == {"last": "lasttoken", "mean": "mean"}[folder.name]
    config = json.loads((folder / "config.json").read_text())
    assert config["matryoshka_dimensions"] and config["architectures"] == ["Qwen2_5_VLModel"]  # `…Model`: to be pooled
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {name.split(".")[0] for name in weights.keys()} == {"visual", "language_model"}  # noqa: SIM118


@pytest.mark.skipif(not HAS_VLLM, reason="vllm is not installed: its wheels need a GPU build of torch")
def test_vllm_s_own_reader(folder: Path) -> None:
    from vllm.transformers_utils.config import get_config, get_pooling_config

    found = get_pooling_config(str(folder))
    assert found == {"use_activation": True, "seq_pooling_type": folder.name.upper()}
    config = get_config(str(folder), trust_remote_code=False)
    assert config.matryoshka_dimensions and type(config).__module__.startswith("transformers.")
