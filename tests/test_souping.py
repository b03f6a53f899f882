"""Soups against the exact mean of the updates, and against PEFT's own ways of mixing adapters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from test_trainer import Rows, arguments, loaded, retrieval_set
from torch import Tensor
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.adapter_loading import load_adapter
from nyx_hf.trainer.adapters import add_lora
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.objective_training import load_objective
from nyx_hf.trainer.saving import save_retriever
from nyx_hf.trainer.soup_adapter import cut
from nyx_hf.trainer.soup_ingredients import SoupError
from nyx_hf.trainer.souping import make_soup
from nyx_hf.trainer.trainer import NyxTrainer

QUERIES = ["a fox", "the code two", "record of a dog"]


def adapter(backbone: Path, folder: Path, seed: int, **settings: Any) -> Path:
    """An adapter whose weights are random, saved as a run saves it."""
    how = {"use_lora": True, "lora_target": "all", "lora_r": 4, "lora_alpha": 8, **settings}
    model = add_lora(loaded(backbone), NyxTrainingArguments(str(folder / "out"), use_cpu=True, **how))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
            elif "magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.rand(parameter.shape, generator=generator))
    save_retriever(model, folder)
    return folder


@pytest.fixture(scope="module")
def backbone(tiny_backbones: dict[str, Path]) -> Path:
    return tiny_backbones["qwen2_5_vl"]


@pytest.fixture(scope="module")
def adapters(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters of different rank, scale and place."""
    root = tmp_path_factory.mktemp("adapters")
    return [
        adapter(backbone, root / "a", 1),
        adapter(backbone, root / "b", 2, lora_r=6, lora_alpha=3),
        adapter(backbone, root / "c", 3, lora_target="language"),
    ]


def weights_of(model: NyxModel | PeftModel) -> dict[str, Tensor]:
    whole = model.merge_and_unload() if isinstance(model, PeftModel) else model
    return {name: value.detach().double() for name, value in whole.state_dict().items()}


def exact_mean(base: dict[str, Tensor], folders: list[Path], shares: list[float]) -> dict[str, Tensor]:
    """W + Σ w_i ΔW_i, with each ΔW_i as PEFT merges it."""
    merged = [weights_of(load_adapter(folder)) for folder in folders]
    return {
        name: value + sum(share * (one[name] - value) for share, one in zip(shares, merged, strict=True))
        for name, value in base.items()
    }


def distance(one: dict[str, Tensor], other: dict[str, Tensor], base: dict[str, Tensor]) -> float:
    """Relative to what was changed at all."""
    assert one.keys() == other.keys() == base.keys()
    changed = sum((other[name] - base[name]).square().sum() for name in base)
    return float((sum((one[name] - other[name]).square().sum() for name in base) / changed).sqrt())


class TestExact:
    @pytest.mark.parametrize("weights", [None, [1.0, 2.0, 1.0], [0.0, 1.0, 3.0]])
    @pytest.mark.parametrize("merge", [False, True])
    def test_it_is_the_weighted_mean_of_the_updates(
        self, backbone: Path, adapters: list[Path], tmp_path: Path, weights: list[float] | None, merge: bool
    ) -> None:
        soup = make_soup(adapters, tmp_path / "soup", weights=weights, merge=merge)
        shares = [w / sum(weights) for w in weights] if weights else [1 / 3] * 3
        assert list(soup.shares.values()) == pytest.approx(shares)
        model = NyxModel.from_pretrained(soup.folder) if merge else load_adapter(soup.folder)
        base = weights_of(loaded(backbone))
        assert distance(weights_of(model), exact_mean(base, adapters, shares), base) < 1e-6
        assert (soup.rank, soup.error) == (None if merge else 14, 0.0)

    def test_it_is_pefts_cat_and_not_its_linear(self, backbone: Path, tmp_path: Path) -> None:
        folders = [adapter(backbone, tmp_path / name, seed) for seed, name in enumerate("xy")]
        ours = weights_of(load_adapter(make_soup(folders, tmp_path / "soup").folder))
        base = weights_of(loaded(backbone))
        mixed = {}
        for kind in ("cat", "linear"):
            model = load_adapter(folders[0])
            model.load_adapter(str(folders[1]), "other")
            model.add_weighted_adapter(["default", "other"], [0.5, 0.5], "mix", combination_type=kind)
            model.set_adapter("mix")
            mixed[kind] = weights_of(model)
        assert distance(ours, mixed["cat"], base) < 1e-6
        assert distance(ours, mixed["linear"], base) > 0.3

    def test_loads_with_one_call_and_embeds(self, adapters: list[Path], tmp_path: Path) -> None:
        soup = make_soup(adapters[:2], tmp_path / "soup", weights=[3, 1])
        whole = make_soup(adapters[:2], tmp_path / "whole", weights=[3, 1], merge=True)
        vectors = load_adapter(soup.folder).encode(QUERIES)
        np.testing.assert_allclose(vectors, NyxModel.from_pretrained(whole.folder).encode(QUERIES), atol=1e-5)
        assert np.abs(vectors - load_adapter(adapters[0]).encode(QUERIES)).max() > 1e-2

    def test_doras_merge_exactly_too(self, backbone: Path, adapters: list[Path], tmp_path: Path) -> None:
        dora = adapter(backbone, tmp_path / "dora", 9, use_dora=True)
        assert json.loads((dora / "adapter_config.json").read_text())["use_dora"]
        with pytest.raises(SoupError, match="dora is a DoRA, whose update is of full rank"):
            make_soup([adapters[0], dora], tmp_path / "no")
        soup = make_soup([adapters[0], dora], tmp_path / "soup", merge=True)
        base = weights_of(loaded(backbone))
        expected = exact_mean(base, [adapters[0], dora], [0.5, 0.5])
        assert distance(weights_of(NyxModel.from_pretrained(soup.folder)), expected, base) < 1e-6

    def test_whole_models(self, adapters: list[Path], tmp_path: Path) -> None:
        folders = []
        for number, folder in enumerate(adapters[:2]):
            folders.append(tmp_path / f"model{number}")
            load_adapter(folder).merge_and_unload().save_pretrained(folders[-1])
        soup = make_soup(folders, tmp_path / "soup", weights=[1, 3])
        first, second, mean = (weights_of(NyxModel.from_pretrained(path)) for path in (*folders, soup.folder))
        for name, value in mean.items():
            torch.testing.assert_close(value, 0.25 * first[name] + 0.75 * second[name], rtol=0, atol=1e-6)


class TestCut:
    def test_it_is_the_nearest_of_that_rank(self) -> None:
        left, right = torch.randn(9, 6, dtype=torch.float64), torch.randn(6, 7, dtype=torch.float64)
        small_left, small_right, lost, whole = cut(left, right, 3)
        assert whole == pytest.approx(float((left @ right).square().sum()), rel=1e-5) and 0 < lost < whole
        u, s, v = torch.linalg.svd(left @ right)
        torch.testing.assert_close(small_left @ small_right, u[:, :3] * s[:3] @ v[:3])
        assert lost == pytest.approx(float(s[3:].square().sum()))
        assert small_left.shape == (9, 3) and small_right.shape == (3, 7)

    def test_a_cut_soup_says_what_it_lost(self, backbone: Path, adapters: list[Path], tmp_path: Path) -> None:
        base = weights_of(loaded(backbone))
        exact = exact_mean(base, adapters[:2], [0.5, 0.5])
        errors = []
        for rank in (2, 8, 10):
            soup = make_soup(adapters[:2], tmp_path / f"rank{rank}", rank=rank)
            assert soup.rank == rank
            errors.append(soup.error)
            assert distance(weights_of(load_adapter(soup.folder)), exact, base) == pytest.approx(soup.error, abs=1e-5)
        assert errors[0] > errors[1] > errors[2] == 0


class TestGreedy:
    def test_what_makes_it_worse_is_left_out(self, adapters: list[Path], tmp_path: Path) -> None:
        """The score is nearness to the second adapter's vectors, so that adding the third cannot help."""
        goal = load_adapter(adapters[1]).encode(QUERIES)
        tried: list[float] = []

        def score(model: NyxModel) -> float:
            tried.append(-float(np.square(model.encode(QUERIES) - goal).sum()))
            return tried[-1]

        soup = make_soup(adapters, tmp_path / "soup", score=score)
        assert list(soup.shares) == [str(adapters[1])] and soup.shares[str(adapters[1])] == 1
        assert len(tried) == 3 + 2 and soup.scores[1][1] == pytest.approx(0, abs=1e-8)
        np.testing.assert_allclose(load_adapter(soup.folder).encode(QUERIES), goal, atol=1e-5)

    def test_what_does_not_is_kept(self, adapters: list[Path], tmp_path: Path) -> None:
        goal = load_adapter(make_soup(adapters, tmp_path / "goal").folder).encode(QUERIES)
        soup = make_soup(
            adapters, tmp_path / "soup", score=lambda model: -float(np.square(model.encode(QUERIES) - goal).sum())
        )
        assert set(soup.shares) == {str(path) for path in adapters} and soup.scores[-1][1] == pytest.approx(
            0, abs=1e-8
        )

    def test_a_trial_leaves_no_trace(self, adapters: list[Path], tmp_path: Path) -> None:
        soup = make_soup(adapters[:2], tmp_path / "soup", score=lambda model: 1.0, merge=True)
        plain = make_soup(adapters[:2], tmp_path / "plain", merge=True)
        one, other = (weights_of(NyxModel.from_pretrained(made.folder)) for made in (soup, plain))
        assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.e2e
def test_trained_ingredients_cards_and_temperatures(backbone: Path, tmp_path: Path) -> None:
    folders = []
    for seed in (1, 2):
        folders.append(tmp_path / f"mix{seed}")
        how = {"use_lora": True, "learn_temperature": True, "temperature_learning_rate": 0.1, "data_seed": seed}
        trainer = NyxTrainer(loaded(backbone), arguments(folders[-1], **how), train_dataset=Rows())
        trainer.train()
        trainer.save_model()
    soup = make_soup(folders, tmp_path / "soup", weights=[1, 3])
    learned = [load_objective(folder)["temperature.log.all"].item() for folder in folders]
    mean = load_objective(soup.folder)["temperature.log.all"].item()
    assert mean == pytest.approx(0.25 * learned[0] + 0.75 * learned[1]) and learned[0] != learned[1]
    card = (soup.folder / "README.md").read_text(encoding="utf-8")
    assert "A soup of 2 adapters" in card and "share of mix2 | 0.7500" in card and str(tmp_path) not in card
    assert "rzenembed" in card and "load_adapter" in card


class TestCommand:
    def run(self, *words: str | Path) -> Any:
        return CliRunner().invoke(app, ["soup", *map(str, words)])

    def test_json_and_text(self, adapters: list[Path], tmp_path: Path) -> None:
        done = self.run(*adapters[:2], "--out", tmp_path / "one", "--weights", "3,1", "--json")
        assert done.exit_code == 0, done.output
        made = json.loads(done.output)
        assert made["rank"] == 10 and list(made["shares"].values()) == [0.75, 0.25]
        done = self.run(*adapters[:2], "--out", tmp_path / "two", "--rank", 2)
        assert "is an adapter of rank 2; cutting its rank left an error of" in done.output

    def test_greedy_by_a_dataset(self, adapters: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "nyx_hf.soup.RetrievalSet.load", lambda *args, **kwargs: retrieval_set(Rows(), documents=12, queries=6)
        )
        done = self.run(*adapters, "--out", tmp_path / "soup", "--greedy", "mine", "--metric", "recall@3")
        assert done.exit_code == 0, done.output
        assert "recall@3 of each alone, then of the soups tried:" in done.output and " + " in done.output

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--weights", "1,x"], "--weights is '1,x'; give numbers"),
            (["--weights", "1"], "1 weights came for 2 ingredients"),
            (["--weights", "0,0"], "not all zero"),
            (["--rank", "99"], "rank is 99; it cuts a soup of adapters to 1 to 10"),
            (["--rank", "2", "--merge"], "does not go with merging"),
            (["--greedy", "x", "--metric", "accuracy"], "--metric is 'accuracy'"),
        ],
    )
    def test_refusals(
        self, adapters: list[Path], tmp_path: Path, monkeypatch: Any, words: list[str], message: str
    ) -> None:
        monkeypatch.setattr("nyx_hf.soup.RetrievalSet.load", lambda *args, **kwargs: None)
        done = self.run(*adapters[:2], "--out", tmp_path / "soup", *words)
        assert done.exit_code == 1 and message in done.output and not (tmp_path / "soup").exists()

    def test_ingredients_that_do_not_go_together(
        self, adapters: list[Path], tiny_backbones: dict[str, Path], tmp_path: Path
    ) -> None:
        other = adapter(tiny_backbones["qwen2_vl"], tmp_path / "other", 1)
        model = tmp_path / "model"
        loaded(tiny_backbones["qwen2_vl"]).save_pretrained(model)
        for second, message in (
            (other, "the adapters have different bases"),
            (adapters[0], "each named once"),
            (model, "adapters and whole models make no soup together"),
            (tmp_path / "nowhere", "is no folder"),
        ):
            done = self.run(adapters[0], second, "--out", tmp_path / "soup")
            assert done.exit_code == 1 and message in done.output
        (tmp_path / "there").mkdir()
        done = self.run(*adapters, "--out", tmp_path / "there")
        assert done.exit_code == 1 and "exists; name a new folder" in done.output
