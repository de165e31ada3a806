"""Models that the operator brings into the catalogue, and how far each is."""

from __future__ import annotations

from django.db import models

from accounts.models import User
from inference.engine.spec import Family


class ImportKind(models.TextChoices):
    FOLDER = "folder", "A folder of the model folder"
    FILE = "file", "A file of the model folder"
    HUB = "hub", "A hub id"
    URL = "url", "A web address"


class ImportState(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ModelImport(models.Model):
    """One import. `asked` is the name, id or address; `row` is the catalogue's row that it makes, hidden at first.

    A running import that says nothing (`seen_at`) was lost with its process and may be begun again.
    """

    kind = models.CharField(max_length=6, choices=ImportKind.choices)
    asked = models.CharField(max_length=2000)
    revision = models.CharField(max_length=80, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    family = models.CharField(max_length=12, choices=[(f.value, f.value) for f in Family])
    row = models.JSONField()
    state = models.CharField(max_length=7, choices=ImportState.choices, default=ImportState.WAITING)
    read_bytes = models.BigIntegerField(default=0)
    total_bytes = models.BigIntegerField(null=True)
    problem = models.CharField(max_length=300, blank=True)
    made_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    seen_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.row.get('model_id')} from {self.kind} {self.asked}: {self.state}"

    @property
    def percent(self) -> int | None:
        return min(100, self.read_bytes * 100 // self.total_bytes) if self.total_bytes else None
