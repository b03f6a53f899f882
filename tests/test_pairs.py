"""Stages 2 and 3 without a model: the rules, the options, and questions out of a corpus's own words."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_chunking import encoded

from nyx_hf.data_builders.asking import Asking
from nyx_hf.data_builders.extractive_pairs import ExtractivePairs
from nyx_hf.data_builders.extractive_text import (
    clean_caption,
    clean_title,
    paths_of,
    sentences,
    stands_alone,
    terms_of,
)
from nyx_hf.data_builders.options import TAG, make_options, normal_answer, options_fault, query_content
from nyx_hf.data_builders.pages import CHUNK, image_block, text_block
from nyx_hf.data_builders.pair_rules import normal_tags, rule_of
from tests.pictures import noise_image

IMAGE = encoded(noise_image(40, 40))


def chunk(*content: Any, title: str = "4.4. Crop", name: str = "crop.html#0") -> dict[str, Any]:
    row = {"id": name, "page_id": name.split("#")[0], "title": title, "content": list(content)}
    return {**dict.fromkeys(CHUNK), **row}


ONE_IMAGE = chunk(image_block(IMAGE))


class TestRules:
    @pytest.mark.parametrize(
        "question",
        [
            "What does the text tool do?",
            "In the context of colour management, what is a profile?",
            "Which authoring tool exports SVG?",
            "What does the Image menu contain?",
            "How is the text layer resized?",
            "Which filter does <image 1> show?",
            "What is the name of the image window?",
            "Which page of the dialog holds the options?",
            "What happens to the content of the layer?",
            "Who invented the page setup dialog?",
            "Where does the image go when it is cropped?",
            "How do you rotate the image?",
            "Which section of the toolbox is dockable?",
        ],
    )
    def test_good_questions_pass(self, question: str) -> None:
        assert rule_of({"question": question, "answer": "something"}, ONE_IMAGE) is None

    @pytest.mark.parametrize(
        ("question", "answer", "reason"),
        [
            ("What is described in this document?", "a", "refers to its context"),
            ("According to the article, what is GIMP?", "a", "refers to its context"),
            ("What does the author recommend?", "a", "refers to its context"),
            ("What does the passage say about layers?", "a", "refers to its context"),
            ("Which tool is mentioned above?", "a", "refers to its context"),
            ("In the text, what is a layer?", "a", "refers to its context"),
            ("What is discussed in the section above?", "a", "refers to its context"),
            ("What is shown in the image?", "a", "speaks of an image without its tag"),
            ("What does this image show?", "a", "speaks of an image without its tag"),
            ("What can be seen in <image 2>?", "a", "image tag beyond the chunk's images"),
            ("What can be seen in <image 0>?", "a", "image tag beyond the chunk's images"),
            ("What does <image> show?", "a", "image tag without a number"),
            ("What does <image 1> show?", "see <image 1>", "image tag in the answer"),
            ("", "a", "empty question or answer"),
            ("What is a crop?", " ", "empty question or answer"),
            ("What is it?", "word " * 13, "question or answer too long"),
            ("What does the Crop tool do?", "Crop Tool", "question holds its answer"),
        ],
    )
    def test_bad_ones_say_why(self, question: str, answer: str, reason: str) -> None:
        assert rule_of({"question": question, "answer": answer}, ONE_IMAGE) == f"rule: {reason}"

    def test_the_official_rules_take_words_for_parts_of_words(self) -> None:
        official = {
            "In which context is it used?": "rule: refers to its context",
            "Which authoring tool is it?": "rule: refers to its context",
            "What does the Image menu hold?": "rule: speaks of an image without its tag",
            "What does <image2> show?": "rule: image tag beyond the chunk's images",
            "What does <image1> show?": None,
            "Which tool is mentioned above?": None,
        }
        for question, reason in official.items():
            assert rule_of({"question": question, "answer": "a"}, ONE_IMAGE, "official") == reason

    @given(st.text("<image 12>?abo ", max_size=40))
    def test_tags_are_normalised_once(self, text: str) -> None:
        once = normal_tags(text)
        assert normal_tags(once) == once and len(TAG.findall(once)) >= len(TAG.findall(text))

    def test_harmless_spellings_of_tags_are_mended(self) -> None:
        assert normal_tags("<image1> <Image 2> <IMAGE_3> < image #4 >") == "<image 1> <image 2> <image 3> <image 4>"


class TestOptions:
    words = st.text("abcdef", min_size=1, max_size=5)

    @given(st.lists(words, min_size=4, max_size=4, unique=True), words, st.integers(0, 5))
    def test_the_right_option_is_known_by_its_place(self, words: list[str], name: str, seed: int) -> None:
        pair = {"id": name, "answer": words[0], "distractors": words[1:]}
        options, place = make_options(pair, seed)
        assert sorted(options) == sorted(words) and options[place] == words[0]
        assert make_options(pair, seed) == (options, place)

    def test_places_are_spread(self) -> None:
        places = Counter(
            make_options({"id": str(n), "answer": "a", "distractors": ["b", "c", "d"]}, 0)[1] for n in range(400)
        )
        assert all(70 < places[place] < 130 for place in range(4))

    @pytest.mark.parametrize("wrong", [["b", "c"], ["b", "c", "B."], ["b", "c", "A"], ["b", "c", " "], []])
    def test_options_that_are_not_four_are_refused(self, wrong: list[str]) -> None:
        assert options_fault("a", wrong) is not None
        with pytest.raises(ValueError, match="options: not"):
            make_options({"id": "x", "answer": "a", "distractors": wrong}, 0)

    def test_images_stand_where_their_tags_are(self) -> None:
        images = [image_block(b"1"), text_block("between"), image_block(b"2")]
        parts = query_content("What turned <image 2> into <image 1>?", images)
        assert [part.get("text") or part["image"]["bytes"] for part in parts] == [
            "What turned ",
            b"2",
            " into ",
            b"1",
            "?",
        ]
        assert query_content("Plain?", images) == [{"type": "text", "text": "Plain?"}]
        with pytest.raises(ValueError, match="found <image 3> for a chunk of 2 images"):
            query_content("<image 3>", images)


class TestReading:
    def test_titles_and_captions_lose_their_numbers(self) -> None:
        assert (
            clean_title("4.4. Crop") == "Crop" and clean_title("Chapter 7. Painting with GIMP") == "Painting with GIMP"
        )
        assert (
            clean_title("A. GIMP History") == "GIMP History" and clean_title("3") is None and clean_title(None) is None
        )
        assert clean_caption("Figure 14.127. Crop tool") == "Crop tool"
        for poor in (
            "Original",
            "Mask 1",
            "The result is on the right",
            "Look: here it is. And more.",
            "under Windows",
        ):
            assert clean_caption(poor) is None

    def test_sentences_and_those_that_stand_alone(self) -> None:
        found = sentences("The tool cuts, e.g. Images of any size. It is old. See Fig. 2 for more.")
        assert found == ["The tool cuts, e.g. Images of any size.", "It is old.", "See Fig. 2 for more."]
        assert stands_alone("The Crop tool removes everything outside a rectangle.")
        for leaning in ("This removes all that is not in it at all.", "It removes everything outside the rectangle.",
                        "The Crop tool works as described in the section above.", "the tool removes all of the image.",
                        "Too short."):  # fmt: skip
            assert not stands_alone(leaning)

    def test_menu_paths_and_terms(self) -> None:
        assert paths_of("Use Tools → Transform Tools → Crop, or Image → Crop to Selection.") == [
            "Tools → Transform Tools → Crop",
            "Image → Crop to Selection",
        ]
        content = [text_block("Fixed", "term"), text_block("Keeps the ratio of the sides while you drag.", "item")]
        item = text_block("Opacity: Says how much of the layers beneath shines through.", "item")
        assert [term.name for term in terms_of([*content, item])] == ["Fixed", "Opacity"]


MANUAL = [
    chunk(
        text_block(f"{number}. {name}", "heading"),
        text_block(f"Figure {number}. {name} filter applied", "caption"),
        image_block(encoded(noise_image(40, 40, number))),
        text_block(f"{name} Filter creates {what} in the active layer of any picture."),
        text_block(f"The {name} filter is found through Filters → {menu} → {name}."),
        text_block("Radius", "term") if number % 2 else text_block("Amount", "term"),
        text_block(f"Says how far the {what} reach from the middle of the layer.", "item"),
        text_block(f"Holding the {key} key keeps the {what} inside of the selection."),
        title=f"{number}. {name}",
        name=f"{name.lower()}.html#0",
    )
    for number, (name, what, menu, key) in enumerate(
        [
            ("Ripple", "waves", "Distorts", "Shift"),
            ("Mosaic", "tiles", "Artistic", "Ctrl"),
            ("Sparkle", "stars", "Light", "Alt"),
            ("Plasma", "clouds", "Render", "Tab"),
            ("Emboss", "edges", "Edge", "Enter"),
        ],
        start=1,
    )
]


class TestExtractive:
    def test_questions_of_every_kind_with_distractors_of_the_same_kind(self) -> None:
        generator = ExtractivePairs.fitted(MANUAL)
        rows = [row for rows in Asking(generator)(MANUAL) for row in rows if row["dropped"] is None]
        asked = {(row["kind"], row["question"]): row for row in rows}
        shown = [row["answer"] for row in rows if row["kind"] == "caption"]
        assert sorted(shown) == [
            f"{name} filter applied" for name in ("Emboss", "Mosaic", "Plasma", "Ripple", "Sparkle")
        ]
        definition = asked["subject", "What creates waves in the active layer of any picture?"]
        assert definition["answer"] == "Ripple Filter"
        path = asked["path", "Through which menu entries is “Mosaic” reached?"]
        assert path["answer"] == "Filters → Artistic → Mosaic"
        assert all("→" in one for one in path["distractors"])
        for row in rows:
            own = next(chunk for chunk in MANUAL if chunk["id"] == row["chunk_id"])
            said = json.dumps([block["text"] for block in own["content"]], ensure_ascii=False)
            assert normal_answer(row["answer"]).split()[0] in said.casefold()
            assert all(f"“{one}”" not in said and one.casefold() not in said.casefold() for one in row["distractors"])
            assert options_fault(row["answer"], row["distractors"]) is None
            assert rule_of(row, own) is None
        counts = Counter(row["chunk_id"] for row in rows)
        assert (
            max(counts.values()) <= 5 and len(counts) == 5 and {"caption", "subject", "path"} <= {k for k, _ in asked}
        )

    def test_equal_seeds_give_equal_pairs_and_other_seeds_other_distractors(self) -> None:
        def made(seed: int) -> Any:
            return Asking(ExtractivePairs.fitted(MANUAL, seed))(MANUAL)

        assert made(0) == made(0)
        assert [[row["question"] for row in rows] for rows in made(0)] == [
            [row["question"] for row in rows] for rows in made(1)
        ]
        assert made(0) != made(1)

    def test_the_vocabulary_is_part_of_the_settings(self) -> None:
        one, two = ExtractivePairs.fitted(MANUAL), ExtractivePairs.fitted(MANUAL[:4])
        assert one.settings() != two.settings() and not one.remote

    def test_a_corpus_without_three_of_a_kind_drops_the_pair(self) -> None:
        rows = Asking(ExtractivePairs.fitted(MANUAL[:2]))(MANUAL[:2])
        reasons = {row["dropped"] for row in rows[0]}
        assert "options: the corpus has not three of the answer's kind" in reasons

    def test_nothing_to_ask_about_is_counted(self) -> None:
        [[row]] = ExtractivePairs().pairs([chunk(text_block("Hm."))])
        assert row["dropped"] == "chunk: nothing to ask about"
