"""The forms of the billing pages: dollars as text in, cents or micro-dollars out. They write nothing."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.models import AutoRecharge, Wallet
from billing.money import cents_from_microusd, microusd_from_cents
from billing.wording import dollars_entered, dollars_to_enter
from gateway.errors import AddressRefused
from gateway.http import url_checked
from gateway.webhooks_out.alerts import alert_address


class Dollars(forms.CharField):
    """An amount of US dollars in whole cents; the value is micro-dollars, or None when it may be left empty."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.widget.attrs.update({"inputmode": "decimal"})

    def clean(self, value: object) -> int | None:
        text = str(super().clean(value) or "").strip()
        if not text:
            return None
        try:
            amount_microusd = dollars_entered(text)
            cents_from_microusd(amount_microusd)
        except ValueError:
            raise ValidationError(gettext("An amount such as 25 or 25.50.")) from None
        if amount_microusd < 0:
            raise ValidationError(gettext("Not below zero."))
        return amount_microusd


class FundsForm(forms.Form):
    amount = Dollars(label=_("Amount in US$"))
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=40)


class RechargeForm(forms.Form):
    """Opt-in: a saved card adds `amount` whenever less than `threshold` is left."""

    enabled = forms.BooleanField(label=_("Add funds by itself with my saved card"), required=False)
    threshold = Dollars(label=_("When less than, US$"))
    amount = Dollars(label=_("Add, US$"))
    monthly_cap = Dollars(label=_("At most a month, US$"), help_text=_("Of all recharges of one UTC month."))

    @classmethod
    def of(cls, row: AutoRecharge | None) -> RechargeForm:
        row = row or AutoRecharge()
        cents = {"threshold": row.threshold_cents, "amount": row.amount_cents, "monthly_cap": row.monthly_cap_cents}
        texts = {name: dollars_to_enter(microusd_from_cents(value)) for name, value in cents.items()}
        return cls(initial={"enabled": row.enabled, **texts})

    def cents(self, name: str) -> int:
        return cents_from_microusd(self.cleaned_data[name])


class LimitsForm(forms.Form):
    """Marks and limits of the account's own choice. Empty means none."""

    continue_from_funds = forms.BooleanField(label=_("Go on from funds where my plan ends"), required=False)
    spend_warn = Dollars(label=_("Warn me at, US$ a month"), required=False)
    spend_limit = Dollars(
        label=_("Stop at, US$ a month"), required=False, help_text=_("Calls beyond it are refused with 402.")
    )
    low_balance = Dollars(label=_("Warn me when the balance falls below, US$"), required=False)

    alert_url = forms.CharField(
        label=_("Also post to"),
        required=False,
        max_length=2000,
        help_text=_("The warnings go there too, signed like your webhooks."),
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/alerts"}),
    )

    def clean_alert_url(self) -> str:
        url = str(self.cleaned_data["alert_url"])
        try:
            if url:
                url_checked(url, plain_http=False)
        except AddressRefused as refused:
            raise ValidationError(refused.said) from None
        return url

    @classmethod
    def of(cls, wallet: Wallet) -> LimitsForm:
        amounts = {
            "spend_warn": wallet.spend_warn_microusd,
            "spend_limit": wallet.spend_limit_microusd,
            "low_balance": wallet.low_balance_microusd,
        }
        texts = {name: dollars_to_enter(value) for name, value in amounts.items()}
        switches = {"continue_from_funds": wallet.continue_from_funds, "alert_url": alert_address(account_id=wallet.pk)}
        return cls(initial={**switches, **texts})
