"""Writes the README's table of settings from .env.example, which explains each one. A test holds the two together."""

from __future__ import annotations

import re
import sys

from tools.environment import ROOT
from tools.problems import exit_with_sentence

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def table(example: str) -> str:
    """One row per setting; the comment lines right above it are its meaning, a ruled comment opens a section."""
    rows: list[str] = []
    meaning: list[str] = []
    for line in example.splitlines():
        section = re.fullmatch(r"# --- (.*?) -+", line)
        setting = re.fullmatch(r"#?([A-Z][A-Z0-9_]*)=(.*)", line)
        if section:
            rows.append(f"\n**{section[1]}**\n\n| Setting | Default | Meaning |\n| --- | --- | --- |")
        elif setting:
            default = f"`{setting[2]}`" if setting[2] else ""
            rows.append(f"| `{setting[1]}` | {default} | {' '.join(meaning)} |")
        meaning = [*meaning, line[2:]] if line.startswith("# ") and not section else []
    return "\n".join(rows).strip()


def with_table(readme: str, example: str) -> str:
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(example)}\n{END}{tail}"


def main() -> int:
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(), (ROOT / ".env.example").read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(exit_with_sentence(main))
