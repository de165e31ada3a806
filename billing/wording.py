"""Amounts, digits and days as people read and type them, in their language: $1,234.50 on 26 Nov 2026 is 1.234,50 $ on
26. Nov. 2026 in German. What programs read is never written here.
"""

from __future__ import annotations

import re
from datetime import date, datetime

from django.utils.dateformat import format as date_format
from django.utils.translation import get_language

from billing.money import MICROUSD_PER_USD, usd_parse, usd_text

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
# Languages that write 1.234,5 for 1,234.5, and put the currency behind.
_DECIMAL_COMMA = frozenset({"de"})
_SWAPPED = str.maketrans(",.", ".,")
# In Django's letters for dates.
_DATES = {
    "en": {"when": "j M Y, H:i", "clock": "j M H:i:s", "day": "j M Y", "short": "j M", "long": "j F Y", "month": "F Y"},
    "de": {
        "when": "j. N Y, H:i",
        "clock": "j. N H:i:s",
        "day": "j. N Y",
        "short": "j. N",
        "long": "j. F Y",
        "month": "F Y",
    },
}
# Whole dollars, grouped as the language groups or not at all, and a fraction: behind the language's own mark, or one or
# two digits behind the other one, which can then be no group.
_ENTERED = {
    False: re.compile(r"(-?(?:[1-9]\d{0,2}(?:,\d{3})+|\d+))(?:\.(\d{1,6})|,(\d{1,2}))?"),
    True: re.compile(r"(-?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+))(?:,(\d{1,6})|\.(\d{1,2}))?"),
}


def decimal_comma() -> bool:
    """Whether the reader's language has a comma where English has a point."""
    return get_language() in _DECIMAL_COMMA


def digits(text: str) -> str:
    """English digits as the reader writes them: 1,234.5 -> 1.234,5."""
    return text.translate(_SWAPPED) if decimal_comma() else text


def dollars(amount_microusd: int, *, places: int = 2) -> str:
    """`amount_microusd` cut (not rounded) to `places` decimals, so that a balance never shows more than there is."""
    whole, micro = divmod(abs(amount_microusd), MICROUSD_PER_USD)
    fraction = f"{micro:06d}"[:places]
    shown_zero = whole == 0 and not fraction.strip("0")
    sign = MINUS if amount_microusd < 0 and not shown_zero else ""
    shown = digits(f"{whole:,}.{fraction}" if places else f"{whole:,}")
    return f"{sign}{shown}{NO_BREAK}$" if decimal_comma() else f"{sign}${shown}"


def day_text(moment: datetime | date, form: str) -> str:
    """A moment as the language writes it. `form` is when, clock, day, short (no year), long or month."""
    return date_format(moment, _DATES.get(get_language() or "en", _DATES["en"])[form])


def dollars_entered(text: str) -> int:
    """Micro-dollars that a person typed. ValueError where it is none, or where a group could be a fraction."""
    found = _ENTERED[decimal_comma()].fullmatch(text.strip().strip("$").strip())
    if not found:
        raise ValueError(f"{text!r} is not an amount of US dollars")
    whole, own, other = found.groups()
    return usd_parse(f"{whole.replace(',', '').replace('.', '')}.{own or other or '0'}")


def dollars_to_enter(amount_microusd: int | None, *, places: int = 2) -> str:
    """What stands in a field before it is changed; empty for None. `dollars_entered` reads it back."""
    return "" if amount_microusd is None else digits(usd_text(amount_microusd, places=places))
