"""Which browsers a person has logged in with: kept in the browser itself, as a signed cookie, and nowhere here."""

from __future__ import annotations

import re

from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext

from accounts.models import User

COOKIE = "device"
SALT = "accounts.devices"
KEPT_S = 400 * 24 * 3600
PEOPLE_MAX = 10
# The first that fits wins: most browsers name others beside themselves.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
    ("curl", "curl"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def device_known(request: HttpRequest, user: User) -> bool:
    return user.pk in _people(request)


def device_remember(request: HttpRequest, response: HttpResponseBase, user: User, *, secure: bool) -> None:
    """From now on this browser is known as one of the person's."""
    people = [user.pk, *(pk for pk in _people(request) if pk != user.pk)][:PEOPLE_MAX]
    value = signing.dumps(people, salt=SALT)
    response.set_cookie(COOKIE, value, max_age=KEPT_S, secure=secure, httponly=True, samesite="Lax")


def _people(request: HttpRequest) -> list[int]:
    """Who logged in here before; nobody when the cookie is not ours."""
    try:
        found = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=KEPT_S)
    except signing.BadSignature:
        return []
    return [pk for pk in found if isinstance(pk, int)] if isinstance(found, list) else []


def device_name(user_agent: str) -> str:
    """For people, in the reader's language: "Firefox on Linux"."""
    browser = next((name for mark, name in _BROWSERS if re.search(rf"\b{mark}", user_agent)), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if browser and system:
        return gettext("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or gettext("an unknown program")
