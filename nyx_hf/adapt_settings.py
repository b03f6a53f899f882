"""What decides a run of `nyx-hf adapt`, and the mark by which its folder is known."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nyx_hf.adapt_training import Training, default_device
from nyx_hf.build import shown_command
from nyx_hf.data_builders.nyxqa import NyxQABuilder

MARK = "adapt.json"


class AdaptError(RuntimeError):
    """A run that cannot begin or go on; the message says what to do."""


@dataclass(frozen=True)
class AdaptSettings:
    """What decides data and model of a run.

    Attributes:
        source: Where pages come from, as `nyx-hf build nyxqa` reads them.
        model: Hub id or folder of the base.
        queries: A log of real queries (JSONL).
        generator: What asks questions about the pages.
        license: The pages' licence.
        public: Whether the pages may be shown to anybody.
        seed: Seed of data, training and bootstrap.
        limit: Questions to make, at most.
        sample: Chunks to ask about, at most.
        shares: Shares of the documents for train, validation and test.
        tokenizer: What counts a chunk's tokens.
        overrides: `key=value` words that differ from the recipe's.
    """

    source: str
    model: str
    queries: Path | None = None
    generator: str = "extractive"
    license: str | None = None
    public: bool = False
    seed: int = 0
    limit: int | None = None
    sample: int | None = None
    shares: str = "0.8,0.1,0.1"
    tokenizer: str | None = None
    overrides: tuple[str, ...] = ()

    def training(self, device: str | None = None) -> Training:
        """Says how the base is fitted, on a device or on this machine's accelerator."""
        return Training(self.model, self.seed, device or default_device(), self.overrides)

    def builder(self) -> NyxQABuilder:
        """Gives what makes questions of the pages."""
        own = {name: value for name, value in asdict(self).items() if name not in ("model", "queries", "overrides")}
        return NyxQABuilder(config_name="triplets", **own)

    def mark(self) -> dict[str, Any]:
        """Gives the settings as a run's folder keeps them; of a query log its name and a hash of what it says."""
        values = {**asdict(self), "overrides": list(self.overrides)}
        if self.queries is not None:
            said = hashlib.sha256(self.queries.read_bytes()).hexdigest()[:12]
            values["queries"] = f"{self.queries.name} ({said})"
        return values

    def shown(self) -> dict[str, Any]:
        """Gives the settings that were chosen, naming no folder of this machine."""
        values = {name: value for name, value in self.mark().items() if value is not None and value is not False}
        kind, _, place = self.source.partition(":")
        model = Path(self.model).resolve().name if Path(self.model).is_dir() else self.model
        values |= {"source": f"{kind}:{Path(place).name}", "model": model}
        return {**values, "overrides": shown_command(self.overrides) or "none"}


def claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Marks a folder as a run's, or refuses another's.

    Args:
        out: The folder.
        settings: The run's, out of `mark`.

    Raises:
        AdaptError: If it holds a run with other settings, or something else.
    """
    mark = out / MARK
    began = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else None
    if began is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AdaptError(f"{out} exists and is no folder of nyx-hf adapt: choose another with --out")
    changed = [
        f"{name} {began.get(name)!r} → {value!r}"
        for name, value in settings.items()
        if began is not None and began.get(name) != value
    ]
    if changed and (out / "data").exists():  # before that nothing depends on them
        raise AdaptError(
            f"{out} holds a run with other settings ({'; '.join(changed)}): go on with those it began with, or "
            "choose another folder with --out"
        )
    if changed or began is None:
        out.mkdir(parents=True, exist_ok=True)
        beside = mark.with_suffix(".tmp")
        beside.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        beside.rename(mark)
