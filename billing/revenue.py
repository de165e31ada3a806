"""Keeps what accounts bring in by month: charges when a day is folded, plans when their invoices are paid.

It may run twice: a day is folded once, and an invoice is noted once. billing.revenue_months adds it up.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from django.db import connection

from billing.models import EntryKind, PlanPayment, RevenueMonth
from billing.money import microusd_from_cents

# What customers paid: in advance, or an invoice afterwards.
PAID_IN = (EntryKind.TOP_UP, EntryKind.INVOICE)
RETURNED = (EntryKind.REFUND, EntryKind.REFUND_REVERSED, EntryKind.DISPUTE, EntryKind.DISPUTE_WON)
GIVEN = (EntryKind.GRANT, EntryKind.ADJUSTMENT)


def month_number(day: date) -> int:
    """Months since the year zero."""
    return day.year * 12 + day.month - 1


def month_start(number: int) -> datetime:
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def month_sql(column: str) -> str:
    """The UTC month of a moment as `month_number` counts, in words of both databases."""
    text = f"CAST({column} AS VARCHAR(40))"
    return f"CAST(SUBSTR({text}, 1, 4) AS INTEGER) * 12 + CAST(SUBSTR({text}, 6, 2) AS INTEGER) - 1"


_ADD = (
    "INSERT INTO billing_accountmonth (account_id, month, signed_up, charged_microusd, plans_microusd) {rows}"
    " ON CONFLICT (account_id, month) DO UPDATE SET"
    " charged_microusd = billing_accountmonth.charged_microusd + excluded.charged_microusd,"
    " plans_microusd = billing_accountmonth.plans_microusd + excluded.plans_microusd"
)
_DAY = _ADD.format(
    rows=f"SELECT account.id, %s, {month_sql('MIN(account.created_at)')}, SUM(amount_microusd), 0"  # noqa: S608 - our own words alone
    " FROM billing_usagehouseday JOIN accounts_account account ON account.id = account_id"
    " WHERE day = %s AND amount_microusd <> 0 GROUP BY account.id"
)
_PLAN = _ADD.format(
    rows=f"SELECT id, %s, {month_sql('created_at')}, 0, %s FROM accounts_account WHERE id = %s"  # noqa: S608 - our own words alone
)


def day_charged(day: date) -> None:
    """Add a folded day. Its caller folded it in the same transaction, so that it is added once."""
    with connection.cursor() as cursor:
        cursor.execute(_DAY, [month_number(day), day])


def plan_paid(
    *, invoice_id: str, account_id: int, mode: str, plan_code: str, amount_cents: int, paid_at: datetime, now: datetime
) -> bool:
    """Note a paid invoice of a plan; False when it was noted before. Runs in its caller's transaction."""
    _, noted = PlanPayment.objects.get_or_create(
        stripe_id=invoice_id,
        defaults={
            "account_id": account_id,
            "mode": mode,
            "plan_code": plan_code,
            "amount_cents": amount_cents,
            "paid_at": paid_at,
        },
    )
    if noted:
        month = month_number(paid_at.astimezone(UTC).date())
        with connection.cursor() as cursor:
            cursor.execute(_PLAN, [month, microusd_from_cents(amount_cents), account_id])
        if month < month_number(now.astimezone(UTC).date()):
            # The next month tells which of its payers were there in this one.
            months_reopen(month, month + 1)
    return noted


def months_reopen(*numbers: int) -> None:
    """Have ended months folded again, as something was written into them. A fold that is under way ends before; one
    that begins sees what this transaction wrote."""
    for number in sorted(numbers):
        RevenueMonth.objects.update_or_create(month=number, defaults={"folded": False})
