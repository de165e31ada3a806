"""What staff can do to accounts: each one a call of the owning app's services and one row of the record, together.

Nothing here asks who may: views do (access.staff_page). Every action asks for a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts import services as accounts
from accounts.models import Account, ApiKey, User
from accounts.staff import StaffRole, staff_roles_of, staff_roles_set
from billing import services as billing
from billing.errors import PaymentProviderUnavailable
from billing.models import Price, Refund, TopUp, Wallet
from billing.refunds import refund_make
from gateway.models import StaffAction
from inference.models import ImageModel


class LastOwner(Exception):
    """Somebody must stay an owner: give that role to another person first."""


class BalanceTooSmall(Exception):
    """The account has not so much left: what is held or spent cannot be taken."""


def staff_action_record(
    *,
    by: User,
    action: str,
    target: str,
    now: datetime,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> StaffAction:
    """The row alone: its caller writes it in the transaction of what it tells of."""
    return StaffAction.objects.create(
        actor=by,
        action=action,
        target=target,
        before=dict(before or {}),
        after=dict(after or {}),
        reason=reason,
        created_at=now,
    )


def account_target(account: Account) -> str:
    return f"account:{account.pk}"


def account_grant(*, account: Account, amount_microusd: int, nonce: str, reason: str, by: User, now: datetime) -> bool:
    """Funds from the operator; the same form sent twice grants once, and only the first is recorded."""
    return _funds_move(billing.funds_grant, "grant funds", account, amount_microusd, nonce, reason, by, now)


def account_correct(
    *, account: Account, amount_microusd: int, nonce: str, reason: str, by: User, now: datetime
) -> bool:
    """A correction up or down; the same form sent twice corrects once. Raises BalanceTooSmall."""
    try:
        return _funds_move(billing.funds_adjust, "correct balance", account, amount_microusd, nonce, reason, by, now)
    except IntegrityError as problem:
        raise BalanceTooSmall from problem


@transaction.atomic
def _funds_move(
    move: Callable[..., bool],
    action: str,
    account: Account,
    amount_microusd: int,
    nonce: str,
    reason: str,
    by: User,
    now: datetime,
) -> bool:
    before = Wallet.objects.select_for_update().get(pk=account.pk).balance_microusd
    op_key = f"staff:{nonce}"
    moved = move(account_id=account.pk, amount_microusd=amount_microusd, op_key=op_key, now=now, reason=reason, by=by)
    if moved:
        staff_action_record(
            by=by,
            action=action,
            target=account_target(account),
            before={"balance_microusd": before},
            after={"balance_microusd": before + amount_microusd},
            reason=reason,
            now=now,
        )
    return moved


def top_up_refund(*, top_up: TopUp, amount_cents: int, left_cents: int, reason: str, by: User, now: datetime) -> Refund:
    """Give a part of a payment back. No transaction is around the provider's answer: the refund's own row says who and
    why from its first moment, and where the provider is away it waits for the reconciler. Raises RefundRefused."""
    try:
        refund = refund_make(
            top_up=top_up, amount_cents=amount_cents, left_cents=left_cents, reason=reason, by=by, now=now
        )
    except PaymentProviderUnavailable:
        refund = top_up.refunds.latest("pk")
    staff_action_record(
        by=by,
        action="refund",
        target=f"account:{top_up.account_id}",
        before={"payment": top_up.public_id, "refundable_cents": left_cents},
        after={"refund": refund.public_id, "amount_cents": refund.amount_cents, "state": str(refund.state)},
        reason=reason,
        now=now,
    )
    return refund


@transaction.atomic
def account_plan_change(
    *, account: Account, plan_code: str, postpaid_limit_microusd: int | None, reason: str, by: User, now: datetime
) -> None:
    """Raises PlanUnknown, and PostpaidLimitInvalid for the metered plan without its monthly limit."""
    before = Wallet.objects.select_for_update().get(pk=account.pk)
    billing.plan_assign(
        account_id=account.pk, plan_code=plan_code, now=now, postpaid_limit_microusd=postpaid_limit_microusd
    )
    after = Wallet.objects.get(pk=account.pk)
    staff_action_record(
        by=by,
        action="change plan",
        target=account_target(account),
        before=_plan_of(before),
        after=_plan_of(after),
        reason=reason,
        now=now,
    )


def _plan_of(wallet: Wallet) -> dict[str, Any]:
    limit = wallet.postpaid_limit_microusd
    return {"plan": wallet.plan_code} | ({} if limit is None else {"postpaid_limit_microusd": limit})


@transaction.atomic
def account_limits_set(
    *, account: Account, limits: Mapping[str, int | None], reason: str, by: User, now: datetime
) -> None:
    """This account's own numbers in place of its plan's; None goes back to the plan's. Others stay as they are."""
    wallet = Wallet.objects.select_for_update().get(pk=account.pk)
    before = dict(wallet.overrides)
    wallet.overrides = {name: value for name, value in (before | dict(limits)).items() if value is not None}
    wallet.save(update_fields=["overrides"])
    staff_action_record(
        by=by,
        action="set limits",
        target=account_target(account),
        before=before,
        after=wallet.overrides,
        reason=reason,
        now=now,
    )


@transaction.atomic
def account_suspend(*, account: Account, reason: str, by: User, now: datetime) -> None:
    """Its keys are refused from now on; the customer reads the reason with every refusal."""
    accounts.account_suspend(account=account, reason=reason, now=now)
    staff_action_record(
        by=by,
        action="suspend",
        target=account_target(account),
        before={"suspended": account.suspended_at is not None, "reason": account.suspended_reason},
        after={"suspended": True, "reason": reason},
        reason=reason,
        now=now,
    )


@transaction.atomic
def account_resume(*, account: Account, reason: str, by: User, now: datetime) -> None:
    accounts.account_resume(account=account)
    staff_action_record(
        by=by,
        action="resume",
        target=account_target(account),
        before={"suspended": account.suspended_at is not None, "reason": account.suspended_reason},
        after={"suspended": False},
        reason=reason,
        now=now,
    )


@transaction.atomic
def account_key_revoke(*, api_key: ApiKey, reason: str, by: User, now: datetime) -> bool:
    """False when it was revoked before."""
    revoked = accounts.key_revoke(api_key=api_key, now=now, action="the operator revoked the key")
    if revoked:
        staff_action_record(
            by=by,
            action="revoke key",
            target=account_target(api_key.account),
            before={"key": api_key.display, "revoked": False},
            after={"key": api_key.display, "revoked": True},
            reason=reason,
            now=now,
        )
    return revoked


def addresses_of(account: Account) -> QuerySet[EmailAddress]:
    addresses: QuerySet[EmailAddress] = EmailAddress.objects.filter(user__memberships__account=account)
    return addresses.order_by("email")


@transaction.atomic
def address_confirm(*, account: Account, email: str, reason: str, by: User, now: datetime) -> bool:
    """What the code of the mail would have done, for somebody whom it never reached. False when the address is
    confirmed already, here or for somebody else."""
    address = addresses_of(account).filter(email=email, verified=False).first()
    if address is None or not address.set_verified():
        return False
    staff_action_record(
        by=by,
        action="confirm address",
        target=account_target(account),
        before={"user": address.user_id, "confirmed": False},
        after={"user": address.user_id, "confirmed": True},
        reason=reason,
        now=now,
    )
    return True


@transaction.atomic
def account_sign_out(*, account: Account, reason: str, by: User, now: datetime) -> int:
    """End every session of every member; how many there were."""
    sessions = list(UserSession.objects.filter(user__memberships__account=account))
    for session in sessions:
        session.end()
    staff_action_record(
        by=by,
        action="sign out everywhere",
        target=account_target(account),
        before={"sessions": len(sessions)},
        after={"sessions": 0},
        reason=reason,
        now=now,
    )
    return len(sessions)


@transaction.atomic
def model_publish(*, model: ImageModel, published: bool, reason: str, by: User, now: datetime) -> None:
    before = ImageModel.objects.select_for_update().get(pk=model.pk).published
    # save(), not update(): it notes the time of the change.
    model.published = published
    model.save(update_fields=["published", "updated_at"])
    staff_action_record(
        by=by,
        action="publish" if published else "unpublish",
        target=f"model:{model.model_id}",
        before={"published": before},
        after={"published": published},
        reason=reason,
        now=now,
    )


@transaction.atomic
def price_change(
    *,
    price_code: str,
    amount_microusd: int,
    before_microusd: int | None,
    effective_from: datetime,
    reason: str,
    by: User,
    now: datetime,
    account: Account | None = None,
) -> Price:
    """A dated version for everyone, or for one account; what was admitted before keeps its frozen price."""
    price = billing.price_set(
        price_code=price_code,
        amount_microusd=amount_microusd,
        effective_from=effective_from,
        account=account,
        by=by,
        note=reason[:200],
    )
    staff_action_record(
        by=by,
        action="set price" if account is None else "set own price",
        target=f"price:{price_code}" if account is None else account_target(account),
        before={"amount_microusd": before_microusd} | ({"price_code": price_code} if account else {}),
        after={"amount_microusd": amount_microusd, "effective_from": effective_from.isoformat()},
        reason=reason,
        now=now,
    )
    return price


@transaction.atomic
def staff_change(*, user: User, roles: frozenset[StaffRole], reason: str, by: User, now: datetime) -> None:
    """Give somebody exactly these parts. Raises LastOwner instead of leaving the console without one."""
    before = staff_roles_of(user)
    if StaffRole.OWNER in before and StaffRole.OWNER not in roles and not _another_owner(user):
        raise LastOwner
    staff_roles_set(user=user, roles=roles)
    staff_action_record(
        by=by,
        action="change staff",
        target=f"user:{user.pk}",
        before={"roles": sorted(before)},
        after={"roles": sorted(roles)},
        reason=reason,
        now=now,
    )


def _another_owner(user: User) -> bool:
    others = User.objects.select_for_update().filter(is_staff=True, is_active=True).exclude(pk=user.pk)
    return any(StaffRole.OWNER in staff_roles_of(other) for other in others)
