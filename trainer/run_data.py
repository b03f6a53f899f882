"""The data of a run: what its recipe names, loaded and checked before any time is spent."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard
from huggingface_hub.errors import EntryNotFoundError

from nyx_hf.data_builders.digits import build_digits
from nyx_hf.data_builders.schema import SCORES
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.model_cards.licences import License
from nyx_hf.model_cards.model_card import DataSource
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.dataset_specs import DatasetSpec
from nyx_hf.trainer.hub_ready_trainer import EvalSet, EvalSets
from nyx_hf.trainer.import_paths import imported, is_import_path
from nyx_hf.trainer.recipe_files import RecipeError
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet
from nyx_hf.trainer.run_arguments import DataArguments
from nyx_hf.trainer.training_rows import JoinedRows

Builder = Callable[..., Any]  # (folder, *, seed, **settings): writes a dataset
_BUILDERS: dict[str, Builder] = {"digits": build_digits}


def training_rows(data: DataArguments, args: NyxTrainingArguments, *, needs_scores: bool) -> JoinedRows:
    """Loads what is trained on.

    Args:
        data: which data.
        args: training arguments.
        needs_scores: the objective needs a score for each document.

    Returns:
        The rows of all datasets.

    Raises:
        ValueError: a dataset cannot be used; the message is one line and says which and why.
        OSError: it is not there.
    """
    specs = [DatasetSpec.parse(word) for word in data.datasets]
    datasets = [_triplets(spec, data, args, needs_scores=needs_scores) for spec in specs]
    for spec, dataset in zip(specs, datasets, strict=True):
        _check_tasks(spec, dataset, args)
    return JoinedRows(datasets, specs)


def evaluation_sets(data: DataArguments, args: NyxTrainingArguments) -> EvalSets | None:
    """Loads what is evaluated on during training.

    Args:
        data: which data.
        args: training arguments.

    Returns:
        The one set, or several by name; None where there is none.

    Raises:
        ValueError: a set cannot be used, or two have one name.
        OSError: it is not there.
    """
    found = [_evaluation_set(word, data, args) for word in data.eval_dataset]
    names = Counter(name for name, _ in found)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise RecipeError(f"two of eval_dataset have the name {twice[0]!r}; give each its own")
    if not found:
        return None
    return found[0][1] if len(found) == 1 else dict(found)


def data_sources(data: DataArguments, args: NyxTrainingArguments) -> list[DataSource]:
    """Collects what the card says of the training data.

    Args:
        data: which data.
        args: training arguments.

    Returns:
        Name, revision and licence of each dataset; the licence is its own card's.
    """
    sources = []
    for spec in map(DatasetSpec.parse, data.datasets):
        name = _place(spec, data, args)
        folder = Path(name)
        shown = folder.name if folder.exists() else name
        try:
            card = DatasetCard.load(folder / "README.md" if folder.exists() else name).data
        except (EntryNotFoundError, FileNotFoundError):
            sources.append(DataSource(shown, spec.revision))
            continue
        known = card.license and License(card.license, card.get("license_name"), card.get("license_link"))
        sources.append(DataSource(shown, spec.revision, known or None))
    return sources


def _triplets(
    spec: DatasetSpec, data: DataArguments, args: NyxTrainingArguments, *, needs_scores: bool
) -> TripletDataset:
    place = _place(spec, data, args)
    name = Path(place).name if spec.builder else place
    try:
        dataset = TripletDataset.load(
            place,
            spec.split or data.split,
            spec.revision,
            name,
            args.negatives_per_query,
            args.positives_per_query,
        )
        if needs_scores:
            dataset.check_scores()
            if args.distillation_alpha is not None:
                dataset.check_scores(SCORES[1])
    except ValueError as error:
        raise RecipeError(f"dataset {spec.name}: {error}") from error
    except OSError as error:
        raise RecipeError(f"dataset {spec.name} is no folder here, and the Hub does not give it: {error}") from error
    return dataset


def _check_tasks(spec: DatasetSpec, dataset: TripletDataset, args: NyxTrainingArguments) -> None:
    """Refuses rows of tasks that have no temperature, where tasks have one each."""
    if not args.temperature_tasks:
        return
    tasks = {spec.task} if spec.task is not None else dataset.tasks()
    unknown = sorted(str(task) for task in tasks if task not in args.temperature_tasks)
    if unknown:
        raise RecipeError(
            f"dataset {spec.name} has rows of the task {unknown[0]}, which is none of temperature_tasks "
            f"({', '.join(args.temperature_tasks)}); add it there, or give the dataset a task in `datasets`"
        )


def _evaluation_set(word: str, data: DataArguments, args: NyxTrainingArguments) -> tuple[str, EvalSet]:
    if is_import_path(word) and not word.startswith("build:"):
        return word.partition(":")[2], imported(word)
    spec = DatasetSpec.parse(word)
    place = _place(spec, data, args)
    split = spec.split or data.eval_split
    loaded = RetrievalSet.load(place, split, revision=spec.revision, limit=data.eval_queries)
    return loaded.name, loaded


def _place(spec: DatasetSpec, data: DataArguments, args: NyxTrainingArguments) -> str:
    """Settles a dataset's folder or Hub id; builds it where that is asked."""
    if spec.builder is None:
        return spec.folder_or_repo
    builder = _builder(spec.builder)
    folder = inputs_folder(args) / spec.builder.rpartition(":")[2]
    if not folder.exists():
        builder(folder, seed=args.seed, **data.build_settings)
    return str(folder)


def _builder(name: str) -> Builder:
    if is_import_path(name):
        builder: Builder = imported(name)
        return builder
    if name not in _BUILDERS:
        raise RecipeError(
            f"no dataset {name!r} can be built on the spot; there is {', '.join(_BUILDERS)}, or an import path such "
            "as build:my_package:my_builder"
        )
    return _BUILDERS[name]


def inputs_folder(args: NyxTrainingArguments) -> Path:
    """Tells where what is made on the spot stands: beside the output folder, which is pushed whole.

    Args:
        args: training arguments.

    Returns:
        The folder.
    """
    return Path(f"{args.output_dir}.inputs")


def revisions(data: DataArguments) -> Mapping[str, Any]:
    """Tells what of the data decides how a run's weights come out.

    Args:
        data: which data.

    Returns:
        Values by name.
    """
    return {"datasets": data.datasets, "split": data.split, "build": data.build}
