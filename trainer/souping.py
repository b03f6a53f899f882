"""Soups: one adapter or model out of several, the exact weighted mean of what each changes."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.adapter_loading import SETTINGS_FILE, load_adapter
from nyx_hf.trainer.objective_training import OBJECTIVE_FILE
from nyx_hf.trainer.soup_adapter import write_adapter
from nyx_hf.trainer.soup_card import write_soup_card
from nyx_hf.trainer.soup_ingredients import (
    AdapterIngredient,
    Ingredient,
    SoupError,
    load_ingredients,
)

Score = Callable[[NyxModel], float]


@dataclass(frozen=True)
class Soup:
    """What a soup became.

    Args:
        folder: where it is.
        shares: what each ingredient counts, by name; the sum is 1.
        rank: rank of the adapter; None for a whole model.
        error: relative error of the updates where the rank was cut, else 0.
        scores: what greedy souping measured: of each ingredient alone, then of each soup tried.
    """

    folder: Path
    shares: dict[str, float]
    rank: int | None = None
    error: float = 0.0
    scores: list[tuple[str, float]] = field(default_factory=list)


def make_soup(
    names: Sequence[str | Path],
    out: str | Path,
    *,
    weights: Sequence[float] | None = None,
    merge: bool = False,
    rank: int | None = None,
    score: Score | None = None,
) -> Soup:
    """Makes one adapter or model out of several.

    Adapters: ΔW = Σ w_i ΔW_i, exactly; the soup's rank is the sum of the ranks. (The mean of the A's times the mean of
    the B's, as PEFT's `linear` has it, is another matrix.) Whole models: the mean of their weights.

    Greedily: ingredients are tried in the order of their own scores, and one that makes the soup's score worse is left
    out (Wortsman et al. 2022, "Model soups").

    References:
        RzenEmbed, §3.4.5 and Table 4.

    Args:
        names: folders or Hub ids of adapters of one base, or of whole models of one architecture.
        out: folder to write; it is written beside and renamed.
        weights: what each ingredient counts, divided by their sum; None counts all alike.
        merge: write the base with the soup merged in, a whole model; DoRA adapters make no other soup, as their
            updates are of full rank.
        rank: cut an adapter to this rank.
        score: what a retriever is worth, more is better; given, souping is greedy.

    Returns:
        What it became.

    Raises:
        SoupError: the ingredients do not go together, or `out` exists.
    """
    target = Path(out)
    if target.exists():
        raise SoupError(f"{target} exists; name a new folder")
    shares = normalised(names, weights)
    ingredients = load_ingredients(list(names))
    adapters = [ingredient for ingredient in ingredients if isinstance(ingredient, AdapterIngredient)]
    _check_together(adapters, merge=merge, rank=rank)
    scores: list[tuple[str, float]] = []
    if score is not None:
        chosen, scores = greedily(ingredients, shares, score)
        shares = normalised(chosen, [shares[name] for name in chosen], least=1)
        ingredients = [ingredient for name in chosen for ingredient in ingredients if ingredient.name == name]  # type: ignore[assignment]
        adapters = [ingredient for ingredient in ingredients if isinstance(ingredient, AdapterIngredient)]
    beside = target.with_name(f"{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    kept, error = None, 0.0
    if adapters and not merge:
        kept, error = write_adapter(adapters, list(shares.values()), beside, rank)
    else:
        Pot(ingredients).stirred(ingredients, list(shares.values())).save_pretrained(beside)
    _write_objective([ingredient.objective for ingredient in ingredients], list(shares.values()), beside)
    write_soup_card(beside, target.name, ingredients, shares, adapter=bool(adapters) and not merge)
    beside.rename(target)
    return Soup(target, shares, kept, error, scores)


def normalised(names: Sequence[str | Path], weights: Sequence[float] | None, least: int = 2) -> dict[str, float]:
    """Settles what each ingredient counts.

    Args:
        names: of the ingredients.
        weights: one each; None counts all alike.
        least: how many there must be.

    Returns:
        Shares whose sum is 1, by name.

    Raises:
        SoupError: there are too few ingredients, one is named twice, or the weights make no mean.
    """
    if len(names) < least or len({str(name) for name in names}) < len(names):
        raise SoupError(f"a soup has two ingredients or more, each named once; found {', '.join(map(str, names))}")
    weights = [1.0] * len(names) if weights is None else list(weights)
    if len(weights) != len(names):
        raise SoupError(f"{len(weights)} weights came for {len(names)} ingredients; give one each")
    if any(not 0 <= weight < float("inf") for weight in weights) or sum(weights) == 0:
        raise SoupError(f"weights are {weights}; they must be finite, not negative, not all zero")
    return {str(name): weight / sum(weights) for name, weight in zip(names, weights, strict=True)}


class Pot:
    """The base of some ingredients, stirred to one soup after another.

    Args:
        ingredients: what there is; the base is that of the adapters, or the first model.
    """

    def __init__(self, ingredients: Sequence[Ingredient]) -> None:
        first = ingredients[0]
        if isinstance(first, AdapterIngredient):
            self.model: NyxModel = load_adapter(first.folder).unload()
        else:
            self.model = NyxModel.from_pretrained(first.folder)
        names = {name for ingredient in ingredients for name in ingredient.weights()}
        state = self.model.state_dict()
        self._base = {name: state[name].detach().cpu().clone() for name in sorted(names)}

    @torch.no_grad()
    def stirred(self, ingredients: Sequence[Ingredient], shares: Sequence[float]) -> NyxModel:
        """Adds the weighted mean of the updates to the base.

        Args:
            ingredients: some of those there are.
            shares: what each counts.

        Returns:
            The model, the same one each time.
        """
        state = self.model.state_dict()
        for name, base in self._base.items():
            weight = base.float()
            for ingredient, share in zip(ingredients, shares, strict=True):
                if name in ingredient.weights():
                    weight = weight + share * ingredient.update(name, base)
            state[name].copy_(weight)
        return self.model


def greedily(
    ingredients: Sequence[Ingredient], shares: Mapping[str, float], score: Score
) -> tuple[list[str], list[tuple[str, float]]]:
    """Chooses ingredients by a validation score.

    Args:
        ingredients: what there is.
        shares: what each counts, by name.
        score: what a retriever is worth, more is better.

    Returns:
        The names of those chosen, the best one first, and what was measured.
    """
    pot = Pot(ingredients)
    measured = [(one.name, score(pot.stirred([one], [1.0]))) for one in ingredients]
    order = sorted(ingredients, key=lambda one: -dict(measured)[one.name])
    chosen, best = [order[0]], dict(measured)[order[0].name]
    for candidate in order[1:]:
        tried = [*chosen, candidate]
        mean = normalised([one.name for one in tried], [shares[one.name] for one in tried])
        found = score(pot.stirred(tried, list(mean.values())))
        measured.append((" + ".join(one.name for one in tried), found))
        if found >= best:
            chosen, best = tried, found
    return [one.name for one in chosen], measured


def _check_together(adapters: Sequence[AdapterIngredient], *, merge: bool, rank: int | None) -> None:
    """Refuses adapters that make no soup."""
    bases: dict[str, str] = {}
    for ingredient in adapters:
        at = f" at {ingredient.config.revision}" if ingredient.config.revision else ""
        bases[ingredient.base + at] = ingredient.name
    if len(bases) > 1:
        named = "; ".join(f"{name} is of {base}" for base, name in bases.items())
        raise SoupError(f"the adapters have different bases ({named}); a soup needs one")
    if (dora := [ingredient.name for ingredient in adapters if ingredient.is_dora]) and not merge:
        raise SoupError(
            f"{dora[0]} is a DoRA, whose update is of full rank: the mean is no adapter; merge it into a whole model "
            "(--merge)"
        )
    total = sum(ingredient.config.r for ingredient in adapters)
    if rank is not None and (merge or not 1 <= rank <= total):
        raise SoupError(f"rank is {rank}; it cuts a soup of adapters to 1 to {total}, and does not go with merging")
    files = [ingredient.folder / SETTINGS_FILE for ingredient in adapters]
    if len({_embedding(file) for file in files if file.is_file()}) > 1:
        raise SoupError(
            f"the adapters were trained with different settings ({SETTINGS_FILE}); a soup embeds in one way"
        )


def _embedding(file: Path) -> str:
    """Settings without what only says by which code they were written."""
    values = json.loads(file.read_text(encoding="utf-8"))
    return json.dumps({key: value for key, value in values.items() if not key.startswith("code_")}, sort_keys=True)


def _write_objective(learned: Sequence[Mapping[str, Tensor]], shares: Sequence[float], folder: Path) -> None:
    """Writes the mean of what the objectives learned, where all learned the same."""
    if not learned[0] or any(set(one) != set(learned[0]) for one in learned):
        return
    mean = {
        name: torch.stack([share * one[name] for one, share in zip(learned, shares, strict=True)]).sum(dim=0)
        for name in learned[0]
    }
    save_file(mean, folder / OBJECTIVE_FILE)
