"""Commands that make datasets: `build`, `mine`, `feedback` and `export`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog=examples(
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
    epilog=examples(
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
    epilog=examples(
        "nyx-hf feedback data/nyxqa --model runs/stage1 --answerer endpoint:URL#MODEL --out data/nyxqa-feedback",
        "nyx-hf feedback data/nyxqa --model runs/stage1 --answerer endpoint:URL#MODEL --preset safe --out data/safe",
        "nyx-hf feedback data/nyxqa --model bm25 --answerer extractive -k 10 --window 2 --out data/nyxqa-feedback",
    )
)
@errors_in_one_line
def feedback(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder or Hub name.")],
    model: Annotated[str, typer.Option(help="The retriever: a model's folder or Hub name, or bm25.")],
    answerer: Annotated[
        str,
        typer.Option(help="extractive, digits, endpoint:URL#MODEL, transformers:MODEL or vllm:MODEL."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the dataset to write.")],
    preset: Annotated[str, typer.Option(help="paper, official or safe; what is given besides wins.")] = "paper",
    k: Annotated[
        int | None, typer.Option("-k", min=1, help="Documents found for a query (30; not in the paper).")
    ] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Documents shown together (1; not in the paper).")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Ranks from one window to the next (1).")] = None,
    metric: Annotated[str | None, typer.Option(help="f1 (if left out) or em, for questions without options.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="An answer that scores more is right (0.5; official 0; not in the paper).")
    ] = None,
    negatives: Annotated[int | None, typer.Option(min=1, help="Negatives a query, at most (all; official 3).")] = None,
    split: Annotated[str, typer.Option(help="The split to train on: no other is asked about.")] = "train",
    requests: Annotated[int, typer.Option(min=1, help="Requests to a server at the same time.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the answers.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Contents encoded together.")] = 32,
    device: Annotated[str | None, typer.Option(help="Where the retriever computes.")] = None,
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit on the Hub.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of kept vectors and answers; under HF_HOME if left out.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find out which documents lead to right answers, to train on.

    A query's positive is a document that an answerer answers it rightly from (Nyx §3.3, stage 2). Answers are kept: a
    run that was stopped asks for the rest alone.
    """
    from nyx_hf.feedback_command import run_feedback

    given = {"k": k, "window": window, "stride": stride, "metric": metric, "threshold": threshold}
    given |= {"negatives": negatives}
    opened = {"batch_size": batch_size, "device": device, "cache_dir": cache}
    asked = {"requests": requests, "seed": seed}
    how = {"split": split, "revision": revision, "overwrite": overwrite}
    command = ["nyx-hf", *sys.argv[1:]]
    done = run_feedback(dataset, model, answerer, out, preset, given, opened, asked, how, command)
    typer.echo(json.dumps(done.as_json()) if as_json else done.as_text())


@app.command(
    epilog=examples(
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
