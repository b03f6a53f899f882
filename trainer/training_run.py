"""A training run from a recipe: load, train, evaluate, save."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard
from huggingface_hub.errors import EntryNotFoundError
from transformers import AutoConfig, set_seed
from transformers.trainer_utils import get_last_checkpoint

from nyx_hf.data_builders.digits import build_digits
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.model_cards.licences import License
from nyx_hf.model_cards.model_card import DataSource
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.recipe_files import RecipeError
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet
from nyx_hf.trainer.run_arguments import DataArguments, ModelArguments, RunArguments, parse_run
from nyx_hf.trainer.tiny import make_tiny_vlm
from nyx_hf.trainer.trainer import NyxTrainer
from nyx_hf.trainer.training_rows import JoinedRows

_TINY, _BUILD = "tiny:", "build:"
_BUILDERS = {"digits": build_digits}


def main(words: Sequence[str]) -> int:
    """Trains what a recipe says.

    Args:
        words: `--config RECIPE key=value …`.

    Returns:
        0, or 2 where the run could not begin; the reason is then one line on stderr.
    """
    try:
        run = parse_run(words)
        check_world_size(run.training)
        trainer = build_trainer(run)
        checkpoint = _checkpoint(run.training)
    except (ValueError, OSError) as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        return 2
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.eval_dataset is not None:
        trainer.evaluate()
    trainer.save_model()  # with push_to_hub it pushes too
    return 0


def check_world_size(args: NyxTrainingArguments) -> None:
    """Refuses a launch whose processes do not know each other: each would train alone on all the data.

    Args:
        args: training arguments.

    Raises:
        RecipeError: the launcher started more processes than train together.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != args.world_size:
        raise RecipeError(
            f"the launcher started {launched} processes but {args.world_size} train together; on CPU use "
            "`accelerate launch --multi_gpu --num_processes 2 trainer/train.py … use_cpu=true`"
        )


def build_trainer(run: RunArguments) -> NyxTrainer:
    """Loads model and data.

    Args:
        run: the arguments.

    Returns:
        The trainer, ready to train.

    Raises:
        ValueError: model, data and settings do not fit together.
        OSError: model or data are not there.
    """
    args = run.training
    set_seed(args.seed)
    with args.main_process_first(desc="making the model and the data"):
        model = _model(run.model, args)
        found = [_dataset(spec, run.data, args) for spec in run.data.datasets]
        rows = [
            TripletDataset.load(name, run.data.split, revision, name, args.negatives_per_query)
            for name, revision in found
        ]
        eval_set = _eval_set(run.data, args)
    return NyxTrainer(
        model,
        args,
        train_dataset=JoinedRows(rows),
        eval_dataset=eval_set,
        card={
            "datasets": [_data_source(name, revision) for name, revision in found],
            "command": f"accelerate launch {'--multi_gpu ' * (args.world_size > 1)}--num_processes {args.world_size} "
            f"{run.typed}",
        },
    )


def _model(chosen: ModelArguments, args: NyxTrainingArguments) -> NyxModel:
    """Loads the retriever, or makes one of a plain vision-language model."""
    name = chosen.model
    if name.startswith(_TINY):
        folder = _inputs(args) / "tiny-vlm"
        name = str(folder if folder.exists() else make_tiny_vlm(folder, name.removeprefix(_TINY), seed=args.seed))
    how: dict[str, Any] = {
        "dtype": chosen.dtype,
        "attn_implementation": chosen.attn_implementation,
        "revision": chosen.model_revision,
    }
    how = {key: value for key, value in how.items() if value is not None}
    config = AutoConfig.from_pretrained(name, revision=chosen.model_revision)
    if getattr(config, "nyx", None) is None:
        return NyxModel.from_backbone(name, preset=chosen.preset, **how, **chosen.changed_settings)
    model = NyxModel.from_pretrained(name, **how)
    if chosen.changed_settings:
        model.settings = model.settings.updated(**chosen.changed_settings)
    return model


def _dataset(spec: str, data: DataArguments, args: NyxTrainingArguments) -> tuple[str, str | None]:
    """Settles a dataset's folder or Hub id and its revision; builds it where that is asked."""
    if not spec.startswith(_BUILD):
        name, _, revision = spec.partition("@")
        return name, revision or None
    builder = spec.removeprefix(_BUILD)
    if builder not in _BUILDERS:
        raise RecipeError(f"no dataset {builder!r} can be built on the spot; there is {', '.join(_BUILDERS)}")
    folder = _inputs(args) / builder
    if not folder.exists():
        _BUILDERS[builder](folder, seed=args.seed, **data.build_settings)
    return str(folder), None


def _inputs(args: NyxTrainingArguments) -> Path:
    """Where what is made on the spot stands: beside the output folder, which is pushed whole."""
    return Path(f"{args.output_dir}.inputs")


def _eval_set(data: DataArguments, args: NyxTrainingArguments) -> RetrievalSet | None:
    if data.eval_dataset is None:
        return None
    name, revision = _dataset(data.eval_dataset, data, args)
    return RetrievalSet.load(name, data.eval_split, revision=revision, limit=data.eval_queries)


def _data_source(name: str, revision: str | None) -> DataSource:
    """What the card says of a dataset; its licence is its own card's."""
    folder = Path(name)
    shown = folder.name if folder.exists() else name
    try:
        data = DatasetCard.load(folder / "README.md" if folder.exists() else name).data
    except (EntryNotFoundError, FileNotFoundError):
        return DataSource(shown, revision)
    licence = License(data.license, data.get("license_name"), data.get("license_link")) if data.license else None
    return DataSource(shown, revision, licence)


def _checkpoint(args: NyxTrainingArguments) -> str | None:
    """Settles what to resume from: a folder, `true` for the last checkpoint, `auto` for it if there is one."""
    wanted = args.resume_from_checkpoint
    if wanted is None or wanted.lower() == "false":
        return None
    if wanted.lower() not in ("true", "auto"):
        if not Path(wanted).is_dir():
            raise RecipeError(f"resume_from_checkpoint names {wanted}, which is no folder")
        return wanted
    output = str(args.output_dir)
    last = get_last_checkpoint(output) if Path(output).is_dir() else None
    if last is None and wanted.lower() == "true":
        raise RecipeError(f"resume_from_checkpoint=true, but {output} holds no checkpoint; auto starts anew then")
    return last
