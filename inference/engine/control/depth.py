"""Depth by a model of the transformers library (DPT, Depth Anything, GLPN, ZoeDepth), and surface normals from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inference.engine.control.shelf import Shelf
from inference.engine.picture_input import PictureInput
from inference.engine.segmenter import load_pretrained

DEPTH_FOLDER = "depth"
# These give metres, where far is large; the others give inverse depth, where near is large, as ControlNet wants it.
_METRIC_TYPES = ("glpn", "zoedepth")
# How steep the normals are: a slope of the whole depth range over the whole picture leans by about 20 degrees, which
# comes near the published normal hints of the MiDaS kind. Our choice.
NORMAL_STEEPNESS = 2.5
# Farther than this share of the range the normals face the viewer: sky and haze have no surface.
BACKGROUND_SHARE = 0.1


class DepthModel:
    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoModelForDepthEstimation

        self._model: Any = load_pretrained(AutoModelForDepthEstimation, folder, device)
        self._input, self._device = PictureInput.read(folder), device
        config = self._model.config
        metric = getattr(config, "depth_estimation_type", "relative") == "metric"
        self._far_is_large = metric or config.model_type in _METRIC_TYPES

    @torch.inference_mode()
    def nearness(self, image: Image.Image) -> NDArray[np.float32]:
        """0 at the farthest and 1 at the nearest pixel of this picture, at its size."""
        raw = self._model(pixel_values=self._input.tensor(image, self._device)).predicted_depth.float()
        depth = raw.reshape(raw.shape[-2:]).cpu().numpy()
        full = cv2.resize(depth, image.size, interpolation=cv2.INTER_CUBIC)
        lowest, highest = float(full.min()), float(full.max())
        spread = (full - lowest) / max(highest - lowest, 1e-6)
        return (1 - spread if self._far_is_large else spread).astype(np.float32)


def depth(image: Image.Image, shelf: Shelf) -> Image.Image:
    """Grey levels, near is white."""
    levels = (_model(shelf, "depth").nearness(image) * 255).round().astype(np.uint8)
    return Image.fromarray(levels).convert("RGB")


def normal(image: Image.Image, shelf: Shelf) -> Image.Image:
    """Surface directions as colours: x in red, y in green, towards the viewer in blue."""
    nearness = _model(shelf, "normal").nearness(image)
    steepness = NORMAL_STEEPNESS * max(image.size) / 8  # the Sobel sum below weighs 8
    slope_x = cv2.Sobel(nearness, cv2.CV_32F, 1, 0, ksize=3) * steepness
    slope_y = cv2.Sobel(nearness, cv2.CV_32F, 0, 1, ksize=3) * steepness
    far = nearness < BACKGROUND_SHARE
    slope_x[far], slope_y[far] = 0, 0
    direction = np.stack((slope_x, slope_y, np.full_like(slope_x, 2 * np.pi)), axis=2)
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    return Image.fromarray((direction * 127.5 + 127.5).clip(0, 255).astype(np.uint8))


def _model(shelf: Shelf, kind: str) -> DepthModel:
    what = "a depth model folder of the transformers library (for example Depth Anything V2 or DPT)"
    model: DepthModel = shelf.load(DEPTH_FOLDER, DepthModel, kind=kind, what=what)
    return model
