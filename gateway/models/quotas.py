"""Counters that only the edge keeps."""

from typing import ClassVar

from django.db import models


class KeyDay(models.Model):
    """Accepted calls of one key in one UTC day, for keys that have a limit a day."""

    id = models.BigAutoField(primary_key=True)
    key_id = models.BigIntegerField()
    day = models.DateField()
    calls = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["key_id", "day"], name="key_day_once")]

    def __str__(self) -> str:
        return f"key {self.key_id} on {self.day}: {self.calls}"
