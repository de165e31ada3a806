"""From the key in a request to the caller: who it is, what its key may do, and the terms of its plan."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from accounts import keys
from accounts.errors import (
    AccountSuspended,
    AddressDenied,
    KeyExpired,
    KeyInvalid,
    KeyMissing,
    KeyRevoked,
    ModelDenied,
    OriginDenied,
    ScopeDenied,
    TooManyFailedKeys,
)
from accounts.selectors import KeyRecord, key_by_lookup
from billing.entitlements import Terms, terms_of
from gateway.caching import TtlCache
from gateway.ratelimit import address_check, address_fail

# What a key may be restricted to. A key without scopes may do everything its account may.
SCOPE_GENERATE = "generate"
SCOPE_READ = "read"
SCOPE_BILLING = "billing"
# Makes, changes and revokes keys. No key has it without being given it: one without scopes has not.
SCOPE_ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: the key's record and the terms of its account's plan, at most a second old."""

    key: KeyRecord
    terms: Terms

    @property
    def account_id(self) -> int:
        return self.key.account_id

    @property
    def key_id(self) -> int:
        return self.key.key_id

    def require_scope(self, scope: str) -> None:
        if self.key.scopes and scope not in self.key.scopes:
            raise ScopeDenied(scope=scope)

    def require_model(self, model_id: str) -> None:
        if self.key.model_ids and model_id not in self.key.model_ids:
            raise ModelDenied(model_id=model_id)


_callers: TtlCache[str, Caller | None] = TtlCache()


def caller_authenticate(*, key: str | None, address: str, now: datetime, origin: str = "") -> Caller:
    """The caller behind `key`. `origin` is the web page that a browser called from, empty for other programs.

    A wrong key spends the address's bucket; a full bucket is refused before anything is looked up. Raises KeyMissing,
    KeyInvalid, KeyExpired, KeyRevoked, AccountSuspended, AddressDenied, OriginDenied, TooManyFailedKeys.
    """
    if not key:
        raise KeyMissing
    if retry_after_s := address_check(address):
        raise TooManyFailedKeys(retry_after_s=retry_after_s)
    caller = _caller_of(key, now)
    if caller is None:
        address_fail(address, now_ms=int(now.timestamp() * 1000))
        raise KeyInvalid
    key_require_usable(caller.key, address=address, origin=origin, now=now)
    return caller


def _caller_of(text: str, now: datetime) -> Caller | None:
    """None for a key that is not ours. The checksum refuses typos and guesses without a query."""
    parsed = keys.parse(text)
    if parsed is None:
        return None
    caller = _callers.get(parsed.lookup, lambda: _load(parsed.lookup, now))
    if caller is None or not keys.verify(text, caller.key.digest, pepper=settings.API_KEY_PEPPER):
        return None
    return caller


def _load(lookup: str, now: datetime) -> Caller | None:
    record = key_by_lookup(lookup)
    return Caller(record, terms_of(record.account_id, now=now)) if record else None


def key_require_usable(record: KeyRecord, *, address: str, origin: str, now: datetime) -> None:
    """What holds for a key whoever presents it: not ended, its account not suspended, from where it may be used."""
    if record.revoked_at is not None and record.revoked_at <= now:
        raise KeyRevoked
    if record.expires_at is not None and record.expires_at <= now:
        raise KeyExpired(expired_at=record.expires_at.date().isoformat())
    if record.suspended_reason is not None:
        raise AccountSuspended(reason=record.suspended_reason)
    if record.networks and not _inside(address, record.networks):
        raise AddressDenied
    if record.origins and not _from_page(origin, record.origins):
        raise OriginDenied


def _inside(address: str, networks: tuple[str, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in ipaddress.ip_network(network, strict=False) for network in networks)


def _from_page(origin: str, allowed: tuple[str, ...]) -> bool:
    """Whole origins; `https://*.example.com` is every host below example.com, at any depth."""
    for one in allowed:
        scheme, wild, parent = one.partition("://*.")
        if origin == one or (wild and origin.startswith(f"{scheme}://") and origin.endswith(f".{parent}")):
            return True
    return False
