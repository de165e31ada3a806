"""What every page knows: the operator's name and colours, the theme, and who is looking. No query for visitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounts.addresses import site_url
from billing.models import Plan
from gateway.announcements import announcements_shown
from gateway.models import Announcement
from gateway.site.samples import curl_call

# The tagline of SITE_TAGLINE where the operator has set none; any other shows as it is.
TAGLINE = gettext_noop("An image generation API that your code already speaks.")
THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
_FREE_CALLS_TTL_S = 60


@dataclass(frozen=True, slots=True)
class Site:
    """The white label: everything that names the operator, read from the settings."""

    base_url: str
    name: str = settings.SITE_NAME
    tagline: str = settings.SITE_TAGLINE
    logo_url: str = settings.SITE_LOGO_URL
    support_email: str = settings.SUPPORT_EMAIL

    @property
    def branded(self) -> bool:
        return bool(settings.SITE_ACCENT or settings.SITE_SPARK)

    @property
    def sandbox(self) -> bool:
        return bool(settings.BILLING_PROVIDER == "sandbox")

    @property
    def announcements(self) -> list[Announcement]:
        return announcements_shown()

    @property
    def free_calls(self) -> int:
        """Free calls a UTC day under the plan in force, at most a minute old."""
        return int(cache.get_or_set("site:free-calls", free_calls_per_day, _FREE_CALLS_TTL_S) or 0)

    @property
    def sample_call(self) -> str:
        return curl_call(base_url=self.base_url, key="$API_KEY")


def free_calls_per_day() -> int:
    newest = Plan.objects.filter(code="free", effective_from__lte=timezone.now()).order_by("-effective_from")
    return newest.values_list("free_calls_per_day", flat=True).first() or 0


def base_url(request: HttpRequest | None) -> str:
    """The address under which customers reach the API, without a slash at its end."""
    if settings.PUBLIC_URL or request is None:
        return site_url()
    return request.build_absolute_uri("/").rstrip("/")


def theme_of(request: HttpRequest) -> str:
    """The browser's choice, else the person's."""
    theme = request.COOKIES.get(THEME_COOKIE, "") or getattr(getattr(request, "user", None), "theme", "")
    return theme if theme in THEMES else "system"


def site(request: HttpRequest) -> dict[str, Any]:
    """The context processor."""
    return {"brand": Site(base_url=base_url(request)), "theme": theme_of(request)}
