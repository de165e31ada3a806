"""The outbox of usage that goes to the payment provider's meters."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class ExportState(models.TextChoices):
    NEW = "new"  # to be sent, or to be sent again under the same identifier
    SENT = "sent"
    COUNTED = "counted"  # the meter's own sum of the day confirms it
    UNSURE = "unsure"  # it may have arrived, and its identifier may be forgotten: compared, not sent again
    PARKED = "parked"  # a person must look


class UsageExport(models.Model):
    """One capture of a post-paid call on its way to a meter, written in the capture's own transaction.

    `op_key` is that of the ledger entry and the identifier there, so that one charge is counted once.
    """

    id = models.BigAutoField(primary_key=True)
    op_key = models.CharField(max_length=80, unique=True)
    account_id = models.BigIntegerField()
    value_microusd = models.PositiveBigIntegerField()
    # The capture's moment; of one that no coming invoice would cover, the first moment that one does.
    used_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=ExportState.choices, default=ExportState.NEW)
    # When it was first sent: from then on the identifier protects for a day.
    tried_at = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField()
    problem = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["next_attempt_at"], name="usage_export_waiting", condition=Q(state="new")),
            models.Index(fields=["id"], name="usage_export_parked", condition=Q(state="parked")),
            models.Index(fields=["account_id", "used_at"], name="usage_export_by_day"),
            models.Index(fields=["used_at"], name="usage_export_uncounted", condition=Q(state__in=["sent", "unsure"])),
        ]

    def __str__(self) -> str:
        return f"{self.op_key} {self.state}"
