"""Published figures: they are those that the papers print, and agree with themselves."""

from statistics import fmean

import pytest

from nyx_hf.data_builders.mbeir_tasks import TASKS
from nyx_hf.data_builders.mmeb_sets import GROUPS, V1_GROUPS, Group
from nyx_hf.model_cards.citations import CITATIONS
from nyx_hf.published import Published, published
from nyx_hf.suite_mmeb import V1, V2

NAMES = [task.name for task in TASKS]
# overall figures that are not the mean of what stands beside them in the paper itself
ODD = {
    ("SigLIP (0.203B)", "RzenEmbed, Table 1"),
    ("VLM2Vec (Qwen2-VL, 2.21B)", "RzenEmbed, Table 1"),
    ("Ops-MM-embedding-v1 (Qwen2-VL, 2.21B)", "RzenEmbed, Table 2"),
}
ODD_SHARES = {("VLM2Vec (Qwen2-VL, 8.29B)", "RzenEmbed, Table 1"), *ODD}


def line(rows: list[Published], model: str, source: str) -> Published:
    [found] = [row for row in rows if row.model == model and row.source == source]
    return found


def test_a_few_read_by_hand() -> None:
    v1, v2 = published("mmeb-v1"), published("mmeb-v2")
    assert dict(line(v1, "Nyx", "Nyx, Table 2").figures) == {
        "classification": 57.9,
        "question answering": 57.5,
        "retrieval": 61.8,
        "visual grounding": 75.7,
        "overall": 61.1,
    }
    assert line(v1, "mmE5", "Nyx, Table 2").figures["visual grounding"] == 89.7
    b3 = line(v1, "B3 (Qwen2-VL, 8.29B)", "RzenEmbed, Table 1").figures
    assert (b3["retrieval"], b3["IND"], b3["OOD"], b3["overall"]) == (74.1, 75.9, 67.1, 72.0)
    assert "IND" not in line(v1, "GME (Qwen2-VL, 8.29B)", "RzenEmbed, Table 1").figures  # the table has a dash there
    rzen = line(v2, "RzenEmbed (Qwen2-VL, 8.29B)", "RzenEmbed, Table 2").figures
    assert [rzen[one] for one in ("image", "moment retrieval", "video", "VisRAG", "document", "all")] == [
        *(75.9, 45.5, 55.7, 88.7, 77.1, 71.6)
    ]
    assert line(v2, "RzenEmbed, Souped", "RzenEmbed, Table 4").figures["video"] == 55.73
    local, apart = published("m-beir", "local"), published("m-beir", "global")
    assert line(local, "U-MARVEL", "U-MARVEL, Table 7").figures["infoseek_task8"] == 74.7
    assert line(local, "SigLIP", "U-MARVEL, Table 7").figures["fashion200k_task0"] == 36.5
    assert line(apart, "MM-Embed", "U-MARVEL, Table 14").figures["average"] == 52.7
    assert line(apart, "U-MARVEL, distillation", "U-MARVEL, Table 13").figures["mscoco_task0"] == 72.8
    held_out = line(published("m-beir", "held-out"), "U-MARVEL*", "U-MARVEL, Table 15").figures
    assert held_out["nights_task4"] == 31.5 and held_out["held out"] == 48.0


def test_every_line_is_of_a_paper_and_of_figures_that_the_suites_have() -> None:
    known = {"mmeb-v1": set(V1.averages), "mmeb-v2": set(V2.averages), "m-beir": {*NAMES, "average", "held out"}}
    tables = [("mmeb-v1", None), ("mmeb-v2", None), *(("m-beir", part) for part in ("local", "global", "held-out"))]
    assert [len(published(*table)) for table in tables] == [45, 25, 11, 10, 6]
    for suite, part in tables:
        rows = published(suite, part)
        assert any(row.own for row in rows) and len({(row.model, row.source) for row in rows}) == len(rows)
        for row in rows:
            assert row.paper in CITATIONS and set(row.figures) <= known[suite]
            assert all(0 < value < 100 for value in row.figures.values())
    assert published("mmeb-v1", "other") == []


@pytest.mark.parametrize("part", ["local", "global", "held-out"])
def test_averages_over_tasks_are_the_printed_ones(part: str) -> None:
    """A wrong digit would show here: the printed average is that of the printed figures, but for rounding."""
    for row in published("m-beir", part):
        printed = row.figures.get("average", row.figures.get("held out"))
        tasks = [value for name, value in row.figures.items() if name in NAMES]
        assert len(tasks) == (5 if part == "held-out" else 16)
        assert fmean(tasks) == pytest.approx(printed, abs=0.11), row.model


def weighted(row: Published, groups: tuple[Group, ...]) -> float:
    """The mean over all sets of some groups, out of the groups' means."""
    total = sum(row.figures[group.name] * len(group.sets) for group in groups)
    return total / sum(len(group.sets) for group in groups)


@pytest.mark.parametrize(
    ("suite", "groups", "overall"), [("mmeb-v1", V1_GROUPS, "overall"), ("mmeb-v2", GROUPS, "all")]
)
def test_averages_over_groups_are_the_printed_ones(suite: str, groups: tuple[Group, ...], overall: str) -> None:
    whole = [row for row in published(suite) if all(group.name in row.figures for group in groups)]
    assert len(whole) == (45 if suite == "mmeb-v1" else 15)
    for row in whole:
        place = (row.model, row.source)
        assert (abs(weighted(row, groups) - row.figures[overall]) < 0.11) == (place not in ODD), place
        if "IND" in row.figures:
            both = (20 * row.figures["IND"] + 16 * row.figures["OOD"]) / 36
            assert place in ODD_SHARES or both == pytest.approx(row.figures[overall], abs=0.11), place
        for part in ("image", "video", "document") if suite == "mmeb-v2" else ():
            some = tuple(group for group in groups if group.modality == part)
            assert weighted(row, some) == pytest.approx(row.figures[part], abs=0.11), (*place, part)
