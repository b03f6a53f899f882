"""Stages: drops counted, finished ones read, outcomes cached, and the same rows from Ray's workers as from one."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from datasets import Features, Value

from nyx_hf.data_builders.outcomes import OutcomeCache
from nyx_hf.data_builders.pages import CHUNK, content_hash, dropped_row, image_block, text_block
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.stages import Stage, Table, run_stage

NUMBER = Features({"id": Value("string"), "number": Value("int64"), "dropped": Value("string")})


@dataclass(frozen=True)
class Halves:
    """Gives each even number twice, drops odd ones, and notes in a folder which rows it was asked for."""

    folder: Path
    deadly: int | None = None

    def __call__(self, rows: Sequence[Row]) -> list[list[Row]]:
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> list[Row]:
        asked = self.folder / f"{row['id']}-{os.getpid()}-{len(list(self.folder.glob(row['id'] + '-*')))}"
        asked.touch()
        if row["number"] == self.deadly and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os._exit(9)
        if row["number"] % 2:
            return [dropped_row(row["id"], "odd", NUMBER)]
        return [{"id": f"{row['id']}.{n}", "number": row["number"] // 2, "dropped": None} for n in range(2)]


def table(numbers: Sequence[int], folder: Path) -> Table:
    rows = ({"id": f"r{number:03d}", "number": number, "dropped": None} for number in numbers)
    return Table.of(rows, NUMBER, folder, "numbers")


def halves(folder: Path, **settings: object) -> Stage:
    folder.mkdir(exist_ok=True)
    deadly = settings.pop("deadly", None)
    return Stage("halves", Halves(folder, deadly), NUMBER, settings, cached=True, batch_size=4)  # type: ignore[arg-type]


def asked(folder: Path) -> list[str]:
    return sorted(path.name[:4] for path in folder.glob("r*"))


def test_rows_come_out_in_order_and_drops_are_counted(tmp_path: Path) -> None:
    out, count = run_stage(halves(tmp_path / "asked"), table(range(11), tmp_path), tmp_path / "cache")
    assert [row["id"] for row in out] == [f"r{n:03d}.{half}" for n in range(0, 11, 2) for half in range(2)]
    assert [row["number"] for row in out] == [n // 2 for n in range(0, 11, 2) for _ in range(2)]
    assert (count.rows_in, count.rows_out, count.dropped) == (11, 12, {"odd": 5})


def test_a_finished_stage_is_read(tmp_path: Path) -> None:
    first, counted = run_stage(halves(tmp_path / "a"), table(range(9), tmp_path), tmp_path / "cache")
    again, recounted = run_stage(halves(tmp_path / "b"), table(range(9), tmp_path), tmp_path / "cache")
    assert list(first) == list(again) and first.key == again.key and counted == recounted
    assert len(asked(tmp_path / "a")) == 9 and asked(tmp_path / "b") == []


def test_other_settings_ask_again(tmp_path: Path) -> None:
    run_stage(halves(tmp_path / "a", size=1), table(range(9), tmp_path), tmp_path / "cache")
    run_stage(halves(tmp_path / "b", size=2), table(range(9), tmp_path), tmp_path / "cache")
    assert len(asked(tmp_path / "b")) == 9


def test_of_changed_rows_only_those_are_asked_for(tmp_path: Path) -> None:
    run_stage(halves(tmp_path / "a"), table(range(9), tmp_path), tmp_path / "cache")
    changed = [0, 1, 2, 30, 4, 5, 6, 7, 8, 40]
    out, _ = run_stage(halves(tmp_path / "b"), table(changed, tmp_path), tmp_path / "cache")
    assert asked(tmp_path / "b") == ["r030", "r040"]
    assert [row["number"] for row in out if row["id"].startswith("r030")] == [15, 15]


def test_no_rows_are_no_error(tmp_path: Path) -> None:
    out, count = run_stage(halves(tmp_path / "a"), table([], tmp_path), tmp_path / "cache")
    assert len(out) == 0 and list(out) == [] and count.rows_in == 0
    out, count = run_stage(halves(tmp_path / "a"), table([1, 3], tmp_path), tmp_path / "cache")
    assert len(out) == 0 and count.dropped == {"odd": 2}


def test_several_processes_give_the_same_rows(tmp_path: Path) -> None:
    one, _ = run_stage(halves(tmp_path / "a"), table(range(30), tmp_path), tmp_path / "one")
    two, count = run_stage(halves(tmp_path / "b"), table(range(30), tmp_path), tmp_path / "two", processes=2)
    assert list(one) == list(two) and count.dropped == {"odd": 15}
    again, _ = run_stage(halves(tmp_path / "c"), table(range(30), tmp_path), tmp_path / "two", processes=2)
    assert list(again) == list(one) and asked(tmp_path / "c") == []


def test_a_killed_run_asks_for_the_rest_alone(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]);"
        "from test_stages import halves, table, run_stage; root = Path(sys.argv[1]);"
        "run_stage(halves(root / 'asked', deadly=13), table(range(20), root), root / 'cache')"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path, Path(__file__).parent], check=False, timeout=120)
    assert done.returncode == 9
    before = asked(tmp_path / "asked")
    assert before == [f"r{n:03d}" for n in range(14)]
    out, _ = run_stage(halves(tmp_path / "asked"), table(range(20), tmp_path), tmp_path / "cache")
    assert len(out) == 20
    assert asked(tmp_path / "asked") == sorted([*before, *(f"r{n:03d}" for n in range(12, 20))])  # its batch of four


def test_an_outcome_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    cache = OutcomeCache(tmp_path, NUMBER)
    cache.put("abc", [{"id": "r", "number": 1, "dropped": None}])
    assert cache.get("abc") == [{"id": "r", "number": 1, "dropped": None}] and cache.get("abd") is None
    [path] = tmp_path.rglob("*.arrow")
    path.write_bytes(path.read_bytes()[:-20])
    assert cache.get("abc") is None
    path.write_bytes(b"")
    assert cache.get("abc") is None


@pytest.mark.e2e
def test_ray_gives_the_same_rows_and_survives_a_worker_s_death(tmp_path: Path) -> None:
    import ray

    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    try:
        images = [text_block("a picture"), image_block(b"\x00png")]
        chunks = [{**dict.fromkeys(CHUNK), "id": f"c{n}", "number": n, "content": images} for n in range(5)]
        chunk_table = Table.of(chunks, CHUNK, tmp_path, "chunks")
        same, _ = run_stage(Stage("same", _same, CHUNK, batch_size=2), chunk_table, tmp_path / "ray", runner="ray")
        assert list(same) == list(chunk_table)

        one, _ = run_stage(halves(tmp_path / "a"), table(range(40), tmp_path), tmp_path / "one")
        stage = halves(tmp_path / "b", deadly=22)
        two, count = run_stage(stage, table(range(40), tmp_path), tmp_path / "two", runner="ray", processes=2)
        assert (tmp_path / "b" / "died").exists()
        assert list(one) == list(two) and count.dropped == {"odd": 20}
        workers = {path.name.split("-")[1] for path in (tmp_path / "b").glob("r*")}
        assert len(workers) >= 2 and str(os.getpid()) not in workers
        again, _ = run_stage(halves(tmp_path / "c"), table(range(40), tmp_path), tmp_path / "two", runner="ray")
        assert list(again) == list(one) and asked(tmp_path / "c") == []
    finally:
        ray.shutdown()


def _same(rows: Sequence[Row]) -> list[list[Row]]:
    return [[row] for row in rows]


def test_content_hash_tells_apart_what_differs() -> None:
    values = [None, 0, False, "", b"", [], {}, [[]], ["a", "b"], ["ab"], {"a": 1}, {"a": "1"}, {"b": 1}, 0.0, "b1:a"]
    assert len({content_hash(value) for value in values}) == len(values)
    assert content_hash({"a": 1, "b": [b"x"]}) == content_hash({"b": (b"x",), "a": 1})
    with pytest.raises(TypeError, match="found a set"):
        content_hash({1, 2})
