"""What the operator tells everybody, and how many calls were refused: by reason, never by caller."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from accounts.models import User


class Tone(models.TextChoices):
    INFO = "info", "Information"
    WARN = "warn", "Warning"


class Announcement(models.Model):
    """A line over every page from `starts_at` until `ends_at`; without an end until it is ended by hand."""

    text = models.CharField(max_length=300)
    tone = models.CharField(max_length=4, choices=Tone.choices, default=Tone.INFO)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    made_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.text


class RefusalBucket(models.Model):
    """How often calls were refused with one error code in one quarter of an hour (UTC)."""

    id = models.BigAutoField(primary_key=True)
    bucket = models.DateTimeField()
    code = models.CharField(max_length=60)
    calls = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["bucket", "code"], name="refusal_bucket_once")]

    def __str__(self) -> str:
        return f"{self.bucket:%Y-%m-%d %H:%M} {self.code}: {self.calls}"
