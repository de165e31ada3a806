"""The status page says what its probes find now, and remembers what they found before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from gateway import tasks
from gateway.models import Incident, ProbeDay
from gateway.site.status import FRESH_S, report
from gateway.site.status_history import history, record
from inference.models import RenderWorker

pytestmark = pytest.mark.usefixtures("catalogue")
WORKERS = "Render workers"


def probe_at(minutes: int) -> None:
    cache.clear()
    record(report(now=timezone.now() + timedelta(minutes=minutes)))


def worker_alive(minutes: int) -> None:
    seen = timezone.now() + timedelta(minutes=minutes)
    RenderWorker.objects.update_or_create(name="w", defaults={"state": "idle", "last_seen_at": seen})


def test_a_part_that_is_down_is_one_incident_until_it_is_up() -> None:
    for minutes in (0, 1, 2):
        probe_at(minutes)
    incident = Incident.objects.get(part=WORKERS)
    assert incident.ended_at is None
    worker_alive(3)
    probe_at(3)
    ended = Incident.objects.get(pk=incident.pk)
    assert ended.ended_at
    assert ended.ended_at > ended.began_at
    probe_at(60)
    assert Incident.objects.filter(part=WORKERS).count() == 2


def test_every_probe_is_counted_on_its_day() -> None:
    probe_at(0)
    worker_alive(0)
    probe_at(0)
    counted = ProbeDay.objects.get(part=WORKERS)
    assert (counted.ok, counted.slow, counted.down) == (1, 0, 1)
    part = history([WORKERS], now=timezone.now())[0]
    assert part.share == 0.5
    assert (part.bars[-1].tone, part.bars[0].tone) == ("bad", "none")


def test_the_task_records_the_report(client: Client) -> None:
    worker_alive(0)
    tasks.status_record()
    assert ProbeDay.objects.filter(part="API and database", ok=1).exists()
    page = client.get("/status").content.decode()
    assert "Everything works" in page
    assert "100 % up" in page.replace("\N{NO-BREAK SPACE}", " ")


def test_what_is_down_is_asked_again_before_it_is_an_incident(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.status_record, "apply_async", lambda **how: later.append(how))
    tasks.status_record()
    assert [how["kwargs"] for how in later] == [{"asked_again": True}]
    assert later[0]["countdown"] > FRESH_S
    assert not ProbeDay.objects.exists()
    cache.clear()
    tasks.status_record(**later[0]["kwargs"])
    assert Incident.objects.get().part == WORKERS
    assert ProbeDay.objects.get(part=WORKERS).down == 1
    assert "Down now" in client.get("/status").content.decode()


def test_the_feed_tells_the_beginning_and_the_end_apart(client: Client) -> None:
    probe_at(0)
    began = client.get("/status.atom").content.decode()
    assert f"{WORKERS}: down" in began
    worker_alive(1)
    probe_at(1)
    ended = client.get("/status.atom").content.decode()
    assert f"{WORKERS}: worked again" in ended
    assert "-began" in began
    assert "-ended" in ended


def test_days_long_past_are_forgotten() -> None:
    ProbeDay.objects.create(part=WORKERS, day=(timezone.now() - timedelta(days=200)).date(), ok=5)
    probe_at(0)
    assert ProbeDay.objects.filter(part=WORKERS).count() == 1
