"""A few rows of each of U-MARVEL's unseen sets, as LamRA's evaluation lays them out, and what is made of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from test_public_sets import card
from test_video_sets import Asked, Shape, pictures

from nyx_hf.data_builders.zero_shot_tasks import LAMRA, TASKS

CHANGED = "I'm looking for a similar everyday image with the described changes."
FASHION = "mbeir_images/fashioniq_images"


def photo(path: Path, red: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (red, 255 - red, 90)).save(path, format="PNG")


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def upstream(root: Path) -> Path:
    """A few rows of every set, in LamRA's layout; an image is told by its red."""
    hub = root / "hub"
    repo = hub / LAMRA
    for number in range(2):
        photo(repo / f"sharegpt4v/val_data/sam/{number}.jpg", number)
        photo(repo / f"Urban1k/image/{number + 1}.jpg", 10 + number)
        caption = repo / f"Urban1k/caption/{number + 1}.txt"
        caption.parent.mkdir(parents=True, exist_ok=True)
        caption.write_text(f" Street {number}. \nMore.\n")
        photo(repo / f"flickr/images/{number}.png", 20 + number)
        photo(repo / f"visdial/VisualDialog_val2018/VisualDialog_val2018_{number + 7:012d}.jpg", 40 + number)
        photo(repo / f"ccneg/cc3m_0/{number}.jpg", 60 + number)
        photo(repo / f"sugar-crepe/images/val2017/{number}.jpg", 70 + number)
    put(
        repo / "sharegpt4v/datas_for_validation.json",
        [{"image_name": f"sam/{number}.jpg", "caption": f"Long {number}."} for number in range(2)],
    )
    put(repo / "flickr/flickr_text.json", [f"Dog {number // 5}, {number % 5}." for number in range(10)])
    _circo(repo / "circo")
    _genecis(repo / "genecis")
    dialogs = [
        {"image_id": number + 7, "caption": "No.", "dialog": [{"question": number, "answer": 1 - number}] * 2}
        for number in range(2)
    ]
    visdial = {"questions": ["is it red", "is it old"], "answers": ["yes", "no"], "dialogs": dialogs}
    put(repo / "visdial/visdial_1.0_val.json", {"data": visdial})
    _fashion(repo / "multiturnfashion", hub / "TIGER-Lab/M-BEIR" / FASHION)
    rows = [
        {"json": {"caption": f"Cat {number}, black."}, "sop_data": {"negative-prompt": f"No, cat {number}."}}
        for number in range(2)
    ]
    paths = [f"/workspace/datasets/cc3m/cc3m_0/{number}.jpg" for number in range(2)]
    torch.save({"annotations": rows, "image_paths": paths}, repo / "ccneg/ccneg_preprocessed.pt")
    crepe = {
        str(number): {"filename": f"{number}.jpg", "caption": f"Man {number}.", "negative_caption": f"Tree {number}."}
        for number in range(2)
    }
    for task in TASKS:
        if task.layout == "sugarcrepe":
            put(repo / f"sugar-crepe/data/{task.part}.json", crepe)
    _videos(hub)
    return hub


def _circo(folder: Path) -> None:
    for number in range(12):
        photo(folder / f"images/unlabeled2017/{number:012d}.jpg", 20 * number)
    images = [{"id": number, "file_name": f"{number:012d}.jpg"} for number in range(12)]
    put(folder / "annotations/image_info_unlabeled2017.json", {"images": images})
    rows = [
        {"id": n, "reference_img_id": n, "relative_caption": f"is red, {n}", "gt_img_ids": right}
        for n, right in enumerate([[1, 2, 5], [4], [8, 11], [9]])
    ]
    put(folder / "annotations/val.json", rows)


def _genecis(folder: Path) -> None:
    for number in range(5):
        photo(folder / f"val2017/{number:012d}.jpg", 120 + number)
    ids = [{"val_image_id": number} for number in range(5)]
    row = {"reference": ids[0], "target": ids[3], "gallery": [ids[1], ids[2], ids[4]], "condition": "dog"}
    for part in ("change_object", "focus_object"):
        put(folder / f"annotations/{part}.json", [row])
    for part in ("change_attribute", "focus_attribute"):
        rows = []
        for number in range(2):
            for place in range(4):  # crops of one photo
                photo(folder / f"vg/{part}/9_{number}_{place}.jpg", 140 + 10 * number + place)
            crop = {"image_id": 9}
            rows.append({"reference": crop, "target": crop, "gallery": [crop, crop], "condition": "blue"})
        put(folder / f"annotations/{part}.json", rows)


def _fashion(folder: Path, images: Path) -> None:
    for number in range(12):
        photo(images / f"B{number}.jpg", 170 + 5 * number)
    rows = [
        {
            "target": ["x", f"B{3 * number}"],
            "reference": [["x", ["is longer", "", "has dots"], "B1"], ["x", ["is blue"], f"B{number}"]],
        }
        for number in range(3)
    ]
    put(folder / "data/all.val.json", rows)
    put(folder / "image_splits/split.all.val.json", [f"B{number}" for number in range(12)])


def _videos(hub: Path) -> None:
    frames = hub / "TIGER-Lab/MMEB-V2/video-tasks/frames/video_ret"
    for name, config, captions in (("MSR-VTT", "test_1k", "A one."), ("MSVD", "default", ["A one.", "It is one."])):
        rows = [{"video_id": "v7", "video": "v7.mp4", "caption": captions}]
        put(hub / "VLM2Vec" / name / "test.json", rows)
        card(hub / "VLM2Vec" / name, {config: {"test": "test.json"}})
        pictures(frames / name / "v7", list(range(1, 31)))


Expected = tuple[list[tuple[Shape, list[Shape], list[Shape], str | None]], int]

TO_IMAGE = "Find me an everyday image that matches the given caption."
TO_TEXT = "Find an image caption describing the following everyday image."
TO_VIDEO = "Find an everyday video match with caption."
TWELVE = [int(place) + 1 for place in np.linspace(0, 29, 12).astype(int)]
# of each task its queries with right and wrong documents, and the size of its corpus
EXPECTED: dict[str, Expected] = {
    "sharegpt4v-t2i": ([([f"Long {n}."], [[n]], [], TO_IMAGE) for n in range(2)], 2),
    "sharegpt4v-i2t": ([([n], [[f"Long {n}."]], [], TO_TEXT) for n in range(2)], 2),
    "urban1k-t2i": ([([f"Street {n}."], [[10 + n]], [], TO_IMAGE) for n in range(2)], 2),
    "urban1k-i2t": ([([10 + n], [[f"Street {n}."]], [], TO_TEXT) for n in range(2)], 2),
    "flickr30k-t2i": ([([f"Dog {n // 5}, {n % 5}."], [[20 + n // 5]], [], TO_IMAGE) for n in range(10)], 2),
    "flickr30k-i2t": ([([20 + n], [[f"Dog {n}, {k}."] for k in range(5)], [], TO_TEXT) for n in range(2)], 10),
    "circo": (
        [
            ([20 * n, f"is red, {n}"], [[20 * one] for one in right], [], CHANGED)
            for n, right in enumerate([[1, 2, 5], [4], [8, 11], [9]])
        ],
        12,
    ),
    "genecis-change-object": ([([120, "dog"], [[123]], [[121], [122], [124]], CHANGED)], 4),
    "genecis-focus-object": ([([120, "dog"], [[123]], [[121], [122], [124]], CHANGED)], 4),
    "genecis-change-attribute": (
        [([140 + n, "blue"], [[141 + n]], [[142 + n], [143 + n]], CHANGED) for n in (0, 10)],
        6,
    ),
    "genecis-focus-attribute": (
        [
            (
                [140 + n, "blue"],
                [[141 + n]],
                [[142 + n], [143 + n]],
                "I'm looking for an image with the same attributes as described.",
            )
            for n in (0, 10)
        ],
        6,
    ),
    "visdial": (
        [
            (
                ["Q: is it red? A: no. Q: is it red? A: no."],
                [[40]],
                [],
                "Find me an everyday image that matches the given dialog.",
            ),
            (
                ["Q: is it old? A: yes. Q: is it old? A: yes."],
                [[41]],
                [],
                "Find me an everyday image that matches the given dialog.",
            ),
        ],
        2,
    ),
    "fashioniq-rounds": (
        [
            (
                [175, "is longer and has dots", 170 + 5 * n, "is blue"],
                [[170 + 15 * n]],
                [],
                "Find me a similar fashion image based on the following multi-round modifications.",
            )
            for n in range(3)
        ],
        12,
    ),
    "cc-neg": ([([60 + n], [[f"Cat {n}, black."]], [[f"No cat {n}."]], None) for n in range(2)], 4),
    "msr-vtt": ([(["A one."], [[TWELVE]], [], TO_VIDEO)], 1),
    "msvd": ([([said], [[TWELVE]], [], TO_VIDEO) for said in ("A one.", "It is one.")], 1),
}
CREPE: Expected = ([([70 + n], [[f"Man {n}."]], [[f"Tree {n}."]], None) for n in range(2)], 4)


def expected(task: str) -> tuple[list[Asked], int]:
    """What a task's rows must become: queries with right and wrong documents, and the size of its corpus."""
    asked, documents = EXPECTED.get(task, CREPE)
    return [Asked(*one) for one in asked], documents
