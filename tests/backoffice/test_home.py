"""The console's first screen: sums that are the ledger's, spans against those before them, and what needs somebody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.staff import StaffRole
from billing.models import Dispute, EntryKind, LedgerEntry
from gateway.backoffice.figures import Sums, calls_over, compared, gpu_cost_microusd, spans, top
from gateway.backoffice.home import change_text
from gateway.caching import caches_clear
from gateway.models import AuditRun, FeatureOff, WebhookReceiver
from gateway.services import generation_settle
from inference.services import worker_seen
from tests.backoffice.conftest import AsStaff
from tests.conftest import Member
from tests.support.money import fund, move_to
from tests.support.orders import delivered, failed, place

NOON = datetime(2026, 6, 17, 12, 7, tzinfo=UTC)


def report(**changes: Any) -> dict[str, Any]:
    return {"state": "idle", "slots": 1, "cost_microusd_per_hour": 3_600_000, **changes}


def paid_call(member: Member, **changes: Any) -> None:
    generation = place(member, **changes).generation
    generation_settle(generation_id=generation.pk, result=delivered(generation), now=timezone.now())


def today(*, per_hour_microusd: int = 0) -> tuple[Sums, Sums]:
    """Today as of NOON, and yesterday until then."""
    periods = spans(NOON)[:1]
    return compared(periods, calls_over(periods, None), per_hour_microusd=per_hour_microusd)[0]


class TestSpans:
    def test_today_is_the_utc_day_and_compares_with_yesterday_until_this_hour(self) -> None:
        one = spans(NOON)[0]
        assert (one.start, one.end) == (NOON.replace(hour=0, minute=0), NOON)
        assert (one.before_start, one.before_end) == (one.start - timedelta(days=1), NOON - timedelta(days=1))

    def test_seven_days_are_today_and_six_and_compare_with_the_seven_before(self) -> None:
        week, midnight = spans(NOON)[1], NOON.replace(hour=0, minute=0)
        assert (week.start, week.end) == (midnight - timedelta(days=6), NOON)
        assert (week.before_start, week.before_end) == (midnight - timedelta(days=13), NOON - timedelta(days=7))

    def test_a_change_is_told_in_words_only_where_there_was_something(self) -> None:
        assert change_text(112, 100) == "+12\N{NO-BREAK SPACE}%"
        assert change_text(97, 100) == "\N{MINUS SIGN}3\N{NO-BREAK SPACE}%"
        assert (change_text(5, 0), change_text(0, 0)) == ("new", "")
        assert change_text(5_000, 1) == ">999\N{NO-BREAK SPACE}%"
        assert change_text(-5_000, 1) == "<\N{MINUS SIGN}999\N{NO-BREAK SPACE}%"

    def test_render_time_costs_its_share_of_an_hour(self) -> None:
        assert gpu_cost_microusd(1_800_000, per_hour_microusd=2_000_000) == 1_000_000


class TestSums:
    def test_they_are_the_ledgers_and_fall_into_their_own_span(self, payer: Member) -> None:
        with time_machine.travel(NOON - timedelta(days=1, hours=2), tick=False):
            paid_call(payer)
        with time_machine.travel(NOON, tick=False):
            paid_call(payer, samples=2)
            now, before = today(per_hour_microusd=3_600_000)
        taken = -sum(LedgerEntry.objects.filter(kind=EntryKind.CAPTURE).values_list("amount_microusd", flat=True))
        assert now.charged_microusd + before.charged_microusd == taken > 0
        assert (now.calls, now.images, before.calls, before.images) == (1, 2, 1, 1)
        assert now.gpu_microusd == 900 * 3_600_000 // 3_600_000

    def test_what_lies_between_the_two_spans_of_today_belongs_to_neither(self, payer: Member) -> None:
        with time_machine.travel(NOON - timedelta(days=1) + timedelta(hours=3), tick=False):
            paid_call(payer)
        now, before = today()
        assert (now.calls, before.calls) == (0, 0)

    def test_grants_are_no_income(self, alice: Member) -> None:
        with time_machine.travel(NOON, tick=False):
            fund(alice.account, 7_000_000)
            now, _ = today()
        assert (now.granted_microusd, now.added_microusd) == (7_000_000, 0)

    def test_failed_calls_are_counted_and_cost_the_customer_nothing(self, payer: Member) -> None:
        with time_machine.travel(NOON, tick=False):
            generation = place(payer).generation
            generation_settle(generation_id=generation.pk, result=failed(generation), now=NOON)
            now, _ = today()
        assert (now.calls, now.failed, now.charged_microusd, now.error_share) == (1, 1, 0, 1.0)

    def test_the_largest_customer_comes_first(self, payer: Member, charlie: Member) -> None:
        paid_call(charlie)
        paid_call(payer)
        rows = top("account_id", since=timezone.now() - timedelta(days=1), until=timezone.now(), through=None, limit=5)
        assert [row.key for row in rows] == [payer.account.pk, charlie.account.pk]


class TestThePage:
    def test_it_asks_the_same_few_queries_whatever_there_is(
        self, as_owner: Client, payer: Member, charlie: Member
    ) -> None:
        def queries() -> int:
            caches_clear()  # what is remembered for seconds would depend on how long the test takes
            with CaptureQueriesContext(connection) as asked:
                assert as_owner.get("/console").status_code == 200
            return len(asked)

        few = queries()
        for member in (payer, charlie):
            move_to(charlie.account, "payg")
            paid_call(member)
            place(member)
        worker_seen(name="gpu-1", report=report(), now=timezone.now())
        assert queries() <= few + 1  # the names of the top customers
        assert few <= 18

    def test_it_says_what_needs_somebody(self, as_owner: Client, alice: Member) -> None:
        WebhookReceiver.objects.create(account_id=alice.account.pk, origin="https://a.example", failures_in_row=3)
        page = as_owner.get("/console").content.decode()
        assert "No render worker is alive" in page
        assert "Webhook receivers: 1 failing, 0 paused" in page
        assert "The books have not been proved yet" in page
        AuditRun.objects.create(ran_at=timezone.now() - timedelta(days=3), took_ms=1, differences=0)
        assert "The books have not been proved for two days" in as_owner.get("/console").content.decode()

    def test_what_is_worst_comes_first(self, as_owner: Client, alice: Member) -> None:
        now = timezone.now()
        worker_seen(name="gpu-1", report=report(), now=now)
        WebhookReceiver.objects.create(account_id=alice.account.pk, origin="https://one.example", failures_in_row=3)
        AuditRun.objects.create(ran_at=now, took_ms=1, differences=2)
        Dispute.objects.create(stripe_id="dp_1", amount_cents=100, status="needs_response", created_at=now)
        told = [alert.tone for alert in as_owner.get("/console").context["alerts"]]
        assert told == ["bad", "bad", "warn"]

    def test_differences_in_the_books_are_told(self, as_owner: Client) -> None:
        AuditRun.objects.create(ran_at=timezone.now(), took_ms=1, differences=2, findings=[])
        assert "The books have 2 differences" in as_owner.get("/console").content.decode()

    @pytest.mark.parametrize("role", list(StaffRole))
    def test_every_card_leads_to_a_list_that_opens_for_who_reads_it(
        self, as_staff: AsStaff, payer: Member, role: StaffRole
    ) -> None:
        paid_call(payer)
        now = timezone.now()
        AuditRun.objects.create(ran_at=now, took_ms=1, differences=2, findings=[])
        Dispute.objects.create(stripe_id="dp_1", amount_cents=100, status="needs_response", created_at=now)
        FeatureOff.objects.create(name="sharing", since=now, by=payer.user, reason="abuse")
        client = as_staff(role)
        page = client.get("/console").content.decode()
        assert "Open disputes: 1" in page
        main = page[page.index("<main") :]
        links = {part.split('"')[0].replace("&amp;", "&") for part in main.split('href="')[1:]}
        assert len(links) >= 8
        assert {url: client.get(url).status_code for url in links} == dict.fromkeys(links, 200)
