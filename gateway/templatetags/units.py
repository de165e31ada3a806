"""The only formatter of money, pixels, durations, bytes, counts and times on pages and in e-mails.

Integers in, text out: no float ever holds money here, and nothing rounds up what a customer owns. Texts are in the
reader's language: $1,234.50 on 26 Nov 2026 is 1.234,50 $ on 26. Nov. 2026 in German.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from billing.money import MICROUSD_PER_USD, usd_text
from billing.wording import NO_BREAK, day_text, digits, dollars

register = template.Library()

THIN = NO_BREAK
DASH = "\N{EN DASH}"
DAY_S = 86400


@register.filter
def money(amount_microusd: int | None) -> str:
    """A balance or total with cents: 12345678 -> $12.34."""
    return DASH if amount_microusd is None else dollars(int(amount_microusd), places=2)


@register.filter
def whole_usd(amount_microusd: int) -> str:
    """A round sum, without its cents: 47000000 -> $47."""
    return dollars(int(amount_microusd), places=0)


@register.filter
def plain_usd(amount_microusd: int) -> str:
    """An amount as a form sends it, in no language: 25000000 -> 25.00."""
    return usd_text(int(amount_microusd), places=2)


@register.filter
def cents(amount_cents: int | None) -> str:
    """An amount of the payment provider's: 2500 -> $25.00."""
    return DASH if amount_cents is None else dollars(int(amount_cents) * 10_000, places=2)


@register.filter
def price(amount_microusd: int | None) -> str:
    """A price or a charge, exact: four decimals, six where they say something, two of a dollar or more in whole cents.
    4700 -> $0.0047, 0 -> $0.00, 25000000 -> $25.00."""
    if amount_microusd is None:
        return DASH
    amount = int(amount_microusd)
    if amount % 10_000 == 0 and (amount == 0 or abs(amount) >= MICROUSD_PER_USD):
        return dollars(amount, places=2)
    return aligned(amount)


@register.filter
def aligned(amount_microusd: int) -> str:
    """An exact amount in a column of others, whose points stand under each other: 25000000 -> $25.0000."""
    return dollars(int(amount_microusd), places=4 if int(amount_microusd) % 100 == 0 else 6)


@register.filter
def spent(amount_microusd: int | None) -> str:
    """An amount that may be tiny: cents from one dollar on, else four decimals, so that a spend never reads $0.00."""
    if amount_microusd is None:
        return DASH
    return money(amount_microusd) if abs(int(amount_microusd)) >= MICROUSD_PER_USD else price(amount_microusd)


@register.filter
def number(value: int | float | None) -> str:
    """A count in groups: 12000 -> 12,000."""
    if value is None:
        return DASH
    return digits(f"{value:,}" if isinstance(value, int) else f"{value:,.1f}")


@register.filter
def px(value_px: int | None) -> str:
    return DASH if value_px is None else f"{value_px}{THIN}px"


@register.simple_tag
def size(width_px: int | None, height_px: int | None) -> str:
    """A picture's size: 512 × 768."""
    if not width_px or not height_px:
        return DASH
    return f"{width_px}{THIN}\N{MULTIPLICATION SIGN}{THIN}{height_px}"


@register.filter
def bytes_size(value_bytes: int | None) -> str:
    """Bytes in the largest binary unit that leaves a number of at least one: 1536 -> 1.5 KiB."""
    if value_bytes is None:
        return DASH
    value = float(value_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f}{THIN}{unit}" if unit == "B" or value >= 100 else f"{digits(f'{value:.1f}')}{THIN}{unit}"


@register.filter
def ms(value_ms: int | float | None) -> str:
    """A measured time: 840 -> 840 ms, 2300 -> 2.3 s, 95000 -> 1 min 35 s."""
    if value_ms is None:
        return DASH
    if value_ms < 1000:
        return f"{value_ms:.0f}{THIN}ms"
    if value_ms < 60_000:
        return f"{digits(f'{value_ms / 1000:.1f}')}{THIN}s"
    return seconds(round(value_ms / 1000))


@register.filter
def seconds(value_s: int | float | None) -> str:
    """A span in its two largest units: 3700 -> 1 h 1 min."""
    if value_s is None:
        return DASH
    left = round(value_s)
    parts: list[str] = []
    for unit, unit_s in (("d", DAY_S), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, unit_s)
        if count:
            parts.append(f"{count}{THIN}{_unit(unit)}")
    return " ".join(parts[:2]) or f"0{THIN}s"


def _unit(unit: str) -> str:
    """Days alone are abbreviated by language; h, min and s are everybody's."""
    return gettext("d") if unit == "d" else unit


@register.filter
def minutes(value_min: int | None) -> str:
    """A count of minutes as a span: 135 -> 2 h 15 min."""
    return DASH if value_min is None else seconds(value_min * 60)


@register.filter
def percent(value: float | None) -> str:
    """A share between 0 and 1: 0.9987 -> 99.87 %. It says 100 % only of a whole, and 0 % only of nothing."""
    if value is None:
        return DASH
    shown = value * 100
    if 0 < shown < 0.01:
        return f"<{THIN}{digits('0.01')}{THIN}%"
    if 99.99 < shown < 100:
        return f">{THIN}{digits('99.99')}{THIN}%"
    places = 0 if shown in (0, 100) else 1 if shown < 99 else 2
    return f"{digits(f'{shown:.{places}f}')}{THIN}%"


def _in_zone(moment: datetime) -> datetime:
    return moment.astimezone(timezone.get_current_timezone())


def zone_name(moment: datetime) -> str:
    """The current zone as a reader knows it: UTC, CET; numeric names get their sign from UTC (UTC+05:45)."""
    name = _in_zone(moment).tzname() or "UTC"
    return f"UTC{name[:3]}:{name[3:] or '00'}" if name[:1] in "+-" else name


@register.filter
def when(moment: datetime | None) -> SafeString | str:
    """A <time> in the reader's zone, the zone named; machines and hovering readers get the exact UTC moment."""
    if moment is None:
        return DASH
    local = _in_zone(moment)
    exact = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{} <span class="dim">{}</span></time>',
        exact.isoformat(timespec="seconds").replace("+00:00", "Z"),
        exact.strftime("%Y-%m-%d %H:%M:%S"),
        day_text(local, "when"),
        zone_name(moment),
    )


@register.filter
def clock(moment: datetime | None) -> SafeString | str:
    """A <time> to the second, for logs and timelines."""
    if moment is None:
        return DASH
    exact = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        exact.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        exact.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        day_text(_in_zone(moment), "clock"),
    )


@register.filter
def day(moment: datetime | None) -> SafeString | str:
    """A <time> that shows the day alone."""
    if moment is None:
        return DASH
    exact = moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return format_html('<time datetime="{}">{}</time>', exact, day_text(_in_zone(moment), "day"))


@register.filter
def short_day(value: date) -> str:
    """A day of a near year: 26 Nov."""
    return day_text(value, "short")


@register.filter
def long_day(moment: datetime) -> str:
    """A UTC day as letters write it: 26 November 2026."""
    return day_text(moment.astimezone(UTC), "long")


@register.filter
def utc_month(moment: datetime) -> str:
    """A month of UTC, whatever the reader's zone: November 2026."""
    return day_text(moment.astimezone(UTC), "month")


@register.filter
def long_when(moment: datetime) -> str:
    """A UTC minute as letters write it: 26 November 2026, 04:31."""
    return f"{long_day(moment)}, {moment.astimezone(UTC):%H:%M}"


@register.filter
def ago(moment: datetime | None, now: datetime | None = None) -> SafeString | str:
    """How long ago, roughly, with the exact UTC moment on hover."""
    if moment is None:
        return gettext("never")
    exact = moment.astimezone(UTC)
    elapsed_s = ((now or timezone.now()) - moment).total_seconds()
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        exact.isoformat(timespec="seconds").replace("+00:00", "Z"),
        exact.strftime("%Y-%m-%d %H:%M:%S"),
        _span_ago(elapsed_s),
    )


def _span_ago(elapsed_s: float) -> str:
    """Days are words here, which have their cases; shorter units are everybody's abbreviations."""
    days = int(abs(elapsed_s) // DAY_S)
    if elapsed_s < 0:
        if days:
            return ngettext("in %(count)s day", "in %(count)s days", days) % {"count": days}
        return gettext("in %(span)s") % {"span": _largest(-elapsed_s)}
    if days:
        return ngettext("%(count)s day ago", "%(count)s days ago", days) % {"count": days}
    return gettext("just now") if elapsed_s < 10 else gettext("%(span)s ago") % {"span": _largest(elapsed_s)}


def _largest(span_s: float) -> str:
    for unit, unit_s in (("h", 3600), ("min", 60)):
        if span_s >= unit_s:
            return f"{int(span_s // unit_s)}{THIN}{unit}"
    return f"{int(span_s)}{THIN}s"


def zone(name: str) -> ZoneInfo:
    """The zone of that name, or UTC: a zone that left the tz database must not break a page."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")
