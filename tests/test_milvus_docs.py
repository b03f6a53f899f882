"""docs/milvus.md: its commands are known, its code runs, its tables are those of the code."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml
from doc_pages import ROOT, Page, check_command
from index_cases import things

from nyx_hf.milvus_place import TOKEN, parse
from nyx_hf.milvus_rows import CHARACTERS, DOCUMENT_BYTES
from nyx_hf.milvus_search import MOST, SEARCHES, search_of
from nyx_hf.vector_store import parse_place

PAGE = Page("milvus.md")


@pytest.mark.parametrize("line", PAGE.commands())
def test_every_command_is_one(line: str) -> None:
    check_command(line)
    [place] = [word for word in line.split() if word.startswith("milvus:")]
    assert parse(parse_place(place)[1]).collection in ("nyx", "nyxqa")


def test_tables_are_those_of_the_code() -> None:
    assert tuple(row[0].strip("`") for row in PAGE.table("search")) == SEARCHES
    for number, (place, _) in enumerate(PAGE.table("place")):
        assert parse(place.strip("`").removeprefix("milvus:").replace("PORT", "1")).local == (number < 2)
    told = {row[0].strip("`"): row[1] for row in PAGE.table("option")}
    way = search_of({"search": "funnel-hnsw"}, 1024)
    assert way.prefixes == (256,) and told.pop("prefix") == "a quarter of the dimensions"
    assert (told.pop("search"), told.pop("prefixes")) == (SEARCHES[0], "none")
    assert told == {name: str(getattr(way, name)) for name in ("oversample", "m", "ef_construction", "ef")}
    bounds = dict(PAGE.table("what"))
    assert bounds["documents for a query, and candidates"] == f"{MOST:,}"
    assert bounds["an id, or a text of a column"] == f"{CHARACTERS:,} bytes"
    assert bounds["the content of a document"].startswith(f"{DOCUMENT_BYTES >> 20} MB;")


def test_sizes_are_those_of_the_formulas() -> None:
    for row in PAGE.table("documents × dimensions"):
        count, dims = (int(one.replace(",", "")) for one in row[0].split(" × "))
        each = [4 * dims, 4 * dims + 8 * 16, 4 * dims + dims, dims + 8 * 16]
        assert row[1:] == [f"{count * size / 1e9:.1f}" for size in each], row


def test_the_compose_file() -> None:
    services = yaml.safe_load((ROOT / "docs" / "milvus-compose.yaml").read_text(encoding="utf-8"))["services"]
    assert set(services["milvus"]["depends_on"]) == set(services) - {"milvus"}
    assert services["milvus"]["ports"] == ["127.0.0.1:19530:19530"]
    assert all(":latest" not in one["image"] and ":" in one["image"] for one in services.values())
    [code] = PAGE.code("sh")
    assert TOKEN in code and "docs/milvus-compose.yaml" in code


@pytest.mark.e2e
def test_code(tiny_folder: Path, work_dir: Path) -> None:
    things(work_dir / "data", [{"id": f"d{number}", "content": [f"text {number}"]} for number in range(6)])
    (work_dir / "model").symlink_to(tiny_folder)
    [code] = PAGE.code("python")
    with redirect_stdout(StringIO()) as printed:
        exec(compile(code, "docs/milvus.md", "exec"), {})
    assert printed.getvalue().count("'modality': 'text'") == 3
