"""The store that is a Milvus collection, on Milvus Lite: the answers of the faiss store, whatever is asked of it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_cases import COLUMNS, DIMS, batch, filled, properties, things, unit
from pictures import noise_image

from nyx_hf.faiss_store import FaissStore
from nyx_hf.index_documents import open_corpus
from nyx_hf.index_encoding import Encoding
from nyx_hf.indexing import Documents, build_index, delete_documents, update_index
from nyx_hf.milvus_place import Place, parse
from nyx_hf.milvus_rows import filter_text, within
from nyx_hf.milvus_store import MilvusStore
from nyx_hf.search_index import SearchIndex
from nyx_hf.vector_store import StoreError, StoreProperties, parse_place, store_class

ROOT = Path(__file__).resolve().parent.parent
ODD = ['a"b', "a\\b", "a'b", "a\nb\tc\r", 'x"] or true or id in ["', "\\", '\\"', "{v}", "日本 é", "%_", " "]
MODALITIES = ["text", "image", "mixed"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Milvus Lite for all tests, each in a collection of its own."""
    place = str(tmp_path_factory.mktemp("milvus") / "tests.db")
    yield place
    parsed = parse(place)
    parsed.leave(parsed.connect())


def made(place: str, vectors: np.ndarray, rows: list[dict[str, Any]] | None = None, **options: Any) -> MilvusStore:
    """A store of documents d0, d1, …"""
    store = MilvusStore.create(place, properties(vectors.shape[1], **options), overwrite=True)
    store.upsert([batch([f"d{number}" for number in range(len(vectors))], vectors, rows)])
    return store


def rows(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "modality": MODALITIES[rng.integers(3)],
            "source": None if rng.random() < 0.1 else ODD[rng.integers(len(ODD))],
            "year": int(rng.integers(-2, 3)),
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def pair(file: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[MilvusStore, FaissStore]:
    """The same 300 documents in both stores."""
    vectors = np.random.default_rng(1).normal(size=(300, DIMS))
    folder = tmp_path_factory.mktemp("faiss") / "index"
    return made(f"{file}/pair", vectors, rows(300)), filled(folder, vectors, rows(300))


WHERE = st.fixed_dictionaries(
    {},
    optional={
        "modality": st.lists(st.sampled_from([*MODALITIES, "video"]), min_size=1, max_size=2),
        "source": st.lists(st.sampled_from([*ODD, "nowhere"]), min_size=1, max_size=4),
        "year": st.lists(st.integers(-3, 3), min_size=1, max_size=3),
    },
)


class TestLikeFaiss:
    @given(where=WHERE, k=st.sampled_from([1, 7, 400]), seed=st.integers(0, 99))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_searches(self, pair: tuple[MilvusStore, FaissStore], where: dict[str, Any], k: int, seed: int) -> None:
        queries = unit(np.random.default_rng(seed).normal(size=(3, DIMS)))
        (scores, ids), (right, expected) = (store.search(queries, k, where) for store in pair)
        np.testing.assert_allclose(scores, right, atol=1e-6)
        assert ids == expected

    def test_each_odd_text_is_found(self, pair: tuple[MilvusStore, FaissStore]) -> None:
        stored = [row["source"] for row in rows(300)]
        assert pair[0].search(unit(np.ones((1, DIMS))), 3, {"source": []})[1] == [[]]
        for text in ODD:
            _, [ids] = pair[0].search(unit(np.ones((1, DIMS))), 300, {"source": [text]})
            assert len(ids) == stored.count(text) > 0, text

    def test_rows(self, pair: tuple[MilvusStore, FaissStore]) -> None:
        wanted = ["d299", "d0", "d64", "d0"]
        assert pair[0].take(wanted) == pair[1].take(wanted)
        assert pair[0].known(["d1", "d300"]) == {"d1"} and len(pair[0]) == 300
        with pytest.raises(KeyError):
            pair[0].take(["d1", "d300"])

    def test_pictures(self, file: str, tmp_path: Path) -> None:
        """Content of several pieces is given back as it was, byte by byte."""
        folder = things(tmp_path / "data", [{"id": 'p"\\', "content": ["ä\0", noise_image(900, 700, 1)] * 2}])
        corpus = open_corpus(str(folder))
        table, vector = corpus.metadata(0, 1, ["modality"], 0), np.eye(DIMS, dtype=np.float32)[:1]
        stores = [
            MilvusStore.create(f"{file}/pictures", StoreProperties("m", "r", DIMS)),
            FaissStore.create(str(tmp_path / "faiss"), StoreProperties("m", "r", DIMS)),
        ]
        for store in stores:
            store.upsert([replace(batch(corpus.ids, vector), metadata=table)])
        [row], [expected] = (store.take(corpus.ids) for store in stores)
        assert row == expected and len(row["content"][1]["image"]["bytes"]) > 65_535

    def test_any_column_is_filtered_by(self, file: str) -> None:
        columns = {
            "modality": "string",
            "in": "bool",
            "1st place!": "float",
            "1st_place_": "int64",
            "é": "large_string",
        }
        store = MilvusStore.create(f"{file}/columns", replace(properties(), columns=columns))
        table = pa.table(
            {
                "in": [True, False, None],
                "1st place!": pa.array([0.1, -1e-9, 2.0], pa.float32()),
                "1st_place_": [1, -(2**62), 0],
                "é": ["é", "e", None],
            }
        )
        store.upsert([replace(batch(["a", "b", "c"], np.eye(DIMS)[:3]), metadata=table)])
        for column, values in table.to_pydict().items():
            for value, name in zip(values, "abc", strict=True):
                if value is not None:
                    assert store.search(unit(np.ones((1, DIMS))), 3, {column: [value]})[1] == [[name]], column


NAMES = [f"n{number}" for number in range(8)] + ['q"', "b\\"]
CHANGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 999), min_size=1, max_size=5)
        ),
        st.tuples(st.just("drop"), st.sets(st.sampled_from(NAMES), min_size=1, max_size=5)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    min_size=1,
    max_size=6,
)


class TestChanges:
    @given(changes=CHANGES)
    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_they_are_those_of_a_dict(self, file: str, changes: list[tuple[str, Any]]) -> None:
        place = f"{file}/dict"
        store = MilvusStore.create(place, properties(), overwrite=True)
        store.upsert([])
        held: dict[str, int] = {}
        for kind, what in changes:
            if kind == "put":
                store.upsert(
                    [batch([*what], vectors_of(what.values()), [{"text": f"t{seed}"} for seed in what.values()])]
                )
                held |= what
            elif kind == "drop":
                assert store.delete(what) == len(what & set(held))
                held = {name: seed for name, seed in held.items() if name not in what}
            else:
                store = MilvusStore.open(place)
            assert len(store) == len(held) and store.known(NAMES) == set(held)
        assert [row["content"][0]["text"] for row in store.take([*held])] == [f"t{seed}" for seed in held.values()]
        if held:
            scores, ids = store.search(vectors_of(held.values()), 1)
            np.testing.assert_allclose(scores, 1, atol=1e-6)
            assert [held[found[0]] for found in ids] == [*held.values()]

    def test_a_stopped_run_goes_on(self, file: str) -> None:
        """First into a new collection, then into one that stands."""
        vectors = np.random.default_rng(2).normal(size=(90, DIMS))
        names = [f"d{at}" for at in range(90)]
        parts = [batch(names[some], vectors[some]) for some in (slice(0, 30), slice(30, 60), slice(60, 90))]

        def stopped() -> Iterator[Any]:
            yield from parts[:2]
            raise KeyboardInterrupt

        place = f"{file}/stopped"
        with pytest.raises(KeyboardInterrupt):
            MilvusStore.create(place, properties()).upsert(stopped())
        with pytest.raises(StoreError, match="holds no index"):
            MilvusStore.open(place)
        store = MilvusStore.create(place, properties())
        store.upsert([parts[1]])
        assert len(store) == 30  # nothing of the run before
        with pytest.raises(KeyboardInterrupt):
            store.upsert(stopped())
        assert len(store) == 60
        store = MilvusStore.open(place)
        store.upsert(parts)
        queries = unit(np.random.default_rng(3).normal(size=(4, DIMS)))
        right = np.argsort(-(queries @ unit(vectors).T), axis=1)
        assert len(store) == 90 and store.search(queries, 90)[1] == [[f"d{at}" for at in row] for row in right]

    def test_an_old_index_answers_until_the_new_one_is_whole(self, file: str) -> None:
        place = f"{file}/replaced"
        old = made(place, np.eye(DIMS))
        new = MilvusStore.create(place, replace(properties(), revision="r2"), overwrite=True)
        with pytest.raises(StoreError, match="found the id 'x' twice"):
            new.upsert([batch(["x"], np.eye(DIMS)[:1]), batch(["x"], np.eye(DIMS)[:1])])
        assert len(old) == DIMS == len(MilvusStore.open(place))
        new.upsert([batch(["y"], np.eye(DIMS)[:1])])
        assert MilvusStore.open(place).properties.revision == "r2" and len(MilvusStore.open(place)) == 1


def vectors_of(seeds: Any) -> np.ndarray:
    return np.concatenate([unit(np.random.default_rng(seed).normal(size=(1, DIMS))) for seed in seeds])


@pytest.fixture(scope="module")
def clustered() -> tuple[np.ndarray, np.ndarray]:
    """1,000 documents and 20 queries whose first dimensions say the most, as Matryoshka losses make them."""
    rng = np.random.default_rng(4)
    strength = np.exp(-np.arange(64) / 16)
    centres = rng.normal(size=(40, 64)) * strength
    documents = centres[rng.integers(40, size=1000)] + 0.4 * rng.normal(size=(1000, 64)) * strength
    return unit(documents), unit(centres[:20] + 0.4 * rng.normal(size=(20, 64)) * strength)


class TestQuickWays:
    @pytest.mark.parametrize(
        ("options", "least"),
        [
            ({"search": "funnel", "prefix": 16}, 0.9),
            ({"search": "funnel", "prefixes": [32, 8], "oversample": 4}, 0.9),
            ({"search": "hnsw"}, 0.98),
            ({"search": "funnel-hnsw", "prefix": 16, "m": 8, "ef_construction": 64, "ef": 64}, 0.9),
        ],
    )
    def test_recall(
        self, file: str, clustered: tuple[np.ndarray, np.ndarray], options: dict[str, Any], least: float
    ) -> None:
        documents, queries = clustered
        store = made(f"{file}/quick", documents, rows(1000), **options)
        true = queries @ documents.T
        right = np.argsort(-true, axis=1)[:, :10]
        scores, ids = MilvusStore.open(f"{file}/quick").search(queries, 10)
        found = np.array([[int(name[1:]) for name in row] for row in ids])
        recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, right, strict=True)])
        assert recall >= least
        np.testing.assert_allclose(scores, np.take_along_axis(true, found, 1), atol=1e-5)  # of whole vectors
        few = [at for at, row in enumerate(rows(1000)) if row["source"] == ODD[0] and row["modality"] == "text"]
        assert 0 < len(few) < 60
        _, ids = store.search(queries, 60, {"source": [ODD[0]], "modality": "text"})
        assert all(sorted(row) == sorted(f"d{at}" for at in few) for row in ids)

    def test_a_prefix_with_all_as_candidates_is_exact(self, file: str) -> None:
        rng = np.random.default_rng(5)
        vectors, queries = rng.normal(size=(150, DIMS)), unit(rng.normal(size=(5, DIMS)))
        right = [[f"d{at}" for at in row] for row in np.argsort(-(queries @ unit(vectors).T), axis=1)[:, :5]]
        assert made(f"{file}/wide", vectors, search="funnel", prefix=4, oversample=30).search(queries, 5)[1] == right
        assert made(f"{file}/narrow", vectors, search="funnel", prefix=4, oversample=1).search(queries, 5)[1] != right

    def test_indexes_are_those_asked_for(self, file: str) -> None:
        made(f"{file}/kinds", np.eye(DIMS), search="funnel-hnsw", prefixes=[4, 8], m=5)
        client = parse(file).connect()
        kinds = {name: client.describe_index("kinds", name) for name in client.list_indexes("kinds")}
        assert {name: kind["index_type"] for name, kind in kinds.items()} == {
            "prefix_4": "HNSW",
            "prefix_8": "FLAT",
            "vector": "FLAT",
        }
        assert {kind["metric_type"] for kind in kinds.values()} == {"IP"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"search": "int8"}, "found the search 'int8', expected one of exact, hnsw, funnel, funnel-hnsw"),
            ({"search": "funnel", "prefix": 17}, "found prefix=17, expected 1 to 16"),
            ({"search": "funnel", "prefix": 4, "prefixes": [4]}, "found both prefix and prefixes"),
            ({"prefix": 4}, "found prefix for the search 'exact', which does not use it"),
            ({"search": "hnsw", "oversample": 4}, "found oversample for the search 'hnsw'"),
            ({"search": "hnsw", "ef": 0}, "found ef=0, expected 1 or more"),
            ({"dtype": "float16"}, "found the option 'dtype', which the store milvus does not have"),
        ],
    )
    def test_options(self, tmp_path: Path, options: dict[str, Any], said: str) -> None:
        with pytest.raises(StoreError, match=said):
            MilvusStore.create(str(tmp_path / "x.db"), properties(**options))
        assert not (tmp_path / "x.db").exists()

    def test_what_stands_there(self, file: str, tmp_path: Path) -> None:
        made(f"{file}/stands", np.eye(DIMS))
        with pytest.raises(FileExistsError, match="holds an index already: add to it with --add"):
            MilvusStore.create(f"{file}/stands", properties())
        client = parse(file).connect()
        client.create_collection("others", dimension=4)
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match="that is no index, expected none"):
                MilvusStore.create(f"{file}/others", properties(), overwrite)
        with pytest.raises(StoreError, match="that is no index, expected one that nyx-hf index made"):
            MilvusStore.open(f"{file}/others")
        client.alter_collection_properties("stands", {"nyx_hf.format": "7"})
        with pytest.raises(StoreError, match="is an index of format 7, and this version reads format 1"):
            MilvusStore.open(f"{file}/stands")
        with pytest.raises(StoreError, match="holds no index: make one with nyx-hf index DATASET"):
            MilvusStore.open(f"{file}/nothing")
        with pytest.raises(StoreError, match="holds no index"):
            MilvusStore.open(str(tmp_path / "none.db"))
        (tmp_path / "old.db").write_bytes(b"SQLite format 3")
        with pytest.raises(StoreError, match=r"found a file at .*old\.db, expected a folder"):
            MilvusStore.open(str(tmp_path / "old.db"))
        assert not (tmp_path / "none.db").exists()

    def test_rows(self, file: str) -> None:
        store = made(f"{file}/rows", np.eye(DIMS))
        one = np.eye(DIMS)[:1]
        for wrong, said in [
            (batch(["x"], np.ones((1, 3))), r"documents of shape \(1, 3\), expected \(rows, 16\)"),
            (batch(["x" * 65_536], one), "found a text of 65,536 characters"),
            (batch(["x"], one, [{"source": "é" * 40_000}]), "found a text of 40,000 characters"),
            (batch(["x"], one, [{"text": "x" * (49 << 20)}]), "found 49 MB of content in 'x', and Milvus takes 48"),
        ]:
            with pytest.raises(StoreError, match=said):
                store.upsert([wrong])
        with pytest.raises(StoreError, match="not finite"):
            store.search(np.full((1, DIMS), np.nan), 1)
        for k in (0, 16_385):
            with pytest.raises(StoreError, match=f"found k={k}, expected 1 to 16384"):
                store.search(unit(np.ones((1, DIMS))), k)
        with pytest.raises(StoreError, match="found a filter on 'colour', expected one of the columns"):
            store.search(unit(np.ones((1, DIMS))), 1, {"colour": ["red"]})
        assert len(store) == DIMS

    def test_another_revision(self, file: str) -> None:
        kept = made(f"{file}/model", np.eye(DIMS)).properties
        assert MilvusStore.open(f"{file}/model").properties == kept == properties()
        with pytest.raises(StoreError, match="found the model table@r2, and the index holds vectors of table@r1"):
            MilvusStore.open(f"{file}/model").properties.check_model("table", "r2", {})

    def test_places(self) -> None:
        assert parse_place("milvus:a/b.db/c") == ("milvus", "a/b.db/c") and store_class("milvus") is MilvusStore
        assert parse("/a/b.db/c") == Place("/a/b.db", "c", True) and parse("/b.db") == Place("/b.db", "nyx", True)
        assert parse("http://h:19530") == Place("http://h:19530", "nyx", False)
        assert parse("https://h/db/c") == Place("https://h/db", "c", False)
        for wrong in ("index", "a/b", "ftp://h/c", "http://h/a/b/c", "http:///c", "http://h/c?token=x"):
            with pytest.raises(StoreError, match="found the place milvus:.*, expected FILE.db"):
                parse(wrong)
        with pytest.raises(StoreError, match="found the collection 'a-b', expected letters"):
            parse("x.db/a-b")
        with pytest.raises(StoreError, match="found a name or password") as caught:
            parse("http://me:secret@h:19530/c")
        assert "secret" not in str(caught.value)

    def test_a_server_that_is_down(self, capfd: pytest.CaptureFixture[str]) -> None:
        began = time.monotonic()
        with pytest.raises(StoreError, match="http://127.0.0.1:1/c: .*is the server running, and is MILVUS_TOKEN"):
            MilvusStore.open("http://127.0.0.1:1/c")
        assert time.monotonic() - began < 15
        assert capfd.readouterr() == ("", "")

    def test_a_missing_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "milvus_lite.db", None)
        with pytest.raises(StoreError, match=r"needs the package milvus_lite.*: pip install nyx-hf\[milvus\]"):
            MilvusStore.create(str(tmp_path / "x.db"), properties()).upsert([])
        monkeypatch.delitem(sys.modules, "nyx_hf.milvus_store")
        monkeypatch.delitem(sys.modules, "nyx_hf.milvus_place")
        monkeypatch.setitem(sys.modules, "pymilvus", None)
        with pytest.raises(StoreError, match=r"the store milvus needs the package pymilvus: pip install"):
            store_class("milvus")


def test_filters_are_written() -> None:
    assert filter_text({"source": 'a"b\\', "year": ["1", "-2"]}, COLUMNS) == (
        'c1_source in ["a\\"b\\\\"] and c2_year in [1, -2]'
    )
    assert within("c", [True, 1e-07]) == "c in [true, 1e-07]" and filter_text(None, COLUMNS) == ""
    with pytest.raises(StoreError, match="found inf in a filter"):
        filter_text({"x": ["inf"]}, {"x": "double"})


OTHER = """
import sys
from nyx_hf.milvus_store import MilvusStore
from nyx_hf.vector_store import StoreError
try:
    store = MilvusStore.open(sys.argv[1])
except StoreError as error:
    sys.exit(str(error))
print(store.delete(["d3", "nothing"]), len(store), store.take(["d2"])[0]["content"][0]["text"])
"""


def test_another_process(tmp_path: Path) -> None:
    """While a file is open no other process has it, and says so in a line; afterwards it has all of it."""
    place = str(tmp_path / "shared.db")
    store = made(place, np.eye(DIMS))
    words = [sys.executable, "-c", OTHER, place]
    held = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert held.returncode == 1 and len(held.stderr.splitlines()) == 1, held.stderr
    assert "shared.db is in use by another process, and Milvus Lite serves one" in held.stderr
    store.close()
    free = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (free.stdout, free.stderr) == (f"1 {DIMS - 1} d2\n", "")
    again = MilvusStore.open(place)
    assert again.known(["d2", "d3"]) == {"d2"} and len(again) == DIMS - 1
    again.close()
    with pytest.raises(StoreError, match="shared.db"):
        len(again)


SERVER = """
import sys, time
from milvus_lite.adapter.grpc.server import start_server_in_thread
server, database, port = start_server_in_thread(data_dir=sys.argv[1], host="127.0.0.1", port=0)
print(port, flush=True)
time.sleep(600)
"""


def test_a_server(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same over HTTP, until the server dies: Milvus Lite's engine is one, too."""
    words = [sys.executable, "-c", SERVER, str(tmp_path / "data")]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            place = f"http://127.0.0.1:{int(server.stdout.readline())}/things"
            with pytest.raises(StoreError, match=f"milvus:{place} holds no index: make one"):
                MilvusStore.open(place)
            made(place, np.eye(DIMS), search="funnel", prefix=4).close()
            store = MilvusStore.open(place)
            assert store.search(unit(np.eye(DIMS)[:3]), 1)[1] == [["d0"], ["d1"], ["d2"]] and len(store) == DIMS
        finally:
            server.kill()
    said = f"milvus:{place}: .*is the server running"
    with pytest.raises(StoreError, match=said):
        store.search(unit(np.eye(DIMS)[:1]), 1)
    with pytest.raises(StoreError, match=said):
        store.upsert([batch(["x"], np.eye(DIMS)[:1])])
    assert capfd.readouterr().err == ""


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("nyx_hf.milvus_place.MilvusClient", lambda uri, **how: given.update(how, uri=uri))
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    parse("http://h:1/base/c").connect()
    assert (given["uri"], given["token"]) == ("http://h:1/base", "root:secret") and given["timeout"] <= 10


@pytest.mark.e2e
def test_index_and_search(tiny_folder: Path, tmp_path: Path) -> None:
    """A dataset is indexed, changed and searched as in a folder."""
    content: list[Any] = ["a red bicycle", noise_image(56, 40, 1), 'quoted "words"', noise_image(56, 56, 2)]
    rows = [{"id": f"d{at}", "content": [one], "source": ODD[at], "year": at} for at, one in enumerate(content)]
    dataset = str(things(tmp_path / "things", rows))
    more = str(things(tmp_path / "more", [{"id": "d9", "content": ["both", content[1]]}, rows[0]]))
    place, folder = f"milvus:{tmp_path / 'i.db'}/things", str(tmp_path / "i")
    how = Encoding(str(tiny_folder), cache_dir=tmp_path / "cache")
    options = {"search": "funnel", "prefixes": [8, 4], "oversample": 50}
    assert build_index(Documents(dataset), place, how, options=options, instruction="Find it.").documents == 4
    build_index(Documents(dataset), folder, how, instruction="Find it.")
    found = []
    for out in (place, folder):
        done = update_index(Documents(more), out, how, model=str(tiny_folder))
        assert (done.added, done.replaced, delete_documents(["d2"], out).documents) == (1, 1, 4)
        index = SearchIndex.open(out, model=str(tiny_folder))
        asked = ["a bicycle", content[1], ("before", content[3])]
        found.append([index.search(asked, 3), index.search(asked, 3, {"source": [ODD[1], ODD[3]]})])
    for ours, theirs in zip(*found, strict=True):
        for mine, right in zip(ours, theirs, strict=True):
            np.testing.assert_allclose([one.score for one in mine], [one.score for one in right], atol=1e-5)
            assert [(one.id, one.content, one.metadata) for one in mine] == [
                (one.id, one.content, one.metadata) for one in right
            ]
    assert len(found[0][0][0]) == 3 and len(found[0][1][0]) == 2
