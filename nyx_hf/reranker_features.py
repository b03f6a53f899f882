"""What the vision tower makes of images and videos, kept by what they show: a picture is looked at once."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.modeling.processing_nyx import Plan
from nyx_hf.modeling.sources_nyx import SourceError, is_undecoded
from nyx_hf.modeling.video_nyx import Frames
from nyx_hf.modeling.visual_nyx import Visual


@dataclass(frozen=True)
class Feature:
    """An image or a video as the language model reads it.

    Attributes:
        kind: `image` or `video`.
        grid: Time steps and patches down and across, int64 (1, 3).
        rows: A vector for each visual token, (n, D).
        deepstack: Further vectors for the first decoder layers, (n, D) each; Qwen3-VL has them.
        step_seconds: Seconds between two time steps of a video.
    """

    kind: str
    grid: Tensor
    rows: Tensor
    deepstack: tuple[Tensor, ...] = ()
    step_seconds: float = 0.0

    @property
    def bytes(self) -> int:
        """The memory it takes."""
        return sum(one.nelement() * one.element_size() for one in (self.rows, *self.deepstack))


class FeatureCache:
    """Runs the vision tower on what it has not seen, and keeps what was used last.

    Args:
        vlm: The headless vision-language model.
        visual: Cuts patches.
        limit_bytes: Most memory that is kept, on the model's device.
    """

    def __init__(self, vlm: Any, visual: Visual, limit_bytes: int = 2**30) -> None:
        self._vlm, self._visual, self._limit = vlm, visual, limit_bytes
        self._kept: OrderedDict[str, Feature] = OrderedDict()
        self._held = 0
        self.computed = 0
        """Images and videos that the vision tower ran on."""

    def of(self, plans: Sequence[Plan]) -> list[list[Feature]]:
        """Gives the features of contents.

        Args:
            plans: Contents.

        Returns:
            For each, its images' and videos' features in order.

        Raises:
            ContentError: If an image cannot be decoded.
        """
        known: dict[int, str] = {}  # by source: candidates share their query's
        keys, wanted = [], {}
        for plan in plans:
            own = []
            frames = iter(plan.frames)
            for number, part in enumerate(plan.content.parts):
                if part.type == "text":
                    continue
                source: Any = part.source if part.type == "image" else next(frames)
                try:
                    if id(source) not in known:
                        known[id(source)] = self._key(source)
                    key = known[id(source)]
                    if key not in self._kept and key not in wanted:
                        wanted[key] = source if part.type == "video" else self._visual.image(source)
                except SourceError as error:
                    raise ContentError(str(error), index=plan.index, part=number) from error
                own.append(key)
            keys.append(own)
        fresh = self._compute(wanted)
        features = {key: fresh[key] if key in fresh else self._kept[key] for own in keys for key in own}
        self._keep(features)
        return [[features[key] for key in own] for own in keys]

    def _key(self, source: Any) -> str:
        """Tells an image or a video by what it holds."""
        digest = hashlib.sha256()
        if isinstance(source, Frames):
            digest.update(repr((source.fps, [image.size for image in source.images])).encode())
            for image in source.images:
                digest.update(image.tobytes())
            return f"video {digest.hexdigest()}"
        file = source.get("bytes") if is_undecoded(source) else source
        if isinstance(file, bytes):
            return f"file {hashlib.sha256(file).hexdigest()}"
        image = self._visual.image(source)
        digest.update(repr(image.size).encode() + image.tobytes())
        return f"image {digest.hexdigest()}"

    def _compute(self, wanted: Mapping[str, Any]) -> dict[str, Feature]:
        """Runs the vision tower: on all images at once, on each video by itself."""
        self.computed += len(wanted)
        device = self._vlm.device
        images = {key: one for key, one in wanted.items() if not isinstance(one, Frames)}
        found: dict[str, Feature] = {}
        if images:
            pixels, grids = self._visual.image_patches(list(images.values()))
            output = self._vlm.get_image_features(pixels.to(device), grids.to(device), return_dict=True)
            found |= {key: Feature("image", grids[at : at + 1], *_rows(output, at)) for at, key in enumerate(images)}
        for key, frames in wanted.items():
            if isinstance(frames, Frames):
                pixels, grid = self._visual.video_patches(frames)
                output = self._vlm.get_video_features(pixels.to(device), grid.to(device), return_dict=True)
                found[key] = Feature("video", grid, *_rows(output, 0), self._visual.step_seconds(frames))
        return found

    def _keep(self, features: Mapping[str, Feature]) -> None:
        """Keeps features as the last used, and lets the oldest go."""
        for key, feature in features.items():
            old = self._kept.pop(key, None)
            self._held += feature.bytes if old is None else 0
            self._kept[key] = feature
        while self._held > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._held -= oldest.bytes


def grids_of(features: Sequence[Feature]) -> dict[str, Tensor | None]:
    """Gives the grids of a content's images and videos as the positions are worked out from them.

    Args:
        features: The content's features, in order.

    Returns:
        `image_grid_thw` and `video_grid_thw`, None where there are none.
    """
    of_kind = {kind: [one.grid for one in features if one.kind == kind] for kind in ("image", "video")}
    return {f"{kind}_grid_thw": torch.cat(grids) if grids else None for kind, grids in of_kind.items()}


def _rows(output: Any, at: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Picks one image's or video's vectors; they are copied, so that a batch's memory is not held by one of it."""
    return output.pooler_output[at].clone(), tuple(
        layer[at].clone() for layer in output.get("deepstack_features") or ()
    )
