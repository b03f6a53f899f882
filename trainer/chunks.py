"""A batch of contents in pieces that fit in memory: which rows go together, and their slice of every tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids", "pooling_mask")  # (B, L) each
# (tensor of patches, grids of what they are patches of, the token type of their placeholders) for images and videos
_VISUAL = (("pixel_values", "image_grid_thw", 1), ("pixel_values_videos", "video_grid_thw", 2))

_FEW, _ALIKE = 8, 0.7  # rows that are embedded together, however unlike; how long the others are at least


@dataclass
class ChunkArguments:
    """How a batch is cut to fit in memory.

    Args:
        chunk_rows: contents embedded at once, at most; None embeds all queries, then all documents.
        chunk_tokens: tokens embedded at once, at most, padding included.
        chunk_pixels: pixels embedded at once, at most, after resizing.
        cache_gradients: embed each chunk twice and keep one chunk's activations at a time (`GradientCache`); else keep
            what the way back needs of all chunks, which with `gradient_checkpointing` is the layers' inputs.
    """

    chunk_rows: int | None = field(default=None, metadata={"help": "Contents embedded at once, at most."})
    chunk_tokens: int | None = field(default=None, metadata={"help": "Tokens embedded at once, at most."})
    chunk_pixels: int | None = field(default=None, metadata={"help": "Pixels embedded at once, at most."})
    cache_gradients: bool = field(
        default=True, metadata={"help": "Embed chunks twice and keep one chunk's activations at a time."}
    )

    def check_chunks(self) -> None:
        """Refuses chunks that hold nothing.

        Raises:
            ValueError: a limit is below 1.
        """
        for name in ("chunk_rows", "chunk_tokens", "chunk_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it is 1 or more, or left out")

    def chunk_limits(self, patch_size: int) -> "ChunkLimits":
        """Gives the limits in what the model sees.

        Args:
            patch_size: side of a patch in pixels.

        Returns:
            The limits.
        """
        patches = None if self.chunk_pixels is None else max(1, self.chunk_pixels // patch_size**2)
        return ChunkLimits(self.chunk_rows, self.chunk_tokens, patches)


@dataclass(frozen=True)
class ChunkLimits:
    """How large a piece may be; None sets no limit. A row that is over a limit alone makes a piece of its own.

    Args:
        rows: contents.
        tokens: tokens with padding: contents times the longest one's tokens, visual tokens included.
        patches: patches of images and videos.
    """

    rows: int | None = None
    tokens: int | None = None
    patches: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return any(value is not None for value in vars(self).values())

    def halved(self, rows: int) -> "ChunkLimits":
        """Gives half of each limit.

        Args:
            rows: rows of the piece that was too large; they bound what had no bound.

        Returns:
            The limits, each at least 1.
        """
        half = {name: None if value is None else max(1, value // 2) for name, value in vars(self).items()}
        bound = max(1, rows // 2)
        return replace(self, **{**half, "rows": bound if half["rows"] is None else min(bound, half["rows"])})


@dataclass(frozen=True)
class Chunk:
    """Some rows of a batch.

    Args:
        rows: (r,) their places in the batch.
        features: their tensors, trimmed to their longest row.
    """

    rows: Tensor
    features: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, patches: str) -> bool:
        """Tells whether some row has an image (`pixel_values`) or a video (`pixel_values_videos`)."""
        return patches in self.features


def split_rows(features: Mapping[str, Any], limits: ChunkLimits) -> list[Chunk]:
    """Cuts a batch into pieces, the longest rows first, so that running out of memory shows at once.

    Without limits it is cut where that spares padding: rows much shorter than a piece's longest make another piece.

    Args:
        features: tensors of `NyxProcessor.load`; any number of images and videos a row.
        limits: how large a piece may be.

    Returns:
        The pieces; every row is in one of them.
    """
    lengths = features["attention_mask"].sum(dim=1).tolist()  # B ints
    patches = _patches_of_rows(features)
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    pieces: list[list[int]] = []
    for row in order:
        piece = pieces[-1] if pieces else []
        grown = [*piece, row]
        fits = (
            (limits.rows is None or len(grown) <= limits.rows)
            and (limits.tokens is None or lengths[grown[0]] * len(grown) <= limits.tokens)
            and (limits.patches is None or sum(patches[one] for one in grown) <= limits.patches)
            and (limits.is_set or len(piece) < _FEW or lengths[row] > _ALIKE * lengths[grown[0]])
        )
        if piece and fits:
            piece.append(row)
        else:
            pieces.append([row])
    if len(pieces) == 1:
        return [Chunk(torch.arange(len(lengths)), dict(features))]  # nothing to copy
    return [take_rows(features, torch.tensor(piece)) for piece in pieces]


def take_rows(features: Mapping[str, Any], rows: Tensor) -> Chunk:
    """Slices a batch.

    Args:
        features: tensors of `NyxProcessor.load`.
        rows: (r,) places of the wanted rows.

    Returns:
        Their slice of every tensor: text tensors without columns that are padding throughout, patches and grids of
        their images and videos alone.
    """
    count = len(features["input_ids"])
    at = rows.to(features["input_ids"].device)
    used = features["attention_mask"][at].any(dim=0).nonzero()  # (columns, 1)
    columns = slice(int(used[0]), int(used[-1]) + 1)
    taken = {name: features[name][at, columns] for name in _TOKENS if name in features}
    for patches, grids, kind in _VISUAL:
        if patches not in features:
            continue
        owner = _owners(features, grids, kind, count)  # (images,)
        wanted = torch.cat([(owner == row).nonzero().flatten() for row in rows.tolist()])  # in the order of the rows
        if not len(wanted):
            continue
        sizes = features[grids].prod(dim=1).cpu()  # (images,) patches of each
        ends = sizes.cumsum(0)
        kept = torch.cat([torch.arange(int(ends[one] - sizes[one]), int(ends[one])) for one in wanted.tolist()])
        taken[patches] = features[patches][kept.to(features[patches].device)]
        taken[grids] = features[grids][wanted.to(features[grids].device)]
        if kind == 2 and "second_per_grid_ts" in features:
            taken["second_per_grid_ts"] = features["second_per_grid_ts"][
                wanted.to(features["second_per_grid_ts"].device)
            ]
    return Chunk(rows, taken)


def _owners(features: Mapping[str, Any], grids: str, kind: int, rows: int) -> Tensor:
    """The row of each image or video, (images,), on the CPU: told by the placeholders that each row holds."""
    placeholders = (features["mm_token_type_ids"] == kind).sum(dim=1).cpu()  # (B,)
    patches = features[grids].prod(dim=1).cpu()  # (images,)
    merged = patches * int(placeholders.sum()) // int(patches.sum())  # (images,) tokens: a token is merge² patches
    return torch.searchsorted(placeholders.cumsum(0), merged.cumsum(0)).clamp(max=rows - 1)


def _patches_of_rows(features: Mapping[str, Any]) -> list[int]:
    """Patches of each row's images and videos."""
    count = len(features["input_ids"])
    total = torch.zeros(count, dtype=torch.long)
    for patches, grids, kind in _VISUAL:
        if patches in features:
            sizes = features[grids].prod(dim=1).cpu()
            total.index_add_(0, _owners(features, grids, kind, count), sizes)
    return total.tolist()
