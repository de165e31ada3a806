"""Search in the documentation, without a service or a script: every section of every page, by the words asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

WORDS_MAX = 6
FOUND_MAX = 20
EXCERPT_CHARS = 180
_HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
_BLOCKS = re.compile(r"```.*?```|\[\[.*?\]\]|[|>]|-{3,}|^- ", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"[`*]|\]\([^)]*\)|\[")


@dataclass(frozen=True, slots=True)
class Hit:
    """A section that holds every word. `score` counts them, those of headings ten times."""

    url: str
    page: str
    section: str
    excerpt: str
    score: int


def search(query: str, texts: Iterable[tuple[str, str, str]]) -> list[Hit]:
    """`texts` are address, title and markdown of each page. The best first, at most FOUND_MAX."""
    words = query.lower().split()[:WORDS_MAX]
    if not words:
        return []
    hits = [hit for url, title, text in texts for hit in _in_page(words, url, title, text)]
    return sorted(hits, key=lambda hit: (-hit.score, hit.page, hit.section))[:FOUND_MAX]


def _in_page(words: list[str], url: str, title: str, text: str) -> Iterable[Hit]:
    parts = _HEADING.split(text)
    for section, body in zip(parts[1::2], parts[2::2], strict=True):
        plain = " ".join(_INLINE.sub("", _BLOCKS.sub(" ", body)).split())
        heading, low = f"{title} {section}".lower(), f"{section} {plain}".lower()
        if all(word in low or word in heading for word in words):
            score = sum(low.count(word) + 10 * heading.count(word) for word in words)
            anchor = "" if section == parts[1] else f"#{anchor_of(section)}"
            yield Hit(url + anchor, title, section, _excerpt(plain, words), score)


def anchor_of(heading: str) -> str:
    """As the table of contents of the markdown library names a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _excerpt(plain: str, words: list[str]) -> str:
    """Whole words around the first one found."""
    at = min((found for word in words if (found := plain.lower().find(word)) >= 0), default=0)
    start = plain.rfind(" ", 0, max(0, at - EXCERPT_CHARS // 3)) + 1
    end = start + EXCERPT_CHARS
    if end < len(plain):
        end = max(plain.rfind(" ", start, end), at)
    return f"{'… ' if start else ''}{plain[start:end]}{' …' if end < len(plain) else ''}"
