"""Corrections, refunds, fees and parked reports of usage: through the services, with a reason, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.staff import StaffRole
from billing.errors import PaymentsNotConfigured
from billing.fees import EVERY, fees_read
from billing.models import EntryKind, ExportState, FeeCursor, LedgerEntry, ProviderFee, Refund, TopUp, UsageExport
from billing.sandbox import SandboxStripe
from billing.services import invoice_settle
from gateway.backoffice.figures import Sums, calls_over, compared, spans
from gateway.models import StaffAction
from tests.backoffice.conftest import AsStaff
from tests.conftest import Member
from tests.support.money import fund, wallet_of
from tests.support.stripe import deliver, differences, reconcile_late, shop, topup_pay

PAID_CENTS = 2000
# Of a card payment of 20 dollars: 2.9 % and 30 cents.
FEE_CENTS = 88


def url(member: Member, action: str) -> str:
    return f"/console/customers/{member.account.pk}/{action}"


def today() -> Sums:
    periods = spans(timezone.now())[:1]
    return compared(periods, calls_over(periods, None), per_hour_microusd=0)[0][0]


@pytest.fixture
def as_billing(as_staff: AsStaff) -> Client:
    return as_staff(StaffRole.BILLING)


@pytest.fixture
def stripe(alice: Member, settings: Any) -> Iterator[SandboxStripe]:
    with shop(settings) as running:
        yield running
        assert differences() == []


@pytest.fixture
def paid(alice: Member, stripe: SandboxStripe) -> TopUp:
    top_up = topup_pay(stripe, alice.account, PAID_CENTS)
    deliver(stripe)
    top_up.refresh_from_db()
    return top_up


class TestCorrections:
    def correct(self, client: Client, member: Member, amount: str, nonce: str = "n1") -> int:
        form = {"correct-amount": amount, "correct-reason": "charged by mistake elsewhere", "correct-nonce": nonce}
        return client.post(url(member, "correct"), form).status_code

    def test_one_form_corrects_once_up_or_down_and_says_who_and_why(self, as_billing: Client, alice: Member) -> None:
        fund(alice.account, 5_000_000)
        for _ in range(2):
            assert self.correct(as_billing, alice, "-1.25") == 302
        assert wallet_of(alice.account).balance_microusd == 3_750_000
        entry = LedgerEntry.objects.latest("id")
        assert (entry.kind, entry.note) == (EntryKind.ADJUSTMENT, "charged by mistake elsewhere")
        action = StaffAction.objects.get()
        assert (action.actor, action.action) == (entry.made_by, "correct balance")
        assert (action.before, action.after) == ({"balance_microusd": 5_000_000}, {"balance_microusd": 3_750_000})
        self.correct(as_billing, alice, "2", "n2")
        assert wallet_of(alice.account).balance_microusd == 5_750_000

    @pytest.mark.parametrize("amount", ["-5.01", "0", "much", "-0.0000001", "10001"])
    def test_what_cannot_be_is_told_at_the_field_and_books_nothing(
        self, as_billing: Client, alice: Member, amount: str
    ) -> None:
        fund(alice.account, 5_000_000)
        assert self.correct(as_billing, alice, amount) == 400
        assert (wallet_of(alice.account).balance_microusd, StaffAction.objects.count()) == (5_000_000, 0)

    def test_what_is_spent_meanwhile_cannot_be_taken(
        self, as_billing: Client, alice: Member, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The look at the form was too early: the database has the last word."""
        monkeypatch.setattr("billing.models.Wallet.available_microusd", 9_000_000)
        assert self.correct(as_billing, alice, "-5") == 400
        assert (LedgerEntry.objects.count(), StaffAction.objects.count()) == (0, 0)


class TestRefunds:
    def refund(self, client: Client, top_up: TopUp, amount: str, left: int = PAID_CENTS, reason: str = "asked") -> str:
        path = f"/console/customers/{top_up.account_id}/payments/{top_up.pk}/refund"
        form = {"refund-amount": amount, "refund-left": left, "refund-reason": reason}
        return client.post(path, form, follow=True).content.decode()

    def test_a_part_is_given_back_once_however_often_the_form_is_sent(
        self, as_billing: Client, alice: Member, stripe: SandboxStripe, paid: TopUp
    ) -> None:
        assert "$5.00 is given back" in self.refund(as_billing, paid, "5")
        assert "was made meanwhile" in self.refund(as_billing, paid, "5")
        refund = Refund.objects.get()
        assert (refund.amount_cents, refund.state, refund.reason) == (500, "succeeded", "asked")
        assert wallet_of(alice.account).balance_microusd == 15_000_000
        action = StaffAction.objects.get()
        assert (action.action, action.actor, action.reason) == ("refund", refund.made_by, "asked")
        assert action.after == {"refund": refund.public_id, "amount_cents": 500, "state": "succeeded"}
        assert 'value="1500"' in as_billing.get(f"/console/customers/{alice.account.pk}").content.decode()

    @pytest.mark.parametrize(
        ("amount", "reason", "told"),
        [
            ("20.01", "asked", "$20.00 of this top-up can be refunded"),
            ("0.005", "asked", "Whole cents"),
            ("5", "", "reason:"),
            ("x", "asked", "amount:"),
        ],
    )
    def test_what_cannot_be_is_told_and_moves_nothing(
        self, as_billing: Client, alice: Member, paid: TopUp, amount: str, reason: str, told: str
    ) -> None:
        assert told in self.refund(as_billing, paid, amount, reason=reason)
        assert (Refund.objects.count(), StaffAction.objects.count()) == (0, 0)
        assert wallet_of(alice.account).balance_microusd == 20_000_000

    def test_while_the_provider_is_away_it_is_pending_recorded_and_asked_again(
        self, as_billing: Client, alice: Member, stripe: SandboxStripe, paid: TopUp
    ) -> None:
        stripe.trouble.add("unavailable", method="POST", path="/v1/refunds")
        assert "is given back: pending" in self.refund(as_billing, paid, "20")
        assert StaffAction.objects.get().after["state"] == "pending"
        reconcile_late()
        assert Refund.objects.get().state == "succeeded"

    def test_another_accounts_payment_is_not_found(self, as_billing: Client, charlie: Member, paid: TopUp) -> None:
        path = f"/console/customers/{charlie.account.pk}/payments/{paid.pk}/refund"
        assert as_billing.post(path, {}).status_code == 404


class TestFees:
    def test_they_are_unknown_until_they_were_read_and_then_the_providers_own(
        self, as_billing: Client, stripe: SandboxStripe, paid: TopUp
    ) -> None:
        assert today().fees_microusd is None
        assert "unknown" in as_billing.get("/console").content.decode()
        assert fees_read(now=timezone.now()) == 1
        found = today()
        assert (found.added_microusd, found.fees_microusd) == (20_000_000, FEE_CENTS * 10_000)
        assert found.margin_microusd == -FEE_CENTS * 10_000
        assert "unknown" not in as_billing.get("/console").content.decode()
        assert "fees read until" in as_billing.get("/console/payments").content.decode()

    def test_reading_again_counts_once_and_asks_only_now_and_then(self, stripe: SandboxStripe, paid: TopUp) -> None:
        now = timezone.now()
        assert [fees_read(now=now + EVERY * turn / 2) for turn in range(4)] == [1, 0, 0, 0]
        assert ProviderFee.objects.get().fee_cents == FEE_CENTS
        assert FeeCursor.objects.get().read_until == now + EVERY

    def test_the_reconciler_reads_them_and_goes_on_without_the_right_to(
        self, stripe: SandboxStripe, paid: TopUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(**_: Any) -> None:
            raise PaymentsNotConfigured(reason="Stripe refuses this key for balance_transactions_list")

        with monkeypatch.context() as patch:
            patch.setattr("billing.stripe_client.balance_transactions_list", refused)
            reconcile_late()
        assert not FeeCursor.objects.exists()
        reconcile_late()
        assert ProviderFee.objects.count() == 1

    def test_a_paid_invoice_counts_as_money_added(self, alice: Member) -> None:
        invoice_settle(
            account_id=alice.account.pk, amount_microusd=4_000_000, op_key="2026-04", now=timezone.now(),
            reason="bank transfer", by=None,
        )  # fmt: skip
        assert today().added_microusd == 4_000_000


class TestParkedExports:
    @pytest.fixture
    def parked(self, alice: Member) -> UsageExport:
        now = timezone.now()
        return UsageExport.objects.create(
            op_key="capture:7", account_id=alice.account.pk, value_microusd=4_000, used_at=now - timedelta(days=3),
            next_attempt_at=now, state=ExportState.PARKED, problem="no such meter",
        )  # fmt: skip

    def test_they_are_told_shown_and_tried_again_with_a_reason(self, as_billing: Client, parked: UsageExport) -> None:
        assert "Parked reports of usage: 1" in as_billing.get("/console").content.decode()
        assert "no such meter" in as_billing.get("/console/payments").content.decode()
        as_billing.post("/console/payments/exports/retry", {"id": parked.pk})
        parked.refresh_from_db()
        assert parked.state == ExportState.PARKED
        for _ in range(2):
            as_billing.post("/console/payments/exports/retry", {"id": parked.pk, "reason": "the meter is there now"})
        parked.refresh_from_db()
        assert (parked.state, parked.problem) == (ExportState.NEW, "")
        action = StaffAction.objects.get()
        assert (action.target, action.before["problem"]) == ("export:capture:7", "no such meter")
        assert "no such meter" not in as_billing.get("/console/payments").content.decode()
