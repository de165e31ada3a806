"""Customers, payments, refunds and what the reconciler re-reads. State is fetched here, never taken from an event."""

from __future__ import annotations

from collections.abc import Sequence

from billing.errors import PaymentProviderRefused
from billing.stripe_client.connection import Plain, call
from billing.stripe_client.library import stripe

TYPES_A_CALL_MAX = 20  # docs.stripe.com/api/events/list
DUPLICATE_USAGE = "already exists with identifier"


def customer_create(*, account_id: str, email: str, name: str, idempotency_key: str) -> Plain:
    customer: Plain = call(
        "customer_create",
        lambda client: client.v1.customers.create(
            {"email": email, "name": name, "metadata": {"account": account_id}}, {"idempotency_key": idempotency_key}
        ),
    )
    return customer


def customer_delete(*, customer_id: str) -> None:
    """Removes name, address, e-mail and cards there. Payments, refunds and invoices stay. Deleting twice is once."""
    try:
        call("customer_delete", lambda client: client.v1.customers.delete(customer_id))
    except PaymentProviderRefused as refused:
        if refused.fields.get("provider_code") != "resource_missing":
            raise


def payment_methods_list(*, customer_id: str) -> list[Plain]:
    listed: Plain = call(
        "payment_methods_list",
        lambda client: client.v1.payment_methods.list({"customer": customer_id, "limit": 100}),
    )
    return list(listed["data"])


def subscription_retrieve(*, subscription_id: str) -> Plain:
    """The period stands on the items: `subscription["items"]["data"][0]["current_period_end"]`."""
    subscription: Plain = call(
        "subscription_retrieve", lambda client: client.v1.subscriptions.retrieve(subscription_id)
    )
    return subscription


def subscriptions_list(*, customer_id: str) -> list[Plain]:
    """All of a customer's subscriptions, the ended ones too, which Stripe leaves out unless asked."""
    listed: Plain = call(
        "subscriptions_list",
        lambda client: client.v1.subscriptions.list({"customer": customer_id, "status": "all", "limit": 100}),
    )
    return list(listed["data"])


def subscription_create_metered(
    *, customer_id: str, price_id: str, account_id: str, anchor_s: int, days_until_due: int, idempotency_key: str
) -> Plain:
    """Bills what a meter counts, month by month from `anchor_s` on, by invoices that the customer gets and pays."""
    subscription: Plain = call(
        "subscription_create_metered",
        lambda client: client.v1.subscriptions.create(
            {
                "customer": customer_id,
                "items": [{"price": price_id}],
                "billing_cycle_anchor": anchor_s,
                "collection_method": "send_invoice",
                "days_until_due": days_until_due,
                "metadata": {"account": account_id},
            },
            {"idempotency_key": idempotency_key},
        ),
    )
    return subscription


def subscription_ends_set(*, subscription_id: str, ends: bool) -> Plain:
    """Whether a subscription runs out at the end of its period; what a meter counted until then is still invoiced."""
    subscription: Plain = call(
        "subscription_ends_set",
        lambda client: client.v1.subscriptions.update(subscription_id, {"cancel_at_period_end": ends}),
    )
    return subscription


def invoice_retrieve(*, invoice_id: str) -> Plain:
    """With its payments, which are absent unless asked for. The subscription is at
    `invoice["parent"]["subscription_details"]["subscription"]`, and `parent` may be null."""
    invoice: Plain = call(
        "invoice_retrieve", lambda client: client.v1.invoices.retrieve(invoice_id, {"expand": ["payments"]})
    )
    return invoice


def invoices_list(*, customer_id: str, limit: int = 24) -> list[Plain]:
    """Newest first."""
    listed: Plain = call(
        "invoices_list", lambda client: client.v1.invoices.list({"customer": customer_id, "limit": limit})
    )
    return list(listed["data"])


def payment_intent_retrieve(*, payment_intent_id: str) -> Plain:
    intent: Plain = call(
        "payment_intent_retrieve", lambda client: client.v1.payment_intents.retrieve(payment_intent_id)
    )
    return intent


def payment_intent_create_off_session(
    *,
    topup_id: str,
    account_id: str,
    customer_id: str,
    payment_method_id: str,
    amount_cents: int,
    description: str,
    currency: str = "usd",
) -> Plain:
    """Charges a saved card while nobody is there. Raises CardDeclined, whose `needs_person` tells an authentication
    from a refusal. After PaymentProviderUnavailable with `outcome_unknown` ask again with the same top-up within a
    day: Stripe answers what happened."""
    intent: Plain = call(
        "payment_intent_create_off_session",
        lambda client: client.v1.payment_intents.create(
            {
                "amount": amount_cents,
                "currency": currency,
                "customer": customer_id,
                "payment_method": payment_method_id,
                "off_session": True,
                "confirm": True,
                "description": description,
                "metadata": {"topup": topup_id, "account": account_id},
            },
            {"idempotency_key": f"recharge-{topup_id}"},
        ),
        moves_money=True,
    )
    return intent


def payment_intent_find(*, customer_id: str, topup_id: str, created_from_s: int) -> Plain | None:
    """The payment of a row of ours whose answer was lost: Stripe repeats a stored fault for its key, so look."""

    def search(client: stripe.StripeClient) -> Plain | None:
        listed = client.v1.payment_intents.list(
            {"customer": customer_id, "created": {"gte": created_from_s}, "limit": 100}
        )
        for intent in listed.auto_paging_iter():
            if intent.to_dict(for_json=True)["metadata"].get("topup") == topup_id:
                return intent.to_dict(for_json=True)
        return None

    found: Plain | None = call("payment_intent_find", search)
    return found


def refund_create(*, refund_id: str, payment_intent_id: str, amount_cents: int) -> Plain:
    """Refunds a part of a payment; our refund row's id is the key, so asking again is the same refund."""
    refund: Plain = call(
        "refund_create",
        lambda client: client.v1.refunds.create(
            {
                "payment_intent": payment_intent_id,
                "amount": amount_cents,
                "reason": "requested_by_customer",
                "metadata": {"refund": refund_id},
            },
            {"idempotency_key": f"refund-{refund_id}"},
        ),
        moves_money=True,
    )
    return refund


def refund_retrieve(*, refund_id: str) -> Plain:
    """By Stripe's id, `re_...`."""
    refund: Plain = call("refund_retrieve", lambda client: client.v1.refunds.retrieve(refund_id))
    return refund


def charge_retrieve(*, charge_id: str) -> Plain:
    charge: Plain = call("charge_retrieve", lambda client: client.v1.charges.retrieve(charge_id))
    return charge


def dispute_retrieve(*, dispute_id: str) -> Plain:
    dispute: Plain = call("dispute_retrieve", lambda client: client.v1.disputes.retrieve(dispute_id))
    return dispute


def events_list(*, types: Sequence[str], created_from_s: int, created_before_s: int | None = None) -> list[Plain]:
    """All events of these types since an instant, up to another, oldest first. Stripe keeps them 30 days and takes 20
    types a call."""

    def read(client: stripe.StripeClient) -> list[Plain]:
        found: list[Plain] = []
        for start in range(0, len(types), TYPES_A_CALL_MAX):
            wanted = list(types[start : start + TYPES_A_CALL_MAX])
            span: stripe.params.EventListParamsCreated = {"gte": created_from_s}
            if created_before_s is not None:
                span["lt"] = created_before_s
            listed = client.v1.events.list({"types": wanted, "created": span, "limit": 100})
            found.extend(event.to_dict(for_json=True) for event in listed.auto_paging_iter())
        return found

    events: list[Plain] = call("events_list", read)
    return sorted(reversed(events), key=lambda event: int(event["created"]))


def balance_transactions_list(*, created_from_s: int, created_before_s: int) -> list[Plain]:
    """What moved the seller's own balance from an instant to another, with Stripe's fee of each, newest first."""

    def read(client: stripe.StripeClient) -> list[Plain]:
        listed = client.v1.balance_transactions.list(
            {"created": {"gte": created_from_s, "lt": created_before_s}, "limit": 100}
        )
        return [found.to_dict(for_json=True) for found in listed.auto_paging_iter()]

    transactions: list[Plain] = call("balance_transactions_list", read)
    return transactions


def meter_event_create(*, event_name: str, customer_id: str, value: int, identifier: str, timestamp_s: int) -> Plain:
    """Reports usage. An identifier that Stripe holds already is the same fact, so that is a success too, marked
    `duplicate`. It has no idempotency key of ours, as a stored fault would be repeated for a day. Stripe holds
    identifiers for a day only: older rows are compared with meter_usage_retrieve instead."""
    try:
        event: Plain = call(
            "meter_event_create",
            lambda client: client.v1.billing.meter_events.create(
                {
                    "event_name": event_name,
                    "payload": {"stripe_customer_id": customer_id, "value": str(value)},
                    "identifier": identifier,
                    "timestamp": timestamp_s,
                },
            ),
        )
    except PaymentProviderRefused as refused:
        if DUPLICATE_USAGE not in str(refused.fields["reason"]):
            raise
        return {"identifier": identifier, "duplicate": True}
    return {**event, "duplicate": False}


def meter_usage_retrieve(*, meter_id: str, customer_id: str, start_s: int, end_s: int) -> int:
    """What Stripe has counted between two full minutes; it lags behind what was sent."""
    listed: Plain = call(
        "meter_usage_retrieve",
        lambda client: client.v1.billing.meters.event_summaries.list(
            meter_id, {"customer": customer_id, "start_time": start_s, "end_time": end_s, "limit": 100}
        ),
    )
    return sum(int(summary["aggregated_value"]) for summary in listed["data"])
