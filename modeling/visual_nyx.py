"""Images and videos as the vision tower takes them: how many tokens they are, and their patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from .configuration_nyx import NyxSettings
from .images_nyx import image_size, load_image
from .video_nyx import Frames, load_frames

IMAGE, VIDEO = 1, 2  # mm_token_type_ids, as transformers counts them
ROUNDED_TOKENS = 4, 16384  # fewest and most tokens of an image in qwen_vl_utils


@dataclass(frozen=True)
class Visual:
    """Counts visual tokens and cuts patches, with the backbone's PIL image processor.

    Args:
        image_processor: The backbone's image processor.
        settings: The retriever's settings.
        stamped: Whether a video is written as one placeholder a time step, each after its time (Qwen3-VL).
        allow_urls: Whether images and videos may be fetched.
    """

    image_processor: Any
    settings: NyxSettings
    stamped: bool
    allow_urls: bool = False

    def image_tokens(self, source: Any) -> int:
        """Tokens of an image; only its header is read.

        Args:
            source: The image as it was given.

        Returns:
            The number of tokens.

        Raises:
            SourceError: The image cannot be read.
        """
        width, height = self._rounded(image_size(source, allow_urls=self.allow_urls))
        patches: int = self.image_processor.get_number_of_image_patches(height, width, {})
        return patches // self.image_processor.merge_size**2

    def image(self, source: Any) -> Image.Image:
        """Loads an image.

        Args:
            source: The image as it was given.

        Returns:
            The image, RGB.

        Raises:
            SourceError: The image cannot be decoded.
        """
        image = load_image(source, allow_urls=self.allow_urls)
        size = self._rounded(image.size)
        return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)

    def image_patches(self, images: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches of images, all in one call: the image processor's cost a call is more than a small image's.

        Args:
            images: RGB images.

        Returns:
            Patches (patches, values) float32, and the images' grids (images, 3).
        """
        features = self.image_processor(images=list(images), return_tensors="pt")
        return features["pixel_values"], features["image_grid_thw"]

    def frames(self, source: Any) -> Frames:
        """Frames of a video, sampled as the settings say.

        Args:
            source: The video as it was given.

        Returns:
            The frames.

        Raises:
            SourceError: The video or one of its frames cannot be read.
        """
        fps, most = self.settings.video_fps, self.settings.max_frames
        return load_frames(source, fps=fps, max_frames=most, allow_urls=self.allow_urls)

    def video_tokens(self, frames: Frames) -> list[int]:
        """Tokens of each placeholder of a video: one placeholder in all, or one a time step where it is stamped.

        Args:
            frames: The video.

        Returns:
            Numbers of tokens.
        """
        times, tall, wide = self._grid(frames)
        step = tall * wide // self.image_processor.merge_size**2
        return [step] * times if self.stamped else [times * step]

    def timestamps(self, frames: Frames) -> str:
        """What a stamped video's placeholder becomes: the time of each step before a placeholder of its own.

        Args:
            frames: The video.

        Returns:
            Text, or empty where videos are not stamped.
        """
        if not self.stamped:
            return ""
        step, fps = self.image_processor.temporal_patch_size, self._fps(frames)
        times = [index / fps for index in range(len(frames.images))]
        times += [times[-1]] * (-len(times) % step)
        middles = [(times[at] + times[at + step - 1]) / 2 for at in range(0, len(times), step)]
        return "".join(f"<{seconds:.1f} seconds><|vision_start|><|video_pad|><|vision_end|>" for seconds in middles)

    def step_seconds(self, frames: Frames) -> float:
        """Seconds between two time steps of a video.

        Args:
            frames: The video.

        Returns:
            Seconds.
        """
        return float(self.image_processor.temporal_patch_size / self._fps(frames))

    def video_patches(self, frames: Frames) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches of a video; each holds as many consecutive frames as the vision tower expects.

        Args:
            frames: The video; its last frame is repeated to fill the last step.

        Returns:
            Patches (patches, values) float32, and their grid (1, 3).
        """
        processor = self.image_processor
        times, tall, wide = grid = self._grid(frames)
        merge, patch, step = processor.merge_size, processor.patch_size, processor.temporal_patch_size
        size = (wide * patch, tall * patch)
        images = [np.asarray(image.resize(size, processor.resample), dtype=np.float32) for image in frames.images]
        images += [images[-1]] * (times * step - len(images))
        mean, std = np.asarray(processor.image_mean), np.asarray(processor.image_std)
        video = (np.stack(images) * processor.rescale_factor - mean) / std  # (T, H, W, C)
        video = video.transpose(0, 3, 1, 2).astype(np.float32)  # (T, C, H, W)
        video = video.reshape(times, step, 3, tall // merge, merge, patch, wide // merge, merge, patch)
        video = video.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)  # (t, h, w, merge, merge, C, step, patch, patch)
        flat = np.ascontiguousarray(video.reshape(times * tall * wide, -1))  # (patches, C · step · patch · patch)
        return torch.from_numpy(flat), torch.tensor([grid])

    def _rounded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height in whole tokens, within the widest limits, where the settings ask for it."""
        if not self.settings.round_images:
            return size
        side = self.image_processor.patch_size * self.image_processor.merge_size
        tall, wide = smart_resize(size[1], size[0], side, ROUNDED_TOKENS[0] * side**2, ROUNDED_TOKENS[1] * side**2)
        return wide, tall

    def _fps(self, frames: Frames) -> float:
        return frames.fps or self.settings.video_fps

    def _grid(self, frames: Frames) -> tuple[int, int, int]:
        """Time steps, and vertical and horizontal patches of each."""
        processor, most = self.image_processor, self.settings.max_frame_pixels
        width, height = frames.images[0].size
        least = min(dict(processor.size)["shortest_edge"], most)
        tall, wide = smart_resize(height, width, processor.patch_size * processor.merge_size, least, most)
        steps = -(-len(frames.images) // processor.temporal_patch_size)
        return steps, tall // processor.patch_size, wide // processor.patch_size
