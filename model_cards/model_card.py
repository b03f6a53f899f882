"""The card of a retriever or of an adapter, made from facts that training and evaluation know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from nyx_hf.model_cards.blocks import TEMPLATES, code_block, facts_table, shown_repo_id, table
from nyx_hf.model_cards.citations import bibtex
from nyx_hf.model_cards.licences import NOTICES, License, base_licence, inherit
from nyx_hf.model_cards.snippets import usage_snippets

_NEEDS_TRUST = {
    "mask_instruction": (True, "the instruction's tokens are left out of the mean"),
    "positions": ("sequential", "image tokens are counted one by one, as the checkpoint was trained"),
    "round_images": (True, "images beyond a limit are resized twice, as the checkpoint was trained"),
}
"""Settings that stock classes cannot express: the value that needs our code, and what it does."""


@dataclass(frozen=True)
class DataSource:
    """One dataset that a model was trained on.

    Attributes:
        repo_or_name: Hub name (`owner/name`), or a plain name for data that is not on the Hub.
        revision: Its commit, tag or version.
        license: Its licence: a Hub licence id, a `License`, or None if unknown.
    """

    repo_or_name: str
    revision: str | None = None
    license: License | str | None = None


@dataclass(frozen=True)
class Metric:
    """One measured figure.

    Attributes:
        name: Metric with its cut-off, `recall@1`.
        value: The figure, a fraction of one.
        dataset: Hub name or plain name of the data it was measured on.
        config: The dataset's config.
        split: The dataset's split.
        revision: The dataset's commit, tag or version.
        dim: Width of the embeddings; None for the full width.
    """

    name: str
    value: float
    dataset: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    dim: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a model's card is made from.

    Attributes:
        name: Repository name, `owner/name` or bare `name` (shown behind `your-name/` until it is pushed).
        summary: What the model is, in a few sentences (Markdown).
        base_model: Hub name of the base model; None for a model trained from scratch.
        base_model_relation: `finetune` or `adapter`.
        base_license: The base model's licence, where it is not among the known ones.
        license: Wanted licence (a Hub licence id); None takes the strictest of base and data.
        license_name: Name of a licence that the Hub has no id for (then `license` is `other`).
        license_link: Where that licence's text is found.
        datasets: What it was trained on.
        settings: config.json's `nyx` object; of an adapter, the arguments its base is made with.
        needs_trust: Whether stock classes alone would give other vectors than `encode`.
        dims: Embedding widths that were trained, longest first.
        metrics: What was measured.
        hyperparameters: Training arguments worth repeating, by name.
        command: The command that trained it, exactly as it was typed.
        recipe: File beside the card that holds all settings of that command.
        seed: The seed it was trained with.
        versions: Package versions.
        git_commit: Commit of the code it was trained with.
        figures: Picture files beside the card, by caption (relative paths).
        citations: Keys of `nyx_hf.model_cards.citations.CITATIONS`.
        adapter: Whether this is a PEFT adapter and no whole model.
        snippets_checked: Whether the snippets were run on this model.
        tags: Further tags.
    """

    name: str
    summary: str
    base_model: str | None = None
    base_model_relation: Literal["finetune", "adapter"] | None = None
    base_license: License | str | None = None
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    datasets: list[DataSource] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs_trust: bool = False
    dims: list[int] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None
    recipe: str | None = None
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    figures: Mapping[str, str] = field(default_factory=dict)
    citations: list[str] = field(default_factory=list)
    adapter: bool = False
    snippets_checked: bool = False
    tags: list[str] = field(default_factory=list)


def model_card(facts: ModelFacts) -> ModelCard:
    """Makes the card of a model folder or of an adapter folder.

    Args:
        facts: What training and evaluation know; nothing else is written.

    Returns:
        The card; `card.save(folder / "README.md")` writes it.

    Raises:
        ValueError: If the base model or a figure is a local path, an adapter has no base, or a citation is unknown.
        LicenceError: If the wanted licence is laxer than the base model's or the data's.
    """
    _check(facts)
    licence = model_licence(facts)
    data = ModelCardData(
        library_name="peft" if facts.adapter else "sentence-transformers",
        pipeline_tag="feature-extraction",
        license=licence.id,
        license_name=licence.name,
        license_link=licence.link,
        base_model=facts.base_model,
        base_model_relation=_relation(facts),
        datasets=[source.repo_or_name for source in facts.datasets if "/" in source.repo_or_name] or None,
        tags=_tags(facts),
        model_name=facts.name.rsplit("/", 1)[-1],
        eval_results=eval_results(facts.metrics) or None,
    )
    if not facts.metrics:
        del data.model_name  # it is the title of a model-index, and there is none
    snippets = usage_snippets(shown_repo_id(facts.name), facts)
    card: ModelCard = ModelCard.from_template(
        data,
        template_str=_template("adapter.md" if facts.adapter else "model.md"),
        title=facts.name.rsplit("/", 1)[-1],
        summary=facts.summary.strip(),
        notice=_notice(facts),
        base=facts.base_model,
        needs_trust=facts.needs_trust,
        trust_reasons=trust_reasons(facts.settings),
        snippets={name: code_block(code, "python") for name, code in snippets.items()},
        snippets_checked=facts.snippets_checked,
        settings_table=facts_table(("setting", "value"), _shown_settings(facts.settings)),
        dims=facts.dims,
        metrics_table=metrics_table(facts.metrics),
        figures=facts.figures,
        **training_blocks(facts, licence),
    )
    return card


def training_blocks(facts: ModelFacts, licence: License) -> dict[str, Any]:
    """Gives what `training.md`, the end of every trained model's card, is filled with.

    Args:
        facts: The model's facts.
        licence: Its licence.

    Returns:
        The template's values by name.
    """
    return {
        "recipe": facts.recipe,
        "data_table": table(
            ("data", "revision", "licence"),
            [(_linked(s.repo_or_name), s.revision, License.of(s.license).label) for s in facts.datasets],
        ),
        "command": code_block(facts.command, "bash") if facts.command else "",
        "seed": facts.seed,
        "git_commit": facts.git_commit,
        "hyperparameters_table": facts_table(("argument", "value"), facts.hyperparameters),
        "versions_table": facts_table(("package", "version"), facts.versions),
        "licence": licence.label,
        "licence_link": licence.link,
        "bibtex": code_block(bibtex(facts.citations), "bibtex") if facts.citations else "",
    }


def model_licence(facts: ModelFacts) -> License:
    """Settles a model's licence from its base model's and its data's.

    Args:
        facts: The model's facts.

    Returns:
        The wanted licence if neither forbids it, else the strictest of theirs.

    Raises:
        LicenceError: If the wanted licence is laxer.
    """
    base = None if facts.base_model is None else base_licence(facts.base_model, facts.base_license)
    wanted = License(facts.license, facts.license_name, facts.license_link) if facts.license else None
    data = {source.repo_or_name: source.license for source in facts.datasets}
    return inherit(base, data, wanted, base_name=facts.base_model or "the base model")


def trust_reasons(settings: Mapping[str, Any]) -> list[str]:
    """Says which settings stock classes cannot express, in words; empty where they can express all."""
    return [words for name, (value, words) in _NEEDS_TRUST.items() if settings.get(name) == value]


def metrics_table(metrics: list[Metric]) -> str:
    """Lays metrics out with one row for each data and embedding width, one column for each metric."""
    names = list(dict.fromkeys(metric.name for metric in metrics))
    rows: dict[tuple[str, int | None], dict[str, str]] = {}
    for metric in metrics:
        where = ", ".join(filter(None, (metric.dataset, metric.config, metric.split)))
        rows.setdefault((where, metric.dim), {})[metric.name] = f"{metric.value:.4f}"
    body = [(where, dim or "all", *(values.get(name) for name in names)) for (where, dim), values in rows.items()]
    return table(("data", "dimensions", *names), body)


def eval_results(metrics: Sequence[Metric]) -> list[EvalResult]:
    """Turns metrics into the entries of the Hub's model-index."""
    return [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information Retrieval",
            dataset_type=metric.dataset,
            dataset_name=metric.dataset.rsplit("/", 1)[-1],
            dataset_config=metric.config,
            dataset_split=metric.split,
            dataset_revision=metric.revision,
            metric_type=metric.name.lower().replace("@", "_at_"),
            metric_name=metric.name if metric.dim is None else f"{metric.name} at {metric.dim} dimensions",
            metric_value=round(metric.value, 6),
            metric_args=None if metric.dim is None else {"truncate_dim": metric.dim},
        )
        for metric in metrics
    ]


def _template(head: str) -> str:
    """Joins the part that says what it is and how to use it with the part that says how it was trained."""
    return (TEMPLATES / head).read_text(encoding="utf-8") + (TEMPLATES / "training.md").read_text(encoding="utf-8")


def _check(facts: ModelFacts) -> None:
    """Refuses what would make a card that is wrong on the Hub."""
    if facts.adapter and facts.base_model is None:
        raise ValueError("an adapter's card names its base model: give base_model, a Hub name")
    paths = [("base_model", facts.base_model or "")] + [(f"figure {c!r}", path) for c, path in facts.figures.items()]
    for what, path in paths:
        if PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute() or path.startswith(("~", "..")):
            raise ValueError(f"{what} is the local path {path!r}; a card takes a Hub name or a path beside the card")


def _notice(facts: ModelFacts) -> str:
    """Gives what the base model's licence asks to be displayed."""
    licence = base_licence(facts.base_model, facts.base_license) if facts.base_model else License("unknown")
    return NOTICES.get(licence.name or "", "")


def _relation(facts: ModelFacts) -> str | None:
    """Gives what the model is to its base."""
    if facts.base_model is None:
        return None
    return facts.base_model_relation or ("adapter" if facts.adapter else "finetune")


def _tags(facts: ModelFacts) -> list[str]:
    """Lists the tags: library and task as the Hub filters by them, then ours."""
    tags = ["peft", "lora"] if facts.adapter else ["sentence-transformers"]
    tags += ["feature-extraction", "multimodal", "retrieval", "mixed-modal-retrieval", "nyx_hf"]
    if len(facts.dims) > 1:
        tags.append("matryoshka")
    return list(dict.fromkeys([*tags, *facts.tags]))


def _linked(name: str) -> str:
    """Links a dataset that is on the Hub."""
    return f"[{name}](https://huggingface.co/datasets/{name})" if "/" in name else name


def _shown_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Leaves out what is unset and what only the loading code reads."""
    hidden = {"format_version", "code_version", "code_hash"}
    unset: tuple[Any, ...] = (None, "", 0, [], (), {})
    return {k: f"`{v}`" for k, v in settings.items() if k not in hidden and (v is False or v not in unset)}
