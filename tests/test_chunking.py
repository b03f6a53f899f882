"""Stage 1: chunks that lose nothing, cleaning that leaves out what teaches nothing, samples and splits that hold."""

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter
from skimage import data

from nyx_hf.data_builders.boilerplate import Boilerplate, find_boilerplate
from nyx_hf.data_builders.chunking import Chunker
from nyx_hf.data_builders.image_quality import ImageQuality
from nyx_hf.data_builders.near_duplicates import Likeness, find_duplicates
from nyx_hf.data_builders.pages import PAGE, image_block, images_of, modality_of, text_block, text_of, to_parts
from nyx_hf.data_builders.sampling import (
    OFFICIAL_MIX,
    joined_documents,
    seeded_fraction,
    split_documents,
    stratified_sample,
)
from nyx_hf.data_builders.splitting import parse_shares
from nyx_hf.data_builders.token_counts import TokenCounter
from tests.pictures import noise_image

WORDS = TokenCounter()


def page(*content: Any, name: str = "p.html") -> dict[str, Any]:
    return {**dict.fromkeys(PAGE), "id": name, "title": "Title", "content": list(content)}


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


def chunks(one: dict[str, Any], **changes: Any) -> list[list[dict[str, Any]]]:
    rows = Chunker(**changes)([one])[0]
    assert [row["id"] for row in rows] == [f"{one['id']}#{number}" for number in range(len(rows))]
    return [row["content"] for row in rows if row["dropped"] is None]


class TestChunks:
    blocks = st.lists(
        st.one_of(
            st.builds(
                text_block,
                st.text("abc deé.大?!\n", min_size=1, max_size=300).filter(str.strip),
                st.sampled_from(["paragraph", "heading", "term", "item", "caption", "code"]),
            ),
            st.integers(0, 9).map(lambda n: image_block(b"image %d" % n)),
        ),
        min_size=1,
        max_size=12,
    )

    @settings(max_examples=150, deadline=None)
    @given(blocks, st.integers(8, 60), st.integers(1, 3))
    def test_nothing_is_lost_and_no_chunk_is_too_long(self, content: Any, max_tokens: int, max_images: int) -> None:
        found = chunks(page(*content), max_tokens=max_tokens, max_images=max_images)
        assert "".join("".join(map(text_of, found)).split()) == "".join(text_of(content).split())
        assert [image for chunk in found for image in images_of(chunk)] == images_of(content)
        for chunk in found:
            assert chunk and WORDS.count(text_of(chunk)) <= max_tokens and len(images_of(chunk)) <= max_images
        order = [block["image"] or "text" for chunk in found for block in chunk]
        merged = [one for place, one in enumerate(order) if one != "text" or place == 0 or order[place - 1] != "text"]
        wanted = [block["image"] or "text" for block in content]
        assert merged == [one for n, one in enumerate(wanted) if one != "text" or n == 0 or wanted[n - 1] != "text"]

    def test_sentences_are_not_cut_where_they_need_not_be(self) -> None:
        sentences = [f"This is the sentence number {number} of many." for number in range(20)]
        found = chunks(page(text_block(" ".join(sentences))), max_tokens=40)
        assert len(found) > 3
        assert all(text_of(chunk).endswith(".") and text_of(chunk).startswith("This") for chunk in found)

    def test_an_endless_word_is_cut_all_the_same(self) -> None:
        found = chunks(page(text_block("x" * 900)), max_tokens=30)
        assert "".join(map(text_of, found)) == "x" * 900 and len(found) > 5

    def test_a_heading_goes_with_what_follows_and_a_caption_stays_with_its_image(self) -> None:
        filler = text_block("word " * 24)
        found = chunks(page(filler, text_block("Head", "heading"), text_block("text " * 10)), max_tokens=32)
        assert [block["role"] for block in found[1]] == ["heading", "paragraph"]
        pictured = page(filler, image_block(b"i"), text_block("seen here " * 5, "caption"), text_block("end"))
        assert [block["role"] for block in chunks(pictured, max_tokens=32)[1]] == [None, "caption", "paragraph"]
        above = page(filler, text_block("seen here", "caption"), image_block(b"1"), image_block(b"2"))
        assert [block["role"] for block in chunks(above, max_tokens=32, max_images=1)[0]] == [
            "paragraph",
            "caption",
            None,
        ]

    def test_images_do_not_count_but_in_the_official_preset(self) -> None:
        images = [image_block(b"i%d" % number) for number in range(5)]
        content = [*images, text_block("word " * 28)]
        assert len(chunks(page(*content), max_tokens=30)) == 1
        official = Chunker(max_tokens=30, preset="official")([page(*content, text_block("word " * 20))])[0]
        assert [row["dropped"] for row in official] == [None, None, "chunk: the page's remainder"]

    def test_the_official_preset_drops_chunks_of_many_images(self) -> None:
        rows = Chunker(max_images=2, preset="official")([page(*[image_block(b"i")] * 3, text_block("a"))])[0]
        assert [row["dropped"] for row in rows] == ["chunk: too many images"]

    def test_parts_are_what_the_corpus_keeps(self) -> None:
        parts = to_parts([text_block("One."), text_block("Two."), image_block(b"i"), text_block("Three.")])
        assert [part["type"] for part in parts] == ["text", "image", "text"] and parts[0]["text"] == "One.\n\nTwo."
        assert (
            modality_of([image_block(b"i")]) == "one image"
            and modality_of([image_block(b"i")] * 2) == "several images"
        )


class TestTokens:
    def test_a_tokenizer_is_loaded_from_its_folder(self, tiny_backbones: Any) -> None:
        counter = TokenCounter(str(tiny_backbones["qwen2_5_vl"]))
        assert counter.count("") == 0 and 0 < counter.count("hello") < counter.count("hello hello hello")

    def test_one_that_cannot_be_had_is_one_line(self) -> None:
        with pytest.raises(ValueError, match=r"the tokenizer 'nobody/nothing' cannot be had .*`words` for a cautious"):
            TokenCounter("nobody/nothing").count("x")

    def test_the_estimate_grows_with_the_text(self) -> None:
        assert WORDS.count("") == 0 and WORDS.count("a") == 1 and WORDS.count("antidisestablishmentarianism") == 10
        assert WORDS.count("1234") == 4 and WORDS.count("GIMP") == 2 and WORDS.count("大小") == 3


class TestCleaning:
    def test_blurred_pictures_go_and_sharp_ones_drawings_and_screenshots_stay(self) -> None:
        quality = ImageQuality()
        photo = Image.fromarray(data.astronaut())
        drawing = Image.new("RGB", (300, 200), "white")
        ImageDraw.Draw(drawing).line((20, 20, 250, 150), fill="black", width=1)
        for good in (photo, Image.fromarray(data.page()), Image.fromarray(data.text()), drawing):
            assert quality.fault(encoded(good)) is None
        assert quality.fault(encoded(photo.filter(ImageFilter.GaussianBlur(2)))) is None
        assert quality.fault(encoded(photo.filter(ImageFilter.GaussianBlur(12)))) == "image: blurred"

    def test_each_fault_is_named(self) -> None:
        quality = ImageQuality(max_pixels=1_000_000)
        sharp = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        file = encoded(sharp)
        assert quality.fault(file) is None
        assert quality.fault(file[: len(file) // 2]) == "image: corrupt" and quality.fault(b"") == "image: corrupt"
        assert quality.fault(encoded(sharp.resize((20, 64)))) == "image: too small"
        assert quality.fault(encoded(sharp.resize((900, 40)))) == "image: too long and narrow"
        assert quality.fault(encoded(Image.new("RGB", (64, 64), "navy"))) == "image: of one colour"
        assert quality.fault(encoded(Image.new("RGBA", (64, 64), (255, 255, 255, 0)))) == "image: of one colour"
        assert quality.fault(encoded(Image.new("1", (2000, 2000)))) == "image: too many pixels"

    def test_a_page_keeps_its_text_and_is_dropped_only_if_nothing_is_left(self) -> None:
        bad, good = image_block(b"broken"), image_block(encoded(noise_image(64, 64).filter(ImageFilter.SHARPEN)))
        rows = ImageQuality(min_sharpness=0)([page(bad, text_block("Text"), good), page(bad, name="q.html")])
        assert [(row["id"], row["dropped"]) for row in rows[0]] == [
            ("p.html", None),
            ("p.html#block-0", "image: corrupt"),
        ]
        assert rows[0][0]["content"] == [text_block("Text"), good]
        assert [row["dropped"] for row in rows[1]] == ["page: no text and no good image", "image: corrupt"]

    def test_near_duplicates_are_found_and_their_first_is_kept(self) -> None:
        text = " ".join(f"word{number}" for number in range(80))
        photo, other = Image.fromarray(data.coffee()), Image.fromarray(data.rocket())
        small, jpeg = encoded(photo.resize((300, 200))), encoded(photo, "JPEG")
        rows = [
            ("a", [text_block(text)]),
            ("b", [text_block(text.replace("word40", "changed"))]),
            ("c", [text_block(text.upper() + " !")]),
            ("d", [text_block(text[::-1])]),
            ("e", [text_block(text), image_block(small)]),
            ("f", [text_block(text), image_block(jpeg)]),
            ("g", [text_block(text), image_block(encoded(other))]),
            ("h", [image_block(small)]),
            ("i", [image_block(encoded(other))]),
            ("j", [image_block(jpeg)]),
        ]
        found = find_duplicates({"id": name, "content": content} for name, content in rows)
        assert found == {"b": "a", "c": "a", "f": "e", "j": "h"}
        exact = find_duplicates(({"id": n, "content": c} for n, c in rows), Likeness(similarity=1))
        assert exact == {"c": "a"}

    def test_boilerplate_goes_from_the_edges_and_headings_and_the_middle_stay(self) -> None:
        notice = text_block("Copyright 2019 by the makers.")
        pages = [
            page(
                text_block("Overview", "heading"),
                text_block(f"Own text {'abcdefghijkl'[n]}."),
                *[text_block(f"Filler {'abcdefghijkl'[n]} {'xyzuvw'[k]}.") for k in range(6)],
                text_block("Click OK."),
                *[text_block(f"More {'abcdefghijkl'[n]} {'xyzuvw'[k]}.") for k in range(4)],
                text_block(f"Copyright {2000 + n} by the makers."),
                name=f"{n}.html",
            )
            for n in range(12)
        ]
        keys = find_boilerplate(pages)
        assert len(keys) == 1
        out = Boilerplate(keys)(pages)
        assert all(len(rows) == 2 and rows[1]["dropped"] == "text: boilerplate" for rows in out)
        texts = [block["text"] for block in out[0][0]["content"]]
        assert "Overview" in texts and "Click OK." in texts and not any(t.startswith("Copyright") for t in texts)
        alone = Boilerplate(keys)([page(notice)])[0]
        assert alone[0]["dropped"] == "page: nothing but boilerplate"
        assert find_boilerplate(pages[:4]) == frozenset()

    def test_icons_on_many_pages_go_and_large_pictures_on_many_stay(self) -> None:
        icon, photo = image_block(encoded(noise_image(48, 48))), image_block(encoded(noise_image(150, 100)))
        pages = [page(text_block(f"Own {n}."), icon, photo, name=f"{n}.html") for n in "abcdef"]
        keys = find_boilerplate(pages)
        [kept, dropped] = Boilerplate(keys)(pages)[0]
        assert kept["content"] == [text_block("Own a."), photo] and dropped["dropped"] == "image: icon on many pages"
        assert find_boilerplate(pages[:4]) == frozenset()


class TestSampling:
    groups = st.lists(st.sampled_from(["text", "one image", "several images"]), min_size=1, max_size=200)

    @given(groups, st.integers(0, 250), st.integers(0, 3))
    def test_a_sample_keeps_the_mix(self, kinds: list[str], count: int, seed: int) -> None:
        ids = [f"c{number}" for number in range(len(kinds))]
        drawn = stratified_sample(ids, kinds, count, seed)
        assert drawn == sorted(set(drawn)) and len(drawn) == min(count, len(kinds))
        have, want = Counter(kinds[number] for number in drawn), Counter(kinds)
        for kind, size in want.items():
            assert abs(have[kind] - size * len(drawn) / len(kinds)) < len(want)

    def test_the_official_mix_is_drawn_and_others_fill_in(self) -> None:
        kinds = ["text"] * 5000 + ["one image"] * 5000 + ["several images"] * 10
        have = Counter(
            kinds[n] for n in stratified_sample([str(n) for n in range(len(kinds))], kinds, 1000, 42, OFFICIAL_MIX)
        )
        assert have["several images"] == 10 and sum(have.values()) == 1000 and 630 <= have["text"] <= 670

    def test_most_of_a_sample_stays_as_rows_come_and_go(self) -> None:
        ids = [f"c{number}" for number in range(1000)]
        before = {ids[number] for number in stratified_sample(ids, ["text"] * 1000, 200, 0)}
        more = ids[10:] + [f"n{number}" for number in range(30)]
        after = {more[number] for number in stratified_sample(more, ["text"] * len(more), 200, 0)}
        assert len(before & after) > 185 and before != after
        assert before != {ids[number] for number in stratified_sample(ids, ["text"] * 1000, 200, 1)}

    @given(st.sets(st.text(max_size=8), max_size=40), st.integers(0, 2))
    def test_a_document_keeps_its_split_whatever_is_beside_it(self, names: set[str], seed: int) -> None:
        shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
        whole = split_documents(sorted(names), shares, seed)
        assert set(whole.values()) <= set(shares)
        assert all(split_documents([name], shares, seed) == {name: split} for name, split in whole.items())

    def test_shares_are_met(self) -> None:
        splits = Counter(
            split_documents(map(str, range(5000)), {"train": 0.8, "validation": 0.1, "test": 0.1}, 0).values()
        )
        assert 3900 < splits["train"] < 4100 and 430 < splits["test"] < 570
        assert 0 <= seeded_fraction("x", 0) < 1

    def test_documents_that_share_a_chunk_are_joined(self) -> None:
        joined = joined_documents([("b", "a"), ("c", "b"), ("x", "y")])
        assert joined == {"a": "a", "b": "a", "c": "a", "x": "x", "y": "x"}

    def test_shares_are_read(self) -> None:
        assert parse_shares("0.8,0.1,0.1") == {"train": 0.8, "validation": 0.1, "test": 0.1}
        assert parse_shares("1,0,0") == {"train": 1.0}
        for wrong in ("", "0.8", "0.8,0.1,0.2", "0,0.5,0.5", "a,b,c", "1.2,-0.2,0"):
            with pytest.raises(ValueError, match="three numbers that sum to 1"):
                parse_shares(wrong)
