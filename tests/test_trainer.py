"""NyxTrainer on tiny models: losses and gradients on one process and two, resume, evaluation, saving, the Hub."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_standin import Standin, standin
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, TrainerCallback

from nyx_hf.data_builders.metrics import aggregate, ranking_metrics
from nyx_hf.data_builders.ragged import Ragged
from nyx_hf.model_cards.licences import LicenceError
from nyx_hf.model_cards.model_card import DataSource
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.adapters import lora_targets, merged
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.loss_batch import EmbeddedBatch
from nyx_hf.trainer.loss_contrastive import ContrastiveLoss
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet, evaluate_retrieval
from nyx_hf.trainer.samplers import MixtureSampler, Source
from nyx_hf.trainer.trainer import NyxTrainer
from tests.pictures import noise_image

ROOT = Path(__file__).resolve().parent.parent
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "fox", "dog"]


class Rows:
    """Twelve rows with 0, 1 or 2 hard negatives; pictures stand in the documents of `pictured` alone."""

    def __init__(self, pictured: tuple[int, ...] = tuple(range(0, 12, 2))) -> None:
        self.pictured = pictured

    def __len__(self) -> int:
        return len(WORDS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        positive: list[dict[str, Any]] = [{"type": "text", "text": f"record of {WORDS[index]}"}]
        if index in self.pictured:
            positive.append({"type": "image", "image": noise_image(56, 28, index)})
        others = [(index + step) % len(WORDS) for step in range(1, 1 + index % 3)]
        return {
            "query": {"content": [{"type": "text", "text": f"the code {WORDS[index]}"}]},
            "instruction": None,
            "positives": [{"content": positive}],
            "negatives": [{"content": [{"type": "text", "text": f"not {WORDS[other]}"}]} for other in others],
            "query_id": f"q{index}",
            "positive_ids": [f"d{index}"],
            "negative_ids": [f"n{other}" for other in others],
            "dataset": "rows",
            "task": None,
        }

    def positives(self) -> Ragged:
        return Ragged.of_ids([[f"d{index}"] for index in range(len(self))])

    def sources(self) -> list[Source]:
        return [Source("rows", range(len(self)))]


def retrieval_set(rows: Rows, documents: int = 5, queries: int = 3, name: str = "rows") -> RetrievalSet:
    return RetrievalSet(
        corpus=[{"id": f"d{i}", **rows[i]["positives"][0]} for i in range(documents)],
        queries=[
            {"id": f"q{i}", **rows[i]["query"], "instruction": ["Find it.", None][i % 2]} for i in range(queries)
        ],
        relevant={f"q{i}": [f"d{i}", f"d{i + 1}"] for i in range(queries)},
        name=name,
    )


def arguments(folder: Path, **changes: Any) -> NyxTrainingArguments:
    values: dict[str, Any] = {
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "temperature": 0.05,
        "negatives_per_query": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return NyxTrainingArguments(str(folder), **{**values, **changes})


def loaded(backbone: Path) -> NyxModel:
    return NyxModel.from_backbone(backbone, "nyx")


@pytest.fixture()
def model(tiny_backbones: dict[str, Path]) -> NyxModel:
    return loaded(tiny_backbones["qwen2_5_vl"])


def state_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class Gradients(TrainerCallback):
    """Keeps the gradients of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        named = model.named_parameters()
        self.steps.append({name: p.grad.clone() for name, p in named if p.grad is not None})


# ---------------------------------------------------------------- the loss


def test_loss_is_the_objective_of_the_embeddings(model: NyxModel, tmp_path: Path) -> None:
    trainer = NyxTrainer(model, arguments(tmp_path), train_dataset=Rows())
    batch = next(iter(trainer.get_train_dataloader()))
    loss, outputs = trainer.compute_loss(model, batch, return_outputs=True)
    documents, query = outputs["document"], outputs["query"]
    assert len(query) == 4 and len(documents) > 6
    torch.testing.assert_close(query, model(**batch["query"]).embeddings)
    settings = model.settings
    objective = ContrastiveLoss(0.05, dims=settings.matryoshka_dims, weights=settings.matryoshka_weights)
    expected = objective(EmbeddedBatch.of(query, documents[:4], documents[4:], batch["negative_owner"])).loss
    torch.testing.assert_close(loss, expected)
    assert loss.item() > 0.1


def test_arguments_reach_the_objective_and_the_settings(model: NyxModel, tmp_path: Path) -> None:
    args = arguments(tmp_path, matryoshka_dims=[16, 64], matryoshka_weights=[0.5, 1.5], shared_negatives=True)
    trainer = NyxTrainer(model, args, train_dataset=Rows())
    assert trainer.objective.dims == [16, 64] and trainer.objective.weights == [0.25, 0.75]
    assert trainer.objective.temperature.values() == {"temperature": 0.05} and trainer.objective.shared_negatives
    assert model.settings.matryoshka_dims == (64, 16) and model.settings.matryoshka_weights == (1.5, 0.5)
    assert model.processor.settings == model.settings


def test_no_prefixes_train_the_full_embedding_alone(model: NyxModel, tmp_path: Path) -> None:
    trainer = NyxTrainer(model, arguments(tmp_path, matryoshka_dims=[]), train_dataset=Rows())
    assert trainer.objective.dims == [] and model.settings.matryoshka_dims == ()


def test_accumulation_averages_and_logs_each_prefix(model: NyxModel, tmp_path: Path) -> None:
    start, kept = state_of(model), Gradients()
    args = arguments(tmp_path, max_steps=1, gradient_accumulation_steps=3, max_grad_norm=0.0)
    trainer = NyxTrainer(model, args, train_dataset=Rows(), callbacks=[kept])
    trainer.train()
    model.load_state_dict(start)
    model.zero_grad()
    losses = []
    for batch in trainer.get_train_dataloader():
        loss = trainer.compute_loss(model, batch)
        (loss / 3).backward()
        losses.append(loss.item())
    assert len(losses) == 3 and len(set(losses)) == 3
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(kept.steps[0][name], parameter.grad, rtol=0, atol=1e-6)
    logged = trainer.state.log_history[0]
    assert logged["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    settings = model.settings
    pairs = zip(settings.matryoshka_dims, settings.matryoshka_weights, strict=True)
    total = sum(logged[f"loss_dim_{dim}"] * weight for dim, weight in pairs)
    assert total / sum(settings.matryoshka_weights) == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("pictured", [(), tuple(range(12))])
def test_every_parameter_gets_a_gradient(model: NyxModel, tmp_path: Path, pictured: tuple[int, ...]) -> None:
    kept = Gradients()
    before = state_of(model)
    args = arguments(tmp_path, gradient_checkpointing=True)
    NyxTrainer(model, args, train_dataset=Rows(pictured), callbacks=[kept]).train()
    visual = [name for name in kept.steps[0] if name.startswith("visual.")]
    assert len(kept.steps[0]) == len(list(model.parameters())) and len(visual) > 10
    reached = [name for name in visual if kept.steps[0][name].abs().max() > 0]
    assert len(reached) == (len(visual) if pictured else 0)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in before if name.startswith("language_model.layers")} <= moved
    assert bool(pictured) == any(name.startswith("visual.") for name in moved)


def test_frozen_vision_stays(model: NyxModel, tmp_path: Path) -> None:
    before = state_of(model)
    NyxTrainer(model, arguments(tmp_path, freeze_vision=True), train_dataset=Rows(tuple(range(12)))).train()
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed and not any(name.startswith("visual.") for name in changed)


# ---------------------------------------------------------------- data


def test_batches_share_no_positive_and_change_with_the_epoch(model: NyxModel, tmp_path: Path) -> None:
    class Shared(Rows):
        def positives(self) -> Ragged:
            return Ragged.of_ids([[f"d{index // 2}"] for index in range(len(self))])

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {**super().__getitem__(index), "positive_ids": [f"d{index // 2}"]}

    seen: list[list[int]] = []

    class Watch(TrainerCallback):
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append([])

    trainer = NyxTrainer(model, arguments(tmp_path, max_steps=6), train_dataset=Shared(), callbacks=[Watch()])
    compute = trainer.compute_loss

    def watched(model: Any, inputs: Any, **kwargs: Any) -> Any:
        seen[-1].append(tuple(inputs["positive_ids"].tolist()))
        return compute(model, inputs, **kwargs)

    trainer.compute_loss = watched
    trainer.train()
    assert [len(epoch) for epoch in seen] == [3, 3]
    assert all(len(set(batch)) == 4 for epoch in seen for batch in epoch)
    assert sorted(seen[0]) != sorted(seen[1])


def test_shared_positives_may_be_allowed(model: NyxModel, tmp_path: Path) -> None:
    trainer = NyxTrainer(model, arguments(tmp_path, unique_positives=False), train_dataset=Rows())
    sampler = trainer._get_train_sampler()
    assert isinstance(sampler, MixtureSampler) and sampler.positives is None


# ---------------------------------------------------------------- resume


@pytest.mark.parametrize("lora", [False, True])
def test_a_resumed_run_ends_bit_equal(tiny_backbones: dict[str, Path], tmp_path: Path, lora: bool) -> None:
    """Three steps an epoch: the checkpoint stands in the middle of the second epoch."""
    how: dict[str, Any] = {"max_steps": 7, "save_strategy": "steps", "save_steps": 4, "weight_decay": 0.1}
    how |= {"use_lora": True, "lora_dropout": 0.3, "lora_target": "all"} if lora else {}
    ends, losses = [], []
    for checkpoint in (None, str(tmp_path / "checkpoint-4")):
        torch.manual_seed(99 if checkpoint else 0)  # what stands before must not matter
        trainer = NyxTrainer(loaded(tiny_backbones["qwen2_5_vl"]), arguments(tmp_path, **how), train_dataset=Rows())
        trainer.train(resume_from_checkpoint=checkpoint)
        ends.append(state_of(trainer.model))
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert same(*ends)
    assert losses[0] == losses[1] and len(set(losses[0])) == 7
    weights = "adapter_model.safetensors" if lora else "model.safetensors"
    saved = load_file(tmp_path / "checkpoint-4" / weights)
    assert not all(any(torch.equal(value, other) for other in ends[0].values()) for value in saved.values())


# ---------------------------------------------------------------- evaluation


def test_evaluation_is_encode_and_rank(tiny_model: NyxModel) -> None:
    rows = Rows()
    dataset = retrieval_set(rows, documents=12, queries=12 - 1)
    scores = evaluate_retrieval(tiny_model, dataset, dims=[64, 8], ks=(1, 3), batch_size=2)
    documents = tiny_model.encode_document([rows[i]["positives"][0] for i in range(12)])
    queries = [
        tiny_model.encode(rows[i]["query"], prompt=["Find it.", tiny_model.settings.prompts["query"]][i % 2])
        for i in range(11)
    ]
    for prefix, dim in (("", 64), ("dim_8_", 8)):
        short = [
            v[..., :dim] / np.linalg.norm(v[..., :dim], axis=-1, keepdims=True) for v in (np.stack(queries), documents)
        ]
        ranked = [[f"d{i}" for i in row] for row in np.argsort(-(short[0] @ short[1].T), axis=1, kind="stable")]
        expected = aggregate(ranking_metrics(ranked, [dataset.relevant[f"q{i}"] for i in range(11)], (1, 3)))
        for name in ("recall@1", "recall@3", "ndcg@3", "mrr@3"):
            assert scores[prefix + name] == pytest.approx(expected[name])
    assert len(scores) == 12 and 0 < scores["recall@3"] < 1


def test_evaluation_during_training_chooses_the_best_checkpoint(model: NyxModel, tmp_path: Path) -> None:
    rows = Rows()
    every_step = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "a_ndcg@3", "eval_ks": [1, 3]}
    args = arguments(tmp_path, max_steps=4, learning_rate=0.03, **every_step, **best)
    sets = {"a": retrieval_set(rows, 12, 11, "set-a"), "b": retrieval_set(rows, name="set-b")}
    trainer = NyxTrainer(model, args, train_dataset=rows, eval_dataset=sets)
    trainer.train()
    scored = {e["step"]: e["eval_a_ndcg@3"] for e in trainer.state.log_history if "eval_a_ndcg@3" in e}
    assert len(scored) == 4 and len(set(scored.values())) > 1
    top = max(scored, key=lambda step: (scored[step], -step))
    assert trainer.state.best_metric == scored[top] and trainer.state.best_global_step == top
    assert trainer.evaluate()["eval_a_ndcg@3"] == pytest.approx(scored[top])
    assert {"eval_recall@1", "eval_dim_8_recall@1", "eval_runtime"} <= set(trainer.evaluate("b"))
    trainer.save_model()
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "set-a" in card and "set-b" in card and f"{scored[top]:.4f}" in card


def test_evaluation_without_a_set_is_refused(model: NyxModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass eval_dataset"):
        NyxTrainer(model, arguments(tmp_path), train_dataset=Rows()).evaluate()


# ---------------------------------------------------------------- saving


def test_the_saved_folder_is_the_model_with_its_card(model: NyxModel, tmp_path: Path) -> None:
    card = {
        "datasets": [DataSource("owner/rows", "v1", "cc-by-sa-4.0")],
        "command": "accelerate launch trainer/train.py --config mine.yaml",
    }
    trainer = NyxTrainer(model, arguments(tmp_path, matryoshka_dims=[64, 16]), train_dataset=Rows(), card=card)
    trainer.train()
    trainer.save_model()
    again = NyxModel.from_pretrained(tmp_path)
    queries = ["a fox", noise_image(40, 40)]
    assert same(state_of(again), state_of(model))
    # what is loaded may lie elsewhere in memory, where a processor adds up in another order
    np.testing.assert_allclose(again.encode(queries), model.encode(queries), rtol=0, atol=1e-6)
    assert again.settings.matryoshka_dims == (64, 16)
    assert not list(tmp_path.glob("training_args.bin"))  # it would hold the Hub token
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for said in ("owner/rows", "license: cc-by-sa-4.0", card["command"], "temperature", "0.05", "library_name"):
        assert said in text
    assert str(tmp_path.parent) not in text


def test_a_licence_that_cannot_be_given_is_refused_before_training(model: NyxModel, tmp_path: Path) -> None:
    card = {"datasets": [DataSource("owner/rows", None, "cc-by-nc-4.0")], "license": "mit"}
    with pytest.raises(LicenceError, match="owner/rows is under 'cc-by-nc-4.0'"):
        NyxTrainer(model, arguments(tmp_path), train_dataset=Rows(), card=card)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_lora_targets_are_the_linear_layers(tiny_backbones: dict[str, Path], family: str) -> None:
    model = loaded(tiny_backbones[family])
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    found = {
        target: {name for name, _ in model.named_modules() if re.fullmatch(lora_targets(model, target), name)}
        for target in ("language", "all")
    }
    assert found["all"] == linear
    assert found["language"] == {name for name in linear if name.startswith("language_model.")}
    assert 10 < len(found["language"]) < len(linear)


def test_adapter_trains_alone_saves_and_merges(tiny_folder: Path, tmp_path: Path) -> None:
    """From a published retriever: the adapter's folder loads with one call of AutoModel too."""
    model = NyxModel.from_pretrained(tiny_folder)
    before = state_of(model)
    plain = model.encode("a fox")
    args = arguments(tmp_path / "adapter", use_lora=True, lora_target="all", learning_rate=0.02)
    trainer = NyxTrainer(model, args, train_dataset=Rows())
    trainable = [name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad]
    assert trainable and all("lora_" in name for name in trainable)
    trainer.train()
    trainer.save_model()
    base = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert all(torch.equal(base[name], value) for name, value in before.items())
    trained = model.encode("a fox")
    assert np.abs(trained - plain).max() > 1e-3

    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_folder) and config["task_type"] == "FEATURE_EXTRACTION"
    again = PeftModel.from_pretrained(NyxModel.from_pretrained(tiny_folder), tmp_path / "adapter")
    np.testing.assert_allclose(again.encode("a fox"), trained, atol=1e-6)
    one_call = AutoModel.from_pretrained(tmp_path / "adapter", trust_remote_code=True)
    np.testing.assert_allclose(one_call.encode("a fox"), trained, atol=1e-6)
    np.testing.assert_allclose(merged(trainer.model).encode("a fox"), trained, atol=1e-5)
    np.testing.assert_allclose(model.encode("a fox"), trained, atol=0)  # merging left it as it was
    text = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "library_name: peft" in text and "base_model: tiny-nyx" in text and str(tiny_folder) not in text


def test_merged_at_the_end(model: NyxModel, tmp_path: Path) -> None:
    args = arguments(tmp_path, use_lora=True, merge_lora=True, learning_rate=0.02, save_strategy="steps", save_steps=2)
    trainer = NyxTrainer(model, args, train_dataset=Rows())
    trainer.train()
    trainer.save_model()
    assert (tmp_path / "checkpoint-2" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "adapter_config.json").exists()
    trained = trainer.model.encode("a fox")
    np.testing.assert_allclose(NyxModel.from_pretrained(tmp_path).encode("a fox"), trained, atol=1e-5)
    assert "library_name: sentence-transformers" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_an_adapter_keeps_its_bases_hub_id(model: NyxModel, tmp_path: Path) -> None:
    model.name_or_path = "Qwen/Qwen2.5-VL-3B-Instruct"  # as if it had been loaded by it
    trainer = NyxTrainer(model, arguments(tmp_path, use_lora=True), train_dataset=Rows())
    trainer.save_model()
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "base_model: Qwen/Qwen2.5-VL-3B-Instruct" in text and "license_name: qwen-research" in text
    assert "qwen-research" in (tmp_path / "LICENSE").read_text(encoding="utf-8")


# ---------------------------------------------------------------- refusals


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"lora_target": "q_proj"}, "lora_target is 'q_proj'; it is one of language"),
            ({"negatives_per_query": -1}, "negatives_per_query -1"),
            ({"lora_r": 0}, "rank and alpha are above 0"),
            ({"eval_ks": []}, "eval_ks is"),
            ({"ddp_find_unused_parameters": True}, "must stay false"),
            ({"ddp_broadcast_buffers": None}, "must stay false"),
            ({"merge_lora": True}, "it needs use_lora=true"),
            ({"merge_lora": True, "use_lora": True, "push_to_hub": True}, "hub_strategy=end"),
            ({"use_lora": True, "freeze_vision": True, "lora_target": "all"}, "contradict"),
        ],
    )
    def test_arguments(self, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            arguments(tmp_path, **changes)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"temperature": 0.0}, "must be positive"),
            ({"matryoshka_dims": [128, 64]}, "128"),
            ({"matryoshka_dims": [64, 64]}, "each width once"),
            ({"matryoshka_dims": [64], "matryoshka_weights": [1.0, 1.0]}, "give one each"),
            ({"matryoshka_weights": [1.0]}, "give one each"),
            ({"use_lora": True, "push_to_hub": True}, "nobody else could load"),
            ({"accelerator_config": {"dispatch_batches": True}}, "cannot cut batches"),
        ],
    )
    def test_run(self, model: NyxModel, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NyxTrainer(model, arguments(tmp_path, **changes), train_dataset=Rows())

    def test_batch_larger_than_the_data(self, model: NyxModel, tmp_path: Path) -> None:
        trainer = NyxTrainer(model, arguments(tmp_path, per_device_train_batch_size=13), train_dataset=Rows())
        with pytest.raises(ValueError, match="do not fill one batch of 13 with different positives"):
            trainer.train()


# ---------------------------------------------------------------- the Hub

PUSH = """
import os, sys
os.environ["HF_HUB_OFFLINE"] = "0"  # the tests' own setting is 1
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_trainer import Rows, arguments, loaded, retrieval_set
from nyx_hf.trainer.trainer import NyxTrainer

rows = Rows()
args = arguments(
    Path("run"), save_strategy="steps", save_steps=1, push_to_hub=True, hub_model_id="me/digits-nyx",
    hub_strategy="checkpoint", hub_always_push=True,
)
trainer = NyxTrainer(loaded(Path(sys.argv[2])), args, train_dataset=rows, eval_dataset=retrieval_set(rows))
trainer.train()
trainer.evaluate()
trainer.push_to_hub()
print(trainer.model.encode("a fox")[:3].tolist())
"""
PULL = """
import sys
sys.modules["nyx_hf"] = None
from transformers import AutoModel
model = AutoModel.from_pretrained("me/digits-nyx", trust_remote_code=True)
plain = AutoModel.from_pretrained("me/digits-nyx")
print(type(plain).__module__)
print(model.encode("a fox")[:3].tolist())
from sentence_transformers import SentenceTransformer
print(SentenceTransformer("me/digits-nyx", trust_remote_code=True).encode("a fox")[:3].tolist())
"""


@pytest.fixture()
def hub(tmp_path: Path) -> Iterator[Standin]:
    with standin(tmp_path / "hub") as server:
        yield server


@pytest.mark.e2e
def test_push_to_hub_leaves_a_repo_that_loads_by_every_door(
    hub: Standin, tiny_backbones: dict[str, Path], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    vector = hub.python(PUSH, home, str(ROOT / "tests"), str(tiny_backbones["qwen2_5_vl"])).stdout.splitlines()[-1]
    files = hub.files("me/digits-nyx")
    assert {"README.md", "config.json", "model.safetensors", "modules.json", "modeling_nyx.py"} <= set(files)
    assert {"last-checkpoint/optimizer.pt", "last-checkpoint/trainer_state.json"} <= set(files)
    assert not {"optimizer.pt", "trainer_state.json", "training_args.bin"} & set(files)
    assert b"hf_test" not in b"".join(content for name, content in files.items() if not name.endswith(".pt"))
    assert "recall@1" in files["README.md"].decode()
    messages = [message for _, message in hub.repos["model", "me/digits-nyx"].log]
    assert "Training in progress, step 1" in messages and messages[-1] == "End of training"
    lines = hub.python(PULL, tmp_path / "other", nyx_hf=False).stdout.splitlines()
    assert lines[0].startswith("transformers.models.qwen2_5_vl")
    assert lines[1] == vector
    np.testing.assert_allclose(json.loads(lines[2]), json.loads(vector), atol=1e-5)
