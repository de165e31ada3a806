"""Which process runs the dispatcher now."""

from django.db import models


class Leadership(models.Model):
    """A lease on a duty that one process at a time may have; whoever stops renewing it loses it."""

    duty = models.CharField(max_length=40, primary_key=True)
    holder = models.CharField(max_length=120)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.duty}: {self.holder} until {self.until:%H:%M:%S}"
