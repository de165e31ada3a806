"""Post-paid accounts: charged below zero up to a hard monthly limit, never owing more than two months, then stopped."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from billing.entitlements import terms_of
from billing.errors import AccountInArrears, FundsExhausted, InvoiceUnpaid, PostpaidLimitInvalid, SpendLimitReached
from billing.holds import hold_capture, hold_place, hold_release
from billing.models import Hold, LedgerEntry, SpendMonth, Wallet
from billing.notices import notices_send
from billing.services import invoice_settle, plan_assign
from billing.spending import INVOICED
from tests.support.money import fund, move_to, wallet_of
from tests.support.stripe import differences

NOW = datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)
NEXT = NOW + timedelta(seconds=1)
PRICE = 2_000


def give(account, limit_microusd):
    plan_assign(account_id=account.pk, plan_code="metered", now=NOW, postpaid_limit_microusd=limit_microusd)


@pytest.fixture
def debtor(alice):
    give(alice.account, 3 * PRICE)
    return alice.account


def place(account, reference, *, images=1, now=NOW):
    with transaction.atomic():
        return hold_place(
            reference=reference,
            account_id=account.pk,
            terms=terms_of(account.pk, now=now),
            price_code="sd15",
            model_id="demo",
            unit_price_microusd=PRICE,
            images=images,
            now=now,
            key_id=7,
        )


def close(reference, images, now=NOW):
    with transaction.atomic():
        hold_capture(reference=reference, images=images, now=now) if images else hold_release(reference=reference)


def settle(account, amount_microusd, key="in_1"):
    return invoice_settle(
        account_id=account.pk, amount_microusd=amount_microusd, op_key=key, now=NOW, reason="paid", by=None
    )


def differing():
    """Holds of these tests have no generations: the books' own checks alone."""
    return [name for name, _ in differences() if "generation" not in name and "captures" not in name]


class TestTheLimit:
    def test_calls_are_charged_below_zero_and_the_month_is_counted(self, debtor):
        assert place(debtor, 1, images=2).source == "postpaid"
        assert wallet_of(debtor).held_microusd == 2 * PRICE
        close(1, 1)
        wallet = wallet_of(debtor)
        assert (wallet.balance_microusd, wallet.held_microusd) == (-PRICE, 0)
        assert list(SpendMonth.objects.values_list("key_id", "counted_microusd")) == [(INVOICED, PRICE)]
        assert LedgerEntry.objects.get().kind == "capture"
        assert differing() == []

    def test_the_call_that_would_exceed_the_month_is_refused_and_writes_nothing(self, debtor):
        place(debtor, 1, images=3)
        with pytest.raises(SpendLimitReached) as refusal:
            place(debtor, 2)
        assert refusal.value.fields["scope"] == "post-paid calls"
        assert refusal.value.fields["resets_at"] == "2026-04-01T00:00:00+00:00"
        assert Hold.objects.count() == 1
        assert differing() == []

    def test_what_was_released_has_room_again(self, debtor):
        place(debtor, 1, images=3)
        close(1, 0)
        place(debtor, 2, images=3)
        assert wallet_of(debtor).balance_microusd == 0

    def test_funds_are_spent_first(self, debtor):
        fund(debtor, PRICE)
        assert [place(debtor, number).source for number in (1, 2)] == ["funds", "postpaid"]

    def test_the_accounts_own_limit_holds_too(self, debtor):
        Wallet.objects.filter(pk=debtor.pk).update(spend_limit_microusd=PRICE)
        place(debtor, 1)
        with pytest.raises(SpendLimitReached) as refusal:
            place(debtor, 2)
        assert refusal.value.fields["scope"] == "this account"

    def test_a_lower_limit_stops_at_once(self, debtor):
        place(debtor, 1, images=2)
        give(debtor, PRICE)
        with pytest.raises(SpendLimitReached):
            place(debtor, 2)

    @pytest.mark.parametrize("limit_microusd", [None, 0, -1])
    def test_the_plan_needs_a_limit(self, alice, limit_microusd):
        with pytest.raises(PostpaidLimitInvalid):
            give(alice.account, limit_microusd)
        assert wallet_of(alice.account).plan_code == "free"


class TestTheDebt:
    def test_two_months_are_owed_at_most(self, debtor):
        for reference, now in ((1, NOW), (2, NEXT)):
            place(debtor, reference, images=3, now=now)
            close(reference, 3, now)
        with pytest.raises(InvoiceUnpaid) as refusal:
            place(debtor, 3, now=NEXT + timedelta(days=31))
        assert refusal.value.fields["owed_usd"] == "0.012"

    def test_a_paid_invoice_makes_room_once(self, debtor):
        for reference, now in ((1, NOW), (2, NEXT)):
            place(debtor, reference, images=3, now=now)
            close(reference, 3, now)
        assert [settle(debtor, 3 * PRICE) for _ in "12"] == [True, False]
        assert wallet_of(debtor).balance_microusd == -3 * PRICE
        place(debtor, 3, now=NEXT + timedelta(days=31))
        assert differing() == []

    def test_the_end_of_the_plan_leaves_the_debt_in_arrears_until_it_is_paid(self, debtor):
        place(debtor, 1)
        close(1, 1)
        move_to(debtor, "payg")
        assert wallet_of(debtor).in_arrears
        with pytest.raises(AccountInArrears):
            place(debtor, 2)
        settle(debtor, PRICE)
        assert not wallet_of(debtor).in_arrears
        Wallet.objects.filter(pk=debtor.pk).update(overrides={"free_calls_per_day": 0})
        with pytest.raises(FundsExhausted):
            place(debtor, 3)

    def test_without_a_debt_the_plan_ends_without_arrears(self, debtor):
        move_to(debtor, "payg")
        assert (wallet_of(debtor).in_arrears, wallet_of(debtor).postpaid_limit_microusd) == (False, None)


def test_half_three_quarters_and_all_are_told(debtor, mailoutbox):
    now = timezone.now()
    give(debtor, 4 * PRICE)
    for reference, expected in ((1, 0), (2, 1), (3, 2), (4, 3)):
        place(debtor, reference, now=now)
        for _ in range(2):
            notices_send(now=now)
        assert len(mailoutbox) == expected
    assert "Post-paid use has spent 100 %" in mailoutbox[-1].body


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestUnderACrowd:
    @pytest.fixture
    def crowded(self, alice, child_database):
        give(alice.account, 50 * PRICE)
        Wallet.objects.update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6})
        return alice

    def test_the_month_is_exact(self, crowded):
        from tests.support.crowd import rush

        assert rush(crowded.key, tries=100) == {"accepted": 50, "spend_limit_reached": 350}
        assert wallet_of(crowded.account).held_microusd == 50 * PRICE
        assert differences() == []

    def test_checked_before_counted_it_is_not(self, crowded):
        """The negative control."""
        from tests.support.crowd import rush

        assert rush(crowded.key, tries=100, fault="spend_limit")["accepted"] > 50
