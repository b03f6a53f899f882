"""Checkpoints to the Hub while training goes on."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy

from nyx_hf.trainer.arguments import NyxTrainingArguments


def upload_checkpoint(
    checkpoint: str | Path, repo_id: str, step: int, args: NyxTrainingArguments
) -> list[Future[Any]]:
    """Uploads the output folder, and the checkpoint too where `hub_strategy` says so.

    Args:
        checkpoint: the checkpoint's folder.
        repo_id: where to.
        step: step of the checkpoint.
        args: output folder, token, revision and strategy.

    Returns:
        The uploads, which go on in the background.
    """
    api = HfApi(token=args.hub_token)
    message = f"Training in progress, step {step}"
    jobs = [
        api.upload_folder(
            repo_id=repo_id,
            folder_path=args.output_dir,
            commit_message=message,
            revision=args.hub_revision,
            ignore_patterns=["_*", f"{PREFIX_CHECKPOINT_DIR}-*"],
            run_as_future=True,
        )
    ]
    if args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        last = args.hub_strategy == HubStrategy.CHECKPOINT
        jobs.append(
            api.upload_folder(
                repo_id=repo_id,
                folder_path=checkpoint,
                path_in_repo="last-checkpoint" if last else Path(checkpoint).name,
                commit_message=f"{message}, checkpoint",
                revision=args.hub_revision,
                run_as_future=True,
            )
        )
    return jobs
