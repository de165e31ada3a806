"""The last lines that a render worker logged, without secrets, for an operator who asks for them.

Kept in memory alone; only what was logged since the process began is there.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Mapping

LINES_MAX, LINE_CHARACTERS_MAX = 200, 400
MASK = "•••"
SECRET_NAME = re.compile(r"(?i)(key|secret|password|credential|token(?!izer))")
# A value so short is a switch or a number, and masking it would blot out harmless words.
SECRET_CHARACTERS_MIN = 8
PATTERNS = (
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),  # the user and the password of an address
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    re.compile(r"\b[A-Za-z]{2,12}_(?:live|test)_\w{8,}"),
    re.compile(r"\b(?:sk|rk|pk|whsec)_\w{8,}"),
    re.compile(
        r"(?i)(?<=[?&])(x-amz-signature|x-amz-credential|x-amz-security-token|signature|sig|token|key)=[^&\s\"']+"
    ),
    re.compile(
        r"(?i)\b(\w*(?:api_?key|access_key|secret|password|token(?!iz))\w*)[\"']?\s*[=:]\s*[\"']?[^\s\"'&,;]{6,}"
    ),
)


def secrets_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values of variables whose names say that they are secret, longest first."""
    values = {
        value for name, value in environ.items() if SECRET_NAME.search(name) and len(value) >= SECRET_CHARACTERS_MIN
    }
    return tuple(sorted(values, key=len, reverse=True))


def masked(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` with what looks like a secret, and every one of `secrets`, made unreadable."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    for pattern in PATTERNS:
        text = pattern.sub(lambda found: f"{found[1]}={MASK}" if found.re.groups else MASK, text)
    return text


class LogTail(logging.Handler):
    """Keeps LINES_MAX lines, each cut to LINE_CHARACTERS_MAX characters."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._secrets = secrets_of(os.environ)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = masked(self.format(record), self._secrets)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted is the logging module's to tell
            self.handleError(record)
            return
        self._lines.extend(line[:LINE_CHARACTERS_MAX] for line in text.splitlines())

    def lines(self, count: int) -> list[str]:
        """The newest `count`, oldest first."""
        return list(self._lines)[-min(count, LINES_MAX) :] if count > 0 else []


tail = LogTail()
