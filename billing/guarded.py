"""A guard and the rows that depend on it, in one round trip where the database can.

PostgreSQL runs all of it as one statement, so an admission is one message there and one back, and the lock of the
guarded row lives no longer than the commit. SQLite runs the same parts one after another in the caller's transaction.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection


class Guarded(enum.Enum):
    """A value that only the guard knows: the id of the row that it changed."""

    ID = enum.auto()


@dataclass(frozen=True, slots=True)
class Room:
    """Counters beside the guard: `sql` selects those with room, and all `rows` of them must have it; then the guard
    decides, and only with its consent `count_sql` counts. The guard's statement asks `(SELECT count(*) FROM room)`.
    """

    sql: str
    parameters: Sequence[Any]
    rows: int
    count_sql: str
    count_parameters: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Guard:
    """A statement that returns one row with one column `id` when it may go on, and otherwise changes nothing."""

    sql: str
    parameters: Sequence[Any] = ()
    room: Room | None = None


@dataclass(frozen=True, slots=True)
class Insert:
    """One row to be written if the guard lets it. A value may be Guarded.ID."""

    table: str
    values: Mapping[str, Any]

    def select(self) -> tuple[str, list[Any]]:
        terms = ", ".join("guard.id" if value is Guarded.ID else "%s" for value in self.values.values())
        sql = f"INSERT INTO {self.table} ({', '.join(self.values)}) SELECT {terms} FROM guard"  # noqa: S608 - our names
        return sql, [value for value in self.values.values() if value is not Guarded.ID]


ALWAYS = Guard("SELECT 1 AS id")


def run_guarded(guard: Guard, inserts: Sequence[Insert]) -> bool:
    """Whether the guard let it happen. All of it happens, or nothing does."""
    if connection.vendor == "postgresql":
        return _as_one_statement(guard, inserts)
    assert connection.in_atomic_block, "Several statements are one only inside a transaction."
    return _in_turn(guard, inserts)


def _as_one_statement(guard: Guard, inserts: Sequence[Insert]) -> bool:
    parts, parameters = _guard_parts(guard)
    for number, insert in enumerate(inserts):
        sql, values = insert.select()
        parts.append(f"row{number} AS ({sql})")
        parameters += values
    statement = f"{', '.join(parts)} SELECT id FROM guard"  # noqa: S608 - parts hold our own names and placeholders
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone() is not None


def _guard_parts(guard: Guard) -> tuple[list[str], list[Any]]:
    """The counters are locked before the guarded row, and looked at again after any wait for their locks."""
    if guard.room is None:
        return [f"WITH guard AS ({guard.sql})"], list(guard.parameters)
    room = guard.room
    parts = [
        f"WITH room AS MATERIALIZED ({room.sql} FOR UPDATE)",
        f"guard AS ({guard.sql})",
        f"counted AS ({room.count_sql} AND (SELECT count(*) FROM guard) = 1)",  # noqa: S608 - our own statements
    ]
    return parts, [*room.parameters, *guard.parameters, *room.count_parameters]


def _in_turn(guard: Guard, inserts: Sequence[Insert]) -> bool:
    with connection.cursor() as cursor:
        room = guard.room
        if room is None:
            cursor.execute(guard.sql, guard.parameters)
        else:
            cursor.execute(f"WITH room AS ({room.sql}) {guard.sql}", [*room.parameters, *guard.parameters])
        row = cursor.fetchone()
        if row is None:
            return False
        if room is not None:
            cursor.execute(room.count_sql, room.count_parameters)
        for insert in inserts:
            values = [row[0] if value is Guarded.ID else value for value in insert.values.values()]
            marks = ", ".join(["%s"] * len(values))
            sql = f"INSERT INTO {insert.table} ({', '.join(insert.values)}) VALUES ({marks})"  # noqa: S608 - our names
            cursor.execute(sql, values)
        return True
