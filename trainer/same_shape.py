"""Forward passes of the same shape on all processes.

Where parameters or gradients are spread over processes, each forward and backward pass is a sequence of collective
calls, and all processes must make the same ones. Contents differ: one process may have an image where another has
text alone, or more pieces. So all agree on how many passes there are and which of them see images and videos, and fill
in a row of one blank image or video where they have none; its vector is dropped, and its gradient is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nyx_hf.trainer.chunks import Chunk
from nyx_hf.trainer.distributed import gather_rows, world_size

_KINDS = ("pixel_values", "pixel_values_videos")


@dataclass(frozen=True)
class BlankRow:
    """What a row of one blank image or video is made of; the smallest that the vision tower takes.

    Args:
        start: id of the token before the placeholder.
        end: id of the token after it.
        placeholders: ids of the image's and the video's placeholder.
        patch_values: numbers in a patch.
        merge_size: side of a visual token in patches.
        pads_left: the tokenizer pads on the left.
        pad: id of the padding token.
    """

    start: int
    end: int
    placeholders: tuple[int, int]
    patch_values: int
    merge_size: int
    pads_left: bool
    pad: int

    @classmethod
    def of(cls, processor: Any) -> "BlankRow":
        """Reads it off a processor.

        Args:
            processor: a `NyxProcessor`.

        Returns:
            The parts.
        """
        tokenizer, images = processor.tokenizer, processor.image_processor
        start, end = tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|vision_end|>"])
        return cls(
            start=start,
            end=end,
            placeholders=(processor.image_token_id, processor.video_token_id),
            patch_values=3 * images.temporal_patch_size * images.patch_size**2,
            merge_size=images.merge_size,
            pads_left=tokenizer.padding_side == "left",
            pad=tokenizer.pad_token_id,
        )

    def added_to(self, features: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
        """Adds a last row with a blank image or video.

        Args:
            features: tensors of some rows.
            kind: `pixel_values` or `pixel_values_videos`.

        Returns:
            The tensors with one row more.
        """
        number = _KINDS.index(kind)
        like = features["input_ids"]
        new = {
            "input_ids": torch.tensor([self.start, self.placeholders[number], self.end]),
            "attention_mask": torch.ones(3, dtype=torch.long),
            "mm_token_type_ids": torch.tensor([0, number + 1, 0]),
            "pooling_mask": torch.ones(3, dtype=torch.long),
        }
        fill = {"input_ids": self.pad}
        grown = dict(features)
        for name in new.keys() & features.keys():
            grown[name] = self._with_row(features[name], new[name], fill.get(name, 0))
        grids = "image_grid_thw" if number == 0 else "video_grid_thw"
        grid = torch.tensor([[1, self.merge_size, self.merge_size]], device=like.device)
        patches = torch.zeros(self.merge_size**2, self.patch_values, device=like.device)
        grown[kind] = patches if kind not in features else torch.cat([features[kind], patches.to(features[kind])])
        grown[grids] = grid if grids not in features else torch.cat([features[grids], grid])
        if number == 1 and "second_per_grid_ts" in features:  # left out, it is taken as 1
            grown["second_per_grid_ts"] = F.pad(features["second_per_grid_ts"], (0, 1), value=1)
        return grown

    def text_alone(self, like: dict[str, Tensor]) -> dict[str, Tensor]:
        """Makes a row of two tokens, for a pass of which no vector is kept.

        Args:
            like: tensors of other rows; the same ones are made, on the same device.

        Returns:
            The tensors.
        """
        ids = torch.tensor([[self.start, self.end]], device=like["input_ids"].device)
        types = {"input_ids": ids, "mm_token_type_ids": torch.zeros_like(ids)}
        names = ("input_ids", "attention_mask", "mm_token_type_ids", "pooling_mask")
        return {name: types.get(name, torch.ones_like(ids)) for name in names if name in like}

    def _with_row(self, tokens: Tensor, row: Tensor, fill: int) -> Tensor:
        """Adds a row to (B, L), widening it where the row is longer."""
        width = max(tokens.shape[1], len(row))

        def padded(values: Tensor) -> Tensor:
            missing = width - values.shape[-1]
            return F.pad(values, (missing, 0) if self.pads_left else (0, missing), value=fill)

        return torch.cat([padded(tokens), padded(row.to(tokens))[None]])


def same_on_all(
    chunks: Sequence[Chunk], blank: BlankRow, *, last_sees_image: bool = False, all_see_image: bool = False
) -> list[Chunk]:
    """Makes the passes of this process those of all others.

    Args:
        chunks: this process's pieces; `rows` of one names the rows whose vectors are kept, the first ones.
        blank: what is filled in.
        last_sees_image: give the last piece an image in any case, so that a trained vision tower gets a gradient.
        all_see_image: give every piece one; ZeRO-3 adds a gradient that first comes with a later piece of a step to
            what is left of the step before.

    Returns:
        The pieces, as many as the process with most has; rows filled in stand at the end of a piece.
    """
    wanted = torch.tensor([[chunk.has(kind) for kind in _KINDS] for chunk in chunks]).reshape(-1, 2)  # (chunks, kinds)
    if world_size() > 1:
        device = chunks[0].features["input_ids"].device
        most = int(gather_rows(torch.tensor([len(chunks)], device=device)).max())
        padded = F.pad(wanted, (0, 0, 0, most - len(wanted))).to(device, torch.long)  # (most, kinds)
        wanted = gather_rows(padded[None]).any(dim=0).cpu()
    wanted[-1, 0] |= last_sees_image
    wanted[:, 0] |= all_see_image
    nothing = Chunk(torch.arange(0), blank.text_alone(chunks[0].features))
    same = []
    for number, kinds in enumerate(wanted.tolist()):
        piece = chunks[number] if number < len(chunks) else nothing
        features = piece.features
        for kind, needed in zip(_KINDS, kinds, strict=True):
            if needed and kind not in features:
                features = blank.added_to(features, kind)
        same.append(Chunk(piece.rows, features))
    return same
