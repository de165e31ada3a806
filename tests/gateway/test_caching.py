"""What a process remembers, and that every way of changing it is noticed."""

import pytest
from django.utils import timezone

from accounts.errors import KeyRevoked
from accounts.models import Account, ApiKey
from accounts.services import account_suspend, key_revoke
from billing.models import Plan, Wallet
from billing.services import plan_assign, price_set
from gateway import caching
from gateway.caching import TtlCache
from gateway.models import Revision
from inference.models import ImageModel
from tests.support.money import fund
from tests.support.orders import caller_of, place


def revision():
    return Revision.objects.get(pk=1).number


@pytest.fixture
def impatient(monkeypatch):
    """Every look at the revision is a real one."""
    monkeypatch.setattr(caching, "REVISION_EVERY_S", 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda alice: key_revoke(api_key=ApiKey.objects.get(), now=timezone.now()),
        lambda alice: ApiKey.objects.update(scopes=["read"]),
        lambda alice: ApiKey.objects.update(origins=["https://example.com"]),
        lambda alice: ApiKey.objects.update(calls_per_day=1),
        lambda alice: account_suspend(account=alice.account, reason="x", now=timezone.now()),
        lambda alice: plan_assign(account_id=alice.account.pk, plan_code="premium", now=timezone.now()),
        lambda alice: Account.objects.update(parameters_in_pictures=False),
        lambda alice: Wallet.objects.update(in_arrears=True),
        lambda alice: Wallet.objects.update(spend_limit_microusd=1),
        lambda alice: Wallet.objects.update(postpaid_limit_microusd=1),
        lambda alice: Wallet.objects.update(overrides={"queued_calls": 1}),
        lambda alice: price_set(price_code="sd15", amount_microusd=1, effective_from=timezone.now()),
        lambda alice: Plan.objects.filter(code="free").update(queued_calls=1),
        lambda alice: ImageModel.objects.update(published=False),
        lambda alice: ImageModel.objects.all().delete(),
    ],
)
def test_every_change_of_what_is_remembered_moves_the_revision(alice, change):
    before = revision()
    change(alice)
    assert revision() > before


def test_money_and_last_use_do_not_move_it(alice):
    Wallet.objects.update(plan_code="payg")
    before = revision()
    Wallet.objects.update(balance_microusd=5, held_microusd=1)
    ApiKey.objects.update(last_used_at=timezone.now())
    Account.objects.update(name="renamed")
    assert revision() == before


def test_an_admission_does_not_move_it(alice):
    fund(alice.account, 10_000)
    before = revision()
    place(alice)
    assert revision() == before


def test_a_revoked_key_is_refused_at_the_next_look(alice, impatient):
    assert caller_of(alice)
    key_revoke(api_key=ApiKey.objects.get(), now=timezone.now())
    with pytest.raises(KeyRevoked):
        caller_of(alice)


def test_between_two_looks_a_remembered_caller_costs_no_query(alice, django_assert_num_queries):
    caller_of(alice)
    with django_assert_num_queries(0):
        caller_of(alice)


def test_what_was_not_there_is_looked_for_again_soon(db):
    cache, answers = TtlCache(), iter([None, "there"])
    assert cache.get("key", lambda: next(answers)) is None
    cache._entries["key"] = (0.0, *cache._entries["key"][1:])
    assert cache.get("key", lambda: next(answers)) == "there"


def test_a_failed_load_is_not_remembered(db):
    cache = TtlCache()
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: 1 // 0)
    assert cache.get("key", lambda: "there") == "there"


def test_the_memory_is_bounded(db):
    cache = TtlCache(entries_max=3)
    for number in range(10):
        cache.get(number, lambda number=number: number)
    assert len(cache._entries) <= 3
