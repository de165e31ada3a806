"""allauth's view of the edge: the same client address that the API's limits count by."""

from __future__ import annotations

from django.http import HttpRequest

from accounts.adapters import AccountAdapter
from gateway.api.parsing import client_address


class SiteAccountAdapter(AccountAdapter):
    def get_client_ip(self, request: HttpRequest) -> str:
        """X-Forwarded-For is believed only from TRUSTED_PROXIES; a server on a unix socket names no address."""
        return client_address(request) or "127.0.0.1"
