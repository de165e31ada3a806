"""Where this site is, for mails and other texts that no request brings about."""

from __future__ import annotations

from django.conf import settings


def site_url(path: str = "") -> str:
    """An absolute address of this site: below PUBLIC_URL, or where the web process listens on this machine."""
    return (settings.PUBLIC_URL or f"http://127.0.0.1:{settings.PORT}").rstrip("/") + path
