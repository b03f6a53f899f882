"""The command line, `nyx-hf`. What a command needs is imported inside it, so that `--help` is quick."""

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from nyx_hf._version import __version__

P = ParamSpec("P")
R = TypeVar("R")

DEBUG = "NYX_DEBUG"  # an environment variable, so that the processes a command starts see it too

app = typer.Typer(
    name="nyx-hf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Runs the command line."""
    app()


def one_line(error: Exception) -> str:
    """Says what went wrong in one line.

    Args:
        error: What was raised. Our own errors, bad values and file errors speak for themselves; anything else is
            named, since nobody foresaw it.

    Returns:
        The line, without a full stop.
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    message = " ".join(str(error).split()) or "no message"
    if isinstance(error, OSError | ValueError) or type(error).__module__.startswith("nyx_hf."):
        return message
    return f"{type(error).__name__}: {message} ({DEBUG}=1 shows where)"


def errors_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Ends a command that raises with one line and exit code 1; a traceback only if it was asked for."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            typer.echo(f"error: {one_line(error)}", err=True)
            raise typer.Exit(1) from error

    return run


def _examples(*lines: str) -> str:
    """Lays examples out for the end of a help page; the first character keeps their lines apart."""
    return "\b\n" + "\n".join(["Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nyx-hf {__version__}")
        raise typer.Exit


@app.callback(
    epilog=_examples(
        "nyx-hf quickstart    # start here: a retriever from scratch, in minutes",
        "nyx-hf doctor        # what is installed, and what is missing",
    )
)
def nyx_hf(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks ({DEBUG}=1 does the same).")] = False,
) -> None:
    """Train, publish and use retrievers for any ordered mix of text, images and video."""
    if debug:
        os.environ[DEBUG] = "1"


@app.command(epilog=_examples("nyx-hf quickstart --out runs/quickstart --seed 0"))
@errors_in_one_line
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the model, the dataset and the report.")] = Path(
        "runs/quickstart"
    ),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; the built-in number if left out.")] = None,
) -> None:
    """Build data, train a small retriever, show what it finds.

    Everything from scratch: minutes on two CPU cores, no network. Run again, it goes on where it stopped; on a
    finished folder it prints its table.
    """
    from nyx_hf.quickstart import run_quickstart

    run_quickstart(out, seed, steps)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog=_examples(
        "nyx-hf build --list",
        "nyx-hf build nyxqa --help             # the options of one builder",
        "nyx-hf build nyxqa --source html:my-site --generator extractive --out data/nyxqa",
        "nyx-hf build nyxqa --source html:my-site --plan",
        "nyx-hf build mmeb --limit 100 --out data/mmeb-sample",
    ),
)
@errors_in_one_line
def build(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What to build; --list names what there is.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to make.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List what can be built.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Build nothing: print what it would read, ask and write.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    show_help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this, or with NAME that builder's options.")
    ] = False,
) -> None:
    """Build a dataset: Parquet files and a card that load_dataset and the Hub read.

    Further options are the builder's own: nyx-hf build NAME --help.
    """
    from nyx_hf import build as building

    if show_help and name is None:
        typer.echo(context.get_help())
    elif show_help and name is not None:
        building.make_builder(name, ["--help"])
    elif show_list:
        typer.echo(json.dumps(building.listed_builders()) if as_json else building.list_builders())
    elif name is None:
        raise typer.BadParameter("name what to build; --list shows what there is", param_hint="NAME")
    else:
        builder = building.make_builder(name, context.args)
        if plan:
            planned = builder.plan()
            typer.echo(json.dumps(planned) if as_json else building.plan_text(planned))
        elif out is None:
            raise typer.BadParameter("name the folder to make, or look at --plan first", param_hint="--out")
        else:
            built = building.build_dataset(builder, out, ["nyx-hf", *sys.argv[1:]], overwrite)
            typer.echo(json.dumps(built.as_json()) if as_json else built.as_text())


@app.command(
    epilog=_examples(
        "nyx-hf mine data/nyxqa --model runs/stage1 --out data/nyxqa-hard",
        "nyx-hf mine data/m-beir --model runs/u-marvel-1c --preset u-marvel --max-score 0.8 --out data/m-beir-hard",
        "nyx-hf mine data/nyxqa --model bm25 --range-min 10 --range-max 30 --sampling random --out data/nyxqa-bm25",
    )
)
@errors_in_one_line
def mine(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder or Hub name.")],
    model: Annotated[str, typer.Option(help="The retriever: a model's folder or Hub name, or bm25.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset to write.")],
    preset: Annotated[str, typer.Option(help="nyx, nyx-official or u-marvel; what is given besides wins.")] = "nyx",
    negatives: Annotated[int | None, typer.Option(min=1, help="Hard negatives a query.")] = None,
    range_min: Annotated[int | None, typer.Option(min=0, help="Skip so many of the highest.")] = None,
    range_max: Annotated[int | None, typer.Option(min=1, help="Take none beyond this rank.")] = None,
    max_score: Annotated[float | None, typer.Option(help="Above this score a document is taken to be right.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Below this score a document is too easy.")] = None,
    absolute_margin: Annotated[float | None, typer.Option(help="Least distance below the positive's score.")] = None,
    relative_margin: Annotated[float | None, typer.Option(help="The same, as a share of that score.")] = None,
    sampling: Annotated[str, typer.Option(help="top, or random among those left.")] = "top",
    too_few: Annotated[str, typer.Option(help="A query with too few negatives: keep, or drop.")] = "keep",
    pool: Annotated[str, typer.Option(help="What is searched: global, or the query's own task or source.")] = "global",
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Pass over near duplicates of a positive, too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Contents encoded together.")] = 32,
    device: Annotated[str | None, typer.Option(help="Where the model computes.")] = None,
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit on the Hub.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of kept vectors; under HF_HOME if left out.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find hard negatives for a dataset of any mix.

    Every content is encoded once and kept; the result has the negatives' scores, and a picture of them.
    """
    from nyx_hf.mine_command import run_mine

    given: dict[str, object] = {
        "negatives": negatives,
        "range_min": range_min,
        "range_max": range_max,
        "max_score": max_score,
    }
    given |= {"min_score": min_score, "absolute_margin": absolute_margin, "relative_margin": relative_margin}
    given |= {"sampling": sampling, "too_few": too_few, "seed": seed}
    opened = {"batch_size": batch_size, "device": device, "cache_dir": cache}
    how = {"revision": revision, "pool": pool, "near_duplicates": near_duplicates, "overwrite": overwrite}
    mined = run_mine(dataset, model, out, preset, given, opened, how, ["nyx-hf", *sys.argv[1:]])
    typer.echo(json.dumps(mined.as_json()) if as_json else mined.as_text())


@app.command(
    epilog=_examples(
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
    epilog=_examples(
        "nyx-hf export data/nyxqa ms-swift --out exported",
        "nyx-hf export your-name/records beir --out records-beir",
    )
)
@errors_in_one_line
def export(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder or Hub name.")],
    layout: Annotated[
        str, typer.Argument(metavar="LAYOUT", help="beir, mteb, vlm2vec, ms-swift or sentence-transformers.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit on the Hub.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a dataset as other tools read it.

    What the layout cannot express is an error: nothing is dropped on the way.
    """
    from nyx_hf.data_builders.exporting import export_dataset

    counts = export_dataset(dataset, layout, out, revision)
    rows = ", ".join(f"{count:,} rows of {split}" for split, count in counts.items())
    typer.echo(json.dumps({"folder": str(out), "rows": counts}) if as_json else f"wrote {out}: {rows}")


@app.command(
    epilog=_examples(
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
    epilog=_examples(
        "nyx-hf push runs/quickstart/model your-name/nyx-digits --tag v1",
        "nyx-hf push runs/quickstart/dataset your-name/nyx-digits --public",
    )
)
@errors_in_one_line
def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a model, an adapter or a dataset.")],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="Where it goes on the Hub: owner/name.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Visibility of a new repository (private by default).")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the commit; tags that exist are never moved.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to push to (main by default).")] = None,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
    create: Annotated[bool, typer.Option("--create/--no-create", help="Make the repository if it is missing.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Publish a model, adapter or dataset on the Hub.

    Everything is checked first (a card with a licence, whole weights, no local paths), then goes up in one commit, so
    a push that fails leaves the repository as it was. Log in once with `hf auth login`, or set HF_TOKEN.
    """
    from nyx_hf.hub import push_to_hub

    commit = push_to_hub(
        folder, repo_id, private=private, tag=tag, revision=revision, commit_message=message, create=create
    )
    if as_json:
        typer.echo(json.dumps({"repo_id": repo_id, "commit": commit.oid, "url": commit.commit_url, "tag": tag}))
    else:
        typer.echo(f"pushed {folder} to {repo_id}{f', tagged {tag}' if tag else ''}: {commit.commit_url}")


@app.command(epilog=_examples("nyx-hf doctor --json"))
@errors_in_one_line
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also ask the Hub whose token it is.")] = False,
) -> None:
    """Show what is installed, missing or broken.

    Package versions, the torch backend, the Hub's address and login, optional extras. Ends with exit code 0 if nothing
    is broken, 1 otherwise; what is optional may be missing.
    """
    from nyx_hf import doctor as examination

    findings = examination.examine(online)
    if as_json:
        typer.echo(json.dumps(examination.as_json(findings), indent=2, ensure_ascii=False))
    else:
        typer.echo(examination.as_text(findings))
    raise typer.Exit(0 if examination.is_well(findings) else 1)
