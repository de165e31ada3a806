"""Headers of calls to a model that is about to go: since when it is deprecated (RFC 9745), until when it is here (RFC
8594), and which model takes its place.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from django.utils.http import http_date

from inference.selectors import CatalogueModel


def deprecation_headers(model: CatalogueModel, *, base_url: str, now: datetime) -> dict[str, str]:
    """None for a model that stays, and before its day of deprecation."""
    since = model.deprecated_at
    if since is None or since > now:
        return {}
    headers = {"Deprecation": f"@{int(since.astimezone(UTC).timestamp())}"}
    if model.sunset_at is not None:
        headers["Sunset"] = http_date(model.sunset_at.timestamp())
    if model.replacement:
        headers["Link"] = f'<{base_url}/api/v7/models/{quote(model.replacement, safe="")}>; rel="successor-version"'
    return headers
