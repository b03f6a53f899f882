"""No body makes the server fail: bodies drawn from its own OpenAPI page, and arbitrary JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import fake_index

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.serving_app import make_app
from nyx_hf.serving_settings import ServingSettings

CASES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
KEYS = (
    "input messages query documents content type text image_url url role where k dimensions top_n prompt_name model "
    "instruction video encoding_format"
)
POSTS = ["/v1/embeddings", "/v1/rerank", "/search"]


@pytest.fixture(scope="module")
def client(tiny_model: NyxModel) -> Iterator[TestClient]:
    index = fake_index(tiny_model, [[{"type": "text", "text": "a"}], [{"type": "text", "text": "b"}]])
    with TestClient(make_app(ServingSettings("tiny", wait_ms=0), tiny_model, index)) as found:
        yield found


def checked(answer: Any) -> int:
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return int(answer.status_code)


@pytest.mark.parametrize("path", POSTS)
def test_bodies_of_the_schema(client: TestClient, path: str) -> None:
    """Valid ones by the page, mostly: models that are not there, pictures that are none, odd characters."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    seen: set[int] = set()

    @CASES
    @given(schema[path]["POST"].as_strategy())
    def ask(case: Any) -> None:
        content = json.dumps(case.body).encode() if not isinstance(case.body, bytes) else case.body
        headers = {"Content-Type": case.media_type or "application/json"}
        seen.add(checked(client.post(path, content=content, headers=headers)))

    ask()
    assert seen & {200, 400, 404} and len(seen) > 1


@pytest.mark.parametrize("path", POSTS)
def test_any_json(client: TestClient, path: str) -> None:
    keys = st.sampled_from(KEYS.split())
    words = st.sampled_from(["user", "text", "image_url", "video", "data:image/png;base64,", "data:,x", "query", "at"])
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | words
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=12
    )
    bodies = st.dictionaries(keys, values, max_size=6) | values

    @CASES
    @given(bodies)
    def ask(body: Any) -> None:
        checked(client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"}))

    ask()


@CASES
@given(content=st.binary(max_size=200))
def test_any_bytes(client: TestClient, content: bytes) -> None:
    for path in POSTS:
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert checked(answer) in (200, 400)
