"""When calls are counted in the database, because some process cannot count them in Redis."""

from django.db import models


class LimitOutage(models.Model):
    """One row: the last outage. From SETTLES after `began_at` until `ends_at` every process counts in the database."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    began_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"from {self.began_at} to {self.ends_at}"
