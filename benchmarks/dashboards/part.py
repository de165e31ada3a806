"""What a part of the dashboards' benchmark is: rows to begin with, and the pages that are then timed over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psycopg import Connection


@dataclass(frozen=True, slots=True)
class Cast:
    """Who looks at the pages: a customer with an account, and a person of the staff (both by e-mail address)."""

    account_id: int
    customer: str
    staff: str


@dataclass(frozen=True, slots=True)
class Page:
    """An address as one of the cast opens it; nobody is a visitor. Its p95 should stay within `budget_ms`."""

    name: str
    path: str
    reader: str | None = None
    budget_ms: int = 200


@dataclass(frozen=True, slots=True)
class Part:
    """`fill` writes `rows` rows by statements on the server; `pages` names what is timed over them."""

    name: str
    rows: int
    fill: Callable[[Connection, Cast, int], None]
    pages: Callable[[Cast], list[Page]]
