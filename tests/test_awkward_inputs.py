"""Awkward inputs through `encode`: each gives a right answer or one clear error, and harms nobody beside it."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from nyx_hf.data_builders.schema import FEATURES
from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.modeling.modeling_nyx import NyxModel
from tests.fresh import run_fresh
from tests.pictures import noise_image


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large and has next to nothing behind it."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", body), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


WHOLE = png(noise_image(120, 90, 5))
BAD: dict[str, tuple[Any, str]] = {
    "empty dict": ({}, "an empty content: give at least one text, image or video"),
    "empty content": ({"content": []}, "an empty content: give at least one"),
    "empty tuple": ((), "an empty content: give at least one"),
    "nothing": (None, "found None, expected text, an image"),
    "a number": (7, "found int 7, expected text, an image"),
    "unknown part": ({"content": [{"type": "audio", "audio": b"x"}]}, "audio"),
    "a part of None alone": ({"content": [{"type": "image", "image": None, "text": None}]}, "image"),
    "tag beyond the images": (
        {"text": "a <image 2> b", "image": noise_image(30, 30, 1)},
        "the tag <image 2> and 1 image",
    ),
    "tag left out": (
        {"text": "<image 1>", "image": [noise_image(30, 30, n) for n in (1, 2)]},
        "none for image 2 of 2",
    ),
    "no image": ({"image": b"no image at all"}, "expected an image file in PNG, JPEG"),
    "cut image": ({"image": WHOLE[: len(WHOLE) // 2]}, "cannot be read as an image"),
    "sixty thousand squared": ({"image": png_header(60_000, 60_000)}, "over the limit of 89,478,485 pixels"),
    "a long strip": ((noise_image(3000, 10, 1), "x"), "3000x10 pixels, expected sides that differ at most 200-fold"),
    "an empty array": ({"image": np.zeros((0, 4, 3), np.uint8)}, "expected at least one pixel"),
    "a web address": ({"image": "https://example.org/cat.png"}, "URLs are off: pass allow_urls=True"),
    "no such file": ({"image": "no/such/cat.png"}, "there is no file at 'no/such/cat.png'"),
    "no such path": (Path("no/such/dog.png"), "there is no file at 'no/such/dog.png'"),
    "video without frames": ({"video": []}, "video"),
    "video of broken frames": ({"video": [WHOLE, b"broken"]}, "frame 1"),
    "frames of two sizes": ({"video": [noise_image(30, 30, 1), noise_image(40, 30, 1)]}, "size"),
}
GOOD: list[Any] = [
    "a fox",
    noise_image(90, 40, 2),
    ("a ", noise_image(33, 71, 3), " b"),
    {"text": "<image 2> beside <image 1>", "image": [noise_image(40, 40, 4), noise_image(56, 28, 5)]},
    {"video": [noise_image(40, 40, seed) for seed in range(3)]},
]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_item_is_named_by_its_place(tiny_model: NyxModel, name: str) -> None:
    item, words = BAD[name]
    with pytest.raises(ContentError) as caught:
        tiny_model.encode(["fine", item, "fine too"])
    text = str(caught.value)
    assert caught.value.index == 1 and text.startswith("item 1") and words in text
    assert "\n" not in text and len(text) < 700
    assert np.isfinite(tiny_model.encode("fine")).all()  # and the model is as it was


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_the_rest_of_the_batch_is_unharmed(tiny_model: NyxModel, batch_size: int) -> None:
    """Bad items among good ones: each good one has the vector it has alone."""
    items: list[Any] = []
    places = []
    for number, (bad, _) in enumerate(BAD.values()):
        items.append(bad)
        if number % 3 == 0 and len(places) < len(GOOD):
            places.append(len(items))
            items.append(GOOD[len(places) - 1])
    assert len(places) == len(GOOD)
    found = tiny_model.encode(items, errors="skip", batch_size=batch_size)
    assert found.indices == places
    assert [failure.index for failure in found.failures] == sorted(set(range(len(items))) - set(places))
    assert all(str(failure.error).startswith(f"item {failure.index}") for failure in found.failures)
    alone = np.stack([tiny_model.encode(item) for item in GOOD])
    assert np.abs(found.embeddings - alone).max() <= 1e-5
    assert min(np.abs(alone[i] - alone[j]).max() for i in range(len(alone)) for j in range(i)) > 1e-3


def test_nothing_but_bad_items(tiny_model: NyxModel) -> None:
    found = tiny_model.encode([bad for bad, _ in BAD.values()], errors="skip")
    assert found.embeddings.shape == (0, 64) and found.indices == [] and len(found.failures) == len(BAD)
    assert tiny_model.encode([]).shape == (0, 64)


def same(model: NyxModel, first: Any, second: Any) -> bool:
    vectors = model.encode(first), model.encode(second)
    assert all(vector.shape == (64,) and abs(np.linalg.norm(vector) - 1) < 1e-5 for vector in vectors)
    return bool(np.abs(vectors[0] - vectors[1]).max() <= 1e-5)


def test_odd_texts(tiny_model: NyxModel) -> None:
    assert same(tiny_model, "", {"text": ""}) and not same(tiny_model, "", "a")
    assert same(tiny_model, "half \ud800 a pair \udfff", "half \ufffd a pair \ufffd")
    assert not same(tiny_model, "half \ud800 a pair", "half  a pair")
    assert same(tiny_model, "\ud83d\ude80", "\ufffd\ufffd")  # a pair in two halves is no rocket
    assert not same(tiny_model, "a\0b", "ab")
    assert same(tiny_model, "<|image_pad|> and <image 1>", ("<|image_pad|>", " and <image 1>"))  # no tokens, no tags


def test_ten_thousand_tokens(tiny_model: NyxModel) -> None:
    """Over max_length only the tail is lost: what stands there cannot matter, what stands before it does."""
    limit = tiny_model.settings.max_length
    text = "zero one two three four " * 2500
    assert len(tiny_model.processor.tokenizer(text)["input_ids"]) >= 10_000 > limit
    plans = [tiny_model.processor.plan(one) for one in (text, text + "five", "five" + text)]
    assert [len(plan) for plan in plans] == [limit] * 3
    assert plans[0].tokens.ids == plans[1].tokens.ids != plans[2].tokens.ids
    assert plans[0].tokens.ids[-1] == tiny_model.processor.tokenizer.eos_token_id  # what is pooled
    assert np.isfinite(tiny_model.encode(text)).all()


def test_rows_from_arrow(tiny_model: NyxModel) -> None:
    """Arrow gives every part all keys, None where it has nothing; rows with and without pictures."""
    image = noise_image(40, 30, 6)
    contents = [
        [{"type": "text", "text": "see "}, {"type": "image", "image": image}, {"type": "text", "text": " end"}],
        [{"type": "text", "text": "words"}],
        [{"type": "video", "video": [noise_image(40, 40, 1), noise_image(40, 40, 2)]}],
    ]
    rows = datasets.Dataset.from_list(
        [{"id": str(n), "content": parts} for n, parts in enumerate(contents)], features=FEATURES["corpus"]
    )
    assert rows[1]["content"][0] == {"type": "text", "text": "words", "image": None, "video": None}
    plain = [("see ", image, " end"), "words", {"video": [noise_image(40, 40, 1), noise_image(40, 40, 2)]}]
    wanted = tiny_model.encode(plain)
    undecoded = rows.cast_column("content", decoded_off(rows.features["content"]))
    for found in (list(rows), rows, undecoded):
        assert np.abs(tiny_model.encode(found) - wanted).max() <= 1e-6


def decoded_off(feature: Any) -> Any:
    """The same feature with images left as bytes."""
    part = dict(feature.feature) | {"image": datasets.Image(decode=False)}
    return datasets.List(part | {"video": datasets.List(datasets.Image(decode=False))})


def test_a_large_picture_is_resized_to_the_limit(tiny_model: NyxModel) -> None:
    """4000 x 3000 is legal: it becomes as many visual tokens as the model's limit allows, in its own shape."""
    picture = noise_image(4000, 3000, 7)
    batch = tiny_model.processor.process([picture])
    _, tall, wide = batch["image_grid_thw"][0].tolist()
    side = tiny_model.processor.image_processor.patch_size
    limit = dict(tiny_model.processor.image_processor.size)["longest_edge"]
    assert 0.8 * limit < tall * wide * side * side <= limit
    assert wide / tall == pytest.approx(4 / 3, rel=0.1)
    assert int((batch["mm_token_type_ids"] == 1).sum()) == tall * wide // 4
    assert same(tiny_model, picture, png(picture))
    assert not same(tiny_model, picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (1990, 10)])
def test_odd_shapes_that_are_legal(tiny_model: NyxModel, shape: tuple[int, int]) -> None:
    picture = noise_image(*shape, seed=8)
    assert same(tiny_model, picture, png(picture))
    assert not same(tiny_model, picture, Image.new("RGB", shape, "white"))


@pytest.mark.parametrize("form", [lambda image: image.convert("CMYK"), lambda image: image.convert("L"), np.asarray])
def test_odd_colours(tiny_model: NyxModel, form: Callable[[Image.Image], Any]) -> None:
    grey = noise_image(60, 40, 9).convert("L").convert("RGB")
    vectors = tiny_model.encode(form(grey)), tiny_model.encode(grey)
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-3


@pytest.mark.stock
def test_torchvision_changes_no_pixel(tiny_model: NyxModel, tiny_folder: Path, tmp_path: Path) -> None:
    """Where torchvision can be imported, transformers prefers its backend: ours stays with PIL."""
    items = []
    for number, shape in enumerate([(90, 40), (333, 71), (28, 28), (1000, 900)]):
        path = tmp_path / f"{number}.png"
        noise_image(*shape, seed=number).save(path)
        items.append(path)
    found = run_fresh(
        """
from pathlib import Path
from transformers import AutoImageProcessor, AutoModel
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
items = [Path(name) for name in sys.argv[2:]]
torch.save(model.processor.process(items)["pixel_values"], items[0].parent / "pixels.pt")
stock = AutoImageProcessor.from_pretrained(sys.argv[1])
report(vectors=model.encode(items).tolist(), ours=type(model.processor.image_processor).__name__,
       stock=type(stock).__name__)
""",
        tiny_folder,
        *items,
        stock=True,
    )
    assert found["ours"] == type(tiny_model.processor.image_processor).__name__ != found["stock"]
    assert torch.equal(torch.load(tmp_path / "pixels.pt"), tiny_model.processor.process(items)["pixel_values"])
    assert np.array_equal(np.asarray(found["vectors"], dtype=np.float32), tiny_model.encode(items))
