"""Models that are asked: servers good and bad, answers cached, prompts that show images, malformed answers retried."""

import base64
import io
import json
import os
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server, completion, slow, user_text
from huggingface_hub import constants
from PIL import Image

from nyx_hf.data_builders.answers import AnswerError, read_answer
from nyx_hf.data_builders.asking import Asking
from nyx_hf.data_builders.generators import Answer, GeneratorError, Request
from nyx_hf.data_builders.open_generator import open_generator, open_vlm
from nyx_hf.data_builders.pages import CHUNK, image_block, text_block
from nyx_hf.data_builders.prompted_pairs import PromptedPairs
from nyx_hf.data_builders.prompts import DISTRACTORS, PAIRS, pairs_request
from nyx_hf.data_builders.vlm_cache import CachedVLM
from nyx_hf.data_builders.vlm_endpoint import EndpointVLM
from tests.pictures import noise_image

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture(autouse=True)
def not_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client refuses servers of this machine too while the Hub is ruled out."""
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)


def png(width: int = 40, height: int = 30, seed: int = 0) -> bytes:
    file = io.BytesIO()
    noise_image(width, height, seed).save(file, format="PNG")
    return file.getvalue()


def request(number: int, **changes: Any) -> Request:
    return Request("You count.", [{"type": "text", "text": f"Say {number}."}], NUMBER, **changes)


def echo(body: dict[str, Any], _: int) -> tuple[int, Any]:
    return 200, json.dumps({"n": int(user_text(body).split()[1].rstrip("."))})


def vlm(url: str, **changes: Any) -> EndpointVLM:
    return EndpointVLM("m", url, **{"first_wait": 0.01, "timeout": 5.0, "requests": 4, **changes})


def answered(model: EndpointVLM, requests: Sequence[Request]) -> list[Answer]:
    return [answer for _, answer in sorted(model.answers(requests), key=lambda one: one[0])]


def chunk(*blocks: Any, name: str = "page#0") -> dict[str, Any]:
    row = {"id": name, "page_id": name.split("#")[0], "number": 0, "title": "Crop", "content": list(blocks)}
    return {**dict.fromkeys(CHUNK), **row}


class TestEndpoint:
    def test_answers_come_with_their_numbers_and_tokens_and_no_more_at_once_than_asked_for(self) -> None:
        def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
            slow(0.05)
            return echo(body, number)

        with chat_server(reply) as server:
            got = answered(vlm(server.url), [request(n) for n in range(12)])
        assert [json.loads(answer.text or "")["n"] for answer in got] == list(range(12))
        assert {(answer.prompt_tokens, answer.completion_tokens) for answer in got} == {(11, 7)}
        assert 2 <= server.most_at_once <= 4
        assert server.asked[0]["response_format"]["value"] == NUMBER  # as TGI has it; others read JSON mode

    def test_a_busy_server_is_asked_again_and_one_that_says_when_is_heeded(self) -> None:
        def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
            return (429, {"retry-after": "0"}) if number < 2 else (503, b"{}") if number == 2 else echo(body, number)

        with chat_server(reply) as server:
            [answer] = answered(vlm(server.url), [request(3)])
        assert json.loads(answer.text or "") == {"n": 3} and len(server.asked) == 4

    def test_a_server_that_stays_busy_is_a_failure_not_an_error(self) -> None:
        with chat_server(lambda body, number: (503, b"{}")) as server:
            got = answered(vlm(server.url, attempts=2), [request(1), request(2)])
        assert [answer.failure for answer in got] == ["request: HTTP 503"] * 2 and len(server.asked) == 4

    def test_a_server_without_schemas_is_asked_without_and_only_once_refused(self) -> None:
        def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
            return (422, b'{"error": "unknown field"}') if "response_format" in body else echo(body, number)

        with chat_server(reply) as server:
            got = answered(vlm(server.url, requests=1), [request(n) for n in range(3)])
        assert [json.loads(answer.text or "")["n"] for answer in got] == [0, 1, 2]
        assert sum("response_format" in body for body in server.asked) == 1

    def test_a_slow_server_times_out(self) -> None:
        def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
            slow(1.0)
            return echo(body, number)

        with chat_server(reply) as server:
            [answer] = answered(vlm(server.url, timeout=0.2, attempts=1), [request(1)])
        assert answer.failure == "request: timed out"

    def test_garbage_and_cut_answers_are_failures(self) -> None:
        replies = [(200, b"<html>"), (200, b'{"choices": []}'), (200, completion('{"n": ', "length"))]
        with chat_server(lambda body, number: replies[number]) as server:
            got = answered(vlm(server.url, requests=1, attempts=1), [request(n) for n in range(3)])
        assert [answer.failure for answer in got[:2]] == ["request: the answer is no chat completion"] * 2
        assert got[2].failure == "answer: cut off"

    def test_a_server_that_is_not_there_or_refuses_the_token_is_one_line(self) -> None:
        with pytest.raises(GeneratorError, match="cannot be reached: start the server"):
            answered(vlm("http://127.0.0.1:9/v1"), [request(1)])
        with (
            chat_server(lambda body, number: (401, b'{"error": "no"}')) as server,
            pytest.raises(GeneratorError, match="answered 401 .*check the address, the model's name and the token"),
        ):
            answered(vlm(server.url), [request(1)])

    def test_the_hub_s_token_goes_to_the_hub_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        with chat_server(echo) as server:
            answered(vlm(server.url), [request(1)])
            assert server.keys == {"Bearer none"}
            monkeypatch.setenv("NYX_API_KEY", "of-this-server")
            answered(vlm(server.url), [request(2)])
            assert server.keys == {"Bearer none", "Bearer of-this-server"}
        monkeypatch.delenv("NYX_API_KEY")
        for url, key in {
            None: None,
            "https://router.huggingface.co/v1": None,
            "https://abc.endpoints.huggingface.cloud/v1": None,
            "https://huggingface.co.example.com/v1": "none",
            "https://nothuggingface.co/v1": "none",
        }.items():
            assert EndpointVLM("m", url)._key() == key

    def test_a_server_that_stops_halfway_ends_the_run_and_what_was_answered_is_kept(self, tmp_path: Path) -> None:
        def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
            return echo(body, number) if number < 6 else (500, b"{}")

        requests = [request(n) for n in range(30)]
        with chat_server(reply) as server:
            cached = CachedVLM(vlm(server.url, requests=1, attempts=1, give_up_after=5), tmp_path)
            with pytest.raises(GeneratorError, match="failed 5 times in a row"):
                cached.answer(requests)
        assert cached.usage.requests >= 10 and cached.usage.failures["request: HTTP 500"] >= 4
        with chat_server(echo) as server:
            cached = CachedVLM(vlm(server.url), tmp_path)
            # the address is part of the name: a model elsewhere may be another
            assert len(cached.answer(requests)) == 30 and len(server.asked) == 30

    def test_images_are_sent_in_order_and_scaled_down(self) -> None:
        parts = [
            {"type": "text", "text": "Say 1."},
            {"type": "image", "image": {"bytes": png(200, 100), "path": None}},
        ]
        with chat_server(echo) as server:
            answered(vlm(server.url, max_pixels=5000), [Request("s", parts, NUMBER)])
        sent = server.asked[0]["messages"]
        assert sent[0] == {"role": "system", "content": "s"} and [p["type"] for p in sent[1]["content"]] == [
            "text",
            "image_url",
        ]
        uri = sent[1]["content"][1]["image_url"]["url"]
        image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
        assert image.size == (100, 50) and uri.startswith("data:image/png")

    def test_only_this_machine_is_not_remote(self) -> None:
        assert not EndpointVLM("m", "http://127.0.0.1:1/v1").remote and not EndpointVLM("m", "http://localhost").remote
        assert (
            EndpointVLM("m", "http://192.168.0.3:1/v1").remote and EndpointVLM("m", "https://api.example.com").remote
        )
        assert EndpointVLM("m").remote


class TestCache:
    def test_nothing_is_asked_twice_and_failures_are_asked_again(self, tmp_path: Path) -> None:
        bad = {2}

        def reply(body: dict[str, Any], number: int) -> tuple[int, Any]:
            asked = int(user_text(body).split()[1].rstrip("."))
            return (400, b"{}") if asked in bad else echo(body, number)

        requests = [request(n) for n in (0, 1, 2, 1)]
        with chat_server(reply) as server:
            first = CachedVLM(vlm(server.url, attempts=1), tmp_path)
            one = first.answer(requests)
            assert [answer.failure for answer in one] == [None, None, "request: HTTP 400", None]
            bad.clear()
            before = len(server.asked)
            second = CachedVLM(vlm(server.url), tmp_path)
            two = second.answer(requests)
            assert len(server.asked) == before + 1 and [answer.failure for answer in two] == [None] * 4
            assert second.usage.cached == 3 and second.usage.requests == 1 and second.usage.prompt_tokens == 11
            second.answer([request(1, seed=5), request(1, temperature=0.5)])
            assert len(server.asked) == before + 3

    def test_a_killed_run_asks_for_the_rest_alone(self, tmp_path: Path) -> None:
        script = (
            "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
            "from test_generators import CachedVLM, request, vlm\n"
            "cached = CachedVLM(vlm(sys.argv[1], requests=1), Path(sys.argv[2]))\n"
            "put, kept = cached._put, []\n"
            "def stop(*args):\n"
            "    put(*args); kept.append(1); len(kept) == 5 and os._exit(9)\n"
            "cached._put = stop; cached.answer([request(n) for n in range(12)])"
        )
        with chat_server(echo) as server:
            command = [sys.executable, "-c", script, server.url, str(tmp_path), str(Path(__file__).parent)]
            environment = {**os.environ, "HF_HUB_OFFLINE": "0"}
            assert subprocess.run(command, check=False, timeout=120, env=environment).returncode == 9
            asked = len(server.asked)
            answers = CachedVLM(vlm(server.url), tmp_path).answer([request(n) for n in range(12)])
            assert len(server.asked) == asked + 7
        assert [json.loads(answer.text or "")["n"] for answer in answers] == list(range(12))


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            '{"n": 4}',
            'Here you are:\n```json\n{"n": 4}\n```\nDone.',
            '{"m": 1} then {"n": 4}',
            'I think {so} that {"n": 4}',
            '{"n": "four"} no, {"n": 4, "why": {"deep": 1}}',
        ],
    )
    def test_the_value_is_found(self, text: str) -> None:
        assert read_answer(text, NUMBER)["n"] == 4

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "no JSON"),
            ("four", "no JSON"),
            ('{"n": 4', "no JSON"),
            ('{"n": "4"}', "another shape"),
            ("{}", "another shape"),
        ],
    )
    def test_what_is_wrong_is_said(self, text: str, reason: str) -> None:
        with pytest.raises(AnswerError, match=reason):
            read_answer(text, NUMBER)


class TestPrompted:
    def script(self, body: dict[str, Any], number: int) -> tuple[int, Any]:
        """Answers each kind of request well, the first of each kind badly."""
        asked = json.dumps(body["response_format"]["value"])
        if asked not in self.seen:
            self.seen.add(asked)
            return 200, "I would rather not."
        if '"pairs"' in asked:
            tagged = [{"question": "Which tool is seen in <image1> of “Crop”?", "answer": "the crop tool"}]
            plain = [{"question": "Which key keeps the ratio while cropping?", "answer": "Shift"}]
            return 200, json.dumps({"pairs": tagged + plain})
        if '"keep"' in asked:
            line = next(line for line in user_text(body).split("\n") if line.startswith("Question: "))
            return 200, json.dumps({"keep": True, "question": line[10:], "answer": "short"})
        return 200, json.dumps({"distractors": ["a", "b", "c"]})

    def test_a_malformed_answer_is_asked_for_again_and_all_four_requests_work(self, tmp_path: Path) -> None:
        self.seen: set[str] = set()
        with chat_server(self.script) as server:
            generator = PromptedPairs(CachedVLM(vlm(server.url, requests=1), tmp_path))
            rows = Asking(generator)([chunk(text_block("Hold Shift."), image_block(png()))])[0]
        assert [row["question"] for row in rows] == [
            "Which tool is seen in <image 1> of “Crop”?",
            "Which key keeps the ratio while cropping?",
        ]
        assert all(row["distractors"] == ["a", "b", "c"] and row["answer"] == "short" for row in rows)
        assert all(row["dropped"] is None for row in rows) and {row["kind"] for row in rows} == {"image", "text"}
        again = [body for body in server.asked if "could not be used" in user_text(body)]
        assert len(again) == 3 and all(body["temperature"] > 0 and body["seed"] == 1 for body in again)

    def test_what_stays_malformed_is_counted(self, tmp_path: Path) -> None:
        with chat_server(lambda body, number: (200, "no")) as server:
            generator = PromptedPairs(CachedVLM(vlm(server.url), tmp_path), retries=1)
            rows = generator.pairs([chunk(text_block(f"One {n}."), name=f"p#{n}") for n in range(3)])
        assert [row["dropped"] for [row] in rows] == ["chunk, answer: no JSON"] * 3 and len(server.asked) == 6

    def test_a_wrong_answer_among_the_distractors_drops_the_pair(self, tmp_path: Path) -> None:
        replies = [{"distractors": ["Shift", "Alt", "Ctrl"]}, {"distractors": ["Alt", "alt.", "Ctrl"]}]
        with chat_server(lambda body, number: (200, json.dumps(replies[number]))) as server:
            generator = PromptedPairs(CachedVLM(vlm(server.url, requests=1), tmp_path))
            pairs = [
                {"id": str(n), "question": f"Which key {n}?", "answer": "shift", "dropped": None} for n in range(2)
            ]
            rows = generator.distract(pairs, [chunk(text_block("One."))] * 2)
        assert [row["dropped"] for [row] in rows] == ["options: not all different"] * 2

    def test_images_stand_behind_their_tags_and_text_has_a_prompt_of_its_own(self) -> None:
        both = pairs_request(
            chunk(text_block("One."), image_block(png()), text_block("Two."), image_block(png(seed=1))), 0
        )
        texts = [part.get("text", "IMAGE") for part in both.content]
        assert texts[1:] == ["One.", "<image 1>", "IMAGE", "Two.", "<image 2>", "IMAGE"]
        plain = pairs_request(chunk(text_block("One.")), 0)
        assert plain.content[0]["text"] != both.content[0]["text"] and "<image" not in plain.content[0]["text"]
        assert both.schema == PAIRS and DISTRACTORS["required"] == ["distractors"]

    def test_the_official_preset_asks_once_more_about_several_images(self, tmp_path: Path) -> None:
        reply = json.dumps({"pairs": [{"question": "What differs between <image 1> and <image 2>?", "answer": "x"}]})
        with chat_server(lambda body, number: (200, reply)) as server:
            generator = PromptedPairs(CachedVLM(vlm(server.url), tmp_path), preset="official")
            rows = generator.pairs([chunk(image_block(png()), image_block(png(seed=1)), text_block("Two."))])[0]
        assert len(rows) == 2 and len({row["id"] for row in rows}) == 2 and len(server.asked) == 2


class TestOpening:
    def test_generators_are_opened_by_name(self, tmp_path: Path) -> None:
        server = open_vlm("endpoint:http://127.0.0.1:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct", requests=3)
        assert isinstance(server, EndpointVLM) and server.requests == 3 and not server.remote
        hub = open_generator("endpoint:OpenGVLab/InternVL3-78B", cache_dir=tmp_path)
        assert hub.remote and hub.name == "OpenGVLab/InternVL3-78B at Hugging Face"
        assert (
            open_vlm("transformers:Qwen/Qwen2.5-VL-7B-Instruct").name == "Qwen/Qwen2.5-VL-7B-Instruct (transformers)"
        )
        assert not open_vlm("vllm:OpenGVLab/InternVL3-78B").remote

    @pytest.mark.parametrize("spec", ["gpt", "endpoint:", "endpoint:http://127.0.0.1:1/v1", "ollama:x", ":"])
    def test_wrong_names_say_what_is_right(self, spec: str) -> None:
        with pytest.raises(ValueError, match=r"found the generator .*(expected endpoint:URL#MODEL|#MODEL)"):
            open_vlm(spec)

    def test_vllm_is_asked_for_all_requests_at_once_with_their_schemas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[Any] = []

        class LLM:
            def __init__(self, **how: Any) -> None:
                calls.append(how)

            def chat(self, messages: list[Any], sampling_params: list[Any]) -> list[Any]:
                calls.append((messages, sampling_params))
                done = types.SimpleNamespace(text='{"n": 1}', finish_reason="stop", token_ids=[1, 2])
                return [types.SimpleNamespace(outputs=[done], prompt_token_ids=[1, 2, 3]) for _ in messages]

        fake = types.ModuleType("vllm")
        fake.sampling_params = types.ModuleType("vllm.sampling_params")  # type: ignore[attr-defined]
        fake.LLM, fake.SamplingParams = LLM, dict  # type: ignore[attr-defined]
        fake.sampling_params.StructuredOutputsParams = dict  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "vllm", fake)
        monkeypatch.setitem(sys.modules, "vllm.sampling_params", fake.sampling_params)
        got = list(open_vlm("vllm:m").answers([request(1), request(2, seed=4)]))
        assert [(number, answer.prompt_tokens, answer.completion_tokens) for number, answer in got] == [
            (0, 3, 2),
            (1, 3, 2),
        ]
        assert calls[0]["model"] == "m" and calls[1][1][1]["seed"] == 4
        assert calls[1][1][0]["structured_outputs"] == {"json": NUMBER}

    def test_without_vllm_one_line_says_how_to_get_it(self) -> None:
        with pytest.raises(GeneratorError, match=r"pip install nyx-hf\[vllm\]"):
            list(open_vlm("vllm:m").answers([request(1)]))
