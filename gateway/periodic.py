"""The periodic work that the dispatcher sets off: every entry may run twice and is bounded in what one run does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

from billing import tasks as billing_tasks
from billing.customers import customers_closing
from billing.metered import metered_waiting
from billing.models import AutoRecharge
from billing.stripe_client import is_configured
from billing.stripe_events import events_waiting
from billing.usage_export import exports_waiting
from gateway import tasks, webhooks_out
from gateway.audit import audit_due
from gateway.importing import imports_waiting
from gateway.limits import places_reconcile
from gateway.models import IdempotencyRecord
from gateway.services.deleting import deleted_due
from gateway.services.key_days import key_days_forget
from gateway.services.leases import leases_sweep, waiting_sweep
from gateway.services.place import IDEMPOTENCY_TTL
from gateway.services.retention import retention_due
from inference.services import worker_history_forget, workers_lose
from inference.storage import get_storage

WORKER_LOST_AFTER = timedelta(seconds=30)
ROWS_PER_RUN = 5000


def leases(now: datetime) -> None:
    leases_sweep(now=now)


def waiting(now: datetime) -> None:
    waiting_sweep(now=now)


def workers(now: datetime) -> None:
    workers_lose(unseen_since=now - WORKER_LOST_AFTER)


def webhooks(now: datetime) -> None:
    if webhooks_out.webhooks_due(now):
        tasks.webhooks_send.delay()


def places(now: datetime) -> None:
    places_reconcile(now=now)


def idempotency(now: datetime) -> None:
    old = IdempotencyRecord.objects.filter(created_at__lt=now - IDEMPOTENCY_TTL).values_list("pk", flat=True)
    IdempotencyRecord.objects.filter(pk__in=list(old[:ROWS_PER_RUN])).delete()


def key_days(now: datetime) -> None:
    key_days_forget(now=now)


def worker_history(now: datetime) -> None:
    worker_history_forget(now=now, limit=ROWS_PER_RUN)


def webhook_history(now: datetime) -> None:
    webhooks_out.webhooks_forget(now)


def payment_events(now: datetime) -> None:
    if is_configured() and events_waiting(now):
        billing_tasks.stripe_events_process.delay()


def payments_reconcile(now: datetime) -> None:
    if is_configured():
        billing_tasks.stripe_reconcile.delay()


def customers_closed(now: datetime) -> None:
    if is_configured() and customers_closing():
        billing_tasks.customers_of_closed_accounts.delay()


def auto_recharge(now: datetime) -> None:
    if is_configured() and AutoRecharge.objects.filter(enabled=True).exists():
        billing_tasks.recharge.delay()


def metered_subscriptions(now: datetime) -> None:
    if settings.USAGE_EXPORT and is_configured() and metered_waiting(now):
        billing_tasks.metered_subscriptions.delay()


def usage_export(now: datetime) -> None:
    if settings.USAGE_EXPORT and is_configured() and exports_waiting(now):
        billing_tasks.usage_export.delay()


def usage_compare(now: datetime) -> None:
    if settings.USAGE_EXPORT and is_configured():
        billing_tasks.usage_compare.delay()


def money_notices(now: datetime) -> None:
    billing_tasks.money_notices.delay()


def status_record(now: datetime) -> None:
    tasks.status_record.delay()


def usage_fold(now: datetime) -> None:
    billing_tasks.usage_fold.delay()


def retention(now: datetime) -> None:
    if retention_due(now) or deleted_due(now):
        tasks.retention_run.delay()


def notices(now: datetime) -> None:
    tasks.notices_run.delay()


def temporary_files(now: datetime) -> None:
    get_storage().sweep(now)


def books(now: datetime) -> None:
    """Once a day, by whichever run finds it due."""
    if audit_due(now=now):
        tasks.books_prove.delay()


def imports(now: datetime) -> None:
    if imports_waiting(now):
        tasks.models_import.delay()


PERIODIC: list[tuple[str, float, Callable[[datetime], object]]] = [
    ("leases", 1.0, leases),
    ("webhooks", 1.0, webhooks),
    ("workers", 5.0, workers),
    ("waiting", 10.0, waiting),
    ("places", 10.0, places),
    ("payment events", 1.0, payment_events),
    ("customers of closed accounts", 60.0, customers_closed),
    ("auto-recharge", 15.0, auto_recharge),
    ("metered subscriptions", 60.0, metered_subscriptions),
    ("usage export", 5.0, usage_export),
    ("usage comparison", 3600.0, usage_compare),
    ("money notices", 60.0, money_notices),
    ("reconciling payments", 180.0, payments_reconcile),
    ("idempotency", 300.0, idempotency),
    ("key days", 3600.0, key_days),
    ("webhook history", 600.0, webhook_history),
    ("worker history", 600.0, worker_history),
    ("model imports", 5.0, imports),
    ("proof of the books", 900.0, books),
    ("temporary files", 600.0, temporary_files),
    ("status", 60.0, status_record),
    ("retention", 60.0, retention),
    ("notices", 60.0, notices),
    ("folding usage", 900.0, usage_fold),
]
