"""A model behind an OpenAI-compatible or Hugging Face endpoint: vLLM, SGLang, TGI, `transformers serve`, providers."""

import base64
import io
import ipaddress
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError, OfflineModeIsEnabled
from PIL import Image
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from nyx_hf.data_builders.generators import Answer, GeneratorError, Request
from nyx_hf.data_builders.image_scaling import scaled
from nyx_hf.data_builders.schema import Row

_NETWORK_ERROR: type[BaseException] = HfHubHTTPError.__bases__[0]  # httpx's base error, or httpx2's
_HUGGING_FACE = ("huggingface.co", "endpoints.huggingface.cloud")
_BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0  # seconds


@dataclass
class EndpointVLM:
    """Asks a server through `huggingface_hub.InferenceClient`.

    Attributes:
        model: The model's name to the server.
        url: The server's address; None for Hugging Face's own routing.
        requests: Requests at the same time, at most.
        timeout: Seconds that one request may take.
        attempts: Times that a request is tried while the server is busy.
        max_pixels: Larger images are scaled down before they are sent.
        give_up_after: Failures in a row after which the server is taken for gone.
        token: The server's key; where it is None, `NYX_API_KEY`, or at Hugging Face, there alone, the login's token.
    """

    model: str
    url: str | None = None
    requests: int = 16
    timeout: float = 120.0
    attempts: int = 5
    max_pixels: int = 1280 * 28 * 28
    give_up_after: int = 20
    token: str | None = field(default=None, repr=False)
    revision: str | None = None
    first_wait: float = 1.0
    _plain: bool = field(default=False, init=False, repr=False)
    _reached: bool = field(default=False, init=False, repr=False)

    @property
    def name(self) -> str:
        """The model, and where it is asked."""
        return f"{self.model} at {'Hugging Face' if self.url is None else urlsplit(self.url).netloc}"

    @property
    def remote(self) -> bool:
        """Whether the server is another machine."""
        host = "" if self.url is None else urlsplit(self.url).hostname or ""
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Sends requests, several at a time.

        Args:
            requests: What to ask.

        Yields:
            The number of a request and its answer, as they come.

        Raises:
            GeneratorError: If the server cannot be reached, does not let us in, or has stopped answering.
        """
        stopped = threading.Event()
        in_a_row = 0
        with ThreadPoolExecutor(self.requests) as pool:
            futures = {pool.submit(self._answer, request, stopped): number for number, request in enumerate(requests)}
            try:
                for future in as_completed(futures):
                    answer = future.result()
                    in_a_row = in_a_row + 1 if answer.failure is not None else 0
                    if in_a_row >= self.give_up_after:
                        raise GeneratorError(
                            f"{self.name} failed {in_a_row} times in a row ({answer.failure}); look at the server and "
                            "run again: what was answered is kept"
                        )
                    yield futures[future], answer
            finally:
                stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _answer(self, request: Request, stopped: threading.Event) -> Answer:
        """Asks once, and again while the server is busy."""
        retrying = Retrying(
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            retry=retry_if_exception(lambda error: not stopped.is_set() and self._may_pass(error)),
            sleep=lambda seconds: _sleep(stopped, seconds),
            reraise=True,
        )
        try:
            answer = retrying(self._ask, request)
            self._reached = True
            return answer
        except InferenceTimeoutError:
            return Answer(None, "request: timed out")
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status in (401, 403, 404):
                said = " ".join(str(error.server_message or "").split())[:200]
                raise GeneratorError(
                    f"{self.name} answered {status} {said}: check the address, the model's name and the token"
                ) from error
            return Answer(None, f"request: HTTP {status}")
        except OfflineModeIsEnabled as error:
            raise GeneratorError(
                f"HF_HUB_OFFLINE is set, which keeps {self.name} from being asked: unset it"
            ) from error
        except _NETWORK_ERROR as error:
            if type(error).__name__ == "ConnectError":
                raise GeneratorError(
                    f"{self.name} cannot be reached: start the server, or check its address; what was answered is kept"
                ) from error
            return Answer(None, f"request: {type(error).__name__}")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):  # no chat completion came back
            return Answer(None, "request: the answer is no chat completion")

    def _ask(self, request: Request) -> Answer:
        where: dict[str, Any] = {"model": self.model} if self.url is None else {"base_url": self.url}
        client: Any = InferenceClient(**where, token=self._key(), timeout=self.timeout)
        how = {"model": self.model, "max_tokens": request.max_tokens}
        how |= {"temperature": request.temperature, "seed": request.seed}
        if not self._plain:
            try:
                schema = {"name": "answer", "schema": request.schema, "strict": True}
                shaped = {"response_format": {"type": "json_schema", "json_schema": schema}}
                return _read(client.chat_completion(self._messages(request), **how, **shaped))
            except HfHubHTTPError as error:
                if error.response.status_code not in (400, 422):
                    raise
                self._plain = True  # the server takes no schema: the prompt asks for JSON all the same
        return _read(client.chat_completion(self._messages(request), **how))

    def _key(self) -> str | None:
        """Gives the key to send; None sends the logged-in user's, which is nobody's business but the Hub's."""
        if self.token is not None:
            return self.token
        host = "" if self.url is None else urlsplit(self.url).hostname or ""
        trusted = self.url is None or any(host == one or host.endswith(f".{one}") for one in _HUGGING_FACE)
        return os.environ.get("NYX_API_KEY") or (None if trusted else "none")

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        parts = [_part(part, self.max_pixels) for part in request.content]
        return [{"role": "system", "content": request.system}, {"role": "user", "content": parts}]

    def _may_pass(self, error: BaseException) -> bool:
        """Whether asking again may help: the server is busy, or the line broke; one never reached is not there."""
        if isinstance(error, HfHubHTTPError):
            return error.response.status_code in _BUSY
        return isinstance(error, _NETWORK_ERROR) and (self._reached or type(error).__name__ != "ConnectError")

    def _wait(self, state: RetryCallState) -> float:
        """Waits as long as the server asks, else longer each time."""
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, HfHubHTTPError):
            after = error.response.headers.get("retry-after", "")
            if after.isdecimal():
                return min(float(after), _LONGEST_WAIT)
        return wait_exponential_jitter(self.first_wait, _LONGEST_WAIT, jitter=self.first_wait)(state)


def image_uri(file: bytes, max_pixels: int) -> str:
    """Writes an image as a data URI, scaled down where it is larger than a server should get."""
    file = scaled(file, max_pixels)
    with Image.open(io.BytesIO(file)) as image:
        kind = (image.format or "PNG").lower()
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _part(part: Row, max_pixels: int) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    return {"type": "image_url", "image_url": {"url": image_uri(part["image"]["bytes"], max_pixels)}}


def _read(output: Any) -> Answer:
    choice, usage = output.choices[0], output.usage
    text = choice.message.content
    if not isinstance(text, str):
        return Answer(None, "request: the answer has no text")
    read, written = (0, 0) if usage is None else (usage.prompt_tokens or 0, usage.completion_tokens or 0)
    return Answer(text, "answer: cut off" if choice.finish_reason == "length" else None, read, written)


def _sleep(stopped: threading.Event, seconds: float) -> None:
    stopped.wait(seconds)
