"""Which mails tell of accounts and keys, and to whom: the templates are in templates/emails/."""

from __future__ import annotations

from django.conf import settings
from django.core import signing
from django.urls import reverse

from accounts.mails import mail_send
from accounts.models import ApiKey, User

UNSUBSCRIBE_SALT = "accounts.notices"


def site_url(path: str = "") -> str:
    """An address of this site for mails, which have no request to take it from."""
    return (settings.PUBLIC_URL or f"http://127.0.0.1:{settings.PORT}").rstrip("/") + path


def unsubscribe_url(user: User) -> str:
    """Ends every mail that is neither about money nor about security, without a log-in."""
    token = signing.dumps(user.pk, salt=UNSUBSCRIBE_SALT)
    return site_url(reverse("dashboard:unsubscribe", kwargs={"token": token}))


def key_made_mail(*, api_key: ApiKey, user: User, address: str) -> None:
    """To the person who made it: a key that somebody else made in their name must not go unseen."""
    values = {
        "key": api_key.display,
        "name": api_key.name,
        "account": api_key.account.name,
        "address": address,
        "keys_url": site_url(reverse("dashboard:keys")),
    }
    mail_send(template="key_made", to=user.email, values=values, language=user.language)


def key_leaked_mail(*, api_key: ApiKey, user: User, found_at: str) -> None:
    values = {
        "key": api_key.display,
        "name": api_key.name,
        "account": api_key.account.name,
        "found_at": found_at,
        "keys_url": site_url(reverse("dashboard:keys")),
    }
    mail_send(template="key_leaked", to=user.email, values=values, language=user.language)


def notice_mail(*, template: str, user: User, values: dict[str, object]) -> None:
    """A mail that may be stopped: nothing for those who stopped them."""
    if user.notices:
        mail_send(
            template=template,
            to=user.email,
            values=values,
            language=user.language,
            unsubscribe_url=unsubscribe_url(user),
        )
