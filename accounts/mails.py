"""Mails about accounts: text and HTML from templates/emails/, in the reader's language.

A mail leaves after the commit of what it tells of. One that cannot be sent is logged: the same facts stand on a page.
"""

from __future__ import annotations

import functools
import logging
import smtplib
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import translation

from accounts.adapters import html_of

logger = logging.getLogger(__name__)


def mail_send(*, template: str, to: str, values: dict[str, Any], language: str = "", unsubscribe_url: str = "") -> None:
    """Send templates/emails/<template> to one address once the present transaction is committed.

    With `unsubscribe_url` it can be stopped: from a link in its text, and from the mail program's own button.
    """
    values = {"site_name": settings.SITE_NAME, "unsubscribe_url": unsubscribe_url, **values}
    with translation.override(language or settings.LANGUAGE_CODE):
        subject = " ".join(render_to_string(f"emails/{template}_subject.txt", values).split())
        text = render_to_string(f"emails/{template}_message.txt", values).strip()
        html = html_of(text)
    headers = {}
    if unsubscribe_url:
        headers = {"List-Unsubscribe": f"<{unsubscribe_url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    mail = EmailMultiAlternatives(subject, text, settings.DEFAULT_FROM_EMAIL, [to], headers=headers)
    mail.attach_alternative(html, "text/html")
    transaction.on_commit(functools.partial(_send, mail, template))


def _send(mail: EmailMultiAlternatives, template: str) -> None:
    try:
        mail.send()
    except (OSError, smtplib.SMTPException):
        logger.exception("The mail %s could not be sent", template)
