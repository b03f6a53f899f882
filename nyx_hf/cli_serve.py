"""The command that answers over HTTP: `serve`."""

from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(
    epilog=examples(
        "nyx-hf serve runs/quickstart/model",
        "nyx-hf serve runs/quickstart/index --reranker runs/reranker --port 8080",
        "NYX_TOKEN=… nyx-hf serve your-name/nyx-digits --host 0.0.0.0 --token-env NYX_TOKEN",
    )
)
@errors_in_one_line
def serve(
    name: Annotated[str, typer.Argument(metavar="MODEL_OR_INDEX", help="A model's or an index's folder or Hub name.")],
    index: Annotated[str | None, typer.Option(help="An index to search, beside a model.")] = None,
    reranker: Annotated[str | None, typer.Option(help="A reranker for /v1/rerank; vectors rank if left out.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    shown_as: Annotated[str | None, typer.Option("--name", help="What requests call the model.")] = None,
    token_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable with the token that clients must send.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with that token.")] = None,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch images from http(s) addresses, but of no private network.")
    ] = False,
    page: Annotated[
        bool | None, typer.Option("--page/--no-page", help="Show a page at /page; with an index, unless told not to.")
    ] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a batch, padding included.")] = 16_384,
    batch_items: Annotated[int, typer.Option(min=1, help="Most contents of a batch.")] = 64,
    wait_ms: Annotated[float, typer.Option(min=0, help="Milliseconds to wait for others to join a batch.")] = 4.0,
    max_queue: Annotated[int, typer.Option(min=1, help="Contents that may wait; beyond, 429.")] = 1_024,
    max_items: Annotated[int, typer.Option(min=1, help="Contents of one request.")] = 256,
    max_images: Annotated[int, typer.Option(min=1, help="Images of one content, a video's frames counted.")] = 64,
    max_pixels: Annotated[int, typer.Option(min=1, help="Pixels of one image.")] = 16_777_216,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one content.")] = 32_768,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of one body; beyond, 413.")] = 33_554_432,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take; beyond, 504.")] = 60.0,
    revision: Annotated[str | None, typer.Option(help="The Hub's branch, tag or commit.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the models compute.")] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve a retriever: OpenAI's /v1/embeddings for any mix, /v1/rerank, /search, and a page.

    Requests of many clients are joined into batches. SIGTERM finishes what is in flight. The token is read from the
    environment or a file, as other users of a machine see arguments.
    """
    from nyx_hf.serving_extra import check_installed

    check_installed("fastapi", "uvicorn", *(["gradio"] if page else []))
    from nyx_hf.serving_command import Served, read_token, run_serve
    from nyx_hf.serving_settings import ServingSettings

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("it is debug, info, warning or error", param_hint="--log-level")
    settings = ServingSettings(
        batch_tokens=batch_tokens,
        batch_items=batch_items,
        wait_ms=wait_ms,
        max_queue=max_queue,
        max_items=max_items,
        max_images=max_images,
        max_pixels=max_pixels,
        max_tokens=max_tokens,
        max_body=max_body,
        max_held=max(ServingSettings.max_held, max_body),
        timeout=timeout,
        allow_urls=allow_urls,
        token=read_token(token_env, token_file),
    )
    served = Served(name, index, reranker, revision, device, page, shown_as)
    run_serve(served, settings, host, port, log_level)
