"""Everything that is kept of an account, as one ZIP: made while it is sent, so it needs no room and no waiting."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from typing import Any

import orjson
from django.db.models import Model, QuerySet

from accounts.events import events_of
from accounts.models import Account, ApiKey, Membership, User
from billing.models import LedgerEntry, UsageBucket
from billing.money import usd_text
from gateway.dashboard.usage import neutral
from gateway.models import Collection, DeletedCall, SharedLink, WebhookDelivery
from inference.models import Generation
from inference.storage import FileMissing, deleted_key, get_storage

README = """This is everything that this service keeps of the account.

account.json     the account, its members and what they did
keys.json        API keys: of the keys themselves only digests are kept, which are left out here
calls.jsonl      every call, one a line: what was asked, what came of it, what it cost
gallery.json     collections of calls, and links by which strangers see pictures
deleted.jsonl    calls that were deleted and can still be brought back
webhooks.jsonl   messages that were sent to your addresses
ledger.csv       every movement of money
usage.csv        the counts that usage and bills are made of
pictures/        the pictures that are still kept, by call; those of deleted calls as well
"""
SECRET_COLUMNS = ("digest", "lookup", "secret")


class Pipe(io.RawIOBase):
    """Where an archive writes: what it wrote since the last look can be taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


def account_zip(account: Account) -> Iterator[bytes]:
    """The archive, piece by piece. Tables are read in pieces too: a large account needs no more memory than a small."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", README)
        archive.writestr("account.json", _json(_account(account)))
        archive.writestr("gallery.json", _json(_gallery(account.pk)))
        archive.writestr("keys.json", _json([_plain(key) for key in ApiKey.objects.filter(account=account)]))
        yield pipe.taken()
        calls = Generation.objects.filter(account_id=account.pk).order_by("id")
        deleted = DeletedCall.objects.filter(account_id=account.pk).order_by("pk")
        deliveries = WebhookDelivery.objects.filter(account_id=account.pk).order_by("id")
        for name, lines in (
            ("calls.jsonl", _json_lines(calls)),
            ("deleted.jsonl", _json_lines(deleted)),
            ("webhooks.jsonl", _json_lines(deliveries)),
            ("ledger.csv", _ledger(account)),
            ("usage.csv", _usage(account)),
        ):
            with archive.open(name, "w", force_zip64=True) as file:
                for line in lines:
                    file.write(line)
                    yield pipe.taken()
        for key, data in _pictures(calls, deleted):
            # Pictures are compressed already.
            archive.writestr(zipfile.ZipInfo(f"pictures/{key.rpartition('/')[2]}"), data)
            yield pipe.taken()
    yield pipe.taken()


def _account(account: Account) -> dict[str, Any]:
    members = Membership.objects.filter(account=account).select_related("user").order_by("pk")
    return {
        **_plain(account),
        "members": [{**_person(member.user), "role": member.role, "since": member.created_at} for member in members],
        "events": [
            {
                "at": event.created_at,
                "by": event.actor.email if event.actor else None,
                "what": f"{event.action} {event.target}".strip(),
                "address": event.address,
            }
            for event in events_of(account)
        ],
    }


def _gallery(account_id: int) -> dict[str, Any]:
    collections = Collection.objects.filter(account_id=account_id).prefetch_related("items").order_by("name")
    return {
        "collections": [
            {"name": str(one), "calls": sorted(item.generation_id for item in one.items.all())} for one in collections
        ],
        "links": [_plain(link) for link in SharedLink.objects.filter(account_id=account_id).order_by("id")],
    }


def _person(user: User) -> dict[str, Any]:
    return {"email": user.email, "name": user.name, "language": user.language, "theme": user.theme}


def _plain(row: Model) -> dict[str, Any]:
    """All columns of a row, without those that only serve to check a secret."""
    values = {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}
    return {name: value for name, value in values.items() if name not in SECRET_COLUMNS}


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2)


def _json_lines(rows: QuerySet[Any]) -> Iterator[bytes]:
    for row in rows.iterator(chunk_size=500):
        yield orjson.dumps(_plain(row), default=str) + b"\n"


def _csv(head: list[str], rows: Iterator[list[object]]) -> Iterator[bytes]:
    for row in [head], rows:
        for cells in row:
            line = io.StringIO()
            csv.writer(line).writerow([neutral(cell) for cell in cells])
            yield line.getvalue().encode()


def _ledger(account: Account) -> Iterator[bytes]:
    rows = LedgerEntry.objects.filter(wallet_id=account.pk).order_by("id")
    head = ["id", "created_at", "kind", "amount_usd", "reference", "images", "note"]
    found = rows.values_list("id", "created_at", "kind", "amount_microusd", "reference", "images", "note")
    return _csv(
        head,
        (
            [pk, at.isoformat(), kind, usd_text(amount), reference, images, note]
            for pk, at, kind, amount, reference, images, note in found.iterator(chunk_size=2000)
        ),
    )


def _usage(account: Account) -> Iterator[bytes]:
    names = [field.attname for field in UsageBucket._meta.concrete_fields if field.attname not in ("id", "account_id")]
    rows = UsageBucket.objects.filter(account_id=account.pk).order_by("bucket").values_list(*names)
    return _csv(names, (list(row) for row in rows.iterator(chunk_size=2000)))


def _pictures(calls: QuerySet[Generation], deleted: QuerySet[DeletedCall]) -> Iterator[tuple[str, bytes]]:
    """Each by the key that it stands or stood under."""
    storage = get_storage()
    for key, place in _places(calls, deleted):
        try:
            yield key, storage.read(place)
        except FileMissing:
            continue


def _places(calls: QuerySet[Generation], deleted: QuerySet[DeletedCall]) -> Iterator[tuple[str, str]]:
    for generation in calls.filter(erased_at=None, images_delivered__gt=0).iterator(chunk_size=200):
        for image in generation.images:
            yield image["key"], image["key"]
    for call in deleted.iterator(chunk_size=200):
        for image in call.images:
            yield image["key"], deleted_key(image["key"], secret=call.secret)
