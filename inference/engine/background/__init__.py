"""Removes backgrounds and creates masks with the model that the operator configured; it never guesses without one.

Three kinds of model are read: U2-Net / IS-Net weight files (the main subject), a CLIPSeg folder (a subject in words),
and a semantic segmentation folder (a subject by its label).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inference.engine.background import matting
from inference.engine.background.named import LabelledSubject, TextSubject
from inference.engine.background.saliency import SalientSubject, is_saliency
from inference.engine.errors import RenderFailed
from inference.engine.pixels import has_alpha, opaque, upright, visible_colours
from inference.engine.segmenter import model_type
from inference.engine.spec import BackgroundSpec
from inference.engine.weightfile import SUFFIXES, read_state, unreadable

WHAT_TO_ADD = (
    "Add one to the model folder and name it in the catalogue: a U2-Net or IS-Net weight file (u2net.pth, u2netp.pth, "
    "isnet-general-use.pth or the same as .safetensors), a CLIPSeg folder for masks by words, or a semantic "
    "segmentation folder of the transformers library."
)


class Subject(Protocol):
    """What a model must offer to cut and to mask."""

    network: torch.nn.Module

    def alpha(self, image: Image.Image) -> NDArray[np.float32]:
        """Where the main subject is, 0..1 at the size of the picture."""
        ...


class BackgroundModel:
    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    @property
    def network(self) -> torch.nn.Module:
        return self._subject.network

    def cut(self, image: Image.Image, spec: BackgroundSpec) -> Image.Image:
        """The picture with a transparent background (RGBA), or with `only_mask` the mask alone (L, white = kept).

        `post_process_mask` makes the mask firm, `alpha_matting` refines its border with the two thresholds and the
        erosion and frees border colours of the background, `inverse_mask` keeps the background instead of the subject.
        What was transparent stays transparent.
        """
        _check(spec)
        image = upright(image)
        colours = np.asarray(opaque(image))
        alpha = self._subject.alpha(Image.fromarray(colours))
        if spec.post_process_mask:
            alpha = matting.clean(alpha)
        if spec.alpha_matting:
            alpha = matting.refine(
                colours,
                alpha,
                foreground=spec.foreground_threshold,
                background=spec.background_threshold,
                erode_px=spec.erode_px,
            )
        if spec.inverse_mask:
            alpha = 1 - alpha
        mask = Image.fromarray((alpha * _own_alpha(image) * 255).round().astype(np.uint8))
        if spec.only_mask:
            return mask
        if has_alpha(image):
            colours = np.asarray(visible_colours(image))
        kept = Image.fromarray(matting.foreground_colours(colours, alpha) if spec.alpha_matting else colours)
        kept.putalpha(mask)
        return kept

    def mask(self, image: Image.Image, subject: str) -> Image.Image:
        """White where the subject is (L, firm edges): ready as the mask of an inpainting call.

        An empty `subject` means the main subject. A model that only knows the main subject refuses a named one.
        """
        picture, words = opaque(image), subject.strip()
        if not words:
            found = self._subject.alpha(picture)
        elif isinstance(self._subject, TextSubject | LabelledSubject):
            found = self._subject.named(picture, words)
        else:
            message = "specific_object: the configured model only finds the main subject. Add a CLIPSeg folder instead."
            raise RenderFailed(code="subject_not_supported", message=message)
        firm = found >= 0.5
        if not firm.any():
            message = f"specific_object: nothing in the picture matches {words or 'a main subject'!r}."
            raise RenderFailed(code="subject_not_found", message=message)
        return Image.fromarray((firm * 255).astype(np.uint8))


def load(path: str | Path | None, *, device: str = "cpu") -> BackgroundModel:
    """The model at this path: a weight file, or a folder with config.json. RenderFailed says what to add."""
    if not path or not (source := Path(path)).exists():
        name = Path(path).name if path else "no model"
        message = f"There is no background model ({name}). {WHAT_TO_ADD}"
        raise RenderFailed(code="model_missing", message=message)
    if source.is_dir() and (source / "config.json").is_file():
        kind = TextSubject if model_type(source) == "clipseg" else LabelledSubject
        return BackgroundModel(kind(source, device))
    file = source if source.is_file() else _only_file(source)
    state = read_state(file)
    if not is_saliency(state):
        raise unreadable(file, "it is neither U2-Net nor IS-Net")
    return BackgroundModel(SalientSubject(state, file, device))


def _only_file(folder: Path) -> Path:
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if len(files) != 1:
        message = f"The folder {folder.name} holds {len(files)} weight files and no config.json. {WHAT_TO_ADD}"
        raise RenderFailed(code="model_missing", message=message)
    return files[0]


def _own_alpha(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image.convert("RGBA").getchannel("A"), dtype=np.float32) / 255


def _check(spec: BackgroundSpec) -> None:
    levels = {"foreground_threshold": spec.foreground_threshold, "background_threshold": spec.background_threshold}
    for name, level in levels.items():
        if not 0 <= level <= 255:
            raise RenderFailed(code="invalid_threshold", message=f"alpha_matting_{name}: {level} is outside 0 to 255.")
    if spec.background_threshold > spec.foreground_threshold:
        message = "alpha_matting_background_threshold must not be above alpha_matting_foreground_threshold."
        raise RenderFailed(code="invalid_threshold", message=message)
    if not 0 <= spec.erode_px <= 64:
        raise RenderFailed(code="invalid_threshold", message=f"erode size: {spec.erode_px} is outside 0 to 64.")
