"""Hints that need no network: classical filters on an RGB picture, each to an RGB picture of the same size."""

from __future__ import annotations

import hashlib
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

# The thresholds that ControlNet's own examples use.
CANNY_LOW, CANNY_HIGH = 100, 200


def unchanged(image: Image.Image) -> Image.Image:
    return image


def canny(image: Image.Image) -> Image.Image:
    """White edges of one pixel on black."""
    return _rgb(cv2.Canny(np.asarray(image), CANNY_LOW, CANNY_HIGH))


def scribble(image: Image.Image) -> Image.Image:
    """White strokes on black by thresholded differences of Gaussians (Winnemoeller et al., XDoG, 2012).

    This is the known substitute for drawings made by hand; no network is involved.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    unit = max(min(image.size) / 512, 0.5)
    narrow = cv2.GaussianBlur(grey, (0, 0), 0.5 * unit)
    wide = cv2.GaussianBlur(grey, (0, 0), 5.0 * unit)
    return _rgb(np.where(wide - narrow > 15, 255, 0).astype(np.uint8))


def lineart(image: Image.Image) -> Image.Image:
    """White lines on black: where a pixel is darker than its surroundings, stretched to the picture's own contrast."""
    pixels = np.asarray(image, dtype=np.float32)
    surroundings = cv2.GaussianBlur(pixels, (0, 0), 6.0 * max(min(image.size) / 512, 0.5))
    depth = np.clip((surroundings - pixels).max(axis=2), 0, None)
    # The median of the real lines, not of the empty paper, sets the contrast; at least 16 so that noise stays dark.
    drawn = depth[depth > 8]
    contrast = max(16.0, float(np.median(drawn))) if drawn.size else 16.0
    return _rgb(np.clip(depth / contrast * 127, 0, 255).astype(np.uint8))


def straight_lines(image: Image.Image) -> Image.Image:
    """White line segments on black, by the classical line segment detector (von Gioi et al., LSD, 2010)."""
    grey = np.asarray(image.convert("L"))
    found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(grey)[0]
    segments = np.empty((0, 4), dtype=np.float32) if found is None else found.reshape(-1, 4)
    lengths = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])
    # Walls and edges, not texture: at least a sixteenth of the short side, as M-LSD's 20 px of 256 px.
    return draw_segments(segments[lengths >= min(image.size) / 16], image.size)


def draw_segments(segments: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    canvas: NDArray[np.uint8] = np.zeros((size[1], size[0]), dtype=np.uint8)
    thickness = max(round(min(size) / 512), 1)
    for x_start, y_start, x_end, y_end in segments.round().astype(int).tolist():
        cv2.line(canvas, (x_start, y_start), (x_end, y_end), 255, thickness)
    return _rgb(canvas)


def shuffle(image: Image.Image) -> Image.Image:
    """The picture's colours and textures in other places: a smooth random warp, the same for the same picture."""
    pixels = np.asarray(image)
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(digest, "big"))
    columns = _smooth_noise(random, image.size) * (image.width - 1)
    rows = _smooth_noise(random, image.size) * (image.height - 1)
    return Image.fromarray(cv2.remap(pixels, columns, rows, cv2.INTER_LINEAR))


def _smooth_noise(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Slow waves that span 0 to 1; the grid of four cells is what makes pieces of a quarter of the picture."""
    coarse = random.random((5, 5), dtype=np.float32)
    waves = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    lowest, highest = waves.min(), waves.max()
    return ((waves - lowest) / max(highest - lowest, 1e-6)).astype(np.float32)


def blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(min(image.size) / 64))


def gray(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def low_quality(image: Image.Image) -> Image.Image:
    """A quarter of the resolution and coarse JPEG: what the restoring ControlNets learned to repair."""
    small = image.resize((max(image.width // 4, 1), max(image.height // 4, 1)), Image.Resampling.BILINEAR)
    stored = io.BytesIO()
    small.save(stored, "JPEG", quality=30)
    with Image.open(stored) as worse:
        return worse.convert("RGB").resize(image.size, Image.Resampling.BILINEAR)


def _rgb(grey: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(grey).convert("RGB")
