"""Cards: golden pages, metadata read back, snippets that are the page's own, the paper index."""

import ast
import difflib
import os
import re
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from nyx_hf.model_cards import dataset_card as dataset_cards
from nyx_hf.model_cards import snippets
from nyx_hf.model_cards.blocks import code_block, fill_repo_id, quoted, shown_repo_id, table
from nyx_hf.model_cards.citations import CITATIONS, bibtex
from nyx_hf.model_cards.dataset_card import DatasetFacts, Source, dataset_card, size_category
from nyx_hf.model_cards.licences import LicenceError
from nyx_hf.model_cards.model_card import DataSource, Metric, ModelFacts, model_card
from nyx_hf.model_cards.papers import PaperEntry, paper_index, paper_index_markdown

GOLDEN = Path(__file__).parent / "golden"

DATASET = DatasetFacts(
    name="nyx-digits",
    pretty_name="Nyx Digits",
    summary="Records whose codes are written by hand, to be found by text, by images or by both.",
    license="cc-by-4.0",
    sources=[Source("Optical Recognition of Handwritten Digits", "https://doi.org/10.24432/C50P49", "cc-by-4.0")],
    configs={
        "corpus": {"train": 1000, "test": 320},
        "queries": {"train": 3000, "test": 960},
        "triplets": {"train": 3000, "test": 960},
        "preview": {"train": 24},
    },
    default_config="preview",
    modalities=["text", "image"],
    tags=["handwriting"],
    command="nyx-hf build digits --seed 0 --out digits",
    seed=0,
    revisions={"scikit-learn": "1.9.1"},
    counts={"documents, text and images": 1320, "queries, text only": 1320, "queries, images only": 1320},
    dropped={"code is in the other split": 12},
    samples=["*Who has the code three, one, four?*\n\n> Ada Miller, code (three images)"],
    citations=["digits", "nyx"],
)
METRICS = [
    Metric(name, value - 0.01 * step, "your-lab/nyx-digits", "queries", "test", "0123abc", dim)
    for step, dim in enumerate((64, 32, 16))
    for name, value in (("recall@1", 0.91), ("recall@5", 0.97), ("ndcg@10", 0.94567))
]
MODEL = ModelFacts(
    name="your-lab/nyx-tiny",
    summary="A small retriever trained from scratch on handwritten digits.",
    datasets=[DataSource("your-lab/nyx-digits", "0123abc", "cc-by-4.0")],
    settings={"pooling": "last", "mask_instruction": False, "matryoshka_dims": [64, 32, 16], "code_hash": "77"},
    dims=[64, 32, 16],
    metrics=METRICS,
    hyperparameters={"learning_rate": 1e-3, "per_device_train_batch_size": 64, "temperature": 0.05},
    command="nyx-hf quickstart --seed 0",
    seed=0,
    versions={"torch": "2.13.0", "transformers": "5.23.0"},
    git_commit="4f2a9c1",
    figures={"Recall by dimension": "figures/recall.png"},
    citations=["nyx", "matryoshka"],
    snippets_checked=True,
)
RESEARCH = ModelFacts(
    name="u-marvel-3b",
    summary="Mean pooling without the instruction's tokens.",
    base_model="Qwen/Qwen2.5-VL-3B-Instruct",
    datasets=[DataSource("TIGER-Lab/M-BEIR", "main", "mit"), DataSource("house | data", license="mit")],
    settings={"pooling": "mean", "mask_instruction": True, "positions": "sequential"},
    needs_trust=True,
    license="other",
    license_name="qwen-research",
)
ADAPTER = ModelFacts(
    name="nyx-adapter",
    summary="LoRA weights.",
    base_model="Qwen/Qwen2-VL-2B-Instruct",
    datasets=[DataSource("your-lab/nyx-digits", "0123abc", "cc-by-4.0")],
    settings={"preset": "nyx", "max_pixels": 3136, "format_version": 1},
    dims=[1536, 512],
    adapter=True,
    citations=["lora", "peft"],
)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("dataset", lambda: dataset_card(DATASET)),
        ("model", lambda: model_card(MODEL)),
        ("model_needs_trust", lambda: model_card(RESEARCH)),
        ("adapter", lambda: model_card(ADAPTER)),
    ],
)
def test_golden_cards(name: str, card) -> None:
    """The whole page; `NYX_UPDATE_GOLDEN=1` writes it anew."""
    made, golden = str(card()), GOLDEN / f"card_{name}.md"
    if os.environ.get("NYX_UPDATE_GOLDEN"):
        golden.write_text(made, encoding="utf-8")
    kept = golden.read_text(encoding="utf-8")
    difference = "\n".join(
        difflib.unified_diff(kept.splitlines(), made.splitlines(), str(golden), "made", lineterm="")
    )
    assert made == kept, f"\n{difference}\n"


@pytest.mark.parametrize("card", [dataset_card(DATASET), model_card(MODEL), model_card(RESEARCH), model_card(ADAPTER)])
def test_cards_survive_reading_back(card: ModelCard | DatasetCard, tmp_path: Path) -> None:
    card.save(tmp_path / "README.md")
    again = type(card).load(tmp_path / "README.md")
    assert again.data.to_dict() == card.data.to_dict() and again.text == card.text
    for line in str(card).splitlines():
        assert line == line.rstrip(), f"trailing blanks: {line!r}"
    prose = re.sub(r"```.*?```", "(code)", card.text, flags=re.S)
    assert "\n\n\n" not in prose and not re.search(r"\{\{|\{%|\bNone\b", prose)
    assert str(card).endswith("\n") and not str(card).endswith("\n\n")


def test_dataset_metadata() -> None:
    data = yaml.safe_load(str(dataset_card(DATASET)).split("---")[1])
    assert data["license"] == "cc-by-4.0" and data["size_categories"] == ["1K<n<10K"]
    assert {"image", "text", "handwriting", "nyx_hf"} <= set(data["tags"]) and data["language"] == ["en"]
    assert [config["config_name"] for config in data["configs"]] == ["corpus", "queries", "triplets", "preview"]
    assert data["configs"][0]["data_files"][1] == {"split": "test", "path": "data/corpus/test-*.parquet"}
    assert [config.get("default") for config in data["configs"]] == [None, None, None, True]


def test_model_metadata() -> None:
    card = model_card(MODEL)
    assert (card.data.library_name, card.data.pipeline_tag) == ("sentence-transformers", "feature-extraction")
    assert card.data.license == "cc-by-4.0" and "base_model" not in card.data.to_dict()
    assert card.data.datasets == ["your-lab/nyx-digits"] and "matryoshka" in card.data.tags
    results = ModelCard(str(card)).data.eval_results
    assert [(r.metric_type, r.metric_args["truncate_dim"], r.metric_value) for r in results] == [
        (metric.name.replace("@", "_at_"), metric.dim, round(metric.value, 6)) for metric in METRICS
    ]
    assert {(r.dataset_type, r.dataset_split, r.dataset_revision) for r in results} == {
        ("your-lab/nyx-digits", "test", "0123abc")
    }


def test_adapter_metadata() -> None:
    data = model_card(ADAPTER).data.to_dict()
    assert data["library_name"] == "peft" and data["base_model"] == "Qwen/Qwen2-VL-2B-Instruct"
    assert data["base_model_relation"] == "adapter" and data["license"] == "apache-2.0"
    assert "sentence-transformers" not in data["tags"] and "FEATURE_EXTRACTION" in model_card(ADAPTER).text


def test_a_research_licence_is_inherited_and_displayed() -> None:
    facts = replace(RESEARCH, license=None, license_name=None)
    card = model_card(facts)
    assert str(card) == str(model_card(RESEARCH))  # named by hand, it is the same one
    assert (card.data.license, card.data.license_name) == ("other", "qwen-research")
    assert card.data.license_link.endswith("Qwen2.5-VL-3B-Instruct/blob/main/LICENSE")
    assert "Improved using Qwen" in card.text
    with pytest.raises(LicenceError, match=r"Qwen/Qwen2\.5-VL-3B-Instruct is under 'qwen-research'"):
        model_card(replace(facts, license="apache-2.0"))
    with pytest.raises(LicenceError, match="Optical Recognition"):
        dataset_card(replace(DATASET, license="mit", sources=[replace(DATASET.sources[0], license="cc-by-sa-4.0")]))


def test_the_page_says_which_doors_work() -> None:
    assert 'SentenceTransformer("your-lab/nyx-tiny")' in model_card(MODEL).text
    text = model_card(RESEARCH).text
    assert 'SentenceTransformer("your-name/u-marvel-3b", trust_remote_code=True)' in text
    assert "left out of the mean" in text and "counted one by one" in text
    assert "Matryoshka" not in text and "## Results" not in text


def test_snippets_are_the_ones_to_run(tmp_path: Path) -> None:
    """A page shows exactly what `usage_snippets` gives for its repository; the code parses with any path in it."""
    for facts in (MODEL, RESEARCH, ADAPTER):
        shown = re.findall(r"```python\n(.*?)\n```", model_card(facts).text, flags=re.S)
        assert shown == list(snippets.usage_snippets(shown_repo_id(facts.name), facts).values()) and shown
        for code in snippets.usage_snippets('C:\\new "models"\\x', facts).values():
            assert ast.parse(code) and 'C:\\\\new \\"models\\"' in code
    shown = re.findall(r"```python\n(.*?)\n```", dataset_card(DATASET).text, flags=re.S)
    assert shown == list(dataset_cards.usage_snippets("your-name/nyx-digits", DATASET).values()) and len(shown) == 2


def test_wrong_facts_are_refused() -> None:
    with pytest.raises(ValueError, match="default config 'main' is not among"):
        dataset_card(replace(DATASET, default_config="main"))
    with pytest.raises(ValueError, match="local path"):
        model_card(replace(MODEL, base_model="/models/qwen"))
    with pytest.raises(ValueError, match="local path 'C:"):
        model_card(replace(MODEL, figures={"x": "C:\\x.png"}))
    with pytest.raises(ValueError, match="adapter's card names its base"):
        model_card(replace(ADAPTER, base_model=None))
    with pytest.raises(ValueError, match="unknown citation 'nobody'"):
        model_card(replace(MODEL, citations=["nobody"]))


def test_the_push_fills_in_the_name() -> None:
    card = str(dataset_card(DATASET))
    filled = fill_repo_id(card, "ada/digits.v2")
    assert card.count("your-name/nyx-digits") == filled.count("ada/digits.v2") == 4
    assert "your-name" not in filled and fill_repo_id(filled, "other/name") == filled
    assert fill_repo_id("See your-name/a. Or not-your-name/a", "me/b") == "See me/b. Or not-your-name/a"
    assert shown_repo_id("me/x") == "me/x"


def test_blocks() -> None:
    assert table(("a", "b"), [("x|y\nz", None), (0.00001234, 1234567)]) == (
        "| a | b |\n| --- | --- |\n| x\\|y z |  |\n| 1.234e-05 | 1,234,567 |"
    )
    assert table(("a",), []) == ""
    with pytest.raises(ValueError, match="2 cells and the header 1"):
        table(("a",), [(1, 2)])
    assert code_block("```", "md") == "````md\n```\n````"
    assert ast.literal_eval(quoted('a"b\\c')) == 'a"b\\c'
    assert [size_category(n) for n in (0, 999, 1000, 10**12)] == ["n<1K", "n<1K", "1K<n<10K", "n>1T"]


def test_citations_are_whole() -> None:
    entries = {"nyx", "u-marvel", "rzenembed", "matryoshka", "infonce", "qwen2-vl", "qwen2.5-vl", "qwen3-vl", "peft"}
    assert entries | {"sentence-transformers"} <= set(CITATIONS)
    for key, entry in CITATIONS.items():
        assert re.match(r"@\w+\{\w+,\n", entry) and entry.count("{") == entry.count("}"), key
    assert bibtex(["nyx", "nyx"]) == CITATIONS["nyx"]
    assert len({re.match(r"@\w+\{(\w+)", entry)[1] for entry in CITATIONS.values()}) == len(CITATIONS)


def test_paper_index_names_what_exists() -> None:
    assert {(entry.paper, entry.place) for entry in paper_index()} >= {("nyx", "Eq. 1"), ("nyx", "Eq. 2")}
    for entry in paper_index():
        for name in entry.objects:
            assert callable(resolve_name(name)), name
            assert f"`{name}`" in paper_index_markdown()
    with pytest.raises(ValueError, match="unknown paper"):
        PaperEntry("nobody", "Eq. 1", "", ())
