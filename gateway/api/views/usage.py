"""An account's usage for programs: the numbers of the usage page, step by step, in micro-dollars."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from accounts.models import Account
from billing.money import usd_text
from gateway.api.authentication import SCOPE_BILLING, SCOPE_READ
from gateway.api.fields import Fields
from gateway.api.parsing import Call
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from gateway.dashboard.ranges import Range
from gateway.dashboard.usage_selection import span_parse
from gateway.dashboard.usage_sums import DIMENSIONS, MEASURES, Cell, cells

TEXT_CHARS_MAX = 64


def usage(call: Call, route: Route, _id: str) -> Reply:
    """Fields: range, or from and to; group; zone. Raises InvalidRequest for a group or a zone that there is not."""
    caller = authenticate(call, SCOPE_BILLING, SCOPE_READ)
    account = Account.objects.get(pk=caller.account_id)
    fields = Fields(call.fields)
    group = fields.text("group", "group_by", default="model_id", chars_max=TEXT_CHARS_MAX)
    if group not in DIMENSIONS:
        fields.fault("group", "invalid", f"must be one of {', '.join(DIMENSIONS)}", group)
    zone = _zone(fields, account.time_zone)
    fields.check()
    span = span_parse(call.fields, account_id=account.pk, now=call.now, zone=zone)
    found = cells(account, span, group)
    body = {
        "status": "success",
        "data": {
            "from": span.start.isoformat(),
            "to": span.end.isoformat(),
            "zone": str(zone),
            "step": span.unit,
            "group": group,
            "totals": _sums(found),
            "rows": _rows(found, span),
        },
        "request_id": call.request_id,
    }
    return Reply(body)


def _zone(fields: Fields, own: str) -> tzinfo:
    name = fields.text("zone", "time_zone", default=own, chars_max=TEXT_CHARS_MAX)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        fields.fault("zone", "invalid", "must be the name of a time zone, as Europe/Berlin", name)
        return ZoneInfo("UTC")


def _rows(found: list[Cell], span: Range) -> list[dict[str, Any]]:
    """Ascending by step, then by group and status; steps without calls are left out."""
    steps = span.steps()
    ordered = sorted(found, key=lambda cell: (cell.step, str(cell.group), cell.status))
    return [
        {"time": steps[cell.step].isoformat(), "group": cell.group, "status": cell.status, **_sums([cell])}
        for cell in ordered
    ]


def _sums(found: list[Cell]) -> dict[str, Any]:
    sums: dict[str, Any] = {name: sum(getattr(cell, name) for cell in found) for name in MEASURES}
    return sums | {"amount_usd": usd_text(sums["amount_microusd"])}
