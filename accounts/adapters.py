"""Our choices inside django-allauth: six-digit codes, mails in the operator's name, as text and as HTML.

It owns no flow: allauth does. What an account gets when it opens is the gateway's business.
"""

from __future__ import annotations

import secrets
from types import SimpleNamespace
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _

CODE_DIGITS = 6


def code_new() -> str:
    """Digits alone: they can be typed on any keyboard. allauth allows three tries, and few codes an hour."""
    return "".join(secrets.choice("0123456789") for _ in range(CODE_DIGITS))


class AccountAdapter(DefaultAccountAdapter):
    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": _("The address or the password is wrong."),
    }

    def generate_email_verification_code(self) -> str:
        return code_new()

    def generate_login_code(self) -> str:
        return code_new()

    def generate_password_reset_code(self) -> str:
        return code_new()

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGNUP_OPEN)

    def render_mail(
        self, template_prefix: str, email: str | list[str], context: dict[str, Any], headers: Any = None
    ) -> EmailMessage:
        """The text as allauth's templates have it, and the same paragraphs as HTML in our look."""
        site = SimpleNamespace(name=settings.SITE_NAME, domain=settings.PUBLIC_URL)
        message = super().render_mail(template_prefix, email, context | {"current_site": site}, headers)
        assert isinstance(message, EmailMultiAlternatives)
        message.attach_alternative(html_of(str(message.body), code=context.get("code")), "text/html")
        return message


def html_of(text: str, *, code: str | None = None) -> str:
    """A plain mail as HTML: its paragraphs, the code set large, bare addresses made links."""
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    values = {"paragraphs": paragraphs, "code": code, "site_name": settings.SITE_NAME}
    return render_to_string("emails/message.html", values)
