"""What the CPU worker does about money. Each task may run twice; the rows are the queue, a task is only the moment."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from billing.customers import customers_delete
from billing.metered import metered_keep
from billing.notices import notices_send
from billing.recharge import recharges_run
from billing.reconcile import reconcile
from billing.revenue_months import months_fold
from billing.stripe_client import is_configured
from billing.stripe_events import events_process
from billing.usage_days import days_fold, house_fold
from billing.usage_export import exports_compare, exports_send


@shared_task(name="billing.tasks.stripe_events_process")
def stripe_events_process() -> None:
    if is_configured():
        events_process(now=timezone.now())


@shared_task(name="billing.tasks.stripe_reconcile")
def stripe_reconcile() -> None:
    if is_configured():
        reconcile(now=timezone.now())
        events_process(now=timezone.now())


@shared_task(name="billing.tasks.metered_subscriptions")
def metered_subscriptions() -> None:
    if is_configured():
        metered_keep(now=timezone.now())


@shared_task(name="billing.tasks.customers_of_closed_accounts")
def customers_of_closed_accounts() -> None:
    if is_configured():
        customers_delete()


@shared_task(name="billing.tasks.usage_export")
def usage_export() -> None:
    if is_configured():
        exports_send(now=timezone.now())


@shared_task(name="billing.tasks.usage_compare")
def usage_compare() -> None:
    if is_configured():
        exports_compare(now=timezone.now())


@shared_task(name="billing.tasks.recharge")
def recharge() -> None:
    if is_configured():
        recharges_run(now=timezone.now())


@shared_task(name="billing.tasks.money_notices")
def money_notices() -> None:
    notices_send(now=timezone.now())


@shared_task(name="billing.tasks.usage_fold")
def usage_fold() -> None:
    days_fold(now=timezone.now())
    house_fold(now=timezone.now())
    months_fold(now=timezone.now())
