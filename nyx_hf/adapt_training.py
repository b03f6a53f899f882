"""What `nyx-hf adapt` says to the recipe `adapt`, and the retrievers before and after it."""

import gc
import json
import shutil
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.searching import DenseSearcher
from nyx_hf.retrievers import NyxEncoder
from nyx_hf.trainer.adapters import without_adapter
from nyx_hf.trainer.hub_revisions import commit_of
from nyx_hf.trainer.launch import train_command
from nyx_hf.trainer.plan import Plan, plans
from nyx_hf.trainer.recipe_files import RecipeError, parse_overrides
from nyx_hf.trainer.run_arguments import ModelArguments, RunArguments, parse_anywhere
from nyx_hf.trainer.run_model import load_model

RECIPE = "adapt"
_SETTLED = {
    "model": "--model",
    "seed": "--seed",
    "output_dir": "--out",
    "datasets": "SOURCE",
    "split": "--shares",
    "eval_dataset": "SOURCE",
    "eval_split": "--shares",
    "resume_from_checkpoint": "the same --out",
}
"""Settings of the recipe that follow from the command's own."""
_ON_CPU = ("use_cpu=true", "bf16=false", "dtype=float32", "dataloader_num_workers=0")
_UNWATCHED = (
    *("eval_dataset=null", "eval_strategy='no'", "load_best_model_at_end=false"),
    *("metric_for_best_model=null", "early_stopping_patience=null"),
)
_BATCH = "per_device_train_batch_size"


@dataclass(frozen=True)
class Training:
    """How a base model is fitted to a dataset.

    Attributes:
        model: Hub id or folder of the base.
        seed: Seed of the run.
        device: Where models compute.
        overrides: `key=value` words that differ from the recipe's.
    """

    model: str
    seed: int
    device: str
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses overrides of what the command's own options say."""
        for key in parse_overrides(self.overrides):
            if key in _SETTLED:
                raise RecipeError(f"found the setting {key}, expected none that {_SETTLED[key]} decides; use that")

    @property
    def name(self) -> str:
        """What the tuned model is called."""
        return f"{_shown(self.model)}-adapted"

    def words(self, model: str | None = None) -> list[str]:
        """Gives the `key=value` words that are known before there are data."""
        words = list(_ON_CPU) if self.device == "cpu" else []
        if Path(self.model).is_dir() and parse_overrides(self.overrides).get("use_lora", True):
            words.append("merge_lora=true")  # others could not load an adapter of a folder that they do not have
        return [*words, *self.overrides, _word("model", model or self.model), f"seed={self.seed}"]

    def plan(self) -> Plan:
        """Says what training takes; nothing but the base's config is read.

        Raises:
            ValueError: If the base is none that can be trained, or a setting cannot be used.
        """
        self._run()  # settings speak for themselves
        try:
            [plan] = plans(RECIPE, [*self.words(), "datasets=hard"])
        except (OSError, ValueError) as error:
            raise ValueError(
                f"found no model at {self.model} that can be fine-tuned ({' '.join(str(error).split())[:200]}), "
                "expected a retriever of nyx_hf or a Qwen vision-language model; check --model"
            ) from error
        return plan

    def base(self, vectors: Path) -> DenseSearcher:
        """Opens the base as training begins with it."""
        return self._opened(self._run().model, _shown(self.model), commit_of(self.model, None, "model"), vectors)

    def tuned(self, folder: Path, vectors: Path) -> DenseSearcher:
        """Opens what training left."""
        chosen = ModelArguments(model=str(folder), dtype=self._run().model.dtype)
        return self._opened(chosen, self.name, None, vectors)

    def train(self, out: Path) -> int:
        """Trains on `hard` in a run's folder, going on from the last checkpoint, and leaves `model` there.

        Args:
            out: The run's folder.

        Returns:
            Training's exit code: 0 where it ended well.
        """
        work = Path("training")
        folder = work / self.name
        words = [*self._words_for(out, work), _word("output_dir", str(folder))]
        with chdir(out):  # so that the model's card names no folder of this machine
            code = train_command(RECIPE, words)
            if code != 0:
                return code
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
            folder.rename("model")
            shutil.rmtree(work)
        return 0

    def _words_for(self, out: Path, work: Path) -> list[str]:
        """Gives all words but where the model goes, as they hold in a run's folder."""
        place = self.model
        if Path(place).is_dir():
            place = str(work / _shown(place))
            _link(out / place, Path(self.model))
        links = load_tables(out / "hard", ("triplets",))["triplets"]
        watched = ["eval_dataset=hard", "eval_split=validation"] if "validation" in links else list(_UNWATCHED)
        words = [*watched, *self.words(place), "datasets=hard", "split=train", "resume_from_checkpoint=auto"]
        batch: int = getattr(parse_anywhere(["--config", RECIPE, *words]).training, _BATCH)
        most = _apart(links["train"]["positive_ids"])
        # no two questions of a batch may share a document
        return [f"{_BATCH}={most}", *words] if most < batch and _BATCH not in parse_overrides(words) else words

    def _run(self) -> RunArguments:
        return parse_anywhere(["--config", RECIPE, *self.words(), "datasets=hard"])

    def _opened(self, chosen: ModelArguments, name: str, revision: str | None, vectors: Path) -> DenseSearcher:
        model: Any = without_adapter(load_model(chosen, self._run().training))
        return DenseSearcher(NyxEncoder(name, revision, model.eval().to(self.device)), vectors, device=self.device)


def release_memory() -> None:
    """Gives back what models that nobody holds any more took: training is another process and needs it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def default_device() -> str:
    """Gives this machine's accelerator, or `cpu`."""
    return str(torch.accelerator.current_accelerator() or "cpu") if torch.accelerator.is_available() else "cpu"


def _shown(model: str) -> str:
    """What a model is called: of a folder its last part, of a Hub id its name."""
    return Path(model).resolve().name if Path(model).is_dir() else model.rsplit("/", 1)[-1]


def _link(link: Path, folder: Path) -> None:
    """Gives a folder of this machine a name in the run's, for the model's card and recipe to show."""
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve(), target_is_directory=True)


def _apart(positives: Sequence[Sequence[str]]) -> int:
    """Counts questions that share no right document, taking them as they come."""
    taken: set[str] = set()
    count = 0
    for right in positives:
        if taken.isdisjoint(right):
            taken |= set(right)
            count += 1
    return count


def _word(key: str, value: str) -> str:
    """Writes a setting so that YAML reads the very text back."""
    return f"{key}={value if yaml.safe_load(value) == value else json.dumps(value, ensure_ascii=False)}"
