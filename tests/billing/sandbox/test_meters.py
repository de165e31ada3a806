"""Usage meters: events, summaries, adjustments, errors that arrive elsewhere, and their invoices."""

import pytest
import stripe as library

from billing.sandbox import SandboxStripe
from tests.billing.sandbox.conftest import START
from tests.billing.sandbox.flows import Shop, invoices

DAY_S = 86_400
RENEWAL_S = 31 * DAY_S  # January
HOUR_S = 3_600


def meter(shop: Shop) -> str:
    return shop.v1.billing.meters.create(
        {"display_name": "Images", "event_name": "images", "default_aggregation": {"formula": "sum"}}
    ).id


def usage(shop: Shop, customer: str, value: str, identifier: str, **params: object) -> library.billing.MeterEvent:
    payload = {"stripe_customer_id": customer, "value": value}
    return shop.v1.billing.meter_events.create(
        {"event_name": "images", "payload": payload, "identifier": identifier, **params}
    )


def summed(shop: Shop, meter_id: str, customer: str) -> float:
    params = {"customer": customer, "start_time": START - DAY_S, "end_time": START + 60 * DAY_S}
    return shop.v1.billing.meters.event_summaries.list(meter_id, params).data[0].aggregated_value


def test_usage_is_summed_once_for_each_identifier(stripe: SandboxStripe, shop: Shop):
    meter_id, customer = meter(shop), shop.customer()
    usage(shop, customer, "3", "job1-0")
    usage(shop, customer, "4", "job2-0")
    with pytest.raises(library.InvalidRequestError, match="already exists with identifier job1-0"):
        usage(shop, customer, "3", "job1-0")
    assert summed(shop, meter_id, customer) == 7
    stripe.advance(seconds=DAY_S)
    usage(shop, customer, "3", "job1-0")
    assert summed(shop, meter_id, customer) == 10  # the window is over: sending again counts again


def test_summaries_lag_and_an_adjustment_takes_an_event_back(stripe: SandboxStripe, shop: Shop):
    stripe.rules_set(meter_lag_s=120)
    meter_id, customer = meter(shop), shop.customer()
    usage(shop, customer, "3", "job1-0")
    assert summed(shop, meter_id, customer) == 0
    stripe.advance(seconds=120)
    assert summed(shop, meter_id, customer) == 3
    shop.v1.billing.meter_event_adjustments.create(
        {"event_name": "images", "type": "cancel", "cancel": {"identifier": "job1-0"}}
    )
    assert summed(shop, meter_id, customer) == 0
    stripe.advance(seconds=DAY_S)
    with pytest.raises(library.InvalidRequestError):
        shop.v1.billing.meter_event_adjustments.create(
            {"event_name": "images", "type": "cancel", "cancel": {"identifier": "job1-0"}}
        )


@pytest.mark.parametrize(
    ("timestamp", "code"), [(START - 36 * DAY_S, "timestamp_too_far_in_past"), (START + 600, "timestamp_in_future")]
)
def test_usage_outside_the_window_of_time_is_refused(shop: Shop, timestamp: int, code: str):
    meter(shop)
    with pytest.raises(library.InvalidRequestError) as refused:
        usage(shop, shop.customer(), "1", "job1-0", timestamp=timestamp)
    assert refused.value.code == code


def test_usage_that_cannot_be_counted_is_taken_and_reported_elsewhere(stripe: SandboxStripe, shop: Shop):
    usage(shop, "cus_nobody", "1", "early")
    meter(shop)
    usage(shop, "cus_nobody", "1", "stranger")
    usage(shop, shop.customer(), "many", "words")
    found = {event["identifier"]: event["error"] for event in stripe.meter_errors()}
    assert found == {
        "early": "no_meter",
        "stranger": "meter_event_customer_not_found",
        "words": "meter_event_invalid_value",
    }


def test_metered_usage_is_billed_for_the_period_that_ended(stripe: SandboxStripe, shop: Shop):
    meter_id, customer = meter(shop), shop.customer()
    price = shop.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount_decimal": "0.47",
            "product_data": {"name": "Images"},
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter_id},
        }
    )
    shop.saved_card(customer)
    subscription = shop.v1.subscriptions.create({"customer": customer, "items": [{"price": price.id}]})
    assert subscription.status == "active"
    usage(shop, customer, "1001", "job1-0")
    stripe.advance(seconds=RENEWAL_S + HOUR_S)
    assert invoices(shop, subscription.id)[-1] == ("subscription_cycle", "paid", 470)
