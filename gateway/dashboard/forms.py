"""The forms of an account's pages: text in, typed and checked values out. They write nothing."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.functional import lazy

from accounts.models import Account, ApiKey, User
from billing.money import usd_parse, usd_text
from gateway.api.authentication import SCOPE_ADMIN, SCOPE_BILLING, SCOPE_GENERATE, SCOPE_READ
from inference.models import ImageModel

SCOPES = (
    (SCOPE_GENERATE, "Make pictures"),
    (SCOPE_READ, "Read results, lists and the catalogue"),
    (SCOPE_BILLING, "Read usage and balance"),
    (SCOPE_ADMIN, "Make, change and revoke keys over the API"),
)
EXPIRIES = (("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))
GRACES = (("0", "At once"), ("3600", "In 1 hour"), ("86400", "In 24 hours"), ("604800", "In 7 days"))
LIST_MAX = 50
_ORIGIN = re.compile(r"https?://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?")


def _lines(text: str) -> list[str]:
    """The entries of a text that separates by lines, commas or spaces."""
    return [part for part in text.replace(",", " ").split() if part]


class KeyForm(forms.Form):
    """A new key. Only the name is needed: everything left empty is as the account's own limits."""

    name = forms.CharField(max_length=80, help_text="Where you use it, so that you know it again.")
    expires_in_days = forms.ChoiceField(label="Expires", choices=EXPIRIES, required=False)
    scopes = forms.MultipleChoiceField(
        choices=SCOPES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: everything the account may do, but for keys.",
    )
    budget = forms.CharField(
        label="Budget a month, in US$", required=False, help_text="Hard: calls beyond it are refused with 402."
    )
    warn = forms.CharField(
        label="Mail at, in US$ a month", required=False, help_text="Soft: owners and billing get a mail, nothing stops."
    )
    calls_per_minute = forms.IntegerField(min_value=1, max_value=100_000, required=False)
    calls_per_day = forms.IntegerField(
        min_value=1, max_value=100_000_000, required=False, help_text="Accepted calls in a UTC day."
    )
    queued_calls = forms.IntegerField(label="Queued calls", min_value=1, max_value=1_000, required=False)
    model_ids = forms.CharField(
        label="Models", required=False, widget=forms.Textarea(attrs={"rows": 2}), help_text="Model ids; empty: all."
    )
    networks = forms.CharField(
        label="Networks",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Addresses or networks such as 203.0.113.0/24; empty: any.",
    )
    origins = forms.CharField(
        label="Web pages",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Pages that may call from a browser, such as https://app.example.com or https://*.example.com. "
        "Then nothing else may. Empty: any program.",
    )
    environment = forms.ChoiceField(choices=(("live", "Live"), ("test", "Test")), required=False, initial="live")
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=40)

    def clean_budget(self) -> int | None:
        return self._amount("budget")

    def clean_warn(self) -> int | None:
        return self._amount("warn")

    def _amount(self, name: str) -> int | None:
        text = str(self.cleaned_data[name]).strip()
        if not text:
            return None
        try:
            amount_microusd = usd_parse(text)
        except ValueError:
            raise ValidationError("An amount such as 25 or 25.50.") from None
        if amount_microusd <= 0:
            raise ValidationError("More than zero, or empty for none.")
        return amount_microusd

    def clean_model_ids(self) -> tuple[str, ...]:
        asked = _lines(self.cleaned_data["model_ids"])[:LIST_MAX]
        known = set(ImageModel.objects.filter(model_id__in=asked).values_list("model_id", flat=True))
        if unknown := [model_id for model_id in asked if model_id not in known]:
            raise ValidationError(f"There is no model {', '.join(unknown)}.")
        return tuple(asked)

    def clean_networks(self) -> tuple[str, ...]:
        asked = _lines(self.cleaned_data["networks"])[:LIST_MAX]
        for text in asked:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise ValidationError(f"{text} is neither an address nor a network.") from None
        return tuple(asked)

    def clean_origins(self) -> tuple[str, ...]:
        asked = [text.lower().rstrip("/") for text in _lines(self.cleaned_data["origins"])[:LIST_MAX]]
        for text in asked:
            if not _ORIGIN.fullmatch(text):
                raise ValidationError(f"{text} is no origin: https://, a host, and a port if it is not the usual one.")
        return tuple(asked)

    def values(self, *, now: datetime) -> dict[str, Any]:
        """What accounts.services.key_create takes beside the account."""
        data = self.cleaned_data
        days = data["expires_in_days"]
        return {
            "name": data["name"],
            "environment": data["environment"] or "live",
            "expires_at": now + timedelta(days=int(days)) if days else None,
            "scopes": tuple(data["scopes"]),
            "model_ids": data["model_ids"],
            "networks": data["networks"],
            "origins": data["origins"],
            "calls_per_minute": data["calls_per_minute"],
            "calls_per_day": data["calls_per_day"],
            "queued_calls": data["queued_calls"],
            "budget_microusd": data["budget"],
            "warn_microusd": data["warn"],
        }


class KeyChangeForm(KeyForm):
    """The restrictions of a key that is in use: what its programs need not be told of."""

    expires_in_days = None  # type: ignore[assignment]
    environment = None  # type: ignore[assignment]
    nonce = None  # type: ignore[assignment]

    @classmethod
    def initial_of(cls, api_key: ApiKey) -> dict[str, Any]:
        return {
            "name": api_key.name,
            "scopes": api_key.scopes,
            "budget": usd_text(api_key.budget_microusd) if api_key.budget_microusd else "",
            "warn": usd_text(api_key.warn_microusd) if api_key.warn_microusd else "",
            "calls_per_minute": api_key.calls_per_minute,
            "calls_per_day": api_key.calls_per_day,
            "queued_calls": api_key.queued_calls,
            "model_ids": "\n".join(api_key.model_ids),
            "networks": "\n".join(api_key.networks),
            "origins": "\n".join(api_key.origins or []),
        }

    def changes(self) -> dict[str, object]:
        """What accounts.services.key_change takes: columns and their values."""
        data = self.cleaned_data
        return {
            "name": data["name"],
            "scopes": list(data["scopes"]),
            "model_ids": list(data["model_ids"]),
            "networks": list(data["networks"]),
            "origins": list(data["origins"]) or None,
            "calls_per_minute": data["calls_per_minute"],
            "calls_per_day": data["calls_per_day"],
            "queued_calls": data["queued_calls"],
            "budget_microusd": data["budget"],
            "warn_microusd": data["warn"],
        }


class RollForm(forms.Form):
    grace_s = forms.ChoiceField(label="The old key stops working", choices=GRACES, initial="86400")
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=40)

    def grace(self) -> timedelta:
        return timedelta(seconds=int(self.cleaned_data["grace_s"]))


def _retention_help() -> str:
    return (
        f"Empty: {settings.OUTPUT_RETENTION_DAYS} days, as this installation does. 0 deletes both an hour after each"
        " call. What is over its time is deleted within minutes, for good; the accounting line stays."
    )


class PersonForm(forms.Form):
    """What a person sets for themselves, whichever account they look at."""

    name = forms.CharField(label="Your name", max_length=120, required=False, help_text="Your team sees it.")
    theme = forms.ChoiceField(
        label="Colours", choices=(("system", "As the system"), ("light", "Light"), ("dark", "Dark"))
    )
    language = forms.ChoiceField(
        choices=[("", "As the browser"), *settings.LANGUAGES],
        required=False,
        help_text="Of mails, and of the pages that are translated.",
    )
    notices = forms.BooleanField(
        label="Mails that are not about money or security",
        required=False,
        help_text="Free calls that run out, paused webhooks.",
    )

    @classmethod
    def of(cls, user: User) -> PersonForm:
        return cls(initial={"name": user.name, "theme": user.theme, "language": user.language, "notices": user.notices})


class ProfileForm(forms.Form):
    """The account's name, its zone and how long prompts and pictures are kept."""

    name = forms.CharField(label="Account name", max_length=120)
    time_zone = forms.ChoiceField(
        choices=[
            (name, name.replace("_", " "))
            for name in sorted(zoneinfo.available_timezones())
            if "/" in name or name == "UTC"
        ],
        help_text="Pages show times in this zone. Free calls reset at 00:00 UTC everywhere.",
    )
    retention_days = forms.IntegerField(
        label="Keep prompts and pictures for days",
        min_value=0,
        max_value=3650,
        required=False,
        help_text=lazy(_retention_help, str)(),
    )
    parameters_in_pictures = forms.BooleanField(
        label="Write prompt and settings into the pictures",
        required=False,
        help_text="As text in the file, for programs that read it. Turn it off when whoever gets your pictures"
        " shall not see your prompts. It holds for pictures made from then on.",
    )

    @classmethod
    def of(cls, account: Account) -> ProfileForm:
        return cls(
            initial={
                "name": account.name,
                "time_zone": account.time_zone,
                "retention_days": account.retention_days,
                "parameters_in_pictures": account.parameters_in_pictures,
            }
        )
