"""Questions that the service asks itself, each answered in words: is every part there, and set up as it should be?"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from celery import current_app
from django.conf import settings
from django.core import checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from billing.models import Price, StripeEvent
from billing.stripe_client import is_configured
from gateway.dispatcher import DUTY
from gateway.models import AuditRun, Leadership
from gateway.templatetags.units import bytes_size, ms, number
from gateway.wakeups import redis_client
from inference.models import ImageModel
from inference.selectors import workers_alive
from inference.storage import get_storage, output_key

SILENT = timedelta(seconds=20)
SKEW_MAX_MS = 2000
BROKER_TIMEOUT_S = 2
DISK_FREE_MIN_BYTES = 5 << 30
WEBHOOK_QUIET = timedelta(days=7)
OK, LOOK, BAD = "ok", "warn", "bad"
Answer = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Checked:
    """One question with its answer. `tone` is ok, warn or bad."""

    name: str
    tone: str
    text: str


def selfcheck(now: datetime) -> list[Checked]:
    """Every question, asked now: some of them write, connect or wait up to seconds."""
    asked = [_asked(name, question, now) for name, question in QUESTIONS]
    return [*asked, *_settings_problems()]


def _asked(name: str, question: Callable[[datetime], Answer], now: datetime) -> Checked:
    try:
        tone, text = question(now)
    except Exception as problem:  # noqa: BLE001 - whatever a part raises is its answer
        tone, text = BAD, f"It did not answer: {type(problem).__name__}."
    return Checked(name, tone, text)


def _settings_problems() -> list[Checked]:
    """What the framework's own checks, those for deployments included, say about the settings."""
    found = checks.run_checks(include_deployment_checks=bool(settings.PUBLIC_URL))
    shown = [one for one in found if not one.is_silenced()]
    rows = [Checked(f"Settings: {one.id}", BAD if one.is_serious() else LOOK, _words(one)) for one in shown]
    return rows or [Checked("Settings", OK, "No check has an objection.")]


def _words(message: checks.CheckMessage) -> str:
    return f"{message.msg} {message.hint or ''}".strip()


def _database(now: datetime) -> Answer:
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    took_ms = (time.perf_counter() - began) * 1000
    return (OK if took_ms < 250 else LOOK), f"{connection.vendor} answered in {ms(took_ms)}."


def _migrations(now: datetime) -> Answer:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return BAD, f"{len(missing)} are not applied: run manage.py migrate."
    return OK, "All are applied."


def _clock(now: datetime) -> Answer:
    """This process against the database's clock; SQLite has none but this machine's."""
    if connection.vendor != "postgresql":
        return OK, "The database is on this machine: one clock."
    began = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs: datetime = cursor.fetchone()[0]
    middle = began + (timezone.now() - began) / 2
    skew_ms = abs((theirs.astimezone(UTC) - middle).total_seconds()) * 1000
    return (OK if skew_ms < SKEW_MAX_MS else BAD), f"{ms(skew_ms)} apart from the database's."


def _redis(now: datetime) -> Answer:
    if not settings.REDIS_URL:
        return OK, "Not used: limits are counted in the one web process."
    began = time.perf_counter()
    client = redis_client()
    if client is None:
        return BAD, "REDIS_URL is set, but this process has no client."
    client.ping()
    return OK, f"Answered in {ms((time.perf_counter() - began) * 1000)}."


def _broker(now: datetime) -> Answer:
    began = time.perf_counter()
    with current_app.connection_for_write(connect_timeout=BROKER_TIMEOUT_S) as broker:
        broker.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_S)
    return OK, f"{broker.transport_cls} answered in {ms((time.perf_counter() - began) * 1000)}."


def _storage(now: datetime) -> Answer:
    storage, began = get_storage(), time.perf_counter()
    expires_epoch_s = int(now.timestamp()) + 60
    key = output_key(token=f"probe{secrets.token_hex(6)}", index=0, extension="txt", expires_epoch_s=expires_epoch_s)
    storage.write(key, b"probe", "text/plain")
    whole = storage.read(key) == b"probe"
    storage.delete(key)
    took = ms((time.perf_counter() - began) * 1000)
    return (OK, f"Writable: a file came back in {took}.") if whole else (BAD, "A file came back changed.")


def _disk(now: datetime) -> Answer:
    free_bytes = shutil.disk_usage(settings.RUN_DIR).free
    return (OK if free_bytes > DISK_FREE_MIN_BYTES else BAD), f"{bytes_size(free_bytes)} free where RUN_DIR is."


def _model_folder(now: datetime) -> Answer:
    folder = Path(settings.MODEL_DIR)
    if not folder.is_dir():
        return LOOK, "MODEL_DIR does not exist yet: an import makes it, the demo model needs none."
    return OK, f"{bytes_size(shutil.disk_usage(folder).free)} free where MODEL_DIR is."


def _dispatcher(now: datetime) -> Answer:
    holder = Leadership.objects.filter(duty=DUTY, until__gt=now).values_list("holder", flat=True).first()
    return (OK, f"{holder} has the duty.") if holder else (BAD, "None has the duty: start manage.py dispatcher.")


def _fleet(now: datetime) -> Answer:
    alive = workers_alive().filter(last_seen_at__gte=now - SILENT).count()
    return (OK, f"{number(alive)} reported in the last 20 s.") if alive else (BAD, "None reported in the last 20 s.")


def _webhook(now: datetime) -> Answer:
    if not is_configured():
        return LOOK, "No payment provider is configured: nobody can pay."
    newest = StripeEvent.objects.order_by("-pk").values_list("received_at", flat=True).first()
    if newest is None:
        return LOOK, "None was ever received: is the webhook's address set up at Stripe?"
    ago_s = (now - newest).total_seconds()
    return (OK if now - newest < WEBHOOK_QUIET else LOOK), f"The newest was received {_ago(ago_s)} ago."


def _ago(span_s: float) -> str:
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if span_s >= unit_s:
            return f"{int(span_s // unit_s)} {unit}"
    return f"{max(int(span_s), 0)} s"


def _mail(now: datetime) -> Answer:
    kind = settings.EMAIL_BACKEND.rsplit(".", 2)[-2]
    if kind == "smtp":
        return OK, f"Sent through {settings.EMAIL_HOST}."
    return LOOK, f"Mails are not sent but kept ({kind}): set EMAIL_URL."


def _prices(now: datetime) -> Answer:
    priced = Price.objects.filter(account=None, effective_from__lte=now).values("price_code")
    bare = ImageModel.objects.filter(published=True).exclude(price_code__in=priced).values_list("model_id", flat=True)
    names = list(bare[:5])
    if names:
        return BAD, f"Published without a price, so refused: {', '.join(names)}."
    return OK, "Every published model has one."


def _books(now: datetime) -> Answer:
    run = AuditRun.objects.order_by("-id").first()
    if run is None:
        return LOOK, "Not proved yet: the dispatcher sets it off once a day."
    tone = OK if run.differences == 0 else BAD
    return tone, f"{run.differences} differences, {_ago((now - run.ran_at).total_seconds())} ago."


QUESTIONS: tuple[tuple[str, Callable[[datetime], Answer]], ...] = (
    ("Database", _database),
    ("Migrations", _migrations),
    ("Clock", _clock),
    ("Redis", _redis),
    ("Broker", _broker),
    ("Picture storage", _storage),
    ("Disk", _disk),
    ("Model folder", _model_folder),
    ("Dispatcher", _dispatcher),
    ("Render workers", _fleet),
    ("Stripe's webhook", _webhook),
    ("Mail", _mail),
    ("Prices", _prices),
    ("Books", _books),
)
