"""docs/search.md: its commands are known, its code runs, its tables are those of the code."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from doc_pages import Page, check_command
from index_cases import things

from nyx_hf.coarse_search import WAYS
from nyx_hf.index_encoding import Encoding
from nyx_hf.indexing import Documents, build_index
from nyx_hf.search_results import RESULTS_SCHEMA

PAGE = Page("search.md")


@pytest.mark.parametrize("line", PAGE.commands())
def test_every_command_is_one(line: str) -> None:
    check_command(line)


def test_tables_are_those_of_the_code() -> None:
    assert tuple(row[0].strip("`") for row in PAGE.table("search")) == WAYS
    told = {key.strip("`") for row in PAGE.table("key") for key in row[0].split(", ")}
    queries = RESULTS_SCHEMA["properties"]["queries"]["items"]["properties"]
    assert set(RESULTS_SCHEMA["properties"]) | {"results", "content"} == told
    assert set(queries) == {"id", "content", "results"}


def test_code(tiny_folder: Path, work_dir: Path) -> None:
    rows = [{"id": f"d{number}", "content": [f"text {number}"]} for number in range(6)]
    build_index(Documents(str(things(work_dir / "data", rows))), "index", Encoding(str(tiny_folder)))
    [code] = PAGE.code("python")
    with redirect_stdout(StringIO()) as printed:
        exec(compile(code, "docs/search.md", "exec"), {})
    assert printed.getvalue().count("'modality': 'text'") == 5 and "'embedding'" in printed.getvalue()
