"""Decides which pictures are sensitive, and makes the picture that is delivered in their place.

The checker sees copies: nothing here changes a picture it was given. Whether it runs at all is the caller's choice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from inference.engine.errors import RenderFailed

CARD_TITLE = "Sensitive content"
CARD_TEXT = "This picture was withheld by the safety checker."
# So coarse that no shape survives, at any size of the picture.
MOSAIC_BLOCKS = 12
BLUR_GRID = 16


class SafetyChecker:
    """The CLIP-based checker of Stable Diffusion, loaded from a folder, outside of any pipeline."""

    def __init__(
        self, network: StableDiffusionSafetyChecker, processor: CLIPImageProcessorPil, device: str, dtype: torch.dtype
    ) -> None:
        self.network, self._processor = network.to(device=device, dtype=dtype).eval(), processor
        self._device, self._dtype = device, dtype

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """From a checker's own folder, or from a pipeline folder that has `safety_checker/` (and
        `feature_extractor/`). Without preprocessor settings the CLIP defaults apply at the network's input size.
        """
        root = Path(folder)
        weights = root / "safety_checker" if (root / "safety_checker").is_dir() else root
        if not (weights / "config.json").is_file():
            message = f"The safety checker is missing: add a folder with its config.json and weights as {root.name}."
            raise RenderFailed(code="model_missing", message=message)
        try:
            network, found = StableDiffusionSafetyChecker.from_pretrained(
                weights, dtype=dtype, local_files_only=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            message = f"The safety checker in {root.name} cannot be loaded: {type(error).__name__}."
            raise RenderFailed(code="model_unreadable", message=message) from error
        if found["missing_keys"]:  # they were filled with random numbers: such a checker decides by chance
            message = f"The safety checker in {root.name} lacks {len(found['missing_keys'])} of its tensors."
            raise RenderFailed(code="model_unreadable", message=message)
        return cls(network, _processor(root, weights, network), device, dtype)

    @torch.inference_mode()
    def check(self, images: Sequence[Image.Image]) -> list[bool]:
        """True for each picture that is sensitive. One picture per forward, so that neighbours cannot matter."""
        return [self._is_sensitive(image.convert("RGB")) for image in images]

    def _is_sensitive(self, image: Image.Image) -> bool:
        pixels = self._processor(image, return_tensors="pt").pixel_values.to(self._device, self._dtype)
        # The network blackens the array that it flags; it gets one of its own, of a single pixel.
        _, flags = self.network(clip_input=pixels, images=[np.zeros((1, 1, 3), dtype=np.float32)])
        return bool(flags[0])


def _processor(root: Path, weights: Path, network: StableDiffusionSafetyChecker) -> CLIPImageProcessorPil:
    for folder in (root / "feature_extractor", weights, root):
        settings = folder / "preprocessor_config.json"
        if settings.is_file():
            known: dict[str, Any] = json.loads(settings.read_text())
            return CLIPImageProcessorPil.from_dict(known)
    side = network.config.vision_config.image_size
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def blank(image: Image.Image, action: str) -> Image.Image:
    """A new RGB picture of the same size for a flagged one. `action` is one of ACTIONS."""
    if action not in ACTIONS:
        known = ", ".join(ACTIONS)
        raise RenderFailed(code="invalid_safety_action", message=f"safety_checker_type: {action!r} is none of {known}.")
    return ACTIONS[action](image.convert("RGB"))


def _blur(image: Image.Image) -> Image.Image:
    """Averaged down first: a blur alone, however wide, can be undone to some degree."""
    coarse = image.resize(_grid(image, BLUR_GRID), Image.Resampling.BOX)
    soft = coarse.resize(image.size, Image.Resampling.BICUBIC)
    return soft.filter(ImageFilter.GaussianBlur(max(image.size) / BLUR_GRID))


def _pixelate(image: Image.Image) -> Image.Image:
    return image.resize(_grid(image, MOSAIC_BLOCKS), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def _black(image: Image.Image) -> Image.Image:
    return Image.new("RGB", image.size)


def _card(image: Image.Image) -> Image.Image:
    """A calm card with a sign and the words, laid out for any size; very small ones keep only what fits."""
    card = Image.new("RGB", image.size, "#22262e")
    draw = ImageDraw.Draw(card)
    middle, side = image.width / 2, min(image.size)
    radius, stroke = side * 0.11, max(round(side * 0.016), 1)
    top = image.height / 2 - side * 0.15
    draw.ellipse((middle - radius, top - radius, middle + radius, top + radius), outline="#d9a441", width=stroke)
    slant = radius * 0.7
    draw.line((middle - slant, top + slant, middle + slant, top - slant), fill="#d9a441", width=stroke)
    _line(draw, CARD_TITLE, (middle, image.height / 2 + side * 0.09), image.width * 0.8, side * 0.085, "#f2f2f2")
    _line(draw, CARD_TEXT, (middle, image.height / 2 + side * 0.2), image.width * 0.86, side * 0.048, "#9aa3b2")
    return card


def _line(
    draw: ImageDraw.ImageDraw, text: str, middle: tuple[float, float], width_max: float, size: float, fill: str
) -> None:
    font = ImageFont.load_default(size)
    size = min(size, size * width_max / max(draw.textlength(text, font=font), 1))
    if size >= 7:  # below that letters are specks
        draw.text(middle, text, font=ImageFont.load_default(size), fill=fill, anchor="mm")


def _grid(image: Image.Image, cells: int) -> tuple[int, int]:
    longest = max(image.size)
    return max(round(image.width * cells / longest), 1), max(round(image.height * cells / longest), 1)


ACTIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blur": _blur,
    "pixelate": _pixelate,
    "black": _black,
    "sensitive_content_text": _card,
}
