"""What the operator has switched off for now."""

from __future__ import annotations

from django.db import models

from accounts.models import User


class Feature(models.TextChoices):
    """What can be switched off while the service runs."""

    SIGNUP = "signup", "New sign-ups"
    CALLS = "calls", "New calls"
    PAYMENTS = "payments", "Adding funds and subscribing"
    SHARING = "sharing", "Shared links"


class FeatureOff(models.Model):
    """A feature that is off: who switched it off, when and why. Without a row it is on."""

    name = models.CharField(max_length=20, choices=Feature.choices, primary_key=True)
    since = models.DateTimeField()
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"{self.name} is off"
