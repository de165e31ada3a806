"""Plans and prices as the public pages show them: read from the tables in force, never typed twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from billing.models import Plan, Price
from gateway.templatetags.units import money, number, whole_usd

MICROUSD_PER_CENT = 10_000
# What a price code is called where people read it; a code without a name shows as it is.
PRICE_NAMES = {
    "sd15": _("Stable Diffusion 1.5 and 2 models"),
    "sdxl": _("SDXL models"),
    "other": _("Every other model"),
}


@dataclass(frozen=True, slots=True)
class PlanCard:
    """One public plan in words."""

    plan: Plan
    features: tuple[str, ...]

    @property
    def monthly_microusd(self) -> int:
        return self.plan.monthly_price_cents * MICROUSD_PER_CENT

    @property
    def price_text(self) -> str:
        whole = self.plan.monthly_price_cents % 100 == 0
        return whole_usd(self.monthly_microusd) if whole else money(self.monthly_microusd)


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The price of one image under a price code."""

    code: str
    name: str
    amount_microusd: int

    @property
    def thousand_microusd(self) -> int:
        return self.amount_microusd * 1000


def plan_cards(*, now: datetime) -> list[PlanCard]:
    """The public plans in force, in the operator's order."""
    newest: dict[str, Plan] = {}
    for plan in Plan.objects.filter(effective_from__lte=now).order_by("effective_from"):
        newest[plan.code] = plan
    shown = sorted((plan for plan in newest.values() if plan.public), key=lambda plan: (plan.position, plan.code))
    names = price_names()
    return [PlanCard(plan=plan, features=_features(plan, names)) for plan in shown]


def price_rows(*, now: datetime) -> list[PriceRow]:
    """Everybody's prices in force, cheapest first."""
    newest: dict[str, int] = {}
    dated = Price.objects.filter(account=None, effective_from__lte=now).order_by("effective_from")
    for code, amount in dated.values_list("price_code", "amount_microusd"):
        newest[code] = amount
    names = price_names()
    rows = [PriceRow(code=code, name=names.get(code, code), amount_microusd=amount) for code, amount in newest.items()]
    return sorted(rows, key=lambda row: (row.amount_microusd, row.code))


def price_names() -> dict[str, str]:
    """In the reader's language."""
    return {code: gettext(name) for code, name in PRICE_NAMES.items()}


def _features(plan: Plan, names: dict[str, str]) -> tuple[str, ...]:
    return tuple(
        [
            *_calls(plan, names),
            gettext("%(count)s calls a minute") % {"count": number(plan.calls_per_minute)},
            gettext("%(count)s calls queued at once") % {"count": number(plan.queued_calls)},
            *([gettext("Render workers of your own")] if plan.dedicated_workers else []),
        ]
    )


def _calls(plan: Plan, names: dict[str, str]) -> list[str]:
    lines: list[str] = []
    if "*" in plan.unlimited_price_codes:
        lines.append(gettext("Unlimited calls on every model"))
    elif plan.unlimited_price_codes:
        models = ", ".join(names.get(code, code) for code in plan.unlimited_price_codes)
        lines.append(gettext("Unlimited calls: %(models)s") % {"models": models})
    if plan.period_calls is not None:
        lines.append(gettext("%(count)s calls a month on every model") % {"count": number(plan.period_calls)})
    if plan.free_calls_per_day:
        lines.append(gettext("%(count)s free calls a UTC day") % {"count": number(plan.free_calls_per_day)})
    if plan.pays_from_funds:
        lines.append(gettext("Then per image, from prepaid funds"))
    return lines
