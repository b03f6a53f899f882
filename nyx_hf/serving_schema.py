"""Bodies of requests and answers, as the OpenAPI page shows them: OpenAI's embeddings, vLLM's chat form, reranking."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

_EXAMPLE = "data:image/png;base64,…"


class ImageUrl(BaseModel):
    """Where an image is."""

    url: str = Field(description="A data URI, or an address where the server fetches those.", examples=[_EXAMPLE])


class TextPart(BaseModel):
    """A text."""

    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl | str


class VideoPart(BaseModel):
    """A video, as its frames in order."""

    type: Literal["video"]
    video: list[ImageUrl | str] = Field(min_length=1, description="Frames: data URIs, or addresses where allowed.")


Part = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]


class ContentBody(BaseModel):
    """An ordered sequence of text, images and video."""

    content: str | list[Part]


Content = str | ContentBody


class Message(BaseModel):
    """A chat message; the text of system messages is the instruction."""

    role: Literal["system", "user", "assistant"]
    content: str | list[Part]


def _no_tokens(value: Any) -> Any:
    """Says clearly that token ids are not taken: every model has its own."""
    if isinstance(value, list) and any(isinstance(one, int | list) for one in value):
        raise ValueError("found token ids, expected a string, a content or a list of these: send the text itself")
    if isinstance(value, list) and not value:
        raise ValueError("found an empty list, expected at least one string or content")
    return value


def _batched(value: Any) -> Any:
    """A conversation by itself is a batch of one."""
    single = isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    return [value] if single else value


class Request(BaseModel):
    """What all requests may say."""

    model: str | None = Field(None, description="The model's name, as `/v1/models` gives it.")
    user: str | None = Field(None, description="Taken and ignored.")


class Instructed(Request):
    """A request whose queries may have an instruction."""

    instruction: str | None = Field(None, description="An instruction in full; wins over a prompt's name.")


class EmbeddingsRequest(Instructed):
    """A request for vectors: `input`, or `messages`."""

    input: Annotated[Content | list[Content] | None, BeforeValidator(_no_tokens)] = None
    messages: Annotated[list[list[Message]] | None, BeforeValidator(_batched)] = Field(
        None,
        description="One conversation, which is one content, or a list of conversations.",
        json_schema_extra={
            "anyOf": [
                {"type": "array", "items": {"$ref": "#/components/schemas/Message"}},
                {"type": "array", "items": {"type": "array", "items": {"$ref": "#/components/schemas/Message"}}},
                {"type": "null"},
            ]
        },
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="One of the model's Matryoshka dimensions.")
    input_type: Literal["query", "document"] | None = Field(None, description="Which side's prompt is put before.")
    prompt_name: str | None = Field(None, description="Name of one of the model's prompts; wins over `input_type`.")


class Usage(BaseModel):
    """Tokens that were read, visual ones included."""

    prompt_tokens: int
    total_tokens: int


class Embedding(BaseModel):
    """One vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="Numbers, or base64 of little-endian float32.")


class EmbeddingsAnswer(BaseModel):
    """Vectors in the order of the request."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class RerankRequest(Instructed):
    """A request to order documents by a query."""

    query: Content
    documents: list[Content] = Field(min_length=1)
    top_n: int | None = Field(None, ge=1, description="How many to return; all if left out.")
    return_documents: bool = True


class Ranked(BaseModel):
    """One document's place."""

    index: int = Field(description="Its place in the request.")
    relevance_score: float
    document: dict[str, Any] | None = None


class RerankAnswer(BaseModel):
    """Documents, the best first."""

    id: str
    model: str
    method: Literal["reranker", "embeddings"] = Field(description="What scored: a reranker, or vectors' cosine.")
    usage: Usage
    results: list[Ranked]


Value = str | int | float | bool | None


class SearchRequest(Instructed):
    """A request to the index."""

    query: Content
    k: int = Field(10, ge=1, le=1000, description="How many documents to return.")
    where: dict[str, Value | list[Value]] | None = Field(
        None,
        description="Only documents that fit count: for each column a value, or a list of them.",
        examples=[{"modality": ["image", "mixed"]}],
    )
    thumbnails: bool = Field(False, description="Whether to send small pictures, as data URIs.")


class Found(BaseModel):
    """A document that was found."""

    id: str
    score: float
    text: str
    metadata: dict[str, Any]
    thumbnails: list[str] | None = None


class SearchAnswer(BaseModel):
    """Documents, the best first."""

    model: str
    results: list[Found]


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """An answer to a request that failed."""

    error: ErrorBody
