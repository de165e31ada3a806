"""Links that show one call's pictures to whoever has them, and collections of calls. Rows alone; no pictures here."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext

from accounts.events import event_record
from accounts.models import Account, User
from gateway.features import feature_on
from gateway.models import Collection, CollectionItem, Feature, SharedLink
from inference.models import Generation, GenerationState

TOKEN_BYTES = 24
FAVOURITES = ""
COLLECTIONS_MAX = 200


class GalleryProblem(Exception):
    """Why it cannot be done, in words for the person who asked."""


@transaction.atomic
def link_make(*, account: Account, generation: Generation, by: User, now: datetime, address: str = "") -> SharedLink:
    """The call's open link: a second wish finds the first one's. Raises GalleryProblem when there is nothing to see, or
    while the operator has switched sharing off."""
    if not feature_on(Feature.SHARING):
        raise GalleryProblem(gettext("Sharing is switched off for now."))
    if generation.state != GenerationState.SUCCEEDED or generation.erased_at is not None:
        raise GalleryProblem(gettext("Only pictures that were delivered and are still kept can be shared."))
    link, made = SharedLink.objects.get_or_create(
        generation_id=generation.pk,
        revoked_at=None,
        defaults={
            "account_id": account.pk,
            "token": secrets.token_urlsafe(TOKEN_BYTES),
            "created_by": by,
            "created_at": now,
        },
    )
    if made:
        event_record(
            account=account, actor=by, action="shared the call", target=str(generation.pk), address=address, now=now
        )
    return link


@transaction.atomic
def link_revoke(*, account: Account, link_id: int, by: User, now: datetime, address: str = "") -> bool:
    """Whether this call revoked it: the address shows nothing from now on."""
    mine = SharedLink.objects.filter(account_id=account.pk, pk=link_id, revoked_at=None)
    generation_id = mine.values_list("generation_id", flat=True).first()
    if generation_id is None or not mine.update(revoked_at=now):
        return False
    action = "revoked the link to the call"
    event_record(account=account, actor=by, action=action, target=str(generation_id), address=address, now=now)
    return True


def link_opened(token: str) -> Generation | None:
    """The call behind an open link, while its pictures are kept, its account is in good standing and sharing is on."""
    if not feature_on(Feature.SHARING):
        return None
    link = SharedLink.objects.filter(token=token, revoked_at=None).first()
    if link is None or not Account.objects.filter(pk=link.account_id, suspended_at=None).exists():
        return None
    return Generation.objects.filter(pk=link.generation_id, account_id=link.account_id, erased_at=None).first()


@transaction.atomic
def collection_add(*, account_id: int, name: str, generation_ids: Sequence[int], now: datetime) -> Collection:
    """Put calls of this account into a collection, made if there is none. Raises GalleryProblem at the limit."""
    found = Collection.objects.filter(account_id=account_id, name=name).first()
    if found is None:
        if Collection.objects.filter(account_id=account_id).count() >= COLLECTIONS_MAX:
            full = gettext("There are %(count)s collections, which is the most: delete one first.")
            raise GalleryProblem(full % {"count": COLLECTIONS_MAX})
        found, _ = Collection.objects.get_or_create(account_id=account_id, name=name, defaults={"created_at": now})
    mine = Generation.objects.filter(account_id=account_id, pk__in=generation_ids).values_list("pk", flat=True)
    items = [CollectionItem(collection=found, generation_id=generation_id) for generation_id in mine]
    CollectionItem.objects.bulk_create(items, ignore_conflicts=True)
    return found


def collection_take_out(*, account_id: int, collection_id: int, generation_ids: Sequence[int]) -> int:
    """How many calls were in it."""
    items = CollectionItem.objects.filter(collection__account_id=account_id, collection_id=collection_id)
    return items.filter(generation_id__in=generation_ids).delete()[0]


def collection_delete(*, account_id: int, collection_id: int) -> bool:
    """The collection alone: its pictures stay."""
    named = Collection.objects.filter(account_id=account_id, pk=collection_id).exclude(name=FAVOURITES)
    return bool(named.delete()[0])


@transaction.atomic
def favourite_turn(*, account_id: int, generation_id: int, now: datetime) -> bool:
    """Make a call a favourite, or no favourite any more; whether it is one now."""
    mine = CollectionItem.objects.filter(collection__account_id=account_id, collection__name=FAVOURITES)
    if mine.filter(generation_id=generation_id).delete()[0]:
        return False
    collection_add(account_id=account_id, name=FAVOURITES, generation_ids=[generation_id], now=now)
    return True
