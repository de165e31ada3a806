"""What can be wrong with a caller. The docstring is the message; fields fill its braces. Nothing here knows of HTTP."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.utils.translation import gettext

# Fields that hold words of ours, which have translations where they are marked.
WORDS = frozenset({"reason", "scope"})


# What changes from one phrase to the next of its kind.
_SLOT = re.compile(r'"[^"]*"|\d+')


def phrase_said(phrase: str) -> str:
    """Words of ours in the reader's language. {} stands in the catalogue for each number and each quoted word."""
    template, slots = _SLOT.sub("{}", phrase), _SLOT.findall(phrase)
    if template.count("{") != len(slots):
        return phrase  # braces of somebody else's
    return gettext(template).format(*slots)


def reason_said(reason: str) -> tuple[str, str]:
    """A reason in the reader's language, and what a library said of it in brackets, which has no translation."""
    ours, bracket, detail = reason.partition(" (")
    return phrase_said(ours), detail.removesuffix(")") if bracket else ""


def sentence_said(reason: str) -> str:
    ours, detail = reason_said(reason)
    return f"{ours} ({detail})" if detail else ours


class DomainError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.message = self._template().format(**fields)
        super().__init__(self.message)

    @classmethod
    def _template(cls) -> str:
        return " ".join((cls.__doc__ or "").split())

    @property
    def said(self) -> str:
        """The message in the reader's language, for pages. Programs are answered with `message`, which is English."""
        fields = {name: sentence_said(str(value)) if name in WORDS else value for name, value in self.fields.items()}
        return gettext(self._template()).format(**fields)


class KeyMissing(DomainError):
    """An API key is required: send it as "key" in the body or as "Authorization: Bearer"."""

    code = "key_missing"


class KeyInvalid(DomainError):
    """This API key is not valid."""

    code = "key_invalid"


class KeyExpired(DomainError):
    """This API key expired on {expired_at}."""

    code = "key_expired"


class KeyRevoked(DomainError):
    """This API key was revoked."""

    code = "key_revoked"


class AccountSuspended(DomainError):
    """This account is suspended: {reason}"""

    code = "account_suspended"


class ScopeDenied(DomainError):
    """This API key may not do this: it lacks the scope "{scope}"."""

    code = "scope_denied"


class AddressDenied(DomainError):
    """This API key may not be used from this network address."""

    code = "address_denied"


class OriginDenied(DomainError):
    """This API key may be used from certain web pages alone, and this call did not come from one of them."""

    code = "origin_denied"


class ModelDenied(DomainError):
    """This API key may not use the model "{model_id}"."""

    code = "model_denied"


class TooManyFailedKeys(DomainError):
    """Too many calls with a wrong API key from this address: try again in {retry_after_s} s."""

    code = "too_many_failed_keys"
