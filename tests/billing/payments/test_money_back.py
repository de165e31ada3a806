"""L16: refunds and disputes: debited first, credited back once, below zero only into arrears."""

import pytest
from django.utils import timezone

from billing import stripe_client
from billing.errors import AccountInArrears, PaymentProviderUnavailable, RefundRefused
from billing.models import LedgerEntry, Refund
from billing.refunds import refund_make
from billing.services import funds_adjust
from tests.support.money import fund, wallet_of
from tests.support.orders import place
from tests.support.stripe import deliver, reconcile_late, topup_pay


@pytest.fixture
def paid(alice, stripe):
    top_up = topup_pay(stripe, alice.account, 2000)
    deliver(stripe)
    top_up.refresh_from_db()
    return top_up


def balance(member):
    return wallet_of(member.account).balance_microusd


def spend(member, amount_microusd):
    funds_adjust(
        account_id=member.account.pk,
        amount_microusd=-amount_microusd,
        op_key=f"spent{amount_microusd}",
        now=timezone.now(),
        reason="spent",
        by=None,
    )


def refund(top_up, amount_cents):
    return refund_make(top_up=top_up, amount_cents=amount_cents, reason="asked", by=None, now=timezone.now())


def charge_of(top_up):
    return stripe_client.payment_intent_retrieve(payment_intent_id=top_up.payment_intent_id)["latest_charge"]


@pytest.mark.proves("L16")
class TestRefunds:
    def test_a_part_that_is_left_can_be_given_back(self, alice, stripe, paid):
        spend(alice, 15_000_000)
        refund(paid, 500)
        deliver(stripe)
        assert balance(alice) == 0
        assert Refund.objects.get().state == "succeeded"

    @pytest.mark.parametrize(("spent", "asked"), [(15_000_000, 501), (0, 2001), (0, 0), (0, -5)])
    def test_what_is_spent_or_was_never_paid_cannot(self, alice, stripe, paid, spent, asked):
        if spent:
            spend(alice, spent)
        before = balance(alice)
        with pytest.raises(RefundRefused):
            refund(paid, asked)
        assert (balance(alice), Refund.objects.count()) == (before, 0)

    def test_refunds_of_one_top_up_never_exceed_it(self, alice, stripe, paid):
        fund(alice.account, 50_000_000)
        refund(paid, 1500)
        with pytest.raises(RefundRefused):
            refund(paid, 501)

    def test_one_that_fails_is_credited_back_once(self, alice, stripe, paid):
        made = refund(paid, 500)
        stripe.refund_settle(refund=made.stripe_id, status="failed")
        for _ in range(3):
            deliver(stripe)
        assert balance(alice) == 20_000_000
        assert LedgerEntry.objects.filter(kind="refund_reversed").count() == 1

    @pytest.mark.parametrize("kind", ["error_after_commit", "drop_after_commit", "unavailable"])
    def test_a_lost_answer_stays_debited_and_is_one_refund_in_the_end(self, alice, stripe, paid, kind):
        stripe.trouble.add(kind, method="POST", path="/v1/refunds")
        with pytest.raises(PaymentProviderUnavailable):
            refund(paid, 500)
        assert balance(alice) == 15_000_000
        reconcile_late()
        reconcile_late()
        assert (balance(alice), len(stripe.world.all("refund"))) == (15_000_000, 1)
        assert Refund.objects.get().state == "succeeded"

    def test_one_made_at_the_provider_is_booked_here(self, alice, stripe, paid):
        stripe_client.refund_create(refund_id="elsewhere", payment_intent_id=paid.payment_intent_id, amount_cents=700)
        deliver(stripe)
        assert balance(alice) == 13_000_000


@pytest.mark.proves("L16")
class TestDisputes:
    def test_after_the_money_is_spent_the_account_is_in_arrears_and_stops(self, alice, stripe, paid):
        spend(alice, 19_000_000)
        stripe.dispute_open(charge=charge_of(paid))
        deliver(stripe)
        assert balance(alice) == -19_000_000
        from gateway.caching import caches_clear

        caches_clear()
        with pytest.raises(AccountInArrears):
            place(alice)

    def test_a_won_one_restores_once(self, alice, stripe, paid):
        spend(alice, 19_000_000)
        opened = stripe.dispute_open(charge=charge_of(paid))
        deliver(stripe)
        stripe.dispute_close(dispute=opened["id"], status="won")
        for _ in range(3):
            deliver(stripe)
        assert balance(alice) == 1_000_000
        assert not wallet_of(alice.account).in_arrears

    def test_a_lost_one_is_final_and_new_funds_end_the_arrears(self, alice, stripe, paid):
        spend(alice, 19_000_000)
        opened = stripe.dispute_open(charge=charge_of(paid))
        stripe.dispute_close(dispute=opened["id"], status="lost")
        deliver(stripe)
        assert (balance(alice), wallet_of(alice.account).in_arrears) == (-19_000_000, True)
        topup_pay(stripe, alice.account, 2500)
        deliver(stripe)
        assert (balance(alice), wallet_of(alice.account).in_arrears) == (6_000_000, False)

    def test_with_enough_other_funds_nothing_stops(self, alice, stripe, paid):
        fund(alice.account, 5_000_000)
        stripe.dispute_open(charge=charge_of(paid))
        deliver(stripe)
        assert (balance(alice), wallet_of(alice.account).in_arrears) == (5_000_000, False)

    def test_an_inquiry_gives_the_money_back_when_it_closes(self, alice, stripe, paid):
        opened = stripe.dispute_open(charge=charge_of(paid), inquiry=True)
        deliver(stripe)
        stripe.dispute_close(dispute=opened["id"], status="warning_closed")
        deliver(stripe)
        assert balance(alice) == 20_000_000


@pytest.mark.control("L16")
def test_a_restoration_keyed_by_the_message_would_return_the_money_again(alice, stripe, monkeypatch):
    import itertools

    from billing import ledger
    from tests.billing.payments.test_convergence import acted, try_delivery

    events = acted(stripe, alice.account, "dispute won")
    orderly = try_delivery(stripe, events)
    numbers, post = itertools.count(), ledger.entry_post
    monkeypatch.setattr(ledger, "entry_post", lambda **fields: post(**fields | {"op_key": f"event:{next(numbers)}"}))
    assert try_delivery(stripe, events)["wallets"] != orderly["wallets"]


class TestTheAudit:
    @pytest.mark.parametrize(
        ("table", "change"),
        [("topup", "amount_cents = 1"), ("topup", "state = 'open'"), ("refund", "state = 'failed'")],
    )
    def test_a_row_that_differs_from_the_books_is_found(self, alice, stripe, paid, table, change):
        from django.db import connection, transaction

        from tests.support.stripe import differences

        refund(paid, 500)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE billing_{table} SET {change}")
            assert len(differences()) == 1
            transaction.set_rollback(True)
