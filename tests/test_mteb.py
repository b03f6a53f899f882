"""Our models under mteb: its own tasks, loader, metrics and results folder, on data that we export."""

from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from huggingface_hub import ModelCard, ModelCardData
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import EncoderProtocol
from mteb.types import PromptType
from sentence_transformers import SentenceTransformer
from test_mining import facts
from torch.utils.data import DataLoader

from nyx_hf import NyxModel
from nyx_hf.data_builders.exporting import export_dataset
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.metrics import aggregate, ranking_metrics
from nyx_hf.data_builders.ranking import stored_items
from nyx_hf.data_builders.searching import DenseSearcher
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.modeling.configuration_nyx import PRESETS
from nyx_hf.mteb_model import NyxMTEBModel, at_width, model_meta
from nyx_hf.retrievers import load_encoder
from nyx_hf.suite_ranking import rank_corpus
from tests.pictures import noise_image

WORDS = ("river", "stone", "lamp", "forest", "engine", "letter", "garden", "winter")
METRICS = {"ndcg_at_10": "ndcg@10", "ndcg_at_3": "ndcg@3", "recall_at_5": "recall@5", "map_at_10": "map@10",
           "mrr_at_10": "mrr@10", "hit_rate_at_1": "hit@1"}  # fmt: skip
# contents of queries and documents, by mteb's categories
KINDS = {"t2t": ("t", "t"), "t2i": ("t", "i"), "it2it": ("mixed", "mixed"), "i2t": ("i", "t"), "it2t": ("it", "t")}


def content(kind: str, number: int, words: str) -> list[dict[str, Any]]:
    """A content of that kind; of a mixed set every third is a text, every third an image, every third both."""
    kind = ("t", "i", "it")[number % 3] if kind == "mixed" else kind
    image = {"type": "image", "image": noise_image(30 + number, 28, number)}
    return [*([image] if "i" in kind else []), *([{"type": "text", "text": words}] if "t" in kind else [])]


def exported(root: Path, category: str) -> tuple[Path, Path]:
    """A dataset of ours and what mteb reads of it: 24 documents, 12 queries, half of them with an instruction."""
    asked, found = KINDS[category]
    corpus = [
        {"id": f"d{n}", "content": content(found, n, f"The {WORDS[n % 8]} of the {WORDS[n * 3 % 7]}, {n}.")}
        for n in range(24)
    ]
    queries = [
        {
            "id": f"q{n}",
            "content": content(asked, n + 1, f"Which {WORDS[n % 8]} is it, {n}?"),
            "instruction": "Find it.\n" if n % 2 and category != "t2t" else None,
        }
        for n in range(12)
    ]
    links = [{"query_id": f"q{n}", "positive_ids": [f"d{n}", f"d{n + 12}"], "negative_ids": []} for n in range(12)]
    name = root.name  # offline, datasets tells a folder by its name alone
    ours = write_dataset(root / f"{name}-ours", {"test": corpus}, {"test": queries}, {"test": links}, facts())
    export_dataset(ours, "mteb", root / f"{name}-mteb")
    return ours, root / f"{name}-mteb"


def task_of(folder: Path, category: str, **about: Any) -> AbsTaskRetrieval:
    """A task of mteb's on a local folder."""
    described = TaskMetadata(
        name=f"Local{category.upper()}",
        description="Made for a test.",
        dataset={"path": str(folder), "revision": "1"},
        type="Any2AnyRetrieval" if "i" in category else "Retrieval",
        category=category,
        modalities=["text", "image"] if "i" in category else ["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        **about,
    )
    return type("LocalTask", (AbsTaskRetrieval,), {"metadata": described})()


def our_metrics(model: Path, dataset: Path, cache: Path, dim: int | None = None) -> dict[str, float]:
    """Our own search and metrics on our own files."""
    tables = {name: splits["test"] for name, splits in load_tables(dataset, ("corpus", "queries", "triplets")).items()}
    searcher = DenseSearcher(load_encoder(str(model)), cache)
    index = searcher.index(lambda: stored_items(tables["queries"]), lambda: stored_items(tables["corpus"]))
    ids, rows = tables["corpus"]["id"], np.arange(len(tables["queries"]))
    found = rank_corpus(index, rows, list(ids), [dim], 24)[dim].ids
    right = dict(zip(tables["triplets"]["query_id"], tables["triplets"]["positive_ids"], strict=True))
    relevant = [right[name] for name in tables["queries"]["id"]]
    return aggregate(ranking_metrics(found, relevant, (1, 3, 5, 10)))


def mteb_scores(model: Any, task: AbsTaskRetrieval, cache: Any = None) -> dict[str, float]:
    [result] = mteb.evaluate(
        model, task, cache=cache, encode_kwargs={"batch_size": 5, "show_progress_bar": False}, co2_tracker=False
    ).task_results
    return dict(result.scores["test"][0])


@pytest.mark.parametrize("category", list(KINDS))
def test_mteb_s_scores_are_ours(tmp_path: Path, tiny_folder: Path, category: str) -> None:
    ours, theirs = exported(tmp_path, category)
    model = NyxMTEBModel(tiny_folder)
    assert isinstance(model, EncoderProtocol)
    scores, wanted = mteb_scores(model, task_of(theirs, category)), our_metrics(tiny_folder, ours, tmp_path / "cache")
    assert 0 < wanted["ndcg@10"] < 1
    assert {name: scores[name] for name in METRICS} == pytest.approx(
        {name: wanted[own] for name, own in METRICS.items()}, abs=1e-5
    )


def test_both_doors_agree_under_mteb(tmp_path: Path, tiny_folder: Path) -> None:
    task = task_of(exported(tmp_path, "t2t")[1], "t2t")
    door = SentenceTransformer(str(tiny_folder), trust_remote_code=True)
    theirs, own = mteb_scores(door, task), mteb_scores(NyxMTEBModel(tiny_folder), task)
    assert {name: theirs[name] for name in METRICS} == pytest.approx({name: own[name] for name in METRICS}, abs=1e-5)
    assert 0 < own["ndcg_at_10"] < 1


def test_narrow_vectors_are_cut_and_kept_apart(tmp_path: Path, tiny_folder: Path) -> None:
    ours, theirs = exported(tmp_path, "t2t")
    model = NyxMTEBModel(NyxModel.from_pretrained(tiny_folder), embed_dim=8)
    scores = mteb_scores(model, task_of(theirs, "t2t"), mteb.ResultCache(tmp_path / "out"))
    wanted = our_metrics(tiny_folder, ours, tmp_path / "cache", 8)
    assert scores["ndcg_at_10"] == pytest.approx(wanted["ndcg@10"], abs=1e-5)
    assert wanted["ndcg@10"] != pytest.approx(our_metrics(tiny_folder, ours, tmp_path / "cache")["ndcg@10"], abs=1e-3)
    [path] = (tmp_path / "out" / "results").rglob("LocalT2T.json")
    assert path.parent.parts[-2:] == ("experiments", "embed_dim_8")
    with pytest.raises(ValueError, match="4096"):
        mteb_scores(NyxMTEBModel(tiny_folder, embed_dim=4096), task_of(theirs, "t2t"))


def test_instructions_are_chosen_in_mteb_s_order(tmp_path: Path, tiny_folder: Path) -> None:
    model = NyxModel.from_pretrained(tiny_folder)
    told = task_of(tmp_path, "t2t", prompt={"query": "Find a page."}).metadata
    text = {"text": ["a  Own.", "b"], "query": ["a", "b"], "instruction": ["Own.", ""]}

    def asked(prompts: dict[str, str], side: PromptType | None = PromptType.query, task: TaskMetadata = told) -> Any:
        model.settings = PRESETS["nyx"].updated(prompts=prompts, matryoshka_dims=(), matryoshka_weights=())
        return NyxMTEBModel(model).encode([text], task_metadata=task, hf_split="", hf_subset="", prompt_type=side)

    def vectors(*pairs: tuple[str, str]) -> np.ndarray:
        return np.stack([model.encode(words, prompt=prompt) for prompt, words in pairs])

    def same(found: np.ndarray, *pairs: tuple[str, str]) -> None:
        np.testing.assert_allclose(found, vectors(*pairs), atol=1e-5)

    same(asked({"query": ""}), ("Own.", "a"), ("Find a page.\n", "b"))
    same(asked({"query": "Q: "}), ("Own.", "a"), ("Q: ", "b"))
    same(asked({"query": "Q: ", "LocalT2T": "T: "}), ("Own.", "a"), ("T: ", "b"))
    same(asked({"document": "D: "}, PromptType.document), ("Own.", "a  Own."), ("D: ", "b"))
    both = told.model_copy(update={"prompt": "Find a page."})
    same(asked({}, PromptType.document, both), ("Own.", "a  Own."), ("", "b"))  # one prompt is for queries
    same(asked({}, None, both), ("Own.", "a  Own."), ("Find a page.\n", "b"))
    assert not np.allclose(*vectors(("Q: ", "b"), ("Find a page.\n", "b")), atol=1e-3)


def test_empty_texts_are_embedded_and_precision_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    model, about = NyxMTEBModel(tiny_folder), task_of(tmp_path, "t2t").metadata
    how = {"task_metadata": about, "hf_split": "test", "hf_subset": "default", "show_progress_bar": False}
    found = model.encode(DataLoader([{"text": "", "id": "1"}, {"text": "a", "id": "2"}], batch_size=2), **how)
    np.testing.assert_allclose(found, model.model.encode(["", "a"]), atol=1e-5)
    with pytest.raises(ValueError, match="precision='int8', expected none"):
        model.encode([{"text": ["a"]}], precision="int8", **how)


def with_card(folder: Path, **data: Any) -> Path:
    ModelCard(f"---\n{ModelCardData(**data).to_yaml()}\n---\n# A model\n").save(folder / "README.md")
    return folder


def test_model_meta_is_filled_from_the_folder(
    tiny_model: NyxModel, tiny_backbones: dict[str, Path], tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path / "tiny")
    folder = with_card(tmp_path / "tiny", license="mit", base_model="own/vlm", datasets=["mteb/scifact", "own/data"])
    meta = model_meta(folder, hub_name="own/tiny", release_date="2026-01-02")
    assert (meta.name, meta.license, meta.adapted_from, meta.release_date) == (
        "own/tiny",
        "mit",
        "own/vlm",
        "2026-01-02",
    )
    assert meta.training_datasets == {"SciFact", "own/data"}
    assert meta.n_parameters == sum(one.numel() for one in tiny_model.parameters())
    assert meta.n_embedding_parameters == tiny_model.get_input_embeddings().weight.numel()
    assert list(meta.embed_dim) == [
        tiny_model.config.get_text_config().hidden_size,
        *tiny_model.settings.matryoshka_dims[1:],
    ]
    assert meta.max_tokens == tiny_model.settings.max_length and meta.similarity_fn_name.value == "cosine"
    assert set(meta.modalities) == {"text", "image"} and meta.open_weights and meta.reference.endswith("own/tiny")
    assert meta.revision == load_encoder(str(folder)).revision
    opened = meta.loader(str(folder), revision=meta.revision, embed_dim=8)
    assert opened.mteb_model_meta.embed_dim == 8 == at_width(meta, 8).embed_dim

    with_card(folder, license="other", license_name="own", license_link="https://own.example/licence")
    meta = model_meta(folder)
    assert (
        "SciFact" not in meta.to_python()
        and meta.name == "local/tiny"
        and meta.license == "https://own.example/licence"
    )
    assert meta.training_datasets is None and meta.reference is None
    with pytest.raises(ValueError, match="organization/model_name"):
        model_meta(folder, hub_name="tiny")
    with pytest.raises(ValueError, match="found no `nyx` object in config.json"):
        model_meta(tiny_backbones["qwen2_5_vl"])
