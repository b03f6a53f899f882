"""Every accepted form of an item parses to the same content, and what is none of them to one clear error."""

import io
import pickle
from collections import UserDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nyx_hf.modeling.content_nyx import (
    Content,
    ContentError,
    Part,
    as_batch,
    clean_text,
    content_modalities,
    parse_content,
    to_messages,
)

RED, BLUE = Image.new("RGB", (4, 3), "red"), Image.new("RGB", (4, 3), "blue")
CLIP = [RED, BLUE]
REPEATABLE = settings(derandomize=True, deadline=None)


def text(value: str) -> Part:
    return Part("text", value)


def image(source: Any) -> Part:
    return Part("image", source=source)


def video(source: Any) -> Part:
    return Part("video", source=source)


def typed(part: Part) -> dict[str, Any]:
    return {"type": part.type, part.type: part.text if part.type == "text" else part.source}


# -------------------------------------------------------------------- forms

MIXED = (text("a "), image(RED), text(" b "), image(BLUE), text("c"))
FORMS_OF_MIXED = {
    "tuple": ("a ", RED, " b ", BLUE, "c"),
    "tuple of typed parts": tuple(typed(part) for part in MIXED),
    "tuple with split text": ("a", " ", RED, "", " b ", BLUE, "c", ""),
    "dict with tags": {"text": "a <image 1> b <image 2>c", "image": [RED, BLUE]},
    "dict with tags out of order": {"text": "a <image 2> b <image 1>c", "image": [BLUE, RED]},
    "dict with tags, spaced": {"text": "a <image1> b <image  02 >c", "image": (RED, BLUE)},
    "dict with tags over several texts": {"text": ["a <image 1>", " b ", "<image 2>c"], "image": [RED, BLUE]},
    "row": {"id": "d7", "score": 0.5, "text": "a <image 1> b <image 2>c", "image": [RED, BLUE], "video": None},
    "content": {"content": [typed(part) for part in MIXED]},
    "content row": {"id": "d7", "images": [BLUE], "text": "not this", "content": [typed(part) for part in MIXED]},
    "content from Arrow": {
        "content": [{"type": None, "text": None, "image": None, "video": None} | typed(part) for part in MIXED]
    },
    "content with bare parts": {"content": ["a ", RED, " b ", BLUE, "c"]},
    "messages": [{"role": "user", "content": [typed(part) for part in MIXED]}],
    "messages, several": [
        {"role": "user", "content": "a "},
        {"role": "user", "content": [typed(image(RED))]},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": [{"type": "text", "text": " b ", "image": None}, typed(image(BLUE))]},
        {"role": "user", "content": "c", "name": "someone"},
    ],
    "user dict": UserDict({"content": [typed(part) for part in MIXED]}),
}


@pytest.mark.parametrize("item", FORMS_OF_MIXED.values(), ids=FORMS_OF_MIXED)
def test_every_form_of_one_content_is_equal(item: Any) -> None:
    content = parse_content(item)
    assert content == Content(MIXED)
    assert all(found.source is wanted.source for found, wanted in zip(content.parts, MIXED, strict=True))


def test_equality_of_contents_is_not_vacuous() -> None:
    assert parse_content(("a", RED)) != parse_content((RED, "a"))
    assert parse_content(("a", RED)) != parse_content(("a", BLUE))
    assert parse_content("a") != parse_content("b")
    assert image(np.zeros((2, 2))) != image(np.zeros((2, 2)))  # other objects; the comparison itself must not fail
    assert image(Path("a.png")) == image(Path("a.png")) != image("a.png")
    assert hash(text("a")) == hash(text("a"))
    assert Part("text", "a") != "a"


PNG = b"\x89PNG\r\n\x1a\n rest"
ARRAY, CHANNELS_FIRST, MOVIE = np.zeros((4, 5, 3), np.uint8), torch.zeros(3, 4, 5), np.zeros((2, 4, 5, 3), np.uint8)
BUFFER = io.BytesIO(PNG)
UNDECODED = {"bytes": PNG, "path": None}

SINGLE = {
    "text": ("see <image 1> in photo.png", [text("see <image 1> in photo.png")]),
    "empty text": ("", [text("")]),
    "empty text in a dict": ({"text": ""}, [text("")]),
    "empty text in a tuple": (("", ""), [text("")]),
    "empty text as content": ({"content": ""}, [text("")]),
    "empty text in messages": ([{"role": "user", "content": ""}], [text("")]),
    "white space": (" \n", [text(" \n")]),
    "empty text beside an image": ({"text": "", "image": RED}, [image(RED)]),
    "PIL image": (RED, [image(RED)]),
    "path": (Path("photo.png"), [image(Path("photo.png"))]),
    "path of a video": (Path("clip.MP4"), [video(Path("clip.MP4"))]),
    "bytes": (PNG, [image(PNG)]),
    "file": (BUFFER, [image(BUFFER)]),
    "array": (ARRAY, [image(ARRAY)]),
    "tensor": (CHANNELS_FIRST, [image(CHANNELS_FIRST)]),
    "array of frames": (MOVIE, [video(MOVIE)]),
    "undecoded": (UNDECODED, [image(UNDECODED)]),
    "undecoded in a dict": ({"image": UNDECODED}, [image(UNDECODED)]),
    "undecoded in a typed part": ({"content": [{"type": "image", "image": UNDECODED}]}, [image(UNDECODED)]),
    "media in a tuple": (
        (Path("a.png"), PNG, "b.png", MOVIE),
        [*map(image, (Path("a.png"), PNG)), text("b.png"), video(MOVIE)],
    ),
    "images first": (
        {"text": "t", "video": CLIP, "image": [RED, BLUE]},
        [image(RED), image(BLUE), video(CLIP), text("t")],
    ),
    "videos before tagged text": (
        {"text": "<image 1>t", "video": "clip.mp4", "image": "a.png"},
        [video("clip.mp4"), image("a.png"), text("t")],
    ),
    "tag without images": ({"text": "t <image 1>", "image": None}, [text("t <image 1>")]),
    "tag with an empty list": ({"text": "t <image 1>", "image": []}, [text("t <image 1>")]),
    "tag in typed text": (
        {"content": [typed(text("<image 1>")), typed(image(RED))]},
        [text("<image 1>"), image(RED)],
    ),
    "one image twice": ({"text": "<image 1>=<image 1>", "image": RED}, [image(RED), text("="), image(RED)]),
    "not quite tags": (
        {"text": "<image> <Image 1> <image k>", "image": RED},
        [image(RED), text("<image> <Image 1> <image k>")],
    ),
    "several texts": ({"text": ["a", "b"]}, [text("ab")]),
    "frames are one video": ({"video": CLIP}, [video(CLIP)]),
    "list of videos": ({"video": [CLIP, MOVIE, "b.webm"]}, [video(CLIP), video(MOVIE), video("b.webm")]),
    "frames in a typed part": ({"content": [{"type": "video", "video": CLIP, "image": None}]}, [video(CLIP)]),
    "Arrow's empty lists": ({"content": [{"type": "image", "image": RED, "text": "", "video": []}]}, [image(RED)]),
    "path, url, base64": (
        {
            "content": [
                {"type": "image", "path": "a.png"},
                {"type": "image", "url": "https://x.org/b.png"},
                {"type": "image", "base64": "QUJD"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                {"type": "image_url", "image_url": "c.png"},
                {"type": "video", "path": "d"},
                {"type": "video_url", "video_url": {"url": "https://x.org/e"}},
            ]
        },
        [
            image("a.png"),
            image("https://x.org/b.png"),
            image("data:;base64,QUJD"),
            image("data:image/png;base64,QUJD"),
            image("c.png"),
            video("d"),
            video("https://x.org/e"),
        ],
    ),
    "lone surrogates": ("a\ud800b\udfff", [text("a\ufffdb\ufffd")]),
    "marks of the processor": (("a\ufdd0", "\ufdd1b\ufdd2"), [text("a\ufffd\ufffdb\ufdd2")]),
}


@pytest.mark.parametrize(("item", "parts"), SINGLE.values(), ids=SINGLE)
def test_forms(item: Any, parts: list[Part]) -> None:
    assert parse_content(item) == Content(tuple(parts))


def test_system_messages_are_the_instruction() -> None:
    system = [{"type": "text", "text": "Find it.", "image": None}]
    content = parse_content(
        [
            {"role": "system", "content": "Be \ud800. "},
            {"role": "user", "content": [typed(image(RED))]},
            {"role": "system", "content": system},
        ]
    )
    assert content == Content((image(RED),), "Be \ufffd. Find it.")
    assert parse_content({"role": "user", "content": "t"}) == Content((text("t"),))


def test_parsing_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "absent.png"
    assert parse_content((path, "t")).parts[0].source is path
    assert parse_content({"image": ["http://127.0.0.1:9/x.png", b"no image"]}).parts[1].source == b"no image"


# -------------------------------------------------------------------- round trips

SOURCES = [RED, BLUE, Path("a.png"), PNG, ARRAY]
texts = st.text(max_size=8).map(lambda value: clean_text(value).replace("<", "("))
parts_lists = st.lists(
    st.one_of(
        texts.map(text),
        st.sampled_from(SOURCES).map(image),
        st.sampled_from([CLIP, MOVIE, "a.mp4"]).map(video),
    ),
    min_size=1,
    max_size=8,
)


def joined(parts: list[Part]) -> tuple[Part, ...]:
    """What the parts should parse to, written in another way than the parser's."""
    result: list[Part] = []
    for part in parts:
        if part == text(""):
            continue
        if part.type == "text" and result and result[-1].type == "text":
            result[-1] = text(result[-1].text + part.text)
        else:
            result.append(part)
    return tuple(result) or (text(""),)


@REPEATABLE
@given(parts_lists)
def test_sequences_round_trip(parts: list[Part]) -> None:
    wanted = Content(joined(parts))
    bare = [
        part.text if part.type == "text" else part.source if part.type == "image" else typed(part) for part in parts
    ]
    arrow = [{"type": None, "text": None, "image": None, "video": None} | typed(part) for part in parts]
    assert parse_content(tuple(bare)) == wanted
    assert parse_content(tuple(map(typed, parts))) == wanted
    assert parse_content({"content": arrow, "id": 1}) == wanted
    assert parse_content([{"role": "user", "content": [part]} for part in arrow]) == wanted
    assert parse_content(to_messages(wanted)) == wanted


@REPEATABLE
@given(parts_lists, st.randoms(use_true_random=False))
def test_tags_round_trip(parts: list[Part], random: Any) -> None:
    parts = [part for part in parts if part.type != "video"]
    places = [at for at, part in enumerate(parts) if part.type == "image"]
    if not places:
        return
    random.shuffle(places)
    tags = {at: f"<image {number}>" for number, at in enumerate(places, 1)}
    written = "".join(tags.get(at, part.text) for at, part in enumerate(parts))
    item = {"text": written, "image": [parts[at].source for at in places]}
    assert parse_content(item) == Content(joined(parts))


@REPEATABLE
@given(st.text(alphabet=st.characters(exclude_categories=())), st.text(alphabet="<image 019>", max_size=30))
def test_any_text_parses_and_encodes(value: str, tags: str) -> None:
    for item in (value + tags, (value, tags), {"text": [value, tags]}):
        [part] = parse_content(item).parts
        assert len(part.text) == len(value + tags)
        part.text.encode()


@REPEATABLE
@given(texts, parts_lists)
def test_messages_keep_the_instruction(instruction: str, parts: list[Part]) -> None:
    content = Content(joined(parts), instruction)
    messages = to_messages(content)
    assert [message["role"] for message in messages] == ["system", "user"][not instruction :]
    assert parse_content(messages) == content


def test_datasets_rows_parse(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    struct = {
        "type": datasets.Value("string"),
        "text": datasets.Value("string"),
        "image": datasets.Image(),
        "video": datasets.List(datasets.Image()),
    }
    features = datasets.Features({"id": datasets.Value("string"), "content": datasets.List(struct)})
    rows = [{"type": "text", "text": "a"}, {"type": "image", "image": RED}, {"type": "video", "video": CLIP}]
    full = [dict.fromkeys(struct) | row for row in rows]
    dataset = datasets.Dataset.from_list([{"id": "0", "content": full}], features=features)
    dataset.to_parquet(str(tmp_path / "rows.parquet"))
    row = datasets.Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path))[0]
    assert set(row["content"][0]) == set(struct)  # Arrow gave every part all keys
    content = parse_content(row)
    assert [part.type for part in content.parts] == ["text", "image", "video"]
    assert content.parts[1].source.getpixel((0, 0)) == (255, 0, 0)
    assert len(content.parts[2].source) == 2
    assert as_batch(dataset["content"])[1] is False
    items, single = as_batch(dataset)
    assert not single
    assert parse_content(items[0]).parts[0] == text("a")


# -------------------------------------------------------------------- errors

BAD = {
    "none": (None, None, "found None, expected text, an image, a tuple"),
    "number": (3, None, "found int 3, expected text"),
    "set": ({"a"}, None, "found set {'a'}"),
    "vector": (np.zeros(7), None, r"an array of shape \(7,\) and dtype float64"),
    "list": (["a", RED], None, "one item of several parts is a tuple"),
    "empty list": ([], None, "a list is a batch"),
    "empty tuple": ((), None, "empty content: give at least one"),
    "empty dict": ({}, None, "empty content"),
    "dict of None": ({"text": None, "image": None}, None, "empty content"),
    "undecoded of None": ({"bytes": None, "path": None}, None, "empty content"),
    "empty lists": ({"text": [], "image": [], "video": []}, None, "empty content"),
    "empty content": ({"content": []}, None, "empty content"),
    "content of None": ({"content": None, "id": "7"}, None, r"keys \['id'\], expected 'text', 'image', 'video' or"),
    "system only": ([{"role": "system", "content": "t"}], None, "empty content"),
    "unknown keys": ({"caption": "t", "picture": RED}, None, r"keys \['caption', 'picture'\].*rename its keys"),
    "plural": ({"text": "t", "images": [RED]}, None, "found the key 'images', expected 'image'"),
    "number as text": ({"text": 3}, 0, "'text' of a dict: found int 3 as text, expected a string: convert it"),
    "number among texts": ({"text": ["a", 3]}, 1, "found int 3 as text"),
    "number as image": ({"image": [RED, 3]}, 1, "'image' of a dict: found int 3 as image, expected a PIL image"),
    "None among images": ({"text": "t", "image": [RED, None]}, 1, "found None as image"),
    "empty path": ({"image": ""}, 0, "found the string '' as image"),
    "nested images": ({"image": [[RED]]}, 0, "frames are a video"),
    "frames as image": ({"image": MOVIE}, 0, "frames are a video"),
    "number among frames": ({"video": [RED, 3]}, 0, "found int 3 as frame 1 of a video, expected a list of images"),
    "number as video": ({"video": 3}, 0, "found int 3 as video"),
    "no frames": (({"type": "video", "video": []},), 0, r"found list \[\] as video"),
    "tag beyond": (
        {"text": "<image 1> <image 3>", "image": [RED, BLUE]},
        None,
        r"the tag <image 3> and 2 image.*from 1 to 2",
    ),
    "tag zero": ({"text": "<image 0>", "image": RED}, None, "the tag <image 0> and 1 image"),
    "endless tag": ({"text": f"<image {'9' * 5000}>", "image": RED}, None, "the tag <image 99999999999999999999> and"),
    "image without tag": (
        {"text": "<image 1>", "image": [RED, BLUE]},
        1,
        "none for image 2 of 2: put <image 2> where",
    ),
    "list in a tuple": (("a", [RED]), 1, "found list .* a video's frames go into"),
    "number in a tuple": (("a", 3), 1, "found int 3, expected a string, an image or a typed part"),
    "None in a tuple": (("a", None), 1, "found None"),
    "dict without type": (("a", {"image": RED}), 1, r"keys \['image'\] and no 'type'"),
    "unknown type": (
        ({"type": "audio", "audio": b""},),
        0,
        "found a part of type 'audio', expected .* text, image, video",
    ),
    "strange type": (({"type": ["text"]},), 0, r"a part of type \['text'\]"),
    "all None part": ({"content": [{"type": None, "text": None}]}, 0, r"keys \[\] and no 'type'"),
    "part lacks its text": (
        {"content": ["a", {"type": "text", "text": None}]},
        1,
        "with nothing in it, expected exactly",
    ),
    "part with two": (
        ({"type": "image", "image": RED, "path": "a.png"},),
        0,
        "with 'image' and 'path', expected exactly",
    ),
    "part with another": (
        ({"type": "text", "text": "t", "image": RED},),
        0,
        "'image' in a part of type 'text': make it a",
    ),
    "url without url": (({"type": "image_url", "image_url": {"href": "x"}},), 0, "found None as image"),
    "content is an image": ({"content": RED}, None, "found 'content' with .*, expected a string or a list"),
    "message with a bad part": (
        [{"role": "user", "content": "a"}, {"role": "user", "content": [typed(text("b")), {"type": "audio"}]}],
        1,
        "message 1: found a part of type 'audio'",
    ),
    "image in a system message": (
        [{"role": "system", "content": ["a", RED]}],
        1,
        "message 0: found a part of type 'image'",
    ),
}


@pytest.mark.parametrize(("item", "part", "message"), BAD.values(), ids=BAD)
def test_bad_items_give_one_clear_error(item: Any, part: int | None, message: str) -> None:
    with pytest.raises(ContentError, match=message) as caught:
        parse_content(item, index=5)
    assert (caught.value.index, caught.value.part) == (5, part)
    assert str(caught.value).startswith("item 5: " if part is None else f"item 5, part {part}: ")
    with pytest.raises(ContentError) as alone:
        parse_content(item)
    assert alone.value.index is None
    assert str(alone.value) == (caught.value.message if part is None else f"part {part}: {caught.value.message}")


def test_content_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(ContentError("found x", index=2, part=1)))
    assert (str(error), error.message, error.index, error.part) == ("item 2, part 1: found x", "found x", 2, 1)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(ContentError) as caught:
        parse_content(({"type": "text", "text": "t", "image": "x" * 9999}, 3))
    assert len(str(caught.value)) < 300
    with pytest.raises(ContentError) as caught:
        parse_content({f"key {number}": "y" * 9999 for number in range(999)})
    assert len(str(caught.value)) < 500


# -------------------------------------------------------------------- batches

CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]


@pytest.mark.parametrize(
    ("inputs", "single", "length"),
    [
        ("text", True, 1),
        (RED, True, 1),
        (("a", RED), True, 1),
        ({"text": ["a", "b"]}, True, 1),
        (UserDict(text="a"), True, 1),
        (CHAT, True, 1),
        (ARRAY, True, 1),
        (MOVIE, True, 1),
        (CHANNELS_FIRST, True, 1),
        (b"bytes", True, 1),
        (io.BytesIO(b"a\nb"), True, 1),
        (Path("a.png"), True, 1),
        (None, True, 1),
        ({"a", "b"}, True, 1),
        ([], False, 0),
        (["a"], False, 1),
        (["a", CHAT[0]], False, 2),
        ([CHAT, CHAT], False, 2),
        ([("a", RED), "b"], False, 2),
        ([{"type": "text", "text": "a"}], False, 1),
        (np.array(["a", "b"]), False, 2),
        (np.array(["a", None], dtype=object), False, 2),
        ((item for item in "ab"), False, 2),
        (range(3), False, 3),
        ({"a": 1, "b": 2}.values(), False, 2),
    ],
)
def test_batches_are_told_from_items(inputs: Any, single: bool, length: int) -> None:
    items, was_single = as_batch(inputs)
    assert type(items) is list
    assert (was_single, len(items)) == (single, length)
    if single:
        assert items[0] is inputs


def test_modalities() -> None:
    assert content_modalities(parse_content(("a", RED, {"type": "video", "video": CLIP}))) == {
        "text",
        "image",
        "video",
    }
    assert content_modalities(parse_content("a")) == {"text"}
    assert content_modalities(parse_content({"image": [RED, BLUE]})) == {"image"}
