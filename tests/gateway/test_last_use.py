"""Where a key was used last: noted by each call, written later in one go."""

from __future__ import annotations

import pytest

from accounts.models import ApiKey
from gateway.api import last_use


@pytest.fixture(autouse=True)
def _nothing_noted():
    last_use._uses.clear()


def test_a_good_call_is_noted_and_written_by_the_next_flush(client, alice):
    client.get("/api/v7/models", headers={"Authorization": f"Bearer {alice.key}"}, REMOTE_ADDR="203.0.113.7")
    assert ApiKey.objects.get(pk=alice.key_id).last_used_at is None
    assert last_use.flush() == 1
    key = ApiKey.objects.get(pk=alice.key_id)
    assert (key.last_used_address, key.last_used_endpoint) == ("203.0.113.7", "v7/models")
    assert key.last_used_at is not None
    assert last_use.flush() == 0


def test_a_refused_key_leaves_no_trace(client, alice):
    client.get("/api/v7/models", headers={"Authorization": f"Bearer {alice.key[:-1]}x"})
    assert last_use.flush() == 0


def test_many_keys_are_one_statement(alice, bob, charlie, django_assert_num_queries):
    from django.utils import timezone

    for member in (alice, bob, charlie):
        last_use.key_used(key_id=member.key_id, address="", endpoint="v7/models", now=timezone.now())
    with django_assert_num_queries(1):
        assert last_use.flush() == 3
    assert ApiKey.objects.filter(last_used_at=None).count() == 0


def test_memory_is_bounded(monkeypatch):
    from django.utils import timezone

    monkeypatch.setattr(last_use, "KEYS_MAX", 2)
    for number in range(5):
        last_use.key_used(key_id=number, address="", endpoint="x" * 200, now=timezone.now())
    assert len(last_use._uses) == 2
    assert len(last_use._uses[0].endpoint) == 80
