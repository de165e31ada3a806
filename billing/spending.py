"""Monthly limits of an account, of a key and of post-paid use, exact because their counters move in the admitting
statement.

A counter is a row per UTC month, so no reset can fail. It begins with the first call that a limit applies to, with what
was spent before; a hold remembers the counters that it stands in, and gives back to exactly those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from django.db.models import F, Sum
from django.utils.translation import gettext_noop as _

from billing.entitlements import day_of, month_end, month_of
from billing.errors import SpendLimitReached
from billing.guarded import Room
from billing.models import MONEY, Hold, HoldState, Source, SpendMonth
from billing.money import usd_text

ACCOUNT, KEY, OWED = 1, 2, 4
# Instead of a key's id: the counter of the whole account, and that of what is invoiced afterwards.
WHOLE_ACCOUNT, INVOICED = 0, -1


@dataclass(frozen=True, slots=True)
class SpendLimits:
    """What may be spent in a month; None is no limit. `key_id` names the calling key, `postpaid_microusd` bounds
    what is invoiced afterwards."""

    account_id: int
    key_id: int | None = None
    account_microusd: int | None = None
    key_microusd: int | None = None
    postpaid_microusd: int | None = None

    def of(self, source: Source) -> SpendLimits:
        """The limits that hold for what `source` pays."""
        return self if source == Source.POSTPAID else replace(self, postpaid_microusd=None)

    @property
    def scopes(self) -> int:
        account = ACCOUNT if self.account_microusd is not None else 0
        key = KEY if self.key_microusd is not None and self.key_id is not None else 0
        return account | key | (OWED if self.postpaid_microusd is not None else 0)

    def counters(self) -> list[tuple[int, int]]:
        """Key id (or what stands in its place) and limit, in the order in which they are locked."""
        found: list[tuple[int, int]] = []
        if self.postpaid_microusd is not None:
            found.append((INVOICED, self.postpaid_microusd))
        if self.account_microusd is not None:
            found.append((WHOLE_ACCOUNT, self.account_microusd))
        if self.key_microusd is not None and self.key_id is not None:
            found.append((self.key_id, self.key_microusd))
        return found


_SCOPES = {WHOLE_ACCOUNT: _("this account"), INVOICED: _("post-paid calls")}


def month_day(moment: datetime) -> date:
    return day_of(month_of(moment))


def room_for(limits: SpendLimits, amount_microusd: int, now: datetime) -> Room | None:
    """The condition that every counter has room, and the statement that counts; None where nothing limits."""
    counters = limits.counters()
    if not counters:
        return None
    month = month_day(now)
    fits = " OR ".join("(key_id = %s AND opening_microusd + counted_microusd + %s <= %s)" for _ in counters)
    places = ", ".join("%s" for _ in counters)
    within = [value for key_id, limit in counters for value in (key_id, amount_microusd, limit)]
    return Room(
        sql="SELECT id FROM billing_spendmonth WHERE account_id = %s AND month = %s"  # noqa: S608 - placeholders alone
        f" AND ({fits}) ORDER BY key_id",
        parameters=(limits.account_id, month, *within),
        rows=len(counters),
        count_sql="UPDATE billing_spendmonth SET counted_microusd = counted_microusd + %s"  # noqa: S608
        f" WHERE account_id = %s AND month = %s AND key_id IN ({places})",
        count_parameters=(amount_microusd, limits.account_id, month, *(key_id for key_id, _ in counters)),
    )


def counters_open(limits: SpendLimits, now: datetime) -> None:
    """Begin the month's counters that do not exist yet. They hold no reservation, so a refused call that began one has
    consumed nothing."""
    month = month_day(now)
    wanted = {key_id for key_id, _ in limits.counters()}
    rows = SpendMonth.objects.filter(account_id=limits.account_id, month=month, key_id__in=wanted)
    missing = wanted - set(rows.values_list("key_id", flat=True))
    for key_id in sorted(missing):
        opening = _spent_uncounted(limits.account_id, key_id, now)
        row = SpendMonth(account_id=limits.account_id, key_id=key_id, month=month, opening_microusd=opening)
        SpendMonth.objects.bulk_create([row], ignore_conflicts=True)


def _spent_uncounted(account_id: int, key_id: int, now: datetime) -> int:
    """The holds of this month that stand in no such counter: open ones in full, captured ones by what was taken."""
    if key_id == INVOICED:
        return 0  # every such hold stands in its counter
    mine = Hold.objects.filter(account_id=account_id, source__in=MONEY, created_at__gte=month_of(now))
    if key_id:
        mine = mine.filter(key_id=key_id)
    counted = F("spend_scopes").bitand(KEY if key_id else ACCOUNT)
    others = mine.annotate(counted=counted).filter(counted=0)
    open_ones = others.filter(state=HoldState.OPEN).aggregate(s=Sum(F("unit_price_microusd") * F("images_held")))
    taken = others.filter(state=HoldState.CAPTURED).aggregate(s=Sum(F("unit_price_microusd") * F("images_captured")))
    return int(open_ones["s"] or 0) + int(taken["s"] or 0)


def spend_give_back(*, hold: Hold, amount_microusd: int) -> None:
    """What of a hold was not spent returns to the counters that it stands in."""
    keys = [INVOICED] if hold.spend_scopes & OWED else []
    if hold.spend_scopes & ACCOUNT:
        keys.append(WHOLE_ACCOUNT)
    if hold.spend_scopes & KEY and hold.key_id is not None:
        keys.append(hold.key_id)
    if not keys or not amount_microusd:
        return
    for key_id in keys:
        SpendMonth.objects.filter(account_id=hold.account_id, month=month_day(hold.created_at), key_id=key_id).update(
            counted_microusd=F("counted_microusd") - amount_microusd
        )


def postpaid_used(*, account_id: int, now: datetime) -> int:
    """What this month's post-paid calls come to in micro-dollars, open ones in full."""
    row = SpendMonth.objects.filter(account_id=account_id, key_id=INVOICED, month=month_day(now)).first()
    return row.counted_microusd if row else 0


def spend_refusal(limits: SpendLimits, amount_microusd: int, now: datetime) -> SpendLimitReached | None:
    """The limit that has no room for this call, in words. Reads only."""
    for key_id, limit in limits.counters():
        row = SpendMonth.objects.filter(account_id=limits.account_id, month=month_day(now), key_id=key_id).first()
        spent = row.opening_microusd + row.counted_microusd if row else 0
        if spent + amount_microusd > limit:
            return SpendLimitReached(
                limit_usd=usd_text(limit, places=2),
                scope=_SCOPES.get(key_id, _("this key")),
                period=f"{month_day(now):%B %Y}",
                resets_at=month_end(now).isoformat(),
            )
    return None
