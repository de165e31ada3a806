"""What is told to everybody, and the settings page with what the service thinks of itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from gateway.announcements import announcement_end, announcement_make, announcements_in_force
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.forms import AnnouncementForm
from gateway.backoffice.navigation import console_render
from gateway.backoffice.selfcheck import selfcheck
from gateway.backoffice.switches import switches
from gateway.models import Announcement
from gateway.templatetags.units import bytes_size

NEWEST = 50
# Shown as they are in force; of secrets only whether they are there.
SETTINGS = (
    "PUBLIC_URL", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "SITE_NAME", "SUPPORT_EMAIL", "RUN_DIR", "MODEL_DIR",
    "WEB_PROCESSES", "WEB_THREADS", "WEB_CALLS_AT_ONCE", "WAIT_TIMEOUT_S", "WAITING_PLACES", "MAX_BODY_BYTES",
    "OUTPUT_RETENTION_DAYS", "DEFAULT_MODEL_ID", "LEASE_S", "RENDER_ATTEMPTS_MAX", "GENERATION_EXPIRY_S",
    "SIGNUP_OPEN", "SIGNUP_RATE", "LOGIN_RATE", "STAFF_SECOND_FACTOR", "ALLOW_HTTP_URLS", "ALLOW_PRIVATE_ADDRESSES",
    "BILLING_PROVIDER", "PAST_DUE_GRACE_DAYS", "DEFAULT_FROM_EMAIL", "IMPORT_MAX_BYTES", "DEBUG", "LOG_LEVEL",
)  # fmt: skip
SECRETS = (
    "SECRET_KEY",
    "API_KEY_PEPPER",
    "DATABASE_URL",
    "REDIS_URL",
    "BROKER_URL",
    "STORAGE_URL",
    "STRIPE_API_KEY",
    "STRIPE_WEBHOOK_SECRETS",
)


@staff_page(section="settings", needs=Permission.HOUSE)
@require_safe
def settings_page(request: StaffRequest) -> HttpResponse:
    now = timezone.now()
    checked = selfcheck(now)
    context: dict[str, Any] = {
        "switches": switches(),
        "checked": checked,
        "bad": sum(one.tone == "bad" for one in checked),
        "look": sum(one.tone == "warn" for one in checked),
        "settings": [(name, _shown(name, getattr(settings, name))) for name in SETTINGS],
        "secrets": [(name, bool(getattr(settings, name))) for name in SECRETS],
        "now": now,
    }
    return console_render(request, "backoffice/settings.html", context)


def _shown(name: str, value: Any) -> str:
    if name.endswith("_BYTES"):
        return bytes_size(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "empty"


@staff_page(section="announcements", needs=Permission.HOUSE)
@require_http_methods(["GET", "HEAD", "POST"])
def announcements(request: StaffRequest) -> HttpResponse:
    now = timezone.now()
    form = AnnouncementForm(request.POST or None, now=now)
    if request.method == "POST" and form.is_valid():
        _announce(request, form.cleaned_data)
        messages.success(request, "It is announced: pages show it within seconds, from its beginning on.")
        return redirect("backoffice:announcements")
    in_force = set(announcements_in_force(now).values_list("pk", flat=True))
    newest = Announcement.objects.select_related("made_by").order_by("-pk")[:NEWEST]
    context = {"form": form, "rows": [(row, _state(row, row.pk in in_force, now)) for row in newest], "now": now}
    return console_render(request, "backoffice/announcements.html", context)


def _state(row: Announcement, shown: bool, now: Any) -> str:
    return "Shown" if shown else "To come" if row.starts_at > now else "Ended"


@transaction.atomic
def _announce(request: StaffRequest, data: dict[str, Any]) -> None:
    now = timezone.now()
    made = announcement_make(
        text=data["text"],
        tone=data["tone"],
        starts_at=data["starts_at"],
        ends_at=data["ends_at"],
        by=request.user,
        now=now,
    )
    ends = made.ends_at.isoformat() if made.ends_at else None
    after = {"text": made.text, "tone": made.tone, "starts_at": made.starts_at.isoformat(), "ends_at": ends}
    staff_action_record(by=request.user, action="announce", target=f"announcement:{made.pk}", after=after, now=now)


@staff_page(section="announcements", needs=Permission.HOUSE)
@require_POST
def announcement_stop(request: StaffRequest, announcement_id: int) -> HttpResponse:
    announcement, now = get_object_or_404(Announcement, pk=announcement_id), timezone.now()
    with transaction.atomic():
        if announcement_end(announcement=announcement, now=now):
            staff_action_record(
                by=request.user,
                action="end announcement",
                target=f"announcement:{announcement.pk}",
                before={"ends_at": announcement.ends_at.isoformat() if announcement.ends_at else None},
                after={"ends_at": now.isoformat()},
                now=now,
            )
            messages.success(request, "It has ended.")
    return redirect("backoffice:announcements")
