"""The command `distill`: what a reranker thinks of training queries' candidates, for a retriever to learn."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(
    epilog=examples(
        "nyx-hf distill data/m-beir-hard --reranker runs/reranker --out data/m-beir-reranked",
        "nyx-hf distill data/m-beir-hard --teacher off --out data/m-beir-continued    # the control",
        "nyx-hf train u_marvel_3_distillation datasets=data/m-beir-reranked",
    )
)
@errors_in_one_line
def distill(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="A dataset with scored negatives, from nyx-hf mine.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the dataset to write.")],
    reranker: Annotated[
        str | None, typer.Option(help="The teacher: a reranker's folder or Hub name; none with --teacher off.")
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="on, or off: take the same share of the data without a teacher's scores.")
    ] = "on",
    fraction: Annotated[float, typer.Option(help="Share of the training triplets to take.")] = 0.1,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives a query, at most.")] = 50,
    split: Annotated[str, typer.Option(help="Split of the triplets to train on.")] = "train",
    seed: Annotated[int, typer.Option(help="Decides which triplets are taken.")] = 0,
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit.")] = None,
    reranker_revision: Annotated[str | None, typer.Option(help="The reranker's.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the reranker computes.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Let a reranker score the candidates of training queries, to distil a retriever from.

    The triplets get the reranker's scores beside the retriever's (U-MARVEL §3.3); train on them with
    loss=distillation. Scores are kept: a run that was stopped asks nothing twice.
    """
    from nyx_hf.build import shown_command
    from nyx_hf.data_builders.writing import check_replaceable
    from nyx_hf.distill import distill_dataset
    from nyx_hf.pair_scoring import ScoreCache
    from nyx_hf.reranker import NyxReranker

    if teacher not in ("on", "off"):
        raise typer.BadParameter(f"found {teacher!r}, expected on or off", param_hint="--teacher")
    if (teacher == "off") != (reranker is None):
        raise typer.BadParameter("name the teacher, or say --teacher off", param_hint="--reranker")
    check_replaceable(out, overwrite)  # before a model is loaded
    scorer = None
    if reranker is not None:
        scorer = ScoreCache(NyxReranker.from_pretrained(reranker, reranker_revision, device))
    done = distill_dataset(
        dataset,
        scorer,
        out,
        fraction=fraction,
        negatives=negatives,
        split=split,
        seed=seed,
        revision=revision,
        command=shown_command(["nyx-hf", *sys.argv[1:]]),
        overwrite=overwrite,
    )
    typer.echo(json.dumps(done.as_json()) if as_json else done.as_text())
