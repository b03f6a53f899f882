"""Pages from disk: reading order, what is left out and counted, images from inside the folder only, bad input."""

import base64
import io
import json
import os
import pickle
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nyx_hf.data_builders.html_blocks import html_blocks, parse_html
from nyx_hf.data_builders.html_tables import table_text
from nyx_hf.data_builders.pages import images_of, text_of
from nyx_hf.data_builders.sources import open_source
from tests.pictures import noise_image

GIMP = Path("/usr/share/gimp/2.0/help")


def picture(width: int = 60, height: int = 50, seed: int = 0, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    noise_image(width, height, seed).save(file, format=kind)
    return file.getvalue()


def site(folder: Path, **pages: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "a.png").write_bytes(picture())
    (folder / "images" / "b c.jpg").write_bytes(picture(seed=1, kind="JPEG"))
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(
            f"<html><head><title>{name}</title></head><body>{body}</body></html>", "utf-8"
        )
    return folder


def read(spec: str, **options: Any) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    source = pickle.loads(pickle.dumps(open_source(spec, **options)))  # workers get it so
    rows = [row for rows in source.read(list(source.refs())) for row in rows]
    kept = {row["id"]: row for row in rows if row["dropped"] is None}
    return kept, Counter(row["dropped"] for row in rows if row["dropped"] is not None)


def blocks(body: str) -> list[tuple[str | None, str | None]]:
    page = parse_html(f"<body>{body}</body>".encode())
    return [(block["role"], block["text"]) for block in html_blocks(page, lambda tag: tag.addresses[0].encode())]


class TestReadingOrder:
    def test_blocks_come_in_order_with_their_roles(self) -> None:
        assert blocks(
            "<h1>Crop</h1><p>Cut\n an <b>image</b>.</p><ul><li>One</li><li>Two<ul><li>Inner</li></ul></li></ul>"
            "<dl><dt>Fixed</dt><dd>Keeps the ratio.</dd></dl><pre>a = 1\n  b = 2</pre>"
            "<figure><img src='a.png'><figcaption>A crop</figcaption></figure><p>End<br>of it</p>"
        ) == [
            ("heading", "Crop"),
            ("paragraph", "Cut an image."),
            ("item", "One"),
            ("item", "Two"),
            ("item", "Inner"),
            ("term", "Fixed"),
            ("item", "Keeps the ratio."),
            ("code", "a = 1\n  b = 2"),
            (None, None),
            ("caption", "A crop"),
            ("paragraph", "End\nof it"),
        ]

    def test_an_image_inside_a_sentence_stands_where_it_stands(self) -> None:
        assert blocks("<p>Click <img src='a.png'> to start.</p>") == [
            ("paragraph", "Click"),
            (None, None),
            ("paragraph", "to start."),
        ]
        page = parse_html(b"<body><p>Click <img src='a.png'> to start.</p></body>")
        assert [block["text"] for block in html_blocks(page, lambda tag: None)] == ["Click to start."]

    def test_alt_text_is_a_caption_where_there_is_none_and_it_says_something(self) -> None:
        assert blocks("<p><img src='a.png' alt='The crop tool at work'></p>")[1] == (
            "caption",
            "The crop tool at work",
        )
        for alt in ("", "[Note]", "Prev", "crop-tool.png", "***"):
            assert blocks(f"<p><img src='a.png' alt='{alt}'></p>") == [(None, None)]
        figure = "<figure><img src='a.png' alt='The crop tool at work'><figcaption>Cropping</figcaption></figure>"
        assert blocks(figure)[1:] == [("caption", "Cropping")]

    def test_a_table_of_data_is_text_and_one_of_layout_is_not(self) -> None:
        rows = "<tr><th>Key</th><th>Does</th></tr><tr><td>Tab</td><td>hides | docks</td></tr>"
        assert blocks(f"<table><caption>Keys</caption>{rows}</table>") == [
            ("table", "Keys\n| Key | Does |\n|---|---|\n| Tab | hides | docks |")
        ]
        assert blocks("<table><tr><td><p>One</p><ul><li>Two</li></ul></td></tr></table>") == [
            ("paragraph", "One"),
            ("item", "Two"),
        ]
        assert table_text([["a", "b"], ["c", ""]]) == "| a | b |\n| c | |"

    def test_navigation_scripts_and_what_is_hidden_are_left_out(self) -> None:
        body = (
            "<nav>Home</nav><div class='navheader'>Prev</div><header>Site</header><script>x()</script>"
            "<style>p{}</style><noscript>Turn it on</noscript><p hidden>no</p><p style='display: none'>no</p>"
            "<p aria-hidden='true'>no</p>"
            "<div role='navigation'>no</div><template>no</template><button>Go</button><!-- no --><p>Yes</p>"
            "<article><header>Kept</header></article><footer>Site</footer>"
        )
        assert blocks(body) == [("paragraph", "Yes"), ("paragraph", "Kept")]

    @settings(max_examples=60, deadline=None)
    @given(st.recursive(st.text("ab <&", max_size=6), lambda inner: st.lists(inner, max_size=4), max_leaves=12))
    def test_no_text_is_lost_and_none_comes_twice(self, tree: Any) -> None:
        def markup(node: Any, depth: int = 0) -> str:
            if isinstance(node, str):
                return node.replace("&", "&amp;").replace("<", "&lt;")
            tag = ("div", "p", "span", "li", "section", "b")[depth % 6 if depth % 6 != 1 else 0]
            return f"<{tag}>{''.join(markup(one, depth + 1) for one in node)}</{tag}>"

        def said(node: Any) -> str:
            return node if isinstance(node, str) else "".join(map(said, node))

        page = parse_html(f"<body>{markup(tree)}</body>".encode())
        found = text_of(html_blocks(page, lambda tag: None))
        assert "".join(found.split()) == "".join(said(tree).split())

    def test_ten_thousand_nested_elements_do_no_harm(self) -> None:
        assert blocks("<div>" * 10_000 + "deep" + "</div>" * 10_000)[0][1] == "deep"


class TestImages:
    def test_images_are_found_by_every_way_that_pages_name_them(self, tmp_path: Path) -> None:
        uri = "data:image/png;base64," + base64.b64encode(picture(seed=3)).decode()
        body = (
            "<img src='images/a.png?v=2#x'><img src='images/b%20c.jpg'><img src='blank.gif' data-src='images/a.png'>"
            f"<img srcset='x.png 1x, images/a.png 2x' src='y.png'><img src='/images/a.png'><img src='{uri}'>"
            "<picture><source srcset='images/a.png 800w'><img src='y.png'></picture>"
        )
        pages, _ = read(f"html:{site(tmp_path / 's', one=body)}")
        assert len(images_of(pages["one.html"]["content"])) == 7
        (tmp_path / "s" / "sub").mkdir()
        (tmp_path / "s" / "sub" / "two.html").write_text("<base href='../images/'><img src='a.png'>")
        assert len(images_of(read(f"html:{tmp_path / 's'}")[0]["sub/two.html"]["content"])) == 1

    def test_what_is_no_good_is_left_out_and_counted(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s", one="")
        (tmp_path / "secret.png").write_bytes(picture())
        (folder / "link.png").symlink_to(tmp_path / "secret.png")
        (folder / "icon.png").write_bytes(picture(16, 16))
        (folder / "broken.png").write_bytes(b"no image at all")
        (folder / "drawing.svg").write_text("<svg/>")
        header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + header
        huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        (folder / "huge.png").write_bytes(huge + struct.pack(">I", 4) + b"IDAT" + b"0000" + b"0000")
        names = (
            "../secret.png link.png icon.png broken.png drawing.svg huge.png gone.png http://x.example/a.png //x/a.png"
        )
        body = "<p>Text</p>" + "".join(f"<img src='{name}'>" for name in [*names.split(), "data:image/png;base64,%%%"])
        pages, dropped = read(f"html:{site(folder, one=body)}")
        assert images_of(pages["one.html"]["content"]) == []
        assert dropped == {
            "image: outside the folder (name the folder above to read it)": 2,
            "image: icon or spacer": 1,
            "image: not an image": 2,
            "image: SVG": 1,
            "image: too many pixels": 1,
            "image: missing file": 1,
            "image: on another site": 2,
        }

    def test_a_gif_becomes_png_and_other_files_stay_as_they_are(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s", one="<img src='images/a.png'><img src='g.gif'>")
        (folder / "g.gif").write_bytes(picture(kind="GIF"))
        first, second = images_of(read(f"html:{folder}")[0]["one.html"]["content"])
        assert first == (folder / "images" / "a.png").read_bytes() and second.startswith(b"\x89PNG")


class TestFolder:
    def test_a_page_s_state_changes_with_the_page_and_with_its_images(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s", one="<img src='images/a.png'>", two="<p>Two</p>")
        states = {ref["id"]: ref["state"] for ref in open_source(f"html:{folder}").refs()}
        assert list(states) == ["one.html", "two.html"] and len(set(states.values())) == 2
        (folder / "images" / "a.png").write_bytes(picture(seed=9))
        after = {ref["id"]: ref["state"] for ref in open_source(f"html:{folder}").refs()}
        assert after["one.html"] != states["one.html"] and after["two.html"] == states["two.html"]

    def test_a_list_of_pages_is_read_in_its_order(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s", one="<p>One</p>", two="<p>Two</p>")
        (folder / "pages.txt").write_text("two.html\n\none.html\n")
        assert list(read(f"html:{folder / 'pages.txt'}")[0]) == ["two.html", "one.html"]
        (folder / "pages.txt").write_text("../x.html\n")
        with pytest.raises(ValueError, match=r"lists 'x.html', which is no file inside"):
            read(f"html:{folder / 'pages.txt'}")

    def test_pages_of_nothing_are_counted(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s", scripts="<script>x()</script>", good="<p>Good</p>")
        (folder / "empty.html").write_bytes(b"")
        (folder / "large.html").write_text("<p>" + "x" * 2000)
        pages, dropped = read(f"html:{folder}", max_bytes=1000)
        assert list(pages) == ["good.html"]
        assert dropped == {"page: no text and no image": 2, "page: file too large": 1}

    def test_encodings_are_told_from_the_page(self, tmp_path: Path) -> None:
        (tmp_path / "latin.html").write_bytes("<meta charset='iso-8859-1'><p>Größe</p>".encode("latin-1"))
        (tmp_path / "utf.html").write_bytes("<p>Größe 大小</p>".encode())
        (tmp_path / "bad.html").write_bytes(b"<p>Gr\xff\xfe\x00e</p>")
        pages, _ = read(f"html:{tmp_path}")
        assert (
            text_of(pages["latin.html"]["content"]) == "Größe"
            and text_of(pages["utf.html"]["content"]) == "Größe 大小"
        )
        assert text_of(pages["bad.html"]["content"]).startswith("Gr")

    def test_loops_of_links_end(self, tmp_path: Path) -> None:
        folder = site(
            tmp_path / "s", one="<a href='two.html'>2</a><img src='loop.png'>", two="<a href='one.html'>1</a>"
        )
        (folder / "again").symlink_to(folder, target_is_directory=True)
        (folder / "loop.png").symlink_to(folder / "loop.png")
        pages, dropped = read(f"html:{folder}")
        assert list(pages) == ["one.html", "two.html"] and sum(dropped.values()) == 1

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("html:{}/none", "there is no such folder or file"),
            ("html:{}", "there is no html page in it"),
            ("jsonl:{}", "this is a folder; name the file"),
            ("markdown:{}", "there is no markdown page in it"),
            ("web:{}", "expected one of html:…"),
            ("html", "name a folder or file behind the colon"),
        ],
    )
    def test_a_source_that_is_not_there_is_one_line(self, tmp_path: Path, spec: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            read(spec.format(tmp_path))

    def test_a_label_is_never_a_path(self, tmp_path: Path) -> None:
        assert open_source(f"html:{site(tmp_path / 'manual', one='x')}").label == "html:manual"


class TestOtherFormats:
    def test_markdown_is_read_as_the_pages_that_it_makes(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s")
        (folder / "a.md").write_text(
            "---\ntitle: All about it\n---\n# Head\n\nText with *stress*.\n\n![A picture of noise](images/a.png)\n\n"
            "- one\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
        )
        (folder / "b.md").write_text("# Plain\n\nText.\n")
        pages, dropped = read(f"markdown:{folder}")
        page = pages["a.md"]
        assert page["title"] == "All about it" and pages["b.md"]["title"] == "Plain" and not dropped
        assert [block["role"] for block in page["content"]] == [
            *("heading", "paragraph", None, "caption", "item", "code", "table")
        ]

    def test_lines_of_json_are_pages_and_bad_ones_are_counted(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(picture())
        uri = "data:image/png;base64," + base64.b64encode(picture(seed=1)).decode()
        raw = {"bytes": base64.b64encode(picture(seed=2)).decode()}
        images = [{"type": "image", "image": image} for image in ("a.png", uri, raw, "../b.png", 5)]
        lines = [
            json.dumps({"id": "x", "text": "One.\n\nTwo."}),
            json.dumps({"id": "y", "title": "Y", "content": [{"type": "text", "text": "Three."}, *images]}),
            "not json",
            "[1, 2]",
            json.dumps({"id": "z", "content": [{"type": "sound"}]}),
            json.dumps({"id": "e", "text": "  "}),
            json.dumps({"content": [{"type": "text", "text": "No id."}]}),
        ]
        (tmp_path / "p.jsonl").write_text("\n".join(lines) + "\n\n")
        pages, dropped = read(f"jsonl:{tmp_path / 'p.jsonl'}")
        assert list(pages) == ["x", "y", "line 7"] and text_of(pages["x"]["content"]) == "One.\n\nTwo."
        assert len(images_of(pages["y"]["content"])) == 3 and pages["y"]["title"] == "Y"
        assert dropped == {
            "line: no JSON": 1,
            "line: no JSON object": 1,
            "line: a part that is neither a text nor an image": 1,
            "page: no text and no image": 1,
            "image: outside the folder (name the folder above to read it)": 1,
            "image: neither a path, a data URI nor bytes": 1,
        }


@pytest.mark.skipif(not GIMP.is_dir(), reason="needs Debian's package gimp-help-en")
def test_a_real_manual_keeps_its_words_and_images() -> None:
    pages, dropped = read(f"html:{GIMP}")
    assert len(pages) == 685 and sum(len(images_of(page["content"])) for page in pages.values()) > 2000
    assert set(dropped) == {"image: icon or spacer"}
    said = kept = 0
    for name in list(pages)[::20]:
        tree = parse_html((GIMP / name).read_bytes()).tree
        for node in tree.css(".navheader, .navfooter, head, script, style, .toc"):
            node.decompose()
        text, place = "".join(tree.body.text().split()), 0
        said += len(text)
        for block in pages[name]["content"]:
            piece = "".join((block["text"] or "").split())
            if (at := text.find(piece, place)) >= 0 and piece:  # in order; captions out of alt texts are not there
                place, kept = at + len(piece), kept + len(piece)
    assert said > 50_000 and kept / said > 0.995, (kept, said)


def test_the_walk_skips_what_cannot_be_opened(tmp_path: Path) -> None:
    folder = site(tmp_path / "s", one="<p>One</p>")
    os.mkfifo(folder / "pipe.html")
    assert list(read(f"html:{folder}")[0]) == ["one.html"]
