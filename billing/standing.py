"""What a subscription's state means for its account, in words: on the billing page and in mails alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext as _

from billing.models import Subscription
from billing.wording import day_text


@dataclass(frozen=True, slots=True)
class Standing:
    """What a subscription's state means. `tone` is ok, warn or bad; a bad one gives nothing at present."""

    tone: str
    badge: str
    text: str


def standing_of(subscription: Subscription, now: datetime) -> Standing:
    """Every state that Stripe knows and any that it may invent: the unknown gives nothing and names who helps."""
    if subscription.status == "past_due":
        return _past_due(subscription, now)
    if subscription.ends_at and subscription.status in ("active", "trialing"):
        ends = date_text(subscription.ends_at)
        text = _("It ends on %(day)s. Until then everything stays as it is; funds stay yours after.") % {"day": ends}
        return Standing("warn", _("Ending"), text)
    period_end = date_text(subscription.period_end)
    texts = {
        "active": Standing("ok", _("Active"), _("It renews on %(day)s.") % {"day": period_end}),
        "trialing": Standing("ok", _("Trial"), _("The first payment is on %(day)s.") % {"day": period_end}),
        "unpaid": Standing(
            "bad",
            _("Unpaid"),
            _(
                "The card was tried for the last time, so the plan gives nothing. Pay the open invoice in the portal"
                " and it is back at once. Your funds and free calls are untouched."
            ),
        ),
        "paused": Standing(
            "bad",
            _("Paused"),
            _(
                "Nothing is billed and the plan gives nothing. Check the card in the portal; it goes on once a payment"
                " succeeds. Your funds and free calls are untouched."
            ),
        ),
    }
    unknown = _("This subscription gives nothing at present. Look at it in the portal, or write to us.")
    return texts.get(subscription.status, Standing("bad", subscription.status, unknown))


def date_text(moment: datetime | None) -> str:
    """The UTC day."""
    return _("a day unknown") if moment is None else day_text(moment.astimezone(UTC), "long")


def grace_end(subscription: Subscription) -> datetime:
    """Until when a plan with an unpaid invoice goes on."""
    assert subscription.past_due_since is not None, "noted with the state"
    return subscription.past_due_since + timedelta(days=settings.PAST_DUE_GRACE_DAYS)


def _past_due(subscription: Subscription, now: datetime) -> Standing:
    until = grace_end(subscription)
    if now < until:
        text = _(
            "The last invoice is unpaid and the card will be tried again. The plan stays until %(day)s: check the card"
            " in the portal before then."
        )
        return Standing("warn", _("Payment due"), text % {"day": date_text(until)})
    text = _(
        "An invoice has been unpaid for %(days)s days, so the plan gives nothing since %(day)s. Pay it in the portal"
        " and it is back at once. Your funds and free calls are untouched."
    )
    facts = {"days": settings.PAST_DUE_GRACE_DAYS, "day": date_text(until)}
    return Standing("bad", _("Stopped"), text % facts)
