"""Which generation an idempotency key stands for."""

from typing import ClassVar

from django.db import models


class IdempotencyRecord(models.Model):
    """Written in the admitting transaction. `body_digest` tells a repeated call from another under the same key."""

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    key = models.CharField(max_length=255)
    body_digest = models.CharField(max_length=64)
    generation_id = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account_id", "key"], name="idempotency_key_once")]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return f"{self.key} of {self.account_id}"
