"""API keys as text: minting, checking, digesting. Pure: no database, no settings, no clock.

A key is `<prefix>_<live|test>_<look-up part><secret part><checksum>`, letters and digits only. The look-up part finds
the row, the checksum lets anyone (a secret scanner, our own door) tell a real key from a typo without a query, and
only a keyed digest is ever stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

ALPHABET = string.ascii_letters + string.digits
LOOKUP_LENGTH = 12
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
_BODY = re.compile(
    rf"^([a-z]+)_(live|test)_([A-Za-z0-9]{{{LOOKUP_LENGTH}}})([A-Za-z0-9]{{{SECRET_LENGTH}}})([A-Za-z0-9]{{{CHECKSUM_LENGTH}}})$"
)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key whose checksum holds. `lookup` may be stored and shown; `text` may be neither."""

    text: str
    lookup: str
    environment: str

    def __repr__(self) -> str:
        return f"ParsedKey(lookup={self.lookup!r})"

    @property
    def last4(self) -> str:
        return self.text[-4:]


def mint(*, prefix: str, environment: str = "live") -> ParsedKey:
    """A new key with 190 bits of randomness in its secret part."""
    lookup = "".join(secrets.choice(ALPHABET) for _ in range(LOOKUP_LENGTH))
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    body = f"{prefix}_{environment}_{lookup}{secret}"
    return ParsedKey(text=body + checksum(body), lookup=lookup, environment=environment)


def parse(text: str) -> ParsedKey | None:
    """The key in `text`, or None when its form or its checksum is wrong."""
    match = _BODY.match(text)
    if match is None or checksum(text[:-CHECKSUM_LENGTH]) != match[5]:
        return None
    return ParsedKey(text=text, lookup=match[3], environment=match[2])


def checksum(body: str) -> str:
    """CRC-32 in base 62: six characters."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def digest(text: str, *, pepper: str) -> str:
    """What is stored: HMAC-SHA256 with the installation's pepper. Keys are random, so no slow hash is needed."""
    return hmac.new(pepper.encode(), text.encode(), hashlib.sha256).hexdigest()


def verify(text: str, stored_digest: str, *, pepper: str) -> bool:
    return hmac.compare_digest(digest(text, pepper=pepper), stored_digest)
