"""Plans: exact counts of full-size models on the meta device, memory against what a run really holds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_trainer import Rows, arguments, loaded
from torch import Tensor
from transformers import TrainerCallback

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.known_shapes import known_config, known_names
from nyx_hf.trainer.launch import Launch
from nyx_hf.trainer.pipelines import PIPELINE
from nyx_hf.trainer.plan import Plan, plans
from nyx_hf.trainer.plan_memory import TEXT_TOKENS, activations, content_tokens, memory
from nyx_hf.trainer.plan_model import Count
from nyx_hf.trainer.plan_report import plan_report
from nyx_hf.trainer.recipe_files import RECIPES, RecipeError, read_recipe
from nyx_hf.trainer.tiny import make_tiny_vlm
from nyx_hf.trainer.trainer import NyxTrainer

GIB = 1024**3

# Parameters of the published checkpoints: the totals that the Hub shows, less the language head where it is not tied.
PUBLISHED = {
    "Qwen/Qwen2-VL-2B-Instruct": 2_208_985_600,
    "Qwen/Qwen2-VL-7B-Instruct": 8_291_375_616 - 152_064 * 3_584,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656 - 152_064 * 3_584,
    "Qwen/Qwen3-VL-Embedding-2B": 2_127_532_032,
}


@pytest.mark.parametrize("name", known_names())
def test_known_shapes_are_the_published_ones(name: str) -> None:
    config = known_config(name)
    assert config is not None
    config.nyx = {}
    with torch.device("meta"):
        model = NyxModel._from_config(config, dtype=torch.bfloat16)
    count = Count.of(model)
    assert count.all == PUBLISHED[name] == count.trained and count.bytes == 2 * count.all
    assert all(parameter.is_meta for parameter in model.parameters())


def lora(rank: int, layers: int, hidden: int, inner: int, key_value: int) -> int:
    """Parameters of a LoRA on all linear layers of a Qwen2 language model, counted by hand."""
    attention = 2 * (hidden + hidden) + 2 * (hidden + key_value)  # q and o, k and v
    return rank * layers * (attention + 3 * (hidden + inner))


# recipe -> backbone, parameters of its adapter
ADAPTERS = {
    "nyx_pretrain": ("Qwen/Qwen2.5-VL-3B-Instruct", lora(8, 36, 2048, 11008, 256)),
    "nyx_feedback": ("Qwen/Qwen2.5-VL-3B-Instruct", lora(8, 36, 2048, 11008, 256)),
    "u_marvel_1a_text": ("Qwen/Qwen2-VL-7B-Instruct", lora(64, 28, 3584, 18944, 512)),
    "u_marvel_1b_image_text": ("Qwen/Qwen2-VL-7B-Instruct", lora(128, 28, 3584, 18944, 512)),
    "u_marvel_1c_instructions": ("Qwen/Qwen2-VL-7B-Instruct", lora(128, 28, 3584, 18944, 512)),
    "u_marvel_2_hard_negatives": ("Qwen/Qwen2-VL-7B-Instruct", lora(128, 28, 3584, 18944, 512)),
    "u_marvel_3_distillation": ("Qwen/Qwen2-VL-7B-Instruct", lora(128, 28, 3584, 18944, 512)),
    # the vision tower too: qkv, proj and two layers of the MLP in each of 32 blocks, two layers that merge patches
    "rzenembed_1_pretrain": (
        "Qwen/Qwen2-VL-2B-Instruct",
        lora(64, 28, 1536, 8960, 256) + 64 * (32 * (4 + 2 + 5 + 5) * 1280 + 2 * 5120 + 5120 + 1536),
    ),
    "adapt": (
        "Qwen/Qwen3-VL-Embedding-2B",
        16 * 28 * (2 * (2048 + 2048) + 2 * (2048 + 1024) + 3 * (2048 + 6144)),
    ),
}
ADAPTERS["rzenembed_2_finetune"] = ADAPTERS["rzenembed_1_pretrain"]


@pytest.fixture(scope="module")
def planned() -> dict[str, Plan]:
    """The plan of every recipe, at full size."""
    names = [path.stem for path in sorted(RECIPES.glob("*.yaml")) if PIPELINE not in read_recipe(path)]
    return {name: plans(name, [])[0] for name in names}


def test_every_recipe_s_model_is_counted(planned: dict[str, Plan]) -> None:
    assert set(planned) == {*ADAPTERS, "digits"}
    for name, (base, adapter) in ADAPTERS.items():
        plan = planned[name]
        assert plan.base == base, name
        assert plan.count.adapter == plan.count.trained == adapter, name
        assert plan.count.all == PUBLISHED[base] + adapter, name
        assert plan.count.bytes == 2 * PUBLISHED[base] + 4 * adapter, name  # bfloat16, the adapter float32
        assert 0.6 < plan.count.language / PUBLISHED[base] < 0.95, name


def test_every_recipe_fits_the_gpus_it_names(planned: dict[str, Plan]) -> None:
    for name, plan in planned.items():
        assert plan.memory.sum < (24 if name in ("adapt", "digits") else 75) * GIB, name


def test_batches(planned: dict[str, Plan]) -> None:
    nyx = planned["nyx_pretrain"]
    assert (nyx.queries, nyx.rows, nyx.accumulation, nyx.launch) == (640, 20, 4, Launch(8, "zero2"))
    assert nyx.documents == 2 + 159  # its own two, and the positives of 159 other queries
    assert nyx.content_tokens == 400 + 200
    assert planned["u_marvel_1a_text"].documents == 2 * 576  # all negatives are shared
    assert planned["u_marvel_3_distillation"].documents == 51  # a list of its own
    typed = plans("nyx_pretrain", ["gather_negatives=false"], 4, "ddp")[0]
    assert typed.documents == 2 + 19 and typed.queries == 320 and typed.launch == Launch(4, "ddp")


def test_memory_by_how_it_is_spread(planned: dict[str, Plan]) -> None:
    count = planned["nyx_pretrain"].count
    weights, trained = 2 * PUBLISHED["Qwen/Qwen2.5-VL-3B-Instruct"] + 4 * count.adapter, 4 * count.adapter
    one, ddp, two, three, fsdp = (
        plans("nyx_pretrain", [], processes, config)[0].memory
        for processes, config in ((1, "single"), (8, "ddp"), (8, "zero2"), (8, "zero3"), (8, "fsdp2"))
    )
    assert (one.weights, one.gradients, one.optimizer) == (weights, trained, 2 * trained)
    assert (ddp.weights, ddp.gradients, ddp.optimizer) == (weights, 2 * trained, 2 * trained)  # DDP's buckets
    all_half, buckets = 2 * count.all, 2 * 2 * 200_000_000
    assert (two.weights, two.gradients) == (all_half, 2 * count.adapter // 8 + buckets)
    assert two.optimizer == three.optimizer == 12 * count.adapter // 8  # a float32 copy and two moments
    assert three.weights == all_half // 8 + count.largest_block
    assert count.largest_block == 2 * 151_936 * 2048  # the token embeddings
    assert fsdp.weights == weights // 8 + count.largest_block and fsdp.optimizer == 2 * trained // 8
    assert one.activations == ddp.activations == two.activations == three.activations == fsdp.activations


class Saved:
    """Bytes that autograd keeps for the way back, each storage once."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.sizes: dict[int, int] = {}
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self._kept: list[Tensor] = []

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self.sizes[storage.data_ptr()] = storage.nbytes()
            self._kept.append(tensor)
        return tensor

    @property
    def sum(self) -> int:
        return sum(self.sizes.values())


def test_weights_gradients_and_optimizer_are_what_a_run_holds(tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
    """To the byte: a real step on CPU, with an adapter and without."""
    for changes in ({"use_lora": True, "lora_target": "all"}, {"freeze_vision": True}):
        model, seen = loaded(tiny_backbones["qwen2_5_vl"]), Held()
        args = arguments(tmp_path / "run", max_steps=1, **changes)
        trainer = NyxTrainer(model, args, train_dataset=Rows(), callbacks=[seen])
        trainer.train()
        count = Count.of(trainer.model)
        planned = memory(count, model.config, model.settings, args, Launch())
        assert planned.weights == sum(p.numel() * p.element_size() for p in trainer.model.parameters())
        assert planned.gradients == seen.gradients > 0
        states = [value for state in trainer.optimizer.state.values() for value in state.values() if value.dim()]
        assert planned.optimizer == sum(value.numel() * value.element_size() for value in states) > 0


class Held(TrainerCallback):
    """Bytes of the gradients before a step."""

    gradients = 0

    def on_pre_optimizer_step(self, *args: Any, model: Any, **kwargs: Any) -> None:
        self.gradients = sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_activations_are_about_what_autograd_keeps(family: str, checkpointing: bool, tmp_path: Path) -> None:
    backbone = make_tiny_vlm(tmp_path / "backbone", family, layers=4)
    model = NyxModel.from_backbone(backbone)
    side = 16 * model.config.vision_config.patch_size
    model.settings = model.settings.updated(max_pixels=side * side, max_length=64 + TEXT_TOKENS)
    content = {"text": "0123456789" * 40, "image": Image.new("RGB", (side, side), "red")}
    features = model.processor.process([content] * 8)
    assert features["attention_mask"].sum() == 8 * content_tokens(model.config, model.settings)
    args = arguments(tmp_path, per_device_train_batch_size=4, negatives_per_query=0)
    args.gradient_checkpointing = checkpointing
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    saved = Saved(model)
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor):
        model(**features).embeddings.sum()
    estimated = activations(model.config, model.settings, args, trains_vision=True)
    assert 0.75 < estimated / saved.sum < 1.33


class TestReport:
    def test_says_what_a_stranger_asks(self) -> None:
        text = plan_report("nyx_pretrain")
        assert "3,769.6 M: language 3,085.9 M, vision 668.7 M, adapter 15.0 M" in text
        assert "640 = 20 a process × 4 accumulated × 8" in text and "8 processes, zero2" in text
        assert "data/nyxqa (no such folder; else a Hub id)" in text
        assert "weights 7.0 + gradients" in text and "600 tokens a content" in text

    def test_pipeline(self) -> None:
        text = plan_report("u_marvel", ["output_dir=out"])
        assert text.count("GiB on each GPU") == 5
        assert "out/u_marvel_1c_instructions, in the beginning Qwen/Qwen2-VL-7B-Instruct" in text

    def test_json(self) -> None:
        [plan] = json.loads(plan_report("digits", as_json=True))
        assert plan["launch"] == {"processes": 1, "config": "single"} and plan["datasets"][0].startswith("build:")
        assert plan["memory"]["sum"] == sum(value for name, value in plan["memory"].items() if name != "sum")

    def test_a_model_on_disk_and_an_adapter_of_it(self, tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
        retriever = tmp_path / "retriever"
        loaded(tiny_backbones["qwen2_vl"]).save_pretrained(retriever)
        args = arguments(tmp_path / "adapter", max_steps=1, use_lora=True, lora_r=2)
        model: Any = NyxModel.from_pretrained(retriever)
        trainer = NyxTrainer(model, args, train_dataset=Rows())
        trainer.save_model()
        typed = ["use_cpu=true", "settings={}"]
        [whole] = plans("digits", [*typed, f"model={retriever}"])
        [adapter] = plans("digits", [*typed, f"model={tmp_path / 'adapter'}"])
        assert whole.count.all == sum(p.numel() for p in NyxModel.from_pretrained(retriever).parameters())
        assert adapter.base == str(retriever) and adapter.count.trained == Count.of(trainer.model).adapter
        assert adapter.count.all == whole.count.all + adapter.count.adapter

    def test_a_model_that_is_not_there(self) -> None:
        with pytest.raises(RecipeError, match="model runs/absent is not there, and no recipe beside this one leaves"):
            plans("digits", ["model=runs/absent"])

    def test_other_yaml_beside_the_recipe(self, tmp_path: Path) -> None:
        (tmp_path / "compose.yaml").write_text("- no recipe\n- at all\n")
        (tmp_path / "first.yaml").write_text("model: Qwen/Qwen2-VL-2B-Instruct\noutput_dir: left\ndatasets: [d]\n")
        (tmp_path / "second.yaml").write_text("model: left\noutput_dir: end\ndatasets: [d]\n")
        [plan] = plans(str(tmp_path / "second.yaml"), [])
        assert (plan.model, plan.base) == ("left", "Qwen/Qwen2-VL-2B-Instruct")

    def test_prefixes_over_the_width(self) -> None:
        with pytest.raises(RecipeError, match="asks for 4096 dimensions, but the vectors of Qwen/Qwen2.5.* have 2048"):
            plans("nyx_pretrain", ["matryoshka_dims=[4096]", "matryoshka_weights=[1]"])
