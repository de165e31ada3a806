"""The pricing page's calculator: what a month of pictures costs on each plan. Pure; amounts are micro-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from gateway.site.plans import PlanCard, PriceRow
from gateway.templatetags.units import number

IMAGES_MAX = 100_000_000
PER_CALL_MAX = 4
DAYS = 30


@dataclass(frozen=True, slots=True)
class Asked:
    """Images a month, how many of them one call asks for, and the price code of their model."""

    images: int = 10_000
    per_call: int = 1
    price_code: str = ""

    @classmethod
    def parse(cls, given: Mapping[str, Any], prices: list[PriceRow]) -> Asked:
        codes = [row.code for row in prices]
        code = str(given.get("price_code", ""))
        return cls(
            images=_whole(given.get("images"), cls().images, IMAGES_MAX),
            per_call=_whole(given.get("per_call"), 1, PER_CALL_MAX),
            price_code=code if code in codes else next(iter(codes), ""),
        )

    @property
    def calls(self) -> int:
        return -(-self.images // self.per_call)


@dataclass(frozen=True, slots=True)
class Line:
    """One plan's month. `amount_microusd` None: the plan cannot serve it, and `note` says why."""

    plan: str
    amount_microusd: int | None
    note: str
    best: bool = False


def _whole(value: Any, default: int, high: int) -> int:
    text = str(value or "").strip()
    return min(max(int(text), 1), high) if text.isdecimal() and len(text) < 12 else default


def lines(asked: Asked, cards: list[PlanCard], prices: list[PriceRow]) -> list[Line]:
    """In the order of the plans; the cheapest that serves is marked."""
    unit = next((row.amount_microusd for row in prices if row.code == asked.price_code), 0)
    found = [_line(asked, card, unit) for card in cards]
    amounts = [line.amount_microusd for line in found if line.amount_microusd is not None]
    best = min(amounts, default=None)
    return [Line(line.plan, line.amount_microusd, line.note, line.amount_microusd == best) for line in found]


def _line(asked: Asked, card: PlanCard, unit_microusd: int) -> Line:
    plan, monthly = card.plan, card.monthly_microusd
    if "*" in plan.unlimited_price_codes or asked.price_code in plan.unlimited_price_codes:
        return Line(plan.name, monthly, _("Included, without a limit"))
    if plan.period_calls is not None:
        if asked.calls <= plan.period_calls:
            facts = {"count": number(asked.calls), "limit": number(plan.period_calls)}
            return Line(plan.name, monthly, _("%(count)s of %(limit)s calls") % facts)
        return Line(plan.name, None, _("Its %(limit)s calls do not reach") % {"limit": number(plan.period_calls)})
    free_images = min(plan.free_calls_per_day * DAYS * asked.per_call, asked.images)
    if plan.pays_from_funds:
        paid = asked.images - free_images
        note = _("%(free)s free over the month, %(paid)s from funds") if free_images else _("%(paid)s from funds")
        facts = {"free": number(free_images), "paid": number(paid)}
        return Line(plan.name, monthly + paid * unit_microusd, note % facts)
    if free_images == asked.images:
        return Line(plan.name, monthly, _("Within the free calls, if they are spread over the days"))
    return Line(plan.name, None, _("Its free calls end at %(count)s images") % {"count": number(free_images)})
