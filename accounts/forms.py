"""The sign-up form: allauth's, with the operator's list of refused mail domains and words that help."""

from __future__ import annotations

from allauth.account import forms as allauth_forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class SignupForm(allauth_forms.SignupForm):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = _("E-mail")
        self.fields["email"].widget.attrs.pop("placeholder", None)
        password = self.fields["password1"]
        password.help_text = _("At least 10 characters. A sentence is a good password.")
        password.widget.attrs.pop("placeholder", None)

    def clean_email(self) -> str:
        email = str(super().clean_email()).lower()
        domain = email.rpartition("@")[2]
        if domain in settings.REFUSED_EMAIL_DOMAINS:
            raise ValidationError(
                gettext("Addresses at %(domain)s cannot sign up here: use another address.") % {"domain": domain}
            )
        return email
