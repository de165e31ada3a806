"""The samples of the documentation's pages: files of docs/site/samples/<page>/, one per language. A test runs them all.

`[[samples]]` in a page stands for the first call, `[[samples:<page>]]` for that page's files.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.template.loader import render_to_string

from gateway.site.samples import Sample, samples

FOLDER = Path(settings.BASE_DIR) / "docs" / "site" / "samples"
MARK = re.compile(r"\[\[samples(?::([a-z-]+))?\]\]")
# Language, label, and the files that may hold it, the best first: what runs in a browser runs in Node as well.
FILES = (
    ("curl", "cURL", ("curl.sh",)),
    ("python", "Python", ("python.py",)),
    ("javascript", "JavaScript", ("javascript.js",)),
    ("php", "PHP", ("php.php",)),
    ("node", "Node", ("node.mjs", "javascript.js")),
)
FENCES = {"curl": "sh", "node": "javascript"}


@functools.cache
def _texts(name: str) -> tuple[tuple[str, str, str], ...]:
    found = []
    for key, label, files in FILES:
        file = next(path for path in (FOLDER / name / file for file in files) if path.exists())
        text = file.read_text().rstrip("\n")
        found.append((key, "Shell" if key == "curl" and "curl " not in text else label, text))
    return tuple(found)


def samples_of(name: str, *, base_url: str) -> list[Sample]:
    """The samples of one page, in the order of the tabs; an empty name is the first call."""
    if not name:
        return samples(base_url=base_url, key="$API_KEY")
    return [Sample(key, label, text.replace("{{base_url}}", base_url)) for key, label, text in _texts(name)]


def as_tabs(name: str, *, base_url: str) -> str:
    context = {"id": name or "first", "samples": samples_of(name, base_url=base_url)}
    return render_to_string("components/code_tabs.html", context)


def as_fences(name: str, *, base_url: str) -> str:
    parts = [
        f"### {sample.label}\n\n```{FENCES.get(sample.key, sample.key)}\n{sample.text}\n```"
        for sample in samples_of(name, base_url=base_url)
    ]
    return "\n\n".join(parts)


def filled(text: str, base_url: str, write: Callable[..., str]) -> str:
    """`text` with every mark replaced by what `write` (as_tabs or as_fences) makes of it."""
    return MARK.sub(lambda found: write(found[1] or "", base_url=base_url), text)
