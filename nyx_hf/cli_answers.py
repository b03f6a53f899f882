"""Commands that tell what a retriever is worth: `answer` and `evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(
    epilog=examples(
        'nyx-hf answer data/nyxqa "What does the crop tool do?" --model runs/model --answerer extractive -k 3',
        'nyx-hf answer data/nyxqa "What is this?" --image photo.png --model runs/model --answerer endpoint:URL#MODEL',
        "nyx-hf answer data/nyxqa --split test --model bm25 --answerer extractive --out answers",
    )
)
@errors_in_one_line
def answer(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The corpus: a dataset's folder or Hub name.")],
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="What to ask; all queries of --split if left out.")
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(help="An image of the question, before its text.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="A choice of the question; several make it one.")] = None,
    model: Annotated[str, typer.Option(help="The retriever: a model's folder or Hub name, or bm25.")] = "bm25",
    answerer: Annotated[
        str,
        typer.Option(help="extractive, digits, endpoint:URL#MODEL, transformers:MODEL or vllm:MODEL."),
    ] = "extractive",
    k: Annotated[int, typer.Option("-k", min=0, help="Documents that are shown; 0 asks without any.")] = 1,
    split: Annotated[str, typer.Option(help="The split of the corpus, and of the queries.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most so many queries: a sample.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the answers to all queries.")] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests to a server at the same time.")] = 16,
    device: Annotated[str | None, typer.Option(help="Where the retriever computes.")] = None,
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit on the Hub.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Answer a question from a corpus, or all of a dataset's questions.

    What was answered is kept: the same is not asked twice. Answers to a dataset's questions are judged.
    """
    from nyx_hf import answer_command as answering

    asked = answering.asked_content(question, image or [])
    if asked is None and option:
        raise typer.BadParameter("options belong to a question; ask one", param_hint="--option")
    opened = answering.opened(model, answerer, k, device, requests)
    if asked is not None:
        answered = answering.answer_one(dataset, asked, option, *opened, k, split=split, revision=revision)
        typer.echo(json.dumps(answering.answered_json(answered)) if as_json else answering.answered_text(answered))
        return
    done = answering.answer_dataset(dataset, split, *opened, k, revision=revision, limit=limit, out=out)
    typer.echo(json.dumps(done.as_json()) if as_json else done.as_text())


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog=examples(
        "nyx-hf evaluate --list",
        "nyx-hf evaluate mmeb-v1 --model runs/model --data data --limit 20       # a sample, and it says so",
        "nyx-hf evaluate mmeb-v2 --model your-name/nyx --build --out results --submission",
        "nyx-hf evaluate m-beir --model runs/model --pool local --dims 2048,1024 --out results --card runs/model",
        "nyx-hf evaluate urag --model runs/model --answerer endpoint:URL#MODEL --retrievers bm25,paper --out results",
        "nyx-hf evaluate m-beir --help           # the options of one suite",
    ),
)
@errors_in_one_line
def evaluate(
    context: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(metavar="SUITE", help="What to evaluate on; --list names what there is.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The retriever: a model's folder or Hub name, or bm25.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of built datasets, DATA/BUILDER/SET each.")] = Path("data"),
    dims: Annotated[
        str | None, typer.Option(metavar="D,D,…", help="Embedding widths (Matryoshka); the full one if left out.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Queries of each set, at most: a sample.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results.json, results.md and results.png.")] = None,
    held_out: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Sets the model was not trained on: averaged apart.")
    ] = None,
    build: Annotated[bool, typer.Option("--build", help="Build sets that are missing, into --data.")] = False,
    local: Annotated[
        Path | None, typer.Option(help="Downloaded repositories to build from, LOCAL/OWNER/NAME; implies --build.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="A model's folder, whose card gets the results.")] = None,
    submission: Annotated[
        bool, typer.Option("--submission", help="Write MMEB's leaderboard files, too, into OUT/submission.")
    ] = False,
    about: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What the leaderboard says of the model.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which queries a sample asks.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Contents encoded together.")] = 32,
    device: Annotated[str | None, typer.Option(help="Where the model computes.")] = None,
    revision: Annotated[str | None, typer.Option(help="The model's branch, tag or commit on the Hub.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of kept vectors; under HF_HOME if left out.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that stand in --out.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List what can be evaluated.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    show_help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this, and with SUITE its own options.")
    ] = False,
) -> None:
    """Evaluate a retriever on a benchmark, beside what papers print.

    Every content is encoded once and kept, so that a run which is stopped goes on. Further options are the suite's
    own: nyx-hf evaluate SUITE --help.
    """
    if show_help and suite is None:
        typer.echo(context.get_help())
        return
    from nyx_hf import evaluate_command as evaluating

    if show_help and suite is not None:
        typer.echo(f"{context.get_help()}\n{evaluating.options_help(suite)}")
    elif show_list:
        typer.echo(evaluating.list_suites(as_json=as_json))
    elif suite is None:
        raise typer.BadParameter("name what to evaluate on; --list shows what there is", param_hint="SUITE")
    elif model is None:
        raise typer.BadParameter("name the retriever", param_hint="--model")
    else:
        opened = {"name": model, "revision": revision, "cache_dir": cache, "batch_size": batch_size, "device": device}
        how = {"data": data, "dims": evaluating.parse_dims(dims), "limit": limit, "seed": seed, "local": local}
        how |= {"build": build or local is not None, "held_out": evaluating.parse_names(held_out)}
        wanted = evaluating.Wanted(out, card, submission, evaluating.parse_about(about or []), overwrite)
        command = ["nyx-hf", *sys.argv[1:]]
        done = evaluating.run_evaluate(suite, context.args, opened, how, wanted, command)
        typer.echo(json.dumps(done.as_json()) if as_json else done.as_text())
