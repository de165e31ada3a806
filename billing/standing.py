"""What a subscription's state means for its account, in words: on the billing page and in mails alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings

from billing.models import Subscription


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
        text = f"It ends on {ends}. Until then everything stays as it is; funds stay yours after."
        return Standing("warn", "Ending", text)
    texts = {
        "active": Standing("ok", "Active", f"It renews on {date_text(subscription.period_end)}."),
        "trialing": Standing("ok", "Trial", f"The first payment is on {date_text(subscription.period_end)}."),
        "unpaid": Standing(
            "bad",
            "Unpaid",
            "The card was tried for the last time, so the plan gives nothing. Pay the open invoice in the portal and it"
            " is back at once. Your funds and free calls are untouched.",
        ),
        "paused": Standing(
            "bad",
            "Paused",
            "Nothing is billed and the plan gives nothing. Check the card in the portal; it goes on once a payment"
            " succeeds. Your funds and free calls are untouched.",
        ),
    }
    unknown = "This subscription gives nothing at present. Look at it in the portal, or write to us."
    return texts.get(subscription.status, Standing("bad", subscription.status, unknown))


def date_text(moment: datetime | None) -> str:
    """The UTC day."""
    return "a day unknown" if moment is None else f"{moment.astimezone(UTC):%-d %B %Y}"


def grace_end(subscription: Subscription) -> datetime:
    """Until when a plan with an unpaid invoice goes on."""
    assert subscription.past_due_since is not None, "noted with the state"
    return subscription.past_due_since + timedelta(days=settings.PAST_DUE_GRACE_DAYS)


def _past_due(subscription: Subscription, now: datetime) -> Standing:
    until = grace_end(subscription)
    if now < until:
        text = (
            f"The last invoice is unpaid and the card will be tried again. The plan stays until {date_text(until)}:"
            " check the card in the portal before then."
        )
        return Standing("warn", "Payment due", text)
    text = (
        f"An invoice has been unpaid for {settings.PAST_DUE_GRACE_DAYS} days, so the plan gives nothing since"
        f" {date_text(until)}. Pay it in the portal and it is back at once. Your funds and free calls are untouched."
    )
    return Standing("bad", "Stopped", text)
