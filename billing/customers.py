"""The provider's mode, the customer of an account there, and the turns of those who bring an account up to date."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import Account, Membership, Role
from billing import stripe_client
from billing.errors import PaymentProviderRefused, PaymentProviderUnavailable, PaymentsNotConfigured
from billing.models import Mode, StripeCustomer
from billing.models.payments import public_id_new

# Longer than the slowest call with its repetitions; a worker that died leaves no longer a gap than this.
TURN = timedelta(seconds=90)
DELETED_PER_RUN = 50
logger = logging.getLogger(__name__)


def mode_now() -> Mode:
    """Which world the configured key belongs to. Raises PaymentsNotConfigured when there is none."""
    config = stripe_client.current_config()
    if settings.BILLING_PROVIDER == "sandbox":
        return Mode.SANDBOX
    return Mode.LIVE if config.livemode else Mode.TEST


def customer_ensure(*, account: Account, now: datetime) -> str:
    """The id of the account's customer, made at the first need. Whoever asks at the same time makes the same one: the
    idempotency key is a row's, committed before the call."""
    row, _ = StripeCustomer.objects.get_or_create(account=account, mode=mode_now(), defaults={"created_at": now})
    if row.stripe_id:
        return row.stripe_id
    made = stripe_client.customer_create(
        account_id=str(account.pk),
        email=owner_email(account),
        name=account.name,
        idempotency_key=f"customer-{row.attempt}",
    )
    StripeCustomer.objects.filter(pk=row.pk, stripe_id=None).update(stripe_id=made["id"])
    kept = StripeCustomer.objects.values_list("stripe_id", flat=True).get(pk=row.pk)
    assert kept is not None
    return kept


def customer_forget(*, stripe_id: str) -> None:
    """It was deleted at the provider: the next need makes another."""
    StripeCustomer.objects.filter(stripe_id=stripe_id).update(stripe_id=None, attempt=public_id_new())


def customers_close(*, account_id: int, now: datetime) -> None:
    """Note that the account's customers are to be deleted: in the transaction that closes the account."""
    StripeCustomer.objects.filter(account_id=account_id, closing_since=None).update(closing_since=now)


def _closing() -> QuerySet[StripeCustomer]:
    return StripeCustomer.objects.filter(mode=mode_now(), closing_since__isnull=False)


def customers_closing() -> bool:
    return _closing().exists()


def customers_delete(*, limit: int = DELETED_PER_RUN) -> int:
    """Delete at the provider what belongs to closed accounts; how many. What fails, or is not told, comes again.

    Events about payments of a deleted customer still find their account, by the payment.
    """
    gone = 0
    for row in _closing().order_by("closing_since")[:limit]:
        with turn_of(row.account_id) as mine:
            if not mine:
                continue
            try:
                if row.stripe_id:
                    stripe_client.customer_delete(customer_id=row.stripe_id)
            except (PaymentProviderRefused, PaymentProviderUnavailable) as problem:
                logger.warning("The customer of closed account %s is not deleted yet: %s", row.account_id, problem)
                continue
            StripeCustomer.objects.filter(pk=row.pk).update(stripe_id=None, closing_since=None, attempt=public_id_new())
            gone += 1
    return gone


def customer_of(account_id: int) -> str | None:
    try:
        mode = mode_now()
    except PaymentsNotConfigured:
        return None
    return StripeCustomer.objects.filter(account_id=account_id, mode=mode).values_list("stripe_id", flat=True).first()


def account_of_customer(stripe_id: object) -> int | None:
    """None for a customer that is not ours."""
    return StripeCustomer.objects.filter(stripe_id=str(stripe_id)).values_list("account_id", flat=True).first()


def owner_email(account: Account) -> str:
    owners = Membership.objects.filter(account=account, role=Role.OWNER).order_by("created_at")
    return owners.values_list("user__email", flat=True).first() or ""


@contextmanager
def turn_of(account_id: int) -> Iterator[bool]:
    """Whether the account is ours to bring up to date now: what one worker fetches and writes, no other overtakes.

    It is a lease and no lock, because calls to the provider are made inside.
    """
    now = timezone.now()
    free = Q(busy_until=None) | Q(busy_until__lt=now)
    mine = StripeCustomer.objects.filter(account_id=account_id, mode=mode_now())
    until = now + TURN
    taken = bool(mine.filter(free).update(busy_until=until))
    try:
        yield taken
    finally:
        if taken:
            mine.filter(busy_until=until).update(busy_until=None)
