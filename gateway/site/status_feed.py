"""The status page's incidents as an Atom feed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.syndication.views import Feed
from django.http import HttpRequest
from django.urls import reverse
from django.utils.feedgenerator import Atom1Feed

from gateway.models import Incident
from gateway.site.context import base_url
from gateway.site.status_history import incidents


class StatusFeed(Feed[Incident, Any]):
    feed_type = Atom1Feed
    title = f"Status of {settings.SITE_NAME}"
    subtitle = "Parts that did not work, and when they worked again."

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> str:
        return base_url(request)

    def link(self, obj: str) -> str:
        return obj + reverse("site:status")

    def items(self) -> list[Incident]:
        return incidents()

    def item_title(self, item: Incident) -> str:
        return f"{item.part}: {'worked again' if item.ended_at else 'down'}"

    def item_description(self, item: Incident) -> str:
        return item.detail

    def item_link(self, item: Incident) -> str:
        return f"{reverse('site:status')}#incident-{item.pk}"

    def item_guid(self, item: Incident) -> str:
        return f"incident-{item.pk}-{'ended' if item.ended_at else 'began'}"

    def item_pubdate(self, item: Incident) -> datetime:
        return item.began_at

    def item_updateddate(self, item: Incident) -> datetime:
        return item.ended_at or item.began_at
