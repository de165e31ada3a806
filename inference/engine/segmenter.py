"""Loads models of the transformers library that label the pixels of a picture, without torchvision or a hub.

Shared by background removal (which labels are foreground) and by the segmentation hint (which colour is a label).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inference.engine.errors import RenderFailed
from inference.engine.picture_input import PictureInput

# Class scores at this side and no finer: 150 classes of one 8-megapixel picture would take 5 GB.
SCORES_SIDE_PX = 512
MISSING_SHARE_MAX = 0.1


def load_pretrained(auto_class: Any, folder: Path, device: str) -> Any:
    """`auto_class.from_pretrained` on a local folder, in fp32 on the device, with errors that name the folder."""
    if not (folder / "config.json").is_file():
        message = f"The model folder {folder.name} is missing or has no config.json."
        raise RenderFailed(code="model_missing", message=message)
    try:
        model, found = auto_class.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        message = f"The model in {folder.name} cannot be loaded: {type(error).__name__}: {str(error)[:200]}"
        raise RenderFailed(code="model_unreadable", message=message) from error
    # The library fills what a file lacks with random numbers and only logs it. A few unused layers are missing from
    # published files (DPT's first fusion block); more means that the weights belong to another model.
    if len(found["missing_keys"]) > MISSING_SHARE_MAX * len(model.state_dict()):
        message = f"The weights in {folder.name} lack {len(found['missing_keys'])} of the model's tensors."
        raise RenderFailed(code="model_unreadable", message=message)
    return model.to(device).eval()


def model_type(folder: Path) -> str:
    settings: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return str(settings.get("model_type", ""))


class SemanticSegmenter:
    """A semantic segmentation model (SegFormer, UPerNet, BEiT, DPT, MobileViT, ...) from its folder."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import AutoModelForSemanticSegmentation

        self.network: Any = load_pretrained(AutoModelForSemanticSegmentation, folder, device)
        self._input, self._device = PictureInput.read(folder), device

    @property
    def names(self) -> list[str]:
        """The label of each class, in class order."""
        labels: dict[int, str] = self.network.config.id2label
        return [labels[number] for number in sorted(labels)]

    def classes(self, image: Image.Image) -> NDArray[np.int64]:
        """The most likely class of each pixel, at the size of the picture."""
        best = self._scores(image).argmax(dim=0).to(torch.int32).cpu().numpy()
        return cv2.resize(best, image.size, interpolation=cv2.INTER_NEAREST).astype(np.int64)

    def share(self, image: Image.Image, numbers: list[int]) -> NDArray[np.float32]:
        """The probability, per pixel, of any of these classes."""
        part = self._scores(image).softmax(dim=0)[numbers].sum(dim=0).clamp(0, 1).cpu().numpy()
        return cv2.resize(part, image.size, interpolation=cv2.INTER_LINEAR).astype(np.float32)

    @torch.inference_mode()
    def _scores(self, image: Image.Image) -> torch.Tensor:
        logits: torch.Tensor = self.network(pixel_values=self._input.tensor(image, self._device)).logits
        scale = min(1.0, SCORES_SIDE_PX / max(image.size))
        size = (max(round(image.height * scale), 1), max(round(image.width * scale), 1))
        return torch.nn.functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)[0]
