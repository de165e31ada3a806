"""Reservations: placed at admission, captured or released at settlement, exactly once.

The statements are written out, because they are the hot path of every call and because each guard is one conditional
statement that PostgreSQL and SQLite understand alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection

from billing import ledger
from billing.entitlements import Terms, billing_url, day_end, day_of
from billing.errors import (
    AccountInArrears,
    AllowanceExhausted,
    DailyQuotaExhausted,
    FundsExhausted,
    InvoiceUnpaid,
    ModelNotInPlan,
)
from billing.guarded import ALWAYS, Guard, Insert, run_guarded
from billing.models import MONEY, Allowance, EntryKind, Hold, HoldState, Source, UsageDay, Wallet
from billing.money import usd_text
from billing.spending import SpendLimits, counters_open, room_for, spend_give_back, spend_refusal
from billing.usage_export import export_queue


@dataclass(frozen=True, slots=True)
class Reservation:
    """What pays for a generation. `amount_microusd` is held in the wallet; 0 for what moves no money."""

    source: Source
    amount_microusd: int
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """How a hold ended: what was charged for how many images."""

    source: Source
    images: int
    charged_microusd: int


def hold_place(
    *,
    reference: int,
    account_id: int,
    terms: Terms,
    price_code: str,
    model_id: str,
    unit_price_microusd: int,
    images: int,
    now: datetime,
    key_id: int | None = None,
    key_budget_microusd: int | None = None,
    dependent: Callable[[Source], Sequence[Insert]] = lambda source: (),
) -> Reservation:
    """Reserve one call of `images` pictures from the first source that has room; raises the refusal that helps most.

    Order: what the plan covers, the period's allowance, the day's free calls, funds, a later invoice. The rows that
    `dependent` gives for the paying source are written with the hold or not at all.
    """
    if terms.in_arrears:
        raise AccountInArrears(billing_url=billing_url())
    amount_microusd = unit_price_microusd * images
    limits = SpendLimits(
        account_id, key_id, terms.spend_limit_microusd, key_budget_microusd, terms.postpaid_limit_microusd
    )
    row = {
        "reference": reference,
        "account_id": account_id,
        "state": HoldState.OPEN.value,
        "unit_price_microusd": unit_price_microusd,
        "images_held": images,
        "images_captured": 0,
        "key_id": key_id,
        "created_at": now,
    }
    for reservation, guard in _sources(limits, terms, price_code, amount_microusd, now):
        allowance = "allowance_id" if reservation.source == Source.ALLOWANCE else ""
        hold = Insert("billing_hold", row | _of_source(reservation, limits), of_guard=allowance)
        inserts = [hold, *dependent(reservation.source)]
        if run_guarded(guard, inserts):
            return reservation
        if guard.room is not None:  # its counters may not have begun, or just now by another call's hand
            counters_open(limits.of(reservation.source), now)
            if run_guarded(guard, inserts):
                return reservation
    raise _refusal(limits, terms, price_code, model_id, amount_microusd, now)


def _of_source(reservation: Reservation, limits: SpendLimits) -> dict[str, object]:
    """The columns of a hold that say what to give back to."""
    return {
        "source": reservation.source.value,
        "day": reservation.day,
        "spend_scopes": limits.of(reservation.source).scopes if reservation.source in MONEY else 0,
    }


def _sources(
    limits: SpendLimits, terms: Terms, price_code: str, amount_microusd: int, now: datetime
) -> Iterator[tuple[Reservation, Guard]]:
    """What may pay, in order, each with the guard that takes from it."""
    account_id = limits.account_id
    if terms.covers(price_code):
        yield Reservation(Source.UNLIMITED, 0), ALWAYS
        return
    if terms.has_allowance:
        yield Reservation(Source.ALLOWANCE, 0), allowance_guard(account_id, now)
    if terms.free_calls_per_day:
        day = day_of(now)
        yield Reservation(Source.FREE_DAY, 0, day), free_day_guard(account_id, terms.free_calls_per_day, day)
    if terms.pays_from_funds:
        room = room_for(limits.of(Source.FUNDS), amount_microusd, now)
        yield Reservation(Source.FUNDS, amount_microusd), ledger.funds_guard(account_id, amount_microusd, room)
    if terms.postpaid_limit_microusd is not None:
        room = room_for(limits, amount_microusd, now)
        assert room is not None
        yield Reservation(Source.POSTPAID, amount_microusd), ledger.postpaid_guard(account_id, amount_microusd, room)


def allowance_guard(account_id: int, now: datetime) -> Guard:
    return Guard(
        "UPDATE billing_allowance SET calls_used = calls_used + 1 WHERE calls_used < calls_granted AND id = ("
        "SELECT id FROM billing_allowance WHERE account_id = %s AND period_start <= %s AND period_end > %s"
        " AND calls_used < calls_granted ORDER BY period_end, id LIMIT 1) RETURNING id",
        (account_id, now, now),
    )


def free_day_guard(account_id: int, limit: int, day: date) -> Guard:
    return Guard(
        "INSERT INTO billing_usageday (account_id, day, calls) VALUES (%s, %s, 1)"
        " ON CONFLICT (account_id, day) DO UPDATE SET calls = billing_usageday.calls + 1"
        " WHERE billing_usageday.calls < %s RETURNING id",
        (account_id, day, limit),
    )


def _refusal(
    limits: SpendLimits, terms: Terms, price_code: str, model_id: str, amount_microusd: int, now: datetime
) -> Exception:
    """Why no source had room, in the words that say how to go on. Reads only."""
    account_id = limits.account_id
    if terms.pays_from_funds or terms.postpaid_limit_microusd is not None:
        return _money_refusal(limits, amount_microusd, now)
    if terms.has_allowance:
        return _allowance_refusal(account_id, now)
    if terms.free_calls_per_day:
        resets_at = day_end(now)
        return DailyQuotaExhausted(
            limit=terms.free_calls_per_day,
            resets_at=resets_at.isoformat(),
            retry_after_s=max(1, int((resets_at - now).total_seconds()) + 1),
            billing_url=billing_url(),
        )
    return ModelNotInPlan(plan=terms.plan_name, model_id=model_id, billing_url=billing_url())


def _money_refusal(limits: SpendLimits, amount_microusd: int, now: datetime) -> Exception:
    wallet = Wallet.objects.get(pk=limits.account_id)
    if wallet.in_arrears:
        return AccountInArrears(billing_url=billing_url())
    if (reached := spend_refusal(limits, amount_microusd, now)) is not None:
        return reached
    if limits.postpaid_microusd is not None:
        return InvoiceUnpaid(owed_usd=usd_text(-wallet.balance_microusd, places=2), billing_url=billing_url())
    return FundsExhausted(
        cost_usd=usd_text(amount_microusd, places=4),
        cost_microusd=amount_microusd,
        available_usd=usd_text(wallet.available_microusd, places=4),
        available_microusd=wallet.available_microusd,
        billing_url=billing_url(),
    )


def _allowance_refusal(account_id: int, now: datetime) -> AllowanceExhausted:
    current = Allowance.objects.filter(account_id=account_id, period_start__lte=now, period_end__gt=now)
    latest = current.order_by("-period_end").first()
    return AllowanceExhausted(
        limit=sum(current.values_list("calls_granted", flat=True)),
        resets_at=latest.period_end.isoformat() if latest else None,
        billing_url=billing_url(),
    )


def hold_capture(*, reference: int, images: int, now: datetime) -> Closing | None:
    """Take what was delivered and release the rest; None when somebody else has closed this hold already.

    Zero images is a release: the call returns to the quota that it came from.
    """
    if images == 0:
        return hold_release(reference=reference)
    hold = Hold.objects.get(pk=reference)
    won = Hold.objects.filter(pk=reference, state=HoldState.OPEN).update(
        state=HoldState.CAPTURED, images_captured=images
    )
    if not won:
        return None
    if hold.source not in MONEY:
        return Closing(Source(hold.source), images, 0)
    charged_microusd = hold.unit_price_microusd * images
    spend_give_back(hold=hold, amount_microusd=hold.amount_microusd - charged_microusd)
    ledger.entry_post(
        account_id=hold.account_id,
        kind=EntryKind.CAPTURE,
        amount_microusd=-charged_microusd,
        op_key=f"capture:{reference}",
        now=now,
        reference=reference,
        images=images,
        release_held_microusd=hold.amount_microusd,
    )
    if hold.source == Source.POSTPAID:
        export_queue(
            op_key=f"capture:{reference}", account_id=hold.account_id, value_microusd=charged_microusd, now=now
        )
    return Closing(Source(hold.source), images, charged_microusd)


def hold_release(*, reference: int) -> Closing | None:
    """Give everything back to where it came from; None when somebody else has closed this hold already."""
    won = Hold.objects.filter(pk=reference, state=HoldState.OPEN).update(state=HoldState.RELEASED)
    if not won:
        return None
    hold = Hold.objects.get(pk=reference)
    with connection.cursor() as cursor:
        if hold.source == Source.FREE_DAY:
            cursor.execute(
                "UPDATE billing_usageday SET calls = calls - 1 WHERE account_id = %s AND day = %s AND calls > 0",
                [hold.account_id, connection.ops.adapt_datefield_value(hold.day)],
            )
        elif hold.source == Source.ALLOWANCE:
            cursor.execute(
                "UPDATE billing_allowance SET calls_used = calls_used - 1 WHERE id = %s AND calls_used > 0",
                [hold.allowance_id],
            )
    if hold.source in MONEY:
        spend_give_back(hold=hold, amount_microusd=hold.amount_microusd)
        ledger.held_give_back(account_id=hold.account_id, amount_microusd=hold.amount_microusd)
    return Closing(Source(hold.source), 0, 0)


def free_calls_used(*, account_id: int, now: datetime) -> int:
    row = UsageDay.objects.filter(account_id=account_id, day=day_of(now)).values_list("calls", flat=True).first()
    return row or 0
