"""The console's links, by part, and the page around its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from gateway.backoffice.access import Permission, StaffRequest
from gateway.dashboard.context import Group, Item

NAVIGATION: tuple[tuple[str, tuple[tuple[Item, Permission], ...]], ...] = (
    (
        "",
        (
            (Item("console", "Console", "home", "backoffice:home"), Permission.LOOK),
            (Item("usage", "Usage", "chart", "backoffice:usage"), Permission.LOOK),
            (Item("customers", "Customers", "people", "backoffice:customers"), Permission.LOOK),
            (Item("requests", "Request log", "list", "backoffice:requests"), Permission.LOOK),
        ),
    ),
    (
        "Pictures",
        (
            (Item("workers", "Render workers", "bolt", "backoffice:workers"), Permission.LOOK),
            (Item("queue", "Queue", "limits", "backoffice:queue"), Permission.LOOK),
            (Item("models", "Models and prices", "cube", "backoffice:models"), Permission.LOOK),
        ),
    ),
    (
        "House",
        (
            (Item("revenue", "Revenue", "chart", "backoffice:revenue"), Permission.MONEY),
            (Item("money", "Money", "card", "backoffice:money"), Permission.MONEY),
            (Item("payments", "Payments", "list", "backoffice:payments"), Permission.MONEY),
            (Item("announcements", "Announcements", "info", "backoffice:announcements"), Permission.HOUSE),
            (Item("settings", "Settings and checks", "gear", "backoffice:settings"), Permission.HOUSE),
            (Item("records", "Staff actions", "shield", "backoffice:records"), Permission.RECORDS),
            (Item("staff", "Staff", "user", "backoffice:staff"), Permission.RECORDS),
        ),
    ),
)


def navigation_for(permissions: frozenset[Permission]) -> list[Group]:
    groups = [Group(title, tuple(item for item, needs in items if needs in permissions)) for title, items in NAVIGATION]
    return [group for group in groups if group.items]


def console_render(request: StaffRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """A page with the links that its reader may open; `may.<permission>` says to templates what to offer."""
    may = {permission.name.lower(): permission in request.permissions for permission in Permission}
    return render(request, template, {"console_nav": navigation_for(request.permissions), "may": may, **context})
