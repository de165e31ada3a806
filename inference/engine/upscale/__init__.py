"""Enlarges pictures with networks of the Real-ESRGAN family, tile by tile, so that memory follows the tile.

It owns the loading of such files and nothing else: which model a name means is the catalogue's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from inference.engine.errors import RenderFailed, is_out_of_memory
from inference.engine.pixels import OUTPUT_MAX_PX, check_size, has_alpha, opaque, upright, visible_colours
from inference.engine.upscale.layouts import Network, build
from inference.engine.weightfile import read_state

FACTOR_MAX = 8
# Measured: the full network at x4 takes 1.0 GB in fp32 for a tile of 232 px with margins, whatever the picture. The
# smallest tile is where margins become waste.
TILE_PX = 256
TILE_MIN_PX = 64
# What a pixel needs of its surroundings. The full network reaches farther on paper; measured beyond 16 px: 2e-8.
OVERLAP_PX = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Tile:
    """The inner rectangle that is kept, and the margins around it that are computed and thrown away."""

    left: int
    top: int
    right: int
    bottom: int
    margin_left: int
    margin_top: int
    margin_right: int
    margin_bottom: int


class Upscaler:
    """A loaded network. One call at a time: the engine thread owns the device."""

    def __init__(self, network: Network, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.network = network.to(device=device, dtype=dtype).eval()
        self.device, self.dtype = device, dtype

    @property
    def scale(self) -> int:
        """The factor the network was trained for; other factors are resized from it."""
        return self.network.scale

    def upscale(
        self,
        image: Image.Image,
        factor: int,
        tile_px: int = TILE_PX,
        overlap_px: int = OVERLAP_PX,
        on_tile: Progress | None = None,
    ) -> Image.Image:
        """The picture `factor` times as wide and high. Transparency is kept (enlarged without the network).

        `on_tile(done, total)` is called after each tile; an exception in it ends the work, which is how one cancels.
        When the device runs out of memory the work starts again with tiles of half the side.
        """
        _check(image, factor, tile_px, overlap_px)
        image = upright(image)
        pixels = np.asarray(visible_colours(image) if has_alpha(image) else opaque(image))
        while True:
            try:
                enlarged = self._enlarge(pixels, factor, tile_px, overlap_px, on_tile)
                break
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                tile_px = _smaller(tile_px, error)
        result = Image.fromarray(enlarged)
        if has_alpha(image):
            result.putalpha(image.convert("RGBA").getchannel("A").resize(result.size, Image.Resampling.LANCZOS))
        return result

    def _enlarge(
        self, pixels: NDArray[np.uint8], factor: int, tile_px: int, overlap_px: int, on_tile: Progress | None
    ) -> NDArray[np.uint8]:
        height_px, width_px = pixels.shape[:2]
        fold = self.network.unshuffle
        padded = np.pad(pixels, ((0, -height_px % fold), (0, -width_px % fold), (0, 0)), mode="edge")
        out = np.empty((padded.shape[0] * factor, padded.shape[1] * factor, 3), dtype=np.uint8)
        tiles = list(_tiles(padded.shape[1], padded.shape[0], tile_px, _aligned(overlap_px, fold), fold))
        for done, tile in enumerate(tiles, start=1):
            inner = (slice(tile.top * factor, tile.bottom * factor), slice(tile.left * factor, tile.right * factor))
            out[inner] = self._tile(padded, tile, factor)
            if on_tile is not None:
                on_tile(done, len(tiles))
        return out[: height_px * factor, : width_px * factor]

    @torch.inference_mode()
    def _tile(self, pixels: NDArray[np.uint8], tile: _Tile, factor: int) -> NDArray[np.uint8]:
        rows = slice(tile.top - tile.margin_top, tile.bottom + tile.margin_bottom)
        columns = slice(tile.left - tile.margin_left, tile.right + tile.margin_right)
        patch = torch.from_numpy(np.ascontiguousarray(pixels[rows, columns])).permute(2, 0, 1)[None]
        patch = patch.to(device=self.device, dtype=self.dtype) / 255
        enlarged = _resized(self.network(patch).float(), patch.shape[2] * factor, patch.shape[3] * factor)
        top, left = tile.margin_top * factor, tile.margin_left * factor
        height, width = (tile.bottom - tile.top) * factor, (tile.right - tile.left) * factor
        inner = enlarged[0, :, top : top + height, left : left + width]
        grey_levels = (inner.clamp(0, 1) * 255).round().to(torch.uint8)
        array: NDArray[np.uint8] = grey_levels.permute(1, 2, 0).cpu().numpy()
        return array


def load(path: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Upscaler:
    """The upscaler in this file (.safetensors or .pth). RenderFailed when it is missing or of an unknown network."""
    file = Path(path)
    return Upscaler(build(read_state(file), file), device=device, dtype=dtype)


def _check(image: Image.Image, factor: int, tile_px: int, overlap_px: int) -> None:
    if not 1 <= factor <= FACTOR_MAX:
        raise RenderFailed(code="invalid_factor", message=f"scale: {factor} is outside 1 to {FACTOR_MAX}.")
    if tile_px < TILE_MIN_PX or overlap_px < 0:
        raise RenderFailed(
            code="invalid_tile", message=f"tile_px: {tile_px} is under {TILE_MIN_PX}, or overlap_px is negative."
        )
    check_size(image.width * factor, image.height * factor, limit_px=OUTPUT_MAX_PX, what="enlarged picture")


def _smaller(tile_px: int, error: Exception) -> int:
    if tile_px // 2 < TILE_MIN_PX:
        message = f"Not enough memory on the device to enlarge even a tile of {tile_px} px."
        raise RenderFailed(code="out_of_memory", message=message, retryable=True) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return tile_px // 2


def _aligned(length_px: int, fold: int) -> int:
    return math.ceil(length_px / fold) * fold


def _tiles(width_px: int, height_px: int, tile_px: int, overlap_px: int, fold: int) -> Iterator[_Tile]:
    for top, bottom in _parts(height_px, tile_px, fold):
        for left, right in _parts(width_px, tile_px, fold):
            yield _Tile(
                left=left,
                top=top,
                right=right,
                bottom=bottom,
                margin_left=min(overlap_px, left),
                margin_top=min(overlap_px, top),
                margin_right=min(overlap_px, width_px - right),
                margin_bottom=min(overlap_px, height_px - bottom),
            )


def _parts(length_px: int, part_max_px: int, fold: int) -> Iterator[tuple[int, int]]:
    """Equal parts rather than full ones and a sliver: the sliver would be mostly margin."""
    count = math.ceil(length_px / part_max_px)
    part_px = _aligned(math.ceil(length_px / count), fold)
    for start in range(0, length_px, part_px):
        yield start, min(start + part_px, length_px)


def _resized(native: torch.Tensor, height_px: int, width_px: int) -> torch.Tensor:
    """From the network's own factor to the asked one. The grids share their origin, so tiles still meet exactly."""
    if native.shape[2:] == (height_px, width_px):
        return native
    shrinking = height_px < native.shape[2]
    return functional.interpolate(
        native, size=(height_px, width_px), mode="bicubic", antialias=shrinking, align_corners=False
    )
