"""Subjects that have a name: CLIPSeg finds what words describe, a segmentation model what it has labels for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inference.engine.errors import RenderFailed
from inference.engine.picture_input import PictureInput
from inference.engine.prompts import blocked
from inference.engine.segmenter import SemanticSegmenter, load_pretrained

MAIN_SUBJECT_WORDS = "the main object in the foreground"
# CLIPSeg's answers are soft: what it is sure of seldom passes 0.9, and pixels at half of the best belong to it. Below
# the floor it has found nothing. Both are our choice, by the published examples.
FOUND_FLOOR = 0.2
BACKGROUND_LABELS = ("background", "unlabeled", "unlabelled", "void", "bg")


class TextSubject:
    """A CLIPSeg folder: config.json, weights, preprocessor and CLIP tokenizer files (arXiv 2112.10003)."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoTokenizer, CLIPSegForImageSegmentation

        self.network: Any = load_pretrained(CLIPSegForImageSegmentation, folder, device)
        self._input, self._device = PictureInput.read(folder), device
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            message = f"The CLIPSeg model in {folder.name} has no tokenizer files."
            raise RenderFailed(code="model_unreadable", message=message) from error

    def alpha(self, image: Image.Image) -> NDArray[np.float32]:
        return self.named(image, MAIN_SUBJECT_WORDS)

    @torch.inference_mode()
    def named(self, image: Image.Image, words: str) -> NDArray[np.float32]:
        """Scaled so that 1 is the best match in the picture; all 0 when nothing matches."""
        pixels = self._input.tensor(image, self._device)
        tokens = self._tokenizer([words], return_tensors="pt", truncation=True).to(self._device)
        logits = self.network(
            pixel_values=pixels, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
        ).logits
        found = logits.float().sigmoid().reshape(logits.shape[-2:]).cpu().numpy()
        best = float(found.max())
        scaled = found / best if best >= FOUND_FLOOR else np.zeros_like(found)
        return cv2.resize(scaled, image.size, interpolation=cv2.INTER_LINEAR).clip(0, 1).astype(np.float32)


class LabelledSubject:
    """A semantic segmentation folder. The main subject is whatever is not labelled as background."""

    def __init__(self, folder: Path, device: str) -> None:
        self._segmenter = SemanticSegmenter(folder, device)
        self.network = self._segmenter.network

    def alpha(self, image: Image.Image) -> NDArray[np.float32]:
        numbers = [number for number, name in enumerate(self._segmenter.names) if blocked(name, BACKGROUND_LABELS)]
        if not numbers:
            message = "The configured segmentation model has no label for background; it can only mask named subjects."
            raise RenderFailed(code="subject_not_supported", message=message)
        return 1 - self._segmenter.share(image, numbers)

    def named(self, image: Image.Image, words: str) -> NDArray[np.float32]:
        names = self._segmenter.names
        numbers = [number for number, name in enumerate(names) if blocked(name, (words,)) or blocked(words, (name,))]
        if not numbers:
            known = ", ".join(names[:30])
            message = f"specific_object: the configured model has no label {words!r}. Its labels begin: {known}."
            raise RenderFailed(code="subject_not_supported", message=message)
        return self._segmenter.share(image, numbers)
