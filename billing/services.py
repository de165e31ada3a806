"""What changes wallets, plans and prices, outside the life of a hold. Operator actions ask who and why."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from accounts.models import Account, User
from billing import ledger
from billing.arrears import arrears_review
from billing.entitlements import plan_in_force
from billing.models import EntryKind, Price, Wallet
from billing.postpaid import METERED, postpaid_end, postpaid_set


def wallet_open(*, account: Account, now: datetime, plan_code: str = "free") -> Wallet:
    """The account's wallet; a second call finds the first one's."""
    wallet, _ = Wallet.objects.get_or_create(account=account, defaults={"plan_code": plan_code, "created_at": now})
    return wallet


@transaction.atomic
def funds_grant(
    *, account_id: int, amount_microusd: int, op_key: str, now: datetime, reason: str, by: User | None = None
) -> bool:
    """Credit given by the operator. Posting the same `op_key` twice grants once; True when this call did it."""
    granted = ledger.entry_post(
        account_id=account_id,
        kind=EntryKind.GRANT,
        amount_microusd=amount_microusd,
        op_key=f"grant:{op_key}",
        now=now,
        note=reason,
        made_by=by,
    )
    funded_account_upgrade(account_id=account_id)
    return granted


def funded_account_upgrade(*, account_id: int) -> None:
    """A free account with funds is pay as you go: it keeps its free calls a day and goes on from funds after them."""
    Wallet.objects.filter(pk=account_id, plan_code="free", balance_microusd__gt=0).update(plan_code="payg")


@transaction.atomic
def plan_assign(*, account_id: int, plan_code: str, now: datetime, postpaid_limit_microusd: int | None = None) -> None:
    """Put the account under another plan at once. PlanUnknown when there is none of that code; PostpaidLimitInvalid
    for the post-paid plan without its monthly limit. Every other plan ends post-paid use."""
    plan_in_force(plan_code, now)
    if plan_code == METERED:
        postpaid_set(account_id=account_id, limit_microusd=postpaid_limit_microusd)
    else:
        postpaid_end(account_id=account_id)
    Wallet.objects.filter(pk=account_id).update(plan_code=plan_code)


@transaction.atomic
def invoice_settle(
    *, account_id: int, amount_microusd: int, op_key: str, now: datetime, reason: str, by: User | None
) -> bool:
    """A paid invoice of post-paid use, from the provider or, by the operator's word, from elsewhere: once per `op_key`.
    What exceeds the debt, as a rounded cent does, is funds."""
    settled = ledger.entry_post(
        account_id=account_id,
        kind=EntryKind.INVOICE,
        amount_microusd=amount_microusd,
        op_key=f"invoice:{op_key}",
        now=now,
        note=reason,
        made_by=by,
    )
    arrears_review(account_id=account_id)
    return settled


def wallet_settings(
    *,
    account_id: int,
    continue_from_funds: bool,
    spend_warn_microusd: int | None,
    spend_limit_microusd: int | None,
    low_balance_microusd: int | None,
) -> None:
    """What the account itself decides about its spending. They reach calls within a second, like a new plan."""
    Wallet.objects.filter(pk=account_id).update(
        continue_from_funds=continue_from_funds,
        spend_warn_microusd=spend_warn_microusd,
        spend_limit_microusd=spend_limit_microusd,
        low_balance_microusd=low_balance_microusd,
    )


@transaction.atomic
def funds_adjust(
    *, account_id: int, amount_microusd: int, op_key: str, now: datetime, reason: str, by: User | None
) -> bool:
    """A correction by the operator, up or down, with a reason. What is held or spent cannot be taken: the database
    refuses. Posting the same `op_key` twice adjusts once."""
    adjusted = ledger.entry_post(
        account_id=account_id,
        kind=EntryKind.ADJUSTMENT,
        amount_microusd=amount_microusd,
        op_key=f"adjustment:{op_key}",
        now=now,
        note=reason,
        made_by=by,
    )
    funded_account_upgrade(account_id=account_id)
    return adjusted


def price_set(
    *,
    price_code: str,
    amount_microusd: int,
    effective_from: datetime,
    account: Account | None = None,
    by: User | None = None,
    note: str = "",
) -> Price:
    """A new version of a price; what was admitted before keeps its frozen price."""
    return Price.objects.create(
        price_code=price_code,
        amount_microusd=amount_microusd,
        effective_from=effective_from,
        account=account,
        set_by=by,
        note=note,
    )
