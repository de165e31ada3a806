"""Classical work on a found mask: cleaning it, refining its border to fractions, and freeing colours of background.

Pure functions on arrays: alpha is float32 in 0..1, colours are uint8 RGB.
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Alpha: TypeAlias = NDArray[np.float32]
Colours: TypeAlias = NDArray[np.uint8]

# The filter's coefficients are smooth, so they are found on at most this many pixels and enlarged (arXiv 1505.00996).
FILTER_MAX_PX = 512 * 512
FILTER_EPSILON = 1e-5
# What a doubtful pixel's guess counts beside a certain one's.
DOUBT_WEIGHT = 0.001
# Radii of the two passes of blur fusion, as its authors give them (Forte, "Approximate fast foreground colour
# estimation", ICIP 2021): far for large unknown areas, near for detail.
FUSION_RADII_PX = (90, 6)
# Islands and holes under this share of the subject's area are noise.
SPECK_SHARE = 0.01


def clean(alpha: Alpha) -> Alpha:
    """A firm mask: specks and pinholes gone, the edge smoothed over about two pixels."""
    firm = (alpha > 0.5).astype(np.uint8)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    firm = cv2.morphologyEx(firm, cv2.MORPH_OPEN, ellipse)
    smallest = SPECK_SHARE * max(int(firm.sum()), 1)
    firm = _without_specks(firm, smallest)
    firm = 1 - _without_specks(1 - firm, smallest)
    return cv2.GaussianBlur(firm.astype(np.float32), (0, 0), 1.0).clip(0, 1)


def refine(colours: Colours, alpha: Alpha, *, foreground: int, background: int, erode_px: int) -> Alpha:
    """Fractions of cover along the border, guided by the colours of the picture.

    Pixels above `foreground` (of 255) are certainly subject and those below `background` certainly not, each eroded by
    `erode_px`; what is left between is recomputed, what is certain becomes 1 or 0.
    """
    levels = alpha * 255
    sure = _eroded(levels > foreground, erode_px)
    outside = _eroded(levels < background, erode_px)
    guess = np.where(sure, 1.0, np.where(outside, 0.0, alpha)).astype(np.float32)
    fine = _guided(colours, guess, (sure | outside).astype(np.float32))
    return np.where(sure, 1.0, np.where(outside, 0.0, fine)).astype(np.float32)


def foreground_colours(colours: Colours, alpha: Alpha) -> Colours:
    """The subject's own colours at its border, where the picture shows a mixture with the background."""
    picture = colours.astype(np.float32) / 255
    cover = alpha[..., None]
    front = back = picture
    for radius in FUSION_RADII_PX:
        front, back = _fuse(picture, front, back, cover, radius)
    return (front.clip(0, 1) * 255).round().astype(np.uint8)


def _fuse(
    picture: NDArray[np.float32], front: NDArray[np.float32], back: NDArray[np.float32], cover: Alpha, radius: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    window = (2 * radius + 1, 2 * radius + 1)
    blurred_cover = cv2.blur(cover[..., 0], window)[..., None]
    near_front = cv2.blur(front * cover, window) / (blurred_cover + 1e-5)
    near_back = cv2.blur(back * (1 - cover), window) / (1 - blurred_cover + 1e-5)
    fitted = near_front + cover * (picture - cover * near_front - (1 - cover) * near_back)
    return fitted.clip(0, 1), near_back


def _guided(colours: Colours, guess: Alpha, known: Alpha) -> Alpha:
    """The guided filter with colour guide (He et al., "Guided image filtering", 2010), coefficients found small.

    Its windows reach from any doubtful pixel to certain ones, and doubtful guesses hardly count: so the border is
    where the colours change, not where the network thought.
    """
    height, width = guess.shape
    scale = min(1.0, (FILTER_MAX_PX / (height * width)) ** 0.5)
    small = (max(round(width * scale), 1), max(round(height * scale), 1))
    guide, rough, trust = (cv2.resize(array, small, interpolation=cv2.INTER_AREA) for array in (colours, guess, known))
    slope, offset = _coefficients(guide.astype(np.float32) / 255, rough, trust, _reach(trust))
    slope = cv2.resize(slope, (width, height), interpolation=cv2.INTER_LINEAR)
    offset = cv2.resize(offset, (width, height), interpolation=cv2.INTER_LINEAR)
    fine = (slope * (colours.astype(np.float32) / 255)).sum(axis=2) + offset
    return fine.clip(0, 1).astype(np.float32)


def _reach(trust: Alpha) -> int:
    """The radius from which every doubtful pixel sees certain ones on either side of the border."""
    distance = cv2.distanceTransform((trust < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    return int(np.clip(2 * float(distance.max()) + 2, 3, min(trust.shape) // 4 + 3))


def _coefficients(
    guide: NDArray[np.float32], guess: Alpha, trust: Alpha, radius: int
) -> tuple[NDArray[np.float32], Alpha]:
    """In each window: the colours' linear function that comes closest to the guess, as slope and offset."""
    window = (2 * radius + 1, 2 * radius + 1)
    weights = trust + DOUBT_WEIGHT
    total = cv2.blur(weights, window)

    def mean(array: NDArray[np.float32]) -> NDArray[np.float32]:
        weighted = array * weights.reshape(*guess.shape, *[1] * (array.ndim - 2))
        return cv2.blur(weighted, window).reshape(array.shape) / total.reshape(*guess.shape, *[1] * (array.ndim - 2))

    guide_mean, guess_mean = mean(guide), mean(guess)
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*guess.shape, 9)
    spread = np.stack([mean(products[..., place]) for place in range(9)], axis=-1).reshape(*guess.shape, 3, 3)
    spread = spread - guide_mean[..., :, None] * guide_mean[..., None, :] + FILTER_EPSILON * np.eye(3, dtype=np.float32)
    together = mean(guide * guess[..., None]) - guide_mean * guess_mean[..., None]
    slope = np.linalg.solve(spread, together[..., None])[..., 0].astype(np.float32)
    offset = guess_mean - (slope * guide_mean).sum(axis=2)
    # A window that sees one side only knows nothing of the border: it must not pull the others to 0 or 1.
    telling = guess_mean * (1 - guess_mean) + 1e-4
    share = cv2.blur(telling, window)
    return cv2.blur(slope * telling[..., None], window) / share[..., None], cv2.blur(offset * telling, window) / share


def _eroded(area: NDArray[np.bool_], erode_px: int) -> NDArray[np.bool_]:
    if erode_px < 1:
        return area
    square: NDArray[np.uint8] = np.ones((2 * erode_px + 1, 2 * erode_px + 1), dtype=np.uint8)
    return cv2.erode(area.astype(np.uint8), square, borderType=cv2.BORDER_REPLICATE).astype(bool)


def _without_specks(firm: NDArray[np.uint8], smallest_px: float) -> NDArray[np.uint8]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(firm, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= smallest_px
    large[0] = False
    return large[labels].astype(np.uint8)
