"""Unseen sets where a text and an image, or a video, belong together: captions, dialogs, videos' captions."""

from collections.abc import Iterator, Sequence

from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.video_set_layouts import video_set
from nyx_hf.data_builders.zero_shot_media import Asked, Clip, Media, Picture

_MOST = 1000  # pairs of Urban-1K, and images of Flickr30K's test split


def sharegpt4v(media: Media) -> Iterator[Asked]:
    """Reads ShareGPT4V's first thousand pairs, `sharegpt4v/datas_for_validation.json`: `image_name` and `caption`."""
    for row in media.rows("sharegpt4v/datas_for_validation.json", ("image_name", "caption")):
        yield from _asked(media, f"sharegpt4v/val_data/{row['image_name']}", [row["caption"]])


def urban1k(media: Media) -> Iterator[Asked]:
    """Reads Urban-1K, whose captions lie beside its images: `image/1.jpg` and the first line of `caption/1.txt`.

    A pair without a caption is left out and counted, as one without an image.
    """
    for number in range(1, _MOST + 1):
        file = media.images.read(f"Urban1k/caption/{number}.txt")
        lines = (file or b"").decode("utf-8").splitlines()
        yield from _asked(media, f"Urban1k/image/{number}.jpg", [line.strip() for line in lines[:1]])


def flickr30k(media: Media) -> Iterator[Asked]:
    """Reads Flickr30K's test images `flickr/images/0.png`, …, five captions each in `flickr/flickr_text.json`."""
    captions = media.json("flickr/flickr_text.json")
    for number in range(len(captions) // 5):
        yield from _asked(media, f"flickr/images/{number}.png", captions[5 * number : 5 * number + 5])


def visdial(media: Media) -> Iterator[Asked]:
    """Reads Visual Dialog 1.0's validation set: ten questions with their answers ask for an image.

    The dialog is one text, `Q: is it sunny? A: yes.` and so on, without the image's caption.
    """
    path = "visdial/visdial_1.0_val.json"
    data = media.json(path)["data"]
    media.check(data, ("questions", "answers", "dialogs"), path)
    questions, answers = data["questions"], data["answers"]
    for number, row in enumerate(data["dialogs"]):
        media.check(row, ("image_id", "dialog"), f"{path} dialog {number}")
        turns = [f"Q: {questions[turn['question']]}? A: {answers[turn['answer']]}." for turn in row["dialog"]]
        image = Picture(f"visdial/VisualDialog_val2018/VisualDialog_val2018_{int(row['image_id']):012d}.jpg")
        yield Asked([" ".join(turns)], [image])


def videos(media: Media) -> Iterator[Asked]:
    """Reads a video set as MMEB-V2 has it; every caption of a video asks for it, where MMEB-V2 asks with the first."""
    one = video_set(media.task.part)
    for config in one.configs:
        for row in media.upstream.rows(one.repository, config, one.split, one.columns.split()):
            clip = Clip(one.frames_of(row), one.file_of(row))
            for caption in _captions(row, one.text):
                yield Asked([caption], [clip])


def _captions(row: Row, column: str) -> list[str]:
    captions = row[column]
    return [captions] if isinstance(captions, str) else list(captions)


def _asked(media: Media, path: str, captions: Sequence[str]) -> Iterator[Asked]:
    """Asks one way or the other: each caption for the image, or the image for any of its captions."""
    image = Picture(path)
    if media.task.name.endswith("-i2t"):
        yield Asked([image], captions)
    else:
        yield from (Asked([caption], [image]) for caption in captions or [""])
