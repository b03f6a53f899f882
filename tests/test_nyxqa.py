"""NyxQA from end to end: a folder of pages to a dataset, twice the same, changed, killed, planned, private."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, chat_server, user_text
from datasets import load_dataset
from huggingface_hub import constants
from PIL import Image
from typer.testing import CliRunner

from nyx_hf import TripletDataset
from nyx_hf.cli import app
from nyx_hf.data_builders.nyxqa import NyxQABuilder
from tests.pictures import noise_image

NAMES = [
    "Ripple",
    "Mosaic",
    "Sparkle",
    "Plasma",
    "Emboss",
    "Cubism",
    "Oilify",
    "Softglow",
    "Weave",
    "Canvas",
    "Clothify",
    "Erode",
    "Dilate",
    "Vignette",
    "Spiral",
]
DOINGS = [
    "waves",
    "tiles",
    "stars",
    "clouds",
    "edges",
    "blocks",
    "strokes",
    "glow",
    "threads",
    "grain",
    "folds",
    "pits",
    "bumps",
    "corners",
    "turns",
]


def manual(folder: Path, pages: int = 15) -> Path:
    """A small manual: every page explains a filter, with a picture before and one after."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, (name, doing) in enumerate(zip(NAMES[:pages], DOINGS[:pages], strict=True)):
        for side in (0, 1):
            noise_image(48 + number, 40, 2 * number + side).save(folder / "images" / f"{number}-{side}.png")
        (folder / f"{name.lower()}.html").write_text(
            f"""<html><head><title>{number + 1}. {name}</title></head><body><nav>Home</nav><h1>{name}</h1>
            <p>{name} Filter creates {doing} in the active layer of any picture. Holding the Shift key keeps {doing}
            inside of the selection of {name} at {10 + number} pixels.</p>
            <figure><img src="images/{number}-0.png"><figcaption>Original {doing} picture</figcaption></figure>
            <figure><img src="images/{number}-1.png"><figcaption>{name} filter applied</figcaption></figure>
            <dl><dt>{doing.capitalize()} radius</dt><dd>Says how far each of them reaches from the middle of the layer,
            measured in steps of {number + 2}.</dd></dl>
            <p>The {name} filter is found through Filters → {doing.capitalize()} → {name}.</p></body></html>""",
            encoding="utf-8",
        )
    return folder


@pytest.fixture()
def pages(tmp_path: Path) -> Path:
    return manual(tmp_path / "my-manual")


def build(tmp_path: Path, *words: object, out: str = "out", cache: str = "cache") -> Any:
    command = ["build", "nyxqa", "--out", str(tmp_path / out), "--cache", str(tmp_path / cache), *map(str, words)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nyx-hf", *command])  # what the card shows
        return CliRunner().invoke(app, command)


def table(folder: Path, config: str, split: str, **how: Any) -> Any:
    return load_dataset(str(folder), config, split=split, cache_dir=str(folder.parent / f"hf-{folder.name}"), **how)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestExtractiveBuild:
    def test_a_folder_of_pages_becomes_questions_corpus_and_triplets(self, tmp_path: Path, pages: Path) -> None:
        done = build(tmp_path, "--source", f"html:{pages}", "--shares", "0.6,0.2,0.2")
        assert done.exit_code == 0, done.output
        out = tmp_path / "out"
        corpus = {row["id"]: row for row in table(out, "corpus", "corpus")}
        assert len(corpus) == 15 and all(
            isinstance(part["image"], Image.Image | None) for part in corpus["ripple.html#0"]["content"]
        )
        seen: dict[str, set[str]] = {}
        for split in ("train", "validation", "test"):
            queries = {row["id"]: row for row in table(out, "queries", split)}
            assert queries.keys() == {row["id"] for row in table(out, "mcqa", split, streaming=True)}
            triplets = table(out, "triplets", split)
            assert len(triplets) == len(queries) > 0
            seen[split] = {row["source"] for row in queries.values()}
            for row in triplets:
                query = queries[row["query_id"]]
                assert query["source"] == row["positive_ids"][0].split("#")[0] and row["positive_ids"][0] in corpus
                assert row["positive_ids"][0] not in row["negative_ids"] and row["scorer"] == "bm25"
                assert len(query["options"]) == 4 and query["options"].count(query["answers"][0]) == 1
                if split == "train":
                    assert {name.split("#")[0] for name in row["negative_ids"]}.isdisjoint(
                        seen.get("test", set()) | seen.get("validation", set())
                    )
        assert not seen["train"] & seen["test"] and not seen["validation"] & seen["test"]
        shown = [
            row for split in seen for row in table(out, "queries", split) if any(p["image"] for p in row["content"])
        ]
        assert shown and all("<image" not in (part["text"] or "") for row in shown for part in row["content"])
        negatives = {name.split("#")[0] for row in table(out, "triplets", "train") for name in row["negative_ids"]}
        assert not negatives & (seen["test"] | seen["validation"])
        joined = TripletDataset.load(out, negatives_per_query=2)[0]
        assert (
            joined["positives"][0]["content"] and len(joined["negatives"]) == 2 and "retrieve" in joined["instruction"]
        )

    def test_two_builds_are_byte_equal_and_another_seed_is_not(self, tmp_path: Path, pages: Path) -> None:
        for out, cache in (("a", "one"), ("b", "two")):
            assert build(tmp_path, "--source", f"html:{pages}", out=out, cache=cache).exit_code == 0
        one, two = files(tmp_path / "a"), files(tmp_path / "b")
        assert one["README.md"].replace(b"--out a", b"--out b").replace(b"cache one", b"cache two") == two["README.md"]
        assert {name: file for name, file in one.items() if name != "README.md"} == {
            name: file for name, file in two.items() if name != "README.md"
        }
        assert build(tmp_path, "--source", f"html:{pages}", "--seed", 1, out="c").exit_code == 0
        assert (
            files(tmp_path / "c")["data/queries/train-00000-of-00001.parquet"]
            != one["data/queries/train-00000-of-00001.parquet"]
        )

    def test_a_limit_gives_a_small_true_sample(self, tmp_path: Path, pages: Path) -> None:
        assert build(tmp_path, "--source", f"html:{pages}", out="all").exit_code == 0
        assert build(tmp_path, "--source", f"html:{pages}", "--limit", 4, out="few").exit_code == 0
        every = {
            row["id"]: row["content"]
            for split in ("train", "validation", "test")
            for row in table(tmp_path / "all", "queries", split)
        }
        some = [
            row
            for name in files(tmp_path / "few")
            if name.startswith("data/queries")
            for row in table(tmp_path / "few", "queries", name.split("/")[2].split("-")[0])
        ]
        assert 0 < len({row["id"] for row in some}) <= 4 and {row["id"] for row in some} <= every.keys()

    def test_the_builder_gives_the_same_rows_in_code(self, tmp_path: Path, pages: Path) -> None:
        assert build(tmp_path, "--source", f"html:{pages}").exit_code == 0
        how = {"source": f"html:{pages}", "cache": str(tmp_path / "cache"), "cache_dir": str(tmp_path / "datasets")}
        builder = NyxQABuilder(config_name="triplets", **how)
        builder.download_and_prepare()
        made = builder.as_dataset(split="train")
        assert made[:] == table(tmp_path / "out", "triplets", "train")[:]

    def test_markdown_and_jsonl_build_too(self, tmp_path: Path) -> None:
        folder = tmp_path / "notes"
        folder.mkdir()
        lines = []
        for name, doing in zip(NAMES, DOINGS, strict=True):
            words = f"{name} Filter creates {doing} in the active layer of any picture."
            (folder / f"{name}.md").write_text(f"# {name}\n\n{words}\n")
            lines.append(json.dumps({"id": name, "title": name, "text": words}))
        (tmp_path / "notes.jsonl").write_text("\n".join(lines))
        for source in (f"markdown:{folder}", f"jsonl:{tmp_path / 'notes.jsonl'}"):
            kind = source.split(":")[0]
            done = build(tmp_path, "--source", source, "--shares", "1,0,0", out=kind)
            assert done.exit_code == 0 and len(table(tmp_path / kind, "triplets", "train")) == 15, done.output


class TestPrivacy:
    def test_own_pages_show_no_rows_and_no_path(self, tmp_path: Path, pages: Path) -> None:
        assert build(tmp_path, "--source", f"html:{pages}").exit_code == 0
        card = (tmp_path / "out" / "README.md").read_text()
        assert "own_pages: true" in card and "Sample rows" not in card and "none is shown here" in card
        assert (
            str(tmp_path) not in card
            and "--source html:my-manual" in card
            and not (tmp_path / "out" / "images").exists()
        )
        for name, file in files(tmp_path / "out").items():
            assert str(tmp_path).encode() not in file, name
        assert "extractive: questions from captions" in card and "near duplicate" not in card.split("## Rows")[0]

    def test_pages_that_are_public_are_shown_with_their_pictures(self, tmp_path: Path, pages: Path) -> None:
        done = build(tmp_path, "--source", f"html:{pages}", "--public", "--license", "gfdl")
        assert done.exit_code == 0, done.output
        card = (tmp_path / "out" / "README.md").read_text()
        assert "own_pages" not in card and "Sample rows" in card and "license: gfdl" in card
        pictures = re.findall(r"!\[(?:query|positive)\]\((images/[^)]+)\)", card)
        assert pictures
        for picture in pictures:
            with Image.open(tmp_path / "out" / picture) as image:
                assert image.width > 8


QUESTION = {"question": "What does the {} filter leave behind?", "answer": "{}"}


def answers(body: dict[str, Any], _: int) -> tuple[int, Any]:
    """A model that knows the manual."""
    text, schema = user_text(body), json.dumps(body["response_format"]["value"])
    if '"pairs"' in schema:
        name = re.search(r"^(\w+) Filter creates (\w+)", text, re.M)
        if name is None:
            return 200, json.dumps({"pairs": []})
        pair = {"question": f"What does the {name[1]} filter leave in a layer?", "answer": name[2]}
        shown = {"question": f"Which filter turned <image 1> into <image 2>, leaving {name[2]}?", "answer": name[1]}
        return 200, json.dumps({"pairs": [pair, shown]})
    if '"keep"' in schema:
        question, answer = re.search(r"Question: (.*)\nAnswer: (.*)", text).groups()  # type: ignore[union-attr]
        return 200, json.dumps({"keep": True, "question": question, "answer": answer})
    return 200, json.dumps({"distractors": ["nothing at all", "a border", "its shadow"]})


@pytest.fixture()
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    with chat_server(answers) as running:
        yield running


class TestModelBuild:
    def words(self, server: ChatServer, pages: Path) -> list[str]:
        return ["--source", f"html:{pages}", "--generator", f"endpoint:{server.url}#vlm", "--tokenizer", "words"]

    def test_of_changed_pages_only_those_are_asked_about(
        self, tmp_path: Path, pages: Path, server: ChatServer
    ) -> None:
        assert build(tmp_path, *self.words(server, pages), out="a").exit_code == 0
        first = len(server.asked)
        assert 70 < first <= 15 * (1 + 2 + 2)  # pairs of each page, then each pair refined and given distractors
        assert build(tmp_path, *self.words(server, pages), out="b").exit_code == 0
        assert len(server.asked) == first
        page = pages / "ripple.html"
        page.write_text(page.read_text().replace("creates waves", "creates billows"))
        assert build(tmp_path, *self.words(server, pages), out="c").exit_code == 0
        assert len(server.asked) == first + 5
        rows = [row for split in ("train", "validation", "test") for row in table(tmp_path / "c", "queries", split)]
        assert any(row["answers"] == ["billows"] for row in rows) and not any(
            row["answers"] == ["waves"] for row in rows
        )
        card = (tmp_path / "a" / "README.md").read_text()
        assert "vlm at 127.0.0.1" in card

    def test_a_killed_build_leaves_nothing_and_asks_for_the_rest_alone(
        self, tmp_path: Path, pages: Path, server: ChatServer
    ) -> None:
        def slowly(body: dict[str, Any], number: int) -> tuple[int, Any]:
            time.sleep(0.15)
            return answers(body, number)

        server.reply = slowly
        words = [
            "build",
            "nyxqa",
            "--out",
            str(tmp_path / "out"),
            "--cache",
            str(tmp_path / "cache"),
            "--requests",
            "2",
        ]
        command = [sys.executable, "-m", "nyx_hf", *words, *self.words(server, pages)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(server.asked) < 20:
            time.sleep(0.02)
            assert running.poll() is None
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not (tmp_path / "out").exists()
        before = len(server.asked)
        server.reply = answers
        done = build(tmp_path, *self.words(server, pages))
        assert done.exit_code == 0, done.output
        assert 70 < len(server.asked) <= 75 + 4 and before >= 20  # those under way when it was killed, again
        assert build(tmp_path, *self.words(server, pages), out="whole", cache="other").exit_code == 0
        for name, file in files(tmp_path / "whole").items():
            assert name == "README.md" or files(tmp_path / "out")[name] == file

    def test_a_plan_asks_nothing_and_says_what_it_takes(self, tmp_path: Path, pages: Path, server: ChatServer) -> None:
        done = build(tmp_path, *self.words(server, pages), "--plan", "--json", "--rate", 2, "--price-in", 10)
        plan = json.loads(done.stdout.splitlines()[-1])
        assert done.exit_code == 0 and not server.asked and not (tmp_path / "out").exists()
        assert plan["pages"] == 15 and plan["chunks asked about"] == 15 and plan["requests, at most"] == 15 * 11
        assert (
            plan["hours at 2 requests a second"] == round(15 * 11 / 2 / 3600, 2)
            and plan["tokens read, about"] > 15 * 500
        )
        assert plan["price"] > 0 and plan["disk for the dataset, MB"] > 0 and plan["pages leave this machine"] is False
        shown = build(tmp_path, *self.words(server, pages), "--plan")
        assert "requests, at most" in shown.output and "165" in shown.output

    def test_a_garbage_server_is_counted_and_one_that_is_gone_is_one_line(
        self, tmp_path: Path, pages: Path, server: ChatServer
    ) -> None:
        server.reply = lambda body, number: (200, "I cannot do that.")
        done = build(tmp_path, *self.words(server, pages))
        assert done.exit_code == 1 and "no question is left of 15 chunks" in done.output
        assert "'chunk, answer: no JSON': 15" in done.output and not (tmp_path / "out").exists()
        words = self.words(server, pages)
        words[3] = "endpoint:http://127.0.0.1:9/v1#vlm"
        done = build(tmp_path, *words)
        assert done.exit_code == 1 and "vlm at 127.0.0.1:9 cannot be reached" in done.output.splitlines()[-1]


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            ([], "no source is named: pass --source html:DIR"),
            (["--source", "html:/nowhere/at/all"], "there is no such folder or file"),
            (["--source", "ftp:x"], "expected one of html:…"),
            (["--shares", "1"], "three numbers that sum to 1"),
            (["--max-tokens", "0"], "found max_tokens=0, expected 1 or more"),
        ],
    )
    def test_wrong_settings_are_one_line(self, tmp_path: Path, words: list[str], line: str) -> None:
        done = build(tmp_path, *words)
        assert done.exit_code == 1 and line in done.output and done.output.strip().count("\n") == 0

    def test_pages_of_nothing_are_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "a.html").write_text("<script>x()</script>")
        done = build(tmp_path, "--source", f"html:{tmp_path / 'site'}")
        assert done.exit_code == 1 and "nothing is left of 0 pages (1 × page: no text and no image)" in done.output

    def test_a_generator_or_retriever_of_no_kind_is_one_line(self, tmp_path: Path, pages: Path) -> None:
        done = build(tmp_path, "--source", f"html:{pages}", "--generator", "gpt", "--tokenizer", "words")
        assert done.exit_code == 1 and "found the generator 'gpt', expected endpoint:URL#MODEL" in done.output
        done = build(tmp_path, "--source", f"html:{pages}", "--retriever", str(tmp_path / "none"))
        assert done.exit_code == 1 and "none" in done.output.splitlines()[-1]

    def test_a_folder_that_may_not_be_replaced_is_seen_before_the_work(self, tmp_path: Path, pages: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("x")
        done = build(tmp_path, "--source", f"html:{pages}")
        assert done.exit_code == 1 and "found mine.txt in" in done.output and not (tmp_path / "cache").exists()


def test_a_page_of_a_picture_alone_is_kept(tmp_path: Path) -> None:
    folder = manual(tmp_path / "m", 6)
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, format="PNG")
    (folder / "images" / "alone.png").write_bytes(file.getvalue())
    (folder / "alone.html").write_text("<img src='images/alone.png'>")
    assert build(tmp_path, "--source", f"html:{folder}").exit_code == 0
    assert any(row["id"] == "alone.html#0" for row in table(tmp_path / "out", "corpus", "corpus"))
