"""Reads a picture back into words by counting pixels: background, object's colour, shape, size and position.

It shares no code with any network, so it can judge one. Shapes are told by overlap with our own drawings of them.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from inference.demo.draw import COLOURS, POSITIONS, RADIUS, RADIUS_ASIDE, SHAPES, Scene, picture

BORDER_PX: Final = 4
# Half the distance between the two most similar colours, roughly: less is shading, more is another thing.
DISTANCE_MIN: Final = 45.0
AREA_MIN: Final = 0.004  # of the picture; a smaller speck is no object
AREA_MAX: Final = 0.72  # the biggest square takes 0.66; more is a picture without a background
OVERLAP_MIN: Final = 0.75  # below it the outline is a blob, whatever shape it resembles most
STAMP_PX: Final = 48

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a picture shows; None where nothing can be told."""

    background: str
    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    position: str | None = None
    overlap: float = 0.0


def reading(image: Image.Image) -> Reading:
    pixels = np.asarray(image.convert("RGB")).astype(np.float64)
    ground = _border_colour(pixels)
    mask = _object_mask(pixels, ground)
    background = nearest_colour(ground)
    if not AREA_MIN <= mask.mean() <= AREA_MAX:
        return Reading(background)
    stamp, (left, top, right, bottom) = _stamp(mask)
    overlaps = {shape: _overlap(stamp, model) for shape, model in shape_models().items()}
    best = max(overlaps, key=lambda shape: overlaps[shape])
    centre = ((left + right) / 2 / image.width, (top + bottom) / 2 / image.height)
    position = min(POSITIONS, key=lambda name: _distance(POSITIONS[name], centre))
    return Reading(
        background=background,
        colour=nearest_colour(np.median(pixels[mask], axis=0)),
        shape=best if overlaps[best] >= OVERLAP_MIN else None,
        size=_size(max(right - left, bottom - top) / 2 / max(image.size), aside=position != ""),
        position=position,
        overlap=overlaps[best],
    )


def nearest_colour(rgb: NDArray[np.float64]) -> str:
    return min(COLOURS, key=lambda name: _distance(COLOURS[name], tuple(rgb)))


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))


def _border_colour(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    edge = BORDER_PX
    strips = (pixels[:edge], pixels[-edge:], pixels[:, :edge], pixels[:, -edge:])
    colour: NDArray[np.float64] = np.median(np.concatenate([strip.reshape(-1, 3) for strip in strips]), axis=0)
    return colour


def _object_mask(pixels: NDArray[np.float64], ground: NDArray[np.float64]) -> Mask:
    far = np.linalg.norm(pixels - ground, axis=2) > DISTANCE_MIN
    calm = Image.fromarray((far * 255).astype(np.uint8)).filter(ImageFilter.MedianFilter(5))
    mask: Mask = np.asarray(calm) > 127
    return mask


def _stamp(mask: Mask) -> tuple[Mask, tuple[int, int, int, int]]:
    """The object cut out and brought to one size, and the box it was cut from."""
    whole = Image.fromarray((mask * 255).astype(np.uint8))
    box = whole.getbbox()
    assert box is not None, "an empty mask has no stamp"
    small = whole.crop(box).resize((STAMP_PX, STAMP_PX), Image.Resampling.BOX)
    return np.asarray(small) > 127, box


def _overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _size(radius: float, *, aside: bool) -> str:
    """A middle-sized object is drawn smaller away from the centre."""
    radii = {**RADIUS, "": RADIUS_ASIDE if aside else RADIUS[""]}
    return min(radii, key=lambda name: abs(radii[name] - radius))


@functools.cache
def shape_models() -> dict[str, Mask]:
    """The outline of each shape, from a plain drawing of it."""
    models = {}
    for shape in SHAPES:
        image = picture(Scene(shape, "black", "white"), random.Random(0), 256)
        pixels = np.asarray(image).astype(np.float64)
        models[shape] = _stamp(_object_mask(pixels, _border_colour(pixels)))[0]
    return models
