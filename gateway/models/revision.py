"""A number that moves whenever something changes that web processes remember."""

from django.db import models


class Revision(models.Model):
    """One row. Triggers of the database move `number`, so that no way of changing a key or a price can forget to."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)
