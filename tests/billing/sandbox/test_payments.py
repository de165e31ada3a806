"""Payments without the person present, refunds and disputes."""

import pytest
import stripe as library

from billing.sandbox import SandboxStripe
from tests.billing.sandbox.conftest import START
from tests.billing.sandbox.flows import Shop


def recharge(
    shop: Shop, customer: str, method: str, cents: int = 2000, key: str = "recharge-1"
) -> library.PaymentIntent:
    params = {
        "amount": cents,
        "currency": "usd",
        "customer": customer,
        "payment_method": method,
        "off_session": True,
        "confirm": True,
    }
    return shop.v1.payment_intents.create({**params, "metadata": {"topup": "9"}}, {"idempotency_key": key})


def paid_charge(shop: Shop, stripe: SandboxStripe, cents: int = 1000, method: str = "card") -> str:
    session = shop.topup(shop.customer(), cents)
    stripe.pay(session=session.id, method=method)
    return shop.v1.payment_intents.retrieve(shop.session(session.id).payment_intent).latest_charge


def test_a_saved_card_pays_without_the_person(shop: Shop):
    customer = shop.customer()
    intent = recharge(shop, customer, shop.saved_card(customer))
    assert (intent.status, intent.amount_received, intent.metadata.to_dict()) == ("succeeded", 2000, {"topup": "9"})


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
    ],
)
def test_a_decline_is_a_402_that_leaves_its_intent_behind(shop: Shop, card: str, code: str, decline_code: str):
    customer = shop.customer()
    with pytest.raises(library.CardError) as declined:
        recharge(shop, customer, shop.saved_card(customer, card))
    error = declined.value.error
    assert (declined.value.http_status, declined.value.code, error.decline_code) == (402, code, decline_code)
    assert shop.v1.payment_intents.retrieve(error.payment_intent.id).status == "requires_payment_method"


def test_a_replayed_decline_declines_the_same_way_without_a_second_charge(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    card = shop.saved_card(customer, "pm_card_chargeCustomerFail")
    for _ in range(2):
        with pytest.raises(library.CardError):
            recharge(shop, customer, card)
    assert len(shop.v1.charges.list({"customer": customer}).data) == 1
    assert stripe.requests[-2].replayed


def test_off_session_without_confirm_is_refused(shop: Shop):
    customer = shop.customer()
    params = {
        "amount": 2000,
        "currency": "usd",
        "customer": customer,
        "payment_method": shop.saved_card(customer),
        "off_session": True,
    }
    with pytest.raises(library.InvalidRequestError, match="confirm"):
        shop.v1.payment_intents.create(params)


def test_somebody_elses_card_is_refused(shop: Shop):
    alices, bob = shop.saved_card(shop.customer()), shop.customer(email="bob@example.com")
    with pytest.raises(library.InvalidRequestError, match="belongs to a Customer"):
        recharge(shop, bob, alices)


def test_a_card_can_start_to_fail(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    card = shop.saved_card(customer)
    recharge(shop, customer, card)
    stripe.method_behaves(payment_method=card, behaviour="expired")
    with pytest.raises(library.CardError) as declined:
        recharge(shop, customer, card, key="recharge-2")
    assert declined.value.code == "expired_card"


def test_a_partial_and_a_full_refund_add_up(stripe: SandboxStripe, shop: Shop):
    charge = paid_charge(shop, stripe)
    first = shop.v1.refunds.create({"charge": charge, "amount": 300}, {"idempotency_key": "refund-1"})
    assert (first.status, shop.v1.charges.retrieve(charge).amount_refunded) == ("succeeded", 300)
    rest = shop.v1.refunds.create({"payment_intent": first.payment_intent, "reason": "requested_by_customer"})
    assert (rest.amount, shop.v1.charges.retrieve(charge).refunded) == (700, True)
    assert stripe.event_types[-2:] == ["refund.created", "charge.refunded"]
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.v1.refunds.create({"charge": charge})
    assert refused.value.code == "charge_already_refunded"


def test_more_than_was_paid_cannot_be_refunded(stripe: SandboxStripe, shop: Shop):
    charge = paid_charge(shop, stripe)
    with pytest.raises(library.InvalidRequestError, match=r"\$10.01\) is greater than"):
        shop.v1.refunds.create({"charge": charge, "amount": 1001})
    assert shop.v1.refunds.list({"charge": charge}).data == []


def test_a_pending_refund_settles_later(stripe: SandboxStripe, shop: Shop):
    stripe.rules_set(refund_status="pending")
    refund = shop.v1.refunds.create({"charge": paid_charge(shop, stripe)})
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    stripe.refund_settle(refund=refund.id)
    assert shop.v1.refunds.retrieve(refund.id).status == "succeeded"
    assert stripe.event_types[-2:] == ["refund.updated", "charge.refund.updated"]


@pytest.mark.parametrize("before", ["pending", "succeeded"])
def test_a_failed_refund_gives_the_amount_back_to_the_charge(stripe: SandboxStripe, shop: Shop, before: str):
    stripe.rules_set(refund_status=before)
    charge = paid_charge(shop, stripe)
    refund = shop.v1.refunds.create({"charge": charge, "amount": 400})
    stripe.refund_settle(refund=refund.id, status="failed")
    assert shop.v1.refunds.retrieve(refund.id).status == "failed"
    assert shop.v1.charges.retrieve(charge).amount_refunded == 0
    assert stripe.event_types[-1] == "refund.failed"
    balance = sum(entry.amount for entry in shop.v1.balance_transactions.list({}).data)
    assert balance == 1000


def test_a_disputing_card_disputes_by_itself(stripe: SandboxStripe, shop: Shop):
    charge = paid_charge(shop, stripe, method="disputed")
    (dispute,) = shop.v1.disputes.list({"charge": charge}).data
    assert (dispute.status, dispute.amount, shop.v1.charges.retrieve(charge).disputed) == ("needs_response", 1000, True)
    assert stripe.event_types[-2:] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.v1.refunds.create({"charge": charge})
    assert refused.value.code == "charge_disputed"


@pytest.mark.parametrize(
    ("evidence", "status", "last"),
    [
        ("winning_evidence", "won", "charge.dispute.funds_reinstated"),
        ("losing_evidence", "lost", "charge.dispute.closed"),
    ],
)
def test_evidence_decides_a_dispute(stripe: SandboxStripe, shop: Shop, evidence: str, status: str, last: str):
    dispute = stripe.dispute_open(charge=paid_charge(shop, stripe))
    shop.v1.disputes.update(dispute["id"], {"evidence": {"uncategorized_text": evidence}, "submit": True})
    assert shop.v1.disputes.retrieve(dispute["id"]).status == status
    assert stripe.event_types[-1] == last
    taken = sum(entry.amount for entry in shop.v1.disputes.retrieve(dispute["id"]).balance_transactions)
    assert taken == (0 if status == "won" else -1000)


def test_an_inquiry_takes_no_money(stripe: SandboxStripe, shop: Shop):
    dispute = stripe.dispute_open(charge=paid_charge(shop, stripe), inquiry=True)
    stripe.dispute_close(dispute=dispute["id"], status="warning_closed")
    assert "charge.dispute.funds_withdrawn" not in stripe.event_types
    assert stripe.event_types[-1] == "charge.dispute.closed"


def test_a_dispute_can_be_given_up(stripe: SandboxStripe, shop: Shop):
    dispute = stripe.dispute_open(charge=paid_charge(shop, stripe))
    assert shop.v1.disputes.close(dispute["id"]).status == "lost"
    with pytest.raises(Exception, match="already closed"):
        stripe.dispute_close(dispute=dispute["id"], status="won")


def test_fees_are_those_of_stripe(stripe: SandboxStripe, shop: Shop):
    charge = shop.v1.charges.retrieve(paid_charge(shop, stripe, 5000), {"expand": ["balance_transaction"]})
    assert (charge.balance_transaction.fee, charge.balance_transaction.net) == (175, 4825)


def test_deleting_a_customer_ends_what_it_owns(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    subscription = shop.subscribed(customer, shop.price())
    assert shop.v1.customers.delete(customer).deleted
    assert shop.v1.customers.retrieve(customer).deleted
    assert shop.subscription(subscription)["status"] == "canceled"
    assert stripe.event_types[-2:] == ["customer.subscription.deleted", "customer.deleted"]
    with pytest.raises(library.InvalidRequestError, match="No such customer"):
        shop.topup(customer)


def test_metadata_merges_and_can_be_unset(shop: Shop):
    customer = shop.customer(metadata={"account": "7", "old": "x"})
    updated = shop.v1.customers.update(customer, {"metadata": {"old": "", "new": "y"}, "name": "Alice"})
    assert (updated.metadata.to_dict(), updated.name) == ({"account": "7", "new": "y"}, "Alice")
    assert shop.v1.customers.update(customer, {"metadata": ""}).metadata.to_dict() == {}


def test_a_lookup_key_moves_to_a_new_price(shop: Shop):
    old = shop.price(4700, lookup_key="std_month")
    with pytest.raises(library.InvalidRequestError, match="already uses that lookup key"):
        shop.price(4900, lookup_key="std_month")
    new = shop.price(4900, lookup_key="std_month", transfer_lookup_key=True)
    assert [price.id for price in shop.v1.prices.list({"lookup_keys": ["std_month"], "active": True}).data] == [new]
    assert shop.v1.prices.retrieve(old).lookup_key is None


def test_an_amount_of_a_price_cannot_be_edited(stripe: SandboxStripe, shop: Shop):
    price = shop.price(4700)
    with pytest.raises(library.InvalidRequestError, match="unknown parameter: unit_amount"):
        shop.v1.prices.update(price, {"unit_amount": 1})
    assert shop.v1.prices.retrieve(price).unit_amount == 4700
    assert stripe.faults.pop() == f"POST /v1/prices/{price}: unit_amount: unknown field"


def test_a_payment_intent_can_be_cancelled_before_it_is_paid(shop: Shop):
    intent = shop.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    assert shop.v1.payment_intents.cancel(intent.id).status == "canceled"
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert refused.value.code == "payment_intent_unexpected_state"


def test_objects_say_when_they_were_made(shop: Shop):
    assert shop.v1.customers.retrieve(shop.customer()).created == START
