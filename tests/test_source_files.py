"""Awkward files: names, bases, links that lead out, broken images, Markdown, and lines that are no pages."""

import base64
import io
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import EpsImagePlugin, Image
from test_sources import picture, read, site

from nyx_hf.data_builders.folder_images import ImageLimits, UnusableImageError, checked_image
from nyx_hf.data_builders.html_blocks import html_blocks
from nyx_hf.data_builders.markdown_page import parse_markdown
from nyx_hf.data_builders.pages import PAGE, images_of, text_of
from nyx_hf.data_builders.sources import open_source

OUTSIDE = "image: outside the folder (name the folder above to read it)"


def states(spec: str) -> dict[str, str]:
    return {ref["id"]: ref["state"] for ref in open_source(spec).refs()}


class TestFiles:
    def test_names_that_saved_sites_have_are_found(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s", one="<img src='q.png?v=2'><img src='a%20b.png'><img src='images/a.png?x'>")
        (folder / "q.png?v=2").write_bytes(picture())
        (folder / "a%20b.png").write_bytes(picture(seed=1))
        pages, dropped = read(f"html:{folder}")
        assert len(images_of(pages["one.html"]["content"])) == 3 and not dropped

    @pytest.mark.parametrize(
        "base", ["/images/", "../images/", "../images/x.html", "/images/../images/", "../images/."]
    )
    def test_a_base_is_a_folder_or_a_file_in_one(self, tmp_path: Path, base: str) -> None:
        folder = site(tmp_path / "s")
        (folder / "sub").mkdir()
        (folder / "sub" / "p.html").write_text(f"<base href='{base}'><img src='a.png'>")
        assert len(images_of(read(f"html:{folder}")[0]["sub/p.html"]["content"])) == 1

    @pytest.mark.parametrize("base", ["https://x.example/docs/", "", "http://["])
    def test_a_base_on_the_web_stands_for_the_page_s_own_folder(self, tmp_path: Path, base: str) -> None:
        folder = site(tmp_path / "s", one=f"<base href='{base}'><img src='images/a.png'>")
        assert len(images_of(read(f"html:{folder}")[0]["one.html"]["content"])) == 1

    def test_images_outside_are_counted_with_advice_and_found_from_above(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s")
        (folder / "en").mkdir()
        (folder / "en" / "p.html").write_text("<p>Text</p><img src='../images/a.png'><img src='file:///etc/x.png'>")
        assert read(f"html:{folder / 'en'}")[1] == {OUTSIDE: 2}
        assert len(images_of(read(f"html:{folder}")[0]["en/p.html"]["content"])) == 1

    def test_pages_behind_links_that_lead_out_are_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "private.html").write_text("<p>Private</p>")
        folder = site(tmp_path / "s", one="<p>One</p>")
        (folder / "out.html").symlink_to(tmp_path / "private.html")
        (folder / "in.html").symlink_to(folder / "one.html")
        pages, dropped = read(f"html:{folder}")
        assert list(pages) == ["in.html", "one.html"] and dropped == {"page: outside the folder": 1}

    def test_a_page_that_went_away_is_counted(self, tmp_path: Path) -> None:
        source = open_source(f"html:{site(tmp_path / 's', one='<p>One</p>', two='<p>Two</p>')}")
        refs = list(source.refs())
        (tmp_path / "s" / "one.html").unlink()
        first, second = source.read(refs)
        assert [row["dropped"] for row in first] == ["page: cannot be read"] and second[0]["id"] == "two.html"

    def test_names_that_are_no_utf_8_are_read_and_escaped(self, tmp_path: Path) -> None:
        try:
            Path(os.fsdecode(bytes(tmp_path) + b"/gr\xf6n.html")).write_text("<p>Grün</p>")
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        (tmp_path / "grün.html").write_text("<p>Grün</p>", "utf-8")
        assert set(read(f"html:{tmp_path}")[0]) == {"gr%F6n.html", "grün.html"}

    def test_a_list_may_name_addresses_and_one_page_needs_no_list(self, tmp_path: Path) -> None:
        folder = site(
            tmp_path / "s", one="<link rel=canonical href='https://x.example/1'><p>One</p>", two="<p>Two</p>"
        )
        (folder / "pages.txt").write_text("two.html\thttps://x.example/two\none.html\n")
        pages, _ = read(f"html:{folder / 'pages.txt'}")
        assert [(page_id, page["url"]) for page_id, page in pages.items()] == [
            ("https://x.example/two", "https://x.example/two"),
            ("one.html", "https://x.example/1"),
        ]
        assert list(read(f"html:{folder / 'two.html'}")[0]) == ["two.html"]
        (folder / "picture.bin").write_bytes(picture())
        with pytest.raises(ValueError, match="neither a html page nor a list of such"):
            read(f"html:{folder / 'picture.bin'}")

    def test_a_folder_elsewhere_has_the_same_states_and_rows(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s", one="<p>x</p><img src='images/a.png'><img src='gone.png'>", two="<p>Two</p>")
        shutil.copytree(folder, tmp_path / "other" / "place")
        here, there = f"html:{folder}", f"html:{tmp_path / 'other' / 'place'}"
        assert states(here) == states(there) and read(here) == read(there)
        (folder / "gone.png").write_bytes(picture(seed=4))
        after = states(here)
        assert after["one.html"] != states(there)["one.html"] and after["two.html"] == states(there)["two.html"]

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "ICO"])
    def test_broken_images_are_refused_and_raise_nothing_else(self, kind: str) -> None:
        try:
            file = picture(kind=kind)
        except (KeyError, OSError):
            pytest.skip(f"this Pillow writes no {kind}")
        outcomes: Counter[str] = Counter()
        for number in range(150):
            broken = bytearray(file)
            broken[(7 * number) % len(broken)] ^= 1 + number
            try:
                checked_image(bytes(broken if number % 2 else broken[: number * len(file) // 150]), ImageLimits())
                outcomes["taken"] += 1
            except UnusableImageError as reason:
                outcomes[str(reason)] += 1
        assert outcomes["image: not an image"] > 0

    def test_no_format_that_runs_a_program_is_opened(self, monkeypatch: pytest.MonkeyPatch) -> None:
        postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"
        calls: list[Any] = []
        monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args: calls.append(args))
        with pytest.raises(UnusableImageError, match="not an image"):
            checked_image(postscript, ImageLimits())
        with Image.open(io.BytesIO(postscript)) as image:
            assert image.format == "EPS" and not calls  # Pillow would have read it


class TestMarkdown:
    @pytest.mark.parametrize(
        ("text", "title", "first"),
        [
            ("---\ntitle: T\n---\n# H", "T", "H"),
            ("\ufeff---\r\ntitle: T\r\n...\r\n# H", "T", "H"),
            ("---\ntitle: [\n---\n## H\ntext", "H", "H"),
            ("---\ndate: 2020-99-99\n---\n# H", "H", "H"),
            ("---\nno front matter", None, "no front matter"),
        ],
    )
    def test_titles_come_from_front_matter_or_the_first_heading(
        self, text: str, title: str | None, first: str
    ) -> None:
        page = parse_markdown(text.encode())
        assert page.title == title and html_blocks(page, lambda tag: None)[0]["text"] == first

    def test_deep_quotes_keep_their_text_and_html_is_read(self) -> None:
        page = parse_markdown(("> " * 60 + "deep\n\n<p>in <b>HTML</b></p><script>no</script>\n").encode())
        assert text_of(html_blocks(page, lambda tag: None)) == "deep\n\nin HTML"

    def test_images_come_from_inside_the_folder_only(self, tmp_path: Path) -> None:
        folder = site(tmp_path / "s")
        (folder / "a.md").write_text(
            "![One](images/b%20c.jpg)\n\n![Two](../x.png)\n\n![Three](http://x.example/y.png)\n"
        )
        pages, dropped = read(f"markdown:{folder}")
        assert len(images_of(pages["a.md"]["content"])) == 1
        assert dropped == {OUTSIDE: 1, "image: on another site": 1}


class TestLines:
    def lines(self, folder: Path, *rows: Any) -> str:
        data = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        (folder / "p.jsonl").write_bytes(b"\n".join(data) + b"\n")
        return f"jsonl:{folder / 'p.jsonl'}"

    def test_a_line_s_state_changes_with_the_images_that_it_names(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(picture())
        part = {"type": "image", "image": {"path": "a.png", "bytes": None}}
        spec = self.lines(tmp_path, {"id": "a", "content": [part]}, {"id": "b", "text": "b"})
        before = states(spec)
        assert len(images_of(read(spec)[0]["a"]["content"])) == 1
        (tmp_path / "a.png").write_bytes(picture(seed=5))
        after = states(spec)
        assert after["line 1"] != before["line 1"] and after["line 2"] == before["line 2"]

    def test_bad_lines_are_counted(self, tmp_path: Path) -> None:
        long = {"id": "long", "text": "x" * 2000}
        bad_bytes = {"id": "c", "content": [{"type": "image", "image": {"bytes": "a"}}]}
        deep = b"[" * 100_000
        spec = self.lines(
            tmp_path, {"id": 0, "text": "zero"}, {"id": "0", "text": "again"}, {"id": [1], "text": "x"},
            b'{"id": "u", "text": "\xff"}', deep[:900], bad_bytes, long, {"id": True, "text": "x"},
        )  # fmt: skip
        pages, dropped = read(spec, max_bytes=1000)
        assert list(pages) == ["0"]
        assert dropped == {
            "line: an id that came before": 1,
            "line: an id that is neither text nor a number": 2,
            "line: not UTF-8": 1,
            "line: no JSON": 1,
            "image: broken base64": 1,
            "page: no text and no image": 1,
            "line: too long": 1,
        }
        assert read(self.lines(tmp_path, deep))[1] == {"line: no JSON": 1}

    def test_a_file_of_empty_lines_is_one_clear_line(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="the file is empty; name another"):
            read(self.lines(tmp_path, b"", b"  "))

    def test_rows_of_every_source_fit_the_columns(self, tmp_path: Path) -> None:
        half = (
            b'{"id": "half \\ud800", "title": "\\udfff", "text": "One \\ud800 two.\\r\\n\\r\\nThree \\ud83d\\ude00."}'
        )
        pages, _ = read(self.lines(tmp_path, half))
        (page,) = pages.values()
        assert text_of(page["content"]) == "One ? two.\n\nThree 😀."
        folder = site(tmp_path / "s", one="<p>x</p><img src='images/a.png'><img src='none.png'>", two="")
        source = open_source(f"html:{folder}")
        rows = [row for rows in source.read(list(source.refs())) for row in rows]
        table = pa.Table.from_pylist([page, *rows], schema=PAGE.arrow_schema)
        assert table.num_rows == 4 and table["dropped"].to_pylist().count(None) == 2

    def test_images_too_large_are_not_decoded(self, tmp_path: Path) -> None:
        data = base64.b64encode(picture(200, 200)).decode()
        uri = f"data:image/png;base64,{data}"
        svg = "data:image/svg+xml;utf8,<svg></svg>"
        parts = [{"type": "image", "image": image} for image in ({"bytes": data}, uri, svg)]
        _, dropped = read(self.lines(tmp_path, {"id": "a", "content": parts}), limits=ImageLimits(max_bytes=1000))
        assert dropped == {"image: file too large": 2, "image: SVG": 1, "page: no text and no image": 1}
