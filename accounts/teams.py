"""Who belongs to an account: invitations, parts, leaving. An account never loses its last owner."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext

from accounts.events import event_record
from accounts.models import Account, Invitation, Membership, Role, User

INVITATION_LIFE = timedelta(days=7)
# Mails to strangers in our name: enough for a team, too few for a nuisance.
INVITATIONS_OPEN_MAX = 20
TOKEN_BYTES = 32


class TeamProblem(Exception):
    """Why it cannot be done, in words for the person who asked."""


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation at the only moment at which its link's token is known."""

    invitation: Invitation
    token: str

    def __repr__(self) -> str:
        return f"NewInvitation({self.invitation})"


def _digest(token: str) -> str:
    """The token is random, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


@transaction.atomic
def invitation_create(
    *, account: Account, email: str, role: Role, by: User, now: datetime, address: str = ""
) -> NewInvitation:
    """Offer a part to an address; a former offer to it ends. Raises TeamProblem for members and for too many offers."""
    email = email.strip().lower()
    Account.objects.select_for_update().get(pk=account.pk)
    if Membership.objects.filter(account=account, user__email=email).exists():
        raise TeamProblem(gettext("%(email)s is a member already.") % {"email": email})
    others = Invitation.objects.filter(account=account, expires_at__gt=now).exclude(email=email)
    if others.count() >= INVITATIONS_OPEN_MAX:
        full = gettext("%(count)s invitations are open, which is the most: withdraw one first.")
        raise TeamProblem(full % {"count": INVITATIONS_OPEN_MAX})
    Invitation.objects.filter(account=account, email=email).delete()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    invitation = Invitation.objects.create(
        account=account,
        email=email,
        role=role,
        digest=_digest(token),
        invited_by=by,
        created_at=now,
        expires_at=now + INVITATION_LIFE,
    )
    event_record(account=account, actor=by, action="invited", target=f"{email}: {role}", address=address, now=now)
    return NewInvitation(invitation, token)


@transaction.atomic
def invitation_withdraw(*, account: Account, invitation_id: int, by: User, now: datetime, address: str = "") -> bool:
    """False when there is none of this account with that number."""
    found = Invitation.objects.filter(account=account, pk=invitation_id).first()
    if found is None:
        return False
    found.delete()
    event_record(
        account=account, actor=by, action="withdrew the invitation of", target=found.email, address=address, now=now
    )
    return True


def invitation_find(*, token: str, now: datetime) -> Invitation | None:
    """The offer behind a link while it stands."""
    found = Invitation.objects.filter(digest=_digest(token), expires_at__gt=now)
    return found.select_related("account", "invited_by").first()


@transaction.atomic
def invitation_accept(*, token: str, user: User, now: datetime, address: str = "") -> Membership:
    """Join, once. Raises TeamProblem when the link is used up, or was meant for another address."""
    found = invitation_find(token=token, now=now)
    if found is None:
        raise TeamProblem(gettext("This invitation was used, withdrawn, or is older than a week: ask for a new one."))
    if found.email != user.email.lower():
        other = gettext("This invitation is for %(email)s: log in with that address.")
        raise TeamProblem(other % {"email": found.email})
    deleted, _ = Invitation.objects.filter(pk=found.pk).delete()
    if not deleted:
        raise TeamProblem(gettext("This invitation was used a moment ago."))
    member, new = Membership.objects.get_or_create(
        account=found.account, user=user, defaults={"role": found.role, "created_at": now}
    )
    if new:
        event_record(account=found.account, actor=user, action="joined", target=member.role, address=address, now=now)
    return member


@transaction.atomic
def member_role_set(
    *, account: Account, member_id: int, role: Role, by: User, now: datetime, address: str = ""
) -> Membership | None:
    """None when the account has no such member. Raises TeamProblem instead of taking the last owner."""
    member = _locked(account, member_id)
    if member is None or member.role == role:
        return member
    if member.role == Role.OWNER:
        _keep_an_owner(account, member)
    member.role = role
    member.save(update_fields=["role"])
    target = f"{member.user.email}: {role}"
    event_record(account=account, actor=by, action="changed the role of", target=target, address=address, now=now)
    return member


@transaction.atomic
def member_remove(*, account: Account, member_id: int, by: User, now: datetime, address: str = "") -> bool:
    """End a membership, also one's own. Keys belong to the account and go on. Raises TeamProblem for the last owner."""
    member = _locked(account, member_id)
    if member is None:
        return False
    if member.role == Role.OWNER:
        _keep_an_owner(account, member)
    member.delete()
    action, target = ("left", "") if member.user_id == by.pk else ("removed", member.user.email)
    event_record(account=account, actor=by, action=action, target=target, address=address, now=now)
    return True


def _locked(account: Account, member_id: int) -> Membership | None:
    """With the account's row held: two owners who demote each other at once must not both succeed."""
    Account.objects.select_for_update().get(pk=account.pk)
    return Membership.objects.filter(account=account, pk=member_id).select_related("user").first()


def _keep_an_owner(account: Account, leaving: Membership) -> None:
    if not Membership.objects.filter(account=account, role=Role.OWNER).exclude(pk=leaving.pk).exists():
        raise TeamProblem(gettext("An account needs an owner: make somebody else one first."))
