"""Derives the hint picture that a ControlNet is given from an ordinary picture (the preprocessors).

Filters work out of the box; networks are read from `preprocessors/` in the model folder, and when one is missing the
error names the file to add. Which ControlNet the hint then steers is not this package's business.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.engine.control import depth, edges, filters, lines, pose, segments
from inference.engine.control.shelf import Shelf
from inference.engine.errors import RenderFailed
from inference.engine.pixels import INPUT_MAX_PX, check_size, cover, opaque

Filter = Callable[[Image.Image], Image.Image]
Network = Callable[[Image.Image, Shelf], Image.Image]

# Kinds whose hint is computed, or is the picture itself ("tile", "inpaint", "qrcode").
_FILTERS: dict[str, Filter] = {
    "canny": filters.canny,
    # krea/aesthetic-controlnet was trained on Canny edges (its model card).
    "aesthetic-controlnet": filters.canny,
    "scribble": filters.scribble,
    "shuffle": filters.shuffle,
    "blur": filters.blur,
    "gray": filters.gray,
    "low_quality": filters.low_quality,
    "tile": filters.unchanged,
    "inpaint": filters.unchanged,
    "qrcode": filters.unchanged,
}
# Kinds that use a network when it is there, and a classical method that is known under the same name when it is not.
_FILTERS_WITH_NETWORK: dict[str, Network] = {"lineart": edges.lineart, "mlsd": lines.straight_lines}
_NETWORKS: dict[str, Network] = {
    "depth": depth.depth,
    "normal": depth.normal,
    "hed": edges.soft_edges,
    "softedge": edges.soft_edges,
    "segmentation": segments.colour_map,
    "openpose": pose.skeletons,
    "pose": pose.skeletons,
}
# The hint of this kind is a drawing of a face mesh, for which there is no detector here.
_SUPPLIED = ("face_detector",)

KINDS: tuple[str, ...] = tuple(sorted((*_FILTERS, *_FILTERS_WITH_NETWORK, *_NETWORKS, *_SUPPLIED)))

_shelf = Shelf()


def needs_weights(kind: str) -> bool:
    """Whether a hint of this kind cannot be derived from the installed software alone."""
    _check_kind(kind)
    return kind in _NETWORKS or kind in _SUPPLIED


def hint(
    kind: str,
    image: Image.Image,
    width_px: int,
    height_px: int,
    model_dir: str | Path,
    *,
    device: str = "cpu",
) -> Image.Image:
    """The hint as RGB of exactly the asked size, cut from the picture like the init picture (`pixels.cover`).

    The same picture always gives the same hint. Networks stay loaded until `release`; only the engine thread calls
    this.
    """
    _check_kind(kind)
    check_size(width_px, height_px, limit_px=INPUT_MAX_PX, what=f"{kind} hint")
    picture = cover(opaque(image), width_px, height_px)
    if kind in _FILTERS:
        return _FILTERS[kind](picture)
    if kind in _SUPPLIED:
        message = f"controlnet_model {kind}: no hint can be derived; send control_image with auto_hint off."
        raise RenderFailed(code="hint_not_derivable", message=message)
    network = _NETWORKS.get(kind) or _FILTERS_WITH_NETWORK[kind]
    return network(picture, _shelf.at(Path(model_dir), device))


def values(kind: str, ready: Image.Image, mask: Image.Image | None = None) -> NDArray[np.float32]:
    """The hint as the ControlNet reads it: rows of RGB in 0..1.

    For "inpaint" the pixels to repaint are marked by -1, which no picture can hold: that is how
    control_v11p_sd15_inpaint was trained. Its `mask` (white = repaint) must have the size of the hint.
    """
    array: NDArray[np.float32] = np.asarray(ready.convert("RGB"), dtype=np.float32) / 255
    if kind == "inpaint" and mask is not None:
        if mask.size != ready.size:
            raise RenderFailed(code="invalid_mask", message=f"mask {mask.size} and hint {ready.size} differ in size.")
        array = np.where(np.asarray(mask.convert("L"))[..., None] > 127, np.float32(-1), array)
    return array


def release() -> None:
    """Drop every loaded preprocessor network; the next hint loads again."""
    _shelf.clear()


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        message = f"controlnet_model: {kind!r} is none of {', '.join(KINDS)}."
        raise RenderFailed(code="unknown_control", message=message)
