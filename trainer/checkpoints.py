"""Checkpoints that are whole, and of the same run."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

RUN_FILE = "run.json"  # written last, so that a checkpoint that has it is whole

# What may differ in a resumed run, since the weights come out the same: what is watched, kept, pushed and how fast.
_FREE = re.compile(
    r"(output_dir|run_name|project|seed_worker|resume.*|overwrite.*|do_.*|push_.*|hub_.*|log.*|report.*|trackio.*|save.*"
    r"|eval.*|batch_eval_metrics|prediction.*|per_device_eval.*|include_.*|load_best.*|metric_for.*|greater_is.*"
    r"|early_stopping.*|disable_tqdm|dataloader_num.*|dataloader_p.*|chunk_.*|cache_gradients|gradient_checkpointing.*"
    r"|activation_checkpointing.*|torch_empty.*|skip_memory.*|ddp_timeout|merge_lora|use_cpu|local_rank|debug"
    r"|accelerator_config|restore.*|enable_jit.*)"
)


class ResumeError(ValueError):
    """A checkpoint that this run cannot go on from."""


def run_settings(args: TrainingArguments, more: Mapping[str, Any]) -> dict[str, Any]:
    """Collects what decides how a run's weights come out.

    Args:
        args: training arguments.
        more: what else does, such as the model and the datasets.

    Returns:
        Values by name, as JSON keeps them.
    """
    values = args.to_dict()
    own = {entry.name: values[entry.name] for entry in fields(args) if not _FREE.fullmatch(entry.name)}
    settings: dict[str, Any] = json.loads(json.dumps({**own, "processes": args.world_size, **more}, default=str))
    return settings


def mark_whole(checkpoint: str | Path, settings: Mapping[str, Any]) -> None:
    """Marks a checkpoint as whole.

    Args:
        checkpoint: its folder, to which nothing will be written any more.
        settings: of the run.
    """
    path = Path(checkpoint) / RUN_FILE
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    beside.rename(path)


def unmark(folder: str | Path) -> None:
    """Takes the mark away from a folder that is about to be written anew.

    Args:
        folder: as `mark_whole` was given it, marked or not.
    """
    (Path(folder) / RUN_FILE).unlink(missing_ok=True)


def last_whole(folder: str | Path) -> Path | None:
    """Finds the last checkpoint that was written to its end.

    Args:
        folder: the run's output folder.

    Returns:
        The checkpoint's folder, or None.
    """
    found = [path.parent for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*/{RUN_FILE}")]
    steps = {int(path.name.rpartition("-")[2]): path for path in found if path.name.rpartition("-")[2].isdigit()}
    return steps[max(steps)] if steps else None


def check_resume(checkpoint: str | Path, settings: Mapping[str, Any]) -> None:
    """Refuses to resume a checkpoint that is not whole, or in a run whose weights would come out otherwise.

    Args:
        checkpoint: its folder.
        settings: of this run.

    Raises:
        ResumeError: it cannot be resumed; the message names the settings that differ.
    """
    path = Path(checkpoint) / RUN_FILE
    if not path.is_file():
        raise ResumeError(f"{checkpoint} has no {RUN_FILE}: it was not written to its end; resume from another one")
    began = json.loads(path.read_text(encoding="utf-8"))
    changed = [
        f"{name} {began.get(name)!r} → {settings.get(name)!r}"
        for name in sorted(set(began) | set(settings))
        if began.get(name) != settings.get(name)
    ]
    if changed:
        raise ResumeError(
            f"{checkpoint} is of a run with other settings ({'; '.join(changed)}); resume with the settings it began "
            "with, or start anew in another output_dir"
        )
