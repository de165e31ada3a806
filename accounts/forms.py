"""allauth's forms in our words; new addresses are checked against the operator's list of refused mail domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.account import forms as allauth_forms
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.totp import forms as totp_forms
from allauth.mfa.webauthn import forms as webauthn_forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

LABELS: Mapping[str, Any] = {"email": _("E-mail"), "login": _("E-mail")}
NEW_PASSWORD: Mapping[str, Any] = {"password1": _("New password"), "password2": _("New password again")}


class _Plain:
    """Our words for its fields, and no placeholders: they vanish when one types, and say nothing new."""

    fields: dict[str, Any]
    labels: Mapping[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.label = self.labels.get(name) or LABELS.get(name) or field.label
        # allauth says the rules of new passwords one by one.
        if "password1" in self.fields:
            self.fields["password1"].help_text = _("At least 10 characters. A sentence is a good password.")


class LoginForm(_Plain, allauth_forms.LoginForm):
    pass


class ResetPasswordForm(_Plain, allauth_forms.ResetPasswordForm):
    pass


class RequestLoginCodeForm(_Plain, allauth_forms.RequestLoginCodeForm):
    pass


class _DomainChecked:
    """No new address of a mail domain that the operator refuses; what exists goes on working."""

    def clean_email(self) -> str:
        email = str(super().clean_email()).lower()  # type: ignore[misc]
        domain = email.rpartition("@")[2]
        if domain in settings.REFUSED_EMAIL_DOMAINS:
            raise ValidationError(
                gettext("Addresses at %(domain)s are not accepted here: use another address.") % {"domain": domain}
            )
        return email


class AddEmailForm(_Plain, _DomainChecked, allauth_forms.AddEmailForm):
    pass


class ReauthenticateForm(_Plain, allauth_forms.ReauthenticateForm):
    pass


class ChangePasswordForm(_Plain, allauth_forms.ChangePasswordForm):
    labels = {**NEW_PASSWORD, "oldpassword": _("Current password")}


class SetPasswordForm(_Plain, allauth_forms.SetPasswordForm):
    labels = NEW_PASSWORD


class ResetPasswordKeyForm(_Plain, allauth_forms.ResetPasswordKeyForm):
    labels = NEW_PASSWORD


class _Code(_Plain):
    """Six digits: a telephone shows its keys for numbers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].widget.attrs["inputmode"] = "numeric"


class ConfirmEmailForm(_Code, allauth_forms.ConfirmEmailVerificationCodeForm):
    pass


class ConfirmLoginForm(_Code, allauth_forms.ConfirmLoginCodeForm):
    pass


class ConfirmResetForm(_Code, allauth_forms.ConfirmPasswordResetCodeForm):
    pass


class SecondStepForm(_Plain, mfa_forms.AuthenticateForm):
    pass


class ActivateAppForm(_Code, totp_forms.ActivateTOTPForm):
    labels = {"code": _("Code of the app")}


class AddKeyForm(_Plain, webauthn_forms.AddWebAuthnForm):
    labels = {"name": _("Name"), "passwordless": _("Use it as a passkey")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["passwordless"].help_text = _(
            "It then opens your account without the password, and asks for your finger, your face or a PIN."
        )


class RenameKeyForm(_Plain, webauthn_forms.EditWebAuthnForm):
    labels = {"name": _("Name")}


class SignupForm(_Plain, _DomainChecked, allauth_forms.SignupForm):
    pass
