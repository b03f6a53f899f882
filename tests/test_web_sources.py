"""Images from the web, pages of OBELICS, PDF files: what is dangerous, slow or broken is left out and counted."""

import io
import json
import pickle
import random
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from test_sources import picture, read

from nyx_hf.data_builders.fetching import FetchError, ImageFetcher, is_public
from nyx_hf.data_builders.folder_images import ImageLimits
from nyx_hf.data_builders.nyxqa_config import NyxQAConfig
from nyx_hf.data_builders.nyxqa_stages import Pipeline
from nyx_hf.data_builders.pages import images_of, text_of
from nyx_hf.data_builders.source_obelics import REPOSITORY, ObelicsSource
from nyx_hf.data_builders.sources import open_source
from nyx_hf.data_builders.upstream import LayoutError

GOOD = picture(80, 60)


class Site(BaseHTTPRequestHandler):
    """Good and bad images; each path's requests are counted."""

    asked: Counter[str]

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.asked[path] += 1
        if path == "/moved":
            return self.answer(302, b"", location="/good.png")
        if path == "/round":
            return self.answer(302, b"", location="/round")
        if path == "/inside":
            return self.answer(302, b"", location="http://10.0.0.1/secret.png")
        if path == "/file":
            return self.answer(302, b"", location="file:///etc/passwd")
        if path == "/busy" and self.asked[path] < 3:
            return self.answer(503, b"")
        if path in ("/good.png", "/busy", "/named"):
            return self.answer(200, GOOD, kind="text/html")  # what it says it is counts for nothing
        if path == "/page":
            return self.answer(200, b"<html>no image</html>", kind="image/png")
        if path == "/huge":
            body = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
            header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
            return self.answer(200, b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 4) + b"IDAT" + b"0" * 8)
        if path == "/cut":
            return self.answer(200, GOOD[: len(GOOD) // 2])
        if path in ("/endless", "/drip"):
            return self.stream(64_000 if path == "/endless" else 10, 0.0 if path == "/endless" else 0.05)
        if path == "/slow":
            time.sleep(1.0)
            return self.answer(200, GOOD)
        if path == "/closed":
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b"\x89PNG")
            return None
        return self.answer(404, b"")

    def answer(self, status: int, body: bytes, kind: str = "image/png", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, size: int, wait: float) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(200):
                self.wfile.write(b"\x89PNG" + b"x" * size)
                time.sleep(wait)
        except OSError:
            pass  # the client has had enough

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture()
def site() -> Iterator[tuple[str, Counter[str]]]:
    asked: Counter[str] = Counter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (Site,), {"asked": asked}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def fetcher(tmp_path: Path, **changes: Any) -> ImageFetcher:
    limits = ImageLimits(max_bytes=1_000_000)
    how = {
        "cache": tmp_path / "cache",
        "timeout": 0.4,
        "deadline": 1.5,
        "allow_private": True,
        "limits": limits,
        **changes,
    }
    return pickle.loads(pickle.dumps(ImageFetcher(**how)))  # workers get it so


def reason(found: bytes | FetchError) -> str:
    return "fetched" if isinstance(found, bytes) else str(found)


class TestFetching:
    def test_good_images_come_and_bad_ones_say_why(self, tmp_path: Path, site: tuple[str, Counter[str]]) -> None:
        url, _ = site
        expected = {
            "/good.png": "fetched",
            "/moved": "fetched",
            "/busy": "fetched",
            "/gone": "image: HTTP 404",
            "/page": "image: not an image",
            "/huge": "image: too many pixels",
            "/cut": "image: corrupt",
            "/endless": "image: file too large",
            "/drip": "image: timed out",
            "/slow": "image: timed out",
            "/closed": "image: cannot be reached",
            "/round": "image: too many redirects",
            "/file": "image: no plain http(s) address",
        }
        found = fetcher(tmp_path, deadline=2.5).fetch([url + path for path in expected])
        assert {path: reason(one) for path, one in zip(expected, found, strict=True)} == expected
        assert found[0] == GOOD

    def test_nothing_is_asked_twice_but_what_may_pass(self, tmp_path: Path, site: tuple[str, Counter[str]]) -> None:
        url, asked = site
        urls = [f"{url}{path}" for path in ("/good.png", "/good.png", "/gone", "/slow")]
        first = [reason(one) for one in fetcher(tmp_path, attempts=1).fetch(urls)]
        assert first == ["fetched", "fetched", "image: HTTP 404", "image: timed out"]
        assert [reason(one) for one in fetcher(tmp_path, attempts=1).fetch(urls)] == first
        assert asked == {"/good.png": 1, "/gone": 1, "/slow": 2}

    def test_a_private_address_is_never_asked(self, tmp_path: Path, site: tuple[str, Counter[str]]) -> None:
        url, asked = site
        closed = fetcher(tmp_path, allow_private=False)
        assert [reason(one) for one in closed.fetch([f"{url}/good.png", url.replace("127.0.0.1", "localhost")])] == [
            "image: private address"
        ] * 2
        assert not asked

    def test_a_redirect_into_a_private_network_is_not_followed(
        self, tmp_path: Path, site: tuple[str, Counter[str]]
    ) -> None:
        url, asked = site
        port = url.rsplit(":", 1)[1]

        def open_web(host: str, port: int) -> list[str]:
            return {"pictures.example": ["127.0.0.1"], "10.0.0.1": ["10.0.0.1"]}[host]

        looked_up: list[str] = []

        class Half(ImageFetcher):
            def _address(self, host: str, port: int) -> str:
                looked_up.append(host)
                if host == "pictures.example":
                    return "127.0.0.1"  # stands for an open address
                return super()._address(host, port)

        half = Half(tmp_path / "cache", timeout=0.5, deadline=2, resolver=open_web)
        [one, two] = half.fetch([f"http://pictures.example:{port}/inside", f"http://pictures.example:{port}/named"])
        assert reason(one) == "image: private address" and reason(two) == "fetched"
        assert "10.0.0.1" in looked_up and asked["/inside"] == 1

    def test_a_name_is_looked_up_once_and_the_checked_address_is_asked(
        self, tmp_path: Path, site: tuple[str, Counter[str]]
    ) -> None:
        url, _ = site
        times: list[str] = []

        def rebinding(host: str, port: int) -> list[str]:
            times.append(host)
            return ["127.0.0.1"] if len(times) == 1 else ["10.0.0.1"]

        how = {"timeout": 0.5, "deadline": 2, "allow_private": True, "resolver": rebinding}
        found = ImageFetcher(tmp_path / "cache", **how).fetch([url.replace("127.0.0.1", "once.example") + "/good.png"])
        assert reason(found[0]) == "fetched" and times == ["once.example"]

    @pytest.mark.parametrize(
        "url",
        ["ftp://x/a.png", "http://", "http://user:word@example.com/a.png", "javascript:1", "http://[::1", "//x/a.png"],
    )
    def test_addresses_of_other_kinds_are_refused(self, tmp_path: Path, url: str) -> None:
        assert reason(fetcher(tmp_path).fetch([url])[0]) in (
            "image: no plain http(s) address",
            "image: broken address",
        )

    def test_a_host_that_is_not_there(self, tmp_path: Path) -> None:
        def nowhere(host: str, port: int) -> list[str]:
            raise OSError("no such host")

        found = ImageFetcher(tmp_path, deadline=0.2, resolver=nowhere).fetch(["http://nowhere.example/a.png"])
        assert reason(found[0]) == "image: no such host" and not list(tmp_path.rglob("*.failed"))

    @pytest.mark.parametrize(
        ("address", "public"),
        [
            ("8.8.8.8", True),
            ("2001:4860:4860::8888", True),
            *[
                (one, False)
                for one in [
                    "127.0.0.1",
                    "10.1.2.3",
                    "172.16.0.1",
                    "192.168.1.1",
                    "169.254.169.254",
                    "100.64.0.1",
                    "0.0.0.0",
                    "224.0.0.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::1",
                    "::",
                    "fe80::1",
                    "fe80::1%eth0",
                    "fc00::1",
                    "ff02::1",
                    "::ffff:127.0.0.1",
                    "::ffff:10.0.0.1",
                    "64:ff9b::7f00:1",
                    "2002:7f00:1::",
                    "2001:db8::1",
                    "nonsense",
                ]
            ],
            ("::ffff:8.8.8.8", True),
        ],
    )
    def test_which_addresses_are_public(self, address: str, public: bool) -> None:
        assert is_public(address) is public


def obelics(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """The repository's layout: Parquet files of one config."""
    place = folder / REPOSITORY / "data"
    place.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), place / "train-00000-of-00001.parquet")
    return folder


def obelics_row(number: int, url: str) -> dict[str, Any]:
    words = f"Page {number} tells of a river.\n\nIt flows past town {number}."
    return {
        "images": [None, f"{url}/good.png?{number}", None, f"{url}/gone"],
        "texts": [words, None, f"Boats number {number} sail on it.", None],
        "metadata": json.dumps([None, {"alt_text": "a river"}, None, None]),
        "general_metadata": json.dumps({"url": f"https://example.com/{number}", "warc_filename": "w"}),
    }


class TestObelics:
    def pages(self, source: ObelicsSource) -> tuple[list[dict[str, Any]], Counter[str]]:
        rows = [row for rows in source.read(list(source.refs())) for row in rows]
        return [row for row in rows if row["dropped"] is None], Counter(
            row["dropped"] for row in rows if row["dropped"]
        )

    def test_images_are_fetched_only_when_asked_for(self, tmp_path: Path, site: tuple[str, Counter[str]]) -> None:
        url, asked = site
        local = str(obelics(tmp_path / "hub", [obelics_row(number, url) for number in range(3)]))
        pages, dropped = self.pages(ObelicsSource(local=local, fetcher=fetcher(tmp_path)))
        assert not asked and dropped == {"image: not asked for": 6} and len(pages) == 3
        assert pages[0]["url"] == "https://example.com/0" and "town 0.\n\nBoats" in text_of(pages[0]["content"])
        pages, dropped = self.pages(ObelicsSource(images="fetch", local=local, fetcher=fetcher(tmp_path)))
        assert dropped == {"image: HTTP 404": 3} and asked["/good.png"] == 3
        assert [block["type"] for block in pages[0]["content"]] == ["text", "text", "image", "text"]
        assert not ObelicsSource().own and ObelicsSource().label == "HuggingFaceM4/OBELICS:train"

    def test_another_layout_names_the_missing_column(self, tmp_path: Path) -> None:
        row = {name: value for name, value in obelics_row(0, "http://x").items() if name != "texts"}
        source = ObelicsSource(local=str(obelics(tmp_path, [row])))
        with pytest.raises(
            LayoutError, match=r"OBELICS at local folder, default/train: the column 'texts' is missing"
        ):
            list(source.refs())


def pdf(path: Path, pages: int = 1, **options: Any) -> Path:
    """A PDF of a heading, a hyphenated paragraph, an image, and a line below it."""
    canvas = Canvas(str(path), pagesize=A4, **options)
    canvas.setTitle("On rivers")
    for number in range(pages):
        canvas.setFont("Helvetica-Bold", 20)
        canvas.drawString(72, 760, f"River {number}")
        canvas.setFont("Helvetica", 11)
        for place, line in enumerate(["The river flows past the vil-", "lage and on to the sea.", "It is long."]):
            canvas.drawString(72, 720 - 13 * place, line)
        canvas.drawImage(ImageReader(io.BytesIO(picture(120, 80, number))), 72, 560, 120, 80)
        canvas.drawImage(ImageReader(io.BytesIO(picture(12, 12, number))), 300, 560, 12, 12)
        canvas.drawString(72, 520, "Below the picture stands a line.")
        canvas.showPage()
    canvas.save()
    return path


class TestPdf:
    def test_text_and_embedded_images_come_in_order(self, tmp_path: Path) -> None:
        pdf(tmp_path / "rivers.pdf", 2)
        pages, dropped = read(f"pdf:{tmp_path}", mode="embedded")
        assert list(pages) == ["rivers.pdf#page-1", "rivers.pdf#page-2"] and dropped == {"image: icon or spacer": 2}
        content = pages["rivers.pdf#page-1"]["content"]
        assert [block["text"] for block in content] == [
            "River 0",
            "The river flows past the village and on to the sea. It is long.",
            None,
            "Below the picture stands a line.",
        ]
        assert Image.open(io.BytesIO(images_of(content)[0])).size == (120, 80)
        assert pages["rivers.pdf#page-1"]["title"] == "On rivers"

    def test_pages_are_rendered_as_images(self, tmp_path: Path) -> None:
        pages, _ = read(f"pdf:{pdf(tmp_path / 'rivers.pdf')}", dpi=72)
        [image] = images_of(pages["rivers.pdf#page-1"]["content"])
        assert Image.open(io.BytesIO(image)).size == (596, 842)
        small = read(f"pdf:{tmp_path / 'rivers.pdf'}", limits=ImageLimits(max_pixels=10_000))[0]["rivers.pdf#page-1"]
        assert Image.open(io.BytesIO(images_of(small["content"])[0])).width < 100

    def test_what_cannot_be_read_is_counted(self, tmp_path: Path) -> None:
        pdf(tmp_path / "secret.pdf", encrypt="word")
        whole = pdf(tmp_path / "whole.pdf", 4).read_bytes()
        (tmp_path / "broken.pdf").write_bytes(whole[:300])
        (tmp_path / "empty.pdf").write_bytes(b"")
        blank = Canvas(str(tmp_path / "blank.pdf"))
        blank.showPage()
        blank.save()
        pages, dropped = read(f"pdf:{tmp_path}", mode="embedded", max_pages=3)
        assert len(pages) == 3 and dropped == {
            "file: encrypted": 1,
            "file: no PDF, or broken": 2,
            "page: no text and no image": 1,
            "page: beyond the most of a file": 1,
            "image: icon or spacer": 3,
        }

    def test_a_file_s_pages_go_into_one_split(self, tmp_path: Path) -> None:
        folder = tmp_path / "papers"
        folder.mkdir()
        letters = random.Random(0)
        for number in range(12):
            canvas = Canvas(str(folder / f"paper{number}.pdf"), pagesize=A4)
            for _ in range(3):
                for line in range(6):  # words of its own, so that no page is another's twin
                    words = " ".join("".join(letters.choices(ascii_lowercase, k=7)) for _ in range(8))
                    canvas.drawString(72, 760 - 14 * line, words)
                canvas.showPage()
            canvas.save()
        config = NyxQAConfig(
            name="corpus",
            source=f"pdf:{folder}",
            pdf="embedded",
            tokenizer="words",
            shares="0.5,0.25,0.25",
            cache=str(tmp_path / "cache"),
        )
        corpus = Pipeline(config, open_source(config.source, mode=config.pdf)).corpus()
        pages = list(corpus.chunks.rows["page_id"])
        assert {len([page for page in pages if page.startswith(f"paper{n}.pdf#")]) >= 3 for n in range(12)} == {True}
        found = {(page.split("#")[0], corpus.split_of(page)) for page in pages}
        assert len(found) == 12 and len({split for _, split in found}) == 3
