"""Licences: the strictest source wins, a laxer wish is refused with the source that forbids it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nyx_hf.model_cards.licences import (
    BASE_LICENCES,
    NOTICES,
    LicenceError,
    License,
    Strictness,
    base_licence,
    inherit,
    license_file_text,
)

IDS = ["apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "gpl-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"]
RESEARCH = BASE_LICENCES["Qwen/Qwen2.5-VL-3B-Instruct"]
licences = st.sampled_from(
    [*map(License, IDS), RESEARCH, License("unknown"), License("other", "house-rules", "LICENSE")]
)


@pytest.mark.parametrize(
    ("licence", "strictness"),
    [
        (License("apache-2.0"), Strictness.PERMISSIVE),
        (License("cc-by-4.0"), Strictness.PERMISSIVE),
        (License("cc-by-sa-3.0"), Strictness.SHARE_ALIKE),
        (License("agpl-3.0"), Strictness.SHARE_ALIKE),
        (License("cc-by-nc-sa-4.0"), Strictness.RESEARCH),
        (License("cc-by-nd-4.0"), Strictness.RESEARCH),
        (RESEARCH, Strictness.RESEARCH),
        (License("other", "house-rules", "LICENSE"), Strictness.UNKNOWN),
        (License.of(None), Strictness.UNKNOWN),
        (License.of("  "), Strictness.UNKNOWN),
        (License.of(" Apache-2.0 "), Strictness.PERMISSIVE),
    ],
)
def test_every_licence_has_its_place(licence: License, strictness: Strictness) -> None:
    assert licence.strictness == strictness


def test_base_models_of_the_recipes() -> None:
    fields = base_licence("Qwen/Qwen2.5-VL-3B-Instruct")
    assert (fields.id, fields.name) == ("other", "qwen-research")
    assert fields.link == "https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/blob/main/LICENSE"
    for name in ("Qwen/Qwen2-VL-2B-Instruct", "Qwen/Qwen2-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"):
        assert base_licence(name) == License("apache-2.0")
    assert base_licence("someone/else") == License("unknown")
    assert base_licence("someone/else", "mit") == License("mit")


def test_the_strictest_wins_and_the_base_comes_first_among_equals() -> None:
    assert inherit("apache-2.0", {"a": "mit", "b": "cc-by-4.0"}) == License("apache-2.0")
    assert inherit("apache-2.0", {"a": "cc-by-sa-4.0", "b": "cc-by-nc-4.0"}) == License("cc-by-nc-4.0")
    assert inherit(RESEARCH, {"a": "cc-by-nc-4.0"}) == RESEARCH
    assert inherit(None, {"a": "cc-by-sa-4.0", "b": "gpl-3.0"}) == License("cc-by-sa-4.0")
    assert inherit("mit", {"a": None}) == License("unknown")
    assert inherit(None, {}) == License("unknown")
    assert inherit(None, {}, "mit") == License("mit")


def test_a_laxer_licence_is_refused_and_the_source_named() -> None:
    with pytest.raises(LicenceError, match=r"'apache-2\.0' was asked for, but Qwen/X is under 'qwen-research'"):
        inherit(RESEARCH, {"a": "mit"}, "apache-2.0", base_name="Qwen/X")
    with pytest.raises(LicenceError, match=r"but web pages is under 'cc-by-sa-4\.0' \(share-alike\)"):
        inherit("apache-2.0", {"digits": "cc-by-4.0", "web pages": "cc-by-sa-4.0"}, "mit")
    with pytest.raises(LicenceError, match="its terms are not known"):
        inherit("apache-2.0", {"a": None}, "apache-2.0")


def test_what_is_not_permissive_is_kept_as_it_is() -> None:
    with pytest.raises(LicenceError, match="gpl-3"):
        inherit("gpl-3.0", {}, "cc-by-sa-4.0")
    with pytest.raises(LicenceError, match="qwen-research"):
        inherit(RESEARCH, {}, "cc-by-nc-4.0")
    assert inherit(RESEARCH, {}, License("other", "qwen-research")) == RESEARCH  # the link is the base's
    with pytest.raises(LicenceError, match="house-rules"):
        inherit("cc-by-sa-4.0", {}, License("other", "house-rules", "LICENSE"))  # who knows whether it is laxer
    assert inherit("mit", {}, "apache-2.0") == License("apache-2.0")
    assert inherit("mit", {}, "cc-by-nc-4.0") == License("cc-by-nc-4.0")


@given(base=st.none() | licences, data=st.dictionaries(st.text(max_size=3), licences, max_size=4), wanted=licences)
def test_never_laxer_than_any_source(base: License | None, data: dict[str, License], wanted: License) -> None:
    sources = [*data.values(), *([base] if base else [])]
    strictest = max((source.strictness for source in sources), default=Strictness.PERMISSIVE)
    inherited = inherit(base, data)
    if sources:
        assert inherited in sources and inherited.strictness == strictest
    if wanted.strictness < strictest:
        with pytest.raises(LicenceError):
            inherit(base, data, wanted)
    elif strictest < wanted.strictness < Strictness.UNKNOWN:
        assert inherit(base, data, wanted) == wanted


def test_license_file(tmp_path: Path) -> None:
    assert license_file_text(License("mit"), "me/base") is None
    notice = license_file_text(RESEARCH, "Qwen/Qwen2.5-VL-3B-Instruct", tmp_path)
    assert notice is not None
    for part in ("Qwen/Qwen2.5-VL-3B-Instruct", "qwen-research", str(RESEARCH.link), NOTICES["qwen-research"]):
        assert part in notice
    (tmp_path / "LICENSE").write_text("Qwen RESEARCH LICENSE AGREEMENT …\n", encoding="utf-8")
    assert license_file_text(RESEARCH, "Qwen/X", tmp_path) == "Qwen RESEARCH LICENSE AGREEMENT …\n"
