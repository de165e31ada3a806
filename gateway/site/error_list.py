"""Every error of the API as the documentation shows it: from the one table that the API itself answers with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from accounts.errors import DomainError
from gateway.api.errors import ERRORS

_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class ErrorRow:
    status: int
    code: str
    meaning: str
    fields: tuple[str, ...]


def rows() -> list[ErrorRow]:
    """By status, then by code. The last word on each is the exception's own text."""
    found = [_row(kind, answer.status, answer.shows) for kind, answer in ERRORS.items()]
    return sorted(found, key=lambda row: (row.status, row.code))


def as_markdown() -> str:
    lines = ["| Status | Code | Meaning |", "|---|---|---|"]
    lines += [f"| {row.status} | `{row.code}` | {row.meaning} |" for row in rows()]
    return "\n".join(lines)


def _row(kind: type[DomainError], status: int, shows: tuple[str, ...]) -> ErrorRow:
    text = " ".join((kind.__doc__ or "").split()).replace("|", "\\|")
    return ErrorRow(status=status, code=kind.code, meaning=_FIELD.sub(r"*\1*", text), fields=shows)
