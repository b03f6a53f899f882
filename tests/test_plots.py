"""The pictures: what they show, that nothing overlaps, and that long or odd content fits."""

import math

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib._pylab_helpers import Gcf
from matplotlib.colors import to_rgb
from PIL import Image

from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.plots import (
    ACCENT,
    MUTED,
    RIGHT,
    SOUGHT,
    WRONG,
    Example,
    Hit,
    gallery,
    loss_curve,
    readme_gallery,
    recall_by_dimension,
)
from nyx_hf.typesetting import LINE, Typesetter

BLUE = Image.new("RGB", (28, 28), (10, 20, 250))


def pixels(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def count(picture, color):
    """How many pixels have precisely this colour."""
    wanted = np.round(np.array(to_rgb(color)) * 255).astype(int) if isinstance(color, str) else np.array(color)
    return int((picture == wanted).all(axis=-1).sum())


def overlap(a, b):
    return (
        min(a.x + a.width, b.x + b.width) - max(a.x, b.x) > 0.01
        and min(a.y + a.height, b.y + b.height) - max(a.y, b.y) > 0.01
    )


def test_a_block_keeps_the_reading_order_and_breaks_lines():
    block = Typesetter().set(("one two", BLUE, "three " * 30, BLUE, "end"), 200, 400)
    order = [piece.text or "image" for piece in block.pieces]
    assert order == ["one", "two", "image", *["three"] * 30, "image", "end"]
    middles = [round(piece.y + piece.height / 2, 3) for piece in block.pieces]
    lines = [middle for number, middle in enumerate(middles) if number == 0 or middle != middles[number - 1]]
    assert lines == sorted(set(middles)) and len(lines) > 5
    assert block.height <= 400


@settings(deadline=None, max_examples=60)
@given(
    parts=st.lists(
        st.one_of(
            st.text(st.characters(max_codepoint=0x24F, exclude_categories=("C",)), min_size=1, max_size=80),
            st.tuples(st.integers(1, 400), st.integers(1, 400)),
        ),
        min_size=1, max_size=6,
    ),
    width=st.integers(60, 300),
    height=st.integers(40, 300),
)  # fmt: skip
def test_nothing_overlaps_or_leaves_its_block(parts, width, height):
    def loaded(part):
        return part if isinstance(part, str) else Image.new("RGB", (part[0], min(part[1], part[0] * 100)))

    item = tuple(loaded(part) for part in parts if isinstance(part, str) or part[0] < 100 * part[1])
    if not any(not isinstance(part, str) or part.strip() for part in item):
        return
    block = Typesetter(image_height=min(120, height)).set(item, width, height)
    assert block.pieces and block.height <= height + 8
    for number, piece in enumerate(block.pieces):
        assert piece.x >= 0 and piece.y >= 0 and piece.y + piece.height <= block.height + 0.01
        assert piece.x + piece.width <= width + 1
        assert not any(overlap(piece, other) for other in block.pieces[:number])


def test_long_content_is_cut_with_an_ellipsis_and_short_content_is_not():
    cut = Typesetter().set("word " * 500, 200, 100)
    assert cut.pieces[-1].text == "…" and cut.height <= 100
    whole = Typesetter().set("word " * 5, 200, 100)
    assert [piece.text for piece in whole.pieces] == ["word"] * 5


def test_a_word_longer_than_the_line_is_broken():
    block = Typesetter().set("x" * 300, 150, 1000)
    assert "".join(piece.text for piece in block.pieces) == "x" * 300 and len(block.pieces) > 5
    assert max(piece.width for piece in block.pieces) <= 150


def test_images_that_follow_each_other_stay_on_one_line_and_large_ones_shrink():
    setter = Typesetter(image_height=100)
    block = setter.set(("some words here", BLUE, BLUE, BLUE), 160, 300)
    images = [piece for piece in block.pieces if piece.pixels is not None]
    assert len({piece.y for piece in images}) == 1 and images[0].x == 0 and images[0].y >= LINE
    (photo,) = setter.set(Image.new("RGB", (4000, 1000)), 160, 300).pieces
    assert photo.width == pytest.approx(160) and photo.height == pytest.approx(40)
    squeezed = setter.set(("word " * 18, Image.new("RGB", (300, 300))), 160, 160).pieces[-1]
    assert squeezed.pixels is not None and 48 <= squeezed.height < 100
    assert squeezed.width == pytest.approx(squeezed.height)


def examples():
    found = Example(("find", BLUE), [Hit(("here ", BLUE), 0.9, True), Hit("no", 0.5, False)], "gold", "task")
    missed = Example("where?", [Hit("no", 0.4, False), Hit("nor this", -0.2, False)], ("gold ", BLUE))
    return [found, missed]


def test_the_gallery_frames_right_wrong_and_sought_documents(tmp_path):
    found, missed = examples()
    both = pixels(gallery([found, missed], tmp_path / "new" / "both.png"))
    assert min(count(both, color) for color in (RIGHT, WRONG, SOUGHT, (10, 20, 250))) > 200
    only_found = pixels(gallery([found], tmp_path / "found.png"))
    assert count(only_found, RIGHT) > 200 and count(only_found, SOUGHT) == 0
    only_missed = pixels(gallery([missed], tmp_path / "missed.png"))
    assert count(only_missed, RIGHT) == 0 and count(only_missed, WRONG) > 200
    assert both.shape[0] > max(only_found.shape[0], only_missed.shape[0])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["both.png"]


def test_the_gallery_takes_any_content(tmp_path):
    tall, wide = Image.new("RGB", (20, 2000)), Image.new("RGB", (3000, 100))
    odd = Example(
        {
            "content": [
                {"type": "text", "text": "$x^2$ \\frac{a}{b} _ # %\n\nÜñï " + "y" * 300},
                {"type": "image", "image": tall},
            ]
        },
        [Hit({"video": [BLUE, BLUE]}, 0.1, False), Hit({"text": "<image 1> is wide", "image": wide}, 0.0, True)],
    )
    assert pixels(gallery([odd], tmp_path / "odd.png")).shape[1] > 1000
    with pytest.raises(ContentError):
        gallery([Example(None, [])], tmp_path / "bad.png")
    assert not (tmp_path / "bad.png").exists()


def test_the_readme_gallery_is_smaller(tmp_path):
    large = pixels(gallery(examples() * 3, tmp_path / "large.png"))
    small = pixels(readme_gallery(examples() * 3, tmp_path / "small.png"))
    assert small.shape[1] < 0.8 * large.shape[1] and small.shape[0] < large.shape[0]


def test_the_loss_curve_is_drawn(tmp_path):
    points = [(step, 4 * math.exp(-step / 50)) for step in range(1, 200)]
    picture = pixels(loss_curve(points, tmp_path / "loss.png"))
    assert count(picture, ACCENT) > 500
    rows, columns = np.nonzero((picture == np.round(np.array(to_rgb(ACCENT)) * 255)).all(axis=-1))
    left, right = rows[columns < columns.min() + 40].mean(), rows[columns > columns.max() - 80].mean()
    assert right > left + 200  # it falls
    assert pixels(loss_curve([(1, 2.0)], tmp_path / "one.png")).any()


def test_recall_by_dimension_is_drawn_for_both_models(tmp_path):
    trained = {dim: {"recall@1": score, "ndcg@10": 0.5} for dim, score in (("64", 0.9), ("16", 0.6), ("256", 1.0))}
    untrained = {dim: {"recall@1": 0.0, "ndcg@10": 0.1} for dim in ("16", "64", "256")}
    report = {"untrained": untrained, "trained": trained, "stages": {"one": 1}}
    picture = pixels(recall_by_dimension(report, tmp_path / "recall.png"))
    assert count(picture, ACCENT) > 500 and count(picture, MUTED) > 500
    alone = pixels(recall_by_dimension({"trained": trained}, tmp_path / "alone.png", metric="ndcg@10"))
    assert count(alone, ACCENT) > 500 and not np.array_equal(picture, alone)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda path: loss_curve([], path), "no points"),
        (lambda path: recall_by_dimension({}, path), "'untrained' or 'trained'"),
        (lambda path: recall_by_dimension({"trained": {"8": {}}}, path), "no 'recall@1' in 'trained'"),
        (lambda path: gallery([], path), "no examples"),
    ],
)
def test_nothing_to_draw_is_an_error(draw, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_drawing_is_repeatable_and_leaves_no_global_state(tmp_path):
    before = dict(matplotlib.rcParams)
    first = gallery(examples(), tmp_path / "a.png").read_bytes()
    assert gallery(examples(), tmp_path / "b.png").read_bytes() == first
    assert dict(matplotlib.rcParams) == before and not Gcf.figs
