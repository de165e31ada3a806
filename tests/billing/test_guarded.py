"""A guard and its rows as one statement of libpq: what PostgreSQL keeps prepared, and what it may answer."""

from __future__ import annotations

from datetime import UTC, date, datetime

import psycopg
import pytest
from django.db import DataError, IntegrityError, OperationalError, connection, transaction

from billing.guarded import ALWAYS, Guard, Insert, run_guarded

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

TABLE = "billing_test_guarded"
MOMENT = datetime(2026, 3, 31, 23, 59, 59, 999_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def table(monkeypatch):
    """Over a pool of one connection, so that what it has prepared can be looked at."""
    connection.close()
    connection.close_pool()
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", {"min_size": 1, "max_size": 1, "timeout": 10})
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {TABLE} (number bigint PRIMARY KEY, text text, day date, moment timestamptz,"
            " truth boolean, guard int)"
        )
    connection.close()
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")
    connection.close()
    connection.close_pool()


@pytest.fixture(params=["lent", "held"])
def on(request):
    """On a connection that the pool lends, or on the one that this thread holds."""
    if request.param == "held":
        connection.ensure_connection()
    else:
        connection.close()
    return request.param


def insert(number: int, *, of_guard: str = "", **values: object) -> Insert:
    return Insert(TABLE, {"number": number, **values}, of_guard=of_guard)


def rows(columns: str = "number") -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {TABLE} ORDER BY number")
        found = cursor.fetchall()
    connection.close()
    return found


def prepared() -> list[str]:
    """Names of what the pool's connection has prepared for us."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'guarded_%'")
        names = [name for (name,) in cursor.fetchall()]
    connection.close()
    return names


def database_url() -> str:
    known = connection.get_connection_params()
    return f"postgres://{known['user']}:{known['password']}@{known['host']}:{known['port']}/{known['dbname']}"


def server_says(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()


def test_every_kind_of_value_arrives_as_it_is(on):
    new = insert(2**53 + 1, text='Ä "%s" {}', day=date(2026, 2, 28), moment=MOMENT, truth=True, of_guard="guard")
    assert run_guarded(Guard("SELECT %s::int AS id", [7]), [new])
    assert run_guarded(ALWAYS, [insert(2**53 + 2, text=None, truth=False)])
    assert rows("number, text, day, moment, truth, guard") == [
        (2**53 + 1, 'Ä "%s" {}', date(2026, 2, 28), MOMENT, True, 7),
        (2**53 + 2, None, None, None, False, None),
    ]


def test_without_the_guards_consent_nothing_is_written(on):
    assert not run_guarded(Guard("SELECT 1 AS id WHERE %s > 5", [5]), [insert(1)])
    assert rows() == []


def test_a_row_twice_is_an_integrity_error_and_the_connection_stays_sound(on):
    assert run_guarded(ALWAYS, [insert(1)])
    with pytest.raises(IntegrityError, match="billing_test_guarded"):
        run_guarded(ALWAYS, [insert(2), insert(1)])
    assert run_guarded(ALWAYS, [insert(3)])
    assert rows() == [(1,), (3,)]


def test_a_nul_character_is_refused_and_never_ends_a_text(on):
    with pytest.raises(DataError, match="NUL"):
        run_guarded(ALWAYS, [insert(1, text="half\0lost")])
    assert rows() == []


def test_a_transaction_that_is_rolled_back_takes_it_along():
    with transaction.atomic():
        assert run_guarded(ALWAYS, [insert(1)])
        transaction.set_rollback(True)
    assert rows() == []


def test_a_statement_is_prepared_once_and_again_when_it_was_forgotten():
    connection.close()
    for number in (1, 2, 3):
        assert run_guarded(ALWAYS, [insert(number)])
    assert len(prepared()) == 1
    server_says("DEALLOCATE ALL")
    assert run_guarded(ALWAYS, [insert(4)])
    assert len(prepared()) == 1
    assert rows() == [(1,), (2,), (3,), (4,)]


def test_nothing_is_prepared_where_connections_pass_from_hand_to_hand(monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        monkeypatch.setattr(cursor.connection, "prepare_threshold", None)
    connection.close()
    assert run_guarded(ALWAYS, [insert(1)])
    assert prepared() == []
    assert rows() == [(1,)]


def test_a_connection_that_was_cut_is_an_operational_error_and_the_next_one_works():
    connection.ensure_connection()
    victim = connection.connection.info.backend_pid
    connection.close()
    with psycopg.connect(database_url(), autocommit=True, connect_timeout=5) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [victim])
    with pytest.raises(OperationalError):
        run_guarded(ALWAYS, [insert(1)])
    assert run_guarded(ALWAYS, [insert(2)])
    assert rows() == [(2,)]
