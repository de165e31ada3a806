"""What pages say of the people of an account: which browsers they use, what they did."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext

from accounts.devices import device_name
from accounts.events import target_text
from accounts.models import AccountEvent

register = template.Library()


@register.filter
def device(user_agent: str) -> str:
    return device_name(user_agent)


@register.filter
def done(event: AccountEvent) -> str:
    """What was done, in the reader's language: invited anna@example.org: Developer."""
    return f"{gettext(event.action)} {target_text(event)}".strip()
