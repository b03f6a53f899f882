"""The page: what it finds, what it refuses, and how it looks in a browser."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from gradio_client import Client, handle_file
from PIL import Image
from served import Running, data_uri, fake_index, running, small_index

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.search_index import SearchIndex
from nyx_hf.serving_app import make_app
from nyx_hf.serving_page import found_html
from nyx_hf.serving_results import Shown
from nyx_hf.serving_settings import ServingSettings
from tests.pictures import noise_image

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def index(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_index(tmp_path_factory.mktemp("served"), tiny_folder)


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[Running]:
    """An index by itself brings its model and the page."""
    with running(str(index), "--name", "tiny") as found:
        yield found


def test_the_index_is_served_with_its_own_model(server: Running, index: Path) -> None:
    picture = noise_image(300, 200, 1)
    query = {"content": [{"type": "image_url", "image_url": data_uri(picture)}]}
    body = {"query": query, "k": 6, "thumbnails": True}
    answer = httpx.post(f"{server.url}/search", json=body, timeout=60).json()["results"]
    offline = SearchIndex.open(index).search(picture, k=6)
    assert [one["id"] for one in answer] == [one.id for one in offline]
    np.testing.assert_allclose([one["score"] for one in answer], [one.score for one in offline], atol=1e-5)
    assert len({one["score"] for one in answer}) == 6
    assert {one["id"] for one in answer if one["thumbnails"]} == {f"picture-{at}" for at in range(3)}
    only = {"query": "x", "where": {"modality": "text"}}
    found = httpx.post(f"{server.url}/search", json=only, timeout=60).json()["results"]
    assert {one["metadata"]["modality"] for one in found} == {"text"} and len(found) == 3
    wrong = httpx.post(f"{server.url}/search", json={"query": "x", "where": {"colour": 1}}, timeout=60)
    assert wrong.status_code == 400 and "colour" in wrong.json()["error"]["message"]


def test_the_page_searches(server: Running, index: Path, tmp_path: Path) -> None:
    client = Client(f"{server.url}/page/", verbose=False)
    picture = tmp_path / "asked.png"
    noise_image(300, 200, 1).save(picture)
    html = client.predict("a red bicycle", handle_file(picture), 4, api_name="/search")
    with Image.open(picture) as image:
        offline = SearchIndex.open(index).search((image, "a red bicycle"), k=4)
    places = [html.index(f"{rank}. {one.id}") for rank, one in enumerate(offline, start=1)]
    assert places == sorted(places) and html.count("<li>") == 4
    assert html.count("<img") == sum("picture" in one.id for one in offline) > 0
    every = client.predict("birds", None, 6, api_name="/search")
    assert "&lt;b&gt;birds&lt;/b&gt;" in every and "<b>" not in every
    with pytest.raises(Exception, match="Type something"):
        client.predict(" ", None, 4, api_name="/search")


def test_the_page_loads_nothing_from_elsewhere(server: Running) -> None:
    page = httpx.get(f"{server.url}/", follow_redirects=True, timeout=60)
    assert page.url.path == "/page/" and page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "http" not in policy and "*" not in policy
    assert '"analytics_enabled":false' in page.text.replace(" ", "")
    assert "fonts.googleapis" not in page.text and "fonts.gstatic" not in page.text


def test_the_page_asks_for_the_token(tiny_model: NyxModel) -> None:
    index = fake_index(tiny_model, [[{"type": "text", "text": "birds"}]])
    app = make_app(ServingSettings("tiny", token="correct-horse"), tiny_model, index, page=True)
    with TestClient(app) as client:
        assert client.get("/page/config").status_code == 401
        for password, status in (("wrong", 400), ("correct-horse", 200)):
            answer = client.post("/page/login", data={"username": "me", "password": password})
            assert answer.status_code == status
        assert client.get("/page/config").json()["title"] == "Search with tiny"
        assert client.get("/v1/models").status_code == 401  # the page's login opens the page alone


def test_documents_are_written_as_text() -> None:
    words = "<script>alert(1)</script>" + "x" * 2000
    html = found_html([Shown('<img src=x onerror="alert(1)">', 0.5, words, {}, ['data:"><script>'])])
    assert "<script" not in html and html.count("<img") == 1 and len(html) < 1500
    assert "Nothing" in found_html([])


def test_in_a_browser(server: Running, tmp_path: Path) -> None:
    """Types a query, presses the button, and looks: nothing is asked of any other host."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    # a process of its own: playwright's loop stays where it was started
    script = Path(__file__).parent / "browse_page.py"
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [sys.executable, str(script), chromium, f"{server.url}/page/", str(picture)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "picture-1" in done.stdout and "elsewhere: []" in done.stdout, done.stdout
    with Image.open(picture) as image:
        assert image.width == 1280 and len(image.convert("RGB").resize((64, 64)).getcolors(4096) or []) > 50
