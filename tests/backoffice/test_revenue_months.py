"""The sums of ended months: folded once nobody writes into them any more, and again when somebody did."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection, transaction

from billing import revenue
from billing.audit import audit_run
from billing.models import CohortMonth, Payer, PlanPayment, RevenueMonth
from billing.revenue import month_number, month_start, plan_paid
from billing.revenue_months import MONTHS, Told, months_fold, months_told
from billing.usage_days import house_fold
from tests.backoffice.test_home import paid_call
from tests.conftest import Member
from tests.support.money import fund

MAY = month_number(datetime(2026, 5, 1, tzinfo=UTC))
JUNE = MAY + 1
NOW = datetime(2026, 6, 17, 12, 0, tzinfo=UTC)
CHECK = "folded months are the sums of the ledger and of paid plans"


def told() -> Told:
    return months_told(JUNE - MONTHS, JUNE)


def plans_microusd(number: int) -> int:
    return sum(cohort.plans_microusd for cohort in told().cohorts if cohort.month == number)


def pay_plan(member: Member, number: int, *, now: datetime = NOW, invoice_id: str = "in_1") -> None:
    plan_paid(
        invoice_id=invoice_id, account_id=member.account.pk, mode="live", plan_code="standard", amount_cents=4700,
        paid_at=month_start(number) + timedelta(days=10), now=now,
    )  # fmt: skip


def differing() -> list[str]:
    return [finding.check.name for finding in audit_run() if not finding.passed]


@pytest.fixture
def used_in_may(payer: Member) -> Member:
    with time_machine.travel(datetime(2026, 5, 4, 12, tzinfo=UTC), tick=False):
        fund(payer.account, 3_000_000)
        paid_call(payer)
    return payer


class TestFolding:
    @pytest.mark.usefixtures("used_in_may")
    def test_a_month_is_folded_an_hour_after_its_end_and_once_its_days_are(self) -> None:
        end = month_start(JUNE)
        early = end + timedelta(minutes=59)
        house_fold(now=early)
        months_fold(now=early)
        assert not RevenueMonth.objects.filter(month=MAY, folded=True).exists()
        months_fold(now=end + timedelta(hours=1))
        assert RevenueMonth.objects.get(month=MAY).folded is True

    @pytest.mark.usefixtures("used_in_may")
    def test_a_month_with_charges_in_the_quarters_alone_is_not_folded(self) -> None:
        assert months_fold(now=NOW) == MONTHS - 1
        assert not RevenueMonth.objects.get(month=MAY).folded
        house_fold(now=NOW)
        assert months_fold(now=NOW) == 1

    @pytest.mark.usefixtures("used_in_may")
    def test_twice_is_once(self) -> None:
        house_fold(now=NOW)
        assert months_fold(now=NOW) == MONTHS
        rows = list(CohortMonth.objects.values())
        assert rows
        assert months_fold(now=NOW) == 0
        RevenueMonth.objects.update(folded=False)
        assert months_fold(now=NOW) == MONTHS
        assert [row | {"id": 0} for row in CohortMonth.objects.values()] == [row | {"id": 0} for row in rows]

    def test_an_invoice_that_is_told_late_is_seen_at_once_and_folded_again(self, payer: Member) -> None:
        pay_plan(payer, MAY)
        months_fold(now=NOW)
        assert set(Payer.objects.values_list("pk", flat=True)) == {payer.account.pk}
        pay_plan(payer, MAY - 1, invoice_id="in_2")
        assert plans_microusd(MAY - 1) == plans_microusd(MAY) == 47_000_000
        assert differing() == []
        assert months_fold(now=NOW) == 2
        assert plans_microusd(MAY - 1) == plans_microusd(MAY) == 47_000_000
        # Who paid in May had paid in April as well, which nobody knew before.
        assert CohortMonth.objects.get(month=MAY).payers_kept == 1
        assert sum(told().payers.values()) <= Payer.objects.count() == 1

    def test_an_invoice_of_the_running_month_locks_nothing(self, payer: Member) -> None:
        pay_plan(payer, JUNE)
        assert not RevenueMonth.objects.exists()

    def test_a_day_that_is_folded_during_a_look_is_neither_missed_nor_counted_twice(
        self, used_in_may: Member, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def looked_at() -> int:
            return sum(cohort.charged_microusd for cohort in told().cohorts)

        charged = looked_at()
        movements, folds = vars(_module())["_movements"], iter([lambda: house_fold(now=NOW)])

        def meanwhile(numbers: list[int]) -> object:
            next(folds, int)()
            return movements(numbers)

        monkeypatch.setattr(_module(), "_movements", meanwhile)
        assert looked_at() == charged > 0


def _module() -> object:
    from billing import revenue_months

    return revenue_months


@pytest.mark.parametrize(
    "damage",
    [
        lambda: RevenueMonth.objects.filter(month=MAY).update(paid_in_microusd=1),
        lambda: RevenueMonth.objects.filter(month=MAY).update(given_microusd=1),
        lambda: RevenueMonth.objects.filter(month=MAY).update(returned_microusd=1),
        lambda: CohortMonth.objects.filter(month=MAY).update(charged_microusd=1),
        lambda: PlanPayment.objects.update(amount_cents=1),
        lambda: CohortMonth.objects.all().delete(),
    ],
)
def test_the_audit_finds_a_folded_month_that_is_not_the_ledgers(
    used_in_may: Member, damage: Callable[[], object]
) -> None:
    pay_plan(used_in_may, MAY, now=month_start(MAY) + timedelta(days=10))
    house_fold(now=NOW)
    months_fold(now=NOW)
    assert CHECK not in differing()
    damage()
    assert CHECK in differing()
    # A month that is not folded says nothing, and so nothing wrong.
    RevenueMonth.objects.update(folded=False)
    assert CHECK not in differing()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestTogether:
    """An invoice of May is told while May is folded."""

    @staticmethod
    def beside(work: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    @pytest.mark.parametrize("mistake", [False, True])
    def test_a_fold_waits_for_the_invoice(self, payer: Member, monkeypatch: pytest.MonkeyPatch, mistake: bool) -> None:
        if mistake:
            monkeypatch.setattr(revenue, "months_reopen", lambda *numbers: None)
        with transaction.atomic():
            pay_plan(payer, MAY)
            fold = self.beside(lambda: months_fold(now=NOW))
            fold.join(timeout=1.0)
            assert fold.is_alive() is not mistake
        fold.join(timeout=20)
        assert plans_microusd(MAY) == (0 if mistake else 47_000_000)
        assert (CHECK in differing()) is mistake

    def test_the_invoice_waits_for_a_fold_and_opens_the_month_again(self, payer: Member) -> None:
        with transaction.atomic():
            months_fold(now=NOW)
            invoice = self.beside(lambda: pay_plan(payer, MAY))
            invoice.join(timeout=1.0)
            assert invoice.is_alive()
        invoice.join(timeout=20)
        assert not RevenueMonth.objects.get(month=MAY).folded
        assert plans_microusd(MAY) == 47_000_000
        months_fold(now=NOW)
        assert plans_microusd(MAY) == 47_000_000
        assert differing() == []
