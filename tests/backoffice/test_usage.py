"""Usage over all accounts: filters in the address, the span before, the CSV, and the same sums as the ledger."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import EntryKind, LedgerEntry, UsageBucket, UsageHouseDay
from billing.usage_days import house_fold
from tests.backoffice.test_home import NOON, paid_call
from tests.conftest import Member


@pytest.fixture
def two_spans(payer: Member, charlie: Member) -> None:
    for days, member in ((1, payer), (1, charlie), (2, payer), (9, payer)):
        with time_machine.travel(NOON - timedelta(days=days), tick=False):
            paid_call(member)


@pytest.fixture
def at_noon(two_spans: None) -> Iterator[None]:
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.mark.usefixtures("at_noon")
class TestUsage:
    def test_its_sum_is_the_ledgers_to_the_micro_dollar(self, as_owner: Client) -> None:
        context = as_owner.get("/console/usage?range=30d&prove=1").context
        taken = -LedgerEntry.objects.filter(kind=EntryKind.CAPTURE).aggregate(t=Sum("amount_microusd"))["t"]
        assert context["ledger"] == {"amount_microusd": taken, "equal": True}
        assert sum(row["amount_microusd"] for row in context["table"]) == taken > 0

    def test_a_bucket_that_differs_from_the_ledger_is_told(self, as_owner: Client) -> None:
        UsageBucket.objects.filter(amount_microusd__gt=0).update(amount_microusd=1)
        assert "Not the ledger" in as_owner.get("/console/usage?range=30d&prove=1").content.decode()

    def test_it_compares_with_the_span_before(self, as_owner: Client, alice: Member) -> None:
        rows = as_owner.get("/console/usage?range=7d&group=account").context["table"]
        row = next(row for row in rows if row["value"] == alice.account.pk)
        assert (row["calls"], row["calls_change"]) == (2, "+100\N{NO-BREAK SPACE}%")

    @pytest.mark.parametrize(
        ("query", "calls"),
        [
            ("", 4),
            ("&model=demo", 4),
            ("&model=none", 0),
            ("&source=free_day", 1),
            ("&status=failed", 0),
            ("&key=x", 0),
        ],
    )
    def test_filters_stand_in_the_address(self, as_owner: Client, query: str, calls: int) -> None:
        table = as_owner.get(f"/console/usage?range=30d&group=plan{query}").context["table"]
        assert sum(row["calls"] for row in table) == calls

    def test_fields_offer_what_they_can_hold(self, as_owner: Client) -> None:
        known = as_owner.get("/console/usage").context["known"]
        assert "payg" in known["plan"]
        assert known["status"] == ["succeeded", "failed", "cancelled"]
        assert "free_day" in known["source"]

    def test_every_dimension_step_and_measure_can_be_shown(self, as_owner: Client) -> None:
        for group in ("model", "plan", "account", "key", "endpoint", "status", "source"):
            for step, metric in (("hour", "money"), ("day", "run"), ("day", "errors")):
                url = f"/console/usage?range=7d&group={group}&step={step}&metric={metric}"
                answer = as_owner.get(url)
                assert answer.status_code == 200
                assert len(answer.context["chart"]["data"]) == 3

    def test_the_chart_lays_the_span_before_over_this_one(self, as_owner: Client) -> None:
        chart = as_owner.get("/console/usage?range=7d&metric=calls&step=day").context["chart"]
        assert (sum(chart["data"][1]), sum(chart["data"][2])) == (3, 1)

    def test_the_csv_has_the_same_rows_and_neutralises_formulas(self, as_owner: Client) -> None:
        UsageBucket.objects.filter(bucket__lt=NOON - timedelta(days=8)).update(model_id="=cmd()")
        answer = as_owner.get("/console/usage.csv?range=30d")
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        rows = list(csv.DictReader(text.splitlines()))
        assert sum(int(row["calls"]) for row in rows) == 4
        assert {row["model_id"] for row in rows} == {"demo", "'=cmd()"}
        filtered = as_owner.get("/console/usage.csv?range=30d&model=demo")
        assert len(b"".join(filtered.streaming_content).splitlines()) == len(rows)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        "path", ["/console/usage?range=30d&group=account", "/console/usage?range=7d&status=failed"]
    )
    def test_folded_days_give_the_same_page(self, as_owner: Client, path: str) -> None:
        def shown() -> tuple[object, ...]:
            context = as_owner.get(path).context
            return context["cards"], context["chart"]["data"], context["table"]

        before = shown()
        assert house_fold(now=NOON) > 0
        assert UsageHouseDay.objects.exists()
        assert shown() == before
        assert house_fold(now=NOON) == 0
        UsageHouseDay.objects.update(calls=1000)
        assert shown() != before or "failed" in path

    def test_folded_days_give_the_same_first_screen(self, as_owner: Client) -> None:
        def shown() -> tuple[object, ...]:
            context = as_owner.get("/console").context
            return context["money"], context["calls"], context["customers"], context["models"]

        before = shown()
        house_fold(now=NOON)
        assert shown() == before
        with CaptureQueriesContext(connection) as asked:
            assert shown() == before
        # The ended days that the spans cut are remembered: of the quarters only today's are read.
        quarters = [query["sql"] for query in asked if "billing_usagebucket" in query["sql"] and "SUM" in query["sql"]]
        assert quarters
        assert not any("2026-06-10" in query for query in quarters)

    def test_it_asks_few_queries(self, as_owner: Client) -> None:
        as_owner.get("/console/usage")
        with CaptureQueriesContext(connection) as asked:
            as_owner.get("/console/usage?range=30d&group=key")
        assert len(asked) <= 14


def test_days_are_utc(as_owner: Client, payer: Member) -> None:
    with time_machine.travel(datetime(2026, 6, 17, 23, 59, tzinfo=UTC), tick=False):
        paid_call(payer)
    with time_machine.travel(datetime(2026, 6, 18, 0, 30, tzinfo=UTC), tick=False):
        chart = as_owner.get("/console/usage?range=7d&metric=calls&step=day").context["chart"]
    assert chart["data"][1][-2:] == [1, 0]
