"""Teams: who joins, who leaves, who may change whom, and what an account never loses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.events import events_of
from accounts.models import Invitation, Membership, Role, User
from accounts.teams import (
    INVITATIONS_OPEN_MAX,
    TeamProblem,
    invitation_accept,
    invitation_create,
    invitation_find,
    invitation_withdraw,
    member_remove,
    member_role_set,
)
from tests.conftest import Member


def invite(alice: Member, email: str = "dora@example.org", role: Role = Role.VIEWER) -> str:
    return invitation_create(account=alice.account, email=email, role=role, by=alice.user, now=timezone.now()).token


@pytest.fixture
def dora(db: None) -> User:
    return User.objects.create_user("dora@example.org", "correct horse battery")


class TestInvitations:
    def test_the_link_s_token_is_stored_nowhere(self, alice: Member) -> None:
        token = invite(alice)
        assert token not in str(list(Invitation.objects.values()))

    def test_who_is_invited_joins_with_that_role_once(self, alice: Member, dora: User) -> None:
        token = invite(alice)
        member = invitation_accept(token=token, user=dora, now=timezone.now())
        assert (member.account, member.role) == (alice.account, Role.VIEWER)
        with pytest.raises(TeamProblem, match="used"):
            invitation_accept(token=token, user=dora, now=timezone.now())

    def test_another_person_with_the_link_does_not_join(self, alice: Member, charlie: Member) -> None:
        token = invite(alice)
        with pytest.raises(TeamProblem, match=r"for dora@example\.org"):
            invitation_accept(token=token, user=charlie.user, now=timezone.now())
        assert not Membership.objects.filter(account=alice.account, user=charlie.user).exists()
        assert Invitation.objects.count() == 1

    def test_it_ends_after_a_week(self, alice: Member, dora: User) -> None:
        token = invite(alice)
        later = timezone.now() + timedelta(days=7, seconds=1)
        assert invitation_find(token=token, now=later) is None
        with pytest.raises(TeamProblem):
            invitation_accept(token=token, user=dora, now=later)

    def test_a_new_one_ends_the_former(self, alice: Member) -> None:
        first, second = invite(alice), invite(alice)
        assert invitation_find(token=first, now=timezone.now()) is None
        assert invitation_find(token=second, now=timezone.now()) is not None

    def test_a_stranger_s_account_cannot_withdraw_it(self, alice: Member, charlie: Member) -> None:
        token = invite(alice)
        found = invitation_find(token=token, now=timezone.now())
        assert found is not None
        now = timezone.now()
        assert not invitation_withdraw(account=charlie.account, invitation_id=found.pk, by=charlie.user, now=now)
        assert invitation_withdraw(account=alice.account, invitation_id=found.pk, by=alice.user, now=now)
        assert invitation_find(token=token, now=now) is None

    def test_members_are_not_invited_again(self, alice: Member, bob: Member) -> None:
        with pytest.raises(TeamProblem, match="member already"):
            invite(alice, email="BOB@example.org")

    def test_there_is_a_most(self, alice: Member) -> None:
        for number in range(INVITATIONS_OPEN_MAX):
            invite(alice, email=f"p{number}@example.org")
        with pytest.raises(TeamProblem, match="which is the most"):
            invite(alice)


class TestMembers:
    def test_the_last_owner_neither_leaves_nor_changes(self, alice: Member, bob: Member) -> None:
        own = Membership.objects.get(user=alice.user)
        now = timezone.now()
        with pytest.raises(TeamProblem):
            member_remove(account=alice.account, member_id=own.pk, by=alice.user, now=now)
        with pytest.raises(TeamProblem):
            member_role_set(account=alice.account, member_id=own.pk, role=Role.VIEWER, by=alice.user, now=now)
        own.refresh_from_db()
        assert own.role == Role.OWNER

    def test_with_a_second_owner_the_first_may_go(self, alice: Member, bob: Member) -> None:
        other = Membership.objects.get(user=bob.user)
        now = timezone.now()
        member_role_set(account=alice.account, member_id=other.pk, role=Role.OWNER, by=alice.user, now=now)
        own = Membership.objects.get(user=alice.user)
        assert member_remove(account=alice.account, member_id=own.pk, by=alice.user, now=now)
        assert list(Membership.objects.values_list("user__email", "role")) == [("bob@example.org", "owner")]

    def test_a_stranger_s_member_is_not_there(self, alice: Member, charlie: Member) -> None:
        other = Membership.objects.get(user=charlie.user)
        now = timezone.now()
        assert not member_remove(account=alice.account, member_id=other.pk, by=alice.user, now=now)
        assert (
            member_role_set(account=alice.account, member_id=other.pk, role=Role.VIEWER, by=alice.user, now=now) is None
        )
        assert Membership.objects.filter(pk=other.pk, role=Role.OWNER).exists()


def test_everything_stands_in_the_record(alice: Member, bob: Member, dora: User) -> None:
    now = timezone.now()
    invitation_accept(token=invite(alice), user=dora, now=now, address="203.0.113.9")
    other = Membership.objects.get(user=bob.user)
    member_role_set(account=alice.account, member_id=other.pk, role=Role.BILLING, by=alice.user, now=now)
    member_remove(account=alice.account, member_id=other.pk, by=alice.user, now=now)
    rows = [(event.action, event.target) for event in events_of(alice.account)]
    assert rows[:4] == [
        ("removed", "bob@example.org"),
        ("changed the role of", "bob@example.org: billing"),
        ("joined", "viewer"),
        ("invited", "dora@example.org: viewer"),
    ]
    joined = events_of(alice.account).get(action="joined")
    assert (joined.actor, joined.address) == (dora, "203.0.113.9")
