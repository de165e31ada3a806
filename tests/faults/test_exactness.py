"""L3, L4, L8: exact under a crowd of processes on PostgreSQL; each proof has a broken variant that fails it."""

import pytest
from django.db import connection
from django.utils import timezone

from billing.models import LedgerEntry, UsageDay, Wallet
from gateway.audit import audit
from gateway.models import IdempotencyRecord
from inference.models import Generation
from tests.support.crowd import rush
from tests.support.money import fund, wallet_of

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

PRICE_MICROUSD = 2_000


def differences():
    return [(finding.check.name, finding.rows) for finding in audit() if not finding.passed]


@pytest.mark.proves("L3")
def test_no_call_is_accepted_beyond_the_funds(alice, test_database, report):
    fund(alice.account, 50 * PRICE_MICROUSD)
    report(tries=1280, admitted=50, refused=1230, audit="0 differences")
    outcomes = rush(alice.key)
    assert outcomes == {"accepted": 50, "funds_exhausted": 1230}
    assert wallet_of(alice.account).available_microusd == 0
    assert Generation.objects.count() == 50
    assert differences() == []


@pytest.mark.control("L3")
def test_the_unguarded_variant_overspends(alice, test_database):
    """The negative control: without the guard this very crowd gets more than was paid for."""
    fund(alice.account, 50 * PRICE_MICROUSD)
    try:
        outcomes = rush(alice.key, fault="funds")
        assert outcomes["accepted"] > 50
        assert "no wallet is overspent outside arrears and post-paid use" in dict(differences())
    finally:
        Wallet.objects.update(held_microusd=0)
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE billing_wallet ADD CONSTRAINT wallet_never_overspent"
                " CHECK (balance_microusd >= held_microusd OR in_arrears OR postpaid_limit_microusd IS NOT NULL)"
            )


@pytest.mark.proves("L4")
def test_a_free_day_is_exactly_a_hundred_calls(alice, test_database, report):
    report(tries=400, admitted=100, refused=300, audit="0 differences")
    Wallet.objects.update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6})
    outcomes = rush(alice.key, tries=100)
    assert outcomes == {"accepted": 100, "daily_quota_exhausted": 300}
    assert UsageDay.objects.get().calls == 100
    assert differences() == []


@pytest.mark.control("L4")
def test_the_unguarded_quota_gives_away_calls(alice, test_database):
    Wallet.objects.update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6})
    assert rush(alice.key, tries=100, fault="free_day")["accepted"] > 100


@pytest.mark.proves("L8")
def test_one_idempotency_key_is_one_generation(alice, test_database):
    fund(alice.account, 50 * PRICE_MICROUSD)
    outcomes = rush(alice.key, threads=4, tries=16, idempotency_key="the same")
    generation = Generation.objects.get()
    assert outcomes == {"accepted": 1, f"replayed {generation.pk}": 63}
    assert IdempotencyRecord.objects.get().generation_id == generation.pk
    assert wallet_of(alice.account).held_microusd == PRICE_MICROUSD
    assert LedgerEntry.objects.count() == 1


@pytest.mark.control("L8")
def test_a_key_that_is_looked_up_and_then_written_makes_several_generations(alice, test_database):
    fund(alice.account, 50 * PRICE_MICROUSD)
    assert rush(alice.key, threads=4, tries=16, idempotency_key="the same", fault="idempotency")["accepted"] > 1


@pytest.mark.proves("L4")
def test_a_day_boundary_gives_each_day_its_own_hundred(alice, test_database):
    Wallet.objects.update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6})
    yesterday = timezone.now().date() - timezone.timedelta(days=1)
    UsageDay.objects.create(account_id=alice.account.pk, day=yesterday, calls=100)
    assert rush(alice.key, processes=2, tries=60)["accepted"] == 100
    assert sorted(UsageDay.objects.values_list("calls", flat=True)) == [100, 100]
