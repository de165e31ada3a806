"""Adding funds: our row first, one credit whoever learns first, and our row's amount alone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import stripe_client
from billing.errors import PaymentMismatch, PaymentProviderUnavailable, TopUpAmountInvalid
from billing.models import LedgerEntry, StripeCustomer, TopUp
from billing.topups import topup_apply_session, topup_page, topup_refresh, topup_start
from tests.support.money import wallet_of
from tests.support.stripe import RETURN, deliver, process, receive, reconcile_late, topup_ask, topup_pay


def refresh(top_up):
    return topup_refresh(top_up=top_up, now=timezone.now())


class TestTheCredit:
    def test_a_paid_session_credits_our_amount_and_makes_the_account_pay_as_you_go(self, alice, stripe):
        top_up = topup_pay(stripe, alice.account, 2500)
        deliver(stripe)
        top_up.refresh_from_db()
        wallet = wallet_of(alice.account)
        assert (top_up.state, wallet.balance_microusd, wallet.plan_code) == ("paid", 25_000_000, "payg")
        entry = LedgerEntry.objects.get()
        assert (entry.kind, entry.sandbox, entry.op_key) == ("top_up", True, f"topup:{top_up.public_id}")

    @pytest.mark.parametrize("first", ["webhook", "page"])
    def test_message_and_success_page_credit_once_in_either_order(self, alice, stripe, first):
        top_up = topup_pay(stripe, alice.account)
        steps = [lambda: deliver(stripe), lambda: refresh(top_up)]
        for step in steps if first == "webhook" else reversed(steps):
            step()
            assert wallet_of(alice.account).balance_microusd == 10_000_000
        assert LedgerEntry.objects.count() == 1

    def test_the_success_page_grants_nothing_before_the_payment(self, alice, stripe):
        top_up = topup_ask(stripe, alice.account)
        assert refresh(top_up).state == "open"
        assert wallet_of(alice.account).balance_microusd == 0

    def test_a_bank_debit_is_credited_when_it_has_come(self, alice, stripe):
        top_up = topup_pay(stripe, alice.account, method="bank")
        deliver(stripe)
        assert wallet_of(alice.account).balance_microusd == 0
        intent = stripe_client.session_retrieve(session_id=top_up.session_id)["payment_intent"]
        stripe.settle(payment_intent=intent)
        deliver(stripe)
        assert wallet_of(alice.account).balance_microusd == 10_000_000

    def test_a_bank_debit_that_fails_is_told_and_credits_nothing(self, alice, stripe):
        top_up = topup_pay(stripe, alice.account, method="bank")
        intent = stripe_client.session_retrieve(session_id=top_up.session_id)["payment_intent"]
        stripe.settle(payment_intent=intent, succeeded=False)
        deliver(stripe)
        top_up.refresh_from_db()
        assert (top_up.state, wallet_of(alice.account).balance_microusd) == ("failed", 0)

    def test_an_expired_session_ends_the_row(self, alice, stripe):
        top_up = topup_ask(stripe, alice.account)
        stripe.expire(session=top_up.session_id)
        deliver(stripe)
        top_up.refresh_from_db()
        assert top_up.state == "expired"


class TestWhatIsAsked:
    @pytest.mark.parametrize("amount_cents", [0, 499, 1_000_001])
    def test_amounts_out_of_range_are_refused_before_a_row_exists(self, alice, stripe, amount_cents):
        with pytest.raises(TopUpAmountInvalid):
            topup_start(account=alice.account, amount_cents=amount_cents, nonce="n", now=timezone.now(), by=None)
        assert TopUp.objects.count() == 0

    def test_the_same_form_sent_twice_is_one_session(self, alice, stripe):
        for _ in range(2):
            row = topup_start(account=alice.account, amount_cents=500, nonce="form", now=timezone.now(), by=None)
            topup_page(top_up=row, **RETURN)
        assert TopUp.objects.count() == len(stripe.world.all("checkout.session")) == 1

    def test_an_account_has_one_customer(self, alice, stripe):
        topup_ask(stripe, alice.account)
        topup_ask(stripe, alice.account)
        assert StripeCustomer.objects.count() == len(stripe.world.all("customer")) == 1


class TestWhatIsNotBelieved:
    CHANGES = {
        "amount": {"amount_subtotal": 100_000},
        "currency": {"currency": "jpy"},
        "livemode": {"livemode": True},
        "mode": {"mode": "subscription"},
        "account": {"customer": "cus_of_somebody"},
        "session": {"id": "cs_test_other"},
    }

    @pytest.mark.parametrize("what", CHANGES)
    def test_a_session_that_differs_credits_nothing(self, alice, stripe, what):
        top_up = topup_pay(stripe, alice.account)
        session = stripe_client.session_retrieve(session_id=top_up.session_id) | self.CHANGES[what]
        with pytest.raises(PaymentMismatch) as refusal:
            topup_apply_session(top_up=top_up, session=session, now=timezone.now())
        assert refusal.value.fields["what"] == what
        assert wallet_of(alice.account).balance_microusd == 0

    def test_the_same_session_unchanged_is_credited(self, alice, stripe):
        """The control of the test above."""
        top_up = topup_pay(stripe, alice.account)
        session = stripe_client.session_retrieve(session_id=top_up.session_id)
        topup_apply_session(top_up=top_up, session=session, now=timezone.now())
        assert wallet_of(alice.account).balance_microusd == 10_000_000


class TestTrouble:
    @pytest.mark.parametrize("kind", ["error_after_commit", "drop_after_commit"])
    def test_a_session_whose_answer_was_lost_is_found_again(self, alice, stripe, kind):
        stripe.trouble.add(kind, method="POST", path="/v1/checkout/sessions")
        top_up = topup_ask(stripe, alice.account)
        assert top_up.session_id == stripe.world.all("checkout.session")[0]["id"]

    def test_a_process_that_died_before_saving_the_session_loses_no_payment(self, alice, stripe):
        top_up = topup_pay(stripe, alice.account)
        TopUp.objects.filter(pk=top_up.pk).update(session_id=None, state="created")
        deliver(stripe)
        assert wallet_of(alice.account).balance_microusd == 10_000_000

    def test_the_reconciler_credits_what_no_message_told(self, alice, stripe):
        top_up = topup_pay(stripe, alice.account)
        TopUp.objects.filter(pk=top_up.pk).update(session_id=None, state="created")
        reconcile_late()
        assert wallet_of(alice.account).balance_microusd == 10_000_000

    def test_an_outage_tells_the_customer_and_leaves_nothing_that_can_be_paid(self, alice, stripe):
        stripe.trouble.chance(1.0, "unavailable")
        with pytest.raises(PaymentProviderUnavailable):
            topup_ask(stripe, alice.account)
        stripe.trouble.clear()
        assert stripe.world.all("checkout.session") == []
        TopUp.objects.update(created_at=timezone.now() - timedelta(days=2))
        reconcile_late()
        assert TopUp.objects.get().state == "expired"

    def test_events_wait_out_an_outage(self, alice, stripe):
        topup_pay(stripe, alice.account)
        receive(stripe)
        stripe.trouble.chance(1.0, "unavailable")
        process(3)
        assert wallet_of(alice.account).balance_microusd == 0
        stripe.trouble.clear()
        process()
        assert wallet_of(alice.account).balance_microusd == 10_000_000
