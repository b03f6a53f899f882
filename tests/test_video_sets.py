"""MMEB-V2's video sets: a few rows in each upstream layout, with tiny frames, become queries with their candidates."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_public_sets import build, card, parquet, table
from test_video import encode

from nyx_hf.data_builders.mmeb_sets import GROUPS, group_of
from nyx_hf.data_builders.upstream import LayoutError
from nyx_hf.data_builders.video_set_layouts import SETS, video_set
from nyx_hf.data_builders.video_sets import VideoSetsBuilder

Shape = list[Any]  # texts as they are, a video as the reds of its frames, an image as one red

ANSWER = (
    "Given a video and a question, select the most accurate answer from the provided candidates. "
    "Return only the exact text of your chosen answer. Question:"
)
IN_VIDEO = "Find the clip that corresponds to the described scene in the given video:"


@dataclass
class Asked:
    """What one row must become."""

    query: Shape
    positives: list[Shape]
    negatives: list[Shape] = field(default_factory=list)
    instruction: str | None = None
    answers: list[str] | None = None
    options: list[str] | None = None


@dataclass
class Case:
    """A set's rows as they lie upstream, where its frames are, and what is made of both."""

    name: str
    file: str
    rows: list[dict[str, Any]]
    frames: dict[str, list[int]]
    asked: list[Asked]
    instruction: str
    config: str = "default"
    split: str = "test"
    beside: int | None = None  # documents of the corpus that no query names

    def upstream(self, root: Path) -> None:
        """Writes rows and frames."""
        repo = root / "hub" / video_set(self.name).repository
        stored(repo / self.file, self.rows)
        card(repo, {self.config: {self.split: self.file}})
        for folder, reds in self.frames.items():
            pictures(root / "hub/TIGER-Lab/MMEB-V2/video-tasks/frames" / folder, reds)


def stored(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet(path, rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))


def pictures(folder: Path, reds: list[int], pattern: str = "frame_{:04d}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, red in enumerate(reds, start=1):
        Image.new("RGB", (8, 6), (red, 0, 0)).save(folder / pattern.format(number))


def builder(tmp_path: Path, name: str, **settings: Any) -> VideoSetsBuilder:
    return VideoSetsBuilder(
        config_name="triplets",
        subset=name,
        local=str(tmp_path / "hub"),
        cache_dir=str(tmp_path / "cache"),
        **settings,
    )


def shape(content: list[dict[str, Any]]) -> Shape:
    seen: Shape = []
    for part in content:
        if part["type"] == "text":
            seen.append(part["text"])
        elif part["type"] == "image":
            seen.append(part["image"].getpixel((0, 0))[0])
        else:
            seen.append([frame.getpixel((0, 0))[0] for frame in part["video"]])
    return seen


def made(tmp_path: Path, out: str = "out") -> tuple[list[Asked], list[Shape], list[dict[str, Any]]]:
    """Reads a written dataset: what is asked, the corpus, and the queries' rows."""
    corpus = {row["id"]: shape(row["content"]) for row in table(tmp_path, "corpus", "test", out)}
    links = {row["query_id"]: row for row in table(tmp_path, "triplets", "test", out)}
    queries = table(tmp_path, "queries", "test", out)
    asked = [
        Asked(
            shape(row["content"]),
            [corpus[one] for one in links[row["id"]]["positive_ids"]],
            [corpus[one] for one in links[row["id"]]["negative_ids"]],
            row["instruction"],
            row["answers"],
            row["options"],
        )
        for row in queries
    ]
    return asked, list(corpus.values()), queries


def labelled(name: str, place: str, labels: tuple[str, str], count: int, instruction: str) -> Case:
    """A classification set that is ranked against its whole label set."""
    return Case(
        name,
        "data/test.jsonl",
        [{"video_id": f"v_{n}", "pos_text": label, "neg_text": ["unused"]} for n, label in enumerate(labels)],
        {f"video_cls/{place}/v_{n}": [10 * n, 10 * n + 5] for n in range(2)},
        [Asked([[10 * n, 10 * n + 5]], [[label]]) for n, label in enumerate(labels)],
        instruction,
        beside=count - 2,
    )


def captioned(
    name: str, file: str, rows: list[dict[str, Any]], names: list[str], instruction: str, **more: Any
) -> Case:
    """A retrieval set of two videos, whose captions are `A one.` and `A two.`."""
    return Case(
        name,
        file,
        rows,
        {f"video_ret/{name}/{one}": [40 * n, 40 * n + 9] for n, one in enumerate(names)},
        [Asked([text], [[[40 * n, 40 * n + 9]]]) for n, text in enumerate(("A one.", "A two."))],
        instruction,
        beside=0,
        **more,
    )


CLASSIFICATION = [
    labelled("K700", "K700", ("archery", "luge"), 700, "Recognize the category of the video content."),
    labelled(
        "HMDB51", "HMDB51", ("wave", "ride_bike"), 51,
        "What actions or objects interactions are the person in the video doing?",
    ),
    labelled(
        "UCF101", "UCF101", ("GolfSwing", "Biking"), 101,
        "What activities or sports are being performed by the person in the video?",
    ),
    labelled(
        "Breakfast", "Breakfast", ("tea", "friedegg"), 10,
        "Recognize the breakfast type that the person is cooking in the video.",
    ),
    Case(
        "SmthSmthV2", "data/test.jsonl",
        [
            {"video_id": 174, "pos_text": "Closing something", "neg_text": ["Opening something", "Closing something"]},
            {"video_id": 12, "pos_text": "Bending something", "neg_text": ["Bending something", "Hiding something"]},
        ],
        {"video_cls/SSv2/174": [1, 2], "video_cls/SSv2/12": [3]},
        [
            Asked([[1, 2]], [["Closing something"]], [["Opening something"]]),
            Asked([[3]], [["Bending something"]], [["Hiding something"]]),
        ],
        "What actions or object interactions are being performed by the person in the video?",
    ),
]  # fmt: skip

QUESTIONS = [
    Case(
        "Video-MME", "videomme/test-00000-of-00001.parquet",
        [
            {
                "videoID": "fFjv93ACGo8", "question_id": "001-1", "question": "What is it?", "answer": "C",
                "options": ["A. Apples.", "B. Mr. Bean.", "C. Candles.", "D. 2.5 km."],
            }
        ],
        {"video_qa/Video-MME/fFjv93ACGo8": [7, 8]},
        [
            Asked(
                [[7, 8], "What is it?\nA. Apples.\nB. Mr. Bean.\nC. Candles.\nD. 2.5 km."],
                [["Candles"]], [["Apples"], ["Mr. Bean"], ["2.5 km"]],
                answers=["Candles"], options=["Apples", "Mr. Bean", "Candles", "2.5 km"],
            )
        ],
        ANSWER,
    ),
    Case(
        "NExTQA", "MC/test-00000-of-00001.parquet",
        [
            {
                "video": 4010069381, "question": "why does he run", "answer": 3, "qid": 0, "type": "CW",
                **{f"a{n}": text for n, text in enumerate(("dance", "play", "hide", "catch a dog", "rain"))},
            }
        ],
        {"video_qa/NExTQA/4010069381": [9]},
        [
            Asked(
                [[9], "why does he run\nOptions:\n(A) dance\n(B) play\n(C) hide\n(D) catch a dog\n(E) rain"],
                [["catch a dog"]], [["dance"], ["play"], ["hide"], ["rain"]],
                answers=["catch a dog"], options=["dance", "play", "hide", "catch a dog", "rain"],
            )
        ],
        ANSWER, config="MC",
    ),
    Case(
        "EgoSchema", "Subset/test-00000-of-00001.parquet",
        [
            {
                "video_idx": "001934bb-81bd", "question_idx": "1", "question": "What does c do?", "answer": "1",
                "option": ["A. C cooks.", "B. C cleans. Then C rests.", "C. C reads."],
            }
        ],
        {"video_qa/EgoSchema/001934bb-81bd": [4]},
        [
            Asked(
                [[4], "What does c do?A. C cooks. B. C cleans. Then C rests. C. C reads."],
                [["C cleans. Then C rests"]], [["C cooks"], ["C reads"]],
                answers=["C cleans. Then C rests"], options=["C cooks", "C cleans. Then C rests", "C reads"],
            )
        ],
        ANSWER, config="Subset",
    ),
    Case(
        "ActivityNetQA", "data/test-00000-of-00001.parquet",
        [
            {"video_name": "1QIUV7WYKXg", "question": "is he outdoors", "answer": answer, "question_id": f"q_{answer}"}
            for answer in ("yes", "no", "a horse")
        ],
        {"video_qa/ActivityNetQA/v_1QIUV7WYKXg": [3, 5]},
        [
            Asked(
                [[3, 5], "is he outdoors? (A) yes; (B) no."], [[right]], [[wrong]],
                answers=[right], options=["yes", "no"],
            )
            for right, wrong in (("yes", "no"), ("no", "yes"))
        ],
        ANSWER,
    ),
]  # fmt: skip

RETRIEVAL = [
    captioned(
        "MSR-VTT", "msrvtt_test_1k.json",
        [
            {"video_id": f"video702{n}", "video": f"video702{n}.mp4", "caption": caption, "category": 9}
            for n, caption in enumerate(("A one.", "A two."))
        ],
        ["video7020", "video7021"], "Find a video that contains the following visual content:", config="test_1k",
    ),
    captioned(
        "MSVD", "msvd_test.json",
        [
            {"video_id": name, "video": f"{name}.avi", "caption": captions}
            for name, captions in {"-4wsu_5_15": ["A one.", "no"], "0bSz_1_9": ["A two.", "never"]}.items()
        ],
        ["-4wsu_5_15", "0bSz_1_9"], "Find the video snippet that corresponds to the given summary:",
    ),
    captioned(
        "DiDeMo", "didemo_test.json",
        [
            {"video": "didemo/56137192@N00_2578.mov", "caption": "A one."},
            {"video": "didemo/12090392@N02_13.1.avi", "caption": "A two."},
        ],
        ["56137192@N00_2578", "12090392@N02_13.1"], "Find a video that includes the following described scenes:",
    ),
    captioned(
        "VATEX", "vatex_test/test-00000-of-00001.parquet",
        [{"videoID": "Ptf_0_10", "enCap": ["A one.", "no"]}, {"videoID": "Qtf_1_11", "enCap": ["A two."]}],
        ["Ptf_0_10", "Qtf_1_11"], "Select a video that fits the description provided:",
    ),
    captioned(
        "YouCook2", "data/val-00000-of-00001.parquet",
        [
            {"id": f"xHr8X2Wpmno_{n}", "video_path": f"YouCookIIVideos/val/x_{n}.mp4", "sentence": sentence}
            for n, sentence in enumerate(("A one.", "A two."))
        ],
        ["xHr8X2Wpmno_0", "xHr8X2Wpmno_1"],
        "Find a video that demonstrates the following action while making a recipe:", split="val",
    ),
]  # fmt: skip


def moments(name: str, place: str) -> Case:
    """A set whose candidates are the folders beside the query's."""
    root = f"video_mret/{place}"
    return Case(
        name,
        "data/test-00000-of-00001.parquet",
        [{"query": f"Scene {n}.", "video_path": f"videos/val/bP5K_{n}.0_8.0.mp4"} for n in range(2)],
        {
            f"{root}/bP5K_{n}.0_8.0/{clip}": [100 * n + red]
            for n in range(2)
            for clip, red in {"query": 1, "positive_0": 2, "negative_10": 4, "negative_2": 3}.items()
        },
        [
            Asked([[100 * n + 1], f"Scene {n}."], [[[100 * n + 2]]], [[[100 * n + 3]], [[100 * n + 4]]])
            for n in range(2)
        ],
        IN_VIDEO,
    )


MOMENTS = [
    moments("QVHighlight", "QVHighlight"),
    moments("Charades-STA", "Charades_STA"),
    moments("Charades-STA", "Charades-STA"),
    Case(
        "MomentSeeker", "data/test-00000-of-00001.parquet",
        [
            {
                "query": "Where is it?", "input_frames": beside,
                "positive_frames": [{"output_path": f"videos/ego/19_{t}.00_9.00.mp4", "time": t} for t in (1, 2)],
                "negative_frames": [{"output_path": "videos/ego/20_3.00_9.00.mp4", "time": 3}],
            }
            for beside in ("", "images/ego/7.jpg", "videos/ego/5_0.50_1.00.mp4")
        ],
        {
            "video_mret/MomentSeeker/video_frames/videos_ego_19_1.00_9.00": [1],
            "video_mret/MomentSeeker/video_frames/videos_ego_19_2.00_9.00": [2],
            "video_mret/MomentSeeker/video_frames/videos_ego_20_3.00_9.00": [3],
            "video_mret/MomentSeeker/video_frames/videos_ego_5_0.50_1.00": [4, 5],
        },
        [
            Asked(query, [[[1]], [[2]]], [[[3]]], instruction)
            for query, instruction in (
                (["Where is it?"], "Find the clip that corresponds to the given text:"),
                ([0, "Where is it?"], "Select the video clip that aligns with the given text and image:"),
                (
                    [[4, 5], "Where is it?"],
                    "Find the clip that corresponds to the given sentence and video segment:",
                ),
            )
        ],
        "",
    ),
]  # fmt: skip

CASES = [*CLASSIFICATION, *QUESTIONS, *RETRIEVAL, *MOMENTS]


def seeker_image(root: Path) -> None:
    folder = root / "hub/TIGER-Lab/MMEB-V2/video-tasks/frames/video_mret/MomentSeeker/query_images/ego"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 6), (0, 0, 0)).save(folder / "7.jpg")


def case(name: str) -> Case:
    return next(one for one in CASES if one.name == name)


class TestSets:
    def test_there_are_the_18_of_the_benchmark(self) -> None:
        assert list(SETS) == [name for group in GROUPS if group.modality == "video" for name in group.sets]
        assert len(SETS) == 18 == len({one.repository for one in SETS.values()})
        assert {one.name for one in CASES} | {"MVBench"} == set(SETS)
        sizes = {name: len(one.labels.split()) for name, one in SETS.items() if one.labels}
        assert sizes == {"K700": 700, "HMDB51": 51, "UCF101": 101, "Breakfast": 10}
        assert all(len(set(one.labels.split())) == len(one.labels.split()) for one in SETS.values())

    @pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.name}-{next(iter(one.frames)).split('/')[1]}")
    def test_rows_become_queries_with_their_candidates(self, tmp_path: Path, one: Case) -> None:
        one.upstream(tmp_path)
        if one.name == "MomentSeeker":  # an image beside the folders of frames
            seeker_image(tmp_path)
        building = builder(tmp_path, one.name)
        building.write(tmp_path / "out")
        asked, corpus, queries = made(tmp_path)
        assert asked == [replace(row, instruction=row.instruction or one.instruction) for row in one.asked]
        assert {(row["task"], row["source"]) for row in queries} == {(group_of(one.name).task, one.name)}
        named = [content for row in asked for content in (*row.positives, *row.negatives)]
        distinct = {json.dumps(content) for content in named}
        assert len(corpus) == len(distinct) + (one.beside or 0)
        assert distinct <= {json.dumps(content) for content in corpus}
        answerless = {"question: its answer is none of the choices": 1} if one.name == "ActivityNetQA" else {}
        assert dict(building.dropped) == answerless

    def test_mvbench_has_twenty_configs_with_folders_of_their_own(self, tmp_path: Path) -> None:
        repo = tmp_path / "hub" / "VLM2Vec" / "MVBench"
        configs = list(video_set("MVBench").configs)
        assert len(configs) == 20
        for number, config in enumerate(configs):
            row = {"video": "1.mp4", "question": f"How many, {config}?", "candidates": ["3", "4"], "answer": "4"}
            stored(repo / "json" / f"{config}.json", [row])
            pictures(tmp_path / f"MMEB-V2/video-tasks/frames/video_qa/MVBench/{config}/1.mp4", [number])
        card(repo, {config: {"train": f"json/{config}.json"} for config in configs})
        builder(tmp_path, "MVBench", videos=str(tmp_path / "MMEB-V2")).write(tmp_path / "out")
        asked, corpus, queries = made(tmp_path)
        assert asked == [
            Asked(
                [[number], f"How many, {config}?\nOptions:\n(A) 3\n(B) 4"],
                [["(B) 4"]], [["(A) 3"]], ANSWER, ["(B) 4"], ["(A) 3", "(B) 4"],
            )
            for number, config in enumerate(configs)
        ]  # fmt: skip
        assert len(corpus) == 2 and {row["task"] for row in queries} == {"video question answering"}

    def test_only_the_first_thousand_of_something_something_are_judged(self, tmp_path: Path) -> None:
        one = case("SmthSmthV2")
        one.upstream(tmp_path)
        rows = [{**one.rows[0], "pos_text": f"Label {n}", "neg_text": [f"Label {n}", "No"]} for n in range(1003)]
        stored(tmp_path / "hub" / "VLM2Vec" / "SmthSmthV2" / one.file, rows)
        builder(tmp_path, one.name).write(tmp_path / "out")
        queries = table(tmp_path, "queries", "test")
        assert len(queries) == 1000 and len(table(tmp_path, "corpus", "test")) == 1001


class TestFrames:
    def test_frames_are_spread_evenly_from_first_to_last_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        one = case("Breakfast")
        one.upstream(tmp_path)
        for number in range(2):
            folder = tmp_path / "own" / f"v_{number}"
            pictures(folder, [100 * number + red for red in range(64)], "{}.png")
            (folder / "notes.txt").write_text("no frame")
        own = str(tmp_path / "own")
        builder(tmp_path, one.name, videos=own).write(tmp_path / "out")
        assert [row.query for row in made(tmp_path)[0]] == [
            [[100 * number + red for red in (0, 9, 18, 27, 36, 45, 54, 63)]] for number in range(2)
        ]
        builder(tmp_path, one.name, videos=own, frames=3).write(tmp_path / "three")
        assert [row.query for row in made(tmp_path, "three")[0]] == [[[0, 31, 63]], [[100, 131, 163]]]

    @pytest.mark.parametrize("inner", ["", "video-tasks/frames", "video-tasks/frames/video_ret/VATEX"])
    def test_any_folder_that_holds_the_set_will_do(self, tmp_path: Path, inner: str) -> None:
        one = case("VATEX")
        one.upstream(tmp_path)
        folder = (tmp_path / "hub/TIGER-Lab/MMEB-V2").rename(tmp_path / "frames")
        builder(tmp_path, one.name, videos=str(folder / inner)).write(tmp_path / "out")
        assert [row.positives for row in made(tmp_path)[0]] == [row.positives for row in one.asked]

    def test_files_are_cut_into_frames_where_there_are_none(self, tmp_path: Path) -> None:
        one = case("DiDeMo")
        one.upstream(tmp_path)
        levels = [np.full((48, 64, 3), 2 * number, np.uint8) for number in range(100)]
        folder = tmp_path / "raw" / "video-tasks" / "videos" / "video_ret" / "DiDeMo"
        folder.mkdir(parents=True)
        (folder / "56137192@N00_2578.mov").write_bytes(encode(levels, rate=20))
        (folder / "12090392@N02_13.1.avi").write_bytes(b"no video")
        building = builder(tmp_path, one.name, videos=str(tmp_path / "raw"))
        building.write(tmp_path / "out")
        [asked], corpus, _ = made(tmp_path)
        [[video]] = asked.positives
        assert dict(building.dropped) == {"video: cannot be read": 1} and corpus == [[video]]
        assert len(video) == 8 and video == sorted(video) and video[0] < 8 and video[-1] > 185

    def test_what_is_missing_is_counted(self, tmp_path: Path) -> None:
        one = case("QVHighlight")
        names = ("gone", "no_frame", "no_positive", "no_clip", "../outside")
        one = Case(
            one.name, one.file,
            [*one.rows, *({"query": "Where?", "video_path": f"{name}.mp4"} for name in names)],
            {
                **one.frames,
                **{f"video_mret/QVHighlight/{name}/query": [1] for name in ("no_positive", "no_clip")},
                "video_mret/QVHighlight/no_frame/query": [],
                "video_mret/QVHighlight/no_positive/negative_1": [2],
                "video_mret/QVHighlight/no_clip/positive_0": [3],
                "video_mret/QVHighlight/no_clip/negative_1": [],
            },
            one.asked, one.instruction,
        )  # fmt: skip
        one.upstream(tmp_path)
        building = builder(tmp_path, one.name)
        building.write(tmp_path / "out")
        assert len(table(tmp_path, "queries", "test")) == 2
        assert dict(building.dropped) == {
            "video: is missing": 2,
            "video: has no frame": 1,
            "query: no clip is right for it": 1,
            "clip: has no frame": 1,
        }

    def test_missing_clips_and_images_of_moments_are_counted(self, tmp_path: Path) -> None:
        one = case("MomentSeeker")
        one.upstream(tmp_path)
        building = builder(tmp_path, one.name)
        building.write(tmp_path / "out")
        assert dict(building.dropped) == {"image: is missing": 1}
        seeker_image(tmp_path)
        rows = [
            {**row, "negative_frames": [{"output_path": "videos/ego/gone.mp4", "time": 1}]} for row in one.rows[:2]
        ]
        stored(tmp_path / "hub" / "VLM2Vec" / one.name / one.file, [*rows, one.rows[2]])
        building = builder(tmp_path, one.name)
        building.write(tmp_path / "again")
        assert dict(building.dropped) == {"clip: is missing": 2} and len(made(tmp_path, "again")[0]) == 1

    def test_a_path_that_leaves_the_folder_is_missing(self, tmp_path: Path) -> None:
        one = case("VATEX")
        one.upstream(tmp_path)
        secret = tmp_path / "hub/TIGER-Lab/MMEB-V2/video-tasks/frames/video_ret/secret"
        pictures(secret, [1])
        rows = [one.rows[0], *({**one.rows[0], "videoID": name} for name in ("../secret", str(secret)))]
        stored(tmp_path / "hub" / "VLM2Vec" / "VATEX" / one.file, rows)
        building = builder(tmp_path, one.name)
        building.write(tmp_path / "out")
        assert dict(building.dropped) == {"video: is missing": 2}


class TestSettings:
    def test_a_limit_keeps_the_whole_corpus(self, tmp_path: Path) -> None:
        case("MSVD").upstream(tmp_path)
        done = build(tmp_path, "mmeb-video", "--subset", "MSVD", "--limit", 1)
        assert done.exit_code == 0, done.output
        asked, corpus, _ = made(tmp_path)
        assert len(asked) == 1 and corpus == [[[0, 9]], [[40, 49]]]

    def test_another_layout_names_the_column(self, tmp_path: Path) -> None:
        one = case("YouCook2")
        one.upstream(tmp_path)
        rows = [{"id": "x_0", "video_path": "x.mp4", "caption": "A one."}]
        stored(tmp_path / "hub" / "lmms-lab" / "YouCook2" / one.file, rows)
        message = r"lmms-lab/YouCook2 at local folder, default/val: the column 'sentence' is missing"
        with pytest.raises(LayoutError, match=message):
            builder(tmp_path, one.name).write(tmp_path / "out")

    def test_wrong_settings_are_one_line(self, tmp_path: Path) -> None:
        case("VATEX").upstream(tmp_path)
        done = build(tmp_path, "mmeb-video", "--subset", "WebVid")
        assert done.exit_code == 1 and "found subset=WebVid, expected one of K700, SmthSmthV2, HMDB51" in done.output
        done = build(tmp_path, "mmeb-video", "--subset", "VATEX", "--frames", 0)
        assert done.exit_code == 1 and "found frames=0, expected at least 1" in done.output
        done = build(tmp_path, "mmeb-video", "--subset", "VATEX", "--videos", tmp_path / "nowhere")
        assert done.exit_code == 1 and "nowhere: there is no such folder: pass --videos" in done.output
        with pytest.raises(
            ValueError, match="no folder of videos is named: pass --videos with the unpacked frames of"
        ):
            VideoSetsBuilder(config_name="corpus", subset="VATEX", cache_dir=str(tmp_path)).write(tmp_path / "out")
