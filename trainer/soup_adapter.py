"""A soup of LoRA adapters that is a LoRA adapter: their factors side by side."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from nyx_hf.trainer.adapter_loading import SETTINGS_FILE
from nyx_hf.trainer.adapter_weights import scaling
from nyx_hf.trainer.soup_ingredients import ADAPTER_FILE, AdapterIngredient


def concatenated(
    ingredients: Sequence[AdapterIngredient], shares: Sequence[float]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Puts the factors of all adapters side by side: [w_1 s_1 B_1, w_2 s_2 B_2, …] [A_1; A_2; …] = Σ w_i s_i B_i A_i.

    Args:
        ingredients: LoRA adapters of one base.
        shares: what each counts.

    Returns:
        By layer B (out, R) and A (R, in), R the sum of the ranks; zeros stand for an ingredient that leaves the layer
        as it is.
    """
    total = sum(ingredient.config.r for ingredient in ingredients)
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    for layer in sorted({layer for ingredient in ingredients for layer in ingredient.layers}):
        some = next(ingredient.layers[layer] for ingredient in ingredients if layer in ingredient.layers)
        left, right = torch.zeros(len(some["lora_B"]), total), torch.zeros(total, some["lora_A"].shape[1])
        start = 0
        for ingredient, share in zip(ingredients, shares, strict=True):
            own = slice(start, start := start + ingredient.config.r)
            parts = ingredient.layers.get(layer)
            if parts is not None:
                left[:, own] = share * scaling(ingredient.config) * parts["lora_B"].float()
                right[own] = parts["lora_A"].float()
        factors[layer] = left, right
    return factors


def cut(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor, float, float]:
    """Finds the nearest product of a lower rank, without ever making the product.

    Args:
        left: (out, R).
        right: (R, in).
        rank: the rank kept, at most R.

    Returns:
        (out, rank) and (rank, in), the truncated singular value decomposition of left @ right, and the squared
        Frobenius norms of what was lost and of the whole product.
    """
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, s, v = torch.linalg.svd(r_left @ r_right.T)
    root = s[:rank].sqrt()
    lost, whole = float(s[rank:].square().sum()), float(s.square().sum())
    return _wide(q_left @ u[:, :rank] * root, rank), _wide(((q_right @ v[:rank].T) * root), rank).T, lost, whole


def write_adapter(
    ingredients: Sequence[AdapterIngredient], shares: Sequence[float], folder: Path, rank: int | None
) -> tuple[int, float]:
    """Writes the soup as an adapter.

    Args:
        ingredients: LoRA adapters of one base.
        shares: what each counts.
        folder: where to.
        rank: cut the soup to this rank; None keeps it exact.

    Returns:
        Its rank, and the relative error of all updates together that cutting it made.
    """
    factors = concatenated(ingredients, shares)
    kept = sum(ingredient.config.r for ingredient in ingredients)
    lost = whole = 0.0
    if rank is not None and rank < kept:
        kept = rank
        for layer, (left, right) in factors.items():
            shorter_left, shorter_right, layer_lost, layer_whole = cut(left, right, rank)
            factors[layer] = shorter_left, shorter_right
            lost, whole = lost + layer_lost, whole + layer_whole
    first = ingredients[0].folder
    folder.mkdir(parents=True)
    config = json.loads((first / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"r": kept, "lora_alpha": kept, "use_rslora": False, "target_modules": sorted(factors)}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if (first / SETTINGS_FILE).is_file():
        shutil.copy(first / SETTINGS_FILE, folder / SETTINGS_FILE)
    tensors = {
        f"base_model.model.{layer}.{name}.weight": factor.contiguous()
        for layer, (left, right) in factors.items()
        for name, factor in (("lora_A", right), ("lora_B", left))
    }
    save_file(tensors, folder / ADAPTER_FILE, {"format": "pt"})
    return kept, (lost / whole) ** 0.5 if whole else 0.0


def _wide(factor: Tensor, rank: int) -> Tensor:
    """Fills up with zero columns where a layer is narrower than the rank: (n, ≤ rank) -> (n, rank)."""
    return F.pad(factor, (0, rank - factor.shape[1]))
