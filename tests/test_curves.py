"""The picture of a training run: what is drawn, and that it is a picture."""

from pathlib import Path
from typing import Any

from PIL import Image

from nyx_hf.model_cards.curves import curve_panels, training_curves


def history(steps: int = 3) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        lines.append({"step": step, "loss": 3.0 / step, "loss_dim_16": 4.0 / step, "temperature": 0.05 + step / 1000})
        lines.append(
            {"step": step, "eval_recall@1": step / 10, "eval_dim_16_recall@1": step / 20, "eval_ndcg@10": 0.5}
        )
    return lines


def test_panels() -> None:
    panels = dict(curve_panels(history()))
    assert list(panels) == ["Loss", "Recall@1", "Temperature"]
    assert panels["Loss"] == {
        "loss": [(1, 3.0), (2, 1.5), (3, 1.0)],
        "loss_dim_16": [(1, 4.0), (2, 2.0), (3, 4 / 3)],
    }
    assert panels["Recall@1"]["full width"] == [(1, 0.1), (2, 0.2), (3, 0.3)] and "dim 16" in panels["Recall@1"]
    assert list(panels["Temperature"]) == ["temperature"]


def test_what_is_no_curve_is_not_drawn() -> None:
    lines = [line | {"temperature": 0.02} if "loss" in line else line for line in history(2)][:3]
    assert [title for title, _ in curve_panels(lines)] == ["Loss"]  # one score, and a temperature that stays
    assert curve_panels(history(1)) == curve_panels([]) == []
    twice = [{"step": 1, "loss": 2.0}, {"step": 1, "loss": 9.0}, {"step": 2, "loss": 1.0}]
    assert dict(curve_panels(twice))["Loss"]["loss"] == [(1, 2.0), (2, 1.0)]


def test_the_picture(tmp_path: Path) -> None:
    path = training_curves(history(), tmp_path / "curves.png")
    assert path is not None
    with Image.open(path) as picture:
        assert picture.width > 2 * picture.height and len(picture.convert("RGB").getcolors(2**20) or []) > 10
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    assert training_curves(history(1), tmp_path / "none.png") is None and not (tmp_path / "none.png").exists()
