"""What every page of the application shows around its own content: the account and the links. It asks no query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse


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


NAVIGATION = (
    Group(
        "",
        (
            Item("home", "Overview", "home", "dashboard:home"),
            Item("models", "Models", "cube", "site:models"),
            Item("gallery", "Gallery", "images", "dashboard:gallery"),
        ),
    ),
    Group(
        "API",
        (
            Item("keys", "API keys", "key", "dashboard:keys"),
            Item("requests", "Request log", "list", "dashboard:requests"),
            Item("usage", "Usage", "chart", "dashboard:usage"),
            Item("limits", "Limits", "limits", "site:limits"),
            Item("webhooks", "Webhooks", "hook", "dashboard:webhooks"),
        ),
    ),
    Group(
        "Account",
        (
            Item("billing", "Billing", "card", "dashboard:billing"),
            Item("team", "Team", "people", "dashboard:team"),
            Item("profile", "Profile and security", "user", "dashboard:profile"),
        ),
    ),
    Group("Help", (Item("docs", "Documentation", "book", "site:docs"),)),
)


def dashboard(request: HttpRequest) -> dict[str, Any]:
    """The context processor. The pages of allauth have no account of their own: they show the person."""
    section = getattr(request, "section", "")
    if not section and request.path.startswith("/accounts/"):
        section = "profile"
    return {
        "account": getattr(request, "account", None),
        "role": getattr(request, "role", None),
        "acting": getattr(request, "acting", False),
        "app_nav": NAVIGATION,
        "section": section,
    }
