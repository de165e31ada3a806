"""Revenue: every figure against the ledger's own rows and the provider's subscriptions, folded or not."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account
from accounts.staff import StaffRole
from billing.models import AccountMonth, EntryKind, LedgerEntry, PlanPayment, StripePrice, Subscription, UsageHouseDay
from billing.revenue import month_number, month_start, plan_paid
from billing.revenue_months import MONTHS, months_fold
from billing.services import funds_adjust, invoice_settle
from billing.usage_days import house_fold
from gateway.backoffice.revenue import Figures
from gateway.backoffice.revenue_sums import Cohort, Month
from tests.backoffice.conftest import AsStaff
from tests.backoffice.test_home import paid_call
from tests.conftest import Member
from tests.support.money import fund, move_to, wallet_of
from tests.support.stripe import deliver, reconcile_late, shop, subscribe

NOW = datetime(2026, 6, 17, 12, 0, tzinfo=UTC)
APRIL, MAY, JUNE = (month_number(datetime(2026, month, 1, tzinfo=UTC).date()) for month in (4, 5, 6))


@pytest.fixture
def as_billing(as_staff: AsStaff) -> Client:
    return as_staff(StaffRole.BILLING)


def at(month: int, day: int, hour: int = 12) -> Any:
    return time_machine.travel(datetime(2026, month, day, hour, 30, tzinfo=UTC), tick=False)


def figures() -> tuple[dict[int, Month], dict[int, Cohort]]:
    found = Figures.read(NOW)
    return {month.number: month for month in found.months}, {cohort.number: cohort for cohort in found.cohorts}


def pay_in(member: Member, amount_microusd: int, key: str) -> None:
    invoice_settle(
        account_id=member.account.pk,
        amount_microusd=amount_microusd,
        op_key=key,
        now=timezone.now(),
        reason="paid",
        by=None,
    )


@pytest.fixture
def spring(alice: Member, charlie: Member) -> None:
    """alice signed up in April and pays in each month; charlie in May, who is not there any more in June."""
    for member, month in ((alice, 4), (charlie, 5)):
        Account.objects.filter(pk=member.account.pk).update(created_at=datetime(2026, month, 2, tzinfo=UTC))
        wallet = wallet_of(member.account)
        wallet.overrides = {"free_calls_per_day": 0}
        wallet.save()
    with at(4, 3):
        move_to(alice.account, "payg")
        pay_in(alice, 20_000_000, "a")
        paid_call(alice)
    with at(4, 30, 23):
        paid_call(alice, samples=2)
    with at(5, 4):
        move_to(charlie.account, "payg")
        fund(charlie.account, 3_000_000)
        pay_in(charlie, 5_000_000, "c")
        paid_call(charlie, samples=3)
        paid_call(alice)
    with at(5, 20):
        funds_adjust(
            account_id=charlie.account.pk,
            amount_microusd=-1_000_000,
            op_key="x",
            now=timezone.now(),
            reason="x",
            by=None,
        )
    with at(6, 17, 9):
        paid_call(alice)


def ledger(number: int, *kinds: EntryKind) -> int:
    entries = LedgerEntry.objects.filter(created_at__gte=month_start(number), created_at__lt=month_start(number + 1))
    return entries.filter(kind__in=kinds).aggregate(total=Sum("amount_microusd"))["total"] or 0


def assert_the_ledgers(months: dict[int, Month]) -> None:
    balance = 0
    for number in (APRIL, MAY, JUNE):
        month = months[number]
        assert month.charged_microusd == -ledger(number, EntryKind.CAPTURE) > 0
        assert month.paid_in_microusd == ledger(number, EntryKind.INVOICE, EntryKind.TOP_UP)
        assert month.given_microusd == ledger(number, EntryKind.GRANT, EntryKind.ADJUSTMENT)
        assert month.opening_microusd == balance
        balance += ledger(number, *EntryKind)
        assert month.closing_microusd == balance


@pytest.mark.usefixtures("spring")
class TestMonths:
    def test_they_are_the_ledgers_with_no_day_folded_with_all_and_with_some(self) -> None:
        assert_the_ledgers(figures()[0])
        house_fold(now=datetime(2026, 4, 20, tzinfo=UTC))
        assert AccountMonth.objects.filter(month=APRIL).count() == 1
        assert_the_ledgers(figures()[0])
        house_fold(now=NOW)
        assert UsageHouseDay.objects.count() == 4
        assert_the_ledgers(figures()[0])
        assert house_fold(now=NOW) == 0
        assert_the_ledgers(figures()[0])
        assert months_fold(now=NOW) == MONTHS
        assert_the_ledgers(figures()[0])

    def test_folding_the_months_changes_nothing_but_that_they_are_judged(self) -> None:
        house_fold(now=NOW)
        months, cohorts = figures()
        months_fold(now=NOW)
        folded, again = figures()
        assert again == cohorts
        assert {number: replace(month, payers_kept=None) for number, month in folded.items()} == months
        assert [folded[number].payers_kept for number in (APRIL, MAY, JUNE)] == [0, 1, None]

    @pytest.mark.parametrize("folded", [False, True])
    def test_payers_their_churn_and_what_each_brought(self, folded: bool) -> None:
        if folded:
            house_fold(now=NOW)
            months_fold(now=NOW)
        months, _ = figures()
        assert [months[number].payers for number in (APRIL, MAY, JUNE)] == [1, 2, 1]
        assert months[MAY].arpu_microusd == months[MAY].revenue_microusd // 2
        # Before April nothing happened: those months are left out.
        assert min(months) == APRIL
        # Nobody left in May; June runs still.
        assert months[MAY].payer_churn == (0 if folded else None)
        assert months[JUNE].payer_churn is None
        if folded:
            house_fold(now=NOW + timedelta(days=20))
            months_fold(now=NOW + timedelta(days=20))
            july = {month.number: month for month in Figures.read(NOW + timedelta(days=30)).months}
            assert july[JUNE].payer_churn == 0.5

    @pytest.mark.parametrize("folded", [False, True])
    def test_cohorts_add_up_to_the_revenue_of_the_months(self, folded: bool) -> None:
        if folded:
            house_fold(now=NOW)
            months_fold(now=NOW)
        months, cohorts = figures()
        april, may = cohorts[APRIL], cohorts[MAY]
        assert (april.accounts, april.payers, may.accounts, may.payers) == (1, 1, 1, 1)
        assert april.revenue_microusd[0] == months[APRIL].revenue_microusd
        assert april.revenue_microusd[1] + may.revenue_microusd[0] == months[MAY].revenue_microusd
        assert (april.revenue_microusd[2], may.revenue_microusd[1]) == (months[JUNE].revenue_microusd, 0)

    def test_the_page_says_what_each_figure_means_and_that_the_books_are_not_proved(self, as_billing: Client) -> None:
        with time_machine.travel(NOW, tick=False):
            page = as_billing.get("/console/revenue").content.decode()
        for text in ("What the figures mean", "Trials, metered plans", "have not been proved", "so far"):
            assert text in page

    @pytest.mark.parametrize("folded", [False, True])
    def test_it_asks_the_same_few_queries_whatever_there_is(self, as_billing: Client, folded: bool) -> None:
        house_fold(now=NOW)
        if folded:
            months_fold(now=NOW)
        with time_machine.travel(NOW, tick=False):
            as_billing.get("/console/revenue")
            with CaptureQueriesContext(connection) as asked:
                as_billing.get("/console/revenue")
        assert len(asked) == (19 if folded else 20)
        assert not any("inference_generation" in query["sql"] for query in asked)
        captures = [query["sql"] for query in asked if "billing_ledgerentry" in query["sql"]]
        assert captures
        # Every look into the ledger leaves the charges out, as the index for it does.
        assert all("NOT" in sql for sql in captures)

    def test_the_files_have_the_tables_in_dollars(self, as_billing: Client) -> None:
        with time_machine.travel(NOW, tick=False):
            months = list(csv.DictReader(as_billing.get("/console/revenue/months.csv").content.decode().splitlines()))
            cohorts = list(csv.DictReader(as_billing.get("/console/revenue/cohorts.csv").content.decode().splitlines()))
            assert as_billing.get("/console/revenue/salaries.csv").status_code == 404
        may = next(row for row in months if row["month_utc"] == "2026-05")
        assert (may["paid_in_usd"], may["given_usd"], may["payers"]) == ("5.000000", "2.000000", "2")
        assert next(row for row in months if row["month_utc"] == "2026-06")["payer_churn"] == ""
        april = next(row for row in cohorts if row["signed_up_utc"] == "2026-04")
        assert (april["accounts"], april["month_2_usd"] > "0", "month_3_usd" in april) == ("1", True, False)
        assert next(row for row in cohorts if row["signed_up_utc"] == "2026-05")["month_2_usd"] == ""


def test_a_grant_alone_makes_nobody_a_payer(alice: Member) -> None:
    fund(alice.account, 1_000_000)
    newest = Figures.read(timezone.now()).cohorts[0]
    assert (newest.accounts, newest.payers) == (1, 0)


class TestPlans:
    def test_an_invoice_is_noted_once_however_often_it_is_told(self, alice: Member, settings: Any) -> None:
        with shop(settings) as stripe:
            subscribe(stripe, alice.account, "standard")
            deliver(stripe)
            deliver(stripe, stripe.world.all("event"))
            reconcile_late()
        paid = PlanPayment.objects.get()
        assert (paid.account_id, paid.plan_code, paid.amount_cents) == (alice.account.pk, "standard", 4700)
        month = AccountMonth.objects.get()
        assert (month.plans_microusd, month.charged_microusd) == (47_000_000, 0)
        now = Figures.read(timezone.now())
        assert (now.months[0].mrr_microusd, now.months[0].plans_microusd) == (47_000_000, 47_000_000)
        assert (now.months[0].subscriptions_begun, now.months[0].payers, now.cohorts[0].payers) == (1, 1, 1)

    def test_a_month_has_charges_and_plans_of_one_account_together(self, payer: Member) -> None:
        with at(6, 3):
            for _ in range(2):
                plan_paid(
                    invoice_id="in_1", account_id=payer.account.pk, mode="live", plan_code="standard",
                    amount_cents=4700, paid_at=timezone.now(), now=timezone.now(),
                )  # fmt: skip
            move_to(payer.account, "payg")
            paid_call(payer)
        june = figures()[0][JUNE]
        house_fold(now=NOW)
        again = figures()[0][JUNE]
        assert (again.plans_microusd, again.charged_microusd) == (june.plans_microusd, june.charged_microusd)
        assert (june.payers, again.payers, again.revenue_microusd > 47_000_000) == (1, 1, True)

    @pytest.fixture
    def subscribed(self, alice: Member) -> None:
        StripePrice.objects.create(
            stripe_id="price_old", product_id="p", mode="live", plan_code="standard", amount_cents=3900, current=False
        )
        told = (
            ("active", "price_old", "standard", 4, None),
            ("past_due", "price_gone", "standard", 5, None),
            ("canceled", "price_old", "standard", 4, 5),
            ("trialing", "price_old", "standard", 5, None),
            ("incomplete_expired", "price_old", "standard", 4, 4),
            ("active", "price_old", "metered", 4, None),
            ("active", "price_x", "", 4, None),
        )
        for number, (status, price_id, plan, begun, ended) in enumerate(told):
            Subscription.objects.create(
                stripe_id=f"sub_{number}", account=alice.account, mode="live", status=status, price_id=price_id,
                plan_code=plan, created_at=datetime(2026, begun, 10, tzinfo=UTC),
                ends_at=datetime(2026, ended, 20, tzinfo=UTC) if ended else None,
            )  # fmt: skip

    @pytest.mark.usefixtures("subscribed")
    def test_mrr_counts_what_is_paid_for_at_the_price_that_is_paid(self) -> None:
        months, _ = figures()
        april, may, june = (months[number] for number in (APRIL, MAY, JUNE))
        assert (april.subscriptions, april.mrr_microusd) == (2, 78_000_000)
        # One at its own price, and one at the plan's, as its price is not known any more.
        assert (may.subscriptions, may.mrr_microusd) == (2, 86_000_000)
        assert (may.subscriptions_begun, may.subscriptions_ended, may.churn) == (1, 1, 0.5)
        assert (june.subscriptions_before, june.churn, months[APRIL].churn) == (2, 0.0, None)
