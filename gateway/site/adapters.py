"""allauth's view of the edge: the same client address that the API's limits count by, and mails of new browsers."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from accounts.adapters import AccountAdapter
from accounts.addresses import site_url
from accounts.devices import device_known, device_remember
from accounts.models import User
from gateway.api.parsing import client_address
from gateway.features import feature_on
from gateway.models import Feature
from gateway.notices import new_device_mail


class SiteAccountAdapter(AccountAdapter):
    def get_client_ip(self, request: HttpRequest) -> str:
        """X-Forwarded-For is believed only from TRUSTED_PROXIES; a server on a unix socket names no address."""
        return client_address(request) or "127.0.0.1"

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """The setting opens it for good; the operator's switch may close it for a while."""
        return super().is_open_for_signup(request) and feature_on(Feature.SIGNUP)

    def post_login(self, request: HttpRequest, user: User, *, signup: bool, **more: Any) -> HttpResponse:
        """A browser that was not used here before is told of by mail; the first one after sign-up is not."""
        response: HttpResponse = super().post_login(request, user, signup=signup, **more)
        if not device_known(request, user):
            if not signup:
                agent = request.headers.get("User-Agent", "")
                new_device_mail(user=user, user_agent=agent, address=self.get_client_ip(request))
            device_remember(request, response, user, secure=settings.SESSION_COOKIE_SECURE)
        return response

    def render_mail(
        self, template_prefix: str, email: str | list[str], context: dict[str, Any], headers: Any = None
    ) -> EmailMessage:
        more = {"security_url": site_url(reverse("account_change_password"))}
        return super().render_mail(template_prefix, email, context | more, headers)
