"""Lays labelled pictures out on one page. It knows nothing of engines: a cell is a caption and a picture, or a text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, CHECK = "#f6f6f4", "#1d2129", "#6b7280", ("#ffffff", "#d9dce1")
GAP_PX, CAPTION_PX, TITLE_PX = 16, 34, 56


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`image` None shows `text` in its place, which is how a failure is shown. `text` else stands under the caption."""

    caption: str
    image: Image.Image | None = None
    text: str = ""


def contact_sheet(title: str, cells: Sequence[Cell], *, columns: int = 4, side_px: int = 256) -> Image.Image:
    """Pictures are fitted into squares of `side_px`; small ones are enlarged by whole factors: pixels stay pixels."""
    rows = -(-len(cells) // columns)
    width = columns * (side_px + GAP_PX) + GAP_PX
    height = TITLE_PX + rows * (side_px + CAPTION_PX + GAP_PX) + GAP_PX
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((GAP_PX, TITLE_PX / 2), title, font=ImageFont.load_default(24), fill=INK, anchor="lm")
    for place, cell in enumerate(cells):
        left = GAP_PX + place % columns * (side_px + GAP_PX)
        top = TITLE_PX + place // columns * (side_px + CAPTION_PX + GAP_PX)
        _cell(page, cell, left, top, side_px)
    return page


def _cell(page: Image.Image, cell: Cell, left: int, top: int, side_px: int) -> None:
    draw, small = ImageDraw.Draw(page), ImageFont.load_default(12)
    if cell.image is None:
        draw.rectangle((left, top, left + side_px, top + side_px), outline=FAINT)
        words = textwrap.fill(cell.text, width=max(side_px // 7, 8))
        draw.multiline_text((left + 10, top + 10), words, font=small, fill=FAINT, spacing=5)
    else:
        shown = _fitted(cell.image, side_px)
        page.paste(shown, (left + (side_px - shown.width) // 2, top + (side_px - shown.height) // 2))
    fits = max(side_px // 6, 8)
    draw.text((left, top + side_px + 4), textwrap.shorten(cell.caption, fits), font=small, fill=INK)
    if cell.image is not None and cell.text:
        draw.text((left, top + side_px + 18), textwrap.shorten(cell.text, fits), font=small, fill=FAINT)


def _fitted(image: Image.Image, side_px: int) -> Image.Image:
    """On a checkered ground where the picture is transparent."""
    scale = side_px / max(image.size)
    scale = max(int(scale), 1) if scale >= 1 else scale
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    if "A" not in image.getbands():
        return image.convert("RGB").resize(size, method)
    ground = Image.new("RGB", size, CHECK[0])
    draw = ImageDraw.Draw(ground)
    for y in range(0, size[1], 12):
        for x in range(y // 12 % 2 * 12, size[0], 24):
            draw.rectangle((x, y, x + 11, y + 11), fill=CHECK[1])
    layer = image.convert("RGBA").resize(size, method)
    ground.paste(layer, mask=layer.getchannel("A"))
    return ground
