"""The parts that people of the operator play: support, billing, operations, owner. Each is a Django group, so that the
stock admin can give it too. What a part may do is the gateway's to decide.
"""

from __future__ import annotations

from django.contrib.auth.models import Group
from django.db import models, transaction
from django.db.models import Q, QuerySet

from accounts.models import User

_PREFIX = "staff: "


class StaffRole(models.TextChoices):
    SUPPORT = "support"
    BILLING = "billing"
    OPERATIONS = "operations"
    OWNER = "owner"


def group_name(role: StaffRole) -> str:
    return f"{_PREFIX}{role.value}"


def staff_roles_of(user: User) -> frozenset[StaffRole]:
    """None for who is no staff; a superuser is an owner."""
    if not (user.is_active and user.is_staff):
        return frozenset()
    held = {StaffRole.OWNER} if user.is_superuser else set()
    names = user.groups.filter(name__startswith=_PREFIX).values_list("name", flat=True)
    known = {group_name(role): role for role in StaffRole}
    return frozenset(held | {known[name] for name in names if name in known})


@transaction.atomic
def staff_roles_set(*, user: User, roles: frozenset[StaffRole]) -> None:
    """Exactly these parts. Somebody with any of them is staff; a superuser stays one, whatever is given here."""
    others = Group.objects.filter(name__startswith=_PREFIX).exclude(name__in=[group_name(role) for role in roles])
    user.groups.remove(*others)
    for role in roles:
        user.groups.add(Group.objects.get_or_create(name=group_name(role))[0])
    user.is_staff = bool(roles) or user.is_superuser
    user.save(update_fields=["is_staff"])


def staff_everyone() -> QuerySet[User]:
    listed = User.objects.filter(Q(is_staff=True) | Q(groups__name__startswith=_PREFIX))
    return listed.distinct().order_by("email").prefetch_related("groups")
