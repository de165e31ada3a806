"""The account as its keys may see it: plan, limits, use, funds."""

from __future__ import annotations

from typing import Any

from billing.entitlements import day_end
from billing.holds import free_calls_used
from billing.models import Wallet
from billing.money import usd_text
from gateway.api.authentication import SCOPE_BILLING, SCOPE_GENERATE, SCOPE_READ, Caller
from gateway.api.limits import usage_of
from gateway.api.parsing import Call
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from gateway.services.key_days import key_day_calls

CURRENCY = "USD"


def wallet_balance(call: Call, route: Route, _id: str) -> Reply:
    caller = authenticate(call, SCOPE_BILLING, SCOPE_READ)
    return Reply({"status": "success", "data": _funds(caller)})


def account(call: Call, route: Route, _id: str) -> Reply:
    caller = authenticate(call, SCOPE_BILLING, SCOPE_READ, SCOPE_GENERATE)
    body = {
        "status": "success",
        "data": {
            "plan": _plan(caller),
            "limits": _limits(caller),
            "used": _used(caller, call),
            "funds": _funds(caller),
        },
        "request_id": call.request_id,
    }
    return Reply(body)


def subscribed_products(call: Call, route: Route, _id: str) -> Reply:
    caller = authenticate(call, SCOPE_BILLING, SCOPE_READ)
    return Reply({"status": "success", "data": [_plan(caller)]})


def _plan(caller: Caller) -> dict[str, Any]:
    return {"code": caller.terms.plan_code, "name": caller.terms.plan_name}


def _limits(caller: Caller) -> dict[str, Any]:
    terms, key = caller.terms, caller.key
    return {
        "calls_per_minute": terms.calls_per_minute,
        "queued_calls": terms.queued_calls,
        "free_calls_per_day": terms.free_calls_per_day,
        "key": {
            "calls_per_minute": key.calls_per_minute,
            "calls_per_day": key.calls_per_day,
            "queued_calls": key.queued_calls,
        },
    }


def _used(caller: Caller, call: Call) -> dict[str, Any]:
    usage = usage_of(caller, now=call.now)
    used: dict[str, Any] = {"calls_this_minute": usage.used, "queued_calls": usage.queued}
    if caller.terms.free_calls_per_day:
        used["free_calls_today"] = free_calls_used(account_id=caller.account_id, now=call.now)
        used["free_calls_reset_at"] = day_end(call.now).isoformat()
    if caller.key.calls_per_day is not None:
        used["key_calls_today"] = key_day_calls(key_ids=[caller.key_id], now=call.now).get(caller.key_id, 0)
    return used


def _funds(caller: Caller) -> dict[str, Any]:
    """`balance` is what may be spent: what is held for calls under way is not in it."""
    wallet = Wallet.objects.get(pk=caller.account_id)
    return {
        "balance": usd_text(wallet.available_microusd, places=4),
        "balance_microusd": wallet.available_microusd,
        "held_microusd": wallet.held_microusd,
        "currency": CURRENCY,
    }
