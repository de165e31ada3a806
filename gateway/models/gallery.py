"""What an account makes of its pictures: links by which strangers see them, named collections of calls, and what was
deleted and can still be brought back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext

from accounts.models import User


class SharedLink(models.Model):
    """Whoever has the address with `token` sees this call's pictures until `revoked_at`; owners may see it again."""

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    generation_id = models.BigIntegerField()
    token = models.CharField(max_length=43, unique=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["account_id", "-id"], name="shared_link_by_account")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["generation_id"], condition=Q(revoked_at__isnull=True), name="shared_link_open_once"
            ),
        ]

    def __str__(self) -> str:
        return f"link {self.pk} to {self.generation_id}"


class Collection(models.Model):
    """Calls that belong together. The one without a name holds the favourites."""

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    name = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account_id", "name"], name="collection_name_once"),
        ]

    def __str__(self) -> str:
        return self.name or gettext("Favourites")


class CollectionItem(models.Model):
    """One call in one collection."""

    id = models.BigAutoField(primary_key=True)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="items")
    generation_id = models.BigIntegerField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["collection", "generation_id"], name="collection_item_once"),
        ]

    def __str__(self) -> str:
        return f"{self.generation_id} in {self.collection_id}"


class DeletedCall(models.Model):
    """A deleted call until it is gone for good: what its own row does not say any more.

    `kept` holds its words as they were (inference.erasing.WORDS) and the ids of its collections. Its pictures wait
    under names with `secret` in them, all of them since `put_away_at`. From `remove_at` on nothing brings it back.
    """

    generation_id = models.BigIntegerField(primary_key=True)
    account_id = models.BigIntegerField()
    deleted_at = models.DateTimeField()
    remove_at = models.DateTimeField(db_index=True)
    put_away_at = models.DateTimeField(null=True)
    secret = models.CharField(max_length=32)
    kept = models.JSONField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["account_id", "-deleted_at"], name="deleted_call_by_account"),
            models.Index(fields=["deleted_at"], name="deleted_call_left", condition=Q(put_away_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"deleted call {self.generation_id}"

    @property
    def images(self) -> list[dict[str, Any]]:
        """The pictures as its generation had them, under the keys where they stood."""
        return self.kept["result"]["images"] if self.kept["result"] else []
