"""The public status page's probes: what a call would meet right now, asked of the parts themselves."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from gateway.ids import generation_id_floor
from gateway.templatetags.units import ms, number
from inference.models import Generation, GenerationState
from inference.selectors import workers_alive
from inference.storage import get_storage, output_key

SILENT = timedelta(seconds=20)
RECENT = timedelta(minutes=15)
# Visitors may reload this page as they like: the parts are asked at most this often.
FRESH_S = 10
_CACHE_KEY = "site:status"


# A part's state, and what is to say of it in the language that is active when it is called.
Found = tuple[str, Callable[[], str]]


@dataclass(frozen=True, slots=True)
class Probe:
    """One part: `name` is English, `state` is ok, slow, down or off, `details` are by language: a report serves many
    readers."""

    name: str
    state: str
    details: Mapping[str, str]

    @property
    def detail(self) -> str:
        return self.details.get(translation.get_language() or "en", self.details["en"])

    @property
    def tone(self) -> str:
        return {"ok": "ok", "slow": "warn", "down": "bad"}.get(self.state, "")

    @property
    def word(self) -> str:
        return {"ok": _("Working"), "slow": _("Slow"), "down": _("Down"), "off": _("Not configured")}[self.state]


@dataclass(frozen=True, slots=True)
class Report:
    asked_at: datetime
    probes: tuple[Probe, ...]

    @property
    def state(self) -> str:
        states = {probe.state for probe in self.probes}
        return "down" if "down" in states else "slow" if "slow" in states else "ok"

    @property
    def tone(self) -> str:
        return {"ok": "ok", "slow": "warn", "down": "bad"}[self.state]

    @property
    def headline(self) -> str:
        words = {"ok": _("Everything works"), "slow": _("Working, slower than usual"), "down": _("A part is down")}
        return words[self.state]

    def to_json(self) -> dict[str, Any]:
        parts = [{"name": p.name, "state": p.state, "detail": p.detail} for p in self.probes]
        return {"state": self.state, "asked_at": self.asked_at.isoformat(), "parts": parts}


def report(*, now: datetime) -> Report:
    """The report of at most FRESH_S ago."""
    fresh: Report | None = cache.get(_CACHE_KEY)
    if fresh is None:
        fresh = Report(asked_at=now, probes=tuple(_probes(now)))
        cache.set(_CACHE_KEY, fresh, FRESH_S)
    return fresh


def _probes(now: datetime) -> list[Probe]:
    asked: list[tuple[str, Callable[[datetime], Found]]] = [
        (gettext_noop("API and database"), _database),
        (gettext_noop("Render workers"), _workers),
        (gettext_noop("Queue"), _queue),
        (gettext_noop("Recent calls"), _recent),
        (gettext_noop("Picture storage"), _storage),
        (gettext_noop("Payments"), _payments),
    ]
    return [_ask(name, probe, now) for name, probe in asked]


def _ask(name: str, probe: Callable[[datetime], Found], now: datetime) -> Probe:
    try:
        state, words = probe(now)
    except Exception:  # noqa: BLE001 - whatever a part raises, the page must still say that it is down
        state, words = "down", lambda: _("It did not answer.")
    details = {}
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            details[language] = words()
    return Probe(name=name, state=state, details=details)


def _database(now: datetime) -> Found:
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    took_ms = (time.perf_counter() - began) * 1000
    return ("ok" if took_ms < 250 else "slow"), lambda: _("Answered in %(span)s.") % {"span": ms(took_ms)}


def _workers(now: datetime) -> Found:
    alive = list(workers_alive().filter(last_seen_at__gte=now - SILENT, owner_account_id=None).values_list("state"))
    count = len(alive)
    if not count:
        return "down", lambda: _("None has reported in the last 20 s.")
    return "ok", lambda: _("%(count)s alive.") % {"count": count}


def _queue(now: datetime) -> Found:
    waiting = Generation.objects.filter(state=GenerationState.WAITING).order_by("created_at")
    oldest = waiting.values_list("created_at", flat=True).first()
    if oldest is None:
        return "ok", lambda: _("Empty: a call starts at once.")
    age_s, count = (now - oldest).total_seconds(), waiting.count()

    def words() -> str:
        return _("%(count)s waiting, the oldest for %(span)s.") % {"count": number(count), "span": ms(age_s * 1000)}

    return ("ok" if age_s < 60 else "slow"), words


def _recent(now: datetime) -> Found:
    ended = Generation.objects.filter(pk__gte=generation_id_floor(now - RECENT))
    good = ended.filter(state=GenerationState.SUCCEEDED).count()
    bad = ended.filter(state=GenerationState.FAILED).count()
    if not good + bad:
        return "ok", lambda: _("No call ended in the last 15 minutes.")
    state = "ok" if bad <= good * 0.05 else "slow" if good else "down"

    def words() -> str:
        facts = {"good": number(good), "all": number(good + bad)}
        return _("%(good)s of %(all)s calls of the last 15 minutes delivered.") % facts

    return state, words


def _storage(now: datetime) -> Found:
    storage = get_storage()
    expires_epoch_s = int(now.timestamp()) + 60
    key = output_key(token=f"probe{secrets.token_hex(6)}", index=0, extension="txt", expires_epoch_s=expires_epoch_s)
    began = time.perf_counter()
    storage.write(key, b"probe", "text/plain")
    whole = storage.read(key) == b"probe"
    storage.delete(key)
    took_ms = (time.perf_counter() - began) * 1000

    def words() -> str:
        return _("Wrote, read and deleted a file in %(span)s.") % {"span": ms(took_ms)}

    return ("ok" if whole and took_ms < 2000 else "slow"), words


def _payments(now: datetime) -> Found:
    if settings.BILLING_PROVIDER == "sandbox":
        return "ok", lambda: _("A sandbox: no money moves.")
    if not settings.STRIPE_API_KEY:
        return "off", lambda: _("Funds are added by the operator.")
    return "ok", lambda: _("Configured.")
