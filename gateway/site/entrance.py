"""Address limits at the door, before allauth counts for itself: django-ratelimit on the POSTs of sign-up and log-in."""

from __future__ import annotations

from allauth.account import views
from django.conf import settings
from django.http import HttpRequest
from django.urls import path
from django_ratelimit.decorators import ratelimit

from gateway.api.parsing import client_address


def address_key(group: str, request: HttpRequest) -> str:
    """The address that the API's limits count by: behind a trusted proxy it is the caller's, not the proxy's."""
    return client_address(request) or "unknown"


signup = ratelimit(group="signup", key=address_key, rate=settings.SIGNUP_RATE, method="POST")(views.signup)
login = ratelimit(group="login", key=address_key, rate=settings.LOGIN_RATE, method="POST")(views.login)
login_code = ratelimit(group="login", key=address_key, rate=settings.LOGIN_RATE, method="POST")(
    views.request_login_code
)
reset = ratelimit(group="login", key=address_key, rate=settings.LOGIN_RATE, method="POST")(views.password_reset)

# They stand before allauth's own addresses and shadow them; the names stay allauth's.
urlpatterns = [
    path("signup/", signup),
    path("login/", login),
    path("login/code/", login_code),
    path("password/reset/", reset),
]
