"""The fixed cast: alice owns the account, bob is a member of it, charlie is a stranger with an account of his own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone

from tests.support.proofs import what_it_shows as what_it_shows


@dataclass(frozen=True)
class Member:
    """A person of the cast with the account and the key that they use."""

    user: Any
    account: Any
    key: str
    key_id: int


@pytest.fixture(autouse=True)
def _fresh_process_memory() -> None:
    """Each test is a process that has just started: nothing remembered, no call counted."""
    from gateway.api import last_use
    from gateway.caching import caches_clear
    from gateway.limits import limiter
    from gateway.ratelimit import _guard, get_limiter

    caches_clear()
    last_use._uses.clear()
    limiter.cache_clear()
    get_limiter.cache_clear()
    _guard.cache_clear()


@pytest.fixture
def catalogue(db: None) -> None:
    """The seeded plans, prices and models."""
    from billing.catalogue import catalogue_seed as billing_seed
    from inference.catalogue import catalogue_seed as inference_seed

    billing_seed()
    inference_seed()


def join(email: str, *, plan_code: str = "free") -> Member:
    from accounts.models import User
    from gateway.services import account_open

    user = User.objects.create_user(email, "correct horse battery")
    account, key = account_open(owner=user, now=timezone.now(), plan_code=plan_code)
    return Member(user=user, account=account, key=key.text, key_id=key.api_key.pk)


@pytest.fixture
def alice(catalogue: None) -> Member:
    return join("alice@example.org")


@pytest.fixture
def bob(alice: Member) -> Member:
    """A member of alice's account with a key of his own."""
    from accounts.models import Membership, User
    from accounts.services import key_create

    user = User.objects.create_user("bob@example.org", "correct horse battery")
    Membership.objects.create(account=alice.account, user=user)
    key = key_create(account=alice.account, name="Bob's", now=timezone.now(), created_by=user)
    return Member(user=user, account=alice.account, key=key.text, key_id=key.api_key.pk)


@pytest.fixture
def charlie(catalogue: None) -> Member:
    return join("charlie@example.org")


@pytest.fixture
def child_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts find the database of this test, and count limits by themselves."""
    from django.db import connection

    settings = connection.settings_dict
    password = f":{settings['PASSWORD']}" if settings["PASSWORD"] else ""
    url = f"postgres://{settings['USER']}{password}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("REDIS_URL", raising=False)
