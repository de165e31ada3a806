"""People, the accounts that own keys and money, and the keys themselves. Money and images refer to accounts by id."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who logs in with an e-mail address. Staff reach the operator's console."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=timezone.now)
    language = models.CharField(max_length=12, blank=True)
    theme = models.CharField(max_length=8, default="system")
    # Mails beside those about money and security; every such mail has a link that ends them.
    notices = models.BooleanField(default=True)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.email


class Account(models.Model):
    """The tenant: it owns keys, generations and a wallet, and one or more people belong to it."""

    id = models.BigAutoField(primary_key=True)
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="UTC")
    created_at = models.DateTimeField(default=timezone.now)
    # Set by an operator; the reason is shown to the customer with every refusal.
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_reason = models.CharField(max_length=300, blank=True)
    # Days that prompts and pictures are kept; None follows the installation's setting, 0 deletes them within the hour.
    retention_days = models.PositiveIntegerField(null=True, blank=True)
    # Pictures tell in their own files how they were made: prompt, seed, settings (inference.engine.parameters).
    parameters_in_pictures = models.BooleanField(default=True, db_default=True)
    # Of generations up to this id nothing is left to delete (gateway.services.retention).
    erased_to_id = models.BigIntegerField(null=True, editable=False)
    # Closed by its owner: nobody is a member any more, and only what was counted and paid is kept.
    closed_at = models.DateTimeField(null=True, editable=False)
    # The list of first steps is not shown any more: somebody waved it off, or all of it was done.
    checklist_hidden_at = models.DateTimeField(null=True, editable=False)
    members: models.ManyToManyField[User, Membership] = models.ManyToManyField(
        User, through="Membership", related_name="accounts"
    )

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    OWNER = "owner", _("Owner")
    DEVELOPER = "developer", _("Developer")
    BILLING = "billing", _("Billing")
    VIEWER = "viewer", _("Viewer")


class Membership(models.Model):
    """A person's part in an account."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices, default=Role.DEVELOPER)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.account_id} as {self.role}"


class Invitation(models.Model):
    """A part in an account, offered to an e-mail address. Of the link only a digest is stored; it works once."""

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=12, choices=Role.choices)
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        # Whoever is invited again holds the newest link alone. Accepted and withdrawn ones are deleted.
        constraints: ClassVar = [models.UniqueConstraint(fields=["account", "email"], name="invitation_once")]

    def __str__(self) -> str:
        return f"{self.email} to {self.account_id} as {self.role}"


class AccountEvent(models.Model):
    """Who did what in an account, for its members to read: written in the transaction of what it tells of."""

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="events")
    # None: the service itself, or a person who is gone.
    actor = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=200, blank=True)
    address = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["account", "-id"], name="account_event_by_account")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class ApiKey(models.Model):
    """One API key. Of the key itself only the look-up part, the last four characters and a keyed digest are stored.

    A key is usable from its creation until `expires_at`, `revoked_at`, or the end of its grace after a roll
    (`expires_at` again). None in a limit means "as the account"; a limit here can only be below the account's.
    """

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_keys")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=20)
    environment = models.CharField(max_length=4, default="live")
    lookup = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    last4 = models.CharField(max_length=4)
    # Empty lists mean no restriction.
    scopes = models.JSONField(default=list, blank=True)
    model_ids = models.JSONField(default=list, blank=True)
    networks = models.JSONField(default=list, blank=True)
    # Web pages (scheme, host, port) that browsers may call from; None or empty is any caller.
    origins = models.JSONField(null=True, blank=True)
    calls_per_minute = models.PositiveIntegerField(null=True, blank=True)
    # Accepted calls in a UTC day.
    calls_per_day = models.PositiveIntegerField(null=True, blank=True)
    queued_calls = models.PositiveIntegerField(null=True, blank=True)
    # Spending from funds in a calendar month, UTC: a mail at the first, no further call at the second.
    warn_microusd = models.BigIntegerField(null=True, blank=True)
    budget_microusd = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    rolled_from = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_address = models.GenericIPAddressField(null=True, blank=True)
    last_used_endpoint = models.CharField(max_length=80, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["account", "-created_at"], name="api_key_by_account")]

    def __str__(self) -> str:
        return f"{self.display} ({self.name})"

    @property
    def display(self) -> str:
        """How the key is shown after its creation: enough to recognise it, useless to a thief."""
        return f"{self.prefix}_{self.environment}_{self.lookup[:4]}…{self.last4}"
