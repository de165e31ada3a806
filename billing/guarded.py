"""A guard and the rows that depend on it, in one round trip where the database can.

PostgreSQL runs all of it as one statement, so an admission is one message there and one back, and the lock of the
guarded row lives no longer than the commit. Each connection prepares it once: to parse and plan it for every call took
half of the server's time. SQLite runs the same parts one after another in the caller's transaction.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
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

    @property
    def shape(self) -> tuple[str, tuple[tuple[str, bool], ...]]:
        """The table and its columns, and which of them the guard fills."""
        return self.table, tuple((column, value is Guarded.ID) for column, value in self.values.items())

    @property
    def parameters(self) -> list[Any]:
        return [value for value in self.values.values() if value is not Guarded.ID]


ALWAYS = Guard("SELECT 1 AS id")


def run_guarded(guard: Guard, inserts: Sequence[Insert]) -> bool:
    """Whether the guard let it happen. All of it happens, or nothing does."""
    if connection.vendor == "postgresql":
        return _as_one_statement(guard, inserts)
    assert connection.in_atomic_block, "Several statements are one only inside a transaction."
    return _in_turn(guard, inserts)


def _as_one_statement(guard: Guard, inserts: Sequence[Insert]) -> bool:
    room = guard.room
    counting = (room.sql, room.count_sql) if room else None
    statement = _statement(guard.sql, counting, tuple(insert.shape for insert in inserts))
    parameters = [*guard.parameters] if room is None else [*room.parameters, *guard.parameters, *room.count_parameters]
    for insert in inserts:
        parameters += insert.parameters
    with _preparing_cursor() as cursor:
        cursor.execute(statement, [_as_text(value) for value in parameters])
        return cursor.fetchone() is not None


@functools.lru_cache(maxsize=256)
def _statement(
    guard_sql: str,
    counting: tuple[str, str] | None,
    shapes: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...],
) -> str:
    """The counters are locked before the guarded row, and looked at again after any wait for their locks."""
    if counting is None:
        parts = [f"WITH guard AS ({guard_sql})"]
    else:
        room_sql, count_sql = counting
        parts = [
            f"WITH room AS MATERIALIZED ({room_sql} FOR UPDATE)",
            f"guard AS ({guard_sql})",
            f"counted AS ({count_sql} AND (SELECT count(*) FROM guard) = 1)",  # noqa: S608 - our own statements
        ]
    for number, (table, columns) in enumerate(shapes):
        names = ", ".join(name for name, _ in columns)
        terms = ", ".join("guard.id" if guarded else "%s" for _, guarded in columns)
        parts.append(f"row{number} AS (INSERT INTO {table} ({names}) SELECT {terms} FROM guard)")  # noqa: S608 - our names
    return f"{', '.join(parts)} SELECT id FROM guard"  # noqa: S608 - parts hold our own names and placeholders


@contextmanager
def _preparing_cursor() -> Iterator[Any]:
    """A cursor whose statements the server keeps prepared, unless DATABASE_PREPARE says no. Django's own binds the
    values into the text, which the server then reads anew each time.

    A connection that this thread holds already is used. Otherwise one is borrowed from Django's pool, and returned with
    the statement's end: what Django does around taking and returning one costs a third of the statement.
    """
    from psycopg import Cursor  # where SQLite serves, nothing else loads the driver

    raw: Any
    pool = getattr(connection, "pool", None)
    if connection.connection is None and pool:
        with connection.wrap_database_errors:
            pool.open()  # by whoever comes first
            raw = pool.getconn()
            try:
                with Cursor(raw) as cursor:
                    yield cursor
            finally:
                pool.putconn(raw)
        return
    connection.ensure_connection()
    raw = Cursor(connection.connection)
    with connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw) as cursor:
        yield cursor


def _as_text(value: Any) -> Any:
    """Numbers and moments as text, whose type the server takes from the column: one prepared statement serves every
    size of number, and nothing looks up how to write each."""
    kind = type(value)
    if kind is int:
        return str(value)
    return value.isoformat() if issubclass(kind, date) else value


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
