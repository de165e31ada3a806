"""The public status page's probes: what a call would meet right now, asked of the parts themselves."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection

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


@dataclass(frozen=True, slots=True)
class Probe:
    """One part: `state` is ok, slow, down or off."""

    name: str
    state: str
    detail: str

    @property
    def tone(self) -> str:
        return {"ok": "ok", "slow": "warn", "down": "bad"}.get(self.state, "")

    @property
    def word(self) -> str:
        return {"ok": "Working", "slow": "Slow", "down": "Down", "off": "Not configured"}[self.state]


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
        return {"ok": "Everything works", "slow": "Working, slower than usual", "down": "A part is down"}[self.state]

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
    asked: list[tuple[str, Callable[[datetime], tuple[str, str]]]] = [
        ("API and database", _database),
        ("Render workers", _workers),
        ("Queue", _queue),
        ("Recent calls", _recent),
        ("Picture storage", _storage),
        ("Payments", _payments),
    ]
    return [_ask(name, probe, now) for name, probe in asked]


def _ask(name: str, probe: Callable[[datetime], tuple[str, str]], now: datetime) -> Probe:
    try:
        state, detail = probe(now)
    except Exception:  # noqa: BLE001 - whatever a part raises, the page must still say that it is down
        state, detail = "down", "It did not answer."
    return Probe(name=name, state=state, detail=detail)


def _database(now: datetime) -> tuple[str, str]:
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    took_ms = (time.perf_counter() - began) * 1000
    return ("ok" if took_ms < 250 else "slow"), f"Answered in {ms(took_ms)}."


def _workers(now: datetime) -> tuple[str, str]:
    alive = list(workers_alive().filter(last_seen_at__gte=now - SILENT, owner_account_id=None).values_list("state"))
    count = len(alive)
    return ("ok" if count else "down"), f"{count} alive." if count else "None has reported in the last 20 s."


def _queue(now: datetime) -> tuple[str, str]:
    waiting = Generation.objects.filter(state=GenerationState.WAITING).order_by("created_at")
    oldest = waiting.values_list("created_at", flat=True).first()
    if oldest is None:
        return "ok", "Empty: a call starts at once."
    age_s = (now - oldest).total_seconds()
    return ("ok" if age_s < 60 else "slow"), f"{number(waiting.count())} waiting, the oldest for {ms(age_s * 1000)}."


def _recent(now: datetime) -> tuple[str, str]:
    ended = Generation.objects.filter(pk__gte=generation_id_floor(now - RECENT))
    good = ended.filter(state=GenerationState.SUCCEEDED).count()
    bad = ended.filter(state=GenerationState.FAILED).count()
    if not good + bad:
        return "ok", "No call ended in the last 15 minutes."
    state = "ok" if bad <= good * 0.05 else "slow" if good else "down"
    return state, f"{number(good)} of {number(good + bad)} calls of the last 15 minutes delivered."


def _storage(now: datetime) -> tuple[str, str]:
    storage = get_storage()
    expires_epoch_s = int(now.timestamp()) + 60
    key = output_key(token=f"probe{secrets.token_hex(6)}", index=0, extension="txt", expires_epoch_s=expires_epoch_s)
    began = time.perf_counter()
    storage.write(key, b"probe", "text/plain")
    whole = storage.read(key) == b"probe"
    storage.delete(key)
    took_ms = (time.perf_counter() - began) * 1000
    return ("ok" if whole and took_ms < 2000 else "slow"), f"Wrote, read and deleted a file in {ms(took_ms)}."


def _payments(now: datetime) -> tuple[str, str]:
    if settings.BILLING_PROVIDER == "sandbox":
        return "ok", "A sandbox: no money moves."
    return ("ok", "Configured.") if settings.STRIPE_API_KEY else ("off", "Funds are added by the operator.")
