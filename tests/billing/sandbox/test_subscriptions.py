"""Subscriptions over time: renewals, failures, changes of plan, pauses, ends. Also portal, meters and test clocks."""

import pytest
import stripe as library

from billing.sandbox import SandboxStripe
from tests.billing.sandbox.conftest import START
from tests.billing.sandbox.flows import Shop, invoices

DAY_S = 86_400
RENEWAL_S = 31 * DAY_S  # January
HOUR_S = 3_600


def card_fails(stripe: SandboxStripe, shop: Shop, subscription: str, behaviour: str = "card_declined") -> str:
    method = shop.subscription(subscription)["default_payment_method"]
    stripe.method_behaves(payment_method=method, behaviour=behaviour)
    return method


def test_a_renewal_is_drafted_at_the_end_of_the_period_and_paid_an_hour_later(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    stripe.advance(seconds=RENEWAL_S - 1)
    assert len(invoices(shop, subscription)) == 1
    stripe.advance(seconds=1)
    assert invoices(shop, subscription)[-1] == ("subscription_cycle", "draft", 4700)
    item = shop.subscription(subscription)["items"]["data"][0]
    assert (item["current_period_start"], item["current_period_end"]) == (
        START + RENEWAL_S,
        START + RENEWAL_S + 28 * DAY_S,
    )
    stripe.advance(seconds=HOUR_S)
    assert invoices(shop, subscription)[-1] == ("subscription_cycle", "paid", 4700)
    assert stripe.event_types[-1] == "invoice.paid"


def test_a_year_of_months_is_billed_twelve_times_more(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    stripe.advance(days=365, seconds=HOUR_S)
    found = shop.v1.invoices.list({"subscription": subscription, "limit": 100}).data
    assert [invoice.status for invoice in found] == ["paid"] * 13
    assert len({invoice.number for invoice in found}) == 13


def test_a_period_that_began_on_the_31st_ends_on_the_last_day_and_returns(stripe: SandboxStripe, shop: Shop):
    stripe.advance(days=30)  # January 31
    subscription = shop.subscribed(shop.customer(), shop.price())
    ends = []
    for _ in range(3):
        ends.append((shop.subscription(subscription)["items"]["data"][0]["current_period_end"] - START) // DAY_S)
        stripe.advance(seconds=START + ends[-1] * DAY_S - stripe.world.now() + HOUR_S)
    assert ends == [31 + 27, 31 + 28 + 30, 31 + 28 + 31 + 29]  # February 28, March 31, April 30


def test_a_failed_renewal_is_retried_and_recovers(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    method = card_fails(stripe, shop, subscription)
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    assert shop.subscription(subscription)["status"] == "past_due"
    (failed, _) = shop.v1.invoices.list({"subscription": subscription}).data
    assert (failed.status, failed.attempt_count, failed.next_payment_attempt) == (
        "open",
        1,
        stripe.world.now() + 3 * DAY_S,
    )
    stripe.method_behaves(payment_method=method, behaviour="card")
    stripe.advance(days=3)
    assert (shop.subscription(subscription)["status"], invoices(shop, subscription)[-1][1]) == ("active", "paid")


@pytest.mark.parametrize(
    ("choice", "status", "event_type"),
    [
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("unpaid", "unpaid", "customer.subscription.updated"),
        ("pause", "paused", "customer.subscription.paused"),
        ("past_due", "past_due", "invoice.payment_failed"),
    ],
)
def test_the_last_failed_retry_ends_as_the_settings_say(
    stripe: SandboxStripe, shop: Shop, choice: str, status: str, event_type: str
):
    stripe.rules_set(after_last_retry=choice)
    subscription = shop.subscribed(shop.customer(), shop.price())
    card_fails(stripe, shop, subscription)
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    stripe.advance(days=3 + 5 + 7)
    assert shop.subscription(subscription)["status"] == status
    assert stripe.event_types[-1] == event_type
    assert stripe.event_types.count("invoice.payment_failed") == 4


def test_a_renewal_that_needs_the_person_says_so(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    card_fails(stripe, shop, subscription, "authenticate")
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    assert "invoice.payment_action_required" in stripe.event_types
    assert shop.subscription(subscription)["status"] == "past_due"


def test_a_failed_invoice_can_be_paid_by_hand(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    card_fails(stripe, shop, subscription)
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    invoice = shop.subscription(subscription)["latest_invoice"]
    with pytest.raises(library.CardError):
        shop.v1.invoices.pay(invoice)
    assert shop.v1.invoices.pay(invoice, {"payment_method": "pm_card_visa"}).status == "paid"
    assert shop.subscription(subscription)["status"] == "active"


def test_a_subscription_whose_first_payment_fails_is_incomplete_and_expires(stripe: SandboxStripe, shop: Shop):
    customer, price = shop.customer(), shop.price()
    shop.saved_card(customer, "pm_card_chargeCustomerFail")
    created = shop.v1.subscriptions.create({"customer": customer, "items": [{"price": price}]})
    assert created.status == "incomplete"
    stripe.advance(seconds=23 * HOUR_S)
    assert shop.subscription(created.id)["status"] == "incomplete_expired"
    assert shop.v1.subscriptions.list({"customer": customer}).data == []


def test_error_if_incomplete_makes_nothing(shop: Shop):
    customer, price = shop.customer(), shop.price()
    shop.saved_card(customer, "pm_card_chargeCustomerFail")
    with pytest.raises(library.CardError):
        shop.v1.subscriptions.create(
            {"customer": customer, "items": [{"price": price}], "payment_behavior": "error_if_incomplete"}
        )
    assert shop.v1.subscriptions.list({"status": "all"}).data == []


def test_cancelling_at_the_end_keeps_the_plan_active_until_then(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    updated = shop.v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
    assert (updated.status, updated.cancel_at) == ("active", START + RENEWAL_S)
    assert stripe.events[-1]["data"]["previous_attributes"]["cancel_at_period_end"] is False
    stripe.advance(seconds=RENEWAL_S)
    ended = shop.subscription(subscription)
    assert (ended["status"], ended["ended_at"], ended["cancellation_details"]["reason"]) == (
        "canceled",
        START + RENEWAL_S,
        "cancellation_requested",
    )
    assert stripe.event_types[-1] == "customer.subscription.deleted"
    assert len(invoices(shop, subscription)) == 1


def test_a_planned_end_can_be_taken_back(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    shop.v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
    shop.v1.subscriptions.update(subscription, {"cancel_at_period_end": False})
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    assert shop.subscription(subscription)["status"] == "active"


def test_lists_leave_out_what_has_ended_unless_asked(shop: Shop):
    customer = shop.customer()
    subscription = shop.subscribed(customer, shop.price())
    shop.v1.subscriptions.cancel(subscription)
    assert shop.v1.subscriptions.list({"customer": customer}).data == []
    assert [found.id for found in shop.v1.subscriptions.list({"customer": customer, "status": "all"}).data] == [
        subscription
    ]
    with pytest.raises(library.InvalidRequestError):
        shop.v1.subscriptions.cancel(subscription)


def upgrade(shop: Shop, subscription: str, price: str, behaviour: str) -> None:
    item = shop.subscription(subscription)["items"]["data"][0]["id"]
    shop.v1.subscriptions.update(
        subscription, {"items": [{"id": item, "price": price}], "proration_behavior": behaviour}
    )


def test_an_upgrade_is_billed_at_once_for_the_rest_of_the_period(stripe: SandboxStripe, shop: Shop):
    subscription, premium = shop.subscribed(shop.customer(), shop.price(3100)), shop.price(6200, "Premium")
    stripe.advance(days=21)  # 10 of 31 days are left
    upgrade(shop, subscription, premium, "always_invoice")
    assert invoices(shop, subscription)[-1] == ("subscription_update", "paid", 2000 - 1000)
    item = shop.subscription(subscription)["items"]["data"][0]
    assert (item["price"]["id"], item["current_period_end"]) == (premium, START + RENEWAL_S)
    stripe.advance(days=10, seconds=HOUR_S)
    assert invoices(shop, subscription)[-1] == ("subscription_cycle", "paid", 6200)


def test_an_upgrade_with_waiting_prorations_is_billed_with_the_renewal(stripe: SandboxStripe, shop: Shop):
    subscription, premium = shop.subscribed(shop.customer(), shop.price(3100)), shop.price(6200, "Premium")
    stripe.advance(days=21)
    upgrade(shop, subscription, premium, "create_prorations")
    assert len(invoices(shop, subscription)) == 1
    stripe.advance(days=10, seconds=HOUR_S)
    assert invoices(shop, subscription)[-1] == ("subscription_cycle", "paid", 6200 + 1000)


def test_a_downgrade_leaves_a_credit_that_pays_the_next_invoice(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    subscription, cheap = shop.subscribed(customer, shop.price(6200)), shop.price(3100, "Basic")
    stripe.advance(days=21)
    upgrade(shop, subscription, cheap, "always_invoice")
    assert shop.v1.customers.retrieve(customer).balance == -1000
    stripe.advance(days=10, seconds=HOUR_S)
    renewal = shop.v1.invoices.list({"subscription": subscription}).data[0]
    assert (renewal.total, renewal.amount_due, renewal.status) == (3100, 2100, "paid")


def test_a_yearly_price_starts_a_new_period(stripe: SandboxStripe, shop: Shop):
    subscription, yearly = (
        shop.subscribed(shop.customer(), shop.price(3100)),
        shop.price(30_000, recurring={"interval": "year"}),
    )
    stripe.advance(days=21)
    upgrade(shop, subscription, yearly, "create_prorations")
    item = shop.subscription(subscription)["items"]["data"][0]
    assert item["current_period_end"] - item["current_period_start"] == 365 * DAY_S
    assert invoices(shop, subscription)[-1] == ("subscription_update", "paid", 30_000 - 1000)


def test_a_paused_subscription_is_not_billed_until_it_resumes(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    paused = shop.v1.subscriptions.pause(subscription, {"type": "subscription"})
    assert (paused.status, paused.status_details.paused.subscription.type) == ("paused", "pause_requested")
    stripe.advance(days=70)
    assert len(invoices(shop, subscription)) == 1
    resumed = shop.v1.subscriptions.resume(subscription, {"billing_cycle_anchor": {"type": "now"}})
    assert (resumed.status, resumed["items"].data[0].current_period_start) == ("active", START + 70 * DAY_S)
    assert invoices(shop, subscription)[-1] == ("subscription_update", "paid", 4700)
    assert {"customer.subscription.paused", "customer.subscription.resumed"} <= set(stripe.event_types)


def test_a_pause_with_the_old_anchor_skips_the_periods_between(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    shop.v1.subscriptions.pause(subscription)
    stripe.advance(days=70)  # March 12
    resumed = shop.v1.subscriptions.resume(subscription, {"billing_cycle_anchor": {"type": "unchanged"}})
    item = resumed["items"].data[0]
    assert ((item.current_period_start - START) // DAY_S, (item.current_period_end - START) // DAY_S) == (59, 90)
    assert [status for _, status, _ in invoices(shop, subscription)] == ["paid", "paid"]


@pytest.mark.parametrize(
    ("behaviour", "status"), [("void", "void"), ("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible")]
)
def test_paused_collection_sets_invoices_aside(stripe: SandboxStripe, shop: Shop, behaviour: str, status: str):
    subscription = shop.subscribed(shop.customer(), shop.price())
    shop.v1.subscriptions.update(subscription, {"pause_collection": {"behavior": behaviour}})
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    assert invoices(shop, subscription)[-1][1] == status
    assert shop.subscription(subscription)["status"] == "active"


def portal(shop: Shop, customer: str, prices: list[str], **update: object) -> str:
    products = [{"product": shop.v1.prices.retrieve(price).product, "prices": [price]} for price in prices]
    features = {
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "products": products,
            "proration_behavior": "always_invoice",
            **update,
        },
    }
    configuration = shop.v1.billing_portal.configurations.create({"features": features})
    session = {"customer": customer, "configuration": configuration.id, "return_url": "http://shop.test/billing"}
    return shop.v1.billing_portal.sessions.create(session).id


def test_the_portal_cancels_renews_and_switches(stripe: SandboxStripe, shop: Shop):
    customer, standard, premium = shop.customer(), shop.price(3100), shop.price(6200, "Premium")
    subscription = shop.subscribed(customer, standard)
    session = portal(shop, customer, [standard, premium])
    stripe.portal_cancel(session=session, subscription=subscription)
    assert shop.subscription(subscription)["cancel_at_period_end"]
    stripe.portal_renew(session=session, subscription=subscription)
    assert not shop.subscription(subscription)["cancel_at_period_end"]
    stripe.portal_switch(session=session, subscription=subscription, price=premium)
    assert invoices(shop, subscription)[-1] == ("subscription_update", "paid", 3100)
    stripe.portal_replace_method(session=session, method="card_declined")
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    assert shop.subscription(subscription)["status"] == "past_due"


def test_the_portal_downgrades_at_the_end_of_the_period(stripe: SandboxStripe, shop: Shop):
    customer, standard, premium = shop.customer(), shop.price(3100), shop.price(6200, "Premium")
    subscription = shop.subscribed(customer, premium)
    session = portal(
        shop, customer, [standard, premium], schedule_at_period_end={"conditions": [{"type": "decreasing_item_amount"}]}
    )
    stripe.portal_switch(session=session, subscription=subscription, price=standard)
    planned = shop.subscription(subscription)
    assert planned["items"]["data"][0]["price"]["id"] == premium
    schedule = shop.v1.subscription_schedules.retrieve(planned["schedule"])
    assert [phase["items"][0].price for phase in schedule.phases] == [premium, standard]
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    assert shop.subscription(subscription)["items"]["data"][0]["price"]["id"] == standard
    assert invoices(shop, subscription)[-1] == ("subscription_cycle", "paid", 3100)
    assert shop.v1.subscription_schedules.retrieve(schedule.id).status == "completed"


def test_the_portal_offers_only_what_its_configuration_says(stripe: SandboxStripe, shop: Shop):
    customer, standard, hidden = shop.customer(), shop.price(3100), shop.price(1, "Hidden")
    subscription = shop.subscribed(customer, standard)
    session = portal(shop, customer, [standard])
    with pytest.raises(Exception, match="does not offer"):
        stripe.portal_switch(session=session, subscription=subscription, price=hidden)
    stranger = portal(shop, shop.customer(email="charlie@example.com"), [standard])
    with pytest.raises(Exception, match="somebody else"):
        stripe.portal_cancel(session=stranger, subscription=subscription)


def test_a_portal_needs_a_configuration(shop: Shop):
    with pytest.raises(library.InvalidRequestError, match="default configuration has not been created"):
        shop.v1.billing_portal.sessions.create({"customer": shop.customer()})


def test_a_test_clock_renews_its_own_customers_only(stripe: SandboxStripe, shop: Shop):
    clock = shop.v1.test_helpers.test_clocks.create({"frozen_time": START + 1000, "name": "renewals"})
    price = shop.price()
    inside, outside = shop.customer(test_clock=clock.id), shop.customer()
    first, second = shop.subscribed(inside, price), shop.subscribed(outside, price)
    advanced = shop.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": START + 1000 + RENEWAL_S + HOUR_S})
    assert advanced.status == "advancing"
    assert shop.v1.test_helpers.test_clocks.retrieve(clock.id).status == "ready"
    assert [len(invoices(shop, found)) for found in (first, second)] == [2, 1]
    assert shop.v1.customers.list({}).data[0].id == outside
    shop.v1.test_helpers.test_clocks.delete(clock.id)
    assert shop.subscription(first)["status"] == "canceled"
    assert shop.v1.customers.retrieve(inside).deleted
