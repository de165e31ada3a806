"""The operator's colours as a stylesheet: the security policy allows no inline style, so they come as a file."""

from __future__ import annotations

import re

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_FACTORS = (0.2126, 0.7152, 0.0722)


def is_colour(text: str) -> bool:
    return _HEX.fullmatch(text) is not None


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2, "relative luminance")."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(factor * value for factor, value in zip(_FACTORS, linear, strict=True))


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def stylesheet(*, accent: list[str], spark: str) -> str:
    """Custom properties that replace those of tokens.css. `accent` is one colour, or one for light and one for dark."""
    lines: list[str] = []
    if accent and all(is_colour(colour) for colour in accent):
        lines.append(f"--accent: light-dark({accent[0]}, {accent[-1]});")
        lines.append(f"--series-1: light-dark({accent[0]}, {accent[-1]});")
    if is_colour(spark):
        ink = "#1a1500" if contrast(spark, "#1a1500") >= contrast(spark, "#ffffff") else "#ffffff"
        lines.append(f"--spark: {spark}; --on-spark: {ink};")
    return ":root { " + " ".join(lines) + " }\n"


@cache_control(public=True, max_age=300)
def brand(request: HttpRequest) -> HttpResponse:
    return HttpResponse(stylesheet(accent=settings.SITE_ACCENT, spark=settings.SITE_SPARK), content_type="text/css")
