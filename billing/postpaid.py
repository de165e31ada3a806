"""Post-paid accounts: their calls are charged to the wallet below zero and invoiced after the month. The operator gives
such a plan with a hard monthly limit, which admission enforces from our own rows; nobody can take it for himself.

Each function runs inside its caller's transaction.
"""

from __future__ import annotations

from billing.arrears import wallet_lock
from billing.errors import PostpaidLimitInvalid
from billing.models import Wallet

METERED = "metered"


def postpaid_set(*, account_id: int, limit_microusd: int | None) -> None:
    """What may be owed for one month from now on. A lower limit stops calls that it has no room for, at once."""
    if limit_microusd is None or limit_microusd <= 0:
        raise PostpaidLimitInvalid(plan=METERED)
    wallet_lock(account_id)
    Wallet.objects.filter(pk=account_id).update(postpaid_limit_microusd=limit_microusd)


def postpaid_end(*, account_id: int) -> None:
    """From now on calls are paid in advance. Who owes something is in arrears until it is paid."""
    wallet = wallet_lock(account_id)
    if wallet.postpaid_limit_microusd is not None:
        owes = wallet.in_arrears or wallet.available_microusd < 0
        Wallet.objects.filter(pk=account_id).update(postpaid_limit_microusd=None, in_arrears=owes)
