"""The plans and prices that a new installation starts with. Afterwards they are data: new versions, never edits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils.translation import gettext_noop as _

from billing.models import Plan, Price

SEEDED_FROM = datetime(2026, 1, 1, tzinfo=UTC)
SD_CODES = ["sd15", "sdxl"]

PLANS: tuple[dict[str, Any], ...] = (
    {
        "code": "free",
        "name": "Free",
        "summary": _("100 calls a day, no card."),
        "calls_per_minute": 10,
        "queued_calls": 2,
        "free_calls_per_day": 100,
    },
    {
        "code": "payg",
        "name": "Pay as you go",
        "summary": _("100 free calls a day, then per image from prepaid funds."),
        "calls_per_minute": 1000,
        "queued_calls": 5,
        "free_calls_per_day": 100,
        "pays_from_funds": True,
        "weight": 2,
    },
    {
        "code": "standard",
        "name": "Standard",
        "summary": _("10,000 calls a month on every model."),
        "monthly_price_cents": 4700,
        "stripe_lookup_key": "std_month",
        "calls_per_minute": 1000,
        "queued_calls": 10,
        "period_calls": 10_000,
        "weight": 3,
    },
    {
        "code": "unlimited",
        "name": "Unlimited",
        "summary": _("Unlimited calls on the Stable Diffusion families."),
        "monthly_price_cents": 2900,
        "stripe_lookup_key": "unlimited_month",
        "calls_per_minute": 1000,
        "queued_calls": 10,
        "unlimited_price_codes": SD_CODES,
        "weight": 3,
    },
    {
        "code": "premium",
        "name": "Premium",
        "summary": _("Unlimited calls on every model."),
        "monthly_price_cents": 19_900,
        "stripe_lookup_key": "premium_month",
        "calls_per_minute": 5000,
        "queued_calls": 15,
        "unlimited_price_codes": ["*"],
        "weight": 5,
    },
    {
        "code": "enterprise",
        "name": "Enterprise",
        "summary": _("Render workers of your own and limits to measure."),
        "monthly_price_cents": 29_900,
        "stripe_lookup_key": "enterprise_month",
        "calls_per_minute": 10_000,
        "queued_calls": 50,
        "unlimited_price_codes": ["*"],
        "weight": 8,
        "dedicated_workers": True,
    },
    {
        "code": "metered",
        "name": "Metered",
        "summary": _("Per image, invoiced after the month. The operator gives it, with a monthly limit."),
        "calls_per_minute": 1000,
        "queued_calls": 10,
        "pays_from_funds": True,
        "weight": 3,
        "public": False,
    },
)
PRICES_MICROUSD: dict[str, int] = {"sd15": 2_000, "sdxl": 4_000, "other": 4_700}


def catalogue_seed() -> int:
    """Write the plans and prices that no version of exists; how many were written. Nothing existing is touched."""
    known_plans = set(Plan.objects.values_list("code", flat=True))
    known_prices = set(Price.objects.filter(account=None).values_list("price_code", flat=True))
    plans = [
        Plan(effective_from=SEEDED_FROM, position=position, **plan)
        for position, plan in enumerate(PLANS)
        if plan["code"] not in known_plans
    ]
    prices = [
        Price(price_code=price_code, amount_microusd=amount_microusd, effective_from=SEEDED_FROM, note="seeded")
        for price_code, amount_microusd in PRICES_MICROUSD.items()
        if price_code not in known_prices
    ]
    return len(Plan.objects.bulk_create(plans)) + len(Price.objects.bulk_create(prices))
