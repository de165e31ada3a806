"""Calendar arithmetic of billing periods, in UTC and free of state."""

import calendar
from datetime import UTC, datetime

DAY_S = 86_400
HOUR_S = 3_600


def add_intervals(anchor: int, interval: str, count: int) -> int:
    """The instant `count` intervals after the anchor. A month that lacks the anchor's day ends on its last day, and the
    next month returns to the anchor's day (docs.stripe.com/billing/subscriptions/billing-cycle)."""
    if interval in ("day", "week"):
        return anchor + count * DAY_S * (7 if interval == "week" else 1)
    start = datetime.fromtimestamp(anchor, UTC)
    months = start.year * 12 + start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def next_boundary(anchor: int, interval: str, interval_count: int, after: int) -> int:
    """The first period boundary of this anchor that lies strictly after an instant."""
    step = 1
    while (boundary := add_intervals(anchor, interval, step * interval_count)) <= after:
        step += 1
    return boundary


def human_date(instant: int) -> str:
    day = datetime.fromtimestamp(instant, UTC)
    return f"{day:%B} {day.day}, {day.year}"
