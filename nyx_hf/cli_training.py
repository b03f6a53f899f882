"""Commands that make and publish models: `train`, `adapt`, `soup` and `push`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(
    epilog=examples(
        "nyx-hf train my-recipe.yaml learning_rate=2e-5 max_steps=100",
        "nyx-hf train nyx_pretrain --plan                 # what it takes, before anything is loaded",
        "nyx-hf train u_marvel -n 8 --launch zero2        # a pipeline: its stages one after the other",
    )
)
@errors_in_one_line
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a built-in recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that differ from the recipe's.")
    ] = None,
    num_processes: Annotated[
        int | None,
        typer.Option("--num-processes", "-n", min=1, help="Processes, one for each GPU; the recipe's if left out."),
    ] = None,
    launch: Annotated[
        str | None,
        typer.Option(metavar="CONFIG", help="single, ddp, zero2, zero3, fsdp2, or an accelerate config file."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Train nothing: print parameters, batch and memory for each GPU.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Train a retriever by a recipe."""
    for override in overrides or []:
        if "=" not in override:
            raise typer.BadParameter(
                f"{override!r} is not KEY=VALUE, such as learning_rate=2e-5", param_hint="KEY=VALUE"
            )
    if as_json and not plan:
        raise typer.BadParameter("only a plan is printed as JSON; add --plan", param_hint="--json")
    if plan:
        from nyx_hf.trainer.plan_report import plan_report

        typer.echo(plan_report(recipe, overrides or [], num_processes, launch, as_json=as_json))
        return
    from nyx_hf.trainer.launch import train_command

    raise typer.Exit(train_command(recipe, overrides or [], num_processes, launch))


@app.command(
    epilog=examples(
        "nyx-hf adapt html:my-site --model Qwen/Qwen3-VL-Embedding-2B --out runs/my-site --plan",
        "nyx-hf adapt html:my-site --model Qwen/Qwen3-VL-Embedding-2B --out runs/my-site",
        "nyx-hf adapt pdf:manuals --model runs/stage1 --out runs/manuals --queries log.jsonl num_train_epochs=5",
    )
)
@errors_in_one_line
def adapt(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Your pages: html:DIR, markdown:DIR, pdf:DIR or jsonl:FILE.")
    ],
    model: Annotated[str, typer.Option(help="The base: a retriever's folder or Hub name.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that differ from the recipe adapt's.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help='A log of real queries: JSONL of {"query": …, "document": its id or text}.')
    ] = None,
    general: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Measure on this dataset, too, that nothing was lost.")
    ] = None,
    general_split: Annotated[str, typer.Option(help="Split of that dataset.")] = "test",
    generator: Annotated[
        str, typer.Option(help="What asks about the pages, as in nyx-hf build nyxqa.")
    ] = "extractive",
    license: Annotated[str | None, typer.Option(help="Licence of the pages, as the Hub names it.")] = None,
    public: Annotated[bool, typer.Option("--public", help="These pages may be shown to anybody.")] = False,
    shares: Annotated[str, typer.Option(help="Shares of the pages: train, validation, test.")] = "0.8,0.1,0.1",
    sample: Annotated[int | None, typer.Option(min=1, help="Chunks to ask about, at most.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions to make, at most: a small true sample.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="What counts a chunk's tokens; `words` needs no download.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of data, training and intervals.")] = 0,
    device: Annotated[str | None, typer.Option(help="Where models compute; cpu also trains there.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Do nothing: print what it would take.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; stages go to stderr.")] = False,
) -> None:
    """Fit a retriever to your own pages, and show what it brought.

    Pages become questions; the base finds hard negatives and is fine-tuned; base, tuned and BM25 search for held-out
    questions. Run again, it goes on where it stopped. Nothing is pushed.
    """
    from nyx_hf.adapt_command import run_adapt_command

    given = {"queries": queries, "generator": generator, "license": license, "public": public, "seed": seed}
    given |= {"limit": limit, "sample": sample, "shares": shares, "tokenizer": tokenizer}
    how = {"general": general, "general_split": general_split, "device": device}
    command = ["nyx-hf", *sys.argv[1:]]
    run_adapt_command(source, model, out, overrides or [], given, how, command, plan=plan, as_json=as_json)


@app.command(
    epilog=examples(
        "nyx-hf soup runs/mix1 runs/mix2 runs/mix3 --out runs/soup",
        "nyx-hf soup runs/mix1 runs/mix2 --weights 2,1 --out runs/soup --merge",
        "nyx-hf soup runs/mix1 runs/mix2 runs/mix3 --out runs/soup --greedy my-dataset --split validation",
    )
)
@errors_in_one_line
def soup(
    ingredients: Annotated[list[str], typer.Argument(metavar="A B …", help="Adapters of one base, or whole models.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    weights: Annotated[
        str | None, typer.Option(metavar="W,W,…", help="What each counts; divided by their sum. Alike if left out.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Write a whole model, the soup merged into its base.")
    ] = False,
    rank: Annotated[int | None, typer.Option(help="Cut an adapter to this rank; exact if left out.")] = None,
    greedy: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Leave out what makes retrieval on this dataset worse.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of that dataset.")] = "validation",
    metric: Annotated[str, typer.Option(help="What is compared: recall@K, ndcg@K or mrr@K.")] = "ndcg@10",
    limit: Annotated[int | None, typer.Option(min=1, help="Compare on the first so many queries.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make one adapter or model out of several.

    The weighted mean of what each changes in the base. For --greedy choose another dataset than you report on.
    """
    from nyx_hf.soup import cook

    result = cook(ingredients, out, weights, merge, rank, greedy, split, metric, limit)
    typer.echo(json.dumps(result.as_json()) if as_json else result.as_text())


@app.command(
    epilog=examples(
        "nyx-hf push runs/quickstart/model your-name/nyx-digits --tag v1",
        "nyx-hf push runs/quickstart/dataset your-name/nyx-digits --public",
        "nyx-hf push your-name/digits-index your-name/digits-demo --space   # a page that searches an index",
    )
)
@errors_in_one_line
def push(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a model, an adapter or a dataset; or metric:NAME.")
    ],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="Where it goes on the Hub: owner/name.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Visibility of a new repository (private by default).")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the commit; tags that exist are never moved.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to push to (main by default).")] = None,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
    create: Annotated[bool, typer.Option("--create/--no-create", help="Make the repository if it is missing.")] = True,
    space: Annotated[
        bool, typer.Option("--space", help="DIR names an index on the Hub: make a Space that searches it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Publish a model, adapter, dataset or metric on the Hub, or a page that searches an index.

    Everything is checked first (a card with a licence, whole weights, no local paths), then goes up in one commit, so
    a push that fails leaves the repository as it was. Log in once with `hf auth login`, or set HF_TOKEN.
    """
    kind, _, name = str(folder).partition(":")
    if (space or kind == "metric") and (tag is not None or revision is not None or not create):
        raise typer.BadParameter("a Space takes neither --tag nor --revision nor --no-create")
    if space:
        from nyx_hf.space_push import push_space

        commit = push_space(str(folder), repo_id, private=private, commit_message=message)
    elif kind == "metric":
        from nyx_hf.metric_modules import push_metric_module

        commit = push_metric_module(name, repo_id, private=private, commit_message=message)
    else:
        from nyx_hf.hub import push_to_hub

        commit = push_to_hub(
            folder, repo_id, private=private, tag=tag, revision=revision, commit_message=message, create=create
        )
    if as_json:
        typer.echo(json.dumps({"repo_id": repo_id, "commit": commit.oid, "url": commit.commit_url, "tag": tag}))
    else:
        typer.echo(f"pushed {folder} to {repo_id}{f', tagged {tag}' if tag else ''}: {commit.commit_url}")
