"""What the operator tells everybody: a line over every page while it is in force."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User
from gateway.caching import TtlCache
from gateway.models import Announcement

# Pages are many and announcements few: a new one shows within this time.
SHOWN_WITHIN_S = 5.0
_in_force: TtlCache[str, list[Announcement]] = TtlCache(ttl_s=SHOWN_WITHIN_S, entries_max=1, watched=False)


def announcements_in_force(now: datetime) -> QuerySet[Announcement]:
    begun = Announcement.objects.filter(starts_at__lte=now)
    return begun.filter(Q(ends_at=None) | Q(ends_at__gt=now)).order_by("starts_at", "pk")


def announcements_shown() -> list[Announcement]:
    """For pages: as of some seconds ago."""
    return _in_force.get("", lambda: list(announcements_in_force(timezone.now())))


def announcement_make(
    *, text: str, tone: str, starts_at: datetime, ends_at: datetime | None, by: User, now: datetime
) -> Announcement:
    made = Announcement.objects.create(
        text=text, tone=tone, starts_at=starts_at, ends_at=ends_at, made_by=by, created_at=now
    )
    _in_force.clear()
    return made


def announcement_end(*, announcement: Announcement, now: datetime) -> bool:
    """False when it had ended before."""
    open_ones = Announcement.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), pk=announcement.pk)
    ended = open_ones.update(ends_at=now) == 1
    _in_force.clear()
    return ended
