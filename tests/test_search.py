"""`nyx-hf index` and `nyx-hf search`: all modalities, all outputs, changes, devices, the Hub, refusals."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import faiss
import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from datasets import load_dataset
from hub_standin import Standin, standin
from index_cases import things
from PIL import Image
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.digits import build_digits
from nyx_hf.faiss_store import FaissStore
from nyx_hf.index_encoding import Encoding
from nyx_hf.indexing import Documents, build_index, update_index
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.search_index import SearchIndex, SearchResult
from nyx_hf.search_results import RESULTS_SCHEMA
from nyx_hf.vector_store import StoreError
from tests.pictures import noise_image

EVIL = "<script>alert('x')</script> & \"quoted\""


def nyx(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120"})


def ok(*words: str | Path) -> str:
    done = nyx(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: str | Path) -> str:
    done = nyx(*words)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit), done.output
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


ROWS: list[dict[str, Any]] = [
    {"id": "text", "content": ["a red bicycle"], "source": "web", "year": 2001},
    {"id": "evil", "content": [EVIL], "source": "web", "year": 2002},
    {"id": "large", "content": [noise_image(900, 700, 7)], "source": "book", "year": 2001},
    {"id": "mixed", "content": ["before", noise_image(56, 40, 2), "after"], "source": "book"},
    {"id": "film", "content": [[noise_image(56, 56, seed) for seed in range(6)]]},
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return things(tmp_path_factory.mktemp("datasets") / "things", ROWS)


@pytest.fixture(scope="module")
def indexed(dataset: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index made by the command; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("indexes") / "index"
    said = json.loads(ok("index", dataset, "--model", tiny_folder, "--out", folder, "--json"))
    assert (said["documents"], said["added"], said["replaced"]) == (5, 5, 0)
    return folder


@pytest.fixture()
def copied(indexed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(indexed, tmp_path / "copy"))


def found_ids(*words: str | Path) -> list[str]:
    [query] = json.loads(ok("search", *words, "--json"))["queries"]
    return [one["id"] for one in query["results"]]


class TestIndexed:
    def test_vectors_are_the_model_s(self, indexed: Path, tiny_model: NyxModel) -> None:
        contents = [{"content": row["content"]} for row in load_dataset(str(indexed), "corpus", split="train")]
        whole = [row["content"] for row in ROWS]
        items = [tuple(parts) if not isinstance(parts[0], list) else {"video": parts[0]} for parts in whole]
        vectors = FaissStore.open(str(indexed))._segments.vectors(np.arange(5))  # type: ignore[union-attr]
        np.testing.assert_allclose(vectors, tiny_model.encode_document(items), atol=2e-6)
        assert len(contents) == 5 and np.abs(vectors[2:3] - tiny_model.encode_document([contents[2]])).max() > 1e-4

    def test_documents_are_kept_small_and_whole(self, indexed: Path) -> None:
        rows = {row["id"]: row for row in load_dataset(str(indexed), "corpus", split="train")}
        assert [row["modality"] for row in rows.values()] == ["text", "text", "image", "mixed", "video"]
        large = rows["large"]["content"][0]["image"]
        assert large.width * large.height <= 512 * 512 and 0.95 < large.width / large.height / (900 / 700) < 1.05
        assert [part["type"] for part in rows["mixed"]["content"]] == ["text", "image", "text"]
        assert len(rows["film"]["content"][0]["video"]) == 4
        assert rows["text"]["year"] == 2001 and rows["mixed"]["year"] is None and rows["text"]["split"] == "train"

    def test_card_and_manifest_name_no_path(self, indexed: Path, dataset: Path) -> None:
        said = "".join((indexed / name).read_text() for name in ("README.md", "index.json", "sources.json"))
        assert "license: cc-by-4.0" in said and "documents: mixed" in said and "tiny-nyx@" in said
        assert str(indexed.parent) not in said and str(dataset.parent) not in said
        snippet = re.findall(r"```python\n(.*?)```", (indexed / "README.md").read_text(), re.S)
        assert any("SearchIndex.open(" in code for code in snippet)

    def test_a_column_that_is_repeated_or_nested_is_no_filter(self, indexed: Path) -> None:
        columns = FaissStore.open(str(indexed)).properties.columns
        assert columns == {"modality": "string", "split": "string", "source": "string", "year": "int32"}

    def test_pictures_as_they_are(self, dataset: Path, tiny_folder: Path, tmp_path: Path) -> None:
        ok("index", dataset, "--model", tiny_folder, "--out", tmp_path / "i", "--max-pixels", "0", "--split", "train")
        [large] = [row for row in load_dataset(str(tmp_path / "i"), "corpus", split="train") if row["id"] == "large"]
        assert large["content"][0]["image"].size == (900, 700)


class TestSearch:
    def test_it_is_brute_force_over_the_model_s_vectors(self, indexed: Path, tiny_model: NyxModel) -> None:
        index = SearchIndex.open(indexed)
        queries = ["a red bicycle", noise_image(90, 70, 7), ("before", noise_image(56, 40, 2))]
        vectors = index.store._segments.vectors(np.arange(5))  # type: ignore[attr-defined]
        right = tiny_model.encode_query(queries) @ vectors.T
        batches = index.search(queries, k=3)
        assert len({batch[0].id for batch in batches if isinstance(batch, list)}) > 0
        for scores, found in zip(right, batches, strict=True):
            assert isinstance(found, list)
            order = np.argsort(-scores)[:3]
            assert [one.id for one in found] == [ROWS[place]["id"] for place in order]
            np.testing.assert_allclose([one.score for one in found], scores[order], atol=2e-6)
        single = index.search("a red bicycle", k=3)
        assert [one.id for one in single if isinstance(one, SearchResult)] == [one.id for one in batches[0]]  # type: ignore[union-attr]

    def test_filters(self, indexed: Path) -> None:
        assert sorted(found_ids(indexed, "x", "--where", "modality=image,mixed")) == ["large", "mixed"]
        assert sorted(found_ids(indexed, "x", "--where", "year=2001", "--where", "source=web")) == ["text"]
        assert found_ids(indexed, "x", "--where", "source=nowhere") == []
        assert len(found_ids(indexed, "x", "-k", "99")) == 5

    def test_order_of_text_and_images(self, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = [tmp_path / "a.png", tmp_path / "b.png"]
        for seed, file in enumerate(files):
            noise_image(56, 40, seed).save(file)
        asked: list[Any] = []
        monkeypatch.setattr(
            "nyx_hf.search_index.SearchIndex.find", lambda self, queries, *_: asked.extend(queries) or [[]]
        )
        first, second = files
        ok("search", indexed, "some words", "--image", first, "--image", second)
        ok("search", indexed, "--image", first, f"--image={second}", "some words")
        ok("search", "--image", first, indexed, "from <image 1> to <image 2>", "--image", second)
        ok("search", indexed, "--image", first)
        kinds = [[part["type"] for part in query.content] for query in asked]
        assert kinds == [["text", "image", "image"], ["image", "image", "text"], ["text", "image"] * 2, ["image"]]
        shades = [part["image"].getpixel((3, 3)) for part in asked[2].content if part["type"] == "image"]
        assert shades == [Image.open(file).getpixel((3, 3)) for file in files] and shades[0] != shades[1]

    def test_files_of_queries(self, indexed: Path, tmp_path: Path) -> None:
        noise_image(56, 40, 2).save(tmp_path / "a.png")
        parts = [{"type": "text", "text": "before"}, {"type": "image", "image": "a.png"}]
        lines = [{"id": "q1", "content": "a red bicycle"}, {"id": "q2", "content": parts, "instruction": "Find it."}]
        (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
        found = json.loads(ok("search", indexed, "--queries", tmp_path / "q.jsonl", "-k", "2", "--json"))
        jsonschema.validate(found, RESULTS_SCHEMA)
        assert [query["id"] for query in found["queries"]] == ["q1", "q2"]
        assert [part["type"] for part in found["queries"][1]["content"]] == ["text", "image"]
        typed = json.loads(ok("search", indexed, "a red bicycle", "-k", "2", "--json"))
        assert typed["queries"][0]["results"] == found["queries"][0]["results"]
        (tmp_path / "q.txt").write_text("one\n\ntwo\n")
        assert ok("search", indexed, "--queries", tmp_path / "q.txt").count("how it begins") == 2

    def test_instructions_change_the_vectors(self, indexed: Path) -> None:
        index = SearchIndex.open(indexed)
        plain, told = (index.search("x", k=1, instruction=one)[0] for one in (None, "Find a picture of it."))
        assert isinstance(plain, SearchResult) and isinstance(told, SearchResult) and plain.score != told.score

    def test_the_table_is_for_people(self, indexed: Path) -> None:
        lines = ok("search", indexed, "a red bicycle", "--where", "source=web").splitlines()
        assert lines[0].split() == ["score", "id", "modality", "split", "source", "year", "how", "it", "begins"]
        assert len(lines) == 4 and any("a red bicycle" in line for line in lines)
        assert max(map(len, lines)) <= 130

    @pytest.mark.parametrize("words", ["funnel --prefix 32 --oversample 2", "int8", "binary"])
    def test_quick_ways_from_the_command(self, dataset: Path, tiny_folder: Path, tmp_path: Path, words: str) -> None:
        search, *more = words.split()
        ok("index", dataset, "--model", tiny_folder, "--store", f"faiss:{tmp_path / 'i'}", "--search", search, *more)
        right = SearchIndex.open(tmp_path / "i").search("a red bicycle", k=5)
        assert [one.id for one in right if isinstance(one, SearchResult)]
        assert FaissStore.open(str(tmp_path / "i")).search_kind == search


class Resources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


class TestOutputs:
    def test_json(self, indexed: Path) -> None:
        found = json.loads(ok("search", indexed, "x", "--where", "year=2001", "--json"))
        jsonschema.validate(found, RESULTS_SCHEMA)
        assert (found["documents"], found["where"], found["index"]) == (5, {"year": ["2001"]}, "index")
        results = {one["id"]: one for one in found["queries"][0]["results"]}
        assert set(results) == {"text", "large"} and results["text"]["content"][0]["text"] == "a red bicycle"
        assert results["large"]["content"][0]["width"] > 300 and results["text"]["metadata"]["year"] == 2001

    def test_the_page_needs_nothing_and_runs_nothing(self, indexed: Path, tmp_path: Path) -> None:
        noise_image(30, 30).save(tmp_path / "a.png")
        ok(
            "search",
            indexed,
            f"{EVIL} here",
            "--image",
            tmp_path / "a.png",
            "--html",
            tmp_path / "deep" / "found.html",
        )
        page = (tmp_path / "deep" / "found.html").read_text(encoding="utf-8")
        read = Resources()
        read.feed(page)
        assert read.sources and all(source.startswith("data:image/") for source in read.sources)
        assert read.tags.count("img") == 1 + 1 + 1 + 4 and not {"script", "link", "iframe"} & set(read.tags)
        assert "http:" not in page and "https:" not in page and "@import" not in page and "url(" not in page
        assert "&lt;script&gt;alert(&#x27;x&#x27;)" in page and "<script" not in page
        assert page.count('class="card"') == 5

    def test_gallery(self, indexed: Path, tmp_path: Path) -> None:
        ok("search", indexed, "a red bicycle", "--gallery", tmp_path / "found.png")
        with Image.open(tmp_path / "found.png") as picture:
            assert picture.width > 1000 and len(set(picture.convert("RGB").resize((64, 64)).getdata())) > 20


class TestChanges:
    def test_add_update_delete(self, copied: Path, tmp_path: Path) -> None:
        new = [{"id": "text", "content": ["a blue bicycle"], "source": "new"}, {"id": "more", "content": ["a boat"]}]
        more = things(tmp_path / "more", new)
        assert "found 1 documents whose ids are in the index already, such as 'text'" in refused(
            "index", more, "--out", copied, "--add"
        )
        said = json.loads(ok("index", more, "--out", copied, "--update", "--json"))
        assert (said["documents"], said["added"], said["replaced"]) == (6, 1, 1)
        index = SearchIndex.open(copied)
        [text] = index.search("x", where={"source": "new"})
        assert isinstance(text, SearchResult) and text.content == [{"type": "text", "text": "a blue bicycle"}]
        (tmp_path / "ids.txt").write_text("text\nno such\nfilm\n")
        said = json.loads(ok("index", "--out", copied, "--delete", tmp_path / "ids.txt", "--json"))
        assert (said["documents"], said["deleted"]) == (4, 2)
        left = {"evil", "large", "mixed", "more"}
        assert set(found_ids(copied, "x")) == left
        rows = load_dataset(str(copied), "corpus", split="train")
        assert set(rows["id"]) == left  # the card names the segments in use, and no others
        assert len(list((copied / "data" / "corpus").glob("*.parquet"))) > len(
            json.loads((copied / "index.json").read_text())["segments"]
        )
        assert {one["dataset"] for one in json.loads((copied / "sources.json").read_text())} == {"things", "more"}

    def test_equal_to_an_index_made_at_once(
        self, copied: Path, dataset: Path, tiny_folder: Path, tmp_path: Path
    ) -> None:
        more = [{"id": "boat", "content": ["a boat"], "source": "web", "year": 2001}]
        update_index(Documents(str(things(tmp_path / "more", more))), str(copied))
        both = things(tmp_path / "both", [*ROWS, *more])
        build_index(Documents(str(both)), str(tmp_path / "once"), Encoding(str(tiny_folder)))
        grown, once = (SearchIndex.open(folder).search(["x", "a boat"], k=9) for folder in (copied, tmp_path / "once"))
        for some, others in zip(grown, once, strict=True):
            assert isinstance(some, list) and isinstance(others, list)
            assert [one.id for one in some] == [one.id for one in others] and len(some) == 6
            np.testing.assert_allclose([one.score for one in some], [one.score for one in others], atol=1e-6)

    def test_columns_that_the_index_lacks_are_told(self, tiny_folder: Path, tmp_path: Path, copied: Path) -> None:
        build_digits(tmp_path / "digits", train_documents=2, test_documents=2)
        done = update_index(Documents(str(tmp_path / "digits"), splits=("test",)), str(copied))
        assert (done.added, done.left_out) == (2, ())
        small = tmp_path / "small"
        build_index(Documents(str(tmp_path / "digits"), splits=("test",)), str(small), Encoding(str(tiny_folder)))
        done = update_index(Documents(str(things(tmp_path / "t", ROWS[:1]))), str(small))
        assert done.left_out == ("source", "year") and "left out columns" in done.as_text()

    def test_nothing_is_encoded_twice(
        self, dataset: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: Any
    ) -> None:
        asked: list[int] = []
        encode = NyxModel.encode_document
        monkeypatch.setattr(NyxModel, "encode_document", lambda s, i, **k: asked.append(len(i)) or encode(s, i, **k))
        how = Encoding(str(tiny_folder), cache_dir=tmp_path / "vectors")

        def stopped(*_: Any, **__: Any) -> None:
            raise RuntimeError("stopped")

        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
            patch.setattr(FaissStore, "upsert", stopped)
            build_index(Documents(str(dataset)), str(tmp_path / "i"), how)
        assert asked == [5]
        build_index(Documents(str(dataset)), str(tmp_path / "i"), how)
        assert asked == [5] and len(SearchIndex.open(tmp_path / "i")) == 5


@pytest.mark.e2e
def test_two_processes_make_the_same_index(tiny_folder: Path, tmp_path: Path) -> None:
    rows = [{"id": f"d{number}", "content": [f"document {number} " * (1 + number % 5)]} for number in range(80)]
    many = str(things(tmp_path / "many", rows))
    for name, devices in (("one", ("cpu",)), ("two", ("cpu", "cpu"))):
        how = Encoding(str(tiny_folder), devices=devices, batch_size=2, cache_dir=tmp_path / f"{name}-vectors")
        build_index(Documents(many), str(tmp_path / name), how)
    files = [sorted((tmp_path / name).rglob("0*")) for name in ("one", "two")]
    assert len(files[0]) == 2
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
    assert len(list((tmp_path / "two-vectors").rglob("*.npy"))) == 3  # of 32 documents each, two processes' work


def test_datasets_searches_it_too(indexed: Path) -> None:
    index = SearchIndex.open(indexed)
    rows = index.to_dataset()
    rows.add_faiss_index("embedding", metric_type=faiss.METRIC_INNER_PRODUCT)
    vector = index.encoder.encode([[{"type": "text", "text": "a red bicycle"}]], "query", None)[0]
    scores, found = rows.get_nearest_examples("embedding", vector, k=5)
    ours = index.search("a red bicycle", k=5)
    assert found["id"] == [one.id for one in ours if isinstance(one, SearchResult)]
    np.testing.assert_allclose(scores, [one.score for one in ours if isinstance(one, SearchResult)], atol=1e-6)
    assert rows.features["content"].feature["image"] is not None and len(rows) == 5


class TestRefusals:
    def test_another_model(self, indexed: Path, tiny_model: NyxModel, tmp_path: Path) -> None:
        tiny_model.save_pretrained(tmp_path / "tiny-nyx")
        config = json.loads((tmp_path / "tiny-nyx" / "config.json").read_text())
        (tmp_path / "tiny-nyx" / "config.json").write_text(json.dumps({**config, "changed": 1}))
        said = refused("search", indexed, "x", "--model", tmp_path / "tiny-nyx")
        assert re.search(r"found the model tiny-nyx@\w+, and the index holds vectors of tiny-nyx@\w+: take that", said)
        more = things(tmp_path / "more", ROWS[:1])
        assert "found the model" in refused(
            "index", more, "--out", indexed, "--update", "--model", tmp_path / "tiny-nyx"
        )

    def test_a_renamed_model_is_the_same(self, indexed: Path, tiny_folder: Path, tmp_path: Path) -> None:
        shutil.copytree(tiny_folder, tmp_path / "renamed")
        assert len(found_ids(indexed, "x", "--model", tmp_path / "renamed")) == 5

    def test_a_model_that_is_not_here(self, copied: Path) -> None:
        manifest = copied / "index.json"
        manifest.write_text(re.sub(r'"revision": "\w+"', '"revision": "0123"', manifest.read_text()))
        assert "tiny-nyx@0123, which is not known on this machine: name its folder with --model" in refused(
            "search", copied, "x"
        )

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((), "there is nothing to search for"),
            (("  ",), "query 1 is empty: give some words"),
            (("x", "--image", "gone.png"), "found no image at gone.png"),
            (("x", "--queries", "q.txt"), "found both a typed query and --queries"),
            (("--queries", "gone.txt"), "found no file at gone.txt"),
            (("x", "--where", "colour=red"), "found a filter on 'colour', expected one of the columns"),
            (("x", "--where", "colour"), "found the filter 'colour', expected COLUMN=VALUE"),
        ],
    )
    def test_searches(self, indexed: Path, work_dir: Path, words: tuple[str, ...], said: str) -> None:
        assert said in refused("search", indexed, *words)

    def test_files_of_queries(self, indexed: Path, work_dir: Path) -> None:
        for text, said in (
            ("[1]", "q.jsonl line 1: expected {"),
            ('{"content": 3}', "q.jsonl line 1"),
            ("\n", "no query"),
        ):
            (work_dir / "q.jsonl").write_text(text)
            assert said in refused("search", indexed, "--queries", "q.jsonl")

    def test_indexing(self, indexed: Path, dataset: Path, tiny_folder: Path, work_dir: Path) -> None:
        assert "holds an index already" in refused("index", dataset, "--model", tiny_folder, "--out", indexed)
        assert "name the model" in refused("index", dataset, "--out", "new")
        assert "name the dataset" in refused("index", "--out", indexed)
        assert "there is no corpus split 'dev'" in refused(
            "index", dataset, "--model", tiny_folder, "--out", "new", "--split", "dev"
        )
        assert "--search: an index keeps what it was made with" in refused(
            "index", dataset, "--out", indexed, "--update", "--search", "int8"
        )
        assert "holds no index" in refused("index", dataset, "--out", work_dir, "--update")
        twice = things(work_dir / "twice", [ROWS[0], ROWS[0]])
        assert "found the id 'text' twice" in refused("index", twice, "--model", tiny_folder, "--out", "new")
        assert not Path("new").exists()
        for words in (("--add", "--update"), ("--add", "--overwrite")):
            assert nyx("index", dataset, "--out", indexed, *words).exit_code == 2
        assert nyx("index", dataset).exit_code == 2

    def test_what_is_no_index(self, work_dir: Path, dataset: Path) -> None:
        assert "holds no index" in refused("search", dataset, "x")
        assert "there is no folder no/such" in refused("search", "no/such", "x")
        assert "it is no name on the Hub either" in refused("search", "./no such", "x")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    with standin(tmp_path_factory.mktemp("hub")) as server:
        yield server


PUSH = """
import json, sys
from nyx_hf import push_to_hub
push_to_hub(sys.argv[1], "tester/index", tag=sys.argv[2])
"""
PULL = """
import json, sys
from datasets import load_dataset
from nyx_hf.search_index import SearchIndex
out = {}
for revision in ("v1", "v2", None):
    index = SearchIndex.open("tester/index", revision, model=sys.argv[1])
    out[str(revision)] = [[one.id, one.score] for one in index.search("a red bicycle")]
out["rows"] = load_dataset("tester/index", "corpus", split="train")["id"][:]
print(json.dumps(out))
"""


def scored(folder: Path) -> list[tuple[str, float]]:
    found = SearchIndex.open(folder).search("a red bicycle")
    return [(one.id, one.score) for one in found if isinstance(one, SearchResult)]


@pytest.mark.e2e
def test_it_travels_through_the_hub(hub: Standin, copied: Path, tiny_folder: Path, tmp_path: Path) -> None:
    first = scored(copied)
    hub.python(PUSH, tmp_path / "maker", str(copied), "v1")
    FaissStore.open(str(copied)).delete(["large"])
    (tmp_path / "ids.txt").write_text("text")
    ok("index", "--out", copied, "--delete", tmp_path / "ids.txt")
    second = scored(copied)
    hub.python(PUSH, tmp_path / "maker", str(copied), "v2")
    files = set(hub.files("tester/index", "dataset"))
    segments = {one["name"] for one in json.loads((copied / "index.json").read_text())["segments"]}
    assert {name for name in files if "/" in name} == {f"data/corpus/{one}.parquet" for one in segments} | {
        f"vectors/{one}.npy" for one in segments
    }
    assert not {".lock", "index.json.tmp"} & files
    done = hub.python(PULL, tmp_path / "stranger", str(tiny_folder))
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(first) == 5 and len(second) == 3
    for name, right in (("v1", first), ("v2", second), ("None", second)):
        assert [one for one, _ in found[name]] == [one for one, _ in right]
        np.testing.assert_allclose([score for _, score in found[name]], [score for _, score in right], atol=1e-6)
    assert set(found["rows"]) == {"evil", "mixed", "film"}
    gone = b"".join(hub.files("tester/index", "dataset").values())
    assert b"a red bicycle" not in gone and EVIL.encode()[:20] in gone  # what was deleted is not published


def test_model_settings_must_agree(indexed: Path) -> None:
    known = FaissStore.open(str(indexed)).properties
    known.check_model("other-name", known.revision, {})
    with pytest.raises(StoreError, match="found the model's settings"):
        known.check_model(known.model, known.revision, {"max_seq_length": 7})
    with pytest.raises(StoreError, match="holds vectors of"):
        known.check_model("other-name", None, {})
    assert pq.read_schema(next((indexed / "data" / "corpus").iterdir())).names[:2] == ["id", "content"]
