"""An index that changes: equal to a dict after any changes, whole after any kill, one writer, readers undisturbed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_cases import DIMS, batch, filled, properties, unit

from nyx_hf.faiss_store import FaissStore
from nyx_hf.index_files import stale_files
from nyx_hf.vector_store import StoreError

ROOT = Path(__file__).resolve().parent.parent
NAMES = [f"n{number}" for number in range(12)]


def vector(seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(1, DIMS)))[0]


CHANGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 999), min_size=1, max_size=6)
        ),
        st.tuples(st.just("drop"), st.sets(st.sampled_from(NAMES), min_size=1, max_size=5)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    min_size=1,
    max_size=9,
)


@given(changes=CHANGES, search=st.sampled_from(["exact", "int8", "binary"]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changes_are_those_of_a_dict(tmp_path: Path, changes: list[tuple[str, Any]], search: str) -> None:
    folder = tmp_path / "index"
    shutil.rmtree(folder, ignore_errors=True)
    store = FaissStore.create(str(folder), properties(search=search, oversample=50))
    store.upsert([])
    model: dict[str, int] = {}
    for kind, what in changes:
        if kind == "put":
            names = list(what)
            rows = [{"source": f"s{seed % 3}", "text": f"t{seed}"} for seed in what.values()]
            store.upsert([batch(names, np.stack([vector(seed) for seed in what.values()]), rows)])
            model |= what
        elif kind == "drop":
            assert store.delete(what) == len(what & set(model))
            model = {name: seed for name, seed in model.items() if name not in what}
        else:
            store = FaissStore.open(str(folder))
        assert len(store) == len(model) and store.known(NAMES) == set(model)
    query = vector(5000)
    for where in (None, {"source": "s1"}):
        seeds = {name: seed for name, seed in model.items() if where is None or seed % 3 == 1}
        scores, [ids] = FaissStore.open(str(folder)).search(query[None], 20, where)
        right = {name: float(vector(seed) @ query) for name, seed in seeds.items()}
        assert set(ids) == set(right)
        np.testing.assert_allclose(scores[0], sorted(right.values(), reverse=True), atol=1e-6)
        np.testing.assert_allclose(scores[0], [right[name] for name in ids], atol=1e-6)
        assert [row["content"][0]["text"] for row in store.take(ids)] == [f"t{model[name]}" for name in ids]


KILLED = """
import json, os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import numpy as np
import nyx_hf.faiss_store as stores
from index_cases import batch

def batches(where):
    for number in range(4):
        ids = ["d0", "d1"] if number == 3 else [f"x{number}-{at}" for at in range(200)]
        yield batch(ids, np.random.default_rng(number).normal(size=(len(ids), 16)))
        if where == f"batch {number}":
            die()

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def write(where, folder):
    if where == "commit":  # all is written but the manifest
        stores.commit = die
    if where == "rename":
        Path.replace = die
    stores.FaissStore.open(folder).upsert(batches(where))
    os._exit(0)

ended = {}
for where in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        write(where, os.path.join(sys.argv[1], where))
    ended[where] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(ended))
"""
WHERE = ["batch 1", "batch 3", "commit", "rename", "never"]
FIFTY = np.random.default_rng(0).normal(size=(50, DIMS))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Indexes, each after a write by a process that was killed at another moment, and how these processes ended."""
    folder = tmp_path_factory.mktemp("killed")
    for where in WHERE:
        filled(folder / where, FIFTY, search="int8")
    words = [sys.executable, "-c", KILLED, str(folder), str(ROOT / "tests"), *WHERE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("where", WHERE)
def test_a_killed_write_changes_nothing(killed: tuple[Path, dict[str, int]], where: str) -> None:
    folder, ended = killed[0] / where, killed[1][where]
    store = FaissStore.open(str(folder))
    assert stale_files(folder)  # what a write left or replaced is there until the next
    if where == "never":
        assert ended == 0 and len(store) == 650
        return
    assert ended == -signal.SIGKILL and len(store) == 50 and store.generation == 1
    query = unit(FIFTY[:3])
    order = np.argsort(-query @ unit(FIFTY).T, axis=1)[:, :5]
    found = FaissStore.open(str(folder), search="exact").search(query, 5)[1]
    assert found == [[f"d{number}" for number in row] for row in order]
    store.upsert([batch(["new"], FIFTY[:1])])  # the dead writer's lock is gone, its files go now
    left = {path.name.partition(".")[0] for path in folder.rglob("*.parquet")}
    assert left == set(store.segment_names) and len(store) == 51


def test_a_first_write_that_was_killed_starts_again(tmp_path: Path) -> None:
    folder = tmp_path / "index"

    def broken() -> Any:
        yield batch(["a"], np.ones((1, DIMS)))
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        FaissStore.create(str(folder), properties()).upsert(broken())
    with pytest.raises(StoreError, match="holds no index"):
        FaissStore.open(str(folder))
    store = FaissStore.create(str(folder), properties())
    store.upsert([batch(["b"], np.ones((1, DIMS)))])
    assert store.search(unit(np.ones((1, DIMS))), 3)[1] == [["b"]]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", np.eye(DIMS))
    other = FaissStore.open(str(tmp_path / "index"))

    def meanwhile() -> Any:
        with pytest.raises(StoreError, match="being written to by another process: try again"):
            other.delete(["d0"])
        yield batch(["new"], np.ones((1, DIMS)))

    store.upsert(meanwhile())
    assert other.delete(["d0", "new"]) == 2  # it sees what was written since it was opened
    assert len(other) == DIMS - 1


def test_readers_are_not_disturbed(tmp_path: Path) -> None:
    """One that is open keeps what it opened, whatever is written and deleted; one that opens sees a whole state."""
    folder = tmp_path / "index"
    vectors = np.random.default_rng(0).normal(size=(40, DIMS))
    filled(folder, vectors, [{"text": f"text {number}"} for number in range(40)])
    reader = FaissStore.open(str(folder))
    query = unit(vectors[:4])
    right = reader.search(query, 6)
    writer = FaissStore.open(str(folder))
    for number in range(4):
        writer.upsert([batch([f"d{number}"], vectors[-1:])])
        writer.delete([f"d{number + 10}"])
    scores, ids = reader.search(query, 6)
    assert ids == right[1] and np.array_equal(scores, right[0])
    assert [row["content"][0]["text"] for row in reader.take(["d3", "d10"])] == ["text 3", "text 10"]
    assert len(FaissStore.open(str(folder))) == 36


WRITES = """
import sys
sys.path[:0] = [sys.argv[2]]
import numpy as np
from index_cases import batch
from nyx_hf.faiss_store import FaissStore
store = FaissStore.open(sys.argv[1])
for number in range(15):  # all documents are of one write, or the reader has seen a half
    ids = [f"d{at}" for at in range(30)]
    store.upsert([batch(ids, np.ones((30, 16)), [{"year": number}] * 30)])
"""


def test_a_reader_during_writes_sees_whole_states(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    filled(folder, np.ones((30, DIMS)), [{"year": -1}] * 30)
    words = [sys.executable, "-c", WRITES, str(folder), str(ROOT / "tests")]
    writer = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)})
    seen = set()
    while writer.poll() is None:
        store = FaissStore.open(str(folder))
        years = {row["year"] for row in store.take([f"d{number}" for number in range(30)])}
        assert len(store) == 30 and len(years) == 1
        seen |= years
        time.sleep(0.002)
    assert writer.returncode == 0 and len(seen) > 3


def test_an_index_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    filled(folder, np.eye(DIMS))
    store = FaissStore.create(str(folder), properties(4, search="binary"), overwrite=True)
    assert len(FaissStore.open(str(folder))) == DIMS
    store.upsert([batch(["only"], np.ones((1, 4)))])
    found = FaissStore.open(str(folder))
    assert len(found) == 1 and found.properties.dims == 4 and found.search_kind == "binary"


def test_many_small_writes_stay_few_segments(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    store = filled(folder, np.eye(DIMS))
    for number in range(30):
        store.upsert([batch([f"x{number}"], vector(number)[None])])
    assert len(store.segment_names) <= 9 and len(store) == DIMS + 30
    scores, ids = store.search(np.stack([vector(number) for number in range(30)]), 1)
    assert ids == [[f"x{number}"] for number in range(30)]
    np.testing.assert_allclose(scores, 1, atol=1e-6)


def test_another_format_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "index", np.eye(DIMS))
    manifest = tmp_path / "index" / "index.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(StoreError, match="an index of format 99, and this version reads format 1"):
        FaissStore.open(str(tmp_path / "index"))
