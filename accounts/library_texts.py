"""Texts of django-allauth that its own German says with "du". They are marked here, so that this project's catalogue,
which is asked first, holds them in the form of address that all other pages use.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

LIBRARY_TEXTS = (
    _("You cannot remove your primary email address."),
    _("You cannot remove your primary email address (%(email)s)."),
    _("Please type your current password."),
    _("Please select only one."),
    _("Too many failed login attempts. Try again later."),
    _("You cannot add more than %d email addresses."),
    _("Your primary email address must be verified."),
    _("Be patient, you are sending too many requests."),
    _("You must type the same password each time."),
    _("You must type the same email each time."),
    _(
        "An account already exists with this email address. Please sign in to that account first, then connect your %s"
        " account."
    ),
    _("Your account has no password set up."),
    _("Your account has no verified email address."),
    _("Your password has been changed."),
    _("Your email address is still pending verification."),
    _('Please confirm that <a href="mailto:%(email)s">%(email)s</a> is an email address for user %(user_display)s.'),
    _(
        "This email confirmation link expired or is invalid. Please"
        ' <a href="%(email_url)s">issue a new email confirmation request</a>.'
    ),
    _("You have confirmed %(email)s."),
    _("You are already logged in as %(user_display)s."),
    _("Verify Your Email Address"),
    _(
        "You are receiving this email because you or someone else tried to signup for an\naccount using email"
        " address:\n\n%(email)s\n\nHowever, an account using that email address already exists.  In case you"
        " have\nforgotten about this, please use the password forgotten procedure to recover\nyour"
        " account:\n\n%(password_reset_url)s"
    ),
)
