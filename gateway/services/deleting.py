"""Deleting calls: at once for everybody, for good a week later. Until then whoever deleted one can bring it back.

A deleted call's row is emptied like that of one whose time is over, so nothing that reads it needs to know more. What
it said waits in a DeletedCall, and its pictures under names that nobody knows. The row is the truth and the files
follow: every move and every removal may happen twice, and the sweep finishes what a killed process began.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from gateway.models import Collection, CollectionItem, DeletedCall, SharedLink, WebhookDelivery
from inference.erasing import WORDS, files_delete, generation_erase, output_files, words_erase
from inference.models import Generation
from inference.storage import deleted_key, expiry_epoch_s, get_storage

BROUGHT_BACK_WITHIN = timedelta(days=7)
# Putting a call's files away takes seconds: what is not put away by then was left by a killed process.
PUT_AWAY_WITHIN = timedelta(minutes=5)
CALLS_PER_RUN = 500


def call_delete(*, generation: Generation, kept_until: datetime, now: datetime) -> bool:
    """Hide a settled call; False when it is under way or deleted already. Pages, the API, shared links and the
    pictures' own addresses answer from now on as for a call that is gone. It waits for a week, but never longer than
    `kept_until`, when its account would have it deleted anyway, or than its temporary pictures may live.
    """
    files = output_files(generation.spec, generation.result)
    ends = [datetime.fromtimestamp(end_s, UTC) for key in files if (end_s := expiry_epoch_s(key)) is not None]
    remove_at = min(now + BROUGHT_BACK_WITHIN, kept_until, *ends)
    if remove_at <= now:
        return call_forget(generation, now=now)
    with transaction.atomic():
        current = Generation.objects.select_for_update().get(pk=generation.pk)
        if not current.settled or current.erased_at is not None:
            return False
        items = CollectionItem.objects.filter(generation_id=current.pk)
        kept = {name: getattr(current, name) for name in WORDS}
        deleted = DeletedCall.objects.create(
            generation_id=current.pk,
            account_id=current.account_id,
            deleted_at=now,
            remove_at=remove_at,
            secret=secrets.token_hex(16),
            kept=kept | {"collections": list(items.values_list("collection_id", flat=True))},
        )
        items.delete()
        _messages_delete(current)
        words_erase(current, now=now)
    files_put_away(deleted, now=now)
    return True


def call_restore(*, account_id: int, generation_id: int, now: datetime) -> bool:
    """Bring a deleted call back as it was, also into its collections and behind its open link. False when its time is
    over, or while its files are still being put away."""
    whole = DeletedCall.objects.filter(
        account_id=account_id, pk=generation_id, remove_at__gt=now, put_away_at__isnull=False
    )
    deleted = whole.first()
    if deleted is None:
        return False
    for key, away in _files(deleted):
        get_storage().move(away, key)
    with transaction.atomic():
        restored = bool(whole.delete()[0])
        if restored:
            words = {name: deleted.kept[name] for name in WORDS}
            Generation.objects.filter(pk=generation_id).update(erased_at=None, **words)
            still = Collection.objects.filter(account_id=account_id, pk__in=deleted.kept["collections"])
            items = [CollectionItem(collection=one, generation_id=generation_id) for one in still]
            CollectionItem.objects.bulk_create(items, ignore_conflicts=True)
    if not restored and Generation.objects.filter(pk=generation_id, erased_at__isnull=False).exists():
        # Removed for good meanwhile: what was moved back goes too.
        _remove(deleted, now=now)
    return restored


def call_remove(*, account_id: int, generation_id: int, now: datetime) -> bool:
    """Remove a deleted call for good without waiting; False when there is none."""
    mine = DeletedCall.objects.filter(account_id=account_id, pk=generation_id)
    # From here on nobody brings it back, and the sweep ends what this process may not.
    deleted = mine.first() if mine.update(remove_at=now) else None
    if deleted is None:
        return False
    _remove(deleted, now=now)
    return True


def call_forget(generation: Generation, *, now: datetime) -> bool:
    """Delete one call for good, deleted before or not, with the messages that told of it and the links that showed it;
    False when it is under way or nothing was left."""
    if not generation.settled:
        return False
    if call_remove(account_id=generation.account_id, generation_id=generation.pk, now=now):
        return True
    CollectionItem.objects.filter(generation_id=generation.pk).delete()
    _links_revoke(generation.pk, now)
    _messages_delete(generation)
    return generation_erase(generation, now=now)


def deleted_due(now: datetime) -> bool:
    return _over(now).exists() or _left(now).exists()


def deleted_sweep(*, now: datetime, limit: int = CALLS_PER_RUN) -> int:
    """Remove what has waited for its time, and put away what a killed process left, at most `limit` calls of each; how
    many were removed. May run twice at once."""
    for left in _left(now)[:limit]:
        files_put_away(left, now=now)
    over = list(_over(now)[:limit])
    for deleted in over:
        _remove(deleted, now=now)
    return len(over)


def files_put_away(deleted: DeletedCall, *, now: datetime) -> None:
    """Move its pictures where nobody finds them; the row says afterwards that it is done."""
    for key, away in _files(deleted):
        get_storage().move(key, away)
    DeletedCall.objects.filter(pk=deleted.pk).update(put_away_at=now)


def _over(now: datetime) -> QuerySet[DeletedCall]:
    return DeletedCall.objects.filter(remove_at__lte=now).order_by("remove_at")


def _left(now: datetime) -> QuerySet[DeletedCall]:
    left = DeletedCall.objects.filter(put_away_at=None, deleted_at__lte=now - PUT_AWAY_WITHIN, remove_at__gt=now)
    return left.order_by("deleted_at")


def _remove(deleted: DeletedCall, *, now: datetime) -> None:
    for _, away in _files(deleted):
        get_storage().delete(away)
    files_delete(deleted.kept["spec"], deleted.kept["result"])
    _links_revoke(deleted.pk, now)
    DeletedCall.objects.filter(pk=deleted.pk).delete()


def _files(deleted: DeletedCall) -> Iterator[tuple[str, str]]:
    """Every file of its pictures: where it stood, and where it waits."""
    for key in output_files(deleted.kept["spec"], deleted.kept["result"]):
        yield key, deleted_key(key, secret=deleted.secret)


def _links_revoke(generation_id: int, now: datetime) -> None:
    SharedLink.objects.filter(generation_id=generation_id, revoked_at=None).update(revoked_at=now)


def _messages_delete(generation: Generation) -> None:
    """Messages hold what they tell of: prompts and addresses."""
    WebhookDelivery.objects.filter(account_id=generation.account_id, generation_id=generation.pk).delete()
