"""Published retrievers become folders of ours, with their own habits: pooling, prompts, positions, pixel limits."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import ByteLevel
from transformers import AutoConfig, AutoModel

from nyx_hf.checkpoint_adapters import merge_adapter
from nyx_hf.checkpoint_files import Checkpoint, CheckpointError
from nyx_hf.checkpoint_layouts import Layout, find_layout
from nyx_hf.checkpoint_recognition import check_family, recognise
from nyx_hf.import_card import write_import_card
from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.modeling.modeling_nyx import NyxModel, fitted_settings

_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """What an import reads, and what becomes of it.

    Attributes:
        source: The checkpoint.
        layout: What it was recognised as.
        settings: Its habits, fitted to its width.
        weights: How many weights it has.
        dropped: Weights that are knowingly left out: a language head, what served training.
        base: The model that an adapter is merged into.
    """

    source: Checkpoint
    layout: Layout
    settings: NyxSettings
    weights: int
    dropped: tuple[str, ...] = ()
    base: Checkpoint | None = None

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON keeps it."""
        return {
            "source": self.source.name,
            "revision": self.source.commit,
            "layout": self.layout.name,
            "base": None if self.base is None else self.base.name,
            "base_revision": None if self.base is None else self.base.commit,
            "weights": self.weights,
            "dropped": list(self.dropped),
            "settings": _habits(self.settings),
            "not_kept": self.layout.unkept,
            "facts": self.layout.source,
        }

    def as_text(self) -> str:
        """Gives it as a person reads it."""
        at = f" at {self.source.commit}" if self.source.commit else ""
        lines = [f"{self.source.name}{at}: {self.layout.name}, {self.layout.title}"]
        if self.base is not None:
            lines.append(f"an adapter of {self.weights} weights, merged into {self.base.name}")
        else:
            lines.append(f"{self.weights} weights, each with its place")
        lines += [f"left out: {', '.join(self.dropped)}"] if self.dropped else []
        lines += ["", *(f"{name:<22}{value!r}" for name, value in _habits(self.settings).items()), ""]
        lines += [f"facts: {self.layout.source}", f"not kept: {self.layout.unkept or 'nothing that is known'}"]
        return "\n".join(lines)


def plan_import(
    source: str, *, layout: str | None = None, revision: str | None = None, base: str | None = None
) -> Plan:
    """Recognises a checkpoint and compares its weights' names with the backbone's; weights are not fetched.

    Args:
        source: Hub name or folder of a model or of a PEFT adapter.
        layout: One of `LAYOUTS`; told by name, config and weights where it is None.
        revision: The Hub's commit, tag or branch.
        base: Hub name or folder of an adapter's base; the one that the adapter names where it is None.

    Returns:
        What an import would do.

    Raises:
        LayoutError: The layout is unknown, or not that of the checkpoint.
        CheckpointError: Files are missing, or weights are missing or left over; the message names them.
    """
    checkpoint = Checkpoint.open(source, revision)
    under = _base_of(checkpoint, base)
    whole = under or checkpoint
    config = whole.json("config.json")
    if not config:
        raise CheckpointError(f"{whole.name} has no config.json: it is no model of transformers")
    if "nyx" in config:
        raise CheckpointError(
            f"{whole.name} is a folder of ours already (config.json has a `nyx` object): load it as is"
        )
    keys = checkpoint.keys()
    names = [checkpoint.title.rsplit("/", 1)[-1], Path(str(config.get("_name_or_path") or "-")).name]
    found = find_layout(layout) if layout else recognise(names[:1] if under else names, config, keys)
    check_family(found, config, checkpoint.name)
    parsed = AutoConfig.from_pretrained(whole.folder, trust_remote_code=False)
    dropped = found.left_out(keys)
    _check_names(whole, found, keys if under is None else under.keys(), parsed)
    settings = fitted_settings(found.habits, parsed.get_text_config().hidden_size, {})
    return Plan(checkpoint, found, settings, len(keys), dropped, under)


def import_checkpoint(
    source: str,
    out: str | Path,
    *,
    layout: str | None = None,
    revision: str | None = None,
    base: str | None = None,
) -> Plan:
    """Makes a folder of ours of a published retriever.

    All is written beside `out` and renamed at the end: an import that is killed leaves no half of a folder.

    Args:
        source: Hub name or folder of a model or of a PEFT adapter.
        out: Folder to write.
        layout: See `plan_import`.
        revision: See `plan_import`.
        base: See `plan_import`.

    Returns:
        What was done.

    Raises:
        FileExistsError: `out` exists.
        LayoutError: See `plan_import`.
        CheckpointError: See `plan_import`.
        ValueError: A weight has another shape than the backbone's.
    """
    target = Path(out)
    if target.exists():
        raise FileExistsError(f"{target} exists; name a new folder")
    plan = plan_import(source, layout=layout, revision=revision, base=base)
    model = _load(plan)
    beside = target.with_name(f"{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    write_import_card(beside, target.name, plan.source, plan.base, plan.layout, model.settings)
    beside.rename(target)
    return plan


def _base_of(checkpoint: Checkpoint, given: str | None) -> Checkpoint | None:
    """The base of an adapter; a model has none."""
    if not checkpoint.is_adapter:
        if given is not None:
            raise CheckpointError(f"{checkpoint.name} is a whole model (no adapter_config.json): leave out --base")
        return None
    adapter = checkpoint.json("adapter_config.json")
    try:
        revision = adapter.get("revision") if given is None else None
        return Checkpoint.open(given or str(adapter.get("base_model_name_or_path")), revision)
    except CheckpointError as error:
        raise CheckpointError(
            f"the base of the adapter {checkpoint.name} is not to be had ({error}); name it with --base"
        ) from error


def _check_names(checkpoint: Checkpoint, layout: Layout, keys: Sequence[str], config: Any) -> None:
    """Compares weights with those of the backbone."""
    with torch.device("meta"):
        expected = set(AutoModel.from_config(config).state_dict())
    dropped = layout.left_out(keys)
    given = {layout.headless(key): key for key in keys if key not in dropped}
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        for what, names in (
            ("missing", sorted(expected - set(given))),
            ("left over", sorted(given[name] for name in set(given) - expected)),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f"the weights of {checkpoint.name} do not fit layout {layout.name}: {'; '.join(problems)}. It is "
            "incomplete, or of another layout"
        )


def _load(plan: Plan) -> NyxModel:
    """The retriever, with its adapter merged in."""
    whole = (plan.base or plan.source).with_weights()
    mapping = {rf"^{re.escape(wrapper)}\.": "" for wrapper in plan.layout.wrappers}
    # a language head is left out knowingly by every retriever, and what served training with it
    mapping |= {rf"^{re.escape(name)}$": f"lm_head.{name}" for name in plan.layout.dropped}
    model = NyxModel.from_backbone(whole.folder, plan.settings, key_mapping=mapping)
    if plan.base is not None:
        model = merge_adapter(model, plan.source.with_weights(), plan.layout)
    _move_appended_tokens(model)
    return model


def _move_appended_tokens(model: NyxModel) -> None:
    """Lets the chat template print what the tokenizer appends by itself, so that every door ends alike."""
    tokenizer = model.processor.tokenizer
    appended = tokenizer("")["input_ids"]
    if not appended:
        return
    tokenizer.backend_tokenizer.post_processor = ByteLevel(trim_offsets=False)
    end = model.settings.end_token + "".join(tokenizer.convert_ids_to_tokens(appended))
    model.settings = model.settings.updated(end_token=end)


def _habits(settings: NyxSettings) -> dict[str, Any]:
    """The settings that differ from the defaults."""
    defaults = NyxSettings().to_dict()
    return {name: value for name, value in settings.to_dict().items() if value != defaults[name]}
