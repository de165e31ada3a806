"""Mails that may be stopped: free calls that run out, and receivers that are paused."""

from __future__ import annotations

import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import Membership, Role, User
from billing.entitlements import day_of
from billing.models import UsageDay
from gateway.notices import free_calls_tell, webhook_paused_tell


def use(member, calls):
    UsageDay.objects.update_or_create(
        account_id=member.account.pk, day=day_of(timezone.now()), defaults={"calls": calls}
    )


def test_free_calls_are_told_of_at_each_step_once(alice, django_capture_on_commit_callbacks):
    now, counts = timezone.now(), []
    for calls in (79, 80, 99, 100, 100):
        use(alice, calls)
        with django_capture_on_commit_callbacks(execute=True):
            free_calls_tell(now=now)
        counts.append(len(mail.outbox))
    assert counts == [0, 1, 1, 2, 2]
    assert "80 %" in mail.outbox[0].subject
    assert "used up" in mail.outbox[1].subject
    assert mail.outbox[0].extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_who_stopped_such_mails_gets_none(alice, django_capture_on_commit_callbacks):
    User.objects.update(notices=False)
    use(alice, 100)
    with django_capture_on_commit_callbacks(execute=True):
        free_calls_tell(now=timezone.now())
        webhook_paused_tell(account_id=alice.account.pk, origin="https://example.com")
    assert mail.outbox == []


@pytest.mark.parametrize(("role", "told"), [(Role.DEVELOPER, 2), (Role.VIEWER, 1)])
def test_a_paused_receiver_is_told_to_those_who_can_mend_it(alice, bob, role, told, django_capture_on_commit_callbacks):
    Membership.objects.filter(user=bob.user).update(role=role)
    with django_capture_on_commit_callbacks(execute=True):
        webhook_paused_tell(account_id=alice.account.pk, origin="https://example.com")
    assert len(mail.outbox) == told
    assert "https://example.com" in mail.outbox[0].subject
