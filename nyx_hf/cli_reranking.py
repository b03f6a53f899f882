"""Commands that make and use rerankers: `train-reranker` and `rerank`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(
    "train-reranker",
    epilog=examples(
        "nyx-hf train-reranker data/m-beir-hard --base Qwen/Qwen2-VL-7B-Instruct --out runs/reranker",
        "nyx-hf train-reranker my-hard --base tiny:qwen2_vl --out runs/smoke smoke=true     # a few steps on CPU",
        "accelerate launch --num_processes 8 -m nyx_hf train-reranker my-hard --base BASE --out runs/reranker",
    ),
)
@errors_in_one_line
def train_reranker(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset with negatives, from nyx-hf mine.")],
    base: Annotated[str, typer.Option(help="A Qwen vision-language model: folder or Hub name.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that differ from the recipe's.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="A YAML file, or the name of a recipe.")] = "u_marvel_reranker",
    split: Annotated[str, typer.Option(help="Split of the triplets to train on.")] = "train",
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a reranker that answers YES or NO.

    Settings are trl's, with a LoRA adapter that is merged at the end. resume_from_checkpoint=auto goes on where a run
    stopped.
    """
    from accelerate import PartialState

    from nyx_hf.build import shown_command
    from nyx_hf.trainer.reranker_arguments import parse_reranker_run
    from nyx_hf.trainer.reranker_training import train_reranker as train

    given = {"split": split, "dataset_revision": revision}
    run = parse_reranker_run(dataset, base, out, overrides or [], recipe, given)
    result = train(run, shown_command(["nyx-hf", *sys.argv[1:]]), overwrite=overwrite)
    if run.training.should_save:
        typer.echo(json.dumps(result.as_json()) if as_json else result.as_text())
    PartialState().destroy_process_group()  # left open, it may abort a process on its way out


@app.command(
    epilog=examples(
        "nyx-hf rerank my-hard --model runs/retriever --reranker runs/reranker --out runs/reranked",
        "nyx-hf rerank my-hard --model runs/retriever --reranker runs/reranker --out runs/reranked --tune",
        "nyx-hf rerank my-hard --model bm25 --reranker Qwen/Qwen2.5-VL-3B-Instruct --out runs/zero-shot --alpha 0.2",
    )
)
@errors_in_one_line
def rerank(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Folder or Hub name of a dataset.")],
    model: Annotated[str, typer.Option(help="The retriever: folder, Hub name, or bm25.")],
    reranker: Annotated[str, typer.Option(help="The reranker, or a plain Qwen vision-language model.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    top_k: Annotated[int, typer.Option(min=1, help="Candidates a query.")] = 50,
    alpha: Annotated[
        float | None, typer.Option(help="Weight of the retriever's score, from 0 to 1; 0.5 if left out.")
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Find alpha on --tune-split.")] = False,
    tune_split: Annotated[str, typer.Option(help="Split of the triplets to find alpha on.")] = "validation",
    metric: Annotated[str, typer.Option(help="What alpha is chosen by: recall@K, ndcg@K, mrr@K.")] = "ndcg@10",
    split: Annotated[str, typer.Option(help="Split of the triplets to report on.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Queries of each split, at most.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample and the intervals.")] = 0,
    revision: Annotated[str | None, typer.Option(help="The dataset's branch, tag or commit.")] = None,
    model_revision: Annotated[str | None, typer.Option(help="The retriever's.")] = None,
    reranker_revision: Annotated[str | None, typer.Option(help="The reranker's.")] = None,
    device: Annotated[str | None, typer.Option(help="Where models compute.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that stand there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Order what a retriever finds again, and measure what it brought.

    The final score is alpha · recall + (1 - alpha) · P(YES). Scores are kept on disk: a run that was killed asks
    nothing twice.
    """
    if tune and alpha is not None:
        raise typer.BadParameter("found --alpha and --tune, expected one of them")
    from nyx_hf.pair_scoring import ScoreCache
    from nyx_hf.rerank import RerankSettings, check_free, rerank_dataset
    from nyx_hf.reranker import NyxReranker
    from nyx_hf.retrievers import load_searcher

    weight = 0.5 if alpha is None else alpha
    settings = RerankSettings(split, top_k, weight, tune_split if tune else None, metric, limit, seed)
    check_free(out, overwrite)  # before a model is loaded
    searcher = load_searcher(model, revision=model_revision, device=device)
    scorer = ScoreCache(NyxReranker.from_pretrained(reranker, reranker_revision, device))
    result = rerank_dataset(dataset, searcher, scorer, out, settings, revision=revision, overwrite=overwrite)
    typer.echo(json.dumps(result.as_json()) if as_json else result.as_text())
