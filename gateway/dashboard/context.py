"""What every page of the application shows around its own content: the account and the links. It asks no query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_noop as _

from accounts.errors import AccountSuspended


@dataclass(frozen=True, slots=True)
class Item:
    key: str
    label: str
    icon: str
    url_name: str

    @property
    def url(self) -> str:
        return reverse(self.url_name)


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    items: tuple[Item, ...]


# The labels are marked for translation here, and translated where templates show them.
NAVIGATION = (
    Group(
        "",
        (
            Item("home", _("Overview"), "home", "dashboard:home"),
            Item("models", _("Models"), "cube", "site:models"),
            Item("gallery", _("Gallery"), "images", "dashboard:gallery"),
        ),
    ),
    Group(
        _("API"),
        (
            Item("keys", _("API keys"), "key", "dashboard:keys"),
            Item("requests", _("Request log"), "list", "dashboard:requests"),
            Item("usage", _("Usage"), "chart", "dashboard:usage"),
            Item("limits", _("Limits"), "limits", "site:limits"),
            Item("webhooks", _("Webhooks"), "hook", "dashboard:webhooks"),
        ),
    ),
    Group(
        _("Account"),
        (
            Item("billing", _("Billing"), "card", "dashboard:billing"),
            Item("team", _("Team"), "people", "dashboard:team"),
            Item("profile", _("Profile and security"), "user", "dashboard:profile"),
        ),
    ),
    Group(_("Help"), (Item("docs", _("Documentation"), "book", "site:docs"),)),
)


def dashboard(request: HttpRequest) -> dict[str, Any]:
    """The context processor. The pages of allauth have no account of their own: they show the person."""
    section = getattr(request, "section", "")
    if not section and request.path.startswith("/accounts/"):
        section = "profile"
    account = getattr(request, "account", None)
    return {
        "account": account,
        # What its calls are refused with, before one is made.
        "suspended": AccountSuspended(reason=account.suspended_reason).said if account and account.suspended_at else "",
        "role": getattr(request, "role", None),
        "acting": getattr(request, "acting", False),
        "app_nav": NAVIGATION,
        "section": section,
    }
