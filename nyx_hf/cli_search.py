"""Commands that find documents: `index` and `search`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from nyx_hf.cli_app import app, errors_in_one_line, examples

_TYPED = "nyx_hf.typed"


class _InOrder(TyperCommand):
    """A command that remembers its words in order: whether an image stands before the text is part of a query."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keeps the words before they are sorted into options and arguments."""
        ctx.meta[_TYPED] = list(args)
        return super().parse_args(ctx, args)


@app.command(
    epilog=examples(
        "nyx-hf index data/nyxqa --model runs/model --out index",
        "nyx-hf index data/nyxqa --model your-name/nyx --out index --search funnel --device cuda:0,cuda:1",
        "nyx-hf index data/more --out index --update      # add documents, and replace those of the same id",
        "nyx-hf index --out index --delete ids.txt        # take documents out",
        "nyx-hf push index your-name/nyxqa-index          # search it from everywhere",
    )
)
@errors_in_one_line
def index(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="A dataset's folder or Hub name, with a corpus.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The index's folder.")] = None,
    model: Annotated[
        str | None, typer.Option(help="What makes vectors: a model's folder or Hub name; the index's own if left out.")
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Add documents to the index; ids that are there are refused.")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Add documents, and replace those of the same id.")] = False,
    delete: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take out the documents of these ids, one a line.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="A split of the corpus; all if left out.")] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="exact (if left out), funnel, int8, binary; in Milvus also hnsw, funnel-hnsw: how it is searched."
        ),
    ] = None,
    prefix: Annotated[
        int | None, typer.Option(min=1, help="The funnel's first dimensions (a quarter of all).")
    ] = None,
    oversample: Annotated[
        int | None, typer.Option(min=1, help="Candidates for each document asked for (funnel 8, int8 4, binary 16).")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 (if left out) or float16: how vectors are kept.")] = None,
    instruction: Annotated[
        str | None, typer.Option(help="Put before queries that come without one; the model's own if left out.")
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=0, help="Pixels of a picture that is kept to be shown; 0 keeps pictures as they are.")
    ] = 512 * 512,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:PLACE",
            help="Another place than --out: faiss:DIR, milvus:FILE.db, milvus:http://HOST:PORT/NAME.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Contents encoded together.")] = 32,
    device: Annotated[
        str | None, typer.Option(metavar="D,D,…", help="Where the model computes; a process for each of several.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit on the Hub.")] = None,
    model_revision: Annotated[str | None, typer.Option(help="The model's branch, tag or commit on the Hub.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of kept vectors; under HF_HOME if left out.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an index that stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a dataset's documents searchable, or change what is.

    Vectors are kept as they are made: a run that is stopped goes on. A change becomes visible as a whole or not at
    all, and searches go on meanwhile.
    """
    if (out is None) == (store is None):
        raise typer.BadParameter(
            "name the index's folder (or another place with --store, one of them)", param_hint="--out"
        )
    modes = [name for name, wanted in {"add": add, "update": update, "delete": delete}.items() if wanted]
    if len(modes) > 1 or (modes and overwrite):
        raise typer.BadParameter("choose one of --add, --update, --delete and --overwrite")
    if delete is not None and dataset is not None:
        raise typer.BadParameter("ids are deleted without a dataset; leave it out, or --delete", param_hint="DATASET")
    from nyx_hf.build import shown_command
    from nyx_hf.index_encoding import Encoding, parse_devices
    from nyx_hf.indexing import Documents
    from nyx_hf.search_command import run_index

    documents = None if dataset is None else Documents(dataset, revision, tuple(split) if split else None, max_pixels)
    encoding = Encoding(model or "", model_revision, parse_devices(device), batch_size, cache)
    chosen: dict[str, Any] = {"search": search, "prefix": prefix, "oversample": oversample, "dtype": dtype}
    options = {name: value for name, value in chosen.items() if value is not None}
    given = {"options": options, "instruction": instruction, "overwrite": overwrite}
    command = shown_command(["nyx-hf", *sys.argv[1:]])
    done = run_index(documents, store or str(out), modes[0] if modes else "new", encoding, delete, given, command)
    typer.echo(json.dumps(done.as_json()) if as_json else done.as_text())


@app.command(
    cls=_InOrder,
    epilog=examples(
        'nyx-hf search index "a red bicycle" -k 5',
        'nyx-hf search index "the same in blue:" --image photo.png --where modality=image,mixed',
        'nyx-hf search index "from <image 1> to <image 2>" --image a.png --image b.png --html found.html',
        "nyx-hf search your-name/nyxqa-index --queries queries.jsonl --json",
    ),
)
@errors_in_one_line
def search(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="INDEX", help="The index: a folder, or a dataset on the Hub.")],
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What is sought, in words.")] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(help="An image of the query, before or after its words as typed, or where <image k> stands."),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Many queries: a text file, one a line, or .jsonl rows with `content`.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Documents that are found, at most.")] = 10,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE,…", help="Only such documents: modality=image,mixed.")
    ] = None,
    instruction: Annotated[str | None, typer.Option(help="Put before the query; the index's if left out.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The model's folder or Hub name; what the index was made with if left out.")
    ] = None,
    model_revision: Annotated[str | None, typer.Option(help="The model's branch, tag or commit on the Hub.")] = None,
    revision: Annotated[str | None, typer.Option(help="The index's branch, tag or commit on the Hub.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the model computes.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with pictures, in one file.")] = None,
    gallery: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the first results, as PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Find documents for text, images, or both in order.

    The model is the one that the index was made with, at its revision.
    """
    from nyx_hf.search_command import run_search

    words: list[str] = context.meta[_TYPED]
    first_image = next((at for at, word in enumerate(words) if word.split("=")[0] == "--image"), len(words))
    images_first = text is not None and text in words[first_image:]
    opened = {"model": model, "model_revision": model_revision, "revision": revision, "device": device}
    found = run_search(
        place, (text, image or [], images_first), queries, k, where or [], instruction, opened, html, gallery
    )
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False) if as_json else found.as_text())
