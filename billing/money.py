"""Money as integers of micro-dollars: 1 USD = 1,000,000. The only module that parses, rounds or prints amounts.

Floats never appear; Decimal appears only while a text is parsed. Nothing is rounded but for display.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

MICROUSD_PER_USD = 1_000_000
MICROUSD_PER_CENT = 10_000
# A meter counts micro-dollars; Stripe multiplies by this and rounds the invoice's line to a cent.
CENTS_PER_MICROUSD = Decimal("0.0001")


def usd_parse(text: str) -> int:
    """`text` as micro-dollars. ValueError for anything but a finite amount with at most six decimals."""
    try:
        amount = Decimal(text.strip().removeprefix("$"))
        exact = amount.is_finite() and amount == amount.quantize(Decimal("0.000001"))
    except InvalidOperation:
        exact = False
    if not exact:
        raise ValueError(f"{text!r} is not an amount of US dollars with at most six decimals")
    return int(amount * MICROUSD_PER_USD)


def usd_text(amount_microusd: int, *, places: int = 6) -> str:
    """A plain decimal string ("0.0047"), trailing zeros kept up to `places`; more precise amounts are never cut."""
    sign, amount = ("-", -amount_microusd) if amount_microusd < 0 else ("", amount_microusd)
    whole, fraction = divmod(amount, MICROUSD_PER_USD)
    digits = f"{fraction:06d}"
    kept = max(places, len(digits.rstrip("0")))
    return f"{sign}{whole}.{digits[:kept]}" if kept else f"{sign}{whole}"


def cents_from_microusd(amount_microusd: int) -> int:
    """Stripe's unit. ValueError when the amount is no whole number of cents: money is never rounded on its way out."""
    cents, rest = divmod(amount_microusd, MICROUSD_PER_CENT)
    if rest:
        raise ValueError(f"{amount_microusd} micro-dollars are not a whole number of cents")
    return cents


def microusd_from_cents(amount_cents: int) -> int:
    return amount_cents * MICROUSD_PER_CENT
