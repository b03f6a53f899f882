"""Our models under mteb: an encoder of its protocol, and what its leaderboard says of a model (`ModelMeta`)."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from huggingface_hub import ModelCard, get_local_safetensors_metadata, snapshot_download
from tqdm.auto import tqdm
from transformers import AutoConfig

from nyx_hf.data_builders.schema import Row
from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.retrievers import folder_hash
from nyx_hf.trainer.hub_revisions import commit_of

try:
    from mteb import get_tasks
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.types import Licenses, PromptType
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("mteb is not installed: `pip install nyx-hf[mteb]`") from error

UNPUBLISHED = "local"
"""What stands for the owner in the name of a model that is not on the Hub: mteb's names have one."""

_GATHERED = 4096  # texts that are sorted by length together


class NyxMTEBModel(AbsEncoder):
    """One of our models as mteb takes it: `mteb.evaluate(NyxMTEBModel("your-name/nyx"), tasks)`.

    Queries go through `encode_query`, documents through `encode_document`, what is neither through `encode`. An image
    stands before its text. The instruction is the row's own (mteb's column `instruction`), as it stands; else the
    model's prompt of the task, the type of task or the side, in mteb's order; else the prompt of the task, on a line
    of its own. A task's one prompt for both sides is for queries alone.

    Args:
        model: The model, or its folder or Hub name.
        revision: The Hub's branch, tag or commit.
        device: Where it computes.
        embed_dim: Width of the vectors (Matryoshka); the model's own where it is None.
        meta: What mteb says of the model; read from the model's folder or repository where it is None.

    Raises:
        ValueError: If the model is none of ours, or has not so many dimensions.
    """

    def __init__(
        self,
        model: NyxModel | str | Path,
        revision: str | None = None,
        *,
        device: str | None = None,
        embed_dim: int | None = None,
        meta: ModelMeta | None = None,
    ) -> None:
        name = model.name_or_path if isinstance(model, NyxModel) else str(model)
        self.mteb_model_meta = at_width(meta or model_meta(name, revision), embed_dim)
        hub = {} if Path(name).is_dir() else {"revision": self.mteb_model_meta.revision}
        opened: NyxModel = model if isinstance(model, NyxModel) else NyxModel.from_pretrained(name, **hub)
        self.model = opened if device is None else opened.to(device)
        self.model_prompts = dict(opened.settings.prompts)
        self.embed_dim = embed_dim

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Embeds queries or documents: texts, images, or both.

        Args:
            inputs: mteb's batches. In a mixed set a row may have no image (None) or an empty text.
            task_metadata: The task.
            hf_split: The split; it makes no difference.
            hf_subset: The subset; it makes no difference.
            prompt_type: Whether they are queries or documents; None where a task makes no difference.
            **kwargs: `batch_size` and `show_progress_bar`.

        Returns:
            Vectors of length 1, float32, (N, D).

        Raises:
            ValueError: If `precision` is asked for: vectors are not quantised.
        """
        if kwargs.get("precision"):
            raise ValueError(
                f"found precision={kwargs['precision']!r}, expected none: vectors are float32; leave it out"
            )
        prompt = self._prompt(task_metadata, prompt_type)
        blocks: list[np.ndarray] = []
        batches = tqdm(inputs, desc="Encoding", disable=not kwargs.get("show_progress_bar", True))
        for rows in _gathered(batches, prompt_type):
            by_prompt: dict[str | None, list[int]] = defaultdict(list)
            for number, (_, own) in enumerate(rows):
                by_prompt[own or prompt].append(number)
            block = np.empty((len(rows), self._width()), np.float32)
            for words, numbers in by_prompt.items():
                contents = [rows[number][0] for number in numbers]
                block[numbers] = self._vectors(contents, words, prompt_type, kwargs.get("batch_size", 32))
            blocks.append(block)
        return np.concatenate(blocks)

    def _vectors(self, contents: list[Row], prompt: str | None, side: PromptType | None, batch_size: int) -> Any:
        sides = {PromptType.query: self.model.encode_query, PromptType.document: self.model.encode_document}
        encode = self.model.encode if side is None else sides[side]
        how: dict[str, Any] = {} if prompt is None else {"prompt": prompt}
        return encode(contents, batch_size=batch_size, truncate_dim=self.embed_dim, show_progress_bar=False, **how)

    def _prompt(self, task: TaskMetadata, side: PromptType | None) -> str | None:
        """Chooses the instruction of rows that bring none; None leaves it to the model."""
        name = self.get_prompt_name(task, side)
        if name and (own := self.model_prompts.get(name)):
            return own
        told = task.prompt
        if isinstance(told, Mapping):
            told = told.get(PromptType.query.value if side is None else side.value)
        elif side is PromptType.document:
            told = None
        return f"{told.rstrip()}\n" if told else None

    def _width(self) -> int:
        full: int = self.model.config.get_text_config().hidden_size
        return self.embed_dim or self.model.settings.truncate_dim or full


def model_meta(
    name: str | Path, revision: str | None = None, *, hub_name: str | None = None, **fields: Any
) -> ModelMeta:
    """Fills in what mteb says of a model, from its config, weights and card.

    `training_datasets` are the card's datasets by the names of the tasks that mteb makes of them, and by their own
    where it makes none; None where the card names none. A collection's name does not tell which tasks are made of its
    parts: look through them before a submission, and give `release_date`, which no file says.

    Args:
        name: The model's folder or Hub name.
        revision: The Hub's branch, tag or commit.
        hub_name: Where a folder is, or will be, on the Hub; `local/FOLDER` where it is None.
        **fields: Fields that are to be otherwise.

    Returns:
        The metadata; `NyxMTEBModel` is its loader.

    Raises:
        ValueError: If it is none of our models, or a field is not as mteb wants it.
    """
    of_hub = not Path(name).is_dir()
    commit = commit_of(str(name), revision or "main", "model") if of_hub else folder_hash(Path(name))
    wanted = ["*.json", "README.md", "*.safetensors"]
    folder = Path(snapshot_download(str(name), revision=commit, allow_patterns=wanted)) if of_hub else Path(name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "nyx" not in config:
        raise ValueError(f"found no `nyx` object in config.json of {name}, expected one of our models")
    text, settings = AutoConfig.from_pretrained(folder).get_text_config(), NyxSettings.from_dict(config["nyx"])
    published = str(name) if of_hub else hub_name
    found: dict[str, Any] = {
        "loader": NyxMTEBModel,
        "name": published or f"{UNPUBLISHED}/{folder.resolve().name}",
        "revision": commit,
        "release_date": None,
        "languages": None,
        "n_embedding_parameters": text.vocab_size * text.hidden_size,
        "max_tokens": settings.max_length,
        "embed_dim": _dims(settings, text.hidden_size),
        "open_weights": True,
        "public_training_code": None,
        "public_training_data": None,
        "framework": ["Sentence Transformers", "Transformers", "PyTorch", "safetensors"],
        "reference": None if published is None else f"https://huggingface.co/{published}",
        "similarity_fn_name": "cosine",
        "use_instructions": True,
        "modalities": ["text", "image"],
    }
    return ModelMeta(**{**found, **_of_weights(folder), **_of_card(folder), **fields})


def at_width(meta: ModelMeta, embed_dim: int | None) -> ModelMeta:
    """Says that vectors are cut: mteb keeps such results apart, in a folder `experiments`.

    Args:
        meta: The metadata.
        embed_dim: Width of the vectors; None for the model's own.

    Returns:
        The metadata with that width.
    """
    if embed_dim is None:
        return meta
    return meta.model_copy(update={"embed_dim": embed_dim, "experiment_kwargs": {"embed_dim": embed_dim}})


def _dims(settings: NyxSettings, width: int) -> int | list[int]:
    """Gives the widths that vectors may have, the model's own first."""
    own = settings.truncate_dim or width
    dims = sorted({own, *(dim for dim in settings.matryoshka_dims if dim < own)}, reverse=True)
    return dims if len(dims) > 1 else own


def _of_weights(folder: Path) -> dict[str, Any]:
    counts = get_local_safetensors_metadata(folder).parameter_count
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return {"n_parameters": sum(counts.values()), "memory_usage_mb": round(size / 2**20)}


def _of_card(folder: Path) -> dict[str, Any]:
    """Reads licence, base model and training data; what a card does not say is None."""
    path = folder / "README.md"
    said = ModelCard.load(path).data.to_dict() if path.is_file() else {}
    licence = said.get("license")
    bases, sets = ([found] if isinstance(found, str) else found for found in map(said.get, ("base_model", "datasets")))
    return {
        "license": licence if licence in get_args(Licenses) else said.get("license_link"),
        "adapted_from": bases[0] if bases else None,
        "training_datasets": _mteb_names(sets) if sets else None,
    }


def _mteb_names(repositories: Iterable[str]) -> set[str]:
    """Gives the tasks that mteb makes of datasets, and the names of datasets that it makes none of."""
    tasks: dict[str, set[str]] = defaultdict(set)
    for task in get_tasks(exclude_superseded=False):
        tasks[task.metadata.dataset["path"]].add(task.metadata.name)
    return {name for repository in repositories for name in tasks.get(repository, {repository})}


def _gathered(batches: Iterable[Mapping[str, Any]], side: PromptType | None) -> Iterator[list[tuple[Row, str | None]]]:
    """Gives contents with their own instructions: many texts at once, but images no more than mteb's batch."""
    rows: list[tuple[Row, str | None]] = []
    for batch in batches:
        rows += _rows(batch, side)
        if "image" in batch or len(rows) >= _GATHERED:
            yield rows
            rows = []
    if rows:
        yield rows


def _rows(batch: Mapping[str, Any], side: PromptType | None) -> Iterator[tuple[Row, str | None]]:
    """Reads a batch of mteb's; a query's `text` has its instruction in it, `query` has not."""
    size = len(next(iter(batch.values())))
    nothing = [None] * size
    texts = batch.get("text", nothing)
    if side is PromptType.query:
        texts = batch.get("query", texts)
    for text, image, instruction in zip(
        texts, batch.get("image", nothing), batch.get("instruction", nothing), strict=True
    ):
        parts: list[Row] = [] if image is None else [{"type": "image", "image": image}]
        if not parts or (text and text.strip()):
            parts.append({"type": "text", "text": text or ""})
        yield {"content": parts}, instruction or None
