"""What staff did: one row per action, written in its transaction, never changed (the database refuses)."""

from __future__ import annotations

from typing import Any, ClassVar, Never

from django.db import models

from accounts.models import User


class StaffActionQuerySet(models.QuerySet["StaffAction"]):
    def update(self, **kwargs: Any) -> Never:
        raise TypeError("The record of staff actions never changes.")

    def delete(self) -> Never:
        raise TypeError("The record of staff actions is never deleted.")


class StaffAction(models.Model):
    """Who did what to which target, what it was before and after, and why.

    `target` is a kind with an id ("account:17", "worker:gpu-1"). A person in this record can be made inactive, but not
    deleted.
    """

    id = models.BigAutoField(primary_key=True)
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    action = models.CharField(max_length=40)
    target = models.CharField(max_length=140)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()

    objects: ClassVar[models.Manager[StaffAction]] = StaffActionQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["target", "-id"], name="staff_action_by_target")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise TypeError("The record of staff actions is never deleted.")


class AuditRun(models.Model):
    """One proof of the books (gateway.audit): when it ran, and which rows contradicted each other."""

    id = models.BigAutoField(primary_key=True)
    ran_at = models.DateTimeField()
    took_ms = models.PositiveIntegerField()
    differences = models.PositiveIntegerField()
    # Pairs of a check's name and its first contradicting rows, as texts.
    findings = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.differences} differences at {self.ran_at:%Y-%m-%d %H:%M}"
