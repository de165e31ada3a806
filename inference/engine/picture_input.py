"""Turns a picture into the tensor that a model of the transformers library expects, by its preprocessor_config.json.

Our own reading of those settings, because the library's processors want torchvision (its SegFormer processor even in
the form that is called PIL). Crops are left out: every model here answers for the whole picture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from inference.engine.errors import RenderFailed

SETTINGS_FILE = "preprocessor_config.json"
# No published setting asks for more; it bounds what a strange file could make us allocate.
SIDE_MAX_PX = 2048


class PictureInput:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    @classmethod
    def read(cls, folder: Path) -> Self:
        """RenderFailed when the file is missing or asks for what we do not know."""
        try:
            settings = cls(dict(json.loads((folder / SETTINGS_FILE).read_text())))
            settings.tensor(Image.new("RGB", (64, 48)), "cpu")  # settings that we cannot follow show here, not in a job
        except (OSError, ValueError, TypeError, KeyError) as error:
            message = f"The model in {folder.name} has no usable {SETTINGS_FILE}: {type(error).__name__}."
            raise RenderFailed(code="model_unreadable", message=message) from error
        return settings

    def tensor(self, image: Image.Image, device: str) -> torch.Tensor:
        """One batch of one picture, channels first."""
        size = self.size(image.width, image.height)
        if size != image.size:
            method = self._settings.get("resample")
            image = image.resize(size, Image.Resampling.BICUBIC if method is None else Image.Resampling(method))
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
        if self._settings.get("do_rescale", True):
            pixels = pixels * np.float32(self._settings.get("rescale_factor", 1 / 255))
        mean, spread = self._settings.get("image_mean"), self._settings.get("image_std")
        if self._settings.get("do_normalize", True) and mean and spread:
            pixels = (pixels - np.array(mean, dtype=np.float32)) / np.array(spread, dtype=np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous().to(device)

    def size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Width and height that a picture of this size is brought to."""
        if not self._settings.get("do_resize", True):
            return width_px, height_px
        wanted = self._settings.get("size")
        if wanted is None:  # GLPN: the picture's own size, cut down to a multiple
            scale_x = scale_y = 1.0
        elif isinstance(wanted, int) and "max_size" in self._settings:
            scale_x = scale_y = _edges(width_px, height_px, wanted, self._settings["max_size"])
        elif isinstance(wanted, dict) and "shortest_edge" in wanted:
            scale_x = scale_y = _edges(width_px, height_px, wanted["shortest_edge"], wanted.get("longest_edge"))
        else:
            scale_x, scale_y = self._to_frame(width_px, height_px, wanted)
        multiple = self._settings.get("ensure_multiple_of") or self._settings.get("size_divisor") or 1
        return _multiple(width_px * scale_x, multiple), _multiple(height_px * scale_y, multiple)

    def _to_frame(self, width_px: int, height_px: int, wanted: Any) -> tuple[float, float]:
        frame = (wanted, wanted) if isinstance(wanted, int) else (wanted["width"], wanted["height"])
        scale_x, scale_y = frame[0] / width_px, frame[1] / height_px
        if self._settings.get("keep_aspect_ratio"):  # DPT and Depth Anything: scale as little as possible
            scale_x = scale_y = min((scale_x, scale_y), key=lambda scale: abs(1 - scale))
        return scale_x, scale_y


def _edges(width_px: int, height_px: int, shortest_px: int, longest_px: int | None) -> float:
    scale = shortest_px / min(width_px, height_px)
    return min(scale, longest_px / max(width_px, height_px)) if longest_px else scale


def _multiple(length_px: float, multiple: int) -> int:
    return min(max(round(length_px / multiple), 1) * multiple, SIDE_MAX_PX // multiple * multiple)
