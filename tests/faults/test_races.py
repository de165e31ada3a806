"""L6: two processes and one state; exactly one of them moves it."""

import pytest
from django.db import connection

from billing.models import LedgerEntry, Wallet
from gateway.audit import audit
from gateway.caching import caches_clear
from tests.support.duel import duel
from tests.support.money import fund, wallet_of
from tests.support.orders import place

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

ROUNDS = 150
PRICE_MICROUSD = 2_000


@pytest.fixture
def calls(alice, test_database):
    fund(alice.account, ROUNDS * PRICE_MICROUSD)
    Wallet.objects.update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": 0})
    caches_clear()
    return [place(alice).generation.pk for _ in range(ROUNDS)]


def differences():
    return [finding.check.name for finding in audit() if not finding.passed]


@pytest.mark.proves("L6")
def test_a_sweep_and_a_late_capture_end_a_call_once(alice, calls, report):
    winners = duel(calls, seed=1)
    captured = sum(roles == ("settle",) for roles in winners)
    released = sum(roles == ("abort",) for roles in winners)
    assert captured + released == ROUNDS
    assert 0 < captured < ROUNDS, "a race that the same one always wins shows nothing"
    assert LedgerEntry.objects.filter(kind="capture").count() == captured
    wallet = wallet_of(alice.account)
    assert (wallet.balance_microusd, wallet.held_microusd) == (released * PRICE_MICROUSD, 0)
    assert differences() == []
    report(seed=1, tries=ROUNDS, admitted=ROUNDS, refused=0, captured=captured, released=released)
    report(audit="0 differences")


@pytest.mark.control("L6")
def test_looking_first_and_writing_later_lets_both_win(alice, calls):
    with connection.cursor() as cursor:  # The constraint would save even the broken variant.
        cursor.execute("ALTER TABLE billing_wallet DROP CONSTRAINT wallet_held_not_negative")
    try:
        winners = duel(calls[:40], seed=2, mistake="check then act")
        assert ("settle", "abort") in winners
        assert differences() != []
    finally:
        Wallet.objects.update(held_microusd=0)
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE billing_wallet ADD CONSTRAINT wallet_held_not_negative CHECK (held_microusd >= 0)"
            )
