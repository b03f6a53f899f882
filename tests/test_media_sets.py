"""Image–caption pairs cleaned and described anew, MegaPairs, and videos cut into clips."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import chat_server
from huggingface_hub import constants
from PIL import Image
from test_interchange import run
from test_public_sets import picture, table
from test_video import encode

from nyx_hf.data_builders.image_text import cleaned
from nyx_hf.data_builders.records import Dropped, Record


def sharp(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def shards(folder: Path, images: list[bytes]) -> Path:
    folder.mkdir()
    with tarfile.open(folder / "0000.tar", "w") as archive:
        for number, image in enumerate(images):
            for kind, data in {"png": image, "txt": f"caption {number}".encode()}.items():
                member = tarfile.TarInfo(f"{number:04d}.{kind}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return folder


def build(tmp_path: Path, *words: object, out: str = "out") -> Any:
    return run("build", *words, "--out", tmp_path / out)


class TestImagePairs:
    def test_bad_images_are_left_out(self, tmp_path: Path) -> None:
        one_colour = io.BytesIO()
        Image.new("RGB", (64, 64), "navy").save(one_colour, format="PNG")
        folder = shards(tmp_path / "laion", [sharp(0), one_colour.getvalue(), sharp(1)])
        done = build(tmp_path, "import", "--layout", "webdataset", "--path", folder, "--clean")
        assert done.exit_code == 0 and "image: of one colour" in done.output, done.output
        assert [row["content"][0]["text"] for row in table(tmp_path, "queries", "train")] == ["caption 0", "caption 2"]
        broken = Record([{"type": "text", "text": "x"}], [[{"type": "image", "image": b"no image"}]])
        assert list(cleaned(iter([Dropped("before"), broken]))) == [Dropped("before"), Dropped("image: corrupt")]

    def test_each_image_is_described_anew_and_both_captions_stay(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
        folder = shards(tmp_path / "laion", [sharp(number) for number in range(3)])

        def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
            return 200, json.dumps({"caption": f"A picture of noise, number {number}."}) if number != 1 else "A cat."

        with chat_server(reply) as server:
            words = ("import", "--layout", "webdataset", "--path", folder, "--cache", tmp_path / "captions")
            done = build(tmp_path, *words, "--recaption", f"endpoint:{server.url}#vlm")
            assert done.exit_code == 0, done.output
            assert "recaption, answer: no JSON" in done.output and len(server.asked) == 3
            again = build(tmp_path, *words, "--recaption", f"endpoint:{server.url}#vlm", out="again")
            assert again.exit_code == 0 and len(server.asked) == 3  # a badly told answer is an answer
        queries = table(tmp_path, "queries", "train")
        assert len(queries) == 5 and len(table(tmp_path, "corpus", "train")) == 3
        assert sum("described by vlm at" in row["source"] for row in queries) == 2
        done = build(tmp_path, "import", "--layout", "beir", "--path", folder, "--recaption", "vllm:m", out="no")
        assert done.exit_code == 1 and "expected webdataset" in done.output


def test_megapairs_rows_ask_once_for_each_text(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.jpg").write_bytes(picture(ord(name)))
    rows = [
        {"q_img": "a.jpg", "q_text": ["in red", "as a drawing"], "t_img": "b.jpg", "hns": ["c.jpg", "a.jpg"]},
        {"q_img": "a.jpg", "q_text": "smaller", "t_img": "gone.jpg", "hns": []},
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = build(tmp_path, "megapairs", "--path", tmp_path / "pairs.jsonl")
    assert done.exit_code == 0 and "row: image file is missing" in done.output, done.output
    queries = table(tmp_path, "queries", "train")
    assert [row["content"][1]["text"] for row in queries] == ["in red", "as a drawing"]
    assert [len(row["negative_ids"]) for row in table(tmp_path, "triplets", "train")] == [1, 1]
    (tmp_path / "pairs.jsonl").write_text('{"q_img": "a.jpg"}')
    done = build(tmp_path, "megapairs", "--path", tmp_path / "pairs.jsonl", out="other")
    assert done.exit_code == 1 and "pairs.jsonl line 1: 'q_text', 't_img' is missing" in done.output


def frames(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (20, 16), (10 * number, 0, 0)).save(folder / f"{number:03d}.png")


def reds(content: list[dict[str, Any]]) -> list[int]:
    [video] = [part["video"] for part in content if part["type"] == "video"]
    return [image.getpixel((0, 0))[0] for image in video]


class TestVideos:
    def test_clips_of_a_video_are_each_other_s_hard_negatives(self, tmp_path: Path) -> None:
        frames(tmp_path / "videos" / "long", 20)
        segments = [{"start": 10 * n, "end": 10 * n + 10, "caption": f"Part {n}."} for n in range(4)]
        row = {"video": "long", "duration": 40, "segments": segments, "caption": "A film of red."}
        (tmp_path / "clips.jsonl").write_text(json.dumps(row))
        words = ("--path", tmp_path / "clips.jsonl", "--videos", tmp_path / "videos", "--frames", 3)
        done = build(tmp_path, "video-text", *words)
        assert done.exit_code == 0, done.output
        documents = {row["id"]: reds(row["content"]) for row in table(tmp_path, "corpus", "train")}
        queries = {row["id"]: row["content"][0]["text"] for row in table(tmp_path, "queries", "train")}
        for row in table(tmp_path, "triplets", "train"):
            number = queries[row["query_id"]]
            if number.startswith("Part"):
                first = int(number[5]) * 50
                assert all(first <= red < first + 50 for red in documents[row["positive_ids"][0]])
                assert len(row["negative_ids"]) == 3 and len(documents[row["positive_ids"][0]]) == 3
            else:
                assert row["negative_ids"] == [] and len(documents[row["positive_ids"][0]]) == 3
        assert len(queries) == 5 and sorted(queries.values())[0] == "A film of red."

    def test_a_video_file_is_cut_by_its_own_times(self, tmp_path: Path) -> None:
        levels = [np.full((48, 64, 3), 10 * number, np.uint8) for number in range(20)]
        (tmp_path / "film.mp4").write_bytes(encode(levels, rate=4))
        segments = [{"start": 0, "end": 2.5, "caption": "Dark."}, {"start": 2.5, "end": 5, "caption": "Light."}]
        segments.append({"start": 60, "end": 70, "caption": "Beyond the end."})
        (tmp_path / "clips.jsonl").write_text(json.dumps({"video": "film.mp4", "segments": segments}))
        done = build(tmp_path, "video-text", "--path", tmp_path / "clips.jsonl", "--frames", 4)
        assert done.exit_code == 0 and "clip: no frame or no caption" in done.output, done.output
        dark, light = (reds(row["content"]) for row in table(tmp_path, "corpus", "train"))
        assert len(dark) == len(light) == 4 and max(dark) < min(light)

    def test_conversations_are_captions_or_questions(self, tmp_path: Path) -> None:
        frames(tmp_path / "v1", 3)
        turns = [{"from": "human", "value": "<video>\nWhat is it?"}, {"from": "gpt", "value": "A red film."}]
        (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "1", "video": "v1", "conversations": turns}))
        assert build(tmp_path, "video-text", "--path", tmp_path / "rows.jsonl").exit_code == 0
        [query] = table(tmp_path, "queries", "train")
        assert query["content"][0]["text"] == "A red film." and query["task"] == "video retrieval"
        done = build(tmp_path, "video-text", "--path", tmp_path / "rows.jsonl", "--kind", "questions", out="qa")
        assert done.exit_code == 0, done.output
        [query] = table(tmp_path, "queries", "train", "qa")
        assert [part["type"] for part in query["content"]] == ["video", "text"]
        assert query["answers"] == ["A red film."] and query["task"] == "video question answering"

    def test_what_cannot_be_read_is_counted_or_named(self, tmp_path: Path) -> None:
        frames(tmp_path / "good", 2)
        (tmp_path / "empty").mkdir()
        (tmp_path / "broken.mp4").write_bytes(b"no video")
        rows = [{"video": name, "caption": "x"} for name in ("good", "gone", "empty", "broken.mp4")]
        (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        done = build(tmp_path, "video-text", "--path", tmp_path / "rows.jsonl")
        for reason in ("video: is missing", "video: has no frame", "video: cannot be read"):
            assert reason in done.output
        assert len(table(tmp_path, "queries", "train")) == 1
        (tmp_path / "rows.jsonl").write_text('{"clip": "x"}')
        done = build(tmp_path, "video-text", "--path", tmp_path / "rows.jsonl", out="other")
        assert done.exit_code == 1 and "found 'clip', expected 'video' and one of" in done.output
        assert "no file is named: pass --path" in build(tmp_path, "video-text", out="none").output
