"""Awkward pages: how sites name and size images, tables with spans, what is left out, and encodings."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sources import GIMP, blocks, read, site

from nyx_hf.data_builders.html_blocks import html_blocks, parse_html
from nyx_hf.data_builders.html_tags import ImageTag
from nyx_hf.data_builders.pages import images_of, text_of


def tags(body: str) -> list[ImageTag]:
    return [ImageTag.of(node) for node in parse_html(f"<body>{body}</body>".encode()).tree.css("img")]


def texts(raw: bytes) -> list[str]:
    return [block["text"] for block in html_blocks(parse_html(raw), lambda tag: None)]


class TestImageTags:
    @pytest.mark.parametrize(
        ("srcset", "addresses"),
        [
            ("a.png 1x, b.png 2x", ["b.png", "a.png"]),
            ("a.png 300w,b.png 1200w,c.png 600w", ["b.png", "c.png", "a.png"]),
            ("a.png 300w 200h, b.png", ["a.png", "b.png"]),
            ("a.png, b.png 1.5x", ["b.png", "a.png"]),
            (" , ,a,b.png 2x", ["a,b.png"]),
            ("a.png big", ["a.png"]),
            ("", []),
        ],
    )
    def test_a_srcset_s_largest_comes_first(self, srcset: str, addresses: list[str]) -> None:
        assert list(tags(f"<img srcset='{srcset}'>")[0].addresses) == addresses

    def test_a_long_srcset_of_nothing_takes_no_time(self) -> None:
        start = time.perf_counter()
        for text in (" " * 200_000, ", ," * 100_000, "a" * 200_000 + " "):
            assert len(tags(f"<img srcset='{text}'>")[0].addresses) <= 1
        assert time.perf_counter() - start < 5

    def test_an_image_that_one_address_gives_is_not_counted_as_lost(self, tmp_path: Path) -> None:
        body = (
            "<img srcset='gone.png 2x' src='images/a.png'><img srcset='http://x.example/b.png 2x' src='none.png'><img>"
        )
        pages, dropped = read(f"html:{site(tmp_path / 's', one=body)}")
        assert len(images_of(pages["one.html"]["content"])) == 1
        assert dropped == {"image: on another site": 1, "image: no address": 1}

    def test_what_a_page_shows_as_an_icon_is_one(self, tmp_path: Path) -> None:
        body = "".join(
            f"<img src='images/a.png' {how}>"
            for how in ("width=16 height=16", "height='20px'", "alt='[Note]'", "width='100%'", "width=60 height=50")
        )
        pages, dropped = read(f"html:{site(tmp_path / 's', one=body)}")
        assert len(images_of(pages["one.html"]["content"])) == 2
        assert dropped == {"image: icon or spacer": 3}

    def test_images_without_script_come_once(self) -> None:
        lazy = "<img src='data:,' data-src='a.png'><noscript><img src='a.png'><p>Turn it on</p></noscript>"
        assert blocks(lazy) == [(None, None)]
        assert blocks("<p>One</p><noscript><img src='b.png'></noscript>") == [("paragraph", "One"), (None, None)]

    def test_a_section_s_title_does_not_speak_for_its_images(self) -> None:
        section = "<div class='sect'><h2 class='title'>Tools</h2><img src='a' alt='All tools in a row'></div>"
        assert blocks(section)[1:] == [(None, None), ("caption", "All tools in a row")]
        figure = (
            "<div class='figure'><p class='title'>Figure 1</p><div><img src='a' alt='All tools in a row'></div></div>"
        )
        assert blocks(figure) == [("caption", "Figure 1"), (None, None)]
        assert blocks("<p class='title'>Layer modes</p>") == [("heading", "Layer modes")]


class TestTables:
    def test_cells_that_span_others_keep_columns_in_line(self) -> None:
        rows = (
            "<tr><th rowspan=2>Key</th><th colspan=2>Does</th></tr><tr><td>here</td><td>there</td></tr>"
            "<tr><td colspan=2>Tab</td><td>hides</td></tr>"
        )
        assert blocks(f"<table>{rows}</table>") == [
            ("table", "| Key | Does | |\n|---|---|---|\n| | here | there |\n| Tab | | hides |")
        ]

    def test_words_of_a_cell_are_not_torn_apart_and_hidden_ones_are_not_told(self) -> None:
        rows = (
            "<tr><td>H<sub>2</sub>O</td><td>wa<b>ter</b><script>x</script></td></tr>"
            "<tr><td><p>a</p><p>b</p></td><td>-----<i hidden>no</i></td></tr>"
        )
        assert blocks(f"<table>{rows}</table>") == [("table", "| H2O | water |\n| a b | ----- |")]

    def test_tables_of_layout_are_read_as_what_they_hold(self) -> None:
        long = "word " * 200
        assert blocks(f"<table><tr><td>Menu</td><td>{long}</td></tr><tr><td>a</td><td>b</td></tr></table>") == [
            ("paragraph", text) for text in ("Menu", long.strip(), "a", "b")
        ]
        cells = "<tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr>"
        assert [role for role, _ in blocks(f"<table role='presentation'>{cells}</table>")] == ["paragraph"] * 4
        assert [role for role, _ in blocks(f"<table><tr><td><table>{cells}</table></td></tr></table>")] == ["table"]

    def test_lists_in_a_table_with_a_header_stay_in_it(self) -> None:
        rows = "<tr><th>Key</th><th>Does</th></tr><tr><td>Tab</td><td><ul><li>one</li><li>two</li></ul></td></tr>"
        assert blocks(f"<table>{rows}</table>") == [("table", "| Key | Does |\n|---|---|\n| Tab | one two |")]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4), min_size=1, max_size=5))
    def test_no_cell_is_lost_and_none_comes_twice(self, spans: list[list[tuple[int, int]]]) -> None:
        names = (f"w{number}" for number in range(100))
        rows = [[(next(names), wide, high) for wide, high in row] for row in spans]
        markup = "".join(
            f"<tr>{''.join(f'<td colspan={wide} rowspan={high}>{word}</td>' for word, wide, high in row)}</tr>"
            for row in rows
        )
        found = " ".join(text or "" for _, text in blocks(f"<table>{markup}</table>"))
        assert Counter(re.findall(r"w\d+", found)) == Counter(word for row in rows for word, _, _ in row)


class TestWhatIsLeftOut:
    def test_a_page_s_header_goes_and_a_section_s_stays(self) -> None:
        page = (
            "<div><header>Site</header></div><main><header>Kept</header><footer>Too</footer></main><footer>c</footer>"
        )
        assert blocks(page) == [("paragraph", "Kept"), ("paragraph", "Too")]
        assert blocks("<header><h1>How to crop</h1></header><p>x</p>")[0] == ("heading", "How to crop")

    def test_a_body_s_own_classes_take_nothing_away(self) -> None:
        page = parse_html(b"<body class='toc related'><p>Yes</p></body>")
        assert text_of(html_blocks(page, lambda tag: None)) == "Yes"

    def test_marks_inside_words_go(self) -> None:
        assert blocks("<p>Häu\u00adser\u200b und\ufeff</p>") == [("paragraph", "Häuser und")]


class TestEncodings:
    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            ("<meta charset='shift_jis'><p>テスト</p>".encode("shift_jis"), "テスト"),
            ("<?xml version='1.0' encoding='ISO-8859-2'?><p>Łódź</p>".encode("iso-8859-2"), "Łódź"),
            ("<p>Größe “x”</p>".encode("cp1252"), "Größe “x”"),
            ("<p>Größe “x”</p>".encode(), "Größe “x”"),
            ("<p>Größe</p>".encode("utf-16"), "Größe"),
            (b"<?xml version='1.0' encoding='idna'?><p>\xf6x</p>", "öx"),
        ],
    )
    def test_text_is_read_in_the_encoding_that_it_is_in(self, raw: bytes, text: str) -> None:
        assert texts(raw) == [text]

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=300), st.sampled_from(["utf-8", "utf-7", "gbk", "x-user-defined", "none", ""]))
    def test_any_bytes_give_text_that_a_file_of_rows_can_hold(self, raw: bytes, charset: str) -> None:
        for text in [*texts(f"<meta charset='{charset}'><p>".encode() + raw), *texts(raw)]:
            assert text == text.encode().decode() and text.strip()


@pytest.mark.skipif(not GIMP.is_dir(), reason="needs Debian's package gimp-help-en")
def test_every_word_of_a_real_manual_comes_once() -> None:
    left_out = ".navheader, .navfooter, .toc, .indexdiv, script, style"
    total = 0
    for path in sorted((GIMP / "en").glob("*.html"))[::15]:
        raw = path.read_bytes()
        found = html_blocks(parse_html(raw), lambda tag: None)
        tree = parse_html(raw).tree
        for node in tree.css(left_out):
            node.decompose()
        words = Counter(re.findall(r"\w+", re.sub(r"\s+", " ", tree.body.text())))
        said = Counter(re.findall(r"\w+", " ".join(block["text"] for block in found)))
        total += sum(words.values())
        assert sum((words - said).values()) + sum((said - words).values()) <= 0.001 * sum(words.values()), path.name
    assert total > 15_000


def test_a_huge_page_of_images_and_cells_takes_no_time() -> None:
    start = time.perf_counter()
    body = "<figure>" + "<img src='a' alt='A nice one'>" * 5000 + "</figure><table>" + "<tr><td>a<td>b" * 5000
    assert len(blocks(body)) == 10_001
    assert len(blocks("<table><tr><td>" * 2000 + "x")) == 1
    assert time.perf_counter() - start < 10
