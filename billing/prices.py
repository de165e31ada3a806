"""Products and prices at the provider, found or made by their lookup keys, and which plan each price buys.

Prices never change there. A plan with a new amount gets a new price that takes the lookup key over; the former one
stays known for those who pay it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from billing import stripe_client
from billing.customers import mode_now
from billing.entitlements import billing_url, plan_in_force
from billing.errors import PaymentsNotConfigured, PlanNotForSale
from billing.models import Mode, Plan, StripePrice
from billing.postpaid import METERED

# What post-paid calls cost, counted in micro-dollars.
METER_EVENT, METER_NAME, METERED_KEY = "image_charges_microusd", "Charges of post-paid images", "metered_month"


def plans_for_sale(now: datetime) -> list[Plan]:
    """The versions in force of the plans that have a monthly price and a lookup key."""
    codes = Plan.objects.values_list("code", flat=True).distinct()
    found = [plan_in_force(code, now) for code in codes.filter(effective_from__lte=now)]
    return sorted((plan for plan in found if plan.stripe_lookup_key and plan.public), key=lambda plan: plan.position)


def price_ensure(plan: Plan) -> StripePrice:
    """Find or make the plan's product and price at the provider. Asking twice finds what the first time made."""
    found = stripe_client.price_find_by_lookup_key(lookup_key=plan.stripe_lookup_key)
    if found is None or found["unit_amount"] != plan.monthly_price_cents:
        found = _price_make(plan, found)
    return _price_keep(plan, found)


def _price_make(plan: Plan, former: dict[str, Any] | None) -> dict[str, Any]:
    if former is None:
        product = stripe_client.product_create(
            name=plan.name, plan=plan.code, idempotency_key=f"product-{plan.stripe_lookup_key}"
        )
        product_id = str(product["id"])
    else:
        product_id = str(former["product"])
    return stripe_client.price_create(
        product_id=product_id,
        lookup_key=plan.stripe_lookup_key,
        amount_cents=plan.monthly_price_cents,
        idempotency_key=f"price-{plan.stripe_lookup_key}-{product_id}-{plan.monthly_price_cents}",
        takes_over_lookup_key=former is not None,
    )


@transaction.atomic
def _price_keep(plan: Plan, price: dict[str, Any]) -> StripePrice:
    mode = mode_now()
    StripePrice.objects.filter(mode=mode, plan_code=plan.code).exclude(stripe_id=price["id"]).update(current=False)
    kept, _ = StripePrice.objects.update_or_create(
        stripe_id=price["id"],
        defaults={
            "product_id": price["product"],
            "mode": mode,
            "plan_code": plan.code,
            "amount_cents": price["unit_amount"] or 0,
            "current": True,
        },
    )
    return kept


def price_for_sale(plan_code: str, *, now: datetime) -> StripePrice:
    """The price that a new subscription takes. The stand-in's are made at the first need, Stripe's by stripe_setup."""
    plan = next((plan for plan in plans_for_sale(now) if plan.code == plan_code), None)
    if plan is None:
        raise PlanNotForSale(plan=plan_code)
    current = StripePrice.objects.filter(mode=mode_now(), plan_code=plan_code, current=True).first()
    if current is not None and current.amount_cents == plan.monthly_price_cents:
        return current
    if mode_now() == Mode.SANDBOX:
        return price_ensure(plan)
    raise PaymentsNotConfigured(reason=f"no price of ${plan_code}: run manage.py stripe_setup")


def plan_of_price(price: dict[str, Any]) -> str:
    """The plan that a price buys; empty for a price that is none of ours, which entitles to nothing."""
    known = StripePrice.objects.filter(stripe_id=price["id"]).values_list("plan_code", flat=True).first()
    if known is not None or not price.get("lookup_key"):
        return known or ""
    if price["lookup_key"] == METERED_KEY:
        return METERED
    by_key = Plan.objects.filter(stripe_lookup_key=price["lookup_key"]).values_list("code", flat=True).first()
    return by_key or ""


def metered_price_ensure(now: datetime) -> StripePrice:
    """Find or make the meter, and the price of what it counts."""
    plan = plan_in_force(METERED, now)
    meter = stripe_client.meter_ensure(event_name=METER_EVENT, display_name=METER_NAME)
    found = stripe_client.price_find_by_lookup_key(lookup_key=METERED_KEY)
    if found is None:
        product = stripe_client.product_create(
            name=plan.name, plan=plan.code, idempotency_key=f"product-{METERED_KEY}-{meter['id']}"
        )
        found = stripe_client.metered_price_create(
            product_id=product["id"],
            lookup_key=METERED_KEY,
            meter_id=meter["id"],
            idempotency_key=f"price-{METERED_KEY}-{meter['id']}",
        )
    return _price_keep(plan, found)


def metered_price(now: datetime) -> StripePrice:
    """The price of post-paid use. The stand-in's is made at the first need, Stripe's by stripe_setup."""
    current = StripePrice.objects.filter(mode=mode_now(), plan_code=METERED, current=True).first()
    if current is not None:
        return current
    if mode_now() == Mode.SANDBOX:
        return metered_price_ensure(now)
    raise PaymentsNotConfigured(reason="no metered price: run manage.py stripe_setup")


def portal_configuration() -> str:
    """The portal's configuration for the prices now for sale."""
    products: dict[str, list[str]] = {}
    for price in StripePrice.objects.filter(mode=mode_now(), current=True).exclude(plan_code=METERED):
        products.setdefault(price.product_id, []).append(price.stripe_id)
    made = stripe_client.portal_configuration_ensure(products=products, return_url=billing_url())
    return str(made["id"])


def prices_ensure(*, now: datetime) -> list[StripePrice]:
    """Every plan's price, and the portal's configuration for them; where usage is exported, the meter and its price."""
    prices = [price_ensure(plan) for plan in plans_for_sale(now)]
    if settings.USAGE_EXPORT:
        prices.append(metered_price_ensure(now))
    portal_configuration()
    return prices
