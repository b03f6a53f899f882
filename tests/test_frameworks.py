"""docs/frameworks.md: each retriever runs with the real framework, over a real index."""

from pathlib import Path
from typing import Any

import pytest
from doc_pages import Page
from served import small_index

from nyx_hf.search_index import SearchIndex
from tests.pictures import noise_image

OPENED, *CODES = Page("frameworks.md").code("python")


@pytest.fixture(scope="module")
def index(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SearchIndex:
    return SearchIndex.open(small_index(tmp_path_factory.mktemp("frameworks"), tiny_folder))


def defined(code: str, index: SearchIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs the page's code, its index being ours."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "frameworks"}
    monkeypatch.setattr(SearchIndex, "open", lambda place: index if place == "runs/index" else None)
    exec(compile(OPENED, "docs/frameworks.md", "exec"), names)
    exec(compile(code, "docs/frameworks.md", "exec"), names)
    return names


def test_langchain(index: SearchIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_core", reason="pip install langchain-core")
    names = defined(CODES[0], index, tmp_path, monkeypatch)
    offline = index.search("a red bicycle", k=3)
    assert [one.id for one in names["documents"]] == [one.id for one in offline]
    query = ("like this one: ", noise_image(300, 200, 2))
    chain = names["NyxRetriever"](index=index, k=6) | (lambda found: [one.id for one in found])  # a Runnable
    assert chain.invoke(query) == [one.id for one in index.search(query, k=6)]
    only = names["NyxRetriever"](index=index, where={"modality": ["mixed"]}).invoke("x")
    assert {one.metadata["modality"] for one in only} == {"mixed"} and only[0].page_content.startswith("Picture")
    assert only[0].metadata["content"][1]["image"]["bytes"] and isinstance(only[0].metadata["score"], float)


def test_llama_index(index: SearchIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_index.core", reason="pip install llama-index-core")
    from llama_index.core.schema import MetadataMode, QueryBundle

    names = defined(CODES[1], index, tmp_path, monkeypatch)
    offline = index.search("a red bicycle", k=3)
    assert [(one.node_id, one.score) for one in names["nodes"]] == [(one.id, one.score) for one in offline]
    picture = tmp_path / "asked.png"
    noise_image(300, 200, 2).save(picture)
    found = names["NyxRetriever"](index, k=6).retrieve(QueryBundle("like this", image_path=str(picture)))
    offline = index.search((noise_image(300, 200, 2), "like this"), k=6)
    assert [one.node_id for one in found] == [one.id for one in offline]
    assert found[0].score == pytest.approx(offline[0].score, abs=1e-6)
    mixed = next(one for one in found if one.metadata["modality"] == "mixed")
    assert mixed.metadata["content"][1]["image"]["bytes"]
    assert "bytes" not in mixed.node.get_content(MetadataMode.LLM)  # pictures are no text for the reader


def test_haystack(index: SearchIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("haystack", reason="pip install haystack-ai")
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    names = defined(CODES[2], index, tmp_path, monkeypatch)
    offline = index.search("a red bicycle", k=3)
    assert [(one.id, one.score) for one in names["documents"]] == [(one.id, one.score) for one in offline]
    query = ("like this one: ", noise_image(300, 200, 2))
    asked = {"retriever": {"query": query, "where": {"modality": ["mixed"]}}}
    found = names["pipeline"].run(asked)["retriever"]["documents"]
    assert [one.id for one in found] == [one.id for one in index.search(query, k=3, where={"modality": ["mixed"]})]
    assert {one.meta["modality"] for one in found} == {"mixed"}
