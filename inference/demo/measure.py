"""Reads a picture back into words by counting pixels: background, and colour, shape, size and position of objects.

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

from inference.demo.draw import COLOURS, OPPOSITE, POSITIONS, RADIUS, RADIUS_ASIDE, SHAPES, Scene, picture

BORDER_PX: Final = 4
# Half the distance between the two most similar colours, roughly: less is shading, more is another thing.
DISTANCE_MIN: Final = 45.0
AREA_MIN: Final = 0.004  # of the picture; a smaller speck is no object
AREA_MAX: Final = 0.72  # the biggest square takes 0.66; more is a picture without a background
OVERLAP_MIN: Final = 0.75  # below it the outline is a blob, whatever shape it resembles most
STAMP_PX: Final = 48
BAND: Final = (0.35, 0.65)  # of a side: an empty line in it parts two objects

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one object looks like; `shape` is None where its outline resembles none enough."""

    colour: str
    shape: str | None
    radius: float  # as a fraction of the shorter side


@dataclass(frozen=True, slots=True)
class Reading:
    """What a picture shows; None where nothing can be told."""

    background: str
    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    position: str | None = None
    other: Seen | None = None  # the one opposite, where two objects stand apart


def reading(image: Image.Image) -> Reading:
    pixels = np.asarray(image.convert("RGB")).astype(np.float64)
    ground = _border_colour(pixels)
    mask = _object_mask(pixels, ground)
    background = nearest_colour(ground)
    if not AREA_MIN <= mask.mean() <= AREA_MAX:
        return Reading(background)
    position, masks = _objects(mask)
    first, *others = (_seen(pixels, part) for part in masks)
    return Reading(
        background=background,
        colour=first.colour,
        shape=first.shape,
        size="" if others else _size(first.radius, aside=position != ""),
        position=position,
        other=others[0] if others else None,
    )


def _objects(mask: Mask) -> tuple[str, list[Mask]]:
    """Where the first object lies, and each object's own mask: two where an empty band parts them in the middle."""
    for position, axis in zip(OPPOSITE, (0, 1), strict=True):
        lines = mask.any(axis=axis)
        middle = range(round(len(lines) * BAND[0]), round(len(lines) * BAND[1]))
        if cut := next((line for line in middle if not lines[line]), None):
            before = np.arange(len(lines)) < cut
            near = before[None, :] if axis == 0 else before[:, None]
            halves: list[Mask] = [mask & near, mask & ~near]
            if min(half.mean() for half in halves) >= AREA_MIN:
                return position, halves
    left, top, right, bottom = _box(mask)
    height, width = mask.shape
    centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
    return min(POSITIONS, key=lambda name: _distance(POSITIONS[name], centre)), [mask]


def _seen(pixels: NDArray[np.float64], mask: Mask) -> Seen:
    left, top, right, bottom = _box(mask)
    stamp = _stamp(mask)
    overlaps = {shape: _overlap(stamp, model) for shape, model in shape_models().items()}
    best = max(overlaps, key=lambda shape: overlaps[shape])
    return Seen(
        colour=nearest_colour(np.median(pixels[mask], axis=0)),
        shape=best if overlaps[best] >= OVERLAP_MIN else None,
        radius=max(right - left, bottom - top) / 2 / min(mask.shape),
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


def _box(mask: Mask) -> tuple[int, int, int, int]:
    box = Image.fromarray((mask * 255).astype(np.uint8)).getbbox()
    assert box is not None, "an empty mask has no box"
    return box


def _stamp(mask: Mask) -> Mask:
    """The object cut out and brought to one size."""
    cut = Image.fromarray((mask * 255).astype(np.uint8)).crop(_box(mask))
    return np.asarray(cut.resize((STAMP_PX, STAMP_PX), Image.Resampling.BOX)) > 127


def _overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def _size(radius: float, *, aside: bool) -> str:
    """A middle-sized object is drawn smaller away from the centre. Two together have but one size."""
    radii = {**RADIUS, "": RADIUS_ASIDE if aside else RADIUS[""]}
    return min(radii, key=lambda name: abs(radii[name] - radius))


@functools.cache
def shape_models() -> dict[str, Mask]:
    """The outline of each shape, from a plain drawing of it."""
    models = {}
    for shape in SHAPES:
        image = picture(Scene(shape, "black", "white"), random.Random(0), 256)
        pixels = np.asarray(image).astype(np.float64)
        models[shape] = _stamp(_object_mask(pixels, _border_colour(pixels)))
    return models
