"""A run whose model and data are named by their commits."""

from dataclasses import replace
from typing import Any

from nyx_hf.trainer.dataset_specs import BUILD, DatasetSpec
from nyx_hf.trainer.hub_revisions import commit_of
from nyx_hf.trainer.recipe_files import as_list, as_words
from nyx_hf.trainer.run_arguments import RunArguments


def pinned(run: RunArguments) -> RunArguments:
    """Writes commits into a run's arguments: what it loads is then what its card and recipe name.

    Args:
        run: the arguments.

    Returns:
        The same, with the model's and each dataset's revision as commits.
    """
    commit = commit_of(run.model.model, run.model.model_revision, "model")
    datasets, evaluated = ([_pinned(one) for one in as_list(run.values.get(k))] for k in ("datasets", "eval_dataset"))
    settled = {"model_revision": commit, "datasets": datasets, "eval_dataset": evaluated}
    return replace(
        run,
        model=replace(run.model, model_revision=commit),
        data=replace(run.data, datasets=as_words(datasets), eval_dataset=as_words(evaluated)),
        values=run.values | {key: value for key, value in settled.items() if value},
    )


def _pinned(dataset: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(dataset, dict):
        return {**dataset, "name": _pinned(dataset["name"])}
    spec = DatasetSpec(dataset)
    commit = None if dataset.startswith(BUILD) else commit_of(spec.folder_or_repo, spec.revision, "dataset")
    return dataset if commit is None else f"{spec.folder_or_repo}@{commit}"
