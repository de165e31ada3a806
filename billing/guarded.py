"""A guard and the rows that depend on it, in one round trip where the database can.

PostgreSQL runs all of it as one statement, so an admission is one message there and one back, and the lock of the
guarded row lives no longer than the commit. Each connection prepares it once: to parse and plan it for every call took
half of the server's time. SQLite runs the same parts one after another in the caller's transaction.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from weakref import WeakKeyDictionary

from django.db import DataError, connection


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
    """One row to be written if the guard lets it. The column `of_guard`, if any, gets the guard's id."""

    table: str
    values: Mapping[str, Any]
    of_guard: str = ""

    @property
    def shape(self) -> tuple[str, ...]:
        """The table, the column that the guard fills, and the others in their order."""
        return self.table, self.of_guard, *self.values


@dataclass(frozen=True, slots=True)
class _Statement:
    """With psycopg's placeholders, with the server's, and the name under which the server keeps it prepared."""

    sql: str
    numbered: bytes
    name: bytes

    @classmethod
    def of(cls, sql: str) -> _Statement:
        first, *others = sql.split("%s")
        numbered = first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))
        digest = hashlib.sha256(numbered.encode()).hexdigest()
        return cls(sql, numbered.encode(), f"guarded_{digest[:32]}".encode())


ALWAYS = Guard("SELECT 1 AS id")
# Whether what is guarded is one statement here, and so a transaction of its own.
ONE_STATEMENT = connection.vendor == "postgresql"
# The names of what each connection has prepared.
_prepared: WeakKeyDictionary[Any, set[bytes]] = WeakKeyDictionary()


def run_guarded(guard: Guard, inserts: Sequence[Insert]) -> bool:
    """Whether the guard let it happen. All of it happens, or nothing does."""
    if ONE_STATEMENT:
        return _as_one_statement(guard, inserts)
    assert connection.in_atomic_block, "Several statements are one only inside a transaction."
    return _in_turn(guard, inserts)


def _as_one_statement(guard: Guard, inserts: Sequence[Insert]) -> bool:
    room = guard.room
    counting = (room.sql, room.count_sql) if room else None
    statement = _statement(guard.sql, counting, tuple(insert.shape for insert in inserts))
    parameters = [*guard.parameters] if room is None else [*room.parameters, *guard.parameters, *room.count_parameters]
    for insert in inserts:
        parameters += insert.values.values()
    pool = getattr(connection, "pool", None)
    if connection.connection is None and pool:
        return _on_lent_connection(pool, statement, parameters)
    from psycopg import Cursor  # where SQLite serves, nothing else loads the driver

    connection.ensure_connection()
    raw: Any = Cursor(connection.connection)
    with connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw) as cursor:
        cursor.execute(statement.sql, [None if value is None else _as_bytes(value).decode() for value in parameters])
        return cursor.fetchone() is not None


@functools.lru_cache(maxsize=256)
def _statement(
    guard_sql: str,
    counting: tuple[str, str] | None,
    shapes: tuple[tuple[str, ...], ...],
) -> _Statement:
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
    for number, (table, of_guard, *columns) in enumerate(shapes):
        names = ", ".join([*columns, of_guard] if of_guard else columns)
        terms = ", ".join(["%s"] * len(columns) + (["guard.id"] if of_guard else []))
        parts.append(f"row{number} AS (INSERT INTO {table} ({names}) SELECT {terms} FROM guard)")  # noqa: S608 - our names
    return _Statement.of(f"{', '.join(parts)} SELECT id FROM guard")  # noqa: S608 - parts hold our own names


def _on_lent_connection(pool: Any, statement: _Statement, parameters: Sequence[Any]) -> bool:
    """The statement as a transaction of its own, on a connection that Django's pool lends for it, by libpq's blocking
    call: one step outside the interpreter. A cursor, and what Django does around taking and returning a connection,
    cost three times as much, most of it in threads that wake each other.
    """
    with connection.wrap_database_errors:
        pool.open()  # by whoever comes first
        lent = pool.getconn()
        try:
            values = [None if value is None else _as_bytes(value) for value in parameters]
            return _run(lent, statement, values)
        finally:
            pool.putconn(lent)


def _run(lent: Any, statement: _Statement, values: list[bytes | None]) -> bool:
    """Whether a row came back. Each connection prepares the statement once, unless DATABASE_PREPARE says no."""
    from psycopg.errors import InvalidSqlStatementName

    server = lent.pgconn
    if lent.prepare_threshold is None:
        return _rows(lent, server.exec_params, statement.numbered, values) > 0
    known = _prepared.setdefault(lent, set())
    if statement.name in known:
        try:
            return _rows(lent, server.exec_prepared, statement.name, values) > 0
        except InvalidSqlStatementName:  # the server was told to forget what it had prepared
            known.clear()
    _rows(lent, server.prepare, statement.name, statement.numbered)
    known.add(statement.name)
    return _rows(lent, server.exec_prepared, statement.name, values) > 0


def _rows(lent: Any, ask: Callable[..., Any], *arguments: Any) -> int:
    """Rows of the answer to one of libpq's calls. Raises psycopg's errors."""
    from psycopg.errors import OperationalError, error_from_result
    from psycopg.pq import ConnStatus, ExecStatus

    try:
        answer = ask(*arguments)
    except MemoryError:  # how the driver tells that nothing could be sent
        answer = None
    if answer is None or lent.pgconn.status != ConnStatus.OK:
        raise OperationalError(lent.pgconn.get_error_message())
    if answer.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise error_from_result(answer)
    rows: int = answer.ntuples
    return rows


def _as_bytes(value: Any) -> bytes:
    """As text, whose type the server takes from the column: one prepared statement serves every size of number, and
    nothing looks up how to write each. Raises DataError."""
    kind = type(value)
    if kind is str:
        text: bytes = value.encode()
        if b"\0" in text:  # libpq would end the text there
            raise DataError("A text cannot hold a NUL character.")
        return text
    if kind is bool:
        return b"t" if value else b"f"
    if kind is int:
        return b"%d" % value
    moment: date = value
    return moment.isoformat().encode()


def _in_turn(guard: Guard, inserts: Sequence[Insert]) -> bool:
    with connection.cursor() as cursor:
        room = guard.room
        if room is None:
            cursor.execute(guard.sql, _adapted(guard.parameters))
        else:
            cursor.execute(f"WITH room AS ({room.sql}) {guard.sql}", _adapted([*room.parameters, *guard.parameters]))
        row = cursor.fetchone()
        if row is None:
            return False
        if room is not None:
            cursor.execute(room.count_sql, _adapted(room.count_parameters))
        for insert in inserts:
            values = {**insert.values, **({insert.of_guard: row[0]} if insert.of_guard else {})}
            marks = ", ".join(["%s"] * len(values))
            sql = f"INSERT INTO {insert.table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608 - our names
            cursor.execute(sql, _adapted(values.values()))
        return True


def _adapted(values: Iterable[Any]) -> list[Any]:
    """Days and moments as the database's columns hold them."""
    adapted = []
    for value in values:
        if isinstance(value, datetime):
            value = connection.ops.adapt_datetimefield_value(value)
        elif isinstance(value, date):
            value = connection.ops.adapt_datefield_value(value)
        adapted.append(value)
    return adapted
