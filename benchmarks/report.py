"""Tables for people and JSON for machines, the same numbers in both."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.utils import timezone

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should be, and what it was."""

    figure: str
    measured: float
    wanted: str
    met: bool


def at_most(figure: str, measured: float, limit: float) -> Bar:
    return Bar(figure, measured, f"at most {limit:g}", measured <= limit)


def at_least(figure: str, measured: float, limit: float) -> Bar:
    return Bar(figure, measured, f"at least {limit:g}", measured >= limit)


def bars(found: Sequence[Bar]) -> str:
    """The bars as a table, one line each."""
    return table([asdict(one) | {"met": "yes" if one.met else "NO"} for one in found])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Columns in the order of the first row's keys, numbers to the right."""
    names = list(rows[0])
    texts = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[index]) for line in texts)) for index, name in enumerate(names)]
    lines = ["  ".join(name.rjust(width) for name, width in zip(names, widths, strict=True))]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in texts]
    return "\n".join(lines)


def write(name: str, rows: Sequence[dict[str, Any]], bars: Sequence[Bar] = (), **facts: Any) -> Path:
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    about = {
        "measured_at": timezone.now().isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **facts,
    }
    file.write_text(
        json.dumps({"about": about, "bars": [asdict(one) for one in bars], "rows": list(rows)}, indent=1) + "\n"
    )
    return file


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.3g}"
        if isinstance(value, float) and value < 1000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )
