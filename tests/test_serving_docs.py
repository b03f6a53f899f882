"""docs/serving.md: its commands parse, its table of limits is the code's, its code runs against a server."""

import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from doc_pages import Page, check_command
from served import data_uri, listening, small_index

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.search_index import SearchIndex
from nyx_hf.serving_gate import PATHS
from nyx_hf.serving_settings import MIB, ServingSettings
from tests.pictures import noise_image

PAGE = Page("serving.md")


@pytest.fixture(scope="module")
def url(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    index = SearchIndex.open(small_index(tmp_path_factory.mktemp("docs"), tiny_folder))
    with listening(ServingSettings("model"), index.encoder, index) as found:
        yield found


@pytest.mark.parametrize("line", [line for line in PAGE.commands() if not line.startswith("vllm ")])
def test_every_command_is_one(line: str) -> None:
    check_command(line)


def test_limits_and_paths_are_the_codes() -> None:
    settings = ServingSettings()
    for option, default, _ in PAGE.table("option"):
        name = option.strip("`-").replace("-", "_")
        assert default.replace(",", "") == str(getattr(settings, name)), option
    assert f"at most {settings.max_requests} requests" in PAGE.text
    assert f"{settings.max_held // MIB} MiB of bodies" in PAGE.text
    told = {path for row in PAGE.table("path") for path in re.findall(r"`(/[^`]*)`", row[0])}
    assert told == {*PATHS, "/page"} - {"/"}


def test_the_code_runs(url: str, tiny_model: NyxModel) -> None:
    dim = tiny_model.settings.matryoshka_dims[0]
    with redirect_stdout(StringIO()) as printed:
        for code in PAGE.code("python"):
            here = code.replace("http://127.0.0.1:8000", url).replace("dimensions=64", f"dimensions={dim}")
            exec(compile(here, "docs/serving.md", "exec"), {})
    first, second, *found = printed.getvalue().splitlines()
    assert re.fullmatch(rf"2 {dim} \d+", first) and re.fullmatch(r"embeddings \{'text': '.*'\}", second)
    assert len([line for line in found if re.match(r"(text|picture)-\d ", line)]) == 2


def test_the_body_is_one(url: str) -> None:
    [text] = PAGE.code("json")
    body = json.loads(text)
    parts = body["input"][1]["content"]
    parts[1]["image_url"]["url"] = data_uri(noise_image(40, 40))
    parts[2]["video"] = [data_uri(noise_image(40, 40, at)) for at in range(2)]
    answer = httpx.post(f"{url}/v1/embeddings", json=body, timeout=60)
    assert answer.status_code == 200 and len(answer.json()["data"]) == 2


def test_the_commands_defaults_are_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from nyx_hf import cli

    called: list[Any] = []
    monkeypatch.setattr("nyx_hf.serving_command.run_serve", lambda *given: called.append(given))
    done = CliRunner().invoke(cli.app, ["serve", "model"])
    assert done.exit_code == 0, done.output
    assert replace(called[0][1], name="nyx") == ServingSettings()
