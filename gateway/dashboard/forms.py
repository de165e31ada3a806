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
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, ApiKey, User
from billing.wording import dollars_entered, dollars_to_enter
from gateway.api.authentication import SCOPE_ADMIN, SCOPE_BILLING, SCOPE_GENERATE, SCOPE_READ
from inference.models import ImageModel

SCOPES = (
    (SCOPE_GENERATE, _("Make pictures")),
    (SCOPE_READ, _("Read results, lists and the catalogue")),
    (SCOPE_BILLING, _("Read usage and balance")),
    (SCOPE_ADMIN, _("Make, change and revoke keys over the API")),
)
EXPIRIES = (("", _("Never")), ("30", _("In 30 days")), ("90", _("In 90 days")), ("365", _("In a year")))
GRACES = (("0", _("At once")), ("3600", _("In 1 hour")), ("86400", _("In 24 hours")), ("604800", _("In 7 days")))
LIST_MAX = 50
_ORIGIN = re.compile(r"https?://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?")


def _lines(text: str) -> list[str]:
    """The entries of a text that separates by lines, commas or spaces."""
    return [part for part in text.replace(",", " ").split() if part]


class KeyForm(forms.Form):
    """A new key. Only the name is needed: everything left empty is as the account's own limits."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("Where you use it, so that you know it again."))
    expires_in_days = forms.ChoiceField(label=_("Expires"), choices=EXPIRIES, required=False)
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=SCOPES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen: everything the account may do, but for keys."),
    )
    budget = forms.CharField(
        label=_("Budget a month, in US$"), required=False, help_text=_("Hard: calls beyond it are refused with 402.")
    )
    warn = forms.CharField(
        label=_("Mail at, in US$ a month"),
        required=False,
        help_text=_("Soft: owners and billing get a mail, nothing stops."),
    )
    calls_per_minute = forms.IntegerField(label=_("Calls per minute"), min_value=1, max_value=100_000, required=False)
    calls_per_day = forms.IntegerField(
        label=_("Calls per day"),
        min_value=1,
        max_value=100_000_000,
        required=False,
        help_text=_("Accepted calls in a UTC day."),
    )
    queued_calls = forms.IntegerField(label=_("Queued calls"), min_value=1, max_value=1_000, required=False)
    model_ids = forms.CharField(
        label=_("Models"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Model ids; empty: all."),
    )
    networks = forms.CharField(
        label=_("Networks"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Addresses or networks such as 203.0.113.0/24; empty: any."),
    )
    origins = forms.CharField(
        label=_("Web pages"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_(
            "Pages that may call from a browser, such as https://app.example.com or https://*.example.com. "
            "Then nothing else may. Empty: any program."
        ),
    )
    environment = forms.ChoiceField(
        label=_("Environment"), choices=(("live", _("Live")), ("test", _("Test"))), required=False, initial="live"
    )
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
            amount_microusd = dollars_entered(text)
        except ValueError:
            raise ValidationError(gettext("An amount such as 25 or 25.50.")) from None
        if amount_microusd <= 0:
            raise ValidationError(gettext("More than zero, or empty for none."))
        return amount_microusd

    def clean_model_ids(self) -> tuple[str, ...]:
        asked = _lines(self.cleaned_data["model_ids"])[:LIST_MAX]
        known = set(ImageModel.objects.filter(model_id__in=asked).values_list("model_id", flat=True))
        if unknown := [model_id for model_id in asked if model_id not in known]:
            raise ValidationError(gettext("There is no model %(names)s.") % {"names": ", ".join(unknown)})
        return tuple(asked)

    def clean_networks(self) -> tuple[str, ...]:
        asked = _lines(self.cleaned_data["networks"])[:LIST_MAX]
        for text in asked:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise ValidationError(
                    gettext('"%(text)s" is neither an address nor a network.') % {"text": text}
                ) from None
        return tuple(asked)

    def clean_origins(self) -> tuple[str, ...]:
        asked = [text.lower().rstrip("/") for text in _lines(self.cleaned_data["origins"])[:LIST_MAX]]
        for text in asked:
            if not _ORIGIN.fullmatch(text):
                problem = gettext("%(text)s is no origin: https://, a host, and a port if it is not the usual one.")
                raise ValidationError(problem % {"text": text})
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
            "budget": dollars_to_enter(api_key.budget_microusd or None),
            "warn": dollars_to_enter(api_key.warn_microusd or None),
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
    grace_s = forms.ChoiceField(label=_("The old key stops working"), choices=GRACES, initial="86400")
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=40)

    def grace(self) -> timedelta:
        return timedelta(seconds=int(self.cleaned_data["grace_s"]))


def _retention_help() -> str:
    text = gettext(
        "Empty: %(days)s days, as this installation does. 0 deletes both an hour after each call. What is over its time"
        " is deleted within minutes, for good; the accounting line stays."
    )
    return text % {"days": settings.OUTPUT_RETENTION_DAYS}


class PersonForm(forms.Form):
    """What a person sets for themselves, whichever account they look at."""

    name = forms.CharField(label=_("Your name"), max_length=120, required=False, help_text=_("Your team sees it."))
    theme = forms.ChoiceField(
        label=_("Colours"), choices=(("system", _("As the system")), ("light", _("Light")), ("dark", _("Dark")))
    )
    language = forms.ChoiceField(
        choices=[("", _("As the browser")), *settings.LANGUAGES],
        required=False,
        label=_("Language"),
        help_text=_("Of pages and mails. The documentation and the API speak English."),
    )
    notices = forms.BooleanField(
        label=_("Mails that are not about money or security"),
        required=False,
        help_text=_("Free calls that run out, paused webhooks."),
    )

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        # It shares a page with ProfileForm, which has a name too.
        super().__init__(data, initial=initial, auto_id="person-%s")

    @classmethod
    def of(cls, user: User) -> PersonForm:
        return cls(initial={"name": user.name, "theme": user.theme, "language": user.language, "notices": user.notices})


class ProfileForm(forms.Form):
    """The account's name, its zone and how long prompts and pictures are kept."""

    name = forms.CharField(label=_("Account name"), max_length=120)
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=[
            (name, name.replace("_", " "))
            for name in sorted(zoneinfo.available_timezones())
            if "/" in name or name == "UTC"
        ],
        help_text=_("Pages show times in this zone. Free calls reset at 00:00 UTC everywhere."),
    )
    retention_days = forms.IntegerField(
        label=_("Keep prompts and pictures for days"),
        min_value=0,
        max_value=3650,
        required=False,
        help_text=lazy(_retention_help, str)(),
    )
    parameters_in_pictures = forms.BooleanField(
        label=_("Write prompt and settings into the pictures"),
        required=False,
        help_text=_(
            "As text in the file, for programs that read it. Turn it off when whoever gets your pictures shall not"
            " see your prompts. It holds for pictures made from then on."
        ),
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
