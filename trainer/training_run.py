"""A training run from a recipe: load, train, evaluate, save."""

import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from peft import PeftModel
from transformers import set_seed

from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.batching import build_sampler
from nyx_hf.trainer.checkpoints import RUN_FILE, check_resume, last_whole, mark_whole, run_settings, unmark
from nyx_hf.trainer.finite import NotFiniteError
from nyx_hf.trainer.objective import build_objective
from nyx_hf.trainer.pinning import pinned
from nyx_hf.trainer.preparation import check_objective, trained_settings
from nyx_hf.trainer.recipe_files import RecipeError, without_places
from nyx_hf.trainer.run_arguments import RunArguments, known_deprecations, parse_run
from nyx_hf.trainer.run_data import data_sources, evaluation_sets, revisions, training_rows
from nyx_hf.trainer.run_model import check_model, learned_before, load_model
from nyx_hf.trainer.trainer import NyxTrainer

REFUSED, FAILED = 2, 1


def main(words: Sequence[str]) -> int:
    """Trains what a recipe says.

    Args:
        words: `--config RECIPE key=value …`.

    Returns:
        0; 2 where the run could not begin, 1 where it could not go on. The reason is then one line on stderr.
    """
    with known_deprecations():
        try:
            run = parse_run(words)
            check_world_size(run.training)
            if is_done(run):
                _tell(f"{run.training.output_dir} is done: this run ended there")
                return 0
            checkpoint = find_checkpoint(run)
            trainer = build_trainer(run)
        except (ValueError, OSError) as error:
            _tell_error(error)
            return REFUSED
        try:
            _train(trainer, run, checkpoint)
        except (NotFiniteError, torch.OutOfMemoryError) as error:
            print(file=sys.stderr)  # the progress bar's line is not ended
            _tell_error(error)
            return FAILED
    return 0


def _train(trainer: NyxTrainer, run: RunArguments, checkpoint: str | None) -> None:
    """Trains, evaluates, saves."""
    folder = str(run.training.output_dir)
    if run.training.should_save:
        unmark(folder)
    trainer.train(resume_from_checkpoint=checkpoint)
    scores = {} if trainer.eval_dataset is None else trainer.evaluate()
    trainer.save_model()  # with push_to_hub it pushes too
    if run.training.should_save:
        mark_whole(folder, run_settings(run.training, run_facts_of(run)))
    shown = [f"{name.removeprefix('eval_')} {value:.3f}" for name, value in scores.items() if _is_headline(name)]
    _tell(f"saved {folder}" + (": " + ", ".join(shown) if shown else ""))
    # a process that leaves while others write, its group still open, may be aborted on its way out
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def _is_headline(metric: str) -> bool:
    """Whether a score is one of the full width, not of a prefix."""
    return "@" in metric and "_dim_" not in metric


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
    args, facts = run.training, run_facts_of(run)  # facts as asked: a Hub that is away at a resume changes no run
    run = pinned(run)
    set_seed(args.seed)
    with args.main_process_first(desc="making the model and the data"):
        settings = trained_settings(check_model(run.model, args), args)
        objective = build_objective(args, settings.matryoshka_dims or None, settings.matryoshka_weights or None)
        check_objective(objective, args, settings)
        rows = training_rows(run.data, args, needs_scores=objective.needs_scores)
        if args.sampler is None:  # batches that cannot be filled are refused now
            size = args.per_device_train_batch_size * args.world_size
            build_sampler(rows, args, size, seed=args.seed, drop_last=args.dataloader_drop_last)
        sets = evaluation_sets(run.data, args)
        model = load_model(run.model, args)
    trainer = NyxTrainer(
        model,
        args,
        train_dataset=rows,
        eval_dataset=sets,
        card={
            "datasets": data_sources(run.data, args),
            "command": f"accelerate launch {_spread(args)}--num_processes {args.world_size} {run.typed}",
        },
        run=facts,
        recipe=without_places(run.values),
    )
    if isinstance(trainer.model, PeftModel) and not isinstance(model, PeftModel):
        for config in trainer.model.peft_config.values():  # a new adapter fits the base as it is now
            config.revision = run.model.model_revision
    trainer.objective_training.start_from(learned_before(run.model, args))
    return trainer


def _spread(args: NyxTrainingArguments) -> str:
    """How a launch says what this run was spread by."""
    if args.deepspeed_plugin is not None:
        return f"--config_file trainer/launch_configs/zero{args.deepspeed_plugin.zero_stage}.yaml "
    if os.environ.get("ACCELERATE_USE_FSDP", "false") == "true":
        return "--config_file trainer/launch_configs/fsdp2.yaml "
    return "--multi_gpu " if args.world_size > 1 else ""


def run_facts_of(run: RunArguments) -> dict[str, object]:
    """Tells what decides how a run's weights come out, besides the training arguments.

    Args:
        run: the arguments.

    Returns:
        Values by name.
    """
    before = Path(run.model.model) / RUN_FILE  # of the stage that the model is from
    upstream = sha256(before.read_bytes()).hexdigest() if before.is_file() else None
    return {**vars(run.model), "upstream": upstream, **revisions(run.data)}


def is_done(run: RunArguments) -> bool:
    """Tells whether a run that goes on where it stopped (`resume_from_checkpoint=auto`) has ended already.

    Args:
        run: the arguments.

    Returns:
        True where its output folder holds what it was to leave.

    Raises:
        ResumeError: the folder holds what a run with other settings left.
    """
    wanted, folder = run.training.resume_from_checkpoint, Path(str(run.training.output_dir))
    if wanted is None or wanted.lower() != "auto" or not (folder / RUN_FILE).is_file():
        return False
    check_resume(folder, run_settings(run.training, run_facts_of(run)))
    return True


def find_checkpoint(run: RunArguments) -> str | None:
    """Settles what to resume from: a folder, `true` for the last whole checkpoint, `auto` for it if there is one.

    Args:
        run: the arguments.

    Returns:
        The checkpoint's folder; None to start anew.

    Raises:
        RecipeError: there is none.
        ResumeError: it is of a run with other settings.
    """
    wanted = run.training.resume_from_checkpoint
    if wanted is None or wanted.lower() == "false":
        return None
    if wanted.lower() in ("true", "auto"):
        found = last_whole(str(run.training.output_dir))
        if found is None and wanted.lower() == "true":
            raise RecipeError(
                f"resume_from_checkpoint=true, but {run.training.output_dir} holds no checkpoint; auto starts anew"
            )
    else:
        found = Path(wanted)
        if not found.is_dir():
            raise RecipeError(f"resume_from_checkpoint names {wanted}, which is no folder")
    if found is None:
        return None
    check_resume(found, run_settings(run.training, run_facts_of(run)))
    return str(found)


def _tell_error(error: Exception) -> None:
    _tell(f"error: {' '.join(str(error).split())}")


def _tell(line: str) -> None:
    """One line on stderr, from one process."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(line, file=sys.stderr)
