"""Fills the parts' tables and times their pages. Imports Django: the environment must name the database before."""

from __future__ import annotations

import statistics
import time
from typing import Any

import django
import psycopg
from django.core.management import call_command

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts.models import User  # noqa: E402
from benchmarks.dashboards.part import Cast, Page, Part  # noqa: E402
from benchmarks.dashboards.parts import PARTS  # noqa: E402
from gateway.services import account_open  # noqa: E402


def measure(database_url: str, names: list[str], rows: int, repeats: int) -> list[dict[str, Any]]:
    call_command("migrate", verbosity=0)
    call_command("catalogue_load", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    cast = make_cast()
    measured = []
    for part in PARTS:
        if names and part.name not in names:
            continue
        count = rows or part.rows
        with psycopg.connect(database_url, autocommit=True) as filling:
            part.fill(filling, cast, count)
            filling.execute("CHECKPOINT")
        measured += [time_page(page, part, count, repeats) for page in part.pages(cast)]
    return measured


def make_cast() -> Cast:
    people = [
        User.objects.create(email=f"{name}@example.org", is_staff=name == "staff") for name in ("reader", "staff")
    ]
    account, _ = account_open(owner=people[0], now=timezone.now(), plan_code="payg")
    return Cast(account_id=account.pk, customer=people[0].email, staff=people[1].email)


def time_page(page: Page, part: Part, rows: int, repeats: int) -> dict[str, Any]:
    client = reader_of(page)
    queries = 0

    def count(execute: Any, *arguments: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(*arguments)

    with connection.execute_wrapper(count):
        first_ms, size_bytes = ask(client, page)
    times_ms = [ask(client, page)[0] for _ in range(repeats)]
    return {
        "page": page.name,
        "rows": rows if part.rows else 0,
        "first ms": first_ms,
        "p50 ms": statistics.median(times_ms),
        "p95 ms": statistics.quantiles(times_ms, n=20, method="inclusive")[18],
        "bar ms": page.budget_ms,
        "queries": queries,
        "kB": size_bytes / 1000,
    }


def reader_of(page: Page) -> Client:
    client = Client(SERVER_NAME=settings.ALLOWED_HOSTS[0])
    if page.reader is not None:
        client.force_login(User.objects.get(email=page.reader))
    return client


def ask(client: Client, page: Page) -> tuple[float, int]:
    """Milliseconds and bytes of one answer."""
    began = time.perf_counter()
    answer = client.get(page.path)
    size_bytes = len(answer.getvalue())
    took_ms = (time.perf_counter() - began) * 1000
    if answer.status_code != 200:
        raise RuntimeError(f"{page.path} answered {answer.status_code}")
    return took_ms, size_bytes
