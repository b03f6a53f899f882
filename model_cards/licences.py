"""Licences are inherited: a model takes the strictest licence among its base model's and its training data's.

Strictness, from lax to strict: permissive < share-alike < non-commercial or research only < unknown. This is the rule
of a careful engineer, not a lawyer's opinion; who holds a better right to the material than its card says should state
that licence where the material is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class LicenceError(ValueError):
    """A wanted licence is laxer than one that the material is under."""


class Strictness(IntEnum):
    """How much a licence asks of those who pass the material on."""

    PERMISSIVE = 0
    SHARE_ALIKE = 1
    RESEARCH = 2
    UNKNOWN = 3


_PREFIXES = {
    Strictness.SHARE_ALIKE: ("cc-by-sa-", "gpl", "agpl", "lgpl", "mpl-", "epl-", "eupl-", "odbl", "osl-", "gfdl"),
    Strictness.RESEARCH: (
        "cc-by-nc",
        "cc-by-nd",
        "fair-noncommercial",
        "apple-amlr",
        "intel-research",
        "deepfloyd-if",
    ),
}
_PERMISSIVE = frozenset(
    (
        *("afl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear"),
        *("bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc0-1.0", "cdla-permissive-1.0"),
        *("cdla-permissive-2.0", "ecl-2.0", "isc", "mit", "ms-pl", "ncsa", "odc-by", "pddl", "postgresql"),
        *("unlicense", "wtfpl", "zlib"),
    )
)
_NAMED_RESEARCH = frozenset({"qwen-research"})
"""Licences with a name of their own (`license: other`) that are known to allow research only."""


@dataclass(frozen=True)
class License:
    """A licence as the Hub's metadata writes it.

    Attributes:
        id: The Hub's licence id (`apache-2.0`), or `other` for one with a name of its own, or `unknown`.
        name: That name (`qwen-research`), with `other` only.
        link: Where its text is found, with `other` only.
    """

    id: str
    name: str | None = None
    link: str | None = None

    @classmethod
    def of(cls, value: "License | str | None") -> "License":
        """Reads a licence from a Hub licence id; None is `unknown`."""
        if isinstance(value, License):
            return value
        return cls(value.strip().lower()) if value and value.strip() else cls("unknown")

    @property
    def label(self) -> str:
        """What a reader calls it."""
        return self.name if self.id == "other" and self.name else self.id

    @property
    def strictness(self) -> Strictness:
        """Its place in the order; what we do not know counts as strictest."""
        if self.id in _PERMISSIVE:
            return Strictness.PERMISSIVE
        if self.name in _NAMED_RESEARCH:
            return Strictness.RESEARCH
        named = (strictness for strictness, prefixes in _PREFIXES.items() if self.id.startswith(prefixes))
        return next(named, Strictness.UNKNOWN)


_APACHE = License("apache-2.0")
_QWEN_RESEARCH = License(
    "other", "qwen-research", "https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/blob/main/LICENSE"
)
BASE_LICENCES: dict[str, License] = {
    "Qwen/Qwen2-VL-2B": _APACHE,
    "Qwen/Qwen2-VL-2B-Instruct": _APACHE,
    "Qwen/Qwen2-VL-7B": _APACHE,
    "Qwen/Qwen2-VL-7B-Instruct": _APACHE,
    "Qwen/Qwen2.5-VL-3B-Instruct": _QWEN_RESEARCH,
    "Qwen/Qwen2.5-VL-7B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-2B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-4B-Instruct": _APACHE,
    "Qwen/Qwen3-VL-8B-Instruct": _APACHE,
}
"""Licences of the base models that the recipes name."""

NOTICES = {
    "qwen-research": "Improved using Qwen. Qwen is licensed under the Qwen RESEARCH LICENSE AGREEMENT, "
    "Copyright (c) Alibaba Cloud. All Rights Reserved."
}
"""What some licences ask to be displayed, by licence name."""


def base_licence(base_model: str, stated: License | str | None = None) -> License:
    """Gives the licence of a base model.

    Args:
        base_model: Its Hub name.
        stated: Its licence where the caller knows it; the table is asked otherwise.

    Returns:
        The stated licence, else the known one, else `unknown`.
    """
    return License.of(stated) if stated is not None else BASE_LICENCES.get(base_model, License("unknown"))


def inherit(
    base: License | str | None,
    data: Mapping[str, License | str | None],
    wanted: License | str | None = None,
    *,
    base_name: str = "the base model",
) -> License:
    """Settles the licence of what is made from a base model and data.

    Args:
        base: The base model's licence; None where there is no base model.
        data: Licence of each data source, by its name; None where it is unknown.
        wanted: The licence asked for; None takes the strictest.
        base_name: What to call the base model in an error.

    Returns:
        The licence. Among equally strict ones the base model's comes first, then the data's in their order. With
        neither base nor data it is the wanted one, or `unknown`.

    Raises:
        LicenceError: If the wanted licence is not stricter than a source's that must be kept as it is (everything but
            permissive ones), or its terms are not known.
    """
    given = ([] if base is None else [(base_name, License.of(base))]) + [(n, License.of(v)) for n, v in data.items()]
    if not given:
        return License.of(wanted)
    source, strictest = max(given, key=lambda pair: pair[1].strictness)  # max keeps the first among equals
    if wanted is None:
        return strictest
    asked = License.of(wanted)
    if asked.label == strictest.label:
        return strictest  # id and name may be typed alone: the link is the source's
    # nobody can tell that a licence with unknown terms is no laxer
    stricter = strictest.strictness < asked.strictness < Strictness.UNKNOWN
    if strictest.strictness != Strictness.PERMISSIVE and not stricter:
        remedy = "or state the licence of" if strictest.strictness == Strictness.UNKNOWN else "or make it without"
        raise LicenceError(
            f"the licence {asked.label!r} was asked for, but {source} is under {strictest.label!r} "
            f"({_words(strictest.strictness)}), which does not allow it; leave the licence out to inherit "
            f"{strictest.label!r}, {remedy} {source}"
        )
    return asked


def license_file_text(licence: License, base_name: str, base_folder: Path | None = None) -> str | None:
    """Gives the LICENSE file that goes beside a model whose licence has a name of its own.

    Args:
        licence: The settled licence.
        base_name: The base model it comes from.
        base_folder: The base model's local folder; its own LICENSE is taken where it has one.

    Returns:
        The file's text; None for a licence that the Hub knows by its id, which needs no file.
    """
    if licence.id != "other":
        return None
    if base_folder is not None:
        found = [base_folder / name for name in ("LICENSE", "LICENSE.md", "LICENSE.txt")]
        text = next((path.read_text(encoding="utf-8") for path in found if path.is_file()), None)
        if text is not None:
            return text
    notice = NOTICES.get(licence.name or "")
    lines = [
        f"This work derives from {base_name} and stands under the same licence: {licence.label}.",
        f"The full text: {licence.link}" if licence.link else f"The full text is published with {base_name}.",
        *([notice] if notice else []),
    ]
    return "\n".join(lines) + "\n"


def _words(strictness: Strictness) -> str:
    """Says a class of licences in words."""
    return {
        Strictness.PERMISSIVE: "permissive",
        Strictness.SHARE_ALIKE: "share-alike",
        Strictness.RESEARCH: "non-commercial or research use only",
        Strictness.UNKNOWN: "its terms are not known",
    }[strictness]
