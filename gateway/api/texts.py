"""The texts of a call: prompts, the address to call back, and the caller's own mark on it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext_noop as _

from gateway.api.fields import EXACT_BELOW, NO, Fields
from gateway.api.profiles import Profile
from gateway.errors import AddressRefused
from gateway.http import url_checked
from inference.engine import prompts
from inference.engine.spec import Family
from inference.selectors import CatalogueModel

PROMPT_CHARS_MAX = 10_000
TRACK_ID_CHARS_MAX = 255
WEBHOOK_CHARS_MAX = 2_000


def prompt_read(fields: Fields, profile: Profile, model: CatalogueModel, *, needed: bool) -> dict[str, Any]:
    prompt = fields.text("prompt", default=profile.prompt, chars_max=PROMPT_CHARS_MAX)
    if needed and not prompt and fields.value("prompt") is None:
        fields.require("prompt")
    negative = fields.text("negative_prompt", default=profile.negative_prompt, chars_max=PROMPT_CHARS_MAX)
    if settings.PROMPT_BLOCKLIST and (word := prompts.blocked(prompt, settings.PROMPT_BLOCKLIST)):
        fields.fault("prompt", "prompt_blocked", _("contains {}, which this service does not draw").format(f'"{word}"'))
    prompt = with_trigger(prompt, model.trigger_words)
    return {"prompt": prompt, "negative_prompt": "" if model.family is Family.FLUX else negative}


def with_trigger(prompt: str, trigger_words: str) -> str:
    """The words that the model was trained to hear, in front, unless the prompt has them."""
    if not trigger_words or trigger_words.casefold() in prompt.casefold():
        return prompt
    return f"{trigger_words}, {prompt}" if prompt else trigger_words


def webhook_read(fields: Fields) -> str | None:
    """An address that could be called back; whether its host may be reached is found out when it is called."""
    if str(fields.value("webhook")).strip().lower() in NO:
        return None
    url = fields.text("webhook", chars_max=WEBHOOK_CHARS_MAX).strip()
    if not url:
        return None
    try:
        url_checked(url, plain_http=False)
    except AddressRefused as problem:
        fields.fault("webhook", "invalid_url", f"{_('cannot be called')}: {problem.fields['reason']}", url)
    return url


def track_id_read(fields: Fields) -> str | int | float | None:
    """Returned unchanged: a number stays a number, unless it is a float that databases do not keep as it is."""
    value = fields.value("track_id")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if isinstance(value, float) and abs(value) >= EXACT_BELOW else value
    return fields.text("track_id", chars_max=TRACK_ID_CHARS_MAX) or None
