"""Staff of each part beside the fixed cast, and a client that is logged in as one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.staff import StaffRole, staff_roles_set
from tests.conftest import Member
from tests.support.money import fund, wallet_of

AsStaff = Callable[[StaffRole], Client]


def staff_member(role: StaffRole) -> User:
    user = User.objects.filter(email=f"{role}@operator.example").first()
    if user is None:
        user = User.objects.create_user(f"{role}@operator.example", "correct horse battery")
        staff_roles_set(user=user, roles=frozenset({role}))
    return user


@pytest.fixture
def as_staff(catalogue: None) -> AsStaff:
    def log_in(role: StaffRole) -> Client:
        client = Client()
        client.force_login(staff_member(role))
        return client

    return log_in


@pytest.fixture
def as_owner(as_staff: AsStaff) -> Client:
    return as_staff(StaffRole.OWNER)


@pytest.fixture
def payer(alice: Member) -> Member:
    """alice with funds and without free calls."""
    fund(alice.account, 10_000_000)
    wallet = wallet_of(alice.account)
    wallet.overrides = {"free_calls_per_day": 0}
    wallet.save()
    return alice


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any], str]]:
    """What was posted to render workers: the broker is not needed to know it."""
    posted: list[tuple[str, list[Any], str]] = []

    def send_task(name: str, *, args: list[Any], queue: str, **options: Any) -> None:
        posted.append((name, args, queue))

    monkeypatch.setattr("celery.current_app.send_task", send_task)
    return posted
