"""How long prompts and pictures are kept: the installation's days, an account's own, or no longer than it is open.

Accounts remember up to which call everything is deleted, so a run looks at nothing twice and needs no index of its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import BigIntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from accounts.models import Account
from gateway.ids import generation_id_floor
from gateway.services.deleting import call_forget
from inference.models import Generation

# Who keeps nothing still has this long to fetch a result.
NOTHING_KEPT_FOR = timedelta(hours=1)
CALLS_PER_RUN = 500


def keeps_for(account: Account) -> timedelta:
    if account.closed_at is not None:
        return timedelta(0)
    days = settings.OUTPUT_RETENTION_DAYS if account.retention_days is None else account.retention_days
    return timedelta(days=days) or NOTHING_KEPT_FOR


def erased_after(account: Account, made_at: datetime) -> datetime:
    """When a call's prompt and pictures go."""
    return made_at + keeps_for(account)


def accounts_with_more() -> QuerySet[Account]:
    """Every account with calls that are not erased yet, with the oldest one's id as `oldest_id`."""
    erased_to_id = Coalesce(OuterRef("erased_to_id"), Value(0))
    more = Generation.objects.filter(account_id=OuterRef("pk"), id__gt=erased_to_id).order_by("id")
    oldest = Subquery(more.values("id")[:1], output_field=BigIntegerField())
    return Account.objects.annotate(oldest_id=oldest).filter(oldest_id__isnull=False).order_by("oldest_id")


def retention_due(now: datetime) -> bool:
    return any(_is_due(account, now) for account in accounts_with_more().iterator())


def retention_sweep(*, now: datetime, limit: int = CALLS_PER_RUN) -> int:
    """Delete what is over its time, at most `limit` calls; how many it looked at. May run twice at once."""
    done = 0
    for account in accounts_with_more():
        if done >= limit:
            break
        if _is_due(account, now):
            done += _account_sweep(account, now, limit - done)
    return done


def _is_due(account: Account, now: datetime) -> bool:
    oldest_id: int = account.oldest_id  # type: ignore[attr-defined]
    return oldest_id < generation_id_floor(now - keeps_for(account))


def _account_sweep(account: Account, now: datetime, limit: int) -> int:
    due = Generation.objects.filter(
        account_id=account.pk,
        id__gt=account.erased_to_id or 0,
        id__lt=generation_id_floor(now - keeps_for(account)),
    )
    done: list[int] = []
    for generation in due.order_by("id")[:limit]:
        # What is under way ends within the hour; the run after that goes on from here.
        if not generation.settled:
            break
        call_forget(generation, now=now)
        done.append(generation.pk)
    if done:
        behind = Q(erased_to_id=None) | Q(erased_to_id__lt=done[-1])
        Account.objects.filter(behind, pk=account.pk).update(erased_to_id=done[-1])
    return len(done)
