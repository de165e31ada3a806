"""The audit finds nothing in honest books, and each kind of damage in others."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from billing.models import Hold, UsageBucket, UsageDay, Wallet
from gateway.audit import audit
from gateway.services import generation_settle
from inference.models import Generation
from tests.support.money import fund
from tests.support.orders import delivered, failed, place


@pytest.fixture
def books(alice):
    """A wallet with money, a paid generation, a failed one and one under way."""
    fund(alice.account, 100_000)
    UsageDay.objects.create(account_id=alice.account.pk, day=timezone.now().date(), calls=0)
    free, broken = place(alice).generation, place(alice).generation
    generation_settle(generation_id=free.pk, result=delivered(free), now=timezone.now())
    generation_settle(generation_id=broken.pk, result=failed(broken), now=timezone.now())
    UsageDay.objects.update(calls=100)
    paid = place(alice, samples=3).generation
    generation_settle(generation_id=paid.pk, result=delivered(paid, 2), now=timezone.now())
    place(alice)
    UsageDay.objects.update(calls=1)
    return alice


def differing():
    return [finding.check.name for finding in audit() if not finding.passed]


def test_honest_books_have_no_difference(books, capsys):
    call_command("audit")
    assert "0 differences" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda: Wallet.objects.update(balance_microusd=99_999), "every balance is the sum of its entries"),
        (lambda: Wallet.objects.update(held_microusd=1), "what is held is the sum of the open holds on money"),
        (
            lambda: Hold.objects.filter(state="captured", source="funds").update(images_captured=1),
            "every capture from funds has one entry of its price and images",
        ),
        (
            lambda: Hold.objects.filter(state="captured", source="funds").update(state="released"),
            "every capture entry has its captured hold",
        ),
        (lambda: UsageDay.objects.update(calls=7), "free calls counted are the holds that used them"),
        (lambda: UsageBucket.objects.update(amount_microusd=7), "usage buckets add up to the captures"),
        (
            lambda: Generation.objects.filter(state="waiting").update(state="succeeded"),
            "every generation has its hold, open while it is unsettled and closed after",
        ),
        (
            lambda: Generation.objects.filter(state="waiting").delete(),
            "every open hold belongs to a generation",
        ),
        (
            lambda: Generation.objects.filter(state="succeeded").update(charged_microusd=1),
            "what a generation says it cost is what the ledger took",
        ),
    ],
)
def test_each_damage_is_found(books, damage, found):
    damage()
    assert found in differing()
    with pytest.raises(CommandError, match="differences"):
        call_command("audit")


def test_the_audit_writes_nothing(books):
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM billing_ledgerentry")
        before = cursor.fetchone()
        audit()
        cursor.execute("SELECT COUNT(*) FROM billing_ledgerentry")
        assert cursor.fetchone() == before
