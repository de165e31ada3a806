"""Closing an account, and a person's own end: words, pictures and names go; what was counted and paid stays.

The books must go on adding up for years, so ledger, holds, payments and the roll-up keep their rows, under an account
that carries nobody's name. The retention's run deletes prompts and pictures of such an account at once.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext

from accounts.mails import mail_send
from accounts.models import Account, AccountEvent, ApiKey, Invitation, Membership, Role, User
from billing.customers import customers_close
from billing.models import AutoRecharge, Subscription, Wallet
from gateway.models import (
    AlertAddress,
    Collection,
    IdempotencyRecord,
    SharedLink,
    WebhookDelivery,
    WebhookReceiver,
    WebhookSecret,
)
from gateway.services.settle import generation_cancel
from inference.models import UNSETTLED, Generation

REASON = "it was closed by its owner"


class ClosingRefused(Exception):
    """What must be done first, in words for the owner."""


def closing_obstacle(account: Account) -> str:
    """Empty when nothing stands in the way."""
    if Subscription.objects.filter(account=account).exclude(status__in=Subscription.ENDED).exists():
        return gettext(
            "A plan is still being paid for: cancel it on the billing page, and close the account when it has ended."
        )
    if Wallet.objects.filter(pk=account.pk, balance_microusd__lt=0).exists():
        return gettext("This account owes money: settle it on the billing page first.")
    return ""


def account_close(*, account: Account, now: datetime) -> None:
    """Refuse its keys from now on, end every membership, delete names and addresses. Raises ClosingRefused.

    People who belong to no other account are deleted with it.
    """
    if obstacle := closing_obstacle(account):
        raise ClosingRefused(obstacle)
    under_way = Generation.objects.filter(account_id=account.pk, state__in=UNSETTLED)
    with transaction.atomic():
        Account.objects.select_for_update().get(pk=account.pk)
        Account.objects.filter(pk=account.pk).update(
            name=f"Closed account {account.pk}", suspended_at=now, suspended_reason=REASON, closed_at=now
        )
        ApiKey.objects.filter(account=account, revoked_at=None).update(revoked_at=now)
        ApiKey.objects.filter(account=account).update(
            name="Deleted", networks=[], created_by=None, last_used_address=None
        )
        people = list(User.objects.filter(memberships__account=account))
        for person in people:
            values = {"account": account.name}
            mail_send(template="account_closed", to=person.email, values=values, language=person.language)
        customers_close(account_id=account.pk, now=now)
        _rows_delete(account)
        for person in people:
            if not Membership.objects.filter(user=person).exists():
                person_erase(person)
    for generation_id in under_way.values_list("pk", flat=True):
        generation_cancel(account_id=account.pk, generation_id=generation_id, now=now)


def _rows_delete(account: Account) -> None:
    """What names people or tells of their pictures, and is no money."""
    for model in (Membership, Invitation, AccountEvent, AutoRecharge):
        model.objects.filter(account=account).delete()
    by_id = (AlertAddress, WebhookDelivery, WebhookReceiver, WebhookSecret, IdempotencyRecord, SharedLink, Collection)
    for kept_by_id in by_id:
        kept_by_id.objects.filter(account_id=account.pk).delete()


def person_leave(*, user: User) -> None:
    """Delete somebody's log-in and memberships; their teams go on. Raises ClosingRefused for staff and last owners."""
    if user.is_staff:
        raise ClosingRefused(
            gettext("You are staff here: another owner of the console must take that part from you first.")
        )
    with transaction.atomic():
        for membership in Membership.objects.filter(user=user, role=Role.OWNER).select_related("account"):
            Account.objects.select_for_update().get(pk=membership.account_id)
            others = Membership.objects.filter(account_id=membership.account_id, role=Role.OWNER).exclude(user=user)
            if not others.exists():
                problem = gettext("%(account)s has no other owner: close it first.")
                raise ClosingRefused(problem % {"account": membership.account.name})
        person_erase(user)


def person_erase(user: User) -> None:
    """Delete a person with addresses, second factors and sessions. Whoever acted as staff stays as a nameless row."""
    try:
        with transaction.atomic():
            user.delete()
    except ProtectedError:
        user.emailaddress_set.all().delete()  # type: ignore[attr-defined]
        user.memberships.all().delete()
        user.email, user.name, user.is_active = f"erased-{user.pk}@invalid", "", False
        user.is_staff = user.is_superuser = False
        user.set_unusable_password()
        user.save()
