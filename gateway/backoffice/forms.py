"""The forms of the console: text in, typed and checked values out. They write nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from django import forms
from django.core.exceptions import ValidationError

from accounts.staff import StaffRole
from billing.money import cents_from_microusd, usd_parse
from billing.postpaid import METERED
from gateway.models import Tone

GRANT_MAX_MICROUSD = 10_000_000_000
LIMITS = ("calls_per_minute", "queued_calls", "free_calls_per_day", "weight")


def amount_clean(text: str) -> int:
    """An amount of dollars above zero, as micro-dollars."""
    try:
        amount_microusd = usd_parse(text)
    except ValueError:
        raise ValidationError("An amount such as 25 or 0.0047.") from None
    if amount_microusd <= 0:
        raise ValidationError("More than zero.")
    return amount_microusd


class ReasonForm(forms.Form):
    """Every action asks why; the record keeps it."""

    reason = forms.CharField(max_length=200, min_length=3, label="Reason")


class NoteForm(ReasonForm):
    reason = forms.CharField(
        max_length=300,
        min_length=3,
        label="Note",
        help_text="For staff alone, and for good, even if the account is erased: write nothing private.",
    )


class ConfirmForm(ReasonForm):
    """Which address of the account's people is confirmed without its mail."""

    email = forms.ChoiceField(label="Address")
    field_order = ("email", "reason")

    def __init__(self, *args: object, emails: list[str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["email"].choices = [(email, email) for email in emails]  # type: ignore[attr-defined]


class GrantForm(ReasonForm):
    amount = forms.CharField(label="Amount in US$", max_length=20)
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=40)
    field_order = ("amount", "reason")

    def clean_amount(self) -> int:
        amount_microusd = amount_clean(self.cleaned_data["amount"])
        if amount_microusd > GRANT_MAX_MICROUSD:
            raise ValidationError("At most 10,000 at a time.")
        return amount_microusd


class CorrectForm(ReasonForm):
    """Up or down: a correction undoes what was booked wrongly."""

    amount = forms.CharField(label="Amount in US$", max_length=20, help_text="Below zero takes away: -1.25.")
    nonce = forms.CharField(widget=forms.HiddenInput, max_length=40)
    field_order = ("amount", "reason")

    def clean_amount(self) -> int:
        text = self.cleaned_data["amount"].replace("\N{MINUS SIGN}", "-").strip()
        sign = -1 if text.startswith("-") else 1
        amount_microusd = amount_clean(text.removeprefix("-"))
        if amount_microusd > GRANT_MAX_MICROUSD:
            raise ValidationError("At most 10,000 at a time.")
        return sign * amount_microusd


class RefundForm(ReasonForm):
    """`left` is what could be given back when the form was shown: another refund meanwhile refuses this one."""

    amount = forms.CharField(label="Amount in US$", max_length=20)
    left = forms.IntegerField(widget=forms.HiddenInput, min_value=0)

    def clean_amount(self) -> int:
        """In cents."""
        try:
            return cents_from_microusd(amount_clean(self.cleaned_data["amount"]))
        except ValueError:
            raise ValidationError("Whole cents, as in 12.50.") from None


class PlanForm(ReasonForm):
    plan_code = forms.ChoiceField(label="Plan")
    limit = forms.CharField(
        label="Limit a month in US$",
        max_length=20,
        required=False,
        help_text="Of post-paid calls; for the metered plan alone.",
    )
    field_order = ("plan_code", "limit", "reason")

    def __init__(self, *args: object, plans: list[tuple[str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["plan_code"].choices = plans  # type: ignore[attr-defined]

    def clean_limit(self) -> int | None:
        text = self.cleaned_data["limit"]
        return amount_clean(text) if text else None

    def clean(self) -> dict[str, object]:
        if self.cleaned_data.get("plan_code") == METERED and not self.cleaned_data.get("limit"):
            self.add_error("limit", "The metered plan needs a limit.")
        return self.cleaned_data


class LimitsForm(ReasonForm):
    """Empty goes back to the plan's number."""

    calls_per_minute = forms.IntegerField(min_value=1, max_value=100_000, required=False)
    queued_calls = forms.IntegerField(label="Queued calls", min_value=1, max_value=10_000, required=False)
    free_calls_per_day = forms.IntegerField(min_value=0, max_value=1_000_000, required=False)
    weight = forms.IntegerField(label="Weight in the queue", min_value=1, max_value=100, required=False)
    field_order = (*LIMITS, "reason")

    def limits(self) -> dict[str, int | None]:
        return {name: self.cleaned_data[name] for name in LIMITS}


class PriceForm(ReasonForm):
    """A new version of a price. Without a moment it holds at once."""

    amount = forms.CharField(label="Price of one image in US$", max_length=20)
    effective_from = forms.DateTimeField(
        label="From (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: at once.",
    )
    field_order = ("amount", "effective_from", "reason")

    def __init__(self, *args: object, now: datetime, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.now = now

    def clean_amount(self) -> int:
        return amount_clean(self.cleaned_data["amount"])

    def clean_effective_from(self) -> datetime:
        asked: datetime | None = self.cleaned_data["effective_from"]
        if asked is None:
            return self.now
        if asked.astimezone(UTC) < self.now:
            raise ValidationError("A price begins now or later: what was charged stays.")
        return asked


class StaffForm(ReasonForm):
    email = forms.EmailField(label="E-mail of somebody with a log-in")
    roles = forms.MultipleChoiceField(
        choices=StaffRole.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Without a role somebody is no longer staff.",
    )
    field_order = ("email", "roles", "reason")

    def parts(self) -> frozenset[StaffRole]:
        return frozenset(StaffRole(value) for value in self.cleaned_data["roles"])


class AnnouncementForm(forms.Form):
    """One line for everybody. Without a beginning it shows at once, without an end until somebody ends it."""

    text = forms.CharField(max_length=300, min_length=3, label="Text")
    tone = forms.ChoiceField(choices=Tone.choices, label="Kind")
    starts_at = forms.DateTimeField(
        label="From (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: at once.",
    )
    ends_at = forms.DateTimeField(
        label="Until (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: until somebody ends it.",
    )

    def __init__(self, *args: object, now: datetime, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.now = now

    def clean_starts_at(self) -> datetime:
        return self.cleaned_data["starts_at"] or self.now

    def clean(self) -> dict[str, object]:
        starts, ends = self.cleaned_data.get("starts_at"), self.cleaned_data.get("ends_at")
        if starts and ends and ends <= max(starts, self.now):
            self.add_error("ends_at", "It must end after it begins, and not in the past.")
        return self.cleaned_data


class OwnPriceForm(ReasonForm):
    """A price of one account alone; like every price a dated version."""

    price_code = forms.ChoiceField(label="Price code")
    amount = forms.CharField(label="Price of one image in US$", max_length=20)
    field_order = ("price_code", "amount", "reason")

    def __init__(self, *args: object, codes: list[str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["price_code"].choices = [(code, code) for code in codes]  # type: ignore[attr-defined]

    def clean_amount(self) -> int:
        return amount_clean(self.cleaned_data["amount"])


class EraseForm(ReasonForm):
    """Who erases an account writes its number, so that it is not done by a slip."""

    number = forms.IntegerField(label="The account's number, to be sure", min_value=1)
    field_order = ("number", "reason")

    def __init__(self, *args: object, account_id: int, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.account_id = account_id

    def clean_number(self) -> int:
        number: int = self.cleaned_data["number"]
        if number != self.account_id:
            raise ValidationError(f"This account's number is {self.account_id}.")
        return number
