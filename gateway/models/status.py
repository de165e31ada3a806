"""What the status page remembers: how each part's probes answered by day, and the stretches in which one was down."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class ProbeDay(models.Model):
    """One part on one UTC day: how many probes found it working, slow and down. A day without probes has no row."""

    part = models.CharField(max_length=40)
    day = models.DateField()
    ok = models.PositiveIntegerField(default=0)
    slow = models.PositiveIntegerField(default=0)
    down = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["part", "day"], name="probe_day_once")]

    def __str__(self) -> str:
        return f"{self.part} {self.day}: {self.ok}/{self.slow}/{self.down}"


class Incident(models.Model):
    """A stretch in which probes found a part down. It ends with the first probe that finds it up."""

    part = models.CharField(max_length=40)
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    detail = models.CharField(max_length=200)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["part"], condition=Q(ended_at=None), name="incident_open_once")
        ]
        indexes: ClassVar = [models.Index(fields=["began_at"], name="incident_by_time")]

    def __str__(self) -> str:
        return f"{self.part} {self.began_at:%Y-%m-%d %H:%M}"
